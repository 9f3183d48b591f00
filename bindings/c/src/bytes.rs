//! Bytes: what crosses the boundary. Input is borrowed, output is owned by the library until it is freed.

use std::ffi::{CStr, OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use concord_kv::{Error, ErrorKind, limits};

use crate::status::{Failure, Outcome, enter_or};

/// Borrowed bytes: a key, a value, a text. `data` may be NULL when `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct concord_bytes {
    /// First byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

/// Bytes that the library allocated, freed by concord_buffer_free(). `data[len]` is always 0, so that text can be
/// printed as it is.
#[repr(C)]
#[derive(Debug)]
pub struct concord_buffer {
    /// First byte; NULL when there is nothing.
    pub data: *mut u8,
    /// How many there are.
    pub len: usize,
}

/// A value with its revision and remaining lifetime, freed by concord_record_free().
#[repr(C)]
#[derive(Debug)]
pub struct concord_record {
    /// The value (CBOR); its `data` is NULL when there is no such record.
    pub value: concord_buffer,
    /// Number of the change that last wrote the key.
    pub revision: u64,
    /// Remaining lifetime in milliseconds, at least 1; 0 lives for ever.
    pub ttl_ms: u64,
}

const LEN_MAX: usize = isize::MAX as usize;

impl concord_bytes {
    pub(crate) const EMPTY: concord_bytes = concord_bytes { data: ptr::null(), len: 0 };

    pub(crate) fn of(bytes: &[u8]) -> concord_bytes {
        concord_bytes { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes, checked as far as a library can.
    ///
    /// # Safety
    /// When `len` is not 0 and `data` not NULL, `data` points to `len` readable bytes that nobody writes during `'a`.
    #[inline]
    pub(crate) unsafe fn slice<'a>(self, name: &str) -> Outcome<&'a [u8]> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.data.is_null() || self.len > LEN_MAX {
            return Err(Failure::argument(format!("{name} is {} bytes at an impossible address", self.len)));
        }
        // SAFETY: not NULL and not longer than any object; the rest is the caller's promise above.
        Ok(unsafe { std::slice::from_raw_parts(self.data, self.len) })
    }
}

impl concord_bytes {
    /// A key of a write, judged before TTL and condition are: that is the contract's order.
    ///
    /// # Safety
    /// As [`concord_bytes::slice`].
    pub(crate) unsafe fn checked_key<'a>(self) -> Outcome<&'a [u8]> {
        // SAFETY: the same promise.
        let key = unsafe { self.slice("key") }?;
        if (1..=limits::KEY_BYTES_MAX).contains(&key.len()) { Ok(key) } else { Err(ErrorKind::InvalidKey.into()) }
    }
}

impl concord_buffer {
    pub(crate) const EMPTY: concord_buffer = concord_buffer { data: ptr::null_mut(), len: 0 };

    /// A copy that C programs free. Allocated by `malloc`, so that freeing needs no length to be right.
    pub(crate) fn copy(bytes: &[u8]) -> Outcome<concord_buffer> {
        // SAFETY: `malloc` takes any size; a slice is shorter than isize::MAX, so the sum does not wrap.
        let data = unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>();
        if data.is_null() {
            return Err(Error::new(ErrorKind::Internal, format!("out of memory: {} bytes", bytes.len())).into());
        }
        // SAFETY: `data` is a fresh allocation of one byte more than `bytes` is long.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            data.add(bytes.len()).write(0);
        }
        Ok(concord_buffer { data, len: bytes.len() })
    }

    /// Frees what it holds and leaves it empty.
    ///
    /// # Safety
    /// `data` is NULL or came from [`concord_buffer::copy`] and was not freed.
    pub(crate) unsafe fn free(&mut self) {
        // SAFETY: `free` takes NULL or what `malloc` gave, which is the caller's promise.
        unsafe { libc::free(self.data.cast()) };
        *self = concord_buffer::EMPTY;
    }
}

impl concord_record {
    pub(crate) const EMPTY: concord_record = concord_record { value: concord_buffer::EMPTY, revision: 0, ttl_ms: 0 };
}

/// Text of an option; NULL and "" are `None`.
///
/// # Safety
/// `pointer` is NULL or points to NUL-terminated bytes that nobody writes during `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Outcome<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and NUL-terminated as the caller promised.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str();
    let text = text.map_err(|_| Failure::argument(format!("{name} is not UTF-8")))?;
    Ok((!text.is_empty()).then_some(text))
}

/// Path of an option; NULL and "" are `None`.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path(pointer: *const c_char) -> Option<PathBuf> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not NULL, and NUL-terminated as the caller promised.
    let path = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// Where a result goes: refuses NULL and begins with `empty`, so that a failed call leaves nothing undefined.
///
/// # Safety
/// `place` is NULL or points to writable memory for a `T` that nobody else uses during `'a`.
#[inline]
pub(crate) unsafe fn out<'a, T>(place: *mut T, name: &str, empty: T) -> Outcome<&'a mut T> {
    if place.is_null() || !place.is_aligned() {
        return Err(Failure::argument(format!("{name} is NULL or misaligned")));
    }
    // SAFETY: not NULL, aligned; writable by the caller's promise. `MaybeUninit` because C need not initialise it.
    let place = unsafe { &mut *place.cast::<MaybeUninit<T>>() };
    Ok(place.write(empty))
}

/// An array argument.
///
/// # Safety
/// When `count` is not 0 and `items` not NULL, `items` points to `count` initialised `T` that nobody writes during `'a`.
pub(crate) unsafe fn array<'a, T>(items: *const T, count: usize, name: &str) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if items.is_null() || !items.is_aligned() || count > LEN_MAX / size_of::<T>() {
        return Err(Failure::argument(format!("{name} is {count} items at an impossible address")));
    }
    // SAFETY: not NULL, aligned, no longer than any object; the rest is the caller's promise above.
    Ok(unsafe { std::slice::from_raw_parts(items, count) })
}

/// Bytes of a NUL-terminated text, without the NUL: concord_put(db, concord_str("name"), ...). NULL gives no bytes.
/// Borrows `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_str(text: *const c_char) -> concord_bytes {
    if text.is_null() {
        return concord_bytes::EMPTY;
    }
    // SAFETY: not NULL, and NUL-terminated as its documentation asks.
    concord_bytes::of(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Frees what a buffer holds and empties it. NULL and an empty buffer are fine, so is freeing twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_buffer_free(buffer: *mut concord_buffer) {
    if !buffer.is_null() {
        // SAFETY: the caller passes a buffer that a call filled or that is empty.
        enter_or((), || unsafe { (*buffer).free() });
    }
}

/// Frees what a record holds and empties it. NULL and an empty record are fine, so is freeing twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_record_free(record: *mut concord_record) {
    // SAFETY: one record is an array of one.
    unsafe { concord_records_free(record, 1) }
}

/// Frees what `count` records hold and empties them. NULL is fine, so is freeing twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_records_free(records: *mut concord_record, count: usize) {
    if records.is_null() {
        return;
    }
    for at in 0..count {
        // SAFETY: the caller passes `count` records that a call filled or that are empty.
        enter_or((), || unsafe {
            let record = &mut *records.add(at);
            record.value.free();
            *record = concord_record::EMPTY;
        });
    }
}
