//! Dice: numbers that a seed repeats (splitmix64).

use std::time::SystemTime;

/// A source of numbers.
pub struct Dice(pub u64);

impl Dice {
    /// Seeded by this variable of the environment or the clock; the seed is printed so that a failure can be repeated.
    pub fn from_environment(variable: &str) -> Dice {
        let clock = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        let seed = std::env::var(variable).ok().and_then(|seed| seed.parse().ok()).unwrap_or(clock);
        println!("{variable}={seed}");
        Dice(seed)
    }

    /// A number from 0 to one below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
