//! Scan: records in the order of their keys, over one point in time of the store.

mod range;

use std::ptr;
use std::sync::{Mutex, PoisonError};

use concord_kv::{Concord, ErrorKind, OwnedSelector, PageOptions, Pages, Pair, ReadOptions, Selector};

use crate::bytes::{concord_bytes, out};
use crate::handle::{DBS, SCANS};
use crate::options::{concord_scan_options, copied, reading};
use crate::queue::{Answer, concord_queue, queue_of};
use crate::selector::{narrow, selector};
use crate::status::{Failure, Outcome, concord_status, enter, enter_or};
use crate::store::concord_db;
use crate::tokens::{READ, acting, token_text};
use range::RangeWalk;

/// A walk over keys in the order of their bytes. One thread at a time.
pub struct concord_scan;

/// One record of a scan, borrowed from it until the next concord_scan_next() or concord_scan_close().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct concord_item {
    /// The key.
    pub key: concord_bytes,
    /// The encoded value; empty with `keys_only`.
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

/// State of a walk: what was read ahead, and how to go on.
pub(crate) struct Scan {
    db: usize,
    source: Source,
    ended: bool,
    next: usize,
}

/// Where records come from.
enum Source {
    /// Asks when it is first needed; `None` once that went wrong.
    Unopened(Option<Box<Open>>),
    /// A range of keys.
    Range(Box<RangeWalk>),
    /// What a selector picks.
    Picked(Box<Pages>, Vec<Pair>),
}

type Open = dyn FnOnce() -> Outcome<Source> + Send;

impl Scan {
    fn new(db: usize, open: Box<Open>) -> Scan {
        Scan { db, source: Source::Unopened(Some(open)), ended: false, next: 0 }
    }

    fn open(&mut self) -> Outcome {
        if let Source::Unopened(open) = &mut self.source {
            let open = open.take().ok_or(ErrorKind::Closed)?;
            self.source = open()?;
        }
        Ok(())
    }

    /// Records that were read ahead and not given yet.
    fn ready(&self) -> usize {
        let read = match &self.source {
            Source::Unopened(_) => 0,
            Source::Range(walk) => walk.len(),
            Source::Picked(_, page) => page.len(),
        };
        read - self.next
    }

    /// Reads ahead when nothing is ready.
    fn fill(&mut self) -> Outcome {
        if !DBS.is_live(self.db) {
            return Err(ErrorKind::Closed.into());
        }
        self.open()?;
        if self.ready() > 0 || self.ended {
            return Ok(());
        }
        self.next = 0;
        match &mut self.source {
            Source::Unopened(_) => {}
            Source::Range(walk) => self.ended = walk.refill()?,
            Source::Picked(pages, page) => match pages.next_page()? {
                Some(next) => (self.ended, *page) = (next.next.is_none(), next.pairs),
                None => (self.ended, *page) = (true, Vec::new()),
            },
        }
        Ok(())
    }

    fn next(&mut self) -> Outcome<concord_item> {
        self.fill()?;
        if self.ready() == 0 {
            return Err(Failure::Kind(ErrorKind::NotFound));
        }
        let at = self.next;
        self.next += 1;
        Ok(match &self.source {
            Source::Unopened(_) => concord_item::EMPTY,
            Source::Range(walk) => walk.item(at),
            Source::Picked(_, page) => item_of(&page[at]),
        })
    }
}

fn item_of(pair: &Pair) -> concord_item {
    concord_item {
        key: concord_bytes::of(&pair.key),
        value: concord_bytes::of(&pair.value),
        revision: pair.revision,
        ttl_ms: pair.ttl_ms.unwrap_or(0),
    }
}

/// A scan that was asked for: whose store it reads, and how it begins.
///
/// # Safety
/// `options` is NULL or the caller's struct, which carries its size; prefix, start, end, selector and token live as long.
unsafe fn asked(db: *const concord_db, options: *const concord_scan_options) -> Outcome<Box<Open>> {
    // SAFETY: the same promise.
    let Some(given) = (unsafe { copied(options) })? else {
        let store = acting(db, None)?.to_owned();
        store.kv().check_caller(READ, &[])?;
        return Ok(Box::new(move || range_of(&store, &ReadOptions::default(), (b"", b"", b""))));
    };
    // SAFETY: the same promise.
    let store = acting(db, unsafe { token_text(given.token) }?)?.to_owned();
    store.kv().check_caller(READ, &[])?;
    // SAFETY: the same promise.
    let (prefix, start, end) =
        unsafe { (given.prefix.slice("prefix")?, given.start.slice("start")?, given.end.slice("end")?) };
    let reading = reading(given.consistency, given.timeout_ms, 0)?;
    if given.keys_only > 1 {
        return Err(Failure::argument("keys_only is 0 or 1"));
    }
    if given.keys_only == 0 && given.selector.is_null() {
        let [prefix, start, end] = [prefix, start, end].map(<[u8]>::to_vec);
        return Ok(Box::new(move || range_of(&store, &reading, (&prefix, &start, &end))));
    }
    if !given.selector.is_null() && !prefix.is_empty() {
        return Err(Failure::argument("prefix belongs into the selector when there is one"));
    }
    // SAFETY: the same promise.
    let given_selector = unsafe { selector(given.selector) }?;
    let prefix = given_selector.prefix.or(Some(prefix).filter(|prefix| !prefix.is_empty()));
    let mut selector = OwnedSelector::from(Selector { prefix, ..given_selector });
    narrow(&mut selector, start, end);
    let with_values = given.keys_only == 0;
    Ok(Box::new(move || picked(&store, &reading, &selector.get(), with_values)))
}

fn range_of(store: &Concord, reading: &ReadOptions, (prefix, start, end): (&[u8], &[u8], &[u8])) -> Outcome<Source> {
    Ok(Source::Range(Box::new(RangeWalk::new(store.kv().view(reading)?, prefix, start, end))))
}

fn picked(store: &Concord, reading: &ReadOptions, selector: &Selector<'_>, with_values: bool) -> Outcome<Source> {
    let pages = PageOptions { with_values, ..PageOptions::default() };
    Ok(Source::Picked(Box::new(store.query().stream(selector, reading, &pages)?), Vec::new()))
}

/// Begins a scan of the store as it is now; writes go on meanwhile and are not seen.
///
/// - `options`: which records; NULL: all of them.
/// - `out_scan`: receives the handle, to be closed with concord_scan_close(); NULL on failure.
///
/// An open scan keeps old versions of records in memory: do not leave it open longer than needed. That of a client is kept
/// by a member, which lets it go after half a minute without a question. Errors:
/// CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN (of a range out of a token's reach concord_scan_next() answers it),
/// CONCORD_INVALID_CONDITION, CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not
/// wait for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_open(
    db: *const concord_db,
    options: *const concord_scan_options,
    out_scan: *mut *mut concord_scan,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's pointer variable and options.
        let (place, open) = unsafe { (out(out_scan, "out_scan", ptr::null_mut())?, asked(db, options)?) };
        let mut scan = Scan::new(db.addr(), open);
        scan.open()?;
        *place = ptr::without_provenance_mut(SCANS.insert(Mutex::new(scan))?);
        Ok(())
    })
}

/// Steps to the next record.
///
/// - `out_item`: receives the record, borrowed from the scan until the next call on it.
///
/// Returns CONCORD_NOT_FOUND at the end, again and again. Errors: CONCORD_CLOSED when the scan or its store was
/// closed, CONCORD_UNAUTHORIZED once its token was revoked or has expired, CONCORD_FORBIDDEN, CONCORD_CLUSTER_NOT_READY when
/// the member that keeps a client's point in time is gone, CONCORD_INVALID_CONFIG. Looks at up to some thousand records at
/// once; that of a client blocks for the member.
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

/// How many times concord_scan_next() answers without looking for more. 0 also when the scan was closed, or is read ahead
/// at this moment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_ready(scan: *const concord_scan) -> usize {
    let ready = || SCANS.pin(scan.addr()).ok().map_or(0, |scan| scan.try_lock().map_or(0, |scan| scan.ready()));
    enter_or(0, ready)
}

/// concord_scan_open() that does not wait, with the first records.
///
/// - `out_scan`: receives the handle at once, to be closed with concord_scan_close() whatever the completion says; NULL when
///   this returns an error.
///
/// The completion has `integer`: so many times concord_scan_next() now answers without waiting. At 0 the scan is at its
/// end; else ask for more with concord_scan_more_async() when they are used up. After an error in the completion the scan
/// is of no use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_open_async(
    queue: *mut concord_queue,
    options: *const concord_scan_options,
    tag: u64,
    out_scan: *mut *mut concord_scan,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's pointer variable.
        let place = unsafe { out(out_scan, "out_scan", ptr::null_mut()) }?;
        let db = queue_of(queue)?.db();
        // SAFETY: the caller's options.
        let scan = Scan::new(db.addr(), unsafe { asked(db, options) }?);
        let handle = SCANS.insert(Mutex::new(scan))?;
        if let Err(failure) = read_ahead(queue, handle, tag) {
            drop(SCANS.remove(handle)?);
            return Err(failure);
        }
        *place = ptr::without_provenance_mut(handle);
        Ok(())
    })
}

/// Reads ahead without waiting, when all records that were ready are used up. The completion has `integer` as that of
/// concord_scan_open_async(); records that are ready still are counted. Works with any scan of the queue's store. Until it
/// arrives concord_scan_next() on this scan waits, and what it gave is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_more_async(
    queue: *mut concord_queue,
    scan: *mut concord_scan,
    tag: u64,
) -> concord_status {
    enter(|| read_ahead(queue, scan.addr(), tag))
}

fn read_ahead(queue: *const concord_queue, scan: usize, tag: u64) -> Outcome {
    let scan = SCANS.pin(scan)?;
    queue_of(queue)?.beside(tag, move || {
        let mut scan = scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.fill()?;
        Ok(Answer::Count(scan.ready() as u64))
    })
}

/// Ends a scan and frees what it holds, its items included. Also to be called when its store was closed.
///
/// Errors: CONCORD_CLOSED when it was closed before, CONCORD_INVALID_CONFIG for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_scan_close(scan: *mut concord_scan) -> concord_status {
    enter(|| SCANS.remove(scan.addr()).map(drop))
}
