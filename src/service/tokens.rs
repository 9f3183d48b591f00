//! Tokens: who may do what. The verbs that make, list and revoke them.

use std::time::Duration;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// What the holder of a token may do. `admin` includes the other two, membership and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Read records and the status.
    pub read: bool,
    /// Write records.
    pub write: bool,
    /// Everything.
    pub admin: bool,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewToken {
    /// For people, up to 64 bytes; need not be unique.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Keys that it reaches: those that begin with one of these, at most 32; none means every key.
    pub key_prefixes: Vec<Vec<u8>>,
    /// How long it is valid; `None` means until it is revoked.
    pub ttl: Option<Duration>,
}

/// What is known of a token. Never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Public name by which it is revoked: 16 hexadecimal digits.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Keys that it reaches; none means every key.
    pub key_prefixes: Vec<Vec<u8>>,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it ends, milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// When it was last used, milliseconds since the Unix epoch, as far as this node knows.
    pub last_used_ms: Option<u64>,
}

/// A token that was just made. Its text is shown this once and stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedToken {
    /// `sk_concord_...`
    pub token: Secret,
    /// What is kept of it.
    pub info: TokenInfo,
}

/// The verbs that make, list and revoke tokens. Get it from [`Concord::tokens`](crate::Concord::tokens). Each needs the
/// scope `admin`. They block.
pub struct Tokens {}

impl Tokens {
    /// Makes a token; every member knows it when this returns.
    ///
    /// # Errors
    /// `invalid_config` for a name, a lifetime or prefixes outside their bounds, and for no scope at all.
    pub fn create(&self, _new: &NewToken) -> Result<CreatedToken> {
        Err(Error::from(ErrorKind::Internal))
    }

    /// Every token, by when it was made.
    ///
    /// # Errors
    /// `timeout`, `cluster_not_ready`.
    pub fn list(&self) -> Result<Vec<TokenInfo>> {
        Err(Error::from(ErrorKind::Internal))
    }

    /// Ends a token, named by its id or its text, on every member at once.
    ///
    /// # Errors
    /// `not_found`.
    pub fn revoke(&self, _id_or_token: &str) -> Result<()> {
        Err(Error::from(ErrorKind::Internal))
    }
}
