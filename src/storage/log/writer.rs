//! Writer: puts records into the current segment and goes on to the next one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[cfg(test)]
use super::Sabotage;
use super::frame::{self, HEAD_BYTES, Record, SMALL_FRAME_BYTES};
use super::index::Index;
use super::segment::{SEGMENT_HEAD_BYTES, Segment, SegmentHead, Standing};
use super::spares::Spares;
use super::state::{Change, Queued};
use super::{LogOptions, LogPosition};
use crate::storage::data_dir::DataDir;
use crate::telemetry::Metrics;

/// What a write did to the index; applied once it is done.
pub(super) enum Effect {
    Segment(Arc<Segment>),
    Entry { index: u64, offset: u64 },
    Truncate { from: u64 },
    Break,
}

impl Effect {
    pub(super) fn apply(self, index: &mut Index) {
        match self {
            Effect::Segment(segment) => index.push_segment(segment),
            Effect::Entry { index: number, offset } => index.add(number, offset),
            Effect::Truncate { from } => index.truncate_from(from),
            Effect::Break => index.break_run(),
        }
    }
}

/// The end of the log. Whoever writes holds it alone.
///
/// - Bytes before `synced` of the current segment are durable, and all segments before it.
/// - `standing` includes what is in the buffer.
pub(super) struct Writer {
    /// Keeps the directory locked for as long as there is somebody who may write.
    data_dir: DataDir,
    dir: PathBuf,
    pub spares: Arc<Spares>,
    segment_bytes_max: u64,
    segment: Arc<Segment>,
    standing: Standing,
    buffer: Vec<u8>,
    /// Where the buffer will lie.
    offset: u64,
    synced: u64,
    metrics: Arc<Metrics>,
    #[cfg(test)]
    sabotage: Sabotage,
}

impl Writer {
    /// A writer that goes on at `offset` of this segment, before which all is durable.
    pub(super) fn new(
        data_dir: &DataDir,
        spares: Arc<Spares>,
        options: &LogOptions,
        segment: Arc<Segment>,
        standing: Standing,
        offset: u64,
    ) -> Writer {
        Writer {
            data_dir: data_dir.clone(),
            dir: data_dir.path().join("log"),
            spares,
            segment_bytes_max: options.segment_bytes,
            segment,
            standing,
            buffer: Vec::new(),
            offset,
            synced: offset,
            metrics: options.metrics.clone(),
            #[cfg(test)]
            sabotage: options.sabotage,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Bytes left in the current segment.
    pub(super) fn room(&self) -> u64 {
        self.segment.size.saturating_sub(self.end())
    }

    /// Size of the segment after the current one.
    pub(super) fn next_size(&self) -> u64 {
        (self.segment.size * 2).min(self.segment_bytes_max)
    }

    /// Whether something is written that is not synced.
    pub(super) fn is_unsynced(&self) -> bool {
        self.synced < self.offset
    }

    /// Writes the changes; synced when `sync` or a change demands it.
    pub(super) fn commit(
        &mut self,
        changes: &[Queued],
        committed: Option<LogPosition>,
        sync: bool,
    ) -> io::Result<Vec<Effect>> {
        let mut effects = Vec::new();
        let mut sync = sync;
        for queued in changes {
            match &queued.change {
                Change::Append(entries) => {
                    for entry in entries {
                        self.put(&Record::Entry(entry.clone()), &mut effects)?;
                    }
                }
                #[cfg(test)]
                Change::Ballot(_) if self.sabotage == Sabotage::ForgetBallot => {}
                Change::Ballot(ballot) => {
                    sync = true;
                    self.put(&Record::Ballot(*ballot), &mut effects)?;
                }
                Change::Truncate(position) => self.put(&Record::Truncate(*position), &mut effects)?,
                Change::Purge(upto) => {
                    sync = true;
                    self.put(&Record::Purge(*upto), &mut effects)?;
                }
                Change::Refused(_) => {}
            }
        }
        if let Some(position) = committed {
            self.put(&Record::Committed(position), &mut effects)?;
        }
        self.flush()?;
        #[cfg(test)]
        let sync = sync && self.sabotage != Sabotage::SkipSync;
        if sync {
            self.sync()?;
        }
        if self.room() < self.segment.size / 8 * 7 {
            self.spares.prepare_ahead(0, self.next_size());
        }
        Ok(effects)
    }

    /// Writes a frame that claims what is durable, if there is room for it; not synced.
    pub(super) fn mark(&mut self, committed: Option<LogPosition>) -> io::Result<()> {
        if self.room() < 2 * SMALL_FRAME_BYTES {
            return Ok(());
        }
        let mut effects = Vec::new();
        if let Some(position) = committed {
            self.put(&Record::Committed(position), &mut effects)?;
        }
        self.put(&Record::Mark, &mut effects)?;
        self.flush()
    }

    fn put(&mut self, record: &Record, effects: &mut Vec<Effect>) -> io::Result<()> {
        let bytes = match record {
            Record::Entry(entry) => frame::entry_bytes(entry.payload.len()),
            _ => SMALL_FRAME_BYTES,
        };
        if self.room() < bytes {
            self.next_segment(bytes, effects)?;
        }
        let offset = self.end();
        frame::encode(record, self.segment.seed, offset, self.synced, &mut self.buffer);
        match record {
            Record::Entry(entry) => effects.push(Effect::Entry { index: entry.position.index, offset }),
            Record::Truncate(position) => {
                effects
                    .push(Effect::Truncate { from: position.map_or(0, |position| position.index.saturating_add(1)) });
            }
            Record::Purge(upto) if self.standing.last.is_none_or(|last| last.index <= upto.index) => {
                effects.push(Effect::Break);
            }
            _ => {}
        }
        self.standing.apply(record);
        Ok(())
    }

    /// Writes the buffer and the head of zeros behind it, which the next write replaces.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let frames = self.buffer.len();
        let padding = self.room().min(HEAD_BYTES as u64) as usize;
        self.buffer.resize(frames + padding, 0);
        let written = self.segment.file.write_at(&self.buffer, self.offset);
        written.map_err(|error| self.failed("write", &error))?;
        self.offset += frames as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes all that was written durable. It is never called again after it has failed.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.is_unsynced() {
            let began = Instant::now();
            self.segment.file.sync_data().map_err(|error| self.failed("sync", &error))?;
            self.metrics.synced(began.elapsed());
            self.synced = self.offset;
        }
        Ok(())
    }

    fn next_segment(&mut self, frame_bytes: u64, effects: &mut Vec<Effect>) -> io::Result<()> {
        self.flush()?;
        self.sync()?;
        let needed = SEGMENT_HEAD_BYTES + frame_bytes + HEAD_BYTES as u64;
        let spare = self.spares.take(needed, self.next_size());
        let spare = spare.map_err(|error| self.failed("make the segment after", &error))?;
        let head = SegmentHead {
            identity: self.data_dir.identity(),
            sequence: self.segment.sequence + 1,
            size: spare.size,
            previous_end: self.offset,
            standing: self.standing,
        };
        let segment = Segment::create(&**self.data_dir.files(), &self.dir, &head, spare);
        let segment = Arc::new(segment.map_err(|error| self.failed("make the segment after", &error))?);
        self.spares.named();
        effects.push(Effect::Segment(segment.clone()));
        self.segment = segment;
        self.offset = SEGMENT_HEAD_BYTES;
        self.synced = SEGMENT_HEAD_BYTES;
        Ok(())
    }

    fn failed(&self, action: &str, cause: &io::Error) -> io::Error {
        io::Error::new(cause.kind(), format!("cannot {action} {}: {cause}", self.segment.path.display()))
    }
}

impl Standing {
    /// What holds after this record.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => self.last = Some(entry.position),
            Record::Ballot(ballot) => self.ballot = Some(*ballot),
            Record::Committed(position) => self.committed = Some(*position),
            Record::Truncate(position) => {
                if self.last.map(|last| last.index) > position.map(|position| position.index) {
                    self.last = *position;
                }
            }
            Record::Purge(upto) => {
                if self.purged.is_none_or(|purged| purged.index < upto.index) {
                    self.purged = Some(*upto);
                    if self.last.is_none_or(|last| last.index <= upto.index) {
                        self.last = Some(*upto);
                    }
                }
            }
            Record::Mark => {}
        }
    }
}
