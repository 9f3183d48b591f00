//! Consensus: the only room that speaks to the Raft library. Everything above sees a [`Node`].

mod batcher;
mod entry;
mod identity;
mod log_store;
mod machine_store;
mod network;
mod node;
mod status;
mod types;

pub(crate) use batcher::Done;
pub(crate) use identity::new_identity;
pub(crate) use node::{MembershipChange, Node, NodeOptions};
pub use status::{Member, MemberRole, NodeState, RaftStatus, SnapshotState};
