//! Handle: the checked numbers that C programs hold instead of pointers.
//!
//! A handle is `generation | kind | index`, carried in a pointer type and never dereferenced. The index finds a slot,
//! the generation says whether the slot still belongs to this handle, the kind tells stores from scans and queues.
//!
//! A call pins its slot while it runs: it counts itself in, then looks whether the slot still lives. Closing marks the
//! slot first and then looks at the counts; whoever leaves a closed slot last frees what it held. So nothing is freed
//! under a running call, closing never waits for other calls, and a call may even close its own handle. The counts of
//! a slot are spread over cache lines by thread, so that readers on several cores do not slow each other down.

use std::cell::{Cell, UnsafeCell};
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};

use concord_kv::{Error, ErrorKind};

use crate::queue::Queue;
use crate::scan::Scan;
use crate::status::{Failure, Outcome};
use crate::store::Db;

/// Every open store, and every handle for one.
pub(crate) static DBS: Slab<Db> = Slab::new(1, "concord_db");
/// Every open scan.
pub(crate) static SCANS: Slab<Mutex<Scan>> = Slab::new(2, "concord_scan");
/// Every open queue.
pub(crate) static QUEUES: Slab<Arc<Queue>> = Slab::new(3, "concord_queue");

#[cfg(target_pointer_width = "64")]
const INDEX_BITS: u32 = 16;
#[cfg(not(target_pointer_width = "64"))]
const INDEX_BITS: u32 = 12;
const KIND_BITS: u32 = 4;
/// A slot's state is its generation and one of four phases.
const PHASE_BITS: u32 = 2;
const GENERATION_MAX: usize = usize::MAX >> (INDEX_BITS + KIND_BITS);
const CHUNK_SLOTS: usize = 16;
/// Handles of one kind that can be open at once. Beyond it: `cluster_not_ready`.
const SLOTS_MAX: usize = 1 << INDEX_BITS;
const CHUNKS_MAX: usize = SLOTS_MAX / CHUNK_SLOTS;
const PIN_SHARDS: usize = 8;

/// Nothing is in the slot.
const FREE: usize = 0;
/// The handle of this generation may be used.
const LIVE: usize = 1;
/// The handle is closed, calls that began before may still run.
const CLOSED: usize = 2;
/// One thread takes the content out; also what a fork leaves behind in the child, where nobody ever does.
const EMPTYING: usize = 3;

#[repr(align(64))]
struct Pins(AtomicUsize);

/// - `value` is written while the phase is FREE (by the thread that took the index from the free list) or EMPTYING (by
///   the thread that set that phase), and read by those who hold a pin that they took before the phase left LIVE.
struct Slot<T> {
    state: AtomicUsize,
    value: UnsafeCell<Option<T>>,
    pins: [Pins; PIN_SHARDS],
}

// SAFETY: access to `value` follows the rule above: many threads may hold `&T` at once (`T: Sync`), and another thread
// than the one that put it in may take it out (`T: Send`).
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T> Slot<T> {
    fn new() -> Slot<T> {
        let pins = std::array::from_fn(|_| Pins(AtomicUsize::new(0)));
        Slot { state: AtomicUsize::new(FREE), value: UnsafeCell::new(None), pins }
    }
}

/// All handles of one kind.
pub(crate) struct Slab<T: 'static> {
    kind: usize,
    name: &'static str,
    /// Arrays of `CHUNK_SLOTS` slots, made when first needed and never freed.
    chunks: [AtomicPtr<Slot<T>>; CHUNKS_MAX],
    free: SpinLock<FreeList>,
}

struct FreeList {
    indexes: Vec<usize>,
    slots: usize,
}

/// A slot that cannot be emptied while this lives.
pub(crate) struct Pinned<T: 'static> {
    slab: &'static Slab<T>,
    slot: &'static Slot<T>,
    index: usize,
    shard: usize,
}

impl<T: Send + Sync> Slab<T> {
    const fn new(kind: usize, name: &'static str) -> Slab<T> {
        let free = SpinLock::new(FreeList { indexes: Vec::new(), slots: 0 });
        Slab { kind, name, chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS_MAX], free }
    }

    /// Takes a value in and answers its handle.
    pub(crate) fn insert(&'static self, value: T) -> Outcome<usize> {
        watch_forks();
        let Some(index) = self.free.with(|free| self.free_index(free)) else {
            let message = format!("{SLOTS_MAX} handles of {} are open; close some", self.name);
            return Err(Error::new(ErrorKind::ClusterNotReady, message).into());
        };
        let slot = self.slot(index).ok_or(ErrorKind::Internal)?;
        // SAFETY: the phase is FREE, and only this thread took the index from the list.
        unsafe { *slot.value.get() = Some(value) };
        // Generation 0 is never used, so that no handle is NULL.
        let generation = (slot.state.load(SeqCst) >> PHASE_BITS).wrapping_add(1) & GENERATION_MAX;
        let generation = generation.max(1);
        slot.state.store(generation << PHASE_BITS | LIVE, SeqCst);
        Ok(generation << (INDEX_BITS + KIND_BITS) | self.kind << INDEX_BITS | index)
    }

    fn free_index(&self, free: &mut FreeList) -> Option<usize> {
        if let Some(index) = free.indexes.pop() {
            return Some(index);
        }
        if free.slots == SLOTS_MAX {
            return None;
        }
        if free.slots.is_multiple_of(CHUNK_SLOTS) {
            let slots: Box<[Slot<T>]> = (0..CHUNK_SLOTS).map(|_| Slot::new()).collect();
            self.chunks[free.slots / CHUNK_SLOTS].store(Box::leak(slots).as_mut_ptr(), SeqCst);
        }
        free.slots += 1;
        Some(free.slots - 1)
    }

    /// The slot that a handle speaks of and the state in which the handle may be used.
    #[inline]
    fn find(&'static self, handle: usize) -> Option<(&'static Slot<T>, usize, usize)> {
        let index = handle & (SLOTS_MAX - 1);
        if handle >> INDEX_BITS & ((1 << KIND_BITS) - 1) != self.kind {
            return None;
        }
        Some((self.slot(index)?, index, live_state(handle)))
    }

    /// Whether a handle is open.
    pub(crate) fn is_live(&'static self, handle: usize) -> bool {
        self.find(handle).is_some_and(|(slot, _, live)| slot.state.load(SeqCst) == live)
    }

    /// What is behind a handle, for as long as the answer lives.
    #[inline]
    pub(crate) fn pin(&'static self, handle: usize) -> Outcome<Pinned<T>> {
        let Some((slot, index, live)) = self.find(handle) else {
            return Err(self.unknown(handle));
        };
        let shard = shard_of_thread();
        slot.pins[shard].0.fetch_add(1, SeqCst);
        // Dropping this counts out again and empties the slot if it was the last to leave.
        let pinned = Pinned { slab: self, slot, index, shard };
        if slot.state.load(SeqCst) == live { Ok(pinned) } else { Err(closed()) }
    }

    /// Closes a handle: nobody can pin it any more. The answer is a last pin; the value goes with the last of all.
    pub(crate) fn remove(&'static self, handle: usize) -> Outcome<Pinned<T>> {
        let pinned = self.pin(handle)?;
        let live = live_state(handle);
        let marked = pinned.slot.state.compare_exchange(live, live - LIVE + CLOSED, SeqCst, SeqCst);
        marked.map(|_| pinned).map_err(|_| closed())
    }

    /// Closes every handle whose value is chosen.
    pub(crate) fn remove_all(&'static self, is_chosen: impl Fn(&T) -> bool) {
        for (index, slot) in (0..SLOTS_MAX).map_while(|index| Some((index, self.slot(index)?))) {
            let state = slot.state.load(SeqCst);
            if state & EMPTYING != LIVE {
                continue;
            }
            let handle = (state >> PHASE_BITS) << (INDEX_BITS + KIND_BITS) | self.kind << INDEX_BITS | index;
            // Whoever closed it meanwhile has done what was to be done.
            if self.pin(handle).is_ok_and(|value| is_chosen(&value)) {
                let _ = self.remove(handle);
            }
        }
    }

    #[cold]
    fn unknown(&self, handle: usize) -> Failure {
        let name = self.name;
        Failure::argument(if handle == 0 { format!("{name} is NULL") } else { format!("this is no {name}") })
    }
}

impl<T> Slab<T> {
    /// Empties a closed slot if nobody is in it any more.
    #[cold]
    fn try_empty(&self, slot: &Slot<T>, index: usize, state: usize) {
        if slot.pins.iter().any(|pins| pins.0.load(SeqCst) != 0) {
            return;
        }
        let emptying = state - CLOSED + EMPTYING;
        if slot.state.compare_exchange(state, emptying, SeqCst, SeqCst).is_err() {
            return;
        }
        // SAFETY: this thread alone set EMPTYING. Those who counted in before CLOSED have left, as the counts said
        // after it; those who come later see the phase and touch nothing.
        let value = unsafe { (*slot.value.get()).take() };
        slot.state.store(state - CLOSED + FREE, SeqCst);
        self.free.with(|free| free.indexes.push(index));
        drop(value);
    }

    /// The slot with this index, if it was ever made.
    #[inline]
    fn slot(&self, index: usize) -> Option<&'static Slot<T>> {
        let chunk = self.chunks[index / CHUNK_SLOTS].load(SeqCst);
        // SAFETY: a chunk is null or a leaked array of `CHUNK_SLOTS` slots, stored when all of it was made.
        (!chunk.is_null()).then(|| unsafe { &*chunk.add(index % CHUNK_SLOTS) })
    }

    /// In the child of a fork: no handle may be used, and nothing is freed.
    fn abandon(&self) {
        let made = (0..SLOTS_MAX).map_while(|index| self.slot(index));
        made.filter(|slot| slot.state.load(SeqCst) & EMPTYING != FREE).for_each(|slot| {
            slot.state.fetch_or(EMPTYING, SeqCst);
        });
    }
}

/// The state in which a handle's slot is while the handle may be used.
#[inline]
fn live_state(handle: usize) -> usize {
    (handle >> (INDEX_BITS + KIND_BITS)) << PHASE_BITS | LIVE
}

#[cold]
fn closed() -> Failure {
    if FORKED.load(SeqCst) {
        let message =
            "the handle was closed, or opened before this process was forked: open a store in the child itself";
        return Error::new(ErrorKind::Closed, message).into();
    }
    Error::new(ErrorKind::Closed, "the handle was closed").into()
}

impl<T> Deref for Pinned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: only `pin` gives pins away, after it saw the phase LIVE with its count in; so the slot is not
        // emptied before this pin is dropped, and it holds a value.
        unsafe { (*self.slot.value.get()).as_ref().unwrap_unchecked() }
    }
}

impl<T> Drop for Pinned<T> {
    #[inline]
    fn drop(&mut self) {
        self.slot.pins[self.shard].0.fetch_sub(1, SeqCst);
        let state = self.slot.state.load(SeqCst);
        if state & EMPTYING == CLOSED {
            self.slab.try_empty(self.slot, self.index, state);
        }
    }
}

/// Which counts this thread uses.
#[inline]
fn shard_of_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(PIN_SHARDS) };
    }
    SHARD.with(|shard| {
        if shard.get() == PIN_SHARDS {
            shard.set(THREADS.fetch_add(1, SeqCst) % PIN_SHARDS);
        }
        shard.get()
    })
}

/// A lock held for a few instructions, which a fork can take before and give back after it.
struct SpinLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` lets one thread at a time reach the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    const fn new(value: T) -> SpinLock<T> {
        SpinLock { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    fn lock(&self) {
        while self.locked.swap(true, SeqCst) {
            std::thread::yield_now();
        }
    }

    fn unlock(&self) {
        self.locked.store(false, SeqCst);
    }

    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        self.lock();
        // SAFETY: this thread holds the lock.
        let result = body(unsafe { &mut *self.value.get() });
        self.unlock();
        result
    }
}

static FORKED: AtomicBool = AtomicBool::new(false);

/// Closes every handle in the child of a fork: it has none of the threads that would answer. The locks are held
/// across the fork, so that the child finds whole lists and can open stores of its own.
fn watch_forks() {
    extern "C" fn before() {
        DBS.free.lock();
        SCANS.free.lock();
        QUEUES.free.lock();
    }
    extern "C" fn after() {
        QUEUES.free.unlock();
        SCANS.free.unlock();
        DBS.free.unlock();
    }
    extern "C" fn in_child() {
        FORKED.store(true, SeqCst);
        DBS.abandon();
        SCANS.abandon();
        QUEUES.abandon();
        after();
    }
    static ONCE: Once = Once::new();
    // SAFETY: three functions that never unwind and touch nothing but atomics.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(after), Some(in_child));
    });
}
