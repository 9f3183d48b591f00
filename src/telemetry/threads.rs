//! Threads: counters that each thread has for itself, so that counting a read costs two moves and no locked instruction.
//!
//! A locked addition costs 5 to 6 ns even on a line that nobody else touches, which is more than a read may pay. Therefore a thread
//! takes a place, which is its own until it ends, and adds there by load and store. Places are numbered for the whole process;
//! every store has its own counters under each number. Threads beyond the last place share one and add atomically.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Places that threads have for themselves. The place after the last one is shared; with it they are a power of two, so that
/// no place has to be checked.
const PLACES: usize = 63;
const SHARED: usize = PLACES;
const NONE: usize = usize::MAX;

/// Reads are told apart by level and by whether they found something.
pub(super) const CELLS: usize = 6;

/// One call in about this many is timed.
const GAP_MEAN: u32 = 64;

thread_local! {
    // Without a destructor, so that looking at it is one instruction.
    static PLACE: Cell<usize> = const { Cell::new(NONE) };
    static KEPT: Kept = take_place();
}

/// Which places threads may take; the lowest first, so that few counters are touched.
static TAKEN: Mutex<[bool; PLACES]> = Mutex::new([false; PLACES]);

/// A thread's place, given back when the thread ends.
struct Kept(usize);

impl Drop for Kept {
    fn drop(&mut self) {
        // What this thread still counts while it ends must not collide with the next holder.
        PLACE.set(SHARED);
        if let Some(taken) = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).get_mut(self.0) {
            *taken = false;
        }
    }
}

fn take_place() -> Kept {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = taken.iter().position(|taken| !taken).unwrap_or(SHARED);
    if let Some(taken) = taken.get_mut(place) {
        *taken = true;
    }
    Kept(place)
}

#[cold]
fn settle() -> usize {
    // A thread that is ending has no place any more.
    let place = KEPT.try_with(|kept| kept.0).unwrap_or(SHARED);
    PLACE.set(place);
    place
}

/// The place of this thread.
#[inline]
pub(super) fn place() -> usize {
    match PLACE.get() {
        NONE => settle(),
        place => place,
    }
}

/// The counters of all threads, of one store. Inline, so that a read reaches its own by one pointer.
pub(super) struct PerThread {
    counters: [Counters; PLACES + 1],
}

/// The counters of one place. Larger than the two cache lines that processors fetch together.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Counters {
    pub(super) reads: Countdown,
    pub(super) writes: Countdown,
    cells: [AtomicU64; CELLS],
    /// Whether several threads count here.
    is_shared: bool,
}

impl PerThread {
    pub(super) fn new() -> PerThread {
        PerThread { counters: std::array::from_fn(|place| Counters::new(place as u32)) }
    }

    #[inline]
    pub(super) fn at(&self, place: usize) -> &Counters {
        &self.counters[place & PLACES]
    }

    /// What all threads have counted in this cell.
    pub(super) fn total(&self, cell: usize) -> u64 {
        self.counters.iter().map(|counters| counters.cells[cell].load(Ordering::Relaxed)).sum()
    }
}

impl Counters {
    fn new(place: u32) -> Counters {
        let (reads, writes) = (Countdown::new(place * 2 + 1), Countdown::new(place * 2 + 2));
        Counters { reads, writes, is_shared: place as usize == SHARED, ..Counters::default() }
    }

    /// Counts one in this cell.
    #[inline]
    pub(super) fn count(&self, cell: usize) {
        let cell = &self.cells[cell];
        if self.is_shared {
            cell.fetch_add(1, Ordering::Relaxed);
        } else {
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

/// Picks about one call in [`GAP_MEAN`], the first one always. The gaps differ, so that callers who do things in turn do not
/// have always the same one picked.
#[derive(Default)]
pub(super) struct Countdown {
    left: AtomicU32,
    gap: AtomicU32,
    random: AtomicU32,
}

impl Countdown {
    fn new(seed: u32) -> Countdown {
        let random = AtomicU32::new(seed.wrapping_mul(0x9E37_79B9) | 1);
        Countdown { left: AtomicU32::new(0), gap: AtomicU32::new(1), random }
    }

    /// Whether this call is picked; then how many calls it stands for.
    #[inline]
    pub(super) fn pick(&self) -> Option<u32> {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            return None;
        }
        Some(self.draw())
    }

    /// Marsaglia's xorshift: good enough to break step with the callers.
    #[cold]
    fn draw(&self) -> u32 {
        let weight = self.gap.load(Ordering::Relaxed);
        let mut random = self.random.load(Ordering::Relaxed);
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random.store(random, Ordering::Relaxed);
        let gap = GAP_MEAN / 2 + random % GAP_MEAN;
        self.gap.store(gap, Ordering::Relaxed);
        self.left.store(gap - 1, Ordering::Relaxed);
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// More threads than there are places, each of which ends and is followed by another: nothing is lost.
    #[test]
    fn every_count_of_every_thread_arrives() {
        let counters = Arc::new(PerThread::new());
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..PLACES + 20 {
                    scope.spawn(|| (0..1_000).for_each(|_| counters.at(place()).count(3)));
                }
            });
        }
        assert_eq!(counters.total(3), 2 * (PLACES as u64 + 20) * 1_000);
        assert_eq!(counters.total(2), 0);
    }

    #[test]
    fn what_is_picked_stands_for_what_is_not() {
        let countdown = Countdown::new(1);
        let picked: Vec<(u32, u32)> =
            (0..100_000).filter_map(|at| countdown.pick().map(|weight| (at, weight))).collect();
        assert_eq!(picked[0], (0, 1), "the first is always picked");
        let stood_for: u32 = picked.iter().map(|(_, weight)| weight).sum();
        assert!((99_900..=100_000).contains(&stood_for), "{stood_for}");
        assert!((1_400..1_800).contains(&picked.len()), "{}", picked.len());
        let odd = picked.iter().filter(|(at, _)| at % 2 == 1).count();
        assert!((picked.len() / 3..picked.len() * 2 / 3).contains(&odd), "callers who alternate: {odd}");
    }
}
