//! Commands as bytes: what a log entry carries. A fixed layout of ours, versioned by its batch's first byte.
//!
//! ```text
//! command := operation (1)  stamp_ms  fields
//! ```
//! An authorised operation has, as its fields, the id of the token, the number of the operation and the operation's fields.
//! Integers are LEB128, byte strings carry their length, an absent deadline is 0.

mod consumer;
mod selector;
mod transaction;

use consumer::{put_consumer, read_consumer};
pub(crate) use consumer::{read_consumer_name, read_kinds};
pub(crate) use selector::{put_selector, read_selector};
use transaction::read_transaction;
pub(crate) use transaction::{put_transaction, written_twice};

use super::batch::BatchHeader;
use super::event::{put_position, read_position};
use super::wire::{WireReader, damaged, put_bytes, put_signed, put_varint};
use crate::error::Result;
use crate::limits;
use crate::model::{Command, Condition, NewTokenItem, Operation, PutItem, Scopes, TokenId};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TOUCH: u8 = 3;
const INCREMENT: u8 = 4;
const PUT_MANY: u8 = 5;
const DELETE_MANY: u8 = 6;
const TOUCH_MANY: u8 = 7;
const EXPIRE: u8 = 8;
const OPEN_SESSION: u8 = 9;
const CREATE_TOKEN: u8 = 10;
const REVOKE_TOKEN: u8 = 11;
const NOTE_TOKEN_USE: u8 = 12;
const AUTHORISED: u8 = 13;
const DELETE_WHERE: u8 = 14;
const TRANSACT: u8 = 15;
const CREATE_INDEX: u8 = 16;
const DROP_INDEX: u8 = 17;
const REBUILD_INDEX: u8 = 18;
const CREATE_CONSUMER: u8 = 24;
const ACKNOWLEDGE_CONSUMER: u8 = 25;
const DELETE_CONSUMER: u8 = 26;

const ALWAYS: u8 = 0;
const ABSENT: u8 = 1;
const REVISION: u8 = 2;
const EXPECTED: u8 = 3;
const WHERE: u8 = 4;
const PRESENT: u8 = 5;

/// Appends one command to a payload, which [`put_batch_header`](super::batch::put_batch_header) began.
pub(crate) fn put_command(out: &mut Vec<u8>, command: &Command<'_>) {
    out.push(number_of(&command.operation));
    put_varint(out, command.stamp_ms);
    put_fields(out, &command.operation);
}

fn number_of(operation: &Operation<'_>) -> u8 {
    match operation {
        Operation::Put { .. } => PUT,
        Operation::Delete { .. } => DELETE,
        Operation::Touch { .. } => TOUCH,
        Operation::Increment { .. } => INCREMENT,
        Operation::PutMany(_) => PUT_MANY,
        Operation::DeleteMany(_) => DELETE_MANY,
        Operation::TouchMany(_) => TOUCH_MANY,
        Operation::Expire { .. } => EXPIRE,
        Operation::OpenSession => OPEN_SESSION,
        Operation::CreateToken(_) => CREATE_TOKEN,
        Operation::RevokeToken(_) => REVOKE_TOKEN,
        Operation::NoteTokenUse { .. } => NOTE_TOKEN_USE,
        Operation::Authorised { .. } => AUTHORISED,
        Operation::DeleteWhere(_) => DELETE_WHERE,
        Operation::Transact(_) => TRANSACT,
        Operation::CreateIndex { .. } => CREATE_INDEX,
        Operation::DropIndex(_) => DROP_INDEX,
        Operation::RebuildIndex(_) => REBUILD_INDEX,
        Operation::CreateConsumer(_) => CREATE_CONSUMER,
        Operation::AcknowledgeConsumer { .. } => ACKNOWLEDGE_CONSUMER,
        Operation::DeleteConsumer { .. } => DELETE_CONSUMER,
    }
}

fn put_fields(out: &mut Vec<u8>, operation: &Operation<'_>) {
    match operation {
        Operation::Put { item, condition } => {
            put_condition(out, condition);
            put_item(out, item);
        }
        Operation::Delete { key, condition } => {
            put_condition(out, condition);
            put_bytes(out, key);
        }
        Operation::Touch { key, deadline_ms } => {
            put_bytes(out, key);
            put_varint(out, *deadline_ms);
        }
        Operation::Increment { key, by, initial, deadline_ms } => {
            put_bytes(out, key);
            put_signed(out, *by);
            put_signed(out, *initial);
            put_varint(out, deadline_ms.unwrap_or(0));
        }
        Operation::PutMany(items) => {
            put_varint(out, items.len() as u64);
            items.iter().for_each(|item| put_item(out, item));
        }
        Operation::DeleteMany(keys) => {
            put_varint(out, keys.len() as u64);
            keys.iter().for_each(|key| put_bytes(out, key));
        }
        Operation::TouchMany(items) => {
            put_varint(out, items.len() as u64);
            for (key, deadline_ms) in items {
                put_bytes(out, key);
                put_varint(out, *deadline_ms);
            }
        }
        Operation::Expire { up_to_ms } => put_varint(out, *up_to_ms),
        Operation::OpenSession => {}
        Operation::CreateToken(item) => put_new_token(out, item),
        Operation::RevokeToken(token) => put_varint(out, token.0),
        Operation::NoteTokenUse { token, used_ms } => {
            put_varint(out, token.0);
            put_varint(out, *used_ms);
        }
        Operation::DeleteWhere(selector) => put_selector(out, selector),
        Operation::Transact(transaction) => put_transaction(out, transaction),
        Operation::CreateIndex { name, path } => {
            put_bytes(out, name.as_bytes());
            put_bytes(out, path.as_bytes());
        }
        Operation::DropIndex(name) | Operation::RebuildIndex(name) => put_bytes(out, name.as_bytes()),
        Operation::CreateConsumer(item) => put_consumer(out, item),
        Operation::AcknowledgeConsumer { name, position } => {
            put_bytes(out, name.as_bytes());
            put_position(out, *position);
        }
        Operation::DeleteConsumer { name } => put_bytes(out, name.as_bytes()),
        Operation::Authorised { token, operation } => {
            put_varint(out, token.0);
            out.push(number_of(operation));
            put_fields(out, operation);
        }
    }
}

/// Appends a token to make, as snapshots begin their tokens too.
pub(crate) fn put_new_token(out: &mut Vec<u8>, item: &NewTokenItem<'_>) {
    put_bytes(out, &item.hash);
    put_bytes(out, item.name.as_bytes());
    out.push(item.scopes.to_bits());
    put_varint(out, item.deadline_ms.unwrap_or(0));
    put_varint(out, item.key_prefixes.len() as u64);
    item.key_prefixes.iter().for_each(|prefix| put_bytes(out, prefix));
}

/// Reads what [`put_new_token`] wrote, within the bounds of tokens.
pub(crate) fn read_new_token<'a>(reader: &mut WireReader<'a>) -> Result<NewTokenItem<'a>> {
    let hash = reader.bytes()?.try_into().map_err(|_| damaged("a token without a hash of 32 bytes"))?;
    let name = std::str::from_utf8(reader.bytes()?).map_err(|_| damaged("text that is no UTF-8"))?;
    let scopes = Scopes::from_bits(reader.u8()?).ok_or_else(|| damaged("a token with unknown scopes"))?;
    let deadline_ms = deadline(reader)?;
    let count = reader.count()?;
    if count > limits::TOKEN_PREFIXES_MAX || name.len() > limits::TOKEN_NAME_BYTES_MAX {
        return Err(damaged("a token with a longer name or more prefixes than one may have"));
    }
    let key_prefixes = (0..count).map(|_| reader.bytes()).collect::<Result<Vec<_>>>()?;
    let is_key = |prefix: &&[u8]| (1..=limits::KEY_BYTES_MAX).contains(&prefix.len());
    let bytes: usize = key_prefixes.iter().map(|prefix| prefix.len()).sum();
    if !key_prefixes.iter().all(is_key) || bytes > limits::TOKEN_PREFIX_BYTES_MAX {
        return Err(damaged("a token with prefixes that no key can have, or too many bytes of them"));
    }
    Ok(NewTokenItem { hash, name, scopes, key_prefixes, deadline_ms })
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
        Condition::Present => out.push(PRESENT),
        Condition::Revision(revision) => {
            out.push(REVISION);
            put_varint(out, *revision);
        }
        Condition::Expected(value) => {
            out.push(EXPECTED);
            put_bytes(out, value);
        }
        Condition::Where(expression) => {
            out.push(WHERE);
            put_bytes(out, expression.as_bytes());
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
        let number = reader.u8()?;
        let stamp_ms = reader.varint()?;
        if number != AUTHORISED {
            return Ok(Command { stamp_ms, operation: operation(reader, number)? });
        }
        let token = TokenId(reader.varint()?);
        let number = reader.u8()?;
        let operation = Box::new(operation(reader, number)?);
        Ok(Command { stamp_ms, operation: Operation::Authorised { token, operation } })
    }
}

/// The operation of this number. One that is authorised is none of these, so that none lies within another.
fn operation<'a>(reader: &mut WireReader<'a>, number: u8) -> Result<Operation<'a>> {
    Ok(match number {
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
        CREATE_TOKEN => Operation::CreateToken(read_new_token(reader)?),
        REVOKE_TOKEN => Operation::RevokeToken(TokenId(reader.varint()?)),
        NOTE_TOKEN_USE => Operation::NoteTokenUse { token: TokenId(reader.varint()?), used_ms: reader.varint()? },
        DELETE_WHERE => Operation::DeleteWhere(read_selector(reader)?),
        TRANSACT => Operation::Transact(read_transaction(reader)?),
        CREATE_INDEX => Operation::CreateIndex { name: index_name(reader)?, path: selector::read_text(reader)? },
        DROP_INDEX => Operation::DropIndex(index_name(reader)?),
        REBUILD_INDEX => Operation::RebuildIndex(index_name(reader)?),
        CREATE_CONSUMER => Operation::CreateConsumer(read_consumer(reader)?),
        ACKNOWLEDGE_CONSUMER => {
            Operation::AcknowledgeConsumer { name: read_consumer_name(reader)?, position: read_position(reader)? }
        }
        DELETE_CONSUMER => Operation::DeleteConsumer { name: read_consumer_name(reader)? },
        other => return Err(damaged(&format!("unknown operation {other} in a log entry"))),
    })
}

fn index_name<'a>(reader: &mut WireReader<'a>) -> Result<&'a str> {
    let name = selector::read_text(reader)?;
    if (1..=limits::INDEX_NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(name);
    }
    Err(damaged("an index without a name, or with a longer one than it may have"))
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
        PRESENT => Ok(Condition::Present),
        REVISION => Ok(Condition::Revision(reader.varint()?)),
        EXPECTED => Ok(Condition::Expected(reader.bytes()?)),
        WHERE => Ok(Condition::Where(selector::read_text(reader)?)),
        other => Err(damaged(&format!("unknown condition {other} in a log entry"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::{UNSTAMPED_VERSION, put_batch_header, stamp_batch};
    use crate::model::{ConsumerItem, EventKind, EventKinds, Pattern, PatternFlags, Position, Selector};

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
    /// The commands that came with tokens.
    const GOLDEN_TOKENS: &str = include_str!("../../tests/golden/commands_tokens.hex");

    /// The commands that came with queries.
    const GOLDEN_QUERY: &str = include_str!("../../tests/golden/commands_query.hex");

    /// The commands that came with consumers.
    const GOLDEN_CONSUMERS: &str = include_str!("../../tests/golden/commands_consumers.hex");

    fn consumer_samples() -> Vec<Command<'static>> {
        let selector = Selector { prefix: Some(b"user:"), filter: Some("value.age >= 30"), ..Selector::default() };
        let item = ConsumerItem { name: "audit", kinds: EventKinds::default(), start: None, selector };
        let position = Position { revision: 300, changes: 2 };
        let removals = EventKinds::of(&[EventKind::Delete, EventKind::Expire]);
        let operations = [
            Operation::CreateConsumer(item),
            Operation::CreateConsumer(ConsumerItem { kinds: removals, start: Some(position), ..item }),
            Operation::CreateConsumer(ConsumerItem { start: Some(Position::before(0)), ..item }),
            Operation::AcknowledgeConsumer { name: "audit", position },
            Operation::DeleteConsumer { name: "\u{e9}" },
        ];
        let token = TokenId(1);
        let authorised =
            operations.clone().map(|operation| Operation::Authorised { token, operation: Box::new(operation) });
        let operations = operations.into_iter().chain(authorised);
        operations.map(|operation| Command { stamp_ms: 1_700_000_000_000, operation }).collect()
    }

    fn consumer_payload() -> Vec<u8> {
        let mut out = Vec::new();
        put_batch_header(&mut out, 0, 0, 0);
        consumer_samples().iter().for_each(|command| put_command(&mut out, command));
        out
    }

    fn query_samples() -> Vec<Command<'static>> {
        let item = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: Some(7) };
        let flags = PatternFlags { caseless: true, unicode: true, ..PatternFlags::default() };
        let whole = Selector {
            prefix: Some(b"user:"),
            suffix: Some(b""),
            contains: Some(b"\xff"),
            pattern: Some(Pattern { text: r"\d{3}", flags }),
            range: Some((b"a", b"z\xff")),
            filter: Some("value.age >= 30"),
            offset: 300,
            limit: Some(u64::MAX),
        };
        let operations = [
            Operation::Put { item, condition: Condition::Where("value.version < 2") },
            Operation::Delete { key: b"k", condition: Condition::Where("ttl == null") },
            Operation::DeleteWhere(Selector::default()),
            Operation::DeleteWhere(whole),
            Operation::DeleteWhere(Selector { limit: Some(0), suffix: Some(b":1"), ..Selector::default() }),
        ];
        let token = TokenId(1);
        let authorised =
            operations.clone().map(|operation| Operation::Authorised { token, operation: Box::new(operation) });
        let operations = operations.into_iter().chain(authorised);
        operations.map(|operation| Command { stamp_ms: 1_700_000_000_000, operation }).collect()
    }

    fn query_payload() -> Vec<u8> {
        let mut out = Vec::new();
        put_batch_header(&mut out, 0, 0, 0);
        query_samples().iter().for_each(|command| put_command(&mut out, command));
        out
    }

    fn token_samples() -> Vec<Command<'static>> {
        let scopes = Scopes { read: true, write: true, admin: false };
        let item =
            NewTokenItem { hash: [7; 32], name: "ci", scopes, key_prefixes: vec![b"a:", b"b"], deadline_ms: Some(9) };
        let admin = NewTokenItem {
            hash: [8; 32],
            name: "",
            scopes: Scopes { admin: true, ..Scopes::default() },
            key_prefixes: Vec::new(),
            deadline_ms: None,
        };
        let token = TokenId(u64::MAX - 1);
        let plain = [
            Operation::CreateToken(item),
            Operation::CreateToken(admin),
            Operation::RevokeToken(token),
            Operation::NoteTokenUse { token, used_ms: 1_700_000_000_123 },
            Operation::OpenSession,
        ];
        let samples = samples().into_iter().map(|command| command.operation).chain(plain.clone());
        let authorised = samples.map(|operation| Operation::Authorised { token, operation: Box::new(operation) });
        let operations = plain.into_iter().chain(authorised);
        operations.map(|operation| Command { stamp_ms: 1_700_000_000_000, operation }).collect()
    }

    fn token_payload() -> Vec<u8> {
        let mut out = Vec::new();
        put_batch_header(&mut out, 0, 0, 0);
        token_samples().iter().for_each(|command| put_command(&mut out, command));
        out
    }

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
        let payload = token_payload();
        let tokens: Vec<_> = Commands::of(&payload).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(tokens, token_samples());
        let payload = query_payload();
        let queries: Vec<_> = Commands::of(&payload).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(queries, query_samples());
        let payload = consumer_payload();
        let consumers: Vec<_> = Commands::of(&payload).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(consumers, consumer_samples());
    }

    #[test]
    fn the_commands_of_indexes_are_written_and_read_the_same_for_ever() {
        const GOLDEN: &str = include_str!("../../tests/golden/commands_index.hex");
        let name = "x".repeat(limits::INDEX_NAME_BYTES_MAX);
        let of_token = Box::new(Operation::CreateIndex { name: "é", path: "" });
        let operations = [
            Operation::CreateIndex { name: "by_tag", path: "value.tags[]" },
            Operation::DropIndex("by_tag"),
            Operation::RebuildIndex(&name),
            Operation::Authorised { token: TokenId(1), operation: of_token },
        ];
        let commands = operations.map(|operation| Command { stamp_ms: 1_700_000_000_000, operation });
        let mut payload = Vec::new();
        put_batch_header(&mut payload, 0, 0, 0);
        commands.iter().for_each(|command| put_command(&mut payload, command));
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.trim());
        assert_eq!(Commands::of(&payload).unwrap().collect::<Result<Vec<_>>>().unwrap(), commands);
        for wrong in [Operation::DropIndex(""), Operation::DropIndex(&"x".repeat(65))] {
            let mut payload = payload[..12].to_vec();
            put_command(&mut payload, &Command { stamp_ms: 1, operation: wrong });
            assert!(Commands::of(&payload).unwrap().next().unwrap().is_err());
        }
    }

    #[test]
    fn an_authorised_operation_within_another_is_refused() {
        let mut payload = payload_v1()[..1].to_vec();
        payload.extend_from_slice(&[AUTHORISED, 0, 1, AUTHORISED, 1, OPEN_SESSION]);
        assert!(Commands::of(&payload).unwrap().next().unwrap().is_err());
    }

    #[test]
    fn a_token_beyond_its_bounds_is_refused() {
        let prefix = [b'k'; 1024];
        let token = NewTokenItem {
            hash: [1; 32],
            name: "n",
            scopes: Scopes { read: true, ..Scopes::default() },
            key_prefixes: vec![&prefix; 4],
            deadline_ms: None,
        };
        let reads = |item: &NewTokenItem<'_>| {
            let mut out = Vec::new();
            put_new_token(&mut out, item);
            read_new_token(&mut WireReader::new(&out)).is_ok()
        };
        assert!(reads(&token));
        let long = "n".repeat(65);
        let wrong = [
            NewTokenItem { key_prefixes: vec![&prefix; 5], ..token.clone() },
            NewTokenItem { key_prefixes: vec![b"k"; 33], ..token.clone() },
            NewTokenItem { key_prefixes: vec![b""], ..token.clone() },
            NewTokenItem { key_prefixes: vec![&[b'k'; 1025]], ..token.clone() },
            NewTokenItem { name: &long, ..token.clone() },
            NewTokenItem { scopes: Scopes::default(), ..token },
        ];
        assert!(wrong.iter().all(|item| !reads(item)));
    }

    #[test]
    fn the_layout_of_a_released_version_never_changes() {
        let hex = |payload: &[u8]| payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&payload_v1()), GOLDEN_V1.trim());
        assert_eq!(hex(&payload()), GOLDEN_V2.trim());
        assert_eq!(hex(&token_payload()), GOLDEN_TOKENS.trim());
        assert_eq!(hex(&query_payload()), GOLDEN_QUERY.trim());
        assert_eq!(hex(&consumer_payload()), GOLDEN_CONSUMERS.trim());
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
        for payload in [payload(), token_payload(), query_payload(), consumer_payload()] {
            for at in 0..payload.len() {
                for change in [1u8, 0x80, 0xff] {
                    let mut damaged = payload.clone();
                    damaged[at] ^= change;
                    for bytes in [&damaged[..], &damaged[..at]] {
                        let _ = Commands::of(bytes).map(|commands| commands.collect::<Result<Vec<_>>>().is_ok());
                    }
                }
            }
        }
    }
}
