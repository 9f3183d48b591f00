//! Runner: what a node's thread does from start to end.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ServerState};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::cluster::{Entered, Entry, Formation, Tender, Threshold, transfer};
use super::core::{Core, CoreParts, RaftHandle, Running};
use super::log_store::LogStore;
use super::machine_store::{MachineStore, snapshot_reach};
use super::node::{Node, NodeOptions};
use super::peer::{Local, Network, PeerServer, Peers, Shared};
use super::propose::{Batcher, Delivery, NodeWay, PATIENCE_ELECTIONS};
use super::reads::{Lease, NodeAuthority, Rounds};
use super::types::{LogId, Peer, Types};
use crate::config::{ClusterConfig, Durability};
use crate::discovery::{self, Announcement, Discovery, DiscoveryOptions, Resolver};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Consistency;
use crate::net::{ConnectOptions, Credential, Hello, LocalListener, NetLimits, Role};
use crate::net::{ServeOptions, SharedSecret, Sockets, Tls, TlsFiles, serve};
use crate::state_machine::StateMachine;
use crate::storage::{DataDir, Log, LogOptions, SnapshotStore};

/// How often the node looks whether its log wants compaction.
const COMPACTION_CHECK: Duration = Duration::from_millis(200);
/// Bytes of log in memory that are kept at most before they are given up.
const MEMORY_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// Entries kept behind a snapshot, for followers that lag a little. One has up to a megabyte and more.
const ENTRIES_KEPT_ALONE: u64 = 64;
const ENTRIES_KEPT_IN_CLUSTER: u64 = 128;
/// How long closing waits for writes that are on their way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long closing tries to hand leadership over.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long closing waits for those who gossip to be told.
const FAREWELL: Duration = Duration::from_millis(700);
/// Election timeout of a node without sockets, which never matters.
const ELECTION_TIMEOUT_ALONE: Duration = Duration::from_millis(600);

/// A node, and what runs it.
pub(super) struct Built {
    pub(super) node: Node,
    pub(super) runner: Runner,
}

pub(super) struct Runner {
    options: NodeOptions,
    core: Arc<Core>,
    batcher: Batcher,
    strong_reads: Arc<Rounds>,
    threshold: Arc<Threshold>,
    server: Arc<PeerServer>,
    waits_for: Arc<Mutex<String>>,
}

impl Runner {
    /// Puts a node together, on the runtime that will run it.
    pub(super) fn build(options: NodeOptions) -> Result<Built> {
        let node_id = options.identity.node_id;
        let cluster = options.cluster.as_ref();
        let election_timeout =
            cluster.map_or(ELECTION_TIMEOUT_ALONE, |cluster| Duration::from_millis(cluster.election_timeout_ms));
        let peers = cluster.map(|cluster| make_peers(cluster, &options, election_timeout)).transpose()?.map(Arc::new);
        let runtime = Handle::current();
        let lease = Arc::new(Lease::new(options.seams.lease_clock.clone(), election_timeout));
        #[cfg(test)]
        lease.keep(options.seams.hooks.keeps_lease);
        let core = Core::new(CoreParts {
            node_id,
            name: cluster.and_then(|cluster| cluster.name.clone()),
            machine: StateMachine::keeping(options.event_history),
            lease,
            time: options.time.clone(),
            metrics: options.metrics.clone(),
            peers: peers.clone(),
            election_timeout,
            runtime: runtime.clone(),
            has_threads: options.seams.has_threads,
            #[cfg(test)]
            counts_unanswered: options.seams.hooks.counts_unanswered,
        });
        let delivery = peers.as_ref().map(|_| Delivery::new(Arc::new(NodeWay::new(core.clone()))));
        let metrics = options.metrics.clone();
        let batcher = Batcher::new(runtime.clone(), Some(core.clone()), delivery, options.seams.has_threads, metrics);
        let patience = election_timeout * PATIENCE_ELECTIONS;
        let authority = Arc::new(NodeAuthority::new(core.clone()));
        let leader_reads = Rounds::new(Consistency::Leader, authority.clone(), patience, runtime.clone());
        let strong_reads = Rounds::new(Consistency::Strong, authority, patience, runtime);
        let threshold = Arc::new(Threshold::default());
        let expect = cluster.map_or(0, |cluster| cluster.bootstrap_expect);
        let server = Arc::new(PeerServer::new(core.clone(), threshold.clone(), options.data_dir.clone(), expect));
        let waits_for = Arc::new(Mutex::new("this node is starting".to_owned()));
        let (above, identified) = (server.clone(), core.clone());
        let own_cluster_id = options.identity.cluster_id;
        let node = Node::assemble(
            core.clone(),
            batcher.clone(),
            (leader_reads, strong_reads.clone()),
            waits_for.clone(),
            Arc::new(move |service| above.serve_above(service)),
            Arc::new(move || identified.running.get().map_or(own_cluster_id, |running| running.cluster_id)),
        );
        Ok(Built { node, runner: Runner { options, core, batcher, strong_reads, threshold, server, waits_for } })
    }

    /// Runs the node until it is told to stop. `report` is called once: when a member listens, or when a node without
    /// sockets serves, or when it cannot. What is returned gives the data directory back when it is dropped.
    pub(super) async fn run(
        self,
        stopped: oneshot::Receiver<()>,
        mut report: impl FnMut(Result<()>),
    ) -> Option<Released> {
        let released = self.options.data_dir.clone().map(Released);
        let (stop_serving, serving_stops) = watch::channel(false);
        let outcome = self.live(stopped, &serving_stops, &mut report).await;
        if let Err(error) = &outcome {
            tracing::error!(%error, "this node cannot go on");
            let _ = self.core.ended_by.set((error.kind(), error.message().to_owned()));
        }
        self.core.closed.store(true, Ordering::Relaxed);
        self.core.machine.history().close();
        self.core.serves_locally.store(false, Ordering::Release);
        self.core.readiness.set(false);
        self.core.lease.drop_leadership();
        let _ = stop_serving.send(true);
        if let Some(running) = self.core.running.get() {
            let _ = running.raft.shutdown().await;
            self.batcher.give_up();
            running.log.close();
        }
        if let Err(error) = outcome {
            report(Err(error));
        }
        released
    }

    async fn live(
        &self,
        mut stopped: oneshot::Receiver<()>,
        serving_stops: &watch::Receiver<bool>,
        report: &mut impl FnMut(Result<()>),
    ) -> Result<()> {
        self.listen_locally(serving_stops.clone())?;
        let discovery = match &self.options.cluster {
            Some(cluster) => Some(self.listen(cluster, serving_stops.clone()).await?),
            None => None,
        };
        let entered = match &discovery {
            Some(discovery) if self.options.identity.cluster_id == 0 => {
                report(Ok(()));
                tokio::select! {
                    biased;
                    entered = self.enter(discovery) => Some(entered?),
                    _ = &mut stopped => return Ok(()),
                }
            }
            _ => None,
        };
        let (raft, joins) = self.start(entered).await?;
        let tending = match discovery {
            Some(_) => Some(self.tend(discovery, joins)),
            None => {
                self.wait_until_serving(&raft).await?;
                None
            }
        };
        report(Ok(()));
        let _ = stopped.await;
        self.leave_in_order(&raft).await;
        self.core.closed.store(true, Ordering::Relaxed);
        self.core.closing.notify_waiters();
        if let Some(tending) = tending {
            let _ = tokio::time::timeout(FAREWELL, tending).await;
        }
        Ok(())
    }

    /// Opens the socket in the data directory. It answers from now on, though a node that waits to join has little to say.
    fn listen_locally(&self, mut stops: watch::Receiver<bool>) -> Result<()> {
        let Some(dir) = self.options.data_dir.as_ref().filter(|_| self.options.local_socket) else { return Ok(()) };
        let listener = match LocalListener::bind(dir.path()) {
            Ok(listener) => listener,
            // Some file systems hold no sockets. The store itself does without.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                return Ok(());
            }
            Err(error) => {
                let dir = dir.path().display();
                let message = format!("cannot listen in {dir}: {error}; or open the store with `local_socket` off");
                return Err(Error::new(ErrorKind::Io, message).with_source(error));
            }
        };
        let options = ServeOptions {
            tls: None,
            secret: SharedSecret::of_local_socket(),
            gate: Arc::new(Local(self.server.clone())),
            service: Arc::new(Local(self.server.clone())),
            limits: NetLimits::default(),
        };
        tokio::spawn(async move {
            let stop = async move {
                let _ = stops.wait_for(|stops| *stops).await;
            };
            serve(Box::new(listener), options, stop).await;
        });
        Ok(())
    }

    /// Opens the port, and starts to look for others.
    async fn listen(&self, cluster: &ClusterConfig, mut stops: watch::Receiver<bool>) -> Result<Discovery> {
        let peers = self.core.peers.as_ref().ok_or_else(|| Error::from(ErrorKind::Internal))?;
        let options = peers.options();
        let Credential::Cookie(secret) = &options.credential else { return Err(ErrorKind::Internal.into()) };
        let cannot = |error: std::io::Error| {
            let message = format!("cannot listen on {}: {error}; choose another `listen`", cluster.listen);
            Error::new(ErrorKind::Io, message).with_source(error)
        };
        let listener = options.sockets.listen(&cluster.listen).await.map_err(cannot)?;
        let local = listener.local_address();
        let is_anywhere = local.starts_with("0.0.0.0:") || local.starts_with("[::]:");
        let address = match &cluster.advertise {
            Some(address) => address.clone(),
            None if is_anywhere => {
                let message = "a node that listens everywhere must say where it is reached: set `advertise`";
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
            None => local,
        };
        peers.settle(address.clone());
        let serve_options = ServeOptions {
            tls: options.tls.clone(),
            secret: secret.clone(),
            gate: Arc::new(Shared(self.server.clone())),
            service: Arc::new(Shared(self.server.clone())),
            limits: NetLimits::default(),
        };
        tokio::spawn(async move {
            let stop = async move {
                let _ = stops.wait_for(|stops| *stops).await;
            };
            serve(listener, serve_options, stop).await;
        });
        let me = Announcement {
            address,
            node_id: self.core.node_id,
            cluster_id: self.options.identity.cluster_id,
            name: self.core.name(),
        };
        let mut looking = DiscoveryOptions::new(me, cluster.cookie.reveal());
        looking.seeds = cluster.seeds.clone();
        looking.resolver = Arc::new(SeamResolver(options.sockets.clone()));
        looking.multicast = cluster.multicast.map(|multicast| discovery::Multicast {
            group: multicast.group,
            port: multicast.port,
            ..discovery::Multicast::default()
        });
        Discovery::start(looking)
    }

    async fn enter(&self, discovery: &Discovery) -> Result<Entered> {
        let (Some(peers), Some(cluster)) = (&self.core.peers, &self.options.cluster) else {
            return Err(ErrorKind::Internal.into());
        };
        let entry = Entry {
            peers,
            discovery,
            threshold: &self.threshold,
            dir: self.options.data_dir.as_ref(),
            name: self.core.name(),
            bootstrap_expect: cluster.bootstrap_expect,
            fresh_cluster_id: self.options.fresh_cluster_id,
            has_company: !cluster.seeds.is_empty() || cluster.multicast.is_some(),
            progress: &self.waits_for,
        };
        let entered = entry.run().await?;
        peers.adopt(entered.cluster_id);
        let _ = discovery.set_announcement(Announcement {
            address: peers.hello().address,
            node_id: self.core.node_id,
            cluster_id: entered.cluster_id,
            name: self.core.name(),
        });
        Ok(entered)
    }

    /// Opens what is stored and starts Raft on it.
    async fn start(&self, entered: Option<Entered>) -> Result<(RaftHandle, bool)> {
        let options = &self.options;
        let mut identity = options.identity;
        if let Some(entered) = &entered {
            identity.cluster_id = entered.cluster_id;
        }
        let metrics = options.metrics.clone();
        let log_options = LogOptions { durability: options.durability, metrics, ..options.seams.log.clone() };
        let (log, snapshots) = match &options.data_dir {
            Some(dir) if options.durability != Durability::Memory => {
                (Log::open(dir, log_options)?, Some(SnapshotStore::open(dir, snapshot_reach)?))
            }
            _ if options.cluster.is_some() => {
                (Log::in_memory(), Some(SnapshotStore::in_memory(identity, snapshot_reach)))
            }
            _ => (Log::in_memory(), None),
        };
        #[cfg(test)]
        if let Some(log_opened) = &options.seams.hooks.log_opened {
            log_opened(&log);
        }
        if let Some(repaired) = &log.recovery().repaired {
            tracing::warn!(
                node = self.core.node_id,
                "a crash had torn a write that nobody was told of; it was removed: {repaired}"
            );
        }
        let machine_store = MachineStore::new(self.core.clone(), snapshots.clone());
        let config = raft_config(self.core.election_timeout, options.cluster.is_some())?;
        let network = Network::new(self.core.clone());
        let raft = RaftHandle::new(self.core.node_id, config, network, LogStore::new(log.clone()), machine_store)
            .await
            .map_err(|error| start_error(&error))?;
        let running = Running { raft: raft.clone(), log, snapshots, cluster_id: identity.cluster_id };
        let _ = self.core.running.set(running);
        tracing::info!(
            node = self.core.node_id,
            cluster = format_args!("{:032x}", identity.cluster_id),
            "the store is open"
        );
        tokio::spawn(follow_role(self.core.clone(), raft.clone()));
        self.initialize(&raft, entered).await?;
        let joins = self.allow_elections(&raft).await?;
        tokio::spawn(compact(self.core.clone(), options.snapshot_log_bytes));
        Ok((raft, joins))
    }

    /// The first entry of a new log says who the members are; every founder writes the same one.
    async fn initialize(&self, raft: &RaftHandle, entered: Option<Entered>) -> Result<()> {
        let is_initialized = raft.is_initialized().await.map_err(|error| start_error(&error))?;
        let dir = self.options.data_dir.as_ref();
        let noted = dir.map(DataDir::read_note).transpose()?.flatten();
        let noted = noted.map(|note| Formation::decode(&note)).transpose()?;
        if noted.as_ref().is_some_and(|noted| noted.members.is_empty()) {
            // Joins, and the leader sends the log: the tender takes the note away.
            return Ok(());
        }
        if !is_initialized {
            let formation = entered.and_then(|entered| entered.formation).or(noted);
            let members = match (formation, &self.options.cluster) {
                (Some(formation), _) => formation.members,
                (None, None) => [(self.core.node_id, Peer::default())].into(),
                (None, Some(_)) => return Ok(()),
            };
            raft.initialize(members).await.map_err(|error| start_error(&error))?;
        }
        if let Some(dir) = dir {
            dir.remove_note()?;
        }
        Ok(())
    }

    /// Tells whether this node still has to be taken in: its log knows no members, or a note says that it was not before it
    /// stopped. A lone voter leads at once. Another may have promised, in its last run, to vote for nobody but the leader; the
    /// promise is over after an election timeout.
    async fn allow_elections(&self, raft: &RaftHandle) -> Result<bool> {
        // Of the core itself: the metrics come later.
        let voters = raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect::<Vec<u64>>());
        let voters = voters.await.map_err(|error| start_error(&error))?;
        let is_alone = voters == [self.core.node_id];
        if self.options.cluster.is_none() && !is_alone {
            let message = "this data directory belongs to a member of a cluster; open it with its `cluster` settings, \
                           or see `concord recover`";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        if is_alone {
            raft.runtime_config().elect(true);
            raft.trigger().elect(false).await.map_err(|error| start_error(&error))?;
            return Ok(false);
        }
        let (core, raft) = (self.core.clone(), raft.clone());
        tokio::spawn(async move {
            tokio::time::sleep(core.election_timeout).await;
            raft.runtime_config().elect(!core.is_removed());
        });
        let note = self.options.data_dir.as_ref().map(DataDir::read_note).transpose()?.flatten();
        Ok(voters.is_empty() || note.is_some())
    }

    fn tend(&self, discovery: Option<Discovery>, joins: bool) -> JoinHandle<()> {
        let tender = Tender {
            core: self.core.clone(),
            discovery,
            threshold: self.threshold.clone(),
            strong: self.strong_reads.clone(),
            promote: self.options.cluster.as_ref().is_some_and(|cluster| cluster.promote),
            joins,
            dir: self.options.data_dir.clone(),
        };
        tokio::spawn(tender.run())
    }

    /// Waits until this node leads and has applied everything that it had acknowledged before.
    async fn wait_until_serving(&self, raft: &RaftHandle) -> Result<()> {
        let mut metrics = raft.metrics();
        loop {
            {
                let metrics = metrics.borrow_watched();
                if let Err(fatal) = &metrics.running_state {
                    return Err(start_error(fatal));
                }
                let has_applied_all = metrics.last_applied.map(|id| id.index) == metrics.last_log_index;
                if leads_alone(&metrics, self.core.node_id) && has_applied_all {
                    self.core.serves_locally.store(true, Ordering::Release);
                    return Ok(());
                }
            }
            metrics.changed().await.map_err(|_| Error::from(ErrorKind::Internal))?;
        }
    }

    /// Hands leadership over and waits for the writes that are on their way.
    async fn leave_in_order(&self, raft: &RaftHandle) {
        let has_others = raft.voter_ids().any(|id| id != self.core.node_id);
        if raft.is_leader() && has_others {
            let _ = tokio::time::timeout(HANDOVER, transfer(&self.core, raft, None)).await;
        }
        let _ = tokio::time::timeout(DRAIN, self.batcher.close()).await;
    }
}

/// Gives the data directory back when it is dropped.
pub(super) struct Released(DataDir);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Names are looked up where connections are made.
struct SeamResolver(Arc<dyn Sockets>);

impl Resolver for SeamResolver {
    fn resolve<'a>(&'a self, address: &'a str) -> futures_util::future::BoxFuture<'a, std::io::Result<Vec<String>>> {
        self.0.resolve(address)
    }
}

fn make_peers(cluster: &ClusterConfig, options: &NodeOptions, election_timeout: Duration) -> Result<Peers> {
    let tls = cluster.tls.as_ref().map(|tls| {
        Tls::open(TlsFiles {
            certificate: tls.certificate.clone(),
            private_key: tls.private_key.clone(),
            ca: tls.authority.clone(),
            verify_node_id: tls.verify_node_id,
        })
    });
    let secret = SharedSecret::new(cluster.cookie.reveal())?;
    let connecting = ConnectOptions {
        sockets: options.seams.sockets.clone(),
        tls: tls.transpose()?.map(Arc::new),
        credential: Credential::Cookie(secret),
        limits: NetLimits::default(),
    };
    let hello = Hello {
        role: Role::Peer,
        cluster_id: options.identity.cluster_id,
        node_id: options.identity.node_id,
        token: 0,
        address: String::new(),
    };
    Ok(Peers::new(connecting, election_timeout, hello))
}

/// A damaged file is reported as what it is, wherever it was met.
fn start_error(error: &dyn std::fmt::Display) -> Error {
    let message = error.to_string();
    let kind = if message.contains(ErrorKind::Corrupt.name()) { ErrorKind::Corrupt } else { ErrorKind::Io };
    Error::new(kind, format!("the node cannot start: {message}"))
}

fn raft_config(election_timeout: Duration, is_clustered: bool) -> Result<Arc<openraft::Config>> {
    // A follower grants no vote for `election_timeout_max` after it heard the leader: the lease stands on that.
    let timeout_ms = election_timeout.as_millis() as u64;
    let config = openraft::Config {
        cluster_name: "concord".to_owned(),
        heartbeat_interval: timeout_ms / 5,
        // Just more than the heartbeats are apart: the wider the range, the sooner and the more surely one is first.
        election_timeout_min: timeout_ms / 4,
        election_timeout_max: timeout_ms,
        install_snapshot_timeout: 30_000,
        max_payload_entries: if is_clustered { 256 } else { 4096 },
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: if is_clustered { ENTRIES_KEPT_IN_CLUSTER } else { ENTRIES_KEPT_ALONE },
        enable_pre_vote: Some(true),
        // A leader that is heard but hears nobody falls silent now and then, so that the others can replace it.
        quorum_loss_probe_interval: is_clustered.then_some(timeout_ms * 2),
        // Until it may: see `allow_elections`.
        enable_elect: false,
        // A leader that comes back asks for votes like everybody else.
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    let config = config.validate().map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    Ok(Arc::new(config))
}

/// Whether everything that was committed before this node led is applied here: its own first entry is. An entry of the
/// same term is not enough, because a term can have had another leader before, with a smaller id.
fn has_applied_own_term(metrics: &RaftMetrics<Types>) -> bool {
    let own = (metrics.current_term, metrics.id);
    let applied_own =
        metrics.last_applied.is_some_and(|log_id| (log_id.leader_id.term, log_id.leader_id.node_id) == own);
    metrics.state == ServerState::Leader && applied_own && metrics.running_state.is_ok()
}

/// The invariant of `Core::serves_locally`, judged from one consistent set of metrics.
fn leads_alone(metrics: &RaftMetrics<Types>, node_id: u64) -> bool {
    has_applied_own_term(metrics) && metrics.membership_config.membership().voter_ids().eq([node_id])
}

/// Keeps what the core says of this node's role true to its word.
async fn follow_role(core: Arc<Core>, raft: RaftHandle) {
    let mut metrics = raft.metrics();
    drop(raft);
    let mut news = News::default();
    loop {
        {
            let metrics = metrics.borrow_watched();
            news.tell(&metrics, &core);
            core.serves_locally.store(leads_alone(&metrics, core.node_id) && !core.is_closed(), Ordering::Release);
            if has_applied_own_term(&metrics) {
                let configs = metrics.membership_config.membership().get_joint_config();
                core.lease.lead(metrics.current_term, core.node_id, configs);
            } else {
                core.lease.drop_leadership();
            }
        }
        if metrics.changed().await.is_err() {
            break;
        }
    }
    core.serves_locally.store(false, Ordering::Release);
    core.lease.drop_leadership();
}

/// What operators were told last of who leads and who belongs to the cluster.
#[derive(Default)]
struct News {
    leader: Option<(u64, u64)>,
    membership: Option<LogId>,
}

impl News {
    fn tell(&mut self, metrics: &RaftMetrics<Types>, core: &Core) {
        let leader = metrics.current_leader.map(|leader| (metrics.current_term, leader));
        if let (Some((term, leader)), true) = (leader, leader != self.leader) {
            if self.leader.is_some() {
                core.metrics.leader_changed();
            }
            tracing::info!(node = core.node_id, leader, term, "the leader is known");
            self.leader = Some((term, leader));
        }
        let membership = *metrics.membership_config.log_id();
        if membership != self.membership {
            self.membership = membership;
            let members = metrics.membership_config.membership();
            let voters: Vec<u64> = members.voter_ids().collect();
            let learners: Vec<u64> = members.learner_ids().collect();
            tracing::info!(node = core.node_id, ?voters, ?learners, "the members have changed");
        }
    }
}

/// Compacts the log by a snapshot when it has grown enough: by the configured bytes, and by half of what a
/// snapshot writes, so that a large store is not written again and again.
async fn compact(core: Arc<Core>, snapshot_log_bytes: u64) {
    let Some(Running { raft, log, snapshots, .. }) = core.running.get() else { return };
    let mut tick = tokio::time::interval(COMPACTION_CHECK);
    // A snapshot whose log could not be given up at once, and the bytes of log then.
    let mut put_off = (0, 0);
    while !core.is_closed() {
        tick.tick().await;
        let enough = match snapshots {
            Some(snapshots) => snapshot_log_bytes.max(snapshots.latest().map_or(0, |file| file.bytes()) / 2),
            // Nothing is written then.
            None => snapshot_log_bytes.min(MEMORY_LOG_BYTES),
        };
        // What a snapshot covers goes, though a member that is away would have wanted it: it gets the snapshot. The library
        // puts this off while it sends, so it is asked again; the next snapshot waits for as much as usual beyond that.
        let covered = raft.metrics().borrow_watched().snapshot.map_or(0, |log_id| log_id.index);
        let superfluous = covered.saturating_sub(ENTRIES_KEPT_IN_CLUSTER);
        let is_put_off = superfluous > 0 && log.purged().is_none_or(|purged| purged.index < superfluous);
        if is_put_off && covered != put_off.0 {
            put_off = (covered, log.bytes());
        }
        let from = if is_put_off { put_off.1 } else { 0 };
        let asked = if log.bytes() >= from + enough {
            raft.trigger().snapshot().await
        } else if is_put_off {
            raft.trigger().purge_log(superfluous).await
        } else {
            Ok(())
        };
        if asked.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::entry::log_id_of;
    use crate::storage::LogPosition;

    /// Nodes 2 and 3 led in the same term. What node 2 had committed may not be applied at node 3 yet.
    #[test]
    fn an_entry_of_another_leader_of_the_same_term_is_none_of_its_own() {
        let mut metrics = RaftMetrics::<Types>::new_initial(3);
        (metrics.state, metrics.current_term) = (ServerState::Leader, 2);
        metrics.last_applied = Some(log_id_of(LogPosition { term: 2, node: 2, index: 10 }));
        assert!(!has_applied_own_term(&metrics));
        metrics.last_applied = Some(log_id_of(LogPosition { term: 2, node: 3, index: 11 }));
        assert!(has_applied_own_term(&metrics));
    }
}
