//! DataDir: one directory that belongs to one node, locked while it is open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{Files, LockGuard};
use super::io_failed;
use super::meta::{META, Meta, read_meta, write_meta};
use super::replacement;
use crate::error::{Error, ErrorKind, Result};

/// Whose data this is; repeated in every other file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// 0 until the node belongs to a cluster, see `DataDir::adopt`.
    pub cluster_id: u128,
    pub node_id: u64,
}

/// An open data directory.
///
/// - Made with mode 0700, its files with 0600. No link inside it is followed.
/// - Locked until it is released or the last clone is dropped: another process, or this one again, gets `locked`.
/// - Holds `LOCK`, `META`, `log/` and `snapshot/`, and `FORMATION` while its node is about to found or join a cluster.
#[derive(Clone)]
pub(crate) struct DataDir {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    files: Arc<dyn Files>,
    meta: Mutex<Meta>,
    lock: Mutex<Option<LockGuard>>,
}

impl DataDir {
    /// Opens or creates the directory; `fresh` names its owner when it is new.
    ///
    /// Errors: `locked`, `corrupt` (damaged `META`, or files without one), `invalid_config` (written by a newer
    /// release, or a recovery was interrupted just before its end), `io`.
    pub(crate) fn open(path: &Path, files: Arc<dyn Files>, fresh: impl FnOnce() -> Identity) -> Result<DataDir> {
        if !holds_data(path, &*files) {
            replacement::refuse_half_swapped(path, &*files)?;
        }
        DataDir::open_or_make(path, files, || Ok(fresh()))
    }

    /// Opens a directory that must hold data already.
    ///
    /// Errors: as `open`; `not_found` when there is nothing.
    pub(crate) fn open_existing(path: &Path, files: Arc<dyn Files>) -> Result<DataDir> {
        let nothing = || {
            let message = format!("{} holds no data of Concord; give the directory of a node", path.display());
            Error::new(ErrorKind::NotFound, message)
        };
        if !holds_data(path, &*files) {
            replacement::refuse_half_swapped(path, &*files)?;
            return Err(nothing());
        }
        DataDir::open_or_make(path, files, || Err(nothing()))
    }

    fn open_or_make(path: &Path, files: Arc<dyn Files>, fresh: impl FnOnce() -> Result<Identity>) -> Result<DataDir> {
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
            None => write_meta(path, &*files, Meta { identity: fresh()?, had_log: false })?,
        };
        for name in ["log", "snapshot"] {
            let dir = path.join(name);
            files.create_dir(&dir).map_err(|error| io_failed("create", &dir, error))?;
        }
        files.sync_dir(path).map_err(|error| io_failed("sync", path, error))?;
        let (meta, lock) = (Mutex::new(meta), Mutex::new(Some(lock)));
        let inner = Inner { path: path.to_owned(), files, meta, lock };
        Ok(DataDir { inner: Arc::new(inner) })
    }

    fn meta(&self) -> MutexGuard<'_, Meta> {
        self.inner.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose data this is.
    pub(crate) fn identity(&self) -> Identity {
        self.meta().identity
    }

    /// Makes the node, which belonged to no cluster yet, a member of this one, durably. Its log and snapshots are opened
    /// after that. Nothing happens if it belongs to this cluster already.
    ///
    /// Errors: `invalid_config` when it belongs to another cluster, has a log, or `cluster_id` is 0; `io`.
    pub(crate) fn adopt(&self, cluster_id: u128) -> Result<()> {
        let mut meta = self.meta();
        if cluster_id == meta.identity.cluster_id && cluster_id != 0 {
            return Ok(());
        }
        let why = if cluster_id == 0 {
            "cannot be given to cluster 0, which stands for none; name a cluster".to_owned()
        } else if meta.identity.cluster_id != 0 {
            format!(
                "belongs to cluster {:032x} and cannot change to {cluster_id:032x}; give the node an empty data_dir to join that one",
                meta.identity.cluster_id
            )
        } else if meta.had_log {
            "holds a log already, of no cluster; give the node an empty data_dir".to_owned()
        } else {
            let identity = Identity { cluster_id, ..meta.identity };
            *meta = write_meta(self.path(), &**self.files(), Meta { identity, ..*meta })?;
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidConfig, format!("{} {why}", self.path().display())))
    }

    /// Every file carries the cluster id, so nothing may be opened before there is one.
    pub(super) fn assert_adopted(&self) {
        assert!(self.identity().cluster_id != 0, "a data directory is adopted before its log and snapshots are opened");
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
        self.meta().had_log
    }

    /// Notes, durably, that there is a log.
    pub(super) fn note_log(&self) -> Result<()> {
        let mut meta = self.meta();
        if !meta.had_log {
            *meta = write_meta(self.path(), &**self.files(), Meta { had_log: true, ..*meta })?;
        }
        Ok(())
    }

    pub(super) fn files(&self) -> &Arc<dyn Files> {
        &self.inner.files
    }
}

/// Whether there is a data directory, as far as can be seen without its lock.
pub(super) fn holds_data(path: &Path, files: &dyn Files) -> bool {
    files.list(path).is_ok_and(|names| names.iter().any(|name| name == META))
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
