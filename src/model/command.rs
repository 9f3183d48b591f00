//! Command: what the log carries and every replica applies.

use super::{Condition, EventKinds, Position, Scopes, Selector, TokenHash, TokenId};

/// One operation together with the time at which the service accepted it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command<'a> {
    /// Wall clock of the service that accepted the operation, milliseconds since the Unix epoch. Deadlines
    /// count from it: the state machine takes the lifetime that they leave, by the clock of the leader.
    pub stamp_ms: u64,
    /// What to do.
    pub operation: Operation<'a>,
}

/// What a command does. Values are in stored form (see `encoding::stored`).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation<'a> {
    Put {
        item: PutItem<'a>,
        condition: Condition<'a>,
    },
    Delete {
        key: &'a [u8],
        condition: Condition<'a>,
    },
    Touch {
        key: &'a [u8],
        deadline_ms: u64,
    },
    Increment {
        key: &'a [u8],
        by: i64,
        initial: i64,
        deadline_ms: Option<u64>,
    },
    PutMany(Vec<PutItem<'a>>),
    DeleteMany(Vec<&'a [u8]>),
    TouchMany(Vec<(&'a [u8], u64)>),
    /// Removes every record whose deadline has passed at `up_to_ms` and at the state machine's time.
    Expire {
        up_to_ms: u64,
    },
    /// Opens a session, in which each batch is applied once; the reply's revision is the session's number.
    OpenSession,
    CreateToken(NewTokenItem<'a>),
    RevokeToken(TokenId),
    /// A node tells that a token was used on it.
    NoteTokenUse {
        token: TokenId,
        used_ms: u64,
    },
    /// Removes every record that the selector picks, as one change.
    DeleteWhere(Selector<'a>),
    CreateConsumer(ConsumerItem<'a>),
    /// A consumer has seen everything before this place.
    AcknowledgeConsumer {
        name: &'a str,
        position: Position,
    },
    DeleteConsumer {
        name: &'a str,
    },
    /// Does the operation only while the token is valid at the state machine's time; otherwise `unauthorized`. What the
    /// token allows was checked by the node that took the operation. Never one within another.
    Authorised {
        token: TokenId,
        operation: Box<Operation<'a>>,
    },
}

impl Operation<'_> {
    /// About how many bytes it takes in the log.
    pub(crate) fn bytes(&self) -> usize {
        let item_bytes = |item: &PutItem<'_>| item.key.len() + item.stored.len() + 16;
        let condition_bytes = |condition: &Condition<'_>| match condition {
            Condition::Expected(value) => value.len(),
            Condition::Where(expression) => expression.len(),
            Condition::Always | Condition::Absent | Condition::Revision(_) => 0,
        };
        let key_bytes = |key: &[u8]| key.len() + 16;
        match self {
            Operation::Put { item, condition } => item_bytes(item) + condition_bytes(condition),
            Operation::Delete { key, condition } => key_bytes(key) + condition_bytes(condition),
            Operation::Touch { key, .. } | Operation::Increment { key, .. } => key_bytes(key) + 32,
            Operation::PutMany(items) => items.iter().map(item_bytes).sum(),
            Operation::DeleteMany(keys) => keys.iter().map(|key| key_bytes(key)).sum(),
            Operation::TouchMany(items) => items.iter().map(|(key, _)| key_bytes(key)).sum(),
            Operation::Expire { .. } | Operation::OpenSession => 16,
            Operation::DeleteWhere(selector) => selector_bytes(selector),
            Operation::CreateToken(item) => {
                96 + item.name.len() + item.key_prefixes.iter().map(|prefix| key_bytes(prefix)).sum::<usize>()
            }
            Operation::CreateConsumer(item) => item.name.len() + 32 + selector_bytes(&item.selector),
            Operation::AcknowledgeConsumer { name, .. } | Operation::DeleteConsumer { name } => name.len() + 32,
            Operation::RevokeToken(_) | Operation::NoteTokenUse { .. } => 32,
            Operation::Authorised { operation, .. } => 16 + operation.bytes(),
        }
    }

    /// What is to be done, whoever asks for it.
    pub(crate) fn unwrapped(&self) -> &Self {
        match self {
            Operation::Authorised { operation, .. } => operation,
            operation => operation,
        }
    }
}

fn selector_bytes(selector: &Selector<'_>) -> usize {
    let Selector { prefix, suffix, contains, pattern, range, filter, .. } = *selector;
    let keys = [prefix, suffix, contains, range.map(|(from, _)| from), range.map(|(_, to)| to)];
    let texts = [pattern.map(|pattern| pattern.text), filter];
    64 + keys.iter().flatten().map(|key| key.len()).sum::<usize>()
        + texts.iter().flatten().map(|text| text.len()).sum::<usize>()
}

/// A token to make.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewTokenItem<'a> {
    pub hash: TokenHash,
    pub name: &'a str,
    pub scopes: Scopes,
    /// None means every key.
    pub key_prefixes: Vec<&'a [u8]>,
    pub deadline_ms: Option<u64>,
}

/// A named watcher to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ConsumerItem<'a> {
    pub name: &'a str,
    pub kinds: EventKinds,
    /// Where it begins: `None` with the next change, at revision 0 with everything that is there.
    pub start: Option<Position>,
    pub selector: Selector<'a>,
}

/// One record to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PutItem<'a> {
    pub key: &'a [u8],
    pub stored: &'a [u8],
    pub deadline_ms: Option<u64>,
}
