//! Check: whether a transaction may go to the log, and how it goes there.

use crate::encoding::command::written_twice;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::model::{Compare, Condition, PutItem, Step, StepItem, Transaction, TransactionItem};
use crate::service::Kv;
use crate::service::kv::{check_key, check_ttl};

impl Kv {
    /// Bounds first, then each part in its order; the error tells which.
    pub(in crate::service) fn check_transaction(&self, transaction: &Transaction<'_>) -> Result<()> {
        let Transaction { compares, then, otherwise, idempotency_key } = transaction;
        if compares.len() + then.len() + otherwise.len() > limits::TXN_OPS_MAX {
            let max = limits::TXN_OPS_MAX;
            let message = format!("a transaction has at most {max} compares and operations, both branches together");
            return Err(Error::new(ErrorKind::BatchTooLarge, message));
        }
        if idempotency_key.is_some_and(|key| !(1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())) {
            let message = format!("an idempotency key is 1 to {} bytes", limits::IDEMPOTENCY_KEY_BYTES_MAX);
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        for (at, compare) in compares.iter().enumerate() {
            self.check_compare(compare).map_err(|error| error.within(&format!("compare {}", at + 1)))?;
        }
        for (name, branch) in [("then", then), ("else", otherwise)] {
            let place = |at: usize| format!("`{name}`, operation {}", at + 1);
            for (at, step) in branch.iter().enumerate() {
                check_step(step).map_err(|error| error.within(&place(at)))?;
            }
            let items: Vec<StepItem<'_>> = branch.iter().map(|step| item_of(step, 0, &[])).collect();
            if let Some(at) = written_twice(&items) {
                let message = "an operation before it writes the same key; a branch writes a key once";
                return Err(Error::new(ErrorKind::InvalidOperationFormat, message).within(&place(at)));
            }
        }
        Ok(())
    }

    fn check_compare(&self, compare: &Compare<'_>) -> Result<()> {
        check_key(compare.key)?;
        if compare.condition == Condition::Always {
            return Err(Error::new(ErrorKind::MissingCondition, "a compare needs a condition"));
        }
        self.check_condition(compare.condition)
    }

    /// The values of the puts of both branches, in stored form and in order.
    pub(in crate::service) fn seal_transaction(&self, transaction: &Transaction<'_>) -> Result<Vec<Vec<u8>>> {
        let mut sealed = Vec::new();
        for (name, branch) in [("then", &transaction.then), ("else", &transaction.otherwise)] {
            for (at, step) in branch.iter().enumerate() {
                if let Step::Put { value, compress, .. } = *step {
                    let place = || format!("`{name}`, operation {}", at + 1);
                    sealed.push(self.seal(value, compress).map_err(|error| error.within(&place()))?);
                }
            }
        }
        let compared = |compare: &Compare<'_>| match compare.condition {
            Condition::Expected(value) => value.len(),
            Condition::Where(expression) => expression.len(),
            Condition::Always | Condition::Absent | Condition::Present | Condition::Revision(_) => 0,
        };
        let bytes = sealed.iter().map(Vec::len).chain(transaction.compares.iter().map(compared)).sum::<usize>();
        if bytes > limits::BATCH_BYTES_MAX {
            let max = limits::BATCH_BYTES_MAX;
            let message = format!("a transaction holds at most {max} bytes, this one has {bytes}; split it");
            return Err(Error::new(ErrorKind::ValueTooLarge, message));
        }
        Ok(sealed)
    }
}

fn check_step(step: &Step<'_>) -> Result<()> {
    check_key(step.key())?;
    match *step {
        Step::Put { ttl_ms, .. } | Step::Increment { ttl_ms, .. } => check_ttl(ttl_ms, ErrorKind::InvalidTtl),
        Step::Touch { ttl_ms, .. } => check_ttl(Some(ttl_ms), ErrorKind::InvalidTtl),
        Step::Delete { .. } | Step::Get { .. } => Ok(()),
    }
}

/// A checked transaction as the log carries it; `sealed` has the value of each put in order.
pub(in crate::service) fn transaction_item<'a>(
    transaction: &Transaction<'a>,
    stamp_ms: u64,
    sealed: &'a [Vec<u8>],
) -> TransactionItem<'a> {
    let mut sealed = sealed.iter();
    let mut branch = |steps: &[Step<'a>]| {
        let item = |step: &Step<'a>| {
            let stored = if let Step::Put { .. } = step { sealed.next() } else { None };
            item_of(step, stamp_ms, stored.map_or(&[], Vec::as_slice))
        };
        steps.iter().map(item).collect()
    };
    let (then, otherwise) = (branch(&transaction.then), branch(&transaction.otherwise));
    let idempotency_key = transaction.idempotency_key.unwrap_or_default();
    TransactionItem { idempotency_key, compares: transaction.compares.clone(), then, otherwise }
}

fn item_of<'a>(step: &Step<'a>, stamp_ms: u64, stored: &'a [u8]) -> StepItem<'a> {
    let deadline = |ttl_ms: Option<u64>| ttl_ms.map(|ttl_ms| stamp_ms + ttl_ms);
    match *step {
        Step::Put { key, ttl_ms, .. } => StepItem::Put(PutItem { key, stored, deadline_ms: deadline(ttl_ms) }),
        Step::Delete { key } => StepItem::Delete(key),
        Step::Touch { key, ttl_ms } => StepItem::Touch { key, deadline_ms: stamp_ms + ttl_ms },
        Step::Increment { key, by, initial, ttl_ms } => {
            StepItem::Increment { key, by, initial, deadline_ms: deadline(ttl_ms) }
        }
        Step::Get { key } => StepItem::Get(key),
    }
}
