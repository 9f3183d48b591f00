//! Versions: older versions of records, kept only while somebody looks at an older point in time.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::slot::{Slot, Version};

/// How many superseded versions a write drops at most, so that no write pays for a long scan.
pub(super) const TRIM_PER_COMMAND: usize = 64;

/// Invariants:
/// - A version replaced at revision `at` is kept exactly as long as a pin below `at` exists.
/// - `queue` is ordered by `at`; `older[slot]` is ordered by revision.
/// - A grave is a slot whose key was removed while pinned; it leaves the indexes with its queue entry.
#[derive(Default)]
pub(super) struct Versions {
    pins: BTreeMap<u64, usize>,
    older: HashMap<usize, VecDeque<Version>>,
    queue: VecDeque<Superseded>,
}

struct Superseded {
    at: u64,
    slot: Slot,
    what: What,
}

#[derive(PartialEq)]
enum What {
    Version,
    Grave,
}

impl Versions {
    pub(super) fn pin(&mut self, revision: u64) {
        *self.pins.entry(revision).or_insert(0) += 1;
    }

    pub(super) fn unpin(&mut self, revision: u64) {
        if let Some(count) = self.pins.get_mut(&revision) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&revision);
            }
        }
    }

    /// Whether somebody may still look at a version with this revision.
    pub(super) fn needs(&self, revision: u64) -> bool {
        self.pins.last_key_value().is_some_and(|(newest, _)| *newest >= revision)
    }

    pub(super) fn keep(&mut self, slot: &Slot, version: Version, at: u64) {
        self.older.entry(slot.identity()).or_default().push_back(version);
        self.queue.push_back(Superseded { at, slot: slot.clone(), what: What::Version });
    }

    /// Whether an older version of this slot is kept, so that views must still find it.
    pub(super) fn keeps(&self, slot: &Slot) -> bool {
        self.older.contains_key(&slot.identity())
    }

    pub(super) fn bury(&mut self, slot: &Slot, at: u64) {
        self.queue.push_back(Superseded { at, slot: slot.clone(), what: What::Grave });
    }

    /// The newest kept version of this slot that was current at `revision`.
    pub(super) fn at(&self, slot: &Slot, revision: u64) -> Option<Version> {
        let versions = self.older.get(&slot.identity())?;
        versions.iter().rev().find(|version| version.as_ref().revision() <= revision).cloned()
    }

    /// Drops up to `budget` versions that no pin needs any more; calls `remove` for each grave.
    /// Returns how many it dropped.
    pub(super) fn trim(&mut self, budget: usize, mut remove: impl FnMut(&Slot, u64)) -> usize {
        let oldest_pin = self.pins.first_key_value().map_or(u64::MAX, |(revision, _)| *revision);
        let mut dropped = 0;
        while dropped < budget && self.queue.front().is_some_and(|front| front.at <= oldest_pin) {
            let Some(Superseded { at, slot, what }) = self.queue.pop_front() else { break };
            dropped += 1;
            match what {
                What::Grave => remove(&slot, at),
                What::Version => self.forget_oldest(&slot),
            }
        }
        if self.queue.is_empty() && self.older.capacity() > 1024 {
            self.older = HashMap::new();
            self.queue = VecDeque::new();
        }
        dropped
    }

    fn forget_oldest(&mut self, slot: &Slot) {
        let identity = slot.identity();
        if let Some(versions) = self.older.get_mut(&identity) {
            versions.pop_front();
            if versions.is_empty() {
                self.older.remove(&identity);
            }
        }
    }
}
