//! Caller: sends requests to one other node over one connection, many at a time.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::NetLimits;
use super::frame::{Frame, FrameKind, HEADER_BYTES, Queue, error_from};
use super::handshake::introduce;
use super::hello::{Expectation, Hello};
use super::proof::Credential;
use super::sockets::{BoxStream, Sockets};
use super::tls::Tls;
use super::wire::{FRAMES_A_TURN, Wire};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// How connections are made: the same for all of a node.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(crate) sockets: Arc<dyn Sockets>,
    /// `None`: plaintext.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) credential: Credential,
    pub(crate) limits: NetLimits,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The request certainly never left this node.
    NotSent(Error),
    /// The connection ended; whether the request was carried out is unknown.
    Lost,
    /// The other side carried it out, or refused to, and this is its answer.
    Answered(Error),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotSent(error) => write!(f, "not sent: {error}"),
            CallError::Lost => f.write_str("the connection ended before the answer came; the outcome is unknown"),
            CallError::Answered(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

/// One connection to another node; clones share it, and it is closed with the last of them.
///
/// - Requests leave in the order of the calls.
/// - An answer finds its call by its id; one whose call was dropped is thrown away.
#[derive(Clone)]
pub(crate) struct Caller {
    handle: Arc<Handle>,
}

/// What all clones share; its end is the end of the connection.
struct Handle {
    shared: Arc<Shared>,
    peer: Hello,
    #[cfg(test)]
    closed: watch::Receiver<()>,
}

/// Between the callers and the task that owns the connection.
struct Shared {
    state: Mutex<State>,
    limits: NetLimits,
    address: String,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Bytes ever put into the queue, and how many of them the task has taken out to send.
    queued_bytes: u64,
    taken_bytes: u64,
    /// Bytes that were taken and are not yet sent.
    sending_bytes: usize,
    waiting: HashMap<u64, Waiting, foldhash::fast::RandomState>,
    next_id: u64,
    task: Option<Waker>,
    /// Why the connection ended.
    ended: Option<String>,
}

struct Waiting {
    /// Where its frame begins, counted as `queued_bytes`.
    begins: u64,
    answer: oneshot::Sender<Result<Vec<u8>, CallError>>,
}

impl Caller {
    /// Connects to `address` as `hello`; returns when both sides have proved who they are.
    ///
    /// Errors: `cluster_not_ready` (cannot be reached, or another node answers there), `unauthorized` (another
    /// secret or certificate), `invalid_config` (another cluster or version), or what the other side's gate says.
    pub(crate) async fn connect(
        options: &ConnectOptions,
        address: &str,
        hello: &Hello,
        expect: Expectation,
    ) -> Result<Caller> {
        let reach = Duration::from_millis(limits::CONNECT_TIMEOUT_MS);
        let stream = match tokio::time::timeout(reach, options.sockets.connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(address, &error).with_source(error)),
            Err(_) => return Err(unreachable(address, &"no answer")),
        };
        let deadline = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
        let (stream, peer) = tokio::time::timeout(deadline, shake_hands(options, stream, address, hello, expect))
            .await
            .unwrap_or_else(|_| Err(unreachable(address, &"no answer in the handshake")))?;
        let shared = Shared { state: Mutex::default(), limits: options.limits, address: address.to_owned() };
        let shared = Arc::new(shared);
        let (alive, _closed) = watch::channel(());
        let wire = Wire::new(stream, options.limits.frame_bytes_max);
        let mut task = Task { wire, shared: shared.clone(), _alive: alive };
        tokio::spawn(async move {
            let end = poll_fn(|cx| task.poll(cx)).await;
            task.shared.end(&end);
        });
        Ok(Caller {
            handle: Arc::new(Handle {
                shared,
                peer,
                #[cfg(test)]
                closed: _closed,
            }),
        })
    }

    /// Sends a request. It takes its place in the queue now, not when the future is first polled; dropping the
    /// future forgets the answer and nothing else. Never blocks: a full queue is an error at once.
    pub(crate) fn call(&self, method: u16, payload: Vec<u8>) -> Call {
        let shared = &self.handle.shared;
        match shared.enqueue(method, payload) {
            Ok((id, answer)) => Call { shared: shared.clone(), id, state: CallState::Waiting(answer) },
            Err(error) => Call { shared: shared.clone(), id: 0, state: CallState::NotSent(Some(error)) },
        }
    }

    /// Whether the connection has ended; calls then fail with `NotSent`.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.shared.lock().ended.is_some()
    }

    /// Resolves when the connection has ended. Does not keep it open.
    #[cfg(test)]
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.handle.closed.clone();
        async move { while closed.changed().await.is_ok() {} }
    }

    /// Who answered.
    pub(crate) fn peer(&self) -> &Hello {
        &self.handle.peer
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end("this side closed it");
    }
}

async fn shake_hands(
    options: &ConnectOptions,
    mut stream: BoxStream,
    address: &str,
    hello: &Hello,
    expect: Expectation,
) -> Result<(BoxStream, Hello)> {
    let mut certificate = None;
    if let Some(tls) = &options.tls {
        let (encrypted, shown) = tls.connect(address, stream).await?;
        (stream, certificate) = (encrypted, Some(shown));
    }
    let peer = introduce(&mut stream, address, hello, &options.credential, expect).await?;
    if let Some(certificate) = certificate {
        certificate.check(&peer)?;
    }
    Ok((stream, peer))
}

fn unreachable(address: &str, why: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::ClusterNotReady, format!("cannot reach {address}: {why}; try again shortly"))
}

type Answer = oneshot::Receiver<Result<Vec<u8>, CallError>>;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn enqueue(&self, method: u16, payload: Vec<u8>) -> Result<(u64, Answer)> {
        if payload.len() > self.limits.frame_bytes_max {
            let message = format!("a request of {} bytes, at most {}", payload.len(), self.limits.frame_bytes_max);
            return Err(Error::new(ErrorKind::ValueTooLarge, message));
        }
        let mut state = self.lock();
        if let Some(why) = &state.ended {
            let message = format!("the connection with {} has ended ({why}); connect again", self.address);
            return Err(Error::new(ErrorKind::ClusterNotReady, message));
        }
        let bytes = HEADER_BYTES + payload.len();
        if state.queue.bytes() + state.sending_bytes + bytes > self.limits.queue_bytes_max {
            let message = format!("too much waits to be sent to {}; nothing was sent, try again shortly", self.address);
            return Err(Error::new(ErrorKind::ClusterNotReady, message));
        }
        let id = state.next_id;
        state.next_id += 1;
        let (answer, receiver) = oneshot::channel();
        let begins = state.queued_bytes;
        state.queued_bytes += bytes as u64;
        state.queue.push(FrameKind::Request, id, method, payload);
        state.waiting.insert(id, Waiting { begins, answer });
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Ok((id, receiver))
    }

    /// Ends the connection and every call that waits on it.
    fn end(&self, why: &str) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(|| why.to_owned());
        state.queue = Queue::default();
        let (taken, waiting, task) = (state.taken_bytes, std::mem::take(&mut state.waiting), state.task.take());
        drop(state);
        // In the order in which they were sent.
        let mut waiting: Vec<_> = waiting.into_iter().collect();
        waiting.sort_unstable_by_key(|(id, _)| *id);
        for (_, call) in waiting {
            let never_left = || unreachable(&self.address, &"the connection ended before the request was sent");
            let failure = if call.begins >= taken { CallError::NotSent(never_left()) } else { CallError::Lost };
            let _ = call.answer.send(Err(failure));
        }
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// A request under way.
pub(crate) struct Call {
    shared: Arc<Shared>,
    id: u64,
    state: CallState,
}

enum CallState {
    Waiting(Answer),
    NotSent(Option<Error>),
    Done,
}

impl Future for Call {
    type Output = Result<Vec<u8>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            CallState::Waiting(answer) => ready!(Pin::new(answer).poll(cx)).unwrap_or(Err(CallError::Lost)),
            CallState::NotSent(error) => Err(error.take().map_or(CallError::Lost, CallError::NotSent)),
            CallState::Done => Err(CallError::Lost),
        };
        self.state = CallState::Done;
        Poll::Ready(result)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if matches!(self.state, CallState::Waiting(_)) {
            self.shared.lock().waiting.remove(&self.id);
        }
    }
}

/// Owns the connection: sends what was queued, hands answers to their calls.
struct Task {
    wire: Wire,
    shared: Arc<Shared>,
    _alive: watch::Sender<()>,
}

impl Task {
    /// Ready with the reason when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        for taken in 1.. {
            match self.wire.poll_frame(cx) {
                Poll::Ready(Ok(Some(frame))) => {
                    if let Err(garbage) = self.deliver(frame) {
                        return Poll::Ready(garbage);
                    }
                }
                Poll::Ready(Ok(None)) => return Poll::Ready("the other side closed it".to_owned()),
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
                Poll::Pending => break,
            }
            if taken == FRAMES_A_TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        loop {
            let sent = self.wire.poll_send(cx);
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(error.to_string());
            }
            let mut state = self.shared.lock();
            if let Some(why) = &state.ended {
                return Poll::Ready(why.clone());
            }
            state.sending_bytes = self.wire.queue.bytes();
            if sent.is_pending() || state.queue.is_empty() {
                state.task = Some(cx.waker().clone());
                return Poll::Pending;
            }
            std::mem::swap(&mut self.wire.queue, &mut state.queue);
            state.taken_bytes = state.queued_bytes;
            state.sending_bytes = self.wire.queue.bytes();
        }
    }

    fn deliver(&mut self, frame: Frame) -> Result<(), String> {
        let mut state = self.shared.lock();
        if frame.kind == FrameKind::Request || frame.id >= state.next_id {
            return Err("it brought an answer to nothing that was asked".to_owned());
        }
        let Some(waiting) = state.waiting.remove(&frame.id) else { return Ok(()) };
        drop(state);
        let result = match frame.kind {
            FrameKind::Error => Err(CallError::Answered(error_from(&frame.payload))),
            _ => Ok(frame.payload),
        };
        let _ = waiting.answer.send(result);
        Ok(())
    }
}

impl Drop for Task {
    /// Also when the runtime ends, or the task panics.
    fn drop(&mut self) {
        self.shared.end("its runtime ended");
    }
}
