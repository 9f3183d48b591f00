//! Million: a million records of 100 B: their memory, opening them, and writing while they are snapshotted.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use concord_kv::{Concord, Config, Value};

use crate::Figure;

const RECORDS: u64 = 1_000_000;
const BULK: u64 = 500;
const LENGTH: Duration = Duration::from_secs(6);

fn key(n: u64) -> String {
    format!("user:{n:07}")
}

fn value(n: u64) -> Value {
    format!("{n:>12} {:->87}", "").into()
}

/// P10: what a million records add to the memory of the process.
pub fn fill(dir: &Path) {
    let db = Concord::open(Config::at(dir)).expect("it opens");
    let before = resident_bytes();
    for first in (0..RECORDS).step_by(BULK as usize) {
        let items: Vec<_> = (first..first + BULK).map(|n| (key(n), value(n), None)).collect();
        db.kv().put_many(&items).wait().expect("a bulk put");
    }
    // What the log and the snapshot of the filling borrowed is given back within a moment.
    std::thread::sleep(Duration::from_secs(3));
    let bytes = (resident_bytes() - before) as f64 / RECORDS as f64;
    check(&db);
    db.close().expect("it closes");
    let raw = (key(0).len() + 100) as f64;
    Figure {
        id: "P10",
        name: "memory for 1 M records of 100 B, resident bytes a record",
        value: bytes,
        unit: "bytes",
        baseline: raw,
        baseline_name: "bytes of key and value themselves",
        ratio: bytes / raw,
    }
    .print();
}

/// P11open: opening them again, beside reading the same files.
pub fn open(dir: &Path) {
    let (read_s, bytes) = read_files(dir);
    let start = Instant::now();
    let db = Concord::open(Config::at(dir)).expect("it opens");
    let open_s = start.elapsed().as_secs_f64();
    check(&db);
    db.close().expect("it closes");
    Figure {
        id: "P11open",
        name: "open with 1 M records",
        value: open_s,
        unit: "s",
        baseline: read_s,
        baseline_name: &format!("reading its {} MB of files", bytes / 1_000_000),
        ratio: open_s / read_s,
    }
    .print();
}

/// P11pause: the longest put while snapshots of all of them are written, beside the longest under the same load
/// without any snapshot. Both meet the noise of the machine's disk alike.
pub fn pause(dir: &Path) {
    let (quiet, snapshots) = loaded_puts(Config { snapshot_log_bytes: 1 << 40, ..Config::at(dir) });
    assert!(!snapshots, "a snapshot was taken where none should be");
    let (busy, snapshots) = loaded_puts(Config { snapshot_log_bytes: 8 * 1024 * 1024, ..Config::at(dir) });
    assert!(snapshots, "no snapshot was taken, so nothing was measured");
    let ms = |times: &[Duration], share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let p999_ms = ms(&busy, 0.999);
    Figure {
        id: "P11pause",
        name: &format!("longest of {} puts while 1 M records are snapshotted (p99.9 {p999_ms:.1} ms)", busy.len()),
        value: ms(&busy, 1.0),
        unit: "ms",
        baseline: ms(&quiet, 1.0),
        baseline_name: "longest put of the same load without snapshots",
        ratio: ms(&busy, 1.0) / ms(&quiet, 1.0),
    }
    .print();
}

/// Times of single puts beside bulk puts that let the log grow, sorted; and whether a snapshot was taken.
fn loaded_puts(config: Config) -> (Vec<Duration>, bool) {
    let db = Concord::open(config).expect("it opens");
    let snapshot_index = || db.status().expect("a status").raft.snapshot_index;
    let snapshot_before = snapshot_index();
    let done = AtomicBool::new(false);
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in (0..RECORDS).step_by(20).cycle() {
                let items: Vec<_> = (first..first + 20).map(|n| (key(n), value(n), None)).collect();
                db.kv().put_many(&items).wait().expect("a bulk put");
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let start = Instant::now();
        for n in (0..RECORDS).cycle() {
            let before = Instant::now();
            db.kv().put(key(n), value(n)).wait().expect("a put");
            times.push(before.elapsed());
            if start.elapsed() > LENGTH {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let snapshots = snapshot_index() > snapshot_before;
    check(&db);
    db.close().expect("it closes");
    times.sort();
    (times, snapshots)
}

/// Every thousandth record, and their number.
fn check(db: &Concord) {
    assert_eq!(db.status().expect("a status").size, RECORDS);
    for n in (0..RECORDS).step_by(1000) {
        assert!(db.kv().get(key(n)).expect("a read") == Some(value(n)), "record {n} is not what was put");
    }
}

/// Memory of this process that is not a file's.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc of Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// Seconds to read every file below a folder, and their bytes.
fn read_files(folder: &Path) -> (f64, usize) {
    let (start, mut bytes, mut folders) = (Instant::now(), 0, vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                bytes += std::fs::read(path).expect("a file").len();
            }
        }
    }
    (start.elapsed().as_secs_f64(), bytes)
}
