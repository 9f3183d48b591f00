//! SIMULATION: whole clusters in one thread, with every fault that a seed can think of. Tests only.
//!
//! | file | noun |
//! |--|--|
//! | `world` | hosts, a network and clients, step by step |
//! | `host` | one machine: a runtime, clocks, a disk |
//! | `network`, `stream` | connections and what happens to them |
//! | `member`, `workload` | the real node and store, and clients of it |
//! | `transactions` | the part of the workload that is about several keys at once |
//! | `churn` | tokens that come and go |
//! | `nemesis` | what goes wrong, and when |
//! | `joining` | a member that was taken in by an entry that nobody else has |
//! | `sending` | a snapshot whose sender never hears of it |
//! | `verdict` | what must be true at the end |
//! | `planted` | bugs made on purpose, which the rest must find |
//!
//! `SEED=n cargo test --lib simulation::one -- --nocapture` repeats one schedule and tells its story; `SEEDS=n` is how
//! many `simulation::many` runs, `SEED_FIRST=n` where it begins.

mod churn;
#[allow(dead_code, reason = "a simulation brings its own seeds")]
#[path = "../../tests/linearizability/dice.rs"]
mod dice;
mod host;
mod joining;
#[path = "../../tests/linearizability/mod.rs"]
mod linearizability;
mod member;
mod nemesis;
mod network;
mod planted;
mod sending;
mod stream;
mod transactions;
mod verdict;
mod workload;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::Instant;

use dice::Dice;
use member::Planted;
use nemesis::Nemesis;
use world::World;

/// How many schedules the usual run of the tests takes: about a minute and a half on two cores.
const SEEDS_DEFAULT: u64 = 100;

/// What became of one schedule.
struct Report {
    outcome: Result<(), String>,
    trace: u64,
    calls: usize,
    answered: usize,
    simulated_ms: u64,
}

thread_local! {
    /// How often something on this thread has panicked, in a task as well, which its runtime would only print.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            print(info);
        }));
    });
}

/// Runs the schedule of a seed.
fn run(seed: u64, planted: Planted, is_verbose: bool) -> Report {
    let founders = if Dice(seed).below(5) == 0 { 5 } else { 3 };
    let nemesis = Nemesis::new(seed ^ 0x6e65_6d65, founders);
    let mut world = World::new(seed, founders, planted);
    world.is_verbose = is_verbose;
    if nemesis.sets_clocks() {
        world.history.expect_early_expiry();
    }
    count_panics();
    let panics = PANICS.get();
    let judged = AssertUnwindSafe(|| nemesis.run(&mut world).and_then(|()| verdict::judge(&mut world)));
    let outcome = catch_unwind(judged).unwrap_or(Ok(()));
    let calls = world.history.operations().len();
    let (answered, simulated_ms) = (world.history.answered(), world.now_ms);
    let outcome = if PANICS.get() > panics { Err("something panicked".to_owned()) } else { outcome };
    Report { outcome, trace: world.trace(), calls, answered, simulated_ms }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Replays one schedule, with its story.
#[test]
fn one() {
    let Some(seed) = number_from("SEED") else { return };
    let started = Instant::now();
    let report = run(seed, Planted::Nothing, true);
    println!("{} of {} calls answered in {} ms", report.answered, report.calls, report.simulated_ms);
    println!("trace {:016x}, {:?}", report.trace, started.elapsed());
    report.outcome.unwrap();
}

/// Many schedules, each with another seed.
#[test]
fn many() {
    let first = number_from("SEED_FIRST").unwrap_or(1);
    let seeds = number_from("SEEDS").unwrap_or(SEEDS_DEFAULT);
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let workers = number_from("WORKERS").unwrap_or_else(cores);
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let (calls, answered, started) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let report = run(seed, Planted::Nothing, false);
                    calls.fetch_add(report.calls as u64, Ordering::Relaxed);
                    answered.fetch_add(report.answered as u64, Ordering::Relaxed);
                    if let Err(failure) = report.outcome {
                        println!("SEED={seed}: {failure}");
                        failures.lock().unwrap().push(seed);
                    }
                    let done = seed - first + 1;
                    if done.is_multiple_of(100) {
                        println!("{done} of {seeds} schedules, {:?}", started.elapsed());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("| schedules | calls | answered | failures | time |");
    println!("| {seeds} | {calls:?} | {answered:?} | {} | {:?} |", failures.len(), started.elapsed());
    assert!(failures.is_empty(), "repeat with SEED=n cargo test --lib simulation::one -- --nocapture: {failures:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 4, 5, 6, 7, 8] {
        let [one, other] = [(); 2].map(|()| run(seed, Planted::Nothing, false).trace);
        assert_eq!(one, other, "seed {seed}");
    }
}
