//! Transactions: the part of the workload that is about several keys at once.
//!
//! Two keys that are always written together, and removed together, are one register to the checker: whoever reads them in one
//! transaction must find the same value and revision in both, and the answers must fit one order. Money that moves between two
//! accounts is two increments, and none of it may be lost or made. A transaction with a name whose answer was lost is sent
//! again, and counts as one call.

use std::borrow::Cow;

use super::linearizability::{Action, Answer, Expected, Outcome};
use super::workload::{Client, encoded};
use crate::encoding::decode_value;
use crate::error::{ErrorKind, Result};
use crate::model::{Compare, Compress, Condition, RecordView, Reply, Selector, Step, StepReply, Transaction};
use crate::model::{TransactionReply, Value, Write};

/// What the checker calls the two keys together.
pub(super) const PAIR: &str = "g";
const PAIR_KEYS: [&[u8]; 2] = [b"g0", b"g1"];
pub(super) const ACCOUNTS: [&str; 2] = ["a0", "a1"];

/// How often a transaction with a name is sent.
const ATTEMPTS: usize = 4;

impl Client {
    pub(super) async fn write_pair(&mut self) {
        let value = self.history.new_value();
        let call = self.history.begin(self.id, PAIR, Action::Write(value));
        let bytes = encoded(value);
        let transaction = Transaction { then: both(&bytes), ..Transaction::default() };
        let reply = self.transact(transaction).await;
        self.finish(call, reply, |reply| Some(Answer::Done { revision: Some(reply.revision) }));
    }

    /// Writes both if the first still has the value that was seen.
    pub(super) async fn write_pair_if(&mut self) {
        let Some(seen) = self.seen_pair.take() else { return };
        let value = self.history.new_value();
        let call = self.history.begin(self.id, PAIR, Action::PutIf { expected: Expected::Value(seen), value });
        let (expected, bytes) = (encoded(seen), encoded(value));
        let compares = vec![Compare { key: PAIR_KEYS[0], condition: Condition::Expected(&expected) }];
        let otherwise = vec![Step::Get { key: PAIR_KEYS[0] }];
        let reply = self.transact(Transaction { compares, then: both(&bytes), otherwise, idempotency_key: None }).await;
        self.finish(call, reply, |reply| {
            Some(match (reply.succeeded, &reply.results[..]) {
                (true, _) => Answer::Done { revision: Some(reply.revision) },
                (false, [StepReply::Record(None)]) => Answer::Missing,
                (false, _) => Answer::ConditionFailed,
            })
        });
    }

    pub(super) async fn read_pair(&mut self) {
        let call = self.history.begin(self.id, PAIR, Action::Read);
        let then = PAIR_KEYS.map(|key| Step::Get { key }).to_vec();
        let reply = self.transact(Transaction { then, ..Transaction::default() }).await;
        let seen = self.finish(call, reply, |reply| match &reply.results[..] {
            [StepReply::Record(None), StepReply::Record(None)] => Some(Answer::Missing),
            [StepReply::Record(Some(a)), StepReply::Record(Some(b))] if a == b => Some(found(a)),
            torn => panic!("two keys that are always written together hold {torn:?}"),
        });
        if let Some(Answer::Found { value, .. }) = seen {
            self.seen_pair = Some(value);
        }
    }

    /// Removes both by what their keys begin with.
    pub(super) async fn delete_pair(&mut self) {
        let call = self.history.begin(self.id, PAIR, Action::Delete);
        let selector = Selector { prefix: Some(PAIR.as_bytes()), ..Selector::default() };
        match self.write(Write::DeleteWhere { selector }).await {
            Some(Ok(Reply::Integer { value: 0, .. })) => self.history.finish_unneeded(call),
            Some(Ok(Reply::Integer { value: 2, revision })) => {
                self.history.finish(call, Outcome::Ok(Answer::Done { revision: Some(revision) }));
            }
            Some(Ok(reply)) => panic!("one of two keys that are always written together was removed: {reply:?}"),
            reply => self.judge(call, reply),
        }
    }

    /// Moves money from one account to the other; both may owe.
    pub(super) async fn transfer(&mut self) {
        let amount = 1 + self.dice.below(50) as i64;
        let amounts = if self.dice.below(2) == 0 { [amount, -amount] } else { [-amount, amount] };
        let moves = [(ACCOUNTS[0], amounts[0]), (ACCOUNTS[1], amounts[1])];
        let calls = moves.map(|(key, by)| self.history.begin(self.id, key, Action::Increment(by)));
        let then = moves.map(|(key, by)| Step::Increment { key: key.as_bytes(), by, initial: 0, ttl_ms: None });
        let reply = self.transact(Transaction { then: then.to_vec(), ..Transaction::default() }).await;
        for (at, call) in calls.into_iter().enumerate() {
            let reply = reply.as_ref().map(|reply| reply.as_ref().cloned().map_err(|error| error.kind().into()));
            self.finish(call, reply, |reply| match reply.results[at] {
                StepReply::Integer(sum) => Some(Answer::Sum(sum)),
                _ => None,
            });
        }
    }

    /// Sends a transaction, mostly with a name, and then again when its answer was lost. `None` when nothing is known.
    async fn transact(&mut self, transaction: Transaction<'_>) -> Option<Result<TransactionReply>> {
        let name = format!("{}:{}", self.id, self.history.new_value());
        let is_named = self.dice.below(4) > 0;
        let idempotency_key = is_named.then_some(name.as_bytes());
        let transaction = Transaction { idempotency_key, ..transaction };
        let mut is_lost = false;
        for _ in 0..if is_named { ATTEMPTS } else { 1 } {
            match self.write(Write::Transaction(&transaction)).await {
                Some(Ok(Reply::Transaction(reply))) => return Some(Ok(reply)),
                Some(Ok(reply)) => panic!("an answer to something else: {reply:?}"),
                None => is_lost = true,
                Some(Err(error)) => match error.kind() {
                    ErrorKind::UnknownOutcome => is_lost = true,
                    // This attempt did nothing; one before it may have.
                    ErrorKind::ClusterNotReady | ErrorKind::Timeout | ErrorKind::Closed if is_lost => {}
                    _ => return Some(Err(error)),
                },
            }
        }
        None
    }

    fn finish(
        &self,
        call: usize,
        reply: Option<Result<TransactionReply>>,
        answer: impl FnOnce(&TransactionReply) -> Option<Answer>,
    ) -> Option<Answer> {
        match reply {
            Some(Ok(reply)) => {
                let answer = answer(&reply).unwrap_or_else(|| panic!("an answer to something else: {reply:?}"));
                self.history.finish(call, Outcome::Ok(answer));
                Some(answer)
            }
            Some(Err(error)) => {
                self.judge(call, Some(Err(error)));
                None
            }
            None => None,
        }
    }
}

fn both(value: &[u8]) -> Vec<Step<'_>> {
    PAIR_KEYS.map(|key| Step::Put { key, value, ttl_ms: None, compress: Compress::Auto }).to_vec()
}

fn found(record: &RecordView<'static>) -> Answer {
    let RecordView { value: Cow::Owned(value), revision, .. } = record else { panic!("{record:?} is borrowed") };
    match decode_value(value) {
        Ok(Value::Int(value)) => Answer::Found { value: value as i64, revision: Some(*revision) },
        other => panic!("a value that nobody wrote: {other:?}"),
    }
}
