//! FILES: the data directory, the log, the snapshots. Only this room says `std::fs`.
//!
//! | file | noun |
//! |--|--|
//! | `files` | the seam to the operating system; `mem_files` is its twin for tests, with faults and crashes |
//! | `data_dir` | one locked directory with an identity, which `meta` writes down and `formation` prepares for a cluster |
//! | `replacement` | puts a new data directory in the place of an old one |
//! | `log/` | the ordered, durable log of entries, ballots and purge marks |
//! | `snapshot/` | files that hold the whole state at one log position, on disk or in a `memory_file` |
//!
//! Why a log of our own and not a library: behind the batcher raft-engine 0.4, fjall 3 and redb 4 reach 565, 710 and
//! 368 thousand durable writes a second where a plain append file reaches 586 (256 callers, one machine, one run); the
//! file format is not where throughput is won. raft-engine would bring protobuf 2 and C code. What a Raft log needs
//! beyond appending (ballot and entries in one order, repair of a torn tail but refusal of damage, no loss on a full
//! disk) has to be proved by our own fault tests in any case.
//!
//! Everything stored carries a format version and checksums. Damage is an error of kind `corrupt` that names
//! file and offset; it is never skipped over.

// What a cluster needs of this room is called by tests before the rooms above call it.
#![cfg_attr(not(test), allow(dead_code, unused_imports))]

use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};

mod data_dir;
mod files;
mod formation;
mod log;
#[cfg(test)]
mod mem_files;
mod memory_file;
mod meta;
mod replacement;
mod small_file;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use data_dir::{DataDir, Identity};
#[cfg(test)]
pub(crate) use files::Files;
pub(crate) use files::RealFiles;
#[cfg(test)]
pub(crate) use log::Driver;
#[cfg(test)]
pub(crate) use log::Sabotage;
pub(crate) use log::{Ballot, Done, Log, LogEntry, LogOptions, LogPosition, Payload};
#[cfg(test)]
pub(crate) use mem_files::MemFiles;
pub(crate) use replacement::Replacement;
pub(crate) use snapshot::{SnapshotFile, SnapshotReceiver, SnapshotStore};

/// An error of kind `io` that says what was tried on which file.
fn io_failed(action: &str, path: &Path, cause: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {action} {}: {cause}", path.display())).with_source(cause)
}

/// An error of kind `corrupt` that names file and offset.
fn damaged(path: &Path, offset: u64, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} is damaged at offset {offset}: {what}", path.display()))
}

/// Whether this error says that there is no space left; such a one goes away by itself.
pub(crate) fn is_disk_full(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}
