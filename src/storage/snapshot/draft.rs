//! Draft: a snapshot under a temporary name, and the writer that fills it.

use std::path::PathBuf;
use std::sync::Arc;

use super::store::Shelf;
use super::{BLOCK, END, HEADER, PART_HEAD_BYTES, SnapshotFile, crc_of_part, encode_head};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::files::StoredFile;
use crate::storage::io_failed;

/// Written and synced at once, so that the log's fdatasync never waits behind many dirty pages.
const STEP_BYTES: usize = 256 * 1024;

/// A file that is being written; removed when it is dropped before it is installed.
pub(super) struct Draft {
    pub shelf: Arc<Shelf>,
    pub temp: PathBuf,
    pub file: Arc<dyn StoredFile>,
    written: u64,
    buffer: Vec<u8>,
    /// A write or sync has failed: what is in the file is not known, and a later sync would not tell.
    is_spoiled: bool,
    is_installed: bool,
}

impl Draft {
    pub(super) fn new(shelf: Arc<Shelf>, temp: PathBuf, file: Arc<dyn StoredFile>) -> Draft {
        Draft { shelf, temp, file, written: 0, buffer: Vec::new(), is_spoiled: false, is_installed: false }
    }

    /// Bytes taken so far.
    pub(super) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(STEP_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == STEP_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Makes all that was appended durable.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.is_spoiled {
            let message = format!("an earlier write to {} failed; begin the snapshot again", self.temp.display());
            return Err(Error::new(ErrorKind::Io, message));
        }
        let written = self.file.write_at(&self.buffer, self.written).and_then(|()| self.file.sync_data());
        self.is_spoiled = written.is_err();
        written.map_err(|error| io_failed("write", &self.temp, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<SnapshotFile> {
        self.flush()?;
        let (snapshot, is_newest) = self.shelf.install(&self.temp, self.file.clone())?;
        self.is_installed = is_newest;
        Ok(snapshot)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_installed {
            self.shelf.discard(&self.temp);
        }
    }
}

/// A snapshot being written. Dropped before `finish`, it leaves nothing behind.
pub(crate) struct SnapshotWriter {
    draft: Draft,
    part: u64,
    blocks: u64,
    block_bytes: u64,
}

impl SnapshotWriter {
    pub(super) fn begin(draft: Draft, header: &[u8]) -> Result<SnapshotWriter> {
        let mut writer = SnapshotWriter { draft, part: 0, blocks: 0, block_bytes: 0 };
        let head = encode_head(writer.draft.shelf.identity);
        writer.draft.append(&head)?;
        writer.write_part(HEADER, header)?;
        Ok(writer)
    }

    /// Adds a block (less than 4 GiB; some 256 KiB are a good size).
    pub(crate) fn write_block(&mut self, block: &[u8]) -> Result<()> {
        self.blocks += 1;
        self.block_bytes += block.len() as u64;
        self.write_part(BLOCK, block)
    }

    /// Makes it durable and the newest snapshot; the one before is removed. When one that reaches further came in
    /// meanwhile, that one stays; this one can be read while it is held.
    pub(crate) fn finish(mut self) -> Result<SnapshotFile> {
        let mut end = self.blocks.to_le_bytes().to_vec();
        end.extend_from_slice(&self.block_bytes.to_le_bytes());
        self.write_part(END, &end)?;
        self.draft.finish()
    }

    fn write_part(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len())
            .map_err(|_| Error::new(ErrorKind::ValueTooLarge, "a block of a snapshot is smaller than 4 GiB"))?;
        let mut head = [0; PART_HEAD_BYTES];
        head[0] = kind;
        head[4..8].copy_from_slice(&length.to_le_bytes());
        let crc = crc_of_part(self.part, &head, body);
        head[8..].copy_from_slice(&crc.to_le_bytes());
        self.part += 1;
        self.draft.append(&head)?;
        self.draft.append(body)
    }
}
