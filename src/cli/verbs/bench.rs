//! Bench: some seconds of one verb from several threads: how many a second, and how long each takes.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use concord_kv::{Compress, Concord, Condition, Error, ErrorKind, ReadOptions, Result, Value, Write, encode_value};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::cli::access::misuse;
use crate::cli::{output, table};

/// What every key begins with.
const PREFIX: &str = "concord:bench:";

/// Keys of one client.
const KEYS: usize = 64;

/// Lifetime of the keys beyond the run: what an interrupted one has left goes by itself.
const LIFETIME: Duration = Duration::from_secs(120);

/// Longest latency that is told apart, nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What to measure.
#[derive(Args)]
#[command(
    after_help = "It writes keys that begin with `concord:bench:`, and removes them again; the store's other content stays as it is. \
What it measures is the way that is taken too: the directory itself, the running store, or the network.\n\nExamples:\n  \
concord bench get --clients 4\n  concord --address a:7400 --cookie-file ./cookie bench put --clients 64 --seconds 10"
)]
pub(in crate::cli) struct Bench {
    /// Which verb.
    verb: BenchVerb,
    /// How many threads ask at once (1 to 1024).
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// For how long (1 to 3600).
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Bytes of each value (16 to 1048576).
    #[arg(long, value_name = "B", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    value_bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BenchVerb {
    /// Durable writes.
    Put,
    /// Reads at the level that is configured.
    Get,
}

/// What one client found.
struct Found {
    latencies: Histogram<u64>,
    /// How often each of its keys was written.
    rounds: Vec<u64>,
}

pub(super) fn bench(db: &Concord, bench: &Bench, json: bool) -> Result<()> {
    let clients = usize::from(bench.clients);
    let bytes = bench.value_bytes as usize;
    // Two runs at once do not share keys.
    let run = format!("{PREFIX}{}:", std::process::id());
    let lifetime = Duration::from_secs(u64::from(bench.seconds)) + LIFETIME;
    let keys: Vec<Vec<String>> =
        (0..clients).map(|client| (0..KEYS).map(|key| format!("{run}{client}:{key}")).collect()).collect();
    let outcome = (|| {
        if bench.verb == BenchVerb::Get {
            fill(db, &keys, bytes, lifetime)?;
        }
        measure(db, bench, &keys, lifetime)
    })();
    let removed = remove(db, &keys);
    let (found, elapsed) = outcome?;
    removed?;
    report(bench, &found, elapsed, json)
}

fn fill(db: &Concord, keys: &[Vec<String>], bytes: usize, lifetime: Duration) -> Result<()> {
    let ttl_ms = Some(lifetime.as_millis() as u64);
    for keys in keys {
        let values = keys.iter().map(|key| content(key, 0, bytes)).collect::<Result<Vec<_>>>()?;
        for (keys, values) in keys.chunks(8).zip(values.chunks(8)) {
            let items: Vec<_> =
                keys.iter().zip(values).map(|(key, value)| (key.as_bytes(), value.as_slice(), ttl_ms)).collect();
            db.kv().call(Write::PutMany { items: &items, compress: Compress::Never }, None)?;
        }
    }
    Ok(())
}

/// Lets all clients run, and then checks that what they wrote, or read, is what it has to be.
fn measure(db: &Concord, bench: &Bench, keys: &[Vec<String>], lifetime: Duration) -> Result<(Vec<Found>, Duration)> {
    let start = Instant::now();
    let until = start + Duration::from_secs(u64::from(bench.seconds));
    let bytes = bench.value_bytes as usize;
    let found: Vec<Found> = std::thread::scope(|scope| {
        let run = |keys| match bench.verb {
            BenchVerb::Put => write(db, keys, bytes, lifetime, until),
            BenchVerb::Get => read(db, keys, bytes, until),
        };
        let threads: Vec<_> = keys.iter().map(|keys| scope.spawn(move || run(keys))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Found>>| {
            thread.join().unwrap_or_else(|_| Err(ErrorKind::Internal.into()))
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let elapsed = start.elapsed();
    if bench.verb == BenchVerb::Put {
        for (keys, found) in keys.iter().zip(&found) {
            for (key, round) in keys.iter().zip(&found.rounds).filter(|(_, round)| **round > 0) {
                check(db, key, &content(key, *round, bytes)?)?;
            }
        }
    }
    Ok((found, elapsed))
}

fn write(db: &Concord, keys: &[String], bytes: usize, lifetime: Duration, until: Instant) -> Result<Found> {
    let mut found = Found { latencies: histogram()?, rounds: vec![0; keys.len()] };
    let ttl_ms = Some(lifetime.as_millis() as u64);
    for at in (0..keys.len()).cycle() {
        let (key, round) = (&keys[at], found.rounds[at] + 1);
        let value = content(key, round, bytes)?;
        let start = Instant::now();
        if start >= until {
            break;
        }
        let (key, condition) = (key.as_bytes(), Condition::Always);
        db.kv().call(Write::Put { key, value: &value, ttl_ms, condition, compress: Compress::Never }, None)?;
        found.latencies.saturating_record(start.elapsed().as_nanos() as u64);
        found.rounds[at] = round;
    }
    Ok(found)
}

fn read(db: &Concord, keys: &[String], bytes: usize, until: Instant) -> Result<Found> {
    let mut found = Found { latencies: histogram()?, rounds: Vec::new() };
    let expected = keys.iter().map(|key| content(key, 0, bytes)).collect::<Result<Vec<_>>>()?;
    for at in (0..keys.len()).cycle() {
        let start = Instant::now();
        if start >= until {
            break;
        }
        check(db, &keys[at], &expected[at])?;
        found.latencies.saturating_record(start.elapsed().as_nanos() as u64);
    }
    Ok(found)
}

/// Reads a key and looks whether its value is this one.
fn check(db: &Concord, key: &str, expected: &[u8]) -> Result<()> {
    let is_right = db.kv().read(key.as_bytes(), &ReadOptions::default(), |record| *record.value == *expected)?;
    if is_right == Some(true) {
        return Ok(());
    }
    let what = if is_right.is_none() { "is gone" } else { "holds something else" };
    Err(Error::new(ErrorKind::Internal, format!("what was acknowledged is not there: {key} {what}; please report it")))
}

/// A value that is another one for each key and round.
fn content(key: &str, round: u64, bytes: usize) -> Result<Vec<u8>> {
    let mut text = format!("{round} {key} ");
    let filler = bytes.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('x', filler));
    text.truncate(bytes);
    encode_value(&Value::Text(text))
}

fn remove(db: &Concord, keys: &[Vec<String>]) -> Result<()> {
    for keys in keys {
        db.kv().delete_many(keys).wait()?;
    }
    Ok(())
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_max(LATENCY_NS_MAX, 3).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

fn report(bench: &Bench, found: &[Found], elapsed: Duration, json: bool) -> Result<()> {
    let mut all = histogram()?;
    for found in found {
        all.add(&found.latencies).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    }
    if all.is_empty() {
        return Err(misuse("nothing was done in that time; give it more --seconds"));
    }
    let rate = (all.len() as f64 / elapsed.as_secs_f64()).round();
    let micros = |ns: u64| (ns as f64 / 100.0).round() / 10.0;
    let at = |quantile| micros(all.value_at_quantile(quantile));
    let verb = if bench.verb == BenchVerb::Put { "put" } else { "get" };
    if json {
        return output::print(
            &json!({
                "verb": verb, "clients": bench.clients, "value_bytes": bench.value_bytes,
                "operations": all.len(), "rate_per_s": rate, "checked": true,
                "p50_us": at(0.5), "p95_us": at(0.95), "p99_us": at(0.99), "max_us": micros(all.max()),
            })
            .to_string(),
        );
    }
    let us = |micros: f64| format!("{micros:.1} us");
    let row = [
        verb.to_owned(),
        bench.clients.to_string(),
        format!("{} bytes", bench.value_bytes),
        all.len().to_string(),
        format!("{rate}"),
        us(at(0.5)),
        us(at(0.95)),
        us(at(0.99)),
        us(micros(all.max())),
    ];
    let heading = ["VERB", "CLIENTS", "VALUES", "DONE", "PER SECOND", "P50", "P95", "P99", "LONGEST"];
    let mut right = [true; 9];
    right[0] = false;
    table::lines(heading, right, &[row]).iter().try_for_each(|line| output::print(line))?;
    output::print(match bench.verb {
        BenchVerb::Put => {
            "Every key was read back and holds what was acknowledged last; all of them are removed again."
        }
        BenchVerb::Get => "Every value that was read is the one that was written; all of them are removed again.",
    })
}
