//! MemFiles: files in memory that fail and crash on command, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::{Files, LockGuard, StoredFile};

const SECTOR_BYTES: usize = 512;

/// A file system in memory.
///
/// - What was not synced (`sync_data` for bytes, `sync_dir` for names) is gone after a crash, or torn:
///   any of its sectors may have reached the disk, in any order.
/// - Faults are armed with the `fail_*`, `crash_*` and `set_*` methods and hit whoever comes next.
#[derive(Clone, Default)]
pub(crate) struct MemFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    crash_at: Option<u64>,
    syncs: u64,
    fail_sync_at: Option<u64>,
    fail_writes: bool,
    bytes_left: Option<u64>,
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

    /// How many bytes files may still grow by; `None`: without limit.
    pub(crate) fn set_bytes_left(&self, bytes: Option<u64>) {
        self.disk().bytes_left = bytes;
    }

    /// The disk as the next boot finds it. Without a seed everything that was not synced is gone; with one,
    /// each sector of it was or was not written, as the seed decides.
    pub(crate) fn after_crash(&self, torn_seed: Option<u64>) -> MemFiles {
        let disk = self.disk();
        let mut random = torn_seed.unwrap_or(0) | 1;
        let names = disk.durable_names.iter().map(|(path, content)| {
            let content = content.lock().unwrap();
            let mut bytes = content.durable.clone();
            if torn_seed.is_some() {
                for (offset, written) in &content.pending {
                    tear(&mut bytes, *offset, written, &mut random);
                }
            }
            let content = Content { durable: bytes.clone(), bytes, pending: Vec::new() };
            (path.clone(), Arc::new(Mutex::new(content)))
        });
        let names: BTreeMap<_, _> = names.collect();
        let fresh = Disk { durable_names: names.clone(), names, dirs: disk.dirs.clone(), ..Disk::default() };
        MemFiles { disk: Arc::new(Mutex::new(fresh)) }
    }

    /// Bytes of a file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.disk().names[path].lock().unwrap().bytes.clone()
    }

    /// Replaces a file, durably, whatever is armed.
    pub(crate) fn set_content(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { durable: bytes.clone(), bytes, pending: Vec::new() };
        let content = Arc::new(Mutex::new(content));
        let mut disk = self.disk();
        disk.names.insert(path.to_owned(), content.clone());
        disk.durable_names.insert(path.to_owned(), content);
    }

    /// Removes a file, durably, whatever is armed.
    pub(crate) fn erase(&self, path: &Path) {
        let mut disk = self.disk();
        disk.names.remove(path);
        disk.durable_names.remove(path);
    }

    /// Every file, in the order of their paths.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    /// Another disk with the same files, all durable, no faults armed.
    pub(crate) fn copy(&self) -> MemFiles {
        let disk = self.disk();
        let names = disk.names.iter().map(|(path, content)| {
            let bytes = content.lock().unwrap().bytes.clone();
            let content = Content { durable: bytes.clone(), bytes, pending: Vec::new() };
            (path.clone(), Arc::new(Mutex::new(content)))
        });
        let names: BTreeMap<_, _> = names.collect();
        let fresh = Disk { durable_names: names.clone(), names, dirs: disk.dirs.clone(), ..Disk::default() };
        MemFiles { disk: Arc::new(Mutex::new(fresh)) }
    }
}

/// Writes some of the sectors of `written`, as `random` decides.
fn tear(bytes: &mut Vec<u8>, offset: usize, written: &[u8], random: &mut u64) {
    let mut from = 0;
    while from < written.len() {
        let sector_end = (offset + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        let until = written.len().min(sector_end - offset);
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        if random.is_multiple_of(2) {
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
        disk.dirs.insert(dir.to_owned());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mut disk = self.disk();
        disk.step()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::<Mutex<Content>>::default();
        disk.names.insert(path.to_owned(), content.clone());
        Ok(Arc::new(MemFile { disk: self.disk.clone(), content }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let content = self.disk().names.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemFile { disk: self.disk.clone(), content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let content = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let content = disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        let freed = content.lock().unwrap().bytes.len() as u64;
        disk.bytes_left = disk.bytes_left.map(|left| left + freed);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let inside = disk.names.keys().chain(&disk.dirs).filter(|path| path.parent() == Some(dir));
        let mut names: Vec<_> = inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let kept = |path: &PathBuf| path.parent() == Some(dir);
        disk.durable_names.retain(|path, _| !kept(path));
        let synced: Vec<_> =
            disk.names.iter().filter(|(path, _)| kept(path)).map(|(p, c)| (p.clone(), c.clone())).collect();
        disk.durable_names.extend(synced);
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
