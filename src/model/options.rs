//! Options of reads and writes, as every face passes them down.

use super::{Condition, Selector, Transaction};
pub use crate::config::Consistency;

/// Options of a read. `ReadOptions::default()` reads at the configured level with the usual timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Level of this read; `None` takes the configured default.
    pub consistency: Option<Consistency>,
    /// Milliseconds that the read may wait for its barrier; `None` is 5,000.
    pub timeout_ms: Option<u64>,
}

/// Whether a value is compressed before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compress {
    /// As configured: above the threshold, when that makes it smaller.
    #[default]
    Auto,
    /// Whatever its size, when that makes it smaller.
    Always,
    /// Never.
    Never,
}

/// A write, as every face hands it to [`Kv::submit`](crate::Kv::submit). Values are encoded (CBOR);
/// TTLs are milliseconds from now.
#[derive(Debug, Clone, PartialEq)]
pub enum Write<'a> {
    /// Stores a value. Without a TTL any old TTL is removed. Answers [`Reply::Done`](crate::Reply::Done).
    Put {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// One encoded value.
        value: &'a [u8],
        /// Lifetime in milliseconds, at least 1.
        ttl_ms: Option<u64>,
        /// What must hold.
        condition: Condition<'a>,
        /// Whether to compress.
        compress: Compress,
    },
    /// Removes a key; done as well when it is missing (unless a condition says otherwise).
    /// Answers [`Reply::Done`](crate::Reply::Done).
    Delete {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// What must hold. `Absent` makes no sense here and is refused with `invalid_condition`.
        condition: Condition<'a>,
    },
    /// Makes the remaining lifetime of an existing key `ttl_ms`. Answers
    /// [`Reply::Done`](crate::Reply::Done), or `not_found`.
    Touch {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// Lifetime in milliseconds, at least 1.
        ttl_ms: u64,
    },
    /// Adds to an integer atomically. A missing key counts as `initial` first and takes `ttl_ms`;
    /// an existing key keeps its lifetime. Answers [`Reply::Integer`](crate::Reply::Integer), or
    /// `not_an_integer`, or `value_too_large` when the sum leaves 64 bits.
    Increment {
        /// 1 to 1,024 bytes.
        key: &'a [u8],
        /// What to add; may be negative.
        by: i64,
        /// What a missing key counts as before the addition.
        initial: i64,
        /// Lifetime of a key that this call creates, in milliseconds.
        ttl_ms: Option<u64>,
    },
    /// Stores up to 500 values, all or none; of duplicate keys the last wins.
    /// Each item is key, encoded value and TTL. Answers [`Reply::Done`](crate::Reply::Done).
    PutMany {
        /// Key, encoded value and lifetime in milliseconds of each record.
        items: &'a [(&'a [u8], &'a [u8], Option<u64>)],
        /// Whether to compress.
        compress: Compress,
    },
    /// Removes up to 500 keys, all or none; missing ones too. Answers [`Reply::Done`](crate::Reply::Done).
    DeleteMany {
        /// The keys.
        keys: &'a [&'a [u8]],
    },
    /// Sets the remaining lifetimes of up to 500 keys. Answers [`Reply::Touched`](crate::Reply::Touched).
    TouchMany {
        /// Key and lifetime in milliseconds of each.
        items: &'a [(&'a [u8], u64)],
    },
    /// Removes every record that the selector picks, as one change: either all or none, and nobody sees a part of it. Other
    /// writes wait meanwhile, on every member: it costs the walk over the keys within the selector's range. Answers
    /// [`Reply::Integer`](crate::Reply::Integer): how many were removed. One that cannot be understood is
    /// `invalid_condition`, and so is one that does not say which records are meant
    /// ([`Selector::says_which`](crate::Selector::says_which)): an empty prefix means all.
    DeleteWhere {
        /// What to remove.
        selector: Selector<'a>,
    },
    /// Does several operations as one change if all compares hold, else others. Answers
    /// [`Reply::Transaction`](crate::Reply::Transaction). What an operation answers, such as `not_an_integer`, is the answer
    /// of the whole, with its place in the message; nothing is done then.
    Transaction(&'a Transaction<'a>),
}
