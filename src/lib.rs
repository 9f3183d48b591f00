//! Concord: an embedded, strongly consistent key-value store. One durable Raft node inside your program.
//!
//! ```
//! use concord_kv::{Concord, Config};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let db = Concord::open(Config::at(dir.path()))?;
//! db.kv().put("flags:dark_mode", true).wait()?; // on disk when this returns
//! assert_eq!(db.kv().get("flags:dark_mode")?, Some(true.into()));
//! # Ok::<(), concord_kv::Error>(())
//! ```
//!
//! Rooms, from the ground up: `error`, `limits`, `config`; `model` (nouns); `encoding` (nouns as bytes);
//! `expression` (what picks records);
//! `state_machine` (deterministic content); `telemetry` (what is counted); `storage` (files); `net` (connections);
//! `discovery` (peers to try);
//! `raft` (consensus); `service` (verbs); `concord` (the handle); `http` (the API, the console, local administration).
#![forbid(unsafe_code)]

mod concord;
mod config;
mod discovery;
mod encoding;
mod error;
mod expression;
mod http;
pub mod limits;
mod model;
mod net;
mod raft;
mod service;
#[cfg(test)]
mod simulation;
mod state_machine;
mod storage;
mod telemetry;

pub use concord::Concord;
pub use config::{API_PORT_DEFAULT, HttpConfig, HttpTlsConfig, PROMETHEUS_PORT_DEFAULT};
pub use config::{ClientConfig, ClusterConfig, Multicast, PORT_DEFAULT, Secret, TlsConfig};
pub use config::{
    Compression, CompressionAlgorithm, Config, Durability, EventHistory, parse_consistency, parse_durability,
};
pub use config::{SettingRow, Settings, Source};
pub use encoding::{CompressionStats, check_value, compression_stats, tags};
pub use encoding::{decode_notices, encode_notices, notice_to_json};
pub use encoding::{decode_value, encode_value, encode_value_into, value_from_json, value_to_json};
pub use error::{Error, ErrorKind, Result};
pub use expression::{check_expression, expression_holds};
pub use http::Serving;
pub use model::{
    Compare, Compress, Condition, Consistency, Pattern, PatternFlags, ReadOptions, Record, RecordView, Reply, Scopes,
};
pub use model::{Event, EventKind, EventKinds, EventView, Notice, OwnedSelector, Position};
pub use model::{Selector, Step, StepReply, Transaction, TransactionReply, Value, Write};
pub use raft::{Member, MemberRole, NodeState, RaftStatus, Recoverable, Recovered, SnapshotState};
pub use service::{Cluster, Guard, Kv, Pending, PutOptions, Status, View};
pub use service::{Consumer, ConsumerInfo, Consumers, NewConsumer};
pub use service::{CreatedToken, NewToken, TokenInfo, Tokens, Txn};
pub use service::{IndexInfo, IndexPage, IndexRange, Indexes};
pub use service::{Page, PageOptions, Pages, Pair, Query};
pub use service::{Watch, WatchOptions, WatchStart, WatchStats};
pub use service::{decode_transaction, encode_transaction_reply, transaction_reply_to_json};

/// The Rust of the README's quick start compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
