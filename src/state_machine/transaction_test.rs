//! Transactions agree with a naive evaluation: one command after the other on a copy, which is kept when all could be done.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::model_test::{Generator, Model, Random, assert_same, copy_by_snapshot, seed};
use super::sessions::{Place, Refusal};
use super::{Outcome, StateMachine};
use crate::encoding::batch::{put_batch_header, stamp_batch};
use crate::encoding::command::{Commands, put_command};
use crate::encoding::encode_value;
use crate::error::ErrorKind;
use crate::limits::{RECEIPT_MS, TXN_ANSWER_BYTES_MAX};
use crate::model::{Command, Compare, Condition, Operation, PutItem, RecordView, Reply};
use crate::model::{StepItem, StepReply, TokenId, TransactionItem, TransactionReply};

impl Model {
    pub(super) fn transact(
        &mut self,
        transaction: &TransactionItem<'_>,
        stamp_ms: u64,
        leader_ms: Option<u64>,
        owner: Option<TokenId>,
    ) -> Outcome {
        let name = (owner, transaction.idempotency_key.to_vec());
        let what = format!("{:?}", timeless(transaction, leader_ms.map_or(0, |_| stamp_ms)));
        let is_named = !transaction.idempotency_key.is_empty();
        if let Some((made_ms, before, told)) = self.receipts.get(&name).filter(|_| is_named)
            && made_ms + RECEIPT_MS > self.time_ms
        {
            let other = Refusal { kind: ErrorKind::AlreadyExists, place: Place::IdempotencyKey };
            return if *before == what { told.clone() } else { Err(other) };
        }
        let told = self.do_branch(transaction, stamp_ms, leader_ms);
        if is_named && told.is_ok() {
            self.receipts.insert(name, (self.time_ms, what, told.clone()));
        }
        told
    }

    fn do_branch(&mut self, transaction: &TransactionItem<'_>, stamp_ms: u64, leader_ms: Option<u64>) -> Outcome {
        let mut succeeded = true;
        for (at, compare) in transaction.compares.iter().enumerate() {
            if !succeeded {
                break;
            }
            succeeded = match compare.condition {
                Condition::Where("value ==") if self.live(compare.key).is_some() => {
                    return Err(Refusal { kind: ErrorKind::InvalidCondition, place: Place::Compare(at) });
                }
                condition => self.check(compare.key, condition).is_ok(),
            };
        }
        let branch = if succeeded { &transaction.then } else { &transaction.otherwise };
        let mut copy = self.clone();
        let (mut results, mut changed, mut answer_bytes) = (Vec::new(), false, 0);
        for (at, step) in branch.iter().enumerate() {
            // Each is one command that begins where the whole begins, so that all have one revision.
            copy.revision = self.revision;
            let place = if succeeded { Place::Then(at) } else { Place::Otherwise(at) };
            let refused = |kind| Err(Refusal { kind, place });
            let operation = match *step {
                StepItem::Put(item) => Operation::Put { item, condition: Condition::Always },
                StepItem::Delete(key) => Operation::Delete { key, condition: Condition::Always },
                StepItem::Touch { key, deadline_ms } => Operation::Touch { key, deadline_ms },
                StepItem::Increment { key, by, initial, deadline_ms } => {
                    Operation::Increment { key, by, initial, deadline_ms }
                }
                StepItem::Get(key) => {
                    let record = copy.live(key).map(|(value, revision, deadline_ms)| RecordView {
                        value: Cow::Owned(encode_value(value).unwrap()),
                        revision: *revision,
                        ttl_ms: deadline_ms.map(|deadline_ms| deadline_ms - self.time_ms),
                    });
                    // The bound takes an integer that is to be written for as long as one can be.
                    let is_sum =
                        |step: &StepItem<'_>| matches!(step, StepItem::Increment { key: other, .. } if *other == key);
                    answer_bytes += match &record {
                        Some(_) if branch[..at].iter().any(is_sum) => 9,
                        record => record.as_ref().map_or(0, |record| record.value.len()),
                    };
                    if answer_bytes > TXN_ANSWER_BYTES_MAX {
                        return refused(ErrorKind::ValueTooLarge);
                    }
                    results.push(StepReply::Record(record));
                    continue;
                }
            };
            match copy.apply(&Command { stamp_ms, operation }, leader_ms, None) {
                Ok(Reply::Integer { value, .. }) => results.push(StepReply::Integer(value)),
                Ok(_) => results.push(StepReply::Done),
                Err(refusal) => return refused(refusal.kind),
            }
            changed |= copy.revision > self.revision;
        }
        let revision = if changed { self.revision + 1 } else { 0 };
        copy.revision = self.revision + u64::from(changed);
        *self = copy;
        Ok(Reply::Transaction(TransactionReply { succeeded, revision, results }))
    }
}

/// Lifetimes instead of deadlines, which count from this time.
fn timeless<'a>(transaction: &TransactionItem<'a>, stamp_ms: u64) -> TransactionItem<'a> {
    let mut timeless = transaction.clone();
    for step in timeless.then.iter_mut().chain(&mut timeless.otherwise) {
        match step {
            StepItem::Put(PutItem { deadline_ms, .. }) | StepItem::Increment { deadline_ms, .. } => {
                *deadline_ms = deadline_ms.map(|deadline_ms| deadline_ms - stamp_ms);
            }
            StepItem::Touch { deadline_ms, .. } => *deadline_ms -= stamp_ms,
            StepItem::Delete(_) | StepItem::Get(_) => {}
        }
    }
    timeless
}

const NAMES: [&[u8]; 12] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j", b"k", b"l"];

impl Generator {
    /// A transaction; those of one name are mostly the same one.
    pub(super) fn transaction(&self, random: &mut Random, stamp_ms: u64) -> TransactionItem<'_> {
        self.transaction_over(random, stamp_ms, self.keys.len() as u64)
    }

    /// The same over the first so many keys.
    fn transaction_over(&self, random: &mut Random, stamp_ms: u64, keys: u64) -> TransactionItem<'_> {
        let name = if random.below(3) == 0 { random.below(NAMES.len() as u64) as usize } else { NAMES.len() };
        let mut of_name = Random(name as u64 + 77 * random.below(8).saturating_sub(6));
        let random = if name < NAMES.len() { &mut of_name } else { random };
        let idempotency_key = NAMES.get(name).copied().unwrap_or_default();
        let compares = (0..random.below(3)).map(|_| self.compare(random, keys)).collect();
        let then = self.branch(random, stamp_ms, keys);
        TransactionItem { idempotency_key, compares, then, otherwise: self.branch(random, stamp_ms, keys) }
    }

    fn compare(&self, random: &mut Random, keys: u64) -> Compare<'_> {
        let key = &self.keys[random.below(keys) as usize];
        let condition = match random.below(12) {
            0..3 => Condition::Present,
            3..5 => Condition::Absent,
            5..7 => Condition::Where("revision >= 100"),
            7 => Condition::Revision(random.below(5_000)),
            8 if random.below(8) == 0 => Condition::Where("value =="),
            _ => Condition::Expected(&self.values[random.below(self.values.len() as u64) as usize]),
        };
        Compare { key, condition }
    }

    fn branch(&self, random: &mut Random, stamp_ms: u64, keys: u64) -> Vec<StepItem<'_>> {
        if random.below(200) == 0 {
            // Many reads, which may be too much.
            return (0..60).map(|_| StepItem::Get(&self.keys[random.below(keys.min(3)) as usize])).collect();
        }
        let mut steps: Vec<StepItem<'_>> = Vec::new();
        for _ in 0..random.below(6) {
            let key = self.keys[random.below(keys) as usize].as_slice();
            let deadline_ms = (random.below(3) == 0).then(|| stamp_ms + 1 + random.below(5_000));
            let stored = &self.sealed[random.below(self.sealed.len() as u64) as usize];
            let by = if random.below(16) == 0 { i64::MAX } else { random.next() as i8 as i64 };
            let step = match random.below(10) {
                0..4 => StepItem::Put(PutItem { key, stored, deadline_ms }),
                4 => StepItem::Delete(key),
                5 => StepItem::Touch { key, deadline_ms: stamp_ms + 1 + random.below(5_000) },
                6 => StepItem::Increment { key, by, initial: 3, deadline_ms },
                _ => StepItem::Get(key),
            };
            if !(step.writes() && steps.iter().any(|other| other.writes() && other.key() == key)) {
                steps.push(step);
            }
        }
        steps
    }
}

fn batch(stamp_ms: u64, leader_ms: u64, operations: &[Operation<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_batch_header(&mut payload, 0, 0, 0);
    for operation in operations {
        put_command(&mut payload, &Command { stamp_ms, operation: operation.clone() });
    }
    stamp_batch(&mut payload, leader_ms);
    payload
}

#[test]
fn seventy_thousand_random_transactions_agree_with_a_naive_evaluation() {
    let seed = seed();
    let mut random = Random(seed ^ 0x0074_786e);
    let generator = Generator::new(seed);
    let (machine, mut model) = (StateMachine::new(), Model::default());
    let mut replica = StateMachine::new();
    let mut leader_ms = 1_000_000;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for step in 0..70_000u32 {
        leader_ms += random.below(if step % 100 == 0 { RECEIPT_MS / 10 } else { 40 });
        // The origin's clock is wrong, as clocks are.
        let stamp_ms = leader_ms + random.below(3) * 500_000;
        let transaction = generator.transaction_over(&mut random, stamp_ms, 8);
        let payload = batch(stamp_ms, leader_ms, &[Operation::Transact(transaction)]);
        let (_, expected) = model.apply_batch(&payload);
        let mut outcomes = Vec::new();
        machine.apply(&payload, |outcome| outcomes.push(outcome)).unwrap();
        let commands = || Commands::of(&payload).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(outcomes, expected, "step {step} of seed {seed}: {:?}", commands());
        replica.apply(&payload, |_| {}).unwrap();
        let what = match &outcomes[0] {
            Ok(Reply::Transaction(reply)) => format!("{}", reply.succeeded),
            Ok(_) => "no transaction".to_owned(),
            Err(refusal) => format!("{:?} {:?}", refusal.kind, std::mem::discriminant(&refusal.place)),
        };
        *seen.entry(what).or_default() += 1;
        if step % 2_000 == 0 {
            assert_same(&machine.view(model.time_ms), &model, &format!("step {step} of seed {seed}"));
            replica = copy_by_snapshot(&replica);
            assert_eq!(replica.digest().unwrap(), machine.digest().unwrap(), "step {step} of seed {seed}");
        }
    }
    assert_same(&machine.view(model.time_ms), &model, "the end");
    // Both branches; not found, no integer and too large in each of them; a bad compare; a name used again.
    assert!(seen.len() == 10 && seen.values().all(|count| *count > 20), "{seen:?}");
}

fn named(name: &[u8]) -> Operation<'_> {
    let increment = StepItem::Increment { key: b"n", by: 1, initial: 0, deadline_ms: None };
    Operation::Transact(TransactionItem { idempotency_key: name, then: vec![increment], ..TransactionItem::default() })
}

fn told(machine: &StateMachine, leader_ms: u64, operation: Operation<'_>) -> Outcome {
    let mut told = None;
    machine.apply(&batch(leader_ms, leader_ms, &[operation]), |outcome| told = Some(outcome)).unwrap();
    told.unwrap()
}

/// An hour, and so many: whichever is over first.
#[test]
fn receipts_are_kept_for_an_hour_and_within_their_bounds() {
    use crate::limits::{RECEIPTS_BYTES_MAX, RECEIPTS_MAX};
    let machine = StateMachine::new();
    let sum = |outcome: Outcome| match outcome {
        Ok(Reply::Transaction(reply)) => match reply.results[..] {
            [StepReply::Integer(sum)] => sum,
            ref results => panic!("{results:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(sum(told(&machine, 1_000, named(b"k"))), 1);
    assert_eq!(sum(told(&machine, 999 + RECEIPT_MS, named(b"k"))), 1, "still known");
    assert_eq!(sum(told(&machine, 1_000 + RECEIPT_MS, named(b"k"))), 2, "forgotten");
    assert_eq!(sum(told(&machine, 1_000 + RECEIPT_MS, named(b"k"))), 2);
    assert_eq!(machine.content().writer().receipts.len(), 1);
    let now_ms = 2_000 + RECEIPT_MS;
    for number in 1..RECEIPTS_MAX as u64 {
        told(&machine, now_ms, named(&number.to_be_bytes())).unwrap();
    }
    assert_eq!(machine.content().writer().receipts.len(), RECEIPTS_MAX);
    assert_eq!(sum(told(&machine, now_ms, named(b"k"))), 2, "as many as there may be");
    told(&machine, now_ms, named(b"one more")).unwrap();
    assert_eq!(machine.content().writer().receipts.len(), RECEIPTS_MAX);
    assert_eq!(
        sum(told(&machine, now_ms, named(b"k"))),
        RECEIPTS_MAX as i64 + 3,
        "the oldest has gone, and is new now"
    );

    // Those with large replies: what was kept before goes to make room.
    let large = crate::encoding::stored::seal(
        &encode_value(&"x".repeat(250_000).into()).unwrap(),
        Default::default(),
        &Default::default(),
    );
    let item = PutItem { key: b"large", stored: &large, deadline_ms: None };
    told(&machine, now_ms, Operation::Put { item, condition: Condition::Always }).unwrap();
    for number in 0..100u64 {
        let transaction = TransactionItem {
            idempotency_key: &number.to_le_bytes(),
            then: vec![StepItem::Get(b"large")],
            ..TransactionItem::default()
        };
        told(&machine, now_ms, Operation::Transact(transaction)).unwrap();
    }
    assert_eq!(machine.content().writer().receipts.len(), RECEIPTS_BYTES_MAX / (250_000 + 16 + 8 + 192));
    let copy = copy_by_snapshot(&machine);
    assert_eq!(copy.digest().unwrap(), machine.digest().unwrap());
}

#[test]
fn a_name_is_its_tokens_own() {
    let machine = StateMachine::new();
    for number in [1, 2] {
        let scopes = crate::model::Scopes { write: true, ..Default::default() };
        let item = crate::model::NewTokenItem {
            hash: [number; 32],
            name: "",
            scopes,
            key_prefixes: vec![],
            deadline_ms: None,
        };
        told(&machine, 1, Operation::CreateToken(item)).unwrap();
    }
    let of = |number: u8| Operation::Authorised { token: TokenId::of(&[number; 32]), operation: Box::new(named(b"k")) };
    let replies = [named(b"k"), of(1), of(2), named(b"k"), of(1), of(2)].map(|operation| told(&machine, 1, operation));
    assert_eq!(replies[..3], replies[3..]);
    assert!(replies[0] != replies[1] && replies[1] != replies[2]);
}
