//! The state machine: commands in, replies out, the same on every replica. No clock, no randomness, no files.
//!
//! Versions of what commands mean (a replica of an older version must not apply newer commands):
//!
//! | version | since | change |
//! |--|--|--|
//! | 1 | 0.1.0 | put, delete, touch, increment, their bulk forms, expire; time is the largest stamp of a command |
//! | 2 | 0.2.0 | time is the leader's stamp of the batch, deadlines are lifetimes from then on; sessions, whose batches are applied once |
//! | 3 | 0.3.0 | tokens: create, revoke, note a use, and operations that are done only while a token is valid; a session belongs to whoever opened it |
//! | 4 | 0.4.0 | delete_where; conditions that are expressions. What these mean is frozen with `expression`, what patterns mean with the crates `regex` 1.13.1 and `regex-syntax` 0.8.11: other versions of these need a version here, unless they only correct what matches |
//! | 5 | 0.5.0 | transactions, and receipts of those that have an idempotency key; the condition that a key exists; indexes: create, drop, rebuild; consumers: create, acknowledge, delete |
//!
//! Entries of version 1 mean for ever what they meant; a batch says by its first byte which it is. Versions 3 to 5 have the
//! batches of version 2, with more kinds of commands. Snapshots of version 1 have no sessions, those of version 2 no tokens,
//! those of version 3 no receipts, no indexes and no consumers.
//!
//! Structure (the best of sixteen measured): every key has a slot with an atomic pointer to its current
//! version. Point reads reach it through a lock-free hash map, scans through an ordered set that is locked
//! only to insert or remove keys. One writer at a time applies commands. A pinned view makes the writer keep
//! the versions that it replaces, so a point in time can be walked in pieces while writes go on.

mod apply;
mod consumers;
mod digest;
mod expiry;
mod history;
mod indexes;
mod keyspace;
mod select;
mod sessions;
mod slot;
mod snapshot;
mod tokens;
mod versions;
mod view;

pub(crate) use consumers::{ConsumerRecord, put_consumer_record, read_consumer_record};
pub(crate) use history::{Cursor, Held, Looked};
pub(crate) use indexes::{Index, IndexReader, TermRange};
pub(crate) use keyspace::StateMachine;
pub(crate) use select::{Effort, Walk};
pub(crate) use sessions::{Applied, Outcome, put_outcome, read_outcome};
pub(crate) use snapshot::{PinnedSnapshot, SnapshotHeader, load_snapshot};
pub(crate) use tokens::{Need, TokenRecord};
pub use view::View;

#[cfg(test)]
mod damage_test;
#[cfg(test)]
mod history_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod sabotage;
#[cfg(test)]
mod select_test;
#[cfg(test)]
mod transaction_test;
