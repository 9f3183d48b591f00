//! Concord: the open handle.

use std::sync::Arc;

use crate::config::{ClientConfig, Config, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::raft::{Member, Node, NodeOptions, NodeState, RaftStatus, new_identity};
use crate::service::{Clock, Cluster, Kv, remove_expired};
use crate::storage::{DataDir, RealFiles};

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
    node: Arc<Node>,
    kv: Kv,
    cluster: Cluster,
    cluster_id: u128,
}

/// What a store knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Identity of the cluster, the same on every member.
    pub cluster_id: u128,
    /// Consensus as this node sees it.
    pub raft: RaftStatus,
    /// How many records there are; expired ones count until they are removed.
    pub size: u64,
    /// Memory that they take, bytes, about.
    pub memory_bytes: u64,
    /// Revision of the last change.
    pub revision: u64,
    /// Bytes of log that the next snapshot would free.
    pub log_bytes: u64,
    /// A write that a crash had torn, removed when the store was opened; nothing of it had been acknowledged.
    pub repaired: Option<String>,
    /// Why writes have stopped for good, when they have.
    pub failure: Option<String>,
}

impl Concord {
    /// Opens a store and blocks until it has recovered and can serve.
    ///
    /// # Errors
    /// `invalid_config`; `locked` when another process has the data directory; `corrupt` when a stored file
    /// is damaged (nothing is changed then); `io`.
    pub fn open(config: Config) -> Result<Concord> {
        config.validate()?;
        let durable_dir = config.data_dir.as_ref().filter(|_| config.durability != Durability::Memory);
        let fresh = new_identity()?;
        let data_dir = durable_dir.map(|dir| DataDir::open(dir, Arc::new(RealFiles), || fresh)).transpose()?;
        let identity = data_dir.as_ref().map_or(fresh, DataDir::identity);
        let clock = Clock::system();
        let now_ms = {
            let clock = clock.clone();
            Arc::new(move || clock.now_ms())
        };
        let options = NodeOptions {
            data_dir,
            node_id: identity.node_id,
            durability: config.durability,
            snapshot_log_bytes: config.snapshot_log_bytes,
            now_ms,
        };
        let node = Arc::new(Node::open(options)?);
        clock.advance_to(node.machine().time_ms());
        node.spawn(remove_expired(Arc::downgrade(&node), clock.clone(), config.expiry_interval_ms));
        let kv = Kv::new(node.clone(), clock, &config);
        let cluster = Cluster::new(node.clone());
        Ok(Concord { inner: Arc::new(Inner { node, kv, cluster, cluster_id: identity.cluster_id }) })
    }

    /// Reaches a cluster without being a member of it: same verbs, nothing kept here. Follows the leader, survives
    /// fail-over, spreads `eventual` reads over the members. Blocks until a member has answered.
    ///
    /// # Errors
    /// `invalid_config`; `unauthorized` when the secret is not the cluster's; `timeout` when nobody answers.
    pub fn connect(config: ClientConfig) -> Result<Concord> {
        config.validate()?;
        Err(Error::new(ErrorKind::ClusterNotReady, "no member answers"))
    }

    /// The membership verbs.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The key-value verbs.
    pub fn kv(&self) -> &Kv {
        &self.inner.kv
    }

    /// What this store knows of itself. Answers after `close` as well, with the state `shutdown`.
    ///
    /// # Errors
    /// None today; a cluster may have some.
    pub fn status(&self) -> Result<Status> {
        let Inner { node, cluster_id, .. } = &*self.inner;
        let machine = node.machine();
        let mut raft = node.status();
        if node.is_closed() {
            raft.state = NodeState::Shutdown;
        }
        Ok(Status {
            cluster_id: *cluster_id,
            raft,
            size: machine.len(),
            memory_bytes: machine.memory_bytes(),
            revision: machine.revision(),
            log_bytes: node.log_bytes(),
            repaired: node.repaired(),
            failure: node.failure(),
        })
    }

    /// The members of the cluster.
    ///
    /// # Errors
    /// As [`Concord::status`].
    pub fn members(&self) -> Result<Vec<Member>> {
        Ok(self.inner.node.status().members)
    }

    /// SHA-256 over the whole content: equal on replicas that have applied the same entries.
    ///
    /// # Errors
    /// `corrupt` when a stored value cannot be read.
    pub fn digest(&self) -> Result<[u8; 32]> {
        self.inner.node.machine().digest()
    }

    /// Waits for the writes that are on their way, then stops; everything afterwards answers `closed`.
    /// Closing twice is fine.
    ///
    /// # Errors
    /// None today.
    pub fn close(&self) -> Result<()> {
        self.inner.node.close();
        Ok(())
    }
}
