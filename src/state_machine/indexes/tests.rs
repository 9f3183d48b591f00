//! Indexes agree with a naive look at every record, whatever has been written, in whatever way, built or being built.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{IndexReader, TermRange};
use crate::encoding::batch::{put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::encoding::item::Item;
use crate::encoding::{encode_value, stored};
use crate::model::{Command, Operation, Value};
use crate::state_machine::StateMachine;
use crate::state_machine::model_test::{Generator, Model, Random, copy_by_snapshot, seed};

const PATHS: [(&str, &str); 4] = [("all", "value"), ("each", "value[]"), ("n", "value.n"), ("rows", "value.rows[].n")];

fn batch(leader_ms: u64, commands: &[Command<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_batch_header(&mut payload, 0, 0, 0);
    commands.iter().for_each(|command| put_command(&mut payload, command));
    stamp_batch(&mut payload, leader_ms);
    payload
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

/// What a path leads to, in the plainest words.
fn parts(name: &str, value: &Value) -> Vec<Value> {
    let entry = |value: &Value| match value {
        Value::Map(entries) => entries.iter().find(|(key, _)| *key == "n".into()).map(|(_, value)| value.clone()),
        _ => None,
    };
    let items = |value: &Value| if let Value::List(items) = value { items.clone() } else { Vec::new() };
    match name {
        "all" => vec![value.clone()],
        "each" => items(value),
        "n" => entry(value).into_iter().collect(),
        _ => match value {
            Value::Map(entries) => {
                let rows = entries.iter().find(|(key, _)| *key == "rows".into());
                rows.map_or(Vec::new(), |(_, rows)| items(rows).iter().filter_map(entry).collect())
            }
            _ => Vec::new(),
        },
    }
}

/// The order of what an index holds; `None` for what it does not.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let rank = |value: &Value| match value {
        Value::Null => Some(0),
        Value::Bool(_) => Some(1),
        Value::Int(_) => Some(2),
        Value::Float(float) if !float.is_nan() => Some(2),
        Value::Text(text) if text.len() <= 1_024 => Some(3),
        Value::Bytes(bytes) if bytes.len() <= 1_024 => Some(3),
        _ => None,
    };
    let bytes = |value: &Value| match value {
        Value::Text(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    let (left, right) = (rank(a)?, rank(b)?);
    Some(left.cmp(&right).then_with(|| match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        // Small enough to be exact.
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b).unwrap(),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)).unwrap(),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap(),
        _ => bytes(a).cmp(&bytes(b)),
    }))
}

fn expected(model: &Model, name: &str, from: Option<&Value>, to: Option<&Value>) -> Vec<Vec<u8>> {
    let mut found: Vec<(Value, Vec<u8>)> = Vec::new();
    for (key, (value, ..)) in &model.records {
        if model.live(key).is_none() {
            continue;
        }
        let mut of_key: Vec<Value> =
            parts(name, value).into_iter().filter(|part| order(part, part).is_some()).collect();
        of_key.sort_by(|a, b| order(a, b).unwrap());
        of_key.dedup_by(|a, b| order(a, b) == Some(Ordering::Equal));
        let is_within = |part: &Value| {
            from.is_none_or(|from| order(part, from).unwrap().is_ge())
                && to.is_none_or(|to| order(part, to).unwrap().is_le())
        };
        found.extend(of_key.into_iter().filter(is_within).map(|part| (part, key.clone())));
    }
    found.sort_by(|a, b| order(&a.0, &b.0).unwrap().then_with(|| a.1.cmp(&b.1)));
    found.into_iter().map(|(_, key)| key).collect()
}

fn term(value: &Value) -> Box<[u8]> {
    Item::new(&encode_value(value).unwrap()).term().unwrap()
}

/// Everything of a range, in pages of some size.
fn walked(index: &IndexReader, from: Option<&Value>, to: Option<&Value>, now_ms: u64, page: usize) -> Vec<Vec<u8>> {
    let mut range = TermRange { from: from.map(term), to: to.map(term), after: None };
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let end = keys.len() + page;
        range.after = index.walk(&range, now_ms, |key| {
            keys.push(key.to_vec());
            keys.len() < end
        });
        if range.after.is_none() {
            return keys;
        }
    }
}

/// Many kinds of values, few of each, so that many records have the same.
fn values() -> Vec<Value> {
    let list = |items: &[Value]| Value::List(items.to_vec());
    let rows = |numbers: &[i64]| {
        let row = |n: &i64| map(&[("n", (*n).into())]);
        map(&[("rows", Value::List(numbers.iter().map(row).collect()))])
    };
    let mut values: Vec<Value> = vec![
        Value::Null,
        true.into(),
        false.into(),
        1.5.into(),
        1.25.into(),
        (-1.0).into(),
        f64::NAN.into(),
        "text".into(),
        "x".repeat(1_025).into(),
        Value::Bytes(b"text".to_vec()),
        list(&[]),
        list(&[1.into(), 1.0.into(), "a".into(), Value::Null, list(&[2.into()])]),
        list(&["b".into(), "a".into(), "b".into()]),
        map(&[]),
        rows(&[1, 2, 2, 3]),
        rows(&[]),
    ];
    values.extend((0..6).map(Value::from));
    values.extend((0..6).map(|n| map(&[("n", n.into()), ("other", "o".into())])));
    // Equal to one before as a part, but not as a whole.
    values.extend([
        map(&[("n", 2.0.into())]),
        map(&[("n", 2.5.into())]),
        map(&[("n", "2".into())]),
        map(&[("n", list(&[1.into()]))]),
    ]);
    values
}

#[test]
fn fifty_thousand_questions_agree_with_a_look_at_every_record() {
    let seed = seed();
    let (mut random, mut generator) = (Random(seed ^ 0x0069_6e64), Generator::new(seed));
    // Enough for an index to be built in several pieces.
    generator.keys.extend((0..500).map(|n| format!("more:{n:03}").into_bytes()));
    let values = values();
    generator.values = values.iter().map(|value| encode_value(value).unwrap()).collect();
    let seal = |value: &Vec<u8>| stored::seal(value, Default::default(), &Default::default());
    generator.sealed = generator.values.iter().map(seal).collect();
    let askable: Vec<&Value> = values.iter().filter(|value| order(value, value).is_some()).collect();
    let (mut machine, mut model) = (StateMachine::new(), Model::default());
    let mut declared: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut asked, mut found, mut step) = (0, 0, 0u32);
    while asked < 50_000 {
        step += 1;
        let command = generator.command();
        let leader_ms = command.stamp_ms;
        let payload = batch(leader_ms, &[command]);
        model.apply_batch(&payload);
        machine.apply(&payload, |_| {}).unwrap();
        if step.is_multiple_of(97) {
            let (name, path) = PATHS[random.below(4) as usize];
            let operation = match random.below(6) {
                0 => Operation::DropIndex(name),
                1 => Operation::RebuildIndex(name),
                _ => Operation::CreateIndex { name, path },
            };
            match operation {
                Operation::DropIndex(_) => drop(declared.remove(name)),
                Operation::CreateIndex { .. } => drop(declared.insert(name, path)),
                _ => {}
            }
            machine.apply(&batch(leader_ms, &[Command { stamp_ms: leader_ms, operation }]), |_| {}).unwrap();
            let there: Vec<String> = machine.indexes().iter().map(|index| index.name().to_owned()).collect();
            assert!(there.iter().map(String::as_str).eq(declared.keys().copied()), "step {step} of seed {seed}");
        }
        if step.is_multiple_of(5_000) {
            machine = copy_by_snapshot(&machine);
        }
        let Some((name, _)) = declared.iter().nth(random.below(4) as usize) else { continue };
        let index = machine.index(name).unwrap();
        if !index.index.is_built() {
            index.index.build_more(&index.content);
            continue;
        }
        let one = |random: &mut Random| {
            let value = askable[random.below(askable.len() as u64) as usize];
            (random.below(8) > 0).then_some(value)
        };
        let (from, to) = (one(&mut random), one(&mut random));
        let to = if random.below(2) == 0 { from } else { to };
        let page = [1_000, 1, 7][random.below(3) as usize];
        // By a clock that is ahead of what was removed, or behind it.
        let answer = walked(&index, from, to, model.time_ms, page);
        assert_eq!(
            answer,
            expected(&model, name, from, to),
            "step {step} of seed {seed}: {name} from {from:?} to {to:?}"
        );
        found += answer.len();
        asked += 1;
    }
    assert!(found > asked * 5, "{found} found by {asked} questions");
}

/// What a transaction or a bulk write changes is found as a whole, or not yet.
#[test]
fn an_index_never_shows_a_part_of_a_command() {
    let machine = StateMachine::new();
    let create = Operation::CreateIndex { name: "all", path: "value" };
    machine.apply(&batch(1, &[Command { stamp_ms: 1, operation: create }]), |_| {}).unwrap();
    let keys: Vec<Vec<u8>> = (0..50).map(|n| format!("k{n}").into_bytes()).collect();
    let sealed: Vec<Vec<u8>> = (0..2i64)
        .map(|n| stored::seal(&encode_value(&n.into()).unwrap(), Default::default(), &Default::default()))
        .collect();
    let item = |key, stored| crate::model::PutItem { key, stored, deadline_ms: None };
    let put = |turn: usize| {
        let items = keys.iter().map(|key| item(key, &sealed[turn])).collect();
        batch(1, &[Command { stamp_ms: 1, operation: Operation::PutMany(items) }])
    };
    machine.apply(&put(0), |_| {}).unwrap();
    machine.index("all").unwrap().build_while(|| true);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..2_000 {
                machine.apply(&put(turn % 2), |_| {}).unwrap();
            }
        });
        let index = machine.index("all").unwrap();
        let mut seen = [0; 2];
        while !writer.is_finished() || seen.contains(&0) {
            let first = walked(&index, None, None, 1, 1_000);
            assert_eq!(first.len(), keys.len());
            let value =
                (0..2).find(|n| !walked(&index, Some(&Value::from(*n)), Some(&Value::from(*n)), 1, 1).is_empty());
            seen[value.unwrap_or(0) as usize] += 1;
            if writer.is_finished() {
                break;
            }
        }
    });
    let index = machine.index("all").unwrap();
    assert_eq!(walked(&index, Some(&1.into()), Some(&1.into()), 1, 100).len(), keys.len());
}
