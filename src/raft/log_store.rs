//! Log store: Raft's log and vote on the storage room's log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::oneshot;

use super::entry::{Entry, Vote, ballot_of, from_stored, log_id_of, position_of, to_stored, vote_of};
use super::types::{LogId, Types};
use crate::storage::{Done, Log};

/// Most bytes of entries that one read hands out; longer ranges are read in several steps.
const READ_BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone)]
pub(super) struct LogStore {
    log: Log,
}

impl LogStore {
    pub(super) fn new(log: Log) -> LogStore {
        LogStore { log }
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        self.log.read(start..end, bytes_max)?.into_iter().map(from_stored).collect()
    }
}

/// Waits for an operation of the log whose completion comes as a callback.
async fn completed(start: impl FnOnce(Done)) -> io::Result<()> {
    let (sender, receiver) = oneshot::channel();
    start(Box::new(move |result| {
        let _ = sender.send(result);
    }));
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log was closed")))
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut next = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => *start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => *end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let mut entries = Vec::new();
        while next < end {
            let more = self.read(next, end, READ_BYTES_MAX)?;
            let Some(last) = more.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.ballot().map(vote_of))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.log.purged().map(log_id_of);
        let last_log_id = self.log.last().map(log_id_of).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        completed(|done| self.log.save_ballot(ballot_of(vote), done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.log.save_committed(position_of(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.committed().map(log_id_of))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let done: Done = Box::new(move |result| callback.io_completed(result));
        let entries: Vec<Entry> = entries.into_iter().collect();
        let is_alone = matches!(&entries[..], [Entry { payload: EntryPayload::Normal(batch), .. }] if batch.is_alone);
        let entries = entries.into_iter().map(to_stored).collect();
        if is_alone {
            self.log.append_alone(entries, done);
        } else {
            self.log.append(entries, done);
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        completed(|done| self.log.truncate_after(last_log_id.as_ref().map(position_of), done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        completed(|done| self.log.purge(position_of(&log_id), done)).await
    }
}
