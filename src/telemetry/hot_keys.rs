//! Hot keys: the keys that are used most, found in bounded memory.
//!
//! The Space-Saving algorithm (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k Elements in Data
//! Streams", 2005) over a sample of the calls. Of [`WATCHED`] keys each has a counter; a key that has none takes over the smallest
//! one, with its count. So a counter never tells too little, and at most 1/128 of all calls too much; every key with more than
//! 1/128 of the calls is found. The sample adds the error of a sample: for a key that was picked n times, about 1/sqrt(n).
//!
//! Keys may be secrets. Unless configured otherwise they are shown as a hash (SipHash-1-3) with a random salt that lives as long
//! as the store is open: the same key has the same hash until then, and another one on every member.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError, TryLockError};

/// Keys that have a counter.
const WATCHED: usize = 128;

/// Keys that are told.
pub(super) const TOLD_MAX: usize = 20;

/// Longest key that is shown as it is, bytes. A longer one is cut and its hash added.
const SHOWN_BYTES_MAX: usize = 64;

/// Length of a period, seconds. What is told is of the present one and the one before.
const PERIOD_S: u64 = 60;

/// The most used keys of the last one to two minutes.
pub(super) struct HotKeys {
    salt: RandomState,
    shows_keys: bool,
    periods: Mutex<Periods>,
}

#[derive(Default)]
struct Periods {
    /// Number of the present period.
    number: u64,
    present: Sketch,
    before: Sketch,
}

impl HotKeys {
    pub(super) fn new(shows_keys: bool) -> HotKeys {
        HotKeys { salt: RandomState::new(), shows_keys, periods: Mutex::default() }
    }

    /// Counts `weight` calls for a key. A call that meets another one here is left out rather than held up.
    pub(super) fn record(&self, at_s: u64, key: &[u8], weight: u64) {
        let hash = self.salt.hash_one(key);
        let mut periods = match self.periods.try_lock() {
            Ok(periods) => periods,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        periods.turn_to(at_s / PERIOD_S);
        periods.present.add(hash, key, weight);
    }

    /// At most [`TOLD_MAX`] keys, as they are shown, with their calls a second; the most used one first.
    pub(super) fn read(&self, at_s: u64) -> Vec<(String, f64)> {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.turn_to(at_s / PERIOD_S);
        let mut all = periods.present.clone();
        all.add_all(&periods.before);
        drop(periods);
        let seconds = if at_s < PERIOD_S { at_s } else { at_s % PERIOD_S + PERIOD_S };
        let mut order: Vec<usize> = (0..all.keys.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse((all.counts[*place], all.hashes[*place])));
        let tell = |place: usize| {
            let calls_per_s = all.counts[place] as f64 / seconds.max(1) as f64;
            (self.shown(all.hashes[place], &all.keys[place]), calls_per_s)
        };
        order.into_iter().take(TOLD_MAX).map(tell).collect()
    }

    fn shown(&self, hash: u64, key: &[u8]) -> String {
        if !self.shows_keys {
            return format!("#{hash:016x}");
        }
        let text = match std::str::from_utf8(key) {
            Ok(text) if !text.contains(char::is_control) => text.to_owned(),
            _ => key.escape_ascii().to_string(),
        };
        if text.len() <= SHOWN_BYTES_MAX {
            return text;
        }
        format!("{}...#{hash:016x}", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)])
    }
}

impl Periods {
    fn turn_to(&mut self, number: u64) {
        if number <= self.number {
            return;
        }
        let is_next = number == self.number + 1;
        let ended = std::mem::take(&mut self.present);
        self.before = if is_next { ended } else { Sketch::default() };
        self.number = number;
    }
}

/// Counters of the keys that were met most. Hashes and counts lie apart so that looking through them is quick.
#[derive(Default, Clone)]
struct Sketch {
    hashes: Vec<u64>,
    counts: Vec<u64>,
    keys: Vec<Vec<u8>>,
}

impl Sketch {
    fn add(&mut self, hash: u64, key: &[u8], weight: u64) {
        if let Some(place) = self.hashes.iter().position(|known| *known == hash) {
            self.counts[place] += weight;
        } else if self.keys.len() < WATCHED {
            self.hashes.push(hash);
            self.counts.push(weight);
            self.keys.push(key.to_vec());
        } else if let Some(smallest) = self.counts.iter().min().copied() {
            let place = self.counts.iter().position(|count| *count == smallest).unwrap_or(0);
            self.hashes[place] = hash;
            self.counts[place] += weight;
            self.keys[place].clear();
            self.keys[place].extend_from_slice(key);
        }
    }

    /// Adds another sketch, beyond the number of keys that are watched.
    fn add_all(&mut self, other: &Sketch) {
        for ((hash, count), key) in other.hashes.iter().zip(&other.counts).zip(&other.keys) {
            match self.hashes.iter().position(|known| known == hash) {
                Some(place) => self.counts[place] += count,
                None => {
                    self.hashes.push(*hash);
                    self.counts.push(*count);
                    self.keys.push(key.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten hot keys among a hundred thousand others: all are found, none is told smaller than it is, none larger than allowed.
    #[test]
    fn the_hot_ones_are_found_among_many_others() {
        let hot_keys = HotKeys::new(true);
        let (mut calls, mut random) = (0_u64, 7_u32);
        for round in 0..100_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = if random >> 28 < 4 { format!("hot:{}", round % 10) } else { format!("cold:{round}") };
            hot_keys.record(1, key.as_bytes(), 1);
            calls += 1;
        }
        let told = hot_keys.read(1);
        assert_eq!(told.len(), TOLD_MAX);
        let ten: Vec<&str> = told[..10].iter().map(|(key, _)| key.as_str()).collect();
        for number in 0..10 {
            assert!(ten.contains(&format!("hot:{number}").as_str()), "{told:?}");
        }
        for (key, per_s) in &told[..10] {
            let truth = calls as f64 / 40.0;
            assert!((truth * 0.9..truth * 1.1 + calls as f64 / WATCHED as f64).contains(per_s), "{key}: {per_s}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_past_is_forgotten() {
        let hot_keys = HotKeys::new(true);
        (0..10_000_u32).for_each(|number| hot_keys.record(10, &number.to_le_bytes(), 1));
        assert_eq!(hot_keys.periods.lock().unwrap().present.keys.len(), WATCHED);
        hot_keys.record(70, b"later", 90);
        assert_eq!(hot_keys.read(90)[0], ("later".to_owned(), 1.0));
        assert!(hot_keys.read(90).len() > 1, "the minute before counts as well");
        assert_eq!(hot_keys.read(150).len(), 1);
        assert!(hot_keys.read(1_000).is_empty());
    }

    #[test]
    fn a_key_is_a_salted_hash_unless_configured_otherwise() {
        let (one, other) = (HotKeys::new(false), HotKeys::new(false));
        for hot_keys in [&one, &other] {
            hot_keys.record(1, b"secret:1", 1);
        }
        let (one, other) = (one.read(1).remove(0).0, other.read(1).remove(0).0);
        assert!(one.starts_with('#') && one.len() == 17 && one != other, "{one} {other}");
    }

    #[test]
    fn a_long_or_binary_key_is_cut_and_stays_one_of_its_own() {
        let hot_keys = HotKeys::new(true);
        for end in ["1", "2"] {
            hot_keys.record(1, format!("{}{end}", "ä".repeat(400)).as_bytes(), 1);
        }
        hot_keys.record(1, b"\xff\n", 1);
        let shown: Vec<String> = hot_keys.read(1).into_iter().map(|(key, _)| key).collect();
        assert!(shown.iter().all(|key| key.len() <= SHOWN_BYTES_MAX + 20), "{shown:?}");
        assert!(shown.contains(&"\\xff\\n".to_owned()), "{shown:?}");
        assert!(shown[0] != shown[1] && shown[1] != shown[2] && shown[0] != shown[2], "{shown:?}");
    }
}
