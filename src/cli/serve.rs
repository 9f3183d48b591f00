//! Serve: runs one member of a cluster, or a store of one node with HTTP, until it is told to stop.
//!
//! It says where it listens, when it is ready, that it stops and that it has stopped, one line each. SIGTERM and SIGINT
//! stop it gracefully; a second one ends it at once. It ends by itself, with exit code 1, when writes have stopped for
//! good (a disk that failed).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use concord_kv::{ClusterConfig, Concord, Config, Durability, Error, ErrorKind, Multicast, Result, parse_durability};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::access::{Access, misuse};
use super::log;
use super::output::print_event;
use super::serving::{self, HttpOptions};
use super::settings;

/// How often the member is asked how it is.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);

/// Longest wait for being ready in one go, so that an end of the program is not held up.
const READY_WAIT_MS: u64 = 200;

/// Exit code after a second signal: that of a program killed by SIGINT.
const EXIT_BY_SIGNAL: i32 = 130;

/// What a member is made of. Every option has its `CONCORD_*` variable; the option wins.
#[derive(Args)]
#[command(after_help = "Example, on three machines a, b and c:\n  \
    concord serve --data-dir ./data --listen a:7400 --seed b:7400 --seed c:7400 --bootstrap-expect 3 --cookie-file ./cookie\n\n\
    A store of one node with HTTP:\n  concord serve --data-dir ./data --api 127.0.0.1:4000")]
pub(super) struct Serve {
    /// Where other members and clients are served.
    #[arg(long, env = "CONCORD_LISTEN", value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where others reach this node, when that differs from --listen.
    #[arg(long, env = "CONCORD_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// A member that may be there already; repeat it, or separate several by commas.
    #[arg(long = "seed", env = "CONCORD_SEEDS", value_name = "HOST:PORT", value_delimiter = ',')]
    seeds: Vec<String>,
    /// How many nodes found a new cluster together; 0, the default, joins an existing one only.
    #[arg(long, env = "CONCORD_BOOTSTRAP_EXPECT", value_name = "N")]
    bootstrap_expect: Option<usize>,
    /// Name of this node for people.
    #[arg(long, env = "CONCORD_NODE_NAME", value_name = "NAME")]
    name: Option<String>,
    /// `always` (on disk before it is acknowledged), `memory`, or milliseconds between two fdatasync calls.
    #[arg(long, env = "CONCORD_DURABILITY", value_name = "WHEN")]
    durability: Option<String>,
    /// Find other nodes on the local network by multicast.
    #[arg(long, env = "CONCORD_MULTICAST", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    multicast: bool,
    /// Followers that hear nothing for this long elect a new leader; 200 by default.
    #[arg(long, value_name = "MS")]
    election_timeout_ms: Option<u64>,
    /// The log is compacted by a snapshot when it has grown by this much; 64 MiB by default.
    #[arg(long, value_name = "BYTES")]
    snapshot_log_bytes: Option<u64>,
    /// Stay a learner, without a vote, even when caught up.
    #[arg(long)]
    no_promote: bool,
    #[command(flatten)]
    http: HttpOptions,
}

impl Serve {
    /// What the file and the environment say, and over it what the command line says.
    fn config(&self, access: &Access, data_dir: Option<&Path>, file: Option<&Path>) -> Result<Config> {
        let base = settings(file)?.config()?;
        let durability = set(&self.durability).as_deref().map(parse_durability).transpose()?;
        let durability = durability.unwrap_or(base.durability);
        let data_dir = data_dir.map(Path::to_owned).or(base.data_dir);
        if data_dir.is_none() && durability != Durability::Memory {
            return Err(misuse(
                "say where the data is: --data-dir DIR or CONCORD_DATA_DIR; or --durability memory to keep nothing",
            ));
        }
        let is_configured = base.cluster.is_some();
        let known = base.cluster.unwrap_or_default();
        let secret = access.secret()?;
        let seeds: Vec<String> = self.seeds.iter().filter(|seed| !seed.is_empty()).cloned().collect();
        let cluster = ClusterConfig {
            listen: set(&self.listen).unwrap_or(known.listen),
            advertise: set(&self.advertise).or(known.advertise),
            name: set(&self.name).or(known.name),
            seeds: if seeds.is_empty() { known.seeds } else { seeds },
            bootstrap_expect: self.bootstrap_expect.unwrap_or(known.bootstrap_expect),
            cookie: if secret.is_empty() { known.cookie } else { secret },
            multicast: known.multicast.or(self.multicast.then(Multicast::default)),
            tls: access.tls()?.or(known.tls),
            election_timeout_ms: self.election_timeout_ms.unwrap_or(known.election_timeout_ms),
            promote: known.promote && !self.no_promote,
        };
        let snapshot_log_bytes = self.snapshot_log_bytes.unwrap_or(base.snapshot_log_bytes);
        let auth_enabled = base.auth_enabled || self.http.auth;
        let http = self.http.over(base.http);
        // HTTP alone needs no cluster. A secret says nothing: it may be there for other verbs.
        let is_member = is_configured || self.names_cluster() || http.listen.is_none();
        let cluster = is_member.then_some(cluster);
        Ok(Config { data_dir, durability, snapshot_log_bytes, cluster, auth_enabled, http, ..base })
    }

    /// Whether the command line says that other nodes or clients of a cluster are to be served.
    fn names_cluster(&self) -> bool {
        set(&self.listen).is_some()
            || set(&self.advertise).is_some()
            || self.seeds.iter().any(|seed| !seed.is_empty())
            || self.bootstrap_expect.is_some_and(|expect| expect > 0)
            || self.multicast
    }
}

/// Runs until a signal, or until the member can go on no more.
pub(super) fn serve(
    options: &Serve,
    access: &Access,
    data_dir: Option<&Path>,
    file: Option<&Path>,
    json: bool,
) -> Result<()> {
    log::begin()?;
    let config = options.config(access, data_dir, file)?;
    let address = config.cluster.as_ref().map(|cluster| cluster.advertise.as_ref().unwrap_or(&cluster.listen).clone());
    let mut signals = signals().map_err(|error| Error::new(ErrorKind::Io, format!("cannot watch signals: {error}")))?;
    let db = Concord::open(config.clone())?;
    // Whoever runs the program holds the data; what it serves to others asks for their tokens.
    let admin = db.as_admin();
    if let Some(address) = address {
        say_listening(&admin, &address, json)?;
    }
    let serving = serving::start(&db, &config, json)?;
    let (stop, stopped) = channel::<()>();
    let ended = std::thread::scope(|scope| {
        let (handle, watched) = (signals.handle(), &admin);
        let watch = scope.spawn(move || {
            let ended = watch(watched, &stopped, json);
            handle.close();
            ended
        });
        if signals.forever().next().is_some() {
            print_event("stopping", "stopping: hands over and finishes what is on its way", json!({}), json).ok();
        }
        drop(stop);
        if let Some(serving) = serving {
            serving.close();
        }
        let closed = db.close();
        watch.join().unwrap_or_else(|_| Err(ErrorKind::Internal.into())).and(closed)
    });
    ended.and_then(|()| print_event("stopped", "stopped", json!({}), json))
}

/// The first signal is for the loop that waits for it, the second ends the program wherever it is.
fn signals() -> std::io::Result<Signals> {
    let was_told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_BY_SIGNAL, was_told.clone())?;
        signal_hook::flag::register(signal, was_told.clone())?;
    }
    Signals::new([SIGTERM, SIGINT])
}

fn say_listening(db: &Concord, address: &str, json: bool) -> Result<()> {
    let node_id = db.status()?.raft.node_id;
    let sentence = format!("listening on {address} as node {node_id}");
    print_event("listening", &sentence, json!({"address": address, "node": node_id}), json)
}

fn say_ready(db: &Concord, json: bool) -> Result<()> {
    let status = db.status()?;
    let (state, cluster_id) = (status.raft.state.name(), format!("{:032x}", status.cluster_id));
    let sentence = format!("ready as {state} of {} members, cluster {cluster_id}", status.raft.members.len());
    let fields = json!({
        "cluster": cluster_id,
        "leader": status.raft.leader,
        "members": status.raft.members.len(),
        "node": status.raft.node_id,
        "state": state,
        "term": status.raft.term,
    });
    print_event("ready", &sentence, fields, json)
}

/// Tells when the member is ready, then looks after it until the program stops; an error when it can go on no more.
fn watch(db: &Concord, stopped: &Receiver<()>, json: bool) -> Result<()> {
    let mut is_ready = false;
    let mut pause = Duration::ZERO;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        if let Some(failure) = db.status()?.failure {
            return Err(Error::new(ErrorKind::Io, failure));
        }
        if !is_ready && db.cluster().wait_ready(READY_WAIT_MS).is_ok() {
            is_ready = true;
            say_ready(db, json)?;
        }
        pause = if is_ready { LOOK_EVERY } else { Duration::from_millis(READY_WAIT_MS / 10) };
    }
    Ok(())
}

/// An empty variable counts as one that is not set.
fn set(option: &Option<String>) -> Option<String> {
    option.clone().filter(|text| !text.is_empty())
}
