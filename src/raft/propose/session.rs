//! Session: numbers the batches that this node hands to others, so that one that arrives twice is applied once.
//!
//! Source: the Raft thesis, section 6.3. The state machine keeps the outcomes of a session's batches until the session
//! says that it has seen them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Session {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    id: Option<u64>,
    next_sequence: u64,
    outstanding: BTreeSet<u64>,
}

/// The right to deliver one batch under one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) session: u64,
    pub(super) sequence: u64,
}

impl Session {
    /// A number for one batch; `None` while there is no session.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        let mut state = self.state();
        let session = state.id?;
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.outstanding.insert(sequence);
        Some(Ticket { session, sequence })
    }

    /// All batches below this number have their answers and will not come again.
    pub(super) fn acknowledged_below(&self, ticket: Ticket) -> u64 {
        let state = self.state();
        match state.id {
            Some(id) if id == ticket.session => {
                state.outstanding.first().copied().unwrap_or(state.next_sequence).min(ticket.sequence)
            }
            _ => 0,
        }
    }

    pub(super) fn done(&self, ticket: Ticket) {
        let mut state = self.state();
        if state.id == Some(ticket.session) {
            state.outstanding.remove(&ticket.sequence);
        }
    }

    pub(super) fn open(&self, id: u64) {
        *self.state() = State { id: Some(id), next_sequence: 1, outstanding: BTreeSet::new() };
    }

    /// The cluster does not know this session any more.
    pub(super) fn forget(&self, session: u64) {
        let mut state = self.state();
        if state.id == Some(session) {
            *state = State::default();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outstanding_holds_the_floor_down() {
        let session = Session::default();
        assert_eq!(session.ticket(), None, "there is no session yet");
        session.open(7);
        let (one, two) = (session.ticket().unwrap(), session.ticket().unwrap());
        assert_eq!((one.sequence, two.sequence), (1, 2));
        session.done(two);
        let three = session.ticket().unwrap();
        assert_eq!(session.acknowledged_below(three), 1, "the first is still on its way");
        session.done(one);
        assert_eq!(session.acknowledged_below(three), 3);
        session.forget(7);
        assert_eq!(session.ticket(), None);
    }
}
