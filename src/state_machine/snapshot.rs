//! Snapshot: the content as blocks of bytes and back. Framing, checksums and files are storage's.
//!
//! ```text
//! header := version (1)  revision  time_ms  record count (about; for progress only)
//! block  := record*          about 1 MiB
//! record := key  revision  deadline_ms (0: none)  stored value
//! ```
//! Records come in strictly ascending key order over all blocks.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::keyspace::{Content, StateMachine};
use super::slot::{Slot, Version};
use super::view::View;
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::limits;

const SNAPSHOT_VERSION: u8 = 1;
const BLOCK_BYTES: usize = 1024 * 1024;

/// What stands before the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) revision: u64,
    pub(crate) time_ms: u64,
    pub(crate) records: u64,
}

impl SnapshotHeader {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(SNAPSHOT_VERSION);
        put_varint(out, self.revision);
        put_varint(out, self.time_ms);
        put_varint(out, self.records);
    }

    pub(crate) fn decode(reader: &mut WireReader<'_>) -> Result<SnapshotHeader> {
        match reader.u8()? {
            SNAPSHOT_VERSION => {}
            other => {
                return Err(damaged(&format!("snapshot of version {other}, this release knows {SNAPSHOT_VERSION}")));
            }
        }
        Ok(SnapshotHeader { revision: reader.varint()?, time_ms: reader.varint()?, records: reader.varint()? })
    }
}

impl View {
    pub(crate) fn snapshot_header(&self, machine: &StateMachine) -> SnapshotHeader {
        SnapshotHeader { revision: self.revision(), time_ms: machine.time_ms(), records: machine.len() }
    }

    /// Hands the content to `write`, block by block.
    pub(crate) fn write_snapshot(&self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        self.scan_stored(|record| {
            put_bytes(&mut block, record.key);
            put_varint(&mut block, record.revision);
            put_varint(&mut block, record.deadline_ms.unwrap_or(0));
            put_bytes(&mut block, record.stored);
            if block.len() >= BLOCK_BYTES {
                write(&block)?;
                block.clear();
            }
            Ok(())
        })?;
        if block.is_empty() { Ok(()) } else { write(&block) }
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
    let mut writer = content.writer();
    while let Some(block) = next_block()? {
        let mut reader = WireReader::new(&block);
        while !reader.is_empty() {
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
    use crate::encoding::command::{COMMANDS_VERSION, put_command};
    use crate::model::{Command, Condition, Operation, PutItem};

    /// Two records, one with a deadline, as a released version wrote them: `header` and `block` in hex.
    const GOLDEN: &str = include_str!("../../tests/golden/snapshot_content_v1.txt");

    fn bytes_of(name: &str) -> Vec<u8> {
        let hex = GOLDEN.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn sample() -> StateMachine {
        let machine = StateMachine::new();
        let mut payload = vec![COMMANDS_VERSION];
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

    #[test]
    fn the_content_of_a_released_snapshot_is_written_and_read_for_ever() {
        let machine = sample();
        let view = machine.view(0);
        let mut header = Vec::new();
        view.snapshot_header(&machine).encode(&mut header);
        let mut block = Vec::new();
        view.write_snapshot(|bytes| {
            block.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!((&header, &block), (&bytes_of("header "), &bytes_of("block ")), "{header:02x?} {block:02x?}");

        let copy = StateMachine::new();
        let header = SnapshotHeader::decode(&mut WireReader::new(&bytes_of("header "))).unwrap();
        let mut blocks = Some(bytes_of("block "));
        load_snapshot(&copy, header, || Ok(blocks.take())).unwrap();
        assert_eq!(copy.digest().unwrap(), machine.digest().unwrap());
        assert_eq!(copy.time_ms(), 1_600_000_000_000);
    }

    #[test]
    fn a_snapshot_of_a_newer_version_is_refused() {
        let mut header = bytes_of("header ");
        header[0] = SNAPSHOT_VERSION + 1;
        assert!(SnapshotHeader::decode(&mut WireReader::new(&header)).is_err());
    }
}
