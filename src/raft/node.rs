//! Node: one member of a Raft cluster, on a runtime thread of its own. What services see of consensus.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ServerState};
use tokio::sync::oneshot;

use super::cluster::{self, MembershipChange};
use super::core::{Core, Time};
use super::propose::{Batcher, Done};
use super::reads::{LeaseClock, Ready, Rounds};
use super::runner::{Built, Runner};
#[cfg(test)]
use super::seeded::seeded;
use super::status::{Member, MemberRole, NodeState, RaftStatus};
use super::types::Types;
use crate::config::{ClusterConfig, Durability, EventHistory};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, Consistency};
use crate::net::{Attempts, Service, Sockets, block_broken_pipe_signal};
use crate::state_machine::StateMachine;
#[cfg(test)]
use crate::storage::Log;
use crate::storage::{DataDir, Identity, LogOptions};
use crate::telemetry::Metrics;

/// What the node reaches the world through; a simulation puts its own things here.
#[derive(Clone)]
pub(crate) struct Seams {
    pub sockets: Arc<dyn Sockets>,
    pub lease_clock: Arc<dyn LeaseClock>,
    /// How the log works and who drives it; its durability is the node's.
    pub log: LogOptions,
    /// Whether threads may be started for what blocks.
    pub has_threads: bool,
    #[cfg(test)]
    pub hooks: Hooks,
}

/// What to do with a log that was just opened.
#[cfg(test)]
pub(crate) type LogOpened = Arc<dyn Fn(&Log) + Send + Sync>;

/// What a simulation hangs into a node: bugs planted on purpose, and a way to the log.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    /// Gets the log as soon as it is open, to drive it.
    pub log_opened: Option<LogOpened>,
    /// Planted: what was sent to a follower counts as what the follower has.
    pub counts_unanswered: bool,
    /// Planted: a lease ends only with the leadership that this node knows of.
    pub keeps_lease: bool,
}

/// What a node is opened with.
pub(crate) struct NodeOptions {
    /// The locked directory and what is in it; `None` keeps everything in memory.
    pub data_dir: Option<DataDir>,
    /// Who this node is, and a name for the cluster that it may found.
    pub identity: Identity,
    pub fresh_cluster_id: u128,
    pub durability: Durability,
    pub snapshot_log_bytes: u64,
    pub event_history: EventHistory,
    pub time: Arc<dyn Time>,
    /// What the node records of itself.
    pub metrics: Arc<Metrics>,
    /// `None`: a store of one node, which listens nowhere on the network.
    pub cluster: Option<ClusterConfig>,
    /// Whether it listens in its data directory.
    pub local_socket: bool,
    pub seams: Seams,
}

#[cfg(test)]
impl NodeOptions {
    /// Where Raft's randomness begins: different on each node and at each start, the same in a simulation that repeats.
    fn random_seed(&self) -> u64 {
        self.identity.node_id ^ self.fresh_cluster_id as u64
    }
}

/// One member of a cluster, open until [`Node::close`].
pub(crate) struct Node {
    core: Arc<Core>,
    batcher: Batcher,
    leader_reads: Arc<Rounds>,
    strong_reads: Arc<Rounds>,
    /// What a node that belongs to no cluster yet waits for.
    waits_for: Arc<Mutex<String>>,
    /// Hands the services of the rooms above to the server.
    above: Arc<dyn Fn(Arc<dyn Service>) + Send + Sync>,
    cluster_id: Arc<dyn Fn() -> u128 + Send + Sync>,
    raft_thread: Option<ThreadId>,
    stop: Mutex<Option<Stop>>,
}

/// What it takes to stop the runtime thread.
struct Stop {
    signal: oneshot::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Opens the node. One without sockets has recovered and serves when this returns; a member listens, and
    /// serves when [`Node::wait_ready`] says so.
    pub(crate) fn open(options: NodeOptions) -> Result<Node> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::new(ErrorKind::Io, "cannot start a runtime").with_source(error))?;
        #[cfg(test)]
        let random_seed = options.random_seed();
        let Built { mut node, runner } = {
            let _guard = runtime.enter();
            Runner::build(options)?
        };
        let (signal, stopped) = oneshot::channel();
        let (report, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("concord-raft".to_owned())
            .spawn(move || {
                block_broken_pipe_signal();
                let running = runner.run(stopped, move |outcome| drop(report.send(outcome)));
                #[cfg(test)]
                let running = seeded(random_seed, running);
                let released = runtime.block_on(running);
                // Waits for a snapshot that is being written, which gives up at its next block.
                drop(runtime);
                // Last, when nothing can write any more. Closed handles may still hold the log.
                drop(released);
            })
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start a thread").with_source(error))?;
        if let Err(error) = started.recv().unwrap_or_else(|_| Err(ErrorKind::Internal.into())) {
            let _ = thread.join();
            return Err(error);
        }
        node.raft_thread = Some(thread.thread().id());
        node.stop = Mutex::new(Some(Stop { signal, thread: Some(thread) }));
        Ok(node)
    }

    /// The same on the current runtime, without a thread: for simulations.
    #[cfg(test)]
    pub(crate) async fn start(options: NodeOptions) -> Result<Node> {
        let random_seed = options.random_seed();
        let Built { mut node, runner } = Runner::build(options)?;
        let (signal, stopped) = oneshot::channel();
        let (report, started) = oneshot::channel();
        let mut report = Some(report);
        tokio::spawn(async move {
            let told = move |outcome| drop(report.take().map(|report| report.send(outcome)));
            drop(seeded(random_seed, runner.run(stopped, told)).await);
        });
        started.await.unwrap_or_else(|_| Err(ErrorKind::Internal.into()))?;
        node.stop = Mutex::new(Some(Stop { signal, thread: None }));
        Ok(node)
    }

    pub(super) fn assemble(
        core: Arc<Core>,
        batcher: Batcher,
        rounds: (Arc<Rounds>, Arc<Rounds>),
        waits_for: Arc<Mutex<String>>,
        above: Arc<dyn Fn(Arc<dyn Service>) + Send + Sync>,
        cluster_id: Arc<dyn Fn() -> u128 + Send + Sync>,
    ) -> Node {
        let (leader_reads, strong_reads) = rounds;
        let (raft_thread, stop) = (None, Mutex::new(None));
        Node { core, batcher, leader_reads, strong_reads, waits_for, above, cluster_id, raft_thread, stop }
    }

    /// The content. Whoever reads it satisfies [`Node::begin_read`] first.
    pub(crate) fn machine(&self) -> &StateMachine {
        &self.core.machine
    }

    /// Tokens that were tried, by where.
    pub(crate) fn attempts(&self) -> &Attempts {
        &self.core.attempts
    }

    /// Hands a command to the leader's log; see [`Batcher::submit`].
    pub(crate) fn propose(&self, command: &Command<'_>, timeout_ms: u64, done: Done) -> Result<()> {
        if self.is_closed() {
            return Err(ErrorKind::Closed.into());
        }
        self.batcher.submit(command, timeout_ms, done)
    }

    /// Whether what is applied here is fresh enough for a read at this level, without asking anybody. What is read under
    /// [`Freshness::Leased`] counts only if [`Node::still_leads`] holds *after* the read.
    pub(crate) fn begin_read(&self, level: Consistency) -> Result<Freshness> {
        if self.is_closed() {
            return Err(ErrorKind::Closed.into());
        }
        if level == Consistency::Eventual || self.core.serves_locally.load(Ordering::Acquire) {
            return Ok(Freshness::Present);
        }
        if level == Consistency::Leader && self.core.lease.is_valid() {
            return Ok(Freshness::Leased);
        }
        Ok(Freshness::Unknown)
    }

    /// Whether this node's lease covers what was read just now.
    pub(crate) fn still_leads(&self) -> bool {
        self.core.lease.is_valid()
    }

    /// Calls `ready` when a read may go ahead, with the time to judge expiry by. Never blocks.
    pub(crate) fn confirm_read(&self, level: Consistency, timeout_ms: u64, ready: Ready) {
        let rounds = if level == Consistency::Leader { &self.leader_reads } else { &self.strong_reads };
        rounds.join(Duration::from_millis(timeout_ms), ready);
    }

    /// Whether this node orders the writes now.
    pub(crate) fn is_leader(&self) -> bool {
        self.core.is_leader()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Whether this node serves: belongs to a cluster, has caught up, and knows a leader that a quorum follows.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_closed() && (self.core.serves_locally.load(Ordering::Acquire) || self.core.readiness.get())
    }

    /// Waits until [`Node::is_ready`].
    pub(crate) fn wait_ready(&self, timeout_ms: u64) -> Result<()> {
        if self.is_ready() {
            return Ok(());
        }
        let core = self.core.clone();
        self.wait(timeout_ms, async move { core.readiness.wait().await }).map_err(|error| match error.kind() {
            ErrorKind::Timeout => Error::new(ErrorKind::Timeout, self.what_is_missing()),
            ErrorKind::Closed => match self.core.ended_by.get() {
                Some((kind, why)) => Error::new(*kind, format!("this node could not go on and has closed: {why}")),
                None => error,
            },
            _ => error,
        })
    }

    fn what_is_missing(&self) -> String {
        if self.core.is_removed() {
            return "this node was removed from its cluster; to bring it back, empty its data directory".to_owned();
        }
        if self.core.running.get().is_none() {
            return self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        match self.core.leader() {
            None => "there is no leader: a majority of the members must be up and reach each other".to_owned(),
            Some(leader) => {
                format!("a leader is known, {}, but no majority follows it, or it is not reached", leader.address)
            }
        }
    }

    /// Carries out a change of membership or leadership, here or at the leader. Blocks.
    pub(crate) fn change(&self, change: MembershipChange, timeout_ms: u64) -> Result<u64> {
        let core = self.core.clone();
        let timeout = Duration::from_millis(timeout_ms);
        self.wait(timeout_ms + 1_000, async move { cluster::change(&core, change, timeout).await })?
    }

    /// The same without blocking: for simulations.
    #[cfg(test)]
    pub(crate) fn start_change(
        &self,
        change: MembershipChange,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<u64>> + Send + use<> {
        let core = self.core.clone();
        async move { cluster::change(&core, change, Duration::from_millis(timeout_ms)).await }
    }

    /// Blocks this thread until a task on the node's runtime is done.
    fn wait<T: Send + 'static>(&self, timeout_ms: u64, task: impl Future<Output = T> + Send + 'static) -> Result<T> {
        if self.is_closed() {
            return Err(ErrorKind::Closed.into());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let task = self.core.runtime.spawn(async move {
            let _ = sender.send(task.await);
        });
        receiver.recv_timeout(Duration::from_millis(timeout_ms)).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                task.abort();
                ErrorKind::Timeout.into()
            }
            mpsc::RecvTimeoutError::Disconnected => ErrorKind::Closed.into(),
        })
    }

    /// Runs a task on the node's runtime until the node closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.core.runtime.spawn(task);
    }

    /// Answers requests that are not about consensus.
    pub(crate) fn serve_above(&self, service: Arc<dyn Service>) {
        (self.above)(service);
    }

    /// The cluster that this node belongs to; 0 while there is none.
    pub(crate) fn cluster_id(&self) -> u128 {
        (self.cluster_id)()
    }

    pub(crate) fn status(&self) -> RaftStatus {
        let core = &self.core;
        let Some(raft) = core.raft() else { return self.joining() };
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        RaftStatus {
            node_id: metrics.id,
            name: core.name(),
            address: core.peers.as_ref().map(|peers| peers.hello().address).unwrap_or_default(),
            state: state_of(&metrics),
            leader: metrics.current_leader,
            term: metrics.current_term,
            commit_index: metrics.cluster_committed.map_or(0, |log_id| log_id.index),
            last_applied: metrics.last_applied.map_or(0, |log_id| log_id.index),
            snapshot_index: metrics.snapshot.map_or(0, |log_id| log_id.index),
            snapshot_state: core.snapshot_activity.state(),
            is_ready: self.is_ready(),
            members: self.members(&metrics),
        }
    }

    /// The members, each with its progress: this leader's own knowledge, or what the leader told last.
    fn members(&self, metrics: &RaftMetrics<Types>) -> Vec<Member> {
        let core = &self.core;
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let is_leader = metrics.state == ServerState::Leader;
        let last = metrics.last_log_index.unwrap_or(0);
        let member = |(id, peer): (&u64, &super::types::Peer)| {
            let told = core.progresses.get(*id).filter(|_| !is_leader);
            let own = (*id == core.node_id && is_leader).then_some(last);
            let known = metrics.replication.as_ref().and_then(|all| Some(all.get(id)?.as_ref()?.index));
            let matched_index = own.or(known).or(told.map(|told| told.matched_index));
            let contact_ms = core.lease.last_contact_ns(*id).map(|ns| ns / 1_000_000);
            Member {
                node_id: *id,
                address: peer.address.clone(),
                name: peer.name.clone(),
                role: if voters.contains(id) { MemberRole::Voter } else { MemberRole::Learner },
                is_leader: metrics.current_leader == Some(*id),
                matched_index,
                lag: if is_leader {
                    matched_index.map(|index| last.saturating_sub(index))
                } else {
                    told.map(|told| told.lag)
                },
                last_contact_ms: own.map(|_| 0).or(contact_ms).or(told.map(|told| told.last_contact_ms)),
            }
        };
        membership.nodes().map(member).collect()
    }

    /// The status of a node that belongs to no cluster yet.
    fn joining(&self) -> RaftStatus {
        RaftStatus {
            node_id: self.core.node_id,
            name: self.core.name(),
            address: self.core.peers.as_ref().map(|peers| peers.hello().address).unwrap_or_default(),
            state: NodeState::Joining,
            leader: None,
            term: 0,
            commit_index: 0,
            last_applied: 0,
            snapshot_index: 0,
            snapshot_state: self.core.snapshot_activity.state(),
            is_ready: false,
            members: Vec::new(),
        }
    }

    /// Bytes of log that the next snapshot would free.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.core.running.get().map_or(0, |running| running.log.bytes())
    }

    /// How many commands wait for a log entry to take them.
    pub(crate) fn queue_depth(&self) -> usize {
        self.batcher.depth()
    }

    /// Whether the disk is full, so that writes are refused for now.
    pub(crate) fn is_full(&self) -> bool {
        self.failure().is_none() && self.batcher.is_refusing()
    }

    /// What a crash had torn and opening repaired, if anything.
    pub(crate) fn repaired(&self) -> Option<String> {
        self.core.running.get()?.log.recovery().repaired.clone()
    }

    /// Why the node has stopped acknowledging writes, when it has.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.core.is_removed() {
            return Some(self.what_is_missing());
        }
        if let Some((_, why)) = self.core.ended_by.get() {
            return Some(why.clone());
        }
        self.core.running.get()?.log.failure()
    }

    /// Hands leadership over, waits for the writes that are on their way, then stops. Later calls do nothing.
    pub(crate) fn close(&self) {
        let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let _ = stop.signal.send(());
        let Some(thread) = stop.thread else { return };
        if Some(std::thread::current().id()) == self.raft_thread {
            // The last handle was dropped by a completion; the thread ends by itself when it returns.
            return;
        }
        let _ = thread.join();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

/// How a local read stands to the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Fresh enough.
    Present,
    /// Fresh enough if this node still leads after the read.
    Leased,
    /// Only the leader or a quorum can tell: see [`Node::confirm_read`].
    Unknown,
}

fn state_of(metrics: &RaftMetrics<Types>) -> NodeState {
    match metrics.state {
        _ if metrics.running_state.is_err() => NodeState::Shutdown,
        ServerState::Leader => NodeState::Leader,
        ServerState::Follower => NodeState::Follower,
        ServerState::Candidate => NodeState::Candidate,
        ServerState::Learner => NodeState::Learner,
        ServerState::Shutdown => NodeState::Shutdown,
    }
}
