//! RemoteWatch: a watch of a client: it asks the members, one after the other when one fails, and goes on where it stood.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{WatchOptions, WatchStart};
use crate::encoding::command::{put_selector, read_selector};
use crate::encoding::wire::WireReader;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::WATCH_ITEMS_MAX;
use crate::model::{Consistency, EventKind, EventKinds, EventView, Notice, Position};
use crate::service::Clock;
use crate::service::client::{Client, RemoteView, WatchRequest, Watched};
use crate::service::query::Want;
use crate::state_machine::Walk;

/// How long a member is asked to wait for a change.
const WAIT: Duration = Duration::from_secs(5);
/// How long nobody may answer before the watcher is told.
const PATIENCE: Duration = Duration::from_secs(10);
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as less than this waits for the watcher, more is asked for.
const AHEAD: usize = 1024;

/// A watch over what members have applied.
pub(in crate::service) struct RemoteWatch {
    shared: Arc<Shared>,
    with_progress: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

/// Invariant: `notices` come one after the other without a gap, and behind them all `answered`.
#[derive(Default)]
struct State {
    notices: VecDeque<Notice>,
    /// Behind all that was answered; `None` as long as it still tells what was there in the beginning.
    answered: Option<Position>,
    /// Behind what the watcher has taken.
    taken: Option<Position>,
    /// Up to where progress was told, or an event that says as much.
    told: u64,
    failure: Option<Error>,
    waker: Option<Waker>,
    /// Who asks; `None` while it does.
    fetcher: Option<Fetcher>,
    /// Nobody asks any more.
    is_closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemoteWatch {
    /// Blocks until a member has answered.
    pub(super) fn open(client: &Arc<Client>, clock: &Clock, options: &WatchOptions<'_>) -> Result<RemoteWatch> {
        let mut selector = Vec::new();
        put_selector(&mut selector, &options.selector);
        let phase = match options.start {
            WatchStart::Now => Phase::Changes(None),
            WatchStart::From(position) => Phase::Changes(Some(position.max(Position::before(1)))),
            WatchStart::State => {
                let timeout_ms = OPEN_TIMEOUT.as_millis() as u64;
                let view = client.view(Consistency::Leader, timeout_ms)?;
                let walk = Walk { after: None, skip: 0, left: None, picked: 0 };
                Phase::State { view: Box::new(view), walk }
            }
        };
        let mut fetcher = Fetcher {
            client: client.clone(),
            clock: clock.clone(),
            selector,
            kinds: options.kinds,
            with_previous: options.with_previous,
            phase,
            member: None,
            refusals: BTreeMap::new(),
        };
        let until = Instant::now() + OPEN_TIMEOUT;
        let (fetcher, fetched) = client.wait(OPEN_TIMEOUT, async move {
            let fetched = fetcher.fetch(Duration::ZERO, until).await;
            (fetcher, fetched)
        })?;
        let Fetched { notices, next } = fetched?;
        if let Some(Notice::Gap { from_revision, resume_revision }) = notices.first() {
            return Err(Error::compacted(*from_revision, *resume_revision));
        }
        let told = next.map_or(0, |next| next.revision.saturating_sub(1));
        let taken = next.filter(|_| notices.is_empty()).or(match options.start {
            WatchStart::From(position) => Some(position),
            WatchStart::Now | WatchStart::State => None,
        });
        let told = taken.map_or(told, |taken| taken.revision.saturating_sub(1));
        let fetcher = Some(fetcher);
        let state = State { notices: notices.into(), answered: next, taken, told, fetcher, ..State::default() };
        Ok(RemoteWatch { shared: Arc::new(Shared { state: Mutex::new(state) }), with_progress: options.with_progress })
    }

    pub(super) fn position(&self) -> Option<Position> {
        let state = self.shared.state();
        if state.notices.is_empty() { state.answered } else { state.taken }
    }

    /// One look, as that of a local watch.
    pub(super) fn take(&mut self, max: usize, waker: Option<&Waker>, notices: &mut Vec<Notice>) -> Result<()> {
        if max == 0 {
            return Ok(());
        }
        let mut state = self.shared.state();
        while notices.len() < max
            && let Some(notice) = state.notices.pop_front()
        {
            match &notice {
                Notice::Event(event) if event.kind != EventKind::State => state.pass(event.next),
                Notice::Progress { revision } => state.pass(Position::after(*revision)),
                Notice::Gap { resume_revision, .. } => state.pass(Position::before(*resume_revision)),
                Notice::Event(_) => {}
            }
            notices.push(notice);
        }
        if notices.is_empty()
            && let Some(failure) = state.failure.take()
        {
            return Err(failure);
        }
        if self.with_progress && notices.len() < max {
            state.note_progress(notices);
        }
        if notices.is_empty() && state.is_closed {
            return Err(ErrorKind::Closed.into());
        }
        let fetcher = if state.notices.len() < AHEAD { state.fetcher.take() } else { None };
        if notices.is_empty() {
            state.waker = waker.cloned();
        }
        drop(state);
        if let Some(fetcher) = fetcher {
            let client = fetcher.client.clone();
            client.spawn(fetch_ahead(fetcher, Telling(Arc::downgrade(&self.shared))));
        }
        Ok(())
    }
}

impl State {
    fn pass(&mut self, position: Position) {
        self.taken = Some(position);
        self.told = self.told.max(position.revision.saturating_sub(1));
    }

    fn note_progress(&mut self, notices: &mut Vec<Notice>) {
        let Some(Position { revision, changes: 0 }) = self.answered else { return };
        let passed = revision.saturating_sub(1);
        if self.notices.is_empty() && passed > self.told {
            self.pass(Position::after(passed));
            notices.push(Notice::Progress { revision: passed });
        }
    }
}

/// The watcher that is to be told. When asking ends before there was anything, the client was closed, and it is told that.
struct Telling(Weak<Shared>);

impl Drop for Telling {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let mut state = shared.state();
        state.is_closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Asks until there is something to tell, or nobody is left to tell it to.
async fn fetch_ahead(mut fetcher: Fetcher, mut telling: Telling) {
    loop {
        let fetched = fetcher.fetch(WAIT, Instant::now() + PATIENCE).await;
        let Some(shared) = telling.0.upgrade() else { return };
        let mut state = shared.state();
        let has_news = match fetched {
            Ok(Fetched { notices, next }) => {
                let has_moved = state.answered != next;
                state.answered = next;
                let has_news = !notices.is_empty();
                state.notices.extend(notices);
                // Progress may be wanted; who does not want it looks once in vain.
                has_news || has_moved
            }
            Err(error) => {
                state.failure = Some(error);
                true
            }
        };
        if has_news {
            state.fetcher = Some(fetcher);
            telling.0 = Weak::new();
            let waker = state.waker.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            return;
        }
    }
}

/// What a member has answered.
struct Fetched {
    notices: Vec<Notice>,
    next: Option<Position>,
}

/// Asks members, in the watcher's name.
struct Fetcher {
    client: Arc<Client>,
    clock: Clock,
    selector: Vec<u8>,
    kinds: EventKinds,
    with_previous: bool,
    phase: Phase,
    /// Who answered last.
    member: Option<u64>,
    /// Members that no longer have what comes next, each with the oldest revision that it has.
    refusals: BTreeMap<u64, u64>,
}

enum Phase {
    /// What was there in the beginning, at one member.
    State { view: Box<RemoteView>, walk: Walk },
    /// Changes from this place on; `None` is the present.
    Changes(Option<Position>),
}

impl Fetcher {
    async fn fetch(&mut self, wait: Duration, until: Instant) -> Result<Fetched> {
        loop {
            let asked = match &self.phase {
                Phase::State { .. } => return self.fetch_state().await,
                Phase::Changes(position) => self.ask(*position, wait).await,
            };
            match asked {
                Ok(Some(fetched)) => return Ok(fetched),
                Ok(None) => {}
                // Another member may.
                Err(error) if error.kind().is_retryable() && Instant::now() < until => self.member = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks one member; `None` when another one has to be asked.
    async fn ask(&mut self, position: Option<Position>, wait: Duration) -> Result<Option<Fetched>> {
        let request = WatchRequest {
            position,
            kinds: self.kinds,
            with_previous: self.with_previous,
            items_max: WATCH_ITEMS_MAX as u64,
            wait_ms: wait.as_millis() as u64,
            selector: read_selector(&mut WireReader::new(&self.selector))?,
        };
        let message = request.encode();
        let (member, answer) = self.client.watch(position.is_none(), self.member, message, wait).await?;
        match Watched::decode(&answer)? {
            Watched::Taken { next, notices } => {
                // The present is asked of the leader, what follows of anybody.
                self.member = position.map(|_| member);
                self.refusals.clear();
                self.phase = Phase::Changes(Some(next));
                Ok(Some(Fetched { notices, next: Some(next) }))
            }
            Watched::Compacted { oldest } => {
                self.refusals.insert(member, oldest);
                let others = self.client.members();
                self.member = others.into_iter().find(|member| !self.refusals.contains_key(member));
                if self.member.is_some() {
                    return Ok(None);
                }
                // Nobody has it: on with who has most.
                let (best, resume) =
                    self.refusals.iter().min_by_key(|(_, oldest)| **oldest).map_or((member, oldest), |(m, o)| (*m, *o));
                self.member = Some(best);
                self.refusals.clear();
                let next = Position::before(resume);
                self.phase = Phase::Changes(Some(next));
                let from_revision = position.map_or(0, |position| position.revision);
                let notices = vec![Notice::Gap { from_revision, resume_revision: resume }];
                Ok(Some(Fetched { notices, next: Some(next) }))
            }
        }
    }

    /// A piece of what was there in the beginning.
    async fn fetch_state(&mut self) -> Result<Fetched> {
        let Phase::State { view, walk } = &mut self.phase else { return Err(ErrorKind::Internal.into()) };
        let selector = read_selector(&mut WireReader::new(&self.selector))?;
        let (revision, now_ms) = (view.revision(), self.clock.now_ms());
        let next = Position::after(revision);
        let mut notices = Vec::new();
        let is_over = view
            .select_async(&selector, walk, Want::Records, |key, record| {
                let event = EventView {
                    kind: EventKind::State,
                    revision: record.revision,
                    next,
                    time_ms: now_ms,
                    is_bulk: false,
                    key,
                    value: Some(&record.value),
                    previous: None,
                    deadline_ms: record.ttl_ms.map(|ttl_ms| now_ms + ttl_ms),
                };
                notices.push(Notice::Event(event.to_event()));
            })
            .await?;
        if !is_over {
            return Ok(Fetched { notices, next: None });
        }
        notices.push(Notice::Progress { revision });
        self.phase = Phase::Changes(Some(next));
        Ok(Fetched { notices, next: Some(next) })
    }
}
