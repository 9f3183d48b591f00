//! CBOR: the grammar of RFC 8949 that everything about values stands on, without any meaning.

pub(super) mod reader;
pub(super) mod writer;
