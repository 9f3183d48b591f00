//! Caller: performs one operation of a history through a client and tells what came of it.

use concord_kv::{
    Compress, Concord, Condition, Consistency, Error, ErrorKind, ReadOptions, Reply, Result, Value, Write,
    decode_value, encode_value,
};

use crate::linearizability::{Action, Answer, Expected, Outcome};

/// Longest wait for an answer. Far beyond an election, so that a call that fails has a reason.
pub const TIMEOUT_MS: u64 = 3_000;

/// Performs an action; a read at this level.
pub fn perform(client: &Concord, key: &str, action: Action, level: Consistency) -> Result<Answer> {
    match action {
        Action::Read => read(client, key, level),
        Action::EventualRead => read(client, key, Consistency::Eventual),
        Action::Write(value) => put(client, key, value, Condition::Always),
        Action::PutNew(value) => put(client, key, value, Condition::Absent),
        Action::PutIf { expected, value } => with(expected, |condition| put(client, key, value, condition)),
        Action::Delete => delete(client, key, Condition::Always),
        Action::DeleteIf(expected) => with(expected, |condition| delete(client, key, condition)),
        Action::Increment(by) => call(client, Write::Increment { key: key.as_bytes(), by, initial: 0, ttl_ms: None }),
    }
}

/// What an answer means for the history. Only an error that says so means that nothing was done.
pub fn outcome(answer: &Result<Answer>) -> Outcome {
    match answer.as_ref().map_err(Error::kind) {
        Ok(answer) => Outcome::Ok(*answer),
        Err(ErrorKind::NotFound) => Outcome::Ok(Answer::Missing),
        Err(ErrorKind::AlreadyExists) => Outcome::Ok(Answer::Exists),
        Err(ErrorKind::ConditionFailed) => Outcome::Ok(Answer::ConditionFailed),
        Err(ErrorKind::Timeout | ErrorKind::ClusterNotReady) => Outcome::Fail,
        Err(_) => Outcome::Unknown,
    }
}

fn read(client: &Concord, key: &str, level: Consistency) -> Result<Answer> {
    let options = ReadOptions { consistency: Some(level), timeout_ms: Some(TIMEOUT_MS) };
    let record = client.kv().read(key.as_bytes(), &options, |record| (decode_value(&record.value), record.revision))?;
    match record {
        None => Ok(Answer::Missing),
        Some((value, revision)) => Ok(Answer::Found { value: integer(&value?)?, revision: Some(revision) }),
    }
}

fn put(client: &Concord, key: &str, value: i64, condition: Condition<'_>) -> Result<Answer> {
    let value = encode_value(&value.into())?;
    let write =
        Write::Put { key: key.as_bytes(), value: &value, ttl_ms: None, condition, compress: Compress::default() };
    call(client, write)
}

fn delete(client: &Concord, key: &str, condition: Condition<'_>) -> Result<Answer> {
    call(client, Write::Delete { key: key.as_bytes(), condition })
}

fn call(client: &Concord, write: Write<'_>) -> Result<Answer> {
    match client.kv().call(write, Some(TIMEOUT_MS))? {
        Reply::Done { revision } => Ok(Answer::Done { revision: Some(revision) }),
        Reply::Integer { value, .. } => Ok(Answer::Sum(value)),
        Reply::Touched { .. } | Reply::Transaction(_) => Err(ErrorKind::Internal.into()),
    }
}

fn with(expected: Expected, f: impl FnOnce(Condition<'_>) -> Result<Answer>) -> Result<Answer> {
    match expected {
        Expected::Revision(revision) => f(Condition::Revision(revision)),
        Expected::Value(value) => f(Condition::Expected(&encode_value(&value.into())?)),
    }
}

fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Int(value) => i64::try_from(*value).map_err(|error| Error::new(ErrorKind::Internal, error.to_string())),
        other => Err(Error::new(ErrorKind::Internal, format!("nobody wrote {other:?}"))),
    }
}
