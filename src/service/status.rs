//! Status: what a store knows of itself.

use crate::raft::{Member, Node, NodeState, RaftStatus};
use crate::telemetry::{Gauges, Lag};

/// What a store knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Identity of the cluster, the same on every member.
    pub cluster_id: u128,
    /// Consensus as this node sees it.
    pub raft: RaftStatus,
    /// How many records there are; expired ones count until they are removed.
    pub size: u64,
    /// Memory that they take, bytes, about.
    pub memory_bytes: u64,
    /// Revision of the last change.
    pub revision: u64,
    /// Bytes of log that the next snapshot would free.
    pub log_bytes: u64,
    /// A write that a crash had torn, removed when the store was opened; nothing of it had been acknowledged.
    pub repaired: Option<String>,
    /// Why writes have stopped for good, when they have.
    pub failure: Option<String>,
}

impl Status {
    /// What this member knows now. Never blocks.
    pub(crate) fn of(node: &Node) -> Status {
        let machine = node.machine();
        Status {
            cluster_id: node.cluster_id(),
            raft: node.status(),
            size: machine.len(),
            memory_bytes: machine.memory_bytes(),
            revision: machine.revision(),
            log_bytes: node.log_bytes(),
            repaired: node.repaired(),
            failure: node.failure(),
        }
    }

    /// The same as metrics tell it. Never blocks.
    pub(crate) fn gauges(node: &Node) -> Gauges {
        let status = Status::of(node);
        let raft = status.raft;
        let lag = |member: Member| {
            let Member { name, node_id, lag, .. } = member;
            lag.map(|entries| Lag { name, node_id, entries })
        };
        let members = raft.members.len();
        // Who is alone has nobody to be behind.
        let lags = raft.members.into_iter().filter(|_| members > 1).filter_map(lag).collect();
        Gauges {
            records: status.size,
            memory_bytes: status.memory_bytes,
            members,
            term: raft.term,
            commit_index: raft.commit_index,
            applied_index: raft.last_applied,
            is_leader: raft.state == NodeState::Leader,
            has_leader: raft.leader.is_some(),
            is_ready: raft.is_ready,
            revision: status.revision,
            log_bytes: status.log_bytes,
            queue_depth: node.queue_depth(),
            expired: node.machine().expired(),
            has_failed: status.failure.is_some(),
            is_full: node.is_full(),
            lags,
        }
    }
}
