//! Remote: the way to a cluster for a program that is no member of it.

mod known;
mod way;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cluster::{Info, MemberInfo, MembershipChange};
use super::peer::{Peers, Use, error_of, method};
use super::propose::{Batcher, Delivery, Done};
use crate::config::ClientConfig;
use crate::encoding::wire::WireReader;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, TokenId, TokenSecret};
use crate::net::{CallError, Caller, ConnectOptions, Credential, Hello, NetLimits, Role, SharedSecret, Sockets, Tls};
use crate::net::{TlsFiles, TokenKey, block_broken_pipe_signal};
use crate::telemetry::Metrics;
use known::Known;
use way::RemoteWay;

/// How long one attempt to reach a member may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the first request waits for its answer before another member is asked; each later one waits twice as long. A
/// member that is frozen answers never.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(600);
const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts when no member can serve.
const PAUSE: Duration = Duration::from_millis(30);
/// What stands for an address where there is only one node to reach.
const LOCAL_ADDRESS: &str = "the local socket";
/// How long closing waits for writes that are on their way.
const DRAIN: Duration = Duration::from_secs(5);

/// Who is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The leader, if it is known; it answers with the fewest steps.
    Leader,
    /// Each member in its turn.
    Anybody,
    /// This member and no other.
    Member(u64),
}

/// Connections to a cluster's members. Follows the leader.
pub(crate) struct Remote {
    links: Arc<Links>,
    batcher: Batcher,
    closed: Arc<AtomicBool>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// What the tasks of a remote share.
pub(super) struct Links {
    peers: Arc<Peers>,
    known: Known,
    runtime: Handle,
    closed: Arc<AtomicBool>,
    /// The directory through whose socket a node is reached: then that one and no other.
    local: Option<PathBuf>,
}

impl Remote {
    /// Blocks until a member has answered.
    pub(crate) fn connect(config: &ClientConfig, sockets: Arc<dyn Sockets>, metrics: Arc<Metrics>) -> Result<Remote> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::new(ErrorKind::Io, "cannot start a runtime").with_source(error))?;
        let remote = {
            let _guard = runtime.enter();
            Remote::build(config, sockets, metrics)?
        };
        let (signal, stopped) = oneshot::channel();
        let (batcher, closed) = (remote.batcher.clone(), remote.closed.clone());
        let thread = std::thread::Builder::new()
            .name("concord-client".to_owned())
            .spawn(move || {
                block_broken_pipe_signal();
                runtime.block_on(async {
                    let _ = stopped.await;
                    let _ = tokio::time::timeout(DRAIN, batcher.close()).await;
                    closed.store(true, Ordering::Relaxed);
                });
            })
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start a thread").with_source(error))?;
        *remote.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some((signal, thread));
        let links = remote.links.clone();
        let patience = Duration::from_millis(config.connect_timeout_ms);
        remote.wait(patience + CONNECT_TIMEOUT, async move { links.find(Instant::now() + patience).await })??;
        Ok(remote)
    }

    fn build(config: &ClientConfig, sockets: Arc<dyn Sockets>, metrics: Arc<Metrics>) -> Result<Remote> {
        let tls = config.tls.as_ref().filter(|_| config.data_dir.is_none()).map(|tls| {
            Tls::open(TlsFiles {
                certificate: tls.certificate.clone(),
                private_key: tls.private_key.clone(),
                ca: tls.authority.clone(),
                verify_node_id: tls.verify_node_id,
            })
        });
        let options = ConnectOptions {
            sockets,
            tls: tls.transpose()?.map(Arc::new),
            credential: credential(config)?,
            limits: NetLimits::default(),
        };
        let token = options.credential.token();
        let hello = Hello { role: Role::Client, cluster_id: 0, node_id: 0, token, address: String::new() };
        let closed = Arc::new(AtomicBool::new(false));
        let links = Arc::new(Links {
            peers: Arc::new(Peers::new(options, CONNECT_TIMEOUT, hello)),
            known: Known::new(match config.data_dir {
                Some(_) => vec![LOCAL_ADDRESS.to_owned()],
                None => config.addresses.clone(),
            }),
            runtime: Handle::current(),
            closed: closed.clone(),
            local: config.data_dir.clone(),
        });
        let delivery = Delivery::new(Arc::new(RemoteWay::new(links.clone())));
        let batcher = Batcher::new(Handle::current(), None, Some(delivery), false, metrics);
        Ok(Remote { links, batcher, closed, stop: Mutex::new(None) })
    }

    /// The same on the current runtime, without a thread: for simulations.
    #[cfg(test)]
    pub(crate) async fn start(config: &ClientConfig, sockets: Arc<dyn Sockets>) -> Result<Remote> {
        let remote = Remote::build(config, sockets, Arc::default())?;
        remote.links.find(Instant::now() + Duration::from_millis(config.connect_timeout_ms)).await?;
        Ok(remote)
    }

    /// Hands a command to the leader; see [`Batcher::submit`].
    pub(crate) fn propose(&self, command: &Command<'_>, timeout_ms: u64, done: Done) -> Result<()> {
        self.batcher.submit(command, timeout_ms, done)
    }

    /// Asks a member, and another one if that fails, until somebody has answered. For requests that change nothing.
    pub(crate) fn ask(
        &self,
        target: Target,
        method: u16,
        message: Vec<u8>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answered>> + Send + 'static {
        let links = self.links.clone();
        async move { links.ask(target, method, message, Instant::now() + timeout).await }
    }

    /// Asks one member that may wait so long with its answer. When it does not answer, `cluster_not_ready` after a look for
    /// others.
    pub(crate) fn ask_waiting(
        &self,
        target: Target,
        method: u16,
        message: Vec<u8>,
        wait: Duration,
    ) -> impl Future<Output = Result<Answered>> + Send + 'static {
        let links = self.links.clone();
        async move {
            let asked = links.ask_once(target, method, &message, wait + ANSWER_TIMEOUT).await;
            if matches!(&asked, Err(error) if error.kind() == ErrorKind::ClusterNotReady) {
                tokio::time::sleep(PAUSE).await;
                links.refresh().await;
            }
            asked
        }
    }

    /// The members that are known.
    pub(crate) fn members(&self) -> Vec<u64> {
        self.links.known.candidates(Target::Anybody).into_iter().map(|(member, _)| member).collect()
    }

    pub(crate) fn change(&self, change: &MembershipChange, timeout_ms: u64) -> Result<u64> {
        let (links, message) = (self.links.clone(), change.encode());
        let timeout = Duration::from_millis(timeout_ms);
        let answer = self.wait(timeout, async move {
            links.ask(Target::Leader, method::CHANGE, message, Instant::now() + timeout).await
        })??;
        WireReader::new(&answer.bytes).varint()
    }

    /// Runs a task on the runtime of the connections.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.links.runtime.spawn(task);
    }

    /// Blocks this thread until a task is done.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        timeout: Duration,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        if self.is_closed() {
            return Err(ErrorKind::Closed.into());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.spawn(async move { drop(sender.send(task.await)) });
        receiver.recv_timeout(timeout + Duration::from_millis(100)).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => ErrorKind::Timeout.into(),
            mpsc::RecvTimeoutError::Disconnected => ErrorKind::Closed.into(),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Waits for the writes that are on their way, then stops. Later calls do nothing.
    pub(crate) fn close(&self) {
        let Some((signal, thread)) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let _ = signal.send(());
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the client proves itself by.
fn credential(config: &ClientConfig) -> Result<Credential> {
    if config.data_dir.is_some() {
        return Ok(SharedSecret::of_local_socket().into());
    }
    let Some(token) = &config.token else { return Ok(SharedSecret::new(config.cookie.reveal())?.into()) };
    let mistyped = || Error::new(ErrorKind::Unauthorized, "this is no token: it was mistyped or cut off");
    let secret = TokenSecret::parse(token.reveal()).ok_or_else(mistyped)?;
    Ok(Credential::Token(TokenKey::new(TokenId::of(&secret.hash()).0, *secret.bytes())))
}

/// An answer, and who gave it.
pub(crate) struct Answered {
    pub bytes: Vec<u8>,
    pub member: u64,
}

impl Links {
    /// A member to ask, with its connection.
    async fn pick(&self, target: Target) -> Result<(u64, Caller)> {
        let candidates = self.known.candidates(target);
        let mut failure = Error::new(ErrorKind::ClusterNotReady, "no member is known yet");
        for (node_id, address) in candidates {
            match self.peers.caller(node_id, &address, Use::Messages).await {
                Ok(caller) => return Ok((node_id, caller)),
                Err(error) => {
                    self.known.avoid(node_id);
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn ask(&self, target: Target, method: u16, message: Vec<u8>, until: Instant) -> Result<Answered> {
        let mut answer_timeout = ANSWER_TIMEOUT;
        loop {
            // A change is carried out once, however long it takes; a member alone has nobody to stand in for it.
            let is_bounded = method != method::CHANGE && !matches!(target, Target::Member(_));
            let patience = if is_bounded { answer_timeout } else { Duration::MAX };
            answer_timeout = ANSWER_TIMEOUT_MAX.min(answer_timeout * 2);
            let asking = self.ask_once(target, method, &message, patience);
            let failure = match tokio::time::timeout_at(until, asking).await {
                Ok(Ok(answered)) => return Ok(answered),
                Ok(Err(error)) if error.kind() != ErrorKind::ClusterNotReady => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => return Err(ErrorKind::Timeout.into()),
            };
            if self.closed.load(Ordering::Relaxed) {
                return Err(ErrorKind::Closed.into());
            }
            if matches!(target, Target::Member(_)) || Instant::now() + PAUSE >= until {
                return Err(failure);
            }
            tokio::time::sleep(PAUSE).await;
            self.refresh().await;
        }
    }

    async fn ask_once(&self, target: Target, method: u16, message: &[u8], patience: Duration) -> Result<Answered> {
        let (member, caller) = self.pick(target).await?;
        // Connecting has its own limit.
        let Ok(answer) = tokio::time::timeout(patience, caller.call(method, message.to_vec())).await else {
            self.known.avoid(member);
            return Err(Error::new(ErrorKind::ClusterNotReady, "a member does not answer"));
        };
        match answer {
            Ok(bytes) => Ok(Answered { bytes, member }),
            Err(CallError::Lost) => {
                self.known.forget_leader(member);
                Err(Error::new(ErrorKind::ClusterNotReady, "the connection to a member was lost"))
            }
            Err(error) => Err(error_of(error)),
        }
    }

    /// Asks the members that are known, and then those that were configured, who the members are now.
    async fn refresh(&self) {
        for address in self.known.addresses() {
            let asking = async {
                let caller = self.peers.stranger(&address).await?;
                let answer = caller.call(method::INFO, Vec::new()).await.map_err(error_of)?;
                Info::decode(&answer)
            };
            if let Ok(Ok(info)) = tokio::time::timeout(CONNECT_TIMEOUT, asking).await
                && self.take(&info).is_ok()
                && info.leader.is_some()
            {
                return;
            }
        }
    }

    /// Takes over what a member says, if it is a member of the right cluster.
    fn take(&self, info: &Info) -> Result<()> {
        if self.local.is_some() {
            let (node_id, address) = (info.node_id, LOCAL_ADDRESS.to_owned());
            let only = MemberInfo { node_id, address, name: String::new(), is_voter: true, progress: None };
            let address = only.address.clone();
            self.known.update(&Info {
                node_id,
                address,
                leader: Some(node_id),
                members: vec![only],
                ..Info::default()
            });
            return Ok(());
        }
        let own = self.peers.hello().cluster_id;
        if info.cluster_id == 0 {
            return Err(Error::new(ErrorKind::ClusterNotReady, format!("{} belongs to no cluster yet", info.address)));
        }
        if own != 0 && own != info.cluster_id {
            let message = format!("{} belongs to another cluster; correct the addresses", info.address);
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        self.peers.adopt(info.cluster_id);
        self.known.update(info);
        Ok(())
    }

    /// That nobody listens in a directory, or not for this user, does not get better by waiting.
    fn why_not_here(&self, found: Result<()>) -> Result<()> {
        let (Some(dir), Err(error)) = (&self.local, &found) else { return found };
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
        let dir = dir.display();
        match cause.map(|cause| (cause.kind(), cause)) {
            Some((std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused, _)) => {
                Err(Error::new(ErrorKind::Noproc, format!("no store is open in {dir}; start one there first")))
            }
            Some((std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::InvalidInput, cause)) => {
                Err(Error::new(ErrorKind::Io, format!("cannot reach the store in {dir}: {cause}")))
            }
            _ => found,
        }
    }

    /// Waits until a member of a cluster has answered.
    async fn find(&self, until: Instant) -> Result<()> {
        loop {
            let mut failure = Error::new(ErrorKind::Timeout, "no member answers; check the addresses");
            let mut refusal = None;
            for address in self.known.addresses() {
                let asking = async {
                    let caller = self.peers.stranger(&address).await?;
                    let answer = caller.call(method::INFO, Vec::new()).await.map_err(error_of)?;
                    self.take(&Info::decode(&answer)?)
                };
                failure = match tokio::time::timeout_at(until, asking).await.map(|found| self.why_not_here(found)) {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) if error.kind() == ErrorKind::ClusterNotReady => {
                        Error::new(ErrorKind::Timeout, format!("no member serves: {}", error.message()))
                    }
                    // Another member may know a token that is new.
                    Ok(Err(error)) if error.kind() == ErrorKind::Unauthorized => {
                        refusal = Some(error);
                        failure
                    }
                    // A wrong setting does not get better by waiting.
                    Ok(Err(error)) => return Err(error),
                    Err(_) => failure,
                };
            }
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            if Instant::now() + PAUSE >= until {
                return Err(failure);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
