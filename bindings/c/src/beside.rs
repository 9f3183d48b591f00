//! Beside: threads of a queue for what takes long or waits for others: walks over many records.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use concord_kv::{Error, ErrorKind};

use crate::status::Outcome;

/// Most threads of one queue. What is beyond waits its turn.
const THREADS_MAX: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs in the order in which they came in, a few at a time.
///
/// - There is a thread for each job that runs, and none when nothing is to be done: nothing outlives its work, and the child
///   of a fork, which has no threads, begins with none.
pub(crate) struct Beside {
    state: Mutex<State>,
}

struct State {
    threads: usize,
    waiting: VecDeque<Job>,
    is_closed: bool,
}

impl Beside {
    pub(crate) fn new() -> Arc<Beside> {
        Arc::new(Beside { state: Mutex::new(State { threads: 0, waiting: VecDeque::new(), is_closed: false }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a job, which does not panic, as soon as a thread is free. After closing it is dropped.
    pub(crate) fn run(self: &Arc<Beside>, job: Job) -> Outcome {
        let mut state = self.lock();
        if state.is_closed {
            return Ok(());
        }
        if state.threads == THREADS_MAX {
            state.waiting.push_back(job);
            return Ok(());
        }
        let beside = Arc::clone(self);
        let thread = std::thread::Builder::new().name("concord-query".to_owned());
        let spawned = thread.spawn(move || {
            let mut next = Some(job);
            while let Some(job) = next {
                job();
                next = beside.next();
            }
        });
        match spawned {
            Ok(_) => state.threads += 1,
            Err(error) => {
                let message = format!("no thread can be started: {error}");
                return Err(Error::new(ErrorKind::Io, message).with_source(error).into());
            }
        }
        Ok(())
    }

    /// What the calling thread does next; `None` ends it.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        let job = state.waiting.pop_front();
        if job.is_none() {
            state.threads -= 1;
        }
        job
    }

    /// Drops what waits; what runs goes on.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}
