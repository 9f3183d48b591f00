//! The state machine agrees with a simple model over a million random operations.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::{Outcome, SnapshotHeader, StateMachine, View, load_snapshot};
use crate::encoding::command::{COMMANDS_VERSION, put_command};
use crate::encoding::wire::WireReader;
use crate::encoding::{decode_value, encode_value, stored};
use crate::error::ErrorKind;
use crate::model::{Command, Condition, Operation, PutItem, Reply, Value};

/// A record of the model: value, revision, deadline.
type ModelRecord = (Value, u64, Option<u64>);

/// What the state machine promises, in the plainest words.
#[derive(Clone, Default)]
struct Model {
    records: BTreeMap<Vec<u8>, ModelRecord>,
    revision: u64,
    time_ms: u64,
}

impl Model {
    fn live(&self, key: &[u8]) -> Option<&ModelRecord> {
        self.records
            .get(key)
            .filter(|(_, _, deadline_ms)| deadline_ms.is_none_or(|deadline_ms| deadline_ms > self.time_ms))
    }

    fn visible(&self) -> BTreeMap<Vec<u8>, ModelRecord> {
        let live = self.records.iter().filter(|(key, _)| self.live(key).is_some());
        live.map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    fn check(&self, key: &[u8], condition: Condition<'_>) -> Result<(), ErrorKind> {
        match (condition, self.live(key)) {
            (Condition::Always, _) | (Condition::Absent, None) => Ok(()),
            (Condition::Absent, Some(_)) => Err(ErrorKind::AlreadyExists),
            (_, None) => Err(ErrorKind::NotFound),
            (Condition::Revision(wanted), Some((_, revision, _))) if *revision == wanted => Ok(()),
            (Condition::Expected(wanted), Some((value, _, _))) if decode_value(wanted).unwrap() == *value => Ok(()),
            _ => Err(ErrorKind::ConditionFailed),
        }
    }

    fn apply(&mut self, command: &Command<'_>) -> Outcome {
        self.time_ms = self.time_ms.max(command.stamp_ms);
        let next = self.revision + 1;
        let put = |item: &PutItem<'_>| {
            let value = decode_value(&stored::open(item.stored).unwrap()).unwrap();
            (item.key.to_vec(), (value, next, item.deadline_ms))
        };
        match &command.operation {
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
                self.touch(key, *deadline_ms, next).then_some(()).ok_or(ErrorKind::NotFound)?;
                self.done(true)
            }
            Operation::Increment { key, by, initial, deadline_ms } => {
                let (current, deadline_ms) = match self.live(key) {
                    None => (i128::from(*initial), *deadline_ms),
                    Some((Value::Int(integer), _, deadline_ms)) => (*integer, *deadline_ms),
                    Some(_) => return Err(ErrorKind::NotAnInteger),
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
                    items.iter().map(|(key, deadline_ms)| self.touch(key, *deadline_ms, next)).collect();
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
    fn next(&mut self) -> u64 {
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

/// Builds random commands; keeps the bytes that they borrow.
pub(super) struct Generator {
    random: Random,
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
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
            2 => Condition::Expected(&this.values[(c >> 8) as usize % this.values.len()]),
            _ => Condition::Always,
        };
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
            _ => Operation::Expire { up_to_ms: stamp_ms - 500 + b % 1_000 },
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

/// Compares record by record, so that a failure names the one that differs.
fn assert_same(view: &View, model: &Model, when: &str) {
    let (content, expected) = (content_of(view), expected_of(model));
    assert!(content.keys().eq(expected.keys()), "{when}: other keys than in the model of revision {}", model.revision);
    for (key, record) in &expected {
        assert_eq!(content.get(key), Some(record), "{when}: key {}", String::from_utf8_lossy(key));
    }
}

fn copy_by_snapshot(machine: &StateMachine) -> StateMachine {
    let view = machine.view(0);
    let mut header = Vec::new();
    view.snapshot_header(machine).encode(&mut header);
    let mut blocks = Vec::new();
    view.write_snapshot(|block| {
        blocks.push(block.to_vec());
        Ok(())
    })
    .unwrap();
    let copy = StateMachine::new();
    let header = SnapshotHeader::decode(&mut WireReader::new(&header)).unwrap();
    let mut blocks = blocks.into_iter();
    load_snapshot(&copy, header, || Ok(blocks.next())).unwrap();
    copy
}

#[test]
fn a_million_random_operations_agree_with_the_model() {
    let seed = std::env::var("CONCORD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("CONCORD_SEED={seed}");
    let mut generator = Generator::new(seed);
    let machine = StateMachine::new();
    // A replica that was restarted from snapshots now and then, and otherwise replays the same log.
    let mut replica = StateMachine::new();
    let mut model = Model::default();
    let mut views: Vec<(View, Model)> = Vec::new();
    let mut payload = Vec::new();
    for step in 0..1_000_000u32 {
        payload.clear();
        payload.push(COMMANDS_VERSION);
        let command = generator.command();
        put_command(&mut payload, &command);
        let expected = model.apply(&command);
        let mut outcome = None;
        machine.apply(&payload, |result| outcome = Some(result)).unwrap();
        assert_eq!(outcome, Some(expected), "step {step} of seed {seed}: {command:?}");
        replica.apply(&payload, |_| {}).unwrap();

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
            replica = copy_by_snapshot(&replica);
            assert_eq!(replica.digest().unwrap(), machine.digest().unwrap(), "step {step} of seed {seed}");
        }
    }
    drop(views);
    assert_eq!(replica.digest().unwrap(), machine.digest().unwrap());
    let sample = generator.keys.iter().filter(|key| model.live(key).is_some());
    for key in sample {
        let read = machine.read(key, || model.time_ms, |record| (record.revision, record.ttl_ms)).unwrap();
        let (_, revision, deadline_ms) = model.live(key).unwrap();
        assert_eq!(read, Some((*revision, deadline_ms.map(|deadline_ms| deadline_ms - model.time_ms))));
    }
}
