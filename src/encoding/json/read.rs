//! JSON reading: RFC 8259, straight into encoded bytes.
//!
//! An own parser, because the value model needs integers of any size, no duplicate keys and no key that
//! means something to a library, and because the text may come from anywhere: depth, digits and
//! allocation are bounded.

use std::borrow::Cow;

use super::{Marker, base64, decimal, has_duplicates, refused};
use crate::encoding::cbor::reader::{Reader, Token, major};
use crate::encoding::cbor::writer::{insert_head, write_bytes, write_float, write_head, write_text};
use crate::encoding::check::well_formed;
use crate::encoding::integer::{from_digits, write_integer, write_magnitude};
use crate::encoding::tags;
use crate::error::{Error, Result};
use crate::limits::{JSON_INTEGER_DIGITS_MAX, VALUE_DEPTH_MAX};
use crate::model::Value;

/// A marker's object takes a level of JSON that the value has not; the value's own depth is checked at the end.
const JSON_DEPTH_MAX: usize = 2 * VALUE_DEPTH_MAX + 1;

/// Encoded value of JSON text.
pub(super) fn read_json(json: &str) -> Result<Vec<u8>> {
    let mut parser = Parser { json, at: 0 };
    let mut out = Vec::with_capacity(json.len());
    parser.skip_space();
    parser.value(1, &mut out)?;
    parser.skip_space();
    if parser.at < json.len() {
        return Err(parser.fault("text follows after the JSON value"));
    }
    well_formed(&out)?;
    Ok(out)
}

struct Parser<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    #[cold]
    fn fault(&self, reason: &str) -> Error {
        refused(format!("{reason} at byte {} of the JSON text", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes this byte if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, reason: &str) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(self.fault(reason)) }
    }

    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<()> {
        if depth > JSON_DEPTH_MAX {
            return Err(self.fault("nested deeper than 128 levels"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth, out)?,
            Some(b'[') => self.array(depth, out)?,
            Some(b'"') => write_text(&self.string()?, out),
            Some(b'-' | b'0'..=b'9') => self.number(out)?,
            Some(b'n') => self.word("null", 0xf6, out)?,
            Some(b't') => self.word("true", 0xf5, out)?,
            Some(b'f') => self.word("false", 0xf4, out)?,
            _ => return Err(self.fault("no JSON value")),
        }
        Ok(())
    }

    fn word(&mut self, word: &str, encoded: u8, out: &mut Vec<u8>) -> Result<()> {
        if !self.json[self.at..].starts_with(word) {
            return Err(self.fault("no JSON value"));
        }
        self.at += word.len();
        out.push(encoded);
        Ok(())
    }

    fn array(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        let (start, mut count) = (out.len(), 0);
        self.skip_space();
        if !self.take(b']') {
            loop {
                self.skip_space();
                self.value(depth + 1, out)?;
                count += 1;
                self.skip_space();
                if self.take(b']') {
                    break;
                }
                self.expect(b',', "neither `,` nor `]`")?;
            }
        }
        insert_head(major::ARRAY, count, start, out);
        Ok(())
    }

    fn object(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        let start = out.len();
        let mut keys = Vec::new();
        let mut first = None;
        self.skip_space();
        if !self.take(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(self.fault("a key that is no string"));
                }
                let key = self.string()?;
                let key_start = out.len();
                write_text(&key, out);
                keys.push((key_start, out.len()));
                self.skip_space();
                self.expect(b':', "no `:` after a key")?;
                self.skip_space();
                let opening = self.peek();
                self.value(depth + 1, out)?;
                if keys.len() == 1 {
                    first = Some((key, opening));
                }
                self.skip_space();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',', "neither `,` nor `}`")?;
            }
        }
        if let (&[(_, key_end)], Some((key, opening))) = (&keys[..], first)
            && let Some((marker, dollars)) = Marker::of(&key)
            && opening == Some(marker.opening())
        {
            return self.marker(marker, &key, dollars, start, key_end, out);
        }
        if has_duplicates(out, &mut keys) {
            return Err(self.fault("a key that occurs twice in the object that ends"));
        }
        insert_head(major::MAP, keys.len() as u64, start, out);
        Ok(())
    }

    /// Turns an object that looks like a marker, written from `start` on, into what it stands for.
    fn marker(
        &self,
        marker: Marker,
        key: &str,
        dollars: usize,
        start: usize,
        key_end: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut front = Vec::with_capacity(key.len() + 9);
        if dollars > 1 {
            write_head(major::MAP, 1, &mut front);
            write_text(&key[1..], &mut front);
        } else {
            match marker {
                Marker::Set => write_head(major::TAG, tags::SET, &mut front),
                Marker::Struct => write_head(major::TAG, tags::STRUCT, &mut front),
                Marker::Bytes | Marker::Decimal => {
                    let text = match Reader::new(&out[key_end..]).token()? {
                        Token::Text(text) => text.into_owned(),
                        _ => return Err(self.fault("a marker without text")),
                    };
                    out.truncate(start);
                    return self.marked_text(marker, &text, out);
                }
            }
        }
        out.splice(start..key_end, front);
        Ok(())
    }

    fn marked_text(&self, marker: Marker, text: &str, out: &mut Vec<u8>) -> Result<()> {
        if marker == Marker::Bytes {
            let bytes = base64::read(text)
                .ok_or_else(|| self.fault("$bytes without base64 (a map with this key is written $$bytes)"))?;
            write_bytes(&bytes, out);
            return Ok(());
        }
        let (exponent, mantissa) = decimal::from_text(text).ok_or_else(|| {
            self.fault("$decimal without a decimal number (a map with this key is written $$decimal)")
        })?;
        write_head(major::TAG, tags::DECIMAL, out);
        write_head(major::ARRAY, 2, out);
        write_integer(exponent.into(), out);
        write_any_integer(&mantissa, out);
        Ok(())
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let start = self.at;
        let is_negative = self.take(b'-');
        let digits_start = self.at;
        if !self.take(b'0') {
            self.digits()?;
        }
        let digits_end = self.at;
        let mut is_float = false;
        if self.take(b'.') {
            is_float = true;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            is_float = true;
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        if is_float {
            let float: f64 = self.json[start..self.at].parse().map_err(|_| self.fault("no number"))?;
            if float.is_infinite() {
                return Err(self.fault("a number beyond 64-bit floats"));
            }
            write_float(float, out);
            return Ok(());
        }
        let digits = &self.json[digits_start..digits_end];
        if digits.len() > JSON_INTEGER_DIGITS_MAX {
            return Err(self.fault("an integer of more than 4300 digits"));
        }
        write_any_integer(&from_digits(is_negative, digits), out);
        Ok(())
    }

    /// Takes one or more digits.
    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("a digit is missing")) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let mut joined = String::new();
        loop {
            let rest = &self.json[self.at..];
            let is_special = |byte| byte == b'"' || byte == b'\\' || byte < 0x20;
            let Some(plain) = rest.bytes().position(is_special) else {
                self.at = self.json.len();
                return Err(self.fault("a string without end"));
            };
            let piece = &rest[..plain];
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' if joined.is_empty() => return Ok(Cow::Borrowed(piece)),
                b'"' => {
                    joined.push_str(piece);
                    return Ok(Cow::Owned(joined));
                }
                b'\\' => {
                    joined.push_str(piece);
                    joined.push(self.escape()?);
                }
                _ => return Err(self.fault("a control character in a string")),
            }
        }
    }

    /// The character that an escape stands for; the backslash was taken.
    fn escape(&mut self) -> Result<char> {
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(letter @ (b'"' | b'\\' | b'/')) => letter.into(),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => {
                self.at -= 1;
                return Err(self.fault("an unknown escape"));
            }
        })
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let unit = self.code_unit()?;
        let low_follows = (0xd800..0xdc00).contains(&unit) && self.json[self.at..].starts_with("\\u");
        let code = if low_follows {
            self.at += 2;
            match self.code_unit()? {
                low @ 0xdc00..0xe000 => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                _ => unit,
            }
        } else {
            unit
        };
        char::from_u32(code).ok_or_else(|| self.fault("half of a surrogate pair"))
    }

    fn code_unit(&mut self) -> Result<u32> {
        let digits = self.json.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        let unit = digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?));
        match unit {
            Some(unit) if digits.len() == 4 => {
                self.at += 4;
                Ok(unit)
            }
            _ => Err(self.fault("an escape without four hexadecimal digits")),
        }
    }
}

fn write_any_integer(integer: &Value, out: &mut Vec<u8>) {
    match integer {
        Value::Int(integer) => write_integer(*integer, out),
        Value::BigInt { negative, magnitude } => write_magnitude(*negative, magnitude, out),
        _ => {}
    }
}
