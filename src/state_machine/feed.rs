//! Feed: committed changes in their order, for whoever subscribed. Without a subscriber it costs one load a command.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::slot::{Slot, Version};
use crate::encoding::stored;
use crate::error::Result;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A value was written.
    Put,
    /// The key was removed by a caller.
    Delete,
    /// The key's lifetime changed, its value did not.
    Touch,
    /// The key was removed because its lifetime had passed.
    Expire,
}

/// One committed change of one key.
#[derive(Clone)]
pub struct Change {
    pub(super) kind: ChangeKind,
    pub(super) revision: u64,
    pub(super) slot: Slot,
    pub(super) version: Version,
}

impl Change {
    /// What happened.
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// Revision of the command; all changes of a bulk command share it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.slot.key()
    }

    /// The encoded value that the key has now; `None` when it was removed.
    ///
    /// # Errors
    /// `corrupt` when a stored value cannot be read.
    pub fn value(&self) -> Result<Option<Vec<u8>>> {
        let version = self.version.as_ref();
        if version.is_tombstone() {
            Ok(None)
        } else {
            stored::open(version.stored).map(|value| Some(value.into_owned()))
        }
    }

    /// When the key expires, milliseconds since the Unix epoch; `None` when it lives for ever or was removed.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.version.as_ref().deadline_ms()
    }
}

/// What a subscriber receives.
#[derive(Clone)]
#[non_exhaustive]
pub enum FeedItem {
    /// A change.
    Change(Change),
    /// The subscriber fell behind: changes from this revision on are missing, up to the next item.
    Gap {
        /// First revision of which a change is missing.
        from_revision: u64,
    },
}

/// A subscription to all committed changes from now on, in order, each exactly once. The buffer is bounded;
/// a subscriber that lets it run full is told by a [`FeedItem::Gap`] and never slows writers.
pub struct Changes {
    buffer: Arc<Buffer>,
    feed: Arc<Feed>,
    /// Whether the subscriber may still have them; `None` is always.
    is_allowed: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

struct Buffer {
    capacity: usize,
    state: Mutex<BufferState>,
    filled: Condvar,
}

#[derive(Default)]
struct BufferState {
    changes: VecDeque<Change>,
    /// First revision that did not fit; nothing is added until the reader has seen the gap.
    gap_from: Option<u64>,
}

impl Buffer {
    fn state(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(super) struct Feed {
    count: AtomicUsize,
    subscribers: Mutex<Vec<Arc<Buffer>>>,
}

impl Feed {
    pub(super) fn is_wanted(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub(super) fn subscribe(self: &Arc<Feed>, capacity: usize) -> Changes {
        let state = Mutex::new(BufferState::default());
        let buffer = Arc::new(Buffer { capacity: capacity.max(1), state, filled: Condvar::new() });
        self.subscribers().push(buffer.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Changes { buffer, feed: self.clone(), is_allowed: None }
    }

    /// Hands on the changes of one command.
    pub(super) fn publish(&self, changes: &[Change]) {
        for buffer in self.subscribers().iter() {
            let mut state = buffer.state();
            for change in changes {
                if state.gap_from.is_none() && state.changes.len() < buffer.capacity {
                    state.changes.push_back(change.clone());
                } else {
                    state.gap_from.get_or_insert(change.revision);
                }
            }
            drop(state);
            buffer.filled.notify_all();
        }
    }

    /// Everything changed at once, by a snapshot from another node.
    pub(super) fn publish_gap(&self, from_revision: u64) {
        for buffer in self.subscribers().iter() {
            buffer.state().gap_from.get_or_insert(from_revision);
            buffer.filled.notify_all();
        }
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Arc<Buffer>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// The same, but only as long as this holds.
    pub(crate) fn only_while(self, is_allowed: impl Fn() -> bool + Send + Sync + 'static) -> Changes {
        let mut changes = self;
        changes.is_allowed = Some(Box::new(is_allowed));
        changes
    }

    /// Whether nothing more will come, because the token in whose name they were opened was revoked or has expired.
    pub fn has_ended(&self) -> bool {
        self.is_allowed.as_ref().is_some_and(|is_allowed| !is_allowed())
    }

    /// The next item, waiting at most `timeout`; `None` when there was none in that time, or when there will be none, see
    /// [`Changes::has_ended`].
    pub fn next_within(&mut self, timeout: Duration) -> Option<FeedItem> {
        let item = self.wait(timeout);
        // After the wait: it may have ended meanwhile.
        if self.has_ended() { None } else { item }
    }

    fn wait(&mut self, timeout: Duration) -> Option<FeedItem> {
        let is_empty = |state: &mut BufferState| state.changes.is_empty() && state.gap_from.is_none();
        let waited = self.buffer.filled.wait_timeout_while(self.buffer.state(), timeout, is_empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(change) = state.changes.pop_front() {
            return Some(FeedItem::Change(change));
        }
        state.gap_from.take().map(|from_revision| FeedItem::Gap { from_revision })
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.feed.subscribers().retain(|buffer| !Arc::ptr_eq(buffer, &self.buffer));
        self.feed.count.fetch_sub(1, Ordering::Relaxed);
    }
}
