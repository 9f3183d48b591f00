//! Seats: which connections are open, and which of them makes room for a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pace::Pace;

/// The open connections, oldest first.
///
/// - Never more than `max`. A newcomer takes the place of the oldest one on which nothing was ever asked, else of the
///   oldest one on which nothing runs; when all are busy it is turned away.
pub(super) struct Seats {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    paces: BTreeMap<u64, Arc<Pace>>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Seats {
        Seats { max, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection; `None` when all are busy.
    pub(super) fn take(self: &Arc<Seats>) -> Option<Seat> {
        let mut taken = self.taken();
        if taken.paces.len() >= self.max {
            let unused = taken.paces.iter().find(|(_, pace)| pace.is_unused());
            let idle = || taken.paces.iter().find(|(_, pace)| !pace.is_running());
            let number = *unused.or_else(idle)?.0;
            taken.paces.remove(&number)?.evict();
        }
        let pace = Arc::new(Pace::default());
        let number = taken.next;
        taken.next += 1;
        taken.paces.insert(number, pace.clone());
        Some(Seat { seats: self.clone(), number, pace })
    }
}

/// The place of one connection; free again when this is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    pub(super) pace: Arc<Pace>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().paces.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_takes_the_place_of_who_never_asked_then_of_who_rests() {
        let seats = Arc::new(Seats::new(2));
        let used = seats.take().unwrap();
        let request = used.pace.begin();
        let unused = seats.take().unwrap();
        let third = seats.take().unwrap();
        assert_eq!(seats.taken().paces.keys().copied().collect::<Vec<_>>(), [0, 2], "the one that never asked went");
        let other = third.pace.begin();
        assert!(seats.take().is_none(), "both are busy");
        drop(request);
        let fourth = seats.take().unwrap();
        assert_eq!(seats.taken().paces.keys().copied().collect::<Vec<_>>(), [2, 3], "the one that rested went");
        drop(other);
        drop((used, unused, third, fourth));
        assert!(seats.taken().paces.is_empty());
    }
}
