//! Verbs: the subcommands, what each takes, and who does it.

mod bench;
mod changes;
mod configuration;
mod index;
mod keys;
mod query;
mod records;
mod token;
mod transfer;
mod txn;
mod which;

use clap::{Args, CommandFactory as _, Subcommand};
use clap_complete::Shell;
use concord_kv::{Concord, Error, ErrorKind, Result};
use serde_json::json;

pub(super) use keys::key_json;

use super::{Arguments, member, output, recover, serve, watch};

/// One subcommand.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Store a value under a key.
    Put(records::Put),
    /// Print the value of a key.
    Get(records::Get),
    /// Remove a key; fine when it is missing.
    Delete(records::Delete),
    /// Whether a key exists: exit code 0 if so, otherwise `not_found` and 1.
    Exist(records::Exist),
    /// Give a key that exists a new lifetime, counted from now.
    Touch(records::Touch),
    /// Print the remaining lifetime of a key in seconds; `none` when it lives for ever.
    Ttl(records::Ttl),
    /// Add to an integer, and print the sum.
    Increment(records::Increment),
    /// List keys in their order, those that begin with a prefix or all.
    List(keys::List),
    /// Find the records that a selector picks: print, count or remove them.
    Query(query::Query),
    /// Do several operations as one change, if what is compared holds.
    Txn(txn::Txn),
    /// Declare secondary indexes, and ask them for keys.
    Index(index::Index),
    /// Follow what changes: a line for each change, until Ctrl-C.
    Watch(changes::Watch),
    /// Store what `export` has written: one JSON object a line, with `key`, `value` and perhaps `ttl` in seconds.
    Import(transfer::Import),
    /// Write keys, values and lifetimes as they are at one moment: one JSON object a line.
    Export(transfer::Export),
    /// Show what the store knows of itself, and the members of the cluster.
    #[command(after_help = "Examples:\n  concord status\n  concord status --watch")]
    Status(Status),
    /// Show the members of the cluster.
    #[command(after_help = "Example:\n  concord --address a:7400 --cookie-file ./cookie members")]
    Members,
    /// Change who belongs to a running cluster, and who leads it. Needs --address, or a data directory that is in use.
    Member(Member),
    /// Whether the cluster serves: exit code 0 when a member has caught up and knows a leader that a quorum follows.
    #[command(after_help = "Example:\n  concord ready --timeout-ms 30000")]
    Ready(Ready),
    /// Whether the store is well: exit code 0 when it answers and nothing has stopped its writes.
    #[command(after_help = "Example:\n  concord health --json")]
    Health,
    /// Make, list and revoke access tokens.
    Token(token::Token),
    /// Look at the configuration, without a store.
    Config(configuration::Configuration),
    /// Print the completions of a shell.
    #[command(after_help = "Example:\n  concord completions bash > ~/.local/share/bash-completion/completions/concord")]
    Completions {
        /// Whose.
        shell: Shell,
    },
    /// Measure this store for some seconds. A quick check, not a benchmark of the machine.
    Bench(bench::Bench),
    /// Run a member of a cluster until SIGTERM or Ctrl-C; then hand over and stop.
    Serve(Box<serve::Serve>),
    /// Make a cluster of one out of what one member still has, after the majority was lost for good. The node is stopped.
    Recover(recover::Recover),
}

/// How to show the status.
#[derive(Args)]
pub(super) struct Status {
    /// Show it again and again: in place on a terminal, else a line when something has changed.
    #[arg(long)]
    watch: bool,
}

/// How to change the members.
#[derive(Args)]
#[command(after_help = "Examples:\n  concord member transfer --address a:7400\n  concord member remove south")]
pub(super) struct Member {
    /// Longest wait for the change.
    #[arg(long, value_name = "MS", global = true)]
    timeout_ms: Option<u64>,
    #[command(subcommand)]
    change: member::Change,
}

/// How to wait.
#[derive(Args)]
pub(super) struct Ready {
    /// Wait for it that long.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) timeout_ms: u64,
}

/// Does a verb that needs no store; `None` when it needs one.
pub(super) fn execute_without_store(arguments: &Arguments) -> Option<Result<()>> {
    match &arguments.verb {
        Verb::Config(configuration) => Some(configuration::execute(configuration, arguments)),
        Verb::Completions { shell } => Some(completions(*shell)),
        Verb::Import(import) if import.is_rehearsal() => Some(transfer::rehearse(import, arguments.json)),
        _ => None,
    }
}

/// Does a verb with an open store.
pub(super) fn execute(db: &Concord, verb: &Verb, json: bool) -> Result<()> {
    match verb {
        Verb::Put(put) => records::put(db, put, json),
        Verb::Get(get) => records::get(db, get, json),
        Verb::Delete(delete) => records::delete(db, delete, json),
        Verb::Exist(exist) => records::exist(db, exist, json),
        Verb::Touch(touch) => records::touch(db, touch, json),
        Verb::Ttl(ttl) => records::ttl(db, ttl, json),
        Verb::Increment(increment) => records::increment(db, increment, json),
        Verb::List(list) => keys::list(db, list, json),
        Verb::Query(query) => query::query(db, query, json),
        Verb::Txn(txn) => txn::txn(db, txn, json),
        Verb::Index(index) => index::index(db, index, json),
        Verb::Watch(options) => changes::watch(db, options, json),
        Verb::Import(import) => transfer::import(db, import, json),
        Verb::Export(export) => transfer::export(db, export, json),
        Verb::Status(Status { watch: false }) => output::print_status(&db.status()?, json),
        Verb::Status(Status { watch: true }) => watch::watch(db, json),
        Verb::Members => output::print_members(&db.status()?, json),
        Verb::Member(member) => member::execute(db, &member.change, member.timeout_ms, json),
        Verb::Ready(ready) => {
            db.cluster().wait_ready(ready.timeout_ms)?;
            output::print_done(json)
        }
        Verb::Health => health(db, json),
        Verb::Token(token) => token::execute(db, token, json),
        Verb::Bench(bench) => bench::bench(db, bench, json),
        Verb::Serve(_) | Verb::Recover(_) | Verb::Config(_) | Verb::Completions { .. } => {
            Err(Error::new(ErrorKind::Internal, "these open no store, or open it themselves"))
        }
    }
}

fn health(db: &Concord, json: bool) -> Result<()> {
    let status = db.status()?;
    if let Some(failure) = status.failure {
        return Err(Error::new(ErrorKind::Io, format!("writes have stopped: {failure}")));
    }
    let (ready, state) = (status.raft.is_ready, status.raft.state.name());
    match json {
        true => output::print(&json!({"status": "ok", "ready": ready, "state": state}).to_string()),
        false => output::print(&format!("ok, {state}, {}", if ready { "ready" } else { "not ready" })),
    }
}

fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "concord", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}
