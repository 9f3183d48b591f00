//! Digest: one number for the whole content, to compare replicas that have applied the same entries.

use sha2::{Digest, Sha256};

use super::keyspace::StateMachine;
use crate::error::Result;

impl StateMachine {
    /// SHA-256 over every record in key order (key, revision, deadline, stored value), the revision, all
    /// sessions in the order of their use, all tokens, all receipts, all consumers, and what indexes there are.
    pub(crate) fn digest(&self) -> Result<[u8; 32]> {
        let (view, sessions) = self.view_with(0, |content, writer| {
            let mut hash = Sha256::new();
            hash.update(writer.sessions.opened().to_le_bytes());
            writer.sessions.encode(|session| hash.update(session));
            self.tokens().encode(|token| hash.update(token));
            writer.receipts.encode(|receipt| hash.update(receipt));
            content.indexes.encode(|index| hash.update(index));
            writer.consumers.encode(|consumer| hash.update(consumer));
            hash.finalize()
        });
        let mut hash = Sha256::new();
        let mut records = 0u64;
        view.scan_stored(|record| {
            records += 1;
            hash.update((record.key.len() as u64).to_le_bytes());
            hash.update(record.key);
            hash.update(record.revision.to_le_bytes());
            hash.update(record.deadline_ms.unwrap_or(0).to_le_bytes());
            hash.update((record.stored.len() as u64).to_le_bytes());
            hash.update(record.stored);
            Ok(())
        })?;
        hash.update(records.to_le_bytes());
        hash.update(view.revision().to_le_bytes());
        hash.update(sessions);
        Ok(hash.finalize().into())
    }
}
