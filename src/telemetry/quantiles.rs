//! Quantiles: of the durations of the last minutes, in bounded memory, without a lock.
//!
//! The bins are those of HdrHistogram (Gil Tene, `hdrhistogram.org`): every power of two is cut into 32 bins of equal width. A
//! bin is at most 1/32 as wide as its smallest value, and its middle is told, so what is told is at most 1.6 % off, from
//! nanoseconds to 18 minutes. A histogram for each of the last minutes makes them forget.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BINS_LOG2: u32 = 5;
const BINS_PER_POWER: usize = 1 << BINS_LOG2;
/// Longest duration that is told apart, about 18 minutes. Longer ones count as that.
const NS_BITS: u32 = 40;
const NS_MAX: u64 = (1 << NS_BITS) - 1;
const BINS: usize = (NS_BITS - BINS_LOG2 + 1) as usize * BINS_PER_POWER;
/// Minutes that are remembered, the present one included.
const MINUTES: usize = 4;

/// The quantiles that are told.
pub(super) const TOLD: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// Durations of the last minutes; 18 KiB.
pub(super) struct Quantiles {
    minutes: [Minute; MINUTES],
}

struct Minute {
    /// Which minute it is; 0 before the first.
    number: AtomicU64,
    counts: Box<[AtomicU32]>,
}

impl Default for Minute {
    fn default() -> Minute {
        Minute { number: AtomicU64::new(0), counts: (0..BINS).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl Minute {
    /// Makes this the place of a new minute. What another thread adds in this very moment may be lost.
    #[cold]
    fn begin(&self, held: u64, minute: u64) {
        let is_newer = held < minute;
        if is_newer && self.number.compare_exchange(held, minute, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        }
    }
}

impl Quantiles {
    pub(super) fn new() -> Quantiles {
        Quantiles { minutes: std::array::from_fn(|_| Minute::default()) }
    }

    /// Counts `weight` calls that took so long. Minutes are numbered from 1.
    pub(super) fn record(&self, minute: u64, ns: u64, weight: u32) {
        let place = &self.minutes[minute as usize % MINUTES];
        let held = place.number.load(Ordering::Relaxed);
        if held != minute {
            place.begin(held, minute);
        }
        place.counts[bin_of(ns)].fetch_add(weight, Ordering::Relaxed);
    }

    /// [`TOLD`], in nanoseconds; `None` when nothing was recorded in the last minutes.
    pub(super) fn read(&self, minute: u64) -> Option<[u64; TOLD.len()]> {
        let mut counts = vec![0_u64; BINS];
        let is_recent = |place: &&Minute| {
            let number = place.number.load(Ordering::Relaxed);
            number > 0 && number + MINUTES as u64 > minute
        };
        for place in self.minutes.iter().filter(is_recent) {
            for (sum, count) in counts.iter_mut().zip(&place.counts) {
                *sum += u64::from(count.load(Ordering::Relaxed));
            }
        }
        let total: u64 = counts.iter().sum();
        (total > 0).then(|| TOLD.map(|quantile| quantile_of(&counts, total, quantile)))
    }
}

/// The value that this part of all values does not exceed.
fn quantile_of(counts: &[u64], total: u64, quantile: f64) -> u64 {
    let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total);
    let mut seen = 0;
    let reached = |count: &u64| {
        seen += count;
        seen >= rank
    };
    middle_of(counts.iter().position(reached).unwrap_or(counts.len() - 1))
}

fn bin_of(ns: u64) -> usize {
    let ns = ns.min(NS_MAX);
    if ns < BINS_PER_POWER as u64 {
        return ns as usize;
    }
    let shift = ns.ilog2() - BINS_LOG2;
    shift as usize * BINS_PER_POWER + (ns >> shift) as usize
}

fn middle_of(bin: usize) -> u64 {
    if bin < BINS_PER_POWER {
        return bin as u64;
    }
    let shift = bin / BINS_PER_POWER - 1;
    let start = ((bin % BINS_PER_POWER + BINS_PER_POWER) as u64) << shift;
    start + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a nanosecond to the longest duration, what is told is within 3 % of what was recorded.
    #[test]
    fn what_is_told_is_close_to_what_was_recorded() {
        let mut ns = 1_u64;
        while ns < NS_MAX {
            for near in [ns - 1, ns, ns + 1, (ns + ns / 3).min(NS_MAX)] {
                let told = middle_of(bin_of(near));
                assert!(told.abs_diff(near) as f64 <= near as f64 * 0.03, "{near} is told as {told}");
            }
            ns = ns * 11 / 10 + 1;
        }
        assert_eq!(bin_of(u64::MAX), BINS - 1, "longer than the longest counts as the longest");
    }

    #[test]
    fn quantiles_of_many_values_are_those_of_the_sorted_list() {
        let quantiles = Quantiles::new();
        let mut values: Vec<u64> = (1..=10_000_u64).map(|n| n * n * 7 % 50_000_017 + 100).collect();
        values.iter().for_each(|value| quantiles.record(1, *value, 1));
        values.sort_unstable();
        let told = quantiles.read(1).unwrap();
        for (told, quantile) in told.into_iter().zip(TOLD) {
            let exact = values[(values.len() as f64 * quantile).ceil() as usize - 1];
            assert!(told.abs_diff(exact) as f64 <= exact as f64 * 0.03, "{quantile}: {told}, not {exact}");
        }
    }

    #[test]
    fn old_minutes_are_forgotten_and_a_weight_counts_as_so_many() {
        let quantiles = Quantiles::new();
        assert_eq!(quantiles.read(1), None);
        quantiles.record(1, 1_000_000, 99);
        quantiles.record(2, 1_000, 1);
        let near = |told: u64, value: u64| told.abs_diff(value) * 30 < value;
        assert!(near(quantiles.read(2).unwrap()[0], 1_000_000));
        assert!(near(quantiles.read(4).unwrap()[0], 1_000_000), "still remembered");
        assert!(near(quantiles.read(5).unwrap()[0], 1_000), "the first minute is over");
        assert_eq!(quantiles.read(6), None);
        quantiles.record(6, 2_000, 1);
        assert!(near(quantiles.read(6).unwrap()[3], 2_000), "the place of the second minute was cleared");
    }

    #[test]
    fn threads_record_together_without_losing_anything() {
        let quantiles = Quantiles::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let quantiles = &quantiles;
                scope.spawn(move || (0..10_000).for_each(|_| quantiles.record(1, 100 + thread, 1)));
            }
        });
        let recorded: u32 = quantiles.minutes[1].counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        assert_eq!(recorded, 40_000);
    }
}
