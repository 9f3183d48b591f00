//! Record: value, revision and deadline of a key.

use std::borrow::Cow;

use super::Value;

/// What a key holds, as an owned value.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The decoded value.
    pub value: Value,
    /// Cluster-wide number of the change that last wrote the key.
    pub revision: u64,
    /// Remaining lifetime in milliseconds; `None` lives for ever.
    pub ttl_ms: Option<u64>,
}

/// What a key holds, borrowed from the store for the length of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The value, encoded (CBOR) and already decompressed.
    pub value: Cow<'a, [u8]>,
    /// Cluster-wide number of the change that last wrote the key.
    pub revision: u64,
    /// Remaining lifetime in milliseconds, at least 1; `None` lives for ever.
    pub ttl_ms: Option<u64>,
}
