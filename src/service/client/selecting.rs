//! Selecting: what clients and members say to each other about what a selector picks, as bytes.

use super::protocol::{put_option, put_record, read_option, read_record};
use crate::encoding::command::{put_selector, read_selector};
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::model::{RecordView, Selector};
use crate::service::query::Want;
use crate::state_machine::Walk;

/// Asks for the next piece of what a selector picks in a view that was opened before.
#[derive(Debug, PartialEq)]
pub(super) struct SelectRequest<'a> {
    pub(super) view: u64,
    pub(super) want: Want,
    pub(super) walk: Walk,
    pub(super) selector: Selector<'a>,
}

impl<'a> SelectRequest<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.view);
        out.push(match self.want {
            Want::Count => 0,
            Want::Keys => 1,
            Want::Records => 2,
        });
        put_walk(&mut out, &self.walk);
        put_selector(&mut out, &self.selector);
        out
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<SelectRequest<'a>> {
        let mut reader = WireReader::new(bytes);
        let view = reader.varint()?;
        let want = match reader.u8()? {
            0 => Want::Count,
            1 => Want::Keys,
            2 => Want::Records,
            _ => return Err(damaged("a question about nothing that a record has")),
        };
        let walk = read_walk(&mut reader)?;
        let request = SelectRequest { view, want, walk, selector: read_selector(&mut reader)? };
        reader.finish()?;
        Ok(request)
    }
}

/// An empty key is none.
fn put_walk(out: &mut Vec<u8>, walk: &Walk) {
    put_bytes(out, walk.after.as_deref().unwrap_or_default());
    put_varint(out, walk.skip);
    put_option(out, walk.left);
    put_varint(out, walk.picked);
}

fn read_walk(reader: &mut WireReader<'_>) -> Result<Walk> {
    Ok(Walk {
        after: Some(reader.bytes()?).filter(|key| !key.is_empty()).map(<[u8]>::to_vec),
        skip: reader.varint()?,
        left: read_option(reader)?,
        picked: reader.varint()?,
    })
}

/// A piece of what was picked: where the walk stands behind it, and the records unless they were only to be counted.
pub(super) struct Selected<'a> {
    pub(super) is_last: bool,
    pub(super) walk: Walk,
    pub(super) records: Vec<(&'a [u8], RecordView<'a>)>,
}

/// Appends one record of a piece.
pub(super) fn put_selected(out: &mut Vec<u8>, key: &[u8], record: &RecordView<'_>) {
    put_bytes(out, key);
    put_record(out, Some(record));
}

/// A piece whose records were appended one by one.
pub(super) fn encode_selected(is_last: bool, walk: &Walk, records: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::from(is_last)];
    put_walk(&mut out, walk);
    out.extend_from_slice(records);
    out
}

pub(super) fn decode_selected(bytes: &[u8]) -> Result<Selected<'_>> {
    let mut reader = WireReader::new(bytes);
    let is_last = reader.u8()? == 1;
    let walk = read_walk(&mut reader)?;
    let mut records = Vec::new();
    while !reader.is_empty() {
        let key = reader.bytes()?;
        let record = read_record(&mut reader)?.ok_or_else(|| damaged("a picked record is missing"))?;
        records.push((key, record));
    }
    Ok(Selected { is_last, walk, records })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back_as_it_went_and_damage_never_panics() {
        let walk = Walk { after: Some(b"k".to_vec()), skip: 300, left: Some(7), picked: 2 };
        let selector = Selector { prefix: Some(b"a"), filter: Some("true"), offset: 3, ..Selector::default() };
        let request = SelectRequest { view: 300, want: Want::Records, walk: walk.clone(), selector };
        assert_eq!(SelectRequest::decode(&request.encode()).unwrap(), request);
        let record = RecordView { value: b"\x01".as_slice().into(), revision: 5, ttl_ms: Some(9) };
        let mut records = Vec::new();
        put_selected(&mut records, b"k", &record);
        let walk = Walk { after: None, left: None, ..walk };
        let answer = encode_selected(true, &walk, &records);
        let selected = decode_selected(&answer).unwrap();
        assert!(selected.is_last && selected.walk == walk && selected.records == [(&b"k"[..], record)]);
        for message in [request.encode(), answer] {
            for at in 0..message.len() {
                for change in [1u8, 0x80, 0xff] {
                    let mut damaged = message.clone();
                    damaged[at] ^= change;
                    for bytes in [&damaged[..], &damaged[..at]] {
                        let _ = SelectRequest::decode(bytes);
                        let _ = decode_selected(bytes);
                    }
                }
            }
        }
    }
}
