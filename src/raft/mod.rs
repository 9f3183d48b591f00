//! Consensus: the only room that speaks to the Raft library. Everything above sees a [`Node`].

mod cluster;
mod core;
mod entry;
mod identity;
mod log_store;
mod machine_store;
mod node;
mod peer;
mod propose;
mod reads;
mod recovery;
mod remote;
mod runner;
#[cfg(test)]
mod seeded;
mod status;
mod types;

pub(crate) use cluster::MembershipChange;
pub(crate) use core::Time;
pub(crate) use identity::new_identity;
#[cfg(test)]
pub(crate) use node::Hooks;
pub(crate) use node::{Freshness, Node, NodeOptions, Seams};
pub(crate) use propose::Done;
#[cfg(test)]
pub(crate) use reads::LeaseClock;
pub(crate) use reads::SystemLeaseClock;
pub(crate) use recovery::recover;
pub use recovery::{Recoverable, Recovered};
pub(crate) use remote::{Answered, Remote, Target};
pub use status::{Member, MemberRole, NodeState, RaftStatus, SnapshotState};
