//! Txn: a transaction of two compares and two puts, beside a bulk put of the same two keys.

use std::time::{Duration, Instant};

use concord_kv::{Compare, Compress, Concord, Condition, Config, Reply, Step, Transaction, Value, Write, encode_value};

use crate::Figure;

const CALLS: u64 = 100_000;
/// Calls on their way at once, as of as many tasks.
const TOGETHER: u64 = 256;
const ROUNDS: usize = 5;

/// X1: both in memory, in turn, the median of five rounds each; every call must have written.
pub fn run() {
    let db = Concord::open(Config::default()).expect("it opens");
    let value = encode_value(&Value::from(vec![b'-'; 100])).expect("a value");
    let keys: Vec<[String; 2]> = (0..1_000).map(|n| [format!("a:{n}"), format!("b:{n}")]).collect();
    for keys in keys.chunks(250) {
        let items: Vec<_> = keys.iter().flatten().map(|key| (key, 0.into(), None)).collect();
        db.kv().put_many(&items).wait().expect("a bulk put");
    }
    let (mut txns, mut bulks) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        txns.push(time_of(&db, |n| {
            let [a, b] = &keys[n as usize % keys.len()];
            txn(&db, a.as_bytes(), b.as_bytes(), &value)
        }));
        bulks.push(time_of(&db, |n| {
            let [a, b] = &keys[n as usize % keys.len()];
            let items = [(a.as_bytes(), value.as_slice(), None), (b.as_bytes(), value.as_slice(), None)];
            start(&db, Write::PutMany { items: &items, compress: Compress::Auto }, |reply| {
                matches!(reply, Reply::Done { .. })
            })
        }));
    }
    let (value, baseline) = (median(txns), median(bulks));
    let (name, baseline_name) = ("a transaction of 2 compares and 2 puts, in memory", "a bulk put of the same 2 keys");
    Figure { id: "X1", name, value, unit: "µs", baseline, baseline_name, ratio: value / baseline }.print();
}

fn txn(db: &Concord, a: &[u8], b: &[u8], value: &[u8]) -> std::sync::mpsc::Receiver<()> {
    let compare = |key| Compare { key, condition: Condition::Present };
    let put = |key| Step::Put { key, value, ttl_ms: None, compress: Compress::Auto };
    let transaction =
        Transaction { compares: vec![compare(a), compare(b)], then: vec![put(a), put(b)], ..Transaction::default() };
    start(db, Write::Transaction(&transaction), |reply| matches!(reply, Reply::Transaction(reply) if reply.succeeded))
}

fn start(db: &Concord, write: Write<'_>, is_done: fn(&Reply) -> bool) -> std::sync::mpsc::Receiver<()> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let done = move |reply: concord_kv::Result<Reply>| {
        assert!(is_done(&reply.expect("a reply")), "it was not written");
        let _ = sender.send(());
    };
    db.kv().submit(write, None, done).expect("it begins");
    receiver
}

/// Microseconds a call, with many on their way.
fn time_of(db: &Concord, call: impl Fn(u64) -> std::sync::mpsc::Receiver<()>) -> f64 {
    let before = db.status().expect("a status").revision;
    let begun = Instant::now();
    for first in (0..CALLS).step_by(TOGETHER as usize) {
        let started: Vec<_> = (first..(first + TOGETHER).min(CALLS)).map(&call).collect();
        started.iter().for_each(|done| done.recv_timeout(Duration::from_secs(10)).expect("an answer"));
    }
    let time = begun.elapsed();
    assert_eq!(db.status().expect("a status").revision, before + CALLS, "each is one change");
    time.as_secs_f64() * 1e6 / CALLS as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
