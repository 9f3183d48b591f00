//! Metrics: all that one open store counts and times of itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::buckets::{Account, Buckets, CALL_NS, COMMANDS, Durations};
use super::hot_keys::HotKeys;
use super::requests::Requests;
use super::threads::{Counters, PerThread, place};
use super::verb::{Ending, LEVELS, Verb};
use crate::config::Consistency;

/// A sync of the log that takes longer than this is told in the log of the program.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// One read in so many that are timed is looked at for hot keys: looking costs more than timing. It is one whose weight is a
/// multiple of this; weights are random, so which one it is has nothing to do with the key.
const TIMED_PER_HOT_KEY: u32 = 4;

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TelemetryOptions {
    pub(crate) enabled: bool,
    /// Whether the most used keys are looked for.
    pub(crate) hot_keys: bool,
    /// Whether they are shown as they are, and not as a hash.
    pub(crate) shows_keys: bool,
}

/// Who could not prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthFailure {
    /// A caller with a token that is malformed, unknown, expired or revoked.
    Token,
    /// A node or client with another cookie.
    Peer,
}

/// All that one open store counts and times of itself. Shared by its rooms; recording never blocks and never fails.
///
/// - Counters only grow, as long as the store is open.
/// - Every call is counted. Every write is timed; of the reads one in about 64 is, and stands for those in between.
/// - Nothing that is kept here holds a value or a token; keys are kept for the hot keys alone.
pub(crate) struct Metrics {
    enabled: bool,
    started: Instant,
    threads: PerThread,
    reads: [Account; LEVELS.len()],
    verbs: [Account; Verb::ALL.len()],
    hot_keys: Option<HotKeys>,
    pub(super) fsync: Buckets,
    pub(super) queue_wait: Buckets,
    pub(super) batch_commands: Buckets,
    pub(super) apply: Durations,
    pub(super) leader_changes: AtomicU64,
    pub(super) snapshot_created_bytes: AtomicU64,
    pub(super) snapshot_installed_bytes: AtomicU64,
    pub(super) auth_failures: [AtomicU64; 2],
    pub(super) requests: Requests,
    /// When somebody was last told of a peer that was refused, in seconds of this store, and how many were refused since.
    refusal_told_s: AtomicU64,
    has_told: AtomicBool,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl Default for Metrics {
    /// Metrics that record nothing.
    fn default() -> Metrics {
        Metrics::new(TelemetryOptions { enabled: false, hot_keys: false, shows_keys: false })
    }
}

/// A read that has begun.
pub(crate) struct ReadBegun<'a> {
    counters: &'a Counters,
    /// When it is timed: since when, and for how many it stands.
    timed: Option<(Instant, u32)>,
}

impl Metrics {
    pub(crate) fn new(options: TelemetryOptions) -> Metrics {
        Metrics {
            enabled: options.enabled,
            started: Instant::now(),
            threads: PerThread::new(),
            reads: std::array::from_fn(|_| Account::new()),
            verbs: std::array::from_fn(|_| Account::new()),
            hot_keys: (options.enabled && options.hot_keys).then(|| HotKeys::new(options.shows_keys)),
            fsync: Buckets::new(CALL_NS),
            queue_wait: Buckets::new(CALL_NS),
            batch_commands: Buckets::new(COMMANDS),
            apply: Durations::new(),
            leader_changes: AtomicU64::new(0),
            snapshot_created_bytes: AtomicU64::new(0),
            snapshot_installed_bytes: AtomicU64::new(0),
            auth_failures: Default::default(),
            requests: Requests::default(),
            refusal_told_s: AtomicU64::new(0),
            has_told: AtomicBool::new(false),
        }
    }

    /// Whether anything is recorded.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The number of this minute, from 1.
    pub(super) fn minute(&self, now: Instant) -> u64 {
        self.second(now) / 60 + 1
    }

    /// Seconds since the store was opened.
    pub(super) fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    /// A read begins. Only of one in about 64 the clock is read.
    #[inline]
    pub(crate) fn begin_read(&self) -> ReadBegun<'_> {
        let counters = self.threads.at(place());
        let timed = counters.reads.pick().map(|weight| (Instant::now(), weight));
        ReadBegun { counters, timed }
    }

    /// The read has ended.
    #[inline]
    pub(crate) fn end_read(&self, begun: ReadBegun<'_>, key: &[u8], level: Consistency, ending: Ending) {
        match ending {
            Ending::Ok => begun.counters.count(cell_of(level, true)),
            Ending::NotFound => begun.counters.count(cell_of(level, false)),
            Ending::Failed(_) => self.reads[level as usize].count(ending),
        }
        if let Some((since, weight)) = begun.timed {
            self.timed_read(since, weight, key, level, ending);
        }
    }

    #[cold]
    fn timed_read(&self, since: Instant, weight: u32, key: &[u8], level: Consistency, ending: Ending) {
        let now = Instant::now();
        self.reads[level as usize].record(self.minute(now), ending, ns_between(since, now), weight);
        self.note_key(now, key, weight);
    }

    /// A read that was not quick, because others were asked; `since` it began.
    pub(crate) fn awaited_read(&self, since: Instant, key: &[u8], level: Consistency, ending: Ending) {
        if !self.enabled {
            return;
        }
        let now = Instant::now();
        let account = &self.reads[level as usize];
        account.count(ending);
        account.record(self.minute(now), ending, ns_between(since, now), 1);
        if let Some(weight) = self.threads.at(place()).reads.pick() {
            self.note_key(now, key, weight);
        }
    }

    /// A write begins with these keys.
    pub(crate) fn begin_write<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Instant {
        let now = Instant::now();
        if let Some(hot_keys) = &self.hot_keys {
            let writes = &self.threads.at(place()).writes;
            for key in keys {
                if let Some(weight) = writes.pick() {
                    hot_keys.record(self.second(now), key, u64::from(weight));
                }
            }
        }
        now
    }

    /// A call of any verb but `get` has ended.
    pub(crate) fn ended(&self, verb: Verb, since: Instant, ending: Ending) {
        if !self.enabled {
            return;
        }
        let now = Instant::now();
        let account = &self.verbs[verb as usize];
        account.count(ending);
        account.record(self.minute(now), ending, ns_between(since, now), 1);
    }

    fn note_key(&self, now: Instant, key: &[u8], weight: u32) {
        if let (Some(hot_keys), true) = (&self.hot_keys, weight.is_multiple_of(TIMED_PER_HOT_KEY)) {
            hot_keys.record(self.second(now), key, u64::from(weight * TIMED_PER_HOT_KEY));
        }
    }

    /// The log has made durable what was written.
    pub(crate) fn synced(&self, took: Duration) {
        if self.enabled {
            self.fsync.record(ns_of(took), 1);
        }
        if took > SLOW_SYNC {
            tracing::warn!(
                took_ms = took.as_millis() as u64,
                "the disk is slow: a sync of the log took more than a second"
            );
        }
    }

    /// An entry leaves the queue with so many commands, the first of which waited so long.
    pub(crate) fn proposed(&self, commands: usize, waited: Duration) {
        if self.enabled {
            self.batch_commands.record(commands as u64, 1);
            self.queue_wait.record(ns_of(waited), 1);
        }
    }

    /// The state machine has applied an entry of so many commands.
    pub(crate) fn applied(&self, commands: usize, since: Instant) {
        if self.enabled && commands > 0 {
            let now = Instant::now();
            let each_ns = ns_between(since, now) / commands as u64;
            self.apply.record(self.minute(now), each_ns, commands.try_into().unwrap_or(u32::MAX));
        }
    }

    /// A leader has taken office, and it is not the first that this node knows.
    pub(crate) fn leader_changed(&self) {
        self.leader_changes.fetch_add(1, Ordering::Relaxed);
    }

    /// This node has written a snapshot of its content.
    pub(crate) fn snapshot_created(&self, bytes: u64) {
        self.snapshot_created_bytes.store(bytes, Ordering::Relaxed);
    }

    /// This node has taken its content from another node's snapshot.
    pub(crate) fn snapshot_installed(&self, bytes: u64) {
        self.snapshot_installed_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Somebody could not prove who they are.
    pub(crate) fn auth_failed(&self, who: AuthFailure) {
        self.auth_failures[who as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a refusal may be told in the log of the program: at most one a second is, because strangers cause them.
    pub(crate) fn may_tell_refusal(&self) -> bool {
        let now_s = self.second(Instant::now());
        let is_first = !self.has_told.swap(true, Ordering::Relaxed);
        self.refusal_told_s.swap(now_s, Ordering::Relaxed) < now_s || is_first
    }

    /// The HTTP server has answered a request. `route` is the pattern of the route, never the path that was asked for: paths
    /// hold keys, and there is no end of them.
    pub(crate) fn http_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        if self.enabled {
            self.requests.record(method, route, status, ns_of(took));
        }
    }

    /// How many reads of this level have ended so.
    pub(super) fn reads_ended(&self, level: Consistency, number: usize) -> u64 {
        let quick = match number {
            0 => self.threads.total(cell_of(level, true)),
            number if number == Ending::NotFound.number() => self.threads.total(cell_of(level, false)),
            _ => 0,
        };
        quick + self.reads[level as usize].ended(number)
    }

    pub(super) fn reads(&self, level: Consistency) -> &Account {
        &self.reads[level as usize]
    }

    pub(super) fn verb(&self, verb: Verb) -> &Account {
        &self.verbs[verb as usize]
    }

    pub(super) fn hot_keys(&self, now: Instant) -> Option<Vec<(String, f64)>> {
        Some(self.hot_keys.as_ref()?.read(self.second(now)))
    }
}

/// The cell of the counters of threads that counts reads of this level.
#[inline]
fn cell_of(level: Consistency, found: bool) -> usize {
    level as usize * 2 + usize::from(found)
}

fn ns_between(since: Instant, now: Instant) -> u64 {
    ns_of(now.saturating_duration_since(since))
}

fn ns_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
