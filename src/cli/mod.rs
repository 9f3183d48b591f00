//! FACE: the program's verbs. It translates; every rule is the library's.
//!
//! Exit codes: 0 done, 1 an error answer (`not_found`, `locked`, ...), 2 misuse of the command line.

mod access;
mod log;
mod member;
mod output;
mod recover;
mod serve;
mod serving;
mod table;
mod verbs;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use concord_kv::{Concord, Config, Consistency, ErrorKind, Result, parse_consistency};

use access::{Access, misuse};

/// How long `ready` waits at least for a member to answer at all.
const READY_PATIENCE_MS: u64 = 1_000;

/// Embedded, strongly consistent key-value store: read, write and look after one from the command line.
///
/// With --address the verbs act on a running cluster. Without it they open the data directory themselves, which must not
/// be open in another process: only one at a time may have it.
#[derive(Parser)]
#[command(name = "concord", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 an error answer, 2 misuse.

Examples:
  concord --data-dir ./data put greeting hello
  concord --data-dir ./data get greeting
  concord --address a:7400,b:7400 --cookie-file ./cookie status")]
struct Arguments {
    /// Directory that holds the data; made when it is missing.
    #[arg(long, short = 'd', env = "CONCORD_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Print one JSON object, for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Store a value under a key.
    Put {
        /// 1 to 1024 bytes.
        key: String,
        /// JSON if it parses as JSON, otherwise text; `-` reads it from standard input.
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Lifetime in seconds, fractions allowed.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<f64>,
        /// Take the value as text even if it parses as JSON.
        #[arg(long)]
        text: bool,
        /// Only if the key does not exist.
        #[arg(long)]
        new: bool,
    },
    /// Print the value of a key.
    Get {
        /// 1 to 1024 bytes.
        key: String,
        /// How fresh it must be: `eventual`, `leader` (the default) or `strong`.
        #[arg(long, value_name = "LEVEL", value_parser = parse_consistency)]
        consistency: Option<Consistency>,
    },
    /// Remove a key; fine when it is missing.
    Delete {
        /// 1 to 1024 bytes.
        key: String,
    },
    /// Show what the store knows of itself, and the members of the cluster.
    Status {
        /// Show it again and again: in place on a terminal, else a line when something has changed.
        #[arg(long)]
        watch: bool,
    },
    /// Show the members of the cluster.
    Members,
    /// Change who belongs to a running cluster, and who leads it. Needs --address.
    Member {
        /// Longest wait for the change.
        #[arg(long, value_name = "MS", global = true)]
        timeout_ms: Option<u64>,
        #[command(subcommand)]
        change: member::Change,
    },
    /// Whether the cluster serves: exit code 0 when a member has caught up and knows a leader that a quorum follows.
    Ready {
        /// Wait for it that long.
        #[arg(long, value_name = "MS", default_value_t = 0)]
        timeout_ms: u64,
    },
    /// Run a member of a cluster, or one node with HTTP, until SIGTERM or Ctrl-C; then hand over and stop.
    Serve(Box<serve::Serve>),
    /// Make a cluster of one out of what one member still has, after the majority was lost for good. The node is stopped.
    Recover(recover::Recover),
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
    match execute(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&error, arguments.json);
            ExitCode::from(if error.kind() == ErrorKind::InvalidConfig { 2 } else { 1 })
        }
    }
}

fn execute(arguments: &Arguments) -> Result<()> {
    let Arguments { data_dir, json, access, verb } = arguments;
    match verb {
        Verb::Serve(options) => return serve::serve(options, access, data_dir.as_deref(), *json),
        Verb::Recover(options) => return recover::recover(options, data_dir.as_deref(), *json),
        _ => {}
    }
    let db = open(arguments)?;
    let done = verbs::execute(&db, verb, *json);
    db.close()?;
    done
}

/// The running cluster that is named, else the store in the data directory: never a member, that is what `serve` is for.
fn open(arguments: &Arguments) -> Result<Concord> {
    if arguments.access.names_cluster() {
        let patience_ms = match arguments.verb {
            Verb::Ready { timeout_ms } => Some(timeout_ms.max(READY_PATIENCE_MS)),
            _ => None,
        };
        return arguments.access.connect(patience_ms);
    }
    if let Verb::Member { .. } = arguments.verb {
        return Err(misuse("say which running cluster to change: --address HOST:PORT or CONCORD_ADDRESS"));
    }
    let Some(data_dir) = &arguments.data_dir else {
        return Err(misuse(
            "say where the data is: --data-dir DIR or CONCORD_DATA_DIR; or --address HOST:PORT of a running cluster",
        ));
    };
    // Whoever may open the directory holds the data, and needs no token.
    Ok(Concord::open(Config { cluster: None, ..Config::at(data_dir).or_environment()? })?.as_admin())
}
