//! Key: keys in paths and in JSON. A key is bytes; in JSON one that is no text is `{"$bytes": "base64"}`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use crate::encoding::{decode_value, encode_value, value_from_json, value_to_json};
use crate::error::{Error, ErrorKind};
use crate::http::answer::Fault;
use crate::limits::KEY_BYTES_MAX;
use crate::model::Value;

/// Where the key stands in `/api/v1/kv/{key}/...`, counted from the empty part before the first slash.
const KEY_PART: usize = 4;

/// The key of the path, percent-decoded after routing: any bytes.
pub(in crate::http) struct PathKey(pub(in crate::http) Vec<u8>);

impl<S: Sync> FromRequestParts<S> for PathKey {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<PathKey, Fault> {
        let part = parts.uri.path().split('/').nth(KEY_PART).unwrap_or_default();
        decode(part).map(PathKey)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = part.as_bytes();
    let is_whole = |at: usize| bytes[at] != b'%' || (is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2)));
    if !(0..bytes.len()).all(is_whole) {
        let message = "a `%` in a key is followed by two hexadecimal digits; write a percent sign as `%25`";
        return Err(Error::new(ErrorKind::InvalidKey, message).into());
    }
    let key: Vec<u8> = percent_decode_str(part).collect();
    // The service says so as well; here it comes before anything that is said of the rest of the request.
    if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(key) } else { Err(ErrorKind::InvalidKey.into()) }
}

/// A key in the body of a request.
pub(in crate::http) fn key_of_json(json: &RawValue) -> Result<Vec<u8>, Fault> {
    let invalid = || {
        let message = r#"a key is a string, or {"$bytes": "base64"} when it is no text"#;
        Fault::from(Error::new(ErrorKind::InvalidKey, message))
    };
    let value = value_from_json(json.get()).and_then(|value| decode_value(&value)).map_err(|_| invalid())?;
    match value {
        Value::Text(text) => Ok(text.into_bytes()),
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(invalid()),
    }
}

/// A key in the body of an answer.
pub(in crate::http) fn key_json(key: &[u8]) -> Result<String, Fault> {
    let value = match std::str::from_utf8(key) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(key),
    };
    Ok(value_to_json(&encode_value(&value)?)?)
}

/// A key that names a field of the answer: only text can.
pub(in crate::http) fn key_text(key: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(key).map_err(|_| {
        let message = "this answer names its fields after the keys, and a key that is no text cannot; ask for it alone";
        Error::new(ErrorKind::InvalidKey, message).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_in_a_key() {
        for byte in 0..=255u8 {
            assert_eq!(decode(&format!("%{byte:02x}")).unwrap(), [byte]);
            assert_eq!(decode(&format!("a%{byte:02X}b")).unwrap(), [b'a', byte, b'b']);
        }
        assert_eq!(decode("a+b").unwrap(), b"a+b");
        assert_eq!(decode("%2e%2e%2F%00").unwrap(), b"../\0");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in ["", "%", "%4", "%zz", "a%", "a%2", "%%41", &"x".repeat(KEY_BYTES_MAX + 1)] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
        assert!(decode(&"%ff".repeat(KEY_BYTES_MAX)).is_ok());
        for wrong in ["1", "null", "[]", r#"{"$bytes":"?"}"#, r#"{"$bytes":"AA==","x":1}"#] {
            assert!(key_of_json(&RawValue::from_string(wrong.to_owned()).unwrap()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_in_json_come_back() {
        for key in [&b"plain"[..], b"\xff\x00", "\"quoted\" \u{1f600}".as_bytes()] {
            let json = key_json(key).unwrap();
            assert_eq!(key_of_json(&RawValue::from_string(json).unwrap()).unwrap(), key);
        }
    }
}
