//! TokenRecord: one valid token, and the judgement of what it allows.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::expression::{Selection, Strictness};
use crate::model::{Condition, NewTokenItem, Operation, Scopes, Selector, StepItem, TokenHash, TokenId};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Read,
    Write,
    /// A write that tells whether a record has a certain value.
    ReadAndWrite,
    Admin,
}

impl Need {
    /// What a write under this condition needs.
    pub(crate) fn of_write(condition: &Condition<'_>) -> Need {
        match condition {
            Condition::Expected(_) | Condition::Where(_) => Need::ReadAndWrite,
            Condition::Always | Condition::Absent | Condition::Present | Condition::Revision(_) => Need::Write,
        }
    }

    /// What a transaction needs: it goes through the log in any case, and may tell of records that it compares or reads.
    pub(crate) fn of_transaction(reads: bool) -> Need {
        if reads { Need::ReadAndWrite } else { Need::Write }
    }

    /// What removing all that is picked needs: how many that are may tell of their values.
    pub(crate) fn of_delete_where(selector: &Selector<'_>) -> Need {
        if selector.filter.is_some() { Need::ReadAndWrite } else { Need::Write }
    }
}

/// One token. Shared by all that act in its name: what never changes, three marks that do.
pub(crate) struct TokenRecord {
    id: TokenId,
    hash: TokenHash,
    name: Box<str>,
    scopes: Scopes,
    key_prefixes: Box<[Box<[u8]>]>,
    created_ms: u64,
    expires_ms: Option<u64>,
    /// When it was last used, as the log has carried it; 0 is never.
    pub(super) noted_ms: AtomicU64,
    /// When it was last used on this node. Of this node alone.
    seen_ms: AtomicU64,
    is_revoked: AtomicBool,
}

impl TokenRecord {
    pub(super) fn new(item: &NewTokenItem<'_>, created_ms: u64, expires_ms: Option<u64>, noted_ms: u64) -> TokenRecord {
        TokenRecord {
            id: TokenId::of(&item.hash),
            hash: item.hash,
            name: item.name.into(),
            scopes: item.scopes,
            key_prefixes: item.key_prefixes.iter().map(|prefix| Box::from(*prefix)).collect(),
            created_ms,
            expires_ms,
            noted_ms: AtomicU64::new(noted_ms),
            seen_ms: AtomicU64::new(0),
            is_revoked: AtomicBool::new(false),
        }
    }

    /// Whether both are one token, made by the same command; when it was used does not matter.
    pub(super) fn is_same(&self, other: &TokenRecord) -> bool {
        self.to_item() == other.to_item() && self.created_ms() == other.created_ms()
    }

    pub(super) fn to_item(&self) -> NewTokenItem<'_> {
        NewTokenItem {
            hash: self.hash,
            name: &self.name,
            scopes: self.scopes,
            key_prefixes: self.key_prefixes.iter().map(|prefix| &**prefix).collect(),
            deadline_ms: self.expires_ms,
        }
    }

    pub(crate) fn id(&self) -> TokenId {
        self.id
    }

    pub(crate) fn hash(&self) -> &TokenHash {
        &self.hash
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn scopes(&self) -> Scopes {
        self.scopes
    }

    pub(crate) fn key_prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.key_prefixes.iter().map(|prefix| &**prefix)
    }

    pub(crate) fn created_ms(&self) -> u64 {
        self.created_ms
    }

    pub(crate) fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    /// When it was last used, as the log has carried it.
    pub(crate) fn noted_ms(&self) -> Option<u64> {
        Some(self.noted_ms.load(Ordering::Relaxed)).filter(|noted_ms| *noted_ms != 0)
    }

    /// When it was last used on this node.
    pub(crate) fn seen_ms(&self) -> Option<u64> {
        Some(self.seen_ms.load(Ordering::Relaxed)).filter(|seen_ms| *seen_ms != 0)
    }

    /// It is used on this node now.
    pub(crate) fn see(&self, now_ms: u64) {
        // Most uses fall into a millisecond that another one has written.
        if self.seen_ms.load(Ordering::Relaxed) < now_ms {
            self.seen_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Release);
    }

    pub(crate) fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }

    /// Whether it may still be used.
    ///
    /// Errors: `unauthorized`.
    pub(crate) fn check_valid(&self, now_ms: u64) -> Result<()> {
        if self.is_revoked.load(Ordering::Acquire) || self.has_expired(now_ms) {
            return Err(Error::new(ErrorKind::Unauthorized, "the token was revoked or has expired; use another one"));
        }
        Ok(())
    }

    /// Whether its scopes allow this.
    ///
    /// Errors: `forbidden`.
    pub(crate) fn check_scope(&self, need: Need) -> Result<()> {
        let Scopes { read, write, admin } = self.scopes;
        let (allowed, message) = match need {
            Need::Read => (read, "this needs a token with the scope `read`"),
            Need::Write => (write, "this needs a token with the scope `write`"),
            Need::ReadAndWrite => (read && write, "this needs a token with the scopes `read` and `write`"),
            Need::Admin => (false, "this needs a token with the scope `admin`"),
        };
        if allowed || admin { Ok(()) } else { Err(Error::new(ErrorKind::Forbidden, message)) }
    }

    /// Whether it reaches this key.
    ///
    /// Errors: `forbidden`, whether the key exists or not.
    pub(crate) fn check_key(&self, key: &[u8]) -> Result<()> {
        if self.reaches_all() || self.key_prefixes.iter().any(|prefix| key.starts_with(prefix)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Forbidden, "the token reaches only keys that begin with certain prefixes"))
    }

    pub(crate) fn check_all_keys(&self) -> Result<()> {
        if self.reaches_all() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Forbidden, "the token reaches only some keys, and this is about all of them"))
    }

    /// Whether it reaches every key that the range may hold: the range must lie within one of its prefixes.
    ///
    /// Errors: `forbidden`.
    pub(crate) fn check_range(&self, (from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> Result<()> {
        if self.reaches_all() || self.key_prefixes.iter().any(|prefix| lies_within(prefix, from, to)) {
            return Ok(());
        }
        let message = "the token reaches only keys that begin with certain prefixes; scan within one of them";
        Err(Error::new(ErrorKind::Forbidden, message))
    }

    /// Whether it reaches every key that may be picked.
    ///
    /// Errors: `forbidden`; `invalid_condition` for what is no selector.
    pub(crate) fn check_selector(&self, selector: &Selector<'_>) -> Result<()> {
        if self.reaches_all() {
            return Ok(());
        }
        self.check_range(Selection::of(selector, Strictness::Accepted)?.range())
    }

    fn reaches_all(&self) -> bool {
        self.key_prefixes.is_empty()
    }

    /// Whether it allows the whole operation.
    ///
    /// Errors: `forbidden`.
    pub(crate) fn check_operation(&self, operation: &Operation<'_>) -> Result<()> {
        let check = |need: Need, keys: &mut dyn Iterator<Item = &[u8]>| {
            self.check_scope(need)?;
            for key in keys {
                self.check_key(key)?;
            }
            Ok(())
        };
        let one = |key| std::iter::once(key);
        match operation {
            Operation::Put { item, condition } => check(Need::of_write(condition), &mut one(item.key)),
            Operation::Delete { key, condition } => check(Need::of_write(condition), &mut one(*key)),
            Operation::Touch { key, .. } | Operation::Increment { key, .. } => check(Need::Write, &mut one(*key)),
            Operation::PutMany(items) => check(Need::Write, &mut items.iter().map(|item| item.key)),
            Operation::DeleteMany(keys) => check(Need::Write, &mut keys.iter().copied()),
            Operation::TouchMany(items) => check(Need::Write, &mut items.iter().map(|(key, _)| *key)),
            Operation::DeleteWhere(selector) => {
                self.check_scope(Need::of_delete_where(selector))?;
                self.check_selector(selector)
            }
            Operation::Transact(transaction) => {
                let compared = transaction.compares.iter().map(|compare| compare.key);
                let reads = !transaction.compares.is_empty() || transaction.reads();
                let mut keys = compared.chain(transaction.steps().map(StepItem::key));
                check(Need::of_transaction(reads), &mut keys)
            }
            Operation::CreateConsumer(item) => {
                self.check_scope(Need::ReadAndWrite)?;
                self.check_selector(&item.selector)
            }
            // Whether it reaches the keys of the consumer, the state machine knows.
            Operation::AcknowledgeConsumer { .. } | Operation::DeleteConsumer { .. } => {
                self.check_scope(Need::ReadAndWrite)
            }
            // Whoever writes from outside needs a session for it.
            Operation::OpenSession => self.check_scope(Need::Write),
            Operation::CreateToken(_)
            | Operation::RevokeToken(_)
            | Operation::NoteTokenUse { .. }
            | Operation::Expire { .. }
            | Operation::CreateIndex { .. }
            | Operation::DropIndex(_)
            | Operation::RebuildIndex(_)
            | Operation::Authorised { .. } => self.check_scope(Need::Admin),
        }
    }
}

/// Whether every key of the range begins with the prefix.
fn lies_within(prefix: &[u8], from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    let begins = match from {
        Bound::Unbounded => false,
        Bound::Included(key) | Bound::Excluded(key) => key >= prefix,
    };
    let ends = match (to, end_of(prefix)) {
        (_, None) => true,
        (Bound::Unbounded, Some(_)) => false,
        (Bound::Included(key), Some(end)) => key < end.as_slice(),
        (Bound::Excluded(key), Some(end)) => key <= end.as_slice(),
    };
    begins && ends
}

/// The least key after all that begin with the prefix; `None` when there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
