//! Changes: the verb that follows what changes.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use concord_kv::{
    Concord, Error, ErrorKind, Event, EventKind, EventKinds, Notice, Position, Result, WatchOptions, WatchStart,
    notice_to_json, value_to_json,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::keys::shown;
use super::which::Which;
use crate::cli::output;

/// Most changes that are taken at once.
const TAKEN_MAX: usize = 256;

/// Which changes, and from where on.
#[derive(Args)]
#[command(after_help = "Examples:\n  concord watch --prefix user:\n  \
                        concord watch --with-state --where 'value.role == \"admin\"' --json\n  \
                        concord watch --from-revision 42 --types delete,expire --previous")]
pub(in crate::cli) struct Watch {
    #[command(flatten)]
    which: Which,
    /// Begin with this revision, itself included, or at the `next` of a change; without it with the next change.
    #[arg(long, value_name = "REVISION", value_parser = position)]
    from_revision: Option<Position>,
    /// Tell first what is there, then what changes.
    #[arg(long, conflicts_with = "from_revision")]
    with_state: bool,
    /// Only these kinds of changes, separated by commas: put, delete, touch, expire.
    #[arg(long, value_name = "TYPES", value_parser = kinds)]
    types: Option<EventKinds>,
    /// The value before a change as well.
    #[arg(long)]
    previous: bool,
    /// End after this many; without it with Ctrl-C.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse().map_err(|error: Error| error.message().to_owned())
}

fn kinds(text: &str) -> Result<EventKinds, String> {
    text.parse().map_err(|error: Error| error.message().to_owned())
}

pub(super) fn watch(db: &Concord, options: &Watch, json: bool) -> Result<()> {
    let cannot = |error: std::io::Error| Error::new(ErrorKind::Io, format!("cannot watch signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(cannot)?;
    let (handle, is_stopped) = (signals.handle(), AtomicBool::new(false));
    let followed = std::thread::scope(|scope| {
        // Closing wakes whoever waits for a change.
        scope.spawn(|| {
            if signals.forever().next().is_some() {
                is_stopped.store(true, Ordering::Relaxed);
                let _ = db.close();
            }
        });
        let followed = follow(db, options, json);
        handle.close();
        followed
    });
    match followed {
        Err(error) if error.kind() == ErrorKind::Closed && is_stopped.load(Ordering::Relaxed) => Ok(()),
        Err(error) => {
            if !json {
                options.which.point_at(&error);
            }
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn follow(db: &Concord, options: &Watch, json: bool) -> Result<()> {
    let start = match options.from_revision {
        Some(position) => WatchStart::From(position),
        None if options.with_state => WatchStart::State,
        None => WatchStart::Now,
    };
    let kinds = options.types.unwrap_or_default();
    let selector = options.which.selector();
    let mut watch =
        db.watch(&WatchOptions { selector, start, kinds, with_previous: options.previous, with_progress: false })?;
    let is_coloured = !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut left = options.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let max = TAKEN_MAX.min(usize::try_from(left).unwrap_or(TAKEN_MAX));
        let notices = match watch.take_within(max, Duration::MAX) {
            // The members may be busy with an election; what has happened meanwhile is told then.
            Err(error) if error.kind().is_retryable() => {
                output::print_aside(&format!("concord: {error}"));
                continue;
            }
            notices => notices?,
        };
        for notice in &notices {
            left -= u64::from(matches!(notice, Notice::Event(_)));
            if json {
                output::print(&notice_to_json(notice)?)?;
            } else if let Some(line) = line(notice, is_coloured)? {
                output::print(&line)?;
            }
        }
    }
    Ok(())
}

/// Revision, kind, key and value with tabs between them; `None` for what only programs want to know.
fn line(notice: &Notice, is_coloured: bool) -> Result<Option<String>> {
    match notice {
        Notice::Event(event) => event_line(event, is_coloured).map(Some),
        Notice::Gap { from_revision, resume_revision } => {
            let last = resume_revision.saturating_sub(1);
            Ok(Some(format!("(changes are missing: revisions {from_revision} to {last} are no longer retained)")))
        }
        _ => Ok(None),
    }
}

fn event_line(event: &Event, is_coloured: bool) -> Result<String> {
    let value = |value: &[u8]| match value_to_json(value) {
        Ok(value) => Ok(value),
        Err(error) if error.kind() == ErrorKind::InvalidValue => Ok("(not to be said in JSON)".to_owned()),
        Err(error) => Err(error),
    };
    let kind = match (is_coloured, colour(event.kind)) {
        (true, Some(colour)) => format!("\x1b[{colour}m{}\x1b[0m", event.kind),
        _ => event.kind.to_string(),
    };
    let mut line = format!("{}\t{kind}\t{}", event.revision, shown(&event.key));
    if let Some(current) = event.value.as_deref() {
        line += &format!("\t{}", value(current)?);
    }
    if let Some(previous) = event.previous.as_deref() {
        line += &format!("\t(was {})", value(previous)?);
    }
    Ok(line)
}

fn colour(kind: EventKind) -> Option<u8> {
    match kind {
        EventKind::Put => Some(32),
        EventKind::Delete => Some(31),
        EventKind::Touch => Some(36),
        EventKind::Expire => Some(33),
        _ => None,
    }
}
