//! Concord: the open handle.

// Only the address: sockets are elsewhere.
use core::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{ClientConfig, Config, Durability, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::net::{LocalSockets, Sockets, TcpSockets};
use crate::raft::{Member, Node, NodeOptions, NodeState, Recoverable, Recovered, Remote, Seams, SystemLeaseClock};
use crate::raft::{new_identity, recover};
use crate::service::{
    Answering, Caller, Client, Clock, Cluster, Identification, Indexes, Kv, Query, Status, Tokens, Txn,
};
use crate::service::{Consumers, Watch, WatchOptions, WatchStats};
use crate::service::{note_token_uses, remove_expired};
use crate::state_machine::Need;
use crate::storage::{DataDir, Identity, LogOptions, RealFiles};
use crate::telemetry::{Metrics, TelemetryOptions};

/// An open store: one node, embedded in this process. Cheap to clone; all clones are the same store. It
/// closes when it is told to, or with the last clone.
///
/// ```
/// use concord_kv::{Concord, Config};
///
/// let db = Concord::open(Config::default())?; // in memory; Config::at("dir") is durable
/// db.kv().put("user:1", "Alice").wait()?;
/// assert_eq!(db.kv().get("user:1")?, Some("Alice".into()));
/// db.close()?;
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[derive(Clone)]
pub struct Concord {
    inner: Arc<Inner>,
}

/// A handle: the store, and the verbs in somebody's name.
struct Inner {
    store: Arc<Store>,
    caller: Caller,
    kv: Kv,
    cluster: Cluster,
    tokens: Tokens,
    query: Query,
    indexes: Indexes,
    consumers: Consumers,
}

/// What all handles share.
struct Store {
    place: Place,
    /// The verbs with every right. Kept for those who are answered above the node.
    trusted: Arc<Kv>,
    metrics: Arc<Metrics>,
    auth_enabled: bool,
}

enum Place {
    Member { node: Arc<Node>, clock: Clock, identification: Identification },
    Client { client: Arc<Client>, config: Box<ClientConfig>, named: Mutex<Vec<Named>> },
}

/// A client that has connected with a token, for whoever comes with the same one again.
struct Named {
    token: Secret,
    store: Arc<Store>,
}

impl Store {
    fn handle(self: &Arc<Store>, caller: Caller) -> Concord {
        let kv = self.trusted.acting_as(caller.clone());
        let (cluster, tokens, query) = (Cluster::new(kv.clone()), Tokens::new(kv.clone()), Query::new(kv.clone()));
        let (indexes, consumers) = (Indexes::new(kv.clone()), Consumers::new(kv.clone()));
        let store = self.clone();
        Concord { inner: Arc::new(Inner { store, caller, kv, cluster, tokens, query, indexes, consumers }) }
    }
}

impl Concord {
    /// Opens a store and blocks until it has recovered and can serve; a member of a cluster only until it listens, see
    /// [`Cluster::wait_ready`].
    ///
    /// # Errors
    /// `invalid_config`; `locked` when another process has the data directory; `corrupt` when a stored file
    /// is damaged (nothing is changed then); `io`.
    pub fn open(config: Config) -> Result<Concord> {
        config.validate()?;
        let durable_dir = config.data_dir.as_ref().filter(|_| config.durability != Durability::Memory);
        let fresh = new_identity()?;
        // A member gets its cluster when it has found or founded one.
        let cluster_id = if config.cluster.is_some() { 0 } else { fresh.cluster_id };
        let unnamed = Identity { cluster_id, ..fresh };
        let data_dir = durable_dir.map(|dir| DataDir::open(dir, Arc::new(RealFiles), || unnamed)).transpose()?;
        if let Some(dir) = data_dir.as_ref().filter(|dir| config.cluster.is_none() && dir.identity().cluster_id == 0) {
            dir.adopt(fresh.cluster_id)?;
        }
        let clock = Clock::system();
        let seams = Seams {
            sockets: Arc::new(TcpSockets),
            lease_clock: Arc::new(SystemLeaseClock),
            log: LogOptions::default(),
            has_threads: true,
            #[cfg(test)]
            hooks: crate::raft::Hooks::default(),
        };
        let metrics = Arc::new(Metrics::new(TelemetryOptions {
            enabled: config.telemetry_enabled,
            hot_keys: config.hot_keys,
            shows_keys: config.metrics_keys,
        }));
        let node = Node::open(NodeOptions {
            identity: data_dir.as_ref().map_or(unnamed, DataDir::identity),
            data_dir,
            fresh_cluster_id: fresh.cluster_id,
            durability: config.durability,
            snapshot_log_bytes: config.snapshot_log_bytes,
            event_history: config.event_history,
            time: Arc::new(clock.clone()),
            metrics: metrics.clone(),
            cluster: config.cluster.clone(),
            local_socket: config.local_socket,
            seams,
        })?;
        Ok(Concord::of_node(Arc::new(node), clock, &config, metrics))
    }

    fn of_node(node: Arc<Node>, clock: Clock, config: &Config, metrics: Arc<Metrics>) -> Concord {
        clock.advance_to(node.machine().time_ms());
        node.spawn(remove_expired(Arc::downgrade(&node), clock.clone(), config.expiry_interval_ms));
        node.spawn(note_token_uses(Arc::downgrade(&node), clock.clone()));
        let trusted = Arc::new(Kv::of_node(node.clone(), clock.clone(), config, metrics.clone()));
        let told = Arc::downgrade(&node);
        let status = move || told.upgrade().map(|node| Status::of(&node)).ok_or_else(|| ErrorKind::Closed.into());
        node.serve_above(Arc::new(Answering::new(Arc::downgrade(&trusted), Box::new(status))));
        let place = Place::Member { node, clock, identification: Identification::default() };
        let caller = if config.auth_enabled { Caller::Nobody } else { Caller::Trusted };
        Arc::new(Store { place, trusted, metrics, auth_enabled: config.auth_enabled }).handle(caller)
    }

    /// Reaches a cluster without being a member of it: same verbs, nothing kept here. Follows the leader, survives
    /// fail-over, spreads `eventual` reads over the members. Or reaches the store that another program of the same user has
    /// open on this machine, see [`ClientConfig::local`]. Blocks until a member has answered.
    ///
    /// # Errors
    /// `invalid_config`; `unauthorized` when the secret is not the cluster's, or the token is not valid; `timeout` when
    /// nobody answers; `noproc` when no store is open in a local directory, `io` when this user may not reach it.
    pub fn connect(config: ClientConfig) -> Result<Concord> {
        config.validate()?;
        let sockets: Arc<dyn Sockets> = match &config.data_dir {
            Some(dir) => Arc::new(LocalSockets::new(dir)),
            None => Arc::new(TcpSockets),
        };
        let options = TelemetryOptions { enabled: true, hot_keys: true, shows_keys: false };
        let metrics = Arc::new(Metrics::new(options));
        let client = Arc::new(Client::new(Remote::connect(&config, sockets, metrics.clone())?));
        let trusted = Arc::new(Kv::of_client(client.clone(), Clock::system(), &config, metrics.clone()));
        let place = Place::Client { client, config: Box::new(config), named: Mutex::default() };
        Ok(Arc::new(Store { place, trusted, metrics, auth_enabled: false }).handle(Caller::Trusted))
    }

    /// Makes a cluster of one out of what one member still has, when the majority of its cluster is lost for good. The
    /// node keeps its id and all its entries, also those of which nobody knows whether they were acknowledged; what only
    /// the others had is lost. Open it as before afterwards; others join it with empty directories, and no old member is
    /// let in. While a majority can still be started, start it instead: that loses nothing.
    ///
    /// `agree` is told what there is and is asked before anything is changed; an error from it is handed on, and the
    /// directory is as it was. Blocks; needs memory for the whole content and disk space for it beside the directory. The
    /// old directory is kept beside the new one, see [`Recovered::kept`]. A crash leaves the old one or the new one; if
    /// it happens between the last two steps, opening says so, and calling this again ends it without asking.
    ///
    /// # Errors
    /// `not_found` when there is no data; `locked` when a process has the directory open; `invalid_config` when there is
    /// nothing to recover, as in a store of one node; `corrupt`; `io`; what `agree` says.
    pub fn recover(dir: impl AsRef<Path>, agree: impl FnOnce(&Recoverable) -> Result<()>) -> Result<Recovered> {
        recover(dir.as_ref(), &Clock::system().now_ms().to_string(), agree)
    }

    /// The membership verbs.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The verbs that make, list and revoke tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// The same store for the holder of this token: everything that is done through the handle is done in its name and
    /// must be allowed to it. Without `auth_enabled` a token that is known is held to its scopes as well. Cheap; only a
    /// follower that does not know the token asks the leader and blocks for at most half a second.
    ///
    /// What is revoked or has expired later is refused then, see [`Tokens::revoke`].
    ///
    /// Of a client this is another client: it connects with the token, and blocks until a member has answered. The 64 tokens
    /// that were used last stay connected until this client is closed, so that asking again costs nothing.
    ///
    /// # Errors
    /// `unauthorized` for a token that is malformed, unknown, expired or revoked. Of a client also what
    /// [`Concord::connect`] answers.
    pub fn with_token(&self, token: &str) -> Result<Concord> {
        let store = &self.inner.store;
        match &store.place {
            Place::Member { node, clock, identification } => {
                Ok(store.handle(identification.identify(node, clock, token)?))
            }
            Place::Client { config, named, client } => {
                let token = Secret::new(token);
                if let Some(known) = named_client(&mut lock(named), &token) {
                    return Ok(known.handle(Caller::Trusted));
                }
                let with = ClientConfig { cookie: Secret::default(), token: Some(token.clone()), ..(**config).clone() };
                let connected = Concord::connect(with)?;
                let mut named = lock(named);
                // Closed meanwhile: nobody would close this one.
                if client.is_closed() {
                    connected.close()?;
                    return Err(ErrorKind::Closed.into());
                }
                named.truncate(limits::CLIENT_TOKENS_MAX - 1);
                named.insert(0, Named { token, store: connected.inner.store.clone() });
                Ok(connected)
            }
        }
    }

    /// The same for a token that came from this address, for faces that listen: a source of ten failed attempts is refused
    /// for a second, and twice as long with each further one, up to a minute. Right tokens are refused for that long as
    /// well, so that nobody can tell them apart.
    ///
    /// # Errors
    /// As [`Concord::with_token`].
    pub fn with_token_from(&self, token: &str, source: IpAddr) -> Result<Concord> {
        let Place::Member { node, .. } = &self.inner.store.place else { return self.with_token(token) };
        let attempts = node.attempts();
        attempts.check(source)?;
        let outcome = self.with_token(token);
        match &outcome {
            Ok(_) => attempts.succeeded(source),
            Err(error) if error.kind() == ErrorKind::Unauthorized => attempts.failed(source),
            Err(_) => {}
        }
        outcome
    }

    /// How many attempts with wrong tokens this node has seen since it was opened: those of [`Concord::with_token_from`],
    /// and clients that connect with one. 0 for a client.
    pub fn failed_attempts(&self) -> u64 {
        match &self.inner.store.place {
            Place::Member { node, .. } => node.attempts().failed_attempts(),
            Place::Client { .. } => 0,
        }
    }

    /// The same store with every right, for the administration of the machine that holds it. What a program does with its
    /// own store is its own affair: tokens are for those whom it serves. A client has the rights of its connection.
    pub fn as_admin(&self) -> Concord {
        self.inner.store.handle(Caller::Trusted)
    }

    /// Whether verbs need a token: then this handle can do nothing by itself, see [`Concord::with_token`] and
    /// [`Concord::as_admin`]. Not so of a client, whose connection has proved already what it may do.
    pub fn auth_enabled(&self) -> bool {
        self.inner.store.auth_enabled
    }

    /// The key-value verbs.
    pub fn kv(&self) -> &Kv {
        &self.inner.kv
    }

    /// The verbs about all records that a selector picks.
    pub fn query(&self) -> &Query {
        &self.inner.query
    }

    /// The verbs of secondary indexes.
    pub fn indexes(&self) -> &Indexes {
        &self.inner.indexes
    }

    /// Begins a transaction: several operations as one change, if what is compared holds.
    pub fn txn(&self) -> Txn<'_> {
        Txn::new(&self.inner.kv)
    }

    /// Follows the committed changes, in their order; see [`Watch`]. A token needs to read all keys that the selector may pick.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`, `closed`; `invalid_condition` for what is no selector; `compacted` when the changes from
    /// where it is to begin are no longer retained; `invalid_config` when this node keeps none.
    pub fn watch(&self, options: &WatchOptions<'_>) -> Result<Watch> {
        Watch::begin(&self.inner.kv, options)
    }

    /// The verbs about watches that have a name, whose place is kept in the store.
    pub fn consumers(&self) -> &Consumers {
        &self.inner.consumers
    }

    /// What this node keeps for those who watch.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`; `cluster_not_ready` for a client, which keeps nothing.
    pub fn watch_stats(&self) -> Result<WatchStats> {
        self.inner.caller.check_scope(Need::Read)?;
        match &self.inner.store.place {
            Place::Member { node, .. } => Ok(WatchStats::of(node.machine().history().held())),
            Place::Client { .. } => {
                Err(Error::new(ErrorKind::ClusterNotReady, "a client keeps no changes; ask a member"))
            }
        }
    }

    /// What this store knows of itself. Answers after `close` as well, with the state `shutdown`. A client tells what
    /// a member knows, the leader if it can, and blocks for that.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`. Of a client: `timeout`, `cluster_not_ready`, `closed`.
    pub fn status(&self) -> Result<Status> {
        self.inner.caller.check_scope(Need::Read)?;
        match &self.inner.store.place {
            Place::Member { node, .. } => {
                let mut status = Status::of(node);
                if node.is_closed() {
                    status.raft.state = NodeState::Shutdown;
                }
                Ok(status)
            }
            Place::Client { client, .. } => client.status(),
        }
    }

    /// All metrics in Prometheus text format 0.0.4, to be served as `text/plain; version=0.0.4`; `deploy/README.md` tells what
    /// they say. Counters begin with 0 when the store is opened. Never blocks for others: a client tells what it has counted
    /// itself. Answers after `close` as well; with `telemetry_enabled: false` it tells only what is known without counting.
    ///
    /// ```
    /// # let db = concord_kv::Concord::open(concord_kv::Config::default())?;
    /// db.kv().put("greeting", "hello").wait()?;
    /// assert!(db.metrics_text().contains("concord_api_put_count_total{result=\"ok\"} 1\n"));
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    pub fn metrics_text(&self) -> String {
        let gauges = match &self.inner.store.place {
            Place::Member { node, .. } => Some(Status::gauges(node)),
            Place::Client { .. } => None,
        };
        self.inner.store.metrics.render(gauges.as_ref())
    }

    /// What faces record of themselves.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.store.metrics
    }

    /// The members of the cluster.
    ///
    /// # Errors
    /// As [`Concord::status`].
    pub fn members(&self) -> Result<Vec<Member>> {
        Ok(self.status()?.raft.members)
    }

    /// SHA-256 over the whole content, tokens included: equal on replicas that have applied as much of the log.
    ///
    /// # Errors
    /// `unauthorized`; `forbidden` for a token that does not reach every key; `corrupt` when a stored value cannot be
    /// read; `cluster_not_ready` for a client, which holds no content.
    pub fn digest(&self) -> Result<[u8; 32]> {
        self.inner.caller.check_read_all()?;
        match &self.inner.store.place {
            Place::Member { node, .. } => node.machine().digest(),
            Place::Client { .. } => Err(Error::new(ErrorKind::ClusterNotReady, "a client holds no content to digest")),
        }
    }

    /// Hands leadership over, waits for the writes that are on their way, then stops; everything afterwards answers
    /// `closed`, through every handle of this store. Closing twice is fine. Needs no token: it is the program's own store.
    ///
    /// # Errors
    /// None today.
    pub fn close(&self) -> Result<()> {
        match &self.inner.store.place {
            Place::Member { node, .. } => node.close(),
            Place::Client { client, named, .. } => {
                client.close();
                let others = std::mem::take(&mut *lock(named));
                for other in others {
                    other.store.handle(Caller::Trusted).close()?;
                }
            }
        }
        Ok(())
    }
}

fn lock(named: &Mutex<Vec<Named>>) -> MutexGuard<'_, Vec<Named>> {
    named.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client that has connected with this token and is open, which becomes the one that was used last.
fn named_client(named: &mut Vec<Named>, token: &Secret) -> Option<Arc<Store>> {
    named.retain(|other| !matches!(&other.store.place, Place::Client { client, .. } if client.is_closed()));
    let at = named.iter().position(|other| other.token == *token)?;
    named[..=at].rotate_right(1);
    Some(named[0].store.clone())
}
