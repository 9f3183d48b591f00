//! Status: what this node knows of itself and its cluster.

/// Raft's role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Belongs to no cluster yet: looks for one, or waits for enough others to found one.
    Joining,
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
            NodeState::Joining => "joining",
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

/// What a node does with snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotState {
    /// Nothing.
    Idle,
    /// Writes one of its own content.
    Building,
    /// Receives one from the leader.
    Receiving,
    /// Sends one to a member that lags behind.
    Sending,
}

impl SnapshotState {
    /// The state as every language spells it.
    pub const fn name(self) -> &'static str {
        match self {
            SnapshotState::Idle => "idle",
            SnapshotState::Building => "building",
            SnapshotState::Receiving => "receiving",
            SnapshotState::Sending => "sending",
        }
    }
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Stable identity, kept in the data directory.
    pub node_id: u64,
    /// Where it is reached; empty for a node without sockets.
    pub address: String,
    /// Name for people; its address unless configured.
    pub name: String,
    /// Voter or learner.
    pub role: MemberRole,
    /// Whether it is the leader that this node knows.
    pub is_leader: bool,
    /// Index of the last entry that it is known to have, as the leader told last.
    pub matched_index: Option<u64>,
    /// How many entries it is behind the leader's log, as the leader told last.
    pub lag: Option<u64>,
    /// Milliseconds since the leader heard of it last, as the leader told last.
    pub last_contact_ms: Option<u64>,
}

/// Consensus, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// Identity of this node.
    pub node_id: u64,
    /// Its name, for people.
    pub name: String,
    /// Where others reach it; empty for a node without sockets.
    pub address: String,
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
    /// What this node does with snapshots now.
    pub snapshot_state: SnapshotState,
    /// Whether it serves: belongs to a cluster, has caught up, and knows a leader that a quorum follows.
    pub is_ready: bool,
    /// All members.
    pub members: Vec<Member>,
}
