//! FILES: log and snapshots. For now the log in memory.

use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};

pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

#[derive(Debug, Clone)]
pub(crate) struct Payload(Arc<Vec<u8>>);
impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(Arc::new(bytes))
    }
}
impl Deref for Payload {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LogPosition {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub position: LogPosition,
    pub kind: u8,
    pub payload: Payload,
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ballot {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub cluster_id: u128,
    pub node_id: u64,
}
#[derive(Default)]
struct Mem {
    entries: VecDeque<LogEntry>,
    purged: Option<LogPosition>,
    ballot: Option<Ballot>,
    committed: Option<LogPosition>,
    bytes: u64,
}
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Mem>>);
impl Log {
    pub fn in_memory() -> Log {
        Log::default()
    }
    pub fn last(&self) -> Option<LogPosition> {
        let mem = self.0.lock().unwrap();
        mem.entries.back().map(|e| e.position).or(mem.purged)
    }
    pub fn purged(&self) -> Option<LogPosition> {
        self.0.lock().unwrap().purged
    }
    pub fn ballot(&self) -> Option<Ballot> {
        self.0.lock().unwrap().ballot
    }
    pub fn committed(&self) -> Option<LogPosition> {
        self.0.lock().unwrap().committed
    }
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) {
        let mut mem = self.0.lock().unwrap();
        for e in entries {
            mem.bytes += e.payload.len() as u64 + 48;
            mem.entries.push_back(e);
        }
        drop(mem);
        done(Ok(()));
    }
    pub fn save_ballot(&self, ballot: Ballot, done: Done) {
        self.0.lock().unwrap().ballot = Some(ballot);
        done(Ok(()));
    }
    pub fn save_committed(&self, p: LogPosition) {
        self.0.lock().unwrap().committed = Some(p);
    }
    pub fn truncate_after(&self, p: Option<LogPosition>, done: Done) {
        self.0.lock().unwrap().entries.retain(|e| Some(e.position) <= p);
        done(Ok(()));
    }
    pub fn purge(&self, upto: LogPosition, done: Done) {
        let mut mem = self.0.lock().unwrap();
        while mem.entries.front().is_some_and(|e| e.position.index <= upto.index) {
            let e = mem.entries.pop_front().unwrap();
            mem.bytes -= e.payload.len() as u64 + 48;
        }
        mem.purged = Some(upto);
        drop(mem);
        done(Ok(()));
    }
    pub fn read(&self, range: Range<u64>, _max: usize) -> io::Result<Vec<LogEntry>> {
        let mem = self.0.lock().unwrap();
        let Some(first) = mem.entries.front().map(|e| e.position.index) else { return Ok(vec![]) };
        let skip = range.start.saturating_sub(first) as usize;
        Ok(mem.entries.iter().skip(skip).take_while(|e| e.position.index < range.end).cloned().collect())
    }
    pub fn bytes(&self) -> u64 {
        self.0.lock().unwrap().bytes
    }
    pub fn has_room(&self, _bytes: usize) -> bool {
        true
    }
    pub fn failure(&self) -> Option<String> {
        None
    }
    pub fn close(&self) {}
}
#[derive(Clone)]
pub(crate) struct SnapshotStore;
pub(crate) struct SnapshotFile(PathBuf);
pub(crate) struct SnapshotReader;
pub(crate) struct SnapshotWriter;
impl SnapshotStore {
    pub fn create(&self, _h: &[u8]) -> Result<SnapshotWriter> {
        Err(ErrorKind::Io.into())
    }
    pub fn latest(&self) -> Option<SnapshotFile> {
        None
    }
}
impl SnapshotWriter {
    pub fn write_block(&mut self, _b: &[u8]) -> Result<()> {
        Ok(())
    }
    pub fn finish(self) -> Result<SnapshotFile> {
        Err(ErrorKind::Io.into())
    }
}
impl SnapshotFile {
    pub fn open(&self) -> Result<SnapshotReader> {
        let _ = &self.0;
        Err(ErrorKind::Io.into())
    }
    pub fn bytes(&self) -> u64 {
        0
    }
}
impl SnapshotReader {
    pub fn header(&self) -> &[u8] {
        &[]
    }
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}
pub(crate) struct DataDir;
impl DataDir {
    pub fn open(_p: &Path) -> Result<DataDir> {
        Ok(DataDir)
    }
    pub fn identity(&self) -> Identity {
        Identity { cluster_id: 1, node_id: 1 }
    }
}
pub(crate) fn is_disk_full(_e: &Error) -> bool {
    false
}
pub(crate) fn open_log(_d: &DataDir, _dur: Durability) -> Result<Log> {
    Ok(Log::default())
}
pub(crate) fn open_snapshots(_d: &DataDir) -> Result<SnapshotStore> {
    Ok(SnapshotStore)
}
