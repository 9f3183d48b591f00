//! CONNECTIONS: sockets, handshake, frames, calls. Knows nothing of consensus or of what requests mean.
//!
//! | file | noun |
//! |--|--|
//! | `sockets` | the seam to the network, and the socket in the data directory |
//! | `hello`, `handshake`, `proof` | who is there, and the proof of it: the shared secret, or a token |
//! | `tls` | certificates, on both sides or of a server alone |
//! | `frame`, `wire` | requests and answers as bytes on one connection |
//! | `caller` | the side that asks |
//! | `server` | accepts; `connection` is one of those accepted |
//!
//! Nodes and remote clients use the same port. Every connection has one task, which ends with it; all of it runs
//! on the runtime of the caller, with that runtime's clock. The runtime needs its I/O and time drivers enabled.

mod caller;
mod connection;
mod frame;
mod handshake;
mod hello;
mod proof;
mod server;
mod sockets;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use crate::limits;

#[cfg(test)]
pub(crate) use caller::Call;
pub(crate) use caller::{CallError, Caller, ConnectOptions};
pub(crate) use hello::{Expectation, Hello, Role};
pub(crate) use proof::{Attempts, Credential, SharedSecret, TokenKey};
pub(crate) use server::{Gate, ServeOptions, Service, serve, source_of};
#[cfg(test)]
pub(crate) use sockets::{BoxStream, Listener};
pub(crate) use sockets::{LocalListener, LocalSockets, Sockets, TcpSockets, block_broken_pipe_signal};
pub(crate) use tls::{ServerTls, Tls, TlsFiles};

/// The bounds of connections; each says in `limits` what happens beyond it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetLimits {
    /// Largest payload of a frame, bytes; at most 1 GiB.
    pub(crate) frame_bytes_max: usize,
    /// Most bytes that wait to be sent on one connection.
    pub(crate) queue_bytes_max: usize,
    /// Most authenticated connections; an eighth of them is kept free for peers.
    pub(crate) connections_max: usize,
    /// Most connections within their handshake.
    pub(crate) handshakes_max: usize,
    /// Most requests of one connection that run at once.
    pub(crate) requests_running_max: usize,
    /// Most bytes of one connection's running requests.
    pub(crate) request_bytes_running_max: usize,
    /// Time for running requests to end when the server stops, milliseconds.
    pub(crate) shutdown_timeout_ms: u64,
}

impl Default for NetLimits {
    fn default() -> NetLimits {
        NetLimits {
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            queue_bytes_max: limits::QUEUE_BYTES_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            handshakes_max: limits::HANDSHAKES_MAX,
            requests_running_max: limits::REQUESTS_RUNNING_MAX,
            request_bytes_running_max: limits::REQUEST_BYTES_RUNNING_MAX,
            shutdown_timeout_ms: 5_000,
        }
    }
}
