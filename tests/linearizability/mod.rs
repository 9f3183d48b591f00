//! Linearizability: judges a history of operations against a register, key by key.
//!
//! A history is linearizable when its operations can be put in one order in which each stands between its call and its
//! answer and each answer is what a register gives in that order (Herlihy and Wing 1990). The search is that of Wing
//! and Gong with the memory of Lowe, as in Porcupine. It is sound and complete; what costs too much is `Undecided`.
//!
//! Only the standard library is used, so that a simulation inside the crate can include it by its path.
#![allow(dead_code, unused_imports, reason = "each program that includes this uses its own part of it")]

mod bits;
mod explanation;
mod history;
pub mod register;
mod search;
mod wants;

use std::collections::BTreeMap;
use std::fmt;

pub use history::{Action, Answer, Expected, Operation, Outcome};
use search::{Calls, Found};

/// How many steps the search for one key may take unless the caller says so; about two seconds.
pub const STEPS_MAX: u64 = 2_000_000;

/// What the checker has to say about a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Each key has an order that explains every answer.
    Linearizable,
    /// This key has none.
    Violation {
        /// The first such key, in alphabetical order.
        key: String,
        /// The shortest beginning of the history that is wrong, for people to read.
        explanation: String,
    },
    /// The search for this key was given up, and no other key is wrong.
    Undecided {
        /// The key.
        key: String,
        /// How many steps were taken.
        steps: u64,
    },
}

impl Verdict {
    /// Whether the history is linearizable for sure.
    pub fn is_linearizable(&self) -> bool {
        *self == Verdict::Linearizable
    }

    /// Whether the history is wrong for sure.
    pub fn is_violation(&self) -> bool {
        matches!(self, Verdict::Violation { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Linearizable => f.write_str("linearizable"),
            Verdict::Violation { explanation, .. } => f.write_str(explanation),
            Verdict::Undecided { key, steps } => write!(f, "key `{key}`: undecided after {steps} steps"),
        }
    }
}

/// Judges a history in which every key is missing at first. Eventual reads and operations that certainly did
/// not happen are left aside; the order of the slice does not matter.
pub fn check(history: &[Operation]) -> Verdict {
    check_within(history, STEPS_MAX)
}

/// The same with at most that many steps for each key.
pub fn check_within(history: &[Operation], steps_max: u64) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut verdict = Verdict::Linearizable;
    for (key, operations) in keys {
        match search::search(&Calls::of(&operations), steps_max) {
            Found::Order => {}
            Found::NoOrder { .. } => {
                let explanation = explanation::explain(key, &operations, steps_max);
                return Verdict::Violation { key: key.to_owned(), explanation };
            }
            Found::TooMuch { steps } if verdict.is_linearizable() => {
                verdict = Verdict::Undecided { key: key.to_owned(), steps };
            }
            Found::TooMuch { .. } => {}
        }
    }
    verdict
}
