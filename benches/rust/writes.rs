//! Writes: durable puts of many tasks, and bulk puts, beside a bare append.

use std::path::Path;
use std::time::{Duration, Instant};

use concord_kv::{Concord, Config, Value};

use crate::{Figure, disk};

const WARM_UP: Duration = Duration::from_millis(500);
const LENGTH: Duration = Duration::from_secs(3);
const KEYS_PER_TASK: u64 = 16;
const BULK: u64 = 500;

pub fn run(folder: &Path) {
    let append_s = disk::bare_append_s(folder);
    Figure {
        id: "P6base",
        name: "bare append of 256 B with fdatasync, one after the other",
        value: 1.0 / append_s,
        unit: "calls/s",
        baseline: 1.0 / append_s,
        baseline_name: "itself",
        ratio: 1.0,
    }
    .print();
    for (id, tasks) in [("P6x1", 1), ("P6", 256), ("P6x1024", 1024)] {
        let append_s = disk::bare_append_s(folder);
        let rate = puts(&folder.join(id), tasks);
        let name = format!("Rust put, durable, {tasks} task{}", if tasks == 1 { "" } else { "s" });
        print(id, &name, rate, "calls/s", append_s, append_s * rate);
    }
    for (id, callers) in [("P5r", 1), ("P5rx8", 8)] {
        let append_s = disk::bare_append_s(folder);
        let rate = bulk_puts(&folder.join(id), callers);
        let name = format!("Rust put_many of {BULK}, durable, {callers} task{}", if callers == 1 { "" } else { "s" });
        print(id, &name, rate, "keys/s", append_s, append_s * rate);
    }
}

fn print(id: &str, name: &str, rate: f64, unit: &str, append_s: f64, speed_up: f64) {
    Figure {
        id,
        name,
        value: rate,
        unit,
        baseline: 1.0 / append_s,
        baseline_name: "bare fdatasync append, appends/s",
        ratio: 1.0 / speed_up,
    }
    .print();
}

/// 100 bytes that tell which write they are, made cheaply so that the store is measured and not the caller.
fn value(task: u64, n: u64) -> Value {
    let mut bytes = vec![b'-'; 100];
    bytes[..8].copy_from_slice(&task.to_le_bytes());
    bytes[8..16].copy_from_slice(&n.to_le_bytes());
    bytes.into()
}

/// Acknowledged puts a second of so many tasks on one thread; every key is read back.
fn puts(dir: &Path, tasks: u64) -> f64 {
    let db = Concord::open(Config::at(dir)).expect("it opens");
    let keys_of = |task| (0..KEYS_PER_TASK).map(|slot| format!("task:{task}:{slot}")).collect::<Vec<_>>();
    let keys: Vec<Vec<String>> = (0..tasks).map(keys_of).collect();
    let key = |task: u64, n: u64| &keys[task as usize][(n % KEYS_PER_TASK) as usize];
    let counts = in_tasks(tasks, |task, n| {
        let put = db.kv().put(key(task, n), value(task, n));
        async move { put.await.expect("a put") }
    });
    for (task, (_, count)) in (0..).zip(&counts) {
        for n in count.saturating_sub(KEYS_PER_TASK)..*count {
            let found = db.kv().get(key(task, n)).expect("a read");
            assert!(found == Some(value(task, n)), "task {task}: the acknowledged write {n} is not there");
        }
    }
    db.close().expect("it closes");
    std::fs::remove_dir_all(dir).expect("the data goes");
    counts.iter().map(|(measured, _)| measured).sum::<u64>() as f64 / LENGTH.as_secs_f64()
}

/// Acknowledged keys a second of so many tasks that put 500 at once, two sets of values in turn; every key is read back.
fn bulk_puts(dir: &Path, tasks: u64) -> f64 {
    let db = Concord::open(Config::at(dir)).expect("it opens");
    let key = |task: u64, slot: u64| format!("task:{task}:{slot}");
    let items_of = |task, turn| (0..BULK).map(|slot| (key(task, slot), value(slot, turn), None)).collect::<Vec<_>>();
    let items: Vec<_> = (0..tasks).map(|task| [items_of(task, 0), items_of(task, 1)]).collect();
    let counts = in_tasks(tasks, |task, n| {
        let put = db.kv().put_many(&items[task as usize][(n % 2) as usize]);
        async move { put.await.expect("a bulk put") }
    });
    for (task, (_, count)) in (0..).zip(&counts) {
        for slot in 0..BULK {
            let found = db.kv().get(key(task, slot)).expect("a read");
            let last = value(slot, (count - 1) % 2);
            assert!(found == Some(last), "task {task}: an acknowledged bulk put is not there");
        }
    }
    db.close().expect("it closes");
    std::fs::remove_dir_all(dir).expect("the data goes");
    (counts.iter().map(|(measured, _)| measured).sum::<u64>() * BULK) as f64 / LENGTH.as_secs_f64()
}

/// Calls `write(task, n)` again and again in so many tasks; tells for each task how many were acknowledged in the
/// measured time, and in all.
fn in_tasks<F: Future<Output = ()>>(tasks: u64, write: impl Fn(u64, u64) -> F) -> Vec<(u64, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let start = Instant::now();
    let (from, to) = (start + WARM_UP, start + WARM_UP + LENGTH);
    runtime.block_on(futures_util::future::join_all((0..tasks).map(|task| {
        let write = &write;
        async move {
            let (mut measured, mut n) = (0, 0);
            loop {
                write(task, n).await;
                n += 1;
                let now = Instant::now();
                if now >= to {
                    return (measured, n);
                }
                measured += u64::from(now >= from);
            }
        }
    })))
}
