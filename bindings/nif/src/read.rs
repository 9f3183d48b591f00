//! Read: gets and scans. Small values are read where the caller runs; large ones, and many, on a dirty scheduler.
//!
//! What has to wait for other nodes never does so on a normal scheduler, nor on one of the few dirty ones for computing: a
//! read of one key is started and answered by a message, a scan moves to a dirty scheduler where calls may block.

use std::ops::{Bound, ControlFlow};

use concord_kv::{ErrorKind, ReadOptions, RecordView, Result, View, limits};

use crate::answer::{self, Answerer};
use crate::atoms::atoms;
use crate::call::{Answer, INLINE_BYTES_MAX, Nif, Stop, failed, nif, read_options, succeeded};
use crate::decode;
use crate::env::{Env, Term};
use crate::map;
use crate::status::map as map_of;
use crate::store::store;

nif! {
    /// `get(handle, key)` -> `{:ok, value} | {:error, kind} | :waits`; the hottest of all. `:waits` says that nothing was done:
    /// the read must ask other nodes first, and `start_read` does.
    get, |env, args| get_value(env, args, Some(get_dirty))
}

nif! {
    /// The same for a large value.
    get_dirty, |env, args| get_value(env, args, None)
}

nif! {
    /// `read(handle, key, shape, level | nil, timeout_ms | nil)`; shape is `:value | :value_ttl | :ttl | :record`.
    /// Answers as `get`.
    read, |env, args| read_shape(env, args, Some(read_dirty))
}

nif! {
    /// The same for a large value.
    read_dirty, |env, args| read_shape(env, args, None)
}

nif! {
    /// `start_read(handle, reference, key, with_value, level | nil, timeout_ms | nil)` -> a slot, when `{reference, answer}`
    /// will be sent to the caller; the answer is `{:ok, {encoded | nil, ttl, revision}} | {:error, kind}`.
    start_read, start_reading
}

nif! {
    /// `get_many(handle, keys, level | nil, timeout_ms | nil)` -> `{:ok, %{key => {:ok, value} | {:error, :not_found}}}`.
    /// Dirty.
    get_many, |env, args| get_many_values(env, args, Some(get_many_waiting))
}

nif! {
    /// The same where calls may block.
    get_many_waiting, |env, args| get_many_values(env, args, None)
}

nif! {
    /// `get_all(handle, with_ttl, level | nil, timeout_ms | nil)` -> `{:ok, %{key => value | %{value:, ttl:}}}`. Dirty.
    get_all, |env, args| get_all_values(env, args, Some(get_all_waiting))
}

nif! {
    /// The same where calls may block.
    get_all_waiting, |env, args| get_all_values(env, args, None)
}

fn get_value(env: Env, &[handle, key]: &[Term; 2], dirty: Option<Nif>) -> Answer {
    let key = any_key(env, key);
    one(env, handle, key, &ReadOptions::default(), dirty, |record| {
        decode::value(env, &record.value).map_err(Stop::from)
    })
}

fn read_shape(env: Env, &[handle, key, shape, level, timeout_ms]: &[Term; 5], dirty: Option<Nif>) -> Answer {
    let atoms = atoms();
    let options = read_options(env, level, timeout_ms)?;
    let key = any_key(env, key);
    one(env, handle, key, &options, dirty, |record| {
        if shape == atoms.ttl {
            return Ok(ttl_term(env, record));
        }
        let value = decode::value(env, &record.value)?;
        if shape == atoms.value {
            Ok(value)
        } else if shape == atoms.value_ttl {
            Ok(env.make_tuple(&[value, ttl_term(env, record)]))
        } else if shape == atoms.record {
            let revision = env.make_uint(record.revision);
            map_of(env, &[(atoms.revision, revision), (atoms.ttl, ttl_term(env, record)), (atoms.value, value)])
        } else {
            Err(Stop::Misused)
        }
    })
}

/// Reads one record. With `dirty` given a large value is left to that function.
#[inline]
fn one(
    env: Env,
    handle: Term,
    key: &[u8],
    options: &ReadOptions,
    dirty: Option<Nif>,
    f: impl FnOnce(&RecordView<'_>) -> Answer,
) -> Answer {
    let kv = store(env, handle)?.db.kv();
    if !kv.reads_at_once(options) {
        return Ok(atoms().waits);
    }
    let options = at_once(options);
    let read = |record: RecordView<'_>| {
        env.consume_timeslice(record.value.len());
        f(&record)
    };
    let found = match dirty {
        None => kv.read(key, &options, read),
        Some(_) => kv.read_within(key, &options, INLINE_BYTES_MAX, read),
    };
    match (found, dirty) {
        (Ok(Some(term)), _) => Ok(succeeded(env, term?)),
        (Ok(None), _) => Err(ErrorKind::NotFound.into()),
        (Err(error), Some(dirty)) if error.kind() == ErrorKind::ValueTooLarge => Err(Stop::Later(dirty)),
        (Err(error), _) if error.kind() == ErrorKind::Timeout => Ok(atoms().waits),
        (Err(error), _) => Err(error.into()),
    }
}

/// Leadership may be lost between the question whether a read waits and the read, which must not wait then either.
fn at_once(options: &ReadOptions) -> ReadOptions {
    ReadOptions { timeout_ms: Some(0), ..*options }
}

/// A point in time of the store. With `waiting` given that function runs instead if other nodes must be asked.
fn view(env: Env, handle: Term, options: &ReadOptions, waiting: Option<Nif>) -> Answer<View> {
    let kv = store(env, handle)?.db.kv();
    let Some(waiting) = waiting else { return Ok(kv.view(options)?) };
    if !kv.reads_at_once(options) {
        return Err(Stop::Waits(waiting));
    }
    kv.view(&at_once(options)).map_err(|error| match error.kind() {
        ErrorKind::Timeout => Stop::Waits(waiting),
        _ => error.into(),
    })
}

fn start_reading(env: Env, &[handle, reference, key, with_value, level, timeout_ms]: &[Term; 6]) -> Answer {
    let kv = store(env, handle)?.db.kv();
    let options = read_options(env, level, timeout_ms)?;
    let key = any_key(env, key);
    let with_value = with_value == atoms().true_;
    let (answerer, slot) = Answerer::new(env, reference);
    let done = move |found: Result<Option<RecordView<'_>>>| {
        answerer.answer(|env| match found {
            Ok(Some(record)) => succeeded(env, encoded_term(env, &record, with_value)),
            Ok(None) => failed(env, ErrorKind::NotFound),
            Err(error) => failed(env, error.kind()),
        });
    };
    answer::during(env, || kv.start_read(key, &options, done));
    Ok(slot)
}

/// `{encoded | nil, ttl, revision}`. The caller decodes: this runs on the thread on which the whole node waits.
fn encoded_term(env: Env, record: &RecordView<'_>, with_value: bool) -> Term {
    let value = if with_value { env.make_binary(&record.value) } else { atoms().nil };
    env.make_tuple(&[value, ttl_term(env, record), env.make_uint(record.revision)])
}

/// A key. What is no binary is no key, like the empty one; the store says so, after it has looked at who asks.
pub(crate) fn any_key<'a>(env: Env, key: Term) -> &'a [u8] {
    env.bytes(key).unwrap_or_default()
}

/// Remaining seconds, rounded up, so that they are never 0; nil without a deadline.
fn ttl_term(env: Env, record: &RecordView<'_>) -> Term {
    record.ttl_ms.map_or(atoms().nil, |ttl_ms| env.make_uint(ttl_ms.div_ceil(1000)))
}

fn get_many_values(env: Env, &[handle, keys, level, timeout_ms]: &[Term; 4], waiting: Option<Nif>) -> Answer {
    let options = read_options(env, level, timeout_ms)?;
    let keys = list(env, keys).map_err(|kind| refused(env, handle, kind))?;
    let missing = failed(env, ErrorKind::NotFound);
    let names: Vec<&[u8]> = keys.iter().map(|key| any_key(env, *key)).collect();
    if names.iter().any(|name| !(1..=limits::KEY_BYTES_MAX).contains(&name.len())) {
        return Err(refused(env, handle, ErrorKind::InvalidKey));
    }
    let view = view(env, handle, &options, waiting)?;
    let mut results = Vec::with_capacity(keys.len());
    view.get_many(&names, |record| {
        results.push(
            record.map_or(Ok(missing), |record| decode::value(env, &record.value).map(|value| succeeded(env, value))),
        );
    })?;
    let mut terms = Vec::with_capacity(4 * keys.len());
    for (key, result) in keys.into_iter().zip(results) {
        terms.extend([key, result?]);
    }
    let map = map::of_entries(env, &mut terms, 0).ok_or(Stop::Failed(ErrorKind::Internal))?;
    Ok(succeeded(env, map))
}

/// A read that is refused for what it asks for, unless its caller may not read at all: that is said first.
fn refused(env: Env, handle: Term, kind: ErrorKind) -> Stop {
    match store(env, handle) {
        // Whom a client acts for was judged when it connected.
        Ok(store) if store.is_client => kind.into(),
        Ok(store) => store.db.status().err().map_or(kind, |error| error.kind()).into(),
        Err(stop) => stop,
    }
}

/// Items of a list of at most as many as a bulk operation may have.
pub(crate) fn list(env: Env, list: Term) -> Result<Vec<Term>, ErrorKind> {
    let mut items = Vec::new();
    let mut rest = list;
    while let Some((head, tail)) = env.list_cell(rest) {
        if items.len() == limits::BATCH_OPS_MAX {
            return Err(ErrorKind::BatchTooLarge);
        }
        items.push(head);
        rest = tail;
    }
    if env.is_empty_list(rest) { Ok(items) } else { Err(ErrorKind::InvalidOperationFormat) }
}

fn get_all_values(env: Env, &[handle, with_ttl, level, timeout_ms]: &[Term; 4], waiting: Option<Nif>) -> Answer {
    let atoms = atoms();
    let options = read_options(env, level, timeout_ms)?;
    let view = view(env, handle, &options, waiting)?;
    let mut terms = Vec::new();
    let mut refused = None;
    view.scan((Bound::Unbounded, Bound::Unbounded), |key, record| {
        let entry = decode::value(env, &record.value).map_err(Stop::from).and_then(|value| {
            if with_ttl == atoms.true_ {
                map_of(env, &[(atoms.ttl, ttl_term(env, &record)), (atoms.value, value)])
            } else {
                Ok(value)
            }
        });
        match entry {
            Ok(value) => {
                terms.extend([env.make_binary(key), value]);
                ControlFlow::Continue(())
            }
            Err(stop) => {
                refused = Some(stop);
                ControlFlow::Break(())
            }
        }
    })?;
    match refused {
        Some(stop) => Err(stop),
        None => {
            let map = map::of_entries(env, &mut terms, 0).ok_or(Stop::Failed(ErrorKind::Internal))?;
            Ok(succeeded(env, map))
        }
    }
}
