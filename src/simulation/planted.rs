//! Planted: tests of the test. Each bug that was made on purpose is found within a few hundred schedules.

use super::member::Planted;
use super::run;

const SEEDS_MAX: u64 = 300;

/// Runs one schedule after the other until one fails as this bug makes it fail, and only with the bug.
fn find(planted: Planted, signs: &[&str]) {
    for seed in 1..=SEEDS_MAX {
        let Err(failure) = run(seed, planted, false).outcome else { continue };
        if signs.iter().any(|sign| failure.contains(sign)) && run(seed, Planted::Nothing, false).outcome.is_ok() {
            println!("{planted:?}: found by seed {seed}: {failure}");
            return;
        }
    }
    panic!("{planted:?} was not found by {SEEDS_MAX} schedules");
}

/// What a history looks like in which something is lost, doubled or stale.
const LIE: &str = "no order of its operations";
const DIVERGENCE: &str = "different contents";
const OTHER_LOG: &str = "has committed what another has not";
/// Storage and Raft assert what they rely on.
const ASSERTION: &str = "panicked";

#[test]
fn an_acknowledgement_before_the_quorum_is_found() {
    find(Planted::AcknowledgesBeforeQuorum, &[LIE, DIVERGENCE, OTHER_LOG, ASSERTION]);
}

#[test]
fn a_skipped_sync_is_found() {
    find(Planted::SkipsSync, &[LIE, DIVERGENCE, OTHER_LOG, ASSERTION]);
}

#[test]
fn a_forgotten_vote_is_found() {
    find(Planted::ForgetsVote, &[LIE, DIVERGENCE, OTHER_LOG, ASSERTION]);
}

#[test]
fn a_stale_read_is_found() {
    find(Planted::ReadsStale, &[LIE]);
}

#[test]
fn a_double_application_is_found() {
    find(Planted::AppliesTwice, &[LIE, DIVERGENCE]);
}

#[test]
fn an_expiry_by_the_local_clock_is_found() {
    find(Planted::ExpiresByLocalClock, &[DIVERGENCE]);
}
