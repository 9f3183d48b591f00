//! Files: the seam between storage and the operating system, so that tests inject faults and a simulation runs in memory.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// Holds a lock for as long as it lives.
pub(crate) type LockGuard = Box<dyn Send + Sync>;

/// An open file, read and written at offsets.
pub(crate) trait StoredFile: Send + Sync {
    /// Fills `buffer` from `offset`; returns less than its length only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written so far survives a crash of the machine.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// What storage needs of a file system.
///
/// - A created, renamed or removed name survives a crash only after `sync_dir` of its directory.
/// - Only regular files are opened: a symbolic link or a device is refused.
pub(crate) trait Files: Send + Sync + 'static {
    /// Creates this directory and its parents with mode 0700 where they are missing; their names are durable at once.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a file with mode 0600; an error if the name exists, even as a link.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Opens an existing regular file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Renames a file, replacing `to`, or a directory; then `to` must not hold anything.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it; no link is followed.
    fn remove_tree(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, sorted; `NotFound` if there is none.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on this file, creating it where needed; `WouldBlock` while another holds it.
    /// `owner` is left in the file for whoever is refused.
    fn lock(&self, path: &Path, owner: &str) -> io::Result<LockGuard>;
}

/// The files of the operating system.
pub(crate) struct RealFiles;

impl StoredFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// The directory that holds this name.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A lock on a file. A process that was forked meanwhile holds it too, so to close the file is not enough; nor may
/// that process unlock what is still ours.
struct RealLock {
    file: File,
    process: u32,
}

impl Drop for RealLock {
    fn drop(&mut self) {
        if std::process::id() == self.process {
            self.file.unlock().ok();
        }
    }
}

/// Opens a regular file. The directory is private (0700), so looking before and after the opening is enough:
/// nobody else can swap the name in between.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file; links are not followed");
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(refused()),
        _ => {}
    }
    let file = options.mode(0o600).open(path)?;
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(refused());
    }
    Ok(file)
}

impl Files for RealFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let made = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        for made in dir.ancestors().take(made) {
            match self.sync_dir(parent_of(made)) {
                // A directory may be writable without being readable; then it cannot be opened to be synced.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        Ok(Arc::new(open_regular(OpenOptions::new().read(true).write(true), path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_tree(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<LockGuard> {
        let file = open_regular(OpenOptions::new().read(true).write(true).create(true).truncate(false), path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = [0; 64];
                let read = StoredFile::read_at(&file, &mut text, 0).unwrap_or(0);
                let holder = String::from_utf8_lossy(&text[..read]).trim().to_owned();
                return Err(io::Error::new(io::ErrorKind::WouldBlock, holder));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all_at(owner.as_bytes(), 0)?;
        Ok(Box::new(RealLock { file, process: std::process::id() }))
    }
}
