//! Event: one committed change of one key, and what else a watcher is told.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A value was written.
    Put,
    /// The key was removed by a caller.
    Delete,
    /// The key's lifetime changed, its value did not.
    Touch,
    /// The key was removed because its lifetime had passed.
    Expire,
    /// The key was there when the watch began; see [`WatchStart::State`](crate::WatchStart::State). No change.
    State,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 5] =
        [EventKind::Put, EventKind::Delete, EventKind::Touch, EventKind::Expire, EventKind::State];

    /// Name of this kind as every language spells it, for example `put`.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Put => "put",
            EventKind::Delete => "delete",
            EventKind::Touch => "touch",
            EventKind::Expire => "expire",
            EventKind::State => "state",
        }
    }

    /// Stable number of this kind, the same in every language and release.
    pub const fn code(self) -> u8 {
        match self {
            EventKind::Put => 0,
            EventKind::Delete => 1,
            EventKind::Touch => 2,
            EventKind::Expire => 3,
            EventKind::State => 4,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Kinds of changes that a watcher wants. `EventKinds::default()` is all of them.
///
/// ```
/// use concord_kv::{EventKind, EventKinds};
/// let removals: EventKinds = "delete,expire".parse()?;
/// assert!(removals.has(EventKind::Expire) && !removals.has(EventKind::Put));
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKinds(u8);

impl EventKinds {
    const CHANGES: u8 = 0b1111;

    /// These kinds only.
    pub fn of(kinds: &[EventKind]) -> EventKinds {
        EventKinds(kinds.iter().fold(0, |bits, kind| bits | 1 << kind.code()) & EventKinds::CHANGES)
    }

    /// Whether this kind is wanted. What the watch began with is never left out.
    pub fn has(self, kind: EventKind) -> bool {
        kind == EventKind::State || self.0 >> kind.code() & 1 == 1
    }

    /// One bit for each kind, by its code.
    pub(crate) fn to_bits(self) -> u8 {
        self.0
    }

    /// `None` when one of them is unknown or there is none.
    pub(crate) fn from_bits(bits: u8) -> Option<EventKinds> {
        (bits != 0 && bits & !EventKinds::CHANGES == 0).then_some(EventKinds(bits))
    }
}

impl Default for EventKinds {
    fn default() -> EventKinds {
        EventKinds(EventKinds::CHANGES)
    }
}

impl FromStr for EventKinds {
    type Err = Error;

    /// Reads names that are separated by commas.
    fn from_str(text: &str) -> Result<EventKinds, Error> {
        let kind_of = |name: &str| {
            let changes = EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::State);
            changes.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                let message = format!("event types are `put`, `delete`, `touch` and `expire`, not `{name}`");
                Error::new(ErrorKind::InvalidCondition, message)
            })
        };
        let kinds: Result<Vec<_>, _> = text.split(',').map(|name| kind_of(name.trim())).collect();
        kinds.map(|kinds| EventKinds::of(&kinds))
    }
}

/// A place in the sequence of all changes: before one of them. The same in the whole cluster, and after a restart.
///
/// Written `42` it stands before the first change of revision 42, and `42.3` behind three changes of it: a command that
/// changes several keys gives all its changes one revision, in the same order on every member.
///
/// ```
/// use concord_kv::Position;
/// let position: Position = "42.3".parse()?;
/// assert_eq!(position, Position { revision: 42, changes: 3 });
/// assert_eq!(Position::before(42).to_string(), "42");
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Revision of the change that comes next, if there is one by then.
    pub revision: u64,
    /// How many changes of that revision lie behind.
    pub changes: u32,
}

impl Position {
    /// Before the first change of this revision.
    pub const fn before(revision: u64) -> Position {
        Position { revision, changes: 0 }
    }

    /// Behind the last change of this revision.
    pub const fn after(revision: u64) -> Position {
        Position { revision: revision.saturating_add(1), changes: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.changes {
            0 => write!(f, "{}", self.revision),
            changes => write!(f, "{}.{changes}", self.revision),
        }
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Position, Error> {
        let (revision, changes) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let numbers = (revision.parse(), changes.parse());
        match numbers {
            (Ok(revision), Ok(changes)) if is_number(text.replace('.', "").as_str()) => {
                Ok(Position { revision, changes })
            }
            _ => {
                let message = format!("a position is a revision such as `42`, or `42.3`, not `{text}`");
                Err(Error::new(ErrorKind::InvalidCondition, message))
            }
        }
    }
}

/// One committed change of one key, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventView<'a> {
    /// What happened.
    pub kind: EventKind,
    /// Revision of the command; all changes of a bulk command share it. Of what a watch began with: that of the record.
    pub revision: u64,
    /// The place behind this change, from which a watch goes on.
    pub next: Position,
    /// When it was done, by the cluster's clock, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whether the command was one over several keys.
    pub is_bulk: bool,
    /// The key.
    pub key: &'a [u8],
    /// The encoded value that the key has now; `None` when it was removed.
    pub value: Option<&'a [u8]>,
    /// The encoded value that the key had before; `None` when it had none, or when it was not asked for.
    pub previous: Option<&'a [u8]>,
    /// When the key expires, milliseconds since the Unix epoch; `None` when it lives for ever or was removed.
    pub deadline_ms: Option<u64>,
}

impl EventView<'_> {
    /// A copy that can be kept.
    pub fn to_event(&self) -> Event {
        let EventView { kind, revision, next, time_ms, is_bulk, key, value, previous, deadline_ms } = *self;
        let (key, value, previous) = (key.to_vec(), value.map(<[u8]>::to_vec), previous.map(<[u8]>::to_vec));
        Event { kind, revision, next, time_ms, is_bulk, key, value, previous, deadline_ms }
    }
}

/// One committed change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Revision of the command; all changes of a bulk command share it. Of what a watch began with: that of the record.
    pub revision: u64,
    /// The place behind this change, from which a watch goes on.
    pub next: Position,
    /// When it was done, by the cluster's clock, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whether the command was one over several keys.
    pub is_bulk: bool,
    /// The key.
    pub key: Vec<u8>,
    /// The encoded value that the key has now; `None` when it was removed.
    pub value: Option<Vec<u8>>,
    /// The encoded value that the key had before; `None` when it had none, or when it was not asked for.
    pub previous: Option<Vec<u8>>,
    /// When the key expires, milliseconds since the Unix epoch; `None` when it lives for ever or was removed.
    pub deadline_ms: Option<u64>,
}

impl Event {
    /// The same, borrowed.
    pub fn view(&self) -> EventView<'_> {
        EventView {
            kind: self.kind,
            revision: self.revision,
            next: self.next,
            time_ms: self.time_ms,
            is_bulk: self.is_bulk,
            key: &self.key,
            value: self.value.as_deref(),
            previous: self.previous.as_deref(),
            deadline_ms: self.deadline_ms,
        }
    }
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A change that it selected.
    Event(Event),
    /// All changes up to this revision were looked at; of those that were selected, all were told.
    Progress {
        /// The last of them.
        revision: u64,
    },
    /// Changes are missing: they are no longer retained. Read what is there now, or begin again with
    /// [`WatchStart::State`](crate::WatchStart::State).
    Gap {
        /// The first revision of which a change may be missing.
        from_revision: u64,
        /// The first revision that is complete again; the watch goes on there.
        resume_revision: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_and_read_and_nothing_else_is_one() {
        for text in ["0", "42", "42.3", "18446744073709551615.4294967295"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for wrong in
            ["", ".", "42.", ".3", "+1", "1.+1", "-1", "1.2.3", "18446744073709551616", "1.4294967296", "a", " 1"]
        {
            assert_eq!(wrong.parse::<Position>().unwrap_err().kind(), ErrorKind::InvalidCondition, "{wrong}");
        }
        assert!(Position { revision: 42, changes: 3 } < Position::after(42));
    }

    #[test]
    fn kinds_are_read_by_their_names() {
        assert_eq!("put, touch".parse::<EventKinds>().unwrap(), EventKinds::of(&[EventKind::Put, EventKind::Touch]));
        for wrong in ["", "state", "put,", "Put"] {
            assert!(wrong.parse::<EventKinds>().is_err(), "{wrong}");
        }
        for bits in 0..=u8::MAX {
            assert_eq!(EventKinds::from_bits(bits).is_some(), (1..16).contains(&bits));
        }
    }
}
