//! Value: making and reading the usual encoded values, for programs that bring no CBOR library.

use concord_kv::{Error, ErrorKind, Value, check_value, decode_value, encode_value, limits, tags};

use crate::bytes::{concord_buffer, concord_bytes, out};
use crate::status::{Failure, Outcome, concord_status, enter};

/// CBOR tag of a date and time with a fixed offset, over RFC 3339 text.
pub const CONCORD_TAG_DATE_TIME: u64 = 0;
/// CBOR tag of a positive integer beyond 64 bits, over bytes.
pub const CONCORD_TAG_BIG_POSITIVE: u64 = 2;
/// CBOR tag of a negative integer beyond 64 bits, over bytes.
pub const CONCORD_TAG_BIG_NEGATIVE: u64 = 3;
/// CBOR tag of a decimal number, over [exponent, mantissa].
pub const CONCORD_TAG_DECIMAL: u64 = 4;
/// CBOR tag of a value of a named type, over [name, fields].
pub const CONCORD_TAG_STRUCT: u64 = 27;
/// CBOR tag of an atom (a name), over text.
pub const CONCORD_TAG_ATOM: u64 = 39;
/// CBOR tag of a set, over a list.
pub const CONCORD_TAG_SET: u64 = 258;
/// CBOR tag of a calendar date, over text.
pub const CONCORD_TAG_DATE: u64 = 1004;
/// CBOR tag of a tuple, over a list.
pub const CONCORD_TAG_TUPLE: u64 = 17220;
/// CBOR tag of a date and time without zone, over text.
pub const CONCORD_TAG_NAIVE_DATE_TIME: u64 = 17221;
/// CBOR tag of a time of day, over text.
pub const CONCORD_TAG_TIME: u64 = 17222;
/// CBOR tag of a date and time in a named zone, over [text, zone, abbreviation, utc_offset_s, std_offset_s].
pub const CONCORD_TAG_ZONED_DATE_TIME: u64 = 17223;

/// What a value is.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum concord_type {
    /// Nothing.
    CONCORD_TYPE_NULL = 0,
    /// True or false.
    CONCORD_TYPE_BOOL = 1,
    /// An integer of any size.
    CONCORD_TYPE_INT = 2,
    /// A double.
    CONCORD_TYPE_DOUBLE = 3,
    /// UTF-8 text.
    CONCORD_TYPE_TEXT = 4,
    /// Bytes.
    CONCORD_TYPE_BYTES = 5,
    /// A list.
    CONCORD_TYPE_LIST = 6,
    /// A map.
    CONCORD_TYPE_MAP = 7,
    /// A name.
    CONCORD_TYPE_ATOM = 8,
    /// A tuple.
    CONCORD_TYPE_TUPLE = 9,
    /// A date and time with a fixed offset.
    CONCORD_TYPE_DATE_TIME = 10,
    /// A date and time in a named zone.
    CONCORD_TYPE_ZONED_DATE_TIME = 11,
    /// A date and time without zone.
    CONCORD_TYPE_NAIVE_DATE_TIME = 12,
    /// A calendar date.
    CONCORD_TYPE_DATE = 13,
    /// A time of day.
    CONCORD_TYPE_TIME = 14,
    /// A decimal number.
    CONCORD_TYPE_DECIMAL = 15,
    /// A set.
    CONCORD_TYPE_SET = 16,
    /// A value of a named type.
    CONCORD_TYPE_STRUCT = 17,
    /// Something that this release does not know.
    CONCORD_TYPE_OTHER = 18,
}

/// Encodes a value for C.
///
/// # Safety
/// `out_value` is NULL or the caller's buffer variable.
unsafe fn encoded(out_value: *mut concord_buffer, value: impl FnOnce() -> Outcome<Value>) -> concord_status {
    enter(|| {
        // SAFETY: the same promise.
        let place = unsafe { out(out_value, "out_value", concord_buffer::EMPTY) }?;
        *place = concord_buffer::copy(&encode_value(&value()?)?)?;
        Ok(())
    })
}

/// Refuses what could never be stored before it is copied.
fn sized(bytes: &[u8]) -> Outcome<&[u8]> {
    if bytes.len() > limits::VALUE_BYTES_MAX_CEILING {
        return Err(ErrorKind::ValueTooLarge.into());
    }
    Ok(bytes)
}

fn text_of(text: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(sized(text)?)
        .map_err(|error| Error::new(ErrorKind::InvalidValue, format!("text is not UTF-8: {error}")).into())
}

/// Encodes "nothing". Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_null(out_value: *mut concord_buffer) -> concord_status {
    // SAFETY: the caller's buffer variable.
    unsafe { encoded(out_value, || Ok(Value::Null)) }
}

/// Encodes true or false. Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_bool(value: bool, out_value: *mut concord_buffer) -> concord_status {
    // SAFETY: the caller's buffer variable.
    unsafe { encoded(out_value, || Ok(Value::Bool(value))) }
}

/// Encodes an integer. Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_int(value: i64, out_value: *mut concord_buffer) -> concord_status {
    // SAFETY: the caller's buffer variable.
    unsafe { encoded(out_value, || Ok(Value::Int(value.into()))) }
}

/// Encodes a double, NaN and infinities included. Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_double(value: f64, out_value: *mut concord_buffer) -> concord_status {
    // SAFETY: the caller's buffer variable.
    unsafe { encoded(out_value, || Ok(Value::Float(value))) }
}

/// Encodes text; CONCORD_INVALID_VALUE when it is not UTF-8. Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_text(
    text: concord_bytes,
    out_value: *mut concord_buffer,
) -> concord_status {
    // SAFETY: the caller's text and buffer variable.
    unsafe { encoded(out_value, || Ok(Value::Text(text_of(text.slice("text")?)?.to_owned()))) }
}

/// Encodes bytes. Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_bytes(
    bytes: concord_bytes,
    out_value: *mut concord_buffer,
) -> concord_status {
    // SAFETY: the caller's bytes and buffer variable.
    unsafe { encoded(out_value, || Ok(Value::Bytes(sized(bytes.slice("bytes")?)?.to_vec()))) }
}

/// Encodes one JSON text; {"$bytes": "base64"} is bytes. CONCORD_INVALID_VALUE when it is not JSON or nested deeper
/// than 128. Free `out_value` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_from_json(
    json: concord_bytes,
    out_value: *mut concord_buffer,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable and text.
        let (place, json) = unsafe { (out(out_value, "out_value", concord_buffer::EMPTY)?, json.slice("json")?) };
        *place = concord_buffer::copy(&concord_kv::value_from_json(text_of(json)?)?)?;
        Ok(())
    })
}

/// Prints an encoded value as JSON. CONCORD_INVALID_VALUE for what JSON cannot say: NaN, infinities, maps whose keys
/// are no names, texts or integers. Free `out_json` with concord_buffer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_to_json(value: concord_bytes, out_json: *mut concord_buffer) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable and value.
        let (place, value) = unsafe { (out(out_json, "out_json", concord_buffer::EMPTY)?, value.slice("value")?) };
        *place = concord_buffer::copy(concord_kv::value_to_json(value)?.as_bytes())?;
        Ok(())
    })
}

/// Whether a value can be stored: one well-formed CBOR item of the value model, at most 16 MiB, nested at most 128
/// deep. Otherwise CONCORD_INVALID_VALUE or CONCORD_VALUE_TOO_LARGE; the message says where.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_check(value: concord_bytes) -> concord_status {
    enter(|| {
        // SAFETY: the caller's value.
        let value = unsafe { value.slice("value") }?;
        Ok(check_value(value, limits::VALUE_BYTES_MAX_DEFAULT)?)
    })
}

fn type_of(value: &Value) -> concord_type {
    use concord_type as t;
    match value {
        Value::Null => t::CONCORD_TYPE_NULL,
        Value::Bool(_) => t::CONCORD_TYPE_BOOL,
        Value::Int(_) | Value::BigInt { .. } => t::CONCORD_TYPE_INT,
        Value::Float(_) => t::CONCORD_TYPE_DOUBLE,
        Value::Text(_) => t::CONCORD_TYPE_TEXT,
        Value::Bytes(_) => t::CONCORD_TYPE_BYTES,
        Value::List(_) => t::CONCORD_TYPE_LIST,
        Value::Map(_) => t::CONCORD_TYPE_MAP,
        Value::Atom(_) => t::CONCORD_TYPE_ATOM,
        Value::Tuple(_) => t::CONCORD_TYPE_TUPLE,
        Value::DateTime(_) => t::CONCORD_TYPE_DATE_TIME,
        Value::ZonedDateTime { .. } => t::CONCORD_TYPE_ZONED_DATE_TIME,
        Value::NaiveDateTime(_) => t::CONCORD_TYPE_NAIVE_DATE_TIME,
        Value::Date(_) => t::CONCORD_TYPE_DATE,
        Value::Time(_) => t::CONCORD_TYPE_TIME,
        Value::Decimal { .. } => t::CONCORD_TYPE_DECIMAL,
        Value::Set(_) => t::CONCORD_TYPE_SET,
        Value::Struct { .. } => t::CONCORD_TYPE_STRUCT,
        _ => t::CONCORD_TYPE_OTHER,
    }
}

/// Decodes a value and hands what `take` finds in it to C.
///
/// # Safety
/// `value` and `place` are the caller's, as [`concord_value_as_int`] documents.
unsafe fn taken<T>(
    value: concord_bytes,
    place: *mut T,
    name: &str,
    empty: T,
    take: impl FnOnce(&[u8], &Value) -> Option<T>,
) -> concord_status {
    enter(|| {
        // SAFETY: the same promise.
        let (place, bytes) = unsafe { (out(place, name, empty)?, value.slice("value")?) };
        let value = decode_value(bytes)?;
        *place = take(bytes, &value).ok_or_else(|| other_type(&value))?;
        Ok(())
    })
}

#[cold]
fn other_type(value: &Value) -> Failure {
    let message = format!("the value is a {:?} that cannot be taken as this type", type_of(value));
    Error::new(ErrorKind::InvalidValue, message).into()
}

/// What a value is.
///
/// - `out_type`: receives it; CONCORD_TYPE_NULL on failure.
///
/// Errors: CONCORD_INVALID_VALUE when it is no well-formed value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_type(value: concord_bytes, out_type: *mut concord_type) -> concord_status {
    // SAFETY: the caller's value and variable.
    unsafe { taken(value, out_type, "out_type", concord_type::CONCORD_TYPE_NULL, |_, value| Some(type_of(value))) }
}

/// Reads true or false; CONCORD_INVALID_VALUE when it is something else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_as_bool(value: concord_bytes, out_bool: *mut bool) -> concord_status {
    let take = |_: &[u8], value: &Value| match value {
        Value::Bool(value) => Some(*value),
        _ => None,
    };
    // SAFETY: the caller's value and variable.
    unsafe { taken(value, out_bool, "out_bool", false, take) }
}

/// Reads an integer; CONCORD_INVALID_VALUE when it is something else or does not fit into 64 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_as_int(value: concord_bytes, out_int: *mut i64) -> concord_status {
    let take = |_: &[u8], value: &Value| match value {
        Value::Int(value) => i64::try_from(*value).ok(),
        _ => None,
    };
    // SAFETY: the caller's value and variable.
    unsafe { taken(value, out_int, "out_int", 0, take) }
}

/// Reads a double, or an integer that is exactly one; CONCORD_INVALID_VALUE when it is something else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_as_double(value: concord_bytes, out_double: *mut f64) -> concord_status {
    const EXACT_MAX: u128 = 1 << f64::MANTISSA_DIGITS;
    let take = |_: &[u8], value: &Value| match value {
        Value::Float(value) => Some(*value),
        Value::Int(value) if value.unsigned_abs() <= EXACT_MAX => Some(*value as f64),
        _ => None,
    };
    // SAFETY: the caller's value and variable.
    unsafe { taken(value, out_double, "out_double", 0.0, take) }
}

/// Where the content of an encoded text or byte string lies; `None` when it is written in pieces.
fn content(bytes: &[u8], content: &[u8]) -> Option<concord_bytes> {
    const IN_PIECES: [u8; 2] = [0x5f, 0x7f];
    let string = bytes.strip_prefix(&[0xd8, CONCORD_TAG_ATOM as u8]).unwrap_or(bytes);
    let whole = string.first().is_some_and(|head| !IN_PIECES.contains(head)) && bytes.ends_with(content);
    whole.then(|| concord_bytes::of(&bytes[bytes.len() - content.len()..]))
}

/// Finds the text of a text or a name. CONCORD_INVALID_VALUE when it is something else, or written in pieces (which
/// only foreign encoders do; concord_value_to_json() reads it).
///
/// - `out_text`: receives it, borrowed from `value`; not NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_as_text(value: concord_bytes, out_text: *mut concord_bytes) -> concord_status {
    let take = |bytes: &[u8], value: &Value| match value {
        Value::Text(text) | Value::Atom(text) => content(bytes, text.as_bytes()),
        _ => None,
    };
    // SAFETY: the caller's value and variable.
    unsafe { taken(value, out_text, "out_text", concord_bytes::EMPTY, take) }
}

/// Finds the content of bytes, or of text as bytes. CONCORD_INVALID_VALUE as concord_value_as_text().
///
/// - `out_bytes`: receives it, borrowed from `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_value_as_bytes(value: concord_bytes, out_bytes: *mut concord_bytes) -> concord_status {
    let take = |bytes: &[u8], value: &Value| match value {
        Value::Bytes(inner) => content(bytes, inner),
        Value::Text(inner) => content(bytes, inner.as_bytes()),
        _ => None,
    };
    // SAFETY: the caller's value and variable.
    unsafe { taken(value, out_bytes, "out_bytes", concord_bytes::EMPTY, take) }
}

const _: () = {
    let ours = [
        CONCORD_TAG_DATE_TIME,
        CONCORD_TAG_BIG_POSITIVE,
        CONCORD_TAG_BIG_NEGATIVE,
        CONCORD_TAG_DECIMAL,
        CONCORD_TAG_STRUCT,
        CONCORD_TAG_ATOM,
        CONCORD_TAG_SET,
        CONCORD_TAG_DATE,
        CONCORD_TAG_TUPLE,
        CONCORD_TAG_NAIVE_DATE_TIME,
        CONCORD_TAG_TIME,
        CONCORD_TAG_ZONED_DATE_TIME,
    ];
    let theirs = [
        tags::DATE_TIME,
        tags::BIG_POSITIVE,
        tags::BIG_NEGATIVE,
        tags::DECIMAL,
        tags::STRUCT,
        tags::ATOM,
        tags::SET,
        tags::DATE,
        tags::TUPLE,
        tags::NAIVE_DATE_TIME,
        tags::TIME,
        tags::ZONED_DATE_TIME,
    ];
    let mut at = 0;
    while at < ours.len() {
        assert!(ours[at] == theirs[at], "the header's tags are the core's");
        at += 1;
    }
};
