//! Clusters: how nodes find one another, found a cluster or join one, and tend to its membership.

mod change;
mod entering;
mod formation;
mod info;
mod tend;

pub(crate) use change::MembershipChange;
pub(in crate::raft) use change::{change, execute, transfer};
pub(in crate::raft) use entering::{Entered, Entry, Threshold};
pub(in crate::raft) use formation::{Formation, Found};
pub(crate) use info::{Info, MemberInfo, Progress};
pub(in crate::raft) use tend::{Progresses, Readiness, Tender};
