//! FACE: the program's verbs. It translates; every rule is the library's.
//!
//! Exit codes: 0 done, 1 an error answer (`not_found`, `locked`, ...), 2 misuse of the command line.

mod output;
mod serve;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use concord_kv::{Concord, Config, Error, ErrorKind, Result};

/// Embedded, strongly consistent key-value store: read and write a data directory from the command line.
///
/// The directory must not be open in another process: only one at a time may have it.
#[derive(Parser)]
#[command(name = "concord", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 an error answer, 2 misuse.\n\nExample:\n  concord --data-dir ./data put greeting hello\n  concord --data-dir ./data get greeting"
)]
struct Arguments {
    /// Directory that holds the data; made when it is missing.
    #[arg(long, short = 'd', env = "CONCORD_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Print one JSON object, for machines.
    #[arg(long, global = true)]
    json: bool,
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
    },
    /// Remove a key; fine when it is missing.
    Delete {
        /// 1 to 1024 bytes.
        key: String,
    },
    /// Show what the store knows of itself.
    Status,
    /// Run a member of a cluster until SIGTERM or Ctrl-C; then hand over and stop.
    Serve(Box<serve::Serve>),
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
    if let Verb::Serve(options) = &arguments.verb {
        return serve::serve(options, arguments.data_dir.as_deref(), arguments.json);
    }
    let Some(data_dir) = &arguments.data_dir else {
        return Err(Error::new(ErrorKind::InvalidConfig, "say where the data is: --data-dir DIR or CONCORD_DATA_DIR"));
    };
    let db = Concord::open(Config::at(data_dir).or_environment()?)?;
    let done = verbs::execute(&db, &arguments.verb, arguments.json);
    db.close()?;
    done
}
