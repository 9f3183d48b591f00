//! Value codec: [`Value`] to CBOR and back.

use crate::encoding::cbor::reader::{Fault, Length, Read, Reader, Token, major};
use crate::encoding::cbor::writer::{write_bytes, write_float, write_head, write_text};
use crate::encoding::check::well_formed;
use crate::encoding::integer::{big, small, write_integer, write_magnitude};
use crate::encoding::{tags, times};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::VALUE_DEPTH_MAX;
use crate::model::Value;

/// The bytes under which every language stores this value: CBOR with the shortest heads, definite
/// lengths, floats of 64 bits, and the tags of [`tags`](crate::tags).
///
/// Integers get the one shortest form whatever variant holds them.
///
/// Errors: `invalid_value` when the value is nested deeper than 128 levels, when a date or time is
/// not in the text form that its tag says, when a mantissa is no integer, or when the fields of a struct are no map.
///
/// ```
/// use concord_kv::{decode_value, encode_value, Value};
/// let value = Value::from([1, 2, 3]);
/// let bytes = encode_value(&value)?;
/// assert_eq!(bytes, [0x83, 1, 2, 3]);
/// assert_eq!(decode_value(&bytes)?, value);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn encode_value(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(size_hint(value));
    encode_value_into(value, &mut out)?;
    Ok(out)
}

/// The same, appended to `out`. After an error `out` is as it was.
pub fn encode_value_into(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let before = out.len();
    write(value, 1, out).inspect_err(|_| out.truncate(before))
}

/// The value that these bytes encode. They may be untrusted: accepted is exactly what
/// [`check_value`](crate::check_value) accepts.
///
/// Errors: `invalid_value`, with the offset in the message.
///
/// ```
/// use concord_kv::{decode_value, Value};
/// assert_eq!(decode_value(&[0xf6])?, Value::Null);
/// assert!(decode_value(&[0xf6, 0xf6]).is_err());
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn decode_value(bytes: &[u8]) -> Result<Value> {
    well_formed(bytes)?;
    Ok(build(&mut Reader::new(bytes))?)
}

/// A capacity that fits flat values exactly and others roughly.
fn size_hint(value: &Value) -> usize {
    const HEAD_BYTES_MAX: usize = 9;
    match value {
        Value::Text(text) => text.len() + HEAD_BYTES_MAX,
        Value::Bytes(bytes) => bytes.len() + HEAD_BYTES_MAX,
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => HEAD_BYTES_MAX + 16 * items.len().min(1024),
        Value::Map(entries) => HEAD_BYTES_MAX + 32 * entries.len().min(1024),
        _ => 64,
    }
}

fn write(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth > VALUE_DEPTH_MAX {
        return Err(refused("the value is nested deeper than 128 levels"));
    }
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Value::Int(integer) => write_integer(*integer, out),
        Value::BigInt { negative, magnitude } => write_magnitude(*negative, magnitude, out),
        Value::Float(float) => write_float(*float, out),
        Value::Text(text) => write_text(text, out),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::List(items) => write_list(items, depth, out)?,
        Value::Map(entries) => write_map(entries, depth, out)?,
        Value::Atom(name) => write_tagged_text(tags::ATOM, name, out),
        Value::Tuple(items) => {
            write_head(major::TAG, tags::TUPLE, out);
            write_list(items, depth, out)?;
        }
        Value::Set(items) => {
            write_head(major::TAG, tags::SET, out);
            write_list(items, depth, out)?;
        }
        Value::DateTime(text) => write_time(tags::DATE_TIME, text, times::is_date_time, out)?,
        Value::NaiveDateTime(text) => write_time(tags::NAIVE_DATE_TIME, text, times::is_naive_date_time, out)?,
        Value::Date(text) => write_time(tags::DATE, text, times::is_date, out)?,
        Value::Time(text) => write_time(tags::TIME, text, times::is_time, out)?,
        Value::ZonedDateTime { text, zone, abbreviation, utc_offset_s, std_offset_s } => {
            let total_s = i64::from(*utc_offset_s) + i64::from(*std_offset_s);
            if zone.is_empty() || !times::is_zoned(text, total_s) {
                return Err(refused("a point in time in a zone needs RFC 3339 text with the zone's offset"));
            }
            write_fixed(tags::ZONED_DATE_TIME, 5, depth, out)?;
            [text, zone, abbreviation].into_iter().for_each(|text| write_text(text, out));
            write_integer((*utc_offset_s).into(), out);
            write_integer((*std_offset_s).into(), out);
        }
        Value::Decimal { exponent, mantissa } => {
            if !matches!(**mantissa, Value::Int(_) | Value::BigInt { .. }) {
                return Err(refused("the mantissa of a decimal is an integer"));
            }
            write_fixed(tags::DECIMAL, 2, depth, out)?;
            write_integer((*exponent).into(), out);
            write(mantissa, depth + 1, out)?;
        }
        Value::Struct { name, fields } => {
            if !matches!(**fields, Value::Map(_)) {
                return Err(refused("the fields of a struct are a map"));
            }
            write_fixed(tags::STRUCT, 2, depth, out)?;
            write_text(name, out);
            write(fields, depth + 1, out)?;
        }
    }
    Ok(())
}

fn write_list(items: &[Value], depth: usize, out: &mut Vec<u8>) -> Result<()> {
    write_head(major::ARRAY, items.len() as u64, out);
    items.iter().try_for_each(|item| write(item, depth + 1, out))
}

fn write_map(entries: &[(Value, Value)], depth: usize, out: &mut Vec<u8>) -> Result<()> {
    write_head(major::MAP, entries.len() as u64, out);
    entries.iter().try_for_each(|(key, value)| {
        write(key, depth + 1, out)?;
        write(value, depth + 1, out)
    })
}

/// Tag and list head of a form with a fixed number of items, which are one level deeper.
fn write_fixed(tag: u64, count: u64, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(refused("the value is nested deeper than 128 levels"));
    }
    write_head(major::TAG, tag, out);
    write_head(major::ARRAY, count, out);
    Ok(())
}

fn write_tagged_text(tag: u64, text: &str, out: &mut Vec<u8>) {
    write_head(major::TAG, tag, out);
    write_text(text, out);
}

fn write_time(tag: u64, text: &str, is_valid: fn(&str) -> bool, out: &mut Vec<u8>) -> Result<()> {
    if !is_valid(text) {
        return Err(refused("a date or time is not in the text form of its type"));
    }
    write_tagged_text(tag, text, out);
    Ok(())
}

#[cold]
fn refused(message: &str) -> Error {
    Error::new(ErrorKind::InvalidValue, message)
}

/// Builds the value of bytes that are well-formed, hence no deeper than allowed.
fn build(reader: &mut Reader<'_>) -> Read<Value> {
    Ok(match reader.token()? {
        Token::Null => Value::Null,
        Token::Bool(value) => Value::Bool(value),
        Token::Int { negative, argument } => Value::Int(small(negative, argument)),
        Token::Float(float) => Value::Float(float),
        Token::Text(text) => Value::Text(text.into_owned()),
        Token::Bytes(bytes) => Value::Bytes(bytes.into_owned()),
        Token::Array(length) => Value::List(build_items(reader, length)?),
        Token::Map(length) => Value::Map(build_entries(reader, length)?),
        Token::Tag(tag) => build_tagged(reader, tag)?,
    })
}

fn build_items(reader: &mut Reader<'_>, mut length: Length) -> Read<Vec<Value>> {
    let mut items = Vec::with_capacity(length.capacity());
    while reader.more(&mut length)? {
        items.push(build(reader)?);
    }
    Ok(items)
}

fn build_entries(reader: &mut Reader<'_>, mut length: Length) -> Read<Vec<(Value, Value)>> {
    let mut entries = Vec::with_capacity(length.capacity());
    while reader.more(&mut length)? {
        entries.push((build(reader)?, build(reader)?));
    }
    Ok(entries)
}

fn build_tagged(reader: &mut Reader<'_>, tag: u64) -> Read<Value> {
    let at = reader.position();
    let unknown = Fault { reason: "unknown tag", at };
    Ok(match (tag, build(reader)?) {
        (tags::ATOM, Value::Text(name)) => Value::Atom(name),
        (tags::TUPLE, Value::List(items)) => Value::Tuple(items),
        (tags::SET, Value::List(items)) => Value::Set(items),
        (tags::DATE_TIME, Value::Text(text)) => Value::DateTime(text),
        (tags::NAIVE_DATE_TIME, Value::Text(text)) => Value::NaiveDateTime(text),
        (tags::DATE, Value::Text(text)) => Value::Date(text),
        (tags::TIME, Value::Text(text)) => Value::Time(text),
        (tags::BIG_POSITIVE, Value::Bytes(bytes)) => big(false, &bytes),
        (tags::BIG_NEGATIVE, Value::Bytes(bytes)) => big(true, &bytes),
        (tags::ZONED_DATE_TIME | tags::DECIMAL | tags::STRUCT, Value::List(items)) => {
            build_fixed(tag, items).ok_or(unknown)?
        }
        _ => return Err(unknown),
    })
}

fn build_fixed(tag: u64, items: Vec<Value>) -> Option<Value> {
    let mut items = items.into_iter();
    let mut next = || items.next();
    match tag {
        tags::DECIMAL => Some(Value::Decimal { exponent: integer(next()?)?, mantissa: Box::new(next()?) }),
        tags::STRUCT => Some(Value::Struct { name: text(next()?)?, fields: Box::new(next()?) }),
        tags::ZONED_DATE_TIME => Some(Value::ZonedDateTime {
            text: text(next()?)?,
            zone: text(next()?)?,
            abbreviation: text(next()?)?,
            utc_offset_s: integer(next()?)?,
            std_offset_s: integer(next()?)?,
        }),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn integer<T: TryFrom<i128>>(value: Value) -> Option<T> {
    if let Value::Int(integer) = value { T::try_from(integer).ok() } else { None }
}
