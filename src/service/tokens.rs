//! Tokens: who may do what. The verbs that make, list and revoke them.

use std::sync::Arc;
use std::time::Duration;

use super::kv::{Backend, Kv};
use super::{Pending, auth};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::model::{Consistency, NewTokenItem, Operation, ReadOptions, SECRET_BYTES, Scopes, TokenId, TokenSecret};
use crate::raft::{Freshness, Node};
use crate::state_machine::{Need, TokenRecord};

/// How often a token is made anew because its public id is taken. That this happens once is as likely as to win a lottery
/// twice in a row.
const ATTEMPTS: usize = 3;

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewToken {
    /// For people, up to 64 bytes without control characters; need not be unique.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Keys that it reaches: those that begin with one of these, at most 32 of 1 to 1,024 bytes, together at most 4,096
    /// bytes; none means every key. A token with the scope `admin` reaches every key and has none.
    pub key_prefixes: Vec<Vec<u8>>,
    /// How long it is valid, at least a millisecond; `None` means until it is revoked.
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
    /// When it ends, milliseconds since the Unix epoch. One that has ended is listed until it is revoked, or until its
    /// place is needed.
    pub expires_ms: Option<u64>,
    /// When it was last used, milliseconds since the Unix epoch, as far as this node knows: exactly of uses on this node,
    /// to the hour of uses on others.
    pub last_used_ms: Option<u64>,
}

impl TokenInfo {
    fn of(record: &TokenRecord) -> TokenInfo {
        TokenInfo {
            id: record.id().to_string(),
            name: record.name().to_owned(),
            scopes: record.scopes(),
            key_prefixes: record.key_prefixes().map(<[u8]>::to_vec).collect(),
            created_ms: record.created_ms(),
            expires_ms: record.expires_ms(),
            last_used_ms: record.seen_ms().max(record.noted_ms()),
        }
    }

    /// What this node knows, by when they were made: of one token, or of all.
    pub(super) fn known_to(node: &Node, only: Option<TokenId>) -> Vec<TokenInfo> {
        let tokens = node.machine().tokens();
        let mut records: Vec<Arc<TokenRecord>> = match only {
            Some(id) => tokens.get(id).into_iter().collect(),
            None => tokens.all(),
        };
        records.sort_by_key(|record| record.created_ms());
        records.iter().map(|record| TokenInfo::of(record)).collect()
    }
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
///
/// Tokens are part of the replicated state: every member knows them, they survive restarts, and of their secrets only a
/// hash is kept. Whoever holds the cluster's cookie, or the data directory of a member, needs no token.
///
/// The first token is made by the machine itself; with `auth_enabled` there is no other way in:
///
/// ```
/// use concord_kv::{Concord, Config, ErrorKind, NewToken, Scopes};
///
/// let db = Concord::open(Config { auth_enabled: true, ..Config::default() })?;
/// assert_eq!(db.kv().get("app:a").unwrap_err().kind(), ErrorKind::Unauthorized);
///
/// let scopes = Scopes { read: true, write: true, admin: false };
/// let new = NewToken { name: "app".into(), scopes, key_prefixes: vec![b"app:".to_vec()], ttl: None };
/// let created = db.as_admin().tokens().create(&new)?;
///
/// let app = db.with_token(created.token.reveal())?;
/// app.kv().put("app:a", 1).wait()?;
/// assert_eq!(app.kv().get("other").unwrap_err().kind(), ErrorKind::Forbidden);
///
/// db.as_admin().tokens().revoke(&created.info.id)?;
/// assert_eq!(app.kv().get("app:a").unwrap_err().kind(), ErrorKind::Unauthorized);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub struct Tokens {
    kv: Kv,
}

impl Tokens {
    pub(crate) fn new(kv: Kv) -> Tokens {
        Tokens { kv }
    }

    /// Makes a token from random bytes of the operating system; every member knows it when this returns, or learns of it
    /// the moment that it is used there.
    ///
    /// # Errors
    /// `invalid_config` for a name or prefixes outside their bounds, for no scope at all, and when there are 10,000
    /// tokens; `invalid_ttl`; `unknown_outcome` when the answer was lost: list the tokens and revoke the one of this name,
    /// if it is there. What else a write answers.
    pub fn create(&self, new: &NewToken) -> Result<CreatedToken> {
        self.kv.caller.check_scope(Need::Admin)?;
        check(new)?;
        let ttl_ms = new.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        if ttl_ms.is_some_and(|ttl_ms| !(1..=limits::TTL_MS_MAX).contains(&ttl_ms)) {
            return Err(ErrorKind::InvalidTtl.into());
        }
        for _ in 0..ATTEMPTS {
            let secret = TokenSecret::new(random()?);
            let hash = secret.hash();
            let key_prefixes: Vec<&[u8]> = new.key_prefixes.iter().map(Vec::as_slice).collect();
            let stamp_ms = self.kv.clock.now_ms();
            let deadline_ms = ttl_ms.map(|ttl_ms| stamp_ms + ttl_ms);
            let item = NewTokenItem { hash, name: &new.name, scopes: new.scopes, key_prefixes, deadline_ms };
            match self.carry_out(stamp_ms, Operation::CreateToken(item)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) if error.kind() == ErrorKind::InvalidConfig => {
                    let message =
                        format!("there are {} tokens, more are not possible; revoke some", limits::TOKENS_MAX);
                    return Err(Error::new(ErrorKind::InvalidConfig, message));
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            let info = self.known(Some(TokenId::of(&hash)))?.pop();
            let gone = || Error::new(ErrorKind::NotFound, "the token was revoked at the moment that it was made");
            return Ok(CreatedToken { token: Secret::new(secret.text()), info: info.ok_or_else(gone)? });
        }
        Err(ErrorKind::Internal.into())
    }

    /// Every token, by when it was made.
    ///
    /// # Errors
    /// `timeout`, `cluster_not_ready`.
    pub fn list(&self) -> Result<Vec<TokenInfo>> {
        self.kv.caller.check_scope(Need::Admin)?;
        self.known(None)
    }

    /// Ends a token, named by its id or its text. When this returns no member carries out any write of it, nor any read of
    /// level `leader` or `strong`; an `eventual` read it may get for as long as the member that it asks is behind, as with
    /// all such reads.
    ///
    /// # Errors
    /// `not_found`; what else a write answers.
    pub fn revoke(&self, id_or_token: &str) -> Result<()> {
        self.kv.caller.check_scope(Need::Admin)?;
        let of_text = || TokenSecret::parse(id_or_token).map(|secret| TokenId::of(&secret.hash()));
        let unknown = || Error::new(ErrorKind::NotFound, "there is no such token; list the tokens to see their ids");
        let id = TokenId::parse(id_or_token).or_else(of_text).ok_or_else(unknown)?;
        let revoked = self.carry_out(self.kv.clock.now_ms(), Operation::RevokeToken(id));
        revoked.map_err(|error| if error.kind() == ErrorKind::NotFound { unknown() } else { error })
    }

    fn carry_out(&self, stamp_ms: u64, operation: Operation<'_>) -> Result<()> {
        Pending::start(limits::TIMEOUT_MS_DEFAULT, drop, |done| self.kv.propose(stamp_ms, operation, None, done)).wait()
    }

    /// What is known of one token or of all, with everything in it that was acknowledged before.
    fn known(&self, only: Option<TokenId>) -> Result<Vec<TokenInfo>> {
        let node = match &self.kv.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => return client.tokens(only),
        };
        self.kv.catch_up(node)?;
        Ok(TokenInfo::known_to(node, only))
    }
}

impl Kv {
    /// Blocks until this node has applied what was acknowledged before, and judges the caller by that.
    pub(super) fn catch_up(&self, node: &Node) -> Result<()> {
        match node.begin_read(Consistency::Leader)? {
            Freshness::Present => Ok(()),
            Freshness::Leased if node.still_leads() => Ok(()),
            _ => self.wait_for_read(node, Consistency::Leader, &ReadOptions::default()).map(drop),
        }
    }

    /// Whether the caller may administer, judged by all that was acknowledged before: what it then does leaves no trace in
    /// the log by which it could be judged again.
    pub(super) fn check_admin(&self) -> Result<()> {
        self.caller.check_scope(Need::Admin)?;
        match (&self.backend, &self.caller) {
            (Backend::Node(node), auth::Caller::Token(_)) => self.catch_up(node)?,
            _ => return Ok(()),
        }
        self.caller.check_scope(Need::Admin)
    }
}

fn random() -> Result<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the operating system gives no random numbers: {error}"))
    })?;
    Ok(bytes)
}

fn check(new: &NewToken) -> Result<()> {
    let Scopes { read, write, admin } = new.scopes;
    let prefixes = &new.key_prefixes;
    let prefix_bytes: usize = prefixes.iter().map(Vec::len).sum();
    let checks = [
        (new.name.len() <= limits::TOKEN_NAME_BYTES_MAX, "the name of a token has at most 64 bytes"),
        (!new.name.chars().any(char::is_control), "the name of a token has no control characters"),
        (read || write || admin, "a token without any scope allows nothing; give it `read`, `write` or `admin`"),
        (prefixes.is_empty() || !admin, "a token with the scope `admin` reaches every key; leave the key prefixes out"),
        (prefixes.len() <= limits::TOKEN_PREFIXES_MAX, "a token has at most 32 key prefixes"),
        (
            prefixes.iter().all(|prefix| (1..=limits::KEY_BYTES_MAX).contains(&prefix.len())),
            "a key prefix has 1 to 1024 bytes; for every key leave the key prefixes out",
        ),
        (
            prefix_bytes <= limits::TOKEN_PREFIX_BYTES_MAX,
            "the key prefixes of a token have at most 4096 bytes together",
        ),
    ];
    let refuse = |message: &str| Err(Error::new(ErrorKind::InvalidConfig, message));
    checks.into_iter().try_for_each(|(holds, message)| if holds { Ok(()) } else { refuse(message) })
}
