//! Recovery: reads all segments back, repairs a torn tail, refuses damage.

use std::path::Path;
use std::sync::Arc;

use super::LogOptions;
use super::frame::{self, Found, FrameReader, Record};
use super::index::{Index, Sizes};
use super::segment::{self, SEGMENT_HEAD_BYTES, Segment, SegmentHead, Standing};
use super::spares::Spares;
use super::writer::{Effect, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::data_dir::{DataDir, Identity};
use crate::storage::files::{Files, StoredFile};
use crate::storage::{damaged, io_failed};

/// The first segment is small, so that a new store opens at once; each one after it is twice as large as the one before.
const FIRST_SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
const ZERO_STEP_BYTES: u64 = 1024 * 1024;

/// What opening the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Segment files read.
    pub segments: usize,
    /// Entries found after the purge mark.
    pub entries: u64,
    /// A write that a crash had torn was removed; the message says where. Nothing of it had been acknowledged.
    pub repaired: Option<String>,
}

/// A log ready to go on.
pub(super) struct Recovered {
    pub writer: Writer,
    pub index: Index,
    pub sizes: Sizes,
    pub report: Recovery,
}

/// What the frames amount to, as they are read in order.
struct Replay {
    standing: Standing,
    index: Index,
    sizes: Sizes,
    /// Highest index that lay in segments that are gone. It must turn out to be purged.
    missing: Option<u64>,
}

/// Where the frames of the newest segment end, and what has to be wiped behind.
struct Tail {
    segment: Arc<Segment>,
    offset: u64,
    torn: Option<&'static str>,
}

/// Opens the log in `data_dir`, or makes it.
pub(super) fn recover(data_dir: &DataDir, options: &LogOptions) -> Result<Recovered> {
    data_dir.assert_adopted();
    let dir = data_dir.path().join("log");
    let files = data_dir.files();
    let names = files.list(&dir).map_err(|error| io_failed("list", &dir, error))?;
    let sequences: Vec<u64> = names.iter().filter_map(|name| segment::sequence_of(name)).collect();
    let open_spares =
        || Spares::open(data_dir, &names, options).map_err(|error| io_failed("open the spare segment in", &dir, error));
    if sequences.is_empty() {
        if data_dir.had_log() {
            return Err(damaged(&dir, 0, "the log that was here is missing"));
        }
        return create(data_dir, &dir, Arc::new(open_spares()?), options);
    }

    let (outdated, heads) = read_heads(&**files, &dir, data_dir.identity(), &sequences)?;
    let (mut replay, tail) = replay_all(heads, &dir)?;
    let purged = replay.standing.purged.map(|purged| purged.index);
    if replay.missing > purged {
        let path = dir.join(segment::file_name(*sequences.last().expect("there is one")));
        let missing = replay.missing.unwrap_or(0);
        return Err(damaged(&path, 0, format!("segments before it are missing, with entries up to {missing}")));
    }

    // All is sound: from here on the disk may be changed.
    let mut report = Recovery { segments: replay.index.segments(), entries: 0, repaired: None };
    if let Some(why) = tail.torn {
        wipe(&tail)?;
        report.repaired = Some(format!(
            "{}: removed a write that was torn by a crash at offset {} ({why})",
            tail.segment.path.display(),
            tail.offset
        ));
    }
    // What was read may have been in the page cache only.
    tail.segment.file.sync_data().map_err(|error| io_failed("sync", &tail.segment.path, error))?;
    for sequence in outdated {
        let path = dir.join(segment::file_name(sequence));
        files.remove(&path).map_err(|error| io_failed("remove", &path, error))?;
    }
    data_dir.note_log()?;
    let standing = replay.standing;
    let first = standing.purged.map_or(0, |purged| purged.index + 1);
    replay.sizes.purge(purged.unwrap_or(0), purged.is_some() && standing.last == standing.purged);
    report.entries = standing.last.map_or(0, |last| (last.index + 1).saturating_sub(first));
    let superfluous = replay.index.take_purged(purged);
    let spares = Arc::new(open_spares()?);
    spares.discard(superfluous).map_err(|error| io_failed("clear", &dir, error))?;
    let writer = Writer::new(data_dir, spares, options, tail.segment, standing, tail.offset);
    Ok(Recovered { writer, index: replay.index, sizes: replay.sizes, report })
}

fn create(data_dir: &DataDir, dir: &Path, spares: Arc<Spares>, options: &LogOptions) -> Result<Recovered> {
    let size = options.segment_bytes.min(FIRST_SEGMENT_BYTES);
    let identity = data_dir.identity();
    let made = spares.make(size).and_then(|spare| {
        let standing = Standing::default();
        let head = SegmentHead { identity, sequence: 1, size: spare.size, previous_end: 0, standing };
        Segment::create(&**data_dir.files(), dir, &head, spare)
    });
    let segment = Arc::new(made.map_err(|error| io_failed("make the first segment in", dir, error))?);
    data_dir.note_log()?;
    let mut index = Index::default();
    index.push_segment(segment.clone());
    let standing = Standing::default();
    let writer = Writer::new(data_dir, spares, options, segment, standing, SEGMENT_HEAD_BYTES);
    Ok(Recovered { writer, index, sizes: Sizes::default(), report: Recovery::default() })
}

/// Heads of the newest segments without a hole between them, and the older sequence numbers before a hole: a crash
/// while purged segments were removed may leave one. Whether they were purged is judged later.
type Heads = Vec<(SegmentHead, Arc<dyn StoredFile>)>;

fn read_heads(files: &dyn Files, dir: &Path, identity: Identity, sequences: &[u64]) -> Result<(Vec<u64>, Heads)> {
    let after_hole = (1..sequences.len()).rev().find(|&at| sequences[at] != sequences[at - 1] + 1).unwrap_or(0);
    let mut heads = Vec::new();
    for &sequence in &sequences[after_hole..] {
        let path = dir.join(segment::file_name(sequence));
        let file = files.open(&path).map_err(|error| io_failed("open", &path, error))?;
        let mut bytes = [0; SEGMENT_HEAD_BYTES as usize];
        let count = file.read_at(&mut bytes, 0).map_err(|error| io_failed("read", &path, error))?;
        let head = SegmentHead::decode(&bytes[..count], &path)?;
        if head.identity != identity {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} belongs to another node or cluster: data directories were mixed up", path.display()),
            ));
        }
        if head.sequence != sequence || head.size < SEGMENT_HEAD_BYTES {
            return Err(damaged(&path, 0, "its head and its name contradict each other"));
        }
        heads.push((head, file));
    }
    Ok((sequences[..after_hole].to_vec(), heads))
}

fn replay_all(heads: Heads, dir: &Path) -> Result<(Replay, Tail)> {
    let standing = heads.first().map(|(head, _)| head.standing).unwrap_or_default();
    let missing = standing.last.map(|last| last.index);
    let mut replay = Replay { standing, index: Index::default(), sizes: Sizes::default(), missing };
    let ends: Vec<u64> = heads.iter().skip(1).map(|(head, _)| head.previous_end).collect();
    let mut tail = None;
    for (number, (head, file)) in heads.into_iter().enumerate() {
        let segment = Arc::new(Segment::new(dir, &head, file));
        if replay.standing != head.standing {
            return Err(damaged(&segment.path, 0, "it does not continue the segment before it"));
        }
        replay.index.push_segment(segment.clone());
        match ends.get(number) {
            Some(&end) => replay.whole(&segment, end)?,
            None => tail = Some(replay.newest(segment)?),
        }
    }
    tail.map(|tail| (replay, tail)).ok_or_else(|| damaged(dir, 0, "no segment"))
}

impl Replay {
    /// Reads a segment whose end is known: every frame must be sound.
    fn whole(&mut self, segment: &Segment, end: u64) -> Result<()> {
        let (offset, found) = self.frames(segment, end)?;
        match found {
            _ if offset == end => Ok(()),
            Found::Bad(why) => Err(damaged(&segment.path, offset, why)),
            _ => Err(damaged(&segment.path, offset, format!("frames up to {end} are missing"))),
        }
    }

    /// Reads the newest segment, which may end in a torn write.
    fn newest(&mut self, segment: Arc<Segment>) -> Result<Tail> {
        let (offset, found) = self.frames(&segment, segment.size)?;
        let mut reader = segment.reader();
        let claim = reader.highest_claim(offset + 8).map_err(|error| io_failed("read", &segment.path, error))?;
        let why = match found {
            Found::Bad(why) => Some(why),
            _ => None,
        };
        if claim.is_some_and(|durable| durable > offset) {
            return Err(damaged(&segment.path, offset, why.unwrap_or("frames are missing")));
        }
        let is_short = segment.file.len().map_err(|error| io_failed("read", &segment.path, error))? < segment.size;
        let rest = claim.map(|_| "parts of one write are missing").or(is_short.then_some("the file is too short"));
        Ok(Tail { segment, offset, torn: why.or(rest) })
    }

    /// Replays frames up to `end` or the first offset without one.
    fn frames(&mut self, segment: &Segment, end: u64) -> Result<(u64, Found)> {
        let mut reader = FrameReader::new(&*segment.file, segment.seed, end.min(segment.size));
        let mut offset = SEGMENT_HEAD_BYTES;
        loop {
            match reader.at(offset).map_err(|error| io_failed("read", &segment.path, error))? {
                Found::Frame { record, next } => {
                    self.apply(&record, segment, offset)?;
                    offset = next;
                }
                other => return Ok((offset, other)),
            }
        }
    }

    fn apply(&mut self, record: &Record, segment: &Segment, offset: u64) -> Result<()> {
        match record {
            Record::Entry(entry) => {
                let index = entry.position.index;
                if let Some(last) = self.standing.last.filter(|last| last.index.checked_add(1) != Some(index)) {
                    let what = format!("entry {index} does not follow entry {}", last.index);
                    return Err(damaged(&segment.path, offset, what));
                }
                self.sizes.add(index, frame::entry_bytes(entry.payload.len()));
                Effect::Entry { index, offset }.apply(&mut self.index);
            }
            Record::Truncate(position) => {
                let from = position.map_or(0, |position| position.index.saturating_add(1));
                self.missing = self.missing.min(position.map(|position| position.index));
                self.sizes.truncate_from(from);
                Effect::Truncate { from }.apply(&mut self.index);
            }
            Record::Purge(upto) if self.standing.last.is_none_or(|last| last.index <= upto.index) => {
                self.sizes.purge(upto.index, true);
                Effect::Break.apply(&mut self.index);
            }
            _ => {}
        }
        self.standing.apply(record);
        Ok(())
    }
}

/// Fills the newest segment with zeros behind its last whole frame, durably: parts of a torn write must never be taken for
/// frames later.
fn wipe(tail: &Tail) -> Result<()> {
    let file = &tail.segment.file;
    let zeros = vec![0; ZERO_STEP_BYTES.min(tail.segment.size) as usize];
    let mut offset = tail.offset;
    let mut write = || -> std::io::Result<()> {
        while offset < tail.segment.size {
            let step = (tail.segment.size - offset).min(zeros.len() as u64);
            file.write_at(&zeros[..step as usize], offset)?;
            offset += step;
        }
        file.sync_data()
    };
    write().map_err(|error| io_failed("repair", &tail.segment.path, error))
}
