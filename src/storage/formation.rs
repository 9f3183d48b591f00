//! Formation: a note in the data directory of a node that is about to found or join a cluster.
//!
//! The file: magic (8), format (4), length (4), the note, CRC-32 of all before it (4). What the note says is the business of
//! who wrote it.

use std::io;

use super::data_dir::{DataDir, check_format};
use super::{damaged, io_failed, small_file};
use crate::error::{Error, ErrorKind, Result};

pub(super) const FORMATION: &str = "FORMATION";
const MAGIC: &[u8; 8] = b"CONCFORM";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// Longest note. Beyond it: `value_too_large`.
const NOTE_BYTES_MAX: usize = 4096;

impl DataDir {
    /// Saves the note, durably, in place of the one before.
    ///
    /// Errors: `value_too_large` beyond 4,096 bytes; `io`.
    pub(crate) fn save_note(&self, note: &[u8]) -> Result<()> {
        if note.len() > NOTE_BYTES_MAX {
            let message = format!("the note about the formation has {} bytes, at most {NOTE_BYTES_MAX}", note.len());
            return Err(Error::new(ErrorKind::ValueTooLarge, message));
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&(note.len() as u32).to_le_bytes());
        bytes.extend_from_slice(note);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let written = small_file::replace(&**self.files(), self.path(), FORMATION, &bytes);
        written.map_err(|error| io_failed("write", &self.path().join(FORMATION), error))
    }

    /// The last saved note, unless it was removed.
    ///
    /// Errors: `corrupt`, `invalid_config` (a newer release wrote it), `io`.
    pub(crate) fn read_note(&self) -> Result<Option<Vec<u8>>> {
        let path = self.path().join(FORMATION);
        let bytes = small_file::read(&**self.files(), &path, HEAD_BYTES + NOTE_BYTES_MAX + CRC_BYTES);
        let Some(bytes) = bytes.map_err(|error| io_failed("read", &path, error))? else { return Ok(None) };
        let Some((body, crc)) = bytes.split_last_chunk::<CRC_BYTES>().filter(|(body, _)| body.len() >= HEAD_BYTES)
        else {
            return Err(damaged(&path, 0, "it is too short"));
        };
        if &body[..8] != MAGIC || crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(damaged(&path, 0, "wrong checksum"));
        }
        let number = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().expect("four bytes"));
        check_format(number(8), FORMAT, &path)?;
        if number(12) as usize != body.len() - HEAD_BYTES {
            return Err(damaged(&path, 12, "wrong length"));
        }
        Ok(Some(body[HEAD_BYTES..].to_vec()))
    }

    /// Removes the note, durably; nothing happens if there is none.
    pub(crate) fn remove_note(&self) -> Result<()> {
        let path = self.path().join(FORMATION);
        let removed = match self.files().remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| self.files().sync_dir(self.path())),
        };
        removed.map_err(|error| io_failed("remove", &path, error))
    }
}
