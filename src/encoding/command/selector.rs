//! Selectors as bytes, for the log and between clients and members.
//!
//! ```text
//! selector := parts (1)  [prefix]  [suffix]  [contains]  [flags (1) pattern]  [from to]  [filter]  offset  [limit]
//! ```
//! Each bit of `parts` says whether a part is there, in this order, low first.

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::model::{Pattern, PatternFlags, Selector};

const PREFIX: u8 = 1;
const SUFFIX: u8 = 1 << 1;
const CONTAINS: u8 = 1 << 2;
const PATTERN: u8 = 1 << 3;
const RANGE: u8 = 1 << 4;
const FILTER: u8 = 1 << 5;
const LIMIT: u8 = 1 << 6;
const KNOWN: u8 = PREFIX | SUFFIX | CONTAINS | PATTERN | RANGE | FILTER | LIMIT;

/// Appends a selector.
pub(crate) fn put_selector(out: &mut Vec<u8>, selector: &Selector<'_>) {
    let Selector { prefix, suffix, contains, pattern, range, filter, offset, limit } = *selector;
    let is_there = [
        (PREFIX, prefix.is_some()),
        (SUFFIX, suffix.is_some()),
        (CONTAINS, contains.is_some()),
        (PATTERN, pattern.is_some()),
        (RANGE, range.is_some()),
        (FILTER, filter.is_some()),
        (LIMIT, limit.is_some()),
    ];
    out.push(is_there.iter().fold(0, |parts, (part, is_there)| if *is_there { parts | part } else { parts }));
    [prefix, suffix, contains].into_iter().flatten().for_each(|part| put_bytes(out, part));
    if let Some(Pattern { text, flags }) = pattern {
        out.push(flags.to_bits());
        put_bytes(out, text.as_bytes());
    }
    if let Some((from, to)) = range {
        put_bytes(out, from);
        put_bytes(out, to);
    }
    if let Some(filter) = filter {
        put_bytes(out, filter.as_bytes());
    }
    put_varint(out, offset);
    if let Some(limit) = limit {
        put_varint(out, limit);
    }
}

/// Reads what [`put_selector`] wrote.
pub(crate) fn read_selector<'a>(reader: &mut WireReader<'a>) -> Result<Selector<'a>> {
    let parts = reader.u8()?;
    if parts & !KNOWN != 0 {
        return Err(damaged("a selector with unknown parts"));
    }
    let has = |part| parts & part != 0;
    let mut part = |part: u8| has(part).then(|| reader.bytes()).transpose();
    let (prefix, suffix, contains) = (part(PREFIX)?, part(SUFFIX)?, part(CONTAINS)?);
    let pattern = match has(PATTERN) {
        false => None,
        true => {
            let flags = PatternFlags::from_bits(reader.u8()?).ok_or_else(|| damaged("a pattern with unknown flags"))?;
            Some(Pattern { flags, text: read_text(reader)? })
        }
    };
    let range = if has(RANGE) { Some((reader.bytes()?, reader.bytes()?)) } else { None };
    let filter = if has(FILTER) { Some(read_text(reader)?) } else { None };
    let offset = reader.varint()?;
    let limit = if has(LIMIT) { Some(reader.varint()?) } else { None };
    Ok(Selector { prefix, suffix, contains, pattern, range, filter, offset, limit })
}

/// A length and so many bytes of UTF-8, borrowed.
pub(super) fn read_text<'a>(reader: &mut WireReader<'a>) -> Result<&'a str> {
    std::str::from_utf8(reader.bytes()?).map_err(|_| damaged("text that is no UTF-8"))
}
