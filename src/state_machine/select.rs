//! Select: walks over the records that a selection picks, in pieces of a view, or at once for a command.

use std::ops::{Bound, ControlFlow};

use super::keyspace::Content;
use super::slot::{Slot, VersionRef};
use super::view::{View, is_empty_range};
use crate::encoding::stored;
use crate::error::Result;
use crate::expression::{Selection, Subject};
use crate::model::RecordView;

/// Slots that are looked at while the order is locked.
const SLOTS_PER_STEP: usize = 256;

/// Where a walk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The last key that was looked at; the walk goes on behind it.
    pub(crate) after: Option<Vec<u8>>,
    /// How many picked records are still to be left out.
    pub(crate) skip: u64,
    /// How many more are wanted; `None` is all.
    pub(crate) left: Option<u64>,
    /// How many were picked, without those that were left out.
    pub(crate) picked: u64,
}

impl Walk {
    /// Before the first record.
    pub(crate) fn of(selection: &Selection) -> Walk {
        Walk { after: None, skip: selection.offset, left: selection.limit, picked: 0 }
    }

    fn take(&mut self) {
        // Where it stands may have come from outside.
        self.picked = self.picked.saturating_add(1);
        self.left = self.left.map(|left| left - 1);
    }
}

/// What is done at most before a walk pauses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Keys that are looked at, picked or not.
    pub(crate) keys_max: usize,
    /// Bytes of values that are looked at. Passed by at most one value.
    pub(crate) bytes_max: usize,
}

impl Effort {
    /// To the end.
    pub(crate) const WHOLE: Effort = Effort { keys_max: usize::MAX, bytes_max: usize::MAX };
}

impl View {
    /// Visits the picked records in key order from where the walk stands, and moves the walk on. Without `with_values` they
    /// come with an empty value. A record at which `f` breaks off is not taken: it comes first the next time. True when the
    /// walk is at its end.
    pub(crate) fn select(
        &self,
        selection: &Selection,
        walk: &mut Walk,
        with_values: bool,
        effort: Effort,
        mut f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        if walk.left == Some(0) {
            return Ok(true);
        }
        let (from, to) = selection.range();
        let after = walk.after.take();
        let from = after.as_deref().map_or(from, Bound::Excluded);
        let (mut keys, mut bytes, mut is_whole) = (0, 0, true);
        let mut last: Option<Slot> = None;
        let walked = self.walk((from, to), |slot, version| {
            if keys == effort.keys_max || bytes >= effort.bytes_max {
                is_whole = false;
                return Ok(ControlFlow::Break(()));
            }
            keys += 1;
            let candidate = Candidate { slot, version: version.as_ref(), now_ms: self.now_ms() };
            let taken = candidate.judge(selection, with_values, &mut bytes, |record| {
                if walk.skip > 0 {
                    walk.skip -= 1;
                    return true;
                }
                let is_taken = f(slot.key(), record).is_continue();
                if is_taken {
                    walk.take();
                }
                is_taken
            })?;
            if !taken {
                is_whole = false;
                return Ok(ControlFlow::Break(()));
            }
            last = Some(slot.clone());
            Ok(if walk.left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        walk.after = last.map(|slot| slot.key().to_vec()).or(after);
        walked.map(|()| is_whole)
    }
}

impl Content {
    /// The slots of all records that are picked as they are now, in key order.
    pub(super) fn picked(&self, selection: &Selection, now_ms: u64) -> Result<Vec<Slot>> {
        let (mut picked, mut skip) = (Vec::new(), selection.offset);
        let limit = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (from, to) = selection.range();
        if is_empty_range(from, to) || limit == 0 {
            return Ok(picked);
        }
        let mut slots = Vec::with_capacity(SLOTS_PER_STEP);
        self.slots_in((from, to), SLOTS_PER_STEP, &mut slots);
        while let Some(last) = slots.last().cloned() {
            for slot in &slots {
                let current = slot.current();
                let candidate = Candidate { slot, version: current.as_ref(), now_ms };
                candidate.judge(selection, false, &mut 0, |_| {
                    match skip {
                        0 => picked.push(slot.clone()),
                        _ => skip -= 1,
                    }
                    true
                })?;
                if picked.len() == limit {
                    return Ok(picked);
                }
            }
            self.slots_in((Bound::Excluded(last.key()), to), SLOTS_PER_STEP, &mut slots);
        }
        Ok(picked)
    }
}

/// A record that may be picked.
struct Candidate<'a> {
    slot: &'a Slot,
    version: VersionRef<'a>,
    now_ms: u64,
}

impl Candidate<'_> {
    /// Hands the record on if it is picked. False when `f` was asked and said so.
    fn judge(
        &self,
        selection: &Selection,
        with_value: bool,
        bytes: &mut usize,
        f: impl FnOnce(RecordView<'_>) -> bool,
    ) -> Result<bool> {
        let (key, version) = (self.slot.key(), self.version);
        let is_gone = version.is_tombstone() || version.is_expired_at(self.now_ms);
        if is_gone || !selection.picks_key(key) {
            return Ok(true);
        }
        let (revision, ttl_ms) =
            (version.revision(), version.deadline_ms().map(|deadline_ms| deadline_ms - self.now_ms));
        let mut value = Default::default();
        if with_value || selection.filter().is_some() {
            *bytes += stored::opened_len(version.stored);
            value = stored::open(version.stored)?;
            if !selection.picks_record(&Subject { key, value: &value, revision, ttl_ms }) {
                return Ok(true);
            }
        }
        if !with_value {
            value = Default::default();
        }
        Ok(f(RecordView { value, revision, ttl_ms }))
    }
}
