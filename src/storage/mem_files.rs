//! MemFiles: files in memory that fail and crash on command, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::{Files, LockGuard, StoredFile};

const SECTOR_BYTES: usize = 512;

/// A file system in memory.
///
/// - What was not synced (`sync_data` for bytes, `sync_dir` for names) is gone after a crash, or in part there: any of
///   its sectors may have reached the disk, in any order, and the first few of the changed names (a journal keeps their order).
///   Directories are made durably.
/// - The same calls and seeds give the same files: nothing here depends on time or addresses.
/// - Faults are armed with the `fail_*`, `crash_*` and `set_*` methods and hit whoever comes next.
#[derive(Clone, Default)]
pub(crate) struct MemFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    now: Names,
    durable: Names,
    /// In the order of the calls.
    unsynced: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    crash_at: Option<u64>,
    syncs: u64,
    fail_sync_at: Option<u64>,
    fail_writes: bool,
    fail_removals: bool,
    bytes_left: Option<u64>,
}

#[derive(Default, Clone)]
struct Names {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Clone)]
enum NameChange {
    Create(PathBuf, Arc<Mutex<Content>>),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveTree(PathBuf),
}

impl NameChange {
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            NameChange::Create(path, _) | NameChange::Remove(path) | NameChange::RemoveTree(path) => vec![path],
            NameChange::Rename(from, to) => vec![from, to],
        }
    }

    fn is_in(&mut self, dir: &Path) -> bool {
        self.paths_mut().iter().any(|path| path.parent() == Some(dir))
    }
}

/// The path after everything at or below `from` has moved to `to`.
fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}

impl Names {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Create(path, content) => drop(self.files.insert(path.clone(), content.clone())),
            NameChange::Remove(path) => drop(self.files.remove(path)),
            NameChange::RemoveTree(dir) => {
                self.files.retain(|path, _| !path.starts_with(dir));
                self.dirs.retain(|path| !path.starts_with(dir));
            }
            NameChange::Rename(from, to) => {
                let (moving, staying): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    std::mem::take(&mut self.files).into_iter().partition(|(path, _)| path.starts_with(from));
                self.files = staying;
                self.files.extend(moving.into_iter().map(|(path, content)| (moved(&path, from, to), content)));
                self.dirs = std::mem::take(&mut self.dirs).iter().map(|path| moved(path, from, to)).collect();
            }
        }
    }
}

#[derive(Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    /// Counts one operation; an error once the crash point is reached: nothing has an effect any more.
    fn step(&mut self) -> io::Result<()> {
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the machine has crashed"));
        }
        self.operations += 1;
        Ok(())
    }

    fn change_names(&mut self, change: NameChange) {
        self.now.apply(&change);
        self.unsynced.push(change);
    }
}

struct MemFile {
    disk: Arc<Mutex<Disk>>,
    content: Arc<Mutex<Content>>,
}

struct MemLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.disk.lock().unwrap().locks.remove(&self.path);
    }
}

impl MemFiles {
    /// How many hold these files: clones, open files, locks.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.disk)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    /// Operations that change something, so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// From the given operation on everything fails and nothing changes any more.
    pub(crate) fn crash_at_operation(&self, number: u64) {
        self.disk().crash_at = Some(number);
    }

    /// The sync that comes after `count` more of them fails.
    pub(crate) fn fail_sync_after(&self, count: u64) {
        let mut disk = self.disk();
        disk.fail_sync_at = Some(disk.syncs + count);
    }

    /// How many syncs there have been.
    pub(crate) fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Whether every write fails from now on.
    pub(crate) fn set_writes_fail(&self, fail: bool) {
        self.disk().fail_writes = fail;
    }

    /// Whether every removal of a file fails from now on.
    pub(crate) fn set_removals_fail(&self, fail: bool) {
        self.disk().fail_removals = fail;
    }

    /// How many bytes files may still grow by; `None`: without limit.
    pub(crate) fn set_bytes_left(&self, bytes: Option<u64>) {
        self.disk().bytes_left = bytes;
    }

    /// The machine loses power now: everything on this disk fails from here on, and what the next boot finds is returned.
    pub(crate) fn crash(&self, seed: u64) -> MemFiles {
        self.crash_at_operation(0);
        self.after_crash(Some(seed))
    }

    /// The disk as the next boot finds it, while this one goes on. Without a seed everything that was not synced is gone; with
    /// one, each sector of it was or was not written, and some of the names were changed, as the seed decides.
    pub(crate) fn after_crash(&self, torn_seed: Option<u64>) -> MemFiles {
        let disk = self.disk();
        let mut random = torn_seed.unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut names = disk.durable.clone();
        if torn_seed.is_some() {
            let kept = next(&mut random) % (disk.unsynced.len() as u64 + 1);
            disk.unsynced.iter().take(kept as usize).for_each(|change| names.apply(change));
        }
        MemFiles::durable(names, |content| {
            let mut bytes = content.durable.clone();
            if torn_seed.is_some() {
                for (offset, written) in &content.pending {
                    tear(&mut bytes, *offset, written, &mut random);
                }
            }
            bytes
        })
    }

    /// A disk with these files and directories, all durable, no faults armed.
    fn durable(mut names: Names, mut bytes_of: impl FnMut(&Content) -> Vec<u8>) -> MemFiles {
        for content in names.files.values_mut() {
            let bytes = bytes_of(&content.lock().unwrap());
            *content = Arc::new(Mutex::new(Content { durable: bytes.clone(), bytes, pending: Vec::new() }));
        }
        let disk = Disk { durable: names.clone(), now: names, ..Disk::default() };
        MemFiles { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Bytes of a file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.disk().now.files[path].lock().unwrap().bytes.clone()
    }

    /// Replaces a file, durably, whatever is armed.
    pub(crate) fn set_content(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { durable: bytes.clone(), bytes, pending: Vec::new() };
        let content = Arc::new(Mutex::new(content));
        let mut disk = self.disk();
        disk.now.files.insert(path.to_owned(), content.clone());
        disk.durable.files.insert(path.to_owned(), content);
    }

    /// Removes a file, durably, whatever is armed.
    pub(crate) fn erase(&self, path: &Path) {
        let mut disk = self.disk();
        disk.now.files.remove(path);
        disk.durable.files.remove(path);
    }

    /// Every file, in the order of their paths.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.disk().now.files.keys().cloned().collect()
    }

    /// Another disk with the same files, all durable, no faults armed: what is left when only the process was killed.
    pub(crate) fn copy(&self) -> MemFiles {
        MemFiles::durable(self.disk().now.clone(), |content| content.bytes.clone())
    }
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random >> 8
}

/// Writes some of the sectors of `written`, as `random` decides.
fn tear(bytes: &mut Vec<u8>, offset: usize, written: &[u8], random: &mut u64) {
    let mut from = 0;
    while from < written.len() {
        let sector_end = (offset + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        let until = written.len().min(sector_end - offset);
        if next(random).is_multiple_of(2) {
            store(bytes, offset + from, &written[from..until]);
        }
        from = until;
    }
}

fn store(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl StoredFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock().unwrap();
        let from = content.bytes.len().min(offset as usize);
        let count = buffer.len().min(content.bytes.len() - from);
        buffer[..count].copy_from_slice(&content.bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        disk.step()?;
        if disk.fail_writes {
            return Err(io::Error::other("injected write failure"));
        }
        let mut content = self.content.lock().unwrap();
        let end = offset + bytes.len() as u64;
        let growth = end.saturating_sub(content.bytes.len() as u64);
        if let Some(left) = &mut disk.bytes_left {
            if growth > *left {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "injected: no space left on device"));
            }
            *left -= growth;
        }
        store(&mut content.bytes, offset as usize, bytes);
        content.pending.push((offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        disk.step()?;
        disk.syncs += 1;
        if disk.fail_sync_at.is_some_and(|at| disk.syncs > at) {
            disk.fail_sync_at = None;
            return Err(io::Error::other("injected sync failure"));
        }
        let content = &mut *self.content.lock().unwrap();
        for (offset, written) in content.pending.drain(..) {
            store(&mut content.durable, offset, &written);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().bytes.len() as u64)
    }
}

impl Files for MemFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        for dir in dir.ancestors() {
            disk.now.dirs.insert(dir.to_owned());
            disk.durable.dirs.insert(dir.to_owned());
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mut disk = self.disk();
        disk.step()?;
        if disk.now.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::<Mutex<Content>>::default();
        disk.change_names(NameChange::Create(path.to_owned(), content.clone()));
        Ok(Arc::new(MemFile { disk: self.disk.clone(), content }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let content = self.disk().now.files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemFile { disk: self.disk.clone(), content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        if !disk.now.files.contains_key(from) && !disk.now.dirs.contains(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if disk.now.dirs.contains(from) && disk.now.files.keys().any(|path| path.starts_with(to)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        if disk.fail_removals {
            return Err(io::Error::other("injected removal failure"));
        }
        let content = disk.now.files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        disk.change_names(NameChange::Remove(path.to_owned()));
        let freed = content.lock().unwrap().bytes.len() as u64;
        disk.bytes_left = disk.bytes_left.map(|left| left + freed);
        Ok(())
    }

    fn remove_tree(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.change_names(NameChange::RemoveTree(dir.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if !disk.now.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = disk.now.files.keys().chain(&disk.now.dirs).filter(|path| path.parent() == Some(dir));
        let mut names: Vec<_> = inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let mut waiting = Vec::new();
        for mut change in std::mem::take(&mut disk.unsynced) {
            if !change.is_in(dir) {
                waiting.push(change);
                continue;
            }
            disk.durable.apply(&change);
            if let NameChange::Rename(from, to) = &change {
                // What was changed inside a directory before it was renamed now waits inside the renamed one.
                let inside = waiting.iter_mut().flat_map(NameChange::paths_mut);
                inside.for_each(|path| *path = moved(path, from, to));
            }
        }
        disk.unsynced = waiting;
        Ok(())
    }

    fn lock(&self, path: &Path, _owner: &str) -> io::Result<LockGuard> {
        let mut disk = self.disk();
        if !disk.locks.insert(path.to_owned()) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "this process"));
        }
        Ok(Box::new(MemLock { disk: self.disk.clone(), path: path.to_owned() }))
    }
}
