//! Verbs: what each subcommand does with the open store.

use std::io::Read as _;
use std::time::Duration;

use concord_kv::{
    Compress, Concord, Condition, Consistency, Error, ErrorKind, ReadOptions, Result, Value, Write, encode_value,
    value_from_json,
};

use super::{Verb, member, output, watch};

pub(super) fn execute(db: &Concord, verb: &Verb, json: bool) -> Result<()> {
    match verb {
        Verb::Put { key, value, ttl, text, new } => put(db, key, value, *ttl, *text, *new, json),
        Verb::Get { key, consistency } => get(db, key, *consistency, json),
        Verb::Delete { key } => {
            db.kv().delete(key).wait()?;
            output::print_done(json)
        }
        Verb::Status { watch: false } => output::print_status(&db.status()?, json),
        Verb::Status { watch: true } => watch::watch(db, json),
        Verb::Members => output::print_members(&db.status()?, json),
        Verb::Member { timeout_ms, change } => member::execute(db, change, *timeout_ms, json),
        Verb::Ready { timeout_ms } => {
            db.cluster().wait_ready(*timeout_ms)?;
            output::print_done(json)
        }
        Verb::Serve(_) | Verb::Recover(_) => Err(Error::new(ErrorKind::Internal, "these open the store themselves")),
    }
}

fn put(db: &Concord, key: &str, value: &str, ttl: Option<f64>, text: bool, new: bool, json: bool) -> Result<()> {
    let value = if value == "-" { read_standard_input()? } else { value.to_owned() };
    let value = match value_from_json(&value) {
        Ok(value) if !text => value,
        _ => encode_value(&Value::Text(value))?,
    };
    let condition = if new { Condition::Absent } else { Condition::Always };
    let write = Write::Put {
        key: key.as_bytes(),
        value: &value,
        ttl_ms: ttl.map(ttl_ms_of).transpose()?,
        condition,
        compress: Compress::Auto,
    };
    db.kv().call(write, None)?;
    output::print_done(json)
}

fn get(db: &Concord, key: &str, consistency: Option<Consistency>, json: bool) -> Result<()> {
    let options = ReadOptions { consistency, timeout_ms: None };
    let record =
        db.kv().read(key.as_bytes(), &options, |record| (record.value.into_owned(), record.revision, record.ttl_ms))?;
    match record {
        Some((value, revision, ttl_ms)) => output::print_record(key, &value, revision, ttl_ms, json),
        None => Err(Error::new(ErrorKind::NotFound, format!("there is no key `{key}`, or it has expired"))),
    }
}

fn ttl_ms_of(seconds: f64) -> Result<u64> {
    Duration::try_from_secs_f64(seconds)
        .map_or_else(|_| Err(ErrorKind::InvalidTtl.into()), |ttl| Ok(ttl.as_millis() as u64))
}

fn read_standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read standard input as text: {error}")))?;
    Ok(text)
}
