//! Rounds: readers that need a quorum, or the leader, share one question to them.
//!
//! Source: ReadIndex of the Raft thesis, section 6.4. A round takes its read index after all of its readers have arrived;
//! who comes while a round is under way waits for the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Consistency;

/// When this much is applied, a read is as fresh as was asked; and the leader's time at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::raft) struct ReadIndex {
    /// How many entries of the log must be applied.
    pub(in crate::raft) applied: u64,
    pub(in crate::raft) time_ms: u64,
}

/// Called once when a read may go ahead; gets the time to judge expiry by.
pub(in crate::raft) type Ready = Box<dyn FnOnce(Result<u64>) + Send>;

/// Who can be asked.
pub(in crate::raft) trait Authority: Send + Sync {
    /// Asks the leader, here or elsewhere, and waits until this node has applied so much.
    fn confirm(&self, level: Consistency) -> BoxFuture<'_, Result<ReadIndex>>;
    /// Waits for a change that makes another question worthwhile, but not for long.
    fn pause(&self) -> BoxFuture<'_, ()>;
    fn is_closed(&self) -> bool;
}

/// Readers at one level that share questions.
pub(in crate::raft) struct Rounds {
    level: Consistency,
    authority: Arc<dyn Authority>,
    /// How long a reader waits for a leader at most.
    patience: Duration,
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Instant, Ready)>,
    is_running: bool,
}

impl Rounds {
    pub(in crate::raft) fn new(
        level: Consistency,
        authority: Arc<dyn Authority>,
        patience: Duration,
        runtime: Handle,
    ) -> Arc<Rounds> {
        Arc::new(Rounds { level, authority, patience, runtime, state: Mutex::default() })
    }

    /// Calls `ready` when a read may go ahead, or with `cluster_not_ready` or `timeout`.
    pub(in crate::raft) fn join(self: &Arc<Rounds>, timeout: Duration, ready: Ready) {
        let mut state = self.state();
        state.waiting.push((Instant::now() + timeout.min(self.patience), ready));
        if !std::mem::replace(&mut state.is_running, true) {
            drop(state);
            self.runtime.spawn(Running { rounds: self.clone(), is_done: false }.run());
        }
    }

    /// Who waits now; when nobody does, the next one starts anew.
    fn take_round(&self) -> Vec<(Instant, Ready)> {
        let mut state = self.state();
        state.is_running = !state.waiting.is_empty();
        std::mem::take(&mut state.waiting)
    }

    /// Puts back who has time left.
    fn again_later(&self, round: Vec<(Instant, Ready)>, error: &Error) {
        let now = Instant::now();
        let (late, patient): (Vec<_>, Vec<_>) =
            round.into_iter().partition(|(deadline, _)| *deadline <= now || self.authority.is_closed());
        self.state().waiting.extend(patient);
        for (_, ready) in late {
            let error = match self.authority.is_closed() {
                true => ErrorKind::Closed.into(),
                false => Error::new(error.kind(), error.message()),
            };
            ready(Err(error));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that asks for all who wait.
struct Running {
    rounds: Arc<Rounds>,
    is_done: bool,
}

impl Running {
    async fn run(mut self) {
        let rounds = self.rounds.clone();
        loop {
            let round = rounds.take_round();
            if round.is_empty() {
                self.is_done = true;
                return;
            }
            let earliest = round.iter().map(|(deadline, _)| *deadline).min().unwrap_or_else(Instant::now);
            match tokio::time::timeout_at(earliest, rounds.authority.confirm(rounds.level)).await {
                Ok(Ok(index)) => round.into_iter().for_each(|(_, ready)| ready(Ok(index.time_ms))),
                Ok(Err(error)) => {
                    rounds.again_later(round, &error);
                    rounds.authority.pause().await;
                }
                Err(_) => rounds.again_later(round, &ErrorKind::Timeout.into()),
            }
        }
    }
}

impl Drop for Running {
    /// The runtime has ended: nobody asks any more, and whoever waits holds the node that holds these rounds.
    fn drop(&mut self) {
        if !self.is_done {
            self.rounds.take_round().into_iter().for_each(|(_, ready)| ready(Err(ErrorKind::Closed.into())));
            self.rounds.state().is_running = false;
        }
    }
}
