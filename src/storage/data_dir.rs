//! DataDir: one directory that belongs to one node, locked while it is open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{Files, LockGuard};
use super::{damaged, io_failed};
use crate::error::{Error, ErrorKind, Result};

const META_MAGIC: &[u8; 8] = b"CONCMETA";
const META_FORMAT: u32 = 1;
const META_BYTES: usize = 64;
const META: &str = "META";
const META_TEMP: &str = "META.tmp";

/// Whose data this is; written once, when the directory is made, and repeated in every other file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub cluster_id: u128,
    pub node_id: u64,
}

/// An open data directory.
///
/// - Made with mode 0700, its files with 0600. No link inside it is followed.
/// - Locked until it is released or the last clone is dropped: another process, or this one again, gets `locked`.
/// - Holds `LOCK`, `META`, `log/` and `snapshot/`.
#[derive(Clone)]
pub(crate) struct DataDir {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    files: Arc<dyn Files>,
    identity: Identity,
    had_log: AtomicBool,
    lock: Mutex<Option<LockGuard>>,
}

impl DataDir {
    /// Opens or creates the directory; `fresh` names its owner when it is new.
    ///
    /// Errors: `locked`, `corrupt` (damaged `META`, or files without one), `invalid_config` (written by a newer
    /// release), `io`.
    pub(crate) fn open(path: &Path, files: Arc<dyn Files>, fresh: impl FnOnce() -> Identity) -> Result<DataDir> {
        files.create_dir(path).map_err(|error| io_failed("create the data directory", path, error))?;
        let lock_path = path.join("LOCK");
        let owner = format!("process {}", std::process::id());
        let lock = files.lock(&lock_path, &owner).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::new(
                ErrorKind::Locked,
                format!(
                    "{} is in use by {error}; close it there, or give this one a data_dir of its own",
                    path.display()
                ),
            ),
            _ => io_failed("lock", &lock_path, error),
        })?;
        let meta = match read_meta(path, &*files)? {
            Some(meta) => meta,
            None => write_meta(path, &*files, Meta { identity: fresh(), had_log: false })?,
        };
        for name in ["log", "snapshot"] {
            let dir = path.join(name);
            files.create_dir(&dir).map_err(|error| io_failed("create", &dir, error))?;
        }
        files.sync_dir(path).map_err(|error| io_failed("sync", path, error))?;
        let had_log = AtomicBool::new(meta.had_log);
        let inner =
            Inner { path: path.to_owned(), files, identity: meta.identity, had_log, lock: Mutex::new(Some(lock)) };
        Ok(DataDir { inner: Arc::new(inner) })
    }

    /// Whose data this is.
    pub(crate) fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// Gives the directory back, though clones may still be held. Only when nothing writes to it any more.
    pub(crate) fn release(&self) {
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether a log was ever made here. Without its log a node has forgotten its votes and must not go on as if it were new.
    pub(super) fn had_log(&self) -> bool {
        self.inner.had_log.load(Ordering::Relaxed)
    }

    /// Notes, durably, that there is a log.
    pub(super) fn note_log(&self) -> Result<()> {
        if !self.had_log() {
            write_meta(self.path(), &**self.files(), Meta { identity: self.identity(), had_log: true })?;
            self.inner.had_log.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn files(&self) -> &Arc<dyn Files> {
        &self.inner.files
    }
}

/// What the META file says.
#[derive(Clone, Copy)]
struct Meta {
    identity: Identity,
    had_log: bool,
}

fn read_meta(path: &Path, files: &dyn Files) -> Result<Option<Meta>> {
    let names = files.list(path).map_err(|error| io_failed("list", path, error))?;
    let (meta, temp) = (path.join(META), path.join(META_TEMP));
    if names.iter().any(|name| name == META_TEMP) {
        files.remove(&temp).map_err(|error| io_failed("remove", &temp, error))?;
    }
    if !names.iter().any(|name| name == META) {
        for name in ["log", "snapshot"] {
            let dir = path.join(name);
            if names.iter().any(|found| found == name) && !files.list(&dir).is_ok_and(|inside| inside.is_empty()) {
                return Err(damaged(&meta, 0, format!("it is missing, yet {} holds files", dir.display())));
            }
        }
        return Ok(None);
    }
    let read = || -> io::Result<(usize, [u8; META_BYTES + 1])> {
        let mut bytes = [0; META_BYTES + 1];
        let count = files.open(&meta)?.read_at(&mut bytes, 0)?;
        Ok((count, bytes))
    };
    let (count, bytes) = read().map_err(|error| io_failed("read", &meta, error))?;
    decode_meta(&bytes[..count], &meta).map(Some)
}

/// Replaces the file in one step.
fn write_meta(path: &Path, files: &dyn Files, content: Meta) -> Result<Meta> {
    let (meta, temp) = (path.join(META), path.join(META_TEMP));
    let write = || -> io::Result<()> {
        let file = files.create(&temp)?;
        file.write_at(&encode_meta(content), 0)?;
        file.sync_data()?;
        files.rename(&temp, &meta)?;
        files.sync_dir(path)
    };
    write().map_err(|error| io_failed("write", &meta, error))?;
    Ok(content)
}

/// Magic (8), format (4), zero (4), cluster (16), node (8), had a log (1), zero (19), CRC-32 of all before it (4).
fn encode_meta(meta: Meta) -> [u8; META_BYTES] {
    let mut bytes = [0; META_BYTES];
    bytes[..8].copy_from_slice(META_MAGIC);
    bytes[8..12].copy_from_slice(&META_FORMAT.to_le_bytes());
    bytes[16..32].copy_from_slice(&meta.identity.cluster_id.to_le_bytes());
    bytes[32..40].copy_from_slice(&meta.identity.node_id.to_le_bytes());
    bytes[40] = u8::from(meta.had_log);
    let crc = crc32fast::hash(&bytes[..META_BYTES - 4]);
    bytes[META_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode_meta(bytes: &[u8], path: &Path) -> Result<Meta> {
    let Ok(bytes) = <&[u8; META_BYTES]>::try_from(bytes) else {
        return Err(damaged(path, 0, format!("it has not {META_BYTES} bytes")));
    };
    let (body, crc) = bytes.split_last_chunk::<4>().expect("META_BYTES is more than 4");
    if &bytes[..8] != META_MAGIC {
        return Err(damaged(path, 0, "it is not a META file"));
    }
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(damaged(path, 0, "wrong checksum"));
    }
    let format = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    check_format(format, META_FORMAT, path)?;
    let identity = Identity {
        cluster_id: u128::from_le_bytes(bytes[16..32].try_into().expect("sixteen bytes")),
        node_id: u64::from_le_bytes(bytes[32..40].try_into().expect("eight bytes")),
    };
    Ok(Meta { identity, had_log: bytes[40] == 1 })
}

/// Refuses a format that this release does not know.
pub(super) fn check_format(found: u32, known: u32, path: &Path) -> Result<()> {
    if found == known {
        return Ok(());
    }
    let message = format!(
        "{} has format {found}, this release of Concord knows {known}; open it with the release that wrote it or a newer one",
        path.display()
    );
    Err(Error::new(ErrorKind::InvalidConfig, message))
}
