//! Cluster: the verbs that change who is a member and who leads.

use super::kv::{Backend, Kv};
use crate::error::{Error, ErrorKind, Result};
use crate::raft::MembershipChange;

/// How long a change of membership may take when the caller does not say, milliseconds.
const TIMEOUT_MS: u64 = 30_000;

/// Membership verbs of an open store or client. Get it from [`Concord::cluster`](crate::Concord::cluster).
///
/// Every verb blocks until the change is committed, works on any member and on a client, and answers
/// `cluster_not_ready` when there is no majority. Node ids are those of [`Concord::members`](crate::Concord::members).
/// Those that change something need the scope `admin`.
pub struct Cluster {
    kv: Kv,
}

impl Cluster {
    pub(crate) fn new(kv: Kv) -> Cluster {
        Cluster { kv }
    }

    /// Whether this node serves: it belongs to a cluster, has caught up, and knows a leader that a quorum follows. Of a
    /// client: whether a member answers that this is so of it, for which it blocks.
    pub fn is_ready(&self) -> bool {
        match &self.kv.backend {
            Backend::Node(node) => node.is_ready(),
            Backend::Client(client) => client.status().is_ok_and(|status| status.raft.is_ready),
        }
    }

    /// Waits until [`Cluster::is_ready`].
    ///
    /// # Errors
    /// `timeout` when it takes longer; the message says what is missing. `closed`.
    pub fn wait_ready(&self, timeout_ms: u64) -> Result<()> {
        match &self.kv.backend {
            Backend::Node(node) => node.wait_ready(timeout_ms),
            Backend::Client(client) => {
                let deadline = std::time::Instant::now() + std::time::Duration::from_millis(timeout_ms);
                while !client.is_closed() {
                    if client.status().is_ok_and(|status| status.raft.is_ready) {
                        return Ok(());
                    }
                    if std::time::Instant::now() >= deadline {
                        return Err(Error::new(ErrorKind::Timeout, "no member says that it serves"));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                Err(ErrorKind::Closed.into())
            }
        }
    }

    fn change(&self, change: MembershipChange, timeout_ms: Option<u64>) -> Result<u64> {
        self.kv.check_admin()?;
        let timeout_ms = timeout_ms.unwrap_or(TIMEOUT_MS);
        match &self.kv.backend {
            Backend::Node(node) => node.change(change, timeout_ms),
            Backend::Client(client) => client.change(&change, timeout_ms),
        }
    }

    /// Takes the node that listens at this address, and belongs to no cluster yet, in as a learner; it is promoted
    /// when it has caught up. Nodes that were started with `seeds` do this by themselves. Gives its node id.
    ///
    /// # Errors
    /// `cluster_not_ready` when it cannot be reached; `invalid_config` when it belongs to another cluster.
    pub fn add(&self, address: &str, timeout_ms: Option<u64>) -> Result<u64> {
        self.change(MembershipChange::Add { address: address.to_owned() }, timeout_ms)
    }

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    /// `not_found`; `cluster_not_ready` while it lags behind.
    pub fn promote(&self, node_id: u64, timeout_ms: Option<u64>) -> Result<()> {
        self.change(MembershipChange::Promote { node_id }, timeout_ms).map(drop)
    }

    /// Removes a member for good, whether it runs or not. It is told, stops serving, and can come back only with an
    /// empty data directory.
    ///
    /// # Errors
    /// `not_found`; `invalid_config` for the last voter.
    pub fn remove(&self, node_id: u64, timeout_ms: Option<u64>) -> Result<()> {
        self.change(MembershipChange::Remove { node_id }, timeout_ms).map(drop)
    }

    /// Puts a learner that has caught up in the place of a voter, in one step: the way back for a node that lost its disk.
    ///
    /// # Errors
    /// `not_found`; `cluster_not_ready` while the new one lags behind.
    pub fn replace(&self, old_node_id: u64, new_node_id: u64, timeout_ms: Option<u64>) -> Result<()> {
        self.change(MembershipChange::Replace { old_node_id, new_node_id }, timeout_ms).map(drop)
    }

    /// Hands leadership to this voter, or to the one that is furthest.
    ///
    /// # Errors
    /// `not_found` when it is no voter; `cluster_not_ready` when it did not take over.
    pub fn transfer_leadership(&self, to: Option<u64>, timeout_ms: Option<u64>) -> Result<()> {
        self.change(MembershipChange::TransferLeadership { to }, timeout_ms).map(drop)
    }

    /// Leaves the cluster for good: hands leadership over, is removed from the members. Close the store afterwards.
    ///
    /// # Errors
    /// `invalid_config` for the last voter, and for a client, which is no member.
    pub fn leave(&self, timeout_ms: Option<u64>) -> Result<()> {
        match &self.kv.backend {
            Backend::Node(node) => self.remove(node.status().node_id, timeout_ms),
            Backend::Client(_) => {
                Err(Error::new(ErrorKind::InvalidConfig, "a client is no member, so it cannot leave"))
            }
        }
    }
}
