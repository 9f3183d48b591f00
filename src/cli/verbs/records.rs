//! Records: the verbs on one key.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use clap::Args;
use concord_kv::{
    Compress, Concord, Condition, Consistency, Error, ErrorKind, ReadOptions, RecordView, Reply, Result, Value, Write,
    encode_value, parse_consistency, value_from_json,
};
use serde_json::json;

use super::keys::shown;
use crate::cli::output;

/// What to store.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  concord put greeting hello\n  concord put session:1 '{\"user\": 7}' --ttl 3600\n  \
                        echo hello | concord put greeting -"
)]
pub(in crate::cli) struct Put {
    /// 1 to 1024 bytes.
    key: OsString,
    /// JSON if it parses as JSON, otherwise text; `-` reads it from standard input.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Lifetime in seconds, fractions allowed.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    ttl: Option<Duration>,
    /// Take the value as text even if it parses as JSON.
    #[arg(long)]
    text: bool,
    /// Only if the key does not exist.
    #[arg(long)]
    new: bool,
}

/// What to read, and how.
#[derive(Args)]
#[command(after_help = "Examples:\n  concord get greeting\n  concord get greeting --consistency strong --json")]
pub(in crate::cli) struct Get {
    /// 1 to 1024 bytes.
    key: OsString,
    #[command(flatten)]
    level: Level,
}

/// How fresh a read must be.
#[derive(Args)]
pub(super) struct Level {
    /// How fresh it must be: `eventual`, `leader` (the default) or `strong`.
    #[arg(long, value_name = "LEVEL", value_parser = parse_consistency)]
    consistency: Option<Consistency>,
}

impl Level {
    pub(super) fn options(&self) -> ReadOptions {
        ReadOptions { consistency: self.consistency, timeout_ms: None }
    }
}

/// What to remove.
#[derive(Args)]
#[command(after_help = "Example:\n  concord delete greeting")]
pub(in crate::cli) struct Delete {
    /// 1 to 1024 bytes.
    key: OsString,
}

/// What to look for.
#[derive(Args)]
#[command(after_help = "Example:\n  concord exist greeting && echo yes")]
pub(in crate::cli) struct Exist {
    /// 1 to 1024 bytes.
    key: OsString,
    #[command(flatten)]
    level: Level,
}

/// What gets which lifetime.
#[derive(Args)]
#[command(after_help = "Example:\n  concord touch session:1 3600")]
pub(in crate::cli) struct Touch {
    /// 1 to 1024 bytes.
    key: OsString,
    /// Its lifetime from now on in seconds, fractions allowed.
    #[arg(value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    ttl: Duration,
}

/// Whose lifetime.
#[derive(Args)]
#[command(after_help = "Example:\n  concord ttl session:1")]
pub(in crate::cli) struct Ttl {
    /// 1 to 1024 bytes.
    key: OsString,
    #[command(flatten)]
    level: Level,
}

/// What to add to.
#[derive(Args)]
#[command(after_help = "Examples:\n  concord increment visits\n  concord increment stock -5 --initial 100")]
pub(in crate::cli) struct Increment {
    /// 1 to 1024 bytes.
    key: OsString,
    /// What is added.
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
    /// What a missing key counts as.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    initial: i64,
    /// Lifetime in seconds of a key that was missing.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    ttl: Option<Duration>,
}

/// Reads a number of seconds with fractions. The store says which lifetimes there are.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("a lifetime is a number of seconds, not `{text}`"))?;
    // What is no lifetime is refused by the store, as `invalid_ttl`.
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO))
}

pub(super) fn put(db: &Concord, put: &Put, json: bool) -> Result<()> {
    let value = if put.value == "-" { read_standard_input()? } else { put.value.clone() };
    let value = match value_from_json(&value) {
        Ok(value) if !put.text => value,
        _ => encode_value(&Value::Text(value))?,
    };
    let condition = if put.new { Condition::Absent } else { Condition::Always };
    let ttl_ms = put.ttl.map(milliseconds);
    let write = Write::Put { key: put.key.as_bytes(), value: &value, ttl_ms, condition, compress: Compress::Auto };
    db.kv().call(write, None)?;
    output::print_done(json)
}

pub(super) fn get(db: &Concord, get: &Get, json: bool) -> Result<()> {
    let (value, revision, ttl_ms) =
        read(db, &get.key, &get.level, |record| (record.value.into_owned(), record.revision, record.ttl_ms))?;
    output::print_record(get.key.as_bytes(), &value, revision, ttl_ms, json)
}

pub(super) fn delete(db: &Concord, delete: &Delete, json: bool) -> Result<()> {
    db.kv().delete(delete.key.as_bytes()).wait()?;
    output::print_done(json)
}

pub(super) fn exist(db: &Concord, exist: &Exist, json: bool) -> Result<()> {
    let revision = read(db, &exist.key, &exist.level, |record| record.revision)?;
    match json {
        true => output::print(&json!({"exists": true, "revision": revision}).to_string()),
        false => output::print("true"),
    }
}

pub(super) fn touch(db: &Concord, touch: &Touch, json: bool) -> Result<()> {
    db.kv().touch(touch.key.as_bytes(), touch.ttl).wait()?;
    output::print_done(json)
}

pub(super) fn ttl(db: &Concord, ttl: &Ttl, json: bool) -> Result<()> {
    let ttl_s = read(db, &ttl.key, &ttl.level, |record| record.ttl_ms)?.map(|ttl_ms| ttl_ms as f64 / 1_000.0);
    match json {
        true => output::print(&json!({"ttl": ttl_s}).to_string()),
        false => output::print(&ttl_s.map_or("none".to_owned(), |ttl_s| ttl_s.to_string())),
    }
}

pub(super) fn increment(db: &Concord, increment: &Increment, json: bool) -> Result<()> {
    let Increment { key, by, initial, ttl } = increment;
    let ttl_ms = ttl.map(milliseconds);
    let write = Write::Increment { key: key.as_bytes(), by: *by, initial: *initial, ttl_ms };
    let Reply::Integer { value, revision } = db.kv().call(write, None)? else { return Err(ErrorKind::Internal.into()) };
    match json {
        true => output::print(&json!({"value": value, "revision": revision}).to_string()),
        false => output::print(&value.to_string()),
    }
}

fn read<T>(db: &Concord, key: &OsString, level: &Level, f: impl FnOnce(RecordView<'_>) -> T) -> Result<T> {
    let missing =
        || Error::new(ErrorKind::NotFound, format!("there is no key `{}`, or it has expired", shown(key.as_bytes())));
    db.kv().read(key.as_bytes(), &level.options(), f)?.ok_or_else(missing)
}

pub(super) fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

fn read_standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read standard input as text: {error}")))?;
    Ok(text)
}
