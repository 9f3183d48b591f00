//! Check: whether bytes are one value of the model, without building it.
//!
//! This is the only judge of what is a value: decoding, comparing and printing rely on it.

use crate::encoding::cbor::reader::{Fault, Head, INDEFINITE, Length, Read, Reader, major};
use crate::encoding::{tags, times};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::VALUE_DEPTH_MAX;

/// Whether `bytes` are exactly one value of the model: well-formed CBOR (definite or indefinite lengths,
/// floats of any width), valid UTF-8 in text, only the tags of [`tags`](crate::tags) over the content
/// they need, and at most 128 levels (a scalar is one level, each list or map around it one more).
///
/// Every write does this to what it is given. Duplicate keys of a map are allowed: a reader whose maps
/// hold a key only once keeps the last.
///
/// Errors: `value_too_large` above `bytes_max` bytes; `invalid_value`, with the offset in the message.
///
/// ```
/// use concord_kv::{check_value, ErrorKind};
/// check_value(&[0x63, b'a', b'b', b'c'], 16)?;                // the text "abc"
/// let error = check_value(&[0x63, b'a', b'b'], 16).unwrap_err(); // cut off
/// assert_eq!(error.kind(), ErrorKind::InvalidValue);
/// assert_eq!(check_value(&[0x01], 0).unwrap_err().kind(), ErrorKind::ValueTooLarge);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn check_value(bytes: &[u8], bytes_max: usize) -> Result<()> {
    if bytes.len() > bytes_max {
        return Err(too_large(bytes.len(), bytes_max));
    }
    well_formed(bytes).map_err(Error::from)
}

#[cold]
fn too_large(bytes: usize, bytes_max: usize) -> Error {
    let message = format!("the encoded value has {bytes} bytes, {bytes_max} are allowed; store a reference instead");
    Error::new(ErrorKind::ValueTooLarge, message)
}

/// The same without a bound on the size.
#[inline]
pub(super) fn well_formed(bytes: &[u8]) -> Read<()> {
    let mut reader = Reader::new(bytes);
    item(&mut reader, 1)?;
    match reader.remaining() {
        0 => Ok(()),
        _ => Err(reader.fault_at(reader.position(), "bytes follow after the value")),
    }
}

/// One item at this depth.
fn item(reader: &mut Reader<'_>, depth: usize) -> Read<()> {
    let head = reader.head()?;
    match head.major {
        major::UNSIGNED | major::NEGATIVE => Ok(()),
        major::BYTES => reader.skip_bytes(head),
        major::TEXT => reader.skip_text(head),
        major::ARRAY => array(reader, head, depth),
        major::MAP => map(reader, head, depth),
        major::TAG => tagged(reader, head.argument, depth),
        _ => reader.simple(head).map(drop),
    }
}

/// Passes over the next item.
pub(super) fn skip(reader: &mut Reader<'_>) -> Read<()> {
    if reader.skip_small() { Ok(()) } else { item(reader, 1) }
}

fn array(reader: &mut Reader<'_>, head: Head, depth: usize) -> Read<()> {
    match reader.length(head, 1)? {
        Length(Some(count)) => items(reader, count, depth + 1),
        mut unknown => {
            while reader.more(&mut unknown)? {
                items(reader, 1, depth + 1)?;
            }
            Ok(())
        }
    }
}

fn map(reader: &mut Reader<'_>, head: Head, depth: usize) -> Read<()> {
    match reader.length(head, 2)? {
        Length(Some(count)) => items(reader, count * 2, depth + 1),
        mut unknown => {
            while reader.more(&mut unknown)? {
                items(reader, 2, depth + 1)?;
            }
            Ok(())
        }
    }
}

/// So many items at this depth. Small ones are dealt with here, because most are.
fn items(reader: &mut Reader<'_>, count: u64, depth: usize) -> Read<()> {
    if depth > VALUE_DEPTH_MAX && count > 0 {
        return Err(reader.fault_at(reader.position(), "nested deeper than 128 levels"));
    }
    for _ in 0..count {
        if !reader.skip_small() {
            item(reader, depth)?;
        }
    }
    Ok(())
}

fn tagged(reader: &mut Reader<'_>, tag: u64, depth: usize) -> Read<()> {
    let at = reader.position();
    let head = reader.head()?;
    let need = |wanted: u8, reason| if head.major == wanted { Ok(()) } else { Err(Fault { reason, at }) };
    let time = |reader: &mut Reader<'_>, is_valid: fn(&str) -> bool, reason| {
        need(major::TEXT, reason)?;
        let text = reader.text(head)?;
        if is_valid(&text) { Ok(()) } else { Err(Fault { reason, at }) }
    };
    match tag {
        tags::ATOM => {
            need(major::TEXT, "an atom that is not text")?;
            reader.skip_text(head)
        }
        tags::BIG_POSITIVE | tags::BIG_NEGATIVE => {
            need(major::BYTES, "a big integer that is not bytes")?;
            reader.skip_bytes(head)
        }
        tags::TUPLE => {
            need(major::ARRAY, "a tuple that is not a list")?;
            array(reader, head, depth)
        }
        tags::SET => {
            need(major::ARRAY, "a set that is not a list")?;
            array(reader, head, depth)
        }
        tags::DATE_TIME => time(reader, times::is_date_time, "a point in time that is not RFC 3339 text"),
        tags::NAIVE_DATE_TIME => time(reader, times::is_naive_date_time, "a date and time that is not such text"),
        tags::TIME => time(reader, times::is_time, "a time of day that is not such text"),
        tags::DATE => time(reader, times::is_date, "a date that is not such text"),
        tags::ZONED_DATE_TIME => zoned(reader, head, at, depth),
        tags::DECIMAL => decimal(reader, head, at, depth),
        tags::STRUCT => structure(reader, head, at, depth),
        _ => Err(reader.fault_at(at, "unknown tag")),
    }
}

/// An array of exactly `count` items that `content` reads.
fn exactly(
    reader: &mut Reader<'_>,
    head: Head,
    count: u64,
    fault: Fault,
    depth: usize,
    content: impl FnOnce(&mut Reader<'_>) -> Read<()>,
) -> Read<()> {
    let announced = head.info == INDEFINITE || head.argument == count;
    if head.major != major::ARRAY || !announced {
        return Err(fault);
    }
    if depth >= VALUE_DEPTH_MAX {
        return Err(reader.fault_at(reader.position(), "nested deeper than 128 levels"));
    }
    content(reader)?;
    let mut rest = Length(if head.info == INDEFINITE { None } else { Some(0) });
    if reader.more(&mut rest)? { Err(fault) } else { Ok(()) }
}

fn decimal(reader: &mut Reader<'_>, head: Head, at: usize, depth: usize) -> Read<()> {
    let fault = Fault { reason: "a decimal that is not [exponent of 64 bits, integer]", at };
    exactly(reader, head, 2, fault, depth, |reader| {
        let exponent = reader.head()?;
        if !is_small_integer(exponent, i64::MAX as u64) {
            return Err(fault);
        }
        let mantissa = reader.head()?;
        match mantissa.major {
            major::UNSIGNED | major::NEGATIVE => Ok(()),
            major::TAG if matches!(mantissa.argument, tags::BIG_POSITIVE | tags::BIG_NEGATIVE) => {
                let digits = reader.head()?;
                if digits.major == major::BYTES { reader.skip_bytes(digits) } else { Err(fault) }
            }
            _ => Err(fault),
        }
    })
}

fn structure(reader: &mut Reader<'_>, head: Head, at: usize, depth: usize) -> Read<()> {
    let fault = Fault { reason: "a struct that is not [name, map of fields]", at };
    exactly(reader, head, 2, fault, depth, |reader| {
        text(reader, fault)?;
        let fields = reader.head()?;
        if fields.major == major::MAP { map(reader, fields, depth + 1) } else { Err(fault) }
    })
}

fn zoned(reader: &mut Reader<'_>, head: Head, at: usize, depth: usize) -> Read<()> {
    let reason = "a point in time in a zone that is not [text, zone, abbreviation, offset, offset]";
    let fault = Fault { reason, at };
    exactly(reader, head, 5, fault, depth, |reader| {
        let moment = text(reader, fault)?;
        let zone = text(reader, fault)?;
        text(reader, fault)?;
        let offset_s = offset(reader, fault)? + offset(reader, fault)?;
        if zone.is_empty() || !times::is_zoned(&moment, offset_s) { Err(fault) } else { Ok(()) }
    })
}

fn text<'a>(reader: &mut Reader<'a>, fault: Fault) -> Read<std::borrow::Cow<'a, str>> {
    let head = reader.head()?;
    if head.major == major::TEXT { reader.text(head) } else { Err(fault) }
}

fn offset(reader: &mut Reader<'_>, fault: Fault) -> Read<i64> {
    let head = reader.head()?;
    match head.major {
        _ if !is_small_integer(head, i32::MAX as u64) => Err(fault),
        major::UNSIGNED => Ok(head.argument as i64),
        _ => Ok(-1 - head.argument as i64),
    }
}

fn is_small_integer(head: Head, argument_max: u64) -> bool {
    head.major <= major::NEGATIVE && head.argument <= argument_max
}
