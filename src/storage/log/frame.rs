//! Frame: how one record lies in a segment, and how frames are read back without trusting a byte of them.
//!
//! ```text
//! magic 1 | kind 1 | zero 2 | body length 4 | synced 8 | CRC of body 4 | CRC of head 4 | body | zeros up to 8
//! ```
//! - The CRC of the head starts from the segment's seed (cluster, node, sequence) and covers the frame's offset: a
//!   frame is valid in its place only, so what a recycled file held before never looks valid.
//! - `synced` says up to which offset the segment was durable when the frame was written. A bad frame below the
//!   claim of any later frame is therefore damage; without such a claim it is a write that a crash has torn.
//! - After the last frame lies a head of zeros.

use std::io;

use super::{Ballot, LogEntry, LogPosition, Payload};
use crate::storage::files::StoredFile;

pub(super) const HEAD_BYTES: usize = 24;
const ALIGNMENT: u64 = 8;
const MAGIC: u8 = 0xC7;
const ENTRY_FIXED_BYTES: usize = 25;
const READ_AHEAD_BYTES: usize = 256 * 1024;

const ENTRY: u8 = 1;
const BALLOT: u8 = 2;
const COMMITTED: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;
const MARK: u8 = 6;

/// What one frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Entry(LogEntry),
    Ballot(Ballot),
    Committed(LogPosition),
    /// Entries after this position are void; `None`: all of them.
    Truncate(Option<LogPosition>),
    Purge(LogPosition),
    /// Nothing; carries the claim that all before it is durable.
    Mark,
}

/// Bytes that an entry with this payload takes in a segment.
pub(super) fn entry_bytes(payload_bytes: usize) -> u64 {
    padded((HEAD_BYTES + ENTRY_FIXED_BYTES + payload_bytes) as u64)
}

/// Bytes that any other record takes at most.
pub(super) const SMALL_FRAME_BYTES: u64 = 56;

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

pub(super) fn put_position(out: &mut Vec<u8>, position: LogPosition) {
    for number in [position.term, position.node, position.index] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(super) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

pub(super) fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    let (number, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*number)
}

pub(super) fn take_position(bytes: &mut &[u8]) -> Option<LogPosition> {
    Some(LogPosition { term: take_u64(bytes)?, node: take_u64(bytes)?, index: take_u64(bytes)? })
}

pub(super) fn take_bool(bytes: &mut &[u8]) -> Option<bool> {
    match take_u8(bytes)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Appends the frame of `record`, which will lie at `offset` of the segment with this seed.
pub(super) fn encode(record: &Record, seed: u32, offset: u64, synced: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    let kind = match record {
        Record::Entry(entry) => {
            put_position(out, entry.position);
            out.push(entry.kind);
            out.extend_from_slice(&entry.payload);
            ENTRY
        }
        Record::Ballot(ballot) => {
            out.extend_from_slice(&ballot.term.to_le_bytes());
            out.extend_from_slice(&ballot.node.to_le_bytes());
            out.push(u8::from(ballot.committed));
            BALLOT
        }
        Record::Committed(position) => {
            put_position(out, *position);
            COMMITTED
        }
        Record::Truncate(position) => {
            out.push(u8::from(position.is_some()));
            if let Some(position) = position {
                put_position(out, *position);
            }
            TRUNCATE
        }
        Record::Purge(position) => {
            put_position(out, *position);
            PURGE
        }
        Record::Mark => MARK,
    };
    let body_bytes = out.len() - start - HEAD_BYTES;
    let body_crc = crc32fast::hash(&out[start + HEAD_BYTES..]);
    let head = &mut out[start..start + HEAD_BYTES];
    head[0] = MAGIC;
    head[1] = kind;
    head[4..8].copy_from_slice(&u32::try_from(body_bytes).expect("a frame is smaller than 4 GiB").to_le_bytes());
    head[8..16].copy_from_slice(&synced.to_le_bytes());
    head[16..20].copy_from_slice(&body_crc.to_le_bytes());
    let head_crc = crc_of_head(seed, offset, &head[..20]);
    head[20..24].copy_from_slice(&head_crc.to_le_bytes());
    out.resize(start + padded((HEAD_BYTES + body_bytes) as u64) as usize, 0);
}

fn crc_of_head(seed: u32, offset: u64, head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&offset.to_le_bytes());
    hasher.update(head);
    hasher.finalize()
}

fn decode_body(kind: u8, mut body: &[u8]) -> Option<Record> {
    let bytes = &mut body;
    let record = match kind {
        ENTRY => {
            let (position, kind) = (take_position(bytes)?, take_u8(bytes)?);
            let payload = Payload::from(std::mem::take(bytes));
            Record::Entry(LogEntry { position, kind, payload })
        }
        BALLOT => {
            Record::Ballot(Ballot { term: take_u64(bytes)?, node: take_u64(bytes)?, committed: take_bool(bytes)? })
        }
        COMMITTED => Record::Committed(take_position(bytes)?),
        TRUNCATE => Record::Truncate(if take_bool(bytes)? { Some(take_position(bytes)?) } else { None }),
        PURGE => Record::Purge(take_position(bytes)?),
        MARK => Record::Mark,
        _ => return None,
    };
    bytes.is_empty().then_some(record)
}

/// A head whose checksum holds.
struct Head {
    kind: u8,
    body_bytes: u64,
    synced: u64,
    body_crc: u32,
}

fn decode_head(head: &[u8], seed: u32, offset: u64) -> Option<Head> {
    if head.len() < HEAD_BYTES || head[0] != MAGIC || !(ENTRY..=MARK).contains(&head[1]) || head[2..4] != [0, 0] {
        return None;
    }
    let four = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let head_holds = four(20) == crc_of_head(seed, offset, &head[..20]);
    head_holds.then(|| Head {
        kind: head[1],
        body_bytes: u64::from(four(4)),
        synced: u64::from_le_bytes(head[8..16].try_into().expect("eight bytes")),
        body_crc: four(16),
    })
}

/// What lies at an offset.
pub(super) enum Found {
    /// A whole frame, and where the next one begins.
    Frame { record: Record, next: u64 },
    /// A head of zeros, or no room for a frame.
    End,
    /// Something else, and why it is no frame.
    Bad(&'static str),
}

/// Reads frames of one segment through a window of bounded size.
pub(super) struct FrameReader<'a> {
    file: &'a dyn StoredFile,
    seed: u32,
    /// No frame reaches beyond this offset.
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(file: &'a dyn StoredFile, seed: u32, end: u64) -> FrameReader<'a> {
        FrameReader { file, seed, end, window: Vec::new(), window_start: 0 }
    }

    /// Up to `count` bytes at `offset`; fewer only where the file or the limit ends.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let count = count.min(self.end.saturating_sub(offset) as usize);
        let have = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + count as u64 > have {
            let wanted = count.max(READ_AHEAD_BYTES).min(self.end.saturating_sub(offset) as usize);
            let there = self.file.len()?.saturating_sub(offset).min(wanted as u64) as usize;
            self.window.resize(there, 0);
            let read = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
            self.window_start = offset;
        }
        let from = (offset - self.window_start) as usize;
        Ok(&self.window[from.min(self.window.len())..self.window.len().min(from + count)])
    }

    /// Reads what lies at `offset`.
    pub(super) fn at(&mut self, offset: u64) -> io::Result<Found> {
        let (seed, room) = (self.seed, self.end.saturating_sub(offset));
        let head = self.bytes(offset, HEAD_BYTES)?;
        if room < HEAD_BYTES as u64 || head.iter().all(|&byte| byte == 0) {
            return Ok(Found::End);
        }
        let Some(head) = decode_head(head, seed, offset) else {
            return Ok(Found::Bad("no frame head"));
        };
        let next = offset + padded(HEAD_BYTES as u64 + head.body_bytes);
        if next > self.end {
            return Ok(Found::Bad("a frame reaches beyond its segment"));
        }
        let body = self.bytes(offset + HEAD_BYTES as u64, head.body_bytes as usize)?;
        if body.len() as u64 != head.body_bytes || crc32fast::hash(body) != head.body_crc {
            return Ok(Found::Bad("wrong checksum"));
        }
        Ok(match decode_body(head.kind, body) {
            Some(record) => Found::Frame { record, next },
            None => Found::Bad("a frame has the wrong form"),
        })
    }

    /// Looks for heads of this segment anywhere from `offset` on: `None` if there is none, else the highest
    /// offset that one of them claims to have been durable.
    pub(super) fn highest_claim(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let (seed, mut at, mut highest) = (self.seed, padded(offset), None);
        while at + HEAD_BYTES as u64 <= self.end {
            let window = self.bytes(at, READ_AHEAD_BYTES)?;
            if window.len() < HEAD_BYTES {
                break;
            }
            let heads = (window.len() - HEAD_BYTES) / ALIGNMENT as usize + 1;
            for number in 0..heads {
                let from = number * ALIGNMENT as usize;
                if window[from] == MAGIC
                    && let Some(head) = decode_head(&window[from..], seed, at + from as u64)
                {
                    highest = highest.max(Some(head.synced));
                }
            }
            at += heads as u64 * ALIGNMENT;
        }
        Ok(highest)
    }
}
