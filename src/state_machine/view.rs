//! View: a point in time of the whole store, while writes go on.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::keyspace::{Content, StateMachine, Writer, record_of};
use super::slot::{Slot, Version};
use crate::error::Result;
use crate::model::RecordView;

const SLOTS_PER_STEP: usize = 256;

/// A point in time of the whole store. Writes go on meanwhile; what they replace is kept in memory
/// as long as the view lives, so do not keep one longer than needed.
pub struct View {
    content: Arc<Content>,
    revision: u64,
    now_ms: u64,
}

/// One record as it is stored, for snapshots and digests.
pub(super) struct StoredRecord<'a> {
    pub(super) key: &'a [u8],
    pub(super) revision: u64,
    pub(super) deadline_ms: Option<u64>,
    pub(super) stored: &'a [u8],
}

impl StateMachine {
    /// Pins the present. Records whose deadline is at or before `now_ms` are invisible in it.
    pub(crate) fn view(&self, now_ms: u64) -> View {
        self.view_with(now_ms, |_, _| ()).0
    }

    /// The same together with what `also` reads at that very moment.
    pub(super) fn view_with<T>(&self, now_ms: u64, also: impl FnOnce(&Content, &Writer) -> T) -> (View, T) {
        let content = self.content_arc();
        let (revision, read) = {
            let mut writer = content.writer();
            let revision = writer.revision;
            writer.versions.pin(revision);
            (revision, also(&content, &writer))
        };
        (View { content, revision, now_ms }, read)
    }
}

impl View {
    /// Revision of the last change that this view sees.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The time by which records have expired in it.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Reads one record; `None` when it was missing or expired.
    pub fn get<T>(&self, key: &[u8], f: impl FnOnce(RecordView<'_>) -> T) -> Result<Option<T>> {
        let Some(slot) = self.content.slot(key) else { return Ok(None) };
        let current = slot.current();
        if current.as_ref().revision() <= self.revision {
            return Ok(record_of(current.as_ref(), self.now_ms)?.map(f));
        }
        match self.older(&slot) {
            Some(version) => Ok(record_of(version.as_ref(), self.now_ms)?.map(f)),
            None => Ok(None),
        }
    }

    /// Visits the records of a range of keys in key order, until `f` breaks off.
    pub fn scan(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        mut f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.walk(range, |slot, version| match record_of(version.as_ref(), self.now_ms)? {
            Some(record) => Ok(f(slot.key(), record)),
            None => Ok(ControlFlow::Continue(())),
        })
    }

    /// Visits everything that is stored, expired records included.
    pub(super) fn scan_stored(&self, mut f: impl FnMut(StoredRecord<'_>) -> Result<()>) -> Result<()> {
        self.walk((Bound::Unbounded, Bound::Unbounded), |slot, version| {
            let version = version.as_ref();
            if !version.is_tombstone() {
                f(StoredRecord {
                    key: slot.key(),
                    revision: version.revision(),
                    deadline_ms: version.deadline_ms(),
                    stored: version.stored,
                })?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    pub(super) fn walk(
        &self,
        (start, end): (Bound<&[u8]>, Bound<&[u8]>),
        mut f: impl FnMut(&Slot, &Version) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if is_empty_range(start, end) {
            return Ok(());
        }
        let mut slots = Vec::with_capacity(SLOTS_PER_STEP);
        self.content.slots_in((start, end), SLOTS_PER_STEP, &mut slots);
        while let Some(last) = slots.last().cloned() {
            for slot in &slots {
                let current = slot.current();
                let version = if current.as_ref().revision() <= self.revision {
                    Some(current.to_version())
                } else {
                    self.older(slot)
                };
                drop(current);
                if let Some(version) = version
                    && f(slot, &version)?.is_break()
                {
                    return Ok(());
                }
            }
            self.content.slots_in((Bound::Excluded(last.key()), end), SLOTS_PER_STEP, &mut slots);
        }
        Ok(())
    }

    fn older(&self, slot: &Slot) -> Option<Version> {
        self.content.writer().versions.at(slot, self.revision)
    }
}

/// `BTreeSet::range` panics on inverted ranges; for us they are simply empty.
pub(super) fn is_empty_range(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    match (start, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.content.writer().versions.unpin(self.revision);
        // In pieces, so that no write waits for the whole of what a long view kept.
        while self.content.trim(1024) == 1024 {}
    }
}
