//! Watch: what keeping the changes costs a write that nobody watches, and how many changes reach many who do.

use std::time::{Duration, Instant};

use concord_kv::{Concord, Config, EventHistory, Notice, Value, Watch, WatchOptions};

use crate::Figure;

const WRITES: usize = 20_000;
const ROUNDS: usize = 9;
const IN_FLIGHT: usize = 64;
const KEYS: usize = 20_000;
const WATCHERS: usize = 10;
const EVENTS_PER_S: usize = 105_000;
const SECONDS: usize = 5;

fn open(events_max: usize) -> Concord {
    let event_history = EventHistory { events_max, ..EventHistory::default() };
    Concord::open(Config { event_history, ..Config::default() }).expect("it opens")
}

fn value() -> Value {
    Value::Bytes(vec![7; 100])
}

/// Processor time that this program has taken, on all its threads: other programs on the machine hardly change it.
fn processor_time() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let fields: Vec<&str> = usage.rsplit(") ").next().expect("fields behind the name").split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    // User and system time, a hundredth of a second each.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// One caller after the other.
fn puts(db: &Concord, keys: &[String]) -> Duration {
    let begun = processor_time();
    for n in 0..WRITES {
        db.kv().put(&keys[n % KEYS], value()).wait().expect("a put");
    }
    processor_time() - begun
}

/// Many in flight, so that they share log entries.
fn puts_together(db: &Concord, keys: &[String]) -> Duration {
    let begun = processor_time();
    let mut pending = std::collections::VecDeque::new();
    for n in 0..WRITES * 8 {
        if pending.len() == IN_FLIGHT {
            let first: concord_kv::Pending<()> = pending.pop_front().expect("some are in flight");
            first.wait().expect("a put");
        }
        pending.push_back(db.kv().put(&keys[n % KEYS], value()));
    }
    pending.into_iter().for_each(|pending| pending.wait().expect("a put"));
    processor_time() - begun
}

/// How long some writes take.
type Measure = fn(&Concord, &[String]) -> Duration;

/// W1, W2: a put with the history that is kept by default, beside the same without one. In turns, and the fastest
/// of each, as the machine is shared.
fn without_watchers() {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key:{n:06}")).collect();
    let measures: [(&str, &str, usize, Measure); 2] = [
        ("W1", "put in memory that nobody watches, one caller", WRITES, puts),
        ("W2", "put in memory that nobody watches, 64 in flight", WRITES * 8, puts_together),
    ];
    for (id, name, count, measure) in measures {
        let (with, without) = (open(EventHistory::default().events_max), open(0));
        // Filled beyond what is kept, so that old changes have to go.
        for db in [&with, &without] {
            for _ in 0..4 {
                puts_together(db, &keys);
            }
        }
        let (mut value, mut baseline) = (f64::MAX, f64::MAX);
        for round in 0..ROUNDS {
            let order = if round % 2 == 0 { [&with, &without] } else { [&without, &with] };
            let took = order.map(|db| measure(db, &keys).as_secs_f64() * 1e6 / count as f64);
            let [time, other] = if round % 2 == 0 { took } else { [took[1], took[0]] };
            (value, baseline) = (value.min(time), baseline.min(other));
        }
        let baseline_name = "the same with event_history off";
        Figure { id, name, value, unit: "µs of processor time", baseline, baseline_name, ratio: value / baseline }
            .print();
    }
}

/// Takes until it has `expected` changes; panics unless they are all there, each once and in order.
fn follow(mut watch: Watch, expected: usize) -> Instant {
    let (mut seen, mut last) = (0, 0);
    while seen < expected {
        let notices = watch.take_within(1_000, Duration::from_secs(30)).expect("a watch");
        assert!(!notices.is_empty(), "{seen} of {expected} came");
        for notice in notices {
            let Notice::Event(event) = notice else { panic!("{notice:?}") };
            assert!(event.revision == last + 1 && event.value.is_some());
            last = event.revision;
            seen += 1;
        }
    }
    Instant::now()
}

/// W3: single puts at more than 100,000 a second reach ten watchers, none lost.
fn with_watchers() {
    let db = open(EventHistory::default().events_max);
    let expected = EVENTS_PER_S * SECONDS;
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let watch = db.watch(&WatchOptions::default()).expect("a watch");
            std::thread::spawn(move || follow(watch, expected))
        })
        .collect();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key:{n:06}")).collect();
    let begun = Instant::now();
    let mut pending = std::collections::VecDeque::new();
    for n in 0..expected {
        let due = Duration::from_secs_f64(n as f64 / EVENTS_PER_S as f64);
        if n % 100 == 0
            && let Some(early) = due.checked_sub(begun.elapsed())
        {
            std::thread::sleep(early);
        }
        if pending.len() == 1_024 {
            let first: concord_kv::Pending<()> = pending.pop_front().expect("some are in flight");
            first.wait().expect("a put");
        }
        pending.push_back(db.kv().put(&keys[n % KEYS], value()));
    }
    pending.into_iter().for_each(|pending| pending.wait().expect("a put"));
    let written = begun.elapsed().as_secs_f64();
    let last = watchers.into_iter().map(|watcher| watcher.join().expect("a watcher")).max().expect("ten watchers");
    let followed = (last - begun).as_secs_f64();
    let (value, baseline) = (expected as f64 / followed / 1e3, expected as f64 / written / 1e3);
    let name = "changes a second to each of 10 watchers, none lost";
    let (unit, baseline_name) = ("thousand/s", "puts a second meanwhile, asked for 105");
    Figure { id: "W3", name, value, unit, baseline, baseline_name, ratio: baseline / value }.print();
}

pub fn run() {
    without_watchers();
    with_watchers();
}
