//! Server: accepts connections, lets in who has proved itself, and gives each one its task.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::NetLimits;
use super::connection::Connection;
use super::handshake::receive;
use super::hello::{Hello, Role};
use super::proof::SharedSecret;
use super::sockets::{BoxStream, Listener};
use super::tls::Tls;
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// Decides who comes in.
pub(crate) trait Gate: Send + Sync {
    /// Who this node is at this moment; its cluster may be given to it later.
    fn hello(&self) -> Hello;

    /// Whether one that knows the secret may come in. It gets the error as the reason if not.
    fn admit(&self, hello: &Hello) -> Result<()>;

    /// The hash of a token, given by its public id, if it is valid now. An error when whoever connects from this address
    /// may not try one now.
    fn stored_token(&self, _from: &str, _token: u64) -> Result<Option<[u8; 32]>> {
        Ok(None)
    }

    /// Told whether a client has proved to hold the token that it named.
    fn tried_token(&self, _from: &str, _is_right: bool) {}

    /// Told of everybody who did not come in, for logs and counters.
    fn refused(&self, _from: &str, _why: &Error) {}
}

/// The address of the machine that a connection came from; `None` when it came from this machine without one.
pub(crate) fn source_of(from: &str) -> Option<IpAddr> {
    from.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// Answers requests.
pub(crate) trait Service: Send + Sync {
    /// Begins a request. Called in the order of arrival; each future is polled once before the next call, so
    /// that what it does first keeps that order. It is dropped when the connection ends before it.
    fn handle(&self, from: &Arc<Hello>, method: u16, payload: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>>>;
}

/// What a server needs besides its listener.
pub(crate) struct ServeOptions {
    /// `None`: plaintext.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) secret: SharedSecret,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) limits: NetLimits,
}

/// Pause after the operating system refused a connection (out of file descriptors, most often).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves until `shutdown` resolves; then accepts nobody, answers what runs and returns. Dropping the future ends
/// every connection at once.
pub(crate) async fn serve(mut listener: Box<dyn Listener>, options: ServeOptions, shutdown: impl Future<Output = ()>) {
    let server = Arc::new(Server { options, handshakes: Mutex::default(), connections: AtomicUsize::new(0) });
    let mut tasks = JoinSet::new();
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let mut next = 0u64;
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    next += 1;
                    server.open(next, stream, from, &stopping, &mut tasks);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let handshakes = std::mem::take(&mut *server.handshakes());
    handshakes.into_values().for_each(|task| task.abort());
    let _ = stop.send(true);
    let patience = Duration::from_millis(server.options.limits.shutdown_timeout_ms);
    let _ = tokio::time::timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
}

struct Server {
    options: ServeOptions,
    /// Tasks whose other side has proved nothing yet, oldest first.
    handshakes: Mutex<BTreeMap<u64, AbortHandle>>,
    /// Authenticated connections.
    connections: AtomicUsize,
}

impl Server {
    fn handshakes(&self) -> MutexGuard<'_, BTreeMap<u64, AbortHandle>> {
        self.handshakes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Starts the task of a new connection. When too many are unproved, the oldest goes: whoever knows the secret
    /// is through in a moment, so those who hold a place without proof never keep it from them.
    fn open(
        self: &Arc<Self>,
        number: u64,
        stream: BoxStream,
        from: String,
        stopping: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) {
        // Held until the task is listed: it cannot leave the list before it stands there.
        let mut handshakes = self.handshakes();
        let place = Place { server: self.clone(), number };
        handshakes.insert(number, tasks.spawn(converse(place, stream, from, stopping.clone())));
        let is_full = handshakes.len() > self.options.limits.handshakes_max;
        let oldest = if is_full { handshakes.pop_first() } else { None };
        drop(handshakes);
        if let Some((_, oldest)) = oldest {
            oldest.abort();
        }
    }

    /// Counts a connection in, or says why it cannot be.
    fn count(self: &Arc<Self>, hello: &Hello) -> Result<Counted> {
        let max = self.options.limits.connections_max;
        let max = if hello.role == Role::Peer { max } else { max - max / 8 };
        let counted = Counted { server: self.clone() };
        if self.connections.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(counted);
        }
        let message = format!("this node serves {max} connections already; try again shortly, or another node");
        Err(Error::new(ErrorKind::ClusterNotReady, message))
    }
}

/// The place of a connection in the list of handshakes, until it is dropped.
struct Place {
    server: Arc<Server>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.handshakes().remove(&self.number);
    }
}

/// One of the authenticated connections, until it is dropped.
struct Counted {
    server: Arc<Server>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.server.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The life of one connection.
async fn converse(place: Place, stream: BoxStream, from: String, stopping: watch::Receiver<bool>) {
    let server = place.server.clone();
    let deadline = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    let outcome = tokio::time::timeout(deadline, shake_hands(&server, stream, &from)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no proof within the deadline")));
    drop(place);
    match outcome {
        Ok((stream, hello, _counted)) => {
            let limits = server.options.limits;
            let wire = Wire::new(stream, limits.frame_bytes_max);
            Connection::new(wire, hello, server.options.service.clone(), limits).run(stopping).await;
        }
        Err(why) => server.options.gate.refused(&from, &why),
    }
}

async fn shake_hands(server: &Arc<Server>, mut stream: BoxStream, from: &str) -> Result<(BoxStream, Hello, Counted)> {
    let options = &server.options;
    let mut certificate = None;
    if let Some(tls) = &options.tls {
        // On the heap: its state is large, and a plaintext connection has none.
        let (encrypted, shown) = Box::pin(tls.accept(stream)).await?;
        (stream, certificate) = (encrypted, Some(shown));
    }
    let own = options.gate.hello();
    let admit = |hello: &Hello| {
        certificate.map_or(Ok(()), |certificate| certificate.check(hello))?;
        options.gate.admit(hello)?;
        server.count(hello)
    };
    let (hello, counted) = receive(&mut stream, &own, &options.secret, (&*options.gate, from), admit).await?;
    Ok((stream, hello, counted))
}
