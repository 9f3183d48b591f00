//! Batcher: commands of concurrent callers share one log entry; a few entries are in flight.
//!
//! A mutex-guarded buffer with flat combining and no task of its own: a caller that finds nothing in flight
//! proposes at once; otherwise its command waits in the buffer and goes out together with its neighbours'
//! when an entry completes. Completion wakes the callers first and proposes the next entry one scheduler
//! turn later, so that callers who come straight back share it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use openraft::Raft;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::machine_store::MachineStore;
use super::types::{Answer, Batch, Types};
use crate::encoding::batch::{BATCH_HEADER_BYTES, put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BATCH_COMMANDS_MAX;
use crate::model::{Command, Reply};
use crate::state_machine::Applied;
use crate::storage::{Log, Payload};

/// Called once with the outcome of a command.
pub(crate) type Done = Box<dyn FnOnce(Result<Reply>) + Send>;

/// Wall clock, milliseconds since the Unix epoch.
pub(crate) type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Entries in flight at most, so that the fsync of one overlaps with the collecting of the next.
const IN_FLIGHT_MAX: usize = 4;
/// A second entry is proposed while one is in flight only when this many commands wait for it.
const COMMANDS_TO_OVERLAP: usize = 64;
/// A batch is closed when it is this large, so that entries stay small enough to replicate.
const ENTRY_BYTES: usize = 1024 * 1024;
/// A command larger than this is not copied behind others.
const LARGE_COMMAND_BYTES: usize = 64 * 1024;
/// Waiting bytes beyond which new writes are refused with `cluster_not_ready`.
const WAITING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long the node's thread stays awake for a caller who writes alone.
const AWAKE: Duration = Duration::from_micros(60);

pub(super) type RaftHandle = Raft<Types, MachineStore>;

#[derive(Clone)]
pub(super) struct Batcher {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    raft: OnceLock<RaftHandle>,
    runtime: Handle,
    log: Log,
    now_ms: NowMs,
    idle: Notify,
}

#[derive(Default)]
struct State {
    /// Full batches, then the one that is being filled.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    in_flight: usize,
    /// How many commands the last proposed batch had.
    last_commands: usize,
    closed: bool,
}

struct Waiting {
    payload: Vec<u8>,
    callers: Callers,
    /// What its commands count for in `State::waiting_bytes`.
    bytes: usize,
    /// One command, as the batch before: a single caller who writes one thing after the other.
    is_alone: bool,
}

impl Waiting {
    fn with_capacity(bytes: usize) -> Waiting {
        let mut payload = Vec::with_capacity(bytes + BATCH_HEADER_BYTES);
        put_batch_header(&mut payload, 0, 0, 0);
        Waiting { payload, callers: Callers(Vec::new()), bytes, is_alone: false }
    }
}

/// The callers of one batch. Dropped without an answer (the node stopped), each learns that its outcome is unknown.
struct Callers(Vec<Done>);

impl Callers {
    fn answer_all(mut self, kind: ErrorKind, message: &str) {
        for done in self.0.drain(..) {
            done(Err(Error::new(kind, message)));
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        for done in self.0.drain(..) {
            done(Err(ErrorKind::UnknownOutcome.into()));
        }
    }
}

impl Batcher {
    pub(super) fn new(runtime: Handle, log: Log, now_ms: NowMs) -> Batcher {
        let state = Mutex::new(State::default());
        Batcher { shared: Arc::new(Shared { state, raft: OnceLock::new(), runtime, log, now_ms, idle: Notify::new() }) }
    }

    /// Gives the batcher the node that it proposes to.
    pub(super) fn attach(&self, raft: RaftHandle) {
        let _ = self.shared.raft.set(raft);
    }

    /// Hands a command to the log. An error means that it was refused and `done` is not called.
    pub(super) fn submit(&self, command: &Command<'_>, done: Done) -> Result<()> {
        let bytes = command.operation.bytes();
        // A large command is encoded before the lock is taken and makes a batch of its own.
        let large = (bytes > LARGE_COMMAND_BYTES).then(|| {
            let mut batch = Waiting::with_capacity(bytes);
            put_command(&mut batch.payload, command);
            batch
        });
        let mut state = self.shared.state();
        if state.closed {
            return Err(ErrorKind::Closed.into());
        }
        self.shared.check_room(state.waiting_bytes + bytes)?;
        if let Some(mut batch) = large {
            batch.callers.0.push(done);
            state.waiting.push_back(batch);
        } else {
            let batch = state.open_batch();
            put_command(&mut batch.payload, command);
            batch.callers.0.push(done);
            batch.bytes += bytes;
        }
        state.waiting_bytes += bytes;
        let batch = state.take_if_due();
        drop(state);
        if let Some(batch) = batch {
            self.propose(batch);
        }
        Ok(())
    }

    /// Refuses new commands and waits until those that are on their way have their answers.
    pub(super) async fn close(&self) {
        self.shared.state().closed = true;
        loop {
            let idle = self.shared.idle.notified();
            {
                let state = self.shared.state();
                if state.in_flight == 0 && state.waiting.is_empty() {
                    return;
                }
            }
            idle.await;
        }
    }

    fn propose(&self, batch: Waiting) {
        let Waiting { mut payload, callers, is_alone, .. } = batch;
        stamp_batch(&mut payload, (self.shared.now_ms)());
        let Some(raft) = self.shared.raft.get().cloned() else {
            callers.answer_all(ErrorKind::ClusterNotReady, "this node is not started yet");
            return;
        };
        let flight = Flight { batcher: self.clone(), callers: Some(callers) };
        let answer = Answer::new(move |result| flight.land(result));
        let proposal = async move {
            // A refusal drops the answer, and with it the flight, which then answers the callers.
            let _ = raft.client_write_ff(Batch { payload: Payload::from(payload), is_alone }, Some(answer)).await;
        };
        poll_once_or_spawn(&self.shared.runtime, proposal);
    }

    /// One entry is done: the next one goes out a scheduler turn later.
    fn landed(&self) {
        let batcher = self.clone();
        self.shared.runtime.spawn(async move {
            tokio::task::yield_now().await;
            if batcher.propose_next() {
                batcher.stay_awake().await;
            }
        });
    }

    /// A single caller who writes one thing after the other comes back within microseconds. Keeping the
    /// thread awake for that long saves it the waking, which costs tens of them.
    async fn stay_awake(&self) {
        let start = Instant::now();
        while start.elapsed() < AWAKE && self.shared.state().in_flight == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Tells whether a single caller was served and nothing else waits.
    fn propose_next(&self) -> bool {
        let mut state = self.shared.state();
        state.in_flight -= 1;
        let batch = state.take_if_due();
        let idle = state.in_flight == 0;
        let is_alone = idle && state.last_commands == 1;
        drop(state);
        match batch {
            Some(batch) => self.propose(batch),
            None if idle => self.shared.idle.notify_waiters(),
            None => {}
        }
        is_alone
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many waiting bytes may go to the log.
    fn check_room(&self, waiting_bytes: usize) -> Result<()> {
        if let Some(failure) = self.log.failure() {
            return Err(Error::new(ErrorKind::ClusterNotReady, format!("writes have stopped for good: {failure}")));
        }
        if waiting_bytes > WAITING_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::ClusterNotReady,
                "too many writes are waiting; nothing was done, slow down",
            ));
        }
        if !self.log.has_room(waiting_bytes + ENTRY_BYTES * IN_FLIGHT_MAX) {
            return Err(Error::new(
                ErrorKind::ClusterNotReady,
                "the disk is full; nothing was done, writes resume by themselves when there is space",
            ));
        }
        Ok(())
    }
}

impl State {
    /// The batch that takes the next command.
    fn open_batch(&mut self) -> &mut Waiting {
        let is_full =
            |batch: &Waiting| batch.payload.len() >= ENTRY_BYTES || batch.callers.0.len() >= BATCH_COMMANDS_MAX;
        if self.waiting.back().is_none_or(is_full) {
            self.waiting.push_back(Waiting::with_capacity(0));
        }
        let last = self.waiting.len() - 1;
        &mut self.waiting[last]
    }

    fn take_if_due(&mut self) -> Option<Waiting> {
        let first = self.waiting.front()?;
        let overlaps = self.waiting.len() > 1 || first.callers.0.len() >= COMMANDS_TO_OVERLAP;
        let due = self.in_flight == 0 || (self.in_flight < IN_FLIGHT_MAX && overlaps);
        if !due {
            return None;
        }
        self.in_flight += 1;
        let mut batch = self.waiting.pop_front()?;
        let commands = batch.callers.0.len();
        batch.is_alone = commands == 1 && self.last_commands == 1 && self.in_flight == 1;
        self.last_commands = commands;
        self.waiting_bytes -= batch.bytes;
        Some(batch)
    }
}

/// One entry on its way. However it ends, its callers are answered and the next entry goes out.
struct Flight {
    batcher: Batcher,
    callers: Option<Callers>,
}

impl Flight {
    fn land(mut self, result: ClientWriteResult<Types>) {
        let Some(mut callers) = self.callers.take() else { return };
        match result {
            Ok(response) if response.data.applied == Applied::Done => {
                for (done, outcome) in callers.0.drain(..).zip(response.data.outcomes) {
                    done(outcome.map_err(Error::from));
                }
            }
            Err(ClientWriteError::ForwardToLeader(_)) => {
                callers.answer_all(
                    ErrorKind::ClusterNotReady,
                    "this node is not the leader now; nothing was done, try again",
                );
            }
            Ok(_) | Err(_) => drop(callers),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        drop(self.callers.take());
        self.batcher.landed();
    }
}

/// Sending to the node is immediate unless its queue is full; only then is a task needed.
fn poll_once_or_spawn(runtime: &Handle, future: impl Future<Output = ()> + Send + 'static) {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    if future.as_mut().poll(&mut context).is_pending() {
        runtime.spawn(future);
    }
}
