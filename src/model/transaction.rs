//! Transaction: compares over several records, and what is done when they hold and when they do not.

use super::{Compress, Condition, RecordView};

/// Several operations as one change: `then` when every compare holds, else `otherwise`. Nobody sees a part of it, and all that
/// it changes has one revision. When one operation cannot be done, none is.
///
/// Compares and operations of both branches are at most 128 together. A branch writes a key at most once; reads may stand
/// beside writes, and see what the operations before them in the branch have done.
///
/// Keys, values and expressions are borrowed; values are encoded (CBOR), TTLs are milliseconds from now. Rust programs build
/// one with [`Concord::txn`](crate::Concord::txn).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transaction<'a> {
    /// What must hold, all of it; nothing always holds.
    pub compares: Vec<Compare<'a>>,
    /// What is done when it holds.
    pub then: Vec<Step<'a>>,
    /// What is done when it does not. Other languages call it `else`.
    pub otherwise: Vec<Step<'a>>,
    /// 1 to 128 bytes that name this transaction: sent again with the same name it is not done again but gives its first
    /// reply, also after a restart and on other nodes. For as long as its receipt is kept, see
    /// [`limits::RECEIPT_MS`](crate::limits::RECEIPT_MS). Names are each token's own.
    pub idempotency_key: Option<&'a [u8]>,
}

impl<'a> Transaction<'a> {
    /// Every key that it is about.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        self.compares.iter().map(|compare| compare.key).chain(self.steps().map(|step| step.key()))
    }

    /// Whether it may tell of a record: so it needs the right to read as well as that to write.
    pub fn reads(&self) -> bool {
        !self.compares.is_empty() || self.steps().any(|step| matches!(step, Step::Get { .. }))
    }

    fn steps(&self) -> impl Iterator<Item = &Step<'a>> {
        self.then.iter().chain(&self.otherwise)
    }
}

/// What must hold of one record. [`Condition::Where`] says what other conditions do not: `revision < 7`, `ttl == null`,
/// `ttl > 60`, `value.owner != "bob"`. Of a key that does not exist only [`Condition::Absent`] holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compare<'a> {
    /// 1 to 1,024 bytes.
    pub key: &'a [u8],
    /// Any but [`Condition::Always`], which is `missing_condition`.
    pub condition: Condition<'a>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step<'a> {
    /// Stores a value. Without a TTL any old TTL is removed. Gives [`StepReply::Done`].
    Put {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// One encoded value.
        value: &'a [u8],
        /// Lifetime in milliseconds, at least 1.
        ttl_ms: Option<u64>,
        /// Whether to compress.
        compress: Compress,
    },
    /// Removes a key; done as well when it is missing. Gives [`StepReply::Done`].
    Delete {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
    },
    /// Makes the remaining lifetime of an existing key `ttl_ms`. Gives [`StepReply::Done`]; a missing key ends the
    /// transaction with `not_found`.
    Touch {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// Lifetime in milliseconds, at least 1.
        ttl_ms: u64,
    },
    /// Adds to an integer; a missing key counts as `initial` first and takes `ttl_ms`, an existing key keeps its lifetime.
    /// Gives [`StepReply::Integer`]. `not_an_integer`, or `value_too_large` when the sum leaves 64 bits, ends the transaction.
    Increment {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// What to add; may be negative.
        by: i64,
        /// What a missing key counts as before the addition.
        initial: i64,
        /// Lifetime of a key that this creates, in milliseconds.
        ttl_ms: Option<u64>,
    },
    /// Reads a record. Gives [`StepReply::Record`]. All values that a transaction reads are at most 256 KiB together, else it
    /// ends with `value_too_large`.
    Get {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
    },
}

impl<'a> Step<'a> {
    /// The key that it is about.
    pub fn key(&self) -> &'a [u8] {
        match *self {
            Step::Put { key, .. }
            | Step::Delete { key }
            | Step::Touch { key, .. }
            | Step::Increment { key, .. }
            | Step::Get { key } => key,
        }
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionReply {
    /// Whether all compares held: then `then` was done, else `otherwise`.
    pub succeeded: bool,
    /// Cluster-wide number of the change; 0 when nothing had to change.
    pub revision: u64,
    /// What each operation of that branch gave, in order.
    pub results: Vec<StepReply>,
}

/// What one operation of a transaction gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepReply {
    /// It is done.
    Done,
    /// The sum after an increment.
    Integer(i64),
    /// The record that was read, its value encoded; `None` when there is none.
    Record(Option<RecordView<'static>>),
}
