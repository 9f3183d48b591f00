//! Snapshot: the content as blocks of bytes and back. Framing, checksums and files are storage's.
//!
//! ```text
//! header  := version (4)  revision  time_ms  record count (about; for progress only)  sessions opened ever
//! block   := 0 record*  |  1 session*  |  2 token*  |  3 receipt*  |  4 index*  |  8 consumer*          about 1 MiB
//! record  := key  revision  deadline_ms (0: none)  stored value
//! session := number  owner  acknowledged_below  count  (sequence  outcomes)*
//! owner   := 0  |  1  id of a token
//! token   := hash  name  scopes (1)  deadline_ms (0: none)  count  prefix*  created_ms  last used (0: never)
//! receipt := owner  idempotency key  made_ms  fingerprint  outcome
//! index   := name  path
//! ```
//! Records come in strictly ascending key order over all blocks, sessions from the one used longest ago to
//! the one used last, tokens in strictly ascending order of their ids, receipts from the oldest to the newest, indexes and
//! consumers (see `consumers`) in strictly ascending order of their names; what indexes hold is made of the records. Version 3
//! had no receipts, no indexes and no consumers. Version 2 had no tokens, and its sessions no owner.
//! Version 1, of the first release, had no sessions: its header ends with the record count, its blocks begin with their
//! first record.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::keyspace::{Content, StateMachine};
use super::sessions::Sessions;
use super::slot::{Slot, Version};
use super::tokens::read_token;
use super::view::View;
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::limits;

const VERSION_WITHOUT_SESSIONS: u8 = 1;
const VERSION_WITHOUT_TOKENS: u8 = 2;
const VERSION_WITHOUT_RECEIPTS: u8 = 3;
const SNAPSHOT_VERSION: u8 = 4;
const RECORDS: u8 = 0;
const SESSIONS: u8 = 1;
const TOKENS: u8 = 2;
const RECEIPTS: u8 = 3;
const INDEXES: u8 = 4;
const CONSUMERS: u8 = 8;
const BLOCK_BYTES: usize = 1024 * 1024;

/// What stands before the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    version: u8,
    pub(crate) revision: u64,
    pub(crate) time_ms: u64,
    pub(crate) records: u64,
    sessions_opened: u64,
}

impl SnapshotHeader {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.version);
        put_varint(out, self.revision);
        put_varint(out, self.time_ms);
        put_varint(out, self.records);
        if self.version != VERSION_WITHOUT_SESSIONS {
            put_varint(out, self.sessions_opened);
        }
    }

    pub(crate) fn decode(reader: &mut WireReader<'_>) -> Result<SnapshotHeader> {
        let version = reader.u8()?;
        if !(VERSION_WITHOUT_SESSIONS..=SNAPSHOT_VERSION).contains(&version) {
            return Err(damaged(&format!("snapshot of version {version}, this release knows {SNAPSHOT_VERSION}")));
        }
        Ok(SnapshotHeader {
            version,
            revision: reader.varint()?,
            time_ms: reader.varint()?,
            records: reader.varint()?,
            sessions_opened: if version == VERSION_WITHOUT_SESSIONS { 0 } else { reader.varint()? },
        })
    }
}

/// The content of one moment, to be written while the state machine goes on.
pub(crate) struct PinnedSnapshot {
    header: SnapshotHeader,
    view: View,
    /// All but the records: copied, as it is little; records are looked at as they were.
    other_blocks: Vec<Vec<u8>>,
}

impl StateMachine {
    /// Pins the present: all of the same moment.
    pub(crate) fn pin_snapshot(&self) -> PinnedSnapshot {
        let (view, (header, other_blocks)) = self.view_with(0, |content, writer| {
            let header = SnapshotHeader {
                version: SNAPSHOT_VERSION,
                revision: writer.revision,
                time_ms: writer.time_ms,
                records: content.records.load(Ordering::Relaxed),
                sessions_opened: writer.sessions.opened(),
            };
            let mut blocks = Blocks::default();
            writer.sessions.encode(|session| blocks.put(SESSIONS, session));
            self.tokens().encode(|token| blocks.put(TOKENS, token));
            writer.receipts.encode(|receipt| blocks.put(RECEIPTS, receipt));
            content.indexes.encode(|index| blocks.put(INDEXES, index));
            writer.consumers.encode(|consumer| blocks.put(CONSUMERS, consumer));
            (header, blocks.0)
        });
        PinnedSnapshot { header, view, other_blocks }
    }
}

/// Blocks that are filled one after the other.
#[derive(Default)]
struct Blocks(Vec<Vec<u8>>);

impl Blocks {
    fn put(&mut self, kind: u8, bytes: &[u8]) {
        let has_room = |block: &&mut Vec<u8>| block[0] == kind && block.len() < BLOCK_BYTES;
        match self.0.last_mut().filter(has_room) {
            Some(block) => block.extend_from_slice(bytes),
            None => self.0.push([&[kind], bytes].concat()),
        }
    }
}

impl PinnedSnapshot {
    pub(crate) fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Hands the content to `write`, block by block.
    pub(crate) fn write(&self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        block.push(RECORDS);
        self.view.scan_stored(|record| {
            put_bytes(&mut block, record.key);
            put_varint(&mut block, record.revision);
            put_varint(&mut block, record.deadline_ms.unwrap_or(0));
            put_bytes(&mut block, record.stored);
            if block.len() >= BLOCK_BYTES {
                write(&block)?;
                block.truncate(1);
            }
            Ok(())
        })?;
        if block.len() > 1 {
            write(&block)?;
        }
        self.other_blocks.iter().try_for_each(|block| write(block))
    }
}

/// Replaces the whole content by that of a snapshot; readers see the old or the new, never a mixture.
pub(crate) fn load_snapshot(
    machine: &StateMachine,
    header: SnapshotHeader,
    mut next_block: impl FnMut() -> Result<Option<Vec<u8>>>,
) -> Result<()> {
    let mut content = Content::new();
    let mut slots: Vec<Slot> = Vec::new();
    let mut tokens = Vec::new();
    let mut writer = content.writer();
    writer.sessions = Sessions::after(header.sessions_opened);
    let newest_kind = match header.version {
        VERSION_WITHOUT_SESSIONS | VERSION_WITHOUT_TOKENS => SESSIONS,
        VERSION_WITHOUT_RECEIPTS => TOKENS,
        _ => INDEXES,
    };
    while let Some(block) = next_block()? {
        let mut reader = WireReader::new(&block);
        let kind = if header.version == VERSION_WITHOUT_SESSIONS { RECORDS } else { reader.u8()? };
        let has_consumers = header.version > VERSION_WITHOUT_RECEIPTS;
        if kind > newest_kind && !(kind == CONSUMERS && has_consumers) {
            return Err(damaged(&format!("a block of a snapshot of unknown kind {kind}")));
        }
        while !reader.is_empty() {
            if kind == SESSIONS {
                writer.sessions.decode(&mut reader, header.version > VERSION_WITHOUT_TOKENS)?;
                continue;
            }
            if kind == CONSUMERS {
                writer.consumers.decode(&mut reader)?;
                continue;
            }
            if kind == TOKENS {
                read_token(&mut reader, &mut tokens)?;
                continue;
            }
            if kind == RECEIPTS {
                writer.receipts.decode(&mut reader, header.time_ms)?;
                continue;
            }
            if kind == INDEXES {
                content.indexes.decode(&mut reader)?;
                continue;
            }
            let slot = read_record(&mut reader, header.revision)?;
            if slots.last().is_some_and(|last| *last >= slot) {
                return Err(damaged("records of a snapshot out of order"));
            }
            let (deadline_ms, stored_len) = {
                let current = slot.current();
                (current.as_ref().deadline_ms(), current.as_ref().stored.len())
            };
            if let Some(deadline_ms) = deadline_ms {
                writer.expiry.insert(&slot, deadline_ms);
            }
            content.count(1, slot.key().len() + stored_len);
            content.slots.pin().insert(slot.clone());
            slots.push(slot);
        }
    }
    writer.revision = header.revision;
    writer.time_ms = header.time_ms;
    drop(writer);
    *content.ordered.get_mut().unwrap_or_else(PoisonError::into_inner) = BTreeSet::from_iter(slots);
    *content.published.get_mut() = header.revision;
    *content.time_ms.get_mut() = header.time_ms;
    // Before anything of the new content is seen: what was revoked must not open it.
    machine.tokens().replace(tokens);
    machine.replace_content(content);
    Ok(())
}

fn read_record(reader: &mut WireReader<'_>, newest: u64) -> Result<Slot> {
    let key = reader.bytes()?;
    let revision = reader.varint()?;
    let deadline_ms = Some(reader.varint()?).filter(|deadline_ms| *deadline_ms != 0);
    let stored = reader.bytes()?;
    if key.is_empty() || key.len() > limits::KEY_BYTES_MAX || revision > newest || stored.is_empty() {
        return Err(damaged("a record of a snapshot that no command can have written"));
    }
    Ok(Slot::new(key, Version::new(revision, false, deadline_ms, stored)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::{UNSTAMPED_VERSION, put_batch_header, stamp_batch};
    use crate::encoding::command::put_command;
    use crate::model::{
        Command, Condition, ConsumerItem, EventKinds, NewTokenItem, Operation, Position, PutItem, Scopes, Selector,
        StepItem, TokenId, TransactionItem,
    };

    /// Two records, one with a deadline, as the first release wrote them: `header` and `block` in hex.
    const GOLDEN_V1: &str = include_str!("../../tests/golden/snapshot_content_v1.txt");
    /// The same with two sessions: `header`, `records` and `sessions`.
    const GOLDEN_V2: &str = include_str!("../../tests/golden/snapshot_content_v2.txt");
    /// The same with two tokens, one of which has opened a session: `header`, `records`, `sessions` and `tokens`.
    const GOLDEN_V3: &str = include_str!("../../tests/golden/snapshot_content_v3.txt");
    /// The same with four receipts, two indexes and two consumers: `header`, `records`, `sessions`, `tokens`, `receipts`,
    /// `indexes` and `consumers`.
    const GOLDEN_V4: &str = include_str!("../../tests/golden/snapshot_content_v4.txt");

    fn bytes_of(golden: &str, name: &str) -> Vec<u8> {
        let hex = golden.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn records() -> StateMachine {
        let machine = StateMachine::new();
        let mut payload = vec![UNSTAMPED_VERSION];
        for item in [
            PutItem { key: b"a", stored: b"\0\x01", deadline_ms: None },
            PutItem { key: b"b", stored: b"\0\x63two", deadline_ms: Some(1_700_000_000_000) },
        ] {
            let operation = Operation::Put { item, condition: Condition::Always };
            put_command(&mut payload, &Command { stamp_ms: 1_600_000_000_000, operation });
        }
        machine.apply(&payload, |_| {}).unwrap();
        machine
    }

    fn batch(session: u64, sequence: u64, acknowledged_below: u64, operations: &[Operation<'_>]) -> Vec<u8> {
        let mut payload = Vec::new();
        put_batch_header(&mut payload, session, sequence, acknowledged_below);
        for operation in operations {
            put_command(&mut payload, &Command { stamp_ms: 0, operation: operation.clone() });
        }
        stamp_batch(&mut payload, 1_600_000_000_000);
        payload
    }

    /// The same records, and sessions that have outcomes of every kind.
    fn sample_v2() -> StateMachine {
        let machine = records();
        let increment = |by| Operation::Increment { key: b"n", by, initial: 0, deadline_ms: None };
        for payload in [
            batch(0, 0, 0, &[Operation::OpenSession, Operation::OpenSession, Operation::OpenSession]),
            batch(3, 9, 0, &[increment(-3), Operation::TouchMany(vec![(b"x", 5), (b"n", 5)])]),
            batch(1, 1, 0, &[increment(1)]),
            batch(1, 7, 2, &[Operation::DeleteMany(vec![b"n"]), Operation::Touch { key: b"n", deadline_ms: 1 }]),
        ] {
            machine.apply(&payload, |_| {}).unwrap();
        }
        machine
    }

    /// The same, and tokens.
    fn sample_v3() -> StateMachine {
        let machine = sample_v2();
        let scopes = Scopes { read: true, write: true, admin: false };
        let bound = NewTokenItem {
            hash: [7; 32],
            name: "ci",
            scopes,
            key_prefixes: vec![b"a:", b"b"],
            deadline_ms: Some(5_000),
        };
        let admin = NewTokenItem {
            hash: [8; 32],
            name: "",
            scopes: Scopes { admin: true, ..Scopes::default() },
            key_prefixes: Vec::new(),
            deadline_ms: None,
        };
        let token = TokenId::of(&bound.hash);
        let open = Operation::Authorised { token, operation: Box::new(Operation::OpenSession) };
        let operations = [
            Operation::CreateToken(bound),
            Operation::CreateToken(admin),
            Operation::NoteTokenUse { token, used_ms: 1_500_000_000_000 },
            open,
        ];
        machine.apply(&batch(0, 0, 0, &operations), |_| {}).unwrap();
        machine
    }

    /// The same, and receipts: of somebody with a token and of others, with every kind of result; and two consumers, one
    /// of which has acknowledged.
    fn sample() -> StateMachine {
        let machine = sample_v3();
        let increment = StepItem::Increment { key: b"n", by: 7, initial: 1, deadline_ms: None };
        let get = |key| StepItem::Get(key);
        let big = TransactionItem {
            idempotency_key: b"first",
            then: vec![increment, get(b"a"), get(b"missing"), get(b"b"), StepItem::Delete(b"x")],
            ..TransactionItem::default()
        };
        let empty = TransactionItem { idempotency_key: b"second", ..TransactionItem::default() };
        let token = TokenId::of(&[7; 32]);
        let selector = Selector { prefix: Some(b"a"), ..Selector::default() };
        let item = ConsumerItem { name: "audit", kinds: EventKinds::default(), start: None, selector };
        let position = Position { revision: 2, changes: 1 };
        let operations = [
            Operation::Transact(big),
            Operation::Transact(empty.clone()),
            Operation::CreateIndex { name: "by_tag", path: "value.tags[]" },
            Operation::CreateIndex { name: "a", path: "value[\"b\"][0]" },
            Operation::Authorised {
                token: TokenId::of(&[8; 32]),
                operation: Box::new(Operation::Transact(empty.clone())),
            },
            Operation::Authorised { token, operation: Box::new(Operation::Transact(empty)) },
            Operation::CreateConsumer(item),
            Operation::CreateConsumer(ConsumerItem { name: "cache", start: Some(Position::before(1)), ..item }),
            Operation::AcknowledgeConsumer { name: "cache", position },
        ];
        machine.apply(&batch(0, 0, 0, &operations), |_| {}).unwrap();
        machine
    }

    fn blocks_of(snapshot: &PinnedSnapshot) -> Vec<Vec<u8>> {
        let mut blocks = Vec::new();
        let keep = |block: &[u8]| {
            blocks.push(block.to_vec());
            Ok(())
        };
        snapshot.write(keep).unwrap();
        blocks
    }

    fn load(header: &[u8], blocks: Vec<Vec<u8>>) -> Result<StateMachine> {
        let copy = StateMachine::new();
        let header = SnapshotHeader::decode(&mut WireReader::new(header))?;
        let mut blocks = blocks.into_iter();
        load_snapshot(&copy, header, || Ok(blocks.next()))?;
        Ok(copy)
    }

    #[test]
    fn the_content_of_a_released_snapshot_is_written_and_read_for_ever() {
        let machine = sample();
        let snapshot = machine.pin_snapshot();
        let mut header = Vec::new();
        snapshot.header().encode(&mut header);
        let mut written = format!("header {}\n", hex(&header));
        let names = ["records", "sessions", "tokens", "receipts", "indexes", "consumers"];
        for (name, block) in names.iter().zip(blocks_of(&snapshot)) {
            written += &format!("{name} {}\n", hex(&block));
        }
        assert_eq!(written, GOLDEN_V4);

        let blocks = names.map(|name| bytes_of(GOLDEN_V4, &format!("{name} "))).to_vec();
        let copy = load(&bytes_of(GOLDEN_V4, "header "), blocks).unwrap();
        assert_eq!(copy.digest().unwrap(), machine.digest().unwrap());
        assert_eq!(copy.time_ms(), 1_600_000_000_000);
        let mut outcomes = [Vec::new(), Vec::new()];
        let again = batch(3, 9, 0, &[]);
        machine.apply(&again, |outcome| outcomes[0].push(outcome)).unwrap();
        copy.apply(&again, |outcome| outcomes[1].push(outcome)).unwrap();
        assert_eq!(outcomes[0].len(), 2);
        assert_eq!(outcomes[0], outcomes[1], "what a session was told before, it is told after a snapshot");
        assert_eq!(copy.session_owner(4), Some(Some(TokenId::of(&[7; 32]))));
        assert_eq!(copy.session_owner(3), Some(None));
    }

    #[test]
    fn a_snapshot_with_tokens_and_without_receipts_is_read_for_ever() {
        let blocks = ["records ", "sessions ", "tokens "].map(|name| bytes_of(GOLDEN_V3, name)).to_vec();
        let copy = load(&bytes_of(GOLDEN_V3, "header "), blocks).unwrap();
        assert_eq!(copy.digest().unwrap(), sample_v3().digest().unwrap());
        assert!(load(&bytes_of(GOLDEN_V3, "header "), vec![bytes_of(GOLDEN_V4, "receipts ")]).is_err());
    }

    #[test]
    fn receipts_that_no_command_can_have_left_are_refused() {
        let (header, receipts) = (bytes_of(GOLDEN_V4, "header "), bytes_of(GOLDEN_V4, "receipts "));
        let loaded = load(&header, vec![receipts.clone()]).unwrap();
        assert_eq!(loaded.content().writer().receipts.len(), 4);
        assert!(load(&header, vec![receipts.clone(), receipts.clone()]).is_err(), "twice the same");
        assert!(load(&header, vec![receipts[..receipts.len() - 1].to_vec()]).is_err(), "cut off");
        let receipt = |key: &[u8], made_ms: u64, reply: &[u8]| {
            let mut block = vec![RECEIPTS, 0];
            put_bytes(&mut block, key);
            put_varint(&mut block, made_ms);
            put_bytes(&mut block, &[0; 32]);
            put_bytes(&mut block, reply);
            block
        };
        let done = [4, 1, 0, 0];
        assert!(load(&header, vec![receipt(b"k", 1_600_000_000_000, &done)]).is_ok());
        assert!(load(&header, vec![receipt(b"k", 1_600_000_000_001, &done)]).is_err(), "in the future");
        assert!(load(&header, vec![receipt(b"", 1, &done)]).is_err(), "without a key");
        assert!(load(&header, vec![receipt(&[7; 129], 1, &done)]).is_err(), "with a long key");
        assert!(load(&header, vec![receipt(b"k", 1, &[0, 0])]).is_err(), "of something else");
        assert!(load(&header, vec![receipt(b"k", 2, &done), receipt(b"l", 1, &done)]).is_err(), "out of order");
    }

    #[test]
    fn indexes_that_no_command_can_have_made_are_refused() {
        let (header, indexes) = (bytes_of(GOLDEN_V4, "header "), bytes_of(GOLDEN_V4, "indexes "));
        assert_eq!(load(&header, vec![indexes.clone()]).unwrap().indexes().len(), 2);
        assert!(load(&header, vec![indexes.clone(), indexes.clone()]).is_err(), "twice the same");
        assert!(load(&header, vec![indexes[..indexes.len() - 1].to_vec()]).is_err(), "cut off");
        let index = |name: &str, path: &str| {
            let mut block = vec![INDEXES];
            put_bytes(&mut block, name.as_bytes());
            put_bytes(&mut block, path.as_bytes());
            block
        };
        assert!(load(&header, vec![index("a", "value")]).is_ok());
        assert!(load(&header, vec![index("", "value")]).is_err(), "without a name");
        assert!(load(&header, vec![index("a", "price")]).is_err(), "of nothing");
        assert!(load(&header, vec![index("b", "value"), index("a", "value")]).is_err(), "out of order");
        let many = (0..17).map(|n| index(&format!("{n:02}"), "value")).collect();
        assert!(load(&header, many).is_err(), "too many");
    }

    #[test]
    fn consumers_that_no_command_can_have_made_are_refused() {
        let (header, consumers) = (bytes_of(GOLDEN_V4, "header "), bytes_of(GOLDEN_V4, "consumers "));
        assert!(load(&bytes_of(GOLDEN_V3, "header "), vec![consumers.clone()]).is_err());
        assert_eq!(load(&header, vec![consumers.clone()]).unwrap().consumers().len(), 2);
        assert!(load(&header, vec![consumers.clone(), consumers.clone()]).is_err(), "twice the same");
        assert!(load(&header, vec![consumers[..consumers.len() - 1].to_vec()]).is_err(), "cut off");
    }

    #[test]
    fn a_snapshot_with_sessions_and_without_tokens_is_read_for_ever() {
        let blocks = ["records ", "sessions "].map(|name| bytes_of(GOLDEN_V2, name)).to_vec();
        let copy = load(&bytes_of(GOLDEN_V2, "header "), blocks).unwrap();
        assert_eq!(copy.digest().unwrap(), sample_v2().digest().unwrap());
        assert!(load(&bytes_of(GOLDEN_V2, "header "), vec![bytes_of(GOLDEN_V3, "tokens ")]).is_err());
    }

    #[test]
    fn tokens_that_no_command_can_have_made_are_refused() {
        let (header, tokens) = (bytes_of(GOLDEN_V3, "header "), bytes_of(GOLDEN_V3, "tokens "));
        assert_eq!(load(&header, vec![tokens.clone()]).unwrap().tokens().len(), 2);
        assert!(load(&header, vec![tokens.clone(), tokens.clone()]).is_err(), "twice the same");
        assert!(load(&header, vec![tokens[..tokens.len() - 1].to_vec()]).is_err(), "cut off");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_snapshot_of_the_first_release_is_read_for_ever() {
        let copy = load(&bytes_of(GOLDEN_V1, "header "), vec![bytes_of(GOLDEN_V1, "block ")]).unwrap();
        assert_eq!(copy.digest().unwrap(), records().digest().unwrap());
        assert_eq!(copy.time_ms(), 1_600_000_000_000);
    }

    #[test]
    fn a_snapshot_of_a_newer_version_is_refused() {
        let mut header = bytes_of(GOLDEN_V2, "header ");
        for version in [0, SNAPSHOT_VERSION + 1] {
            header[0] = version;
            assert!(load(&header, Vec::new()).is_err());
        }
        assert!(load(&bytes_of(GOLDEN_V4, "header "), vec![vec![5]]).is_err(), "a block of an unknown kind");
    }

    #[test]
    fn sessions_that_no_command_can_have_opened_are_refused() {
        let (header, sessions) = (bytes_of(GOLDEN_V2, "header "), bytes_of(GOLDEN_V2, "sessions "));
        assert!(load(&header, vec![sessions.clone()]).is_ok());
        assert!(load(&header, vec![sessions.clone(), sessions.clone()]).is_err(), "twice the same");
        for number in [0, 4] {
            assert!(load(&header, vec![vec![SESSIONS, number, 0, 0]]).is_err(), "a number never given");
        }
        assert!(load(&header, vec![vec![SESSIONS, 1, 5, 1, 4, 0]]).is_err(), "kept though acknowledged");
        assert!(load(&header, vec![vec![SESSIONS, 1, 0, 2, 4, 0, 4, 0]]).is_err(), "the same batch twice");
        let mut full = vec![SESSIONS, 1, 0, 65];
        (0..65).for_each(|sequence| full.extend_from_slice(&[sequence, 0]));
        assert!(load(&header, vec![full]).is_err(), "more batches than one may keep");
    }
}
