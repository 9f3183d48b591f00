//! The state machine: commands in, replies out, the same on every replica. No clock, no randomness, no files.
//!
//! Versions of what commands mean (a replica of an older version must not apply newer commands):
//!
//! | version | since | change |
//! |--|--|--|
//! | 1 | 0.1.0 | put, delete, touch, increment, their bulk forms, expire; time is the largest stamp of a command |
//! | 2 | 0.2.0 | time is the leader's stamp of the batch, deadlines are lifetimes from then on; sessions, whose batches are applied once |
//!
//! Entries of version 1 mean for ever what they meant; a batch says by its first byte which it is. Snapshots
//! of version 1 have no sessions.
//!
//! Structure (the best of sixteen measured): every key has a slot with an atomic pointer to its current
//! version. Point reads reach it through a lock-free hash map, scans through an ordered set that is locked
//! only to insert or remove keys. One writer at a time applies commands. A pinned view makes the writer keep
//! the versions that it replaces, so a point in time can be walked in pieces while writes go on.

mod apply;
mod digest;
mod expiry;
mod feed;
mod keyspace;
mod sessions;
mod slot;
mod snapshot;
mod versions;
mod view;

pub use feed::{Change, ChangeKind, Changes, FeedItem};
pub(crate) use keyspace::StateMachine;
pub(crate) use sessions::{Applied, Outcome, put_outcome, read_outcome};
pub(crate) use snapshot::{PinnedSnapshot, SnapshotHeader, load_snapshot};
pub use view::View;

#[cfg(test)]
mod damage_test;
#[cfg(test)]
mod feed_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod sabotage;
