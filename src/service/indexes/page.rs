//! Page: a piece of what an index has within a range, here or from a member.

use crate::encoding::check_value;
use crate::encoding::item::Item;
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::state_machine::{IndexReader, TermRange};

/// What of an index is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRange<'a> {
    /// Nothing before this encoded value; `None` begins with the first.
    pub from: Option<&'a [u8]>,
    /// Nothing after this encoded value; `None` ends with the last.
    pub to: Option<&'a [u8]>,
    /// Where the page before this one ended, as it told.
    pub after: Option<&'a [u8]>,
    /// Most keys, 1 to 1,000; what is beyond counts as that.
    pub limit: usize,
}

/// A piece of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPage {
    /// In the order of their values in the index.
    pub keys: Vec<Vec<u8>>,
    /// Where the next page begins, to be handed on as it is; `None` after the last one.
    pub next: Option<Vec<u8>>,
}

/// The same with terms in the place of values, as members are asked.
#[derive(Debug, PartialEq)]
pub(in crate::service) struct PageRequest {
    pub(in crate::service) name: String,
    from: Option<Box<[u8]>>,
    to: Option<Box<[u8]>>,
    after: Option<(Box<[u8]>, Vec<u8>)>,
    limit: usize,
}

impl PageRequest {
    pub(super) fn of(name: &str, range: &IndexRange<'_>) -> Result<PageRequest> {
        let term = |value: Option<&[u8]>| value.map(term_of).transpose();
        let after = range.after.map(|place| {
            let place = read_place(place);
            place.map_err(|_| Error::new(ErrorKind::InvalidOperationFormat, "this is no place that a page has told"))
        });
        Ok(PageRequest {
            name: name.to_owned(),
            from: term(range.from)?,
            to: term(range.to)?,
            after: after.transpose()?,
            limit: range.limit.clamp(1, limits::INDEX_PAGE_MAX),
        })
    }

    /// What the index has, without keys that may not be told.
    pub(super) fn answer(&self, index: &IndexReader, now_ms: u64, may_tell: impl Fn(&[u8]) -> bool) -> IndexPage {
        let mut range = TermRange { from: self.from.clone(), to: self.to.clone(), after: self.after.clone() };
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let place = index.walk(&range, now_ms, |key| {
                if may_tell(key) {
                    keys.push(key.to_vec());
                }
                keys.len() < self.limit
            });
            match place {
                None => return IndexPage { keys, next: None },
                Some(place) if keys.len() == self.limit => return IndexPage { keys, next: Some(put_place(&place)) },
                Some(place) => range.after = Some(place),
            }
        }
    }

    pub(in crate::service) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        for term in [&self.from, &self.to] {
            put_bytes(out, term.as_deref().unwrap_or_default());
        }
        put_bytes(out, &self.after.as_ref().map_or(Vec::new(), put_place));
        put_varint(out, self.limit as u64);
    }

    pub(in crate::service) fn read(reader: &mut WireReader<'_>) -> Result<PageRequest> {
        let name = reader.text()?;
        // No term is empty.
        let term = |reader: &mut WireReader<'_>| -> Result<Option<Box<[u8]>>> {
            Ok(Some(reader.bytes()?).filter(|term| !term.is_empty()).map(Box::from))
        };
        let (from, to) = (term(reader)?, term(reader)?);
        let after = Some(reader.bytes()?).filter(|place| !place.is_empty()).map(read_place).transpose()?;
        let limit = usize::try_from(reader.varint()?).unwrap_or(usize::MAX).clamp(1, limits::INDEX_PAGE_MAX);
        Ok(PageRequest { name, from, to, after, limit })
    }
}

fn put_place((term, key): &(Box<[u8]>, Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, term);
    put_bytes(&mut out, key);
    out
}

fn read_place(place: &[u8]) -> Result<(Box<[u8]>, Vec<u8>)> {
    let mut reader = WireReader::new(place);
    let (term, key) = (reader.bytes()?, reader.bytes()?);
    if term.is_empty() || key.is_empty() {
        return Err(damaged("a place in an index without a term or a key"));
    }
    let place = (term.into(), key.to_vec());
    reader.finish()?;
    Ok(place)
}

fn term_of(value: &[u8]) -> Result<Box<[u8]>> {
    check_value(value, limits::VALUE_BYTES_MAX_CEILING)?;
    Item::new(value).term().ok_or_else(|| {
        let message =
            "no index holds this value; ask for null, a boolean, a number, a text of up to 1024 bytes or a date";
        Error::new(ErrorKind::InvalidValue, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_as_it_went_and_damage_never_panics() {
        let after = put_place(&(Box::from(&[4, 2][..]), b"k".to_vec()));
        let range = IndexRange { from: Some(&[1]), to: None, after: Some(&after), limit: 5_000 };
        let request = PageRequest::of("by", &range).unwrap();
        assert_eq!(request.limit, 1_000);
        let mut bytes = Vec::new();
        request.put(&mut bytes);
        assert_eq!(PageRequest::read(&mut WireReader::new(&bytes)).unwrap(), request);
        for at in 0..bytes.len() {
            for change in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let _ = PageRequest::read(&mut WireReader::new(&damaged));
                let _ = PageRequest::read(&mut WireReader::new(&damaged[..at]));
            }
        }
        for place in [&b"x"[..], &[], &[0, 1, 1], &[1, 1, 0], &[1, 1, 1, 1, 1]] {
            let error = PageRequest::of("by", &IndexRange { after: Some(place), ..range }).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOperationFormat);
        }
    }
}
