//! Recovery: what one member still has becomes a cluster of one, after the majority was lost for good.
//!
//! The snapshot and every entry of the log are applied, also entries of which nobody knows any more whether they were
//! acknowledged. The outcome is written as one snapshot whose only member is this node, under a new cluster id, so that no
//! member of the old cluster is ever taken for one of the new.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use openraft::{EntryPayload, SnapshotMeta};

use super::entry::{from_stored, log_id_of, position_of};
use super::identity::new_identity;
use super::machine_store::{Meta, decode_header, encode_header, snapshot_reach};
use super::status::{Member, MemberRole};
use super::types::{LogId, Membership, Peer, StoredMembership};
use crate::error::{Error, ErrorKind, Result};
use crate::state_machine::{StateMachine, load_snapshot};
use crate::storage::{
    Ballot, DataDir, Done, Files, Identity, Log, LogOptions, RealFiles, Replacement, SnapshotFile, SnapshotStore,
};

/// Most bytes of entries that one read of the log hands out.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a member's directory holds, before it is made a cluster of its own.
///
/// What it does not hold is lost: writes that the others acknowledged without this member. So the one to recover, of
/// those that are left, is the one with the highest `last_term`, and among these the highest `last_index`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recoverable {
    /// The cluster that is given up.
    pub cluster_id: u128,
    /// This member; it keeps its id.
    pub node_id: u64,
    /// What it was in that cluster; `None` when it had been removed.
    pub role: Option<MemberRole>,
    /// The other members, all given up. What they have beyond `last_index` is lost; their directories must not be used again.
    pub others: Vec<Member>,
    /// Term of the last entry.
    pub last_term: u64,
    /// Index of the last entry.
    pub last_index: u64,
    /// Index of the last entry of which this member knows that it was committed.
    pub commit_index: u64,
    /// Index of the last entry in the snapshot, 0 without one.
    pub snapshot_index: u64,
    /// How many records there are with all entries applied.
    pub records: u64,
    /// Revision of the last change.
    pub revision: u64,
    /// A torn write at the end of the log that was removed; nothing of it had been acknowledged by this member.
    pub repaired: Option<String>,
}

impl Recoverable {
    /// Entries of which this member does not know whether they were acknowledged. They are kept.
    pub fn uncertain(&self) -> u64 {
        self.last_index.saturating_sub(self.commit_index)
    }
}

/// What a recovery has made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The new cluster.
    pub cluster_id: u128,
    /// Its only member.
    pub node_id: u64,
    /// Where the old directory lies now. `None` when only the end of an interrupted recovery was left to do.
    pub kept: Option<PathBuf>,
}

/// Makes the member whose directory this is a cluster of its own, if `agree` says so of what there is. `time` names what is
/// kept of the old directory.
pub(crate) fn recover(path: &Path, time: &str, agree: impl FnOnce(&Recoverable) -> Result<()>) -> Result<Recovered> {
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    if Replacement::complete(path, &files)? {
        let Identity { cluster_id, node_id } = DataDir::open_existing(path, files)?.identity();
        return Ok(Recovered { cluster_id, node_id, kept: None });
    }
    let dir = DataDir::open_existing(path, files)?;
    let remains = Remains::read(&dir)?;
    agree(&remains.found)?;
    let identity = Identity { cluster_id: new_identity()?.cluster_id, ..dir.identity() };
    let replacement = Replacement::begin(dir, identity)?;
    remains.write(replacement.fresh(), identity)?;
    let kept = replacement.swap(time)?;
    Ok(Recovered { cluster_id: identity.cluster_id, node_id: identity.node_id, kept: Some(kept) })
}

/// What is left of a cluster in the directory of one member.
struct Remains {
    found: Recoverable,
    machine: StateMachine,
    last: LogId,
    term: u64,
    /// Where this node is reached, and its name.
    peer: Peer,
}

impl Remains {
    fn read(dir: &DataDir) -> Result<Remains> {
        let Identity { cluster_id, node_id } = dir.identity();
        if cluster_id == 0 {
            return Err(refused(dir, "belongs to no cluster yet, so there is nothing to recover; start the node"));
        }
        let mut state = Replayed { machine: StateMachine::new(), last: None, membership: StoredMembership::default() };
        let snapshot = SnapshotStore::open(dir, snapshot_reach)?.latest();
        if let Some(file) = &snapshot {
            state.load(file)?;
        }
        let snapshot_index = state.last.map_or(0, |last| last.index);
        let log = Log::open(dir, LogOptions::default())?;
        let replayed = state.replay(&log);
        log.close();
        replayed?;
        let Replayed { machine, last, membership } = state;
        let Some(last) = last else {
            return Err(refused(dir, "holds no entries, so there is nothing to recover; start the node"));
        };
        let voters: Vec<u64> = membership.voter_ids().collect();
        if voters == [node_id] {
            let message =
                "is the only voter of its cluster, so nothing is lost and there is nothing to recover; start the node";
            return Err(refused(dir, message));
        }
        let mut others = members_of(&membership, &voters);
        let own = others.iter().position(|member| member.node_id == node_id).map(|at| others.remove(at));
        let committed = log.committed().map_or(0, |position| position.index);
        let found = Recoverable {
            cluster_id,
            node_id,
            role: own.map(|member| member.role),
            others,
            last_term: last.leader_id.term,
            last_index: last.index,
            commit_index: committed.max(snapshot_index).min(last.index),
            snapshot_index,
            records: machine.len(),
            revision: machine.revision(),
            repaired: log.recovery().repaired.clone(),
        };
        let term = log.ballot().map_or(0, |ballot| ballot.term).max(last.leader_id.term);
        let peer = membership.membership().get_node(&node_id).cloned().unwrap_or_default();
        Ok(Remains { found, machine, last, term, peer })
    }

    /// Writes all of it into a new directory, durably.
    fn write(&self, fresh: &DataDir, identity: Identity) -> Result<()> {
        let voters = BTreeSet::from([identity.node_id]);
        let nodes = BTreeMap::from([(identity.node_id, Peer { promote: true, ..self.peer.clone() })]);
        let membership =
            Membership::new(vec![voters], nodes).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let last_membership = StoredMembership::new(Some(self.last), membership);
        let meta: Meta = SnapshotMeta { last_log_id: Some(self.last), last_membership };
        let content = self.machine.pin_snapshot();
        let mut writer = SnapshotStore::open(fresh, snapshot_reach)?.create(&encode_header(&meta, content.header()))?;
        content.write(|block| writer.write_block(block))?;
        writer.finish()?;
        let log = Log::open(fresh, LogOptions::default())?;
        // A term that nobody has voted in: this node votes for nobody else in one that it has forgotten.
        let ballot = Ballot { term: self.term + 1, node: identity.node_id, committed: false };
        let written = completed(|done| log.purge(position_of(&self.last), done))
            .and_then(|()| completed(|done| log.save_ballot(ballot, done)));
        log.close();
        written.map_err(|error| {
            let message = format!("cannot write the new log in {}: {error}", fresh.path().display());
            Error::new(ErrorKind::Io, message).with_source(error)
        })
    }
}

/// The state that grows while the log is read.
struct Replayed {
    machine: StateMachine,
    last: Option<LogId>,
    membership: StoredMembership,
}

impl Replayed {
    fn load(&mut self, file: &SnapshotFile) -> Result<()> {
        let mut reader = file.open()?;
        let (meta, header) = decode_header(reader.header())?;
        load_snapshot(&self.machine, header, || reader.next_block())?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership;
        Ok(())
    }

    /// Applies what the log has beyond the snapshot.
    fn replay(&mut self, log: &Log) -> Result<()> {
        let unreadable = |error: io::Error| Error::new(ErrorKind::Corrupt, error.to_string()).with_source(error);
        let end = log.last().map_or(0, |last| last.index + 1);
        let mut next = self.last.map_or(0, |last| last.index + 1);
        let purged_to = log.purged().map_or(0, |purged| purged.index + 1);
        if purged_to > next {
            let message = format!("the entries {next} to {} are neither in the log nor in a snapshot", purged_to - 1);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        while next < end {
            let entries = log.read(next..end, READ_BYTES_MAX).map_err(unreadable)?;
            if entries.first().is_none_or(|entry| entry.position.index != next) {
                return Err(Error::new(ErrorKind::Corrupt, format!("entry {next} is missing from the log")));
            }
            for entry in entries {
                let log_id = log_id_of(entry.position);
                match from_stored(entry).map_err(unreadable)?.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(batch) => {
                        self.machine.apply(&batch.payload, drop)?;
                    }
                    EntryPayload::Membership(membership) => {
                        self.membership = StoredMembership::new(Some(log_id), membership);
                    }
                }
                self.last = Some(log_id);
                next = log_id.index + 1;
            }
        }
        Ok(())
    }
}

fn members_of(membership: &StoredMembership, voters: &[u64]) -> Vec<Member> {
    let member = |(node_id, peer): (&u64, &Peer)| Member {
        node_id: *node_id,
        address: peer.address.clone(),
        name: peer.name.clone(),
        role: if voters.contains(node_id) { MemberRole::Voter } else { MemberRole::Learner },
        is_leader: false,
        matched_index: None,
        lag: None,
        last_contact_ms: None,
    };
    membership.membership().nodes().map(member).collect()
}

fn refused(dir: &DataDir, why: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("{} {why}", dir.path().display()))
}

/// Blocks until a change of the log is durable.
fn completed(start: impl FnOnce(Done)) -> io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(1);
    start(Box::new(move |result| drop(sender.send(result))));
    receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the log was closed")))
}
