//! Core: what all parts of a node share.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::raft::ClientWriteResult;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::cluster::{Info, Progresses, Readiness};
use super::machine_store::MachineStore;
use super::peer::Peers;
use super::reads::Lease;
use super::status::SnapshotState;
use super::types::{Answer, Batch, Peer, Types};
use crate::discovery::{Discovery, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::net::Attempts;
use crate::state_machine::StateMachine;
use crate::storage::{Log, SnapshotStore};
use crate::telemetry::Metrics;

pub(super) type RaftHandle = openraft::Raft<Types, MachineStore>;

/// The cluster's time, as the service keeps it.
pub(crate) trait Time: Send + Sync {
    /// Milliseconds since the epoch; never goes back.
    fn now_ms(&self) -> u64;
    /// Time is at least this from now on.
    fn advance_to(&self, time_ms: u64);
}

/// Who leads, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node_id: u64,
    pub(super) address: String,
}

/// How far the log is applied here.
///
/// Invariant: an answer to a write leaves only after the index covers it.
#[derive(Default)]
pub(super) struct Applied {
    /// How many entries are applied: the index of the next one.
    entries: AtomicU64,
    changed: Notify,
}

impl Applied {
    pub(super) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Acquire)
    }

    pub(super) fn advance_to(&self, entries: u64) {
        self.entries.store(entries, Ordering::Release);
    }

    /// Wakes who waits; once for many entries.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    pub(super) async fn wait_for(&self, entries: u64) {
        loop {
            let changed = self.changed.notified();
            if self.entries() >= entries {
                return;
            }
            changed.await;
        }
    }
}

/// How many snapshots are under way, of each kind.
#[derive(Default)]
pub(super) struct SnapshotActivity {
    counts: [AtomicU64; 3],
}

/// One snapshot under way; ends when it is dropped.
pub(super) struct Active<'a>(&'a AtomicU64);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SnapshotActivity {
    pub(super) fn building(&self) -> Active<'_> {
        self.begin(0)
    }

    pub(super) fn receiving(&self) -> Active<'_> {
        self.begin(1)
    }

    pub(super) fn sending(&self) -> Active<'_> {
        self.begin(2)
    }

    fn begin(&self, kind: usize) -> Active<'_> {
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
        Active(&self.counts[kind])
    }

    pub(super) fn state(&self) -> SnapshotState {
        let is_active = |kind: usize| self.counts[kind].load(Ordering::Relaxed) > 0;
        match [is_active(0), is_active(1), is_active(2)] {
            [_, true, _] => SnapshotState::Receiving,
            [_, _, true] => SnapshotState::Sending,
            [true, ..] => SnapshotState::Building,
            _ => SnapshotState::Idle,
        }
    }
}

/// What exists only once the node belongs to a cluster.
pub(super) struct Running {
    pub(super) raft: RaftHandle,
    pub(super) log: Log,
    /// `None` when the log alone is kept, in memory, and nobody else wants it.
    pub(super) snapshots: Option<SnapshotStore>,
    pub(super) cluster_id: u128,
}

/// What all parts of a node share.
///
/// Invariant: `serves_locally` is true only while this node is the leader, its only voter, and has applied an entry of
/// its own term. Then every acknowledged write is applied here, and a local read is linearizable.
pub(super) struct Core {
    pub(super) node_id: u64,
    /// As configured; see [`Core::name`].
    configured_name: Option<String>,
    pub(super) machine: StateMachine,
    pub(super) running: OnceLock<Running>,
    pub(super) serves_locally: AtomicBool,
    pub(super) lease: Arc<Lease>,
    pub(super) time: Arc<dyn Time>,
    /// Tokens that were tried, by where.
    pub(super) attempts: Attempts,
    pub(super) metrics: Arc<Metrics>,
    /// `None` for a node without sockets.
    pub(super) peers: Option<Arc<Peers>>,
    pub(super) applied: Arc<Applied>,
    pub(super) snapshot_activity: Arc<SnapshotActivity>,
    pub(super) election_timeout: Duration,
    pub(super) runtime: Handle,
    pub(super) closed: AtomicBool,
    /// Why this node could not go on, when it has closed for that.
    pub(super) ended_by: OnceLock<(ErrorKind, String)>,
    /// Notified once `closed` is set.
    pub(super) closing: Notify,
    pub(super) readiness: Readiness,
    pub(super) progresses: Progresses,
    /// Work that would hold up the node's thread goes to another one; not in a simulation.
    has_threads: bool,
    /// Planted, see `Hooks`.
    #[cfg(test)]
    pub(super) counts_unanswered: bool,
    /// The cluster goes on without this node.
    removed: AtomicBool,
    /// What to add to the lease's clock to have the last leader's time, milliseconds; 0 when none was heard.
    heard_offset_ms: AtomicU64,
}

/// What a core is made of.
pub(super) struct CoreParts {
    pub(super) node_id: u64,
    pub(super) name: Option<String>,
    pub(super) machine: StateMachine,
    pub(super) lease: Arc<Lease>,
    pub(super) time: Arc<dyn Time>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) peers: Option<Arc<Peers>>,
    pub(super) election_timeout: Duration,
    pub(super) runtime: Handle,
    pub(super) has_threads: bool,
    #[cfg(test)]
    pub(super) counts_unanswered: bool,
}

impl Core {
    pub(super) fn new(parts: CoreParts) -> Arc<Core> {
        Arc::new(Core {
            node_id: parts.node_id,
            configured_name: parts.name,
            machine: parts.machine,
            running: OnceLock::new(),
            serves_locally: AtomicBool::new(false),
            lease: parts.lease,
            time: parts.time,
            attempts: Attempts::default(),
            metrics: parts.metrics,
            peers: parts.peers,
            applied: Arc::default(),
            snapshot_activity: Arc::default(),
            election_timeout: parts.election_timeout,
            runtime: parts.runtime,
            closed: AtomicBool::new(false),
            ended_by: OnceLock::new(),
            closing: Notify::new(),
            readiness: Readiness::default(),
            progresses: Progresses::default(),
            has_threads: parts.has_threads,
            #[cfg(test)]
            counts_unanswered: parts.counts_unanswered,
            removed: AtomicBool::new(false),
            heard_offset_ms: AtomicU64::new(0),
        })
    }

    /// The name of this node for people: its address unless configured.
    pub(super) fn name(&self) -> String {
        let address = || self.peers.as_ref().map(|peers| name_from(&peers.hello().address)).unwrap_or_default();
        self.configured_name.clone().unwrap_or_else(address)
    }

    pub(super) fn raft(&self) -> Option<&RaftHandle> {
        self.running.get().map(|running| &running.raft)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether this node orders the writes now, as far as it knows.
    pub(super) fn is_leader(&self) -> bool {
        self.raft().is_some_and(openraft::Raft::is_leader)
    }

    /// The leader that this node knows.
    pub(super) fn leader(&self) -> Option<Leader> {
        let receiver = self.raft()?.metrics();
        let metrics = receiver.borrow_watched();
        let node_id = metrics.current_leader?;
        let known = metrics.membership_config.membership().get_node(&node_id)?.address.clone();
        let address = self.peers.as_ref().and_then(|peers| peers.learned(node_id)).unwrap_or(known);
        Some(Leader { node_id, address })
    }

    /// Waits until this node sees some change in who leads or what is applied, at most so long.
    pub(super) async fn change_within(&self, timeout: Duration) {
        match self.raft() {
            Some(raft) => {
                let mut metrics = raft.server_metrics();
                // A new receiver has seen nothing yet, not even what is there now.
                drop(metrics.borrow_and_update());
                let changed = async {
                    if metrics.changed().await.is_err() {
                        // Raft has stopped, nothing changes any more.
                        std::future::pending::<()>().await;
                    }
                };
                let _ = tokio::time::timeout(timeout, changed).await;
            }
            None => tokio::time::sleep(timeout).await,
        }
    }

    /// Whether a quorum has confirmed this leader lately. A lone voter needs nobody.
    pub(super) fn has_quorum(&self) -> bool {
        if self.serves_locally.load(Ordering::Acquire) {
            return true;
        }
        let lately_ns = self.election_timeout.as_nanos() as u64 * 2;
        match self.lease.quorum_answered_ns() {
            Some(answered_ns) => answered_ns.saturating_add(lately_ns) > self.lease.now_ns(),
            None => false,
        }
    }

    /// What the log says of a member.
    pub(super) fn known_peer(&self, node_id: u64) -> Option<Peer> {
        let receiver = self.raft()?.metrics();
        let metrics = receiver.borrow_watched();
        metrics.membership_config.membership().get_node(&node_id).cloned()
    }

    /// Where a member is reached: as it told last, or else as the log says.
    pub(super) fn address_of(&self, node_id: u64) -> Option<String> {
        let learned = self.peers.as_ref().and_then(|peers| peers.learned(node_id));
        learned.or_else(|| self.known_peer(node_id).map(|peer| peer.address))
    }

    /// Where other nodes may be: as found, and as the log says.
    pub(super) fn addresses(&self, discovery: &Discovery) -> Vec<String> {
        let has_tls = self.peers.as_ref().is_some_and(|peers| peers.options().tls.is_some());
        let mut addresses: Vec<String> = discovery.peers().iter().map(|found| reachable(found, has_tls)).collect();
        if let Some(raft) = self.raft() {
            let receiver = raft.metrics();
            let metrics = receiver.borrow_watched();
            addresses.extend(metrics.membership_config.membership().nodes().map(|(_, peer)| peer.address.clone()));
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Whether the cluster has removed this node.
    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Whether this node was taken in for good. An entry that says so may still go the way of every entry that no majority
    /// has: its leader is lost, and the next one knows nothing of it.
    pub(super) fn is_settled(&self) -> bool {
        let Some(raft) = self.raft() else { return false };
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        let config = &metrics.membership_config;
        config.membership().get_node(&self.node_id).is_some() && *config.log_id() <= metrics.last_applied
    }

    /// A member tells who the members are. A node that was one and is not among them was removed.
    pub(super) fn notice_removal(&self, info: &Info) {
        let was_member = self.is_settled();
        let is_member = info.members.is_empty() || info.members.iter().any(|member| member.node_id == self.node_id);
        if was_member && !is_member && self.leads_for_me(info) {
            self.removed.store(true, Ordering::Relaxed);
            if let Some(raft) = self.raft() {
                raft.runtime_config().elect(false);
            }
        }
    }

    /// Whether this was told by a leader that is no older than the one that this node follows. Anybody else may be behind
    /// and not know yet that this node is a member.
    fn leads_for_me(&self, info: &Info) -> bool {
        let Some(own) = self.running.get().and_then(|running| running.log.ballot()) else { return false };
        let is_recent = if own.committed { info.node_id >= own.node } else { true };
        info.leader == Some(info.node_id) && (info.term > own.term || (info.term == own.term && is_recent))
    }

    /// What blocks runs elsewhere.
    pub(super) async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        if !self.has_threads {
            return Ok(f());
        }
        tokio::task::spawn_blocking(f).await.map_err(io::Error::other)
    }

    pub(super) fn leads_with_quorum(&self) -> bool {
        self.is_leader() && self.has_quorum()
    }

    /// Whether everything that was acknowledged before is applied here, without asking anybody.
    pub(super) fn knows_all(&self) -> bool {
        self.lease.is_valid() || self.serves_locally.load(Ordering::Acquire)
    }

    /// Hands a batch to this node's own log. `done` gets what became of it, or is dropped when the node stops first.
    pub(super) fn propose_here(&self, batch: Batch, done: impl FnOnce(ClientWriteResult<Types>) + Send + 'static) {
        let Some(raft) = self.raft().cloned() else {
            done(Err(ClientWriteError::ForwardToLeader(ForwardToLeader::empty())));
            return;
        };
        let answer = Answer::new(done);
        let proposal = async move {
            // A refusal drops the answer.
            let _ = raft.client_write_ff(batch, Some(answer)).await;
        };
        poll_once_or_spawn(&self.runtime, proposal);
    }

    /// Whether so many bytes may go to the log.
    pub(super) fn check_room(&self, bytes: usize) -> Result<()> {
        let Some(Running { log, .. }) = self.running.get() else { return Ok(()) };
        if let Some(failure) = log.failure() {
            return Err(Error::new(ErrorKind::ClusterNotReady, format!("writes have stopped for good: {failure}")));
        }
        if !log.has_room(bytes) {
            return Err(Error::new(
                ErrorKind::ClusterNotReady,
                "the disk is full; nothing was done, writes resume by themselves when there is space",
            ));
        }
        Ok(())
    }

    /// The leader's time, as a message brought it.
    pub(super) fn heard_time(&self, time_ms: u64) {
        self.time.advance_to(time_ms);
        let offset_ms = time_ms.saturating_sub(self.lease.now_ns() / 1_000_000);
        self.heard_offset_ms.fetch_max(offset_ms, Ordering::Relaxed);
    }

    /// What the last leader's clock says now, as far as this node can tell; 0 when it has heard of none.
    pub(super) fn last_heard_time_ms(&self) -> u64 {
        match self.heard_offset_ms.load(Ordering::Relaxed) {
            0 => 0,
            offset_ms => offset_ms + self.lease.now_ns() / 1_000_000,
        }
    }
}

/// An address may be longer than a name.
fn name_from(address: &str) -> String {
    address[..address.floor_char_boundary(limits::NODE_NAME_BYTES_MAX)].to_owned()
}

/// A certificate is made out to a name, so the name that an address was looked up under is what to connect to.
pub(super) fn reachable(found: &Found, has_tls: bool) -> String {
    let port = || found.address.rsplit_once(':').map_or("", |(_, port)| port).to_owned();
    match &found.host {
        Some(host) if has_tls && !host.is_empty() => format!("{host}:{}", port()),
        _ => found.address.clone(),
    }
}

/// Sending to the node is immediate unless its queue is full; only then is a task needed.
fn poll_once_or_spawn(runtime: &Handle, future: impl Future<Output = ()> + Send + 'static) {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    if future.as_mut().poll(&mut context).is_pending() {
        runtime.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, a node without a name whose address was long could not start: discovery refused its name.
    #[test]
    fn a_long_address_makes_a_name_that_is_short_enough() {
        assert_eq!(name_from("10.0.0.1:7400"), "10.0.0.1:7400");
        let address = format!("shop-0.{}:7400", "é".repeat(100));
        let name = name_from(&address);
        assert!(name.len() <= limits::NODE_NAME_BYTES_MAX && name.starts_with("shop-0.éé"), "{name}");
    }
}
