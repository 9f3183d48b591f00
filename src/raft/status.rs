//! Status: what this node knows of itself and its cluster.

/// Raft's role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Receives the log, does not vote.
    Learner,
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Orders all writes.
    Leader,
    /// Stopped, by `close` or by a failure.
    Shutdown,
}

impl NodeState {
    /// The state as every language spells it.
    pub const fn name(self) -> &'static str {
        match self {
            NodeState::Learner => "learner",
            NodeState::Follower => "follower",
            NodeState::Candidate => "candidate",
            NodeState::Leader => "leader",
            NodeState::Shutdown => "shutdown",
        }
    }
}

/// What a member does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberRole {
    /// Counts for the majority.
    Voter,
    /// Receives the log, does not vote.
    Learner,
}

impl MemberRole {
    /// The role as every language spells it.
    pub const fn name(self) -> &'static str {
        match self {
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
        }
    }
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Stable identity, kept in the data directory.
    pub node_id: u64,
    /// Where it is reached; empty for a node without transport.
    pub address: String,
    /// Voter or learner.
    pub role: MemberRole,
    /// Whether it is the leader that this node knows.
    pub is_leader: bool,
}

/// Consensus, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// Identity of this node.
    pub node_id: u64,
    /// Its role now.
    pub state: NodeState,
    /// Identity of the leader, when one is known.
    pub leader: Option<u64>,
    /// Raft's term.
    pub term: u64,
    /// Index of the last entry known to be committed, 0 before the first.
    pub commit_index: u64,
    /// Index of the last applied entry, 0 before the first.
    pub last_applied: u64,
    /// Index of the last entry that the latest snapshot covers, 0 without one.
    pub snapshot_index: u64,
    /// All members.
    pub members: Vec<Member>,
}
