//! Linearizability: the checker itself, on histories that are known to be good or bad.
//!
//! `CONCORD_HISTORY_SEED` repeats the random ones.

#[path = "linearizability/dice.rs"]
mod dice;
#[path = "linearizability/mod.rs"]
mod linearizability;
#[path = "linearizability/random.rs"]
mod random;

use std::time::{Duration, Instant};

use dice::Dice;
use linearizability::{Action, Answer, Expected, Operation, Outcome, Verdict, check, check_within};
use random::Shape;

/// What a client did on key `k` from one time to another.
fn call(client: usize, invoked: u64, returned: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { client, key: "k".to_owned(), action, invoked, returned, outcome }
}

fn write(client: usize, invoked: u64, returned: u64, value: i64) -> Operation {
    call(client, invoked, returned, Action::Write(value), Outcome::Ok(Answer::DONE))
}

fn unknown(client: usize, invoked: u64, action: Action) -> Operation {
    call(client, invoked, 0, action, Outcome::Unknown)
}

fn read(client: usize, invoked: u64, returned: u64, value: Option<i64>) -> Operation {
    call(client, invoked, returned, Action::Read, Outcome::Ok(Answer::found(value)))
}

fn increment(client: usize, invoked: u64, returned: u64, sum: i64) -> Operation {
    call(client, invoked, returned, Action::Increment(1), Outcome::Ok(Answer::Sum(sum)))
}

#[track_caller]
fn assert_good(history: &[Operation]) {
    assert_eq!(check(history), Verdict::Linearizable);
}

/// The history is wrong, and the explanation says so.
#[track_caller]
fn assert_bad(history: &[Operation], says: &str) {
    match check(history) {
        Verdict::Violation { key, explanation } => {
            assert_eq!(key, "k");
            assert!(explanation.contains(says), "expected `{says}` in:\n{explanation}");
        }
        other => panic!("expected a violation, found {other:?}"),
    }
}

#[test]
fn what_overlaps_may_be_seen_in_either_order() {
    assert_good(&[]);
    assert_good(&[write(0, 0, 10, 1), read(1, 2, 5, None), read(1, 6, 8, Some(1)), read(2, 20, 30, Some(1))]);
    assert_good(&[write(0, 0, 10, 1), write(1, 0, 10, 2), read(2, 11, 12, Some(1))]);
    assert_good(&[write(0, 0, 10, 1), write(1, 0, 10, 2), read(2, 11, 12, Some(2))]);
    // Equal times order nothing.
    assert_good(&[write(0, 0, 10, 1), read(1, 10, 12, None)]);
}

/// A write of what is there already is no observation: it may have to come later.
#[test]
fn a_write_of_the_same_value_still_overwrites() {
    assert_good(&[write(0, 0, 1, 5), write(1, 2, 20, 5), write(2, 3, 5, 7), read(3, 21, 22, Some(5))]);
    assert_good(&[call(1, 0, 20, Action::Delete, Outcome::Ok(Answer::DONE)), write(2, 3, 5, 7), read(3, 21, 22, None)]);
}

/// A delete that is answered with an old revision found nothing: one of unknown outcome may have come before it.
#[test]
fn a_delete_of_an_old_revision_may_follow_one_of_unknown_outcome() {
    let of_revision = |revision| Outcome::Ok(Answer::Done { revision: Some(revision) });
    let delete = |invoked, revision| call(0, invoked, invoked + 1, Action::Delete, of_revision(revision));
    let written = call(0, 1, 2, Action::Write(5), of_revision(3));
    assert_good(&[unknown(1, 0, Action::Delete), written.clone(), delete(3, 3)]);
    assert_bad(&[written.clone(), delete(3, 3)], "");
    assert_good(&[unknown(1, 0, Action::Delete), written.clone(), delete(3, 4)]);
    assert_bad(&[unknown(1, 0, Action::Delete), written, delete(3, 3), read(0, 5, 6, Some(5))], "");
}

#[test]
fn a_stale_read_is_seen() {
    assert_bad(&[write(0, 0, 1, 1), write(0, 2, 3, 2), read(1, 4, 5, Some(1))], "what the key can hold there: 2");
    // Back in time: the new value, then the old one, though the write still runs.
    let back = [write(0, 0, 1, 1), write(0, 2, 20, 2), read(1, 4, 5, Some(2)), read(2, 6, 7, Some(1))];
    assert_bad(&back, "> client 2");
}

#[test]
fn a_lost_write_is_seen() {
    assert_bad(&[write(0, 0, 1, 1), read(1, 2, 3, None)], "-> missing");
    let put_new = call(1, 2, 3, Action::PutNew(2), Outcome::Ok(Answer::DONE));
    assert_bad(&[write(0, 0, 1, 1), put_new], "put_new 2");
}

#[test]
fn a_double_increment_is_seen() {
    assert_good(&[increment(0, 0, 9, 2), increment(1, 0, 9, 1), increment(2, 10, 11, 3)]);
    assert_bad(&[increment(0, 0, 1, 1), increment(0, 2, 3, 3)], "increment 1");
    assert_bad(&[increment(0, 0, 9, 1), increment(1, 0, 9, 1)], "increment 1");
    // A retry that was applied twice looks like one unknown increment too many.
    let retried = [increment(0, 0, 1, 1), unknown(1, 2, Action::Increment(1)), increment(0, 3, 4, 4)];
    assert_bad(&retried, "what the key can hold there: 1");
    let once = [increment(0, 0, 1, 1), unknown(1, 2, Action::Increment(1)), increment(0, 3, 4, 3)];
    assert_good(&once);
}

#[test]
fn a_read_of_a_write_that_was_refused_is_seen() {
    let refused = call(0, 0, 1, Action::Write(7), Outcome::Fail);
    assert_bad(&[refused, read(1, 2, 3, Some(7))], "not done");
}

#[test]
fn an_unknown_write_happens_late_early_or_never() {
    let base = [write(0, 0, 1, 1), unknown(1, 2, Action::Write(2))];
    let with = |reads: &[Operation]| base.iter().chain(reads).cloned().collect::<Vec<_>>();
    assert_good(&with(&[read(0, 10, 11, Some(1)), read(0, 12, 13, Some(1))]));
    assert_good(&with(&[read(0, 10, 11, Some(1)), write(0, 12, 13, 3), read(0, 14, 15, Some(2))]));
    // Not twice, and not before it was asked for.
    assert_bad(
        &with(&[read(0, 10, 11, Some(2)), write(0, 12, 13, 3), read(0, 14, 15, Some(2))]),
        "what the key can hold there: 3",
    );
    assert_bad(&[write(0, 0, 1, 1), read(0, 3, 4, Some(2)), unknown(1, 5, Action::Write(2))], "-> 2");
    // One unknown call may build on another.
    let chain = [unknown(0, 0, Action::PutNew(1)), unknown(1, 0, Action::Increment(4)), read(2, 1, 2, Some(5))];
    assert_good(&chain);
    let gone = [write(0, 0, 1, 1), unknown(1, 2, Action::DeleteIf(Expected::Value(1))), read(2, 3, 4, None)];
    assert_good(&gone);
}

/// Two leaders at a time: each side of a partition reads its own write.
#[test]
fn a_split_brain_is_seen() {
    let history = [
        write(0, 0, 1, 0),
        write(1, 10, 20, 1),
        write(2, 10, 20, 2),
        read(1, 21, 22, Some(1)),
        read(2, 21, 22, Some(2)),
        read(1, 23, 24, Some(1)),
    ];
    assert_bad(&history, "> client ");
    assert!(check(&history[..4]).is_linearizable());
}

#[test]
fn conditions_are_judged_by_value_and_by_revision() {
    let put_if = |expected, value, answer| {
        call(1, 2, 3, Action::PutIf { expected: Expected::Value(expected), value }, Outcome::Ok(answer))
    };
    assert_good(&[write(0, 0, 1, 1), put_if(1, 2, Answer::DONE), read(0, 4, 5, Some(2))]);
    assert_good(&[write(0, 0, 1, 1), put_if(9, 2, Answer::ConditionFailed), read(0, 4, 5, Some(1))]);
    assert_good(&[put_if(9, 2, Answer::Missing)]);
    assert_bad(&[write(0, 0, 1, 1), put_if(9, 2, Answer::DONE)], "put_if 9 then 2");
    assert_bad(&[write(0, 0, 1, 1), put_if(1, 2, Answer::ConditionFailed)], "condition failed");
    // Two of a kind cannot both win.
    assert_bad(&[write(0, 0, 1, 1), put_if(1, 2, Answer::DONE), put_if(1, 3, Answer::DONE)], "put_if");

    let at = |time, revision, answer| {
        let action = Action::PutIf { expected: Expected::Revision(revision), value: 8 };
        call(1, time, time + 1, action, Outcome::Ok(answer))
    };
    let found = |time, revision| {
        call(2, time, time + 1, Action::Read, Outcome::Ok(Answer::Found { value: 1, revision: Some(revision) }))
    };
    assert_good(&[write(0, 0, 1, 1), found(2, 40), at(4, 40, Answer::DONE)]);
    assert_good(&[write(0, 0, 1, 1), found(2, 40), at(4, 39, Answer::ConditionFailed)]);
    assert_bad(&[write(0, 0, 1, 1), found(2, 40), at(4, 39, Answer::DONE)], "revision 39");
    assert_bad(&[write(0, 0, 1, 1), found(2, 40), found(4, 41)], "revision 41");
    // The same value again is another record, of a later revision.
    assert_good(&[write(0, 0, 1, 1), found(2, 40), write(0, 4, 5, 1), found(6, 41)]);
    assert_bad(&[write(0, 0, 1, 1), found(2, 40), write(0, 4, 5, 1), found(6, 39)], "revision 39");
}

#[test]
fn eventual_reads_are_not_judged() {
    let stale = call(1, 4, 5, Action::EventualRead, Outcome::Ok(Answer::found(Some(1))));
    assert_good(&[write(0, 0, 1, 1), write(0, 2, 3, 2), stale]);
}

#[test]
fn keys_are_judged_one_by_one() {
    let mut history = vec![write(0, 0, 1, 1), read(0, 2, 3, Some(1))];
    history.extend([write(0, 0, 1, 2), read(0, 2, 3, Some(1))].map(|call| Operation { key: "b".to_owned(), ..call }));
    assert!(matches!(check(&history), Verdict::Violation { key, .. } if key == "b"));
}

/// A hundred answers and one that is wrong: the explanation shows the few that matter.
#[test]
fn the_explanation_is_short() {
    let mut history: Vec<_> = (0..100)
        .flat_map(|n| [write(0, n * 10, n * 10 + 1, n as i64), read(1, n * 10 + 2, n * 10 + 3, Some(n as i64))])
        .collect();
    history.push(read(2, 504, 505, Some(3)));
    let Verdict::Violation { explanation, .. } = check(&history) else { panic!("the stale read was not seen") };
    println!("{explanation}");
    assert!(explanation.lines().count() < 16, "too long:\n{explanation}");
    assert!(
        explanation.contains("> client 2") && explanation.contains("write 3 ") && explanation.ends_with("there: 50")
    );
}

/// Twelve writers at once with a wrong read behind them: 12! orders, none of which explains it.
#[test]
fn what_costs_too_much_is_undecided() {
    let mut history: Vec<_> = (0..12).map(|n| write(n, 1, 10, n as i64)).collect();
    history.push(read(20, 11, 12, Some(99)));
    assert!(matches!(check_within(&history, 1000), Verdict::Undecided { steps: 1000, .. }));
    let start = Instant::now();
    assert!(check(&history).is_violation());
    println!("12 writers at once: {:?}", start.elapsed());
}

fn dice() -> Dice {
    Dice::from_environment("CONCORD_HISTORY_SEED")
}

/// Histories of a register that is right are good; with one answer changed most are bad, and none takes long.
#[test]
fn random_histories_are_told_apart() {
    let mut dice = dice();
    let (mut caught, mut undecided, rounds) = (0, 0, 400);
    for _ in 0..rounds {
        let shape =
            Shape { clients: 2 + dice.below(10) as usize, calls: 20 + dice.below(180) as usize, lost_percent: 5 };
        let mut history = random::history(&mut dice, &shape);
        let verdict = check(&history);
        assert!(verdict.is_linearizable(), "a good history was refused:\n{verdict}");
        let changed = random::change_one_answer(&mut dice, &mut history);
        match check_within(&history, 200_000) {
            Verdict::Violation { .. } => caught += 1,
            Verdict::Undecided { .. } => undecided += 1,
            Verdict::Linearizable => {}
        }
        assert!(changed, "every history has an answer to change");
    }
    println!("one changed answer: {caught} of {rounds} caught, {undecided} undecided");
    assert!(caught * 10 >= rounds * 7, "only {caught} of {rounds} caught");
    assert!(undecided * 50 <= rounds, "{undecided} of {rounds} undecided");
}

/// As many operations as a run of minutes leaves on one key.
#[test]
fn five_thousand_operations_take_a_moment() {
    let mut dice = dice();
    for (clients, lost_percent) in [(8, 0), (8, 2), (16, 0), (16, 2)] {
        let shape = Shape { clients, calls: 5000, lost_percent };
        let mut history = random::history(&mut dice, &shape);
        let start = Instant::now();
        let verdict = check(&history);
        let took = start.elapsed();
        assert!(verdict.is_linearizable(), "{clients} clients: {verdict}");
        random::change_one_answer(&mut dice, &mut history);
        let start = Instant::now();
        let changed = check(&history);
        let name = if changed.is_violation() { "caught" } else { "not caught" };
        println!(
            "{clients} clients, {lost_percent} % lost: {took:?}; one changed answer {name}: {:?}",
            start.elapsed()
        );
        assert!(took < Duration::from_secs(10), "{took:?} is too long");
    }
}

/// Small histories, most of them wrong: the search and the trial of every order agree.
#[test]
fn the_search_agrees_with_trying_every_order() {
    let mut dice = dice();
    let mut bad = 0;
    for _ in 0..20_000 {
        let shape = Shape { clients: 2 + dice.below(3) as usize, calls: 4 + dice.below(5) as usize, lost_percent: 35 };
        let mut history = random::history(&mut dice, &shape);
        for _ in 0..dice.below(3) {
            random::change_one_answer(&mut dice, &mut history);
        }
        let expected = random::try_every_order(&history);
        assert_eq!(check(&history).is_linearizable(), expected, "{history:#?}");
        bad += u64::from(!expected);
    }
    println!("20,000 small histories, {bad} of them bad");
    assert!((2_000..18_000).contains(&bad), "{bad} of 20,000 bad: the shape tells too little");
}
