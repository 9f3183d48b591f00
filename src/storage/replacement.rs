//! Replacement: a new data directory is made beside an old one and takes its place in the end.
//!
//! | name | what it is |
//! |--|--|
//! | `DIR` | what a node opens |
//! | `DIR.recovering` | the new one, not finished; a later attempt removes it |
//! | `DIR.recovered` | the new one, whole; a later attempt removes it too while `DIR` is there |
//! | `DIR.before-recovery-TIME` | the old one, kept for the operator to look at and delete |
//!
//! A crash leaves `DIR` as it was or the new one, except between the last two renames: then there is no `DIR` but
//! `DIR.recovered`, opening says so, and `Replacement::complete` does the last rename.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::data_dir::{DataDir, Identity, holds_data};
use super::files::{Files, parent_of};
use super::io_failed;
use crate::error::{Error, ErrorKind, Result};

const RECOVERING: &str = ".recovering";
const RECOVERED: &str = ".recovered";
const BEFORE: &str = ".before-recovery-";

/// The old directory, locked, and the new one, locked too. Dropped before `swap`, it leaves the old one as it is.
pub(crate) struct Replacement {
    old: DataDir,
    fresh: DataDir,
}

impl Replacement {
    /// Makes a new directory beside `old`, whose owner is `identity`; what an earlier attempt left goes. `old` is only read.
    ///
    /// Errors: `invalid_config` when the path of `old` has no name of its own (`.`, `..`); `io`.
    pub(crate) fn begin(old: DataDir, identity: Identity) -> Result<Replacement> {
        let fresh_path = beside(old.path(), RECOVERING)?;
        let files = old.files();
        for path in [&fresh_path, &beside(old.path(), RECOVERED)?] {
            if files.list(path).is_ok() {
                files.remove_tree(path).map_err(|error| io_failed("remove", path, error))?;
            }
        }
        let fresh = DataDir::open(&fresh_path, files.clone(), || identity)?;
        Ok(Replacement { old, fresh })
    }

    /// The new directory, for its log and snapshots. They are closed before `swap`.
    pub(crate) fn fresh(&self) -> &DataDir {
        &self.fresh
    }

    /// Puts the new directory, all of whose files are durable, in the place of the old one, which is kept under the name that
    /// is returned. `time` tells one such name from another. Both are unlocked in the end.
    ///
    /// Errors: `already_exists` when that name is taken; `io`, and then see the head of this file.
    pub(crate) fn swap(self, time: &str) -> Result<PathBuf> {
        let (path, files) = (self.old.path(), self.old.files());
        let kept = beside(path, &format!("{BEFORE}{time}"))?;
        if files.list(&kept).is_ok() {
            let message = format!("{} is there already; move it away, or try again later", kept.display());
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let recovered = beside(path, RECOVERED)?;
        rename_dir(&**files, self.fresh.path(), &recovered)?;
        rename_dir(&**files, path, &kept)?;
        rename_dir(&**files, &recovered, path)?;
        self.old.release();
        self.fresh.release();
        Ok(kept)
    }

    /// Does the last rename of a swap that a crash has interrupted. False when there was none.
    pub(crate) fn complete(path: &Path, files: &Arc<dyn Files>) -> Result<bool> {
        let recovered = beside(path, RECOVERED)?;
        if holds_data(path, &**files) || !holds_data(&recovered, &**files) {
            return Ok(false);
        }
        rename_dir(&**files, &recovered, path)?;
        Ok(true)
    }
}

/// An error when there is no directory because a swap was interrupted: a new, empty one must not take its place.
pub(super) fn refuse_half_swapped(path: &Path, files: &dyn Files) -> Result<()> {
    match beside(path, RECOVERED) {
        Ok(recovered) if holds_data(&recovered, files) => {
            let message = format!(
                "the recovery of {} was interrupted just before its end: run `concord recover` again, or rename {} to it",
                path.display(),
                recovered.display()
            );
            Err(Error::new(ErrorKind::InvalidConfig, message))
        }
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        let message = format!("{} has no name of its own; give the full path of the data directory", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    };
    let mut name = name.to_owned();
    name.push(suffix);
    Ok(path.with_file_name(name))
}

fn rename_dir(files: &dyn Files, from: &Path, to: &Path) -> Result<()> {
    let renamed = files.rename(from, to).and_then(|()| files.sync_dir(parent_of(to)));
    renamed.map_err(|error| io_failed(&format!("rename to {}", to.display()), from, error))
}
