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
/// Members with addresses only, of the first release; read for ever, written no more.
const MEMBERSHIP_V1: u8 = 2;
/// Members with names.
const MEMBERSHIP: u8 = 3;

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
        EntryPayload::Normal(Batch { payload, .. }) => LogEntry { position, kind: COMMANDS, payload },
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
        COMMANDS => EntryPayload::Normal(Batch { payload: entry.payload, is_alone: false }),
        MEMBERSHIP_V1 | MEMBERSHIP => {
            let mut reader = WireReader::new(&entry.payload);
            let membership = read_membership(&mut reader, entry.kind == MEMBERSHIP).map_err(io::Error::other)?;
            EntryPayload::Membership(membership)
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
        put_bytes(out, peer.name.as_bytes());
        out.push(u8::from(peer.promote));
    }
}

fn read_membership(reader: &mut WireReader<'_>, has_names: bool) -> Result<Membership> {
    let mut configs = Vec::new();
    for _ in 0..reader.count()? {
        let voters = reader.count()?;
        configs.push((0..voters).map(|_| reader.varint()).collect::<Result<BTreeSet<u64>>>()?);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count()? {
        let id = reader.varint()?;
        let address = reader.text()?;
        let (name, promote) = if has_names { (reader.text()?, reader.u8()? == 1) } else { (address.clone(), true) };
        nodes.insert(id, Peer { address, name, promote });
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

/// Stands before a membership with names; one of the first release begins with its position, 0 or 1.
const STORED_MEMBERSHIP_V2: u8 = 2;

pub(super) fn put_stored_membership(out: &mut Vec<u8>, membership: &StoredMembership) {
    out.push(STORED_MEMBERSHIP_V2);
    put_position(out, membership.log_id().as_ref());
    put_membership(out, membership.membership());
}

pub(super) fn read_stored_membership(reader: &mut WireReader<'_>) -> Result<StoredMembership> {
    let has_names = reader.peek() == Some(STORED_MEMBERSHIP_V2);
    if has_names {
        reader.u8()?;
    }
    let log_id = read_position(reader)?;
    Ok(StoredMembership::new(log_id, read_membership(reader, has_names)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let peers = [(1, "a:1"), (2, "b:2"), (300, "c:3")];
        let peer = |address: &str| Peer { address: address.to_owned(), name: address.to_owned(), promote: true };
        let nodes: BTreeMap<u64, Peer> = peers.map(|(id, address)| (id, peer(address))).into();
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 300])], nodes).unwrap()
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_went() {
        let log_id = log_id_of(LogPosition { term: 3, node: 2, index: 7 });
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Batch { payload: Payload::from(vec![1, 2, 3]), is_alone: true }),
            EntryPayload::Membership(membership()),
        ];
        for payload in payloads {
            let back = from_stored(to_stored(Entry { log_id, payload: payload.clone() })).unwrap();
            assert_eq!(back.log_id, log_id);
            match (back.payload, payload) {
                (EntryPayload::Blank, EntryPayload::Blank) => {}
                (EntryPayload::Normal(back), EntryPayload::Normal(went)) => assert_eq!(back.payload, went.payload),
                (EntryPayload::Membership(back), EntryPayload::Membership(went)) => assert_eq!(back, went),
                (back, went) => panic!("{went} came back as {back}"),
            }
        }
    }

    #[test]
    fn a_membership_of_a_released_version_is_read_for_ever() {
        let first = b"\x00\x02\x02\x01\x02\x02\x02\xac\x02\x03\x01\x03a:1\x02\x03b:2\xac\x02\x03c:3";
        let back = read_stored_membership(&mut WireReader::new(first)).unwrap();
        assert_eq!(back.membership(), &membership());

        let mut out = Vec::new();
        put_stored_membership(&mut out, &StoredMembership::new(None, membership()));
        let golden = b"\x02\x00\x02\x02\x01\x02\x02\x02\xac\x02\x03\x01\x03a:1\x03a:1\x01\x02\x03b:2\x03b:2\x01\xac\x02\x03c:3\x03c:3\x01";
        assert_eq!(out, golden);
        let back = read_stored_membership(&mut WireReader::new(golden)).unwrap();
        assert_eq!(back.membership(), &membership());
    }

    #[test]
    fn a_damaged_membership_is_an_error() {
        let mut golden = Vec::new();
        put_stored_membership(&mut golden, &StoredMembership::new(None, membership()));
        for at in 0..golden.len() {
            assert!(read_stored_membership(&mut WireReader::new(&golden[..at])).is_err(), "cut at {at}");
            for change in 1..=255u8 {
                let mut damaged = golden.clone();
                damaged[at] ^= change;
                let _ = read_stored_membership(&mut WireReader::new(&damaged));
            }
        }
    }
}
