//! Tokens: all that are valid, replicated like the records. Readers need no lock.

mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use papaya::HashMap;

pub(crate) use record::{Need, TokenRecord};

use crate::encoding::command::{put_new_token, read_new_token};
use crate::encoding::wire::{WireReader, damaged, put_varint};
use crate::error::{ErrorKind, Result};
use crate::limits::TOKENS_MAX;
use crate::model::{NewTokenItem, TokenId};

/// The valid tokens by their public ids. Only the writer of the state machine changes them.
///
/// Invariant: a record leaves the table only after it is marked as revoked, and stays the same one until then, also when a
/// snapshot that holds it takes the place of the content: whoever holds it sees the mark.
pub(crate) struct Tokens {
    by_id: HashMap<TokenId, Arc<TokenRecord>, foldhash::fast::RandomState>,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens { by_id: HashMap::with_hasher(foldhash::fast::RandomState::default()) }
    }
}

impl Tokens {
    /// The token of this id, if it was not revoked. It may have expired.
    pub(crate) fn get(&self, id: TokenId) -> Option<Arc<TokenRecord>> {
        self.by_id.pin().get(&id).cloned()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<TokenRecord>> {
        let mut all: Vec<_> = self.by_id.pin().values().cloned().collect();
        all.sort_unstable_by_key(|record| record.id());
        all
    }

    pub(super) fn is_valid(&self, id: TokenId, now_ms: u64) -> bool {
        self.by_id.pin().get(&id).is_some_and(|record| !record.has_expired(now_ms))
    }

    pub(super) fn create(
        &self,
        item: &NewTokenItem<'_>,
        deadline_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(), ErrorKind> {
        let record = TokenRecord::new(item, now_ms, deadline_ms, 0);
        let tokens = self.by_id.pin();
        if tokens.contains_key(&record.id()) {
            return Err(ErrorKind::AlreadyExists);
        }
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, record| {
                let stays = !record.has_expired(now_ms);
                if !stays {
                    record.revoke();
                }
                stays
            });
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(ErrorKind::InvalidConfig);
        }
        tokens.insert(record.id(), Arc::new(record));
        Ok(())
    }

    pub(super) fn revoke(&self, id: TokenId) -> Result<(), ErrorKind> {
        let tokens = self.by_id.pin();
        let record = tokens.get(&id).ok_or(ErrorKind::NotFound)?;
        record.revoke();
        tokens.remove(&id);
        Ok(())
    }

    pub(super) fn note_use(&self, id: TokenId, used_ms: u64) -> Result<(), ErrorKind> {
        let tokens = self.by_id.pin();
        let record = tokens.get(&id).ok_or(ErrorKind::NotFound)?;
        record.noted_ms.fetch_max(used_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Hands each token's bytes to `write`, by id.
    pub(super) fn encode(&self, mut write: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for record in self.all() {
            out.clear();
            put_new_token(&mut out, &record.to_item());
            put_varint(&mut out, record.created_ms());
            put_varint(&mut out, record.noted_ms.load(Ordering::Relaxed));
            write(&out);
        }
    }

    /// These tokens, of a snapshot, take the place of all others.
    pub(super) fn replace(&self, loaded: Vec<TokenRecord>) {
        let tokens = self.by_id.pin();
        let stays = |id: &TokenId| loaded.binary_search_by_key(id, TokenRecord::id).is_ok();
        tokens.retain(|id, record| {
            if !stays(id) {
                record.revoke();
            }
            stays(id)
        });
        for record in loaded {
            match tokens.get(&record.id()) {
                Some(known) if known.is_same(&record) => {
                    known.noted_ms.store(record.noted_ms.into_inner(), Ordering::Relaxed);
                }
                // Meanwhile it was revoked and made anew.
                known => {
                    known.inspect(|known| known.revoke());
                    tokens.insert(record.id(), Arc::new(record));
                }
            }
        }
    }
}

/// Adds one token of a snapshot, in the order in which [`Tokens::encode`] gave them.
pub(super) fn read_token(reader: &mut WireReader<'_>, loaded: &mut Vec<TokenRecord>) -> Result<()> {
    let item = read_new_token(reader)?;
    let (created_ms, noted_ms) = (reader.varint()?, reader.varint()?);
    let record = TokenRecord::new(&item, created_ms, item.deadline_ms, noted_ms);
    if loaded.last().is_some_and(|last| last.id() >= record.id()) || loaded.len() >= TOKENS_MAX {
        return Err(damaged("tokens of a snapshot out of order, or too many"));
    }
    loaded.push(record);
    Ok(())
}
