//! Batch: what stands before the commands of a log entry, and the check of a batch that comes from outside.
//!
//! ```text
//! batch := version (2)  stamp_ms (8, little-endian)  session  sequence  acknowledged_below  command*
//! ```
//! The stamp has a fixed place, so that the leader writes it when it proposes a batch that others collected.
//! Version 1, of the first release, had nothing but its commands after the version.

use super::check::check_value;
use super::command::Commands;
use super::stored;
use super::wire::{WireReader, damaged, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::model::{Command, Condition, Operation, PutItem, Selector, StepItem, TransactionItem};

/// Version of a payload without a header; each command's own stamp is its time. Read for ever, written no more.
pub(crate) const UNSTAMPED_VERSION: u8 = 1;
/// Version that is written now; a payload with a later one is refused.
pub(crate) const BATCH_VERSION: u8 = 2;
/// Bytes of the header of a batch without session.
pub(crate) const BATCH_HEADER_BYTES: usize = 1 + 8 + 3;

/// Most transactions in a batch from outside whose answers hold records: together they stay within one answer's frame.
const READING_MAX: usize = 64 * 1024 * 1024 / limits::TXN_ANSWER_BYTES_MAX;

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Wall clock of the leader when it proposed the batch, milliseconds since the Unix epoch; `None` in
    /// version 1.
    pub(crate) stamp_ms: Option<u64>,
    /// The session in which the batch is applied once however often it comes; 0 is none.
    pub(crate) session: u64,
    /// Number of the batch in its session.
    pub(crate) sequence: u64,
    /// The session's owner has the outcomes of all its batches below this number.
    pub(crate) acknowledged_below: u64,
}

/// Begins a payload, which is stamped later. Session 0 is for batches that are never sent twice.
pub(crate) fn put_batch_header(out: &mut Vec<u8>, session: u64, sequence: u64, acknowledged_below: u64) {
    out.push(BATCH_VERSION);
    out.extend_from_slice(&[0; 8]);
    put_varint(out, session);
    put_varint(out, sequence);
    put_varint(out, acknowledged_below);
}

/// Writes the leader's time into a payload that [`put_batch_header`] began, whatever stood there.
pub(crate) fn stamp_batch(payload: &mut [u8], stamp_ms: u64) {
    if let [BATCH_VERSION, rest @ ..] = payload
        && let Some(place) = rest.first_chunk_mut::<8>()
    {
        *place = stamp_ms.to_le_bytes();
    }
}

impl BatchHeader {
    /// The header of a payload; refuses one of another version.
    pub(super) fn read(reader: &mut WireReader<'_>) -> Result<BatchHeader> {
        match reader.u8()? {
            UNSTAMPED_VERSION => Ok(BatchHeader { stamp_ms: None, session: 0, sequence: 0, acknowledged_below: 0 }),
            BATCH_VERSION => Ok(BatchHeader {
                stamp_ms: Some(reader.u64_le()?),
                session: reader.varint()?,
                sequence: reader.varint()?,
                acknowledged_below: reader.varint()?,
            }),
            other => Err(damaged(&format!("commands of version {other}, this release knows {BATCH_VERSION}"))),
        }
    }
}

/// Whether a batch that another node or a client collected may go to the log: whatever passes, every replica
/// can apply, and it holds nothing that a service would have refused. Costs time in the size of the
/// values, compressed ones are opened one after the other.
///
/// Errors: those of the services' checks; `invalid_operation_format` when it cannot be read at all.
pub(crate) fn check_batch(payload: &[u8]) -> Result<()> {
    let commands = Commands::of(payload).map_err(unreadable)?;
    let header = commands.header();
    if header.stamp_ms.is_none() {
        return Err(refused("a batch of version 1 has no place for the leader's time; upgrade the node that sent it"));
    }
    if header.session != 0 && header.acknowledged_below > header.sequence {
        return Err(refused("a batch acknowledges itself; send it with a number that was not acknowledged"));
    }
    let mut reading = 0;
    for (at, command) in commands.enumerate() {
        let command = command.map_err(unreadable)?;
        reading += usize::from(matches!(&command.operation, Operation::Transact(transaction) if transaction.reads()));
        if at == limits::BATCH_COMMANDS_MAX || reading > READING_MAX {
            let max = limits::BATCH_COMMANDS_MAX;
            let message = format!(
                "a batch holds at most {max} commands, {READING_MAX} that read; send the others in the next one"
            );
            return Err(Error::new(ErrorKind::BatchTooLarge, message));
        }
        check_command(&command)?;
    }
    Ok(())
}

fn check_command(command: &Command<'_>) -> Result<()> {
    let stamp_ms = command.stamp_ms;
    match &command.operation {
        Operation::Put { item, condition } => {
            check_item(item, stamp_ms)?;
            check_condition(*condition)
        }
        Operation::Delete { condition: Condition::Absent, .. } => Err(ErrorKind::InvalidCondition.into()),
        Operation::Delete { key, condition } => {
            check_key(key)?;
            check_condition(*condition)
        }
        Operation::Touch { key, deadline_ms } => {
            check_key(key)?;
            check_deadline(Some(*deadline_ms), stamp_ms, ErrorKind::InvalidTtl)
        }
        Operation::Increment { key, deadline_ms, .. } => {
            check_key(key)?;
            check_deadline(*deadline_ms, stamp_ms, ErrorKind::InvalidTtl)
        }
        Operation::PutMany(items) => {
            check_many(items.len())?;
            if items.iter().map(|item| item.stored.len()).sum::<usize>() > limits::BATCH_BYTES_MAX {
                return Err(ErrorKind::ValueTooLarge.into());
            }
            items.iter().try_for_each(|item| check_item(item, stamp_ms))
        }
        Operation::DeleteMany(keys) => {
            check_many(keys.len())?;
            keys.iter().try_for_each(|key| check_key(key))
        }
        Operation::TouchMany(items) => {
            check_many(items.len())?;
            items.iter().try_for_each(|(key, deadline_ms)| {
                check_key(key)?;
                check_deadline(Some(*deadline_ms), stamp_ms, ErrorKind::InvalidTouchOperation)
            })
        }
        // Bounded by the state machine's own time, so that nothing lives shorter than it may.
        Operation::Expire { .. } | Operation::OpenSession => Ok(()),
        // Bounds are those of reading it; what is left is the lifetime.
        Operation::CreateToken(item) => check_deadline(item.deadline_ms, stamp_ms, ErrorKind::InvalidTtl),
        Operation::RevokeToken(_) | Operation::NoteTokenUse { .. } => Ok(()),
        Operation::DeleteWhere(selector) => check_selector(selector),
        Operation::Transact(transaction) => check_transaction(transaction, stamp_ms),
        Operation::CreateIndex { path, .. } => check_length(path.len(), limits::INDEX_PATH_BYTES_MAX),
        Operation::DropIndex(_) | Operation::RebuildIndex(_) => Ok(()),
        Operation::CreateConsumer(item) => check_selector(&item.selector),
        // Names are checked where they are read.
        Operation::AcknowledgeConsumer { .. } | Operation::DeleteConsumer { .. } => Ok(()),
        Operation::Authorised { .. } => Err(refused("only a member says in whose name a command is carried out")),
    }
}

/// How many there may be of what, and that no key is written twice, is checked where it is read.
fn check_transaction(transaction: &TransactionItem<'_>, stamp_ms: u64) -> Result<()> {
    if transaction.content_bytes() > limits::BATCH_BYTES_MAX {
        return Err(ErrorKind::ValueTooLarge.into());
    }
    for compare in &transaction.compares {
        check_key(compare.key)?;
        if compare.condition == Condition::Always {
            return Err(ErrorKind::MissingCondition.into());
        }
        check_condition(compare.condition)?;
    }
    transaction.steps().try_for_each(|step| match *step {
        StepItem::Put(item) => check_item(&item, stamp_ms),
        StepItem::Delete(key) | StepItem::Get(key) => check_key(key),
        StepItem::Touch { key, deadline_ms } => {
            check_key(key)?;
            check_deadline(Some(deadline_ms), stamp_ms, ErrorKind::InvalidTtl)
        }
        StepItem::Increment { key, deadline_ms, .. } => {
            check_key(key)?;
            check_deadline(deadline_ms, stamp_ms, ErrorKind::InvalidTtl)
        }
    })
}

fn check_item(item: &PutItem<'_>, stamp_ms: u64) -> Result<()> {
    check_key(item.key)?;
    check_deadline(item.deadline_ms, stamp_ms, ErrorKind::InvalidTtl)?;
    let value = stored::open(item.stored).map_err(|error| {
        Error::new(ErrorKind::InvalidValue, "the value's stored form cannot be opened").with_source(error)
    })?;
    check_value(&value, limits::VALUE_BYTES_MAX_CEILING)
}

fn check_key(key: &[u8]) -> Result<()> {
    if (1..=limits::KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(ErrorKind::InvalidKey.into()) }
}

/// The lifetime that the origin meant, by its own clock.
fn check_deadline(deadline_ms: Option<u64>, stamp_ms: u64, refusal: ErrorKind) -> Result<()> {
    let ttl_ms = deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(stamp_ms));
    if ttl_ms.is_none_or(|ttl_ms| (1..=limits::TTL_MS_MAX).contains(&ttl_ms)) { Ok(()) } else { Err(refusal.into()) }
}

fn check_condition(condition: Condition<'_>) -> Result<()> {
    match condition {
        Condition::Expected(value) => check_value(value, limits::VALUE_BYTES_MAX_CEILING),
        Condition::Where(expression) => check_length(expression.len(), limits::EXPRESSION_BYTES_MAX),
        Condition::Always | Condition::Absent | Condition::Present | Condition::Revision(_) => Ok(()),
    }
}

/// Lengths only: what cannot be understood is refused by the state machine, the same on every replica.
fn check_selector(selector: &Selector<'_>) -> Result<()> {
    let Selector { prefix, suffix, contains, pattern, range, filter, .. } = *selector;
    let keys = [prefix, suffix, contains, range.map(|(from, _)| from), range.map(|(_, to)| to)];
    keys.iter().flatten().try_for_each(|key| check_length(key.len(), limits::KEY_BYTES_MAX))?;
    check_length(pattern.map_or(0, |pattern| pattern.text.len()), limits::PATTERN_BYTES_MAX)?;
    check_length(filter.map_or(0, str::len), limits::EXPRESSION_BYTES_MAX)
}

fn check_length(bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes <= bytes_max { Ok(()) } else { Err(ErrorKind::InvalidCondition.into()) }
}

fn check_many(items: usize) -> Result<()> {
    if items <= limits::BATCH_OPS_MAX { Ok(()) } else { Err(ErrorKind::BatchTooLarge.into()) }
}

fn unreadable(error: Error) -> Error {
    refused("a batch from another node cannot be read; use the same release on both sides").with_source(error)
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperationFormat, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::command::put_command;
    use crate::model::Compress;

    const STAMP_MS: u64 = 1_700_000_000_000;
    const ITEM: PutItem<'_> = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: Some(STAMP_MS + 1) };

    fn batch(operations: &[Operation<'_>]) -> Vec<u8> {
        let mut payload = Vec::new();
        put_batch_header(&mut payload, 1, 2, 1);
        for operation in operations {
            put_command(&mut payload, &Command { stamp_ms: STAMP_MS, operation: operation.clone() });
        }
        payload
    }

    fn put(item: PutItem<'_>) -> Operation<'_> {
        Operation::Put { item, condition: Condition::Always }
    }

    fn refusal(operation: Operation<'_>) -> ErrorKind {
        check_batch(&batch(&[put(ITEM), operation])).expect_err("planted").kind()
    }

    #[test]
    fn a_stamp_is_written_in_place_and_nothing_else_changes() {
        let before = batch(&[put(ITEM)]);
        let mut stamped = before.clone();
        for stamp_ms in [u64::MAX, STAMP_MS] {
            stamp_batch(&mut stamped, stamp_ms);
            assert_eq!(Commands::of(&stamped).unwrap().header().stamp_ms, Some(stamp_ms));
            assert_eq!(stamped[9..], before[9..]);
        }
        // What has no place for it stays as it is.
        for mut other in [vec![], vec![UNSTAMPED_VERSION; 20], vec![BATCH_VERSION; 8]] {
            let before = other.clone();
            stamp_batch(&mut other, STAMP_MS);
            assert_eq!(other, before);
        }
        let mut without_session = Vec::new();
        put_batch_header(&mut without_session, 0, 0, 0);
        assert_eq!(without_session.len(), BATCH_HEADER_BYTES);
    }

    #[test]
    fn what_services_let_through_passes() {
        let zeros = stored::seal(
            &crate::encode_value(&"0".repeat(5_000).into()).unwrap(),
            Compress::Always,
            &Default::default(),
        );
        let long_key = vec![7; limits::KEY_BYTES_MAX];
        let operations = [
            put(PutItem { stored: &zeros, ..ITEM }),
            put(PutItem { key: &long_key, deadline_ms: Some(STAMP_MS + limits::TTL_MS_MAX), ..ITEM }),
            Operation::Put { item: PutItem { deadline_ms: None, ..ITEM }, condition: Condition::Expected(b"\xf6") },
            Operation::Delete { key: b"k", condition: Condition::Revision(7) },
            Operation::Touch { key: b"k", deadline_ms: STAMP_MS + 1 },
            Operation::Increment { key: b"k", by: i64::MIN, initial: i64::MAX, deadline_ms: None },
            Operation::PutMany(vec![ITEM; limits::BATCH_OPS_MAX]),
            Operation::DeleteMany(Vec::new()),
            Operation::TouchMany(vec![(b"k", STAMP_MS + 1); limits::BATCH_OPS_MAX]),
            Operation::Expire { up_to_ms: u64::MAX },
            Operation::OpenSession,
        ];
        check_batch(&batch(&operations)).unwrap();
        check_batch(&batch(&[])).unwrap();
        check_batch(&batch(&vec![put(ITEM); limits::BATCH_COMMANDS_MAX])).unwrap();
    }

    #[test]
    fn what_services_refuse_a_hostile_peer_cannot_plant() {
        let long_key = vec![7; limits::KEY_BYTES_MAX + 1];
        for key in [&[][..], &long_key] {
            assert_eq!(refusal(put(PutItem { key, ..ITEM })), ErrorKind::InvalidKey);
            assert_eq!(refusal(Operation::Delete { key, condition: Condition::Always }), ErrorKind::InvalidKey);
            assert_eq!(refusal(Operation::Touch { key, deadline_ms: STAMP_MS + 1 }), ErrorKind::InvalidKey);
            assert_eq!(refusal(Operation::PutMany(vec![ITEM, PutItem { key, ..ITEM }])), ErrorKind::InvalidKey);
            assert_eq!(refusal(Operation::DeleteMany(vec![b"k", key])), ErrorKind::InvalidKey);
            assert_eq!(refusal(Operation::TouchMany(vec![(key, STAMP_MS + 1)])), ErrorKind::InvalidKey);
            let increment = Operation::Increment { key, by: 1, initial: 0, deadline_ms: None };
            assert_eq!(refusal(increment), ErrorKind::InvalidKey);
        }
        for deadline_ms in [1, STAMP_MS, STAMP_MS + limits::TTL_MS_MAX + 1, u64::MAX] {
            assert_eq!(refusal(put(PutItem { deadline_ms: Some(deadline_ms), ..ITEM })), ErrorKind::InvalidTtl);
            assert_eq!(refusal(Operation::Touch { key: b"k", deadline_ms }), ErrorKind::InvalidTtl);
            let touch_many = Operation::TouchMany(vec![(b"k", deadline_ms)]);
            assert_eq!(refusal(touch_many), ErrorKind::InvalidTouchOperation);
        }
        // No stored form, no value in it, two values, a compressed form that cannot be opened.
        for stored in [&b""[..], b"\0", b"\0\x01\x01", b"\0\x9f", b"\x07\x01", b"\x01\xff\xff\xff\xff\x78\x9c"] {
            assert_eq!(refusal(put(PutItem { stored, ..ITEM })), ErrorKind::InvalidValue, "{stored:?}");
            assert_eq!(refusal(Operation::PutMany(vec![PutItem { stored, ..ITEM }])), ErrorKind::InvalidValue);
        }
        let deep = [vec![0], vec![0x81; limits::VALUE_DEPTH_MAX], vec![1]].concat();
        assert_eq!(refusal(put(PutItem { stored: &deep, ..ITEM })), ErrorKind::InvalidValue);
        let expected = Operation::Put { item: ITEM, condition: Condition::Expected(b"\x9f") };
        assert_eq!(refusal(expected), ErrorKind::InvalidValue);
        let absent = Operation::Delete { key: b"k", condition: Condition::Absent };
        assert_eq!(refusal(absent), ErrorKind::InvalidCondition);
    }

    #[test]
    fn a_batch_has_bounds_and_a_place_for_the_leaders_time() {
        let refusal = |payload: &[u8]| check_batch(payload).expect_err("planted").kind();
        let too_many = batch(&vec![put(ITEM); limits::BATCH_COMMANDS_MAX + 1]);
        assert_eq!(refusal(&too_many), ErrorKind::BatchTooLarge);
        let many_items = batch(&[Operation::DeleteMany(vec![b"k"; limits::BATCH_OPS_MAX + 1])]);
        assert_eq!(refusal(&many_items), ErrorKind::InvalidOperationFormat);
        for payload in [&[][..], &[UNSTAMPED_VERSION], &[BATCH_VERSION; 11], &[3; 20]] {
            assert_eq!(refusal(payload), ErrorKind::InvalidOperationFormat);
        }
        let mut acknowledges_itself = Vec::new();
        put_batch_header(&mut acknowledges_itself, 1, 2, 3);
        assert_eq!(refusal(&acknowledges_itself), ErrorKind::InvalidOperationFormat);
        let mut values = vec![0x5a; 1 + 5 + limits::BATCH_BYTES_MAX / 2];
        values[..2].copy_from_slice(&[0, 0x5a]);
        values[2..6].copy_from_slice(&(limits::BATCH_BYTES_MAX as u32 / 2).to_be_bytes());
        let item = PutItem { stored: &values, ..ITEM };
        check_batch(&batch(&[put(item)])).unwrap();
        assert_eq!(refusal(&batch(&[Operation::PutMany(vec![item, item])])), ErrorKind::ValueTooLarge);
    }
}
