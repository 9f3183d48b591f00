//! Pending: a write on its way. Wait for it on a thread, or await it in a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Reply;
use crate::raft::Done;

/// How long a waiting thread polls before it parks: waking a parked thread costs about 50 µs.
const POLL: Duration = Duration::from_micros(30);

/// Threads polling now. More than one would take the cores from those who do the work.
static POLLING: AtomicUsize = AtomicUsize::new(0);

/// A write that has begun. Its outcome comes by [`Pending::wait`] or by awaiting it; dropping it does not
/// take the write back.
#[must_use = "a write can fail: wait for it or await it"]
pub struct Pending<T> {
    state: State,
    deadline: Instant,
    convert: fn(Reply) -> T,
}

enum State {
    Refused(Option<Error>),
    Started(Arc<Shared>),
}

struct Shared {
    ready: AtomicBool,
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Default)]
struct Slot {
    outcome: Option<Result<Reply>>,
    waker: Option<Waker>,
    parked: bool,
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, outcome: Result<Reply>) {
        let mut slot = self.slot();
        slot.outcome = Some(outcome);
        self.ready.store(true, Ordering::Release);
        let (waker, parked) = (slot.waker.take(), slot.parked);
        drop(slot);
        if parked {
            self.changed.notify_one();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Pending<T> {
    /// Starts a write through `submit`, which gets what to call with the outcome.
    pub(super) fn start(
        timeout_ms: u64,
        convert: fn(Reply) -> T,
        submit: impl FnOnce(Done) -> Result<()>,
    ) -> Pending<T> {
        let slot = Mutex::new(Slot::default());
        let shared = Arc::new(Shared { ready: AtomicBool::new(false), slot, changed: Condvar::new() });
        let completer = shared.clone();
        let state = match submit(Box::new(move |outcome| completer.complete(outcome))) {
            Ok(()) => State::Started(shared),
            Err(error) => State::Refused(Some(error)),
        };
        Pending { state, deadline: Instant::now() + Duration::from_millis(timeout_ms), convert }
    }

    /// A write that was refused before it began.
    pub(super) fn refused(error: Error, convert: fn(Reply) -> T) -> Pending<T> {
        Pending { state: State::Refused(Some(error)), deadline: Instant::now(), convert }
    }

    /// Waits on this thread: polls a moment, then parks. Not for use inside an async task.
    ///
    /// # Errors
    /// That of the write, or [`ErrorKind::UnknownOutcome`] when there is no answer within its timeout.
    pub fn wait(mut self) -> Result<T> {
        let convert = self.convert;
        let shared = match &mut self.state {
            State::Refused(error) => return Err(error.take().unwrap_or_else(|| ErrorKind::Internal.into())),
            State::Started(shared) => shared,
        };
        poll_a_moment(&shared.ready);
        let mut slot = shared.slot();
        loop {
            if let Some(outcome) = slot.outcome.take() {
                return outcome.map(convert);
            }
            let Some(left) = self.deadline.checked_duration_since(Instant::now()) else {
                return Err(ErrorKind::UnknownOutcome.into());
            };
            slot.parked = true;
            slot = shared.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn poll_a_moment(ready: &AtomicBool) {
    if ready.load(Ordering::Acquire) {
        return;
    }
    if POLLING.fetch_add(1, Ordering::Relaxed) == 0 {
        let start = Instant::now();
        while !ready.load(Ordering::Acquire) && start.elapsed() < POLL {
            std::thread::yield_now();
        }
    }
    POLLING.fetch_sub(1, Ordering::Relaxed);
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    /// Awaiting has no deadline of its own: wrap it in your runtime's timeout if you need one. Every
    /// accepted write is answered, at the latest when the store closes.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let convert = self.convert;
        match &mut self.state {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or_else(|| ErrorKind::Internal.into()))),
            State::Started(shared) => {
                let mut slot = shared.slot();
                match slot.outcome.take() {
                    Some(outcome) => Poll::Ready(outcome.map(convert)),
                    None => {
                        slot.waker = Some(context.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }
}
