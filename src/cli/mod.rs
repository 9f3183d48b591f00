//! FACE: the program's verbs. It translates; every rule is the library's.
//!
//! Exit codes: 0 done, 1 an error answer (`not_found`, `locked`, ...), 2 misuse of the command line.

mod access;
mod log;
mod member;
mod output;
mod place;
mod recover;
mod serve;
mod serving;
mod table;
mod verbs;
mod watch;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use concord_kv::{Error, ErrorKind, Result, Settings};

use access::{Access, misuse};
use place::{Place, Way};
use verbs::Verb;

/// Embedded, strongly consistent key-value store: read, write and look after one from the command line.
///
/// With --address the verbs act on a running cluster. Without it they act on the data directory: through the program that has it
/// open, if one has (for the same user, by the socket concord.sock in it); otherwise they open it themselves.
#[derive(Parser)]
#[command(name = "concord", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 an error answer, 2 misuse.

Examples:
  concord --data-dir ./data put greeting hello
  concord --data-dir ./data get greeting
  concord --address a:7400,b:7400 --cookie-file ./cookie status
  concord config sample > concord.toml")]
struct Arguments {
    /// Directory that holds the data; made when it is missing.
    #[arg(long, short = 'd', env = "CONCORD_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Configuration file (TOML). Variables and options win over it; `concord config sample` prints one.
    #[arg(long, env = "CONCORD_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print one JSON object, for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    verb: Verb,
}

/// Parses the command line, does what it says, and reports.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let (way, done) = execute(&arguments);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error, way.as_ref(), arguments.json);
            ExitCode::from(if error.kind() == ErrorKind::InvalidConfig { 2 } else { 1 })
        }
    }
}

/// Also tells which way was taken to the store, if one was.
fn execute(arguments: &Arguments) -> (Option<Way>, Result<()>) {
    let Arguments { data_dir, config, json, access, verb } = arguments;
    let dir = data_dir.as_deref();
    match verb {
        Verb::Serve(options) => return (None, serve::serve(options, access, dir, config.as_deref(), *json)),
        Verb::Recover(options) => return (None, recover::recover(options, dir, *json)),
        _ => {}
    }
    if let Some(done) = verbs::execute_without_store(arguments) {
        return (None, done);
    }
    let (way, place) = place::open(arguments, verb);
    let done = place.and_then(|Place { db, .. }| {
        let done = verbs::execute(&db, verb, *json);
        db.close()?;
        done
    });
    (way, done)
}

/// What the configuration file, if there is one, and then the environment say.
fn settings(file: Option<&Path>) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
        let unreadable = |error: std::io::Error| misuse(format!("cannot read {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let named = |error: Error| misuse(format!("{}: {}", path.display(), error.message()));
        settings.take_toml(&text).map_err(named)?;
        let holds_secret = settings.rows().iter().any(|row| row.name == "cluster.cookie" && row.value.is_some());
        let is_inline = holds_secret && settings.source("cluster.cookie_file") == concord_kv::Source::Default;
        if is_inline && std::fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
            let path = path.display();
            let message =
                format!("{path} holds a secret and others may read it: run `chmod 600 {path}`, or use cookie_file");
            return Err(misuse(message));
        }
    }
    settings.take_environment()?;
    Ok(settings)
}
