//! Transaction: one branch or the other, all of it or nothing.
//!
//! Everything that can go wrong is found before anything is changed: a branch writes a key at most once, so what an operation
//! meets is what was there before.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::Application;
use crate::encoding::command::put_transaction;
use crate::encoding::{INTEGER_BYTES_MAX, stored};
use crate::error::{ErrorKind, Result};
use crate::limits::TXN_ANSWER_BYTES_MAX;
use crate::model::{PutItem, RecordView, Reply, StepItem, StepReply, TokenId, TransactionItem, TransactionReply};
use crate::state_machine::sessions::{Fingerprint, Outcome, Place, Receipt, Refusal};

impl Application<'_> {
    pub(super) fn transact(&mut self, transaction: &TransactionItem<'_>, owner: Option<TokenId>) -> Result<Outcome> {
        let name = transaction.idempotency_key;
        if name.is_empty() {
            return self.do_branch(transaction);
        }
        let fingerprint = self.fingerprint(transaction)?;
        match self.writer.receipts.find(owner, name, self.now_ms) {
            Some(receipt) if receipt.fingerprint == fingerprint => return Ok(Ok(receipt.reply()?)),
            Some(_) => {
                return Ok(Err(Refusal { kind: ErrorKind::AlreadyExists, place: Place::IdempotencyKey }));
            }
            None => {}
        }
        let outcome = self.do_branch(transaction)?;
        if let Ok(reply) = &outcome {
            let receipt = Receipt::new(self.now_ms, fingerprint, reply);
            self.writer.receipts.keep(owner, name, receipt);
        }
        Ok(outcome)
    }

    fn do_branch(&mut self, transaction: &TransactionItem<'_>) -> Result<Outcome> {
        let mut succeeded = true;
        for (at, compare) in transaction.compares.iter().enumerate() {
            match self.check(compare.key, compare.condition)? {
                Ok(()) => {}
                Err(kind @ ErrorKind::InvalidCondition) => return Ok(Err(Refusal { kind, place: Place::Compare(at) })),
                Err(_) => {
                    succeeded = false;
                    break;
                }
            }
        }
        let (branch, place): (_, fn(usize) -> Place) = match succeeded {
            true => (&transaction.then, Place::Then),
            false => (&transaction.otherwise, Place::Otherwise),
        };
        let mut answer_bytes = 0;
        for at in 0..branch.len() {
            if let Err(kind) = self.foresee(branch, at, &mut answer_bytes)? {
                return Ok(Err(Refusal { kind, place: place(at) }));
            }
        }
        let mut results = Vec::with_capacity(branch.len());
        for (at, step) in branch.iter().enumerate() {
            match self.do_step(step)? {
                Ok(result) => results.push(result),
                // Only when a branch writes a key twice, which none does that was read.
                Err(kind) => return Ok(Err(Refusal { kind, place: place(at) })),
            }
        }
        let revision = if self.changed { self.revision } else { 0 };
        Ok(Ok(Reply::Transaction(TransactionReply { succeeded, revision, results })))
    }

    /// Whether the step can be done once those before it are.
    fn foresee(&self, branch: &[StepItem<'_>], at: usize, answer_bytes: &mut usize) -> Result<Result<(), ErrorKind>> {
        match branch[at] {
            StepItem::Put(_) | StepItem::Delete(_) => {}
            StepItem::Touch { key, .. } => {
                if self.live(key).is_none() {
                    return Ok(Err(ErrorKind::NotFound));
                }
            }
            StepItem::Increment { key, by, initial, .. } => return Ok(self.sum(key, by, initial, None)?.map(drop)),
            StepItem::Get(key) => {
                *answer_bytes += self.foreseen_len(&branch[..at], key);
                if *answer_bytes > TXN_ANSWER_BYTES_MAX {
                    return Ok(Err(ErrorKind::ValueTooLarge));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Bytes of the value that a key has once these steps are done.
    fn foreseen_len(&self, before: &[StepItem<'_>], key: &[u8]) -> usize {
        let is_last_write = |step: &&StepItem<'_>| step.writes() && step.key() == key;
        match before.iter().rev().find(is_last_write) {
            Some(StepItem::Put(item)) => stored::opened_len(item.stored),
            Some(StepItem::Delete(_)) => 0,
            Some(StepItem::Increment { .. }) => INTEGER_BYTES_MAX,
            Some(StepItem::Touch { .. } | StepItem::Get(_)) | None => {
                self.live(key).map_or(0, |slot| stored::opened_len(slot.current().as_ref().stored))
            }
        }
    }

    fn do_step(&mut self, step: &StepItem<'_>) -> Result<Result<StepReply, ErrorKind>> {
        Ok(Ok(match *step {
            StepItem::Put(item) => {
                self.put(&self.dated(&item));
                StepReply::Done
            }
            StepItem::Delete(key) => {
                self.delete(key);
                StepReply::Done
            }
            StepItem::Touch { key, deadline_ms } => match self.touch(key, self.deadline(deadline_ms)) {
                true => StepReply::Done,
                false => return Ok(Err(ErrorKind::NotFound)),
            },
            StepItem::Increment { key, by, initial, deadline_ms } => {
                let deadline_ms = deadline_ms.map(|deadline_ms| self.deadline(deadline_ms));
                match self.increment(key, by, initial, deadline_ms)? {
                    Ok(sum) => StepReply::Integer(sum),
                    Err(kind) => return Ok(Err(kind)),
                }
            }
            StepItem::Get(key) => StepReply::Record(self.record(key)?),
        }))
    }

    fn record(&self, key: &[u8]) -> Result<Option<RecordView<'static>>> {
        let Some(slot) = self.live(key) else { return Ok(None) };
        let current = slot.current();
        let version = current.as_ref();
        Ok(Some(RecordView {
            value: Cow::Owned(stored::open(version.stored)?.into_owned()),
            revision: version.revision(),
            ttl_ms: version.deadline_ms().map(|deadline_ms| deadline_ms - self.now_ms),
        }))
    }

    /// What is the same whenever and wherever the transaction is sent: lifetimes instead of deadlines, values as they were
    /// before they were compressed.
    fn fingerprint(&self, transaction: &TransactionItem<'_>) -> Result<Fingerprint> {
        let open = |step: &StepItem<'_>| match step {
            StepItem::Put(item) => stored::open(item.stored).map(Cow::into_owned),
            _ => Ok(Vec::new()),
        };
        let opened = |branch: &[StepItem<'_>]| branch.iter().map(open).collect::<Result<Vec<_>>>();
        let (then, otherwise) = (opened(&transaction.then)?, opened(&transaction.otherwise)?);
        let timeless = TransactionItem {
            idempotency_key: &[],
            compares: transaction.compares.clone(),
            then: self.timeless(&transaction.then, &then),
            otherwise: self.timeless(&transaction.otherwise, &otherwise),
        };
        let mut bytes = Vec::with_capacity(timeless.content_bytes() + 64);
        put_transaction(&mut bytes, &timeless);
        Ok(Sha256::digest(&bytes).into())
    }

    fn timeless<'b>(&self, branch: &[StepItem<'b>], opened: &'b [Vec<u8>]) -> Vec<StepItem<'b>> {
        let lifetime = |deadline_ms: u64| deadline_ms.saturating_sub(self.origin_ms.unwrap_or(0));
        let step = |(step, value): (&StepItem<'b>, &'b Vec<u8>)| match *step {
            StepItem::Put(PutItem { key, deadline_ms, .. }) => {
                StepItem::Put(PutItem { key, stored: value, deadline_ms: deadline_ms.map(lifetime) })
            }
            StepItem::Touch { key, deadline_ms } => StepItem::Touch { key, deadline_ms: lifetime(deadline_ms) },
            StepItem::Increment { key, by, initial, deadline_ms } => {
                StepItem::Increment { key, by, initial, deadline_ms: deadline_ms.map(lifetime) }
            }
            step => step,
        };
        branch.iter().zip(opened).map(step).collect()
    }
}
