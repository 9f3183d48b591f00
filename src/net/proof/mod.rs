//! Proof: how the two ends of a connection prove who they are without giving away what they know.

mod attempts;
mod secret;
mod token;

pub(crate) use attempts::Attempts;
pub(crate) use secret::SharedSecret;
pub(super) use secret::{CLIENT, PROOF_BYTES};
pub(crate) use token::TokenKey;
pub(super) use token::{StoredToken, Transcript};

/// What the side that connects proves itself by.
#[derive(Clone)]
pub(crate) enum Credential {
    /// As one of the cluster: it may become a member of it, so it may do everything.
    Cookie(SharedSecret),
    /// As the holder of a token: a client that may do what the token allows.
    Token(TokenKey),
}

impl Credential {
    /// The public id of the token, 0 for none.
    pub(crate) fn token(&self) -> u64 {
        match self {
            Credential::Cookie(_) => 0,
            Credential::Token(key) => key.id(),
        }
    }

    pub(super) fn proof(&self, transcript: Transcript<'_>) -> [u8; PROOF_BYTES] {
        match self {
            Credential::Cookie(secret) => secret.proof(CLIENT, transcript),
            Credential::Token(key) => key.proof(transcript),
        }
    }

    /// Whether the proof of the other side is right, in constant time.
    pub(super) fn verify(&self, label: &[u8], transcript: Transcript<'_>, proof: &[u8]) -> bool {
        match self {
            Credential::Cookie(secret) => secret.verify(label, transcript, proof),
            Credential::Token(key) => key.verify(label, transcript, proof),
        }
    }

    /// What to do when the other side says that the proof was wrong, or gives a wrong one itself.
    pub(super) fn refusal(&self, address: &str) -> String {
        match self {
            Credential::Cookie(_) => format!(
                "this node and the one at {address} have different secrets; set the same `cluster_cookie` on both"
            ),
            Credential::Token(_) => format!(
                "the node at {address} does not accept the token: it is unknown there, was revoked or has expired, or too \
                 many attempts from this address have failed"
            ),
        }
    }
}

impl From<SharedSecret> for Credential {
    fn from(secret: SharedSecret) -> Credential {
        Credential::Cookie(secret)
    }
}
