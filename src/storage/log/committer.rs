//! Committer: group commit. Whoever finds the log idle writes; all that is queued meanwhile goes out together.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::driver::Driver;
use super::failure::Failure;
use super::frame;
use super::segment::SEGMENT_HEAD_BYTES;
use super::spares::Spares;
use super::state::{Change, Queued, State};
use super::writer::Writer;
use super::{Done, LogOptions, LogPosition};
use crate::config::Durability;

/// Space kept back for entries that are appended without asking `has_room`.
const RESERVE_BYTES: u64 = 64 * 1024;

/// Brings queued changes to the disk.
///
/// - `State::writing` makes its holder the only one who writes and calls back, so order needs no other lock;
///   the holder looks at the queue once more before it gives the role up, so nothing is stranded.
/// - No lock is held while callbacks run.
pub(super) struct Committer {
    state: Mutex<State>,
    work: Condvar,
    /// Length of the queue, for the thread that looks for work without the lock.
    queued: AtomicUsize,
    /// Copies of the state's `room` and `queued_bytes`, for `has_room`.
    room: AtomicU64,
    queued_bytes: AtomicU64,
    /// None in memory.
    writer: Option<Mutex<Writer>>,
    spares: Option<Arc<Spares>>,
    options: LogOptions,
    /// Shared with `spares`.
    failure: Arc<Failure>,
}

/// What the log's thread does next.
enum Work {
    Drain,
    Sync,
    Mark,
    End,
}

impl Committer {
    pub(super) fn new(state: State, writer: Option<Writer>, options: LogOptions) -> Committer {
        Committer {
            work: Condvar::new(),
            queued: AtomicUsize::new(0),
            room: AtomicU64::new(state.room),
            queued_bytes: AtomicU64::new(0),
            state: Mutex::new(state),
            failure: writer.as_ref().map(|writer| writer.spares.failure.clone()).unwrap_or_default(),
            spares: writer.as_ref().map(|writer| writer.spares.clone()),
            writer: writer.map(Mutex::new),
            options,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> Option<MutexGuard<'_, Writer>> {
        Some(self.writer.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.message()
    }

    fn is_manual(&self) -> bool {
        matches!(self.options.driver, Driver::Manual(_))
    }

    /// Makes the change visible, queues it, and sees to it that somebody writes it.
    /// An append that comes `alone` may be written on this thread.
    pub(super) fn submit(&self, change: Change, alone: bool, done: Done) {
        let payload_bytes: usize = match &change {
            Change::Append(entries) => entries.iter().map(|entry| entry.payload.len()).sum(),
            _ => 0,
        };
        let mut state = self.state();
        state.apply(change, done);
        self.queued.store(state.queue.len(), Ordering::Release);
        self.publish_room(&state);
        if state.writing && !self.is_manual() {
            return;
        }
        let fits = |state: &State| {
            alone
                && !self.is_manual()
                && payload_bytes <= self.options.inline_bytes
                && state.queue.len() == 1
                && self.options.inline_bytes > 0
                && state.room > state.queued_bytes + RESERVE_BYTES.min(self.options.segment_bytes / 16)
        };
        if !state.writing && (self.writer.is_none() || state.closed || fits(&state)) {
            state.writing = true;
            drop(state);
            self.drain(self.writer.is_some());
        } else {
            self.wake(&mut state);
            drop(state);
            self.notify();
        }
    }

    pub(super) fn save_committed(&self, position: LogPosition) {
        let mut state = self.state();
        if state.committed == Some(position) {
            return;
        }
        state.committed = Some(position);
        state.committed_is_news = true;
        if state.unmarked_since.is_none() && self.writer.is_some() {
            state.unmarked_since = Some(Instant::now());
            self.wake_if_due(&mut state);
            drop(state);
            self.notify();
        }
    }

    /// Tells the one who drives the log, if there is one, that there is work. No lock is held.
    fn notify(&self) {
        if let (Driver::Manual(notify), true) = (&self.options.driver, self.writer.is_some()) {
            notify();
        }
    }

    /// Wakes the thread if there is something to do before it would wake by itself.
    fn wake_if_due(&self, state: &mut State) {
        let is_early = match self.due(state) {
            Ok(_) => true,
            Err(Some(until)) => state.sleeps_until.is_none_or(|sleeps_until| until < sleeps_until),
            Err(None) => false,
        };
        if is_early {
            self.wake(state);
        }
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.sleeping) {
            self.work.notify_all();
        }
    }

    /// Writes what is queued; its caller has set `writing`. With `once` what came meanwhile is left to the thread.
    fn drain(&self, once: bool) {
        let mut rounds = 0;
        loop {
            let mut state = self.state();
            if state.queue.is_empty() || (once && rounds > 0 && !state.closed) {
                state.writing = false;
                self.wake_if_due(&mut state);
                return;
            }
            rounds += 1;
            let changes = std::mem::take(&mut state.queue);
            let bytes = state.queued_bytes;
            self.queued.store(0, Ordering::Release);
            let committed = state.committed.filter(|_| std::mem::take(&mut state.committed_is_news));
            let is_closed = state.closed;
            // Under load the queue may never be empty; the interval holds all the same.
            let sync = self.options.durability == Durability::Always || matches!(self.sync_due(&state), Some(Ok(())));
            drop(state);
            let outcome = if is_closed {
                Err(io::Error::other("the log is closed"))
            } else {
                self.commit(&changes, committed, sync)
            };
            {
                let mut state = self.state();
                state.queued_bytes -= bytes;
                self.publish_room(&state);
            }
            if let (Err(error), false) = (&outcome, is_closed) {
                self.failure.note(error);
            }
            let purged = outcome.as_ref().ok().and(last_purge(&changes));
            call_back(changes, &outcome);
            if let Some(upto) = purged {
                self.discard(upto);
            }
        }
    }

    fn commit(&self, changes: &[Queued], committed: Option<LogPosition>, sync: bool) -> io::Result<()> {
        let serial = changes.last().map_or(0, |queued| queued.serial);
        self.failure.check()?;
        let Some(mut writer) = self.writer() else { return Ok(()) };
        let effects = writer.commit(changes, committed, sync)?;
        let mut state = self.state();
        effects.into_iter().for_each(|effect| effect.apply(&mut state.index));
        state.written(serial);
        self.note_written(&mut state, &writer);
        Ok(())
    }

    /// Hands over the segments that hold nothing after this index; the purge mark is durable. Removing a large file takes
    /// tens of milliseconds, in which writes would wait.
    fn discard(&self, upto: u64) {
        let Some(spares) = &self.spares else { return };
        let superfluous = self.state().index.take_purged(Some(upto));
        spares.free(superfluous);
    }

    fn note_written(&self, state: &mut State, writer: &Writer) {
        let now = Instant::now();
        state.room = writer.room();
        state.unmarked_since = Some(now);
        let is_timed = matches!(self.options.durability, Durability::Interval { .. });
        state.unsynced_since = match (is_timed && writer.is_unsynced(), state.unsynced_since) {
            (false, _) => None,
            (true, since) => since.or(Some(now)),
        };
    }

    /// The log's thread.
    pub(super) fn run(&self) {
        loop {
            match self.next_work() {
                Work::Drain => self.drain(false),
                Work::Sync => self.upkeep(false, |writer, _| writer.sync()),
                Work::Mark => self.upkeep(false, |writer, committed| writer.mark(committed)),
                Work::End => {
                    self.finish();
                    return;
                }
            }
        }
    }

    /// Waits for work: looks for it without sleeping for a while, since to be woken costs 50 µs. Takes the role of writer.
    fn next_work(&self) -> Work {
        let mut may_spin = self.options.spin_us > 0;
        let mut state = self.state();
        loop {
            let wait_until = match self.due(&state) {
                Ok(work) => {
                    state.writing = true;
                    return work;
                }
                Err(wait_until) => wait_until,
            };
            if std::mem::take(&mut may_spin) {
                drop(state);
                self.spin();
                state = self.state();
                continue;
            }
            state.sleeping = true;
            state.sleeps_until = wait_until;
            state = match wait_until {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let pause = until.saturating_duration_since(Instant::now());
                    self.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleeping = false;
        }
    }

    /// What is to be done now, or until when nothing is.
    fn due(&self, state: &State) -> Result<Work, Option<Instant>> {
        if state.writing {
            return Err(None);
        }
        if !state.queue.is_empty() {
            return Ok(Work::Drain);
        }
        if state.closing {
            return Ok(Work::End);
        }
        if let Some(sync_due) = self.sync_due(state) {
            return sync_due.map(|()| Work::Sync).map_err(Some);
        }
        match state.unmarked_since.map(|since| since + Duration::from_millis(self.options.mark_after_ms)) {
            Some(until) if until <= Instant::now() => Ok(Work::Mark),
            until => Err(until),
        }
    }

    /// Whether the sync of an interval is due, or when it will be; `None` when there is nothing to sync.
    fn sync_due(&self, state: &State) -> Option<Result<(), Instant>> {
        let Durability::Interval { interval_ms } = self.options.durability else { return None };
        let until = state.unsynced_since? + Duration::from_millis(interval_ms);
        Some(if until <= Instant::now() { Ok(()) } else { Err(until) })
    }

    fn spin(&self) {
        let until = Instant::now() + Duration::from_micros(self.options.spin_us);
        let mut turns = 0_u32;
        while self.queued.load(Ordering::Acquire) == 0 {
            turns += 1;
            if turns.is_multiple_of(64) {
                if Instant::now() >= until {
                    return;
                }
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }

    /// Does something to the end of the log that no caller waits for. Its caller has set `writing`.
    fn upkeep(&self, is_last: bool, work: impl FnOnce(&mut Writer, Option<LogPosition>) -> io::Result<()>) {
        let committed = {
            let mut state = self.state();
            state.committed.filter(|_| std::mem::take(&mut state.committed_is_news))
        };
        let Some(mut writer) = self.writer() else { return };
        let is_timed_sync = self.state().unsynced_since.is_some();
        if self.failure.check().is_ok()
            && let Err(error) = work(&mut writer, committed)
        {
            self.failure.note(&error);
        }
        let mut state = self.state();
        state.room = writer.room();
        state.unsynced_since = None;
        // A sync is followed by a mark that tells of it; after a mark there is nothing to tell.
        if !is_timed_sync {
            state.unmarked_since = None;
        }
        state.writing = false;
        state.closed |= is_last;
    }

    /// The last act of the thread: all is durable and marked so. What comes after it fails.
    fn finish(&self) {
        self.upkeep(true, |writer, committed| {
            writer.sync()?;
            writer.mark(committed)?;
            writer.sync()
        });
        let mut state = self.state();
        if !state.queue.is_empty() && !state.writing {
            state.writing = true;
            drop(state);
            self.drain(false);
        }
    }

    /// One round of what the thread would do now, see `Log::drive`.
    pub(super) fn drive(&self) -> bool {
        if !self.is_manual() || self.writer.is_none() {
            return false;
        }
        if self.take_role(|state| state.unsynced_since.is_some()) {
            self.upkeep(false, |writer, _| writer.sync());
        }
        if self.take_role(|state| !state.queue.is_empty()) {
            self.drain(true);
        } else if self.take_role(|state| state.unmarked_since.is_some()) {
            self.upkeep(false, |writer, committed| writer.mark(committed));
        }
        if let Some(spares) = &self.spares {
            spares.work();
        }
        let state = self.state();
        let is_news = state.unsynced_since.is_some() || state.unmarked_since.is_some();
        !state.writing && (is_news || !state.queue.is_empty())
    }

    /// Makes the caller the writer if there is none and there is such work.
    fn take_role(&self, has_work: impl FnOnce(&State) -> bool) -> bool {
        let mut state = self.state();
        let is_mine = !state.writing && has_work(&state);
        state.writing |= is_mine;
        is_mine
    }

    /// Ends a log that has no thread. True when it was one.
    pub(super) fn drive_to_the_end(&self) -> bool {
        while self.drive() {}
        if self.is_manual() && self.writer.is_some() && self.take_role(|state| !state.closed) {
            self.finish();
        }
        self.is_manual()
    }

    pub(super) fn begin_to_close(&self) {
        if let Some(spares) = &self.spares {
            spares.stop_waiting();
        }
        let mut state = self.state();
        state.closing = true;
        if self.writer.is_none() {
            state.closed = true;
        }
        self.wake(&mut state);
        self.work.notify_all();
    }

    pub(super) fn join_helpers(&self) {
        if let Some(spares) = &self.spares {
            spares.join();
        }
    }

    fn publish_room(&self, state: &State) {
        self.room.store(state.room, Ordering::Release);
        self.queued_bytes.store(state.queued_bytes, Ordering::Release);
    }

    /// See `Log::has_room`.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        let Some(spares) = &self.spares else { return true };
        let wanted = frame::entry_bytes(payload_bytes)
            + RESERVE_BYTES.min(self.options.segment_bytes / 16)
            + self.queued_bytes.load(Ordering::Acquire);
        let needed = wanted + SEGMENT_HEAD_BYTES;
        if wanted <= self.room.load(Ordering::Acquire) || needed <= spares.ready_bytes() {
            return true;
        }
        if spares.prepare_ahead(needed, self.options.segment_bytes) {
            self.notify();
        }
        spares.is_expected(needed)
    }

    #[cfg(test)]
    pub(super) fn wait_until_settled(&self) {
        if let Some(spares) = &self.spares {
            spares.wait_until_settled();
        }
    }
}

fn last_purge(changes: &[Queued]) -> Option<u64> {
    changes.iter().rev().find_map(|queued| match queued.change {
        Change::Purge(upto) => Some(upto.index),
        _ => None,
    })
}

fn call_back(changes: Vec<Queued>, outcome: &io::Result<()>) {
    for Queued { change, done, .. } in changes {
        let answer = match (outcome, change) {
            (Ok(()), Change::Refused(reason)) => Err(io::Error::new(io::ErrorKind::InvalidInput, reason)),
            (Ok(()), _) => Ok(()),
            (Err(error), _) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // A callback that panics must not take the log with it; the panic hook has told of it.
        catch_unwind(AssertUnwindSafe(|| done(answer))).ok();
    }
}
