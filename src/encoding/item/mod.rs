//! Item: one encoded value, looked at where it lies, without being built.

mod form;
mod number;
mod term;

use std::borrow::Cow;

pub(crate) use number::Number;

use crate::encoding::cbor::reader::{Length, Read, Reader, Token};
use crate::encoding::check::skip;
use crate::encoding::tags;
use crate::encoding::times::Moment;

/// One encoded value that was checked when it was stored. Bytes that are none read as [`Worth::Other`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a>(&'a [u8]);

/// What an item is worth, whatever language wrote it.
#[derive(Debug, Clone)]
pub(crate) enum Worth<'a> {
    Null,
    Bool(bool),
    Number(Number),
    /// Text, and atoms.
    Text(Cow<'a, [u8]>),
    Bytes(Cow<'a, [u8]>),
    Moment(Moment),
    /// Lists and tuples.
    List(Item<'a>),
    Set(Item<'a>),
    /// Maps and structs.
    Map(Item<'a>),
    /// What compares as a whole only, such as decimals.
    Other(Item<'a>),
}

impl<'a> Item<'a> {
    pub(crate) fn new(encoded: &'a [u8]) -> Item<'a> {
        Item(encoded)
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn worth(self) -> Worth<'a> {
        self.read().unwrap_or(Worth::Other(self))
    }

    fn read(self) -> Read<Worth<'a>> {
        let mut reader = Reader::new(self.0);
        Ok(match reader.token()? {
            Token::Null => Worth::Null,
            Token::Bool(value) => Worth::Bool(value),
            Token::Int { negative, argument } => Worth::Number(Number::small(negative, argument)),
            Token::Float(float) => Worth::Number(Number::Float(float)),
            Token::Text(text) => Worth::Text(text_bytes(text)),
            Token::Bytes(bytes) => Worth::Bytes(bytes),
            Token::Array(_) => Worth::List(self),
            Token::Map(_) => Worth::Map(self),
            Token::Tag(tag) => self.tagged(tag, &mut reader)?,
        })
    }

    fn tagged(self, tag: u64, reader: &mut Reader<'a>) -> Read<Worth<'a>> {
        Ok(match (tag, reader.token()?) {
            (tags::ATOM, Token::Text(name)) => Worth::Text(text_bytes(name)),
            (tags::TUPLE, Token::Array(_)) => Worth::List(self),
            (tags::SET, Token::Array(_)) => Worth::Set(self),
            (tags::STRUCT, Token::Array(_)) => Worth::Map(self),
            (tags::BIG_POSITIVE, Token::Bytes(bytes)) => Worth::Number(Number::big(false, &bytes)),
            (tags::BIG_NEGATIVE, Token::Bytes(bytes)) => Worth::Number(Number::big(true, &bytes)),
            (tags::DATE_TIME | tags::NAIVE_DATE_TIME | tags::DATE | tags::TIME, Token::Text(text)) => {
                Moment::parse(&text).map_or(Worth::Other(self), Worth::Moment)
            }
            (tags::ZONED_DATE_TIME, Token::Array(_)) => zoned(reader)?.map_or(Worth::Other(self), Worth::Moment),
            _ => Worth::Other(self),
        })
    }

    /// The items of a list, tuple or set; none of anything else.
    pub(crate) fn items(self) -> Items<'a> {
        let mut reader = Reader::new(self.0);
        let length = loop {
            match reader.token() {
                Ok(Token::Tag(tags::TUPLE | tags::SET)) => {}
                Ok(Token::Array(length)) => break length,
                _ => break Length(Some(0)),
            }
        };
        Items { bytes: self.0, reader, length }
    }

    /// Keys and values of a map, or of the fields of a struct, in turn; none of anything else.
    pub(crate) fn entries(self) -> Items<'a> {
        let mut reader = Reader::new(self.0);
        let length = entries_of(&mut reader).unwrap_or(Length(Some(0)));
        // An entry is two items; one of indefinite length ends with its break as before.
        let length = Length(length.0.map(|entries| entries.saturating_mul(2)));
        Items { bytes: self.0, reader, length }
    }
}

fn entries_of(reader: &mut Reader<'_>) -> Option<Length> {
    match reader.token().ok()? {
        Token::Map(length) => Some(length),
        Token::Tag(tags::STRUCT) => {
            let Token::Array(_) = reader.token().ok()? else { return None };
            skip(reader).ok()?;
            match reader.token().ok()? {
                Token::Map(length) => Some(length),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The five parts of a point in time in a zone, whose head was just read.
fn zoned(reader: &mut Reader<'_>) -> Read<Option<Moment>> {
    let text = reader.token()?;
    skip(reader)?;
    skip(reader)?;
    let mut offset_s = 0i64;
    for _ in 0..2 {
        if let Token::Int { negative, argument } = reader.token()?
            && let Ok(offset) = i64::try_from(argument)
        {
            offset_s = offset_s.saturating_add(if negative { -1 - offset } else { offset });
        }
    }
    Ok(if let Token::Text(text) = text { Moment::zoned(&text, offset_s) } else { None })
}

fn text_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Items one after the other.
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    length: Length,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if !self.reader.more(&mut self.length).ok()? {
            return None;
        }
        let start = self.reader.position();
        skip(&mut self.reader).ok()?;
        Some(Item(&self.bytes[start..self.reader.position()]))
    }
}
