//! Crash: a process under load is killed with -9 again and again, its log is torn, its disk runs full.
//!
//! Promise: every acknowledged write is there afterwards, and nothing unacknowledged is half there.
//! `CONCORD_CRASH_ROUNDS` sets the number of kills (50), `CONCORD_CRASH_SEED` repeats a run.

#[path = "crash/child.rs"]
mod child;
#[path = "crash/full_disk.rs"]
mod full_disk;
#[path = "crash/lanes.rs"]
mod lanes;
#[path = "crash/torn.rs"]
mod torn;

use std::path::Path;
use std::time::{Duration, SystemTime};

use child::Child;
use concord_kv::{Concord, Config};
use lanes::{Counts, LANES, verify};

/// Numbers that a seed repeats (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// Seeded by `CONCORD_CRASH_SEED` or the clock; the seed is printed so that a failure can be repeated.
    pub fn from_environment(test: &str) -> Dice {
        let clock = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        let seed = std::env::var("CONCORD_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(clock);
        println!("{test}: CONCORD_CRASH_SEED={seed}");
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

/// A directory on the disk that the build uses, so that fdatasync is a real one.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test")
}

/// Small enough that a run of seconds passes through many snapshots.
pub fn config(dir: &Path) -> Config {
    Config { snapshot_log_bytes: 1024 * 1024, ..Config::at(dir) }
}

/// Opens what a crash left and holds it against the acknowledgements.
#[track_caller]
pub fn check(dir: &Path, acknowledged: &Counts) -> Counts {
    let db = Concord::open(config(dir)).unwrap_or_else(|error| panic!("it does not open after a crash: {error}"));
    let found = verify(&db, acknowledged, 0).unwrap_or_else(|fault| panic!("{fault}"));
    db.close().expect("a close never fails");
    found
}

/// Kills a writing process `rounds` times; each new process checks what it finds before it goes on writing,
/// so that most recoveries follow a crash, not a clean close.
fn kill_again_and_again(test: &str, dir: &Path, rounds: u64, durability: &str) -> Counts {
    let mut dice = Dice::from_environment(test);
    let mut acknowledged = [0; LANES];
    let mut kills_while_opening = 0;
    for round in 0..rounds {
        let mut child = Child::start(dir, &acknowledged, durability);
        if dice.below(8) == 0 {
            kills_while_opening += 1;
            std::thread::sleep(Duration::from_micros(dice.below(20_000)));
        } else {
            child.wait_until_ready();
            std::thread::sleep(Duration::from_micros(20_000 + dice.below(180_000)));
        }
        acknowledged = child.kill().unwrap_or_else(|fault| panic!("round {round}: {fault}"));
    }
    let writes: u64 = acknowledged.iter().sum();
    println!("{test}: {rounds} kills ({kills_while_opening} while opening), {writes} acknowledged writes, none lost");
    assert!(writes > rounds * 5, "the children hardly wrote: {writes} writes in {rounds} rounds");
    acknowledged
}

fn rounds() -> u64 {
    std::env::var("CONCORD_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(50)
}

#[test]
fn no_acknowledged_write_is_lost_by_kill_9() {
    let dir = scratch();
    let acknowledged = kill_again_and_again("kill -9", dir.path(), rounds(), "always");
    check(dir.path(), &acknowledged);
}

/// With `interval` a crash of the machine may lose the last moment, a crash of the process alone nothing.
#[test]
fn with_interval_durability_a_killed_process_loses_nothing() {
    let dir = scratch();
    let acknowledged = kill_again_and_again("kill -9, interval", dir.path(), rounds().div_ceil(5), "1000");
    check(dir.path(), &acknowledged);
}

/// The body of the child processes; on its own it does nothing.
#[test]
#[ignore = "started by the other tests as their child process"]
fn child_process() {
    child::write_until_killed();
}
