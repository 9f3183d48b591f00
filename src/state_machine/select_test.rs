//! What a selector picks agrees with the plainest evaluation of it, over more than a hundred thousand random selectors; and what
//! `delete_where` removes is the same on every replica.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::model_test::{Random, copy_by_snapshot};
use super::{Effort, Looked, StateMachine, Walk};
use crate::encoding::batch::{put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::encoding::{encode_value, stored};
use crate::error::ErrorKind;
use crate::expression::{Selection, Strictness};
use crate::model::{
    Command, Compress, Condition, EventKind, Operation, Pattern, PatternFlags, PutItem, Reply, Selector, Value,
};

const CASES: usize = 110_000;
const NOW_MS: u64 = 1_700_000_000_000;

/// Number, role and deadline of a record; the key is in the map.
type Known = (i64, &'static str, u64, Option<u64>);

const ROLES: [&str; 3] = ["admin", "user", "guest"];

/// An expression with what it means.
type Meaning = (&'static str, fn(&[u8], &Known) -> bool);

const FILTERS: [Meaning; 7] = [
    ("value.n >= 50", |_, known| known.0 >= 50),
    ("value.n < 10.5 or value.role == \"admin\"", |_, known| known.0 < 11 || known.1 == "admin"),
    ("not (value.role in [\"admin\", \"user\"])", |_, known| known.1 == "guest"),
    ("ends_with(key, \"1\") and exists(value.n) and not exists(value.m)", |key, _| key.ends_with(b"1")),
    ("ttl == null", |_, known| known.3.is_none()),
    ("revision > 100", |_, known| known.2 > 100),
    ("value.m == 1", |_, _| false),
];

/// A pattern with what it means.
type PatternMeaning = (&'static str, fn(&[u8]) -> bool);

const PATTERNS: [PatternMeaning; 5] = [
    ("^a", |key| key.starts_with(b"a")),
    (r"^a:b\d", |key| key.starts_with(b"a:b") && key.get(3).is_some_and(u8::is_ascii_digit)),
    ("[01]$", |key| matches!(key.last(), Some(b'0' | b'1'))),
    (":", |key| key.contains(&b':')),
    (r"^.{3,4}$", |key| (3..=4).contains(&key.len())),
];

fn apply(machine: &StateMachine, stamp_ms: u64, operations: &[Operation<'_>]) -> Vec<Result<Reply, ErrorKind>> {
    let mut payload = Vec::new();
    put_batch_header(&mut payload, 0, 0, 0);
    for operation in operations {
        put_command(&mut payload, &Command { stamp_ms, operation: operation.clone() });
    }
    stamp_batch(&mut payload, stamp_ms);
    let mut outcomes = Vec::new();
    machine.apply(&payload, |outcome| outcomes.push(outcome.map_err(|refusal| refusal.kind))).unwrap();
    outcomes
}

/// Short keys over few bytes, so that they have much in common.
fn part(random: &mut Random, length_max: u64) -> Vec<u8> {
    let length = random.below(length_max + 1);
    (0..length).map(|_| b"ab:01\xff"[random.below(6) as usize]).collect()
}

fn put(machines: &[&StateMachine], model: &mut BTreeMap<Vec<u8>, Known>, random: &mut Random, now_ms: u64) {
    let mut key = part(random, 6);
    key.push(b"ab:01"[random.below(5) as usize]);
    let (number, role) = (random.below(100) as i64, ROLES[random.below(3) as usize]);
    let deadline_ms = (random.below(4) == 0).then(|| now_ms + 1 + random.below(200));
    // Text or atom, for the value and for the name: no selector tells them apart.
    let text = |text: &str, is_atom: bool| if is_atom { Value::Atom(text.to_owned()) } else { Value::from(text) };
    let entries = vec![
        (text("n", random.below(2) == 0), number.into()),
        (text("role", random.below(2) == 0), text(role, random.below(2) == 0)),
        ("padding".into(), "x".repeat(if random.below(8) == 0 { 2_000 } else { 3 }).into()),
    ];
    let sealed = stored::seal(&encode_value(&Value::Map(entries)).unwrap(), Compress::Auto, &Default::default());
    let item = PutItem { key: &key, stored: &sealed, deadline_ms };
    let mut revision = 0;
    for machine in machines {
        match apply(machine, now_ms, &[Operation::Put { item, condition: Condition::Always }])[..] {
            [Ok(Reply::Done { revision: done })] => revision = done,
            ref other => panic!("{other:?}"),
        }
    }
    model.insert(key, (number, role, revision, deadline_ms));
}

/// The selector, and what else it must be held against.
struct Asked {
    parts: [Vec<u8>; 5],
    mask: u64,
    pattern: usize,
    filter: usize,
    offset: u64,
    limit: Option<u64>,
}

impl Asked {
    fn random(random: &mut Random) -> Asked {
        let mut parts = [part(random, 3), part(random, 2), part(random, 2), part(random, 3), part(random, 4)];
        parts[3..].sort();
        Asked {
            parts,
            mask: random.below(64) & random.below(64),
            pattern: random.below(PATTERNS.len() as u64) as usize,
            filter: random.below(FILTERS.len() as u64) as usize,
            offset: if random.below(4) == 0 { random.below(5) } else { 0 },
            limit: (random.below(3) == 0).then(|| random.below(20)),
        }
    }

    fn has(&self, part: usize) -> bool {
        self.mask >> part & 1 == 1
    }

    fn selector(&self) -> Selector<'_> {
        let part = |at: usize| self.has(at).then_some(self.parts[at].as_slice());
        // Patterns take long to compile; of them a few suffice.
        let pattern = Pattern { text: PATTERNS[self.pattern].0, flags: PatternFlags::default() };
        Selector {
            prefix: part(0),
            suffix: part(1),
            contains: part(2),
            pattern: (self.has(3) && self.has(1)).then_some(pattern),
            range: self.has(4).then_some((&self.parts[3], &self.parts[4])),
            filter: self.has(5).then_some(FILTERS[self.filter].0),
            offset: self.offset,
            limit: self.limit,
        }
    }

    fn naive<'a>(&self, model: &'a BTreeMap<Vec<u8>, Known>, now_ms: u64) -> Vec<&'a [u8]> {
        let picks = |key: &[u8], known: &Known| {
            let has_inside = |part: &[u8]| part.is_empty() || key.windows(part.len()).any(|window| window == part);
            known.3.is_none_or(|deadline_ms| deadline_ms > now_ms)
                && (!self.has(0) || key.starts_with(&self.parts[0]))
                && (!self.has(1) || key.ends_with(&self.parts[1]))
                && (!self.has(2) || has_inside(&self.parts[2]))
                && (!(self.has(3) && self.has(1)) || PATTERNS[self.pattern].1(key))
                && (!self.has(4) || (self.parts[3].as_slice() <= key && key <= self.parts[4].as_slice()))
                && (!self.has(5) || FILTERS[self.filter].1(key, known))
        };
        let picked = model.iter().filter(|(key, known)| picks(key, known)).map(|(key, _)| key.as_slice());
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        picked.skip(self.offset as usize).take(limit).collect()
    }
}

/// In pieces of random size, and sometimes broken off.
fn selected(machine: &StateMachine, selector: &Selector<'_>, now_ms: u64, random: &mut Random) -> Vec<Vec<u8>> {
    let selection = Selection::of(selector, Strictness::Asked).unwrap();
    let view = machine.view(now_ms);
    let mut walk = Walk::of(&selection);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let is_in_pieces = random.below(3) == 0;
    loop {
        let effort = match is_in_pieces {
            true => Effort { keys_max: 1 + random.below(40) as usize, bytes_max: 1 + random.below(3_000) as usize },
            false => Effort::WHOLE,
        };
        let mut room = if is_in_pieces { 1 + random.below(10) } else { u64::MAX };
        let with_values = random.below(2) == 0;
        let is_over = view.select(&selection, &mut walk, with_values, effort, |key, record| {
            assert_eq!(record.value.is_empty(), !with_values);
            if room == 0 {
                return ControlFlow::Break(());
            }
            room -= 1;
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        });
        if is_over.unwrap() {
            assert_eq!(walk.picked, keys.len() as u64);
            return keys;
        }
    }
}

#[test]
fn every_selector_picks_what_the_plainest_evaluation_picks() {
    let seed = 7;
    let (machine, replica) = (StateMachine::new(), StateMachine::new());
    let mut model = BTreeMap::new();
    let mut random = Random(seed);
    let (mut now_ms, mut deleted, mut picked) = (NOW_MS, 0, 0);
    for case in 0..CASES {
        if case % 3 == 0 {
            now_ms += random.below(3);
            put(&[&machine, &replica], &mut model, &mut random, now_ms);
        }
        let asked = Asked::random(&mut random);
        let selector = asked.selector();
        let expected = asked.naive(&model, now_ms);
        picked += expected.len();
        // Often enough that the store stays small.
        if case % 20 == 0 && expected.len() < 40 {
            let outcomes =
                [&machine, &replica].map(|machine| apply(machine, now_ms, &[Operation::DeleteWhere(selector)]));
            assert_eq!(outcomes[0], outcomes[1]);
            let [Ok(Reply::Integer { value, .. })] = outcomes[0][..] else { panic!("{outcomes:?}") };
            assert_eq!(value as usize, expected.len(), "case {case} of seed {seed}: {selector:?}");
            let gone: Vec<Vec<u8>> = expected.iter().map(|key| key.to_vec()).collect();
            model.retain(|key, _| !gone.contains(key));
            deleted += gone.len();
            continue;
        }
        let keys = selected(&machine, &selector, now_ms, &mut random);
        assert_eq!(keys, expected, "case {case} of seed {seed}: {selector:?}");
        if model.len() > 120 {
            let up_to_ms = now_ms;
            apply(&machine, now_ms, &[Operation::Expire { up_to_ms }]);
            apply(&replica, now_ms, &[Operation::Expire { up_to_ms }]);
            model.retain(|_, known| known.3.is_none_or(|deadline_ms| deadline_ms > now_ms));
            while model.len() > 80 {
                let key = model.keys().nth(random.below(model.len() as u64) as usize).unwrap().clone();
                for machine in [&machine, &replica] {
                    apply(machine, now_ms, &[Operation::DeleteMany(vec![&key])]);
                }
                model.remove(&key);
            }
        }
    }
    assert!(deleted > 5_000 && picked > CASES, "{deleted} deleted and {picked} picked: too little was tested");
    assert_eq!(machine.digest().unwrap(), replica.digest().unwrap());
    assert_eq!(copy_by_snapshot(&machine).digest().unwrap(), machine.digest().unwrap());
}

fn filled(keys: &[(&str, Option<u64>)]) -> StateMachine {
    let machine = StateMachine::new();
    for (key, deadline_ms) in keys {
        let item = PutItem { key: key.as_bytes(), stored: b"\0\x01", deadline_ms: *deadline_ms };
        apply(&machine, NOW_MS, &[Operation::Put { item, condition: Condition::Always }]);
    }
    machine
}

/// Promised: one change, told as deletes; what has expired was there no more; older views still see all.
#[test]
fn delete_where_is_one_change_that_subscribers_and_views_see_as_deletes() {
    let machine = filled(&[("t:1", None), ("t:2", Some(NOW_MS + 5)), ("t:3", None), ("u", None)]);
    let mut changes = machine.cursor(None);
    let before = machine.view(NOW_MS);
    let temporary = Selector { prefix: Some(b"t:"), ..Selector::default() };
    let [Ok(Reply::Integer { value: 2, revision })] =
        apply(&machine, NOW_MS + 5, &[Operation::DeleteWhere(temporary)])[..]
    else {
        panic!("two of them were there")
    };
    let mut told = Vec::new();
    let looked = changes.look(usize::MAX, None, |event| {
        told.push((event.kind, event.revision, event.key.to_vec()));
        ControlFlow::Continue(())
    });
    let expected = ["t:1", "t:3"].map(|key| (EventKind::Delete, revision, key.as_bytes().to_vec()));
    assert_eq!((told, looked.unwrap()), (expected.to_vec(), Looked::AtEnd));
    assert!(
        before.get(b"t:1", |_| ()).unwrap().is_some() && machine.view(NOW_MS).get(b"t:1", |_| ()).unwrap().is_none()
    );
    assert_eq!(machine.revision(), revision);
    let nothing = apply(&machine, NOW_MS + 6, &[Operation::DeleteWhere(temporary)]);
    assert_eq!(nothing, [Ok(Reply::Integer { value: 0, revision: 0 })]);
}

#[test]
fn what_cannot_be_understood_is_refused_by_every_replica_alike() {
    let machine = filled(&[("k", None)]);
    let item = PutItem { key: b"k", stored: b"\0\x02", deadline_ms: None };
    let all = Selector::default();
    let wrong = [
        Operation::DeleteWhere(Selector { filter: Some("value >"), ..all }),
        Operation::DeleteWhere(Selector { range: Some((b"b", b"a")), ..all }),
        Operation::DeleteWhere(Selector { pattern: Some(Pattern { text: "(", ..Pattern::default() }), ..all }),
        Operation::Put { item, condition: Condition::Where("price > 1") },
    ];
    assert!(apply(&machine, NOW_MS, &wrong).iter().all(|outcome| *outcome == Err(ErrorKind::InvalidCondition)));
    assert_eq!(machine.revision(), 1);
}

#[test]
fn a_condition_that_is_an_expression_guards_a_write() {
    let machine = filled(&[("k", Some(NOW_MS + 500))]);
    let put = |condition: &'static str| {
        let item = PutItem { key: b"k", stored: b"\0\x02", deadline_ms: None };
        [Operation::Put { item, condition: Condition::Where(condition) }]
    };
    assert_eq!(apply(&machine, NOW_MS, &put("value == 2")), [Err(ErrorKind::ConditionFailed)]);
    assert_eq!(apply(&machine, NOW_MS, &put("ttl > 0.5")), [Err(ErrorKind::ConditionFailed)]);
    assert_eq!(
        apply(&machine, NOW_MS, &put("value == 1 and ttl == 0.5 and revision == 1")),
        [Ok(Reply::Done { revision: 2 })]
    );
    let delete = |condition| [Operation::Delete { key: b"k", condition: Condition::Where(condition) }];
    assert_eq!(apply(&machine, NOW_MS, &delete("value != 2")), [Err(ErrorKind::ConditionFailed)]);
    assert_eq!(apply(&machine, NOW_MS, &delete("true")), [Ok(Reply::Done { revision: 3 })]);
    assert_eq!(apply(&machine, NOW_MS, &delete("true")), [Err(ErrorKind::NotFound)]);
}
