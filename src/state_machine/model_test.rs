//! The state machine agrees with a simple model over a million random operations.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::{Applied, Outcome, SnapshotHeader, StateMachine, View, load_snapshot};
use crate::encoding::batch::{UNSTAMPED_VERSION, put_batch_header, stamp_batch};
use crate::encoding::command::{Commands, put_command};
use crate::encoding::wire::WireReader;
use crate::encoding::{decode_value, encode_value, stored};
use crate::error::ErrorKind;
use crate::limits::SESSION_BATCHES_MAX;
use crate::model::{
    Command, Condition, NewTokenItem, Operation, PutItem, Reply, Scopes, Selector, StepItem, TokenId, Value,
};

/// A record of the model: value, revision, deadline.
pub(super) type ModelRecord = (Value, u64, Option<u64>);

/// What the state machine promises, in the plainest words.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) records: BTreeMap<Vec<u8>, ModelRecord>,
    pub(super) revision: u64,
    pub(super) time_ms: u64,
    sessions: BTreeMap<u64, ModelSession>,
    tokens: BTreeMap<TokenId, ModelToken>,
    pub(super) receipts: BTreeMap<(Option<TokenId>, Vec<u8>), ModelReceipt>,
}

/// When a transaction with a name was done, what it was, and what it was told.
pub(super) type ModelReceipt = (u64, String, Outcome);

/// When a token ends, was made, and was last used.
type ModelToken = (Option<u64>, u64, Option<u64>);

/// What a session's owner has acknowledged, and what every batch since was told.
#[derive(Clone, Default)]
struct ModelSession {
    floor: u64,
    told: BTreeMap<u64, Vec<Outcome>>,
}

impl Model {
    pub(super) fn apply_batch(&mut self, payload: &[u8]) -> (Applied, Vec<Outcome>) {
        let commands = Commands::of(payload).unwrap();
        let header = commands.header();
        if header.session != 0 {
            let Some(session) = self.sessions.get_mut(&header.session) else {
                return (Applied::UnknownSession, Vec::new());
            };
            session.floor = session.floor.max(header.acknowledged_below);
            session.told = session.told.split_off(&session.floor);
            if header.sequence < session.floor {
                return (Applied::Stale, Vec::new());
            }
            if let Some(told) = session.told.get(&header.sequence) {
                return (Applied::Done, told.clone());
            }
            if session.told.len() >= SESSION_BATCHES_MAX {
                return (Applied::Refused, Vec::new());
            }
        }
        let told: Vec<_> = commands.map(|command| self.apply(&command.unwrap(), header.stamp_ms, None)).collect();
        if let Some(session) = self.sessions.get_mut(&header.session) {
            session.told.insert(header.sequence, told.clone());
        }
        (Applied::Done, told)
    }

    pub(super) fn live(&self, key: &[u8]) -> Option<&ModelRecord> {
        self.records
            .get(key)
            .filter(|(_, _, deadline_ms)| deadline_ms.is_none_or(|deadline_ms| deadline_ms > self.time_ms))
    }

    fn visible(&self) -> BTreeMap<Vec<u8>, ModelRecord> {
        let live = self.records.iter().filter(|(key, _)| self.live(key).is_some());
        live.map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    pub(super) fn check(&self, key: &[u8], condition: Condition<'_>) -> Result<(), ErrorKind> {
        match (condition, self.live(key)) {
            (Condition::Always, _) | (Condition::Absent, None) => Ok(()),
            (Condition::Absent, Some(_)) => Err(ErrorKind::AlreadyExists),
            (_, None) => Err(ErrorKind::NotFound),
            (Condition::Present, Some(_)) => Ok(()),
            (Condition::Revision(wanted), Some((_, revision, _))) if *revision == wanted => Ok(()),
            (Condition::Where("revision >= 100"), Some((_, revision, _))) if *revision >= 100 => Ok(()),
            (Condition::Expected(wanted), Some((value, _, _))) if decode_value(wanted).unwrap() == *value => Ok(()),
            _ => Err(ErrorKind::ConditionFailed),
        }
    }

    pub(super) fn apply(&mut self, command: &Command<'_>, leader_ms: Option<u64>, owner: Option<TokenId>) -> Outcome {
        self.time_ms = self.time_ms.max(leader_ms.unwrap_or(command.stamp_ms));
        let (next, time_ms) = (self.revision + 1, self.time_ms);
        let deadline = |deadline_ms: u64| match leader_ms {
            Some(_) => time_ms + (deadline_ms - command.stamp_ms),
            None => deadline_ms,
        };
        let put = |item: &PutItem<'_>| {
            let value = decode_value(&stored::open(item.stored).unwrap()).unwrap();
            (item.key.to_vec(), (value, next, item.deadline_ms.map(deadline)))
        };
        match &command.operation {
            Operation::Authorised { token, operation } => {
                let is_valid = |(ends_ms, ..): &ModelToken| ends_ms.is_none_or(|ends_ms| ends_ms > time_ms);
                if !self.tokens.get(token).is_some_and(is_valid) {
                    return Err(ErrorKind::Unauthorized.into());
                }
                let command = Command { stamp_ms: command.stamp_ms, operation: (**operation).clone() };
                self.apply(&command, leader_ms, Some(*token))
            }
            Operation::CreateToken(item) => {
                let id = TokenId::of(&item.hash);
                if self.tokens.contains_key(&id) {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                self.tokens.insert(id, (item.deadline_ms.map(deadline), time_ms, None));
                Ok(Reply::Done { revision: 0 })
            }
            Operation::RevokeToken(token) => {
                self.tokens.remove(token).ok_or(ErrorKind::NotFound)?;
                Ok(Reply::Done { revision: 0 })
            }
            // Theirs are in `consumers`.
            Operation::CreateConsumer(_) | Operation::AcknowledgeConsumer { .. } | Operation::DeleteConsumer { .. } => {
                unreachable!("the generator makes none")
            }
            Operation::NoteTokenUse { token, used_ms } => {
                let (_, _, noted_ms) = self.tokens.get_mut(token).ok_or(ErrorKind::NotFound)?;
                *noted_ms = (*noted_ms).max(Some(time_ms.min(*used_ms)));
                Ok(Reply::Done { revision: 0 })
            }
            Operation::Put { item, condition } => {
                self.check(item.key, *condition)?;
                self.records.extend([put(item)]);
                self.done(true)
            }
            Operation::Delete { key, condition } => {
                self.check(key, *condition)?;
                let existed = self.live(key).is_some();
                if existed {
                    self.records.remove(*key);
                }
                self.done(existed)
            }
            Operation::Touch { key, deadline_ms } => {
                self.touch(key, deadline(*deadline_ms), next).then_some(()).ok_or(ErrorKind::NotFound)?;
                self.done(true)
            }
            Operation::Increment { key, by, initial, deadline_ms } => {
                let (current, deadline_ms) = match self.live(key) {
                    None => (i128::from(*initial), deadline_ms.map(deadline)),
                    Some((Value::Int(integer), _, deadline_ms)) => (*integer, *deadline_ms),
                    Some(_) => return Err(ErrorKind::NotAnInteger.into()),
                };
                let sum = i64::try_from(current + i128::from(*by)).map_err(|_| ErrorKind::ValueTooLarge)?;
                self.records.insert(key.to_vec(), (Value::from(sum), next, deadline_ms));
                self.revision = next;
                Ok(Reply::Integer { value: sum, revision: next })
            }
            Operation::PutMany(items) => {
                self.records.extend(items.iter().map(put));
                self.done(!items.is_empty())
            }
            Operation::DeleteMany(keys) => {
                let mut changed = false;
                for key in keys {
                    if self.live(key).is_some() {
                        self.records.remove(*key);
                        changed = true;
                    }
                }
                self.done(changed)
            }
            Operation::TouchMany(items) => {
                let found: Vec<bool> =
                    items.iter().map(|(key, deadline_ms)| self.touch(key, deadline(*deadline_ms), next)).collect();
                self.revision = if found.contains(&true) { next } else { self.revision };
                Ok(Reply::Touched { found })
            }
            Operation::Expire { up_to_ms } => {
                let up_to_ms = self.time_ms.min(*up_to_ms);
                let before = self.records.len();
                self.records
                    .retain(|_, (_, _, deadline_ms)| deadline_ms.is_none_or(|deadline_ms| deadline_ms > up_to_ms));
                self.done(self.records.len() != before)
            }
            Operation::DeleteWhere(selector) => {
                let prefix = selector.prefix.unwrap_or_default();
                let visible = self.visible().into_keys().filter(|key| key.starts_with(prefix));
                let limit = selector.limit.map_or(usize::MAX, |limit| limit as usize);
                let gone: Vec<_> = visible.take(limit).collect();
                gone.iter().for_each(|key| drop(self.records.remove(key)));
                self.revision = if gone.is_empty() { self.revision } else { next };
                let revision = if gone.is_empty() { 0 } else { next };
                Ok(Reply::Integer { value: gone.len() as i64, revision })
            }
            Operation::Transact(transaction) => self.transact(transaction, command.stamp_ms, leader_ms, owner),
            Operation::CreateIndex { .. } | Operation::DropIndex(_) | Operation::RebuildIndex(_) => {
                Ok(Reply::Done { revision: 0 })
            }
            Operation::OpenSession => {
                let id = self.sessions.len() as u64 + 1;
                self.sessions.insert(id, ModelSession::default());
                Ok(Reply::Done { revision: id })
            }
        }
    }

    fn touch(&mut self, key: &[u8], deadline_ms: u64, revision: u64) -> bool {
        let Some((value, _, _)) = self.live(key).cloned() else { return false };
        self.records.insert(key.to_vec(), (value, revision, Some(deadline_ms)));
        true
    }

    fn done(&mut self, changed: bool) -> Outcome {
        self.revision += u64::from(changed);
        Ok(Reply::Done { revision: if changed { self.revision } else { 0 } })
    }
}

/// Small, fast and seeded (splitmix64), so that a failure can be repeated from the printed seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How many tokens there are at most.
const TOKENS: u64 = 20;

/// Builds random commands; keeps the bytes that they borrow.
pub(super) struct Generator {
    pub(super) random: Random,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) values: Vec<Vec<u8>>,
    pub(super) sealed: Vec<Vec<u8>>,
    now_ms: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Generator {
        let values: Vec<Value> =
            vec![1.into(), 2.into(), "text".into(), Value::Null, i64::MAX.into(), "x".repeat(3000).into()];
        let values: Vec<Vec<u8>> = values.iter().map(|value| encode_value(value).unwrap()).collect();
        let sealed = values.iter().map(|value| stored::seal(value, Default::default(), &Default::default())).collect();
        let keys = (0..200).map(|number| format!("key:{:03}", number * 7 % 200).into_bytes()).collect();
        Generator { random: Random(seed), keys, values, sealed, now_ms: 1_000_000 }
    }

    pub(super) fn command(&mut self) -> Command<'_> {
        // Time mostly goes on, sometimes stands still, and sometimes a late stamp goes back.
        self.now_ms += self.random.below(40);
        let stamp_ms = self.now_ms - if self.random.below(20) == 0 { self.random.below(2_000) } else { 0 };
        let (kind, a, b, c) = (self.random.below(100), self.random.next(), self.random.next(), self.random.next());
        let revision = self.random.below(50);
        let this = &*self;
        let key = |n: u64| this.keys[n as usize % this.keys.len()].as_slice();
        let deadline = |n: u64| n.is_multiple_of(3).then_some(stamp_ms + 1 + n / 3 % 5_000);
        let item = |n: u64| PutItem {
            key: key(n),
            stored: &this.sealed[(n >> 16) as usize % this.sealed.len()],
            deadline_ms: deadline(n >> 32),
        };
        let condition = match c % 8 {
            0 => Condition::Absent,
            1 => Condition::Revision(c >> 8 & 0xff | revision),
            3 => Condition::Where("revision >= 100"),
            4 => Condition::Present,
            2 => Condition::Expected(&this.values[(c >> 8) as usize % this.values.len()]),
            _ => Condition::Always,
        };
        let token = TokenId::of(&[(a % TOKENS) as u8; 32]);
        let operation = match kind {
            0..40 => Operation::Put { item: item(a), condition },
            40..55 => Operation::Delete { key: key(a), condition },
            55..65 => Operation::Touch { key: key(a), deadline_ms: stamp_ms + 1 + b % 5_000 },
            65..80 => {
                let by = if b % 16 == 0 { i64::MAX } else { b as i8 as i64 };
                Operation::Increment { key: key(a), by, initial: c as i8 as i64, deadline_ms: deadline(c >> 8) }
            }
            80..87 => Operation::PutMany((0..a % 8).map(|n| item(b.rotate_left(n as u32 * 7))).collect()),
            87..92 => Operation::DeleteMany((0..a % 8).map(|n| key(b >> (n * 3))).collect()),
            92..96 => Operation::TouchMany((0..a % 8).map(|n| (key(b >> (n * 3)), stamp_ms + 1 + c % 9_000)).collect()),
            96 => {
                let prefix = key(a);
                let prefix = &prefix[..prefix.len() - b as usize % 2];
                let limit = (c % 2 == 0).then_some(c >> 8 & 3);
                Operation::DeleteWhere(Selector { prefix: Some(prefix), limit, ..Selector::default() })
            }
            97 => Operation::Expire { up_to_ms: stamp_ms - 500 + b % 1_000 },
            98 => Operation::Transact(this.transaction(&mut Random(a), stamp_ms)),
            _ => match c % 4 {
                0 | 1 => Operation::CreateToken(NewTokenItem {
                    hash: [(a % TOKENS) as u8; 32],
                    name: "of a model",
                    scopes: Scopes { read: true, ..Scopes::default() },
                    key_prefixes: vec![key(b)],
                    deadline_ms: deadline(c >> 8),
                }),
                2 => Operation::RevokeToken(token),
                _ => Operation::NoteTokenUse { token, used_ms: stamp_ms - 500 + b % 1_000 },
            },
        };
        let operation = match b >> 32 & 7 {
            0 => Operation::Authorised { token, operation: Box::new(operation) },
            _ => operation,
        };
        Command { stamp_ms, operation }
    }
}

fn content_of(view: &View) -> BTreeMap<Vec<u8>, (Value, u64)> {
    let mut content = BTreeMap::new();
    view.scan((Bound::Unbounded, Bound::Unbounded), |key, record| {
        content.insert(key.to_vec(), (decode_value(&record.value).unwrap(), record.revision));
        ControlFlow::Continue(())
    })
    .unwrap();
    content
}

fn expected_of(model: &Model) -> BTreeMap<Vec<u8>, (Value, u64)> {
    model.visible().into_iter().map(|(key, (value, revision, _))| (key, (value, revision))).collect()
}

fn tokens_of(machine: &StateMachine) -> BTreeMap<TokenId, ModelToken> {
    let tokens = machine.tokens().all().into_iter();
    tokens.map(|token| (token.id(), (token.expires_ms(), token.created_ms(), token.noted_ms()))).collect()
}

/// Compares record by record, so that a failure names the one that differs.
pub(super) fn assert_same(view: &View, model: &Model, when: &str) {
    let (content, expected) = (content_of(view), expected_of(model));
    assert!(content.keys().eq(expected.keys()), "{when}: other keys than in the model of revision {}", model.revision);
    for (key, record) in &expected {
        assert_eq!(content.get(key), Some(record), "{when}: key {}", String::from_utf8_lossy(key));
    }
}

pub(super) fn copy_by_snapshot(machine: &StateMachine) -> StateMachine {
    let snapshot = machine.pin_snapshot();
    let mut header = Vec::new();
    snapshot.header().encode(&mut header);
    let mut blocks = Vec::new();
    let keep = |block: &[u8]| {
        blocks.push(block.to_vec());
        Ok(())
    };
    snapshot.write(keep).unwrap();
    let copy = StateMachine::new();
    let header = SnapshotHeader::decode(&mut WireReader::new(&header)).unwrap();
    let mut blocks = blocks.into_iter();
    load_snapshot(&copy, header, || Ok(blocks.next())).unwrap();
    copy
}

/// Printed, so that a failure can be repeated with it.
pub(super) fn seed() -> u64 {
    let seed = std::env::var("CONCORD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("CONCORD_SEED={seed}");
    seed
}

/// The same command, accepted by a service whose clock is wrong.
fn accepted_by_wrong_clock(mut command: Command<'_>, skew_ms: i64) -> Command<'_> {
    skew(&mut command.operation, skew_ms);
    command.stamp_ms = command.stamp_ms.saturating_add_signed(skew_ms);
    command
}

fn skew(operation: &mut Operation<'_>, skew_ms: i64) {
    let shift = |time_ms: &mut u64| *time_ms = time_ms.saturating_add_signed(skew_ms);
    match operation {
        Operation::Put { item, .. } => item.deadline_ms.iter_mut().for_each(shift),
        Operation::Touch { deadline_ms, .. } => shift(deadline_ms),
        Operation::Increment { deadline_ms, .. } => deadline_ms.iter_mut().for_each(shift),
        Operation::PutMany(items) => items.iter_mut().filter_map(|item| item.deadline_ms.as_mut()).for_each(shift),
        Operation::TouchMany(items) => items.iter_mut().for_each(|(_, deadline_ms)| shift(deadline_ms)),
        Operation::Expire { up_to_ms } => shift(up_to_ms),
        Operation::CreateToken(item) => item.deadline_ms.iter_mut().for_each(shift),
        Operation::NoteTokenUse { used_ms, .. } => shift(used_ms),
        Operation::Transact(transaction) => {
            for step in transaction.then.iter_mut().chain(&mut transaction.otherwise) {
                match step {
                    StepItem::Put(PutItem { deadline_ms, .. }) | StepItem::Increment { deadline_ms, .. } => {
                        deadline_ms.iter_mut().for_each(shift);
                    }
                    StepItem::Touch { deadline_ms, .. } => shift(deadline_ms),
                    StepItem::Delete(_) | StepItem::Get(_) => {}
                }
            }
        }
        Operation::Authorised { operation, .. } => skew(operation, skew_ms),
        Operation::CreateConsumer(_)
        | Operation::AcknowledgeConsumer { .. }
        | Operation::DeleteConsumer { .. }
        | Operation::Delete { .. }
        | Operation::DeleteMany(_)
        | Operation::DeleteWhere(_)
        | Operation::OpenSession
        | Operation::CreateIndex { .. }
        | Operation::DropIndex(_)
        | Operation::RebuildIndex(_)
        | Operation::RevokeToken(_) => {}
    }
}

/// Makes batches as the nodes of a cluster do, each with its own wrong clock and session, and loses, delays
/// and repeats them on the way to the leader.
struct Senders {
    random: Random,
    /// Next number and acknowledged bound of each session.
    numbers: Vec<(u64, u64)>,
    /// Batches that may still arrive, again or for the first time.
    under_way: Vec<Vec<u8>>,
}

impl Senders {
    fn new(seed: u64) -> Senders {
        Senders { random: Random(seed), numbers: Vec::new(), under_way: Vec::new() }
    }

    /// What the leader appends next.
    fn next(&mut self, generator: &mut Generator) -> Vec<u8> {
        let mut payload = match self.random.below(10) {
            0..3 => {
                let mut payload = vec![UNSTAMPED_VERSION];
                put_command(&mut payload, &generator.command());
                payload
            }
            3..5 => self.collect(generator, 0, 0, 0),
            5 if self.numbers.len() < 20 && self.random.below(50) == 0 => {
                self.numbers.push((0, 0));
                let mut payload = Vec::new();
                put_batch_header(&mut payload, 0, 0, 0);
                put_command(&mut payload, &Command { stamp_ms: 0, operation: Operation::OpenSession });
                payload
            }
            5..8 => self.send(generator),
            _ if self.under_way.is_empty() || self.random.below(50) == 0 => self.collect(generator, 77, 1, 0),
            _ => {
                let chosen = self.random.below(self.under_way.len() as u64) as usize;
                match self.random.below(3) {
                    0 => self.under_way.swap_remove(chosen),
                    _ => self.under_way[chosen].clone(),
                }
            }
        };
        let late_ms = if self.random.below(20) == 0 { self.random.below(2_000) } else { 0 };
        stamp_batch(&mut payload, generator.now_ms - late_ms);
        payload
    }

    /// A new batch of a session, which arrives at once or later, and acknowledges some of those before it.
    fn send(&mut self, generator: &mut Generator) -> Vec<u8> {
        let Some(chosen) = (!self.numbers.is_empty()).then(|| self.random.below(self.numbers.len() as u64)) else {
            return self.collect(generator, 0, 0, 0);
        };
        let (next, acknowledged) = self.numbers[chosen as usize];
        // Some sessions acknowledge so late that they are refused.
        let acknowledges = self.random.below(if chosen % 4 == 0 { 100 } else { 10 }) == 0;
        let acknowledged =
            if acknowledges { next.saturating_sub(self.random.below(8)).max(acknowledged) } else { acknowledged };
        self.numbers[chosen as usize] = (next + 1, acknowledged);
        let payload = self.collect(generator, chosen + 1, next, acknowledged);
        self.under_way.push(payload.clone());
        if self.under_way.len() > 100 { self.under_way.swap_remove(0) } else { payload }
    }

    fn collect(&mut self, generator: &mut Generator, session: u64, sequence: u64, acknowledged: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        put_batch_header(&mut payload, session, sequence, acknowledged);
        let skew_ms = [0, -900_000, 7, 3_600_000_000][session as usize % 4];
        for _ in 0..1 + self.random.below(2) {
            put_command(&mut payload, &accepted_by_wrong_clock(generator.command(), skew_ms));
        }
        payload
    }
}

#[test]
fn a_million_random_operations_agree_with_the_model() {
    let seed = seed();
    let mut generator = Generator::new(seed);
    let mut senders = Senders::new(seed ^ 1);
    let machine = StateMachine::new();
    // A replica that was restarted from snapshots now and then, and otherwise replays the same log.
    let mut replica = StateMachine::new();
    let mut model = Model::default();
    let mut views: Vec<(View, Model)> = Vec::new();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for step in 0..800_000u32 {
        let payload = senders.next(&mut generator);
        let expected = model.apply_batch(&payload);
        let mut outcomes = Vec::new();
        let applied = machine.apply(&payload, |outcome| outcomes.push(outcome)).unwrap();
        let commands = || Commands::of(&payload).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!((applied, outcomes), expected, "step {step} of seed {seed}: {:?}", commands());
        replica.apply(&payload, |_| {}).unwrap();
        *seen.entry(format!("{applied:?}")).or_default() += 1;

        if step % 500 == 0 {
            views.push((machine.view(model.time_ms), model.clone()));
        }
        if step % 1_700 == 0 && !views.is_empty() {
            let chosen = generator.random.below(views.len() as u64) as usize;
            let (view, then) = views.swap_remove(chosen);
            assert_same(&view, &then, &format!("a view at step {step} of seed {seed}"));
            views.truncate(8);
        }
        if step % 50_000 == 0 {
            assert_same(&machine.view(model.time_ms), &model, &format!("step {step} of seed {seed}"));
            assert_eq!(machine.len(), model.records.len() as u64);
            assert_eq!(tokens_of(&machine), model.tokens, "step {step} of seed {seed}");
            replica = copy_by_snapshot(&replica);
            assert_eq!(replica.digest().unwrap(), machine.digest().unwrap(), "step {step} of seed {seed}");
        }
    }
    drop(views);
    assert!(seen.len() == 4 && seen.values().all(|count| *count > 1_000), "{seen:?}");
    assert_eq!(replica.digest().unwrap(), machine.digest().unwrap());
    let sample = generator.keys.iter().filter(|key| model.live(key).is_some());
    for key in sample {
        let read = machine.read(key, || model.time_ms, |record| (record.revision, record.ttl_ms)).unwrap();
        let (_, revision, deadline_ms) = model.live(key).unwrap();
        assert_eq!(read, Some((*revision, deadline_ms.map(|deadline_ms| deadline_ms - model.time_ms))));
    }
}
