//! Query: what a selector costs in a store of a million records, beside what it picks.

use std::time::{Duration, Instant};

use concord_kv::{Concord, Config, Pattern, ReadOptions, Selector, Value};

use crate::Figure;

const MANY: u64 = 1_000_000;
const FEW: u64 = 10_000;
const BULK: u64 = 500;

const ALL: Selector<'_> = Selector {
    prefix: None,
    suffix: None,
    contains: None,
    pattern: None,
    range: None,
    filter: None,
    offset: 0,
    limit: None,
};

/// `user:0000000` and so on, in memory.
fn store(records: u64) -> Concord {
    let db = Concord::open(Config::default()).expect("it opens");
    for first in (0..records).step_by(BULK as usize) {
        let item = |n: u64| {
            (format!("user:{n:07}"), Value::Map(vec![("n".into(), n.into()), ("role".into(), "user".into())]), None)
        };
        db.kv().put_many(&(first..first + BULK).map(item).collect::<Vec<_>>()).wait().expect("a bulk put");
    }
    db
}

/// The usual time of a query, after a check of what it picks.
fn time_of(db: &Concord, selector: &Selector<'_>, picked: usize) -> Duration {
    let keys = || db.query().keys(selector, &ReadOptions::default()).expect("keys");
    assert_eq!(keys().len(), picked, "{selector:?}");
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || (begun.elapsed() < Duration::from_secs(1) && times.len() < 1_000) {
        let before = Instant::now();
        assert_eq!(keys().len(), picked);
        times.push(before.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// Q1 to Q3: the same 100 or 1,000 records picked from few and from many. Q4: an expression over all. Q5: removing many.
pub fn run() {
    let (few, many) = (store(FEW), store(MANY));
    let pattern = Some(Pattern { text: r"^user:00001\d\d$", ..Pattern::default() });
    let narrow = [
        ("Q1", "a prefix that picks 100", Selector { prefix: Some(b"user:00001"), ..ALL }, 100),
        ("Q2", "a range that picks 1,000", Selector { range: Some((b"user:0001000", b"user:0001999")), ..ALL }, 1_000),
        ("Q3", "an anchored pattern that picks 100", Selector { pattern, ..ALL }, 100),
    ];
    for (id, name, selector, picked) in narrow {
        let (of_few, of_many) = (time_of(&few, &selector, picked), time_of(&many, &selector, picked));
        let (value, baseline) = (of_many.as_secs_f64() * 1e6, of_few.as_secs_f64() * 1e6);
        let name = &format!("{name} of 1 M keys");
        let baseline_name = "the same picked from 10 k keys";
        Figure { id, name, value, unit: "µs", baseline, baseline_name, ratio: value / baseline }.print();
    }
    let suffix = time_of(&many, &Selector { suffix: Some(b"00000"), ..ALL }, 10);
    let filter = Selector { filter: Some("value.n >= 999990 and value.role == \"user\""), ..ALL };
    let filtered = time_of(&many, &filter, 10);
    let (value, baseline) = (filtered.as_secs_f64() * 1e9 / MANY as f64, suffix.as_secs_f64() * 1e9 / MANY as f64);
    let (name, baseline_name) = ("an expression over 1 M records, each", "a suffix over 1 M keys, each");
    Figure { id: "Q4", name, value, unit: "ns", baseline, baseline_name, ratio: value / baseline }.print();
    let before = Instant::now();
    let half = Selector { range: Some((b"user:0000000", b"user:0099999")), ..ALL };
    assert_eq!(many.query().delete_where(&half, None).expect("a removal"), 100_000);
    let value = before.elapsed().as_secs_f64() * 1e3;
    let before = Instant::now();
    for first in (100_000..200_000u64).step_by(BULK as usize) {
        let keys: Vec<String> = (first..first + BULK).map(|n| format!("user:{n:07}")).collect();
        many.kv().delete_many(&keys).wait().expect("a bulk removal");
    }
    let baseline = before.elapsed().as_secs_f64() * 1e3;
    let (name, baseline_name) = ("delete_where of 100 k records at once", "the same by delete_many of 500");
    Figure { id: "Q5", name, value, unit: "ms", baseline, baseline_name, ratio: value / baseline }.print();
}
