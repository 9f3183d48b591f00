//! Spares: the file of the next segment, made or recycled while the log goes on; segments that nobody needs any more go.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::LogOptions;
use super::driver::Driver;
use super::failure::Failure;
use super::segment::Segment;
use crate::storage::data_dir::DataDir;
use crate::storage::files::StoredFile;

pub(super) const SPARE: &str = "spare";
const SPARE_TEMP: &str = "spare.tmp";
const ZERO_STEP_BYTES: u64 = 256 * 1024;
const RETRY: Duration = Duration::from_millis(200);

/// A file called `spare`, every byte of which has been written, so that writing into it needs no space.
pub(super) struct Spare {
    pub file: Arc<dyn StoredFile>,
    pub size: u64,
}

enum Stock {
    Empty,
    /// It is being made, or will be: see `Yard::wanted`.
    Preparing,
    Ready(Spare),
    /// The file called `spare` is just becoming a segment.
    Taken,
    /// The disk was full, or failed, at that moment.
    Failed(Instant, io::Error),
}

/// What lies behind the lock of `Spares`.
struct Yard {
    stock: Stock,
    /// Size of the spare to be made when there is time for it; only while `stock` is `Preparing`.
    wanted: Option<u64>,
    /// Segments to be removed or recycled.
    freed: Vec<Arc<Segment>>,
    /// The thread will look at `freed` and `wanted` again.
    working: bool,
}

enum Task {
    Free(Vec<Arc<Segment>>),
    Make(u64),
}

/// The next segment's file, made ready while the log goes on.
///
/// - A spare counts as ready only when its old name, if it was a segment, is durably gone.
/// - The thread runs while there is something to do; with `Driver::Manual` there is none and `work` is called instead.
pub(super) struct Spares {
    dir: PathBuf,
    data_dir: DataDir,
    /// Only segments of this size are recycled.
    segment_bytes_max: u64,
    is_manual: bool,
    yard: Mutex<Yard>,
    changed: Condvar,
    /// Bytes of the spare that is ready; 0: none is.
    ready_bytes: AtomicU64,
    /// Whether the last attempt to make one failed.
    has_failed: AtomicBool,
    closing: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    pub failure: Arc<Failure>,
}

impl Spares {
    /// Takes what a run before left: a whole spare is kept, a begun one goes.
    pub(super) fn open(data_dir: &DataDir, names: &[String], options: &LogOptions) -> io::Result<Spares> {
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
            segment_bytes_max: options.segment_bytes,
            is_manual: matches!(options.driver, Driver::Manual(_)),
            yard: Mutex::new(Yard { stock, wanted: None, freed: Vec::new(), working: false }),
            changed: Condvar::new(),
            ready_bytes: AtomicU64::new(ready_bytes),
            has_failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            thread: Mutex::new(None),
            failure: Arc::default(),
        })
    }

    fn yard(&self) -> MutexGuard<'_, Yard> {
        self.yard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to prepare a spare of this size, unless there is one of `needed` bytes, one is being made, or the last attempt
    /// failed less than 200 ms ago. True when it has begun.
    pub(super) fn prepare_ahead(self: &Arc<Self>, needed: u64, size: u64) -> bool {
        let mut yard = self.yard();
        let due = match &yard.stock {
            Stock::Empty => true,
            Stock::Ready(spare) => spare.size < needed,
            Stock::Failed(when, _) => self.is_manual || when.elapsed() >= RETRY,
            Stock::Preparing | Stock::Taken => false,
        };
        if !due || self.closing.load(Ordering::Relaxed) {
            return false;
        }
        yard.wanted = Some(size.max(needed));
        self.put(&mut yard.stock, Stock::Preparing);
        self.begin_work(yard);
        true
    }

    /// Takes over segments that are not needed any more, after a durable purge mark.
    pub(super) fn free(self: &Arc<Self>, segments: Vec<Arc<Segment>>) {
        if !segments.is_empty() {
            let mut yard = self.yard();
            yard.freed.extend(segments);
            self.begin_work(yard);
        }
    }

    fn begin_work(self: &Arc<Self>, mut yard: MutexGuard<'_, Yard>) {
        if self.is_manual || std::mem::replace(&mut yard.working, true) {
            return;
        }
        drop(yard);
        let spares = self.clone();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(finished) = thread.take() {
            finished.join().ok();
        }
        match std::thread::Builder::new().name("concord-spare".into()).spawn(move || spares.work()) {
            Ok(handle) => *thread = Some(handle),
            Err(error) => {
                let mut yard = self.yard();
                yard.working = false;
                if yard.wanted.take().is_some() {
                    drop(yard);
                    self.settle(Err(error));
                }
            }
        }
    }

    /// Does what there is to do.
    pub(super) fn work(&self) {
        while let Some(task) = self.next_task() {
            match task {
                Task::Make(size) => self.settle(self.write_spare(size, true)),
                Task::Free(segments) => {
                    if let Err(error) = self.discard(segments) {
                        let message = format!("cannot free segments in {}: {error}", self.dir.display());
                        self.failure.note(&io::Error::new(error.kind(), message));
                    }
                }
            }
        }
    }

    /// Freeing comes first: it may give the spare that is wanted.
    fn next_task(&self) -> Option<Task> {
        let mut yard = self.yard();
        let task = match yard.freed.is_empty() {
            false => Some(Task::Free(std::mem::take(&mut yard.freed))),
            true => yard.wanted.take().map(Task::Make),
        };
        yard.working &= task.is_some();
        self.changed.notify_all();
        task
    }

    /// Removes segments that a durable purge mark made superfluous; one may become the spare.
    pub(super) fn discard(&self, segments: Vec<Arc<Segment>>) -> io::Result<()> {
        if segments.is_empty() {
            return Ok(());
        }
        let mut recycled = None;
        let removed = segments.into_iter().try_for_each(|segment| self.remove(segment, &mut recycled));
        // The name is gone for good before a recycled segment is written to.
        let outcome = removed.and_then(|()| self.data_dir.files().sync_dir(&self.dir));
        if let Some(spare) = recycled {
            match &outcome {
                Ok(()) => self.settle(Ok(spare)),
                Err(error) => self.settle(Err(io::Error::new(error.kind(), error.to_string()))),
            }
        }
        outcome
    }

    fn remove(&self, segment: Arc<Segment>, recycled: &mut Option<Spare>) -> io::Result<()> {
        let files = self.data_dir.files();
        match Arc::try_unwrap(segment) {
            Ok(segment) if recycled.is_none() && self.takes_as_spare(segment.size) => {
                let (path, size) = (segment.path, segment.size);
                *recycled = Some(Spare { file: segment.file, size });
                files.rename(&path, &self.dir.join(SPARE))
            }
            Ok(segment) => files.remove(&segment.path),
            // Somebody is reading it: its bytes must stay as they are, only the name goes.
            Err(shared) => files.remove(&shared.path),
        }
    }

    /// Whether there is no spare and a segment of this size shall become it; then it counts as being made.
    fn takes_as_spare(&self, size: u64) -> bool {
        let mut yard = self.yard();
        let is_missing = match &yard.stock {
            Stock::Empty | Stock::Failed(..) => true,
            Stock::Preparing => yard.wanted.is_some_and(|wanted| wanted <= size),
            Stock::Ready(_) | Stock::Taken => false,
        };
        if !is_missing || size != self.segment_bytes_max {
            return false;
        }
        yard.wanted = None;
        self.put(&mut yard.stock, Stock::Preparing);
        true
    }

    /// Bytes of the spare that is ready, or 0: one atomic read.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes.load(Ordering::Acquire)
    }

    /// Whether a spare of `needed` bytes is ready or can be expected. Never waits: one that is being made counts,
    /// since a slow disk is not a full one, unless the attempt before it failed.
    pub(super) fn is_expected(&self, needed: u64) -> bool {
        match &self.yard().stock {
            Stock::Ready(spare) => spare.size >= needed,
            Stock::Preparing => !self.has_failed.load(Ordering::Relaxed),
            Stock::Taken => true,
            Stock::Empty | Stock::Failed(..) => false,
        }
    }

    /// Waits until no spare is being made and no segment is to be freed.
    #[cfg(test)]
    pub(super) fn wait_until_settled(&self) {
        if self.is_manual {
            self.work();
        }
        let is_busy = |yard: &mut Yard| yard.working || matches!(yard.stock, Stock::Preparing);
        drop(self.changed.wait_while(self.yard(), is_busy).unwrap_or_else(PoisonError::into_inner));
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
        self.put(&mut self.yard().stock, stock);
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
        self.put(&mut self.yard().stock, Stock::Empty);
        self.write_spare(size, false)
    }

    /// Takes the spare, which has at least `needed` bytes, until `named`, preparing one of `size` if there is none. On a full disk it waits,
    /// trying again every 200 ms, until there is space or the log is closed.
    pub(super) fn take(&self, needed: u64, size: u64) -> io::Result<Spare> {
        let size = size.max(needed);
        let mut yard = self.yard();
        loop {
            match &yard.stock {
                Stock::Ready(spare) if spare.size >= needed => {
                    self.ready_bytes.store(0, Ordering::Release);
                    return match std::mem::replace(&mut yard.stock, Stock::Taken) {
                        Stock::Ready(spare) => Ok(spare),
                        _ => unreachable!("it was ready a line above"),
                    };
                }
                // Too small: the new one takes its name.
                Stock::Ready(_) => self.put(&mut yard.stock, Stock::Empty),
                Stock::Taken => return Err(io::Error::other("the attempt before has failed")),
                Stock::Empty => {
                    yard.stock = Stock::Preparing;
                    drop(yard);
                    self.settle(self.write_spare(size, false));
                    yard = self.yard();
                }
                Stock::Preparing if self.is_manual => {
                    drop(yard);
                    self.work();
                    yard = self.yard();
                }
                Stock::Preparing => yard = self.changed.wait(yard).unwrap_or_else(PoisonError::into_inner),
                Stock::Failed(_, error) if error.kind() == io::ErrorKind::Interrupted => yard.stock = Stock::Empty,
                Stock::Failed(when, error) => {
                    if self.closing.load(Ordering::Relaxed) {
                        return Err(io::Error::other("the log was closed while it waited for space on the disk"));
                    }
                    if !is_full(error) || self.is_manual {
                        return Err(io::Error::new(error.kind(), error.to_string()));
                    }
                    match RETRY.checked_sub(when.elapsed()) {
                        Some(pause) if !pause.is_zero() => {
                            let waited = self.changed.wait_timeout(yard, pause);
                            yard = waited.unwrap_or_else(PoisonError::into_inner).0;
                        }
                        _ => yard.stock = Stock::Empty,
                    }
                }
            }
        }
    }

    /// The spare that was taken has its name as a segment: another file may be called `spare`.
    pub(super) fn named(&self) {
        self.put(&mut self.yard().stock, Stock::Empty);
    }

    /// Ends a preparation that nobody waits for, and any waiting for space.
    pub(super) fn stop_waiting(&self) {
        let _yard = self.yard();
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

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
