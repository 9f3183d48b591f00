//! Workers: threads for what takes long or waits for others, so that no scheduler does. Their answers are messages.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use concord_kv::ErrorKind;

use crate::call::{Answer, Stop};

/// Most threads at a time. What is beyond waits its turn.
const THREADS_MAX: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

struct State {
    threads: usize,
    waiting: VecDeque<Job>,
}

static STATE: Mutex<State> = Mutex::new(State { threads: 0, waiting: VecDeque::new() });

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a job as soon as a thread is free. There is a thread for each job that runs, and none when nothing is to be done.
pub(crate) fn run(job: impl FnOnce() + Send + 'static) -> Answer<()> {
    let mut state = lock();
    let job: Job = Box::new(job);
    if state.threads == THREADS_MAX {
        state.waiting.push_back(job);
        return Ok(());
    }
    let spawned = std::thread::Builder::new().name("concord-query".into()).spawn(move || {
        let mut next = Some(job);
        while let Some(job) = next {
            // It must not take the thread's place among the others with it. Who waits for its answer waits no longer than
            // it said.
            let _ = catch_unwind(AssertUnwindSafe(job));
            next = next_job();
        }
    });
    match spawned {
        Ok(_) => state.threads += 1,
        Err(_) => return Err(Stop::Failed(ErrorKind::Io)),
    }
    Ok(())
}

/// What the calling thread does next; `None` ends it.
fn next_job() -> Option<Job> {
    let mut state = lock();
    let job = state.waiting.pop_front();
    if job.is_none() {
        state.threads -= 1;
    }
    job
}
