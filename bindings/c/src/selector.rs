//! Selector: which records a scan, a count or a removal is about.

use std::ffi::c_char;

use concord_kv::limits::KEY_BYTES_MAX;
use concord_kv::{Error, ErrorKind, OwnedSelector, Pattern, PatternFlags, Selector};

use crate::bytes::{concord_bytes, text};
use crate::options::{OptionStruct, copied};
use crate::status::Outcome;

/// Picks the records for which everything that it says holds; what it does not say (`data` is NULL) picks every record.
/// Begin with CONCORD_SELECTOR_INIT, which says nothing. All is borrowed until the call returns.
///
/// Keys are bytes and are picked by their bytes. Prefix, range and the beginning of a pattern such as "^user:" narrow the
/// walk: it costs what lies within them, not what the store holds. What cannot be understood is
/// CONCORD_INVALID_CONDITION; concord_last_error_column() tells where the fault of a pattern or an expression is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_selector {
    /// sizeof(concord_selector)
    pub size: usize,
    /// Keys that begin with this, up to 1,024 bytes.
    pub prefix: concord_bytes,
    /// Keys that end with this, up to 1,024 bytes.
    pub suffix: concord_bytes,
    /// Keys that hold this somewhere, up to 1,024 bytes.
    pub contains: concord_bytes,
    /// Keys in which this regular expression matches somewhere: UTF-8, up to 1,024 bytes. It takes linear time whatever it
    /// says, so it has no look-around and no back-references. `$` is the very end of the key.
    pub pattern: concord_bytes,
    /// How the pattern is read, NUL-terminated letters: i (upper and lower case are the same), m (`^` and `$` match at line
    /// breaks), s (`.` matches line breaks), x (white space means nothing), u (characters of Unicode and not bytes).
    /// NULL: none.
    pub pattern_flags: *const c_char,
    /// Keys from this one on, itself included, up to 1,024 bytes. Goes with `range_to`.
    pub range_from: concord_bytes,
    /// Keys to this one, itself included, up to 1,024 bytes. Must not come before `range_from`.
    pub range_to: concord_bytes,
    /// Records of which this expression is true: UTF-8, up to 4,096 bytes, for example
    /// `value.price > 100 and value.role == "admin"`. It means the same in every language.
    pub r#where: concord_bytes,
    /// How many of those, in the order of their keys, are left out first.
    pub offset: u64,
    /// How many of those that follow are picked at most. UINT64_MAX, as in CONCORD_SELECTOR_INIT, is all of them; 0 is none.
    pub limit: u64,
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_selector {
    const NAME: &'static str = "concord_selector";
}

/// What was said, or nothing.
///
/// # Safety
/// As [`concord_bytes::slice`].
unsafe fn said<'a>(bytes: concord_bytes, name: &str) -> Outcome<Option<&'a [u8]>> {
    // SAFETY: the same promise.
    let slice = unsafe { bytes.slice(name) }?;
    Ok((!bytes.data.is_null()).then_some(slice))
}

/// The same for text.
///
/// # Safety
/// As [`concord_bytes::slice`].
unsafe fn said_text<'a>(bytes: concord_bytes, name: &str) -> Outcome<Option<&'a str>> {
    // SAFETY: the same promise.
    let said = unsafe { said(bytes, name) }?;
    Ok(said.map(|said| utf8(said, name)).transpose()?)
}

/// Text of a pattern or an expression.
pub(crate) fn utf8<'a>(bytes: &'a [u8], name: &str) -> concord_kv::Result<&'a str> {
    str::from_utf8(bytes).map_err(|_| refused(format!("{name} is not UTF-8")))
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidCondition, message)
}

/// The core's selector; NULL says nothing.
///
/// # Safety
/// As [`copied`]; its bytes and texts are readable during `'a`.
pub(crate) unsafe fn selector<'a>(selector: *const concord_selector) -> Outcome<Selector<'a>> {
    // SAFETY: the same promise.
    let Some(given) = unsafe { copied(selector) }? else { return Ok(Selector::default()) };
    // SAFETY: the same promise.
    unsafe {
        let (from, to) = (said(given.range_from, "range_from")?, said(given.range_to, "range_to")?);
        if from.is_some() != to.is_some() {
            return Err(refused("a range has two ends; give range_from and range_to".to_owned()).into());
        }
        let letters = text(given.pattern_flags, "pattern_flags")?.unwrap_or_default();
        let unknown = || refused("pattern_flags are letters, each of `imsxu`".to_owned());
        let flags = PatternFlags::parse(letters).ok_or_else(unknown)?;
        let pattern = said_text(given.pattern, "pattern")?.map(|text| Pattern { text, flags });
        if pattern.is_none() && !letters.is_empty() {
            return Err(refused("pattern_flags are given without a pattern".to_owned()).into());
        }
        Ok(Selector {
            prefix: said(given.prefix, "prefix")?,
            suffix: said(given.suffix, "suffix")?,
            contains: said(given.contains, "contains")?,
            pattern,
            range: from.zip(to),
            filter: said_text(given.r#where, "where")?,
            offset: given.offset,
            limit: Some(given.limit).filter(|limit| *limit != u64::MAX),
        })
    }
}

/// Only keys from `start` on and before `end`; an empty one says nothing. When there can be no such key it picks none.
pub(crate) fn narrow(selector: &mut OwnedSelector, start: &[u8], end: &[u8]) {
    if start.is_empty() && end.is_empty() {
        return;
    }
    let (from, to) = selector.range.take().map_or((None, None), |(from, to)| (Some(from), Some(to)));
    let from = from.map_or_else(|| start.to_vec(), |from| from.max(start.to_vec()));
    let last = if end.is_empty() { Some(vec![u8::MAX; KEY_BYTES_MAX]) } else { last_before(end) };
    let to = last.map(|last| to.map_or_else(|| last.clone(), |to| to.min(last.clone())));
    match to {
        Some(to) if from <= to => selector.range = Some((from, to)),
        _ => selector.limit = Some(0),
    }
}

/// The greatest key before this one; `None` when there is none.
fn last_before(end: &[u8]) -> Option<Vec<u8>> {
    let (&last, before) = end.split_last()?;
    let mut key = before.to_vec();
    if last > 0 {
        key.push(last - 1);
        key.resize(end.len().max(KEY_BYTES_MAX), u8::MAX);
    }
    Some(key)
}
