//! SnapshotReceiver: takes over a snapshot from another node of the cluster, byte for byte.

use super::SnapshotFile;
use super::draft::Draft;
use crate::error::{Error, ErrorKind, Result};

/// A snapshot that comes from another node. Dropped before `finish`, it leaves nothing behind.
///
/// - Nothing of it counts before all of it was verified.
/// - After an error it can be begun again, with `write` at offset 0.
pub(crate) struct SnapshotReceiver {
    draft: Draft,
}

impl SnapshotReceiver {
    pub(super) fn new(draft: Draft) -> SnapshotReceiver {
        SnapshotReceiver { draft }
    }

    /// Takes the next bytes of the file, in order and without gap; offset 0 begins again. It may block on the disk.
    ///
    /// Errors: `condition_failed` when `offset` is not where the bytes before end; `io`.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let received = self.draft.bytes();
        if offset == 0 && received > 0 {
            self.draft = self.draft.shelf.draft()?;
        } else if offset != received {
            let message = format!("bytes at {offset} do not follow the {received} received; begin again at offset 0");
            return Err(Error::new(ErrorKind::ConditionFailed, message));
        }
        self.draft.append(bytes)
    }

    /// Bytes taken so far, and so the offset of the next `write`.
    pub(crate) fn received(&self) -> u64 {
        self.draft.bytes()
    }

    /// Verifies all of it and makes it the newest snapshot, in one step. When one that reaches further came in meanwhile, that
    /// one stays; this one can be read while it is held. Reads the whole file.
    ///
    /// Errors: `corrupt` when anything is damaged or missing or it belongs to another cluster; `io`.
    pub(crate) fn finish(mut self) -> Result<SnapshotFile> {
        self.draft.flush()?;
        let identity = self.draft.shelf.identity;
        SnapshotFile::load(0, self.draft.temp.clone(), self.draft.file.clone(), identity)?.verify()?;
        self.draft.finish()
    }
}
