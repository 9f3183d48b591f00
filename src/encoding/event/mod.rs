//! Notices as bytes: what members tell clients that watch, and what programs in other languages may be handed.
//!
//! ```text
//! notice   := event  |  16 revision  |  17 from_revision resume_revision           progress, gap
//! event    := kind (1)  parts (1)  revision  next_revision  next_changes  time_ms  deadline_ms (0: none)
//!             key  [value]  [previous]
//! ```
//! `kind` is [`EventKind::code`]. Of `parts` the bits say, low first: there is a value, there is a previous value, the command
//! was one over several keys. Integers are LEB128, byte strings carry their length, values are encoded (CBOR).

mod json;

pub use json::notice_to_json;

use super::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::model::{EventKind, EventView, Notice, Position};

const PROGRESS: u8 = 16;
const GAP: u8 = 17;

const HAS_VALUE: u8 = 1;
const HAS_PREVIOUS: u8 = 1 << 1;
const IS_BULK: u8 = 1 << 2;

/// Notices one after the other as bytes, for programs in other languages.
///
/// ```
/// use concord_kv::{Notice, decode_notices, encode_notices};
/// let notices = [Notice::Progress { revision: 7 }, Notice::Gap { from_revision: 8, resume_revision: 300 }];
/// assert_eq!(decode_notices(&encode_notices(&notices))?, notices);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn encode_notices(notices: &[Notice]) -> Vec<u8> {
    let mut out = Vec::new();
    notices.iter().for_each(|notice| put_notice(&mut out, notice));
    out
}

/// Reads what [`encode_notices`] wrote.
///
/// # Errors
/// `corrupt` for other bytes.
pub fn decode_notices(bytes: &[u8]) -> Result<Vec<Notice>> {
    let (mut reader, mut notices) = (WireReader::new(bytes), Vec::new());
    while !reader.is_empty() {
        notices.push(read_notice(&mut reader)?);
    }
    Ok(notices)
}

/// Appends one notice.
pub(crate) fn put_notice(out: &mut Vec<u8>, notice: &Notice) {
    match notice {
        Notice::Event(event) => put_event(out, &event.view()),
        Notice::Progress { revision } => {
            out.push(PROGRESS);
            put_varint(out, *revision);
        }
        Notice::Gap { from_revision, resume_revision } => {
            out.push(GAP);
            put_varint(out, *from_revision);
            put_varint(out, *resume_revision);
        }
    }
}

fn put_event(out: &mut Vec<u8>, event: &EventView<'_>) {
    let part = |bit: u8, is_there: bool| if is_there { bit } else { 0 };
    out.push(event.kind.code());
    out.push(
        part(HAS_VALUE, event.value.is_some())
            | part(HAS_PREVIOUS, event.previous.is_some())
            | part(IS_BULK, event.is_bulk),
    );
    put_varint(out, event.revision);
    put_position(out, event.next);
    put_varint(out, event.time_ms);
    put_varint(out, event.deadline_ms.unwrap_or(0));
    put_bytes(out, event.key);
    [event.value, event.previous].into_iter().flatten().for_each(|value| put_bytes(out, value));
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: Position) {
    put_varint(out, position.revision);
    put_varint(out, u64::from(position.changes));
}

pub(crate) fn read_position(reader: &mut WireReader<'_>) -> Result<Position> {
    let (revision, changes) = (reader.varint()?, reader.varint()?);
    let changes = u32::try_from(changes).map_err(|_| damaged("a position behind more changes than there can be"))?;
    Ok(Position { revision, changes })
}

fn read_notice(reader: &mut WireReader<'_>) -> Result<Notice> {
    match reader.u8()? {
        PROGRESS => Ok(Notice::Progress { revision: reader.varint()? }),
        GAP => Ok(Notice::Gap { from_revision: reader.varint()?, resume_revision: reader.varint()? }),
        kind => {
            let kind = EventKind::ALL.into_iter().find(|known| known.code() == kind);
            let kind = kind.ok_or_else(|| damaged("a notice of an unknown kind"))?;
            Ok(Notice::Event(read_event(reader, kind)?.to_event()))
        }
    }
}

fn read_event<'a>(reader: &mut WireReader<'a>, kind: EventKind) -> Result<EventView<'a>> {
    let parts = reader.u8()?;
    if parts & !(HAS_VALUE | HAS_PREVIOUS | IS_BULK) != 0 {
        return Err(damaged("an event with unknown parts"));
    }
    let (revision, next, time_ms) = (reader.varint()?, read_position(reader)?, reader.varint()?);
    let deadline_ms = Some(reader.varint()?).filter(|deadline_ms| *deadline_ms != 0);
    let key = reader.bytes()?;
    let mut value = |bit: u8| if parts & bit != 0 { reader.bytes().map(Some) } else { Ok(None) };
    let (value, previous) = (value(HAS_VALUE)?, value(HAS_PREVIOUS)?);
    let is_bulk = parts & IS_BULK != 0;
    Ok(EventView { kind, revision, next, time_ms, is_bulk, key, value, previous, deadline_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Event;

    /// As it is for ever: one notice a line in hex.
    const GOLDEN: &str = include_str!("../../../tests/golden/notices_v1.txt");

    fn samples() -> Vec<Notice> {
        let event = |kind, value: Option<&[u8]>, previous: Option<&[u8]>, next, is_bulk| {
            Notice::Event(Event {
                kind,
                revision: 300,
                next,
                time_ms: 1_600_000_000_000,
                is_bulk,
                key: b"user:1".to_vec(),
                value: value.map(<[u8]>::to_vec),
                previous: previous.map(<[u8]>::to_vec),
                deadline_ms: (kind == EventKind::Touch).then_some(1_600_000_060_000),
            })
        };
        let (one, two) = (Some(&b"\x01"[..]), Some(&b"\x63two"[..]));
        vec![
            event(EventKind::Put, one, None, Position::before(301), false),
            event(EventKind::Put, two, one, Position { revision: 300, changes: 1 }, true),
            event(EventKind::Touch, two, two, Position::before(301), false),
            event(EventKind::Delete, None, two, Position::before(301), false),
            event(EventKind::Expire, None, None, Position::before(301), true),
            event(EventKind::State, Some(b""), None, Position::before(400), false),
            Notice::Progress { revision: 300 },
            Notice::Gap { from_revision: 1, resume_revision: 300 },
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn notices_are_written_and_read_as_they_were_for_ever() {
        let written: String =
            samples().iter().map(|notice| hex(&encode_notices(std::slice::from_ref(notice))) + "\n").collect();
        assert_eq!(written, GOLDEN);
        assert_eq!(decode_notices(&encode_notices(&samples())).unwrap(), samples());
    }

    #[test]
    fn damage_is_refused_and_never_panics() {
        let message = encode_notices(&samples());
        for at in 0..message.len() {
            for change in [1u8, 0x40, 0x80, 0xff] {
                let mut damaged = message.clone();
                damaged[at] ^= change;
                let _ = decode_notices(&damaged);
                let _ = decode_notices(&damaged[..at]);
            }
        }
        assert!(decode_notices(&[5]).is_err() && decode_notices(&[0, 8]).is_err() && decode_notices(&[16]).is_err());
    }
}
