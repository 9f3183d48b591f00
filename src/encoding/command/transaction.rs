//! Transactions as bytes, in a log entry.
//!
//! ```text
//! transaction := idempotency key  count  compare*  count  step*  count  step*
//! compare     := key  condition
//! step        := 1  item  |  2  key  |  3  key  deadline_ms  |  4  key  by  initial  deadline_ms  |  5  key
//! ```

use super::{condition, deadline, item, put_condition, put_item};
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_signed, put_varint};
use crate::error::Result;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, TXN_OPS_MAX};
use crate::model::{Compare, StepItem, TransactionItem};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TOUCH: u8 = 3;
const INCREMENT: u8 = 4;
const GET: u8 = 5;

/// Appends a transaction; receipts are made of the same bytes.
pub(crate) fn put_transaction(out: &mut Vec<u8>, transaction: &TransactionItem<'_>) {
    put_bytes(out, transaction.idempotency_key);
    put_varint(out, transaction.compares.len() as u64);
    for compare in &transaction.compares {
        put_bytes(out, compare.key);
        put_condition(out, &compare.condition);
    }
    for branch in [&transaction.then, &transaction.otherwise] {
        put_varint(out, branch.len() as u64);
        branch.iter().for_each(|step| put_step(out, step));
    }
}

fn put_step(out: &mut Vec<u8>, step: &StepItem<'_>) {
    match *step {
        StepItem::Put(item) => {
            out.push(PUT);
            put_item(out, &item);
        }
        StepItem::Delete(key) => {
            out.push(DELETE);
            put_bytes(out, key);
        }
        StepItem::Touch { key, deadline_ms } => {
            out.push(TOUCH);
            put_bytes(out, key);
            put_varint(out, deadline_ms);
        }
        StepItem::Increment { key, by, initial, deadline_ms } => {
            out.push(INCREMENT);
            put_bytes(out, key);
            put_signed(out, by);
            put_signed(out, initial);
            put_varint(out, deadline_ms.unwrap_or(0));
        }
        StepItem::Get(key) => {
            out.push(GET);
            put_bytes(out, key);
        }
    }
}

/// Reads what [`put_transaction`] wrote, within the bounds of transactions.
pub(super) fn read_transaction<'a>(reader: &mut WireReader<'a>) -> Result<TransactionItem<'a>> {
    let idempotency_key = reader.bytes()?;
    if idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(damaged("a transaction with a longer name than one may have"));
    }
    let mut left = TXN_OPS_MAX;
    let compare = |reader: &mut WireReader<'a>| Ok(Compare { key: reader.bytes()?, condition: condition(reader)? });
    let compares = many(reader, &mut left, compare)?;
    let then = many(reader, &mut left, read_step)?;
    let otherwise = many(reader, &mut left, read_step)?;
    if [&then, &otherwise].into_iter().any(|branch| written_twice(branch).is_some()) {
        return Err(damaged("a transaction that writes a key twice"));
    }
    Ok(TransactionItem { idempotency_key, compares, then, otherwise })
}

fn many<'a, T>(
    reader: &mut WireReader<'a>,
    left: &mut usize,
    one: impl Fn(&mut WireReader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.count()?;
    *left = left.checked_sub(count).ok_or_else(|| damaged("a transaction with more than one may have"))?;
    (0..count).map(|_| one(reader)).collect()
}

fn read_step<'a>(reader: &mut WireReader<'a>) -> Result<StepItem<'a>> {
    Ok(match reader.u8()? {
        PUT => StepItem::Put(item(reader)?),
        DELETE => StepItem::Delete(reader.bytes()?),
        TOUCH => StepItem::Touch { key: reader.bytes()?, deadline_ms: reader.varint()? },
        INCREMENT => StepItem::Increment {
            key: reader.bytes()?,
            by: reader.signed()?,
            initial: reader.signed()?,
            deadline_ms: deadline(reader)?,
        },
        GET => StepItem::Get(reader.bytes()?),
        other => return Err(damaged(&format!("unknown step {other} of a transaction"))),
    })
}

/// The place of the first operation of a branch that writes what one before it writes.
pub(crate) fn written_twice(branch: &[StepItem<'_>]) -> Option<usize> {
    let mut written: Vec<(&[u8], usize)> =
        (0..).zip(branch).filter(|(_, step)| step.writes()).map(|(at, step)| (step.key(), at)).collect();
    written.sort_unstable();
    written.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::put_batch_header;
    use crate::encoding::command::{Commands, put_command};
    use crate::error::ErrorKind;
    use crate::model::{Command, Condition, Operation, PutItem, TokenId};

    /// The commands that came with transactions.
    const GOLDEN: &str = include_str!("../../../tests/golden/commands_txn.hex");

    fn whole() -> TransactionItem<'static> {
        let conditions = [
            Condition::Absent,
            Condition::Present,
            Condition::Revision(300),
            Condition::Expected(b"\xf6"),
            Condition::Where("value.age >= 30"),
        ];
        let item = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: Some(7) };
        let then = vec![
            StepItem::Put(item),
            StepItem::Get(b"k"),
            StepItem::Put(PutItem { key: b"\xff", deadline_ms: None, ..item }),
            StepItem::Delete(b"d"),
            StepItem::Touch { key: b"t", deadline_ms: 300 },
            StepItem::Increment { key: b"n", by: i64::MIN, initial: i64::MAX, deadline_ms: Some(9) },
        ];
        TransactionItem {
            idempotency_key: b"once",
            compares: conditions.map(|condition| Compare { key: b"c", condition }).to_vec(),
            then,
            otherwise: vec![StepItem::Get(b"k"), StepItem::Delete(b"k"), StepItem::Get(b"k")],
        }
    }

    fn samples() -> Vec<Command<'static>> {
        let item = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: None };
        let operations = [
            Operation::Transact(TransactionItem::default()),
            Operation::Transact(whole()),
            Operation::Put { item, condition: Condition::Present },
            Operation::Authorised { token: TokenId(1), operation: Box::new(Operation::Transact(whole())) },
        ];
        operations.map(|operation| Command { stamp_ms: 1_700_000_000_000, operation }).to_vec()
    }

    fn payload(commands: &[Command<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        put_batch_header(&mut out, 0, 0, 0);
        commands.iter().for_each(|command| put_command(&mut out, command));
        out
    }

    #[test]
    fn transactions_come_back_as_they_went_and_are_written_the_same_for_ever() {
        let payload = payload(&samples());
        assert_eq!(Commands::of(&payload).unwrap().collect::<Result<Vec<_>>>().unwrap(), samples());
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.trim());
    }

    #[test]
    fn a_transaction_beyond_its_bounds_is_refused() {
        let read = |transaction: TransactionItem<'_>| {
            let command = Command { stamp_ms: 1, operation: Operation::Transact(transaction) };
            let payload = payload(&[command]);
            Commands::of(&payload).unwrap().next().unwrap().map(drop).map_err(|error| error.kind())
        };
        let refused = Err(ErrorKind::Corrupt);
        let steps =
            |count: usize| TransactionItem { then: vec![StepItem::Get(b"k"); count], ..TransactionItem::default() };
        assert_eq!(read(steps(TXN_OPS_MAX)), Ok(()));
        assert_eq!(read(steps(TXN_OPS_MAX + 1)), refused);
        let compare = Compare { key: b"k", condition: Condition::Absent };
        assert_eq!(read(TransactionItem { compares: vec![compare], ..steps(TXN_OPS_MAX) }), refused);
        assert_eq!(read(TransactionItem { otherwise: vec![StepItem::Get(b"k")], ..steps(TXN_OPS_MAX) }), refused);
        let named = |key: &'static [u8]| TransactionItem { idempotency_key: key, ..TransactionItem::default() };
        assert_eq!(read(named(&[7; IDEMPOTENCY_KEY_BYTES_MAX])), Ok(()));
        assert_eq!(read(named(&[7; IDEMPOTENCY_KEY_BYTES_MAX + 1])), refused);
        let twice = vec![StepItem::Delete(b"k"), StepItem::Get(b"l"), StepItem::Touch { key: b"k", deadline_ms: 1 }];
        assert_eq!(written_twice(&twice), Some(2));
        assert_eq!(read(TransactionItem { otherwise: twice, ..TransactionItem::default() }), refused);
    }
}
