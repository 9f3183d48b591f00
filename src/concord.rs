//! Concord: the open handle.

use std::path::Path;
use std::sync::Arc;

use crate::config::{ClientConfig, Config, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{LocalSockets, Sockets, TcpSockets};
use crate::raft::{Member, Node, NodeOptions, NodeState, Recoverable, Recovered, Remote, Seams, SystemLeaseClock};
use crate::raft::{new_identity, recover};
use crate::service::{Answering, Client, Clock, Cluster, Kv, Status, Tokens, remove_expired};
use crate::storage::{DataDir, Identity, LogOptions, RealFiles};

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

struct Inner {
    place: Place,
    kv: Arc<Kv>,
    cluster: Cluster,
    tokens: Tokens,
}

enum Place {
    Member(Arc<Node>),
    Client(Arc<Client>),
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
        let node = Node::open(NodeOptions {
            identity: data_dir.as_ref().map_or(unnamed, DataDir::identity),
            data_dir,
            fresh_cluster_id: fresh.cluster_id,
            durability: config.durability,
            snapshot_log_bytes: config.snapshot_log_bytes,
            time: Arc::new(clock.clone()),
            cluster: config.cluster.clone(),
            local_socket: config.local_socket,
            seams,
        })?;
        Ok(Concord::of_node(Arc::new(node), clock, &config))
    }

    fn of_node(node: Arc<Node>, clock: Clock, config: &Config) -> Concord {
        clock.advance_to(node.machine().time_ms());
        node.spawn(remove_expired(Arc::downgrade(&node), clock.clone(), config.expiry_interval_ms));
        let kv = Arc::new(Kv::of_node(node.clone(), clock, config));
        let told = Arc::downgrade(&node);
        let status = move || told.upgrade().map(|node| Status::of(&node)).ok_or_else(|| ErrorKind::Closed.into());
        node.serve_above(Arc::new(Answering::new(Arc::downgrade(&kv), Box::new(status))));
        let cluster = Cluster::of_node(node.clone());
        Concord { inner: Arc::new(Inner { place: Place::Member(node), kv, cluster, tokens: Tokens {} }) }
    }

    /// Reaches a cluster without being a member of it: same verbs, nothing kept here. Follows the leader, survives
    /// fail-over, spreads `eventual` reads over the members. Or reaches the store that another program of the same user has
    /// open on this machine, see [`ClientConfig::local`]. Blocks until a member has answered.
    ///
    /// # Errors
    /// `invalid_config`; `unauthorized` when the secret is not the cluster's; `timeout` when nobody answers; `noproc` when
    /// no store is open in a local directory, `io` when this user may not reach it.
    pub fn connect(config: ClientConfig) -> Result<Concord> {
        config.validate()?;
        let sockets: Arc<dyn Sockets> = match &config.data_dir {
            Some(dir) => Arc::new(LocalSockets::new(dir)),
            None => Arc::new(TcpSockets),
        };
        let client = Arc::new(Client::new(Remote::connect(&config, sockets)?));
        let kv = Arc::new(Kv::of_client(client.clone(), Clock::system(), &config));
        let cluster = Cluster::of_client(client.clone());
        Ok(Concord { inner: Arc::new(Inner { place: Place::Client(client), kv, cluster, tokens: Tokens {} }) })
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
    /// must be allowed to it. Without `auth_enabled` a token that is known is held to its scopes as well.
    ///
    /// # Errors
    /// `unauthorized` for a token that is malformed, unknown, expired or revoked.
    pub fn with_token(&self, _token: &str) -> Result<Concord> {
        Err(ErrorKind::Unauthorized.into())
    }

    /// The same store with every right, for the administration of the machine that holds it.
    pub fn as_admin(&self) -> Concord {
        self.clone()
    }

    /// Whether verbs need a token.
    pub fn auth_enabled(&self) -> bool {
        false
    }

    /// The key-value verbs.
    pub fn kv(&self) -> &Kv {
        &self.inner.kv
    }

    /// What this store knows of itself. Answers after `close` as well, with the state `shutdown`. A client tells what
    /// a member knows, the leader if it can, and blocks for that.
    ///
    /// # Errors
    /// Of a client: `timeout`, `cluster_not_ready`, `closed`.
    pub fn status(&self) -> Result<Status> {
        match &self.inner.place {
            Place::Member(node) => {
                let mut status = Status::of(node);
                if node.is_closed() {
                    status.raft.state = NodeState::Shutdown;
                }
                Ok(status)
            }
            Place::Client(client) => client.status(),
        }
    }

    /// The members of the cluster.
    ///
    /// # Errors
    /// As [`Concord::status`].
    pub fn members(&self) -> Result<Vec<Member>> {
        Ok(self.status()?.raft.members)
    }

    /// SHA-256 over the whole content: equal on replicas that have applied as much of the log.
    ///
    /// # Errors
    /// `corrupt` when a stored value cannot be read; `cluster_not_ready` for a client, which holds no content.
    pub fn digest(&self) -> Result<[u8; 32]> {
        match &self.inner.place {
            Place::Member(node) => node.machine().digest(),
            Place::Client(_) => Err(Error::new(ErrorKind::ClusterNotReady, "a client holds no content to digest")),
        }
    }

    /// Hands leadership over, waits for the writes that are on their way, then stops; everything afterwards answers
    /// `closed`. Closing twice is fine.
    ///
    /// # Errors
    /// None today.
    pub fn close(&self) -> Result<()> {
        match &self.inner.place {
            Place::Member(node) => node.close(),
            Place::Client(client) => client.close(),
        }
        Ok(())
    }
}
