//! Wants: which contents of a key would let the search go on.
//!
//! A call of unknown outcome helps only when it, or other such calls after it, leave something that an answered call
//! tells of and that is not there now. Everything else is not worth a try.

use super::history::{Action, Answer, Expected};

/// What would help. Errs on the side of too much.
#[derive(Default)]
pub struct Wants {
    any_value: bool,
    missing: bool,
    values: Vec<i64>,
    /// How far open increments can move a value down and up.
    down: i64,
    up: i64,
}

impl Wants {
    /// Takes in an answered call that could come next if something else were there.
    pub fn add_answered(&mut self, action: Action, answer: Answer) {
        match (action, answer) {
            (Action::Read, Answer::Found { value, .. }) => self.values.push(value),
            (Action::Read | Action::PutIf { .. } | Action::DeleteIf(_), Answer::Missing)
            | (Action::PutNew(_), Answer::Done { .. }) => self.missing = true,
            // Of a missing key it may tell any revision, which then says nothing of those that follow.
            (Action::Delete, Answer::Done { revision }) => self.missing |= revision.is_some(),
            (Action::Increment(by), Answer::Sum(sum)) => {
                self.values.extend(sum.checked_sub(by));
                self.missing |= sum == by;
            }
            (Action::PutIf { expected, .. } | Action::DeleteIf(expected), Answer::Done { .. }) => {
                self.add_expected(expected);
            }
            _ => self.any_value = true,
        }
    }

    /// Takes in what open calls could build on to get there.
    pub fn add_open<'a>(&mut self, open: impl Iterator<Item = &'a Action> + Clone) {
        for action in open.clone() {
            if let Action::Increment(by) = action {
                self.down = self.down.saturating_add((*by).min(0));
                self.up = self.up.saturating_add((*by).max(0));
            }
        }
        loop {
            let before = (self.any_value, self.missing, self.values.len());
            for action in open.clone() {
                match *action {
                    Action::PutIf { expected, value } if self.holds(Some(value)) => self.add_expected(expected),
                    Action::DeleteIf(expected) if self.missing => self.add_expected(expected),
                    Action::PutNew(value) if self.holds(Some(value)) => self.missing = true,
                    Action::Increment(_) if self.holds(Some(0)) => self.missing = true,
                    _ => {}
                }
            }
            if before == (self.any_value, self.missing, self.values.len()) {
                return;
            }
        }
    }

    /// Whether this content would help.
    pub fn holds(&self, content: Option<i64>) -> bool {
        let Some(value) = content else { return self.missing };
        let reaches =
            |wanted: &i64| (wanted.saturating_sub(self.up)..=wanted.saturating_sub(self.down)).contains(&value);
        self.any_value || self.values.iter().any(reaches)
    }

    fn add_expected(&mut self, expected: Expected) {
        match expected {
            Expected::Value(value) if !self.values.contains(&value) => self.values.push(value),
            Expected::Value(_) => {}
            Expected::Revision(_) => self.any_value = true,
        }
    }
}
