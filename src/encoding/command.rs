//! Commands as bytes: what a log entry carries. A fixed layout of ours, versioned by its first byte.
//!
//! ```text
//! entry payload  := version (1) command*
//! command        := operation (1)  stamp_ms  fields
//! ```
//! Integers are LEB128, byte strings carry their length, an absent deadline is 0.

use super::wire::{WireReader, damaged, put_bytes, put_signed, put_varint};
use crate::error::Result;
use crate::model::{Command, Condition, Operation, PutItem};

/// Version of the layout; a payload with another one is refused.
pub(crate) const COMMANDS_VERSION: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TOUCH: u8 = 3;
const INCREMENT: u8 = 4;
const PUT_MANY: u8 = 5;
const DELETE_MANY: u8 = 6;
const TOUCH_MANY: u8 = 7;
const EXPIRE: u8 = 8;

const ALWAYS: u8 = 0;
const ABSENT: u8 = 1;
const REVISION: u8 = 2;
const EXPECTED: u8 = 3;

/// Appends one command to an entry's payload, which begins with [`COMMANDS_VERSION`].
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
    reader: WireReader<'a>,
}

impl<'a> Commands<'a> {
    /// Refuses a payload of another version.
    pub(crate) fn of(payload: &'a [u8]) -> Result<Commands<'a>> {
        let mut reader = WireReader::new(payload);
        match reader.u8()? {
            COMMANDS_VERSION => Ok(Commands { reader }),
            other => Err(damaged(&format!("commands of version {other}, this release knows {COMMANDS_VERSION}"))),
        }
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
    let mut items = Vec::with_capacity(count.min(1024));
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

    fn payload() -> Vec<u8> {
        let mut out = vec![COMMANDS_VERSION];
        samples().iter().for_each(|command| put_command(&mut out, command));
        out
    }

    #[test]
    fn every_operation_comes_back_as_it_went() {
        let payload = payload();
        let commands: Vec<_> = Commands::of(&payload).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(commands, samples());
    }

    #[test]
    fn the_layout_of_a_released_version_never_changes() {
        let golden = include_str!("../../tests/golden/commands_v1.hex").trim();
        let hex: String = payload().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
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
