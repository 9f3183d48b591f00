//! Batcher: commands of concurrent callers share one log entry; a few entries are in flight.
//!
//! A mutex-guarded buffer with flat combining and no task of its own: a caller that finds nothing in flight
//! proposes at once; otherwise its command waits in the buffer and goes out together with its neighbours'
//! when an entry completes. Completion wakes the callers first and proposes the next entry one scheduler
//! turn later, so that callers who come straight back share it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::aloft::Aloft;
use super::delivery::Delivery;
use crate::encoding::batch::{BATCH_HEADER_BYTES, put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::model::{Command, Reply};
use crate::raft::core::Core;
use crate::raft::types::{Batch, Types};
use crate::state_machine::{Applied, Outcome};
use crate::storage::Payload;
use crate::telemetry::Metrics;

/// Called once with the outcome of a command.
pub(crate) type Done = Box<dyn FnOnce(Result<Reply>) + Send>;

/// Entries in flight at most, so that the fsync of one overlaps with the collecting of the next.
const IN_FLIGHT_MAX: usize = 4;
/// A second entry is proposed while one is in flight only when this many commands wait for it.
const COMMANDS_TO_OVERLAP: usize = 64;
/// Batches on their way at most while those before them wait for a majority that is gone.
const STALLED_MAX: usize = 256;
/// A batch is closed when it counts for so much, so that entries stay small enough to replicate, and their answers to send.
const ENTRY_BYTES: usize = 1024 * 1024;
/// A command larger than this is not copied behind others.
const LARGE_COMMAND_BYTES: usize = 64 * 1024;
/// Waiting bytes beyond which new writes are refused with `cluster_not_ready`.
const WAITING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How often the node looks for batches whose callers have waited long enough.
const LATE_CHECK: Duration = Duration::from_millis(50);

/// How long the node's thread stays awake for a caller who writes alone.
const AWAKE: Duration = Duration::from_micros(60);

#[derive(Clone)]
pub(in crate::raft) struct Batcher {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    runtime: Handle,
    /// The node that orders the batches when it leads; `None` in a program that is no member.
    here: Option<Arc<Core>>,
    /// The way to whoever leads otherwise; `None` for a node without sockets.
    delivery: Option<Delivery>,
    /// Whether the thread is kept awake for a caller who writes alone.
    stays_awake: bool,
    idle: Notify,
    /// What this node has proposed itself and others must confirm.
    aloft: Aloft<Flight>,
    metrics: Arc<Metrics>,
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
    /// When its first command came.
    since: Instant,
    /// What its commands count for: large answers too, see `Operation::bytes`.
    bytes: usize,
    /// The longest that one of its callers waits.
    timeout_ms: u64,
    /// One command, as the batch before: a single caller who writes one thing after the other.
    is_alone: bool,
}

impl Waiting {
    fn with_capacity(bytes: usize) -> Waiting {
        let mut payload = Vec::with_capacity(bytes + BATCH_HEADER_BYTES);
        put_batch_header(&mut payload, 0, 0, 0);
        let since = Instant::now();
        Waiting { payload, callers: Callers(Vec::new()), since, bytes, timeout_ms: 0, is_alone: false }
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

    /// Whoever is left without an outcome learns, when this is dropped, that nothing is known.
    fn answer_each(mut self, outcomes: Vec<Outcome>) {
        let answered = self.0.len().min(outcomes.len());
        for (done, outcome) in self.0.drain(..answered).zip(outcomes) {
            done(outcome.map_err(Error::from));
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
    pub(in crate::raft) fn new(
        runtime: Handle,
        here: Option<Arc<Core>>,
        delivery: Option<Delivery>,
        stays_awake: bool,
        metrics: Arc<Metrics>,
    ) -> Batcher {
        let (state, idle, aloft) = (Mutex::new(State::default()), Notify::new(), Aloft::default());
        let watched = here.is_some() && delivery.is_some();
        let shared = Arc::new(Shared { state, runtime, here, delivery, stays_awake, idle, aloft, metrics });
        if watched {
            shared.runtime.spawn(give_up_late_ones(Watch(Arc::downgrade(&shared))));
        }
        Batcher { shared }
    }

    /// Hands a command to the log. An error means that it was refused and `done` is not called.
    pub(in crate::raft) fn submit(&self, command: &Command<'_>, timeout_ms: u64, done: Done) -> Result<()> {
        let bytes = command.operation.bytes();
        // A large command is encoded before the lock is taken and makes a batch of its own.
        let large = (bytes > LARGE_COMMAND_BYTES).then(|| {
            let mut batch = Waiting::with_capacity(bytes);
            put_command(&mut batch.payload, command);
            batch
        });
        let stalls = self.shared.stalls();
        let mut state = self.shared.state();
        if state.closed {
            return Err(ErrorKind::Closed.into());
        }
        self.shared.check_room(state.waiting_bytes + bytes)?;
        if let Some(mut batch) = large {
            batch.callers.0.push(done);
            batch.timeout_ms = timeout_ms;
            state.waiting.push_back(batch);
        } else {
            let batch = state.open_batch();
            put_command(&mut batch.payload, command);
            batch.callers.0.push(done);
            batch.bytes += bytes;
            batch.timeout_ms = batch.timeout_ms.max(timeout_ms);
        }
        state.waiting_bytes += bytes;
        let batch = state.take_if_due(stalls);
        drop(state);
        if let Some(batch) = batch {
            self.propose(batch);
        }
        Ok(())
    }

    /// How many commands wait for an entry to take them.
    pub(in crate::raft) fn depth(&self) -> usize {
        self.shared.state().waiting.iter().map(|batch| batch.callers.0.len()).sum()
    }

    /// Whether the next command would be refused for want of room.
    pub(in crate::raft) fn is_refusing(&self) -> bool {
        let waiting_bytes = self.shared.state().waiting_bytes;
        self.shared.check_room(waiting_bytes).is_err()
    }

    /// Refuses new commands and waits until those that are on their way have their answers.
    pub(in crate::raft) async fn close(&self) {
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

    /// The node has stopped: whoever still waits learns that nothing is known.
    pub(in crate::raft) fn give_up(&self) {
        drop(self.shared.aloft.take_all());
    }

    fn propose(&self, batch: Waiting) {
        let Shared { here, delivery, metrics, .. } = &*self.shared;
        let Waiting { mut payload, callers, since, is_alone, timeout_ms, .. } = batch;
        metrics.proposed(callers.0.len(), since.elapsed());
        if let Some(core) = here {
            stamp_batch(&mut payload, core.time.now_ms());
        }
        let payload = Payload::from(payload);
        let started = delivery.as_ref().map(|_| tokio::time::Instant::now());
        let flight =
            Flight { batcher: self.clone(), callers: Some(callers), payload: payload.clone(), timeout_ms, started };
        match here {
            Some(core) if delivery.is_none() || core.leads_with_quorum() => {
                // With others to wait for, this thread sends to them while the log's own thread writes.
                let is_alone = is_alone && core.serves_locally.load(Ordering::Acquire);
                let batch = Batch { payload, is_alone };
                if delivery.is_none() {
                    return core.propose_here(batch, move |result| flight.land(result));
                }
                let give_up_at = tokio::time::Instant::now() + Duration::from_millis(timeout_ms);
                let slot = self.shared.aloft.add(give_up_at, flight);
                core.propose_here(batch, move |result| {
                    if let Some(flight) = slot.take() {
                        flight.land(result);
                    }
                });
            }
            _ => flight.deliver(),
        }
    }

    /// One entry is done: the next one goes out a scheduler turn later.
    fn landed(&self) {
        let batcher = self.clone();
        self.shared.runtime.spawn(async move {
            tokio::task::yield_now().await;
            if batcher.propose_next() && batcher.shared.stays_awake {
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
        let stalls = self.shared.stalls();
        let mut state = self.shared.state();
        state.in_flight -= 1;
        let batch = state.take_if_due(stalls);
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

    /// Whether what this leader has proposed may wait for ever, so that what comes now must not wait behind it.
    fn stalls(&self) -> bool {
        let Some(core) = &self.here else { return false };
        self.delivery.is_some() && core.is_leader() && !core.has_quorum()
    }

    /// Whether so many waiting bytes may go to the log.
    fn check_room(&self, waiting_bytes: usize) -> Result<()> {
        if waiting_bytes > WAITING_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::ClusterNotReady,
                "too many writes are waiting; nothing was done, slow down",
            ));
        }
        self.here.as_ref().map_or(Ok(()), |core| core.check_room(waiting_bytes + ENTRY_BYTES * IN_FLIGHT_MAX))
    }
}

impl State {
    /// The batch that takes the next command.
    fn open_batch(&mut self) -> &mut Waiting {
        let is_full =
            |batch: &Waiting| batch.bytes >= ENTRY_BYTES || batch.callers.0.len() >= limits::BATCH_COMMANDS_MAX;
        if self.waiting.back().is_none_or(is_full) {
            self.waiting.push_back(Waiting::with_capacity(0));
        }
        let last = self.waiting.len() - 1;
        &mut self.waiting[last]
    }

    fn take_if_due(&mut self, stalls: bool) -> Option<Waiting> {
        let first = self.waiting.front()?;
        let overlaps = self.waiting.len() > 1 || first.callers.0.len() >= COMMANDS_TO_OVERLAP;
        let in_flight_max = if stalls { STALLED_MAX } else { IN_FLIGHT_MAX };
        let due = self.in_flight == 0 || (self.in_flight < in_flight_max && (overlaps || stalls));
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

/// What is aloft holds the batcher that holds it, until it lands; when the runtime ends nothing lands any more.
struct Watch(Weak<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.0.upgrade().map(|shared| shared.aloft.take_all()));
    }
}

/// Callers whose time is over learn that nothing is known, though the log may still bring an answer.
async fn give_up_late_ones(watch: Watch) {
    loop {
        tokio::time::sleep(LATE_CHECK).await;
        let Some(shared) = watch.0.upgrade() else { return };
        drop(shared.aloft.take_late(tokio::time::Instant::now()));
    }
}

/// One batch on its way. However it ends, its callers are answered and the next batch goes out.
struct Flight {
    batcher: Batcher,
    callers: Option<Callers>,
    payload: Payload,
    timeout_ms: u64,
    /// When it set out, if it may have to go to others.
    started: Option<tokio::time::Instant>,
}

impl Flight {
    /// What became of a batch that this node proposed itself.
    fn land(mut self, result: ClientWriteResult<Types>) {
        match result {
            Ok(response) => {
                let Some(callers) = self.callers.take() else { return };
                match response.data.applied {
                    Applied::Done => callers.answer_each(response.data.outcomes),
                    _ => callers.answer_all(ErrorKind::Internal, "a batch without a session was refused"),
                }
            }
            // It never was in the log, so it may go to whoever leads now.
            Err(ClientWriteError::ForwardToLeader(_)) => self.deliver(),
            // Dropped without an answer, the callers learn that nothing is known: an entry that this node has discarded
            // may have been committed by others, and has no number under which it could be sent again.
            Err(_) => {}
        }
    }

    /// Sends the batch to whoever leads.
    fn deliver(mut self) {
        let shared = self.batcher.shared.clone();
        let runtime = shared.runtime.clone();
        runtime.spawn(async move {
            let Some(delivery) = &shared.delivery else {
                if let Some(callers) = self.callers.take() {
                    let message = "this node is not the leader now; nothing was done, try again";
                    callers.answer_all(ErrorKind::ClusterNotReady, message);
                }
                return;
            };
            let commands = &self.payload[BATCH_HEADER_BYTES..];
            let spent = self.started.map_or(Duration::ZERO, |started| started.elapsed());
            let left = Duration::from_millis(self.timeout_ms).saturating_sub(spent);
            let outcome = delivery.deliver(commands, left).await;
            let Some(callers) = self.callers.take() else { return };
            match outcome {
                Ok(outcomes) => callers.answer_each(outcomes),
                Err(error) => callers.answer_all(error.kind(), error.message()),
            }
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        drop(self.callers.take());
        self.batcher.landed();
    }
}
