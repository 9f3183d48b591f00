//! Index: what one costs a write, how long building takes, and what a question costs beside a look at every record.

use std::time::{Duration, Instant};

use concord_kv::{Concord, Config, ReadOptions, Selector, Value};

use crate::Figure;

const MANY: u64 = 1_000_000;
const BULK: u64 = 500;
const CALLS: u64 = 100_000;
/// Calls on their way at once, as of as many tasks.
const TOGETHER: u64 = 256;
const ROUNDS: usize = 5;

fn record(n: u64) -> Value {
    Value::Map(vec![("n".into(), n.into()), ("role".into(), "user".into())])
}

/// I1: puts with an index, beside puts without one. I2: building over a million records. I3: a lookup there, beside a query.
pub fn run() {
    let (plain, indexed) =
        (Concord::open(Config::default()).expect("it opens"), Concord::open(Config::default()).expect("it opens"));
    indexed.indexes().create("n", "value.n").expect("an index");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as u64 {
        without.push(puts(&plain, round));
        with.push(puts(&indexed, round));
    }
    assert_eq!(
        indexed.indexes().lookup("n", ROUNDS as u64 * CALLS - 1, &ReadOptions::default()).expect("a lookup").len(),
        1
    );
    let (value, baseline) = (median(with), median(without));
    let (name, baseline_name) = ("put of a record with one index, in memory", "put without an index");
    Figure { id: "I1", name, value, unit: "µs", baseline, baseline_name, ratio: value / baseline }.print();

    let db = Concord::open(Config::default()).expect("it opens");
    for first in (0..MANY).step_by(BULK as usize) {
        let items: Vec<_> = (first..first + BULK).map(|n| (format!("user:{n:07}"), record(n / 100), None)).collect();
        db.kv().put_many(&items).wait().expect("a bulk put");
    }
    let options = ReadOptions::default();
    let query = Selector { filter: Some("value.n == 5000"), ..Selector::default() };
    let begun = Instant::now();
    assert_eq!(db.query().keys(&query, &options).expect("a query").len(), 100);
    let queried = begun.elapsed();
    let begun = Instant::now();
    db.indexes().create("n", "value.n").expect("an index");
    let (value, baseline) = (begun.elapsed().as_secs_f64() * 1e3, queried.as_secs_f64() * 1e3);
    let (name, baseline_name) = ("building an index over 1 M records", "a query by an expression over them");
    Figure { id: "I2", name, value, unit: "ms", baseline, baseline_name, ratio: value / baseline }.print();
    let lookups = || {
        let begun = Instant::now();
        assert_eq!(db.indexes().lookup("n", 5_000, &options).expect("a lookup").len(), 100);
        begun.elapsed().as_secs_f64() * 1e6
    };
    let (value, baseline) = (median((0..1_000).map(|_| lookups()).collect()), queried.as_secs_f64() * 1e6);
    let (name, baseline_name) = ("a lookup of 100 of 1 M records", "the same by an expression over all");
    Figure { id: "I3", name, value, unit: "µs", baseline, baseline_name, ratio: value / baseline }.print();
}

/// Microseconds a put, with many on their way.
fn puts(db: &Concord, round: u64) -> f64 {
    let begun = Instant::now();
    for first in (0..CALLS).step_by(TOGETHER as usize) {
        let put = |n: u64| db.kv().put(format!("k{:06}", n % 50_000), record(round * CALLS + n));
        let started: Vec<_> = (first..(first + TOGETHER).min(CALLS)).map(put).collect();
        started.into_iter().for_each(|put| put.wait().expect("a put"));
    }
    begun.elapsed().max(Duration::from_nanos(1)).as_secs_f64() * 1e6 / CALLS as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
