//! Scan: keys in order, over one point in time of the store.

use std::ops::{Bound, ControlFlow, Range};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use concord_kv::{ErrorKind, RecordView, View};

use crate::bytes::{concord_bytes, out};
use crate::handle::{DBS, SCANS};
use crate::options::{concord_scan_options, copied, reading};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::concord_db;
use crate::tokens::{acting, token_text};

/// A walk over keys in the order of their bytes. One thread at a time.
pub struct concord_scan;

/// One record of a scan, borrowed from it until the next concord_scan_next() or concord_scan_close().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct concord_item {
    /// The key.
    pub key: concord_bytes,
    /// The encoded value.
    pub value: concord_bytes,
    /// Number of the change that last wrote the key.
    pub revision: u64,
    /// Remaining lifetime in milliseconds, at least 1; 0 lives for ever.
    pub ttl_ms: u64,
}

impl concord_item {
    const EMPTY: concord_item =
        concord_item { key: concord_bytes::EMPTY, value: concord_bytes::EMPTY, revision: 0, ttl_ms: 0 };
}

/// Records copied at a time: few at first, so that a short scan stays cheap.
const CHUNK_ITEMS_MIN: usize = 16;
const CHUNK_ITEMS_MAX: usize = 512;
/// A chunk ends when it holds this many bytes, or one larger record.
const CHUNK_BYTES: usize = 256 * 1024;

struct Entry {
    key: Range<usize>,
    value: Range<usize>,
    revision: u64,
    ttl_ms: u64,
}

/// State of a walk: a chunk of copied records and where the next chunk begins.
pub(crate) struct Scan {
    db: usize,
    view: View,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    ended: bool,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
    chunk_items: usize,
}

impl Scan {
    fn refill(&mut self) -> Outcome {
        self.bytes.clear();
        self.entries.clear();
        self.next = 0;
        let Scan { view, lower, upper, bytes, entries, chunk_items, .. } = self;
        let mut more = false;
        let range = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        view.scan(range, |key: &[u8], record: RecordView<'_>| {
            if entries.len() == *chunk_items || (bytes.len() >= CHUNK_BYTES && !entries.is_empty()) {
                more = true;
                return ControlFlow::Break(());
            }
            let at = bytes.len();
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&record.value);
            let (key, value) = (at..at + key.len(), at + key.len()..bytes.len());
            entries.push(Entry { key, value, revision: record.revision, ttl_ms: record.ttl_ms.unwrap_or(0) });
            ControlFlow::Continue(())
        })?;
        self.ended = !more;
        if let Some(last) = self.entries.last() {
            self.lower = Bound::Excluded(self.bytes[last.key.clone()].to_vec());
        }
        self.chunk_items = (self.chunk_items * 2).min(CHUNK_ITEMS_MAX);
        Ok(())
    }

    fn next(&mut self) -> Outcome<concord_item> {
        if !DBS.is_live(self.db) {
            return Err(ErrorKind::Closed.into());
        }
        if self.next == self.entries.len() && !self.ended {
            self.refill()?;
        }
        let entry = self.entries.get(self.next).ok_or(Failure::Kind(ErrorKind::NotFound))?;
        self.next += 1;
        Ok(concord_item {
            key: concord_bytes::of(&self.bytes[entry.key.clone()]),
            value: concord_bytes::of(&self.bytes[entry.value.clone()]),
            revision: entry.revision,
            ttl_ms: entry.ttl_ms,
        })
    }
}

/// Where a scan begins and ends.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The first bytes behind everything that begins with `prefix`; unbounded when there are none.
fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    let Some(at) = prefix.iter().rposition(|byte| *byte != 0xff) else {
        return Bound::Unbounded;
    };
    let mut bytes = prefix[..=at].to_vec();
    bytes[at] += 1;
    Bound::Excluded(bytes)
}

/// Bounds of the keys that prefix, start and end all allow; `None` when there can be no such key.
fn bounds(prefix: &[u8], start: &[u8], end: &[u8]) -> Option<Bounds> {
    let lower = prefix.max(start);
    let upper = match (behind(prefix), end.is_empty()) {
        (behind, true) => behind,
        (Bound::Excluded(behind), false) if behind.as_slice() < end => Bound::Excluded(behind),
        _ => Bound::Excluded(end.to_vec()),
    };
    match upper {
        Bound::Excluded(upper) if upper.as_slice() <= lower => None,
        upper if lower.is_empty() => Some((Bound::Unbounded, upper)),
        upper => Some((Bound::Included(lower.to_vec()), upper)),
    }
}

/// Begins a scan of the store as it is now; writes go on meanwhile and are not seen.
///
/// - `options`: which keys; NULL: all of them.
/// - `out_scan`: receives the handle, to be closed with concord_scan_close(); NULL on failure.
///
/// An open scan keeps old versions of records in memory: do not leave it open longer than needed. Errors:
/// CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN (of a range out of a token's reach concord_scan_next() answers it),
/// CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not wait for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_open(
    db: *const concord_db,
    options: *const concord_scan_options,
    out_scan: *mut *mut concord_scan,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's pointer variable and options; prefix, start and end live as long as the options.
        let (place, given) = unsafe { (out(out_scan, "out_scan", ptr::null_mut())?, copied(options)?) };
        let (bounds, reading, token) = match given {
            None => (bounds(b"", b"", b""), reading(0, 0, 0)?, None),
            Some(given) => {
                // SAFETY: as above.
                let (prefix, start, end) =
                    unsafe { (given.prefix.slice("prefix")?, given.start.slice("start")?, given.end.slice("end")?) };
                // SAFETY: as above.
                let token = unsafe { token_text(given.token) }?;
                (bounds(prefix, start, end), reading(given.consistency, given.timeout_ms, given.reserved)?, token)
            }
        };
        let ended = bounds.is_none();
        let (lower, upper) = bounds.unwrap_or((Bound::Unbounded, Bound::Unbounded));
        let view = acting(db, token)?.kv().view(&reading)?;
        let (bytes, entries, chunk_items) = (Vec::new(), Vec::new(), CHUNK_ITEMS_MIN);
        let scan = Scan { db: db.addr(), view, lower, upper, ended, bytes, entries, next: 0, chunk_items };
        *place = ptr::without_provenance_mut(SCANS.insert(Mutex::new(scan))?);
        Ok(())
    })
}

/// Steps to the next record.
///
/// - `out_item`: receives the record, borrowed from the scan until the next call on it.
///
/// Returns CONCORD_NOT_FOUND at the end, again and again. Errors: CONCORD_CLOSED when the scan or its store was
/// closed, CONCORD_UNAUTHORIZED once its token was revoked or has expired, CONCORD_FORBIDDEN, CONCORD_INVALID_CONFIG.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_next(scan: *mut concord_scan, out_item: *mut concord_item) -> concord_status {
    enter(|| {
        // SAFETY: the caller's item variable.
        let place = unsafe { out(out_item, "out_item", concord_item::EMPTY) }?;
        let scan = SCANS.pin(scan.addr())?;
        *place = scan.lock().unwrap_or_else(PoisonError::into_inner).next()?;
        Ok(())
    })
}

/// Ends a scan and frees what it holds, its items included. Also to be called when its store was closed.
///
/// Errors: CONCORD_CLOSED when it was closed before, CONCORD_INVALID_CONFIG for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_close(scan: *mut concord_scan) -> concord_status {
    enter(|| SCANS.remove(scan.addr()).map(drop))
}
