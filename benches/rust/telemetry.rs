//! Telemetry: what counting and timing costs a call, beside a store that records nothing, in turns.

use std::time::Instant;

use concord_kv::{Concord, Config, ReadOptions, Value};

use crate::Figure;

const KEYS: usize = 4096;
const ROUNDS: usize = 400;
const READS: usize = 25_000;
const WRITES: usize = 250;

/// Turns are short and many, so that a machine that is busy with other things slows both alike; the median of the turns counts.
pub fn run() {
    let stores = [true, false].map(open);
    // What is read stays as it is.
    let (keys, counters) = (keys(), names("counter"));
    let mut reads = [Vec::new(), Vec::new()];
    let mut writes = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in [round % 2, 1 - round % 2] {
            reads[turn].push(read(&stores[turn], &keys, READS));
            writes[turn].push(write(&stores[turn], &counters, WRITES));
        }
    }
    let [on, off] = reads.map(median);
    print("T1", "Rust read, counted and sometimes timed", on, off);
    let [on, off] = writes.map(median);
    print("T2", "Rust put in memory, one task, counted and timed", on, off);
}

/// Reads without end in sight, for tools that count instructions.
pub fn reads(is_on: bool, count: usize) {
    let db = open(is_on);
    read(&db, &keys(), count);
}

fn open(is_on: bool) -> Concord {
    let db = Concord::open(Config { telemetry_enabled: is_on, ..Config::default() }).expect("a store");
    for part in keys().chunks(500) {
        let items: Vec<_> = part.iter().map(|key| (key, Value::from(vec![7; 100]), None)).collect();
        db.kv().put_many(&items).wait().expect("a bulk put");
    }
    db
}

fn keys() -> Vec<String> {
    names("user")
}

fn names(kind: &str) -> Vec<String> {
    (0..KEYS).map(|n| format!("{kind}:{n:06}")).collect()
}

/// Nanoseconds a read.
fn read(db: &Concord, keys: &[String], count: usize) -> f64 {
    let (options, mut bytes) = (ReadOptions::default(), 0);
    let start = Instant::now();
    for n in 0..count {
        let key = keys[n.wrapping_mul(2_654_435_761) % KEYS].as_bytes();
        let found = db.kv().read(key, &options, |record| record.value.len()).expect("a read");
        bytes += found.expect("it is there");
    }
    let took = start.elapsed();
    assert!(bytes > count * 100, "each read found its value");
    took.as_nanos() as f64 / count as f64
}

/// Nanoseconds a write, one after the other.
fn write(db: &Concord, keys: &[String], count: usize) -> f64 {
    let start = Instant::now();
    for n in 0..count {
        db.kv().put(&keys[n % KEYS], n as i64).wait().expect("a write");
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(id: &str, name: &str, on: f64, off: f64) {
    Figure { id, name, value: on, unit: "ns", baseline: off, baseline_name: "with telemetry off, ns", ratio: on / off }
        .print();
}
