//! Workload: clients that read and write through one store, and the record of what they asked and were told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::dice::Dice;
use super::linearizability::{Action, Answer, Expected, Operation, Outcome};
use super::transactions::ACCOUNTS;
use crate::encoding::{decode_value, encode_value};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compress, Condition, Consistency, ReadOptions, RecordView, Reply, Value, Write};
use crate::service::Kv;

/// How long a call may take.
const TIMEOUT_MS: u64 = 1_500;
/// Registers, counters, and keys with a lifetime.
const KEYS: [&str; 8] = ["r0", "r1", "r2", "r3", "c0", "c1", "t0", "t1"];
/// Calls in one instant are told apart by their order.
const INSTANTS: u64 = 1_000_000;

/// What all clients asked and were told.
#[derive(Default)]
pub(super) struct History {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations: Vec<Operation>,
    now_ms: u64,
    order: u64,
    last_value: i64,
    clients: usize,
    is_over: bool,
    can_expire_early: bool,
}

impl State {
    /// A time that every later call exceeds.
    fn instant(&mut self) -> u64 {
        self.order += 1;
        self.now_ms * INSTANTS + self.order
    }
}

impl History {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn tick(&self, now_ms: u64) {
        self.state().now_ms = now_ms;
    }

    /// Clients that see this ask nothing more.
    pub(super) fn end(&self) {
        self.state().is_over = true;
    }

    /// Somebody's wall clock is wrong, and with it the time of the cluster.
    pub(super) fn expect_early_expiry(&self) {
        self.state().can_expire_early = true;
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// How many calls have an answer.
    pub(super) fn answered(&self) -> usize {
        self.state().operations.iter().filter(|operation| operation.outcome != Outcome::Unknown).count()
    }

    fn is_over(&self) -> bool {
        self.state().is_over
    }

    fn new_client(&self) -> usize {
        let mut state = self.state();
        state.clients += 1;
        state.clients
    }

    pub(super) fn new_value(&self) -> i64 {
        let mut state = self.state();
        state.last_value += 1;
        state.last_value
    }

    pub(super) fn begin(&self, client: usize, key: &str, action: Action) -> usize {
        let mut state = self.state();
        let invoked = state.instant();
        let (key, outcome) = (key.to_owned(), Outcome::Unknown);
        state.operations.push(Operation { client, key, action, invoked, returned: 0, outcome });
        state.operations.len() - 1
    }

    pub(super) fn finish(&self, call: usize, outcome: Outcome) {
        let mut state = self.state();
        let returned = state.instant();
        let can_expire_early = state.can_expire_early;
        let operation = &mut state.operations[call];
        // By whose clock? Until the removal is committed a leader whose clock is behind may see the record again.
        let is_by_clock = can_expire_early && operation.key.starts_with('t') && operation.action == Action::Read;
        let outcome = match outcome {
            Outcome::Ok(Answer::Missing) if is_by_clock => Outcome::Unknown,
            outcome => outcome,
        };
        (operation.returned, operation.outcome) = (returned, outcome);
    }

    /// There was nothing to delete, which tells as much as a read.
    pub(super) fn finish_unneeded(&self, call: usize) {
        self.state().operations[call].action = Action::Read;
        self.finish(call, Outcome::Ok(Answer::Missing));
    }

    /// A record with a lifetime may be gone from some time on: somebody seems to delete it.
    fn expect_expiry(&self, key: &str, value: i64, ttl_ms: u64) {
        let mut state = self.state();
        let earliest_ms = if state.can_expire_early { 0 } else { ttl_ms * 9 / 10 };
        let invoked = (state.now_ms + earliest_ms) * INSTANTS;
        let action = Action::DeleteIf(Expected::Value(value));
        let (key, outcome) = (key.to_owned(), Outcome::Unknown);
        state.operations.push(Operation { client: 0, key, action, invoked, returned: 0, outcome });
    }
}

/// One client.
pub(super) struct Client {
    kv: Arc<Kv>,
    pub(super) id: usize,
    pub(super) dice: Dice,
    pub(super) history: Arc<History>,
    /// A revision that was seen, for conditions.
    seen: Option<(String, u64)>,
    /// A value that both keys of a pair had.
    pub(super) seen_pair: Option<i64>,
}

impl Client {
    pub(super) fn new(kv: Arc<Kv>, dice: Dice, history: Arc<History>) -> Client {
        let id = history.new_client();
        Client { kv, id, dice, history, seen: None, seen_pair: None }
    }

    /// Asks one thing after the other until the history is over.
    pub(super) async fn run(mut self) {
        while !self.history.is_over() {
            self.act().await;
            tokio::time::sleep(Duration::from_millis(2 + self.dice.below(40))).await;
        }
    }

    /// Reads every key as it must be for everybody.
    pub(super) async fn read_all(mut self) {
        for key in KEYS.into_iter().chain(ACCOUNTS) {
            self.read(key, Consistency::Strong).await;
        }
        self.read_pair().await;
    }

    async fn act(&mut self) {
        let key = KEYS[self.dice.below(4) as usize];
        let counter = KEYS[4 + self.dice.below(2) as usize];
        let mortal = KEYS[6 + self.dice.below(2) as usize];
        match self.dice.below(100) {
            0..15 => self.read(key, Consistency::Strong).await,
            15..30 => self.read(key, Consistency::Leader).await,
            30..34 => self.write_pair().await,
            34..38 => self.write_pair_if().await,
            38..44 => self.read_pair().await,
            44..46 => self.delete_pair().await,
            46..50 => self.transfer().await,
            50..60 => self.put(key, Condition::Always, None).await,
            60..65 => self.put(key, Condition::Absent, None).await,
            65..72 => self.put_seen().await,
            72..76 => self.delete(key).await,
            76..80 => self.put_two().await,
            80..88 => self.increment(counter).await,
            88..91 => self.read(counter, Consistency::Leader).await,
            91..95 => {
                let ttl_ms = 100 + self.dice.below(1500);
                self.put(mortal, Condition::Always, Some(ttl_ms)).await;
            }
            _ => self.read(mortal, Consistency::Leader).await,
        }
    }

    async fn read(&mut self, key: &str, level: Consistency) {
        let call = self.history.begin(self.id, key, Action::Read);
        let options = ReadOptions { consistency: Some(level), timeout_ms: Some(TIMEOUT_MS) };
        let (sender, receiver) = oneshot::channel();
        let taken = |record: RecordView<'_>| (decode_value(&record.value), record.revision);
        self.kv.start_read(key.as_bytes(), &options, move |read| {
            let _ = sender.send(read.map(|record| record.map(taken)));
        });
        let outcome = match answer(receiver).await {
            Some(Ok(Some((Ok(Value::Int(value)), revision)))) => {
                self.seen = Some((key.to_owned(), revision));
                Outcome::Ok(Answer::Found { value: value as i64, revision: Some(revision) })
            }
            Some(Ok(Some((value, _)))) => panic!("{key} holds {value:?}, which nobody wrote"),
            Some(Ok(None)) => Outcome::Ok(Answer::Missing),
            Some(Err(_)) => Outcome::Fail,
            None => return,
        };
        self.history.finish(call, outcome);
    }

    async fn put(&mut self, key: &str, condition: Condition<'_>, ttl_ms: Option<u64>) {
        let value = self.history.new_value();
        let action = match condition {
            Condition::Absent => Action::PutNew(value),
            Condition::Revision(revision) => Action::PutIf { expected: Expected::Revision(revision), value },
            _ => Action::Write(value),
        };
        let call = self.history.begin(self.id, key, action);
        if let Some(ttl_ms) = ttl_ms {
            self.history.expect_expiry(key, value, ttl_ms);
        }
        let value = encoded(value);
        let put = Write::Put { key: key.as_bytes(), value: &value, ttl_ms, condition, compress: Compress::Auto };
        let reply = self.write(put).await;
        self.judge(call, reply);
    }

    async fn put_seen(&mut self) {
        if let Some((key, revision)) = self.seen.take() {
            let is_register = key.starts_with('r');
            let key = if is_register { &key } else { KEYS[0] };
            self.put(key, Condition::Revision(revision), None).await;
        }
    }

    async fn delete(&mut self, key: &str) {
        let call = self.history.begin(self.id, key, Action::Delete);
        let reply = self.write(Write::Delete { key: key.as_bytes(), condition: Condition::Always }).await;
        match reply {
            Some(Ok(Reply::Done { revision: 0 })) => self.history.finish_unneeded(call),
            reply => self.judge(call, reply),
        }
    }

    async fn put_two(&mut self) {
        let (one, two) = (self.history.new_value(), self.history.new_value());
        let first = self.dice.below(4) as usize;
        let (a, b) = (KEYS[first], KEYS[(first + 1) % 4]);
        let calls = [(a, one), (b, two)].map(|(key, value)| self.history.begin(self.id, key, Action::Write(value)));
        let (one, two) = (encoded(one), encoded(two));
        let items = [(a.as_bytes(), &one[..], None), (b.as_bytes(), &two[..], None)];
        let reply = self.write(Write::PutMany { items: &items, compress: Compress::Auto }).await;
        let is_done = reply.as_ref().map(|reply| reply.as_ref().map(drop).map_err(Error::kind));
        for call in calls {
            // One revision for both keys, or one each: not a matter of this test.
            match is_done {
                Some(Ok(())) => self.history.finish(call, Outcome::Ok(Answer::DONE)),
                Some(Err(kind)) => self.judge(call, Some(Err(kind.into()))),
                None => {}
            }
        }
    }

    async fn increment(&mut self, key: &str) {
        let call = self.history.begin(self.id, key, Action::Increment(1));
        let reply = self.write(Write::Increment { key: key.as_bytes(), by: 1, initial: 0, ttl_ms: None }).await;
        self.judge(call, reply);
    }

    /// `None` when there was no answer in time.
    pub(super) async fn write(&self, write: Write<'_>) -> Option<Result<Reply>> {
        let (sender, receiver) = oneshot::channel();
        let submitted = self.kv.submit(write, Some(TIMEOUT_MS), move |reply| drop(sender.send(reply)));
        match submitted {
            Ok(()) => answer(receiver).await,
            Err(error) => Some(Err(error)),
        }
    }

    pub(super) fn judge(&self, call: usize, reply: Option<Result<Reply>>) {
        let outcome = match reply {
            Some(Ok(Reply::Integer { value, .. })) => Outcome::Ok(Answer::Sum(value)),
            Some(Ok(Reply::Done { revision })) => Outcome::Ok(Answer::Done { revision: Some(revision) }),
            Some(Ok(reply)) => panic!("an answer to something else: {reply:?}"),
            Some(Err(error)) => match error.kind() {
                ErrorKind::AlreadyExists => Outcome::Ok(Answer::Exists),
                ErrorKind::ConditionFailed => Outcome::Ok(Answer::ConditionFailed),
                ErrorKind::NotFound => Outcome::Ok(Answer::Missing),
                ErrorKind::UnknownOutcome => return,
                ErrorKind::ClusterNotReady | ErrorKind::Timeout | ErrorKind::Closed => Outcome::Fail,
                kind => panic!("a write failed with {kind:?}: {error}"),
            },
            None => return,
        };
        self.history.finish(call, outcome);
    }
}

pub(super) fn encoded(value: i64) -> Vec<u8> {
    encode_value(&Value::from(value)).unwrap()
}

/// `None` when there is none in time, or never will be.
async fn answer<T>(receiver: oneshot::Receiver<T>) -> Option<T> {
    let patience = Duration::from_millis(TIMEOUT_MS + 500);
    tokio::time::timeout(patience, receiver).await.ok()?.ok()
}
