//! SnapshotStore: files that hold the whole state at one log position.
//!
//! ```text
//! magic 8 | format 4 | zero 4 | cluster 16 | node 8 | CRC 4 | zero 4      of the whole: the file's head
//! kind 1 | zero 3 | body length 4 | CRC 4 | body                        and so on: header, blocks, end
//! ```
//! - A part's CRC covers its number, kind, length and body: parts cannot be swapped, left out or repeated.
//! - The end part holds the number of blocks and bytes; nothing may follow it.
//! - A snapshot has its final name only when it is whole and durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::data_dir::{DataDir, Identity, check_format};
use super::files::StoredFile;
use super::{damaged, io_failed};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"CONCSNAP";
const FORMAT: u32 = 1;
const HEAD_BYTES: u64 = 48;
const PART_HEAD_BYTES: usize = 12;
const SUFFIX: &str = ".snapshot";
const TEMP_SUFFIX: &str = ".tmp";
/// Written and synced at once, so that the log's fdatasync never waits behind many dirty pages.
const STEP_BYTES: usize = 256 * 1024;

const HEADER: u8 = 1;
const BLOCK: u8 = 2;
const END: u8 = 3;

/// The snapshots of one data directory. One is kept: of two that are written at the same time the one that was begun later.
pub(crate) struct SnapshotStore {
    data_dir: DataDir,
    dir: PathBuf,
    latest: Mutex<Option<SnapshotFile>>,
    next: AtomicU64,
}

impl SnapshotStore {
    /// Opens the store: removes what an interrupted run left behind and checks the head of the newest snapshot.
    pub(crate) fn open(data_dir: &DataDir) -> Result<SnapshotStore> {
        let dir = data_dir.path().join("snapshot");
        let files = data_dir.files();
        let names = files.list(&dir).map_err(|error| io_failed("list", &dir, error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let newest = numbers.pop();
        let latest = newest.map(|number| {
            let path = dir.join(file_name(number));
            let file = files.open(&path).map_err(|error| io_failed("open", &path, error))?;
            SnapshotFile::load(number, path, file, data_dir.identity())
        });
        let latest = latest.transpose()?;
        let temps = names.into_iter().filter(|name| name.ends_with(TEMP_SUFFIX));
        for name in temps.chain(numbers.into_iter().map(file_name)) {
            let path = dir.join(name);
            files.remove(&path).map_err(|error| io_failed("remove", &path, error))?;
        }
        let next = AtomicU64::new(newest.map_or(1, |number| number + 1));
        Ok(SnapshotStore { data_dir: data_dir.clone(), dir, latest: Mutex::new(latest), next })
    }

    /// The newest snapshot.
    pub(crate) fn latest(&self) -> Option<SnapshotFile> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a snapshot with this header.
    pub(crate) fn create(&self, header: &[u8]) -> Result<SnapshotWriter<'_>> {
        let mut writer = SnapshotWriter { draft: self.draft()?, part: 0, blocks: 0, block_bytes: 0 };
        let head = encode_head(self.data_dir.identity());
        writer.draft.append(&head)?;
        writer.write_part(HEADER, header)?;
        Ok(writer)
    }

    fn draft(&self) -> Result<Draft<'_>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temp = self.dir.join(format!("{number:016x}{TEMP_SUFFIX}"));
        let file = self.data_dir.files().create(&temp).map_err(|error| io_failed("create", &temp, error))?;
        Ok(Draft { store: self, number, temp, file: Some(file), written: 0, buffer: Vec::new() })
    }

    /// Makes a whole, durable file the newest snapshot and removes the one before.
    fn install(&self, number: u64, temp: &Path, file: Arc<dyn StoredFile>) -> Result<SnapshotFile> {
        let files = self.data_dir.files();
        let path = self.dir.join(file_name(number));
        let snapshot = SnapshotFile::load(number, path.clone(), file, self.data_dir.identity())?;
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_some_and(|newer| newer.number > number) {
            let message = format!("{} was overtaken by a newer snapshot", path.display());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let named = files.rename(temp, &path).and_then(|()| files.sync_dir(&self.dir));
        named.map_err(|error| io_failed("name", &path, error))?;
        if let Some(old) = latest.replace(snapshot.clone()) {
            // The new one counts already; whatever is left of the old one goes at the next start.
            files.remove(&old.path).ok();
        }
        Ok(snapshot)
    }
}

fn file_name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

fn number_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (file_name(number) == name).then_some(number)
}

/// A file that is being written under a temporary name; removed when it is dropped before its end.
struct Draft<'a> {
    store: &'a SnapshotStore,
    number: u64,
    temp: PathBuf,
    file: Option<Arc<dyn StoredFile>>,
    written: u64,
    buffer: Vec<u8>,
}

impl Draft<'_> {
    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
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

    fn flush(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let written = file.write_at(&self.buffer, self.written).and_then(|()| file.sync_data());
        written.map_err(|error| io_failed("write", &self.temp, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<SnapshotFile> {
        self.flush()?;
        let file = self.file.clone().ok_or_else(|| Error::from(ErrorKind::Internal))?;
        let snapshot = self.store.install(self.number, &self.temp, file)?;
        self.file = None;
        Ok(snapshot)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // If it cannot be removed now, the next start does it.
            self.store.data_dir.files().remove(&self.temp).ok();
        }
    }
}

/// A snapshot being written. Dropped before `finish`, it leaves nothing behind.
pub(crate) struct SnapshotWriter<'a> {
    draft: Draft<'a>,
    part: u64,
    blocks: u64,
    block_bytes: u64,
}

impl SnapshotWriter<'_> {
    /// Adds a block (less than 4 GiB; some 256 KiB are a good size).
    pub(crate) fn write_block(&mut self, block: &[u8]) -> Result<()> {
        self.blocks += 1;
        self.block_bytes += block.len() as u64;
        self.write_part(BLOCK, block)
    }

    /// Makes it durable and the newest snapshot; the one before is removed.
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

/// A whole snapshot; stays readable while it is held, even when a newer one replaces it.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    number: u64,
    path: PathBuf,
    file: Arc<dyn StoredFile>,
    bytes: u64,
}

impl SnapshotFile {
    fn load(number: u64, path: PathBuf, file: Arc<dyn StoredFile>, identity: Identity) -> Result<SnapshotFile> {
        let mut head = [0; HEAD_BYTES as usize];
        let read = file.read_at(&mut head, 0).and_then(|count| Ok((count, file.len()?)));
        let (count, bytes) = read.map_err(|error| io_failed("read", &path, error))?;
        let cluster_id = decode_head(&head[..count], &path)?;
        if cluster_id != identity.cluster_id {
            return Err(damaged(&path, 16, "it belongs to another cluster"));
        }
        Ok(SnapshotFile { number, path, file, bytes })
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
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

fn crc_of_part(number: u64, head: &[u8; PART_HEAD_BYTES], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&head[..8]);
    hasher.update(body);
    hasher.finalize()
}

fn encode_head(identity: Identity) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[16..32].copy_from_slice(&identity.cluster_id.to_le_bytes());
    head[32..40].copy_from_slice(&identity.node_id.to_le_bytes());
    let crc = crc32fast::hash(&head[..40]);
    head[40..44].copy_from_slice(&crc.to_le_bytes());
    head
}

/// The cluster that a snapshot belongs to. Which node wrote it does not matter: they travel.
fn decode_head(head: &[u8], path: &Path) -> Result<u128> {
    if head.len() != HEAD_BYTES as usize || &head[..8] != MAGIC {
        return Err(damaged(path, 0, "it is not a snapshot"));
    }
    if crc32fast::hash(&head[..40]).to_le_bytes() != head[40..44] || head[44..] != [0; 4] {
        return Err(damaged(path, 0, "wrong checksum of the head"));
    }
    check_format(u32::from_le_bytes(head[8..12].try_into().expect("four bytes")), FORMAT, path)?;
    Ok(u128::from_le_bytes(head[16..32].try_into().expect("sixteen bytes")))
}
