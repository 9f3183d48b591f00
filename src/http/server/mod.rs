//! Server: the listeners, on threads of their own, away from consensus.

mod connection;
mod pace;
mod seats;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::http::front::Front;
use crate::net::{ServerTls, block_broken_pipe_signal};
use seats::Seats;

/// Threads that speak HTTP.
const THREADS: usize = 2;

/// Threads for what takes long or blocks: large values, scans, membership. More wait in line.
const BLOCKING_THREADS: usize = 16;

/// Connections that the kernel completes ahead of us.
const BACKLOG: i32 = 1024;

/// How long requests that are under way get when the server stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after the system refused to hand a connection out (no descriptors left): there is no event to wait for.
const PAUSE: Duration = Duration::from_millis(50);

/// What is told to a connection for which there is no place.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// One address, bound, and what answers there.
pub(super) struct Listener {
    socket: std::net::TcpListener,
    pub(super) address: SocketAddr,
    front: Arc<Front>,
    tls: Option<Arc<ServerTls>>,
    seats: Arc<Seats>,
}

impl Listener {
    /// # Errors
    /// `invalid_config` for an address that is taken or not of this machine.
    pub(super) fn bind(
        address: SocketAddr,
        connections_max: usize,
        front: Arc<Front>,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Listener> {
        let socket = bind(address).map_err(|error| {
            let message = format!("cannot serve HTTP on {address}: {error}; choose another address or port");
            Error::new(ErrorKind::InvalidConfig, message).with_source(error)
        })?;
        let address = socket.local_addr().map_err(|error| {
            Error::new(ErrorKind::Io, format!("a socket does not know its address: {error}")).with_source(error)
        })?;
        Ok(Listener { socket, address, front, tls, seats: Arc::new(Seats::new(connections_max)) })
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The running server.
pub(super) struct Server {
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Server {
    /// Serves until it is stopped.
    ///
    /// # Errors
    /// `io` when the system gives no threads.
    pub(super) fn start(listeners: Vec<Listener>) -> Result<Server> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Io, format!("cannot start the threads of the HTTP server: {error}"))
                .with_source(error)
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("concord-http")
            .on_thread_start(block_broken_pipe_signal)
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("concord-http".to_owned())
            .spawn(move || {
                block_broken_pipe_signal();
                runtime.block_on(serve(listeners, stopped));
                runtime.shutdown_timeout(Duration::from_secs(1));
            })
            .map_err(failed)?;
        Ok(Server { running: Mutex::new(Some((stop, thread))) })
    }

    /// Stops accepting, waits for what is under way, ends the rest. Stopping twice is fine.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            // A panic in there has been told on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listeners: Vec<Listener>, stopped: oneshot::Receiver<()>) {
    let graceful = Arc::new(GracefulShutdown::new());
    let accepting: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(accept(listener, graceful.clone()))).collect();
    // The sender says nothing: it is dropped.
    let _ = stopped.await;
    for task in accepting {
        task.abort();
        let _ = task.await;
    }
    if let Ok(graceful) = Arc::try_unwrap(graceful) {
        let _ = tokio::time::timeout(PATIENCE, graceful.shutdown()).await;
    }
}

async fn accept(listener: Listener, graceful: Arc<GracefulShutdown>) {
    let Listener { socket, front, tls, seats, .. } = listener;
    let Ok(socket) = TcpListener::from_std(socket) else { return };
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            // A client that went away before it was accepted is no reason to pause.
            Err(error) if is_of_client(&error) => continue,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(seat) = seats.take() else {
            if tls.is_none() {
                tell_no_place(stream);
            }
            continue;
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        tokio::spawn(connection::serve(stream, peer, seat, front.clone(), tls.clone(), graceful.watcher()));
    }
}

/// The runtime does not know yet that a new socket can be written to; the kernel does, and it never blocks.
fn tell_no_place(stream: tokio::net::TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = io::Write::write(&mut stream, NO_PLACE);
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
