//! Command: what the log carries and every replica applies.

use super::{Compare, Condition, EventKinds, Position, Scopes, Selector, TokenHash, TokenId};

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
    CreateIndex {
        name: &'a str,
        path: &'a str,
    },
    DropIndex(&'a str),
    /// Makes what an index holds anew.
    RebuildIndex(&'a str),
    /// Does one branch or the other, all of it or nothing.
    Transact(TransactionItem<'a>),
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
    /// About how many bytes it takes in the log, and more for one that may have a large answer.
    pub(crate) fn bytes(&self) -> usize {
        let item_bytes = |item: &PutItem<'_>| item.key.len() + item.stored.len() + 16;
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
            Operation::CreateIndex { name, path } => 16 + name.len() + path.len(),
            Operation::DropIndex(name) | Operation::RebuildIndex(name) => 16 + name.len(),
            Operation::Transact(transaction) => transaction.bytes(),
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

fn condition_bytes(condition: &Condition<'_>) -> usize {
    match condition {
        Condition::Expected(value) => value.len(),
        Condition::Where(expression) => expression.len(),
        Condition::Always | Condition::Absent | Condition::Present | Condition::Revision(_) => 0,
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

/// A transaction as the log carries it.
///
/// Invariant: a branch writes a key at most once; compares and steps are within their bound. Whoever makes one checks this,
/// and so does whoever reads one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TransactionItem<'a> {
    /// None is empty.
    pub idempotency_key: &'a [u8],
    pub compares: Vec<Compare<'a>>,
    pub then: Vec<StepItem<'a>>,
    pub otherwise: Vec<StepItem<'a>>,
}

/// One operation of a transaction. Values are in stored form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum StepItem<'a> {
    Put(PutItem<'a>),
    Delete(&'a [u8]),
    Touch { key: &'a [u8], deadline_ms: u64 },
    Increment { key: &'a [u8], by: i64, initial: i64, deadline_ms: Option<u64> },
    Get(&'a [u8]),
}

/// What the answer of a transaction that reads counts for, beside its bytes in the log: so few of them share an entry that
/// their answers stay small together.
const ANSWER_BYTES: usize = 16 * 1024;

impl<'a> TransactionItem<'a> {
    /// The operations of both branches.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &StepItem<'a>> {
        self.then.iter().chain(&self.otherwise)
    }

    /// Whether its answer may hold records.
    pub(crate) fn reads(&self) -> bool {
        self.steps().any(|step| matches!(step, StepItem::Get(_)))
    }

    /// Bytes of all values and expressions.
    pub(crate) fn content_bytes(&self) -> usize {
        let stored = |step: &StepItem<'_>| if let StepItem::Put(item) = step { item.stored.len() } else { 0 };
        let compared = |compare: &Compare<'_>| condition_bytes(&compare.condition);
        self.steps().map(stored).sum::<usize>() + self.compares.iter().map(compared).sum::<usize>()
    }

    fn bytes(&self) -> usize {
        let keys =
            self.compares.iter().map(|compare| compare.key.len()).chain(self.steps().map(|step| step.key().len()));
        let key_bytes: usize = keys.map(|bytes| bytes + 32).sum();
        let answer_bytes = if self.reads() { ANSWER_BYTES } else { 0 };
        self.idempotency_key.len() + key_bytes + self.content_bytes() + answer_bytes
    }
}

impl<'a> StepItem<'a> {
    pub(crate) fn key(&self) -> &'a [u8] {
        match *self {
            StepItem::Put(PutItem { key, .. })
            | StepItem::Delete(key)
            | StepItem::Touch { key, .. }
            | StepItem::Increment { key, .. }
            | StepItem::Get(key) => key,
        }
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self, StepItem::Get(_))
    }
}
