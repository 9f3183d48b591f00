//! Watch: committed changes, in their order, for whoever asks for them.

mod consumers;
mod local;
mod remote;
mod serving;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::Kv;
use super::kv::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::expression::{Selection, Strictness};
use crate::model::{EventKinds, Notice, Position, Selector};
use crate::state_machine::Held;
use crate::telemetry::{Ending, Verb};
pub use consumers::{Consumer, ConsumerInfo, Consumers, NewConsumer};
use local::LocalWatch;
use remote::RemoteWatch;
pub(super) use serving::{Held as HeldPolls, answer};

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchStart {
    /// With the next change.
    #[default]
    Now,
    /// With the first change at this place or behind it: `Position::before(42)` begins with the changes of revision 42 itself.
    /// A place that is not reached yet is waited for. What is no longer retained is refused with `compacted`.
    From(Position),
    /// With everything that is there now, each record as an event of the kind `state`, in the order of the keys; then a
    /// [`Notice::Progress`] with the revision at which that was so; then with all changes behind it, without a gap.
    State,
}

/// What a watcher wants. `WatchOptions::default()` is every change from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchOptions<'a> {
    /// Which keys; it has neither `offset` nor `limit`. Its `filter` is held against the value that a key has now, and of a
    /// removed one against the value that it had; `revision` and `time` there are those of the change.
    pub selector: Selector<'a>,
    /// Where it begins.
    pub start: WatchStart,
    /// Which kinds of changes.
    pub kinds: EventKinds,
    /// Whether every event comes with the value that the key had before.
    pub with_previous: bool,
    /// Whether [`Notice::Progress`] tells, at the end of what is there, that changes were passed of which none was selected. A
    /// consumer that notes down how far it has come then need not look at them again.
    pub with_progress: bool,
}

/// What a node keeps for those who watch, and what became of it since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchStats {
    /// Watches that are open here, those of clients only while one waits for an answer.
    pub watchers: usize,
    /// Changes that are kept.
    pub events_kept: usize,
    /// Bytes of memory that they take.
    pub bytes_kept: usize,
    /// The oldest revision that a watch can begin with.
    pub oldest_revision: u64,
    /// The revision to come.
    pub next_revision: u64,
    /// Changes that were kept since the node was opened.
    pub events_published: u64,
}

impl WatchStats {
    pub(crate) fn of(held: Held) -> WatchStats {
        let Held { oldest, next, events, bytes, published, cursors } = held;
        WatchStats {
            watchers: cursors,
            events_kept: events,
            bytes_kept: bytes,
            oldest_revision: oldest,
            next_revision: next,
            events_published: published,
        }
    }
}

/// Committed changes as one watcher wants them, in their order, each exactly once. From [`Concord::watch`](crate::Concord::watch).
///
/// Nothing is sent: the watcher takes when it wants to, and only then. What it has not taken waits in the history that the node
/// keeps for all, see [`EventHistory`](crate::EventHistory), so a watcher costs next to nothing, is cleaned up when it is
/// dropped, and never delays a writer. One that falls so far behind that its next change is no longer kept is told by a
/// [`Notice::Gap`] and goes on with the oldest that is.
///
/// At most about 1 MiB comes at once. Changes come from what this node has applied, which on a follower may be a little less than the leader has. Revisions are the
/// same on every member, so a watch can go on at [`Watch::position`] anywhere. A snapshot that a member takes over from another
/// one replaces its history: whoever watches there is told by a gap. After a restart the history holds what the log still has.
///
/// A client asks a member, which holds the question until there is something to tell, and another one when that fails: it goes on
/// where it stood, without a gap and without telling anything twice. A gap is told only when no member has what comes next.
/// `cluster_not_ready` says that nobody has answered for ten seconds; to take again asks again.
///
/// ```
/// use concord_kv::{Concord, Config, EventKind, Notice, Selector, WatchOptions};
/// use std::time::Duration;
///
/// let db = Concord::open(Config::default())?;
/// let selector = Selector { prefix: Some(b"user:"), ..Selector::default() };
/// let mut watch = db.watch(&WatchOptions { selector, ..WatchOptions::default() })?;
/// db.kv().put("user:1", "Alice").wait()?;
/// let Some(Notice::Event(event)) = watch.next_within(Duration::from_secs(5))? else { panic!("a change") };
/// assert_eq!((event.kind, event.key.as_slice(), event.revision), (EventKind::Put, &b"user:1"[..], 1));
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub struct Watch {
    place: Place,
}

enum Place {
    Here(Box<LocalWatch>),
    There(RemoteWatch),
}

impl Watch {
    pub(crate) fn begin(kv: &Kv, options: &WatchOptions<'_>) -> Result<Watch> {
        let since = Instant::now();
        let begun = Watch::open(kv, options);
        kv.account(Verb::Watch, since, Ending::of(&begun));
        begun
    }

    fn open(kv: &Kv, options: &WatchOptions<'_>) -> Result<Watch> {
        kv.caller.check_scope(crate::state_machine::Need::Read)?;
        let selection = selection(&options.selector)?;
        kv.caller.check_range(selection.range())?;
        match &kv.backend {
            Backend::Node(node) => {
                let place = Place::Here(Box::new(LocalWatch::open(node, kv, options, selection)?));
                Ok(Watch { place })
            }
            Backend::Client(client) => {
                Ok(Watch { place: Place::There(RemoteWatch::open(client, &kv.clock, options)?) })
            }
        }
    }

    /// What is there now, at most `max` notices; none when nothing is. Waits for nobody, but looks at all that is there until
    /// something is selected: [`Watch::poll_take`] looks at a few thousand changes at most.
    ///
    /// # Errors
    /// The watch is at its end: `unauthorized` when the token in whose name it was opened is not valid any more, `forbidden` when
    /// it may not read these keys, `closed` when the store is; `corrupt`.
    pub fn try_take(&mut self, max: usize) -> Result<Vec<Notice>> {
        let mut notices = Vec::new();
        while notices.is_empty() && self.take(max, None, &mut notices)? {}
        Ok(notices)
    }

    /// The same for those who wait without a thread of their own: when nothing is there, the task is woken as soon as it should
    /// ask again. A program without tasks hands in a context of its own, made from anything that is a [`std::task::Wake`]: the
    /// call to wake comes from an internal thread, at most once for each time that this was pending, and must be quick.
    ///
    /// # Errors
    /// As [`Watch::try_take`].
    pub fn poll_take(&mut self, context: &mut Context<'_>, max: usize) -> Poll<Result<Vec<Notice>>> {
        let mut notices = Vec::new();
        match self.take(max, Some(context.waker()), &mut notices) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(_) if !notices.is_empty() => Poll::Ready(Ok(notices)),
            Ok(true) => {
                // It has looked at many changes and selected none; others have their turn first.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(false) => Poll::Pending,
        }
    }

    /// The next notice, whenever it comes. To give up waiting loses nothing.
    ///
    /// # Errors
    /// As [`Watch::try_take`].
    pub async fn next(&mut self) -> Result<Notice> {
        loop {
            if let Some(notice) = poll_fn(|context| self.poll_take(context, 1)).await?.pop() {
                return Ok(notice);
            }
        }
    }

    /// What is there, at most `max` notices, as soon as there is anything.
    ///
    /// # Errors
    /// As [`Watch::try_take`].
    pub async fn take_some(&mut self, max: usize) -> Result<Vec<Notice>> {
        poll_fn(|context| self.poll_take(context, max)).await
    }

    /// The next notice, waiting at most `timeout`; `None` when there was none in that time. Blocks.
    ///
    /// # Errors
    /// As [`Watch::try_take`].
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Notice>> {
        Ok(self.take_within(1, timeout)?.pop())
    }

    /// What is there, at most `max` notices, as soon as there is anything; none when there was nothing for `timeout`. Blocks.
    ///
    /// # Errors
    /// As [`Watch::try_take`].
    pub fn take_within(&mut self, max: usize, timeout: Duration) -> Result<Vec<Notice>> {
        let mut notices = self.try_take(max)?;
        let mut sleeper = None;
        let until = Instant::now().checked_add(timeout);
        while notices.is_empty() && max > 0 {
            let sleeper = sleeper.get_or_insert_with(Sleeper::new);
            let has_more = self.take(max, Some(&sleeper.waker), &mut notices)?;
            if !notices.is_empty() || has_more {
                continue;
            }
            if !sleeper.sleep(until) {
                break;
            }
        }
        Ok(notices)
    }

    /// Where it stands: the place of the next change to look at. A watch that is opened [`WatchStart::From`] there goes on without
    /// a gap and without telling anything twice, on this member or another one.
    ///
    /// `None` as long as it still tells what was there when it began.
    pub fn position(&self) -> Option<Position> {
        match &self.place {
            Place::Here(watch) => watch.position(),
            Place::There(watch) => watch.position(),
        }
    }

    /// One look: adds to `notices`, and tells whether it should look again at once though it has nothing.
    fn take(&mut self, max: usize, waker: Option<&Waker>, notices: &mut Vec<Notice>) -> Result<bool> {
        match &mut self.place {
            Place::Here(watch) => watch.take(max, waker, notices),
            Place::There(watch) => watch.take(max, waker, notices).map(|()| false),
        }
    }
}

/// A selector that was understood and has an end for nobody to wait for.
fn selection(selector: &Selector<'_>) -> Result<Selection> {
    if selector.offset != 0 || selector.limit.is_some() {
        let message = "a watch has neither `offset` nor `limit`: it has no end that they could count from";
        return Err(Error::new(ErrorKind::InvalidCondition, message));
    }
    Selection::of(selector, Strictness::Asked)
}

/// A thread that sleeps until it is woken.
struct Sleeper {
    waker: Waker,
    thread: Arc<Sleeping>,
}

#[derive(Default)]
struct Sleeping {
    is_woken: std::sync::Mutex<bool>,
    changed: std::sync::Condvar,
}

impl Sleeper {
    fn new() -> Sleeper {
        let thread = Arc::new(Sleeping::default());
        Sleeper { waker: thread.clone().into(), thread }
    }

    /// False when nobody has woken it until then.
    fn sleep(&self, until: Option<Instant>) -> bool {
        let is_woken = self.thread.is_woken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let timeout = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let waited = self.thread.changed.wait_timeout_while(is_woken, timeout, |is_woken| !*is_woken);
        std::mem::take(&mut *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0)
    }
}

impl Wake for Sleeping {
    fn wake(self: Arc<Sleeping>) {
        *self.is_woken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}
