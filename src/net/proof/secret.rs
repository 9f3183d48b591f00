//! SharedSecret: what all members of a cluster know, and proofs of knowing it that do not give it away.

use std::fmt;

use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;

use crate::error::{Error, ErrorKind, Result};

pub(in crate::net) const PROOF_BYTES: usize = 32;

/// The label of a client's proof.
pub(in crate::net) const CLIENT: &[u8] = b"concord client";

/// Slows down whoever recorded a handshake and guesses at the secret (RFC 8018, one block of PBKDF2).
const ROUNDS: u32 = 10_000;
const SALT: &[u8] = b"concord shared secret v1";

/// The key made from the cluster's shared secret.
///
/// - The secret itself is neither kept nor sent nor printed.
#[derive(Clone)]
pub(crate) struct SharedSecret {
    key: Hmac<Sha256>,
}

impl SharedSecret {
    /// Makes the key; takes some milliseconds. An empty secret is refused with `invalid_config`.
    pub(crate) fn new(cookie: &str) -> Result<SharedSecret> {
        if cookie.is_empty() {
            let message = "the shared secret is empty; set the same `cluster_cookie` on every node";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        Ok(SharedSecret { key: keyed(&derive(cookie.as_bytes(), SALT, ROUNDS)) })
    }

    /// What both ends of a local socket know: nothing that others do not. Whoever can open that socket has proved enough.
    pub(crate) fn of_local_socket() -> SharedSecret {
        SharedSecret { key: keyed(b"concord local socket") }
    }

    /// Proof of knowing the secret in this one conversation. The label names who proves, so that a proof
    /// cannot be sent back as the other side's.
    pub(in crate::net) fn proof(&self, label: &[u8], transcript: &[&[u8]]) -> [u8; PROOF_BYTES] {
        digest(&self.key, label, transcript).finalize().into_bytes().into()
    }

    /// Whether a proof is right, in constant time.
    pub(in crate::net) fn verify(&self, label: &[u8], transcript: &[&[u8]], proof: &[u8]) -> bool {
        digest(&self.key, label, transcript).verify_slice(proof).is_ok()
    }
}

/// Over the label and every message of the transcript, each with its length.
pub(super) fn digest(key: &Hmac<Sha256>, label: &[u8], transcript: &[&[u8]]) -> Hmac<Sha256> {
    let mut digest = key.clone();
    for part in std::iter::once(&label).chain(transcript) {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(not shown)")
    }
}

pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn derive(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    pbkdf2_hmac_array::<Sha256, 32>(password, salt, rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_pbkdf2_as_others_compute_it() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // The vectors of RFC 6070 with SHA-256, as Python's hashlib gives them.
        assert_eq!(
            hex(derive(b"password", b"salt", 1)),
            "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"
        );
        assert_eq!(
            hex(derive(b"password", b"salt", 4096)),
            "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"
        );
    }

    #[test]
    fn a_proof_holds_for_its_label_and_transcript_only() {
        let secret = SharedSecret::new("correct horse").unwrap();
        let proof = secret.proof(b"client", &[b"hello", b"challenge"]);
        assert!(secret.verify(b"client", &[b"hello", b"challenge"], &proof));
        assert!(!secret.verify(b"server", &[b"hello", b"challenge"], &proof));
        assert!(!secret.verify(b"client", &[b"helloc", b"hallenge"], &proof));
        assert!(!SharedSecret::new("other").unwrap().verify(b"client", &[b"hello", b"challenge"], &proof));
    }

    #[test]
    fn a_secret_is_never_empty_and_never_shown() {
        assert_eq!(SharedSecret::new("").unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert!(!format!("{:?}", SharedSecret::new("hunter2").unwrap()).contains("hunter2"));
    }
}
