//! Connection: one accepted connection: hands requests to the service in order, sends answers as they come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::NetLimits;
use super::frame::{Frame, FrameKind, HEADER_BYTES, error_payload};
use super::hello::Hello;
use super::server::Service;
use super::wire::{FRAMES_A_TURN, Wire};
use crate::error::{Error, ErrorKind, Result};

/// An authenticated connection of the server's side.
///
/// - A request has been polled once before the next one is handed over.
/// - Beyond the bounds of running requests, or with a quarter of the queue full, nothing more is read.
pub(super) struct Connection {
    wire: Wire,
    from: Arc<Hello>,
    service: Arc<dyn Service>,
    limits: NetLimits,
    running: FuturesUnordered<Running>,
    running_bytes: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Requests are read and answered.
    Open,
    /// The server stops: what runs is answered, nothing more is read.
    Draining,
    /// All answers are out; the other side closes, so that none of them is lost on the way.
    Closing,
}

/// Why a connection is over; its other end learns it from the connection being closed.
pub(super) struct Over;

impl Connection {
    pub(super) fn new(wire: Wire, from: Hello, service: Arc<dyn Service>, limits: NetLimits) -> Connection {
        Connection {
            wire,
            from: Arc::new(from),
            service,
            limits,
            running: FuturesUnordered::new(),
            running_bytes: 0,
            stage: Stage::Open,
        }
    }

    /// Serves until the connection ends or, once told to stop, until all that runs is answered.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut stop = pin!(stopping.wait_for(|stop| *stop));
        poll_fn(|cx| {
            if self.stage == Stage::Open && stop.as_mut().poll(cx).is_ready() {
                self.stage = Stage::Draining;
            }
            match self.advance(cx) {
                Ok(()) => Poll::Pending,
                Err(Over) => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Does all that can be done now.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let mut frames_left = FRAMES_A_TURN;
        loop {
            while let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx) {
                self.running_bytes -= done.bytes;
                self.answer(done.id, done.method, done.result)?;
            }
            while self.may_read() && frames_left > 0 {
                frames_left -= 1;
                match self.wire.poll_frame(cx) {
                    Poll::Ready(Ok(Some(frame))) => self.begin(frame, cx)?,
                    Poll::Ready(Ok(None) | Err(_)) => return Err(Over),
                    Poll::Pending => break,
                }
            }
            let paused = !self.may_read();
            let sent = self.wire.poll_send(cx).map_err(|_| Over)?;
            if frames_left == 0 {
                cx.waker().wake_by_ref();
            } else if paused && self.may_read() {
                continue;
            }
            return if sent.is_ready() { self.close_when_drained(cx) } else { Ok(()) };
        }
    }

    fn may_read(&self) -> bool {
        self.stage == Stage::Open
            && self.running.len() < self.limits.requests_running_max
            && self.running_bytes < self.limits.request_bytes_running_max
            && self.wire.queue.bytes() <= self.limits.queue_bytes_max / 4
    }

    /// Hands a request to the service and lets it take its first step.
    fn begin(&mut self, frame: Frame, cx: &mut Context<'_>) -> Result<(), Over> {
        if frame.kind != FrameKind::Request {
            return Err(Over);
        }
        let Frame { id, method, payload, .. } = frame;
        let bytes = payload.len();
        let mut future = self.service.handle(&self.from, method, payload);
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => self.answer(id, method, result),
            Poll::Pending => {
                self.running_bytes += bytes;
                self.running.push(Running { id, method, bytes, future });
                Ok(())
            }
        }
    }

    /// Queues an answer. One whose reader is too slow to take it is cut off.
    fn answer(&mut self, id: u64, method: u16, result: Result<Vec<u8>>) -> Result<(), Over> {
        let result = result.and_then(|payload| {
            if payload.len() <= self.limits.frame_bytes_max {
                return Ok(payload);
            }
            let message = format!(
                "the answer has {} bytes, at most {} can be sent; ask for less at once",
                payload.len(),
                self.limits.frame_bytes_max
            );
            Err(Error::new(ErrorKind::ValueTooLarge, message))
        });
        let (kind, payload) = match result {
            Ok(payload) => (FrameKind::Response, payload),
            Err(error) => (FrameKind::Error, error_payload(&error)),
        };
        if self.wire.queue.bytes() + HEADER_BYTES + payload.len() > self.limits.queue_bytes_max {
            return Err(Over);
        }
        self.wire.queue.push(kind, id, method, payload);
        Ok(())
    }

    fn close_when_drained(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        if self.stage == Stage::Draining && self.running.is_empty() {
            match self.wire.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.stage = Stage::Closing,
                Poll::Ready(Err(_)) => return Err(Over),
                Poll::Pending => return Ok(()),
            }
        }
        while self.stage == Stage::Closing {
            match self.wire.poll_frame(cx) {
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(Ok(None) | Err(_)) => return Err(Over),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

/// A request that the service works on.
struct Running {
    id: u64,
    method: u16,
    bytes: usize,
    future: BoxFuture<'static, Result<Vec<u8>>>,
}

struct Finished {
    id: u64,
    method: u16,
    bytes: usize,
    result: Result<Vec<u8>>,
}

impl Future for Running {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        let (id, method, bytes) = (self.id, self.method, self.bytes);
        self.future.as_mut().poll(cx).map(|result| Finished { id, method, bytes, result })
    }
}
