//! Options: structs that carry their size, so that old programs run with new libraries and the other way round.

use std::ffi::c_char;
use std::mem::{MaybeUninit, offset_of};

use concord_kv::{Compress, Compression, CompressionAlgorithm, Condition, Config, Consistency};
use concord_kv::{Durability, ErrorKind, ReadOptions};

use crate::bytes::concord_bytes;
use crate::cluster::{cluster_configuration, concord_cluster_options};
use crate::http::{Http, concord_http_options};
use crate::selector::{concord_selector, utf8};
use crate::status::{Failure, Outcome};
use crate::tokens::token_text;

/// When an acknowledged write is safe from a crash of the machine.
#[repr(i32)]
pub enum concord_durability {
    /// As the environment says (CONCORD_DURABILITY), else as CONCORD_DURABILITY_ALWAYS.
    CONCORD_DURABILITY_DEFAULT = 0,
    /// Before it is acknowledged: on disk (fdatasync).
    CONCORD_DURABILITY_ALWAYS = 1,
    /// At most `interval_ms` after it is acknowledged. A crash of the process alone loses nothing.
    CONCORD_DURABILITY_INTERVAL = 2,
    /// Never: nothing is written to disk.
    CONCORD_DURABILITY_MEMORY = 3,
}

/// How fresh a read must be. On a single node all levels are the same local read.
#[repr(i32)]
pub enum concord_consistency {
    /// As the store was opened.
    CONCORD_CONSISTENCY_DEFAULT = 0,
    /// This node's own state; may be stale.
    CONCORD_CONSISTENCY_EVENTUAL = 1,
    /// The leader's state under its lease: linearizable as long as clocks drift less than the margin.
    CONCORD_CONSISTENCY_LEADER = 2,
    /// Linearizable without any assumption about clocks.
    CONCORD_CONSISTENCY_STRONG = 3,
}

/// How a store compresses large values.
#[repr(i32)]
pub enum concord_compression {
    /// As CONCORD_COMPRESSION_ZLIB.
    CONCORD_COMPRESSION_DEFAULT = 0,
    /// Not at all, unless a write asks for it.
    CONCORD_COMPRESSION_NONE = 1,
    /// RFC 1950.
    CONCORD_COMPRESSION_ZLIB = 2,
    /// RFC 1952.
    CONCORD_COMPRESSION_GZIP = 3,
}

/// Whether one write compresses its value. It is kept compressed only when that makes it smaller.
#[repr(i32)]
pub enum concord_compress {
    /// As the store was opened: above its threshold.
    CONCORD_COMPRESS_AUTO = 0,
    /// Whatever its size.
    CONCORD_COMPRESS_ALWAYS = 1,
    /// Never.
    CONCORD_COMPRESS_NEVER = 2,
}

/// Something that is on or off.
#[repr(i32)]
pub enum concord_switch {
    /// As the environment says, else as it is by default.
    CONCORD_SWITCH_DEFAULT = 0,
    /// On, whatever the environment says.
    CONCORD_SWITCH_ON = 1,
    /// Off, whatever the environment says.
    CONCORD_SWITCH_OFF = 2,
}

/// What must hold for a write to happen; check and write are one atomic step.
#[repr(i32)]
pub enum concord_condition {
    /// Nothing.
    CONCORD_CONDITION_NONE = 0,
    /// The key does not exist; otherwise CONCORD_ALREADY_EXISTS.
    CONCORD_CONDITION_ABSENT = 1,
    /// The current revision is `revision`; otherwise CONCORD_CONDITION_FAILED or CONCORD_NOT_FOUND.
    CONCORD_CONDITION_REVISION = 2,
    /// The current value equals `expected`, numbers by what they are worth, maps whatever the order of their
    /// entries; otherwise CONCORD_CONDITION_FAILED or CONCORD_NOT_FOUND.
    CONCORD_CONDITION_EXPECTED = 3,
    /// The expression `where` is true of the current record: `value.version < 2`; otherwise CONCORD_CONDITION_FAILED or
    /// CONCORD_NOT_FOUND. One that cannot be understood is CONCORD_INVALID_CONDITION, see concord_last_error_column().
    CONCORD_CONDITION_WHERE = 4,
}

/// Options of concord_open(). Zero in a field means its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_open_options {
    /// sizeof(concord_open_options)
    pub size: usize,
    /// A concord_durability. Without a directory nothing is durable whatever this says.
    pub durability: i32,
    /// A concord_consistency: the level of reads that name none. Default: leader.
    pub consistency: i32,
    /// Milliseconds between two fdatasync calls with CONCORD_DURABILITY_INTERVAL, 1 to 60,000.
    pub interval_ms: u64,
    /// A concord_compression. Default: zlib.
    pub compression: i32,
    /// 1 (fast) to 9 (small). Default: 6.
    pub compression_level: u32,
    /// Values larger than this are compressed, bytes. Default: 1,024.
    pub compression_threshold_bytes: usize,
    /// Largest encoded value, bytes, 1,024 to 64 MiB. Default: 16 MiB.
    pub value_bytes_max: usize,
    /// How often expired records are removed from memory, milliseconds, 10 to 3,600,000. They are invisible from
    /// their deadline on, whatever this is. Default: 1,000.
    pub expiry_interval_ms: u64,
    /// The log is compacted when it has grown by this many bytes, at least 1 MiB. Default: 64 MiB.
    pub snapshot_log_bytes: u64,
    /// What makes this store a member of a cluster. NULL: a store of one node without sockets, unless the environment
    /// says CONCORD_LISTEN.
    pub cluster: *const concord_cluster_options,
    /// What is served over HTTP. NULL: nothing, unless the environment says CONCORD_API_PORT or CONCORD_PROMETHEUS_PORT.
    pub http: *const concord_http_options,
    /// A concord_switch: whether every call needs a token, see concord_with_token(). Default: CONCORD_AUTH_ENABLED, else
    /// off.
    pub auth_enabled: i32,
    /// A concord_switch: whether programs of the same user on this machine are served through concord.sock in the data
    /// directory, with every right, see concord_connect_local(). Default: CONCORD_LOCAL_SOCKET, else on.
    pub local_socket: i32,
    /// A concord_switch: whether calls are counted and timed, see concord_metrics_text(). Default:
    /// CONCORD_TELEMETRY_ENABLED, else on.
    pub telemetry_enabled: i32,
    /// A concord_switch: whether the keys that are used most are looked for, by a sample. Default: CONCORD_HOT_KEYS, else
    /// on.
    pub hot_keys: i32,
    /// A concord_switch: whether metrics show those keys as they are, and not as salted hashes. Default:
    /// CONCORD_METRICS_KEYS, else off.
    pub metrics_keys: i32,
    /// Keep it 0.
    pub reserved: u32,
}

/// Options of reads.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_read_options {
    /// sizeof(concord_read_options)
    pub size: usize,
    /// A concord_consistency.
    pub consistency: i32,
    /// Keep it 0.
    pub reserved: u32,
    /// Milliseconds that the read may wait; 0 is 5,000.
    pub timeout_ms: u64,
    /// In whose name, as concord_with_token() does it for many calls: "sk_concord_...", NUL-terminated. NULL: in that of the
    /// handle.
    pub token: *const c_char,
}

/// Options of writes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_write_options {
    /// sizeof(concord_write_options)
    pub size: usize,
    /// Milliseconds that the write may take; 0 is 5,000. No answer in time: CONCORD_UNKNOWN_OUTCOME.
    pub timeout_ms: u64,
    /// Lifetime of what is written, milliseconds; 0 lives for ever. Ignored by writes that store nothing.
    pub ttl_ms: u64,
    /// A concord_compress.
    pub compress: i32,
    /// A concord_condition, for puts and deletes of one key.
    pub condition: i32,
    /// With CONCORD_CONDITION_REVISION; otherwise 0.
    pub revision: u64,
    /// With CONCORD_CONDITION_EXPECTED: an encoded value; otherwise empty.
    pub expected: concord_bytes,
    /// In whose name, as in concord_read_options.
    pub token: *const c_char,
    /// With CONCORD_CONDITION_WHERE: an expression, UTF-8, up to 4,096 bytes; otherwise empty.
    pub r#where: concord_bytes,
}

/// Options of concord_scan_open(): which records, in the order of their keys' bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_scan_options {
    /// sizeof(concord_scan_options)
    pub size: usize,
    /// Only keys that begin with this; empty: all.
    pub prefix: concord_bytes,
    /// Only keys from this one on, itself included; empty: from the first.
    pub start: concord_bytes,
    /// Only keys before this one, itself excluded; empty: to the last.
    pub end: concord_bytes,
    /// A concord_consistency.
    pub consistency: i32,
    /// 1: without the values, which come empty; 0: with them.
    pub keys_only: u32,
    /// Milliseconds that opening the scan may wait; 0 is 5,000.
    pub timeout_ms: u64,
    /// In whose name, as in concord_read_options. A token that reaches only some keys needs a scan within one of its
    /// prefixes.
    pub token: *const c_char,
    /// What else must hold of the records. NULL: nothing. With it `prefix` above is empty: the selector has its own.
    pub selector: *const concord_selector,
}

/// A struct that begins with its own size and means its defaults when all else is zero.
///
/// # Safety
/// The type is `repr(C)`, begins with a `usize` and is valid for any bytes.
pub(crate) unsafe trait OptionStruct: Copy {
    const NAME: &'static str;
    /// How many bytes it had in earlier releases, which programs compiled then still say.
    const EARLIER_BYTES: &'static [usize] = &[];
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_open_options {
    const NAME: &'static str = "concord_open_options";
    const EARLIER_BYTES: &'static [usize] =
        &[offset_of!(concord_open_options, cluster), offset_of!(concord_open_options, http)];
}
// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_read_options {
    const NAME: &'static str = "concord_read_options";
    const EARLIER_BYTES: &'static [usize] = &[offset_of!(concord_read_options, token)];
}
// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_write_options {
    const NAME: &'static str = "concord_write_options";
    const EARLIER_BYTES: &'static [usize] =
        &[offset_of!(concord_write_options, token), offset_of!(concord_write_options, r#where)];
}
// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_scan_options {
    const NAME: &'static str = "concord_scan_options";
    const EARLIER_BYTES: &'static [usize] =
        &[offset_of!(concord_scan_options, token), offset_of!(concord_scan_options, selector)];
}

/// Largest size that a struct of a newer header may plausibly have.
const STRUCT_BYTES_MAX: usize = 4096;

/// A copy of the caller's options; NULL gives `None`. A newer and larger struct is fine as long as what this
/// library does not know is zero.
///
/// # Safety
/// `options` is NULL or points to as many readable bytes as its first field says.
#[inline]
pub(crate) unsafe fn copied<T: OptionStruct>(options: *const T) -> Outcome<Option<T>> {
    if options.is_null() {
        return Ok(None);
    }
    if !options.is_aligned() {
        return Err(Failure::argument(format!("{} is misaligned", T::NAME)));
    }
    // SAFETY: not NULL, aligned, and `size` is its first field.
    let size = unsafe { options.cast::<usize>().read() };
    let is_known = (size_of::<T>()..=STRUCT_BYTES_MAX).contains(&size) || T::EARLIER_BYTES.contains(&size);
    if !is_known {
        let name = T::NAME;
        return Err(Failure::argument(format!("{name} says it is {size} bytes; begin with its INIT macro")));
    }
    if size > size_of::<T>() {
        // SAFETY: the caller promises `size` readable bytes, and the part read lies within them.
        let tail =
            unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(size_of::<T>()), size - size_of::<T>()) };
        if tail.iter().any(|byte| *byte != 0) {
            return Err(Failure::argument(format!("{} sets an option that this release does not know", T::NAME)));
        }
    }
    if size >= size_of::<T>() {
        // SAFETY: at least `size_of::<T>()` readable bytes, aligned, and any bytes make a `T`.
        return Ok(Some(unsafe { options.read() }));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: `size` readable bytes into a `T`, which is larger; what an older program does not have stays zero, and any
    // bytes make a `T`.
    Ok(Some(unsafe {
        options.cast::<u8>().copy_to_nonoverlapping(copy.as_mut_ptr().cast(), size);
        copy.assume_init()
    }))
}

pub(crate) fn nonzero(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

/// Level of a number, `None` for the default.
pub(crate) fn consistency_of(number: i32) -> Outcome<Option<Consistency>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Consistency::Eventual)),
        2 => Ok(Some(Consistency::Leader)),
        3 => Ok(Some(Consistency::Strong)),
        other => Err(Failure::argument(format!("consistency {other} is none of concord_consistency"))),
    }
}

/// The core's read options, and the token.
///
/// # Safety
/// As [`copied`]; the token is NULL or NUL-terminated and nobody writes it during `'a`.
#[inline]
pub(crate) unsafe fn read_options<'a>(options: *const concord_read_options) -> Outcome<(ReadOptions, Option<&'a str>)> {
    // SAFETY: the same promise.
    match unsafe { copied(options) }? {
        None => Ok((ReadOptions::default(), None)),
        Some(given) => {
            // SAFETY: the same promise.
            let token = unsafe { token_text(given.token) }?;
            Ok((reading(given.consistency, given.timeout_ms, given.reserved)?, token))
        }
    }
}

/// The token of a write.
///
/// # Safety
/// As [`read_options`].
pub(crate) unsafe fn write_token<'a>(options: *const concord_write_options) -> Outcome<Option<&'a str>> {
    // SAFETY: the same promise.
    match unsafe { copied(options) }? {
        None => Ok(None),
        // SAFETY: the same promise.
        Some(given) => unsafe { token_text(given.token) },
    }
}

/// The core's read options from their parts.
pub(crate) fn reading(consistency: i32, timeout_ms: u64, reserved: u32) -> Outcome<ReadOptions> {
    if reserved != 0 {
        return Err(Failure::argument("reserved is not 0"));
    }
    Ok(ReadOptions { consistency: consistency_of(consistency)?, timeout_ms: nonzero(timeout_ms) })
}

/// Options of one write as the core takes them.
pub(crate) struct Writing<'a> {
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) compress: Compress,
    pub(crate) condition: Condition<'a>,
}

/// Options of one write as the core takes them.
///
/// # Safety
/// As [`copied`]; `expected` borrows what the caller keeps readable during `'a`.
pub(crate) unsafe fn write_options<'a>(options: *const concord_write_options) -> Outcome<Writing<'a>> {
    // SAFETY: the same promise.
    let Some(given) = unsafe { copied(options) }? else {
        let compress = Compress::Auto;
        return Ok(Writing { timeout_ms: None, ttl_ms: None, compress, condition: Condition::Always });
    };
    // SAFETY: both are readable for as long as the options are, as the caller promised.
    let (expected, expression) = unsafe { (given.expected.slice("expected")?, given.r#where.slice("where")?) };
    let compress = match given.compress {
        0 => Compress::Auto,
        1 => Compress::Always,
        2 => Compress::Never,
        other => return Err(Failure::argument(format!("compress {other} is none of concord_compress"))),
    };
    let condition = condition_of(given.condition, given.revision, expected, expression)?;
    Ok(Writing { timeout_ms: nonzero(given.timeout_ms), ttl_ms: nonzero(given.ttl_ms), compress, condition })
}

/// A condition from its parts. Parts of another condition are an error: a write that its author believes guarded
/// must never run unguarded.
fn condition_of<'a>(kind: i32, revision: u64, expected: &'a [u8], expression: &'a [u8]) -> Outcome<Condition<'a>> {
    match (kind, revision != 0, !expected.is_empty(), !expression.is_empty()) {
        (0, false, false, false) => Ok(Condition::Always),
        (1, false, false, false) => Ok(Condition::Absent),
        (2, _, false, false) => Ok(Condition::Revision(revision)),
        (3, false, true, false) => Ok(Condition::Expected(expected)),
        (4, false, false, _) => Ok(Condition::Where(utf8(expression, "where")?)),
        (0, true, false, false) | (0, false, true, false) | (0, false, false, true) | (3, false, false, false) => {
            Err(ErrorKind::InvalidCondition.into())
        }
        (0..=4, ..) => Err(ErrorKind::ConflictingConditions.into()),
        _ => Err(ErrorKind::InvalidCondition.into()),
    }
}

/// How values are compressed, from its parts; 0 means the default.
pub(crate) fn compression_of(kind: i32, level: u32, threshold_bytes: usize) -> Outcome<Compression> {
    let unset = Compression::default();
    let algorithm = match kind {
        0..=2 => CompressionAlgorithm::Zlib,
        3 => CompressionAlgorithm::Gzip,
        other => return Err(Failure::argument(format!("compression {other} is none of concord_compression"))),
    };
    let level = if level == 0 { unset.level } else { level };
    let threshold_bytes = if threshold_bytes == 0 { unset.threshold_bytes } else { threshold_bytes };
    Ok(Compression { enabled: kind != 1, algorithm, threshold_bytes, level })
}

/// The store's configuration. The environment's variables are defaults for what is not set here.
///
/// # Safety
/// As [`copied`].
pub(crate) unsafe fn configuration(base: Config, options: *const concord_open_options) -> Outcome<Config> {
    // SAFETY: the same promise.
    let Some(given) = unsafe { copied(options) }? else {
        return Ok(base.or_environment()?);
    };
    let unset = Config::default();
    let mut config = base;
    config.durability = match (given.durability, given.interval_ms) {
        (0 | 1, 0) => Durability::Always,
        (2, interval_ms) => Durability::Interval { interval_ms },
        (3, 0) => Durability::Memory,
        (0..=3, _) => return Err(Failure::argument("interval_ms goes with CONCORD_DURABILITY_INTERVAL")),
        (other, _) => return Err(Failure::argument(format!("durability {other} is none of concord_durability"))),
    };
    if let Some(level) = consistency_of(given.consistency)? {
        config.default_read_consistency = level;
    }
    config.compression = compression_of(given.compression, given.compression_level, given.compression_threshold_bytes)?;
    if given.value_bytes_max != 0 {
        config.value_bytes_max = given.value_bytes_max;
    }
    config.expiry_interval_ms = nonzero(given.expiry_interval_ms).unwrap_or(unset.expiry_interval_ms);
    config.snapshot_log_bytes = nonzero(given.snapshot_log_bytes).unwrap_or(unset.snapshot_log_bytes);
    if given.reserved != 0 {
        return Err(Failure::argument("reserved is not 0"));
    }
    // SAFETY: NULL or the caller's structs, which carry their sizes, with texts as they document.
    let http = unsafe {
        config.cluster = cluster_configuration(given.cluster)?;
        Http::read(given.http)?
    };
    config.http = http.before();
    // Said explicitly, `always` must win over the environment, which takes it for "not set".
    let explicit = (given.durability == 1).then_some(Durability::Always);
    let mut config = config.or_environment()?;
    config.durability = explicit.unwrap_or(config.durability);
    if given.consistency == 2 {
        config.default_read_consistency = Consistency::Leader;
    }
    config.http = http.over(config.http)?;
    for (name, given, switch) in [
        ("auth_enabled", given.auth_enabled, &mut config.auth_enabled),
        ("local_socket", given.local_socket, &mut config.local_socket),
        ("telemetry_enabled", given.telemetry_enabled, &mut config.telemetry_enabled),
        ("hot_keys", given.hot_keys, &mut config.hot_keys),
        ("metrics_keys", given.metrics_keys, &mut config.metrics_keys),
    ] {
        *switch = match given {
            0 => *switch,
            1 => true,
            2 => false,
            other => return Err(Failure::argument(format!("{name} {other} is none of concord_switch"))),
        };
    }
    Ok(config)
}
