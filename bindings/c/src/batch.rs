//! Batch: many keys in one operation.

use std::ffi::c_void;

use concord_kv::{Error, ErrorKind, Reply, Write, limits};

use crate::bytes::{array, concord_bytes, concord_record, out};
use crate::kv::{concord_read_fn, copied_record, unconditional};
use crate::options::{Writing, concord_read_options, concord_write_options, read_options, write_options};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::concord_db;
use crate::tokens::{READ, acting, writer};

/// One record of concord_put_many().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_put_item {
    /// 1 to 1,024 bytes.
    pub key: concord_bytes,
    /// One CBOR value.
    pub value: concord_bytes,
    /// Lifetime in milliseconds; 0 takes the TTL of the options, which is "for ever" unless set.
    pub ttl_ms: u64,
}

/// One key of concord_touch_many().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_touch_item {
    /// 1 to 1,024 bytes.
    pub key: concord_bytes,
    /// Lifetime in milliseconds, at least 1.
    pub ttl_ms: u64,
}

/// Key, encoded value and lifetime of one record.
pub(crate) type PutItem<'a> = (&'a [u8], &'a [u8], Option<u64>);

/// Refuses too many items before anything is allocated for them.
fn counted(count: usize) -> Outcome {
    if count > limits::BATCH_OPS_MAX {
        return Err(ErrorKind::BatchTooLarge.into());
    }
    Ok(())
}

/// The items of a bulk put.
///
/// # Safety
/// `items` is NULL or `count` items whose keys and values are readable during `'a`.
pub(crate) unsafe fn put_items<'a>(
    items: *const concord_put_item,
    count: usize,
    options: &Writing<'_>,
) -> Outcome<Vec<PutItem<'a>>> {
    counted(count)?;
    unconditional(options)?;
    let ttl_ms = |item: &concord_put_item| if item.ttl_ms == 0 { options.ttl_ms } else { Some(item.ttl_ms) };
    // SAFETY: the same promise.
    let items: &[concord_put_item] = unsafe { array(items, count, "items") }?;
    // SAFETY: keys and values are readable, as promised.
    items.iter().map(|item| unsafe { Ok((item.key.slice("key")?, item.value.slice("value")?, ttl_ms(item))) }).collect()
}

/// The keys of a bulk operation.
///
/// # Safety
/// `keys` is NULL or `count` keys that are readable during `'a`.
pub(crate) unsafe fn key_list<'a>(keys: *const concord_bytes, count: usize) -> Outcome<Vec<&'a [u8]>> {
    counted(count)?;
    // SAFETY: the same promise.
    let keys: &[concord_bytes] = unsafe { array(keys, count, "keys") }?;
    // SAFETY: the keys are readable, as promised.
    keys.iter().map(|key| unsafe { key.slice("key") }).collect()
}

/// The items of a bulk touch.
///
/// # Safety
/// `items` is NULL or `count` items whose keys are readable during `'a`.
pub(crate) unsafe fn touch_items<'a>(items: *const concord_touch_item, count: usize) -> Outcome<Vec<(&'a [u8], u64)>> {
    counted(count)?;
    // SAFETY: the same promise.
    let items: &[concord_touch_item] = unsafe { array(items, count, "items") }?;
    // SAFETY: the keys are readable, as promised.
    items.iter().map(|item| unsafe { Ok((item.key.slice("key")?, item.ttl_ms)) }).collect()
}

/// Stores up to 500 records, all or none; of duplicate keys the last wins.
///
/// - `items`, `count`: the records; 0 of them is fine.
/// - `options`: NULL for the defaults; its TTL is for items that have none.
///
/// Errors are for the whole batch: CONCORD_BATCH_TOO_LARGE, and those of concord_put(). Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_put_many(
    db: *const concord_db,
    items: *const concord_put_item,
    count: usize,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options.
        let db = unsafe { writer(db, &[], options) }?;
        // SAFETY: the caller's items and options.
        let (items, options) = unsafe {
            let options = write_options(options)?;
            (put_items(items, count, &options)?, options)
        };
        let write = Write::PutMany { items: &items, compress: options.compress };
        db.kv().call(write, options.timeout_ms)?;
        Ok(())
    })
}

/// Removes up to 500 keys, all or none; missing ones are fine.
///
/// Errors are for the whole batch: CONCORD_BATCH_TOO_LARGE, and those of concord_delete(). Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete_many(
    db: *const concord_db,
    keys: *const concord_bytes,
    count: usize,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options.
        let db = unsafe { writer(db, &[], options) }?;
        // SAFETY: the caller's keys and options.
        let (keys, options) = unsafe { (key_list(keys, count)?, write_options(options)?) };
        unconditional(&options)?;
        db.kv().call(Write::DeleteMany { keys: &keys }, options.timeout_ms)?;
        Ok(())
    })
}

/// Sets the remaining lifetimes of up to 500 keys in one step.
///
/// - `out_found`: receives for each item whether its key existed, `count` of them; may be NULL.
///
/// Errors are for the whole batch: CONCORD_BATCH_TOO_LARGE, CONCORD_INVALID_TOUCH_OPERATION when a TTL is 0 or too
/// long, and those of concord_delete(). A missing key is no error. Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_touch_many(
    db: *const concord_db,
    items: *const concord_touch_item,
    count: usize,
    options: *const concord_write_options,
    out_found: *mut bool,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options.
        let db = unsafe { writer(db, &[], options) }?;
        // SAFETY: the caller's items and options.
        let (items, options) = unsafe { (touch_items(items, count)?, write_options(options)?) };
        unconditional(&options)?;
        let reply = db.kv().call(Write::TouchMany { items: &items }, options.timeout_ms)?;
        if let (Reply::Touched { found }, false) = (reply, out_found.is_null()) {
            for (at, found) in found.into_iter().take(count).enumerate() {
                // SAFETY: the caller has room for `count` of them, and `at` is less.
                unsafe { out_found.add(at).write(found) };
            }
        }
        Ok(())
    })
}

/// Reads up to 500 keys at one point in time.
///
/// - `keys`, `count`: what to read; a key may come twice.
/// - `out_records`: room for `count` records, in the order of the keys. A missing key leaves an empty record: its
///   `value.data` is NULL. Free them with concord_records_free(); after an error all are empty.
///
/// Errors are for the whole batch: CONCORD_BATCH_TOO_LARGE, and those of concord_get(). A missing key is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_get_many(
    db: *const concord_db,
    keys: *const concord_bytes,
    count: usize,
    options: *const concord_read_options,
    out_records: *mut concord_record,
) -> concord_status {
    enter(|| {
        // Too many are refused below, once the token was judged.
        let places = if count <= limits::BATCH_OPS_MAX { count } else { 0 };
        if out_records.is_null() && places != 0 {
            return Err(Failure::argument("out_records is NULL"));
        }
        for at in 0..places {
            // SAFETY: the caller has room for `count` records.
            unsafe { out(out_records.add(at), "out_records", concord_record::EMPTY) }?;
        }
        let mut records = Vec::with_capacity(places);
        let copy = |at, record: &concord_kv::RecordView<'_>| {
            records.push((at, copied_record(record)?));
            Ok(())
        };
        // SAFETY: the caller's keys and options.
        let read = unsafe { read_each(db, keys, count, options, copy) };
        for (at, mut record) in records {
            if read.is_ok() {
                // SAFETY: as above, and `at` is less than `count`.
                unsafe { out_records.add(at).write(record) };
            } else {
                // SAFETY: copied a moment ago and handed to nobody.
                unsafe { record.value.free() };
            }
        }
        read
    })
}

/// Reads up to 500 keys at one point in time without copying: `read` looks at each where it lies.
///
/// - `read`: called before this returns, once for each key that exists, with the key's `index`.
/// - `context`: handed to `read`.
///
/// Errors: as concord_get_many(); `read` may have been called for some keys then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_read_many(
    db: *const concord_db,
    keys: *const concord_bytes,
    count: usize,
    options: *const concord_read_options,
    read: concord_read_fn,
    context: *mut c_void,
) -> concord_status {
    enter(|| {
        let read = read.ok_or_else(|| Failure::argument("read is NULL"))?;
        let show = |at, record: &concord_kv::RecordView<'_>| {
            let ttl_ms = record.ttl_ms.unwrap_or(0);
            // SAFETY: the caller's function, called as its type documents.
            unsafe { read(context, at, concord_bytes::of(&record.value), record.revision, ttl_ms) };
            Ok(())
        };
        // SAFETY: the caller's keys and options.
        unsafe { read_each(db, keys, count, options, show) }
    })
}

/// Shows each record that exists, all at one point in time. All keys are checked first.
///
/// # Safety
/// The pointers are NULL or the caller's, as [`concord_get_many`] documents.
unsafe fn read_each(
    db: *const concord_db,
    keys: *const concord_bytes,
    count: usize,
    options: *const concord_read_options,
    mut show: impl FnMut(usize, &concord_kv::RecordView<'_>) -> Outcome,
) -> Outcome {
    // SAFETY: the caller's options.
    let (options, token) = unsafe { read_options(options) }?;
    let db = acting(db, token)?;
    db.kv().check_caller(READ, &[])?;
    // SAFETY: the caller's keys.
    let keys = unsafe { key_list(keys, count) }?;
    if let Some(at) = keys.iter().position(|key| key.is_empty() || key.len() > limits::KEY_BYTES_MAX) {
        let message = format!("key {at} is {} bytes; a key is 1 to {} bytes", keys[at].len(), limits::KEY_BYTES_MAX);
        return Err(Error::new(ErrorKind::InvalidKey, message).into());
    }
    let (mut at, mut shown) = (0, Ok(()));
    db.kv().view(&options)?.get_many(&keys, |record| {
        if let (Some(record), true) = (record, shown.is_ok()) {
            shown = show(at, &record);
        }
        at += 1;
    })?;
    shown
}
