//! Random: histories of a register that does everything right, and small lies about them.

use crate::dice::Dice;
use crate::linearizability::register::Register;
use crate::linearizability::{Action, Answer, Expected, Operation, Outcome};

/// How large a history is.
pub struct Shape {
    pub clients: usize,
    pub calls: usize,
    /// Of a hundred calls so many have no answer; half of those never happen, the others whenever they like.
    pub lost_percent: u64,
}

/// A call that was made and has not happened yet.
struct Flight {
    happens: u64,
    index: usize,
}

/// What clients of a correct register see, each calling again soon after its answer.
pub fn history(dice: &mut Dice, shape: &Shape) -> Vec<Operation> {
    let mut free: Vec<u64> = (0..shape.clients).map(|_| dice.below(50)).collect();
    let mut operations = Vec::new();
    let mut flights = Vec::new();
    for n in 0..shape.calls {
        let client = (0..shape.clients).min_by_key(|client| free[*client]).expect("there are clients");
        let invoked = free[client];
        let happens = invoked + dice.below(60);
        let returned = happens + dice.below(60);
        free[client] = returned + 1 + dice.below(40);
        let lost = dice.below(100) < shape.lost_percent;
        let outcome = if lost { Outcome::Unknown } else { Outcome::Ok(Answer::DONE) };
        let action = action(dice, n as i64);
        operations.push(Operation { client, key: "k".to_owned(), action, invoked, returned, outcome });
        if !lost || dice.below(2) == 0 {
            let late = if lost { dice.below(30 * shape.calls as u64) } else { 0 };
            flights.push(Flight { happens: happens + late, index: n });
        }
    }
    flights.sort_by_key(|flight| flight.happens);
    let mut holds = None;
    let mut revision = 0;
    for Flight { happens, index } in flights {
        // A new revision is spent on whatever changes something.
        let before = holds;
        let answer = happen(&mut holds, &mut revision, operations[index].action, happens);
        debug_assert!(before == holds || !answer.is_observation());
        if operations[index].outcome != Outcome::Unknown {
            operations[index].outcome = Outcome::Ok(answer);
        }
    }
    operations
}

fn action(dice: &mut Dice, n: i64) -> Action {
    let recent = |dice: &mut Dice| n.saturating_sub(1 + dice.below(6) as i64).max(0);
    match dice.below(20) {
        0..=5 => Action::Write(n),
        6..=12 => Action::Read,
        13 => Action::Delete,
        14 => Action::PutNew(n),
        15 | 16 => Action::PutIf { expected: Expected::Value(recent(dice)), value: n },
        17 => Action::DeleteIf(Expected::Value(recent(dice))),
        18 => Action::PutIf { expected: Expected::Revision(recent(dice) as u64), value: n },
        _ => Action::Increment(1 + dice.below(3) as i64),
    }
}

/// A register written once more, as plainly as can be, so that it shares no mistake with the checker's.
fn happen(holds: &mut Option<(i64, u64)>, revision: &mut u64, action: Action, happens: u64) -> Answer {
    let tells_revision = happens.is_multiple_of(2);
    let matches = |expected: Expected, record: (i64, u64)| match expected {
        Expected::Value(value) => record.0 == value,
        Expected::Revision(revision) => record.1 == revision,
    };
    let held = *holds;
    let mut store = |value: Option<i64>| {
        *revision += 1;
        *holds = value.map(|value| (value, *revision));
        Answer::Done { revision: tells_revision.then_some(*revision) }
    };
    match (action, held) {
        (Action::Read | Action::EventualRead, Some((value, revision))) => {
            Answer::Found { value, revision: tells_revision.then_some(revision) }
        }
        (Action::Read | Action::EventualRead, None) => Answer::Missing,
        (Action::Write(value), _) => store(Some(value)),
        (Action::Delete, _) => store(None),
        (Action::PutNew(_), Some(_)) => Answer::Exists,
        (Action::PutNew(value), None) => store(Some(value)),
        (Action::PutIf { .. } | Action::DeleteIf(_), None) => Answer::Missing,
        (Action::PutIf { expected, value }, Some(record)) if matches(expected, record) => store(Some(value)),
        (Action::DeleteIf(expected), Some(record)) if matches(expected, record) => store(None),
        (Action::PutIf { .. } | Action::DeleteIf(_), Some(_)) => Answer::ConditionFailed,
        (Action::Increment(by), record) => {
            let sum = record.map_or(0, |(value, _)| value) + by;
            store(Some(sum));
            Answer::Sum(sum)
        }
    }
}

/// Tells one lie of the kind that a broken store tells. `false` when there is nothing to lie about.
pub fn change_one_answer(dice: &mut Dice, history: &mut [Operation]) -> bool {
    let calls = history.len();
    for _ in 0..10 * calls {
        let at = dice.below(calls as u64) as usize;
        let other = dice.below(calls as u64) as i64;
        let operation = &mut history[at];
        let Outcome::Ok(answer) = operation.outcome else { continue };
        let lie = match (operation.action, answer) {
            // Stale, or out of thin air.
            (Action::Read, Answer::Found { value, .. }) if value != other => Answer::found(Some(other)),
            (Action::Read, Answer::Missing) => Answer::found(Some(other)),
            // Acknowledged and lost, or refused and done.
            (Action::PutNew(_), Answer::Exists) => Answer::DONE,
            (Action::PutIf { .. }, Answer::Done { .. }) => Answer::ConditionFailed,
            (Action::PutIf { .. } | Action::DeleteIf(_), Answer::ConditionFailed) => Answer::DONE,
            // Applied twice.
            (Action::Increment(by), Answer::Sum(sum)) => Answer::Sum(sum + by),
            _ => continue,
        };
        operation.outcome = Outcome::Ok(lie);
        return true;
    }
    false
}

/// The definition, word by word: some order in which nobody comes after one that was invoked after its return.
pub fn try_every_order(history: &[Operation]) -> bool {
    extend(history, 0, Register::MISSING)
}

/// `placed` has a bit for each operation that has its place in the order.
fn extend(history: &[Operation], placed: u32, register: Register) -> bool {
    let must_be_placed = |n: usize| placed & (1 << n) == 0 && matches!(history[n].outcome, Outcome::Ok(_));
    let can_be_next = |n: usize| {
        placed & (1 << n) == 0
            && !(0..history.len()).any(|m| must_be_placed(m) && history[m].returned < history[n].invoked)
    };
    let leads_on = |n: usize| {
        let answer = match history[n].outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Unknown => None,
            Outcome::Fail => return false,
        };
        let after = register.step(history[n].action, answer);
        after.is_some_and(|after| extend(history, placed | (1 << n), after))
    };
    !(0..history.len()).any(must_be_placed) || (0..history.len()).any(|n| can_be_next(n) && leads_on(n))
}
