//! Query: counts, and walks over what a selector picks. Each runs on a thread of [`workers`] and is answered by a message.

use std::sync::{Mutex, PoisonError};

use concord_kv::{
    Concord, ErrorKind, NodeState, OwnedSelector, Page, PageOptions, Pages, Pair, ReadOptions, RecordView, Result,
    Scopes, check_expression, expression_holds, limits,
};

use crate::answer::Answerer;
use crate::atoms::atoms;
use crate::call::{Answer, Stop, failed, nif, optional_uint, read_options, succeeded};
use crate::decode;
use crate::env::{Env, Term};
use crate::resource::ResourceType;
use crate::selector::selector;
use crate::store::{Store, store};
use crate::workers;

/// What of the picked records is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `key`
    Keys,
    /// `{key, value}`
    Pairs,
    /// `{key, value, ttl | nil, revision}`
    Records,
}

/// A walk over what was picked.
///
/// - Its pages are taken out while a worker looks for the next one, so that nobody waits for its lock.
/// - They are dropped on workers: letting go of an old point in time may take a while.
pub(crate) struct Walk {
    shape: Shape,
    /// The store, when it is here: a walk ends with it.
    here: Option<Concord>,
    state: Mutex<State>,
}

enum State {
    Idle(Box<Pages>),
    Busy,
    Closed,
}

pub(crate) static WALK: ResourceType<Walk> = ResourceType::new(c"concord_walk");

impl Walk {
    fn replace(&self, state: State) -> State {
        std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state)
    }

    /// Gives the pages back, unless the walk was closed meanwhile.
    fn give_back(&self, pages: Box<Pages>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Busy) {
            *state = State::Idle(pages);
        }
    }

    fn check_open(&self) -> Result<()> {
        match &self.here {
            Some(db) if db.as_admin().status()?.raft.state == NodeState::Shutdown => Err(ErrorKind::Closed.into()),
            _ => Ok(()),
        }
    }

    fn close(&self) {
        if let State::Idle(pages) = self.replace(State::Closed) {
            // Without a thread they go with this call.
            let _ = workers::run(move || drop(pages));
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.close();
    }
}

nif! {
    /// `start_count(handle, reference, selector, level | nil, timeout_ms | nil)` -> a slot, when `{reference, {:ok, count} |
    /// {:error, kind}}` will be sent to the caller, or `{:error, kind}`.
    start_count, |env, &[handle, reference, picking, level, timeout_ms]| {
        let asked = asked(env, handle, picking, level, timeout_ms)?;
        on_worker(env, reference, move |answerer| {
            let count = asked.db.query().count(&asked.selector.get(), &asked.options);
            answerer.answer(|env| match count {
                Ok(count) => succeeded(env, env.make_uint(count)),
                Err(error) => failed(env, error.kind()),
            });
        })
    }
}

nif! {
    /// `start_walk(handle, reference, selector, :keys | :pairs | :records, level | nil, timeout_ms | nil)` -> as `start_count`,
    /// with `{:ok, walk}`.
    start_walk, |env, &[handle, reference, picking, shape, level, timeout_ms]| {
        let atoms = atoms();
        let shape = match shape {
            shape if shape == atoms.keys => Shape::Keys,
            shape if shape == atoms.pairs => Shape::Pairs,
            shape if shape == atoms.records => Shape::Records,
            _ => return Err(Stop::Misused),
        };
        let asked = asked(env, handle, picking, level, timeout_ms)?;
        on_worker(env, reference, move |answerer| {
            let options = PageOptions { with_values: shape != Shape::Keys, ..PageOptions::default() };
            let pages = asked.db.query().stream(&asked.selector.get(), &asked.options, &options);
            answerer.answer(|env| match pages {
                Ok(pages) => {
                    let state = Mutex::new(State::Idle(Box::new(pages)));
                    let here = (!asked.is_client).then_some(asked.db);
                    succeeded(env, WALK.make(Walk { shape, here, state }).term(env))
                }
                Err(error) => failed(env, error.kind()),
            });
        })
    }
}

nif! {
    /// `start_page(walk, reference)` -> as `start_count`, with `{:more, entries} | {:last, entries} | {:error, kind}`.
    start_page, |env, &[walk, reference]| {
        let (given, walk) = (WALK.get(env, walk).ok_or(Stop::Misused)?, WALK.own(env, walk).ok_or(Stop::Misused)?);
        let mut pages = match walk.replace(State::Busy) {
            State::Idle(pages) => pages,
            // Only one process has it.
            State::Busy => return Err(Stop::Misused),
            State::Closed => {
                walk.replace(State::Closed);
                return Err(ErrorKind::Closed.into());
            }
        };
        on_worker(env, reference, move |answerer| {
            let page = walk.check_open().and_then(|()| pages.next_page());
            // Before the answer, which the next question may follow at once.
            walk.give_back(pages);
            let shape = walk.shape;
            answerer.answer(|env| page_term(env, shape, page).unwrap_or_else(|kind| failed(env, kind)));
        })
        .inspect_err(|_| drop(given.replace(State::Closed)))
    }
}

nif! {
    /// `close_walk(walk)` -> `:ok`: lets the point in time go.
    close_walk, |env, &[walk]| {
        WALK.get(env, walk).ok_or(Stop::Misused)?.close();
        Ok(atoms().ok)
    }
}

nif! {
    /// `check_expression(text)` -> `:ok | {:error, {kind, message, column | nil}}`. Dirty: patterns take their time.
    expression_check, |env, &[text]| {
        let text = env.bytes(text).ok_or(Stop::Misused)?;
        let checked = match std::str::from_utf8(text) {
            Ok(text) => check_expression(text),
            Err(_) => Err(concord_kv::Error::new(ErrorKind::InvalidCondition, "the expression is not UTF-8")),
        };
        let atoms = atoms();
        Ok(match checked {
            Ok(()) => atoms.ok,
            Err(error) => {
                let column = error.column().map_or(atoms.nil, |column| env.make_uint(column as u64));
                let message = env.make_binary(error.message().as_bytes());
                env.make_tuple(&[atoms.error, env.make_tuple(&[atoms.kind(error.kind()), message, column])])
            }
        })
    }
}

nif! {
    /// `expression_holds(text, key, encoded, revision, ttl_ms | nil)` -> `{:ok, boolean} | {:error, kind}`. Dirty.
    holds, |env, &[text, key, value, revision, ttl_ms]| {
        let (text, key) = (env.bytes(text).ok_or(Stop::Misused)?, env.bytes(key).ok_or(Stop::Misused)?);
        let value = env.bytes(value).ok_or(Stop::Misused)?;
        concord_kv::check_value(value, limits::VALUE_BYTES_MAX_CEILING)?;
        let text = std::str::from_utf8(text).map_err(|_| ErrorKind::InvalidCondition)?;
        let revision = env.uint(revision).ok_or(Stop::Misused)?;
        let record = RecordView { value: value.into(), revision, ttl_ms: optional_uint(env, ttl_ms)? };
        let holds = expression_holds(text, key, &record)?;
        Ok(succeeded(env, if holds { atoms().true_ } else { atoms().false_ }))
    }
}

/// A question about many records.
struct Asked {
    db: Concord,
    is_client: bool,
    selector: OwnedSelector,
    options: ReadOptions,
}

/// What the token says goes before what is wrong with the selector.
fn asked(env: Env, handle: Term, picking: Term, level: Term, timeout_ms: Term) -> Answer<Asked> {
    const READ: Scopes = Scopes { read: true, write: false, admin: false };
    let Store { db, is_client, .. } = store(env, handle)?;
    let options = read_options(env, level, timeout_ms)?;
    let selector = selector(env, picking)?;
    db.kv().check_caller(READ, &[])?;
    Ok(Asked { db: db.clone(), is_client: *is_client, selector: OwnedSelector::from(selector?), options })
}

fn on_worker(env: Env, reference: Term, work: impl FnOnce(Answerer) + Send + 'static) -> Answer {
    let (answerer, slot) = Answerer::new(env, reference);
    workers::run(move || work(answerer))?;
    Ok(slot)
}

fn page_term(env: Env, shape: Shape, page: Result<Option<Page>>) -> std::result::Result<Term, ErrorKind> {
    let atoms = atoms();
    let page = page.map_err(|error| error.kind())?;
    let (pairs, is_last) = page.map_or((Vec::new(), true), |page| (page.pairs, page.next.is_none()));
    let entries = pairs.iter().map(|pair| entry(env, shape, pair)).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(env.make_tuple(&[if is_last { atoms.last } else { atoms.more }, env.make_list(&entries)]))
}

fn entry(env: Env, shape: Shape, pair: &Pair) -> std::result::Result<Term, ErrorKind> {
    let key = env.make_binary(&pair.key);
    if shape == Shape::Keys {
        return Ok(key);
    }
    let value = decode::value(env, &pair.value).map_err(|_| ErrorKind::Corrupt)?;
    if shape == Shape::Pairs {
        return Ok(env.make_tuple(&[key, value]));
    }
    // Rounded up, so that it is never 0.
    let ttl = pair.ttl_ms.map_or(atoms().nil, |ttl_ms| env.make_uint(ttl_ms.div_ceil(1000)));
    Ok(env.make_tuple(&[key, value, ttl, env.make_uint(pair.revision)]))
}
