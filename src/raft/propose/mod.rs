//! Proposals: how commands of many callers reach the leader's log, each exactly once.

mod aloft;
mod answer;
mod batcher;
mod delivery;
mod session;
mod way;

pub(in crate::raft) use answer::{ProposeAnswer, encode_answer};
pub(in crate::raft) use batcher::Batcher;
pub(crate) use batcher::Done;
pub(in crate::raft) use delivery::{Attempt, Delivery, Way};
pub(in crate::raft) use way::{NodeWay, PATIENCE_ELECTIONS, attempt_of, attempt_of_call, propose_here};
