//! Codec: identities and membership messages as bytes. Lengths are checked before anything is allocated.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};

use super::identity::Identity;
use super::options::Announcement;
use crate::limits;

/// Longest identity: 8 run, 4 generation, 6 endpoint, 8 node, 16 cluster, and two texts with their lengths.
/// Three of them, the most that a message names, fit one datagram together with what surrounds them.
pub(super) const IDENTITY_BYTES_MAX: usize = 44 + limits::ADDRESS_BYTES_MAX + limits::NODE_NAME_BYTES_MAX;

/// The bytes cannot be read, or the room for writing is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodecError {
    Malformed,
    Full,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CodecError::Malformed => "the message cannot be read",
            CodecError::Full => "the message is full",
        })
    }
}

impl std::error::Error for CodecError {}

/// Reads and writes what the membership protocol says.
pub(super) struct Codec;

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(3 * IDENTITY_BYTES_MAX);
        write_identity(&header.src, &mut bytes);
        bytes.extend(header.src_incarnation.to_be_bytes());
        write_identity(&header.dst, &mut bytes);
        match &header.message {
            Message::Ping(number) => bytes.extend([1, *number]),
            Message::Ack(number) => bytes.extend([2, *number]),
            Message::PingReq { target, probe_number } => write_about(3, *probe_number, target, &mut bytes),
            Message::IndirectPing { origin, probe_number } => write_about(4, *probe_number, origin, &mut bytes),
            Message::IndirectAck { target, probe_number } => write_about(5, *probe_number, target, &mut bytes),
            Message::ForwardedAck { origin, probe_number } => write_about(6, *probe_number, origin, &mut bytes),
            Message::Announce => bytes.push(7),
            Message::Feed => bytes.push(8),
            Message::Gossip => bytes.push(9),
            Message::Broadcast => bytes.push(10),
            Message::TurnUndead => bytes.push(11),
        }
        put(&bytes, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        take(buf, |reader| {
            let src = reader.identity()?;
            let src_incarnation = reader.number(2)? as u16;
            let dst = reader.identity()?;
            let message = match reader.number(1)? {
                1 => Message::Ping(reader.number(1)? as u8),
                2 => Message::Ack(reader.number(1)? as u8),
                3 => reader.about(|target, probe_number| Message::PingReq { target, probe_number })?,
                4 => reader.about(|origin, probe_number| Message::IndirectPing { origin, probe_number })?,
                5 => reader.about(|target, probe_number| Message::IndirectAck { target, probe_number })?,
                6 => reader.about(|origin, probe_number| Message::ForwardedAck { origin, probe_number })?,
                7 => Message::Announce,
                8 => Message::Feed,
                9 => Message::Gossip,
                10 => Message::Broadcast,
                11 => Message::TurnUndead,
                _ => return None,
            };
            Some(Header { src, src_incarnation, dst, message })
        })
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(IDENTITY_BYTES_MAX);
        write_identity(member.id(), &mut bytes);
        bytes.extend(member.incarnation().to_be_bytes());
        bytes.push(match member.state() {
            State::Alive => 1,
            State::Suspect => 2,
            State::Down => 3,
        });
        put(&bytes, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        take(buf, |reader| {
            let identity = reader.identity()?;
            let incarnation = reader.number(2)? as u16;
            let state = match reader.number(1)? {
                1 => State::Alive,
                2 => State::Suspect,
                3 => State::Down,
                _ => return None,
            };
            Some(Member::new(identity, incarnation, state))
        })
    }
}

/// The body of a beacon.
pub(super) fn encode_identity(identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IDENTITY_BYTES_MAX);
    write_identity(identity, &mut bytes);
    bytes
}

/// Who a beacon tells of; `None` when it cannot be read to its last byte.
pub(super) fn decode_identity(bytes: &[u8]) -> Option<Identity> {
    let mut reader = Reader { rest: bytes };
    reader.identity().filter(|_| reader.rest.is_empty())
}

fn write_identity(identity: &Identity, bytes: &mut Vec<u8>) {
    let about = &identity.about;
    bytes.extend(identity.run.to_be_bytes());
    bytes.extend(identity.generation.to_be_bytes());
    bytes.extend(identity.endpoint.ip().octets());
    bytes.extend(identity.endpoint.port().to_be_bytes());
    bytes.extend(about.node_id.to_be_bytes());
    bytes.extend(about.cluster_id.to_be_bytes());
    for text in [&about.address, &about.name] {
        let length =
            u8::try_from(text.len()).expect("announcements are validated, and their texts are below 256 bytes");
        bytes.push(length);
        bytes.extend(text.as_bytes());
    }
}

fn write_about(message: u8, probe_number: u8, identity: &Identity, bytes: &mut Vec<u8>) {
    bytes.extend([message, probe_number]);
    write_identity(identity, bytes);
}

fn put(bytes: &[u8], mut buf: impl BufMut) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(bytes);
    Ok(())
}

fn take<T>(mut buf: impl Buf, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, CodecError> {
    let mut reader = Reader { rest: buf.chunk() };
    let before = reader.rest.len();
    let item = read(&mut reader).ok_or(CodecError::Malformed)?;
    let read_bytes = before - reader.rest.len();
    buf.advance(read_bytes);
    Ok(item)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn number(&mut self, bytes: usize) -> Option<u128> {
        Some(self.bytes(bytes)?.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte)))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number(1)? as usize;
        std::str::from_utf8(self.bytes(length)?).ok().map(str::to_owned)
    }

    fn about(&mut self, message: impl FnOnce(Identity, u8) -> Message<Identity>) -> Option<Message<Identity>> {
        let probe_number = self.number(1)? as u8;
        Some(message(self.identity()?, probe_number))
    }

    /// Only what this node itself would announce, and an endpoint that is one machine's.
    fn identity(&mut self) -> Option<Identity> {
        let run = self.number(8)? as u64;
        let generation = self.number(4)? as u32;
        let ip = Ipv4Addr::from(self.number(4)? as u32);
        let endpoint = SocketAddrV4::new(ip, self.number(2)? as u16);
        let node_id = self.number(8)? as u64;
        let cluster_id = self.number(16)?;
        let about = Announcement { address: self.text()?, node_id, cluster_id, name: self.text()? };
        about.validate().ok()?;
        let is_one_machine = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && endpoint.port() != 0;
        (run != 0 && is_one_machine).then(|| Identity { run, generation, endpoint, about: Arc::new(about) })
    }
}

#[cfg(test)]
mod tests {
    use foca::Codec as _;

    use super::*;

    fn identity(run: u64) -> Identity {
        let about = Announcement {
            address: format!("{}:4100", "a".repeat(limits::ADDRESS_BYTES_MAX - 5)),
            node_id: run + 1,
            cluster_id: u128::MAX - 1,
            name: "é".repeat(limits::NODE_NAME_BYTES_MAX / 2),
        };
        Identity { run, generation: 3, endpoint: "10.0.0.1:77".parse().unwrap(), about: Arc::new(about) }
    }

    fn messages() -> Vec<Message<Identity>> {
        let (target, origin, probe_number) = (identity(3), identity(3), 9);
        vec![
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target: target.clone(), probe_number },
            Message::IndirectPing { origin: origin.clone(), probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ]
    }

    /// Everything that is said comes back as it was, and every message with the longest texts leaves room for news.
    #[test]
    fn messages_of_the_longest_texts_fit_and_come_back() {
        for message in messages() {
            let header = Header { src: identity(1), src_incarnation: 513, dst: identity(2), message };
            let mut bytes = Vec::new();
            Codec.encode_header(&header, &mut bytes).unwrap();
            assert!(bytes.len() + 100 < super::super::seal::BODY_BYTES_MAX, "{} bytes", bytes.len());
            let back = Codec.decode_header(&bytes[..]).unwrap();
            assert_eq!(back, header);
            assert_eq!(back.dst.about, header.dst.about);
            for cut in 0..bytes.len() {
                assert!(Codec.decode_header(&bytes[..cut]).is_err(), "cut to {cut}");
            }
        }
    }

    #[test]
    fn members_come_back_and_never_overrun_their_room() {
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(identity(1), 65_535, state);
            let mut bytes = Vec::new();
            Codec.encode_member(&member, &mut bytes).unwrap();
            assert_eq!(Codec.decode_member(&bytes[..]).unwrap(), member);
            let mut narrow = Vec::new().limit(bytes.len() - 1);
            assert_eq!(Codec.encode_member(&member, &mut narrow), Err(CodecError::Full));
            assert!(narrow.get_ref().is_empty());
        }
    }

    /// An identity that would make this node speak to everybody, or to nobody, is refused.
    #[test]
    fn endpoints_and_texts_that_no_node_has_are_refused() {
        let good = identity(1);
        assert!(decode_identity(&encode_identity(&good)).is_some());
        for endpoint in ["239.1.1.1:1", "255.255.255.255:1", "0.0.0.0:1", "10.0.0.1:0"] {
            let bad = Identity { endpoint: endpoint.parse().unwrap(), ..good.clone() };
            assert!(decode_identity(&encode_identity(&bad)).is_none(), "{endpoint}");
        }
        for (address, name) in [("nowhere", ""), ("0.0.0.0:1", ""), ("a:1", "line\nbreak")] {
            let about = Announcement { address: address.into(), name: name.into(), ..(*good.about).clone() };
            let bad = Identity { about: Arc::new(about), ..good.clone() };
            assert!(decode_identity(&encode_identity(&bad)).is_none(), "{address:?} {name:?}");
        }
        assert!(decode_identity(&encode_identity(&Identity { run: 0, ..good.clone() })).is_none());
        assert!(decode_identity(&[&encode_identity(&good)[..], &[0]].concat()).is_none());
    }
}
