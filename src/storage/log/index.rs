//! Index: where in which segment entries lie, sparsely, and how many bytes they take.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::Segment;

/// One point for about so many bytes.
const STEP_BYTES: u64 = 16 * 1024;

/// An entry's place. From here on entries lie without gap up to the next point's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub index: u64,
    pub offset: u64,
}

/// Entries `first..end` begin at or after `offset` of the segment.
pub(super) struct Run {
    pub segment: Arc<Segment>,
    pub offset: u64,
    pub end: u64,
}

struct Shelf {
    segment: Arc<Segment>,
    points: Vec<Point>,
    /// Highest index of a valid entry in it.
    last: Option<u64>,
}

/// The places of all written entries.
#[derive(Default)]
pub(super) struct Index {
    shelves: VecDeque<Shelf>,
    /// The next entry does not lie directly after the one before.
    breaks: bool,
}

impl Index {
    /// Goes on in this segment.
    pub(super) fn push_segment(&mut self, segment: Arc<Segment>) {
        self.shelves.push_back(Shelf { segment, points: Vec::new(), last: None });
    }

    /// Notes that the entry lies at this offset of the newest segment.
    pub(super) fn add(&mut self, index: u64, offset: u64) {
        let shelf = self.shelves.back_mut().expect("a segment comes before its entries");
        let due = shelf.points.last().is_none_or(|point| offset - point.offset >= STEP_BYTES);
        if due || self.breaks {
            shelf.points.push(Point { index, offset });
            self.breaks = false;
        }
        shelf.last = Some(index);
    }

    /// Index of the oldest entry that is written.
    pub(super) fn first(&self) -> Option<u64> {
        self.shelves.iter().find_map(|shelf| shelf.points.first()).map(|point| point.index)
    }

    /// Forgets the entries from this index on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        for shelf in self.shelves.iter_mut().rev() {
            if shelf.last.is_some_and(|last| last < index) {
                break;
            }
            let kept = shelf.points.partition_point(|point| point.index < index);
            shelf.points.truncate(kept);
            shelf.last = if kept == 0 { None } else { index.checked_sub(1) };
        }
        self.breaks = true;
    }

    /// Notes that the next entry's index does not follow the last one's.
    pub(super) fn break_run(&mut self) {
        self.breaks = true;
    }

    /// Where to find the entries `from..end`: runs that together hold about `max_bytes`, at least one.
    pub(super) fn runs(&self, from: u64, end: u64, max_bytes: usize) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let holds_from = |shelf: &Shelf| shelf.points.first().is_some_and(|point| point.index <= from);
        let start = self.shelves.iter().rposition(holds_from).unwrap_or(0);
        for shelf in self.shelves.iter().skip(start) {
            let skip = shelf.points.partition_point(|point| point.index <= from).saturating_sub(1);
            for point in &shelf.points[skip..] {
                if let Some(before) = runs.last_mut() {
                    before.end = before.end.min(point.index);
                }
                if point.index >= end || runs.len() as u64 > max_bytes as u64 / STEP_BYTES + 1 {
                    return runs;
                }
                runs.push(Run { segment: shelf.segment.clone(), offset: point.offset, end });
            }
        }
        runs
    }

    /// Takes out the segments, oldest first, in which no entry after `purged` lies. The newest always stays.
    pub(super) fn take_purged(&mut self, purged: Option<u64>) -> Vec<Arc<Segment>> {
        let mut taken = Vec::new();
        while self.shelves.len() > 1 && self.shelves[0].last.is_none_or(|last| purged.is_some_and(|upto| last <= upto))
        {
            taken.extend(self.shelves.pop_front().map(|shelf| shelf.segment));
        }
        taken
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.shelves.len()
    }
}

/// Running total of the bytes of entries, sampled.
#[derive(Default, Clone)]
pub(super) struct Sizes {
    total: u64,
    /// Index of an entry and the total before it.
    samples: VecDeque<(u64, u64)>,
}

impl Sizes {
    /// Adds the next entry.
    pub(super) fn add(&mut self, index: u64, bytes: u64) {
        if self.samples.back().is_none_or(|&(_, total)| self.total - total >= STEP_BYTES) {
            self.samples.push_back((index, self.total));
        }
        self.total += bytes;
    }

    /// Entries from this index on are void; their bytes stay in the file.
    pub(super) fn truncate_from(&mut self, index: u64) {
        while self.samples.len() > 1 && self.samples.back().is_some_and(|&(sampled, _)| sampled >= index) {
            self.samples.pop_back();
        }
    }

    /// Entries up to this one are gone.
    pub(super) fn purge(&mut self, upto: u64, is_empty: bool) {
        if is_empty {
            self.samples.clear();
            return;
        }
        while self.samples.len() > 1 && self.samples[1].0 <= upto + 1 {
            self.samples.pop_front();
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.samples.front().map_or(0, |&(_, total)| self.total - total)
    }
}
