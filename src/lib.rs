//! Concord: an embedded, strongly consistent key-value store. One durable Raft node inside your program.
#![forbid(unsafe_code)]

mod config;
// Parts of it wait for the state machine that uses them.
#[allow(dead_code, unused_imports)]
mod encoding;
mod error;
pub mod limits;
mod model;

pub use config::{Compression, CompressionAlgorithm, Config, Durability};
pub use encoding::{CompressionStats, check_value, compression_stats, tags};
pub use encoding::{decode_value, encode_value, encode_value_into, value_from_json, value_to_json};
pub use error::{Error, ErrorKind, Result};
pub use model::{Compress, Condition, Consistency, Encoded, ReadOptions, Record, RecordView, Reply, Value, Write};
