//! SnapshotStore: keeps the one snapshot that reaches furthest.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::draft::{Draft, SnapshotWriter};
use super::{Reach, SnapshotFile, SnapshotReceiver};
use crate::error::Result;
use crate::storage::data_dir::{DataDir, Identity};
use crate::storage::files::StoredFile;
use crate::storage::io_failed;
use crate::storage::memory_file::MemoryFile;

const SUFFIX: &str = ".snapshot";
const TEMP_SUFFIX: &str = ".tmp";

/// The snapshots of one node; clones are the same store.
///
/// - One is kept: a snapshot replaces another only when it reaches as far (see `Reach`), whichever was begun first. So one that
///   arrives late never takes away entries that the log has given up already.
/// - Several may be written and received at the same time.
#[derive(Clone)]
pub(crate) struct SnapshotStore {
    shelf: Arc<Shelf>,
}

/// What a store shares with drafts that are on their way.
pub(super) struct Shelf {
    pub identity: Identity,
    reach: Reach,
    place: Place,
    latest: Mutex<Option<SnapshotFile>>,
    drafts: AtomicU64,
}

enum Place {
    Dir { data_dir: DataDir, dir: PathBuf },
    Memory,
}

impl SnapshotStore {
    /// Opens the store: removes what an interrupted run left behind and checks the head of the newest snapshot.
    pub(crate) fn open(data_dir: &DataDir, reach: Reach) -> Result<SnapshotStore> {
        data_dir.assert_adopted();
        let dir = data_dir.path().join("snapshot");
        let files = data_dir.files();
        let names = files.list(&dir).map_err(|error| io_failed("list", &dir, error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let newest = numbers.pop();
        let latest = newest.map(|number| {
            let path = dir.join(file_name(number));
            let file = files.open(&path).map_err(|error| io_failed("open", &path, error))?;
            SnapshotFile::load(number, path, file, data_dir.identity())?.reaching(reach)
        });
        let latest = latest.transpose()?;
        let temps = names.into_iter().filter(|name| name.ends_with(TEMP_SUFFIX));
        for name in temps.chain(numbers.into_iter().map(file_name)) {
            let path = dir.join(name);
            files.remove(&path).map_err(|error| io_failed("remove", &path, error))?;
        }
        let place = Place::Dir { data_dir: data_dir.clone(), dir };
        Ok(SnapshotStore::new(data_dir.identity(), reach, place, latest))
    }

    /// A store of a node that keeps nothing on disk: its snapshots lie in memory.
    pub(crate) fn in_memory(identity: Identity, reach: Reach) -> SnapshotStore {
        SnapshotStore::new(identity, reach, Place::Memory, None)
    }

    fn new(identity: Identity, reach: Reach, place: Place, latest: Option<SnapshotFile>) -> SnapshotStore {
        let latest = Mutex::new(latest);
        SnapshotStore { shelf: Arc::new(Shelf { identity, reach, place, latest, drafts: AtomicU64::new(1) }) }
    }

    /// The newest snapshot.
    pub(crate) fn latest(&self) -> Option<SnapshotFile> {
        self.shelf.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a snapshot with this header.
    pub(crate) fn create(&self, header: &[u8]) -> Result<SnapshotWriter> {
        SnapshotWriter::begin(self.shelf.draft()?, header)
    }

    /// Begins to take over a snapshot from another node of the cluster, byte for byte.
    pub(crate) fn receive(&self) -> Result<SnapshotReceiver> {
        Ok(SnapshotReceiver::new(self.shelf.draft()?))
    }
}

impl Shelf {
    pub(super) fn draft(self: &Arc<Self>) -> Result<Draft> {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let (temp, file): (_, Arc<dyn StoredFile>) = match &self.place {
            Place::Memory => (PathBuf::from(format!("snapshot {number} in memory")), Arc::new(MemoryFile::default())),
            Place::Dir { data_dir, dir } => {
                let temp = dir.join(format!("{number:016x}{TEMP_SUFFIX}"));
                let file = data_dir.files().create(&temp).map_err(|error| io_failed("create", &temp, error))?;
                (temp, file)
            }
        };
        Ok(Draft::new(self.clone(), temp, file))
    }

    /// Makes a whole, durable file the newest snapshot and removes the one before; false when the latter reaches further.
    pub(super) fn install(&self, temp: &Path, file: Arc<dyn StoredFile>) -> Result<(SnapshotFile, bool)> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let number = latest.as_ref().map_or(1, |latest| latest.number + 1);
        let snapshot = SnapshotFile::load(number, temp.to_owned(), file, self.identity)?;
        let mut snapshot = snapshot.reaching(self.reach)?;
        if latest.as_ref().is_some_and(|latest| latest.reached > snapshot.reached) {
            return Ok((snapshot, false));
        }
        if let Place::Dir { data_dir, dir } = &self.place {
            snapshot.path = dir.join(file_name(number));
            let named = data_dir.files().rename(temp, &snapshot.path).and_then(|()| data_dir.files().sync_dir(dir));
            named.map_err(|error| io_failed("name", &snapshot.path, error))?;
        }
        if let Some(old) = latest.replace(snapshot.clone()) {
            // The new one counts already; whatever is left of the old one goes at the next start.
            self.discard(&old.path);
        }
        Ok((snapshot, true))
    }

    /// Removes a file; if that cannot be done now, the next start does it.
    pub(super) fn discard(&self, path: &Path) {
        if let Place::Dir { data_dir, .. } = &self.place {
            data_dir.files().remove(path).ok();
        }
    }
}

fn file_name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

fn number_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (file_name(number) == name).then_some(number)
}
