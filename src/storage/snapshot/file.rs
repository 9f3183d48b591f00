//! SnapshotFile: one whole snapshot, and its reader.

use std::path::PathBuf;
use std::sync::Arc;

use super::{BLOCK, END, HEAD_BYTES, HEADER, PART_HEAD_BYTES, Reach, crc_of_part, decode_head};
use crate::error::Result;
use crate::storage::data_dir::Identity;
use crate::storage::files::StoredFile;
use crate::storage::{damaged, io_failed};

/// A whole snapshot; stays readable while it is held, even when a newer one replaces it.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    /// Of two the one with the higher number was installed later.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    file: Arc<dyn StoredFile>,
    bytes: u64,
    /// See `Reach`.
    pub(super) reached: u64,
}

impl SnapshotFile {
    /// Checks the head.
    pub(super) fn load(
        number: u64,
        path: PathBuf,
        file: Arc<dyn StoredFile>,
        identity: Identity,
    ) -> Result<SnapshotFile> {
        let mut head = [0; HEAD_BYTES as usize];
        let read = file.read_at(&mut head, 0).and_then(|count| Ok((count, file.len()?)));
        let (count, bytes) = read.map_err(|error| io_failed("read", &path, error))?;
        let cluster_id = decode_head(&head[..count], &path)?;
        if cluster_id != identity.cluster_id {
            return Err(damaged(&path, 16, "it belongs to another cluster"));
        }
        Ok(SnapshotFile { number, path, file, bytes, reached: 0 })
    }

    /// The same, knowing how far it reaches.
    pub(super) fn reaching(self, reach: Reach) -> Result<SnapshotFile> {
        let reached = reach(self.open()?.header())?;
        Ok(SnapshotFile { reached, ..self })
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Raw bytes for another node, from `offset`; fewer than `bytes_max` only at the end.
    pub(crate) fn chunk(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>> {
        let mut chunk = vec![0; self.bytes.saturating_sub(offset).min(bytes_max as u64) as usize];
        let read = self.file.read_at(&mut chunk, offset).map_err(|error| io_failed("read", &self.path, error))?;
        chunk.truncate(read);
        Ok(chunk)
    }

    /// Reads all of it; an error if anything is damaged or missing.
    pub(super) fn verify(&self) -> Result<()> {
        let mut reader = self.open()?;
        while reader.next_block()?.is_some() {}
        Ok(())
    }

    /// Reads it from the beginning.
    pub(crate) fn open(&self) -> Result<SnapshotReader> {
        let mut reader = SnapshotReader {
            snapshot: self.clone(),
            offset: HEAD_BYTES,
            part: 0,
            blocks: 0,
            block_bytes: 0,
            header: Vec::new(),
            is_done: false,
        };
        match reader.next_part()? {
            (HEADER, header) => reader.header = header,
            _ => return Err(damaged(&self.path, HEAD_BYTES, "the header is missing")),
        }
        Ok(reader)
    }
}

/// Reads a snapshot block by block.
pub(crate) struct SnapshotReader {
    snapshot: SnapshotFile,
    offset: u64,
    part: u64,
    blocks: u64,
    block_bytes: u64,
    header: Vec<u8>,
    is_done: bool,
}

impl SnapshotReader {
    /// What `create` was given.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The next block; `None` after the last one, and then the snapshot is known to be complete.
    ///
    /// Errors: `corrupt` with file and offset.
    pub(crate) fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_done {
            return Ok(None);
        }
        let offset = self.offset;
        let (kind, body) = self.next_part()?;
        let path = &self.snapshot.path;
        match kind {
            BLOCK => {
                self.blocks += 1;
                self.block_bytes += body.len() as u64;
                Ok(Some(body))
            }
            END => {
                let mut expected = self.blocks.to_le_bytes().to_vec();
                expected.extend_from_slice(&self.block_bytes.to_le_bytes());
                if body != expected || self.offset != self.snapshot.bytes {
                    return Err(damaged(path, offset, "its end does not fit what comes before or after"));
                }
                self.is_done = true;
                Ok(None)
            }
            _ => Err(damaged(path, offset, "a part of unknown kind")),
        }
    }

    fn next_part(&mut self) -> Result<(u8, Vec<u8>)> {
        let SnapshotFile { file, path, bytes, .. } = &self.snapshot;
        let bad = |what: &str| damaged(path, self.offset, what);
        let read = |buffer: &mut [u8], offset: u64| -> Result<bool> {
            let count = file.read_at(buffer, offset).map_err(|error| io_failed("read", path, error))?;
            Ok(count == buffer.len())
        };
        let mut head = [0; PART_HEAD_BYTES];
        if !read(&mut head, self.offset)? {
            return Err(bad("it ends too early"));
        }
        let four = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (length, crc) = (u64::from(four(4)), four(8));
        let from = self.offset + PART_HEAD_BYTES as u64;
        if length > bytes.saturating_sub(from) {
            return Err(bad("a part reaches beyond the end"));
        }
        let mut body = vec![0; length as usize];
        if !read(&mut body, from)? || crc_of_part(self.part, &head, &body) != crc {
            return Err(bad("wrong checksum"));
        }
        self.part += 1;
        self.offset = from + length;
        Ok((head[0], body))
    }
}
