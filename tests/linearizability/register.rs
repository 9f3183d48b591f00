//! Register: what one key holds, and what each action does to it.

use std::fmt;

use super::history::{Action, Answer, Expected};

/// What one key holds at a point of the order.
///
/// - A write whose answer tells no revision makes a record of an unknown one: later than `revision`, and fixed by the
///   first answer that tells it.
/// - Revisions only grow, over deletes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Register {
    value: Option<i64>,
    /// Of the record if `is_exact`, otherwise the last one that is known.
    revision: u64,
    is_exact: bool,
}

impl Register {
    /// A key that was never written.
    pub const MISSING: Register = Register { value: None, revision: 0, is_exact: false };

    /// The value, `None` when the key is missing.
    pub fn value(self) -> Option<i64> {
        self.value
    }

    /// What is there after the action, or `None` when it cannot have given this answer here. Without an answer:
    /// what is there when the action took effect, or `None` when it can have none here.
    pub fn step(self, action: Action, answer: Option<Answer>) -> Option<Register> {
        let Some(answer) = answer else { return self.effect(action) };
        match (action, answer) {
            (Action::Write(value), Answer::Done { revision }) => self.written(value, revision),
            (Action::PutNew(value), Answer::Done { revision }) if self.value.is_none() => self.written(value, revision),
            (Action::PutNew(_), Answer::Exists) => self.value.map(|_| self),
            (Action::PutIf { expected, value }, Answer::Done { revision }) => {
                self.matched(expected)?.written(value, revision)
            }
            (Action::DeleteIf(expected), Answer::Done { revision }) => self.matched(expected)?.removed(revision),
            (Action::PutIf { expected, .. } | Action::DeleteIf(expected), Answer::ConditionFailed) => {
                (self.value.is_some() && !self.surely_matches(expected)).then_some(self)
            }
            (Action::PutIf { .. } | Action::DeleteIf(_) | Action::Read, Answer::Missing) => {
                self.value.is_none().then_some(self)
            }
            (Action::Delete, Answer::Done { revision }) => self.removed(revision),
            (Action::Read, Answer::Found { value, revision }) if self.value == Some(value) => self.seen(revision),
            (Action::Increment(by), Answer::Sum(sum)) => {
                let register = self.effect(Action::Increment(by))?;
                (register.value == Some(sum)).then_some(register)
            }
            _ => None,
        }
    }

    /// Whether the action gives the same whatever was there before.
    pub fn overwrites(action: Action) -> bool {
        matches!(action, Action::Write(_) | Action::Delete)
    }

    fn effect(self, action: Action) -> Option<Register> {
        match action {
            Action::Write(value) => self.written(value, None),
            Action::PutNew(value) if self.value.is_none() => self.written(value, None),
            Action::PutIf { expected, value } => self.matched(expected)?.written(value, None),
            Action::DeleteIf(expected) => self.matched(expected)?.removed(None),
            Action::Delete if self.value.is_some() => self.removed(None),
            Action::Increment(by) => self.written(self.value.unwrap_or(0).checked_add(by)?, None),
            _ => None,
        }
    }

    fn written(self, value: i64, revision: Option<u64>) -> Option<Register> {
        match revision {
            Some(revision) if revision <= self.revision => None,
            Some(revision) => Some(Register { value: Some(value), revision, is_exact: true }),
            None => Some(Register { value: Some(value), revision: self.revision, is_exact: false }),
        }
    }

    /// The answer to a delete of a missing key may tell any revision: nothing was written.
    fn removed(self, revision: Option<u64>) -> Option<Register> {
        let grown = revision.filter(|_| self.value.is_some());
        if grown.is_some_and(|revision| revision <= self.revision) {
            return None;
        }
        Some(Register { value: None, revision: grown.unwrap_or(self.revision), is_exact: false })
    }

    fn seen(self, revision: Option<u64>) -> Option<Register> {
        match revision {
            Some(revision) if self.is_exact => (revision == self.revision).then_some(self),
            Some(revision) => (revision > self.revision).then_some(Register { revision, is_exact: true, ..self }),
            None => Some(self),
        }
    }

    fn matched(self, expected: Expected) -> Option<Register> {
        self.value?;
        match expected {
            Expected::Value(value) => (self.value == Some(value)).then_some(self),
            Expected::Revision(revision) => self.seen(Some(revision)),
        }
    }

    fn surely_matches(self, expected: Expected) -> bool {
        match expected {
            Expected::Value(value) => self.value == Some(value),
            Expected::Revision(revision) => self.is_exact && self.revision == revision,
        }
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            None => f.write_str("missing"),
            Some(value) if self.is_exact => write!(f, "{value} of revision {}", self.revision),
            Some(value) => write!(f, "{value}"),
        }
    }
}
