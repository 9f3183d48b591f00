//! Slot: the place of one key, holding its current record behind an atomic pointer.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use arc_swap::{ArcSwapAny, Guard};
use triomphe::ThinArc;

const TOMBSTONE: u64 = 1 << 63;
const SHARED: u64 = 1 << 62;
const REVISION_MASK: u64 = SHARED - 1;
const NO_DEADLINE: u64 = u64::MAX;

/// One version of a record: a single allocation with the stored value inline.
///
/// - `revision` is that of the command that wrote it.
/// - A tombstone says that the key is gone; it has no value.
/// - A shared version belongs to a command that changes several keys: readers wait until all are in place.
#[derive(Clone)]
pub(super) struct Version(ThinArc<VersionHead, u8>);

struct VersionHead {
    revision_and_marks: u64,
    deadline_ms: u64,
}

// `ArcSwapAny` needs the pointer type itself, so the cell holds the `ThinArc` inside `Version`.
type Cell = ArcSwapAny<ThinArc<VersionHead, u8>>;

impl Version {
    pub(super) fn new(revision: u64, shared: bool, deadline_ms: Option<u64>, stored: &[u8]) -> Version {
        let marks = if shared { SHARED } else { 0 };
        let head =
            VersionHead { revision_and_marks: revision | marks, deadline_ms: deadline_ms.unwrap_or(NO_DEADLINE) };
        Version(ThinArc::from_header_and_slice(head, stored))
    }

    pub(super) fn tombstone(revision: u64, shared: bool) -> Version {
        let marks = TOMBSTONE | if shared { SHARED } else { 0 };
        let head = VersionHead { revision_and_marks: revision | marks, deadline_ms: NO_DEADLINE };
        Version(ThinArc::from_header_and_slice(head, &[]))
    }

    pub(super) fn as_ref(&self) -> VersionRef<'_> {
        VersionRef { head: &self.0.header.header, stored: &self.0.slice }
    }
}

/// A borrowed version.
#[derive(Clone, Copy)]
pub(super) struct VersionRef<'a> {
    head: &'a VersionHead,
    pub(super) stored: &'a [u8],
}

impl VersionRef<'_> {
    pub(super) fn revision(&self) -> u64 {
        self.head.revision_and_marks & REVISION_MASK
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.head.revision_and_marks & TOMBSTONE != 0
    }

    pub(super) fn is_shared(&self) -> bool {
        self.head.revision_and_marks & SHARED != 0
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        (self.head.deadline_ms != NO_DEADLINE).then_some(self.head.deadline_ms)
    }

    pub(super) fn is_expired_at(&self, now_ms: u64) -> bool {
        self.head.deadline_ms <= now_ms
    }
}

/// A version that is protected while it is looked at, without touching its reference count.
pub(super) struct Current(Guard<ThinArc<VersionHead, u8>>);

impl Current {
    pub(super) fn as_ref(&self) -> VersionRef<'_> {
        VersionRef { head: &self.0.header.header, stored: &self.0.slice }
    }

    pub(super) fn to_version(&self) -> Version {
        Version(ThinArc::clone(&self.0))
    }
}

/// The place of one key. Ordered, hashed and compared by the key's bytes.
#[derive(Clone)]
pub(super) struct Slot(ThinArc<SlotHead, u8>);

struct SlotHead {
    current: Cell,
}

impl Slot {
    pub(super) fn new(key: &[u8], version: Version) -> Slot {
        Slot(ThinArc::from_header_and_slice(SlotHead { current: ArcSwapAny::new(version.0) }, key))
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.0.slice
    }

    pub(super) fn current(&self) -> Current {
        Current(self.0.header.header.current.load())
    }

    pub(super) fn replace(&self, version: Version) {
        self.0.header.header.current.store(version.0);
    }

    /// What tells this slot from another one, also from a later one of the same key.
    pub(super) fn identity(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Borrow<[u8]> for Slot {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Slot) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Slot) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Slot) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
