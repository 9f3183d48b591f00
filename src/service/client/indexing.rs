//! Indexing: what clients and members say to each other about indexes.

use super::protocol::{ReadRequest, method};
use super::{Client, patience, target_of};
use crate::encoding::wire::{WireReader, put_bytes, put_varint};
use crate::error::Result;
use crate::model::Consistency;
use crate::raft::Target;
use crate::service::indexes::PageRequest;
use crate::service::{IndexInfo, IndexPage};

impl Client {
    pub(in crate::service) fn index_page(
        &self,
        request: &PageRequest,
        level: Consistency,
        timeout_ms: u64,
    ) -> Result<IndexPage> {
        let timeout = patience(timeout_ms)?;
        let mut message = Vec::new();
        put_bytes(&mut message, &ReadRequest { level, timeout_ms, keys: Vec::new() }.encode());
        request.put(&mut message);
        let asking = self.remote.ask(target_of(level), method::INDEX_PAGE, message, timeout);
        let answer = self.remote.wait(timeout, asking)??;
        decode_page(&answer.bytes)
    }

    pub(in crate::service) fn indexes(&self) -> Result<Vec<IndexInfo>> {
        let timeout = super::TOKENS_TIMEOUT;
        let asking = self.remote.ask(Target::Leader, method::INDEXES, Vec::new(), timeout);
        decode_indexes(&self.remote.wait(timeout, asking)??.bytes)
    }
}

/// What a member is asked for a page: how it is read, and what.
pub(super) fn decode_page_request(message: &[u8]) -> Result<(ReadRequest<'_>, PageRequest)> {
    let mut reader = WireReader::new(message);
    let read = ReadRequest::decode(reader.bytes()?)?;
    let request = PageRequest::read(&mut reader)?;
    reader.finish()?;
    Ok((read, request))
}

pub(super) fn encode_page(page: &IndexPage) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, page.next.as_deref().unwrap_or_default());
    page.keys.iter().for_each(|key| put_bytes(&mut out, key));
    out
}

fn decode_page(bytes: &[u8]) -> Result<IndexPage> {
    let mut reader = WireReader::new(bytes);
    let next = Some(reader.bytes()?).filter(|next| !next.is_empty()).map(<[u8]>::to_vec);
    let mut keys = Vec::new();
    while !reader.is_empty() {
        keys.push(reader.bytes()?.to_vec());
    }
    Ok(IndexPage { keys, next })
}

pub(super) fn encode_indexes(indexes: &[IndexInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    for index in indexes {
        put_bytes(&mut out, index.name.as_bytes());
        put_bytes(&mut out, index.path.as_bytes());
        out.push(u8::from(index.is_built));
        put_varint(&mut out, index.entries);
    }
    out
}

fn decode_indexes(bytes: &[u8]) -> Result<Vec<IndexInfo>> {
    let mut reader = WireReader::new(bytes);
    let mut indexes = Vec::new();
    while !reader.is_empty() {
        let (name, path) = (reader.text()?, reader.text()?);
        indexes.push(IndexInfo { name, path, is_built: reader.u8()? == 1, entries: reader.varint()? });
    }
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back_as_it_went_and_damage_never_panics() {
        let page = IndexPage { keys: vec![b"a".to_vec(), b"\xff".to_vec()], next: Some(vec![1, 2]) };
        let info = IndexInfo { name: "by".into(), path: "value".into(), is_built: true, entries: 300 };
        let messages = [encode_page(&page), encode_indexes(std::slice::from_ref(&info))];
        assert_eq!(decode_page(&messages[0]).unwrap(), page);
        assert_eq!(decode_indexes(&messages[1]).unwrap(), [info]);
        for message in messages {
            for at in 0..message.len() {
                for change in [1u8, 0x80, 0xff] {
                    let mut damaged = message.clone();
                    damaged[at] ^= change;
                    for bytes in [&damaged[..], &damaged[..at]] {
                        let _ = (decode_page(bytes), decode_indexes(bytes), decode_page_request(bytes));
                    }
                }
            }
        }
    }
}
