//! State: what the log is for its readers, and what is queued for the disk.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Instant;

use super::frame::{self, Found, FrameReader, Record};
use super::index::{Index, Run, Sizes};
use super::recovery::Recovered;
use super::segment::Standing;
use super::{Ballot, Done, LogEntry, LogPosition};

/// A change of the log.
pub(super) enum Change {
    Append(Vec<LogEntry>),
    Ballot(Ballot),
    Truncate(Option<LogPosition>),
    Purge(LogPosition),
    /// Not possible; its caller is told in its turn.
    Refused(String),
}

/// A change on its way to the disk.
pub(super) struct Queued {
    pub serial: u64,
    pub change: Change,
    pub done: Done,
}

struct Cached {
    entry: LogEntry,
    serial: u64,
}

impl Cached {
    /// What it takes in memory is about what it takes in a file.
    fn bytes(&self) -> usize {
        frame::entry_bytes(self.entry.payload.len()) as usize
    }
}

/// Everything behind the log's one short lock.
///
/// - `cache` holds the newest entries without gap up to `last`, or nothing.
/// - An entry leaves the cache only when it is in a file and in the index.
pub(super) struct State {
    pub ballot: Option<Ballot>,
    pub committed: Option<LogPosition>,
    /// `committed` has changed since it was last written.
    pub committed_is_news: bool,
    pub purged: Option<LogPosition>,
    pub last: Option<LogPosition>,
    pub sizes: Sizes,
    pub index: Index,
    cache: VecDeque<Cached>,
    cache_bytes: usize,
    cache_bytes_max: usize,

    pub queue: Vec<Queued>,
    /// Bytes that the queue and what is just being written take in segments.
    pub queued_bytes: u64,
    serial: u64,
    /// Somebody is writing (or calling back); they will look at the queue again.
    pub writing: bool,
    /// The log's thread waits to be notified.
    pub sleeping: bool,
    /// When it wakes by itself.
    pub sleeps_until: Option<Instant>,
    pub closing: bool,
    pub closed: bool,
    /// Bytes left in the current segment.
    pub room: u64,
    /// Since when bytes are written that are not synced.
    pub unsynced_since: Option<Instant>,
    /// Since when the last frame is no mark.
    pub unmarked_since: Option<Instant>,
}

impl State {
    pub(super) fn empty() -> State {
        State {
            ballot: None,
            committed: None,
            committed_is_news: false,
            purged: None,
            last: None,
            sizes: Sizes::default(),
            index: Index::default(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_bytes_max: usize::MAX,
            queue: Vec::new(),
            queued_bytes: 0,
            serial: 0,
            writing: false,
            sleeping: false,
            sleeps_until: None,
            closing: false,
            closed: false,
            room: 0,
            unsynced_since: None,
            unmarked_since: None,
        }
    }

    pub(super) fn recovered(recovered: &mut Recovered, cache_bytes_max: usize) -> State {
        let Standing { ballot, committed, purged, last } = recovered.writer.standing();
        State {
            ballot,
            committed,
            purged,
            last,
            sizes: std::mem::take(&mut recovered.sizes),
            index: std::mem::take(&mut recovered.index),
            cache_bytes_max,
            room: recovered.writer.room(),
            ..State::empty()
        }
    }

    /// Makes the change visible and queues it.
    pub(super) fn apply(&mut self, change: Change, done: Done) {
        self.serial += 1;
        let change = match change {
            Change::Append(entries) => match self.refusal(&entries) {
                Some(reason) => Change::Refused(reason),
                None => {
                    entries.iter().for_each(|entry| self.add(entry));
                    Change::Append(entries)
                }
            },
            Change::Ballot(ballot) => {
                self.ballot = Some(ballot);
                Change::Ballot(ballot)
            }
            Change::Truncate(position) => {
                // What is purged cannot come back.
                let position = position.max_by_index(self.purged);
                self.truncate_after(position);
                Change::Truncate(position)
            }
            Change::Purge(upto) => {
                self.purge(upto);
                Change::Purge(upto)
            }
            refused => refused,
        };
        self.queue.push(Queued { serial: self.serial, change, done });
    }

    fn refusal(&self, entries: &[LogEntry]) -> Option<String> {
        let mut last = self.last;
        for entry in entries {
            if let Some(last) = last.filter(|last| last.index.checked_add(1) != Some(entry.position.index)) {
                return Some(format!("entry {} does not follow entry {}", entry.position.index, last.index));
            }
            last = Some(entry.position);
        }
        None
    }

    fn add(&mut self, entry: &LogEntry) {
        let bytes = frame::entry_bytes(entry.payload.len());
        self.queued_bytes += bytes;
        self.sizes.add(entry.position.index, bytes);
        self.cache_bytes += bytes as usize;
        self.cache.push_back(Cached { entry: entry.clone(), serial: self.serial });
        self.last = Some(entry.position);
    }

    fn truncate_after(&mut self, position: Option<LogPosition>) {
        let from = position.map_or(0, |position| position.index.saturating_add(1));
        if self.last.is_none_or(|last| last.index < from) {
            return;
        }
        while self.cache.back().is_some_and(|cached| cached.entry.position.index >= from) {
            let cached = self.cache.pop_back();
            self.cache_bytes -= cached.map_or(0, |cached| cached.bytes());
        }
        self.sizes.truncate_from(from);
        self.last = position;
    }

    fn purge(&mut self, upto: LogPosition) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
        }
        while self.cache.front().is_some_and(|cached| cached.entry.position.index <= upto.index) {
            self.drop_oldest_cached();
        }
        self.sizes.purge(upto.index, self.last == Some(upto));
    }

    fn drop_oldest_cached(&mut self) {
        let cached = self.cache.pop_front();
        self.cache_bytes -= cached.map_or(0, |cached| cached.bytes());
    }

    /// Everything up to this change is in the files and in the index: the cache may shrink.
    pub(super) fn written(&mut self, serial: u64) {
        while self.cache_bytes > self.cache_bytes_max
            && self.cache.front().is_some_and(|oldest| oldest.serial <= serial)
        {
            self.drop_oldest_cached();
        }
    }

    /// Where to read these entries.
    pub(super) fn plan_read(&self, range: Range<u64>, max_bytes: usize) -> ReadPlan {
        let first = match self.purged {
            Some(purged) => purged.index.saturating_add(1),
            // A log may begin anywhere; recovery has made sure that nothing before its first entry was lost.
            None => self.index.first().or(self.cache.front().map(|oldest| oldest.entry.position.index)).unwrap_or(0),
        };
        let is_empty = self.last.is_none_or(|last| last.index < first);
        let end = self.last.filter(|_| !is_empty).map_or(0, |last| range.end.min(last.index.saturating_add(1)));
        let from = range.start.max(first);
        let mut plan = ReadPlan { from, file_end: from, max_bytes, runs: Vec::new(), cached: Vec::new() };
        if from >= end {
            return plan;
        }
        let cached_from = self.cache.front().map_or(end, |oldest| oldest.entry.position.index);
        if from < cached_from {
            plan.file_end = end.min(cached_from);
            plan.runs = self.index.runs(from, plan.file_end, max_bytes);
        }
        let mut bytes = 0;
        let place = |index: u64| (index - cached_from.min(index)) as usize;
        for cached in self.cache.range(place(from)..place(end)) {
            bytes += cached.entry.payload.len();
            if !plan.cached.is_empty() && bytes > max_bytes {
                break;
            }
            plan.cached.push(cached.entry.clone());
        }
        plan
    }
}

/// The later of two positions, by index.
trait MaxByIndex {
    fn max_by_index(self, other: Self) -> Self;
}

impl MaxByIndex for Option<LogPosition> {
    fn max_by_index(self, other: Self) -> Self {
        if other.map(|position| position.index) > self.map(|position| position.index) { other } else { self }
    }
}

/// Entries to be read, without the log's lock.
pub(super) struct ReadPlan {
    from: u64,
    /// Entries before this index are in files, the ones after in `cached`.
    file_end: u64,
    max_bytes: usize,
    runs: Vec<Run>,
    cached: Vec<LogEntry>,
}

impl ReadPlan {
    pub(super) fn read(self) -> io::Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        let (mut next, mut bytes) = (self.from, 0);
        let mut open: Option<(u64, FrameReader<'_>)> = None;
        for run in &self.runs {
            let segment = &run.segment;
            let bad = |offset: u64, why: &str| {
                let message = format!("{} is damaged at offset {offset}: {why}", segment.path.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            };
            let reader = match &mut open {
                Some((sequence, reader)) if *sequence == segment.sequence => reader,
                _ => &mut open.insert((segment.sequence, segment.reader())).1,
            };
            let mut offset = run.offset;
            while next < run.end.min(self.file_end) {
                match reader.at(offset)? {
                    Found::Frame { record, next: after } => {
                        offset = after;
                        let Record::Entry(entry) = record else { continue };
                        if entry.position.index < next {
                            continue;
                        }
                        if entry.position.index > next {
                            return Err(bad(offset, "an entry is missing"));
                        }
                        bytes += entry.payload.len();
                        if !entries.is_empty() && bytes > self.max_bytes {
                            return Ok(entries);
                        }
                        entries.push(entry);
                        next += 1;
                    }
                    Found::End => return Err(bad(offset, "entries are missing")),
                    Found::Bad(why) => return Err(bad(offset, why)),
                }
            }
        }
        if next < self.file_end {
            return Ok(entries);
        }
        if entries.is_empty() {
            return Ok(self.cached);
        }
        for entry in self.cached {
            bytes += entry.payload.len();
            if bytes > self.max_bytes {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}
