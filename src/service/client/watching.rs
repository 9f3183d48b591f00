//! Watching: what clients and members say to each other about changes, as bytes.

use super::protocol::{put_option, read_option};
use crate::encoding::command::{put_selector, read_selector};
use crate::encoding::decode_notices;
use crate::encoding::event::{put_notice, put_position, read_position};
use crate::encoding::wire::{WireReader, damaged, put_varint};
use crate::error::Result;
use crate::model::{EventKinds, Notice, Position, Selector};

/// Asks for what has changed since, and to wait for it.
#[derive(Debug, PartialEq)]
pub(in crate::service) struct WatchRequest<'a> {
    /// Where to begin; `None` is the present.
    pub(in crate::service) position: Option<Position>,
    pub(in crate::service) kinds: EventKinds,
    pub(in crate::service) with_previous: bool,
    /// Most changes in the answer.
    pub(in crate::service) items_max: u64,
    /// How long to wait for the first of them.
    pub(in crate::service) wait_ms: u64,
    pub(in crate::service) selector: Selector<'a>,
}

impl<'a> WatchRequest<'a> {
    pub(in crate::service) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_option(&mut out, self.position.map(|position| position.revision));
        put_varint(&mut out, self.position.map_or(0, |position| u64::from(position.changes)));
        out.push(self.kinds.to_bits());
        out.push(u8::from(self.with_previous));
        put_varint(&mut out, self.items_max);
        put_varint(&mut out, self.wait_ms);
        put_selector(&mut out, &self.selector);
        out
    }

    pub(in crate::service) fn decode(bytes: &'a [u8]) -> Result<WatchRequest<'a>> {
        let mut reader = WireReader::new(bytes);
        let (revision, changes) = (read_option(&mut reader)?, reader.varint()?);
        let changes =
            u32::try_from(changes).map_err(|_| damaged("a position behind more changes than there can be"))?;
        let kinds = EventKinds::from_bits(reader.u8()?).ok_or_else(|| damaged("unknown kinds of changes"))?;
        let with_previous = reader.u8()? == 1;
        let request = WatchRequest {
            position: revision.map(|revision| Position { revision, changes }),
            kinds,
            with_previous,
            items_max: reader.varint()?,
            wait_ms: reader.varint()?,
            selector: read_selector(&mut reader)?,
        };
        reader.finish()?;
        Ok(request)
    }
}

/// What a member answers.
#[derive(Debug, PartialEq)]
pub(in crate::service) enum Watched {
    /// Changes, and the place behind all that were looked at.
    Taken { next: Position, notices: Vec<Notice> },
    /// This member no longer has the changes that were asked for.
    Compacted { oldest: u64 },
}

const TAKEN: u8 = 0;
const COMPACTED: u8 = 1;

impl Watched {
    pub(in crate::service) fn encode(&self) -> Vec<u8> {
        match self {
            Watched::Taken { next, notices } => {
                let mut out = vec![TAKEN];
                put_position(&mut out, *next);
                notices.iter().for_each(|notice| put_notice(&mut out, notice));
                out
            }
            Watched::Compacted { oldest } => {
                let mut out = vec![COMPACTED];
                put_varint(&mut out, *oldest);
                out
            }
        }
    }

    pub(in crate::service) fn decode(bytes: &[u8]) -> Result<Watched> {
        let mut reader = WireReader::new(bytes);
        match reader.u8()? {
            TAKEN => {
                let next = read_position(&mut reader)?;
                Ok(Watched::Taken { next, notices: decode_notices(reader.rest())? })
            }
            COMPACTED => {
                let oldest = reader.varint()?;
                reader.finish()?;
                Ok(Watched::Compacted { oldest })
            }
            _ => Err(damaged("an answer about changes of an unknown kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::encode_notices;
    use crate::model::EventKind;

    #[test]
    fn everything_comes_back_as_it_went_and_damage_never_panics() {
        let request = WatchRequest {
            position: Some(Position { revision: 300, changes: 2 }),
            kinds: EventKinds::of(&[EventKind::Delete]),
            with_previous: true,
            items_max: 500,
            wait_ms: 5_000,
            selector: Selector { prefix: Some(b"a"), filter: Some("true"), ..Selector::default() },
        };
        let encoded = request.encode();
        let now = WatchRequest { position: None, ..WatchRequest::decode(&encoded).unwrap() };
        assert_eq!(WatchRequest::decode(&encoded).unwrap(), request);
        assert_eq!(WatchRequest::decode(&now.encode()).unwrap(), now);
        let notices = vec![Notice::Progress { revision: 5 }, Notice::Gap { from_revision: 6, resume_revision: 7 }];
        assert_eq!(decode_notices(&encode_notices(&notices)).unwrap(), notices);
        let taken = Watched::Taken { next: Position { revision: 301, changes: 7 }, notices };
        let compacted = Watched::Compacted { oldest: 300 };
        for answer in [&taken, &compacted] {
            assert_eq!(Watched::decode(&answer.encode()).unwrap(), *answer);
        }
        for message in [request.encode(), taken.encode(), compacted.encode()] {
            for at in 0..message.len() {
                for change in [1u8, 0x80, 0xff] {
                    let mut damaged = message.clone();
                    damaged[at] ^= change;
                    for bytes in [&damaged[..], &damaged[..at]] {
                        let _ = WatchRequest::decode(bytes);
                        let _ = Watched::decode(bytes);
                    }
                }
            }
        }
    }
}
