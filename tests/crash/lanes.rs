//! Lanes: sequences of writes, one thread each, whose outcome after `n` writes can be told from `n` alone.
//!
//! A lane has one write in flight at most. So when `n` writes are acknowledged, the store holds what `n` or
//! `n + 1` writes of that lane leave behind, and nothing in between.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use concord_kv::{Compress, Concord, Guard, PutOptions, ReadOptions, Result, Value, decode_value};

/// How many writes of each lane are acknowledged.
pub type Counts = [u64; LANES];

pub const LANES: usize = 7;

/// No write of a lane is visible after that many later ones of the same lane.
const WINDOW: u64 = 160;

const TTL_S: u64 = 3600;

/// One write of a lane.
enum Op {
    Put { key: String, value: Value, compress: Compress },
    PutWithTtl { key: String, value: Value },
    PutMany(Vec<(String, Value)>),
    DeleteMany(Vec<String>),
    Increment { key: String },
    PutNew { key: String, value: Value },
    DeleteIf { key: String, expected: Value },
    Touch { key: String },
}

/// Value and, where there is one, lifetime in seconds.
type Content = BTreeMap<String, (Value, Option<u64>)>;

/// The `n`th write of a lane, counted from 1.
fn op(lane: usize, n: u64) -> Op {
    let key = |slot: u64| format!("lane{lane}:{slot}");
    match lane {
        0 | 1 => Op::Put { key: key(n % 64), value: payload(lane, n, 1500), compress: Compress::Auto },
        2 if n.is_multiple_of(7) => Op::DeleteMany((0..20).map(key).collect()),
        2 => Op::PutMany((0..20).map(|slot| (key(slot), Value::from([n, slot]))).collect()),
        3 => Op::Increment { key: key(0) },
        4 if n % 2 == 1 => Op::PutNew { key: key(0), value: n.into() },
        4 => Op::DeleteIf { key: key(0), expected: (n - 1).into() },
        5 => {
            let compress = [Compress::Auto, Compress::Always, Compress::Never][(n % 3) as usize];
            Op::Put { key: key(n % 4), value: payload(lane, n, 200_000), compress }
        }
        _ if n % 2 == 1 => Op::PutWithTtl { key: key(n / 2 % 16), value: n.into() },
        _ => Op::Touch { key: key((n - 1) / 2 % 16) },
    }
}

/// Text of a length and content that lane and number tell; half of it compresses well.
fn payload(lane: usize, n: u64, bytes_max: u64) -> Value {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ lane as u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = next() % bytes_max;
    let mut text = format!("lane {lane} write {n} ");
    while (text.len() as u64) < length {
        let word = next();
        text.push_str(if word % 2 == 0 { "again and again " } else { "" });
        text.push_str(&format!("{word:x} "));
    }
    text.into()
}

/// Performs the `n`th write of a lane and waits for its acknowledgement.
pub fn perform(db: &Concord, lane: usize, n: u64) -> Result<()> {
    let kv = db.kv();
    match op(lane, n) {
        Op::Put { key, value, compress } => {
            kv.put_with(key, value, &PutOptions { compress, ..Default::default() }).wait()
        }
        Op::PutWithTtl { key, value } => {
            let ttl = Some(Duration::from_secs(TTL_S));
            kv.put_with(key, value, &PutOptions { ttl, ..Default::default() }).wait()
        }
        Op::PutMany(items) => {
            let items: Vec<_> = items.into_iter().map(|(key, value)| (key, value, None)).collect();
            kv.put_many(&items).wait()
        }
        Op::DeleteMany(keys) => kv.delete_many(&keys).wait(),
        Op::Increment { key } => kv.increment(key, 1).wait().map(|sum| assert_eq!(sum, n as i64)),
        Op::PutNew { key, value } => kv.put_new(key, value).wait(),
        Op::DeleteIf { key, expected } => kv.delete_if(key, Guard::Expected(expected)).wait(),
        Op::Touch { key } => kv.touch(key, Duration::from_secs(2 * TTL_S)).wait(),
    }
}

/// What the first `n` writes of a lane leave behind.
fn content_after(lane: usize, n: u64) -> Content {
    let mut content = Content::new();
    for n in n.saturating_sub(WINDOW) + 1..=n {
        match op(lane, n) {
            Op::Put { key, value, .. } | Op::PutNew { key, value } => drop(content.insert(key, (value, None))),
            Op::PutWithTtl { key, value } => drop(content.insert(key, (value, Some(TTL_S)))),
            Op::PutMany(items) => content.extend(items.into_iter().map(|(key, value)| (key, (value, None)))),
            Op::DeleteMany(keys) => keys.iter().for_each(|key| drop(content.remove(key))),
            Op::Increment { key } => drop(content.insert(key, (n.into(), None))),
            Op::DeleteIf { key, .. } => drop(content.remove(&key)),
            // A touch at the window's edge may have its put outside; what it touches is overwritten inside.
            Op::Touch { key } => {
                if let Some((_, ttl_s)) = content.get_mut(&key) {
                    *ttl_s = Some(2 * TTL_S);
                }
            }
        }
    }
    content
}

/// Holds the store against the acknowledgements and tells how many writes of each lane it found.
/// Each lane may be one write ahead, and `lost_max` writes behind (0 unless the test tore the log itself).
pub fn verify(db: &Concord, acknowledged: &Counts, lost_max: u64) -> std::result::Result<Counts, String> {
    let mut lanes: [Content; LANES] = Default::default();
    let view = db.kv().view(&ReadOptions::default()).map_err(|error| error.to_string())?;
    let mut faults = Vec::new();
    let scan = view.scan((Bound::Unbounded, Bound::Unbounded), |key, record| {
        let key = String::from_utf8_lossy(key).into_owned();
        let lane = key.strip_prefix("lane").and_then(|rest| rest.get(..1)).and_then(|lane| lane.parse::<usize>().ok());
        match (lane.filter(|lane| *lane < LANES), decode_value(&record.value)) {
            (Some(lane), Ok(value)) => {
                drop(lanes[lane].insert(key, (value, record.ttl_ms.map(|ms| ms.div_ceil(1000)))))
            }
            (None, _) => faults.push(format!("a key that nobody wrote: {key}")),
            (_, Err(error)) => faults.push(format!("{key}: {error}")),
        }
        ControlFlow::Continue(())
    });
    scan.map_err(|error| error.to_string())?;
    let mut found = [0; LANES];
    for (lane, content) in lanes.iter().enumerate() {
        let n = acknowledged[lane];
        let candidates = n.saturating_sub(lost_max)..=n + 1;
        match candidates.rev().find(|n| same(content, &content_after(lane, *n))) {
            Some(n) => found[lane] = n,
            None => faults
                .push(format!("lane {lane}: {n} acknowledged, but {}", difference(content, &content_after(lane, n)))),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(format!("acknowledged writes are damaged: {}", faults.join("; "))) }
}

/// Equal keys and values; a lifetime may have run down by an hour less a minute.
fn same(found: &Content, expected: &Content) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(
            |((key, (value, ttl_s)), (expected_key, (expected_value, expected_ttl_s)))| {
                let lifetime = match (ttl_s, expected_ttl_s) {
                    (None, None) => true,
                    (Some(left_s), Some(full_s)) => left_s <= full_s && left_s + TTL_S - 60 > *full_s,
                    _ => false,
                };
                key == expected_key && value == expected_value && lifetime
            },
        )
}

fn difference(found: &Content, expected: &Content) -> String {
    let brief = |content: Option<&(Value, Option<u64>)>| match content {
        Some(content) => format!("{content:?}").chars().take(80).collect(),
        None => "nothing".to_owned(),
    };
    let keys = found.keys().chain(expected.keys());
    match keys.filter(|key| found.get(*key) != expected.get(*key)).min() {
        Some(key) => format!("{key} holds {} instead of {}", brief(found.get(key)), brief(expected.get(key))),
        None => "lifetimes differ".to_owned(),
    }
}

/// The judge itself: it sees a lost write, a write that is half there, and one that nobody made.
#[test]
fn the_judge_sees_what_is_wrong() {
    for lane in 0..LANES {
        let db = Concord::open(concord_kv::Config::default()).expect("a store in memory");
        let mut acknowledged = [0; LANES];
        for n in 1..=9 {
            perform(&db, lane, n).expect("a write");
        }
        acknowledged[lane] = 9;
        assert_eq!(verify(&db, &acknowledged, 0), Ok(acknowledged));
        acknowledged[lane] = 8;
        assert_eq!(verify(&db, &acknowledged, 0).expect("one write in flight")[lane], 9);
        acknowledged[lane] = 7;
        assert!(verify(&db, &acknowledged, 0).is_err(), "lane {lane}: two writes more than acknowledged");
        acknowledged[lane] = 10;
        assert!(verify(&db, &acknowledged, 0).is_err(), "lane {lane}: a lost write");
        acknowledged[lane] = 9;
        let key = db.kv().get_all().expect("a read").into_keys().next();
        db.kv().put(key.unwrap_or_else(|| b"lane0:0".to_vec()), "something else").wait().expect("a write");
        assert!(verify(&db, &acknowledged, 0).is_err(), "lane {lane}: a damaged value");
    }
}
