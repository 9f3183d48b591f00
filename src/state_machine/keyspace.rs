//! Keyspace: all slots, reached by hash and by order; the readers' side of the state machine.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use papaya::HashSet;

use super::consumers::{ConsumerRecord, Consumers};
use super::expiry::ExpiryIndex;
use super::history::{Cursor, History, Recorder};
use super::indexes::Indexes;
#[cfg(test)]
use super::sabotage::Sabotage;
use super::sessions::{Receipts, Sessions};
use super::slot::{Slot, VersionRef};
use super::tokens::Tokens;
use super::versions::Versions;
use crate::config::EventHistory;
use crate::encoding::stored;
use crate::error::{ErrorKind, Result};
use crate::model::{Position, RecordView, TokenId};

/// What a record costs beside its key and value: slot, version, index entries (measured).
const RECORD_OVERHEAD_BYTES: u64 = 128;

/// The store's content. Cheap to clone; any number of readers, one writer at a time.
#[derive(Clone)]
pub(crate) struct StateMachine {
    content: Arc<ArcSwap<Content>>,
    history: Arc<History>,
    /// Outlives the content that a snapshot replaces; see [`Tokens`].
    tokens: Arc<Tokens>,
    /// How many records were removed because their time was over.
    pub(super) expired: Arc<AtomicU64>,
    #[cfg(test)]
    pub(crate) sabotage: Arc<Sabotage>,
}

/// One generation of the content; a snapshot from another node replaces it whole.
pub(super) struct Content {
    pub(super) slots: HashSet<Slot, foldhash::fast::RandomState>,
    pub(super) ordered: RwLock<BTreeSet<Slot>>,
    pub(super) writer: Mutex<Writer>,
    pub(super) indexes: Indexes,
    /// Revision of the last command that is in place as a whole.
    pub(super) published: AtomicU64,
    /// Latest stamp of all applied batches.
    pub(super) time_ms: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// What only the writer touches. Its lock is also what pins and unpins a point in time.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) revision: u64,
    pub(super) time_ms: u64,
    pub(super) expiry: ExpiryIndex,
    pub(super) versions: Versions,
    pub(super) sessions: Sessions,
    pub(super) receipts: Receipts,
    pub(super) consumers: Consumers,
    pub(super) recorder: Recorder,
}

impl StateMachine {
    pub(crate) fn new() -> StateMachine {
        StateMachine::keeping(EventHistory::default())
    }

    /// An empty one that keeps so much of its changes.
    pub(crate) fn keeping(retention: EventHistory) -> StateMachine {
        StateMachine {
            content: Arc::new(ArcSwap::from_pointee(Content::new())),
            history: Arc::new(History::new(retention)),
            tokens: Arc::default(),
            expired: Arc::default(),
            #[cfg(test)]
            sabotage: Arc::default(),
        }
    }

    pub(super) fn content(&self) -> arc_swap::Guard<Arc<Content>> {
        self.content.load()
    }

    pub(super) fn content_arc(&self) -> Arc<Content> {
        self.content.load_full()
    }

    /// Readers see the old content or the new one; those who watch are told that they missed what is between.
    pub(super) fn replace_content(&self, content: Content) {
        let revision = content.published.load(Ordering::Acquire);
        self.content.store(Arc::new(content));
        self.history.begin_behind(revision);
    }

    /// The valid tokens. Only commands change them.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The token that opened this session, `None` within when a member or somebody who holds the cookie did; `None` when
    /// there is no such session.
    pub(crate) fn session_owner(&self, session: u64) -> Option<Option<TokenId>> {
        self.content().writer().sessions.owner(session)
    }

    /// The named watcher of this name.
    pub(crate) fn consumer(&self, name: &str) -> Option<ConsumerRecord> {
        self.content().writer().consumers.get(name).cloned()
    }

    /// All named watchers, by name.
    pub(crate) fn consumers(&self) -> Vec<ConsumerRecord> {
        self.content().writer().consumers.all().cloned().collect()
    }

    /// How many records were removed here because their time was over.
    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// The newest changes.
    pub(crate) fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Looks at changes from this place on; `None` is the present.
    pub(crate) fn cursor(&self, position: Option<Position>) -> Cursor {
        self.history.cursor(position)
    }

    /// Reads one record without lock, queue or copy. `now_ms` is asked only when the record has a deadline.
    pub(crate) fn read<T>(
        &self,
        key: &[u8],
        now_ms: impl FnOnce() -> u64,
        f: impl FnOnce(RecordView<'_>) -> T,
    ) -> Result<Option<T>> {
        self.read_within(key, usize::MAX, now_ms, f)
    }

    /// The same, but a value of more than `value_bytes_max` bytes is refused before anything is decompressed.
    pub(crate) fn read_within<T>(
        &self,
        key: &[u8],
        value_bytes_max: usize,
        now_ms: impl FnOnce() -> u64,
        f: impl FnOnce(RecordView<'_>) -> T,
    ) -> Result<Option<T>> {
        let content = self.content();
        let slots = content.slots.pin();
        let Some(slot) = slots.get(key) else { return Ok(None) };
        let current = slot.current();
        let version = current.as_ref();
        if version.is_shared() {
            content.wait_until_published(version.revision());
        }
        if version.is_tombstone() {
            return Ok(None);
        }
        let ttl_ms = match version.deadline_ms() {
            None => None,
            Some(deadline_ms) => match deadline_ms.checked_sub(now_ms()) {
                None | Some(0) => return Ok(None),
                ttl_ms => ttl_ms,
            },
        };
        if stored::opened_len(version.stored) > value_bytes_max {
            return Err(ErrorKind::ValueTooLarge.into());
        }
        let value = stored::open(version.stored)?;
        Ok(Some(f(RecordView { value, revision: version.revision(), ttl_ms })))
    }

    /// Revision of the last applied change.
    pub(crate) fn revision(&self) -> u64 {
        self.content().published.load(Ordering::Acquire)
    }

    /// Latest stamp of all applied batches, milliseconds since the Unix epoch.
    pub(crate) fn time_ms(&self) -> u64 {
        self.content().time_ms.load(Ordering::Acquire)
    }

    /// How many records there are, those included that have expired and are not removed yet.
    pub(crate) fn len(&self) -> u64 {
        self.content().records.load(Ordering::Relaxed)
    }

    /// Bytes of memory that the records take, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let content = self.content();
        content.bytes.load(Ordering::Relaxed) + content.records.load(Ordering::Relaxed) * RECORD_OVERHEAD_BYTES
    }

    /// Up to when records have expired at `now_ms`, about `limit` of them; `None` when none has.
    pub(crate) fn expiry_due(&self, now_ms: u64, limit: usize) -> Option<u64> {
        self.content().writer().expiry.next_due(now_ms, limit)
    }
}

impl Content {
    pub(super) fn new() -> Content {
        Content {
            slots: HashSet::with_hasher(foldhash::fast::RandomState::default()),
            ordered: RwLock::new(BTreeSet::new()),
            writer: Mutex::new(Writer::default()),
            indexes: Indexes::default(),
            published: AtomicU64::new(0),
            time_ms: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slot(&self, key: &[u8]) -> Option<Slot> {
        self.slots.pin().get(key).cloned()
    }

    pub(super) fn insert(&self, slot: &Slot, stored_len: usize) {
        self.slots.pin().insert(slot.clone());
        self.ordered.write().unwrap_or_else(PoisonError::into_inner).insert(slot.clone());
        self.count(1, slot.key().len() + stored_len);
    }

    /// Takes a slot out of both indexes; readers that hold it go on seeing its last version.
    pub(super) fn remove(&self, slot: &Slot) {
        self.slots.pin().remove(slot.key());
        self.ordered.write().unwrap_or_else(PoisonError::into_inner).remove(slot.key());
    }

    pub(super) fn count(&self, records: u64, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn discount(&self, records: u64, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// A command over several keys is being applied: at most 500 of them, so microseconds; or all that `delete_where` has
    /// picked, so about as long as removing them takes.
    #[cold]
    fn wait_for(&self, revision: u64) {
        while self.published.load(Ordering::Acquire) < revision {
            std::thread::yield_now();
        }
    }

    fn wait_until_published(&self, revision: u64) {
        if self.published.load(Ordering::Acquire) < revision {
            self.wait_for(revision);
        }
    }

    /// The next slots in key order, at most `limit`, so that the lock is never held for long.
    pub(super) fn slots_in(&self, range: (Bound<&[u8]>, Bound<&[u8]>), limit: usize, out: &mut Vec<Slot>) {
        out.clear();
        let ordered = self.ordered.read().unwrap_or_else(PoisonError::into_inner);
        out.extend(ordered.range::<[u8], _>(range).take(limit).cloned());
    }
}

/// A borrowed version as a record, `None` when it is gone at `now_ms`.
pub(super) fn record_of(version: VersionRef<'_>, now_ms: u64) -> Result<Option<RecordView<'_>>> {
    if version.is_tombstone() || version.is_expired_at(now_ms) {
        return Ok(None);
    }
    Ok(Some(RecordView {
        value: stored::open(version.stored)?,
        revision: version.revision(),
        ttl_ms: version.deadline_ms().map(|deadline_ms| deadline_ms - now_ms),
    }))
}
