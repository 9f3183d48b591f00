//! Transfer: records as lines of JSON, out of the store and into it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use concord_kv::{
    Compress, Concord, Error, ErrorKind, Result, Value, Write, decode_value, encode_value, limits, value_from_json,
    value_to_json,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::keys::{key_text, scan, shown};
use super::records::{Level, milliseconds};
use crate::cli::access::misuse;
use crate::cli::output;

/// Longest line. The largest value, as base64 in JSON, is shorter.
const LINE_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Bytes of values in one batch, about.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What to store.
#[derive(Args)]
#[command(
    after_help = "The lines before a bad one are stored, and nothing after it; --dry-run looks first. What is there already under \
other keys stays.\n\nExamples:\n  concord import backup.jsonl --dry-run\n  concord import backup.jsonl\n  \
echo '{\"key\": \"a\", \"value\": 1, \"ttl\": 60}' | concord import -"
)]
pub(in crate::cli) struct Import {
    /// Where the lines are; `-` is standard input.
    file: PathBuf,
    /// Check every line, store nothing, open no store.
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub(super) fn is_rehearsal(&self) -> bool {
        self.dry_run
    }
}

/// What to write, and where.
#[derive(Args)]
#[command(
    after_help = "JSON knows fewer types: atoms, dates and times become strings, tuples arrays. A file is readable by its owner \
only, and there when all of it is.\n\nExamples:\n  concord export backup.jsonl\n  concord export - --prefix user: | gzip > users.gz"
)]
pub(in crate::cli) struct Export {
    /// Where to; `-` is standard output. A file that exists is replaced in the end.
    file: PathBuf,
    /// Only keys that begin with this.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: std::ffi::OsString,
    #[command(flatten)]
    level: Level,
}

/// A line, read.
struct Item {
    key: Vec<u8>,
    value: Vec<u8>,
    ttl_ms: Option<u64>,
}

/// The lines of a file, counted.
struct Lines {
    input: Box<dyn BufRead>,
    number: u64,
    bar: ProgressBar,
}

impl Lines {
    fn open(path: &Path) -> Result<Lines> {
        if path == Path::new("-") {
            let input = Box::new(BufReader::new(io::stdin()));
            return Ok(Lines { input, number: 0, bar: bar(None, "{spinner} {bytes} read, {binary_bytes_per_sec}") });
        }
        let cannot = |error: io::Error| misuse(format!("cannot read {}: {error}", path.display()));
        let file = File::open(path).map_err(cannot)?;
        let bytes = file.metadata().map_err(cannot)?.len();
        let bar = bar(Some(bytes), "{wide_bar} {bytes}/{total_bytes}, {binary_bytes_per_sec}, {eta}");
        Ok(Lines { input: Box::new(BufReader::new(file)), number: 0, bar })
    }

    /// The next line that is not empty; an error says which one it is about.
    fn next(&mut self) -> Result<Option<Item>> {
        loop {
            let mut line = Vec::new();
            let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let bytes = read.map_err(|error| Error::new(ErrorKind::Io, format!("cannot read on: {error}")))?;
            if bytes == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bar.inc(bytes as u64);
            if bytes as u64 == LINE_BYTES_MAX {
                return Err(self.bad(Error::new(ErrorKind::ValueTooLarge, "longer than any record can be")));
            }
            if !line.trim_ascii().is_empty() {
                return item(&line).map(Some).map_err(|error| self.bad(error));
            }
        }
    }

    fn bad(&self, error: Error) -> Error {
        Error::new(error.kind(), format!("line {}: {}", self.number, error.message()))
    }
}

/// Reads `{"key": ..., "value": ..., "ttl": ...}`.
fn item(line: &[u8]) -> Result<Item> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperationFormat, message);
    let text = std::str::from_utf8(line).map_err(|error| wrong(format!("no UTF-8: {error}")))?;
    let Value::Map(fields) = decode_value(&value_from_json(text.trim())?)? else {
        return Err(wrong("a record is an object with `key` and `value`".to_owned()));
    };
    let (mut key, mut value, mut ttl_ms) = (None, None, None);
    for (name, field) in fields {
        match (name, field) {
            (Value::Text(name), Value::Text(text)) if name == "key" => key = Some(text.into_bytes()),
            (Value::Text(name), Value::Bytes(bytes)) if name == "key" => key = Some(bytes),
            (Value::Text(name), _) if name == "key" => {
                return Err(wrong("a `key` is a string, or {\"$bytes\": base64}".to_owned()));
            }
            (Value::Text(name), field) if name == "value" => value = Some(encode_value(&field)?),
            (Value::Text(name), Value::Null) if name == "ttl" => {}
            (Value::Text(name), field) if name == "ttl" => ttl_ms = Some(lifetime(&field)?),
            (name, _) => {
                return Err(wrong(format!("`key`, `value` and `ttl` are known, not {name:?}")));
            }
        }
    }
    let key = key.ok_or_else(|| wrong("there is no `key`".to_owned()))?;
    if !(1..=limits::KEY_BYTES_MAX).contains(&key.len()) {
        return Err(ErrorKind::InvalidKey.into());
    }
    let value = value.ok_or_else(|| wrong("there is no `value`".to_owned()))?;
    Ok(Item { key, value, ttl_ms })
}

fn lifetime(seconds: &Value) -> Result<u64> {
    let seconds = match seconds {
        Value::Int(seconds) => *seconds as f64,
        Value::Float(seconds) => *seconds,
        _ => return Err(Error::new(ErrorKind::InvalidTtl, "a `ttl` is a number of seconds")),
    };
    let ttl_ms = Duration::try_from_secs_f64(seconds).map_or(0, milliseconds);
    if !(1..=limits::TTL_MS_MAX).contains(&ttl_ms) {
        return Err(ErrorKind::InvalidTtl.into());
    }
    Ok(ttl_ms)
}

/// Reads every line and stores none.
pub(super) fn rehearse(import: &Import, json: bool) -> Result<()> {
    let mut lines = Lines::open(&import.file)?;
    let mut count = 0u64;
    while lines.next()?.is_some() {
        count += 1;
    }
    lines.bar.finish_and_clear();
    report(count, "could be stored; nothing was", json)
}

pub(super) fn import(db: &Concord, import: &Import, json: bool) -> Result<()> {
    let mut lines = Lines::open(&import.file)?;
    let mut batch: Vec<Item> = Vec::new();
    let (mut bytes, mut count, mut from) = (0, 0u64, 1);
    let end = loop {
        let next = lines.next();
        let item = match next {
            Ok(Some(item)) => item,
            Ok(None) => break Ok(()),
            // What was read before it is stored all the same: the message says so.
            Err(error) => break Err(error),
        };
        bytes += item.value.len();
        batch.push(item);
        if batch.len() == limits::BATCH_OPS_MAX || bytes >= BATCH_BYTES {
            count += store(db, &batch, from, &lines)?;
            (bytes, from) = (0, lines.number + 1);
            batch.clear();
        }
    };
    count += store(db, &batch, from, &lines)?;
    lines.bar.finish_and_clear();
    match end {
        Ok(()) => report(count, "stored", json),
        Err(error) => {
            let message = format!("{}; the {count} records before it are stored, nothing after it", error.message());
            Err(Error::new(error.kind(), message))
        }
    }
}

/// Stores a batch, all or nothing; tells of how many records.
fn store(db: &Concord, batch: &[Item], from: u64, lines: &Lines) -> Result<u64> {
    if batch.is_empty() {
        return Ok(0);
    }
    let items: Vec<_> = batch.iter().map(|item| (&item.key[..], &item.value[..], item.ttl_ms)).collect();
    let stored = db.kv().call(Write::PutMany { items: &items, compress: Compress::Auto }, None);
    stored.map_err(|error| {
        lines.bar.finish_and_clear();
        let (kind, to) = (error.kind(), lines.number);
        let what = if kind == ErrorKind::UnknownOutcome { "may be stored" } else { "are not stored" };
        let message = format!(
            "lines {from} to {to} {what}, those before are, nothing after: {}; to import all of it again does no harm",
            error.message()
        );
        Error::new(kind, message)
    })?;
    Ok(batch.len() as u64)
}

pub(super) fn export(db: &Concord, export: &Export, json: bool) -> Result<()> {
    let is_standard_output = export.file == Path::new("-");
    let view = db.kv().view(&export.level.options())?;
    let bar = bar(Some(db.status()?.size), "{wide_bar} {pos}/{len} records, {per_sec}, {eta}");
    let (mut out, draft) = match is_standard_output {
        true => (Box::new(BufWriter::new(io::stdout())) as Box<dyn io::Write>, None),
        false => {
            let draft = Draft::create(&export.file)?;
            (Box::new(BufWriter::new(draft.file.try_clone().map_err(|error| draft.failed(error))?)) as _, Some(draft))
        }
    };
    let failed = |error: io::Error| Error::new(ErrorKind::Io, format!("cannot write: {error}"));
    let mut count = 0u64;
    scan(&view, std::os::unix::ffi::OsStrExt::as_bytes(&*export.prefix), |key, record| {
        let value = value_to_json(&record.value).map_err(|error| {
            let message = format!("the value of `{}` cannot be said in JSON: {}", shown(key), error.message());
            Error::new(error.kind(), message)
        })?;
        let ttl = record.ttl_ms.map_or(String::new(), |ttl_ms| format!(",\"ttl\":{}", ttl_ms as f64 / 1_000.0));
        writeln!(out, "{{\"key\":{},\"value\":{value}{ttl}}}", key_text(key)?).map_err(failed)?;
        count += 1;
        bar.inc(1);
        Ok(ControlFlow::Continue(()))
    })?;
    out.flush().map_err(failed)?;
    drop(out);
    bar.finish_and_clear();
    match draft {
        // Nothing but the lines goes there.
        None => Ok(()),
        Some(draft) => draft.finish().and_then(|()| report(count, "written", json)),
    }
}

/// A file that takes its name when it is whole; dropped before, it is removed.
struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

impl Draft {
    fn create(path: &Path) -> Result<Draft> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.part", std::process::id()));
        let draft = PathBuf::from(draft);
        // A name that is taken, even by a link, is refused.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
        let file = made.map_err(|error| misuse(format!("cannot write {}: {error}", draft.display())))?;
        Ok(Draft { file, draft, path: path.to_owned(), is_finished: false })
    }

    fn finish(mut self) -> Result<()> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        std::fs::rename(&self.draft, &self.path).map_err(|error| self.failed(error))?;
        self.is_finished = true;
        Ok(())
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("cannot write {}: {error}", self.path.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = std::fs::remove_file(&self.draft);
        }
    }
}

fn report(count: u64, what: &str, json: bool) -> Result<()> {
    match json {
        true => output::print(&json!({"status": "ok", "records": count}).to_string()),
        false => output::print(&format!("{count} records {what}")),
    }
}

/// Shown on a terminal only.
fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
