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
