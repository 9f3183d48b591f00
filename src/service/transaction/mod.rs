//! Transaction: several operations as one change, for Rust programs and for all others.

mod check;
mod document;

pub(super) use check::transaction_item;
pub use document::{decode_transaction, encode_transaction_reply, transaction_reply_to_json};

use std::time::Duration;

use super::verbs::ttl_ms_of;
use super::{Guard, Kv, Pending};
use crate::encoding::encode_value;
use crate::error::{Error, Result};
use crate::model::{Compare, Compress, Reply, Step, Transaction, TransactionReply, Value, Write};

/// A transaction that is put together and then committed. Get it from [`Concord::txn`](crate::Concord::txn).
///
/// What is compared must hold, all of it, for the operations that follow to be done; after [`Txn::or_else`] come those that
/// are done when it does not. Everything is one change with one revision: nobody sees a part of it, and when one operation
/// cannot be done, none is. See [`Transaction`] for what holds of each part.
///
/// A transfer that happens once, however often it is sent, and only if there is enough:
///
/// ```
/// use concord_kv::{Concord, Config, Guard, StepReply};
///
/// let db = Concord::open(Config::default())?;
/// db.kv().put("account:alice", 100).wait()?;
/// db.kv().put("account:bob", 20).wait()?;
///
/// let transfer = || {
///     db.txn()
///         .compare("account:alice", Guard::Where("value >= 30".into()))
///         .compare("account:bob", Guard::Present)
///         .increment("account:alice", -30)
///         .increment("account:bob", 30)
///         .or_else()
///         .get("account:alice")
///         .idempotency_key("transfer:17")
///         .commit()
/// };
/// let moved = transfer().wait()?;
/// assert!(moved.succeeded);
/// assert_eq!(moved.results, [StepReply::Integer(70), StepReply::Integer(50)]);
///
/// assert_eq!(transfer().wait()?, moved, "the same answer, and no second transfer");
/// assert_eq!(db.kv().get("account:bob")?, Some(50.into()));
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[must_use = "a transaction does nothing until it is committed"]
pub struct Txn<'a> {
    kv: &'a Kv,
    /// Key, guard, and the encoded value of one that expects a value.
    compares: Vec<(Vec<u8>, Guard, Vec<u8>)>,
    then: Vec<Operation>,
    otherwise: Vec<Operation>,
    is_otherwise: bool,
    idempotency_key: Option<Vec<u8>>,
    timeout_ms: Option<u64>,
    /// The first value that cannot be encoded.
    fault: Option<Error>,
}

/// One operation with what it owns; values are encoded.
enum Operation {
    Put(Vec<u8>, Vec<u8>, Option<Duration>),
    Delete(Vec<u8>),
    Touch(Vec<u8>, Duration),
    Increment(Vec<u8>, i64),
    Get(Vec<u8>),
}

impl<'a> Txn<'a> {
    pub(crate) fn new(kv: &'a Kv) -> Txn<'a> {
        Txn {
            kv,
            compares: Vec::new(),
            then: Vec::new(),
            otherwise: Vec::new(),
            is_otherwise: false,
            idempotency_key: None,
            timeout_ms: None,
            fault: None,
        }
    }

    /// This must hold of a record; [`Guard::Where`] says what the others do not, such as `revision < 7` or `ttl == null`.
    pub fn compare(mut self, key: impl AsRef<[u8]>, guard: Guard) -> Txn<'a> {
        let expected = if let Guard::Expected(value) = &guard { self.encoded(value) } else { Vec::new() };
        self.compares.push((key.as_ref().to_vec(), guard, expected));
        self
    }

    /// Stores a value for ever.
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Txn<'a> {
        let value = self.encoded(&value.into());
        self.step(Operation::Put(key.as_ref().to_vec(), value, None))
    }

    /// Stores a value with a lifetime.
    pub fn put_for(mut self, key: impl AsRef<[u8]>, value: impl Into<Value>, ttl: Duration) -> Txn<'a> {
        let value = self.encoded(&value.into());
        self.step(Operation::Put(key.as_ref().to_vec(), value, Some(ttl)))
    }

    /// Removes a key; fine when it is missing.
    pub fn delete(self, key: impl AsRef<[u8]>) -> Txn<'a> {
        self.step(Operation::Delete(key.as_ref().to_vec()))
    }

    /// Makes the remaining lifetime of an existing key `ttl`; a missing one ends the transaction with `not_found`.
    pub fn touch(self, key: impl AsRef<[u8]>, ttl: Duration) -> Txn<'a> {
        self.step(Operation::Touch(key.as_ref().to_vec(), ttl))
    }

    /// Adds to an integer; a missing key counts as 0. What is no integer ends the transaction with `not_an_integer`.
    pub fn increment(self, key: impl AsRef<[u8]>, by: i64) -> Txn<'a> {
        self.step(Operation::Increment(key.as_ref().to_vec(), by))
    }

    /// Reads a record, as it is after the operations before this one.
    pub fn get(self, key: impl AsRef<[u8]>) -> Txn<'a> {
        self.step(Operation::Get(key.as_ref().to_vec()))
    }

    /// The operations that follow are done when what is compared does not hold.
    pub fn or_else(mut self) -> Txn<'a> {
        self.is_otherwise = true;
        self
    }

    /// Names the transaction, see [`Transaction::idempotency_key`]: take a name that nobody else takes, such as a UUID.
    pub fn idempotency_key(mut self, name: impl AsRef<[u8]>) -> Txn<'a> {
        self.idempotency_key = Some(name.as_ref().to_vec());
        self
    }

    /// How long to wait for the answer; else 5,000 milliseconds.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Txn<'a> {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    fn encoded(&mut self, value: &Value) -> Vec<u8> {
        encode_value(value).unwrap_or_else(|error| {
            self.fault.get_or_insert(error);
            Vec::new()
        })
    }

    fn step(mut self, operation: Operation) -> Txn<'a> {
        let branch = if self.is_otherwise { &mut self.otherwise } else { &mut self.then };
        branch.push(operation);
        self
    }

    /// Starts it. That compares do not hold is no error: [`TransactionReply::succeeded`] tells.
    ///
    /// # Errors
    /// That of the first part that cannot be used, or of the operation that could not be done, named in the message: then
    /// nothing was done. `already_exists` when the idempotency key was used for another transaction. What else a write
    /// answers.
    pub fn commit(self) -> Pending<TransactionReply> {
        match self.started() {
            Ok(pending) => pending,
            Err(error) => Pending::refused(error, reply_of),
        }
    }

    fn started(self) -> Result<Pending<TransactionReply>> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let compares = self.compares.iter().map(|(key, guard, expected)| {
            let condition = guard.condition(expected);
            Compare { key, condition }
        });
        let transaction = Transaction {
            compares: compares.collect(),
            then: self.then.iter().map(Operation::step).collect(),
            otherwise: self.otherwise.iter().map(Operation::step).collect(),
            idempotency_key: self.idempotency_key.as_deref(),
        };
        Ok(self.kv.pending(Write::Transaction(&transaction), self.timeout_ms, reply_of))
    }
}

impl Operation {
    fn step(&self) -> Step<'_> {
        match self {
            Operation::Put(key, value, ttl) => {
                Step::Put { key, value, ttl_ms: ttl.map(ttl_ms_of), compress: Compress::Auto }
            }
            Operation::Delete(key) => Step::Delete { key },
            Operation::Touch(key, ttl) => Step::Touch { key, ttl_ms: ttl_ms_of(*ttl) },
            Operation::Increment(key, by) => Step::Increment { key, by: *by, initial: 0, ttl_ms: None },
            Operation::Get(key) => Step::Get { key },
        }
    }
}

/// Nothing else answers a transaction.
fn reply_of(reply: Reply) -> TransactionReply {
    match reply {
        Reply::Transaction(reply) => reply,
        Reply::Done { revision } | Reply::Integer { revision, .. } => {
            TransactionReply { succeeded: false, revision, results: Vec::new() }
        }
        Reply::Touched { .. } => TransactionReply { succeeded: false, revision: 0, results: Vec::new() },
    }
}
