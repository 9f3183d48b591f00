//! Token: what lets its holder do something: its text, its hash, its public id, and what it allows.
//!
//! ```text
//! text := "sk_concord_"  secret (32 bytes from the operating system)  CRC-32 of the secret (big-endian)      in hex
//! hash := SHA-256(secret)                 all that is kept of the secret
//! id   := first 8 bytes of SHA-256(hash)  public, 16 hex digits
//! ```
//! The checksum catches what was mistyped or cut off without a look at what is stored, and lets scanners tell a token from
//! what only looks like one. A plain hash suffices, because a secret of 256 random bits cannot be guessed.

use std::fmt;

use sha2::{Digest, Sha256};

/// What every token begins with.
const PREFIX: &str = "sk_concord_";

/// Bytes of a token's secret.
pub(crate) const SECRET_BYTES: usize = 32;

/// Hexadecimal digits after the prefix: those of the secret and of its checksum.
const DIGITS: usize = 2 * (SECRET_BYTES + 4);

/// What the holder of a token may do. `admin` includes the other two, membership and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Read records and the status.
    pub read: bool,
    /// Write records. What a write answers of a record's content, as `increment` does, is part of it; a write that happens
    /// only if the record has a certain value needs `read` too.
    pub write: bool,
    /// Everything.
    pub admin: bool,
}

impl Scopes {
    /// As stored: one bit each.
    pub(crate) fn to_bits(self) -> u8 {
        u8::from(self.read) | u8::from(self.write) << 1 | u8::from(self.admin) << 2
    }

    /// `None` when these are no scopes, or none at all.
    pub(crate) fn from_bits(bits: u8) -> Option<Scopes> {
        let scopes = Scopes { read: bits & 1 != 0, write: bits & 2 != 0, admin: bits & 4 != 0 };
        (1..8).contains(&bits).then_some(scopes)
    }
}

/// What is kept of a token's secret.
pub(crate) type TokenHash = [u8; 32];

/// Public name of a token; derived from its hash, and of no use to whoever wants to use the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TokenId(pub(crate) u64);

impl TokenId {
    pub(crate) fn of(hash: &TokenHash) -> TokenId {
        let digest: [u8; 32] = Sha256::digest(hash).into();
        TokenId(digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }

    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<TokenId> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u64::from_str_radix(text, 16).ok().map(TokenId) } else { None }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The secret of a token. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenSecret([u8; SECRET_BYTES]);

impl TokenSecret {
    /// Random bytes of the operating system.
    pub(crate) fn new(random: [u8; SECRET_BYTES]) -> TokenSecret {
        TokenSecret(random)
    }

    /// Reads the text of a token; `None` when it is none or its checksum is wrong. Digits may be of either case.
    pub(crate) fn parse(text: &str) -> Option<TokenSecret> {
        let digits = text.strip_prefix(PREFIX)?.as_bytes();
        if digits.len() != DIGITS {
            return None;
        }
        let digit = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
        let mut bytes = [0; SECRET_BYTES + 4];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        let (secret, checksum) = bytes.split_first_chunk::<SECRET_BYTES>()?;
        (crc32fast::hash(secret).to_be_bytes() == checksum).then_some(TokenSecret(*secret))
    }

    /// The text, to be shown once.
    pub(crate) fn text(&self) -> String {
        let checksum = crc32fast::hash(&self.0).to_be_bytes();
        let digits = self.0.iter().chain(&checksum).map(|byte| format!("{byte:02x}"));
        std::iter::once(PREFIX.to_owned()).chain(digits).collect()
    }

    pub(crate) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    pub(crate) fn hash(&self) -> TokenHash {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_it_is_documented_to_be() {
        let secret = TokenSecret::new(std::array::from_fn(|at| at as u8));
        let text = secret.text();
        let expected = "sk_concord_000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f91267e8a";
        assert_eq!(text, expected);
        assert_eq!(TokenSecret::parse(&text), Some(secret.clone()));
        assert_eq!(TokenSecret::parse(&text.to_uppercase().replace("SK_CONCORD_", PREFIX)), Some(secret.clone()));
        let hash: String = secret.hash().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd");
        let id = TokenId::of(&secret.hash());
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        assert!(!format!("{secret:?}").contains("000102"));
    }

    #[test]
    fn every_mistyped_digit_is_noticed() {
        let text = TokenSecret::new([0xa5; SECRET_BYTES]).text();
        for at in PREFIX.len()..text.len() {
            for digit in "0123456789abcdef".chars().filter(|digit| !text[at..].starts_with(*digit)) {
                let wrong = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
                assert_eq!(TokenSecret::parse(&wrong), None, "{wrong}");
            }
        }
        for wrong in ["", PREFIX, &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.replace('a', "g")] {
            assert_eq!(TokenSecret::parse(wrong), None, "{wrong}");
        }
        for wrong in ["", "0", "+123456789abcdef", "0123456789abcdefg", "0123456789abcdeg"] {
            assert_eq!(TokenId::parse(wrong), None, "{wrong}");
        }
    }
}
