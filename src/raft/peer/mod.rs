//! Peers: what members say to each other, and how they reach one another.

mod in_name;
mod incoming;
mod local;
mod messages;
mod network;
mod peers;
mod server;

pub(in crate::raft) use local::Local;
pub(in crate::raft) use messages::method;
pub(in crate::raft) use network::Network;
pub(in crate::raft) use peers::{Peers, Use, error_of};
pub(in crate::raft) use server::{PeerServer, Shared};
