//! Index: the verbs of secondary indexes.

use clap::{Args, Subcommand};
use concord_kv::{Concord, Error, IndexInfo, IndexRange, Result, value_from_json};
use serde_json::json;

use crate::cli::output;
use crate::cli::verbs::keys::{key_text, shown};
use crate::cli::verbs::records::Level;

/// What to do with indexes.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  concord index create by_price value.price\n  concord index create by_tag 'value.tags[]'\n  \
                        concord index lookup by_tag '\"new\"'\n  concord index range by_price --from 100 --to 200"
)]
pub(in crate::cli) struct Index {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Declare an index; one of this name and path that is there already is fine.
    Create {
        /// 1 to 64 bytes.
        name: String,
        /// Where in a value it looks: `value.price`, `value.tags[]` for each item.
        path: String,
    },
    /// End an index.
    Drop {
        /// Its name.
        name: String,
    },
    /// Show all indexes.
    List,
    /// Print the keys of the records that have a value there, one a line.
    Lookup {
        /// Its name.
        name: String,
        /// JSON: 100, '"text"', null.
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        level: Level,
    },
    /// Print the keys of the records that have a value of a range there, in the order of the values.
    Range {
        /// Its name.
        name: String,
        /// Nothing before this, JSON.
        #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
        from: Option<String>,
        /// Nothing after this, JSON.
        #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
        to: Option<String>,
        /// At most this many; without it all.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        level: Level,
    },
    /// Build an index anew on every member.
    Reindex {
        /// Its name.
        name: String,
    },
}

pub(super) fn index(db: &Concord, index: &Index, json: bool) -> Result<()> {
    let indexes = db.indexes();
    match &index.verb {
        Verb::Create { name, path } => {
            let created = indexes.create(name, path);
            if let Err(error) = &created
                && !json
                && let Some(column) = error.column()
            {
                output::print_aside(&format!("  {path}\n  {:>column$}", "^"));
            }
            created.and_then(|()| output::print_done(json))
        }
        Verb::Drop { name } => indexes.drop(name).and_then(|()| output::print_done(json)),
        Verb::Reindex { name } => indexes.reindex(name).and_then(|()| output::print_done(json)),
        Verb::List => list(&indexes.list()?, json),
        Verb::Lookup { name, value, level } => print_keys(db, name, (Some(value), Some(value)), None, level, json),
        Verb::Range { name, from, to, limit, level } => {
            print_keys(db, name, (from.as_ref(), to.as_ref()), *limit, level, json)
        }
    }
}

fn list(indexes: &[IndexInfo], json: bool) -> Result<()> {
    if json {
        let of = |info: &IndexInfo| json!({"name": info.name, "path": info.path, "built": info.is_built, "entries": info.entries});
        return output::print(&json!({"indexes": indexes.iter().map(of).collect::<Vec<_>>()}).to_string());
    }
    indexes.iter().try_for_each(|info| {
        let state = if info.is_built { format!("{} entries", info.entries) } else { "not built yet".to_owned() };
        output::print(&format!("{}\t{}\t{state}", info.name, info.path))
    })
}

fn print_keys(
    db: &Concord,
    name: &str,
    (from, to): (Option<&String>, Option<&String>),
    limit: Option<usize>,
    level: &Level,
    json: bool,
) -> Result<()> {
    let encoded = |text: Option<&String>| {
        let value = text.map(|text| value_from_json(text)).transpose();
        value.map_err(|error| Error::new(error.kind(), format!("values are JSON: {}", error.message())))
    };
    let (from, to) = (encoded(from)?, encoded(to)?);
    let (mut left, mut after, mut first) = (limit.unwrap_or(usize::MAX), None::<Vec<u8>>, true);
    if json {
        output::print_piece(r#"{"keys":["#)?;
    }
    while left > 0 {
        let range = IndexRange { from: from.as_deref(), to: to.as_deref(), after: after.as_deref(), limit: left };
        let page = db.indexes().page(name, &range, &level.options())?;
        left -= page.keys.len();
        for key in &page.keys {
            match (json, first) {
                (true, true) => output::print_piece(&key_text(key)?)?,
                (true, false) => output::print_piece(&format!(",{}", key_text(key)?))?,
                (false, _) => output::print(&shown(key))?,
            }
            first = false;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if json { output::print("]}") } else { Ok(()) }
}
