//! Pace: a socket that ends when the other side is too slow, and what is known of its requests.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::limits::{HTTP_HEADER_TIMEOUT_MS, HTTP_KEEP_ALIVE_MS, HTTP_WRITE_STALL_MS};

/// What is read and thrown away of a client that still sends when its answer was given and the connection closes.
/// Without that the kernel would reset the connection, and the client might never see the answer.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// For how long that goes on.
const LINGER: Duration = Duration::from_secs(2);

/// What is known of one connection beside its bytes.
#[derive(Default)]
pub(super) struct Pace {
    /// Requests that have begun since it was opened.
    begun: AtomicU64,
    /// Requests that run now.
    running: AtomicUsize,
    evicted: Notify,
}

impl Pace {
    /// Counts a request as running until what this gives is dropped.
    pub(super) fn begin(self: &Arc<Pace>) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing was ever asked here.
    pub(super) fn is_unused(&self) -> bool {
        self.begun.load(Ordering::Relaxed) == 0
    }

    /// Ends the connection at once.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

/// A request that runs.
pub(super) struct Running(Arc<Pace>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection waits for when nothing comes.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Its first request: TLS and headers.
    Opening,
    /// The next request.
    Resting,
    /// The rest of the headers.
    Heading,
}

/// The socket. The time is looked at only when there is nothing to read, so that a busy connection pays nothing.
///
/// - While a request runs the socket has no deadline: bodies have their own, and work takes what it takes.
pub(super) struct PacedStream {
    stream: TcpStream,
    pace: Arc<Pace>,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Requests begun when that was looked at last.
    seen: u64,
    has_read: bool,
    has_written: bool,
    timer: Pin<Box<Sleep>>,
    stall: Option<Pin<Box<Sleep>>>,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl PacedStream {
    pub(super) fn new(stream: TcpStream, pace: Arc<Pace>) -> PacedStream {
        let since = Instant::now();
        PacedStream {
            stream,
            pace,
            phase: Phase::Opening,
            since,
            seen: 0,
            has_read: false,
            has_written: false,
            timer: Box::pin(sleep_until(since + Duration::from_millis(HTTP_HEADER_TIMEOUT_MS))),
            stall: None,
            linger: None,
        }
    }

    fn deadline(&self) -> Instant {
        self.since
            + Duration::from_millis(match self.phase {
                Phase::Opening | Phase::Heading => HTTP_HEADER_TIMEOUT_MS,
                Phase::Resting => HTTP_KEEP_ALIVE_MS,
            })
    }

    /// Nothing can be read now: is the other side too late?
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pace.is_running() {
            return Poll::Pending;
        }
        let begun = self.pace.begun.load(Ordering::Relaxed);
        if begun != self.seen || (self.has_written && self.phase != Phase::Opening) {
            (self.phase, self.since, self.seen) = (Phase::Resting, Instant::now(), begun);
        } else if self.has_read && self.phase == Phase::Resting {
            (self.phase, self.since) = (Phase::Heading, Instant::now());
        }
        (self.has_read, self.has_written) = (false, false);
        let deadline = self.deadline();
        // One that fires too early is set anew when it does.
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn written<T>(&mut self, poll: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            (self.stall, self.has_written) = (None, true);
            return poll;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(HTTP_WRITE_STALL_MS))));
        stall.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.wait(context),
            ready => {
                self.has_read = true;
                ready
            }
        }
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(poll, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.written(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Says that nothing more comes, then lets the client finish what it was sending.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.linger = Some((Box::pin(sleep(LINGER)), 0));
        }
        let PacedStream { stream, linger: Some((timer, thrown)), .. } = &mut *self else { return Poll::Ready(Ok(())) };
        let mut scratch = [std::mem::MaybeUninit::uninit(); 8 * 1024];
        while *thrown < LINGER_BYTES_MAX && timer.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => *thrown += buffer.filled().len(),
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
