//! Planted: tests of the test. Each bug that was made on purpose is found within a few hundred schedules.

use super::member::Planted;
use super::run;

const SEEDS_MAX: u64 = 300;

/// Runs one schedule after the other until one fails, and says which.
fn find(planted: Planted) {
    for seed in 1..=SEEDS_MAX {
        if let Err(failure) = run(seed, planted, false).outcome {
            println!("{planted:?}: found by seed {seed}: {failure}");
            return;
        }
    }
    panic!("{planted:?} was not found by {SEEDS_MAX} schedules");
}

#[test]
fn an_acknowledgement_before_the_quorum_is_found() {
    find(Planted::AcknowledgesBeforeQuorum);
}

#[test]
fn a_skipped_sync_is_found() {
    find(Planted::SkipsSync);
}

#[test]
fn a_forgotten_vote_is_found() {
    find(Planted::ForgetsVote);
}

#[test]
fn a_stale_read_is_found() {
    find(Planted::ReadsStale);
}

#[test]
fn a_double_application_is_found() {
    find(Planted::AppliesTwice);
}

#[test]
fn an_expiry_by_the_local_clock_is_found() {
    find(Planted::ExpiresByLocalClock);
}
