//! Seal: the envelope of every datagram. What is inside is read only after its seal has been checked.
//!
//! `version 1 | kind 1 | sender 8 | receiver 8 | counter 8 | body | HMAC-SHA256 of all before 32`, big-endian.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::limits::DATAGRAM_BYTES_MAX;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 26;
const TAG_BYTES: usize = 32;

/// Longest body that fits a datagram.
pub(super) const BODY_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEAD_BYTES - TAG_BYTES;

/// Datagrams lie open on the network: a guessed cookie must cost more than one hash to try.
const STRETCH_ROUNDS: u32 = 10_000;

/// Keeps this key apart from every other that is made of the cookie.
const SALT: &[u8] = b"concord discovery datagrams 1";

/// What the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To all: who I am.
    Beacon,
    /// To one: a message of the membership protocol.
    Swim,
}

/// A datagram whose seal holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) kind: Kind,
    /// The run of the sender: a number drawn anew whenever a node starts.
    pub(super) sender: u64,
    /// The run that it is meant for; 0 for all.
    pub(super) receiver: u64,
    /// Grows with every datagram of a sender.
    pub(super) counter: u64,
    pub(super) body: &'a [u8],
}

/// Why a datagram is dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too short, too long, or of a version or kind that this release does not know.
    Malformed,
    /// Sealed with another cookie, or tampered with.
    Foreign,
}

/// Seals and opens envelopes with a key made of the cookie.
pub(super) struct Seal {
    keyed: Hmac<Sha256>,
}

impl Seal {
    /// Takes some milliseconds: the key is PBKDF2-HMAC-SHA256 (RFC 8018) of the cookie.
    pub(super) fn new(cookie: &str) -> Seal {
        let password = keyed(cookie.as_bytes());
        let mut block = password.clone().chain_update(SALT).chain_update(1u32.to_be_bytes()).finalize().into_bytes();
        let mut key = block;
        for _ in 1..STRETCH_ROUNDS {
            block = password.clone().chain_update(block).finalize().into_bytes();
            key.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
        }
        Seal { keyed: keyed(&key) }
    }

    /// The datagram; `None` when the body does not fit.
    pub(super) fn close(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        if envelope.body.len() > BODY_BYTES_MAX {
            return None;
        }
        let kind = match envelope.kind {
            Kind::Beacon => 1,
            Kind::Swim => 2,
        };
        let mut datagram = Vec::with_capacity(HEAD_BYTES + envelope.body.len() + TAG_BYTES);
        datagram.extend([VERSION, kind]);
        datagram.extend(envelope.sender.to_be_bytes());
        datagram.extend(envelope.receiver.to_be_bytes());
        datagram.extend(envelope.counter.to_be_bytes());
        datagram.extend(envelope.body);
        let tag = self.keyed.clone().chain_update(&datagram).finalize().into_bytes();
        datagram.extend(tag);
        Some(datagram)
    }

    /// Length, version and kind are looked at first: most rubbish is refused without a hash.
    pub(super) fn open<'a>(&self, datagram: &'a [u8]) -> Result<Envelope<'a>, Refusal> {
        if !(HEAD_BYTES + TAG_BYTES..=DATAGRAM_BYTES_MAX).contains(&datagram.len()) {
            return Err(Refusal::Malformed);
        }
        let kind = match (datagram[0], datagram[1]) {
            (VERSION, 1) => Kind::Beacon,
            (VERSION, 2) => Kind::Swim,
            _ => return Err(Refusal::Malformed),
        };
        let (sealed, tag) = datagram.split_at(datagram.len() - TAG_BYTES);
        self.keyed.clone().chain_update(sealed).verify_slice(tag).map_err(|_| Refusal::Foreign)?;
        let number = |at: usize| sealed[at..at + 8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        Ok(Envelope { kind, sender: number(2), receiver: number(10), counter: number(18), body: &sealed[HEAD_BYTES..] })
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: &[u8]) -> Envelope<'_> {
        Envelope { kind: Kind::Swim, sender: 1, receiver: 2, counter: 3, body }
    }

    /// The key is standard PBKDF2, so that another implementation can be written from this description:
    /// Python's hashlib.pbkdf2_hmac("sha256", b"cookie", SALT, 10_000) seals the same empty envelope.
    #[test]
    fn the_key_is_pbkdf2_of_the_cookie() {
        let datagram = Seal::new("cookie").close(&envelope(b"")).unwrap();
        let tag: String = datagram[HEAD_BYTES..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(tag, "24de6898bd9dd38df138cf2f435924a9923029c6dd9d618cc895992433faa674");
    }

    /// Whoever changes, cuts or lengthens a datagram anywhere gets nothing through.
    #[test]
    fn only_the_whole_datagram_opens() {
        let seal = Seal::new("cookie");
        let datagram = seal.close(&envelope(b"body")).unwrap();
        assert_eq!(seal.open(&datagram), Ok(envelope(b"body")));
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert!(seal.open(&changed).is_err(), "byte {at}");
            assert!(seal.open(&datagram[..at]).is_err(), "cut to {at}");
        }
        assert!(seal.open(&[&datagram[..], b"x"].concat()).is_err());
        assert_eq!(Seal::new("cookies").open(&datagram), Err(Refusal::Foreign));
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_not_sent() {
        let seal = Seal::new("cookie");
        assert_eq!(seal.close(&envelope(&[0; BODY_BYTES_MAX])).unwrap().len(), DATAGRAM_BYTES_MAX);
        assert_eq!(seal.close(&envelope(&[0; BODY_BYTES_MAX + 1])), None);
        assert_eq!(seal.open(&[VERSION; DATAGRAM_BYTES_MAX + 1]), Err(Refusal::Malformed));
    }
}
