//! Machine store: Raft's state machine on ours, with its snapshots.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, StreamExt};
use openraft::impls::leader_id_adv::LeaderId;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, Snapshot, SnapshotMeta};

use super::core::Core;
use super::entry::{put_position, put_stored_membership, read_position, read_stored_membership};
use super::types::{LogId, Outcomes, Peer, StoredMembership, Types};
use crate::encoding::wire::WireReader;
use crate::error::{ErrorKind, Result};
use crate::state_machine::{Applied, PinnedSnapshot, SnapshotHeader, StateMachine, load_snapshot};
use crate::storage::{SnapshotFile, SnapshotStore};

pub(super) type Meta = SnapshotMeta<LeaderId<u64, u64>, u64, Peer>;
pub(super) type SnapshotOf = Snapshot<LeaderId<u64, u64>, u64, Peer, SnapshotData>;

/// What a snapshot consists of: a file, or nothing but its position when nothing is kept on disk.
pub(super) enum SnapshotData {
    File(SnapshotFile),
    InMemory,
}

impl SnapshotData {
    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            SnapshotData::File(file) => file.bytes(),
            SnapshotData::InMemory => 0,
        }
    }

    /// Raw bytes for another node.
    pub(super) fn chunk(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>> {
        match self {
            SnapshotData::File(file) => file.chunk(offset, bytes_max),
            SnapshotData::InMemory => Err(ErrorKind::Internal.into()),
        }
    }

    /// A file that came from another node, with what it says of itself.
    pub(super) fn received(file: SnapshotFile) -> Result<SnapshotOf> {
        let reader = file.open()?;
        let (meta, _) = decode_header(reader.header())?;
        Ok(Snapshot { meta, snapshot: SnapshotData::File(file) })
    }
}

pub(super) struct MachineStore {
    machine: StateMachine,
    /// `None` when nothing is kept on disk.
    snapshots: Option<SnapshotStore>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    core: Arc<Core>,
    /// How many outcomes the last entry had, as a guess for the next one.
    capacity: usize,
}

impl MachineStore {
    pub(super) fn new(core: Arc<Core>, snapshots: Option<SnapshotStore>) -> MachineStore {
        let (machine, membership) = (core.machine.clone(), StoredMembership::default());
        MachineStore { machine, snapshots, last_applied: None, membership, core, capacity: 1 }
    }

    fn meta(&self) -> Meta {
        SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() }
    }
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let began = Instant::now();
            let mut commands = 0;
            let mut outcomes = Vec::new();
            let mut applied = Applied::Done;
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(batch) => {
                    if responder.is_some() {
                        outcomes.reserve(self.capacity);
                    }
                    let wanted = responder.is_some();
                    let machine = &self.machine;
                    applied = machine
                        .apply(&batch.payload, |outcome| {
                            commands += 1;
                            if wanted {
                                outcomes.push(outcome);
                            }
                        })
                        .map_err(io::Error::other)?;
                    self.capacity = outcomes.len().max(1);
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            self.core.metrics.applied(commands, began);
            self.last_applied = Some(entry.log_id);
            // Before the answer leaves: a read that begins after it must wait for this entry.
            self.core.applied.advance_to(entry.log_id.index + 1);
            if let Some(responder) = responder {
                responder.send(Outcomes { applied, outcomes });
            }
        }
        self.core.applied.notify();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            meta: self.meta(),
            content: Some(self.machine.pin_snapshot()),
            snapshots: self.snapshots.clone(),
            core: self.core.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: SnapshotData) -> io::Result<()> {
        let SnapshotData::File(file) = snapshot else {
            return Err(io::Error::other("a snapshot from another node comes as a file"));
        };
        let (machine, bytes) = (self.machine.clone(), file.bytes());
        let load = move || {
            let mut reader = file.open()?;
            let (_, header) = decode_header(reader.header())?;
            load_snapshot(&machine, header, || reader.next_block())
        };
        self.core.blocking(load).await?.map_err(io::Error::other)?;
        self.core.metrics.snapshot_installed(bytes);
        let upto = meta.last_log_id.map_or(0, |log_id| log_id.index);
        tracing::info!(node = self.core.node_id, bytes, upto, "took over a snapshot from another member");
        self.membership = meta.last_membership.clone();
        self.last_applied = meta.last_log_id;
        self.core.applied.advance_to(meta.last_log_id.map_or(0, |log_id| log_id.index + 1));
        self.core.applied.notify();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        let Some(snapshots) = &self.snapshots else {
            let snapshot = |_| Snapshot { meta: self.meta(), snapshot: SnapshotData::InMemory };
            return Ok(self.last_applied.map(snapshot));
        };
        snapshots.latest().map(SnapshotData::received).transpose().map_err(io::Error::other)
    }
}

/// Writes one snapshot, on a thread of its own, while the state machine goes on.
pub(super) struct SnapshotBuilder {
    meta: Meta,
    content: Option<PinnedSnapshot>,
    snapshots: Option<SnapshotStore>,
    core: Arc<Core>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let Some(content) = self.content.take() else {
            return Err(io::Error::other("a snapshot builder builds once"));
        };
        let meta = self.meta.clone();
        let Some(snapshots) = self.snapshots.clone() else {
            return Ok(Snapshot { meta, snapshot: SnapshotData::InMemory });
        };
        let header = encode_header(&meta, content.header());
        let core = self.core.clone();
        let write = move || {
            let _building = core.snapshot_activity.building();
            write_until_there_is_room(&snapshots, &header, &content, &core)
        };
        let file = self.core.blocking(write).await?;
        let file = file.map_err(io::Error::other)?;
        self.core.metrics.snapshot_created(file.bytes());
        let upto = meta.last_log_id.map_or(0, |log_id| log_id.index);
        tracing::info!(node = self.core.node_id, bytes = file.bytes(), upto, "wrote a snapshot");
        Ok(Snapshot { meta, snapshot: SnapshotData::File(file) })
    }
}

/// A full disk is no reason to stop the node: reads go on, and the snapshot is tried again.
fn write_until_there_is_room(
    snapshots: &SnapshotStore,
    header: &[u8],
    content: &PinnedSnapshot,
    core: &Core,
) -> Result<SnapshotFile> {
    loop {
        let written = snapshots.create(header).and_then(|mut writer| {
            content.write(|block| match core.is_closed() {
                true => Err(ErrorKind::Closed.into()),
                false => writer.write_block(block),
            })?;
            writer.finish()
        });
        match written {
            Err(error) if crate::storage::is_disk_full(&error) && !core.is_closed() => {
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            written => return written,
        }
    }
}

pub(super) fn encode_header(meta: &Meta, header: &SnapshotHeader) -> Vec<u8> {
    let mut out = Vec::new();
    put_position(&mut out, meta.last_log_id.as_ref());
    put_stored_membership(&mut out, &meta.last_membership);
    header.encode(&mut out);
    out
}

/// How far the snapshot with this header reaches.
pub(super) fn snapshot_reach(header: &[u8]) -> Result<u64> {
    let (meta, _) = decode_header(header)?;
    Ok(meta.last_log_id.map_or(0, |last| last.index))
}

pub(super) fn decode_header(bytes: &[u8]) -> Result<(Meta, SnapshotHeader)> {
    let mut reader = WireReader::new(bytes);
    let last_log_id = read_position(&mut reader)?;
    let last_membership = read_stored_membership(&mut reader)?;
    let header = SnapshotHeader::decode(&mut reader)?;
    reader.finish()?;
    Ok((SnapshotMeta { last_log_id, last_membership }, header))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use openraft::StorageError;
    use openraft::testing::log::{StoreBuilder, Suite};
    use tempfile::TempDir;
    use tokio::runtime::Handle;

    use super::*;
    use crate::raft::core::{CoreParts, Time};
    use crate::raft::log_store::LogStore;
    use crate::raft::reads::{Lease, SystemLeaseClock};
    use crate::storage::{DataDir, Identity, Log, LogOptions, RealFiles};

    const ELECTION_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(200);
    const OWNER: Identity = Identity { cluster_id: 1, node_id: 1 };

    #[derive(Default)]
    struct Standing(AtomicU64);

    impl Time for Standing {
        fn now_ms(&self) -> u64 {
            self.0.load(std::sync::atomic::Ordering::Relaxed)
        }

        fn advance_to(&self, time_ms: u64) {
            self.0.fetch_max(time_ms, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn machine_store(snapshots: SnapshotStore) -> MachineStore {
        let core = Core::new(CoreParts {
            node_id: OWNER.node_id,
            name: None,
            machine: StateMachine::new(),
            lease: Arc::new(Lease::new(Arc::new(SystemLeaseClock), ELECTION_TIMEOUT)),
            time: Arc::new(Standing::default()),
            metrics: Arc::default(),
            peers: None,
            election_timeout: ELECTION_TIMEOUT,
            runtime: Handle::current(),
            has_threads: true,
            counts_unanswered: false,
        });
        MachineStore::new(core, Some(snapshots))
    }

    /// Ends the log before its directory goes.
    struct Stores {
        log: Log,
        _dir: Option<TempDir>,
    }

    impl Drop for Stores {
        fn drop(&mut self) {
            self.log.close();
        }
    }

    /// What is installed comes in pieces, as the server takes it from another node.
    struct Follower(MachineStore);

    impl RaftStateMachine<Types> for Follower {
        type SnapshotData = SnapshotData;
        type SnapshotBuilder = SnapshotBuilder;

        async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
            self.0.applied_state().await
        }

        async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
        where
            Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
        {
            self.0.apply(entries).await
        }

        async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
            self.0.get_snapshot_builder().await
        }

        async fn install_snapshot(&mut self, meta: &Meta, snapshot: SnapshotData) -> io::Result<()> {
            let mut receiver = self.0.snapshots.as_ref().unwrap().receive().unwrap();
            let mut offset = 0;
            while offset < snapshot.bytes() {
                let piece = snapshot.chunk(offset, 100).unwrap();
                receiver.write(offset, &piece).unwrap();
                offset += piece.len() as u64;
            }
            let received = SnapshotData::received(receiver.finish().unwrap()).unwrap();
            assert_eq!(received.meta, *meta);
            self.0.install_snapshot(meta, received.snapshot).await
        }

        async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
            self.0.get_current_snapshot().await
        }
    }

    struct Builder {
        is_on_disk: bool,
    }

    impl StoreBuilder<Types, LogStore, Follower, Stores> for Builder {
        async fn build(&self) -> std::result::Result<(Stores, LogStore, Follower), StorageError<Types>> {
            let (log, snapshots, dir) = if self.is_on_disk {
                let dir = tempfile::tempdir().unwrap();
                let data_dir = DataDir::open(&dir.path().join("node"), Arc::new(RealFiles), || OWNER).unwrap();
                let log =
                    Log::open(&data_dir, LogOptions { segment_bytes: 64 * 1024, ..LogOptions::default() }).unwrap();
                (log, SnapshotStore::open(&data_dir, snapshot_reach).unwrap(), Some(dir))
            } else {
                (Log::in_memory(), SnapshotStore::in_memory(OWNER, snapshot_reach), None)
            };
            let stores = Stores { log: log.clone(), _dir: dir };
            Ok((stores, LogStore::new(log), Follower(machine_store(snapshots))))
        }
    }

    /// The Raft library's own suite: what it expects of a log and a state machine holds, on real files and in memory.
    #[tokio::test]
    async fn the_stores_pass_the_librarys_own_suite_on_disk() {
        Suite::test_all(Builder { is_on_disk: true }).await.unwrap();
    }

    #[tokio::test]
    async fn the_stores_pass_the_librarys_own_suite_in_memory() {
        Suite::test_all(Builder { is_on_disk: false }).await.unwrap();
    }
}
