//! Types: what the Raft library is instantiated with.

use std::fmt;

use openraft::impls::{BoxedErrorSource, InlineBatch, leader_id_adv};
use openraft::raft::responder::Responder;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};

use crate::state_machine::{Applied, Outcome};
use crate::storage::Payload;

/// Where tasks, timers and randomness come from.
#[cfg(not(test))]
type Runtime = openraft_rt_tokio::TokioRuntime;
#[cfg(test)]
type Runtime = super::seeded::SeededRuntime;

/// The type configuration of this crate's Raft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Types;

impl RaftTypeConfig for Types {
    type D = Batch;
    type R = Outcomes;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Batch, u64, Peer>;
    type Entry = openraft::Entry<Self::LeaderId, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Answer<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(super) type LogId = openraft::LogId<leader_id_adv::LeaderId<u64, u64>>;
pub(super) type Membership = openraft::Membership<u64, Peer>;
pub(super) type StoredMembership = openraft::StoredMembership<leader_id_adv::LeaderId<u64, u64>, u64, Peer>;

/// The commands of many callers, encoded, as one log entry.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) payload: Payload,
    /// Whether its only caller waits for it and nobody else writes: then the shortest way to the disk is to
    /// write on the thread that is awake. A hint of this node to itself, not stored.
    pub(super) is_alone: bool,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of commands", self.payload.len())
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) applied: Applied,
    /// Of each command, in order; none unless the batch is applied.
    pub(super) outcomes: Vec<Outcome>,
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} outcomes", self.applied, self.outcomes.len())
    }
}

/// Where another member is reached. Its identity is the node id; the address may change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Peer {
    pub(super) address: String,
    /// For people.
    pub(super) name: String,
    /// Whether it becomes a voter by itself once it has caught up.
    pub(super) promote: bool,
}

/// Runs when an entry was applied or refused. Dropped without having run, it drops what it captured,
/// which then answers for itself.
pub(super) struct Answer<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Answer<T> {
    pub(super) fn new(f: impl FnOnce(T) + Send + 'static) -> Answer<T> {
        Answer(Box::new(f))
    }
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Answer<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
