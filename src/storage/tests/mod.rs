//! Tests of the files: each tells what is promised, then breaks what it can.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{DataDir, Done, Files, Identity, Log, LogEntry, LogOptions, LogPosition, MemFiles, Payload, SnapshotStore};
use crate::config::Durability;

mod crash;
mod damage;
mod data_dir;
mod disk_faults;
mod driven;
mod formation;
mod golden;
mod kill;
mod log;
mod model;
mod receive;
mod snapshot;

const DIR: &str = "/data";
const OWNER: Identity = Identity { cluster_id: 0x00c0_ffee_0000_0000_0000_0000_0000_0001, node_id: 7 };

/// Small segments, so that a few entries fill several.
fn small() -> LogOptions {
    LogOptions { segment_bytes: 4096, cache_bytes: 1000, inline_bytes: 0, spin_us: 0, ..LogOptions::default() }
}

fn data_dir(files: &MemFiles) -> crate::Result<DataDir> {
    DataDir::open(Path::new(DIR), Arc::new(files.clone()), || OWNER)
}

fn open_log(files: &MemFiles) -> crate::Result<Log> {
    Log::open(&data_dir(files)?, small())
}

/// How far a snapshot of these tests reaches: its header may begin with a number of one digit.
fn leading_number(header: &[u8]) -> crate::Result<u64> {
    Ok(header.first().filter(|byte| byte.is_ascii_digit()).map_or(0, |&byte| u64::from(byte - b'0')))
}

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, node: 7, index }
}

fn entry(term: u64, index: u64, payload: &[u8]) -> LogEntry {
    LogEntry { position: at(term, index), kind: 1, payload: Payload::from(payload) }
}

/// Entry number `index` of the usual test log.
fn usual(index: u64) -> LogEntry {
    entry(1, index, format!("payload of entry {index}, some forty bytes").as_bytes())
}

/// A callback and where its answer arrives.
fn done() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = channel();
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

fn wait(receiver: &Receiver<io::Result<()>>) -> io::Result<()> {
    receiver.recv_timeout(Duration::from_secs(10)).expect("an answer within ten seconds")
}

/// Calls `change` and waits for its answer.
fn now(change: impl FnOnce(Done)) -> io::Result<()> {
    let (done, receiver) = done();
    change(done);
    wait(&receiver)
}

fn append(log: &Log, entries: Vec<LogEntry>) -> io::Result<()> {
    now(|done| log.append(entries, done))
}

fn fill(log: &Log, indexes: std::ops::Range<u64>) {
    for index in indexes {
        now(|done| log.append_alone(vec![usual(index)], done)).unwrap();
    }
}

fn all(log: &Log) -> Vec<LogEntry> {
    let (mut entries, mut next) = (Vec::new(), 0);
    loop {
        let more = log.read(next..u64::MAX, 300).unwrap();
        let Some(last) = more.last() else { return entries };
        next = last.position.index + 1;
        entries.extend(more);
    }
}

/// Numbers that look random, from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}
