//! A batch of a session has its effect once, whatever order and however often it arrives.

use super::{Admission, Applied, Outcome, Sessions};
use crate::encoding::batch::{BatchHeader, put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::error::ErrorKind;
use crate::limits::{SESSION_BATCHES_MAX, SESSIONS_BYTES_MAX, SESSIONS_MAX};
use crate::model::{Command, Condition, Operation, PutItem, Reply};
use crate::state_machine::StateMachine;
use crate::state_machine::model_test::{Random, copy_by_snapshot, seed};

fn header(session: u64, sequence: u64, acknowledged_below: u64) -> BatchHeader {
    BatchHeader { stamp_ms: Some(0), session, sequence, acknowledged_below }
}

fn batch(session: u64, sequence: u64, acknowledged_below: u64, operations: &[Operation<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_batch_header(&mut payload, session, sequence, acknowledged_below);
    for operation in operations {
        put_command(&mut payload, &Command { stamp_ms: 1_000, operation: operation.clone() });
    }
    payload
}

fn apply(machine: &StateMachine, payload: &[u8], stamp_ms: u64) -> (Applied, Vec<Outcome>) {
    let mut payload = payload.to_vec();
    stamp_batch(&mut payload, stamp_ms);
    let mut outcomes = Vec::new();
    let applied = machine.apply(&payload, |outcome| outcomes.push(outcome)).unwrap();
    (applied, outcomes)
}

fn open_session(machine: &StateMachine) -> u64 {
    match apply(machine, &batch(0, 0, 0, &[Operation::OpenSession]), 0).1.as_slice() {
        [Ok(Reply::Done { revision })] => *revision,
        other => panic!("no session: {other:?}"),
    }
}

fn increment(key: &[u8]) -> Operation<'_> {
    Operation::Increment { key, by: 1, initial: 0, deadline_ms: None }
}

fn count(machine: &StateMachine, key: &[u8]) -> Option<Vec<u8>> {
    machine.read(key, || 0, |record| record.value.into_owned()).unwrap()
}

#[test]
fn a_batch_sent_again_changes_nothing_and_hears_the_same() {
    let machine = StateMachine::new();
    let session = open_session(&machine);
    let once =
        batch(session, 1, 0, &[increment(b"n"), Operation::Delete { key: b"x", condition: Condition::Revision(9) }]);
    let first = apply(&machine, &once, 5);
    let heard = vec![Ok(Reply::Integer { value: 1, revision: 1 }), Err(ErrorKind::NotFound.into())];
    assert_eq!(first, (Applied::Done, heard));
    for stamp_ms in [5, 6, 1] {
        assert_eq!(apply(&machine, &once, stamp_ms), first);
    }
    assert_eq!(machine.revision(), 1);
    assert_eq!(machine.time_ms(), 5, "a batch of which nothing is applied moves no time");

    // Acknowledged by a later one, it is forgotten, but never applied again.
    assert_eq!(apply(&machine, &batch(session, 2, 2, &[increment(b"n")]), 7).0, Applied::Done);
    assert_eq!(apply(&machine, &once, 8), (Applied::Stale, vec![]));
    assert_eq!(apply(&machine, &batch(session + 1, 1, 0, &[increment(b"n")]), 8), (Applied::UnknownSession, vec![]));
    assert_eq!(count(&machine, b"n"), Some(vec![2]));
    assert_eq!(open_session(&machine), session + 1);
}

#[test]
fn an_owner_that_acknowledges_nothing_is_refused_until_it_does() {
    let machine = StateMachine::new();
    let session = open_session(&machine);
    let many = SESSION_BATCHES_MAX as u64;
    for sequence in (1..=many).rev() {
        assert_eq!(apply(&machine, &batch(session, sequence, 0, &[increment(b"n")]), 1).0, Applied::Done);
    }
    let next = batch(session, many + 1, 0, &[increment(b"n")]);
    assert_eq!(apply(&machine, &next, 1), (Applied::Refused, vec![]));
    assert_eq!(apply(&machine, &batch(session, 1, 0, &[]), 1).1.len(), 1, "what is kept is told all the same");
    assert_eq!(count(&machine, b"n"), Some(vec![0x18, many as u8]));

    assert_eq!(apply(&machine, &batch(session, many + 1, 2, &[increment(b"n")]), 1).0, Applied::Done);
    assert_eq!(count(&machine, b"n"), Some(vec![0x18, many as u8 + 1]));
}

#[test]
fn the_session_used_longest_ago_makes_room_and_its_number_is_never_given_again() {
    let mut sessions = Sessions::default();
    (0..SESSIONS_MAX).for_each(|_| assert!(sessions.open(None) > 0));
    assert_eq!(sessions.admit(&header(1, 1, 0)).unwrap(), Admission::New);
    let newest = SESSIONS_MAX as u64 + 1;
    assert_eq!(sessions.open(None), newest);
    assert_eq!(sessions.admit(&header(2, 1, 0)).unwrap(), Admission::Not(Applied::UnknownSession));
    for session in [1, 3, newest] {
        assert_eq!(sessions.admit(&header(session, 1, 0)).unwrap(), Admission::New);
    }
    assert_eq!(sessions.by_id.len(), SESSIONS_MAX);
    assert_eq!(sessions.by_use.len(), SESSIONS_MAX);
}

#[test]
fn which_session_goes_next_is_the_same_after_a_snapshot() {
    let machine = StateMachine::new();
    apply(&machine, &batch(0, 0, 0, &vec![Operation::OpenSession; SESSIONS_MAX]), 1);
    assert_eq!(apply(&machine, &batch(1, 1, 0, &[]), 1).0, Applied::Done);
    let copy = copy_by_snapshot(&machine);
    for replica in [&machine, &copy] {
        assert_eq!(open_session(replica), SESSIONS_MAX as u64 + 1);
        assert_eq!(apply(replica, &batch(2, 1, 0, &[]), 1).0, Applied::UnknownSession);
        assert_eq!(apply(replica, &batch(1, 2, 0, &[]), 1).0, Applied::Done);
    }
    assert_eq!(machine.digest().unwrap(), copy.digest().unwrap());
}

#[test]
fn kept_outcomes_have_a_bound_in_bytes_for_all_sessions_together() {
    let mut sessions = Sessions::default();
    let outcomes = vec![0; SESSIONS_BYTES_MAX / 5];
    for session in 1..=10 {
        assert_eq!(sessions.open(None), session);
        assert_eq!(sessions.admit(&header(session, 1, 0)).unwrap(), Admission::New);
        sessions.keep(&header(session, 1, 0), outcomes.clone());
        assert!(sessions.kept_bytes <= SESSIONS_BYTES_MAX);
    }
    let known: Vec<u64> = sessions.by_id.keys().copied().collect();
    assert_eq!(known, [7, 8, 9, 10]);
    for session in 7..=10 {
        sessions.admit(&header(session, 2, 2)).unwrap();
    }
    assert_eq!(sessions.kept_bytes, 0, "what is acknowledged costs nothing");
}

/// Sends twenty batches of each of three sessions in any order, many of them twice or more, through snapshots.
/// Gives what differs from each having its effect exactly once.
fn faults_of_a_random_arrival(seed: u64, prepare: impl Fn(&StateMachine)) -> Vec<String> {
    let mut random = Random(seed);
    let mut machine = StateMachine::new();
    prepare(&machine);
    let mut faults = Vec::new();
    let mut sendings = Vec::new();
    for session in (0..3).map(|_| open_session(&machine)).collect::<Vec<_>>() {
        for sequence in 0..20 {
            let own = format!("{session}:{sequence}").into_bytes();
            let payload = batch(session, sequence, 0, &[increment(b"all"), increment(&own)]);
            (0..1 + random.below(3)).for_each(|_| sendings.push((payload.clone(), own.clone())));
        }
    }
    for last in (1..sendings.len()).rev() {
        sendings.swap(last, random.below(last as u64 + 1) as usize);
    }
    let mut told = std::collections::BTreeMap::new();
    for (arrival, (payload, own)) in sendings.iter().enumerate() {
        if random.below(20) == 0 {
            machine = copy_by_snapshot(&machine);
            prepare(&machine);
        }
        let heard = apply(&machine, payload, arrival as u64);
        let first = told.entry(own).or_insert_with(|| heard.clone());
        if *first != heard {
            faults.push(format!("{} heard {first:?}, then {heard:?}", String::from_utf8_lossy(own)));
        }
    }
    if count(&machine, b"all") != Some(vec![0x18, 60]) {
        faults.push(format!("60 batches have counted {:?}", count(&machine, b"all")));
    }
    let others = told.keys().filter(|own| count(&machine, own) != Some(vec![1]));
    faults.extend(others.map(|own| format!("{} is not 1", String::from_utf8_lossy(own))));
    faults
}

#[test]
fn any_order_and_any_repetition_has_each_effect_exactly_once() {
    let seed = seed();
    for round in 0..200 {
        let faults = faults_of_a_random_arrival(seed + round, |_| {});
        assert!(faults.is_empty(), "seed {}: {faults:?}", seed + round);
    }
}

/// The test of the test above: with the planted bug it fails.
#[test]
fn a_machine_that_applies_twice_is_found_out() {
    assert!(!faults_of_a_random_arrival(seed(), |machine| machine.sabotage.apply_twice()).is_empty());
}

/// Two replicas of one log, whose own clocks differ by a second.
fn digests_of_two_replicas(prepare: impl Fn(&StateMachine, u64)) -> [[u8; 32]; 2] {
    [5_000, 6_000].map(|clock_ms| {
        let machine = StateMachine::new();
        prepare(&machine, clock_ms);
        let item = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: Some(1_500) };
        apply(&machine, &batch(0, 0, 0, &[Operation::Put { item, condition: Condition::Always }]), 7_000);
        apply(&machine, &batch(0, 0, 0, &[Operation::Expire { up_to_ms: u64::MAX }]), 7_499);
        machine.digest().unwrap()
    })
}

#[test]
fn lifetimes_are_measured_by_the_leaders_stamps_alone() {
    let [one, other] = digests_of_two_replicas(|_, _| {});
    assert_eq!(one, other);
    let [one, other] =
        digests_of_two_replicas(|machine, clock_ms| machine.sabotage.trust_local_clock(move || clock_ms));
    assert_ne!(one, other, "the planted bug is found");
}

#[test]
fn an_origin_with_a_wrong_clock_gives_the_lifetime_that_it_means() {
    let machine = StateMachine::new();
    for (key, origin_ms) in [(b"a", 0), (b"b", 1_000_000), (b"c", 9_000_000_000)] {
        let item = PutItem { key, stored: b"\0\x01", deadline_ms: Some(origin_ms + 500) };
        let put = Operation::Put { item, condition: Condition::Always };
        let touch = Operation::Touch { key, deadline_ms: origin_ms + 300 };
        let mut payload = Vec::new();
        put_batch_header(&mut payload, 0, 0, 0);
        put_command(&mut payload, &Command { stamp_ms: origin_ms, operation: put });
        assert_eq!(apply(&machine, &payload, 10_000).0, Applied::Done);
        assert_eq!(machine.read(key, || 10_000, |record| record.ttl_ms).unwrap(), Some(Some(500)));
        put_command(&mut payload, &Command { stamp_ms: origin_ms, operation: touch });
        apply(&machine, &payload, 10_000);
        assert_eq!(machine.read(key, || 10_000, |record| record.ttl_ms).unwrap(), Some(Some(300)));
    }
    assert_eq!(machine.time_ms(), 10_000);
    // The new leader's clock is behind: time stands still, lifetimes are as long as ever.
    let item = PutItem { key: b"d", stored: b"\0\x01", deadline_ms: Some(1_100) };
    apply(&machine, &batch(0, 0, 0, &[Operation::Put { item, condition: Condition::Always }]), 4_000);
    assert_eq!(machine.read(b"d", || 10_000, |record| record.ttl_ms).unwrap(), Some(Some(100)));
}
