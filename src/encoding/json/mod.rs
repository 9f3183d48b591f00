//! JSON: encoded values as JSON text and back.
//!
//! | value | JSON |
//! |--|--|
//! | null, booleans, text, lists | the same |
//! | integers of up to 4,300 digits | numbers without fraction and exponent |
//! | floats | numbers with a fraction or an exponent; NaN and infinities are refused |
//! | maps | objects; keys that are atoms, integers, booleans or null become strings, others are refused, and so are two keys that become the same string |
//! | atoms | strings |
//! | tuples | arrays |
//! | dates and times | strings; in a zone: the text with its offset |
//! | bytes | `{"$bytes": "base64"}` |
//! | decimals | `{"$decimal": "12.50"}`, digits as written (the scientific notation of IBM's decimal arithmetic) |
//! | sets | `{"$set": [1, 2]}` |
//! | structs | `{"$struct": ["Elixir.MyApp.User", {"name": "Ann"}]}` |
//!
//! The last four are markers and are read back as what they came from. An object is a marker when it
//! has that one key and the value has that JSON type (a string, or an array); `{"$set": {"a": 1}}` and
//! `{"$bytes": "", "x": 1}` are plain objects. A map that would look like a marker gets one more `$` in front of its
//! key, and reading takes it away again: the map with the key `$bytes` and the text `hi` is `{"$$bytes":"hi"}`,
//! the map with the key `$$bytes` is `{"$$$bytes":"hi"}`. So every map survives.

mod base64;
mod decimal;
mod read;
mod write;

use crate::error::{Error, ErrorKind, Result};

/// An encoded value as compact JSON text.
///
/// JSON knows fewer types: atoms, dates and times become strings, tuples become arrays, and read as
/// those. Bytes, decimals, sets and structs become objects with one key that begins with `$`, which
/// [`value_from_json`] reads back.
///
/// Errors: `invalid_value` for NaN, infinities, integers of more than 4,300 digits, map keys other than text, atoms,
/// integers, booleans and null, keys that would become the same string, and for bytes that are no value.
///
/// ```
/// use concord_kv::{encode_value, value_to_json, Value};
/// let value = Value::Map(vec![(Value::from("id"), Value::from(7)), (Value::from("raw"), Value::Bytes(vec![0xff]))]);
/// assert_eq!(value_to_json(&encode_value(&value)?)?, r#"{"id":7,"raw":{"$bytes":"/w=="}}"#);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn value_to_json(value: &[u8]) -> Result<String> {
    write::write_json(value)
}

/// JSON text as an encoded value.
///
/// Numbers without fraction and exponent are integers of any size up to 4,300 digits, others floats.
/// `{"$bytes": "..."}` and its like are what [`value_to_json`] makes them from.
///
/// Errors: `invalid_value`, with the offset in the message, for text that is not JSON (RFC 8259),
/// duplicate keys, floats beyond 64 bits, lone surrogates, or more than 128 levels.
///
/// ```
/// use concord_kv::{decode_value, value_from_json, Value};
/// assert_eq!(decode_value(&value_from_json("[1, 2.0]")?)?, Value::List(vec![Value::Int(1), Value::Float(2.0)]));
/// assert_eq!(decode_value(&value_from_json(r#"{"$bytes":"/w=="}"#)?)?, Value::Bytes(vec![0xff]));
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn value_from_json(json: &str) -> Result<Vec<u8>> {
    read::read_json(json)
}

/// What an object with a single key that begins with `$` may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Bytes,
    Decimal,
    Set,
    Struct,
}

impl Marker {
    /// The marker whose name follows after the dollars of this key, and how many dollars there are.
    fn of(key: &str) -> Option<(Marker, usize)> {
        let name = key.trim_start_matches('$');
        let marker = match name {
            "bytes" => Marker::Bytes,
            "decimal" => Marker::Decimal,
            "set" => Marker::Set,
            "struct" => Marker::Struct,
            _ => return None,
        };
        let dollars = key.len() - name.len();
        (dollars > 0).then_some((marker, dollars))
    }

    /// First character of the JSON that follows after the key.
    fn opening(self) -> u8 {
        match self {
            Marker::Bytes | Marker::Decimal => b'"',
            Marker::Set | Marker::Struct => b'[',
        }
    }
}

/// Whether two of these ranges of `bytes` hold the same.
fn has_duplicates(bytes: &[u8], ranges: &mut [(usize, usize)]) -> bool {
    let part = |range: &(usize, usize)| &bytes[range.0..range.1];
    if ranges.len() > 8 {
        ranges.sort_unstable_by(|a, b| part(a).cmp(part(b)));
        return ranges.windows(2).any(|pair| part(&pair[0]) == part(&pair[1]));
    }
    ranges.iter().enumerate().any(|(index, range)| ranges[..index].iter().any(|other| part(other) == part(range)))
}

#[cold]
fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidValue, message)
}
