//! Read: gets and scans. Small values are read where the caller runs; large ones, and many, on a dirty scheduler.

use std::ops::{Bound, ControlFlow};

use concord_kv::{ErrorKind, ReadOptions, RecordView, limits};

use crate::atoms::atoms;
use crate::call::{Answer, INLINE_BYTES_MAX, Nif, Stop, failed, nif, read_options, succeeded};
use crate::decode;
use crate::env::{Env, Term};
use crate::map;
use crate::store::{map as map_of, store};

nif! {
    /// `get(handle, key)` -> `{:ok, value} | {:error, kind}`; the hottest of all.
    get, |env, args| get_value(env, args, Some(get_dirty))
}

nif! {
    /// The same for a large value.
    get_dirty, |env, args| get_value(env, args, None)
}

nif! {
    /// `read(handle, key, shape, level | nil, timeout_ms | nil)`; shape is `:value | :value_ttl | :ttl | :record`.
    read, |env, args| read_shape(env, args, Some(read_dirty))
}

nif! {
    /// The same for a large value.
    read_dirty, |env, args| read_shape(env, args, None)
}

nif! {
    /// `get_many(handle, keys, level | nil, timeout_ms | nil)` -> `{:ok, %{key => {:ok, value} | {:error, :not_found}}}`.
    /// Dirty.
    get_many, get_many_values
}

nif! {
    /// `get_all(handle, with_ttl, level | nil, timeout_ms | nil)` -> `{:ok, %{key => value | %{value:, ttl:}}}`. Dirty.
    get_all, get_all_values
}

fn get_value(env: Env, &[handle, key]: &[Term; 2], dirty: Option<Nif>) -> Answer {
    let key = key_bytes(env, key)?;
    one(env, handle, key, &ReadOptions::default(), dirty, |record| {
        decode::value(env, &record.value).map_err(Stop::from)
    })
}

fn read_shape(env: Env, &[handle, key, shape, level, timeout_ms]: &[Term; 5], dirty: Option<Nif>) -> Answer {
    let atoms = atoms();
    let options = read_options(env, level, timeout_ms)?;
    let key = key_bytes(env, key)?;
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
    let read = |record: RecordView<'_>| {
        env.consume_timeslice(record.value.len());
        f(&record)
    };
    let found = match dirty {
        None => kv.read(key, options, read)?,
        Some(dirty) => match kv.read_within(key, options, INLINE_BYTES_MAX, read) {
            Err(error) if error.kind() == ErrorKind::ValueTooLarge => return Err(Stop::Later(dirty)),
            found => found?,
        },
    };
    match found {
        Some(term) => Ok(succeeded(env, term?)),
        None => Err(ErrorKind::NotFound.into()),
    }
}

/// A key; what is no binary is no key. Its length is checked by the store.
pub(crate) fn key_bytes<'a>(env: Env, key: Term) -> Answer<&'a [u8]> {
    env.bytes(key).ok_or(Stop::Failed(ErrorKind::InvalidKey))
}

/// Remaining seconds, rounded up, so that they are never 0; nil without a deadline.
fn ttl_term(env: Env, record: &RecordView<'_>) -> Term {
    record.ttl_ms.map_or(atoms().nil, |ttl_ms| env.make_uint(ttl_ms.div_ceil(1000)))
}

fn get_many_values(env: Env, &[handle, keys, level, timeout_ms]: &[Term; 4]) -> Answer {
    let options = read_options(env, level, timeout_ms)?;
    let keys = list(env, keys)?;
    let missing = failed(env, ErrorKind::NotFound);
    for key in &keys {
        if !(1..=limits::KEY_BYTES_MAX).contains(&key_bytes(env, *key)?.len()) {
            return Err(ErrorKind::InvalidKey.into());
        }
    }
    let view = store(env, handle)?.db.kv().view(&options)?;
    let mut terms = Vec::with_capacity(4 * keys.len());
    for key in keys {
        let found = view.get(key_bytes(env, key)?, |record| decode::value(env, &record.value))?;
        let result = match found {
            Some(value) => succeeded(env, value?),
            None => missing,
        };
        terms.extend([key, result]);
    }
    let map = map::of_entries(env, &mut terms, 0).ok_or(Stop::Failed(ErrorKind::Internal))?;
    Ok(succeeded(env, map))
}

/// Items of a list of at most as many as a bulk operation may have.
pub(crate) fn list(env: Env, list: Term) -> Answer<Vec<Term>> {
    let mut items = Vec::new();
    let mut rest = list;
    while let Some((head, tail)) = env.list_cell(rest) {
        if items.len() == limits::BATCH_OPS_MAX {
            return Err(ErrorKind::BatchTooLarge.into());
        }
        items.push(head);
        rest = tail;
    }
    if env.is_empty_list(rest) { Ok(items) } else { Err(ErrorKind::InvalidOperationFormat.into()) }
}

fn get_all_values(env: Env, &[handle, with_ttl, level, timeout_ms]: &[Term; 4]) -> Answer {
    let atoms = atoms();
    let options = read_options(env, level, timeout_ms)?;
    let view = store(env, handle)?.db.kv().view(&options)?;
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
