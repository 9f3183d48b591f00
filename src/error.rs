//! Errors: one kind for each thing a caller can do next, the same names in every language.

use std::fmt;

/// Result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! error_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $name:literal;)+) => {
        /// What kind of failure happened. The kind is the API; the message is for people.
        ///
        /// Codes are stable: a retired code is never given to another kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $variant = $code,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of their codes.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)+];

            /// Stable number of this kind, the same in every language and release.
            pub const fn code(self) -> i32 {
                self as i32
            }

            /// Name of this kind as every language spells it, for example `not_found`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => $name,)+
                }
            }
        }
    };
}

error_kinds! {
    /// The deadline passed before the operation began; nothing was done. Try again.
    Timeout = 1, "timeout";
    /// The token is missing, unknown, expired or revoked.
    Unauthorized = 2, "unauthorized";
    /// The token is valid but may not do this.
    Forbidden = 3, "forbidden";
    /// This node cannot serve now (no leader, no quorum, disk full). Nothing was done. Try again later.
    ClusterNotReady = 4, "cluster_not_ready";
    /// A key is 1 to 1,024 bytes.
    InvalidKey = 5, "invalid_key";
    /// The value cannot be stored: malformed, nested too deeply, or of a type that means nothing elsewhere.
    InvalidValue = 6, "invalid_value";
    /// The value, or the result of an increment, is larger than allowed.
    ValueTooLarge = 7, "value_too_large";
    /// A TTL is a positive duration.
    InvalidTtl = 8, "invalid_ttl";
    /// The key does not exist or has expired.
    NotFound = 9, "not_found";
    /// The key exists already.
    AlreadyExists = 10, "already_exists";
    /// The current value or revision is not the expected one.
    ConditionFailed = 11, "condition_failed";
    /// A conditional write needs a condition.
    MissingCondition = 12, "missing_condition";
    /// A conditional write takes one condition only.
    ConflictingConditions = 13, "conflicting_conditions";
    /// The condition of a write, or the selector of a query, is not of a form that can be evaluated.
    InvalidCondition = 14, "invalid_condition";
    /// A bulk operation holds at most 500 items.
    BatchTooLarge = 15, "batch_too_large";
    /// An item of a bulk operation has the wrong shape.
    InvalidOperationFormat = 16, "invalid_operation_format";
    /// The current value is not an integer.
    NotAnInteger = 17, "not_an_integer";
    /// The write may or may not have happened: its answer was lost. Read before trying again.
    UnknownOutcome = 18, "unknown_outcome";
    /// No store is running under this name.
    Noproc = 19, "noproc";
    /// Stored data is damaged; the message names file and offset.
    Corrupt = 20, "corrupt";
    /// The handle was closed.
    Closed = 21, "closed";
    /// An item of a bulk touch has no positive TTL.
    InvalidTouchOperation = 22, "invalid_touch_operation";
    /// An option has a value that it cannot take.
    InvalidConfig = 23, "invalid_config";
    /// Another process holds the data directory.
    Locked = 24, "locked";
    /// The operating system refused a file operation; the message names it.
    Io = 25, "io";
    /// A defect in Concord itself. Please report it.
    Internal = 26, "internal";
    /// The changes that were asked for are no longer retained; the message and [`Error::oldest_revision`] tell from where
    /// on they are. Begin again with the current state.
    Compacted = 27, "compacted";
}

impl ErrorKind {
    /// Whether the same call may succeed later without any change by the caller.
    ///
    /// `UnknownOutcome` is not retryable: the write may have happened already.
    pub const fn is_retryable(self) -> bool {
        matches!(self, ErrorKind::Timeout | ErrorKind::ClusterNotReady)
    }

    /// Whether every replica, given the same command, would come to this error.
    /// Only such errors may be the answer of the state machine.
    pub const fn is_deterministic(self) -> bool {
        !matches!(
            self,
            ErrorKind::Timeout
                | ErrorKind::ClusterNotReady
                | ErrorKind::UnknownOutcome
                | ErrorKind::Noproc
                | ErrorKind::Corrupt
                | ErrorKind::Closed
                | ErrorKind::Locked
                | ErrorKind::Io
                | ErrorKind::Internal
                | ErrorKind::Compacted
        )
    }

    /// The kind with this code, if there is one.
    pub fn from_code(code: i32) -> Option<ErrorKind> {
        ErrorKind::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failed operation: its kind, a message that says what to do next, and perhaps what caused it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Box<str>,
    column: Option<u32>,
    oldest_revision: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into().into_boxed_str(), column: None, oldest_revision: None, source: None }
    }

    /// The same error, remembering what caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// The same error, found at this column of a text that was given.
    pub(crate) fn at_column(mut self, column: usize) -> Error {
        self.column = u32::try_from(column).ok();
        self
    }

    /// The same error, found in this part of what was given.
    pub(crate) fn within(mut self, part: &str) -> Error {
        self.message = format!("{part}: {}", self.message).into_boxed_str();
        self
    }

    /// Changes from `revision` on were asked for, and only those from `oldest` on are retained.
    pub(crate) fn compacted(revision: u64, oldest: u64) -> Error {
        let message = format!(
            "changes from revision {revision} on are no longer retained, the oldest is {oldest}; begin again with the current state"
        );
        Error { oldest_revision: Some(oldest), ..Error::new(ErrorKind::Compacted, message) }
    }

    /// The oldest revision whose changes are retained. `None` unless the kind is [`ErrorKind::Compacted`].
    pub fn oldest_revision(&self) -> Option<u64> {
        self.oldest_revision
    }

    /// Where in an expression or a pattern the fault is: which character, the first is 1. `None` for what has no place.
    /// The message says it as well.
    pub fn column(&self) -> Option<usize> {
        self.column.map(|column| column as usize)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened and what to do next, for people.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ErrorKind> for Error {
    /// An error with the kind's usual message.
    fn from(kind: ErrorKind) -> Error {
        let message = match kind {
            ErrorKind::Timeout => "the deadline passed before the operation began; nothing was done, try again",
            ErrorKind::Unauthorized => "a valid token is required; pass one with the `token` option",
            ErrorKind::Forbidden => "the token does not allow this operation",
            ErrorKind::ClusterNotReady => "this node cannot serve now; nothing was done, try again shortly",
            ErrorKind::InvalidKey => "a key is 1 to 1024 bytes",
            ErrorKind::InvalidValue => "the value cannot be stored",
            ErrorKind::ValueTooLarge => "the value is larger than allowed; store a reference to it instead",
            ErrorKind::InvalidTtl => "a TTL is a positive duration",
            ErrorKind::NotFound => "the key does not exist or has expired",
            ErrorKind::AlreadyExists => "the key exists already",
            ErrorKind::ConditionFailed => "the current record does not meet the condition; read it and decide again",
            ErrorKind::MissingCondition => "a conditional write needs `expected` or `condition`",
            ErrorKind::ConflictingConditions => "give either `expected` or `condition`, not both",
            ErrorKind::InvalidCondition => "the condition or selector cannot be evaluated",
            ErrorKind::BatchTooLarge => "a bulk operation holds at most 500 items; split it",
            ErrorKind::InvalidOperationFormat => "an item of the bulk operation has the wrong shape",
            ErrorKind::NotAnInteger => "the current value is not an integer",
            ErrorKind::UnknownOutcome => {
                "the answer was lost; the write may or may not have happened, read before trying again"
            }
            ErrorKind::Noproc => "no store is running; open one first",
            ErrorKind::Corrupt => "stored data is damaged",
            ErrorKind::Closed => "the store was closed",
            ErrorKind::InvalidTouchOperation => "each item of a bulk touch needs a positive TTL",
            ErrorKind::InvalidConfig => "an option has a value that it cannot take",
            ErrorKind::Locked => "another process holds the data directory",
            ErrorKind::Io => "a file operation failed",
            ErrorKind::Internal => "a defect in Concord; please report it",
            ErrorKind::Compacted => "these changes are no longer retained; begin again with the current state",
        };
        Error::new(kind, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
