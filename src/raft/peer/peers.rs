//! Peers: connections to other nodes, one for each, opened when they are needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::net::{CallError, Caller, ConnectOptions, Expectation, Hello};

/// After a failed attempt nobody tries again for so long.
const PAUSE: Duration = Duration::from_millis(40);

/// How this node reaches others, and how it introduces itself.
pub(in crate::raft) struct Peers {
    options: ConnectOptions,
    connect_timeout: Duration,
    hello: Mutex<Hello>,
    links: Mutex<BTreeMap<(u64, Use), Arc<Link>>>,
    /// Where nodes said that they are, newer than what the log says.
    learned: Mutex<BTreeMap<u64, String>>,
}

/// What a connection is for: large things must not hold up small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::raft) enum Use {
    Messages,
    Snapshots,
}

#[derive(Default)]
struct Link {
    state: tokio::sync::Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    caller: Option<Caller>,
    address: String,
    failed_at: Option<Instant>,
    failure: String,
}

impl Peers {
    pub(in crate::raft) fn new(options: ConnectOptions, connect_timeout: Duration, hello: Hello) -> Peers {
        Peers { options, connect_timeout, hello: Mutex::new(hello), links: Mutex::default(), learned: Mutex::default() }
    }

    /// How this node introduces itself.
    pub(in crate::raft) fn hello(&self) -> Hello {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this node belongs to this cluster.
    pub(in crate::raft) fn adopt(&self, cluster_id: u128) {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).cluster_id = cluster_id;
    }

    /// From now on this node is reached here.
    pub(in crate::raft) fn settle(&self, address: String) {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).address = address;
    }

    pub(in crate::raft) fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// A node has said, and proved that it belongs here, where it is reached.
    pub(in crate::raft) fn learn(&self, hello: &Hello) {
        if hello.node_id != 0 && !hello.address.is_empty() && hello.cluster_id == self.hello().cluster_id {
            let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
            learned.insert(hello.node_id, hello.address.clone());
        }
    }

    /// Where a node said that it is.
    pub(in crate::raft) fn learned(&self, node_id: u64) -> Option<String> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(&node_id).cloned()
    }

    /// A connection to this node, the one that is open if there is one.
    pub(in crate::raft) async fn caller(&self, node_id: u64, address: &str, r#use: Use) -> Result<Caller> {
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.entry((node_id, r#use)).or_default().clone()
        };
        let mut state = link.state.lock().await;
        if let Some(caller) = state.caller.as_ref().filter(|caller| !caller.is_closed() && state.address == address) {
            return Ok(caller.clone());
        }
        let is_early = state.failed_at.is_some_and(|failed_at| failed_at.elapsed() < PAUSE);
        if is_early && state.address == address {
            return Err(Error::new(ErrorKind::ClusterNotReady, state.failure.clone()));
        }
        state.caller = None;
        state.address = address.to_owned();
        let hello = self.hello();
        let expect = Expectation {
            cluster_id: Some(hello.cluster_id).filter(|cluster_id| *cluster_id != 0),
            node_id: Some(node_id),
        };
        match self.connect(address, &hello, expect).await {
            Ok(caller) => {
                state.caller = Some(caller.clone());
                state.failed_at = None;
                Ok(caller)
            }
            Err(error) => {
                state.failed_at = Some(Instant::now());
                state.failure = error.message().to_owned();
                Err(error)
            }
        }
    }

    /// A connection of its own to whoever is at this address.
    pub(in crate::raft) async fn stranger(&self, address: &str) -> Result<Caller> {
        let hello = self.hello();
        self.connect(address, &hello, Expectation::default()).await
    }

    async fn connect(&self, address: &str, hello: &Hello, expect: Expectation) -> Result<Caller> {
        let connecting = Caller::connect(&self.options, address, hello, expect);
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(ErrorKind::ClusterNotReady, format!("{address} does not answer"))),
        }
    }
}

/// What to tell a caller whose request certainly did nothing, or may have done something.
pub(in crate::raft) fn error_of(error: CallError) -> Error {
    match error {
        CallError::NotSent(error) | CallError::Answered(error) => error,
        CallError::Lost => ErrorKind::UnknownOutcome.into(),
    }
}
