//! Buckets: the conventional histogram of Prometheus, which only ever grows, so that scrapers can subtract.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::quantiles::Quantiles;
use super::verb::{Class, ENDINGS, Ending};

/// Bounds for calls, nanoseconds: 250 ns (a local read takes about 100 ns) to 10 s.
pub(super) const CALL_NS: &[u64] = &[
    250,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Bounds for numbers of commands in an entry.
pub(super) const COMMANDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// Counts of values below given bounds, and their sum.
pub(super) struct Buckets {
    pub(super) bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Buckets {
    pub(super) fn new(bounds: &'static [u64]) -> Buckets {
        Buckets { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    pub(super) fn record(&self, value: u64, weight: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(weight, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(weight), Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// How many values are at most as large as each bound, and last how many there are.
    pub(super) fn cumulative(&self) -> Vec<u64> {
        let mut total = 0;
        let grow = |count: &AtomicU64| {
            total += count.load(Ordering::Relaxed);
            total
        };
        self.counts.iter().map(grow).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Durations in both forms: quantiles of the last minutes, and buckets since the store was opened.
pub(super) struct Durations {
    pub(super) buckets: Buckets,
    pub(super) quantiles: Quantiles,
}

impl Durations {
    pub(super) fn new() -> Durations {
        Durations { buckets: Buckets::new(CALL_NS), quantiles: Quantiles::new() }
    }

    /// Counts `weight` calls that took so long.
    pub(super) fn record(&self, minute: u64, ns: u64, weight: u32) {
        self.buckets.record(ns, u64::from(weight));
        self.quantiles.record(minute, ns, weight);
    }
}

/// What became of the calls of one verb, and how long they took. Durations take memory once there is one.
pub(super) struct Account {
    endings: [AtomicU64; ENDINGS],
    durations: [OnceLock<Box<Durations>>; Class::ALL.len()],
}

impl Account {
    pub(super) fn new() -> Account {
        let durations = std::array::from_fn(|_| OnceLock::new());
        Account { endings: std::array::from_fn(|_| AtomicU64::new(0)), durations }
    }

    pub(super) fn count(&self, ending: Ending) {
        self.endings[ending.number()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record(&self, minute: u64, ending: Ending, ns: u64, weight: u32) {
        let durations = self.durations[ending.class() as usize].get_or_init(|| Box::new(Durations::new()));
        durations.record(minute, ns, weight);
    }

    /// How many calls ended so.
    pub(super) fn ended(&self, number: usize) -> u64 {
        self.endings[number].load(Ordering::Relaxed)
    }

    pub(super) fn durations(&self, class: Class) -> Option<&Durations> {
        self.durations[class as usize].get().map(Box::as_ref)
    }

    /// Whether there was any call.
    pub(super) fn is_used(&self) -> bool {
        (0..ENDINGS).any(|number| self.ended(number) > 0) || self.durations.iter().any(|one| one.get().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it_and_the_last_bucket_takes_the_rest() {
        let buckets = Buckets::new(&[10, 20]);
        [1, 10, 11, 20, 21, 1_000].iter().for_each(|value| buckets.record(*value, 1));
        buckets.record(15, 5);
        assert_eq!(buckets.cumulative(), [2, 9, 11]);
        assert_eq!((buckets.count(), buckets.sum()), (11, 1_063 + 75));
    }
}
