//! Measurements of the log against a bare loop of write and fdatasync in the same run. Run with
//! `cargo test --release --lib storage::tests::measure -- --ignored --nocapture`.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::*;
use crate::storage::RealFiles;

const PAYLOAD: usize = 128;
const ROUNDS: u64 = 1500;

fn percentile(mut samples: Vec<u64>) -> String {
    samples.sort_unstable();
    let at = |part: usize| samples[(samples.len() - 1) * part / 100] as f64 / 1000.0;
    format!("p50 {:6.1} µs  p90 {:6.1}  p99 {:7.1}", at(50), at(90), at(99))
}

/// What the disk allows: write and fdatasync of one frame into a file filled with zeros.
fn bare(dir: &Path, bytes: usize, rounds: u64) -> Vec<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(dir.join("bare")).unwrap();
    for step in 0..64 {
        file.write_all_at(&vec![0; 1 << 20], step << 20).unwrap();
    }
    file.sync_all().unwrap();
    let frame = vec![7; bytes];
    let round = |round: u64| {
        let begin = Instant::now();
        file.write_all_at(&frame, round * frame.len() as u64).unwrap();
        file.sync_data().unwrap();
        begin.elapsed().as_nanos() as u64
    };
    (0..rounds).map(round).collect()
}

fn real_log(dir: &Path, name: &str, inline_bytes: usize, spin_us: u64) -> Log {
    let path = dir.join(name);
    let data_dir = DataDir::open(&path, Arc::new(RealFiles), || OWNER).unwrap();
    let options = LogOptions { inline_bytes, spin_us, ..LogOptions::default() };
    Log::open(&data_dir, options).unwrap()
}

/// One caller, one entry after the other. It spins for the answer, or parks.
fn sequential(log: &Log, parks: bool) -> Vec<u64> {
    let payload = Payload::from(vec![7; PAYLOAD]);
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let index = log.last().map_or(0, |last| last.index + 1);
        let begin = Instant::now();
        let entries = vec![LogEntry { position: at(1, index), kind: 1, payload: payload.clone() }];
        if parks {
            now(|done| log.append_alone(entries, done)).unwrap();
        } else {
            let ready = Arc::new(AtomicBool::new(false));
            let told = ready.clone();
            log.append_alone(entries, Box::new(move |_| told.store(true, Ordering::Release)));
            while !ready.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        }
        samples.push(begin.elapsed().as_nanos() as u64);
    }
    samples
}

/// One submitting thread with so many entries under way; entries a second.
fn in_flight(log: &Log, window: u64, payload_bytes: usize) -> f64 {
    let payload = Payload::from(vec![7; payload_bytes]);
    let answered = Arc::new(AtomicU64::new(0));
    let first = log.last().map_or(0, |last| last.index + 1);
    let (begin, mut sent) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_millis(1500) {
        if sent - answered.load(Ordering::Acquire) < window {
            let entry = LogEntry { position: at(1, first + sent), kind: 1, payload: payload.clone() };
            let told = answered.clone();
            log.append(vec![entry], Box::new(move |_| _ = told.fetch_add(1, Ordering::Release)));
            sent += 1;
        } else {
            std::thread::yield_now();
        }
    }
    while answered.load(Ordering::Acquire) < sent {
        std::thread::yield_now();
    }
    sent as f64 / begin.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn measure_latency() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    for run in 0..2 {
        println!("bare write + fdatasync          {}", percentile(bare(dir.path(), 24 + 25 + PAYLOAD, ROUNDS)));
        for (inline_bytes, spin_us) in [(0, 0), (0, 30), (0, 100), (4096, 0), (4096, 30)] {
            for parks in [false, true] {
                let log =
                    real_log(dir.path(), &format!("{run}-{inline_bytes}-{spin_us}-{parks}"), inline_bytes, spin_us);
                let figures = percentile(sequential(&log, parks));
                let caller = if parks { "parks" } else { "spins" };
                println!("inline {inline_bytes:4} spin {spin_us:3} caller {caller} {figures}");
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_throughput() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    for window in [64, 256] {
        for payload_bytes in [128, 4000] {
            let bytes = (payload_bytes + 56) * window as usize;
            println!("bare write + fdatasync of {bytes} B: {}", percentile(bare(dir.path(), bytes, 60)));
            for spin_us in [0, 30, 100] {
                let log = real_log(dir.path(), &format!("{spin_us}-{window}-{payload_bytes}"), 0, spin_us);
                let rate = in_flight(&log, window, payload_bytes);
                println!("spin {spin_us:3} in flight {window:3} x {payload_bytes:4} B: {rate:9.0} entries/s");
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_opening() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let begin = Instant::now();
    let log = real_log(dir.path(), "open", 0, 0);
    println!("open of a new log: {:?}", begin.elapsed());
    let payload = Payload::from(vec![7; 10_000]);
    for batch in 0..200_u64 {
        let entry = |index| LogEntry { position: at(1, index), kind: 1, payload: payload.clone() };
        append(&log, (batch * 100..batch * 100 + 100).map(entry).collect()).unwrap();
    }
    drop(log);
    let begin = Instant::now();
    let log = real_log(dir.path(), "open", 0, 0);
    println!("open with 200 MB in {} segments: {:?}", log.recovery().segments, begin.elapsed());
    let begin = Instant::now();
    let read = log.read(0..20_000, usize::MAX).unwrap().len();
    println!("read of {read} entries: {:?}", begin.elapsed());
}

#[test]
#[ignore = "a measurement"]
fn measure_latency_beside_a_snapshot() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let log = real_log(dir.path(), "log", 4096, 30);
    let other = DataDir::open(&dir.path().join("other"), Arc::new(RealFiles), || OWNER).unwrap();
    let snapshots = SnapshotStore::open(&other).unwrap();
    println!("bare write + fdatasync   {}", percentile(bare(dir.path(), 24 + 25 + PAYLOAD, ROUNDS)));
    println!("log alone                {}", percentile(sequential(&log, false)));
    let (is_written, write) = (AtomicBool::new(false), || {
        let mut writer = snapshots.create(b"").unwrap();
        (0..800).for_each(|_| writer.write_block(&vec![7; 256 * 1024]).unwrap());
        writer.finish().unwrap();
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            write();
            println!("200 MB of snapshot took  {:?}", begin.elapsed());
            is_written.store(true, Ordering::Release);
        });
        while !is_written.load(Ordering::Acquire) {
            let samples = sequential(&log, false);
            let longest = samples.iter().max().unwrap() / 1000;
            println!("log beside the snapshot  {}  longest {longest} µs", percentile(samples));
        }
    });
}
