//! Reads: what makes a read of local state as fresh as its level promises.

mod authority;
mod lease;
mod rounds;

pub(in crate::raft) use authority::{NodeAuthority, confirm_here, decode_level, encode_index};
pub(in crate::raft) use lease::Lease;
pub(crate) use lease::{LeaseClock, SystemLeaseClock};
pub(in crate::raft) use rounds::{Ready, Rounds};
