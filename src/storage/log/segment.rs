//! Segment: one file of the log, and the spare files that become segments.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::frame::{self, FrameReader, HEAD_BYTES};
use super::{Ballot, LogPosition};
use crate::error::Result;
use crate::storage::damaged;
use crate::storage::data_dir::{DataDir, Identity, check_format};
use crate::storage::files::{Files, StoredFile};

/// Where the first frame lies.
pub(super) const SEGMENT_HEAD_BYTES: u64 = 256;
const MAGIC: &[u8; 8] = b"CONCLOG\0";
const FORMAT: u32 = 1;
const SUFFIX: &str = ".log";
const SPARE: &str = "spare";
const SPARE_TEMP: &str = "spare.tmp";
const ZERO_STEP_BYTES: u64 = 256 * 1024;
const RETRY: Duration = Duration::from_millis(200);

/// What the log amounted to at some point, apart from its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::storage) struct Standing {
    pub ballot: Option<Ballot>,
    pub committed: Option<LogPosition>,
    pub purged: Option<LogPosition>,
    /// Last entry, or the purge mark when there is none after it.
    pub last: Option<LogPosition>,
}

/// What stands at the head of a segment. In every format version the checksum ends byte 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) struct SegmentHead {
    pub identity: Identity,
    pub sequence: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Where the frames of the segment before this one end; all up to there is durable.
    pub previous_end: u64,
    /// Repeated from the segments before, so that they can go.
    pub standing: Standing,
}

impl SegmentHead {
    pub(in crate::storage) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEAD_BYTES as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&u64::from(FORMAT).to_le_bytes());
        out.extend_from_slice(&self.identity.cluster_id.to_le_bytes());
        for number in [self.identity.node_id, self.sequence, self.size, self.previous_end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let ballot = self.standing.ballot;
        out.push(u8::from(ballot.is_some()));
        let ballot = ballot.unwrap_or(Ballot { term: 0, node: 0, committed: false });
        out.extend_from_slice(&ballot.term.to_le_bytes());
        out.extend_from_slice(&ballot.node.to_le_bytes());
        out.push(u8::from(ballot.committed));
        for position in [self.standing.committed, self.standing.purged, self.standing.last] {
            out.push(u8::from(position.is_some()));
            frame::put_position(&mut out, position.unwrap_or(LogPosition { term: 0, node: 0, index: 0 }));
        }
        out.resize(SEGMENT_HEAD_BYTES as usize - 4, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub(in crate::storage) fn decode(bytes: &[u8], path: &Path) -> Result<SegmentHead> {
        if bytes.len() != SEGMENT_HEAD_BYTES as usize {
            return Err(damaged(path, 0, "it is too short for the head of a segment"));
        }
        let (fields, crc) = bytes.split_last_chunk::<4>().expect("the head has 256 bytes");
        if &bytes[..8] != MAGIC {
            return Err(damaged(path, 0, "it is not a segment of the log"));
        }
        if crc32fast::hash(fields) != u32::from_le_bytes(*crc) {
            return Err(damaged(path, 0, "wrong checksum of the head"));
        }
        check_format(u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")), FORMAT, path)?;
        Self::decode_fields(&fields[16..]).ok_or_else(|| damaged(path, 0, "the head has the wrong form"))
    }

    fn decode_fields(mut fields: &[u8]) -> Option<SegmentHead> {
        let bytes = &mut fields;
        let (cluster, rest) = bytes.split_first_chunk::<16>()?;
        *bytes = rest;
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = frame::take_u64(bytes)?;
        }
        let [node_id, sequence, size, previous_end] = numbers;
        let is_some = frame::take_bool(bytes)?;
        let ballot = Ballot {
            term: frame::take_u64(bytes)?,
            node: frame::take_u64(bytes)?,
            committed: frame::take_bool(bytes)?,
        };
        let mut positions = [None; 3];
        for position in &mut positions {
            let is_some = frame::take_bool(bytes)?;
            *position = Some(frame::take_position(bytes)?).filter(|_| is_some);
        }
        let [committed, purged, last] = positions;
        let identity = Identity { cluster_id: u128::from_le_bytes(*cluster), node_id };
        let standing = Standing { ballot: Some(ballot).filter(|_| is_some), committed, purged, last };
        Some(SegmentHead { identity, sequence, size, previous_end, standing })
    }
}

/// An open segment.
pub(super) struct Segment {
    pub sequence: u64,
    pub path: PathBuf,
    pub file: Arc<dyn StoredFile>,
    /// First value of every head checksum in it.
    pub seed: u32,
    pub size: u64,
}

impl Segment {
    /// Reads its frames.
    pub(super) fn reader(&self) -> FrameReader<'_> {
        FrameReader::new(&*self.file, self.seed, self.size)
    }

    /// The open segment that has this head.
    pub(super) fn new(dir: &Path, head: &SegmentHead, file: Arc<dyn StoredFile>) -> Segment {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head.identity.cluster_id.to_le_bytes());
        hasher.update(&head.identity.node_id.to_le_bytes());
        hasher.update(&head.sequence.to_le_bytes());
        let path = dir.join(file_name(head.sequence));
        Segment { sequence: head.sequence, path, file, seed: hasher.finalize(), size: head.size }
    }

    /// Makes `spare` the segment with this head. It has its final name only once its head is durable.
    pub(super) fn create(files: &dyn Files, dir: &Path, head: &SegmentHead, spare: Spare) -> io::Result<Segment> {
        let mut start = head.encode();
        start.extend_from_slice(&[0; HEAD_BYTES]);
        spare.file.write_at(&start, 0)?;
        spare.file.sync_data()?;
        let segment = Segment::new(dir, head, spare.file);
        files.rename(&dir.join(SPARE), &segment.path)?;
        files.sync_dir(dir)?;
        Ok(segment)
    }
}

pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:016x}{SUFFIX}")
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The sequence number in a segment's file name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|&sequence| file_name(sequence) == name)
}

/// A file called `spare`, every byte of which has been written, so that writing into it needs no space.
pub(super) struct Spare {
    pub file: Arc<dyn StoredFile>,
    pub size: u64,
}

enum Stock {
    Empty,
    Preparing,
    Ready(Spare),
    /// The disk was full, or failed, at that moment.
    Failed(Instant, io::Error),
}

/// The next segment's file, made ready while the log goes on.
pub(super) struct Spares {
    dir: PathBuf,
    data_dir: DataDir,
    stock: Mutex<Stock>,
    changed: Condvar,
    /// Bytes of the spare that is ready; 0: none is.
    ready_bytes: AtomicU64,
    /// Whether the last attempt to make one failed.
    has_failed: AtomicBool,
    closing: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Spares {
    /// Takes what a run before left: a whole spare is kept, a begun one goes.
    pub(super) fn open(data_dir: &DataDir, names: &[String]) -> io::Result<Spares> {
        let (dir, files) = (data_dir.path().join("log"), data_dir.files());
        if names.iter().any(|name| name == SPARE_TEMP) {
            files.remove(&dir.join(SPARE_TEMP))?;
        }
        let (stock, ready_bytes) = if names.iter().any(|name| name == SPARE) {
            let file = files.open(&dir.join(SPARE))?;
            let size = file.len()?;
            (Stock::Ready(Spare { file, size }), size)
        } else {
            (Stock::Empty, 0)
        };
        Ok(Spares {
            dir,
            data_dir: data_dir.clone(),
            stock: Mutex::new(stock),
            changed: Condvar::new(),
            ready_bytes: AtomicU64::new(ready_bytes),
            has_failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            thread: Mutex::new(None),
        })
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to prepare a spare of this size on a thread of its own, unless there is one of `needed` bytes, one is
    /// being made, or the last attempt failed less than 200 ms ago.
    pub(super) fn prepare_ahead(self: &Arc<Self>, needed: u64, size: u64) {
        let mut stock = self.stock();
        let due = match &*stock {
            Stock::Empty => true,
            Stock::Ready(spare) => spare.size < needed,
            Stock::Failed(when, _) => when.elapsed() >= RETRY,
            Stock::Preparing => false,
        };
        if !due || self.closing.load(Ordering::Relaxed) {
            return;
        }
        self.put(&mut stock, Stock::Preparing);
        drop(stock);
        let size = size.max(needed);
        let spares = self.clone();
        let work = move || spares.settle(spares.write_spare(size, true));
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(finished) = thread.take() {
            finished.join().ok();
        }
        match std::thread::Builder::new().name("concord-spare".into()).spawn(work) {
            Ok(handle) => *thread = Some(handle),
            Err(error) => self.settle(Err(error)),
        }
    }

    /// Bytes of the spare that is ready, or 0: one atomic read.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes.load(Ordering::Acquire)
    }

    /// Whether a spare of `needed` bytes is ready or can be expected. Never waits: one that is being made counts,
    /// since a slow disk is not a full one, unless the attempt before it failed.
    pub(super) fn is_expected(&self, needed: u64) -> bool {
        match &*self.stock() {
            Stock::Ready(spare) => spare.size >= needed,
            Stock::Preparing => !self.has_failed.load(Ordering::Relaxed),
            Stock::Empty | Stock::Failed(..) => false,
        }
    }

    /// Waits until no spare is being made.
    #[cfg(test)]
    pub(super) fn wait_until_settled(&self) {
        let preparing = |stock: &mut Stock| matches!(stock, Stock::Preparing);
        drop(self.changed.wait_while(self.stock(), preparing).unwrap_or_else(PoisonError::into_inner));
    }

    fn settle(&self, made: io::Result<Spare>) {
        self.has_failed.store(made.is_err(), Ordering::Relaxed);
        let stock = match made {
            Ok(spare) => Stock::Ready(spare),
            Err(error) => {
                if !is_full(&error) {
                    // What is on the disk of it is not known; the next attempt starts afresh.
                    self.data_dir.files().remove(&self.dir.join(SPARE_TEMP)).ok();
                }
                Stock::Failed(Instant::now(), error)
            }
        };
        self.put(&mut self.stock(), stock);
    }

    /// Changes the stock and tells who waits for that.
    fn put(&self, place: &mut Stock, stock: Stock) {
        let ready_bytes = if let Stock::Ready(spare) = &stock { spare.size } else { 0 };
        self.ready_bytes.store(ready_bytes, Ordering::Release);
        *place = stock;
        self.changed.notify_all();
    }

    /// Writes zeros in steps, each synced, so that the log's own syncs never wait behind many dirty pages.
    /// A begun file is kept and continued: a retry on a full disk costs one small write.
    fn write_spare(&self, size: u64, ahead: bool) -> io::Result<Spare> {
        let temp = self.dir.join(SPARE_TEMP);
        let file = match self.data_dir.files().open(&temp) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.data_dir.files().create(&temp)?,
            opened => opened?,
        };
        let mut written = file.len()?;
        let zeros = vec![0; ZERO_STEP_BYTES.min(size) as usize];
        while written < size {
            if ahead && self.closing.load(Ordering::Relaxed) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the log is closing"));
            }
            let step = (size - written).min(zeros.len() as u64);
            file.write_at(&zeros[..step as usize], written)?;
            file.sync_data()?;
            written += step;
        }
        self.data_dir.files().rename(&temp, &self.dir.join(SPARE))?;
        Ok(Spare { file, size: written })
    }

    /// Makes the first segment's file.
    pub(super) fn make(&self, size: u64) -> io::Result<Spare> {
        self.put(&mut self.stock(), Stock::Empty);
        self.write_spare(size, false)
    }

    /// Takes the spare, which has at least `needed` bytes, preparing one of `size` if there is none. On a full disk it waits,
    /// trying again every 200 ms, until there is space or the log is closed.
    pub(super) fn take(&self, needed: u64, size: u64) -> io::Result<Spare> {
        let size = size.max(needed);
        let mut stock = self.stock();
        loop {
            match &*stock {
                Stock::Ready(spare) if spare.size >= needed => {
                    self.ready_bytes.store(0, Ordering::Release);
                    return match std::mem::replace(&mut *stock, Stock::Empty) {
                        Stock::Ready(spare) => Ok(spare),
                        _ => unreachable!("it was ready a line above"),
                    };
                }
                // Too small: the new one takes its name.
                Stock::Ready(_) => self.put(&mut stock, Stock::Empty),
                Stock::Empty => {
                    *stock = Stock::Preparing;
                    drop(stock);
                    self.settle(self.write_spare(size, false));
                    stock = self.stock();
                }
                Stock::Preparing => stock = self.changed.wait(stock).unwrap_or_else(PoisonError::into_inner),
                Stock::Failed(_, error) if error.kind() == io::ErrorKind::Interrupted => *stock = Stock::Empty,
                Stock::Failed(when, error) => {
                    if self.closing.load(Ordering::Relaxed) {
                        return Err(io::Error::other("the log was closed while it waited for space on the disk"));
                    }
                    if !is_full(error) {
                        return Err(io::Error::new(error.kind(), error.to_string()));
                    }
                    match RETRY.checked_sub(when.elapsed()) {
                        Some(pause) if !pause.is_zero() => {
                            let waited = self.changed.wait_timeout(stock, pause);
                            stock = waited.unwrap_or_else(PoisonError::into_inner).0;
                        }
                        _ => *stock = Stock::Empty,
                    }
                }
            }
        }
    }

    /// Takes over a segment that is not needed any more, as spare if there is none, else it is removed.
    pub(super) fn recycle(&self, segment: Arc<Segment>, size_wanted: u64) -> io::Result<()> {
        let mut stock = self.stock();
        let wanted = matches!(&*stock, Stock::Empty | Stock::Failed(..)) && segment.size == size_wanted;
        match Arc::try_unwrap(segment) {
            Ok(segment) if wanted => {
                self.data_dir.files().rename(&segment.path, &self.dir.join(SPARE))?;
                self.put(&mut stock, Stock::Ready(Spare { file: segment.file, size: segment.size }));
                Ok(())
            }
            Ok(segment) => self.data_dir.files().remove(&segment.path),
            // Somebody is reading it: its bytes must stay as they are, only the name goes.
            Err(shared) => self.data_dir.files().remove(&shared.path),
        }
    }

    /// Ends a preparation that nobody waits for, and any waiting for space.
    pub(super) fn stop_waiting(&self) {
        let _stock = self.stock();
        self.closing.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Waits for the thread's end.
    pub(super) fn join(&self) {
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            thread.join().ok();
        }
    }
}
