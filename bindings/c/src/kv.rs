//! Kv: the verbs of a single key.

use std::ffi::c_void;

use concord_kv::{Condition, Error, ErrorKind, Reply, Write};

use crate::bytes::{concord_buffer, concord_bytes, concord_record, out};
use crate::options::{Writing, concord_read_options, concord_write_options, read_options, write_options};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::{concord_db, store};
use crate::tokens::{Acting, writer};

/// Called by concord_read() and concord_read_many() with a record while it is borrowed: `value` is gone when it
/// returns. It runs on the calling thread, must be short, must not throw or jump out and must not call Concord,
/// except for concord_value_*.
///
/// - `context`: as given to the read.
/// - `index`: which key of concord_read_many(); 0 in concord_read().
/// - `value`: the encoded value.
/// - `revision`: number of the change that last wrote the key.
/// - `ttl_ms`: remaining lifetime, at least 1; 0 lives for ever.
pub type concord_read_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, index: usize, value: concord_bytes, revision: u64, ttl_ms: u64)>;

/// Reads one record into what `take` makes of it; a missing key is `not_found`.
///
/// # Safety
/// The pointers are NULL or the caller's, as [`concord_get`] documents.
#[inline]
unsafe fn read_one<T>(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_read_options,
    take: impl FnOnce(concord_kv::RecordView<'_>) -> T,
) -> Outcome<T> {
    // SAFETY: the caller's key and options, as promised.
    let (key, (options, token)) = unsafe { (key.slice("key")?, read_options(options)?) };
    let db = store(db)?;
    let read = match token {
        None => db.kv().read(key, &options, take),
        Some(token) => db.with_token(token)?.kv().read(key, &options, take),
    };
    read?.ok_or(Failure::Kind(ErrorKind::NotFound))
}

/// Reads a value.
///
/// - `key`: 1 to 1,024 bytes.
/// - `options`: NULL for the defaults.
/// - `out_value`: receives a copy of the encoded value; free it with concord_buffer_free().
///
/// Returns CONCORD_NOT_FOUND when the key is missing or has expired. Errors: CONCORD_UNAUTHORIZED,
/// CONCORD_FORBIDDEN, CONCORD_INVALID_KEY, CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY, CONCORD_CLOSED,
/// CONCORD_INVALID_CONFIG. Where concord_reads_at_once() holds it is a local
/// read, which neither blocks nor locks; otherwise it waits for another node, at most as long as `options` say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_get(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_read_options,
    out_value: *mut concord_buffer,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable, key and options.
        unsafe {
            let place = out(out_value, "out_value", concord_buffer::EMPTY)?;
            *place = read_one(db, key, options, |record| concord_buffer::copy(&record.value))??;
        }
        Ok(())
    })
}

/// Reads a value into memory of the caller: no allocation.
///
/// - `buffer`, `capacity`: where it goes; NULL and 0 ask for the length only.
/// - `out_len`: receives the length of the value, also when it does not fit.
///
/// Returns CONCORD_VALUE_TOO_LARGE when the value is longer than `capacity` (nothing is written to `buffer` then).
/// Otherwise as concord_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_get_into(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_read_options,
    buffer: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable.
        let len = unsafe { out(out_len, "out_len", 0) }?;
        if buffer.is_null() && capacity != 0 {
            return Err(Failure::argument("buffer is NULL"));
        }
        let copy = |record: concord_kv::RecordView<'_>| {
            *len = record.value.len();
            if *len > capacity {
                let message = format!("the value is {} bytes, the buffer holds {capacity}", record.value.len());
                return Err(Failure::Error(Error::new(ErrorKind::ValueTooLarge, message)));
            }
            // SAFETY: `buffer` has `capacity` writable bytes, at least as many as the value, and is not Concord's.
            unsafe { std::ptr::copy_nonoverlapping(record.value.as_ptr(), buffer, record.value.len()) };
            Ok(())
        };
        // SAFETY: the caller's key and options.
        unsafe { read_one(db, key, options, copy) }?
    })
}

/// Reads a value with its revision and remaining lifetime.
///
/// - `out_record`: receives the record; free it with concord_record_free().
///
/// Otherwise as concord_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_get_record(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_read_options,
    out_record: *mut concord_record,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's record variable, key and options.
        unsafe {
            let place = out(out_record, "out_record", concord_record::EMPTY)?;
            *place = read_one(db, key, options, |record| copied_record(&record))??;
        }
        Ok(())
    })
}

/// A copy of a record that C programs free.
pub(crate) fn copied_record(record: &concord_kv::RecordView<'_>) -> Outcome<concord_record> {
    let value = concord_buffer::copy(&record.value)?;
    Ok(concord_record { value, revision: record.revision, ttl_ms: record.ttl_ms.unwrap_or(0) })
}

/// Reads a record without copying it: `read` looks at it where it lies. For bindings that decode at once.
///
/// - `read`: called once when the key exists, with `index` 0, before this returns. NULL: only asks whether the key
///   exists.
/// - `context`: handed to `read`.
///
/// Otherwise as concord_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_read(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_read_options,
    read: concord_read_fn,
    context: *mut c_void,
) -> concord_status {
    enter(|| {
        let show = |record: concord_kv::RecordView<'_>| {
            if let Some(read) = read {
                let ttl_ms = record.ttl_ms.unwrap_or(0);
                // SAFETY: the caller's function, called as its type documents.
                unsafe { read(context, 0, concord_bytes::of(&record.value), record.revision, ttl_ms) }
            }
        };
        // SAFETY: the caller's key and options.
        unsafe { read_one(db, key, options, show) }
    })
}

/// Remaining lifetime of a key.
///
/// - `out_ttl_ms`: receives milliseconds, at least 1; 0 lives for ever.
///
/// Otherwise as concord_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_ttl(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_read_options,
    out_ttl_ms: *mut u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable, key and options.
        unsafe {
            let place = out(out_ttl_ms, "out_ttl_ms", 0)?;
            *place = read_one(db, key, options, |record| record.ttl_ms.unwrap_or(0))?;
        }
        Ok(())
    })
}

/// Writes and waits; what the store answers.
fn call(db: &Acting, write: Write<'_>, timeout_ms: Option<u64>) -> Outcome<Reply> {
    Ok(db.kv().call(write, timeout_ms)?)
}

/// A put under whatever condition the options name.
fn put_write<'a>(key: &'a [u8], value: &'a [u8], options: &Writing<'a>) -> Write<'a> {
    Write::Put { key, value, ttl_ms: options.ttl_ms, condition: options.condition, compress: options.compress }
}

/// Makes sure of a condition: `missing_condition` without one.
fn conditional(options: &Writing<'_>) -> Outcome {
    match options.condition {
        Condition::Always => Err(ErrorKind::MissingCondition.into()),
        _ => Ok(()),
    }
}

/// The condition of a put_new, which allows no other.
pub(crate) fn absent_only(options: &mut Writing<'_>) -> Outcome {
    match options.condition {
        Condition::Always | Condition::Absent => options.condition = Condition::Absent,
        _ => return Err(ErrorKind::ConflictingConditions.into()),
    }
    Ok(())
}

/// Stores a value. Without a TTL in `options` an old TTL of the key is removed. With a condition in `options` it is
/// concord_put_if().
///
/// - `key`: 1 to 1,024 bytes.
/// - `value`: one CBOR value, see concord_value_*.
/// - `options`: NULL for the defaults.
///
/// When it returns CONCORD_OK the write is as durable as the store was opened to be. Errors, judged in this
/// order: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN, CONCORD_INVALID_KEY, CONCORD_INVALID_VALUE, CONCORD_VALUE_TOO_LARGE, CONCORD_INVALID_TTL, CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY,
/// CONCORD_UNKNOWN_OUTCOME, CONCORD_CLOSED, CONCORD_INVALID_CONFIG, and those of the condition. Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_put(
    db: *const concord_db,
    key: concord_bytes,
    value: concord_bytes,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key, value and options.
        let (key, value, options) = unsafe { (key.checked_key()?, value.slice("value")?, write_options(options)?) };
        call(&db, put_write(key, value, &options), options.timeout_ms).map(drop)
    })
}

/// Stores a value if the key does not exist; otherwise CONCORD_ALREADY_EXISTS. Another condition in `options` is
/// CONCORD_CONFLICTING_CONDITIONS. Otherwise as concord_put().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_put_new(
    db: *const concord_db,
    key: concord_bytes,
    value: concord_bytes,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key, value and options.
        let (key, value, mut options) = unsafe { (key.checked_key()?, value.slice("value")?, write_options(options)?) };
        absent_only(&mut options)?;
        call(&db, put_write(key, value, &options), options.timeout_ms).map(drop)
    })
}

/// Stores a value if the condition in `options` holds: absent, a revision, or an expected value. To decide by a
/// predicate, read with concord_get_record(), decide, and write under that revision.
///
/// - `options`: must name a condition.
///
/// Errors beside those of concord_put(): CONCORD_CONDITION_FAILED, CONCORD_NOT_FOUND, CONCORD_ALREADY_EXISTS,
/// CONCORD_MISSING_CONDITION, CONCORD_CONFLICTING_CONDITIONS, CONCORD_INVALID_CONDITION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_put_if(
    db: *const concord_db,
    key: concord_bytes,
    value: concord_bytes,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key, value and options.
        let (key, value, options) = unsafe { (key.checked_key()?, value.slice("value")?, write_options(options)?) };
        conditional(&options)?;
        call(&db, put_write(key, value, &options), options.timeout_ms).map(drop)
    })
}

/// Removes a key; CONCORD_OK as well when it is missing. With a condition in `options` it is concord_delete_if().
///
/// Errors: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN, CONCORD_INVALID_KEY, CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY,
/// CONCORD_UNKNOWN_OUTCOME, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        let write = Write::Delete { key, condition: options.condition };
        call(&db, write, options.timeout_ms).map(drop)
    })
}

/// Removes a key if the condition in `options` holds. Errors beside those of concord_delete():
/// CONCORD_CONDITION_FAILED, CONCORD_NOT_FOUND, CONCORD_MISSING_CONDITION, CONCORD_CONFLICTING_CONDITIONS,
/// CONCORD_INVALID_CONDITION (also for "absent", which leaves nothing to remove).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete_if(
    db: *const concord_db,
    key: concord_bytes,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        conditional(&options)?;
        let write = Write::Delete { key, condition: options.condition };
        call(&db, write, options.timeout_ms).map(drop)
    })
}

/// Adds to an integer, atomically.
///
/// - `by`: what to add; may be negative.
/// - `initial`: what a missing key counts as before the addition.
/// - `options`: NULL for the defaults; its TTL is for a key that this call creates.
/// - `out_value`: receives the sum; may be NULL.
///
/// Errors beside those of concord_put(): CONCORD_NOT_AN_INTEGER, CONCORD_VALUE_TOO_LARGE when the sum leaves 64 bits.
/// Nothing is changed then. Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_increment(
    db: *const concord_db,
    key: concord_bytes,
    by: i64,
    initial: i64,
    options: *const concord_write_options,
    out_value: *mut i64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        unconditional(&options)?;
        let write = Write::Increment { key, by, initial, ttl_ms: options.ttl_ms };
        let reply = call(&db, write, options.timeout_ms)?;
        if let (Reply::Integer { value, .. }, false) = (reply, out_value.is_null()) {
            // SAFETY: the caller's variable.
            *unsafe { out(out_value, "out_value", 0) }? = value;
        }
        Ok(())
    })
}

/// Refuses a condition where none is taken: a write that its author believes guarded never runs unguarded.
pub(crate) fn unconditional(options: &Writing<'_>) -> Outcome {
    match options.condition {
        Condition::Always => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidCondition, "this operation takes no condition").into()),
    }
}

/// Makes the remaining lifetime of an existing key `ttl_ms` (it does not add), whatever it was.
///
/// - `ttl_ms`: at least 1.
///
/// Errors: CONCORD_NOT_FOUND when the key is missing or has expired, CONCORD_INVALID_TTL, and those of
/// concord_delete(). Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_touch(
    db: *const concord_db,
    key: concord_bytes,
    ttl_ms: u64,
    options: *const concord_write_options,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's key and options.
        let db = unsafe { writer(db, &[key], options) }?;
        // SAFETY: the caller's key and options.
        let (key, options) = unsafe { (key.checked_key()?, write_options(options)?) };
        unconditional(&options)?;
        call(&db, Write::Touch { key, ttl_ms }, options.timeout_ms).map(drop)
    })
}
