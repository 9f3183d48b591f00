//! Node: one member of a Raft cluster, on a runtime thread of its own. What services see of consensus.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ReadPolicy, ServerState};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::batcher::{Batcher, Done, NowMs, RaftHandle};
use super::log_store::LogStore;
use super::machine_store::{MachineStore, snapshot_reach};
use super::network::Isolated;
use super::status::{Member, MemberRole, NodeState, RaftStatus};
use super::types::{Peer, Types};
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, Consistency};
use crate::state_machine::StateMachine;
use crate::storage::{DataDir, Log, LogOptions, SnapshotStore};

/// How often the node looks whether its log wants compaction.
const COMPACTION_CHECK: Duration = Duration::from_millis(200);
/// Entries kept behind a snapshot, for followers that lag a little.
const ENTRIES_KEPT_BEHIND_SNAPSHOT: u64 = 64;
/// How long `close` waits for writes that are on their way.
const DRAIN: Duration = Duration::from_secs(5);

/// A change of who is a member or who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MembershipChange {
    Add { address: String },
    Promote { node_id: u64 },
    Remove { node_id: u64 },
    Replace { old_node_id: u64, new_node_id: u64 },
    TransferLeadership { to: Option<u64> },
}

/// What a node is opened with.
pub(crate) struct NodeOptions {
    /// The locked directory and what is in it; `None` keeps everything in memory.
    pub data_dir: Option<DataDir>,
    pub node_id: u64,
    pub durability: Durability,
    pub snapshot_log_bytes: u64,
    /// What this node stamps entries with while it leads.
    pub now_ms: NowMs,
}

/// One member of a cluster, open until [`Node::close`].
///
/// Invariant: `serves_locally` is true only while this node is the leader, its only voter, and has applied
/// an entry of its own term. Then every acknowledged write is applied here, and a local read is linearizable.
pub(crate) struct Node {
    raft: RaftHandle,
    batcher: Batcher,
    machine: StateMachine,
    log: Log,
    runtime: Handle,
    raft_thread: ThreadId,
    serves_locally: Arc<AtomicBool>,
    closed: AtomicBool,
    stop: Mutex<Option<Stop>>,
}

/// What it takes to stop the runtime thread.
struct Stop {
    signal: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the runtime thread hands out once the node can serve.
struct Started {
    raft: RaftHandle,
    batcher: Batcher,
    runtime: Handle,
    thread: ThreadId,
}

impl Node {
    /// Opens the node and waits until it has recovered and can serve.
    pub(crate) fn open(options: NodeOptions) -> Result<Node> {
        let machine = StateMachine::new();
        let (log, snapshots) = match &options.data_dir {
            Some(dir) if options.durability != Durability::Memory => {
                let log_options = LogOptions { durability: options.durability, ..LogOptions::default() };
                (Log::open(dir, log_options)?, Some(Arc::new(SnapshotStore::open(dir, snapshot_reach)?)))
            }
            _ => (Log::in_memory(), None),
        };
        let serves_locally = Arc::new(AtomicBool::new(false));
        let main = Main {
            options,
            machine: machine.clone(),
            log: log.clone(),
            snapshots,
            serves_locally: serves_locally.clone(),
        };
        let (signal, stopped) = oneshot::channel();
        let (report, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("concord-raft".to_owned())
            .spawn(move || main.run(stopped, &report))
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start a thread").with_source(error))?;
        let outcome = started.recv().unwrap_or_else(|_| Err(ErrorKind::Internal.into()));
        let Started { raft, batcher, runtime, thread: raft_thread } = match outcome {
            Ok(started) => started,
            Err(error) => {
                let _ = thread.join();
                return Err(error);
            }
        };
        let stop = Mutex::new(Some(Stop { signal, thread }));
        let closed = AtomicBool::new(false);
        Ok(Node { raft, batcher, machine, log, runtime, raft_thread, serves_locally, closed, stop })
    }

    /// The content. Whoever reads it satisfies [`Node::read_barrier`] first.
    pub(crate) fn machine(&self) -> &StateMachine {
        &self.machine
    }

    /// Hands a command to the log; see [`Batcher::submit`].
    pub(crate) fn propose(&self, command: &Command<'_>, done: Done) -> Result<()> {
        self.batcher.submit(command, done)
    }

    /// Makes sure that what is applied here is fresh enough for a read at this level. On a single node
    /// that is one atomic load at every level.
    pub(crate) fn read_barrier(&self, level: Consistency, timeout_ms: u64) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(ErrorKind::Closed.into());
        }
        if level == Consistency::Eventual || self.serves_locally.load(Ordering::Acquire) {
            return Ok(());
        }
        self.confirm_with_quorum(timeout_ms)
    }

    /// Whether a read at this level waits for nobody.
    pub(crate) fn reads_at_once(&self, level: Consistency) -> bool {
        level == Consistency::Eventual || self.serves_locally.load(Ordering::Acquire)
    }

    #[cold]
    fn confirm_with_quorum(&self, timeout_ms: u64) -> Result<()> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let raft = self.raft.clone();
        self.runtime.spawn(async move {
            let confirmed = raft.ensure_linearizable(ReadPolicy::ReadIndex).await.is_ok();
            let _ = sender.send(confirmed);
        });
        match receiver.recv_timeout(Duration::from_millis(timeout_ms)) {
            Ok(true) => Ok(()),
            _ if self.is_closed() => Err(ErrorKind::Closed.into()),
            Ok(false) => Err(ErrorKind::ClusterNotReady.into()),
            Err(_) => Err(ErrorKind::Timeout.into()),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.is_closed() && self.serves_locally.load(Ordering::Acquire)
    }

    pub(crate) fn wait_ready(&self, _timeout_ms: u64) -> Result<()> {
        if self.is_ready() { Ok(()) } else { Err(ErrorKind::ClusterNotReady.into()) }
    }

    pub(crate) fn change(&self, change: MembershipChange, _timeout_ms: Option<u64>) -> Result<u64> {
        Err(Error::new(ErrorKind::ClusterNotReady, format!("{change:?}: this node has no cluster")))
    }

    /// Whether this node orders the writes now.
    pub(crate) fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Runs a task on the node's runtime until the node closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(crate) fn status(&self) -> RaftStatus {
        let receiver = self.raft.metrics();
        let metrics = receiver.borrow_watched();
        let state = match metrics.state {
            _ if metrics.running_state.is_err() => NodeState::Shutdown,
            ServerState::Leader => NodeState::Leader,
            ServerState::Follower => NodeState::Follower,
            ServerState::Candidate => NodeState::Candidate,
            ServerState::Learner => NodeState::Learner,
            ServerState::Shutdown => NodeState::Shutdown,
        };
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, peer)| Member {
            node_id: *id,
            address: peer.address.clone(),
            role: if voters.contains(id) { MemberRole::Voter } else { MemberRole::Learner },
            is_leader: metrics.current_leader == Some(*id),
            name: peer.address.clone(),
            matched_index: None,
            lag: None,
            last_contact_ms: None,
        });
        RaftStatus {
            node_id: metrics.id,
            state,
            leader: metrics.current_leader,
            term: metrics.current_term,
            commit_index: metrics.cluster_committed.map_or(0, |log_id| log_id.index),
            last_applied: metrics.last_applied.map_or(0, |log_id| log_id.index),
            snapshot_index: metrics.snapshot.map_or(0, |log_id| log_id.index),
            snapshot_state: super::status::SnapshotState::Idle,
            is_ready: self.is_ready(),
            members: members.collect(),
        }
    }

    /// Bytes of log that the next snapshot would free.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// What a crash had torn and opening repaired, if anything.
    pub(crate) fn repaired(&self) -> Option<String> {
        self.log.recovery().repaired.clone()
    }

    /// Why the node has stopped acknowledging writes, when it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.log.failure()
    }

    /// Waits for the writes that are on their way, then stops. Later calls do nothing.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let _ = stop.signal.send(());
        if std::thread::current().id() == self.raft_thread {
            // The last handle was dropped by a completion; the thread ends by itself when it returns.
            return;
        }
        let _ = stop.thread.join();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the runtime thread runs.
struct Main {
    options: NodeOptions,
    machine: StateMachine,
    log: Log,
    snapshots: Option<Arc<SnapshotStore>>,
    serves_locally: Arc<AtomicBool>,
}

impl Main {
    fn run(self, stopped: oneshot::Receiver<()>, report: &mpsc::SyncSender<Result<Started>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = report.send(Err(Error::new(ErrorKind::Io, "cannot start a runtime").with_source(error)));
                return;
            }
        };
        let closing = Arc::new(AtomicBool::new(false));
        runtime.block_on(async {
            match self.start(&closing).await {
                Ok((raft, batcher)) => {
                    let thread = std::thread::current().id();
                    let started =
                        Started { raft: raft.clone(), batcher: batcher.clone(), runtime: Handle::current(), thread };
                    let _ = report.send(Ok(started));
                    let _ = stopped.await;
                    let _ = tokio::time::timeout(DRAIN, batcher.close()).await;
                    closing.store(true, Ordering::Relaxed);
                    let _ = raft.shutdown().await;
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        });
        self.serves_locally.store(false, Ordering::Release);
        self.log.close();
        // Waits for a snapshot that is being written, which gives up at its next block.
        drop(runtime);
        // Last, when nothing can write any more. Closed handles may still hold the log.
        if let Some(dir) = &self.options.data_dir {
            dir.release();
        }
    }

    async fn start(&self, closing: &Arc<AtomicBool>) -> Result<(RaftHandle, Batcher)> {
        let node_id = self.options.node_id;
        let machine_store = MachineStore::new(self.machine.clone(), self.snapshots.clone(), closing.clone());
        let raft = RaftHandle::new(node_id, raft_config()?, Isolated, LogStore::new(self.log.clone()), machine_store)
            .await
            .map_err(|error| self.start_error(error))?;
        let batcher = Batcher::new(Handle::current(), self.log.clone(), self.options.now_ms.clone());
        batcher.attach(raft.clone());
        if raft.is_initialized().await.map_err(|error| self.start_error(error))? {
            raft.trigger().elect(false).await.map_err(|error| self.start_error(error))?;
        } else {
            let members = BTreeMap::from([(node_id, Peer::default())]);
            raft.initialize(members).await.map_err(|error| self.start_error(error))?;
        }
        self.wait_until_serving(&raft).await?;
        tokio::spawn(follow_role(raft.clone(), node_id, self.serves_locally.clone()));
        if let Some(snapshots) = self.snapshots.clone() {
            tokio::spawn(compact(raft.clone(), self.log.clone(), snapshots, self.options.snapshot_log_bytes));
        } else {
            tokio::spawn(compact_memory(raft.clone(), self.log.clone(), self.options.snapshot_log_bytes));
        }
        Ok((raft, batcher))
    }

    /// Waits until this node leads and has applied everything that it had acknowledged before.
    async fn wait_until_serving(&self, raft: &RaftHandle) -> Result<()> {
        let mut metrics = raft.metrics();
        loop {
            {
                let metrics = metrics.borrow_watched();
                if let Err(fatal) = &metrics.running_state {
                    return Err(self.start_error(fatal));
                }
                if serves(&metrics, self.options.node_id)
                    && metrics.last_applied.map(|id| id.index) == metrics.last_log_index
                {
                    self.serves_locally.store(true, Ordering::Release);
                    return Ok(());
                }
            }
            metrics.changed().await.map_err(|_| Error::from(ErrorKind::Internal))?;
        }
    }

    /// A damaged file is reported as what it is, wherever it was met.
    fn start_error(&self, error: impl std::fmt::Display) -> Error {
        let message = error.to_string();
        let kind = if message.contains(ErrorKind::Corrupt.name()) { ErrorKind::Corrupt } else { ErrorKind::Io };
        Error::new(kind, format!("the node cannot start: {message}"))
    }
}

fn raft_config() -> Result<Arc<openraft::Config>> {
    let config = openraft::Config {
        cluster_name: "concord".to_owned(),
        heartbeat_interval: 100,
        election_timeout_min: 300,
        election_timeout_max: 600,
        install_snapshot_timeout: 30_000,
        max_payload_entries: 4096,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: ENTRIES_KEPT_BEHIND_SNAPSHOT,
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    };
    let config = config.validate().map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    Ok(Arc::new(config))
}

/// The invariant of [`Node`], judged from one consistent set of metrics.
fn serves(metrics: &openraft::RaftMetrics<Types>, node_id: u64) -> bool {
    let membership = metrics.membership_config.membership();
    let is_only_voter = membership.voter_ids().eq([node_id]);
    let applied_own_term = metrics.last_applied.is_some_and(|log_id| log_id.leader_id.term == metrics.current_term);
    metrics.state == ServerState::Leader && is_only_voter && applied_own_term && metrics.running_state.is_ok()
}

/// Keeps `serves_locally` true to its word.
async fn follow_role(raft: RaftHandle, node_id: u64, serves_locally: Arc<AtomicBool>) {
    let mut metrics = raft.metrics();
    drop(raft);
    while metrics.changed().await.is_ok() {
        let serves = serves(&metrics.borrow_watched(), node_id);
        serves_locally.store(serves, Ordering::Release);
    }
    serves_locally.store(false, Ordering::Release);
}

/// Compacts the log by a snapshot when it has grown enough: by the configured bytes, and by half of what a
/// snapshot writes, so that a large store is not written again and again.
async fn compact(raft: RaftHandle, log: Log, snapshots: Arc<SnapshotStore>, snapshot_log_bytes: u64) {
    let mut tick = tokio::time::interval(COMPACTION_CHECK);
    loop {
        tick.tick().await;
        let snapshot_bytes = snapshots.latest().map_or(0, |file| file.bytes());
        if log.bytes() >= snapshot_log_bytes.max(snapshot_bytes / 2) && raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// The same for a log in memory, whose snapshots cost nothing.
async fn compact_memory(raft: RaftHandle, log: Log, snapshot_log_bytes: u64) {
    let mut tick = tokio::time::interval(COMPACTION_CHECK);
    loop {
        tick.tick().await;
        if log.bytes() >= snapshot_log_bytes.min(8 * 1024 * 1024) && raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
