//! Queue: reads and writes that do not wait, and their completions, for event loops.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use concord_kv::{Error, ErrorKind, Reply, Write};

use crate::batch::{concord_put_item, concord_touch_item, key_list, put_items, touch_items};
use crate::beside::Beside;
use crate::bytes::{concord_buffer, concord_bytes, concord_record, out};
use crate::handle::{DBS, Pinned, QUEUES};
use crate::kv::{copied_record, unconditional};
use crate::options::{concord_read_options, concord_write_options, read_options, write_options};
use crate::status::{Failure, Outcome, concord_status, enter, enter_or, panicked};
use crate::store::{concord_db, store};
use crate::tokens::{Acting, acting, writer};

/// Takes the answers of asynchronous calls. Any number of threads may use it at once.
pub struct concord_queue;

/// The answer of one asynchronous call, freed by concord_completion_free().
#[repr(C)]
#[derive(Debug)]
pub struct concord_completion {
    /// As given to the call.
    pub tag: u64,
    /// How the call ended.
    pub status: concord_status,
    /// concord_increment_async(): the sum. concord_count_async(), concord_delete_where_async(): how many.
    /// concord_scan_open_async(), concord_scan_more_async(): how many records lie ready. With CONCORD_INVALID_CONDITION: what
    /// concord_last_error_column() would tell.
    pub integer: i64,
    /// Writes: number of the change, 0 when nothing had to change. Reads: revision of the record.
    pub revision: u64,
    /// Reads: remaining lifetime in milliseconds, at least 1; 0 lives for ever.
    pub ttl_ms: u64,
    /// concord_get_async(): the encoded value. concord_touch_many_async(): a byte for each item, 1 where the key existed.
    /// Otherwise empty.
    pub value: concord_buffer,
    /// What went wrong, in words; empty with CONCORD_OK. concord_last_error() knows nothing of it.
    pub message: concord_buffer,
}

impl concord_completion {
    const EMPTY: concord_completion = concord_completion {
        tag: 0,
        status: concord_status::CONCORD_OK,
        integer: 0,
        revision: 0,
        ttl_ms: 0,
        value: concord_buffer::EMPTY,
        message: concord_buffer::EMPTY,
    };
}

/// Most calls of one queue that are under way or wait to be taken. Beyond it: `cluster_not_ready`.
const QUEUE_CALLS_MAX: usize = 262_144;
/// How often a waiting thread looks whether the store was closed meanwhile.
const CLOSED_CHECK: Duration = Duration::from_millis(100);

pub(crate) enum Answer {
    Reply(Reply),
    Record(concord_record),
    Count(u64),
}

struct Completion {
    tag: u64,
    answer: Outcome<Answer>,
}

struct State {
    /// Readable exactly while `waiting` is not empty. `None` once the queue is closed.
    signal: Option<File>,
    waiting: VecDeque<Completion>,
    in_flight: usize,
    sleepers: usize,
}

/// Completions of one store, in the order in which they came in.
pub(crate) struct Queue {
    db: usize,
    state: Mutex<State>,
    arrived: Condvar,
    beside: Arc<Beside>,
}

// SAFETY: what is not `Send` by itself is the pointer in a record's buffer, which is `malloc`ed memory that nobody else
// knows; it may be freed by any thread.
unsafe impl Send for Completion {}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Ok(Answer::Record(record)) = &mut self.answer {
            // SAFETY: the record was copied for this completion, and nobody took it.
            unsafe { record.value.free() };
        }
    }
}

impl Queue {
    fn new(db: usize) -> Outcome<Queue> {
        // SAFETY: `eventfd` takes any initial value and these flags; it answers a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            let error = std::io::Error::last_os_error();
            return Err(Error::new(ErrorKind::Io, format!("eventfd: {error}")).with_source(error).into());
        }
        // SAFETY: a new descriptor that nobody else owns.
        let signal = Some(File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        let state = State { signal, waiting: VecDeque::new(), in_flight: 0, sleepers: 0 };
        Ok(Queue { db, state: Mutex::new(state), arrived: Condvar::new(), beside: Beside::new() })
    }

    /// Handle of its store.
    pub(crate) fn db(&self) -> *const concord_db {
        ptr::without_provenance(self.db)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more call.
    fn begin(&self) -> Outcome {
        let mut state = self.lock();
        if state.signal.is_none() {
            return Err(ErrorKind::Closed.into());
        }
        if state.in_flight + state.waiting.len() >= QUEUE_CALLS_MAX {
            let message = format!("the queue holds {QUEUE_CALLS_MAX} calls; take completions first");
            return Err(Error::new(ErrorKind::ClusterNotReady, message).into());
        }
        state.in_flight += 1;
        Ok(())
    }

    /// Takes back a call that never began.
    fn abandon(&self) {
        self.lock().in_flight -= 1;
    }

    /// Lets a call arrive; after the queue was closed nobody wants to know.
    fn arrive(&self, completion: Completion) {
        let mut state = self.lock();
        state.in_flight -= 1;
        if state.signal.is_none() {
            return;
        }
        state.waiting.push_back(completion);
        if state.waiting.len() == 1 {
            state.raise();
        }
        if state.sleepers > 0 {
            self.arrived.notify_one();
        }
    }

    /// Answers with what `work` gives on a thread of the queue.
    pub(crate) fn beside(
        self: &Arc<Queue>,
        tag: u64,
        work: impl FnOnce() -> Outcome<Answer> + Send + 'static,
    ) -> Outcome {
        self.begin()?;
        let queue = Arc::clone(self);
        let job = move || {
            let worked = catch_unwind(AssertUnwindSafe(work));
            let answer = worked.unwrap_or_else(|panic| Err(Failure::Error(panicked(&*panic))));
            enter_or((), || queue.arrive(Completion { tag, answer }));
        };
        self.beside.run(Box::new(job)).inspect_err(|_| self.abandon())
    }

    pub(crate) fn submit(
        self: &Arc<Queue>,
        db: &Acting,
        write: Write<'_>,
        timeout_ms: Option<u64>,
        tag: u64,
    ) -> Outcome {
        self.begin()?;
        let (queue, kept) = (Arc::clone(self), db.kept());
        let done = move |reply: concord_kv::Result<Reply>| {
            let _kept = kept;
            enter_or((), || queue.arrive(Completion { tag, answer: reply.map(Answer::Reply).map_err(Failure::Error) }));
        };
        Ok(db.kv().submit(write, timeout_ms, done).inspect_err(|_| self.abandon())?)
    }

    /// Moves completions into `places`, at most as many as there are; does not wait.
    fn take(&self, limit: usize, mut give: impl FnMut(Completion)) -> Outcome<usize> {
        let mut state = self.lock();
        if state.signal.is_none() {
            return Err(ErrorKind::Closed.into());
        }
        let count = limit.min(state.waiting.len());
        let taken: Vec<Completion> = state.waiting.drain(..count).collect();
        if count > 0 && state.waiting.is_empty() {
            state.lower();
        }
        drop(state);
        taken.into_iter().for_each(&mut give);
        Ok(count)
    }

    fn next(&self, timeout_ms: i64) -> Outcome<Completion> {
        let deadline = u64::try_from(timeout_ms).ok().map(|ms| Instant::now() + Duration::from_millis(ms.min(1 << 40)));
        let mut state = self.lock();
        loop {
            if state.signal.is_none() {
                return Err(ErrorKind::Closed.into());
            }
            if let Some(completion) = state.waiting.pop_front() {
                if state.waiting.is_empty() {
                    state.lower();
                }
                return Ok(completion);
            }
            if state.in_flight == 0 && !DBS.is_live(self.db) {
                return Err(ErrorKind::Closed.into());
            }
            let left = deadline.map_or(CLOSED_CHECK, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Timeout, "no completion arrived in time").into());
            }
            state.sleepers += 1;
            let waited = self.arrived.wait_timeout(state, left.min(CLOSED_CHECK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.sleepers -= 1;
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.signal = None;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.arrived.notify_all();
        self.beside.close();
        drop(waiting);
    }
}

impl State {
    fn raise(&mut self) {
        if let Some(signal) = &mut self.signal {
            // The counter is 0 here, so that adding 1 can neither block nor fail.
            let _ = signal.write(&1u64.to_ne_bytes());
        }
    }

    fn lower(&mut self) {
        if let Some(signal) = &mut self.signal {
            // The counter is 1 here; reading resets it.
            let _ = signal.read(&mut [0; 8]);
        }
    }
}

impl Completion {
    fn into_c(mut self) -> concord_completion {
        let mut done = concord_completion { tag: self.tag, ..concord_completion::EMPTY };
        match std::mem::replace(&mut self.answer, Err(Failure::Kind(ErrorKind::Internal))) {
            Ok(Answer::Reply(Reply::Done { revision })) => done.revision = revision,
            Ok(Answer::Reply(Reply::Integer { value, revision })) => {
                (done.integer, done.revision) = (value, revision);
            }
            Ok(Answer::Reply(Reply::Touched { found })) => {
                let flags: Vec<u8> = found.into_iter().map(u8::from).collect();
                done.value = concord_buffer::copy(&flags).unwrap_or(concord_buffer::EMPTY);
            }
            Ok(Answer::Reply(Reply::Transaction(reply))) => {
                let encoded = concord_kv::encode_transaction_reply(&reply).unwrap_or_default();
                (done.revision, done.value) =
                    (reply.revision, concord_buffer::copy(&encoded).unwrap_or(concord_buffer::EMPTY));
            }
            Ok(Answer::Record(record)) => {
                (done.value, done.revision, done.ttl_ms) = (record.value, record.revision, record.ttl_ms);
            }
            Ok(Answer::Count(count)) => done.integer = i64::try_from(count).unwrap_or(i64::MAX),
            Err(failure) => {
                done.status = failure.status();
                done.integer = failure.column().and_then(|column| i64::try_from(column).ok()).unwrap_or(0);
                done.message = concord_buffer::copy(failure.message().as_bytes()).unwrap_or(concord_buffer::EMPTY);
            }
        }
        done
    }
}

/// The queue behind a handle.
pub(crate) fn queue_of(queue: *const concord_queue) -> Outcome<Pinned<Arc<Queue>>> {
    QUEUES.pin(queue.addr())
}

/// A queue, and its store for a write in the name of the options' token.
///
/// # Safety
/// As [`writer`].
pub(crate) unsafe fn writing(
    queue: *const concord_queue,
    keys: &[concord_bytes],
    options: *const concord_write_options,
) -> Outcome<(Pinned<Arc<Queue>>, Acting)> {
    let queue = queue_of(queue)?;
    // SAFETY: the same promise.
    let db = unsafe { writer(queue.db(), keys, options) }?;
    Ok((queue, db))
}

/// Opens a completion queue for a store.
///
/// - `out_queue`: receives the handle, to be closed with concord_queue_close(); NULL on failure.
///
/// Errors: CONCORD_CLOSED, CONCORD_IO when there are no more descriptors, CONCORD_INVALID_CONFIG.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_queue_open(
    db: *const concord_db,
    out_queue: *mut *mut concord_queue,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's pointer variable.
        let place = unsafe { out(out_queue, "out_queue", ptr::null_mut()) }?;
        drop(store(db)?);
        *place = ptr::without_provenance_mut(QUEUES.insert(Arc::new(Queue::new(db.addr())?))?);
        Ok(())
    })
}

/// A descriptor that is readable while completions wait, for poll, epoll and the like. Belongs to the queue: do not
/// read, write or close it. -1 when the queue is closed or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_queue_fd(queue: *const concord_queue) -> i32 {
    enter_or(-1, || match queue_of(queue) {
        Ok(queue) => queue.lock().signal.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        Err(_) => -1,
    })
}

/// Takes the next completion.
///
/// - `timeout_ms`: how long to wait; 0 does not wait, less waits for ever.
/// - `out_completion`: receives it; free it with concord_completion_free().
///
/// The status is about the taking; how the call ended is in the completion. Errors: CONCORD_TIMEOUT when there was
/// none, CONCORD_CLOSED when the queue was closed, or its store and nothing is under way any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_queue_next(
    queue: *mut concord_queue,
    timeout_ms: i64,
    out_completion: *mut concord_completion,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's completion variable.
        let place = unsafe { out(out_completion, "out_completion", concord_completion::EMPTY) }?;
        *place = queue_of(queue)?.next(timeout_ms)?.into_c();
        Ok(())
    })
}

/// Takes all completions that wait, up to `capacity`, without waiting: the quick way when the descriptor is readable.
///
/// - `out_completions`: room for `capacity` of them; free each with concord_completion_free().
/// - `out_count`: receives how many were taken; 0 is no error.
///
/// Errors: CONCORD_CLOSED, CONCORD_INVALID_CONFIG.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_queue_take(
    queue: *mut concord_queue,
    out_completions: *mut concord_completion,
    capacity: usize,
    out_count: *mut usize,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable.
        let count = unsafe { out(out_count, "out_count", 0) }?;
        if out_completions.is_null() || !out_completions.is_aligned() {
            return Err(Failure::argument("out_completions is NULL or misaligned"));
        }
        let mut at = 0;
        *count = queue_of(queue)?.take(capacity, |completion| {
            // SAFETY: the caller has room for `capacity` of them, and no more than that are given.
            unsafe { out_completions.add(at).write(completion.into_c()) };
            at += 1;
        })?;
        Ok(())
    })
}

/// Closes a queue and its descriptor. Calls under way go on; their answers are dropped. Threads that wait in
/// concord_queue_next() get CONCORD_CLOSED.
///
/// Errors: CONCORD_CLOSED when it was closed before, CONCORD_INVALID_CONFIG for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_queue_close(queue: *mut concord_queue) -> concord_status {
    enter(|| {
        QUEUES.remove(queue.addr())?.close();
        Ok(())
    })
}

/// Frees what a completion holds and empties it. NULL and an empty completion are fine, so is freeing twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_completion_free(completion: *mut concord_completion) {
    if !completion.is_null() {
        // SAFETY: the caller passes a completion that a call filled or that is empty.
        enter_or((), || unsafe {
            (*completion).value.free();
            (*completion).message.free();
            *completion = concord_completion::EMPTY;
        });
    }
}

/// Reads a value without ever blocking, also where concord_reads_at_once() says false. All asynchronous calls return at
/// once: CONCORD_OK means that exactly one completion with `tag` will
/// arrive; any other status means that none will. Arguments are borrowed only until the call returns. Only a token in the
/// options that this member or client has not met before makes it ask others first, as concord_with_token() does.
///
/// Errors at once: wrong arguments, CONCORD_UNAUTHORIZED and CONCORD_FORBIDDEN, CONCORD_CLOSED, CONCORD_CLUSTER_NOT_READY when 262,144 calls are under way or
/// untaken. Otherwise as concord_get(), in the completion: `value`, `revision`, `ttl_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_get_async(
    queue: *mut concord_queue,
    key: concord_bytes,
    options: *const concord_read_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let (key, (options, token)) = unsafe { (key.slice("key")?, read_options(options)?) };
        let queue = queue_of(queue)?;
        let db = acting(queue.db(), token)?;
        queue.begin()?;
        let (arriving, kept) = (Arc::clone(&queue), db.kept());
        db.kv().start_read(key, &options, move |read| {
            let _kept = kept;
            let answer = enter_or(Err(Failure::Kind(ErrorKind::Internal)), || match read {
                Ok(Some(record)) => copied_record(&record).map(Answer::Record),
                Ok(None) => Err(Failure::Kind(ErrorKind::NotFound)),
                Err(error) => Err(Failure::Error(error)),
            });
            enter_or((), || arriving.arrive(Completion { tag, answer }));
        });
        Ok(())
    })
}

/// concord_put() that does not wait; with a condition in `options` concord_put_if() or concord_put_new(). The
/// completion has `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_put_async(
    queue: *mut concord_queue,
    key: concord_bytes,
    value: concord_bytes,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[key], options) }?;
        // SAFETY: the caller's key, value and options.
        let (key, value, options) = unsafe { (key.checked_key()?, value.slice("value")?, write_options(options)?) };
        let (ttl_ms, condition, compress) = (options.ttl_ms, options.condition, options.compress);
        queue.submit(&db, Write::Put { key, value, ttl_ms, condition, compress }, options.timeout_ms, tag)
    })
}

/// concord_delete() that does not wait; with a condition in `options` concord_delete_if(). The completion has
/// `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete_async(
    queue: *mut concord_queue,
    key: concord_bytes,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        queue.submit(&db, Write::Delete { key, condition: options.condition }, options.timeout_ms, tag)
    })
}

/// concord_increment() that does not wait. The completion has `integer` and `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_increment_async(
    queue: *mut concord_queue,
    key: concord_bytes,
    by: i64,
    initial: i64,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        unconditional(&options)?;
        let write = Write::Increment { key, by, initial, ttl_ms: options.ttl_ms };
        queue.submit(&db, write, options.timeout_ms, tag)
    })
}

/// concord_touch() that does not wait. The completion has `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_touch_async(
    queue: *mut concord_queue,
    key: concord_bytes,
    ttl_ms: u64,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        unconditional(&options)?;
        queue.submit(&db, Write::Touch { key, ttl_ms }, options.timeout_ms, tag)
    })
}

/// concord_put_many() that does not wait. The completion has `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_put_many_async(
    queue: *mut concord_queue,
    items: *const concord_put_item,
    count: usize,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[], options) }?;
        // SAFETY: the caller's items and options.
        let (items, options) = unsafe {
            let options = write_options(options)?;
            (put_items(items, count, &options)?, options)
        };
        let write = Write::PutMany { items: &items, compress: options.compress };
        queue.submit(&db, write, options.timeout_ms, tag)
    })
}

/// concord_delete_many() that does not wait. The completion has `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete_many_async(
    queue: *mut concord_queue,
    keys: *const concord_bytes,
    count: usize,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[], options) }?;
        // SAFETY: the caller's keys and options.
        let (keys, options) = unsafe { (key_list(keys, count)?, write_options(options)?) };
        unconditional(&options)?;
        queue.submit(&db, Write::DeleteMany { keys: &keys }, options.timeout_ms, tag)
    })
}

/// concord_touch_many() that does not wait. The completion's `value` has a byte for each item: 1 where the key existed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_touch_many_async(
    queue: *mut concord_queue,
    items: *const concord_touch_item,
    count: usize,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options, and keys if there are any.
        let (queue, db) = unsafe { writing(queue, &[], options) }?;
        // SAFETY: the caller's items and options.
        let (items, options) = unsafe { (touch_items(items, count)?, write_options(options)?) };
        unconditional(&options)?;
        queue.submit(&db, Write::TouchMany { items: &items }, options.timeout_ms, tag)
    })
}
