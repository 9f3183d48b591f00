//! Member: one process with a node, as `Concord` would open it, and clients that use it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::churn::churn;
use super::dice::Dice;
use super::host::HostClock;
use super::network::{Network, address_of};
use super::stream::SimulatedSockets;
use crate::config::{ClientConfig, ClusterConfig, Config, Durability, Secret};
use crate::error::{ErrorKind, Result};
use crate::raft::{Hooks, Node, NodeOptions, Remote, Seams};
use crate::service::{Answering, Client, Clock, Kv, Status, remove_expired};
use crate::storage::{DataDir, Driver, Identity, Log, LogOptions, MemFiles, Sabotage};

const SECRET: &str = "simulated";
/// Small, so that files end, snapshots are taken and logs are purged within seconds.
const SEGMENT_BYTES: u64 = 32 * 1024;
const SNAPSHOT_LOG_BYTES: u64 = 12 * 1024;
/// Never by itself: the log looks at the real clock for that.
const MARK_AFTER_MS: u64 = 3_600_000;

/// How long this host's disk takes at most, milliseconds.
pub(super) type DiskDelay = Arc<std::sync::atomic::AtomicU64>;

/// A bug planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// The leader takes what it has sent for what its followers have.
    AcknowledgesBeforeQuorum,
    SkipsSync,
    ForgetsVote,
    /// A leader reads under a lease that is over.
    ReadsStale,
    AppliesTwice,
    ExpiresByLocalClock,
}

/// What a process is started with.
#[derive(Clone)]
pub(super) struct MemberOptions {
    pub(super) host: usize,
    pub(super) node_id: u64,
    /// Differs on each start.
    pub(super) seed: u64,
    pub(super) seeds: Vec<usize>,
    pub(super) bootstrap_expect: usize,
    pub(super) files: MemFiles,
    pub(super) clock: Arc<HostClock>,
    pub(super) network: Network,
    pub(super) disk_delay_ms: DiskDelay,
    pub(super) planted: Planted,
}

/// An open node.
pub(super) struct Member {
    pub(super) node: Arc<Node>,
    pub(super) kv: Arc<Kv>,
    log: Arc<Mutex<Option<Log>>>,
}

impl Member {
    pub(super) async fn open(options: MemberOptions) -> Result<Member> {
        let unnamed = Identity { cluster_id: 0, node_id: options.node_id };
        let data_dir = DataDir::open(Path::new("/data"), Arc::new(options.files.clone()), || unnamed)?;
        let clock = Clock::from_source(options.clock.clone());
        let (log, seams) = seams(&options);
        let config = Config::default();
        let node = Node::start(NodeOptions {
            identity: data_dir.identity(),
            data_dir: Some(data_dir),
            fresh_cluster_id: u128::from(options.seed) << 1 | 1,
            durability: Durability::Always,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            event_history: Default::default(),
            time: Arc::new(clock.clone()),
            metrics: Arc::default(),
            cluster: Some(cluster_config(&options)),
            local_socket: false,
            seams,
        });
        let node = Arc::new(node.await?);
        plant(&node, &options);
        clock.advance_to(node.machine().time_ms());
        node.spawn(remove_expired(Arc::downgrade(&node), clock.clone(), 100));
        node.spawn(churn(Arc::downgrade(&node), clock.clone(), Dice(!options.seed)));
        let kv = Arc::new(Kv::of_node(node.clone(), clock, &config, Arc::default()));
        let told = Arc::downgrade(&node);
        let status = move || told.upgrade().map(|node| Status::of(&node)).ok_or_else(|| ErrorKind::Closed.into());
        node.serve_above(Arc::new(Answering::new(Arc::downgrade(&kv), Box::new(status))));
        Ok(Member { node, kv, log })
    }

    pub(super) fn log(&self) -> Option<Log> {
        self.log.lock().unwrap().clone()
    }
}

fn cluster_config(options: &MemberOptions) -> ClusterConfig {
    ClusterConfig {
        listen: address_of(options.host),
        seeds: options.seeds.iter().map(|host| address_of(*host)).collect(),
        bootstrap_expect: options.bootstrap_expect,
        cookie: Secret::new(SECRET),
        ..ClusterConfig::default()
    }
}

fn seams(options: &MemberOptions) -> (Arc<Mutex<Option<Log>>>, Seams) {
    let (work, opened) = (Arc::new(Notify::new()), Arc::<Mutex<Option<Log>>>::default());
    let (wake, log) = (work.clone(), opened.clone());
    let (seed, delay) = (options.seed, options.disk_delay_ms.clone());
    let log_opened = move |log: &Log| {
        *opened.lock().unwrap() = Some(log.clone());
        tokio::spawn(drive(log.clone(), work.clone(), delay.clone(), Dice(seed)));
    };
    let sabotage = match options.planted {
        Planted::SkipsSync => Sabotage::SkipSync,
        Planted::ForgetsVote => Sabotage::ForgetBallot,
        _ => Sabotage::None,
    };
    let seams = Seams {
        sockets: Arc::new(SimulatedSockets { network: options.network.clone(), host: options.host }),
        lease_clock: options.clock.clone(),
        log: LogOptions {
            driver: Driver::Manual(Arc::new(move || wake.notify_one())),
            segment_bytes: SEGMENT_BYTES,
            mark_after_ms: MARK_AFTER_MS,
            sabotage,
            ..LogOptions::default()
        },
        has_threads: false,
        hooks: Hooks {
            log_opened: Some(Arc::new(log_opened)),
            counts_unanswered: options.planted == Planted::AcknowledgesBeforeQuorum,
            keeps_lease: options.planted == Planted::ReadsStale,
        },
    };
    (log, seams)
}

/// The disk: it takes its time.
async fn drive(log: Log, work: Arc<Notify>, delay_ms_max: DiskDelay, mut dice: Dice) {
    loop {
        work.notified().await;
        let delay_ms_max = delay_ms_max.load(std::sync::atomic::Ordering::Relaxed);
        let delay_ms = dice.below(delay_ms_max + 1);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        while log.drive() {}
    }
}

fn plant(node: &Node, options: &MemberOptions) {
    let sabotage = &node.machine().sabotage;
    match options.planted {
        Planted::AppliesTwice => sabotage.apply_twice(),
        Planted::ExpiresByLocalClock => {
            let clock = options.clock.clone();
            sabotage.trust_local_clock(move || crate::service::TimeSource::wall_ms(&*clock));
        }
        _ => {}
    }
}

/// A program that is no member.
pub(super) async fn connect(network: Network, host: usize, members: &[usize], clock: Arc<HostClock>) -> Arc<Kv> {
    let addresses: Vec<String> = members.iter().map(|host| address_of(*host)).collect();
    let config = ClientConfig::new(&addresses.join(","), SECRET);
    let sockets = Arc::new(SimulatedSockets { network, host });
    loop {
        match Remote::start(&config, sockets.clone()).await {
            Ok(remote) => {
                let client = Arc::new(Client::new(remote));
                return Arc::new(Kv::of_client(client, Clock::from_source(clock), &config, Arc::default()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
