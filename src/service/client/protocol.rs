//! Protocol: what clients and members say to each other about records, as bytes.

use std::borrow::Cow;
use std::ops::Bound;

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::limits;
use crate::model::{Consistency, RecordView, Scopes, TokenId};
use crate::raft::{Member, MemberRole, NodeState, RaftStatus, SnapshotState};
use crate::service::{Status, TokenInfo};

/// What a frame from a client is about. Numbers are never given to another meaning.
pub(super) mod method {
    /// Records of some keys.
    pub(in crate::service) const READ: u16 = 100;
    /// A point in time, for several questions.
    pub(in crate::service) const OPEN_VIEW: u16 = 101;
    /// Records of some keys at that point.
    pub(in crate::service) const VIEW_READ: u16 = 102;
    /// A page of the records of a range at that point.
    pub(in crate::service) const VIEW_SCAN: u16 = 103;
    pub(in crate::service) const CLOSE_VIEW: u16 = 104;
    pub(in crate::service) const STATUS: u16 = 105;
    /// One token or all.
    pub(in crate::service) const TOKENS: u16 = 106;
    /// A piece of what a selector picks at that point.
    pub(in crate::service) const VIEW_SELECT: u16 = 107;
    /// What has changed since, held until there is something.
    pub(in crate::service) const WATCH: u16 = 108;
    /// One named watcher or all.
    pub(in crate::service) const CONSUMERS: u16 = 109;
    /// A page of the keys of an index.
    pub(in crate::service) const INDEX_PAGE: u16 = 110;
    /// All indexes.
    pub(in crate::service) const INDEXES: u16 = 111;
}

/// Asks for records, or for a view when there are no keys.
#[derive(Debug, PartialEq)]
pub(super) struct ReadRequest<'a> {
    pub(super) level: Consistency,
    pub(super) timeout_ms: u64,
    pub(super) keys: Vec<&'a [u8]>,
}

impl<'a> ReadRequest<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![match self.level {
            Consistency::Eventual => 0,
            Consistency::Leader => 1,
            Consistency::Strong => 2,
        }];
        put_varint(&mut out, self.timeout_ms);
        put_keys(&mut out, &self.keys);
        out
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<ReadRequest<'a>> {
        let mut reader = WireReader::new(bytes);
        let level = match reader.u8()? {
            0 => Consistency::Eventual,
            1 => Consistency::Leader,
            2 => Consistency::Strong,
            _ => return Err(damaged("an unknown level of a read")),
        };
        let request = ReadRequest { level, timeout_ms: reader.varint()?, keys: read_keys(&mut reader)? };
        reader.finish()?;
        Ok(request)
    }
}

fn put_keys(out: &mut Vec<u8>, keys: &[&[u8]]) {
    put_varint(out, keys.len() as u64);
    keys.iter().for_each(|key| put_bytes(out, key));
}

fn read_keys<'a>(reader: &mut WireReader<'a>) -> Result<Vec<&'a [u8]>> {
    let count = reader.count()?;
    if count > limits::BATCH_OPS_MAX {
        return Err(damaged("too many keys in one question"));
    }
    (0..count).map(|_| reader.bytes()).collect()
}

/// A question about a view that was opened before.
#[derive(Debug, PartialEq)]
pub(super) struct ViewRequest<'a> {
    pub(super) view: u64,
    pub(super) keys: Vec<&'a [u8]>,
}

impl<'a> ViewRequest<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.view);
        put_keys(&mut out, &self.keys);
        out
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<ViewRequest<'a>> {
        let mut reader = WireReader::new(bytes);
        let request = ViewRequest { view: reader.varint()?, keys: read_keys(&mut reader)? };
        reader.finish()?;
        Ok(request)
    }
}

/// Asks for the next page of a range of a view.
#[derive(Debug, PartialEq)]
pub(super) struct ScanRequest<'a> {
    pub(super) view: u64,
    pub(super) from: Bound<&'a [u8]>,
    pub(super) to: Bound<&'a [u8]>,
}

impl<'a> ScanRequest<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.view);
        for bound in [self.from, self.to] {
            match bound {
                Bound::Unbounded => out.push(0),
                Bound::Included(key) => {
                    out.push(1);
                    put_bytes(&mut out, key);
                }
                Bound::Excluded(key) => {
                    out.push(2);
                    put_bytes(&mut out, key);
                }
            }
        }
        out
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<ScanRequest<'a>> {
        let mut reader = WireReader::new(bytes);
        let view = reader.varint()?;
        let mut bound = || match reader.u8()? {
            0 => Ok(Bound::Unbounded),
            1 => Ok(Bound::Included(reader.bytes()?)),
            2 => Ok(Bound::Excluded(reader.bytes()?)),
            _ => Err(damaged("an unknown bound of a range")),
        };
        let request = ScanRequest { view, from: bound()?, to: bound()? };
        reader.finish()?;
        Ok(request)
    }
}

/// A view that a member keeps for a client.
pub(super) fn encode_opened(view: u64, revision: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, view);
    put_varint(&mut out, revision);
    out
}

pub(super) fn decode_opened(bytes: &[u8]) -> Result<(u64, u64)> {
    let mut reader = WireReader::new(bytes);
    Ok((reader.varint()?, reader.varint()?))
}

pub(super) fn put_record(out: &mut Vec<u8>, record: Option<&RecordView<'_>>) {
    let Some(record) = record else { return out.push(0) };
    out.push(1);
    put_varint(out, record.revision);
    // A lifetime is at least 1.
    put_varint(out, record.ttl_ms.unwrap_or(0));
    put_bytes(out, &record.value);
}

pub(super) fn read_record<'a>(reader: &mut WireReader<'a>) -> Result<Option<RecordView<'a>>> {
    match reader.u8()? {
        0 => Ok(None),
        1 => {
            let revision = reader.varint()?;
            let ttl_ms = Some(reader.varint()?).filter(|ttl_ms| *ttl_ms > 0);
            Ok(Some(RecordView { value: Cow::Borrowed(reader.bytes()?), revision, ttl_ms }))
        }
        _ => Err(damaged("a record that is neither there nor missing")),
    }
}

/// Records one after the other, as `put_record` wrote them.
pub(super) fn decode_records(bytes: &[u8]) -> Result<Vec<Option<RecordView<'_>>>> {
    let mut reader = WireReader::new(bytes);
    let mut records = Vec::new();
    while !reader.is_empty() {
        records.push(read_record(&mut reader)?);
    }
    Ok(records)
}

/// A page of a scan.
pub(super) struct Page<'a> {
    pub(super) is_last: bool,
    pub(super) records: Vec<(&'a [u8], RecordView<'a>)>,
}

/// A page: whether it is the last one, then keys with their records.
pub(super) fn decode_page(bytes: &[u8]) -> Result<Page<'_>> {
    let mut reader = WireReader::new(bytes);
    let is_last = reader.u8()? == 1;
    let mut records = Vec::new();
    while !reader.is_empty() {
        let key = reader.bytes()?;
        let record = read_record(&mut reader)?.ok_or_else(|| damaged("a record of a page is missing"))?;
        records.push((key, record));
    }
    Ok(Page { is_last, records })
}

const NODE_STATES: [NodeState; 6] = [
    NodeState::Joining,
    NodeState::Learner,
    NodeState::Follower,
    NodeState::Candidate,
    NodeState::Leader,
    NodeState::Shutdown,
];
const SNAPSHOT_STATES: [SnapshotState; 4] =
    [SnapshotState::Idle, SnapshotState::Building, SnapshotState::Receiving, SnapshotState::Sending];

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|other| other == one).unwrap_or(0) as u8
}

fn pick<T: Copy>(all: &[T], place: u8) -> Result<T> {
    all.get(usize::from(place)).copied().ok_or_else(|| damaged("an unknown state"))
}

pub(super) fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        None => out.push(0),
        Some(number) => {
            out.push(1);
            put_varint(out, number);
        }
    }
}

pub(super) fn read_option(reader: &mut WireReader<'_>) -> Result<Option<u64>> {
    Ok(if reader.u8()? == 1 { Some(reader.varint()?) } else { None })
}

fn put_text(out: &mut Vec<u8>, text: Option<&String>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(out, text.as_bytes());
    }
}

fn read_text(reader: &mut WireReader<'_>) -> Result<Option<String>> {
    Ok(if reader.u8()? == 1 { Some(reader.text()?) } else { None })
}

pub(super) fn encode_status(status: &Status) -> Vec<u8> {
    let (mut out, raft) = (Vec::new(), &status.raft);
    out.extend_from_slice(&status.cluster_id.to_le_bytes());
    put_varint(&mut out, raft.node_id);
    put_bytes(&mut out, raft.name.as_bytes());
    put_bytes(&mut out, raft.address.as_bytes());
    out.push(place(&NODE_STATES, &raft.state));
    put_option(&mut out, raft.leader);
    for number in [raft.term, raft.commit_index, raft.last_applied, raft.snapshot_index] {
        put_varint(&mut out, number);
    }
    out.push(place(&SNAPSHOT_STATES, &raft.snapshot_state));
    out.push(u8::from(raft.is_ready));
    for number in [status.size, status.memory_bytes, status.revision, status.log_bytes] {
        put_varint(&mut out, number);
    }
    put_text(&mut out, status.repaired.as_ref());
    put_text(&mut out, status.failure.as_ref());
    put_varint(&mut out, raft.members.len() as u64);
    for member in &raft.members {
        put_varint(&mut out, member.node_id);
        put_bytes(&mut out, member.address.as_bytes());
        put_bytes(&mut out, member.name.as_bytes());
        out.push(u8::from(member.role == MemberRole::Voter) | u8::from(member.is_leader) << 1);
        for number in [member.matched_index, member.lag, member.last_contact_ms] {
            put_option(&mut out, number);
        }
    }
    out
}

pub(super) fn decode_status(bytes: &[u8]) -> Result<Status> {
    let mut reader = WireReader::new(bytes);
    let cluster_id = reader.u128_le()?;
    let mut raft = RaftStatus {
        node_id: reader.varint()?,
        name: reader.text()?,
        address: reader.text()?,
        state: pick(&NODE_STATES, reader.u8()?)?,
        leader: read_option(&mut reader)?,
        term: reader.varint()?,
        commit_index: reader.varint()?,
        last_applied: reader.varint()?,
        snapshot_index: reader.varint()?,
        snapshot_state: pick(&SNAPSHOT_STATES, reader.u8()?)?,
        is_ready: reader.u8()? == 1,
        members: Vec::new(),
    };
    let [size, memory_bytes, revision, log_bytes] =
        [reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?];
    let (repaired, failure) = (read_text(&mut reader)?, read_text(&mut reader)?);
    for _ in 0..reader.count()? {
        let (node_id, address, name) = (reader.varint()?, reader.text()?, reader.text()?);
        let flags = reader.u8()?;
        raft.members.push(Member {
            node_id,
            address,
            name,
            role: if flags & 1 == 1 { MemberRole::Voter } else { MemberRole::Learner },
            is_leader: flags & 2 == 2,
            matched_index: read_option(&mut reader)?,
            lag: read_option(&mut reader)?,
            last_contact_ms: read_option(&mut reader)?,
        });
    }
    reader.finish()?;
    Ok(Status { cluster_id, raft, size, memory_bytes, revision, log_bytes, repaired, failure })
}

/// Which token is asked about: its id, or 0 and nothing for all.
pub(super) fn encode_only(only: Option<TokenId>) -> Vec<u8> {
    let mut out = Vec::new();
    put_option(&mut out, only.map(|id| id.0));
    out
}

pub(super) fn decode_only(bytes: &[u8]) -> Result<Option<TokenId>> {
    let mut reader = WireReader::new(bytes);
    let only = read_option(&mut reader)?.map(TokenId);
    reader.finish()?;
    Ok(only)
}

pub(super) fn encode_tokens(tokens: &[TokenInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, tokens.len() as u64);
    for token in tokens {
        put_bytes(&mut out, token.id.as_bytes());
        put_bytes(&mut out, token.name.as_bytes());
        out.push(token.scopes.to_bits());
        put_varint(&mut out, token.key_prefixes.len() as u64);
        token.key_prefixes.iter().for_each(|prefix| put_bytes(&mut out, prefix));
        put_varint(&mut out, token.created_ms);
        put_option(&mut out, token.expires_ms);
        put_option(&mut out, token.last_used_ms);
    }
    out
}

pub(super) fn decode_tokens(bytes: &[u8]) -> Result<Vec<TokenInfo>> {
    let mut reader = WireReader::new(bytes);
    let mut tokens = Vec::new();
    for _ in 0..reader.count()? {
        let (id, name) = (reader.text()?, reader.text()?);
        let scopes = Scopes::from_bits(reader.u8()?).ok_or_else(|| damaged("a token with unknown scopes"))?;
        let prefixes = reader.count()?;
        tokens.push(TokenInfo {
            id,
            name,
            scopes,
            key_prefixes: (0..prefixes).map(|_| Ok(reader.bytes()?.to_vec())).collect::<Result<_>>()?,
            created_ms: reader.varint()?,
            expires_ms: read_option(&mut reader)?,
            last_used_ms: read_option(&mut reader)?,
        });
    }
    reader.finish()?;
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let member = Member {
            node_id: 300,
            address: "h:1".to_owned(),
            name: "n".to_owned(),
            role: MemberRole::Voter,
            is_leader: true,
            matched_index: Some(9),
            lag: None,
            last_contact_ms: Some(0),
        };
        let raft = RaftStatus {
            node_id: 300,
            name: "n".to_owned(),
            address: "h:1".to_owned(),
            state: NodeState::Leader,
            leader: Some(300),
            term: 2,
            commit_index: 9,
            last_applied: 8,
            snapshot_index: 0,
            snapshot_state: SnapshotState::Sending,
            is_ready: true,
            members: vec![member],
        };
        Status {
            cluster_id: 7,
            raft,
            size: 1,
            memory_bytes: 2,
            revision: 3,
            log_bytes: 4,
            repaired: Some("r".to_owned()),
            failure: None,
        }
    }

    fn tokens() -> Vec<TokenInfo> {
        let token = TokenInfo {
            id: "0123456789abcdef".to_owned(),
            name: "ci".to_owned(),
            scopes: Scopes { read: true, write: false, admin: false },
            key_prefixes: vec![b"a:".to_vec(), b"\xff".to_vec()],
            created_ms: 300,
            expires_ms: None,
            last_used_ms: Some(0),
        };
        vec![TokenInfo { key_prefixes: Vec::new(), expires_ms: Some(9), ..token.clone() }, token]
    }

    #[test]
    fn everything_comes_back_as_it_went_and_damage_never_panics() {
        let read = ReadRequest { level: Consistency::Strong, timeout_ms: 5_000, keys: vec![b"a", b"bc"] };
        let view = ViewRequest { view: 300, keys: vec![b"k"] };
        let scan = ScanRequest { view: 1, from: Bound::Excluded(b"a"), to: Bound::Unbounded };
        assert_eq!(ReadRequest::decode(&read.encode()).unwrap(), read);
        assert_eq!(ViewRequest::decode(&view.encode()).unwrap(), view);
        assert_eq!(ScanRequest::decode(&scan.encode()).unwrap(), scan);
        assert_eq!(decode_status(&encode_status(&status())).unwrap(), status());
        let tokens = tokens();
        assert_eq!(decode_tokens(&encode_tokens(&tokens)).unwrap(), tokens);
        for only in [None, Some(TokenId(u64::MAX))] {
            assert_eq!(decode_only(&encode_only(only)).unwrap(), only);
        }
        let record = RecordView { value: Cow::Borrowed(b"\x01"), revision: 5, ttl_ms: None };
        let mut records = Vec::new();
        put_record(&mut records, Some(&record));
        put_record(&mut records, None);
        assert_eq!(decode_records(&records).unwrap(), [Some(record), None]);
        for message in
            [read.encode(), view.encode(), scan.encode(), encode_status(&status()), records, encode_tokens(&tokens)]
        {
            for at in 0..message.len() {
                for change in [1u8, 0x80, 0xff] {
                    let mut damaged = message.clone();
                    damaged[at] ^= change;
                    for bytes in [&damaged[..], &damaged[..at]] {
                        let _ = ReadRequest::decode(bytes);
                        let _ = ViewRequest::decode(bytes);
                        let _ = ScanRequest::decode(bytes);
                        let _ = decode_status(bytes);
                        let _ = decode_records(bytes);
                        let _ = decode_page(bytes);
                        let _ = decode_tokens(bytes);
                        let _ = decode_only(bytes);
                    }
                }
            }
        }
    }
}
