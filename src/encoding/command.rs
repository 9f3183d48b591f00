//! Commands as bytes: what a log entry carries. A fixed layout of ours, versioned by its batch's first byte.
//!
//! ```text
//! command := operation (1)  stamp_ms  fields
//! ```
//! Integers are LEB128, byte strings carry their length, an absent deadline is 0.

use super::batch::BatchHeader;
use super::wire::{WireReader, damaged, put_bytes, put_signed, put_varint};
use crate::error::Result;
use crate::limits;
use crate::model::{Command, Condition, Operation, PutItem};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TOUCH: u8 = 3;
const INCREMENT: u8 = 4;
const PUT_MANY: u8 = 5;
const DELETE_MANY: u8 = 6;
const TOUCH_MANY: u8 = 7;
const EXPIRE: u8 = 8;
const OPEN_SESSION: u8 = 9;

const ALWAYS: u8 = 0;
const ABSENT: u8 = 1;
const REVISION: u8 = 2;
const EXPECTED: u8 = 3;

/// Appends one command to a payload, which [`put_batch_header`](super::batch::put_batch_header) began.
pub(crate) fn put_command(out: &mut Vec<u8>, command: &Command<'_>) {
    let mut head = |operation: u8| {
        out.push(operation);
        put_varint(out, command.stamp_ms);
    };
    match &command.operation {
        Operation::Put { item, condition } => {
            head(PUT);
            put_condition(out, condition);
            put_item(out, item);
        }
        Operation::Delete { key, condition } => {
            head(DELETE);
            put_condition(out, condition);
            put_bytes(out, key);
        }
        Operation::Touch { key, deadline_ms } => {
            head(TOUCH);
            put_bytes(out, key);
            put_varint(out, *deadline_ms);
        }
        Operation::Increment { key, by, initial, deadline_ms } => {
            head(INCREMENT);
            put_bytes(out, key);
            put_signed(out, *by);
            put_signed(out, *initial);
            put_varint(out, deadline_ms.unwrap_or(0));
        }
        Operation::PutMany(items) => {
            head(PUT_MANY);
            put_varint(out, items.len() as u64);
            items.iter().for_each(|item| put_item(out, item));
        }
        Operation::DeleteMany(keys) => {
            head(DELETE_MANY);
            put_varint(out, keys.len() as u64);
            keys.iter().for_each(|key| put_bytes(out, key));
        }
        Operation::TouchMany(items) => {
            head(TOUCH_MANY);
            put_varint(out, items.len() as u64);
            for (key, deadline_ms) in items {
                put_bytes(out, key);
                put_varint(out, *deadline_ms);
            }
        }
        Operation::Expire { up_to_ms } => {
            head(EXPIRE);
            put_varint(out, *up_to_ms);
        }
        Operation::OpenSession => head(OPEN_SESSION),
    }
}

fn put_item(out: &mut Vec<u8>, item: &PutItem<'_>) {
    put_bytes(out, item.key);
    put_varint(out, item.deadline_ms.unwrap_or(0));
    put_bytes(out, item.stored);
}

fn put_condition(out: &mut Vec<u8>, condition: &Condition<'_>) {
    match condition {
        Condition::Always => out.push(ALWAYS),
        Condition::Absent => out.push(ABSENT),
        Condition::Revision(revision) => {
            out.push(REVISION);
            put_varint(out, *revision);
        }
        Condition::Expected(value) => {
            out.push(EXPECTED);
            put_bytes(out, value);
        }
    }
}

/// The commands of one entry's payload, in order, borrowed from it.
pub(crate) struct Commands<'a> {
    header: BatchHeader,
    reader: WireReader<'a>,
}

impl<'a> Commands<'a> {
    /// Refuses a payload of another version.
    pub(crate) fn of(payload: &'a [u8]) -> Result<Commands<'a>> {
        let mut reader = WireReader::new(payload);
        Ok(Commands { header: BatchHeader::read(&mut reader)?, reader })
    }

    pub(crate) fn header(&self) -> BatchHeader {
        self.header
    }

    fn command(&mut self) -> Result<Command<'a>> {
        let reader = &mut self.reader;
        let operation = reader.u8()?;
        let stamp_ms = reader.varint()?;
        let operation = match operation {
            PUT => {
                let condition = condition(reader)?;
                Operation::Put { item: item(reader)?, condition }
            }
            DELETE => {
                let condition = condition(reader)?;
                Operation::Delete { key: reader.bytes()?, condition }
            }
            TOUCH => Operation::Touch { key: reader.bytes()?, deadline_ms: reader.varint()? },
            INCREMENT => Operation::Increment {
                key: reader.bytes()?,
                by: reader.signed()?,
                initial: reader.signed()?,
                deadline_ms: deadline(reader)?,
            },
            PUT_MANY => Operation::PutMany(many(reader, item)?),
            DELETE_MANY => Operation::DeleteMany(many(reader, WireReader::bytes)?),
            TOUCH_MANY => Operation::TouchMany(many(reader, |reader| Ok((reader.bytes()?, reader.varint()?)))?),
            EXPIRE => Operation::Expire { up_to_ms: reader.varint()? },
            OPEN_SESSION => Operation::OpenSession,
            other => return Err(damaged(&format!("unknown operation {other} in a log entry"))),
        };
        Ok(Command { stamp_ms, operation })
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>>;

    fn next(&mut self) -> Option<Result<Command<'a>>> {
        if self.reader.is_empty() { None } else { Some(self.command()) }
    }
}

fn many<'a, T>(reader: &mut WireReader<'a>, mut one: impl FnMut(&mut WireReader<'a>) -> Result<T>) -> Result<Vec<T>> {
    let count = reader.count()?;
    // Items take more memory than bytes of the log: no claim of ours or others may make us build too many.
    if count > limits::BATCH_OPS_MAX {
        return Err(damaged("a bulk operation with more items than one may have"));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(one(reader)?);
    }
    Ok(items)
}

fn item<'a>(reader: &mut WireReader<'a>) -> Result<PutItem<'a>> {
    Ok(PutItem { key: reader.bytes()?, deadline_ms: deadline(reader)?, stored: reader.bytes()? })
}

fn deadline(reader: &mut WireReader<'_>) -> Result<Option<u64>> {
    Ok(Some(reader.varint()?).filter(|deadline_ms| *deadline_ms != 0))
}

fn condition<'a>(reader: &mut WireReader<'a>) -> Result<Condition<'a>> {
    match reader.u8()? {
        ALWAYS => Ok(Condition::Always),
        ABSENT => Ok(Condition::Absent),
        REVISION => Ok(Condition::Revision(reader.varint()?)),
        EXPECTED => Ok(Condition::Expected(reader.bytes()?)),
        other => Err(damaged(&format!("unknown condition {other} in a log entry"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::{UNSTAMPED_VERSION, put_batch_header, stamp_batch};

    fn samples() -> Vec<Command<'static>> {
        let item = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: Some(7) };
        let operations = [
            Operation::Put { item, condition: Condition::Expected(b"\xf6") },
            Operation::Put { item: PutItem { deadline_ms: None, ..item }, condition: Condition::Absent },
            Operation::Delete { key: b"k", condition: Condition::Revision(u64::MAX) },
            Operation::Touch { key: b"k", deadline_ms: 300 },
            Operation::Increment { key: b"n", by: i64::MIN, initial: i64::MAX, deadline_ms: None },
            Operation::PutMany(vec![item, item]),
            Operation::DeleteMany(vec![b"a", b"b"]),
            Operation::TouchMany(vec![(b"a", 1), (b"b", 2)]),
            Operation::Expire { up_to_ms: 9 },
        ];
        operations.into_iter().map(|operation| Command { stamp_ms: 1_700_000_000_000, operation }).collect()
    }

    const GOLDEN_V1: &str = include_str!("../../tests/golden/commands_v1.hex");
    const GOLDEN_V2: &str = include_str!("../../tests/golden/commands_v2.hex");

    fn payload_v1() -> Vec<u8> {
        let mut out = vec![UNSTAMPED_VERSION];
        samples().iter().for_each(|command| put_command(&mut out, command));
        out
    }

    fn payload() -> Vec<u8> {
        let mut out = Vec::new();
        put_batch_header(&mut out, 300, 70_000, 2);
        samples().iter().for_each(|command| put_command(&mut out, command));
        put_command(&mut out, &Command { stamp_ms: 5, operation: Operation::OpenSession });
        stamp_batch(&mut out, 1_700_000_000_999);
        out
    }

    #[test]
    fn every_operation_comes_back_as_it_went() {
        let payload = payload();
        let commands = Commands::of(&payload).unwrap();
        let header =
            BatchHeader { stamp_ms: Some(1_700_000_000_999), session: 300, sequence: 70_000, acknowledged_below: 2 };
        assert_eq!(commands.header(), header);
        let mut commands: Vec<_> = commands.collect::<Result<_>>().unwrap();
        assert_eq!(commands.pop(), Some(Command { stamp_ms: 5, operation: Operation::OpenSession }));
        assert_eq!(commands, samples());
    }

    #[test]
    fn the_layout_of_a_released_version_never_changes() {
        let hex = |payload: &[u8]| payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&payload_v1()), GOLDEN_V1.trim());
        assert_eq!(hex(&payload()), GOLDEN_V2.trim());
    }

    #[test]
    fn the_commands_of_the_first_release_are_read_for_ever() {
        let payload = payload_v1();
        let commands = Commands::of(&payload).unwrap();
        assert_eq!(commands.header().stamp_ms, None);
        assert_eq!(commands.header().session, 0);
        assert_eq!(commands.collect::<Result<Vec<_>>>().unwrap(), samples());
    }

    #[test]
    fn a_bulk_operation_that_claims_too_many_items_builds_none() {
        let mut payload = payload_v1()[..1].to_vec();
        payload.extend_from_slice(&[DELETE_MANY, 0]);
        put_varint(&mut payload, 501);
        payload.resize(payload.len() + 10_000, 0);
        assert!(Commands::of(&payload).unwrap().next().unwrap().is_err());
    }

    #[test]
    fn damaged_payloads_are_an_error_or_other_commands_never_a_panic() {
        let payload = payload();
        for at in 0..payload.len() {
            for change in [1u8, 0x80, 0xff] {
                let mut damaged = payload.clone();
                damaged[at] ^= change;
                let _ = Commands::of(&damaged).map(|commands| commands.collect::<Result<Vec<_>>>().is_ok());
                let _ = Commands::of(&damaged[..at]).map(|commands| commands.collect::<Result<Vec<_>>>().is_ok());
            }
        }
    }
}
