//! Reader: the heads, strings and lengths of CBOR, read from bytes that nobody has checked yet.
//!
//! Nothing here allocates more than the input that is really there, and nothing recurses.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// Additional information that announces an indefinite length (or, in major type 7, its end).
pub(in crate::encoding) const INDEFINITE: u8 = 31;

/// The byte that ends an item of indefinite length.
pub(in crate::encoding) const BREAK: u8 = 0xff;

/// Major types of RFC 8949.
pub(in crate::encoding) mod major {
    pub const UNSIGNED: u8 = 0;
    pub const NEGATIVE: u8 = 1;
    pub const BYTES: u8 = 2;
    pub const TEXT: u8 = 3;
    pub const ARRAY: u8 = 4;
    pub const MAP: u8 = 5;
    pub const TAG: u8 = 6;
    pub const SIMPLE: u8 = 7;
}

/// Why bytes are not a value, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub reason: &'static str,
    pub at: usize,
}

impl From<Fault> for Error {
    #[cold]
    fn from(fault: Fault) -> Error {
        Error::new(ErrorKind::InvalidValue, format!("{} at byte {}", fault.reason, fault.at))
    }
}

pub(crate) type Read<T> = Result<T, Fault>;

/// First bytes of an item: its major type, additional information and argument.
#[derive(Debug, Clone, Copy)]
pub(in crate::encoding) struct Head {
    pub major: u8,
    pub info: u8,
    pub argument: u64,
}

/// One item, or the beginning of one that holds others.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::encoding) enum Token<'a> {
    Null,
    Bool(bool),
    /// `argument`, or `-1 - argument`.
    Int {
        negative: bool,
        argument: u64,
    },
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Array(Length),
    Map(Length),
    Tag(u64),
}

/// How many items (in maps: entries) are still to come; `None` until a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::encoding) struct Length(pub Option<u64>);

impl Length {
    /// A capacity that is never more than the items that can really be there.
    pub fn capacity(self) -> usize {
        usize::try_from(self.0.unwrap_or(0)).unwrap_or(0)
    }
}

/// Reads items from the front of a slice.
///
/// - `at` never passes the end of `bytes`.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[cold]
    pub fn fault_at(&self, at: usize, reason: &'static str) -> Fault {
        Fault { reason, at }
    }

    #[cold]
    fn truncated(&self) -> Fault {
        Fault { reason: "the value ends in the middle of an item", at: self.bytes.len() }
    }

    #[inline(always)]
    pub fn head(&mut self) -> Read<Head> {
        let Some(&initial) = self.bytes.get(self.at) else { return Err(self.truncated()) };
        self.at += 1;
        let (major, info) = (initial >> 5, initial & 31);
        if info < 24 {
            return Ok(Head { major, info, argument: u64::from(info) });
        }
        self.long_head(major, info)
    }

    #[inline]
    fn long_head(&mut self, major: u8, info: u8) -> Read<Head> {
        let argument = match info {
            24 => self.fixed::<1>()?[0].into(),
            25 => u16::from_be_bytes(self.fixed()?).into(),
            26 => u32::from_be_bytes(self.fixed()?).into(),
            27 => u64::from_be_bytes(self.fixed()?),
            INDEFINITE if (major::BYTES..=major::MAP).contains(&major) || major == major::SIMPLE => 0,
            _ => return Err(self.fault_at(self.at - 1, "reserved additional information")),
        };
        Ok(Head { major, info, argument })
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.truncated()),
        }
    }

    #[inline(always)]
    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        if length > self.remaining() as u64 {
            return Err(self.fault_at(self.at, "a length passes the end of the value"));
        }
        let start = self.at;
        self.at += length as usize;
        Ok(&self.bytes[start..self.at])
    }

    #[inline(always)]
    fn take_text(&mut self, length: u64) -> Read<&'a str> {
        let start = self.at;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|error| self.fault_at(start + error.valid_up_to(), "text that is not UTF-8"))
    }

    /// Content of a byte string whose head was just read.
    #[inline(always)]
    pub fn bytes(&mut self, head: Head) -> Read<Cow<'a, [u8]>> {
        if head.info != INDEFINITE {
            return self.take(head.argument).map(Cow::Borrowed);
        }
        let mut joined = Vec::new();
        while let Some(length) = self.chunk(major::BYTES)? {
            joined.extend_from_slice(self.take(length)?);
        }
        Ok(Cow::Owned(joined))
    }

    /// Content of a text string whose head was just read.
    #[inline(always)]
    pub fn text(&mut self, head: Head) -> Read<Cow<'a, str>> {
        if head.info != INDEFINITE {
            return self.take_text(head.argument).map(Cow::Borrowed);
        }
        let mut joined = String::new();
        while let Some(length) = self.chunk(major::TEXT)? {
            joined.push_str(self.take_text(length)?);
        }
        Ok(Cow::Owned(joined))
    }

    /// Passes over a byte string whose head was just read.
    #[inline(always)]
    pub fn skip_bytes(&mut self, head: Head) -> Read<()> {
        if head.info == INDEFINITE {
            return self.bytes(head).map(drop);
        }
        self.take(head.argument).map(drop)
    }

    /// Passes over a text string whose head was just read.
    #[inline(always)]
    pub fn skip_text(&mut self, head: Head) -> Read<()> {
        if head.info == INDEFINITE {
            return self.text(head).map(drop);
        }
        self.take_text(head.argument).map(drop)
    }

    /// Passes over an item of the kinds that are met most, when that is what comes and it is whole:
    /// integers of one byte, short ASCII text, atoms of it, floats, booleans and null.
    #[inline(always)]
    pub fn skip_small(&mut self) -> bool {
        let rest = &self.bytes[self.at..];
        let Some((&initial, content)) = rest.split_first() else { return false };
        let length = match initial {
            0x00..=0x17 | 0x20..=0x37 | 0xf4..=0xf6 => 0,
            0x60..=0x77 => match short_ascii(initial, content) {
                Some(length) => length,
                None => return false,
            },
            // Tag 39: an atom.
            0xd8 => match content {
                [39, initial @ 0x60..=0x77, content @ ..] => match short_ascii(*initial, content) {
                    Some(length) => 2 + length,
                    None => return false,
                },
                _ => return false,
            },
            0xfb if content.len() >= 8 => 8,
            _ => return false,
        };
        self.at += 1 + length;
        true
    }

    /// Length of the next chunk of a string of indefinite length; `None` after the last.
    fn chunk(&mut self, expected: u8) -> Read<Option<u64>> {
        let start = self.at;
        let head = self.head()?;
        if head.major == major::SIMPLE && head.info == INDEFINITE {
            return Ok(None);
        }
        if head.major != expected || head.info == INDEFINITE {
            return Err(self.fault_at(start, "a chunk that is no string of its kind"));
        }
        Ok(Some(head.argument))
    }

    /// Length of an array or map (`width` items an entry) whose head was just read.
    #[inline(always)]
    pub fn length(&mut self, head: Head, width: u64) -> Read<Length> {
        if head.info == INDEFINITE {
            return Ok(Length(None));
        }
        // Each item takes at least one byte, so nobody can announce more than there is.
        if head.argument > self.remaining() as u64 / width {
            return Err(self.fault_at(self.at, "a length passes the end of the value"));
        }
        Ok(Length(Some(head.argument)))
    }

    /// Whether another item (or entry) follows; counts it, or takes the break.
    #[inline(always)]
    pub fn more(&mut self, length: &mut Length) -> Read<bool> {
        match &mut length.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.take_break() => Ok(false),
            None if self.remaining() == 0 => Err(self.truncated()),
            None => Ok(true),
        }
    }

    /// The float or simple value whose head was just read.
    #[inline]
    pub fn simple(&mut self, head: Head) -> Read<Token<'a>> {
        match head.info {
            20 => Ok(Token::Bool(false)),
            21 => Ok(Token::Bool(true)),
            22 => Ok(Token::Null),
            25 => Ok(Token::Float(half_to_double(head.argument as u16))),
            26 => Ok(Token::Float(f32::from_bits(head.argument as u32).into())),
            27 => Ok(Token::Float(f64::from_bits(head.argument))),
            INDEFINITE => Err(self.fault_at(self.at - 1, "a break where no item of indefinite length is open")),
            _ => Err(self.fault_at(self.at, "a simple value other than false, true and null")),
        }
    }

    /// Whether the next byte is a break; takes it.
    pub fn take_break(&mut self) -> bool {
        let is_break = self.bytes.get(self.at) == Some(&BREAK);
        self.at += usize::from(is_break);
        is_break
    }

    /// The next item, or the beginning of one that holds others.
    pub fn token(&mut self) -> Read<Token<'a>> {
        let head = self.head()?;
        match head.major {
            major::UNSIGNED => Ok(Token::Int { negative: false, argument: head.argument }),
            major::NEGATIVE => Ok(Token::Int { negative: true, argument: head.argument }),
            major::BYTES => self.bytes(head).map(Token::Bytes),
            major::TEXT => self.text(head).map(Token::Text),
            major::ARRAY => self.length(head, 1).map(Token::Array),
            major::MAP => self.length(head, 2).map(Token::Map),
            major::TAG => Ok(Token::Tag(head.argument)),
            _ => self.simple(head),
        }
    }
}

/// Length of a text of less than 24 bytes, if it is there and ASCII.
#[inline(always)]
fn short_ascii(initial: u8, content: &[u8]) -> Option<usize> {
    let length = usize::from(initial & 31);
    content.get(..length).filter(|text| is_ascii(text)).map(|_| length)
}

/// Quicker than the standard library's on the short texts for which it is used.
#[inline(always)]
fn is_ascii(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let all = words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word));
    let all = rest.iter().fold(all, |all, byte| all | u64::from(*byte));
    all & 0x8080_8080_8080_8080 == 0
}

/// RFC 8949, appendix D.
fn half_to_double(half: u16) -> f64 {
    let exponent = (half >> 10) & 0x1f;
    let fraction = f64::from(half & 0x3ff);
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(i32::from(exponent) - 25),
    };
    if half & 0x8000 == 0 { magnitude } else { -magnitude }
}
