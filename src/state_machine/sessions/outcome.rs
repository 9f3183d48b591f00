//! Outcome: what became of one command, and its bytes for snapshots and for the node that sent it.
//!
//! ```text
//! outcome := 0  revision  |  1  value  revision  |  2  count  bits (8 a byte, low first)  |  3  code of the error kind
//!          |  4  succeeded (1)  revision  count  result*  |  5  place (1)  number  code of the error kind
//! result  := 0  |  1  integer  |  2  |  3  revision  ttl_ms (0: none)  value
//! ```

use std::borrow::Cow;

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_signed, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::model::{RecordView, Reply, StepReply, TransactionReply};

/// What became of one command. Only kinds that every replica comes to.
pub(crate) type Outcome = Result<Reply, Refusal>;

/// Why a command was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) place: Place,
}

/// What of a command was the reason. Places count from 0; people are told from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Whole,
    Compare(usize),
    Then(usize),
    Otherwise(usize),
    IdempotencyKey,
}

impl From<ErrorKind> for Refusal {
    fn from(kind: ErrorKind) -> Refusal {
        Refusal { kind, place: Place::Whole }
    }
}

impl From<Refusal> for Error {
    fn from(Refusal { kind, place }: Refusal) -> Error {
        let usual = Error::from(kind);
        let of = |what: &str, at: usize| {
            Error::new(kind, format!("{what} {}: {}; nothing was done", at + 1, usual.message()))
        };
        match place {
            Place::Whole => usual,
            Place::Compare(at) => of("compare", at),
            Place::Then(at) => of("`then`, operation", at),
            Place::Otherwise(at) => of("`else`, operation", at),
            Place::IdempotencyKey => {
                let message = "the idempotency key was used for another transaction; nothing was done, take a new key";
                Error::new(kind, message)
            }
        }
    }
}

const DONE: u8 = 0;
const INTEGER: u8 = 1;
const TOUCHED: u8 = 2;
const REFUSED: u8 = 3;
const TRANSACTION: u8 = 4;
const REFUSED_AT: u8 = 5;

const STEP_DONE: u8 = 0;
const STEP_INTEGER: u8 = 1;
const STEP_MISSING: u8 = 2;
const STEP_RECORD: u8 = 3;

const COMPARE: u8 = 0;
const THEN: u8 = 1;
const OTHERWISE: u8 = 2;
const IDEMPOTENCY_KEY: u8 = 3;

pub(crate) fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Ok(Reply::Done { revision }) => {
            out.push(DONE);
            put_varint(out, *revision);
        }
        Ok(Reply::Integer { value, revision }) => {
            out.push(INTEGER);
            put_signed(out, *value);
            put_varint(out, *revision);
        }
        Ok(Reply::Touched { found }) => {
            out.push(TOUCHED);
            put_varint(out, found.len() as u64);
            let bits = |eight: &[bool]| (0..).zip(eight).fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at);
            out.extend(found.chunks(8).map(bits));
        }
        Ok(Reply::Transaction(reply)) => {
            out.push(TRANSACTION);
            out.push(u8::from(reply.succeeded));
            put_varint(out, reply.revision);
            put_varint(out, reply.results.len() as u64);
            reply.results.iter().for_each(|result| put_result(out, result));
        }
        Err(Refusal { kind, place }) => {
            let at = match *place {
                Place::Whole => None,
                Place::Compare(at) => Some((COMPARE, at)),
                Place::Then(at) => Some((THEN, at)),
                Place::Otherwise(at) => Some((OTHERWISE, at)),
                Place::IdempotencyKey => Some((IDEMPOTENCY_KEY, 0)),
            };
            out.push(if at.is_none() { REFUSED } else { REFUSED_AT });
            if let Some((place, at)) = at {
                out.push(place);
                put_varint(out, at as u64);
            }
            put_varint(out, kind.code() as u64);
        }
    }
}

fn put_result(out: &mut Vec<u8>, result: &StepReply) {
    match result {
        StepReply::Done => out.push(STEP_DONE),
        StepReply::Integer(integer) => {
            out.push(STEP_INTEGER);
            put_signed(out, *integer);
        }
        StepReply::Record(None) => out.push(STEP_MISSING),
        StepReply::Record(Some(record)) => {
            out.push(STEP_RECORD);
            put_varint(out, record.revision);
            put_varint(out, record.ttl_ms.unwrap_or(0));
            put_bytes(out, &record.value);
        }
    }
}

/// One outcome of those that [`put_outcome`] wrote; `corrupt` when it is none.
pub(crate) fn read_outcome(reader: &mut WireReader<'_>) -> Result<Outcome> {
    Ok(match reader.u8()? {
        DONE => Ok(Reply::Done { revision: reader.varint()? }),
        INTEGER => Ok(Reply::Integer { value: reader.signed()?, revision: reader.varint()? }),
        TOUCHED => {
            let count = reader.varint()?;
            if count > limits::BATCH_OPS_MAX as u64 {
                return Err(damaged("an outcome of more keys than one operation may have"));
            }
            let mut found = Vec::with_capacity(count as usize);
            let mut byte = 0;
            for at in 0..count as usize {
                byte = if at % 8 == 0 { reader.u8()? } else { byte >> 1 };
                found.push(byte & 1 == 1);
            }
            Ok(Reply::Touched { found })
        }
        TRANSACTION => Ok(Reply::Transaction(read_reply(reader)?)),
        REFUSED => Err(read_kind(reader)?.into()),
        REFUSED_AT => {
            let place = match (reader.u8()?, reader.varint()?) {
                (_, at) if at >= limits::TXN_OPS_MAX as u64 => None,
                (COMPARE, at) => Some(Place::Compare(at as usize)),
                (THEN, at) => Some(Place::Then(at as usize)),
                (OTHERWISE, at) => Some(Place::Otherwise(at as usize)),
                (IDEMPOTENCY_KEY, 0) => Some(Place::IdempotencyKey),
                _ => None,
            };
            let place = place.ok_or_else(|| damaged("an outcome that is about no part of a transaction"))?;
            Err(Refusal { kind: read_kind(reader)?, place })
        }
        _ => return Err(damaged("an outcome of an unknown kind")),
    })
}

fn read_kind(reader: &mut WireReader<'_>) -> Result<ErrorKind> {
    let code = i32::try_from(reader.varint()?).ok();
    let kind = code.and_then(ErrorKind::from_code).filter(|kind| kind.is_deterministic());
    kind.ok_or_else(|| damaged("an outcome with an error that no replica comes to"))
}

fn read_reply(reader: &mut WireReader<'_>) -> Result<TransactionReply> {
    let succeeded = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(damaged("a transaction that neither succeeded nor did not")),
    };
    let revision = reader.varint()?;
    let count = reader.count()?;
    if count > limits::TXN_OPS_MAX {
        return Err(damaged("an outcome of more operations than a transaction may have"));
    }
    let results = (0..count).map(|_| read_result(reader)).collect::<Result<_>>()?;
    Ok(TransactionReply { succeeded, revision, results })
}

fn read_result(reader: &mut WireReader<'_>) -> Result<StepReply> {
    Ok(match reader.u8()? {
        STEP_DONE => StepReply::Done,
        STEP_INTEGER => StepReply::Integer(reader.signed()?),
        STEP_MISSING => StepReply::Record(None),
        STEP_RECORD => {
            let (revision, ttl_ms) = (reader.varint()?, reader.varint()?);
            let value = Cow::Owned(reader.bytes()?.to_vec());
            StepReply::Record(Some(RecordView { value, revision, ttl_ms: Some(ttl_ms).filter(|ttl_ms| *ttl_ms != 0) }))
        }
        _ => return Err(damaged("an unknown result of an operation")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Outcome> {
        let touched = |count: usize| Ok(Reply::Touched { found: (0..count).map(|at| at % 3 == 0).collect() });
        let mut samples = vec![
            Ok(Reply::Done { revision: 0 }),
            Ok(Reply::Done { revision: u64::MAX }),
            Ok(Reply::Integer { value: i64::MIN, revision: 300 }),
            touched(0),
            touched(7),
            touched(8),
            touched(500),
        ];
        samples.extend(ErrorKind::ALL.iter().filter(|kind| kind.is_deterministic()).map(|kind| Err((*kind).into())));
        let record = |ttl_ms| RecordView { value: Cow::Borrowed(&[0x63, b'a', b'b', b'c']), revision: 300, ttl_ms };
        let results = vec![
            StepReply::Done,
            StepReply::Integer(i64::MIN),
            StepReply::Record(None),
            StepReply::Record(Some(record(None))),
            StepReply::Record(Some(record(Some(1)))),
        ];
        for (succeeded, results) in [(true, results), (false, vec![StepReply::Done; 128]), (true, Vec::new())] {
            samples.push(Ok(Reply::Transaction(TransactionReply { succeeded, revision: 9, results })));
        }
        let places = [Place::Compare(0), Place::Then(127), Place::Otherwise(3), Place::IdempotencyKey];
        samples.extend(places.map(|place| Err(Refusal { kind: ErrorKind::NotAnInteger, place })));
        samples
    }

    #[test]
    fn every_outcome_comes_back_as_it_went() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|outcome| put_outcome(&mut bytes, outcome));
        let mut reader = WireReader::new(&bytes);
        for outcome in samples() {
            assert_eq!(read_outcome(&mut reader).unwrap(), outcome);
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_no_outcome_is_refused() {
        let timeout = ErrorKind::Timeout.code() as u8;
        for bytes in [
            &[][..],
            &[4],
            &[0],
            &[2, 9, 0xff],
            &[2, 0xf5, 3],
            &[3, timeout],
            &[3, 0],
            &[3, 250, 1],
            &[4],
            &[4, 2, 0, 0],
            &[4, 1, 0, 1],
            &[4, 1, 0, 1, 4],
            &[4, 1, 0, 1, 3, 0, 0, 5],
            &[4, 1, 0, 129, 1],
            &[5, 4, 0, 17],
            &[5, 1, 0x80, 1, 17],
            &[5, 3, 1, 17],
            &[5, 0, 0, 1],
        ] {
            assert!(read_outcome(&mut WireReader::new(bytes)).is_err(), "{bytes:?}");
        }
    }
}
