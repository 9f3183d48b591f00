//! Every bound in one place, with what happens beyond it.

/// Longest key. Beyond it: `invalid_key`.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest encoded value unless configured otherwise. Beyond it: `value_too_large`.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 16 * 1024 * 1024;

/// Largest encoded value that configuration may allow, and the cap on any decompressed size.
pub const VALUE_BYTES_MAX_CEILING: usize = 64 * 1024 * 1024;

/// Deepest nesting of a value (a scalar has depth 1). Beyond it: `invalid_value`.
pub const VALUE_DEPTH_MAX: usize = 128;

/// Most decimal digits of an integer in JSON, as many as Python converts. Beyond it: `invalid_value`.
pub const JSON_INTEGER_DIGITS_MAX: usize = 4300;

/// Most items in one bulk operation. Beyond it: `batch_too_large`.
pub const BATCH_OPS_MAX: usize = 500;

/// Most bytes of all items in one bulk operation. Beyond it: `value_too_large`.
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most commands that share one log entry. Beyond it: the others go into the next one; `batch_too_large`
/// for a batch that another node sends.
pub const BATCH_COMMANDS_MAX: usize = 4096;

/// Most sessions that the store remembers. Beyond it: the one that was used longest ago goes, and a batch
/// that it sends again is refused. Part of what commands mean: every replica must have the same.
pub const SESSIONS_MAX: usize = 4096;

/// Most batches of one session whose outcomes are kept for it. Beyond it: its next batch is refused until
/// it has acknowledged some. Part of what commands mean.
pub const SESSION_BATCHES_MAX: usize = 64;

/// Most bytes of kept outcomes of all sessions. Beyond it: the session that was used longest ago goes.
/// Part of what commands mean.
pub const SESSIONS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest TTL, 1,000 years. Beyond it: `invalid_ttl`.
pub const TTL_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// Time a call may take when the caller gives no `timeout`.
pub const TIMEOUT_MS_DEFAULT: u64 = 5_000;
