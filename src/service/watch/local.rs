//! LocalWatch: a watch over what this node has applied.

use std::ops::ControlFlow;
use std::task::{Context, Poll, Waker};

use super::{WatchOptions, WatchStart};
use crate::error::{Error, ErrorKind, Result};
use crate::expression::{Selection, Subject};
use crate::model::{Event, EventKind, EventKinds, EventView, Notice, Position};
use crate::raft::Node;
use crate::service::Kv;
use crate::service::auth::Caller;
use crate::state_machine::{Cursor, Effort, Looked, View, Walk};

/// Changes that one look passes at most, selected or not.
const CHANGES_PER_LOOK: usize = 4 * 1024;
/// Keys and values that one look passes at most while it tells what was there in the beginning.
const EFFORT: Effort = Effort { keys_max: 1024, bytes_max: 1024 * 1024 };

/// Bytes of keys and values that one look takes at most; one event may pass it.
const BYTES_PER_LOOK: usize = 1024 * 1024;

/// What a watcher wants of each change, and where it stands.
pub(in crate::service) struct LocalWatch {
    cursor: Cursor,
    wanted: Wanted,
    caller: Caller,
    /// What was there in the beginning, as far as it has not been told.
    state: Option<(View, Walk)>,
    /// Up to where progress was told, or an event that says as much.
    told: u64,
    with_progress: bool,
}

struct Wanted {
    selection: Selection,
    kinds: EventKinds,
    with_previous: bool,
}

impl Wanted {
    fn picks(&self, event: &EventView<'_>) -> bool {
        let (from, to) = self.selection.range();
        let is_in_range = std::ops::RangeBounds::<[u8]>::contains(&(from, to), event.key);
        self.kinds.has(event.kind) && is_in_range && self.selection.picks_key(event.key) && self.picks_value(event)
    }

    fn picks_value(&self, event: &EventView<'_>) -> bool {
        if self.selection.filter().is_none() {
            return true;
        }
        let Some(value) = event.value.or(event.previous) else { return false };
        let ttl_ms = event.deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(event.time_ms));
        self.selection.picks_record(&Subject { key: event.key, value, revision: event.revision, ttl_ms })
    }

    fn event(&self, event: &EventView<'_>) -> Event {
        let previous = event.previous.filter(|_| self.with_previous);
        EventView { previous, ..*event }.to_event()
    }
}

impl LocalWatch {
    pub(super) fn open(node: &Node, kv: &Kv, options: &WatchOptions<'_>, selection: Selection) -> Result<LocalWatch> {
        let (machine, caller) = (node.machine(), kv.caller.clone());
        if node.is_closed() {
            return Err(ErrorKind::Closed.into());
        }
        if machine.history().retention().events_max == 0 {
            let message = "this node keeps no changes for those who watch: set `event_history.events_max`";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let (state, position) = match options.start {
            WatchStart::Now => (None, None),
            // Revisions are counted from 1.
            WatchStart::From(position) => (None, Some(position.max(Position::before(1)))),
            WatchStart::State => {
                let view = machine.view(kv.clock.now_ms());
                let position = Position::after(view.revision());
                (Some((view, Walk::of(&selection))), Some(position))
            }
        };
        let cursor = machine.cursor(position);
        let (position, oldest) = (cursor.position(), machine.history().held().oldest);
        if position.revision < oldest && state.is_none() {
            return Err(Error::compacted(position.revision, oldest));
        }
        let WatchOptions { kinds, with_previous, with_progress, .. } = *options;
        let wanted = Wanted { selection, kinds, with_previous };
        Ok(LocalWatch { cursor, wanted, caller, state, told: position.revision.saturating_sub(1), with_progress })
    }

    pub(super) fn position(&self) -> Option<Position> {
        if self.state.is_some() { None } else { Some(self.cursor.position()) }
    }

    /// The change to look at next.
    pub(super) fn next_change(&self) -> Position {
        self.cursor.position()
    }

    /// Ready when there is something to look at.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let looked = self.cursor.look(0, Some(context.waker()), |_| ControlFlow::Break(()));
        if matches!(looked, Ok(Looked::AtEnd)) && self.state.is_none() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// One look: adds to `notices`, and tells whether it should look again at once though it has nothing.
    pub(super) fn take(&mut self, max: usize, waker: Option<&Waker>, notices: &mut Vec<Notice>) -> Result<bool> {
        self.caller.check_range(self.wanted.selection.range())?;
        if max == 0 {
            return Ok(false);
        }
        if self.state.is_some() {
            return self.take_state(max, notices).map(|()| true);
        }
        let (wanted, mut bytes) = (&self.wanted, 0);
        let looked = self.cursor.look(CHANGES_PER_LOOK, waker, |event| {
            if !wanted.picks(event) {
                return ControlFlow::Continue(());
            }
            if notices.len() >= max || bytes >= BYTES_PER_LOOK {
                return ControlFlow::Break(());
            }
            let event = wanted.event(event);
            bytes +=
                event.key.len() + [&event.value, &event.previous].into_iter().flatten().map(Vec::len).sum::<usize>();
            notices.push(Notice::Event(event));
            ControlFlow::Continue(())
        })?;
        match looked {
            Looked::Missing { oldest } => {
                let from_revision = self.cursor.position().revision;
                self.cursor.move_to(Position::before(oldest));
                self.told = oldest.saturating_sub(1);
                notices.push(Notice::Gap { from_revision, resume_revision: oldest });
            }
            Looked::AtEnd | Looked::Paused => self.note_progress(looked == Looked::AtEnd, max, notices),
        }
        Ok(looked == Looked::Paused)
    }

    fn note_progress(&mut self, is_at_end: bool, max: usize, notices: &mut Vec<Notice>) {
        let Position { revision, changes } = self.cursor.position();
        let passed = revision.saturating_sub(1);
        if let Some(Notice::Event(last)) = notices.last() {
            self.told = self.told.max(last.next.revision.saturating_sub(1));
        }
        let is_news = passed > self.told && changes == 0;
        if self.with_progress && is_at_end && is_news && notices.len() < max {
            self.told = passed;
            notices.push(Notice::Progress { revision: passed });
        }
    }

    /// Tells a piece of what was there in the beginning, and at its end at which revision that was.
    fn take_state(&mut self, max: usize, notices: &mut Vec<Notice>) -> Result<()> {
        let Some((view, walk)) = &mut self.state else { return Ok(()) };
        let (revision, now_ms) = (view.revision(), view.now_ms());
        let next = Position::after(revision);
        let is_over = view.select(&self.wanted.selection, walk, true, EFFORT, |key, record| {
            if notices.len() >= max {
                return ControlFlow::Break(());
            }
            let event = EventView {
                kind: EventKind::State,
                revision: record.revision,
                next,
                time_ms: now_ms,
                is_bulk: false,
                key,
                value: Some(&record.value),
                previous: None,
                deadline_ms: record.ttl_ms.map(|ttl_ms| now_ms + ttl_ms),
            };
            notices.push(Notice::Event(event.to_event()));
            ControlFlow::Continue(())
        })?;
        if is_over && notices.len() < max {
            self.state = None;
            notices.push(Notice::Progress { revision });
        }
        Ok(())
    }
}
