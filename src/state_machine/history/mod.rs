//! History: the newest committed changes of this node, kept once for all who watch. Bounded by count and bytes.
//!
//! A watcher is a [`Cursor`] into it: it holds no changes of its own, reads when it wants to, and never delays a writer. What
//! it has not read in time is gone, and it is told so. Changes are copied when they are applied, so that keeping them keeps no
//! old version of a record alive; only large values are shared with the records.

mod chunk;
mod recorder;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use chunk::Chunk;
pub(super) use recorder::{Change, Recorder};

use crate::config::EventHistory;
use crate::error::{ErrorKind, Result};
use crate::model::{EventView, Position};

/// Pieces that one look takes out at once, so that the lock is held for a moment only.
const CHUNKS_PER_LOOK: usize = 16;
const NO_HINT: (u64, usize) = (u64::MAX / 2, 0);

/// The newest changes, for all who watch.
pub(crate) struct History {
    retention: EventHistory,
    ring: Mutex<Ring>,
}

/// Invariants:
/// - `chunks` hold every change of the revisions from `oldest` to before `next`, in order.
/// - A watcher is in `waiting` only as long as nothing has come that it has not looked at.
#[derive(Default)]
struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    /// Number of the first chunk; they are counted from the beginning of time.
    first: u64,
    oldest: u64,
    next: u64,
    events: usize,
    bytes: usize,
    published: u64,
    cursors: usize,
    waiting: BTreeMap<u64, Waker>,
    last_cursor: u64,
    is_closed: bool,
}

/// What a history holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// The oldest revision that can be read.
    pub(crate) oldest: u64,
    /// The revision to come.
    pub(crate) next: u64,
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    /// Changes that were ever taken in.
    pub(crate) published: u64,
    /// Who stands somewhere in it.
    pub(crate) cursors: usize,
}

/// Where a watcher stands.
pub(crate) struct Cursor {
    position: Position,
    id: u64,
    /// Number of a chunk and the entry in it behind which the position was reached, so that nothing is searched then.
    hint: (u64, usize),
    history: Arc<History>,
}

/// How a look into the history ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Nothing more is there now.
    AtEnd,
    /// There is more to look at.
    Paused,
    /// What comes next is not kept any more.
    Missing {
        /// The oldest revision that is.
        oldest: u64,
    },
}

impl History {
    pub(super) fn new(retention: EventHistory) -> History {
        let ring = Ring { oldest: 1, next: 1, ..Ring::default() };
        History { retention, ring: Mutex::new(ring) }
    }

    pub(crate) fn retention(&self) -> EventHistory {
        self.retention
    }

    pub(super) fn is_kept(&self) -> bool {
        self.retention.events_max > 0
    }

    /// What it holds at this moment.
    pub(crate) fn held(&self) -> Held {
        let ring = self.ring();
        let Ring { oldest, next, events, bytes, published, cursors, .. } = *ring;
        Held { oldest, next, events, bytes, published, cursors }
    }

    /// A watcher at this place; `None` is the present.
    pub(crate) fn cursor(self: &Arc<History>, position: Option<Position>) -> Cursor {
        let mut ring = self.ring();
        ring.last_cursor += 1;
        ring.cursors += 1;
        let position = position.unwrap_or(Position::before(ring.next));
        Cursor { position, id: ring.last_cursor, hint: NO_HINT, history: self.clone() }
    }

    /// Wakes all who wait, to look whether they still may.
    pub(crate) fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.ring().waiting);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.ring().is_closed = true;
        self.wake_all();
    }

    /// Everything changed at once: history begins anew behind this revision.
    pub(super) fn begin_behind(&self, revision: u64) {
        let waiting = {
            let mut ring = self.ring();
            ring.clear();
            (ring.oldest, ring.next) = (revision + 1, revision + 1);
            std::mem::take(&mut ring.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Takes over what was recorded up to `revision`, and leaves it to the caller to wake who waits for it; without `is_whole` something before it was too much to keep.
    fn publish(&self, mut chunk: Chunk, revision: u64, is_whole: bool) {
        chunk.shrink();
        // Freed after the lock, which it outlives.
        let mut gone = Vec::new();
        let mut ring = self.ring();
        if !is_whole {
            gone.extend(ring.chunks.iter().cloned());
            ring.clear();
            ring.oldest = chunk.first_revision().unwrap_or(revision + 1);
        }
        ring.next = revision + 1;
        if !chunk.is_empty() {
            ring.events += chunk.len();
            ring.published += chunk.len() as u64;
            ring.bytes += chunk.bytes();
            ring.chunks.push_back(Arc::new(chunk));
        }
        while ring.events > self.retention.events_max || ring.bytes > self.retention.bytes_max {
            let Some(oldest) = ring.drop_oldest() else { break };
            gone.push(oldest);
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn clear(&mut self) {
        self.first += self.chunks.len() as u64;
        self.chunks = VecDeque::new();
        (self.events, self.bytes) = (0, 0);
    }

    fn drop_oldest(&mut self) -> Option<Arc<Chunk>> {
        let chunk = self.chunks.pop_front()?;
        self.first += 1;
        self.events -= chunk.len();
        self.bytes -= chunk.bytes();
        self.oldest = self.chunks.front().and_then(|chunk| chunk.first_revision()).unwrap_or(self.next);
        Some(chunk)
    }

    /// The number of the chunk in which this revision is.
    fn find(&self, revision: u64, hint: u64) -> u64 {
        let is_it = |chunk: &Arc<Chunk>| chunk.holds(revision);
        let at = hint.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        match at {
            Some(at) if self.chunks.get(at).is_some_and(is_it) => hint,
            Some(at) if self.chunks.get(at + 1).is_some_and(is_it) => hint + 1,
            _ => self.first + self.chunks.partition_point(|chunk| chunk.last_revision() < Some(revision)) as u64,
        }
    }
}

impl Cursor {
    /// The change that comes next.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Goes on elsewhere.
    pub(crate) fn move_to(&mut self, position: Position) {
        self.position = position;
        self.hint = NO_HINT;
    }

    /// Hands on the changes from where it stands, at most `entries_max` of them, until `f` breaks off; that one comes first
    /// the next time. At the end it has `waker` woken when more comes, or when it should look again for another reason.
    ///
    /// Errors: `closed` when nothing more will come; `corrupt` when a value cannot be read.
    pub(crate) fn look(
        &mut self,
        entries_max: usize,
        waker: Option<&Waker>,
        mut f: impl FnMut(&EventView<'_>) -> ControlFlow<()>,
    ) -> Result<Looked> {
        let mut left = entries_max;
        loop {
            let (number, chunks) = {
                let mut ring = self.history.ring();
                if ring.is_closed {
                    return Err(ErrorKind::Closed.into());
                }
                if self.position.revision < ring.oldest {
                    return Ok(Looked::Missing { oldest: ring.oldest });
                }
                if self.position.revision >= ring.next {
                    if let Some(waker) = waker {
                        ring.waiting.insert(self.id, waker.clone());
                    }
                    return Ok(Looked::AtEnd);
                }
                let number = ring.find(self.position.revision, self.hint.0);
                let at = (number - ring.first) as usize;
                (number, ring.chunks.iter().skip(at).take(CHUNKS_PER_LOOK).cloned().collect::<Vec<_>>())
            };
            for (number, chunk) in (number..).zip(&chunks) {
                let mut at = match self.hint {
                    (hint, at) if hint == number => at,
                    _ => chunk.find(self.position),
                };
                while at < chunk.len() {
                    if left == 0 {
                        self.hint = (number, at);
                        return Ok(Looked::Paused);
                    }
                    left -= 1;
                    let (next, flow) = chunk.with(at, self.position, &mut f)?;
                    if flow.is_break() {
                        self.hint = (number, at);
                        return Ok(Looked::Paused);
                    }
                    self.position = next;
                    at += 1;
                }
                self.hint = (number, at);
                // It may have stood behind more changes than its revision has.
                if let Some(last) = chunk.last_revision().filter(|last| self.position.revision <= *last) {
                    self.position = Position::after(last);
                }
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut ring = self.history.ring();
        ring.cursors -= 1;
        ring.waiting.remove(&self.id);
    }
}
