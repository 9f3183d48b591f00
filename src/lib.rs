//! Concord: an embedded, strongly consistent key-value store. One durable Raft node inside your program.
#![forbid(unsafe_code)]

mod config;
mod error;
pub mod limits;
mod model;
#[allow(dead_code, unused_imports)]
mod storage;

pub use config::{Compression, CompressionAlgorithm, Config, Durability};
pub use error::{Error, ErrorKind, Result};
pub use model::{Compress, Condition, Consistency, Encoded, ReadOptions, Record, RecordView, Reply, Value, Write};
