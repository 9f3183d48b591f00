//! Messages: what members say to each other, as bytes. Checked on arrival: lengths before anything is allocated.

use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse};

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::raft::entry::{Entry, Vote, ballot_of, from_stored, position_of, put_position, read_position};
use crate::raft::entry::{to_stored, vote_of};
use crate::raft::types::Types;
use crate::storage::{Ballot, LogEntry, LogPosition, Payload};

/// What a frame between members is about. Numbers are never given to another meaning.
pub(in crate::raft) mod method {
    /// Entries of the leader, or its heartbeat.
    pub(in crate::raft) const APPEND: u16 = 1;
    /// A candidate asks for a vote.
    pub(in crate::raft) const VOTE: u16 = 2;
    /// A would-be candidate asks whether it would get one.
    pub(in crate::raft) const PRE_VOTE: u16 = 3;
    /// A piece of a snapshot.
    pub(in crate::raft) const SNAPSHOT: u16 = 4;
    /// The leader hands leadership over.
    pub(in crate::raft) const TRANSFER: u16 = 5;
    /// Commands for the leader's log.
    pub(in crate::raft) const PROPOSE: u16 = 10;
    /// Up to where one must have applied to read the present.
    pub(in crate::raft) const READ_INDEX: u16 = 11;
    /// Who are you, and what do you know of the cluster?
    pub(in crate::raft) const INFO: u16 = 12;
    /// Founding a cluster: will you, and then: it is so.
    pub(in crate::raft) const FOUND: u16 = 14;
    /// A change of membership or leadership.
    pub(in crate::raft) const CHANGE: u16 = 15;
    /// A member asks a node that belongs to no cluster to join.
    pub(in crate::raft) const INVITE: u16 = 16;
    /// From here on the services of the rooms above.
    pub(in crate::raft) const SERVICE: u16 = 100;
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    let ballot = ballot_of(vote);
    put_varint(out, ballot.term);
    put_varint(out, ballot.node);
    out.push(u8::from(ballot.committed));
}

fn read_vote(reader: &mut WireReader<'_>) -> Result<Vote> {
    let (term, node) = (reader.varint()?, reader.varint()?);
    Ok(vote_of(Ballot { term, node, committed: read_flag(reader)? }))
}

fn read_flag(reader: &mut WireReader<'_>) -> Result<bool> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(damaged("a flag that is neither on nor off")),
    }
}

/// Entries of the leader, and its time.
pub(in crate::raft) struct Append {
    pub(in crate::raft) request: AppendEntriesRequest<Types>,
    /// The leader's clock, milliseconds since the epoch.
    pub(in crate::raft) time_ms: u64,
}

impl Append {
    pub(in crate::raft) fn encode(request: AppendEntriesRequest<Types>, time_ms: u64) -> Vec<u8> {
        let entries: Vec<LogEntry> = request.entries.into_iter().map(to_stored).collect();
        let bytes: usize = entries.iter().map(|entry| entry.payload.len() + 48).sum();
        let mut out = Vec::with_capacity(bytes + 96);
        put_vote(&mut out, &request.vote);
        put_position(&mut out, request.prev_log_id.as_ref());
        put_position(&mut out, request.leader_commit.as_ref());
        put_varint(&mut out, time_ms);
        put_varint(&mut out, entries.len() as u64);
        for entry in &entries {
            let LogPosition { term, node, index } = entry.position;
            put_varint(&mut out, term);
            put_varint(&mut out, node);
            put_varint(&mut out, index);
            out.push(entry.kind);
            put_bytes(&mut out, &entry.payload);
        }
        out
    }

    pub(in crate::raft) fn decode(bytes: &[u8]) -> Result<Append> {
        let mut reader = WireReader::new(bytes);
        let vote = read_vote(&mut reader)?;
        let prev_log_id = read_position(&mut reader)?;
        let leader_commit = read_position(&mut reader)?;
        let time_ms = reader.varint()?;
        let count = reader.count()?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            let position = LogPosition { term: reader.varint()?, node: reader.varint()?, index: reader.varint()? };
            let kind = reader.u8()?;
            let payload = Payload::from(reader.bytes()?);
            let entry = from_stored(LogEntry { position, kind, payload });
            entries.push(entry.map_err(|error| damaged(&error.to_string()))?);
        }
        reader.finish()?;
        // The leader waits for one write of one caller: this node does nothing better meanwhile than to write it.
        if let [Entry { payload: EntryPayload::Normal(batch), .. }] = &mut entries[..] {
            batch.is_alone = true;
        }
        check_sequence(prev_log_id.map(|log_id| position_of(&log_id)), &entries)?;
        Ok(Append { request: AppendEntriesRequest { vote, prev_log_id, entries, leader_commit }, time_ms })
    }
}

/// The library takes it for granted that entries follow one another.
fn check_sequence(prev: Option<LogPosition>, entries: &[Entry]) -> Result<()> {
    let mut next = prev.map_or(0, |prev| prev.index.saturating_add(1));
    for entry in entries {
        if entry.log_id.index != next {
            return Err(damaged("entries that do not follow one another"));
        }
        next = next.saturating_add(1);
    }
    Ok(())
}

pub(in crate::raft) fn encode_append_answer(answer: &AppendEntriesResponse<Types>) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        AppendEntriesResponse::Success => out.push(0),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.push(1);
            put_position(&mut out, upto.as_ref());
        }
        AppendEntriesResponse::Conflict => out.push(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.push(3);
            put_vote(&mut out, vote);
        }
    }
    out
}

pub(in crate::raft) fn decode_append_answer(bytes: &[u8]) -> Result<AppendEntriesResponse<Types>> {
    let mut reader = WireReader::new(bytes);
    let answer = match reader.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(read_position(&mut reader)?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(read_vote(&mut reader)?),
        _ => return Err(damaged("an unknown answer to entries")),
    };
    reader.finish()?;
    Ok(answer)
}

pub(in crate::raft) fn encode_vote(request: &VoteRequest<Types>) -> Vec<u8> {
    let mut out = Vec::new();
    put_vote(&mut out, &request.vote);
    put_position(&mut out, request.last_log_id.as_ref());
    out.push(u8::from(request.leadership_transfer));
    out
}

pub(in crate::raft) fn decode_vote(bytes: &[u8]) -> Result<VoteRequest<Types>> {
    let mut reader = WireReader::new(bytes);
    let mut request = VoteRequest::new(read_vote(&mut reader)?, read_position(&mut reader)?);
    request.leadership_transfer = read_flag(&mut reader)?;
    reader.finish()?;
    Ok(request)
}

/// A voter's answer, and the time of the last leader that it heard, so that time does not go back with a new one.
pub(in crate::raft) fn encode_vote_answer(answer: &VoteResponse<Types>, time_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_vote(&mut out, &answer.vote);
    out.push(u8::from(answer.vote_granted));
    put_position(&mut out, answer.last_log_id.as_ref());
    put_varint(&mut out, time_ms);
    out
}

pub(in crate::raft) fn decode_vote_answer(bytes: &[u8]) -> Result<(VoteResponse<Types>, u64)> {
    let mut reader = WireReader::new(bytes);
    let (vote, granted) = (read_vote(&mut reader)?, read_flag(&mut reader)?);
    let last_log_id = read_position(&mut reader)?;
    let time_ms = reader.varint()?;
    reader.finish()?;
    Ok((VoteResponse::new(vote, last_log_id, granted), time_ms))
}

pub(in crate::raft) fn encode_transfer(request: &TransferLeaderRequest<Types>) -> Vec<u8> {
    let mut out = Vec::new();
    put_vote(&mut out, request.from_leader());
    put_varint(&mut out, *request.to_node_id());
    put_position(&mut out, request.last_log_id());
    out
}

pub(in crate::raft) fn decode_transfer(bytes: &[u8]) -> Result<TransferLeaderRequest<Types>> {
    let mut reader = WireReader::new(bytes);
    let (vote, to) = (read_vote(&mut reader)?, reader.varint()?);
    let last_log_id = read_position(&mut reader)?;
    reader.finish()?;
    Ok(TransferLeaderRequest::new(vote, to, last_log_id))
}

pub(in crate::raft) fn encode_transfer_answer(answer: &TransferLeaderResponse<Types>) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        Ok(()) => out.push(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.push(1);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.push(2);
            put_position(&mut out, expected.as_ref());
            put_position(&mut out, actual.as_ref());
        }
    }
    out
}

pub(in crate::raft) fn decode_transfer_answer(bytes: &[u8]) -> Result<TransferLeaderResponse<Types>> {
    let mut reader = WireReader::new(bytes);
    let answer = match reader.u8()? {
        0 => Ok(()),
        1 => {
            Err(TransferLeaderError::VoteChanged { expected: read_vote(&mut reader)?, actual: read_vote(&mut reader)? })
        }
        2 => Err(TransferLeaderError::LogNotFlushed {
            expected: read_position(&mut reader)?,
            actual: read_position(&mut reader)?,
        }),
        _ => return Err(damaged("an unknown answer to a handover")),
    };
    reader.finish()?;
    Ok(answer)
}

/// A piece of a snapshot on its way to a member.
pub(in crate::raft) struct SnapshotPiece<'a> {
    /// Tells one transfer from another.
    pub(in crate::raft) transfer: u64,
    pub(in crate::raft) vote: Vote,
    pub(in crate::raft) offset: u64,
    pub(in crate::raft) is_last: bool,
    pub(in crate::raft) bytes: &'a [u8],
}

impl SnapshotPiece<'_> {
    pub(in crate::raft) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        put_varint(&mut out, self.transfer);
        put_vote(&mut out, &self.vote);
        put_varint(&mut out, self.offset);
        out.push(u8::from(self.is_last));
        put_bytes(&mut out, self.bytes);
        out
    }

    pub(in crate::raft) fn decode(bytes: &[u8]) -> Result<SnapshotPiece<'_>> {
        let mut reader = WireReader::new(bytes);
        let (transfer, vote) = (reader.varint()?, read_vote(&mut reader)?);
        let (offset, is_last) = (reader.varint()?, read_flag(&mut reader)?);
        let piece = SnapshotPiece { transfer, vote, offset, is_last, bytes: reader.bytes()? };
        reader.finish()?;
        Ok(piece)
    }
}

pub(in crate::raft) fn encode_vote_alone(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::new();
    put_vote(&mut out, vote);
    out
}

pub(in crate::raft) fn decode_vote_alone(bytes: &[u8]) -> Result<Vote> {
    let mut reader = WireReader::new(bytes);
    let vote = read_vote(&mut reader)?;
    reader.finish()?;
    Ok(vote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::entry::log_id_of;
    use crate::raft::types::Batch;

    fn vote() -> Vote {
        vote_of(Ballot { term: 300, node: 7, committed: true })
    }

    fn append() -> Vec<u8> {
        let position = |index| log_id_of(LogPosition { term: 300, node: 7, index });
        let payload = EntryPayload::Normal(Batch { payload: Payload::from(vec![9; 300]), is_alone: false });
        let entries =
            vec![Entry { log_id: position(5), payload: EntryPayload::Blank }, Entry { log_id: position(6), payload }];
        let request = AppendEntriesRequest {
            vote: vote(),
            prev_log_id: Some(position(4)),
            entries,
            leader_commit: Some(position(3)),
        };
        Append::encode(request, 1_700_000_000_000)
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let Append { request, time_ms } = Append::decode(&append()).unwrap();
        assert_eq!(time_ms, 1_700_000_000_000);
        assert_eq!(request.vote, vote());
        assert_eq!(request.entries.len(), 2);
        assert_eq!(request.entries[1].log_id.index, 6);
        assert_eq!(Append::encode(request, time_ms), append());
    }

    #[test]
    fn answers_come_back_as_they_went() {
        let upto = Some(log_id_of(LogPosition { term: 1, node: 2, index: 3 }));
        let answers = [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(upto),
            AppendEntriesResponse::PartialSuccess(None),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote()),
        ];
        for answer in answers {
            assert_eq!(decode_append_answer(&encode_append_answer(&answer)).unwrap(), answer);
        }
        let mut request = VoteRequest::new(vote(), upto);
        request.leadership_transfer = true;
        assert_eq!(decode_vote(&encode_vote(&request)).unwrap(), request);
        let response = VoteResponse::new(vote(), upto, true);
        assert_eq!(decode_vote_answer(&encode_vote_answer(&response, 9)).unwrap(), (response, 9));
        for answer in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: vote(), actual: vote() }),
            Err(TransferLeaderError::LogNotFlushed { expected: upto, actual: None }),
        ] {
            assert_eq!(decode_transfer_answer(&encode_transfer_answer(&answer)).unwrap(), answer);
        }
    }

    #[test]
    fn damaged_messages_are_an_error_or_another_message_never_a_panic() {
        let piece = SnapshotPiece { transfer: 1, vote: vote(), offset: 70_000, is_last: true, bytes: b"abc" };
        for message in [append(), piece.encode()] {
            for at in 0..message.len() {
                for change in [1u8, 0x80, 0xff] {
                    let mut damaged = message.clone();
                    damaged[at] ^= change;
                    for bytes in [&damaged[..], &damaged[..at]] {
                        let _ = Append::decode(bytes);
                        let _ = SnapshotPiece::decode(bytes).map(|piece| piece.bytes.len());
                        let _ = decode_append_answer(bytes);
                        let _ = decode_vote(bytes);
                        let _ = decode_vote_answer(bytes);
                        let _ = decode_transfer(bytes);
                        let _ = decode_transfer_answer(bytes);
                    }
                }
            }
        }
    }
}
