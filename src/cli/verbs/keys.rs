//! Keys: the verb that lists them, and how keys that are no text are shown.

use std::ffi::OsString;
use std::ops::{Bound, ControlFlow};
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use concord_kv::{Concord, Error, ErrorKind, RecordView, Result, Value, encode_value, value_to_json};
use serde_json::json;

use super::records::Level;
use crate::cli::{output, table};

/// Widest value in the table; `get` prints all of it.
const VALUE_CHARS_MAX: usize = 60;

/// Which keys to list.
#[derive(Args)]
#[command(after_help = "Examples:\n  concord list\n  concord list user: --limit 10 --values --json")]
pub(in crate::cli) struct List {
    /// Only keys that begin with this.
    #[arg(default_value = "")]
    prefix: OsString,
    /// At most this many; 0 lists all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Their values too.
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    level: Level,
}

struct Row {
    key: Vec<u8>,
    revision: u64,
    ttl_ms: Option<u64>,
    value: Option<Result<String>>,
}

pub(super) fn list(db: &Concord, list: &List, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    let mut is_cut = false;
    let view = db.kv().view(&list.level.options())?;
    scan(&view, list.prefix.as_bytes(), |key, record| {
        if list.limit > 0 && rows.len() == list.limit {
            is_cut = true;
            return Ok(ControlFlow::Break(()));
        }
        let value = list.values.then(|| value_to_json(&record.value));
        rows.push(Row { key: key.to_vec(), revision: record.revision, ttl_ms: record.ttl_ms, value });
        Ok(ControlFlow::Continue(()))
    })?;
    if json { print_json(rows, is_cut) } else { print_table(rows, list.values, is_cut) }
}

/// Visits every record whose key begins with this, in key order, until `f` breaks off or fails.
pub(super) fn scan(
    view: &concord_kv::View,
    prefix: &[u8],
    mut f: impl FnMut(&[u8], RecordView<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let end = end_of(prefix);
    let from = if prefix.is_empty() { Bound::Unbounded } else { Bound::Included(prefix) };
    let mut failure = None;
    view.scan((from, end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)), |key, record| {
        f(key, record).unwrap_or_else(|error| {
            failure = Some(error);
            ControlFlow::Break(())
        })
    })?;
    failure.map_or(Ok(()), Err)
}

/// The first key behind all that begin with this; `None` when there is no such key.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

fn print_table(rows: Vec<Row>, with_values: bool, is_cut: bool) -> Result<()> {
    let cells = |row: &Row| {
        let ttl = row.ttl_ms.map_or("-".to_owned(), |ttl_ms| format!("{} s", ttl_ms as f64 / 1_000.0));
        let value = match &row.value {
            None => String::new(),
            Some(Ok(value)) if value.chars().count() > VALUE_CHARS_MAX => {
                format!("{}...", value.chars().take(VALUE_CHARS_MAX).collect::<String>())
            }
            Some(Ok(value)) => value.clone(),
            Some(Err(_)) => "(not to be said in JSON)".to_owned(),
        };
        [shown(&row.key), row.revision.to_string(), ttl, value]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let heading = ["KEY", "REVISION", "TTL", if with_values { "VALUE" } else { "" }];
    table::lines(heading, [false, true, true, false], &cells).iter().try_for_each(|line| output::print(line))?;
    if is_cut {
        output::print(&format!("(the first {}; --limit 0 lists all)", rows.len()))?;
    }
    Ok(())
}

fn print_json(rows: Vec<Row>, is_cut: bool) -> Result<()> {
    let object = |row: Row| {
        let ttl_s = row.ttl_ms.map(|ttl_ms| ttl_ms as f64 / 1_000.0);
        let mut object = json!({"key": key_json(&row.key)?, "revision": row.revision, "ttl": ttl_s});
        if let Some(value) = row.value {
            object["value"] = parsed(&value?)?;
        }
        Ok(object)
    };
    let keys = rows.into_iter().map(object).collect::<Result<Vec<_>>>()?;
    output::print(&json!({"keys": keys, "more": is_cut}).to_string())
}

/// A key as a JSON string, or as `{"$bytes": ...}` when it is no UTF-8.
pub(in crate::cli) fn key_json(key: &[u8]) -> Result<serde_json::Value> {
    parsed(&key_text(key)?)
}

/// The same as JSON text.
pub(super) fn key_text(key: &[u8]) -> Result<String> {
    let value = match std::str::from_utf8(key) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(key.to_vec()),
    };
    value_to_json(&encode_value(&value)?)
}

fn parsed(json: &str) -> Result<serde_json::Value> {
    serde_json::from_str(json).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

/// A key for people: what a terminal would act on is escaped.
pub(super) fn shown(key: &[u8]) -> String {
    let mut out = String::new();
    for chunk in key.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char.is_control() {
                true => out.extend(char.escape_default()),
                false => out.push(char),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_that_begin_with_it() {
        assert_eq!(end_of(b"a"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"\xff"), None);
        assert_eq!(end_of(b""), None);
    }

    #[test]
    fn a_key_cannot_act_on_the_terminal() {
        assert_eq!(shown("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(shown(b"a\x1b[2J\xff\n"), "a\\u{1b}[2J\\xff\\n");
    }
}
