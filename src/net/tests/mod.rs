//! Tests of connections: a network in memory where order matters, loopback sockets where the system does.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::error::{Error, ErrorKind, Result};

mod calls;
mod endings;
mod handshake;
mod hostile;
mod tls;

const CLUSTER: u128 = 0xc0ffee;
const NODE: u64 = 7;
const COOKIE: &str = "a secret of forty bytes that is never sent";

/// A network in memory.
#[derive(Clone, Default)]
struct Memory {
    listeners: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<DuplexStream>>>>,
    /// What clients sent, and what they received.
    sent: Arc<Mutex<Vec<u8>>>,
    received: Arc<Mutex<Vec<u8>>>,
    /// The byte at this place of what a client sends is flipped.
    flip_at: Option<usize>,
    /// Bytes under way in one direction.
    pipe_bytes: Option<usize>,
}

impl Memory {
    fn open(&self, address: &str) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(self.pipe_bytes.unwrap_or(64 * 1024));
        let listeners = self.listeners.lock().unwrap();
        let listener = listeners.get(address).ok_or(io::ErrorKind::ConnectionRefused)?;
        listener.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

impl Sockets for Memory {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let inner = self.open(address)?;
            Ok(Box::new(Tap { inner, network: self.clone(), written: 0 }) as BoxStream)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.lock().unwrap().insert(address.to_owned(), sender);
        Box::pin(async move { Ok(Box::new(MemoryListener(address.to_owned(), receiver)) as Box<dyn Listener>) })
    }

    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move { Ok(vec![address.to_owned()]) })
    }
}

struct MemoryListener(String, mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let stream = self.1.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok((Box::new(stream) as BoxStream, "memory".to_owned()))
        })
    }

    fn local_address(&self) -> String {
        self.0.clone()
    }
}

/// The client's end of a connection, overheard and perhaps disturbed.
struct Tap {
    inner: DuplexStream,
    network: Memory,
    written: usize,
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.network.received.lock().unwrap().extend_from_slice(&buf.filled()[before..]);
        result
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut bytes = buf.to_vec();
        if let Some(at) = self.network.flip_at.and_then(|at| at.checked_sub(self.written))
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte ^= 0x41;
        }
        let result = Pin::new(&mut self.inner).poll_write(cx, &bytes);
        if let Poll::Ready(Ok(count)) = &result {
            self.written += count;
            self.network.sent.lock().unwrap().extend_from_slice(&bytes[..*count]);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Answers at once.
const ECHO: u16 = 1;
/// Answers after as many turns of the runtime as the payload's first byte says.
const LATER: u16 = 2;
/// Answers when the test gives a permit.
const HELD: u16 = 3;
/// Answers with an error.
const FAIL: u16 = 4;
/// Answers with as many bytes as the payload says.
const BYTES: u16 = 5;

/// The service of the tests; remembers in which order requests began.
struct Desk {
    permits: Arc<Semaphore>,
    began: Mutex<Vec<Vec<u8>>>,
    running: Arc<AtomicUsize>,
}

impl Desk {
    fn new() -> Desk {
        Desk { permits: Arc::new(Semaphore::new(0)), began: Mutex::default(), running: Arc::default() }
    }
}

impl Service for Desk {
    fn handle(&self, _from: &Arc<Hello>, method: u16, payload: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>>> {
        self.began.lock().unwrap().push(payload.clone());
        let permits = self.permits.clone();
        let running = Running::one(&self.running);
        Box::pin(async move {
            let _running = running;
            match method {
                ECHO => Ok(payload),
                LATER => {
                    for _ in 0..payload[0] % 17 {
                        tokio::task::yield_now().await;
                    }
                    Ok(payload)
                }
                HELD => {
                    permits.acquire().await.unwrap().forget();
                    Ok(payload)
                }
                BYTES => Ok(vec![1; u32::from_le_bytes(payload.try_into().unwrap()) as usize]),
                _ => Err(Error::new(ErrorKind::ConditionFailed, "revision 4 is not 3")),
            }
        })
    }
}

/// Counts a request from its beginning to its end.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn one(count: &Arc<AtomicUsize>) -> Running {
        count.fetch_add(1, Ordering::SeqCst);
        Running(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets in whom it is not told to refuse.
#[derive(Default)]
struct Doorman {
    refuses: Option<&'static str>,
    /// A token that is valid: its public id and its hash.
    token: Option<(u64, [u8; 32])>,
    /// Whether each attempt with a token was right.
    tried: Mutex<Vec<bool>>,
    turned_away: Mutex<Vec<Error>>,
}

impl Gate for Doorman {
    fn hello(&self) -> Hello {
        peer(CLUSTER, NODE)
    }

    fn admit(&self, _hello: &Hello) -> Result<()> {
        self.refuses.map_or(Ok(()), |why| Err(Error::new(ErrorKind::Forbidden, why)))
    }

    fn stored_token(&self, _from: &str, token: u64) -> Result<Option<[u8; 32]>> {
        Ok(self.token.filter(|(known, _)| *known == token).map(|(_, hash)| hash))
    }

    fn tried_token(&self, _from: &str, is_right: bool) {
        self.tried.lock().unwrap().push(is_right);
    }

    fn refused(&self, _from: &str, why: &Error) {
        self.turned_away.lock().unwrap().push(Error::new(why.kind(), why.message()));
    }
}

/// A server under test.
struct Host {
    address: String,
    desk: Arc<Desk>,
    doorman: Arc<Doorman>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Host {
    async fn start(sockets: &dyn Sockets, address: &str, limits: NetLimits) -> Host {
        Host::start_with(sockets, address, limits, None, Doorman::default()).await
    }

    async fn start_with(
        sockets: &dyn Sockets,
        address: &str,
        limits: NetLimits,
        tls: Option<Arc<Tls>>,
        doorman: Doorman,
    ) -> Host {
        let listener = sockets.listen(address).await.unwrap();
        let address = listener.local_address();
        let desk = Arc::new(Desk::new());
        let doorman = Arc::new(doorman);
        let secret = SharedSecret::new(COOKIE).unwrap();
        let options = ServeOptions { tls, secret, gate: doorman.clone(), service: desk.clone(), limits };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, options, async move {
            let _ = stopped.await;
        }));
        Host { address, desk, doorman, stop: Some(stop), serving }
    }

    /// Waits, one turn of the runtime at a time, until so many requests began.
    async fn until_began(&self, count: usize) {
        while self.desk.began.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    }
}

fn peer(cluster_id: u128, node_id: u64) -> Hello {
    Hello { role: Role::Peer, cluster_id, node_id, token: 0, address: format!("node{node_id}:9000") }
}

fn options(sockets: impl Sockets + 'static, limits: NetLimits) -> ConnectOptions {
    ConnectOptions {
        sockets: Arc::new(sockets),
        tls: None,
        credential: SharedSecret::new(COOKIE).unwrap().into(),
        limits,
    }
}

async fn call_on(host: &Host, options: &ConnectOptions) -> Caller {
    Caller::connect(options, &host.address, &peer(CLUSTER, 1), Expectation::default()).await.unwrap()
}

/// A server and a caller in memory.
async fn pair(limits: NetLimits) -> (Host, Caller) {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", limits).await;
    let caller = call_on(&host, &options(memory, NetLimits::default())).await;
    (host, caller)
}

/// Numbers that look random and are the same in every run of a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }
}
