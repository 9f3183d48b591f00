//! Index: the records of which a part of the value is known by its order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::encoding::stored;
use crate::error::Result;
use crate::expression::Path;
use crate::state_machine::keyspace::{Content, Writer};
use crate::state_machine::slot::{Slot, Version, VersionRef};

/// Keys that are looked at while the writer is held up, when an index is built.
const SLOTS_PER_SLICE: usize = 256;
/// Entries that are looked at while the writer of the index is held up.
const ENTRIES_PER_LOOK: usize = 1_024;

/// One index. What it is comes from a command; what it holds each node makes of its records.
///
/// Invariants, as soon as the writer of the state machine rests:
/// - It has an entry for each term of each record whose key is not behind `built`, with the record's deadline.
/// - All entries are of whole commands: they change under one lock before the command is published.
pub(crate) struct Index {
    name: Box<str>,
    path: Box<str>,
    extractor: Path,
    state: RwLock<State>,
}

struct State {
    entries: BTreeMap<Entry, u64>,
    built: Built,
}

/// A term, and the slot of the key; ordered by the term's bytes, then by the key's.
type Entry = (Box<[u8]>, Slot);

const NO_DEADLINE: u64 = u64::MAX;

/// How far an index is.
enum Built {
    /// It holds what there is of the keys up to this one.
    UpTo(Option<Slot>),
    Whole,
}

/// One change of one key: what was there, and what is.
pub(in crate::state_machine) struct Indexed {
    pub(in crate::state_machine) slot: Slot,
    pub(in crate::state_machine) old: Option<Version>,
    pub(in crate::state_machine) new: Option<Version>,
}

/// Where a walk over an index begins and ends.
pub(crate) struct TermRange {
    /// Nothing before it; none is the beginning.
    pub(crate) from: Option<Box<[u8]>>,
    /// Nothing after it; none is the end.
    pub(crate) to: Option<Box<[u8]>>,
    /// The term and the key behind which the walk goes on.
    pub(crate) after: Option<(Box<[u8]>, Vec<u8>)>,
}

impl Index {
    /// Errors: `invalid_condition` for what is no path.
    pub(super) fn new(name: &str, path: &str) -> Result<Index> {
        let extractor = Path::parse(path)?;
        let state = RwLock::new(State { entries: BTreeMap::new(), built: Built::UpTo(None) });
        Ok(Index { name: name.into(), path: path.into(), extractor, state })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_built(&self) -> bool {
        matches!(self.state().built, Built::Whole)
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.state().entries.len()
    }

    /// A value that cannot be opened says so where it is read; here it has no terms.
    fn terms(&self, version: VersionRef<'_>) -> Vec<Box<[u8]>> {
        if version.is_tombstone() {
            return Vec::new();
        }
        stored::open(version.stored).map_or(Vec::new(), |value| self.extractor.terms(&value))
    }

    /// Follows one command, in the order of its changes.
    pub(in crate::state_machine) fn follow(&self, changes: &[Indexed]) {
        let terms =
            |version: &Option<Version>| version.as_ref().map_or(Vec::new(), |version| self.terms(version.as_ref()));
        let deadline = |version: &Option<Version>| version.as_ref().and_then(|version| version.as_ref().deadline_ms());
        let mut moves = Vec::new();
        {
            let state = self.state();
            for change in changes.iter().filter(|change| state.covers(&change.slot)) {
                let (old, new) = (terms(&change.old), terms(&change.new));
                if old != new || deadline(&change.old) != deadline(&change.new) {
                    moves.push((&change.slot, old, new, deadline(&change.new).unwrap_or(NO_DEADLINE)));
                }
            }
        }
        if moves.is_empty() {
            return;
        }
        let mut state = self.state_mut();
        for (slot, old, new, deadline_ms) in moves {
            for term in old {
                state.entries.remove(&(term, slot.clone()));
            }
            for term in new {
                state.entries.insert((term, slot.clone()), deadline_ms);
            }
        }
    }

    /// Takes some more of the records that were there before the index was; true when none is left. Writes wait for as long as
    /// a look at a few hundred records takes.
    pub(super) fn build_more(&self, content: &Content) -> bool {
        // Nothing changes while it is held: the rest of the records is as it was found.
        let _writer: std::sync::MutexGuard<'_, Writer> = content.writer();
        let after = match &self.state().built {
            Built::Whole => return true,
            Built::UpTo(last) => last.clone(),
        };
        let from = after.as_ref().map_or(Bound::Unbounded, |slot| Bound::Excluded(slot.key()));
        let mut slots = Vec::with_capacity(SLOTS_PER_SLICE);
        content.slots_in((from, Bound::Unbounded), SLOTS_PER_SLICE, &mut slots);
        let found = slots.iter().flat_map(|slot| {
            let current = slot.current();
            let deadline_ms = current.as_ref().deadline_ms().unwrap_or(NO_DEADLINE);
            let terms = self.terms(current.as_ref());
            terms.into_iter().map(move |term| ((term, slot.clone()), deadline_ms))
        });
        let found: Vec<_> = found.collect();
        let mut state = self.state_mut();
        state.entries.extend(found);
        let is_last = slots.len() < SLOTS_PER_SLICE;
        state.built = if is_last { Built::Whole } else { Built::UpTo(slots.pop()) };
        is_last
    }

    /// Hands on the keys of a range in the order of their terms, those that have not expired, each with its term, until `f`
    /// says that it has enough. Gives the place behind which there is more; all that it sees is of one moment.
    pub(super) fn walk(
        &self,
        range: &TermRange,
        now_ms: u64,
        mut f: impl FnMut(&[u8]) -> bool,
    ) -> Option<(Box<[u8]>, Vec<u8>)> {
        let lowest = || (range.from.clone().unwrap_or_default(), place(b""));
        let from = match &range.after {
            Some((term, key)) => Bound::Excluded((term.clone(), place(key))),
            None => Bound::Included(lowest()),
        };
        // A place that was given back may lie before the range: whoever gives it decides.
        let from = if range.after.as_ref().is_some_and(|(term, _)| *term < lowest().0) {
            Bound::Included(lowest())
        } else {
            from
        };
        let state = self.state();
        for (looked, ((term, slot), deadline_ms)) in state.entries.range((from, Bound::Unbounded)).enumerate() {
            if range.to.as_ref().is_some_and(|to| term > to) {
                return None;
            }
            let has_enough = *deadline_ms > now_ms && !f(slot.key());
            if has_enough || looked + 1 == ENTRIES_PER_LOOK {
                return Some((term.clone(), slot.key().to_vec()));
            }
        }
        None
    }
}

impl State {
    fn covers(&self, slot: &Slot) -> bool {
        match &self.built {
            Built::Whole => true,
            Built::UpTo(None) => false,
            Built::UpTo(Some(last)) => slot <= last,
        }
    }
}

/// A slot of nothing, to compare others with.
fn place(key: &[u8]) -> Slot {
    Slot::new(key, Version::tombstone(0, false))
}
