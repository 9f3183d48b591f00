//! Explanation: shows people what is wrong with a history, and as little else as possible.

use std::fmt::Write as _;

use super::history::{Action, Answer, Operation, Outcome};
use super::search::{Calls, Found, search};

/// How many operations are shown beside those that overlap the wrong answer or wrote what it tells.
const EARLIER_MAX: usize = 8;
const REGISTERS_MAX: usize = 6;

/// Describes the shortest beginning of the history that no order explains: up to the answer that makes it wrong, the
/// operations that overlap it, those just before, and those that wrote what it tells.
pub fn explain(key: &str, operations: &[&Operation], steps_max: u64) -> String {
    let mut ends: Vec<u64> = Calls::of(operations).answered.iter().map(|call| call.operation.returned).collect();
    ends.sort_unstable();
    ends.dedup();
    // A beginning of a linearizable history is linearizable, so the first bad end is found by halves.
    let is_wrong = |end: &u64| matches!(search(&Calls::until(operations, *end), steps_max), Found::NoOrder { .. });
    let end = ends[ends.partition_point(|end| !is_wrong(end)).min(ends.len() - 1)];
    let Found::NoOrder { registers } = search(&Calls::until(operations, end), steps_max) else {
        return format!("key `{key}`: no order of its operations explains their answers");
    };
    let shown = shown_of(operations, end);
    let mut text = format!("key `{key}`: no order of its operations explains the answer marked >\n");
    let earlier = operations.iter().filter(|operation| operation.invoked <= end).count() - shown.len();
    if earlier > 0 {
        let _ = writeln!(text, "    ... {earlier} other operations");
    }
    for operation in shown {
        let _ = writeln!(text, "{}", line(operation, end));
    }
    let mut possible: Vec<String> = registers.iter().take(REGISTERS_MAX).map(ToString::to_string).collect();
    if registers.len() > REGISTERS_MAX {
        possible.push("...".to_owned());
    }
    let _ = write!(text, "    what the key can hold there: {}", possible.join(", "));
    text
}

fn is_culprit(operation: &Operation, end: u64) -> bool {
    operation.returned == end && matches!(operation.outcome, Outcome::Ok(_)) && operation.action != Action::EventualRead
}

fn shown_of<'a>(operations: &[&'a Operation], end: u64) -> Vec<&'a Operation> {
    let culprits = || operations.iter().filter(|operation| is_culprit(operation, end));
    let start = culprits().map(|culprit| culprit.invoked).min().unwrap_or(end);
    let told: Vec<i64> = culprits().filter_map(|culprit| value_told(culprit)).collect();
    let happened =
        |operation: &Operation| operation.invoked <= end && !matches!(operation.action, Action::EventualRead);
    let mut shown: Vec<&Operation> = operations
        .iter()
        .copied()
        .filter(|operation| happened(operation))
        .filter(|operation| {
            let overlaps = matches!(operation.outcome, Outcome::Ok(_)) && operation.returned >= start;
            overlaps || value_written(operation).is_some_and(|value| told.contains(&value))
        })
        .collect();
    let mut earlier: Vec<&Operation> = operations
        .iter()
        .copied()
        .filter(|operation| happened(operation) && operation.outcome != Outcome::Fail && operation.invoked < start)
        .filter(|operation| !shown.iter().any(|other| std::ptr::eq(*other, *operation)))
        .collect();
    earlier.sort_by_key(|operation| std::cmp::Reverse(operation.invoked));
    shown.extend(earlier.into_iter().take(EARLIER_MAX));
    shown.sort_by_key(|operation| operation.invoked);
    shown
}

fn value_told(operation: &Operation) -> Option<i64> {
    match operation.outcome {
        Outcome::Ok(Answer::Found { value, .. } | Answer::Sum(value)) => Some(value),
        _ => None,
    }
}

fn value_written(operation: &Operation) -> Option<i64> {
    match operation.action {
        Action::Write(value) | Action::PutNew(value) | Action::PutIf { value, .. } => Some(value),
        _ => None,
    }
}

fn line(operation: &Operation, end: u64) -> String {
    let mark = if is_culprit(operation, end) { '>' } else { ' ' };
    let (returned, outcome) = match operation.outcome {
        Outcome::Ok(_) | Outcome::Fail if operation.returned <= end => {
            (operation.returned.to_string(), operation.outcome.to_string())
        }
        Outcome::Unknown => ("?".to_owned(), "unknown".to_owned()),
        Outcome::Ok(_) | Outcome::Fail => (operation.returned.to_string(), "(not answered yet)".to_owned()),
    };
    let action = operation.action.to_string();
    format!(
        "  {mark} client {:<3} {:>12} .. {returned:<12} {action:<28} -> {outcome}",
        operation.client, operation.invoked
    )
}
