//! Query: the verb that finds, counts or removes what a selector picks.

use std::ops::ControlFlow;

use clap::Args;
use concord_kv::{Concord, ErrorKind, Result, Selector, value_to_json};
use serde_json::json;

use super::keys::{key_text, shown};
use super::records::Level;
use super::which::Which;
use crate::cli::access::misuse;
use crate::cli::output;

/// Which records, and what is done with them. All that is said must hold.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  concord query --prefix user: --where 'value.age >= 30 and value.role == \"admin\"'\n  \
                        concord query --range order:2024-01-01 order:2024-12-31 --count\n  \
                        concord query --prefix temp: --delete\n  \
                        concord query --pattern '^user:\\d{3}$' --limit 10 --keys --json"
)]
pub(in crate::cli) struct Query {
    #[command(flatten)]
    which: Which,
    /// How many are left out first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// At most this many; without it all.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The keys only, one a line.
    #[arg(long, conflicts_with_all = ["count", "delete"])]
    keys: bool,
    /// How many there are.
    #[arg(long, conflicts_with = "delete")]
    count: bool,
    /// Remove them, all at once, and tell how many these were.
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    level: Level,
}

impl Query {
    fn selector(&self) -> Selector<'_> {
        Selector { offset: self.offset, limit: self.limit, ..self.which.selector() }
    }
}

pub(super) fn query(db: &Concord, query: &Query, json: bool) -> Result<()> {
    let done = carry_out(db, query, json);
    if let Err(error) = &done
        && !json
    {
        query.which.point_at(error);
    }
    done
}

fn carry_out(db: &Concord, query: &Query, json: bool) -> Result<()> {
    let (selector, options) = (query.selector(), query.level.options());
    if query.delete {
        if !selector.says_which() {
            return Err(misuse("say which records; --prefix '' removes everything"));
        }
        let deleted = db.query().delete_where(&selector, None)?;
        return output::print(&if json { json!({"deleted": deleted}).to_string() } else { deleted.to_string() });
    }
    if query.count {
        let count = db.query().count(&selector, &options)?;
        return output::print(&if json { json!({"count": count}).to_string() } else { count.to_string() });
    }
    let mut failure = None;
    let mut first = true;
    if json {
        output::print_piece(r#"{"items":["#)?;
    }
    db.query().visit(&selector, &options, !query.keys, |key, record| {
        let line = line(key, &record.value, record.revision, record.ttl_ms, query.keys, json);
        let printed = line.and_then(|line| match (json, first) {
            (true, true) => output::print_piece(&line),
            (true, false) => output::print_piece(&format!(",{line}")),
            (false, _) => output::print(&line),
        });
        first = false;
        failure = printed.err();
        if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match failure {
        Some(failure) => Err(failure),
        None if json => output::print("]}"),
        None => Ok(()),
    }
}

/// One record: an object, or its key and its value with a tab between them.
fn line(key: &[u8], value: &[u8], revision: u64, ttl_ms: Option<u64>, keys: bool, json: bool) -> Result<String> {
    let value = if keys { None } else { Some(value_to_json(value)) };
    if !json {
        return Ok(match value {
            None => shown(key),
            Some(Ok(value)) => format!("{}\t{value}", shown(key)),
            Some(Err(_)) => format!("{}\t(not to be said in JSON)", shown(key)),
        });
    }
    let (key, ttl) = (key_text(key)?, json!(ttl_ms.map(|ttl_ms| ttl_ms as f64 / 1_000.0)));
    let head = format!(r#"{{"key":{key},"revision":{revision},"ttl":{ttl}"#);
    Ok(match value {
        None => format!("{head}}}"),
        Some(Ok(value)) => format!(r#"{head},"value":{value}}}"#),
        Some(Err(error)) if error.kind() == ErrorKind::InvalidValue => format!(r#"{head},"error":"invalid_value"}}"#),
        Some(Err(error)) => return Err(error),
    })
}
