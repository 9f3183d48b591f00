//! Log: what a running member tells its operator, one line an event, on standard error.
//!
//! `CONCORD_LOG` says how much: `error`, `warn`, `info` (the default), `debug`, `trace` or `off`, or several of them for parts of
//! the program (`info,openraft=debug`). `CONCORD_LOG_FORMAT=json` makes each line a JSON object. No line holds a key, a value, a
//! token or the cookie, at any level.

use std::io::IsTerminal as _;

use concord_kv::{Error, ErrorKind, Result};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::access::misuse;

/// The library that orders the log speaks of each message at lower levels.
const CONSENSUS: &str = "openraft";

/// Begins to log as the environment says. Once in a program.
pub(super) fn begin() -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let filter = filter_of(variable("CONCORD_LOG").as_deref())?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match variable("CONCORD_LOG_FORMAT").as_deref() {
        None | Some("text") => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Some("json") => lines.json().flatten_event(true).boxed(),
        Some(other) => return Err(misuse(format!("CONCORD_LOG_FORMAT is `text` or `json`, not `{other}`"))),
    };
    let begun = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    begun.map_err(|error| Error::new(ErrorKind::Internal, format!("cannot begin to log: {error}")))
}

fn filter_of(text: Option<&str>) -> Result<Targets> {
    let Some(text) = text else { return Ok(usual(LevelFilter::INFO)) };
    if let Ok(level) = text.parse::<LevelFilter>() {
        // One word is how much this program says; the library below is asked for by its name.
        return Ok(usual(level));
    }
    text.parse().map_err(|_| {
        let levels = "`off`, `error`, `warn`, `info`, `debug`, `trace`, or several of them as in `info,openraft=debug`";
        misuse(format!("CONCORD_LOG is {levels}, not `{text}`"))
    })
}

fn usual(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target(CONSENSUS, level.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::LevelFilter as Level;

    #[test]
    fn one_word_leaves_the_library_at_warnings_and_names_are_obeyed() {
        let level = |text: Option<&str>, target: &str| {
            let targets = filter_of(text).unwrap();
            [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR]
                .into_iter()
                .find(|level| level.into_level().is_some_and(|level| targets.would_enable(target, &level)))
        };
        assert_eq!(level(None, "concord_kv"), Some(Level::INFO));
        assert_eq!(level(None, "openraft::engine"), Some(Level::WARN));
        assert_eq!(level(Some("debug"), "concord_kv"), Some(Level::DEBUG));
        assert_eq!(level(Some("debug"), "openraft"), Some(Level::WARN));
        assert_eq!(level(Some("info,openraft=trace"), "openraft"), Some(Level::TRACE));
        assert_eq!(level(Some("off"), "openraft"), None);
        assert!(filter_of(Some("concord_kv=loud")).is_err());
    }
}
