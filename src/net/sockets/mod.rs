//! Sockets: the seam to the network. Nodes use TCP and, on their own machine, a local socket; a simulation puts its own here.

mod broken_pipe;
mod local;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::limits;
pub(crate) use broken_pipe::block_broken_pipe_signal;
pub(crate) use local::{LocalListener, LocalSockets};

/// Bytes in order, both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection of any kind.
pub(crate) type BoxStream = Box<dyn Stream>;

/// Where connections come from and go to. Addresses are `host:port`.
pub(crate) trait Sockets: Send + Sync {
    /// Opens a connection; tries every address that the host has.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Starts to listen; port 0 takes any free one.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Every `ip:port` behind an address.
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>>;
}

/// A listening socket.
pub(crate) trait Listener: Send {
    /// The next connection and the address it comes from. Dropping the future loses no connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>>;

    /// The `ip:port` it listens on.
    fn local_address(&self) -> String;
}

/// A dead peer for which no bytes wait is noticed after about this long.
const DEAD_PEER_AFTER: Duration = Duration::from_secs(30);
/// Bytes that the other side has not acknowledged for so long end the connection. TCP alone tries again at ever longer
/// intervals, so that after a partition of a minute a connection would stay silent for up to another one; a new one
/// works at once. What was on its way is sent again by those who wait for it.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(1);

/// The sockets of the operating system.
pub(crate) struct TcpSockets;

impl Sockets for TcpSockets {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let targets: Vec<SocketAddr> = lookup_host(address).await?.collect();
            // An address that swallows packets must not use up the time of the others.
            let share = Duration::from_millis(limits::CONNECT_TIMEOUT_MS) / targets.len().max(1) as u32;
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for target in targets {
                match tokio::time::timeout(share, TcpStream::connect(target)).await {
                    Ok(Ok(stream)) => return Ok(Box::new(tuned(stream)) as BoxStream),
                    Ok(Err(error)) => failure = error,
                    Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
                }
            }
            Err(failure)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Listener>) })
    }

    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move { Ok(lookup_host(address).await?.map(|found| found.to_string()).collect()) })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (stream, from) = TcpListener::accept(self).await?;
            Ok((Box::new(tuned(stream)) as BoxStream, from.to_string()))
        })
    }

    fn local_address(&self) -> String {
        self.local_addr().map(|address| address.to_string()).unwrap_or_default()
    }
}

/// Small frames leave at once, and dead peers are noticed. A socket that refuses this works without it.
fn tuned(stream: TcpStream) -> TcpStream {
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(DEAD_PEER_AFTER / 2).with_interval(DEAD_PEER_AFTER / 6).with_retries(3);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&probes);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    stream
}

/// The host part of `host:port`, without the brackets of IPv6.
pub(super) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
