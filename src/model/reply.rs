//! Reply: the answer of a write that happened.

use super::TransactionReply;

/// Answer of a write that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done, as the change with this revision (0 when nothing had to change).
    Done {
        /// Cluster-wide number of the change.
        revision: u64,
    },
    /// The new value of an incremented key, or how many records were removed.
    Integer {
        /// The sum, or the number of records.
        value: i64,
        /// Cluster-wide number of the change (0 when nothing had to change).
        revision: u64,
    },
    /// For each key of a bulk touch, in order, whether it existed.
    Touched {
        /// `true` where the key existed and has its new lifetime.
        found: Vec<bool>,
    },
    /// What became of a transaction.
    Transaction(TransactionReply),
}
