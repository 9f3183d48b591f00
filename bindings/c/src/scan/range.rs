//! Range: a walk over a range of keys, which copies as little as can be.

use std::ops::{Bound, ControlFlow, Range};

use concord_kv::{RecordView, View};

use super::concord_item;
use crate::bytes::concord_bytes;
use crate::status::Outcome;

/// Records copied at a time: few at first, so that a short scan stays cheap.
const CHUNK_ITEMS_MIN: usize = 16;
const CHUNK_ITEMS_MAX: usize = 512;
/// A chunk ends when it holds this many bytes, or one larger record.
const CHUNK_BYTES: usize = 256 * 1024;

struct Entry {
    key: Range<usize>,
    value: Range<usize>,
    revision: u64,
    ttl_ms: u64,
}

/// A chunk of copied records and where the next chunk begins.
pub(super) struct RangeWalk {
    view: View,
    /// `None`: there can be no such key.
    bounds: Option<Bounds>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    chunk_items: usize,
}

impl RangeWalk {
    pub(super) fn new(view: View, prefix: &[u8], start: &[u8], end: &[u8]) -> RangeWalk {
        let bounds = bounds(prefix, start, end);
        RangeWalk { view, bounds, bytes: Vec::new(), entries: Vec::new(), chunk_items: CHUNK_ITEMS_MIN }
    }

    /// How many records the chunk has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn item(&self, at: usize) -> concord_item {
        let entry = &self.entries[at];
        concord_item {
            key: concord_bytes::of(&self.bytes[entry.key.clone()]),
            value: concord_bytes::of(&self.bytes[entry.value.clone()]),
            revision: entry.revision,
            ttl_ms: entry.ttl_ms,
        }
    }

    /// Reads the next chunk; whether it is the last one.
    pub(super) fn refill(&mut self) -> Outcome<bool> {
        self.bytes.clear();
        self.entries.clear();
        let RangeWalk { view, bounds, bytes, entries, chunk_items } = self;
        let Some((lower, upper)) = bounds else { return Ok(true) };
        let mut is_last = true;
        let range = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        view.scan(range, |key: &[u8], record: RecordView<'_>| {
            if entries.len() == *chunk_items || (bytes.len() >= CHUNK_BYTES && !entries.is_empty()) {
                is_last = false;
                return ControlFlow::Break(());
            }
            let at = bytes.len();
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&record.value);
            let (key, value) = (at..at + key.len(), at + key.len()..bytes.len());
            entries.push(Entry { key, value, revision: record.revision, ttl_ms: record.ttl_ms.unwrap_or(0) });
            ControlFlow::Continue(())
        })?;
        if let Some(last) = entries.last() {
            *lower = Bound::Excluded(bytes[last.key.clone()].to_vec());
        }
        *chunk_items = (*chunk_items * 2).min(CHUNK_ITEMS_MAX);
        Ok(is_last)
    }
}

/// Where a scan begins and ends.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The first bytes behind everything that begins with `prefix`; unbounded when there are none.
fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    let Some(at) = prefix.iter().rposition(|byte| *byte != 0xff) else {
        return Bound::Unbounded;
    };
    let mut bytes = prefix[..=at].to_vec();
    bytes[at] += 1;
    Bound::Excluded(bytes)
}

/// Bounds of the keys that prefix, start and end all allow; `None` when there can be no such key.
fn bounds(prefix: &[u8], start: &[u8], end: &[u8]) -> Option<Bounds> {
    let lower = prefix.max(start);
    let upper = match (behind(prefix), end.is_empty()) {
        (behind, true) => behind,
        (Bound::Excluded(behind), false) if behind.as_slice() < end => Bound::Excluded(behind),
        _ => Bound::Excluded(end.to_vec()),
    };
    match upper {
        Bound::Excluded(upper) if upper.as_slice() <= lower => None,
        upper if lower.is_empty() => Some((Bound::Unbounded, upper)),
        upper => Some((Bound::Included(lower.to_vec()), upper)),
    }
}
