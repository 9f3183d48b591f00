//! Auth: who asks, and whether they may. Every verb asks here first.

mod identity;
mod uses;

use std::ops::Bound;
use std::sync::Arc;

pub(crate) use identity::Identification;
pub(crate) use uses::note_token_uses;

use super::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Condition, Operation, TokenId, Write};
use crate::state_machine::{Need, TokenRecord};

/// In whose name a verb is carried out.
///
/// Of a client everybody is trusted here: the members judge what its connection asks for.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Auth is off, or this is the machine's own administration.
    Trusted,
    /// Auth is on, and no token was given.
    Nobody,
    /// The holder of a token.
    Token(Arc<Holder>),
}

/// The holder of a token. What it may is judged anew with every verb: the token may have been revoked or have expired.
pub(crate) struct Holder {
    record: Arc<TokenRecord>,
    clock: Clock,
}

impl Holder {
    fn check_valid(&self) -> Result<()> {
        let now_ms = self.clock.now_ms();
        self.record.check_valid(now_ms)?;
        self.record.see(now_ms);
        Ok(())
    }
}

impl Caller {
    pub(crate) fn holding(record: Arc<TokenRecord>, clock: Clock) -> Caller {
        Caller::Token(Arc::new(Holder { record, clock }))
    }

    /// Whose token this is; `None` when there is none.
    fn token(&self) -> Option<TokenId> {
        match self {
            Caller::Trusted | Caller::Nobody => None,
            Caller::Token(holder) => Some(holder.record.id()),
        }
    }

    /// Whether what one was given the other may use.
    pub(crate) fn is_same(&self, other: &Caller) -> bool {
        self.token() == other.token()
    }

    #[inline]
    fn judge(&self, need: Need, more: impl FnOnce(&TokenRecord) -> Result<()>) -> Result<()> {
        match self {
            Caller::Trusted => Ok(()),
            Caller::Nobody => Err(nobody()),
            Caller::Token(holder) => {
                holder.check_valid()?;
                holder.record.check_scope(need)?;
                more(&holder.record)
            }
        }
    }

    /// Whether the token is still valid, for what took its time since it was judged.
    pub(crate) fn check_valid(&self) -> Result<()> {
        match self {
            Caller::Trusted => Ok(()),
            Caller::Nobody => Err(nobody()),
            Caller::Token(holder) => holder.check_valid(),
        }
    }

    pub(crate) fn check_scope(&self, need: Need) -> Result<()> {
        self.judge(need, |_| Ok(()))
    }

    #[inline]
    pub(crate) fn check_read(&self, key: &[u8]) -> Result<()> {
        self.judge(Need::Read, |token| token.check_key(key))
    }

    pub(crate) fn check_reads(&self, keys: &[&[u8]]) -> Result<()> {
        self.judge(Need::Read, |token| keys.iter().try_for_each(|key| token.check_key(key)))
    }

    pub(crate) fn check_range(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<()> {
        self.judge(Need::Read, |token| token.check_range(range))
    }

    /// What is about every key, as changes and digests are.
    pub(crate) fn check_read_all(&self) -> Result<()> {
        self.judge(Need::Read, TokenRecord::check_all_keys)
    }

    /// The whole write: one key that is out of reach refuses all of it.
    pub(crate) fn check_write(&self, write: &Write<'_>) -> Result<()> {
        if let Caller::Trusted = self {
            return Ok(());
        }
        let need = match write {
            Write::Put { condition, .. } | Write::Delete { condition, .. } => Need::of_write(condition),
            Write::DeleteWhere { selector } => Need::of_delete_where(selector),
            Write::Transaction(transaction) => Need::of_transaction(transaction.reads()),
            _ => Need::of_write(&Condition::Always),
        };
        self.judge(need, |token| match *write {
            Write::Put { key, .. }
            | Write::Delete { key, .. }
            | Write::Touch { key, .. }
            | Write::Increment { key, .. } => token.check_key(key),
            Write::PutMany { items, .. } => items.iter().try_for_each(|(key, _, _)| token.check_key(key)),
            Write::DeleteMany { keys } => keys.iter().try_for_each(|key| token.check_key(key)),
            Write::TouchMany { items } => items.iter().try_for_each(|(key, _)| token.check_key(key)),
            Write::DeleteWhere { ref selector } => token.check_selector(selector),
            Write::Transaction(transaction) => transaction.keys().try_for_each(|key| token.check_key(key)),
        })
    }

    /// The operation as the log carries it, so that it is not done once the token is revoked.
    pub(crate) fn in_own_name<'a>(&self, operation: Operation<'a>) -> Operation<'a> {
        match self.token() {
            None => operation,
            Some(token) => Operation::Authorised { token, operation: Box::new(operation) },
        }
    }
}

#[cold]
fn nobody() -> Error {
    Error::from(ErrorKind::Unauthorized)
}
