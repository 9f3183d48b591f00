//! Receipts: what became of transactions that have an idempotency key, so that one sent again does nothing again.

use std::collections::{BTreeMap, VecDeque};

use super::outcome::{put_outcome, read_outcome};
use super::{put_owner, read_owner};
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, RECEIPT_MS, RECEIPTS_BYTES_MAX, RECEIPTS_MAX};
use crate::model::{Reply, TokenId};

/// What a receipt costs beside its key and reply, about.
const OVERHEAD_BYTES: usize = 192;

/// What tells one transaction from another.
pub(in crate::state_machine) type Fingerprint = [u8; 32];

/// Whose key it is, and the key.
type Name = (Option<TokenId>, Box<[u8]>);

/// Receipts of the last transactions, the same on every replica.
///
/// Invariants:
/// - `order` lists each name once, the oldest first; the times of their receipts never go back.
/// - `bytes` is what all receipts cost, at most `RECEIPTS_BYTES_MAX`.
#[derive(Default)]
pub(in crate::state_machine) struct Receipts {
    by_name: BTreeMap<Name, Receipt>,
    order: VecDeque<Name>,
    bytes: usize,
}

/// What became of one transaction.
pub(in crate::state_machine) struct Receipt {
    made_ms: u64,
    pub(in crate::state_machine) fingerprint: Fingerprint,
    /// Encoded, as an outcome.
    reply: Box<[u8]>,
}

impl Receipt {
    pub(in crate::state_machine) fn new(made_ms: u64, fingerprint: Fingerprint, reply: &Reply) -> Receipt {
        let mut bytes = Vec::new();
        put_outcome(&mut bytes, &Ok(reply.clone()));
        Receipt { made_ms, fingerprint, reply: bytes.into_boxed_slice() }
    }

    /// What the transaction was answered.
    pub(in crate::state_machine) fn reply(&self) -> Result<Reply> {
        match read_outcome(&mut WireReader::new(&self.reply))? {
            Ok(reply @ Reply::Transaction(_)) => Ok(reply),
            _ => Err(damaged("a receipt without the reply of a transaction")),
        }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.made_ms.saturating_add(RECEIPT_MS) <= now_ms
    }
}

impl Receipts {
    /// The receipt of this name, if it is still kept.
    pub(in crate::state_machine) fn find(&self, owner: Option<TokenId>, key: &[u8], now_ms: u64) -> Option<&Receipt> {
        self.by_name.get(&(owner, key.into())).filter(|receipt| !receipt.is_over(now_ms))
    }

    /// Keeps a receipt of a name that has none, in the place of the oldest ones if need be.
    pub(in crate::state_machine) fn keep(&mut self, owner: Option<TokenId>, key: &[u8], receipt: Receipt) {
        let name: Name = (owner, key.into());
        let now_ms = receipt.made_ms;
        self.bytes += cost(&name, &receipt);
        while let Some(oldest) = self.order.front().and_then(|name| self.by_name.get(name)) {
            let is_full = self.order.len() >= RECEIPTS_MAX || self.bytes > RECEIPTS_BYTES_MAX;
            if !is_full && !oldest.is_over(now_ms) {
                break;
            }
            self.forget_oldest();
        }
        self.order.push_back(name.clone());
        self.by_name.insert(name, receipt);
    }

    fn forget_oldest(&mut self) {
        let Some(name) = self.order.pop_front() else { return };
        if let Some(receipt) = self.by_name.remove(&name) {
            self.bytes -= cost(&name, &receipt);
        }
    }

    /// Hands each receipt's bytes to `write`, the oldest first.
    pub(in crate::state_machine) fn encode(&self, mut write: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for name in &self.order {
            let Some(receipt) = self.by_name.get(name) else { continue };
            out.clear();
            put_owner(&mut out, name.0);
            put_bytes(&mut out, &name.1);
            put_varint(&mut out, receipt.made_ms);
            put_bytes(&mut out, &receipt.fingerprint);
            put_bytes(&mut out, &receipt.reply);
            write(&out);
        }
    }

    /// Adds one receipt from a snapshot of this time, in the order in which [`Receipts::encode`] gave them.
    pub(in crate::state_machine) fn decode(&mut self, reader: &mut WireReader<'_>, time_ms: u64) -> Result<()> {
        let owner = read_owner(reader)?;
        let key = reader.bytes()?;
        let made_ms = reader.varint()?;
        let fingerprint =
            reader.bytes()?.try_into().map_err(|_| damaged("a receipt without a fingerprint of 32 bytes"))?;
        let receipt = Receipt { made_ms, fingerprint, reply: reader.bytes()?.into() };
        receipt.reply()?;
        let name: Name = (owner, key.into());
        let last_ms = self.order.back().and_then(|name| self.by_name.get(name)).map_or(0, |last| last.made_ms);
        let is_possible =
            (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && (last_ms..=time_ms).contains(&made_ms);
        self.bytes += cost(&name, &receipt);
        let is_full = self.order.len() >= RECEIPTS_MAX || self.bytes > RECEIPTS_BYTES_MAX;
        if !is_possible || is_full || self.by_name.insert(name.clone(), receipt).is_some() {
            return Err(damaged("a receipt of a snapshot that no command can have left"));
        }
        self.order.push_back(name);
        Ok(())
    }

    #[cfg(test)]
    pub(in crate::state_machine) fn len(&self) -> usize {
        self.order.len()
    }
}

fn cost(name: &Name, receipt: &Receipt) -> usize {
    name.1.len() + receipt.reply.len() + OVERHEAD_BYTES
}
