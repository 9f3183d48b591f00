//! Peers: connections to other nodes, one for each, opened when they are needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::net::{CallError, Caller, Expectation, Hello, Role, SharedSecret, Sockets, Tls};

/// After a failed attempt nobody tries again for so long.
const PAUSE: Duration = Duration::from_millis(40);

/// How this node reaches others, and how it introduces itself.
pub(in crate::raft) struct Peers {
    sockets: Arc<dyn Sockets>,
    tls: Option<Tls>,
    secret: SharedSecret,
    connect_timeout: Duration,
    hello: Mutex<Hello>,
    links: Mutex<BTreeMap<(u64, Use), Arc<Link>>>,
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
    pub(in crate::raft) fn new(
        sockets: Arc<dyn Sockets>,
        tls: Option<Tls>,
        secret: SharedSecret,
        connect_timeout: Duration,
        hello: Hello,
    ) -> Peers {
        let (hello, links) = (Mutex::new(hello), Mutex::new(BTreeMap::new()));
        Peers { sockets, tls, secret, connect_timeout, hello, links }
    }

    /// How this node introduces itself.
    pub(in crate::raft) fn hello(&self) -> Hello {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this node belongs to this cluster.
    pub(in crate::raft) fn adopt(&self, cluster_id: u128) {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).cluster_id = cluster_id;
    }

    pub(in crate::raft) fn is_member(&self) -> bool {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).role == Role::Peer
    }

    pub(in crate::raft) fn sockets(&self) -> &Arc<dyn Sockets> {
        &self.sockets
    }

    pub(in crate::raft) fn secret(&self) -> &SharedSecret {
        &self.secret
    }

    pub(in crate::raft) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
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
        let connecting =
            Caller::connect(&*self.sockets, self.tls.as_ref(), address, hello, &self.secret, expect);
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
