//! Token: makes, lists and revokes access tokens.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use concord_kv::{Concord, Error, ErrorKind, NewToken, Result, Scopes, TokenInfo};
use serde_json::json;

use super::keys::{key_json, shown};
use super::records::seconds;
use crate::cli::{output, table};

/// What to do with tokens.
#[derive(Args)]
#[command(after_help = "The first token is made beside the data, by the user who runs the store.\n\nExample:\n  \
                        concord --data-dir ./data token create --name admin --scope admin")]
pub(in crate::cli) struct Token {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Subcommand)]
enum TokenVerb {
    /// Make a token. It is printed this once and kept nowhere.
    Create(Create),
    /// Show every token: all but the tokens themselves.
    #[command(after_help = "Example:\n  concord token list")]
    List,
    /// End a token, at once and on every member.
    #[command(after_help = "Examples:\n  concord token revoke 91c3a5f0d2e47b68\n  concord token revoke - < token-file")]
    Revoke {
        /// Its id, or the token itself; `-` reads it from standard input, where no list of processes shows it.
        #[arg(value_name = "ID|TOKEN")]
        token: String,
    },
}

/// What a token allows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Read records and the status.
    Read,
    /// Write records.
    Write,
    /// Everything.
    Admin,
}

/// What kind of token.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  concord token create --name web --scope read,write --prefix user: --ttl 2592000\n  \
                        concord token create --name ci --scope read --quiet > token-file"
)]
struct Create {
    /// For people, up to 64 bytes.
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// What it allows, separated by commas.
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',', required = true)]
    scopes: Vec<Scope>,
    /// Only keys that begin with this; repeat it for several.
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<OsString>,
    /// How long it is valid; without it until it is revoked.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    ttl: Option<Duration>,
    /// Print the token and nothing else.
    #[arg(long, short = 'q')]
    quiet: bool,
}

pub(super) fn execute(db: &Concord, token: &Token, json: bool) -> Result<()> {
    match &token.verb {
        TokenVerb::Create(create) => make(db, create, json),
        TokenVerb::List => list(&db.tokens().list()?, json),
        TokenVerb::Revoke { token } => {
            let read = match token.as_str() {
                "-" => Some(read_token()?),
                _ => None,
            };
            db.tokens().revoke(read.as_deref().unwrap_or(token))?;
            output::print_done(json)
        }
    }
}

fn make(db: &Concord, create: &Create, json: bool) -> Result<()> {
    let has = |scope| create.scopes.contains(&scope);
    let made = db.tokens().create(&NewToken {
        name: create.name.clone(),
        scopes: Scopes { read: has(Scope::Read), write: has(Scope::Write), admin: has(Scope::Admin) },
        key_prefixes: create.prefixes.iter().map(|prefix| prefix.clone().into_vec()).collect(),
        ttl: create.ttl,
    })?;
    if json {
        let mut object = described(&made.info)?;
        object["token"] = made.token.reveal().into();
        return output::print(&object.to_string());
    }
    if !create.quiet {
        let info = &made.info;
        for line in table::facts(&[
            ("id", info.id.clone()),
            ("name", info.name.clone()),
            ("scopes", scopes(info.scopes)),
            ("keys", prefixes(info)),
            ("expires", info.expires_ms.map_or("never".to_owned(), time)),
        ]) {
            output::print(&line)?;
        }
        output::print("\nKeep it now, it is shown this once:")?;
    }
    output::print(made.token.reveal())
}

fn list(tokens: &[TokenInfo], json: bool) -> Result<()> {
    if json {
        let tokens = tokens.iter().map(described).collect::<Result<Vec<_>>>()?;
        return output::print(&json!({"tokens": tokens}).to_string());
    }
    let row = |info: &TokenInfo| {
        [
            info.id.clone(),
            info.name.clone(),
            scopes(info.scopes),
            prefixes(info),
            time(info.created_ms),
            info.expires_ms.map_or("never".to_owned(), time),
            info.last_used_ms.map_or("-".to_owned(), time),
        ]
    };
    let heading = ["ID", "NAME", "SCOPES", "KEYS", "CREATED", "EXPIRES", "LAST USED"];
    let rows: Vec<_> = tokens.iter().map(row).collect();
    table::lines(heading, [false; 7], &rows).iter().try_for_each(|line| output::print(line))
}

fn described(info: &TokenInfo) -> Result<serde_json::Value> {
    let prefixes = info.key_prefixes.iter().map(|prefix| key_json(prefix)).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "id": info.id,
        "name": info.name,
        "scopes": scopes(info.scopes).split(',').collect::<Vec<_>>(),
        "key_prefixes": prefixes,
        "created": time(info.created_ms),
        "expires": info.expires_ms.map(time),
        "last_used": info.last_used_ms.map(time),
    }))
}

fn scopes(scopes: Scopes) -> String {
    let names = [("read", scopes.read), ("write", scopes.write), ("admin", scopes.admin)];
    names.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

fn prefixes(info: &TokenInfo) -> String {
    match &info.key_prefixes[..] {
        [] => "all".to_owned(),
        prefixes => prefixes.iter().map(|prefix| format!("{}*", shown(prefix))).collect::<Vec<_>>().join(" "),
    }
}

/// RFC 3339, UTC.
fn time(ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(ms)) {
        // Beyond it the library has no name for the year.
        Some(at) if ms < 253_402_300_800_000 => humantime::format_rfc3339_seconds(at).to_string(),
        _ => "after 9999".to_owned(),
    }
}

fn read_token() -> Result<String> {
    let mut line = String::new();
    let failed = |error| Error::new(ErrorKind::Io, format!("cannot read standard input: {error}"));
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(u64::MAX), "after 9999");
    }
}
