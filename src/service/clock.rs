//! Clock: the wall clock, read here and nowhere below. Never goes back while the store is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::raft::Time;

/// Where time comes from: the seam through which tests and simulations set it.
pub(crate) trait TimeSource: Send + Sync {
    /// Wall clock, milliseconds since the Unix epoch. May jump.
    fn wall_ms(&self) -> u64;
    /// Milliseconds since some fixed point. Never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// Wall clock that follows jumps forward and ignores jumps back: a record that a read has called expired
/// stays so for every later command.
#[derive(Clone)]
pub(crate) struct Clock {
    source: Arc<dyn TimeSource>,
    /// What to add to the monotonic clock; only ever grows.
    offset_ms: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn system() -> Clock {
        Clock::from_source(Arc::new(SystemTimeSource { start: Instant::now() }))
    }

    pub(crate) fn from_source(source: Arc<dyn TimeSource>) -> Clock {
        let offset_ms = source.wall_ms().saturating_sub(source.monotonic_ms());
        Clock { source, offset_ms: Arc::new(AtomicU64::new(offset_ms)) }
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        let monotonic_ms = self.source.monotonic_ms();
        let wall_offset_ms = self.source.wall_ms().saturating_sub(monotonic_ms);
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        if wall_offset_ms > offset_ms {
            self.offset_ms.fetch_max(wall_offset_ms, Ordering::Relaxed);
            return monotonic_ms + wall_offset_ms;
        }
        monotonic_ms + offset_ms
    }

    /// Time is at least this from now on: what the log has carried already.
    pub(crate) fn advance_to(&self, time_ms: u64) {
        let offset_ms = time_ms.saturating_sub(self.source.monotonic_ms());
        self.offset_ms.fetch_max(offset_ms, Ordering::Relaxed);
    }
}

impl Time for Clock {
    fn now_ms(&self) -> u64 {
        Clock::now_ms(self)
    }

    fn advance_to(&self, time_ms: u64) {
        Clock::advance_to(self, time_ms);
    }
}

struct SystemTimeSource {
    start: Instant,
}

impl TimeSource for SystemTimeSource {
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Manual {
        wall_ms: AtomicU64,
        monotonic_ms: AtomicU64,
    }

    impl TimeSource for Manual {
        fn wall_ms(&self) -> u64 {
            self.wall_ms.load(Ordering::Relaxed)
        }

        fn monotonic_ms(&self) -> u64 {
            self.monotonic_ms.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_clock_set_back_does_not_bring_expired_records_back() {
        let source = Arc::new(Manual { wall_ms: AtomicU64::new(10_000), monotonic_ms: AtomicU64::new(0) });
        let clock = Clock::from_source(source.clone());
        assert_eq!(clock.now_ms(), 10_000);

        source.wall_ms.store(60_000, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 60_000, "a jump forward is followed");

        source.wall_ms.store(10_000, Ordering::Relaxed);
        source.monotonic_ms.store(5, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 60_005, "a jump back is not; time goes on at its usual pace");

        clock.advance_to(70_000);
        assert_eq!(clock.now_ms(), 70_000, "what the log has carried is the least");
    }
}
