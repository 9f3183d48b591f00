//! Status: what every function returns, the last error of a thread, and the boundary that no panic crosses.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use concord_kv::{Error, ErrorKind};

/// First number of the version: the ABI; it is the SONAME's number as well.
pub const CONCORD_VERSION_MAJOR: u32 = 0;
/// Second number of the version.
pub const CONCORD_VERSION_MINOR: u32 = 1;
/// Third number of the version.
pub const CONCORD_VERSION_PATCH: u32 = 0;

const VERSION: &CStr = c"0.1.0";

const _: () = {
    let (ours, package) = (VERSION.to_bytes(), env!("CARGO_PKG_VERSION").as_bytes());
    assert!(ours.len() == package.len());
    let mut at = 0;
    while at < ours.len() {
        assert!(ours[at] == package[at], "the library's version is the package's");
        at += 1;
    }
};

/// How a call ended. The numbers never change; a newer library may answer numbers that this header lacks.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum concord_status {
    /// It is done.
    CONCORD_OK = 0,
    /// The deadline passed before the operation began; nothing was done. Try again.
    CONCORD_TIMEOUT = 1,
    /// The token is missing, unknown, expired or revoked.
    CONCORD_UNAUTHORIZED = 2,
    /// The token is valid but may not do this.
    CONCORD_FORBIDDEN = 3,
    /// This node cannot serve now (no leader, no quorum, disk full). Nothing was done. Try again later.
    CONCORD_CLUSTER_NOT_READY = 4,
    /// A key is 1 to 1,024 bytes.
    CONCORD_INVALID_KEY = 5,
    /// The value is not well-formed CBOR of the value model, nested too deeply, or of another type than asked for.
    CONCORD_INVALID_VALUE = 6,
    /// The value is larger than allowed, or than the buffer that was to take it.
    CONCORD_VALUE_TOO_LARGE = 7,
    /// A TTL is a positive duration.
    CONCORD_INVALID_TTL = 8,
    /// The key does not exist or has expired.
    CONCORD_NOT_FOUND = 9,
    /// The key exists already.
    CONCORD_ALREADY_EXISTS = 10,
    /// The current value or revision is not the expected one.
    CONCORD_CONDITION_FAILED = 11,
    /// A conditional write needs a condition.
    CONCORD_MISSING_CONDITION = 12,
    /// A conditional write takes one condition only.
    CONCORD_CONFLICTING_CONDITIONS = 13,
    /// The condition is not of a form that can be evaluated.
    CONCORD_INVALID_CONDITION = 14,
    /// A bulk operation holds at most 500 items.
    CONCORD_BATCH_TOO_LARGE = 15,
    /// An item of a bulk operation has the wrong shape.
    CONCORD_INVALID_OPERATION_FORMAT = 16,
    /// The current value is not an integer.
    CONCORD_NOT_AN_INTEGER = 17,
    /// The write may or may not have happened: its answer was lost. Read before trying again.
    CONCORD_UNKNOWN_OUTCOME = 18,
    /// No store is running under this name.
    CONCORD_NOPROC = 19,
    /// Stored data is damaged; the message names file and offset.
    CONCORD_CORRUPT = 20,
    /// The handle was closed.
    CONCORD_CLOSED = 21,
    /// An item of a bulk touch has no positive TTL.
    CONCORD_INVALID_TOUCH_OPERATION = 22,
    /// An option or argument has a value that it cannot take; NULL where something is needed is one.
    CONCORD_INVALID_CONFIG = 23,
    /// Another process, or another handle of this one, holds the data directory.
    CONCORD_LOCKED = 24,
    /// The operating system refused a file operation; the message names it.
    CONCORD_IO = 25,
    /// A defect in Concord itself. Please report it.
    CONCORD_INTERNAL = 26,
    /// The changes that were asked for are no longer retained. Begin again with the current state.
    CONCORD_COMPACTED = 27,
}

/// Why an entry ends without `CONCORD_OK`.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A kind with its usual message: costs nothing until somebody asks for the message.
    Kind(ErrorKind),
    /// A kind with a message of its own.
    Error(Error),
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Failure {
        Failure::Kind(kind)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl Failure {
    /// A misused argument: `invalid_config` with a message that names it.
    pub(crate) fn argument(message: impl Into<String>) -> Failure {
        Failure::Error(Error::new(ErrorKind::InvalidConfig, message))
    }

    /// Status that C programs get for it.
    pub(crate) fn status(&self) -> concord_status {
        match self {
            Failure::Kind(kind) => status_of(*kind),
            Failure::Error(error) => status_of(error.kind()),
        }
    }

    /// Where in an expression or a pattern the fault is.
    pub(crate) fn column(&self) -> Option<usize> {
        match self {
            Failure::Kind(_) => None,
            Failure::Error(error) => error.column(),
        }
    }

    /// Message for people.
    pub(crate) fn message(&self) -> CString {
        match self {
            Failure::Kind(kind) => text_of(Error::from(*kind).message()),
            Failure::Error(error) => text_of(error.message()),
        }
    }
}

/// Result of everything behind an entry.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

enum LastError {
    None,
    Usual(ErrorKind),
    Own(CString, Option<usize>),
}

thread_local! {
    static LAST_ERROR: RefCell<LastError> = const { RefCell::new(LastError::None) };
}

/// Runs the body of an entry: an error becomes its status and the thread's last error, a panic becomes
/// `CONCORD_INTERNAL`.
pub(crate) fn enter(body: impl FnOnce() -> Outcome) -> concord_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => concord_status::CONCORD_OK,
        Ok(Err(failure)) => refused(failure),
        Err(panic) => refused(Failure::Error(panicked(&*panic))),
    }
}

/// Runs the body of an entry that has no status to return; `otherwise` answers for a panic.
pub(crate) fn enter_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Error that stands for a caught panic.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let what = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Internal, format!("a defect in Concord; please report it: {}", what.unwrap_or("panic")))
}

#[cold]
fn refused(failure: Failure) -> concord_status {
    let status = failure.status();
    let last = match failure {
        Failure::Kind(kind) => LastError::Usual(kind),
        Failure::Error(_) => LastError::Own(failure.message(), failure.column()),
    };
    // A thread that is ending has no last error any more; the status alone must do.
    let _ = LAST_ERROR.try_with(|slot| *slot.borrow_mut() = last);
    status
}

/// Status of a kind. Codes are the same on both sides; the test `kinds_and_statuses_agree` judges it.
fn status_of(kind: ErrorKind) -> concord_status {
    use concord_status as s;
    match kind {
        ErrorKind::Timeout => s::CONCORD_TIMEOUT,
        ErrorKind::Unauthorized => s::CONCORD_UNAUTHORIZED,
        ErrorKind::Forbidden => s::CONCORD_FORBIDDEN,
        ErrorKind::ClusterNotReady => s::CONCORD_CLUSTER_NOT_READY,
        ErrorKind::InvalidKey => s::CONCORD_INVALID_KEY,
        ErrorKind::InvalidValue => s::CONCORD_INVALID_VALUE,
        ErrorKind::ValueTooLarge => s::CONCORD_VALUE_TOO_LARGE,
        ErrorKind::InvalidTtl => s::CONCORD_INVALID_TTL,
        ErrorKind::NotFound => s::CONCORD_NOT_FOUND,
        ErrorKind::AlreadyExists => s::CONCORD_ALREADY_EXISTS,
        ErrorKind::ConditionFailed => s::CONCORD_CONDITION_FAILED,
        ErrorKind::MissingCondition => s::CONCORD_MISSING_CONDITION,
        ErrorKind::ConflictingConditions => s::CONCORD_CONFLICTING_CONDITIONS,
        ErrorKind::InvalidCondition => s::CONCORD_INVALID_CONDITION,
        ErrorKind::BatchTooLarge => s::CONCORD_BATCH_TOO_LARGE,
        ErrorKind::InvalidOperationFormat => s::CONCORD_INVALID_OPERATION_FORMAT,
        ErrorKind::NotAnInteger => s::CONCORD_NOT_AN_INTEGER,
        ErrorKind::UnknownOutcome => s::CONCORD_UNKNOWN_OUTCOME,
        ErrorKind::Noproc => s::CONCORD_NOPROC,
        ErrorKind::Corrupt => s::CONCORD_CORRUPT,
        ErrorKind::Closed => s::CONCORD_CLOSED,
        ErrorKind::InvalidTouchOperation => s::CONCORD_INVALID_TOUCH_OPERATION,
        ErrorKind::InvalidConfig => s::CONCORD_INVALID_CONFIG,
        ErrorKind::Locked => s::CONCORD_LOCKED,
        ErrorKind::Io => s::CONCORD_IO,
        ErrorKind::Internal => s::CONCORD_INTERNAL,
        ErrorKind::Compacted => s::CONCORD_COMPACTED,
        // `ErrorKind` may grow before this file does; the test above fails then.
        _ => s::CONCORD_INTERNAL,
    }
}

/// Text without the NUL bytes that C text cannot hold.
fn text_of(message: &str) -> CString {
    let bytes: Vec<u8> = message.bytes().filter(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// Version of the library that is running, for example "0.1.0"; a program was compiled against
/// CONCORD_VERSION. Static text, never freed, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn concord_version() -> *const c_char {
    VERSION.as_ptr()
}

/// What went wrong in the last call of this thread that did not return CONCORD_OK, in words for people; ""
/// when none has failed yet. Never NULL. Owned by the library and valid until the next failing call of this
/// thread. Successful calls leave it alone.
#[unsafe(no_mangle)]
pub extern "C" fn concord_last_error() -> *const c_char {
    enter_or(c"".as_ptr(), || {
        LAST_ERROR
            .try_with(|slot| {
                let mut last = slot.borrow_mut();
                if let LastError::Usual(kind) = *last {
                    *last = LastError::Own(Failure::Kind(kind).message(), None);
                }
                match &*last {
                    LastError::Own(message, _) => message.as_ptr(),
                    _ => c"".as_ptr(),
                }
            })
            .unwrap_or(c"".as_ptr())
    })
}

/// Where the fault is that the last call of this thread which did not return CONCORD_OK has found in an expression or a
/// pattern: which character, the first is 1. 0 when its error has no place.
#[unsafe(no_mangle)]
pub extern "C" fn concord_last_error_column() -> usize {
    let column = |slot: &RefCell<LastError>| match &*slot.borrow() {
        LastError::Own(_, column) => column.unwrap_or(0),
        LastError::None | LastError::Usual(_) => 0,
    };
    enter_or(0, || LAST_ERROR.try_with(column).unwrap_or(0))
}

/// Name of a status as every language of Concord spells it, for example "not_found"; "ok" for CONCORD_OK,
/// "unknown" for a number that is none. Static text, never freed, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn concord_error_name(status: i32) -> *const c_char {
    macro_rules! names {
        ($($name:literal)+) => { [$($name),+] };
    }
    const NAMES: [&CStr; 28] = names![
        c"ok" c"timeout" c"unauthorized" c"forbidden" c"cluster_not_ready" c"invalid_key" c"invalid_value"
        c"value_too_large" c"invalid_ttl" c"not_found" c"already_exists" c"condition_failed" c"missing_condition"
        c"conflicting_conditions" c"invalid_condition" c"batch_too_large" c"invalid_operation_format"
        c"not_an_integer" c"unknown_outcome" c"noproc" c"corrupt" c"closed" c"invalid_touch_operation"
        c"invalid_config" c"locked" c"io" c"internal" c"compacted"
    ];
    usize::try_from(status).ok().and_then(|code| NAMES.get(code)).unwrap_or(&c"unknown").as_ptr()
}

/// Whether the same call may succeed later without any change by the caller (timeout, cluster_not_ready).
#[unsafe(no_mangle)]
pub extern "C" fn concord_error_is_retryable(status: i32) -> bool {
    ErrorKind::from_code(status).is_some_and(ErrorKind::is_retryable)
}
