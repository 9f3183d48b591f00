//! TokenKey: proof of holding a token, as in SCRAM (RFC 5802): the server knows a hash, which is not enough to log in, and
//! nothing secret crosses the wire.
//!
//! ```text
//! stored key   := SHA-256(secret of the token)                                  what the server has
//! client proof := secret XOR HMAC(stored key, "client", transcript)
//! server proof := HMAC(stored key, "server ...", transcript)
//! ```
//! The server takes the secret out of the proof and compares its hash. Whoever has stolen the stored key and overhears a
//! handshake has the secret, as with SCRAM: TLS keeps it from him.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secret::{digest, keyed};
use super::{PROOF_BYTES, secret};

/// What was said so far, message by message.
pub(in crate::net) type Transcript<'a> = &'a [&'a [u8]];

/// The label of a client's proof, another one than that of the shared secret.
const CLIENT: &[u8] = b"concord token client";

/// The token of a client.
#[derive(Clone)]
pub(crate) struct TokenKey {
    id: u64,
    secret: [u8; PROOF_BYTES],
    stored: Hmac<Sha256>,
}

impl TokenKey {
    /// A token by its public id and its secret.
    pub(crate) fn new(id: u64, secret: [u8; PROOF_BYTES]) -> TokenKey {
        TokenKey { id, secret, stored: keyed(&Sha256::digest(secret)) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn proof(&self, transcript: Transcript<'_>) -> [u8; PROOF_BYTES] {
        xor(self.secret, mask(&self.stored, transcript))
    }

    pub(super) fn verify(&self, label: &[u8], transcript: Transcript<'_>, proof: &[u8]) -> bool {
        digest(&self.stored, label, transcript).verify_slice(proof).is_ok()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({:016x}, not shown)", self.id)
    }
}

/// What a server knows of the token that a client names.
pub(in crate::net) struct StoredToken {
    hash: [u8; PROOF_BYTES],
    stored: Hmac<Sha256>,
    is_known: bool,
}

impl StoredToken {
    /// `None` for a token that is not valid: then every proof is wrong, after the same work.
    pub(in crate::net) fn new(hash: Option<[u8; PROOF_BYTES]>) -> StoredToken {
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_default();
        StoredToken { hash, stored: keyed(&hash), is_known }
    }

    /// Whether the client has proved that it holds the token, in constant time.
    pub(in crate::net) fn verify(&self, transcript: Transcript<'_>, proof: &[u8; PROOF_BYTES]) -> bool {
        let secret = xor(*proof, mask(&self.stored, transcript));
        let found: [u8; PROOF_BYTES] = Sha256::digest(secret).into();
        bool::from(found.ct_eq(&self.hash)) & self.is_known
    }

    /// Proof of knowing the token's hash.
    pub(in crate::net) fn proof(&self, label: &[u8], transcript: Transcript<'_>) -> [u8; secret::PROOF_BYTES] {
        digest(&self.stored, label, transcript).finalize().into_bytes().into()
    }
}

fn mask(stored: &Hmac<Sha256>, transcript: Transcript<'_>) -> [u8; PROOF_BYTES] {
    digest(stored, CLIENT, transcript).finalize().into_bytes().into()
}

fn xor(mut one: [u8; PROOF_BYTES], other: [u8; PROOF_BYTES]) -> [u8; PROOF_BYTES] {
    one.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_token_and_transcript_only() {
        let key = TokenKey::new(7, [3; 32]);
        let hash: [u8; 32] = Sha256::digest([3; 32]).into();
        let stored = StoredToken::new(Some(hash));
        let proof = key.proof(&[b"hello", b"challenge"]);
        assert!(stored.verify(&[b"hello", b"challenge"], &proof));
        assert!(!stored.verify(&[b"helloc", b"hallenge"], &proof));
        assert!(!StoredToken::new(None).verify(&[b"hello", b"challenge"], &proof));
        assert!(!StoredToken::new(Some([0; 32])).verify(&[b"hello", b"challenge"], &proof));
        // The hash alone does not make a proof: a thief has no secret to mask.
        let thief = TokenKey { id: 7, secret: hash, stored: keyed(&hash) };
        assert!(!stored.verify(&[b"hello"], &thief.proof(&[b"hello"])));

        let answer = stored.proof(b"server", &[b"all"]);
        assert!(key.verify(b"server", &[b"all"], &answer));
        assert!(!key.verify(b"other", &[b"all"], &answer));
        assert!(!TokenKey::new(7, [4; 32]).verify(b"server", &[b"all"], &answer));
        assert!(!format!("{key:?}").contains("3, 3"));
    }
}
