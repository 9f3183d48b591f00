//! Segment: one file of the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, FrameReader, HEAD_BYTES};
use super::spares::{SPARE, Spare};
use super::{Ballot, LogPosition};
use crate::error::Result;
use crate::storage::damaged;
use crate::storage::data_dir::{Identity, check_format};
use crate::storage::files::{Files, StoredFile};

/// Where the first frame lies.
pub(super) const SEGMENT_HEAD_BYTES: u64 = 256;
const MAGIC: &[u8; 8] = b"CONCLOG\0";
const FORMAT: u32 = 1;
const SUFFIX: &str = ".log";

/// What the log amounted to at some point, apart from its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::storage) struct Standing {
    pub ballot: Option<Ballot>,
    pub committed: Option<LogPosition>,
    pub purged: Option<LogPosition>,
    /// Last entry, or the purge mark when there is none after it.
    pub last: Option<LogPosition>,
}

/// What stands at the head of a segment. In every format version the checksum ends byte 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) struct SegmentHead {
    pub identity: Identity,
    pub sequence: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Where the frames of the segment before this one end; all up to there is durable.
    pub previous_end: u64,
    /// Repeated from the segments before, so that they can go.
    pub standing: Standing,
}

impl SegmentHead {
    pub(in crate::storage) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEAD_BYTES as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&u64::from(FORMAT).to_le_bytes());
        out.extend_from_slice(&self.identity.cluster_id.to_le_bytes());
        for number in [self.identity.node_id, self.sequence, self.size, self.previous_end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let ballot = self.standing.ballot;
        out.push(u8::from(ballot.is_some()));
        let ballot = ballot.unwrap_or(Ballot { term: 0, node: 0, committed: false });
        out.extend_from_slice(&ballot.term.to_le_bytes());
        out.extend_from_slice(&ballot.node.to_le_bytes());
        out.push(u8::from(ballot.committed));
        for position in [self.standing.committed, self.standing.purged, self.standing.last] {
            out.push(u8::from(position.is_some()));
            frame::put_position(&mut out, position.unwrap_or(LogPosition { term: 0, node: 0, index: 0 }));
        }
        out.resize(SEGMENT_HEAD_BYTES as usize - 4, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub(in crate::storage) fn decode(bytes: &[u8], path: &Path) -> Result<SegmentHead> {
        if bytes.len() != SEGMENT_HEAD_BYTES as usize {
            return Err(damaged(path, 0, "it is too short for the head of a segment"));
        }
        let (fields, crc) = bytes.split_last_chunk::<4>().expect("the head has 256 bytes");
        if &bytes[..8] != MAGIC {
            return Err(damaged(path, 0, "it is not a segment of the log"));
        }
        if crc32fast::hash(fields) != u32::from_le_bytes(*crc) {
            return Err(damaged(path, 0, "wrong checksum of the head"));
        }
        check_format(u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")), FORMAT, path)?;
        Self::decode_fields(&fields[16..]).ok_or_else(|| damaged(path, 0, "the head has the wrong form"))
    }

    fn decode_fields(mut fields: &[u8]) -> Option<SegmentHead> {
        let bytes = &mut fields;
        let (cluster, rest) = bytes.split_first_chunk::<16>()?;
        *bytes = rest;
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = frame::take_u64(bytes)?;
        }
        let [node_id, sequence, size, previous_end] = numbers;
        let is_some = frame::take_bool(bytes)?;
        let ballot = Ballot {
            term: frame::take_u64(bytes)?,
            node: frame::take_u64(bytes)?,
            committed: frame::take_bool(bytes)?,
        };
        let mut positions = [None; 3];
        for position in &mut positions {
            let is_some = frame::take_bool(bytes)?;
            *position = Some(frame::take_position(bytes)?).filter(|_| is_some);
        }
        let [committed, purged, last] = positions;
        let identity = Identity { cluster_id: u128::from_le_bytes(*cluster), node_id };
        let standing = Standing { ballot: Some(ballot).filter(|_| is_some), committed, purged, last };
        Some(SegmentHead { identity, sequence, size, previous_end, standing })
    }
}

/// An open segment.
pub(super) struct Segment {
    pub sequence: u64,
    pub path: PathBuf,
    pub file: Arc<dyn StoredFile>,
    /// First value of every head checksum in it.
    pub seed: u32,
    pub size: u64,
}

impl Segment {
    /// Reads its frames.
    pub(super) fn reader(&self) -> FrameReader<'_> {
        FrameReader::new(&*self.file, self.seed, self.size)
    }

    /// The open segment that has this head.
    pub(super) fn new(dir: &Path, head: &SegmentHead, file: Arc<dyn StoredFile>) -> Segment {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head.identity.cluster_id.to_le_bytes());
        hasher.update(&head.identity.node_id.to_le_bytes());
        hasher.update(&head.sequence.to_le_bytes());
        let path = dir.join(file_name(head.sequence));
        Segment { sequence: head.sequence, path, file, seed: hasher.finalize(), size: head.size }
    }

    /// Makes `spare` the segment with this head. It has its final name only once its head is durable.
    pub(super) fn create(files: &dyn Files, dir: &Path, head: &SegmentHead, spare: Spare) -> io::Result<Segment> {
        let mut start = head.encode();
        start.extend_from_slice(&[0; HEAD_BYTES]);
        spare.file.write_at(&start, 0)?;
        spare.file.sync_data()?;
        let segment = Segment::new(dir, head, spare.file);
        files.rename(&dir.join(SPARE), &segment.path)?;
        files.sync_dir(dir)?;
        Ok(segment)
    }
}

pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:016x}{SUFFIX}")
}

/// The sequence number in a segment's file name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|&sequence| file_name(sequence) == name)
}
