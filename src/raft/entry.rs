//! Entry: Raft's log entries, positions, ballots and memberships as what storage keeps, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::EntryPayload;
use openraft::impls::leader_id_adv::LeaderId;

use super::types::{Batch, LogId, Membership, Peer, StoredMembership, Types};
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::storage::{Ballot, LogEntry, LogPosition, Payload};

pub(super) type Entry = <Types as openraft::RaftTypeConfig>::Entry;
pub(super) type Vote = <Types as openraft::RaftTypeConfig>::Vote;

const BLANK: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(super) fn position_of(log_id: &LogId) -> LogPosition {
    LogPosition { term: log_id.leader_id.term, node: log_id.leader_id.node_id, index: log_id.index }
}

pub(super) fn log_id_of(position: LogPosition) -> LogId {
    LogId::new(LeaderId { term: position.term, node_id: position.node }, position.index)
}

pub(super) fn ballot_of(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub(super) fn vote_of(ballot: Ballot) -> Vote {
    Vote { leader_id: LeaderId { term: ballot.term, node_id: ballot.node }, committed: ballot.committed }
}

pub(super) fn to_stored(entry: Entry) -> LogEntry {
    let position = position_of(&entry.log_id);
    match entry.payload {
        EntryPayload::Blank => LogEntry { position, kind: BLANK, payload: Payload::from(Vec::new()) },
        EntryPayload::Normal(Batch(payload)) => LogEntry { position, kind: COMMANDS, payload },
        EntryPayload::Membership(membership) => {
            let mut out = Vec::new();
            put_membership(&mut out, &membership);
            LogEntry { position, kind: MEMBERSHIP, payload: Payload::from(out) }
        }
    }
}

pub(super) fn from_stored(entry: LogEntry) -> io::Result<Entry> {
    let payload = match entry.kind {
        BLANK => EntryPayload::Blank,
        COMMANDS => EntryPayload::Normal(Batch(entry.payload)),
        MEMBERSHIP => {
            let mut reader = WireReader::new(&entry.payload);
            EntryPayload::Membership(read_membership(&mut reader).map_err(io::Error::other)?)
        }
        other => return Err(io::Error::other(damaged(&format!("log entry of unknown kind {other}")))),
    };
    Ok(Entry { log_id: log_id_of(entry.position), payload })
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_varint(out, configs.len() as u64);
    for config in configs {
        put_varint(out, config.len() as u64);
        config.iter().for_each(|id| put_varint(out, *id));
    }
    let nodes: Vec<_> = membership.nodes().collect();
    put_varint(out, nodes.len() as u64);
    for (id, peer) in nodes {
        put_varint(out, *id);
        put_bytes(out, peer.address.as_bytes());
    }
}

fn read_membership(reader: &mut WireReader<'_>) -> Result<Membership> {
    let mut configs = Vec::new();
    for _ in 0..reader.count()? {
        let voters = reader.count()?;
        configs.push((0..voters).map(|_| reader.varint()).collect::<Result<BTreeSet<u64>>>()?);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count()? {
        let id = reader.varint()?;
        let address = String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| damaged("an address that is no text"))?;
        nodes.insert(id, Peer { address });
    }
    Membership::new(configs, nodes).map_err(|error| damaged(&error.to_string()))
}

pub(super) fn put_position(out: &mut Vec<u8>, log_id: Option<&LogId>) {
    match log_id.map(position_of) {
        None => out.push(0),
        Some(position) => {
            out.push(1);
            put_varint(out, position.term);
            put_varint(out, position.node);
            put_varint(out, position.index);
        }
    }
}

pub(super) fn read_position(reader: &mut WireReader<'_>) -> Result<Option<LogId>> {
    match reader.u8()? {
        0 => Ok(None),
        1 => {
            Ok(Some(log_id_of(LogPosition { term: reader.varint()?, node: reader.varint()?, index: reader.varint()? })))
        }
        _ => Err(damaged("a log position that is neither there nor absent")),
    }
}

pub(super) fn put_stored_membership(out: &mut Vec<u8>, membership: &StoredMembership) {
    put_position(out, membership.log_id().as_ref());
    put_membership(out, membership.membership());
}

pub(super) fn read_stored_membership(reader: &mut WireReader<'_>) -> Result<StoredMembership> {
    let log_id = read_position(reader)?;
    Ok(StoredMembership::new(log_id, read_membership(reader)?))
}
