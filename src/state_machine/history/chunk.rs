//! Chunk: changes of whole commands, side by side in memory, never changed once they are published.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::recorder::Change;
use crate::encoding::stored;
use crate::error::Result;
use crate::model::{EventKind, EventView, Position};
use crate::state_machine::slot::Version;

/// Values above this are not copied: they are shared with the record.
const COPIED_BYTES_MAX: usize = 1024;
const NO_DEADLINE: u64 = u64::MAX;
/// What the memory of a chunk costs beside its changes.
const CHUNK_OVERHEAD_BYTES: usize = 256;
/// What a shared value costs beside its bytes.
const SHARED_OVERHEAD_BYTES: usize = 48;

const IS_BULK: u8 = 1;
const IS_LAST: u8 = 1 << 1;
const IS_SAME_VALUE: u8 = 1 << 2;
const SHARES_VALUE: u8 = 1 << 3;
const SHARES_PREVIOUS: u8 = 1 << 4;

/// A value, and the data behind it.
type Opened<'a> = (Option<Cow<'a, [u8]>>, &'a [u8]);

/// Invariant: the last change of every command in it is marked, and no command is in two chunks.
#[derive(Default)]
pub(super) struct Chunk {
    entries: Vec<Entry>,
    /// Keys and values, one after the other.
    data: Vec<u8>,
    shared: Vec<Version>,
    shared_bytes: usize,
}

/// One change. A length of 0 is no value; a shared one has its place in `shared` instead of a length.
struct Entry {
    revision: u64,
    time_ms: u64,
    deadline_ms: u64,
    data_at: u32,
    value_len: u32,
    previous_len: u32,
    key_len: u16,
    kind: EventKind,
    marks: u8,
}

impl Chunk {
    /// An empty one with room for about as much.
    pub(super) fn like(other: &Chunk) -> Chunk {
        let (entries, data) = (Vec::with_capacity(other.entries.len()), Vec::with_capacity(other.data.len()));
        Chunk { entries, data, ..Chunk::default() }
    }

    /// Gives back what it has taken too much, as only what it holds is counted.
    pub(super) fn shrink(&mut self) {
        let is_loose = |len: usize, capacity: usize| capacity > len + len / 8;
        if is_loose(self.entries.len(), self.entries.capacity()) {
            self.entries.shrink_to_fit();
        }
        if is_loose(self.data.len(), self.data.capacity()) {
            self.data.shrink_to_fit();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About the memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        CHUNK_OVERHEAD_BYTES + size_of_val(&*self.entries) + self.data.len() + self.shared_bytes
    }

    pub(super) fn first_revision(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.revision)
    }

    pub(super) fn last_revision(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.revision)
    }

    pub(super) fn holds(&self, revision: u64) -> bool {
        self.first_revision() <= Some(revision) && Some(revision) <= self.last_revision()
    }

    /// Appends a change. All data lies within 4 GiB, as more is never retained.
    pub(super) fn push(&mut self, revision: u64, time_ms: u64, change: &Change<'_>) {
        let Change { kind, is_bulk, key, version, previous } = *change;
        let data_at = self.data.len() as u32;
        self.data.extend_from_slice(key);
        let (mut marks, mut value_len, mut previous_len) = (if is_bulk { IS_BULK } else { 0 }, 0, 0);
        let deadline_ms = version.and_then(|version| version.as_ref().deadline_ms()).unwrap_or(NO_DEADLINE);
        if let Some(version) = version {
            let (len, is_shared) = self.put(version.as_ref().stored, || version.clone());
            (value_len, marks) = (len, marks | if is_shared { SHARES_VALUE } else { 0 });
        }
        match previous {
            Some(_) if kind == EventKind::Touch => marks |= IS_SAME_VALUE,
            Some(previous) => {
                let (len, is_shared) = self.put(previous.as_ref().stored, || previous.to_version());
                (previous_len, marks) = (len, marks | if is_shared { SHARES_PREVIOUS } else { 0 });
            }
            None => {}
        }
        let key_len = key.len() as u16;
        let entry = Entry { revision, time_ms, deadline_ms, data_at, value_len, previous_len, key_len, kind, marks };
        self.entries.push(entry);
    }

    /// Keeps a value: its length, or its place among those that are shared.
    fn put(&mut self, stored: &[u8], share: impl FnOnce() -> Version) -> (u32, bool) {
        if stored.len() <= COPIED_BYTES_MAX {
            self.data.extend_from_slice(stored);
            return (stored.len() as u32, false);
        }
        self.shared_bytes += stored.len() + SHARED_OVERHEAD_BYTES;
        self.shared.push(share());
        (self.shared.len() as u32 - 1, true)
    }

    /// Says that the command of the last change is complete.
    pub(super) fn end_command(&mut self) {
        if let Some(entry) = self.entries.last_mut() {
            entry.marks |= IS_LAST;
        }
    }

    /// The first change behind this position.
    pub(super) fn find(&self, position: Position) -> usize {
        let first = self.entries.partition_point(|entry| entry.revision < position.revision);
        let behind = first.saturating_add(position.changes as usize);
        let end = self.entries.partition_point(|entry| entry.revision <= position.revision);
        behind.min(end)
    }

    /// Hands one change to `f`; tells the position behind it.
    pub(super) fn with(
        &self,
        at: usize,
        position: Position,
        f: &mut impl FnMut(&EventView<'_>) -> ControlFlow<()>,
    ) -> Result<(Position, ControlFlow<()>)> {
        let entry = &self.entries[at];
        let changes = if position.revision == entry.revision { position.changes } else { 0 };
        let next = if entry.marks & IS_LAST != 0 {
            Position::after(entry.revision)
        } else {
            Position { revision: entry.revision, changes: changes + 1 }
        };
        let (key, rest) = self.data[entry.data_at as usize..].split_at(usize::from(entry.key_len));
        let (value, rest) = self.value(rest, entry.value_len, entry.marks & SHARES_VALUE != 0)?;
        let (previous, _) = match entry.marks & IS_SAME_VALUE {
            0 => self.value(rest, entry.previous_len, entry.marks & SHARES_PREVIOUS != 0)?,
            _ => (value.clone(), rest),
        };
        let flow = f(&EventView {
            kind: entry.kind,
            revision: entry.revision,
            next,
            time_ms: entry.time_ms,
            is_bulk: entry.marks & IS_BULK != 0,
            key,
            value: value.as_deref(),
            previous: previous.as_deref(),
            deadline_ms: Some(entry.deadline_ms).filter(|deadline_ms| *deadline_ms != NO_DEADLINE),
        });
        Ok((next, flow))
    }

    /// A value as it was before it was stored, and the data behind it.
    fn value<'a>(&'a self, data: &'a [u8], len: u32, is_shared: bool) -> Result<Opened<'a>> {
        if is_shared {
            return Ok((Some(stored::open(self.shared[len as usize].as_ref().stored)?), data));
        }
        let (stored, rest) = data.split_at(len as usize);
        Ok((if stored.is_empty() { None } else { Some(stored::open(stored)?) }, rest))
    }
}
