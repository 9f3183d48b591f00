//! History: what clients asked, what they were told, and when.

use std::fmt;

/// One call of one client on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who called; only for people.
    pub client: usize,
    /// The key.
    pub key: String,
    /// What was asked.
    pub action: Action,
    /// When it was asked. Any unit, one clock for all clients.
    pub invoked: u64,
    /// When the outcome was known. An operation that returns before another is invoked precedes it; equal
    /// times order nothing. Without meaning when the outcome is unknown.
    pub returned: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Store a value.
    Write(i64),
    /// Read at a level that promises linearizability.
    Read,
    /// Read at a level that promises nothing; not judged.
    EventualRead,
    /// Remove the key.
    Delete,
    /// Store a value if the key is missing.
    PutNew(i64),
    /// Store a value if the record is the expected one.
    PutIf {
        /// What must be there.
        expected: Expected,
        /// What is stored then.
        value: i64,
    },
    /// Remove the key if the record is the expected one.
    DeleteIf(Expected),
    /// Add to the value; a missing key counts as 0.
    Increment(i64),
}

/// What a conditional write wants to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// This value.
    Value(i64),
    /// The record of this revision.
    Revision(u64),
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened and this was the answer; a refused condition is an answer too.
    Ok(Answer),
    /// It certainly did not happen.
    Fail,
    /// It may happen at any time after it was invoked, or never.
    Unknown,
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The write was done.
    Done {
        /// The revision that it made, when the answer tells.
        revision: Option<u64>,
    },
    /// The read found a record.
    Found {
        /// Its value.
        value: i64,
        /// Its revision, when the answer tells.
        revision: Option<u64>,
    },
    /// There is no such key.
    Missing,
    /// There is such a key.
    Exists,
    /// The record is not the expected one.
    ConditionFailed,
    /// The sum after an increment.
    Sum(i64),
}

impl Answer {
    /// The answer to a write that tells no revision.
    pub const DONE: Answer = Answer::Done { revision: None };

    /// Whether it tells what is there and nothing was changed.
    pub fn is_observation(self) -> bool {
        matches!(self, Answer::Found { .. } | Answer::Missing | Answer::Exists | Answer::ConditionFailed)
    }

    /// The answer to a read that tells no revision.
    pub fn found(value: Option<i64>) -> Answer {
        value.map_or(Answer::Missing, |value| Answer::Found { value, revision: None })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Write(value) => write!(f, "write {value}"),
            Action::Read => f.write_str("read"),
            Action::EventualRead => f.write_str("eventual read"),
            Action::Delete => f.write_str("delete"),
            Action::PutNew(value) => write!(f, "put_new {value}"),
            Action::PutIf { expected, value } => write!(f, "put_if {expected} then {value}"),
            Action::DeleteIf(expected) => write!(f, "delete_if {expected}"),
            Action::Increment(by) => write!(f, "increment {by}"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Value(value) => write!(f, "{value}"),
            Expected::Revision(revision) => write!(f, "revision {revision}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Fail => f.write_str("not done"),
            Outcome::Unknown => f.write_str("unknown"),
            Outcome::Ok(Answer::Done { revision: None }) => f.write_str("done"),
            Outcome::Ok(Answer::Done { revision: Some(revision) }) => write!(f, "done, revision {revision}"),
            Outcome::Ok(Answer::Found { value, revision: None }) => write!(f, "{value}"),
            Outcome::Ok(Answer::Found { value, revision: Some(revision) }) => write!(f, "{value}, revision {revision}"),
            Outcome::Ok(Answer::Missing) => f.write_str("missing"),
            Outcome::Ok(Answer::Exists) => f.write_str("exists"),
            Outcome::Ok(Answer::ConditionFailed) => f.write_str("condition failed"),
            Outcome::Ok(Answer::Sum(sum)) => write!(f, "{sum}"),
        }
    }
}
