//! ProposeAnswer: what a node says to one that handed it a batch, as bytes.

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::state_machine::{Outcome, put_outcome, read_outcome};

/// What became of a batch that was handed to this node.
#[derive(Debug, PartialEq)]
pub(in crate::raft) enum ProposeAnswer {
    /// Committed and applied.
    Applied(Vec<Outcome>),
    /// Not done: another node leads, if one is known.
    NotLeader(Option<(u64, String)>),
    /// Not done: the session is not known.
    UnknownSession,
    /// It may be done.
    Unknown,
}

pub(in crate::raft) fn encode_answer(answer: &ProposeAnswer) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        ProposeAnswer::Applied(outcomes) => {
            out.push(0);
            put_varint(&mut out, outcomes.len() as u64);
            outcomes.iter().for_each(|outcome| put_outcome(&mut out, outcome));
        }
        ProposeAnswer::NotLeader(None) => out.push(1),
        ProposeAnswer::NotLeader(Some((node_id, address))) => {
            out.push(2);
            put_varint(&mut out, *node_id);
            put_bytes(&mut out, address.as_bytes());
        }
        ProposeAnswer::UnknownSession => out.push(3),
        ProposeAnswer::Unknown => out.push(4),
    }
    out
}

pub(in crate::raft) fn decode_answer(bytes: &[u8]) -> Result<ProposeAnswer> {
    let mut reader = WireReader::new(bytes);
    let answer = match reader.u8()? {
        0 => {
            let count = reader.count()?;
            ProposeAnswer::Applied((0..count).map(|_| read_outcome(&mut reader)).collect::<Result<_>>()?)
        }
        1 => ProposeAnswer::NotLeader(None),
        2 => ProposeAnswer::NotLeader(Some((reader.varint()?, reader.text()?))),
        3 => ProposeAnswer::UnknownSession,
        4 => ProposeAnswer::Unknown,
        _ => return Err(damaged("an unknown answer to a batch")),
    };
    reader.finish()?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::Reply;

    #[test]
    fn answers_come_back_as_they_went_and_damage_is_an_error() {
        let outcomes = vec![Ok(Reply::Done { revision: 300 }), Err(ErrorKind::NotFound.into())];
        let answers = [
            ProposeAnswer::Applied(outcomes),
            ProposeAnswer::NotLeader(None),
            ProposeAnswer::NotLeader(Some((7, "a:1".to_owned()))),
            ProposeAnswer::UnknownSession,
            ProposeAnswer::Unknown,
        ];
        for answer in answers {
            let bytes = encode_answer(&answer);
            assert_eq!(decode_answer(&bytes).unwrap(), answer);
            for at in 0..bytes.len() {
                assert!(decode_answer(&bytes[..at]).is_err());
            }
        }
    }
}
