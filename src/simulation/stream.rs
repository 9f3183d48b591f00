//! Stream: one side of a simulated connection, and the sockets that make them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::{Ends, Network, address_of};
use crate::net::{BoxStream, Listener, Sockets};

/// Each side says two things in the handshake; frames follow.
const HANDSHAKE_WRITES: usize = 2;
const LENGTH_BYTES: usize = 4;

/// Finds the frames in what is written.
#[derive(Default)]
pub(super) struct Frames {
    writes: usize,
    rest: Vec<u8>,
}

/// Bytes that stay together.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Whether it is exactly one frame.
    pub(super) is_whole: bool,
}

impl Frames {
    /// What is complete with these bytes; the rest waits for what completes it.
    pub(super) fn take_in(&mut self, bytes: &[u8]) -> Vec<Piece> {
        if self.writes < HANDSHAKE_WRITES {
            self.writes += 1;
            return vec![Piece { bytes: bytes.to_vec(), is_whole: false }];
        }
        self.rest.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(length) = self.rest.first_chunk::<LENGTH_BYTES>() {
            let end = LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
            if self.rest.len() < end {
                break;
            }
            let after = self.rest.split_off(end);
            pieces.push(Piece { bytes: std::mem::replace(&mut self.rest, after), is_whole: true });
        }
        pieces
    }

    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }
}

/// One side of a connection.
struct SimulatedStream {
    network: Network,
    ends: Ends,
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.network.close(self.ends);
    }
}

impl AsyncRead for SimulatedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bytes = ready!(self.network.poll_read(self.ends.into, cx, buffer.remaining()))?;
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.network.poll_write(self.ends.out, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.finish(self.ends.out);
        Poll::Ready(Ok(()))
    }
}

/// The sockets of one host.
pub(super) struct SimulatedSockets {
    pub(super) network: Network,
    pub(super) host: usize,
}

impl SimulatedSockets {
    fn stream(&self, ends: Ends) -> BoxStream {
        Box::new(SimulatedStream { network: self.network.clone(), ends })
    }
}

/// Between two attempts to come through to a host.
const PAUSE: Duration = Duration::from_millis(10);

impl Sockets for SimulatedSockets {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(self.network.connect_delay_ms())).await;
            loop {
                match self.network.try_connect(self.host, address)? {
                    Some(ends) => return Ok(self.stream(ends)),
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        })
    }

    fn listen<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let listener = || SimulatedListener(SimulatedSockets { network: self.network.clone(), host: self.host });
        let listening = self.network.listen(self.host).map(|()| Box::new(listener()) as Box<dyn Listener>);
        Box::pin(std::future::ready(listening))
    }

    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(std::future::ready(Ok(vec![address.to_owned()])))
    }
}

struct SimulatedListener(SimulatedSockets);

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        self.0.network.stop_listening(self.0.host);
    }
}

impl Listener for SimulatedListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (from, ends) = poll_fn(|cx| self.0.network.poll_accept(self.0.host, cx)).await?;
            Ok((self.0.stream(ends), address_of(from)))
        })
    }

    fn local_address(&self) -> String {
        address_of(self.0.host)
    }
}
