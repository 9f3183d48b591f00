//! Selector: what picks records, from the tuple that `Concord.Query` makes of its options.

use std::str::from_utf8;

use concord_kv::{ErrorKind, Pattern, PatternFlags, Selector};

use crate::atoms::atoms;
use crate::call::{Answer, Stop, optional_uint};
use crate::env::{Env, Term};

/// Longest expression that a normal scheduler reads, if it has no pattern.
const INLINE_EXPRESSION_BYTES_MAX: usize = 512;

/// `{prefix | nil, suffix | nil, contains | nil, nil | {pattern, flags}, nil | {from, to}, where | nil, offset, limit | nil}`, or
/// `{:refused, kind}`, which the caller has found to be none. The inner error is what is wrong with the data in it.
pub(crate) fn selector<'a>(env: Env, term: Term) -> Answer<Result<Selector<'a>, ErrorKind>> {
    let atoms = atoms();
    match env.tuple(term) {
        Some(&[kind, why]) if kind == atoms.refused => Ok(Err(atoms.kind_of(why).ok_or(Stop::Misused)?)),
        Some(&[prefix, suffix, contains, pattern, range, filter, offset, limit]) => {
            let text = |term| Ok::<_, Stop>(optional_bytes(env, term)?.map(from_utf8));
            let (offset, limit) = (env.uint(offset).ok_or(Stop::Misused)?, optional_uint(env, limit)?);
            let pattern = match pair(env, pattern)? {
                None => None,
                Some((source, flags)) => {
                    let flags = text(flags)?.ok_or(Stop::Misused)?.ok().and_then(PatternFlags::parse);
                    Some((text(source)?.ok_or(Stop::Misused)?, flags.ok_or(Stop::Misused)?))
                }
            };
            let range = match pair(env, range)? {
                None => None,
                Some((from, to)) => Some((env.bytes(from).ok_or(Stop::Misused)?, env.bytes(to).ok_or(Stop::Misused)?)),
            };
            let parts = [prefix, suffix, contains].map(|part| optional_bytes(env, part));
            let [prefix, suffix, contains] = parts;
            let (prefix, suffix, contains) = (prefix?, suffix?, contains?);
            let (Ok(filter), Ok(pattern)) = (
                text(filter)?.transpose(),
                pattern.map(|(text, flags)| text.map(|text| Pattern { text, flags })).transpose(),
            ) else {
                return Ok(Err(ErrorKind::InvalidCondition));
            };
            Ok(Ok(Selector { prefix, suffix, contains, pattern, range, filter, offset, limit }))
        }
        _ => Err(Stop::Misused),
    }
}

/// Whether understanding an expression may take longer than a normal scheduler has.
pub(crate) fn is_long(expression: &str) -> bool {
    expression.len() > INLINE_EXPRESSION_BYTES_MAX || expression.contains("matches")
}

/// A binary, or nil.
fn optional_bytes<'a>(env: Env, term: Term) -> Answer<Option<&'a [u8]>> {
    if term == atoms().nil { Ok(None) } else { env.bytes(term).map(Some).ok_or(Stop::Misused) }
}

/// A tuple of two, or nil.
fn pair(env: Env, term: Term) -> Answer<Option<(Term, Term)>> {
    match env.tuple(term) {
        Some(&[first, second]) => Ok(Some((first, second))),
        _ if term == atoms().nil => Ok(None),
        _ => Err(Stop::Misused),
    }
}
