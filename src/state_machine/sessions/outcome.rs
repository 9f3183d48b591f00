//! Outcome: what became of one command, and its bytes for snapshots and for the node that sent it.
//!
//! ```text
//! outcome := 0  revision  |  1  value  revision  |  2  count  bits (8 a byte, low first)  |  3  code of the error kind
//! ```

use crate::encoding::wire::{WireReader, damaged, put_signed, put_varint};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::model::Reply;

/// What became of one command. Only kinds that every replica comes to.
pub(crate) type Outcome = Result<Reply, ErrorKind>;

const DONE: u8 = 0;
const INTEGER: u8 = 1;
const TOUCHED: u8 = 2;
const REFUSED: u8 = 3;

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
        Err(kind) => {
            out.push(REFUSED);
            put_varint(out, kind.code() as u64);
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
        REFUSED => {
            let code = i32::try_from(reader.varint()?).ok();
            match code.and_then(ErrorKind::from_code).filter(|kind| kind.is_deterministic()) {
                Some(kind) => Err(kind),
                None => return Err(damaged("an outcome with an error that no replica comes to")),
            }
        }
        _ => return Err(damaged("an outcome of an unknown kind")),
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
        samples.extend(ErrorKind::ALL.iter().filter(|kind| kind.is_deterministic()).map(|kind| Err(*kind)));
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
        for bytes in [&[][..], &[4], &[0], &[2, 9, 0xff], &[2, 0xf5, 3], &[3, timeout], &[3, 0], &[3, 250, 1]] {
            assert!(read_outcome(&mut WireReader::new(bytes)).is_err(), "{bytes:?}");
        }
    }
}
