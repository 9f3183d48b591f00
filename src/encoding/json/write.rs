//! JSON writing: straight from encoded bytes, so that a large value costs no more than its text.

use std::fmt::Write as _;

use super::{Marker, base64, decimal, has_duplicates, refused};
use crate::encoding::cbor::reader::{Length, Reader, Token};
use crate::encoding::check::well_formed;
use crate::encoding::integer::{big, small, to_digits};
use crate::encoding::tags;
use crate::error::Result;
use crate::limits::JSON_INTEGER_DIGITS_MAX;
use crate::model::Value;

/// JSON text of an encoded value.
pub(super) fn write_json(value: &[u8]) -> Result<String> {
    well_formed(value)?;
    let mut out = String::with_capacity(value.len());
    write(&mut Reader::new(value), &mut out)?;
    Ok(out)
}

/// Writes the next item. The bytes are well-formed, hence no deeper than allowed.
fn write(reader: &mut Reader<'_>, out: &mut String) -> Result<()> {
    match reader.token()? {
        Token::Null => out.push_str("null"),
        Token::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Token::Int { negative, argument } => out.push_str(&small(negative, argument).to_string()),
        Token::Float(float) if !float.is_finite() => {
            return Err(refused(format!("JSON has no number for {float}")));
        }
        // The shortest digits that read back as the same float, always with a fraction or an exponent.
        Token::Float(float) => write_display(format_args!("{float:?}"), out),
        Token::Text(text) => write_string(&text, out),
        Token::Bytes(bytes) => {
            out.push_str(r#"{"$bytes":""#);
            base64::write(&bytes, out);
            out.push_str(r#""}"#);
        }
        Token::Array(length) => write_array(reader, length, out)?,
        Token::Map(length) => write_object(reader, length, out)?,
        Token::Tag(tag) => write_tagged(reader, tag, out)?,
    }
    Ok(())
}

fn write_tagged(reader: &mut Reader<'_>, tag: u64, out: &mut String) -> Result<()> {
    match tag {
        tags::BIG_POSITIVE | tags::BIG_NEGATIVE => out.push_str(&digits(&read_big(reader, tag)?)?),
        tags::ZONED_DATE_TIME => {
            reader.token()?;
            write(reader, out)?;
            // Zone, abbreviation and offsets have no place in RFC 3339 text.
            (0..4).try_for_each(|_| reader.token().map(drop))?;
            reader.take_break();
        }
        tags::DECIMAL => {
            reader.token()?;
            let exponent = read_integer(reader)?;
            let mantissa = read_integer(reader)?;
            reader.take_break();
            let Value::Int(exponent) = exponent else { return Err(refused("a decimal without exponent")) };
            let text = decimal::to_text(exponent as i64, &mantissa).ok_or_else(too_many_digits)?;
            write_display(format_args!(r#"{{"$decimal":"{text}"}}"#), out);
        }
        tags::SET | tags::STRUCT => {
            out.push_str(if tag == tags::SET { r#"{"$set":"# } else { r#"{"$struct":"# });
            write(reader, out)?;
            out.push('}');
        }
        // Atoms, tuples, dates and times are what they are made of.
        _ => write(reader, out)?,
    }
    Ok(())
}

fn write_array(reader: &mut Reader<'_>, mut length: Length, out: &mut String) -> Result<()> {
    out.push('[');
    let mut is_first = true;
    while reader.more(&mut length)? {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        write(reader, out)?;
    }
    out.push(']');
    Ok(())
}

fn write_object(reader: &mut Reader<'_>, mut length: Length, out: &mut String) -> Result<()> {
    out.push('{');
    let mut keys = Vec::new();
    while reader.more(&mut length)? {
        if !keys.is_empty() {
            out.push(',');
        }
        let key_start = out.len();
        write_key(reader, out)?;
        let key_end = out.len();
        keys.push((key_start, key_end));
        out.push(':');
        write(reader, out)?;
    }
    if let [(start, end)] = keys[..] {
        escape_marker(start, end, out);
    }
    if has_duplicates(out.as_bytes(), &mut keys) {
        return Err(refused("two keys of a map would be the same string in JSON"));
    }
    out.push('}');
    Ok(())
}

/// Puts a `$` in front of the only key of an object that would look like a marker.
fn escape_marker(key_start: usize, key_end: usize, out: &mut String) {
    let opening = out.as_bytes()[key_end + 1];
    if Marker::of(&out[key_start + 1..key_end - 1]).is_some_and(|(marker, _)| marker.opening() == opening) {
        out.insert(key_start + 1, '$');
    }
}

fn write_key(reader: &mut Reader<'_>, out: &mut String) -> Result<()> {
    let at = reader.position();
    match reader.token()? {
        Token::Text(text) => write_string(&text, out),
        Token::Int { negative, argument } => write_display(format_args!("\"{}\"", small(negative, argument)), out),
        Token::Bool(value) => write_display(format_args!("\"{value}\""), out),
        Token::Null => out.push_str("\"null\""),
        Token::Tag(tags::ATOM) => write(reader, out)?,
        Token::Tag(tag @ (tags::BIG_POSITIVE | tags::BIG_NEGATIVE)) => {
            let integer = read_big(reader, tag)?;
            write_display(format_args!("\"{}\"", digits(&integer)?), out);
        }
        _ => {
            let message = format!("a map key that is no text, atom or integer has no place in JSON, at byte {at}");
            return Err(refused(message));
        }
    }
    Ok(())
}

fn read_integer(reader: &mut Reader<'_>) -> Result<Value> {
    match reader.token()? {
        Token::Int { negative, argument } => Ok(Value::Int(small(negative, argument))),
        Token::Tag(tag) => read_big(reader, tag),
        _ => Err(refused("a decimal that is not made of integers")),
    }
}

fn read_big(reader: &mut Reader<'_>, tag: u64) -> Result<Value> {
    match reader.token()? {
        Token::Bytes(bytes) => Ok(big(tag == tags::BIG_NEGATIVE, &bytes)),
        _ => Err(refused("a big integer that is not bytes")),
    }
}

fn digits(integer: &Value) -> Result<String> {
    to_digits(integer, JSON_INTEGER_DIGITS_MAX).ok_or_else(too_many_digits)
}

fn too_many_digits() -> crate::error::Error {
    refused("a number of more than 4300 digits has no place in JSON")
}

fn write_display(arguments: std::fmt::Arguments<'_>, out: &mut String) {
    // Writing into a String cannot fail.
    let _ = out.write_fmt(arguments);
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => write_display(format_args!("\\u{control:04x}"), out),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}
