//! Log: the ordered, durable sequence of entries, ballots and purge marks of one node.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::config::Durability;
use crate::error::Result;

use super::data_dir::DataDir;
use super::io_failed;
use crate::telemetry::Metrics;
use committer::Committer;
use state::{Change, State};

mod committer;
mod driver;
mod failure;
mod frame;
mod index;
mod recovery;
mod segment;
mod spares;
mod state;
mod writer;

pub(crate) use driver::Driver;
#[cfg(test)]
pub(crate) use driver::Sabotage;
pub(crate) use recovery::Recovery;
#[cfg(test)]
pub(super) use segment::SegmentHead;

/// Bytes that many holders share.
pub(crate) type Payload = Arc<[u8]>;

/// Called once when a change is as durable as the log promises, or will never be.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Where an entry stands: the leader (term and node) that made it, and its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LogPosition {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}

/// One entry. What `kind` and `payload` mean is the business of who wrote them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogEntry {
    pub position: LogPosition,
    pub kind: u8,
    pub payload: Payload,
}

/// Raft's vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ballot {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// How a log works.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    /// When `done` is called. Ballots and purge marks are synced first, whatever this is (except in memory).
    pub durability: Durability,
    /// Largest size of a segment file, bytes; the first ones are smaller. An entry that needs more gets a segment of its own.
    pub segment_bytes: u64,
    /// Bytes of recent entries kept in memory for `read`.
    pub cache_bytes: usize,
    /// An `append_alone` of at most this many payload bytes that finds the log idle is written and synced by its
    /// caller. 0: never.
    pub inline_bytes: usize,
    /// After this time without a write the log notes in its file that all before is durable, and the commit position. Damage
    /// to the last write before a crash is told from a torn write only after that.
    pub mark_after_ms: u64,
    /// How long the log's thread looks for new work before it sleeps, microseconds.
    pub spin_us: u64,
    /// Who does the work.
    pub driver: Driver,
    /// What is told of each sync.
    pub metrics: Arc<Metrics>,
    /// A mistake made on purpose, for tests that must find it.
    #[cfg(test)]
    pub sabotage: Sabotage,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            durability: Durability::Always,
            segment_bytes: 64 * 1024 * 1024,
            cache_bytes: 8 * 1024 * 1024,
            inline_bytes: 4096,
            mark_after_ms: 1000,
            spin_us: 30,
            driver: Driver::Thread,
            metrics: Arc::default(),
            #[cfg(test)]
            sabotage: Sabotage::None,
        }
    }
}

/// The log of one node; clones are the same log.
///
/// - Changes take effect for readers at once and reach the disk in the order of the calls; `done` is called in
///   that order, on the log's thread or on the calling one, and no lock of the log is held meanwhile. It must be quick; it may
///   append, but not close the log.
/// - One write and one fdatasync carry all that was queued meanwhile.
/// - After a failed write or fdatasync nothing is acknowledged any more: see `failure`.
#[derive(Clone)]
pub(crate) struct Log {
    handle: Arc<Handle>,
}

struct Handle {
    committer: Arc<Committer>,
    thread: Mutex<Option<JoinHandle<()>>>,
    recovery: Recovery,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Handle {
    fn close(&self) {
        self.committer.begin_to_close();
        if self.committer.drive_to_the_end() {
            return;
        }
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // The last clone may be dropped by a callback, on the log's own thread.
        if thread.thread().id() != std::thread::current().id() {
            thread.join().ok();
            self.committer.join_helpers();
        }
    }
}

impl Log {
    /// Opens the log of a data directory and recovers it: a torn tail is repaired, see `recovery`.
    ///
    /// Errors: `corrupt` when acknowledged entries are damaged or missing, and then nothing on disk has changed;
    /// `invalid_config` when a newer release wrote it; `io`.
    pub(crate) fn open(data_dir: &DataDir, options: LogOptions) -> Result<Log> {
        if options.durability == Durability::Memory {
            return Ok(Log::in_memory());
        }
        let is_manual = matches!(options.driver, Driver::Manual(_));
        let mut recovered = recovery::recover(data_dir, &options)?;
        let state = State::recovered(&mut recovered, options.cache_bytes);
        let recovery = recovered.report.clone();
        let committer = Arc::new(Committer::new(state, Some(recovered.writer), options));
        let thread = match is_manual {
            true => None,
            false => {
                let on_thread = committer.clone();
                let thread = std::thread::Builder::new().name("concord-log".into()).spawn(move || on_thread.run());
                Some(thread.map_err(|error| io_failed("start the thread for", data_dir.path(), error))?)
            }
        };
        Ok(Log { handle: Arc::new(Handle { committer, thread: Mutex::new(thread), recovery }) })
    }

    /// A log that is never written: entries are kept until they are purged, callbacks are called at once.
    pub(crate) fn in_memory() -> Log {
        let options = LogOptions { durability: Durability::Memory, cache_bytes: usize::MAX, ..LogOptions::default() };
        let committer = Arc::new(Committer::new(State::empty(), None, options));
        Log { handle: Arc::new(Handle { committer, thread: Mutex::new(None), recovery: Recovery::default() }) }
    }

    /// What opening found.
    pub(crate) fn recovery(&self) -> &Recovery {
        &self.handle.recovery
    }

    /// Last entry; the purge mark when there is none after it.
    pub(crate) fn last(&self) -> Option<LogPosition> {
        self.handle.committer.state().last
    }

    /// Up to where entries are gone for good.
    pub(crate) fn purged(&self) -> Option<LogPosition> {
        self.handle.committer.state().purged
    }

    /// The last saved ballot.
    pub(crate) fn ballot(&self) -> Option<Ballot> {
        self.handle.committer.state().ballot
    }

    /// The last saved commit position; after a restart it may be an older one.
    pub(crate) fn committed(&self) -> Option<LogPosition> {
        self.handle.committer.state().committed
    }

    /// Appends entries, which must follow the last one without a gap (else `done` gets `InvalidInput`). They are
    /// readable at once and stay so; `done` is called when they are durable.
    pub(crate) fn append(&self, entries: Vec<LogEntry>, done: Done) {
        self.handle.committer.submit(Change::Append(entries), false, done);
    }

    /// The same, for a caller that has nothing else to append until this is durable: when the log is idle and the entries are
    /// small (`inline_bytes`), it is written and synced, and `done` called, before this returns. That saves two changes of
    /// thread; a caller that could have appended more meanwhile loses far more.
    pub(crate) fn append_alone(&self, entries: Vec<LogEntry>, done: Done) {
        self.handle.committer.submit(Change::Append(entries), true, done);
    }

    /// Saves the ballot; `done` is called when it is durable, together with all that was appended before.
    pub(crate) fn save_ballot(&self, ballot: Ballot, done: Done) {
        self.handle.committer.submit(Change::Ballot(ballot), false, done);
    }

    /// Saves the commit position with the next write, or when the log has been idle (`mark_after_ms`).
    pub(crate) fn save_committed(&self, position: LogPosition) {
        self.handle.committer.save_committed(position);
    }

    /// Removes the entries after `position`; `None`: all of them.
    pub(crate) fn truncate_after(&self, position: Option<LogPosition>, done: Done) {
        self.handle.committer.submit(Change::Truncate(position), false, done);
    }

    /// Removes the entries up to `upto` for good. When it lies beyond the last entry, the log is empty after it and the
    /// next entry has the index `upto.index + 1`. Whole segments that are not needed any more go.
    pub(crate) fn purge(&self, upto: LogPosition, done: Done) {
        self.handle.committer.submit(Change::Purge(upto), false, done);
    }

    /// Entries with these indexes, as many as `max_bytes` of payload allow, but at least one if there is one. What is
    /// purged or not there yet is left out.
    ///
    /// Errors: `InvalidData` when what lies in the file is damaged; the message names file and offset.
    pub(crate) fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<LogEntry>> {
        let plan = self.handle.committer.state().plan_read(range, max_bytes);
        plan.read()
    }

    /// Bytes of the log that a purge up to its end would free.
    pub(crate) fn bytes(&self) -> u64 {
        self.handle.committer.state().sizes.bytes()
    }

    /// Whether an entry with so many payload bytes may be appended: false when the disk is full and the space that was
    /// reserved is used up. It tries to reserve again at most every 200 ms. Three atomic reads while there is room; it
    /// never waits: a next segment that is just being made counts as room, unless the attempt before failed. Ask before
    /// each append: what is appended without room waits for space, and everything behind it.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.handle.committer.has_room(bytes)
    }

    /// Waits until it is known whether there is space for the next segment.
    #[cfg(test)]
    pub(crate) fn wait_until_settled(&self) {
        self.handle.committer.wait_until_settled();
    }

    /// Why nothing is acknowledged any more: a write or fdatasync failed. It is never tried again, because the kernel may
    /// have dropped what it could not write. `None` while all is well.
    pub(crate) fn failure(&self) -> Option<String> {
        self.handle.committer.failure()
    }

    /// One round of what the log's thread would do now, for a log with `Driver::Manual`: syncs what the round before left
    /// unsynced (`Durability::Interval`), then writes, syncs and answers what is queued, or else notes what is durable; frees
    /// and prepares segments. True when there is more to do: call it again, then or later. It does nothing while
    /// another call is under way, nor in a log that has a thread or lies in memory.
    pub(crate) fn drive(&self) -> bool {
        self.handle.committer.drive()
    }

    /// Writes and syncs what is queued and ends the thread. Later changes fail.
    pub(crate) fn close(&self) {
        self.handle.close();
    }
}
