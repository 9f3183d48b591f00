//! Damaged commands and snapshots are an error or other content; never a panic, a hang or an allocation without bound.

use super::model_test::{Generator, Random};
use super::{SnapshotHeader, StateMachine, load_snapshot};
use crate::encoding::batch::{UNSTAMPED_VERSION, check_batch, put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::encoding::wire::WireReader;
use crate::model::{Command, NewTokenItem, Operation, Scopes, StepItem, TransactionItem};

const MUTATIONS: usize = 10_000;

fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let at = random.below(bytes.len() as u64) as usize;
    damaged[at] ^= 1 + random.below(255) as u8;
    if random.below(4) == 0 {
        damaged.truncate(at);
    }
    damaged
}

/// Opens sessions and makes some tokens.
fn open_sessions(machine: &StateMachine, count: usize) {
    let mut payload = Vec::new();
    put_batch_header(&mut payload, 0, 0, 0);
    let open = Command { stamp_ms: 0, operation: Operation::OpenSession };
    (0..count).for_each(|_| put_command(&mut payload, &open));
    for number in 0..5 {
        let scopes = Scopes { read: true, ..Scopes::default() };
        let key_prefixes = vec![&b"key:"[..]];
        let item = NewTokenItem { hash: [number; 32], name: "n", scopes, key_prefixes, deadline_ms: None };
        put_command(&mut payload, &Command { stamp_ms: 0, operation: Operation::CreateToken(item) });
    }
    let transaction =
        TransactionItem { idempotency_key: b"once", then: vec![StepItem::Get(b"k")], ..TransactionItem::default() };
    put_command(&mut payload, &Command { stamp_ms: 0, operation: Operation::Transact(transaction) });
    for (name, path) in [("a", "value"), ("b", "value.tags[]")] {
        put_command(&mut payload, &Command { stamp_ms: 0, operation: Operation::CreateIndex { name, path } });
    }
    machine.apply(&payload, |_| {}).unwrap();
}

/// A batch of some commands in one of five sessions or in none, or an entry of the first release.
fn payload_of(generator: &mut Generator, random: &mut Random, now_ms: u64) -> Vec<u8> {
    let mut payload = vec![UNSTAMPED_VERSION];
    if random.below(4) > 0 {
        payload.clear();
        let sequence = random.below(100);
        put_batch_header(&mut payload, random.below(6), sequence, sequence / 2);
        stamp_batch(&mut payload, now_ms);
    }
    (0..1 + random.below(4)).for_each(|_| put_command(&mut payload, &generator.command()));
    payload
}

#[test]
fn ten_thousand_damaged_log_entries() {
    let mut random = Random(7);
    let mut generator = Generator::new(7);
    let machine = StateMachine::new();
    open_sessions(&machine, 5);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let payload = payload_of(&mut generator, &mut random, 1_000_000 + round as u64);
        match machine.apply(&mutate(&payload, &mut random), |_| {}) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    // What got in is still readable as a whole, or says that it is damaged.
    let _ = machine.digest().unwrap();
}

/// What the check lets through no replica chokes on, so no peer can stop a cluster by what it sends.
#[test]
fn ten_thousand_damaged_batches_from_outside_are_refused_or_harmless() {
    let mut random = Random(9);
    let mut generator = Generator::new(9);
    let machine = StateMachine::new();
    open_sessions(&machine, 5);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let payload = payload_of(&mut generator, &mut random, 1_000_000 + round as u64);
        let mut damaged = mutate(&payload, &mut random);
        if check_batch(&damaged).is_err() {
            refused += 1;
            continue;
        }
        accepted += 1;
        stamp_batch(&mut damaged, 1_000_000 + round as u64);
        machine.apply(&damaged, |_| {}).unwrap();
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
    let view = machine.view(0);
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    view.scan(all, |key, record| {
        crate::check_value(&record.value, usize::MAX).unwrap();
        assert!((1..=1024).contains(&key.len()));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
}

#[test]
fn ten_thousand_damaged_snapshots() {
    let mut random = Random(8);
    let mut generator = Generator::new(8);
    let machine = StateMachine::new();
    open_sessions(&machine, 5);
    for round in 0..300 {
        let payload = payload_of(&mut generator, &mut random, 1_000_000 + round);
        machine.apply(&payload, |_| {}).unwrap();
    }
    let snapshot = machine.pin_snapshot();
    let mut header = Vec::new();
    snapshot.header().encode(&mut header);
    let mut blocks = Vec::new();
    snapshot
        .write(|block| {
            blocks.push(block.to_vec());
            Ok(())
        })
        .unwrap();
    assert_eq!(blocks.len(), 5, "records, sessions, tokens, receipts and indexes");
    let before = machine.digest().unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let damaged_header = if random.below(10) == 0 { mutate(&header, &mut random) } else { header.clone() };
        let mut damaged_blocks = blocks.clone();
        damaged_blocks[round % 5] = mutate(&blocks[round % 5], &mut random);
        let mut damaged_blocks = damaged_blocks.into_iter();
        let target = StateMachine::new();
        let loaded = SnapshotHeader::decode(&mut WireReader::new(&damaged_header))
            .and_then(|header| load_snapshot(&target, header, || Ok(damaged_blocks.next())));
        if loaded.is_err() {
            refused += 1;
            assert_eq!(target.len(), 0, "a refused snapshot leaves the old content in place");
            assert_eq!(target.tokens().len(), 0);
            assert_eq!(target.content().writer().receipts.len(), 0);
        } else {
            accepted += 1;
            // A damaged value says so when it is opened; storage's checksums keep such ones away from here.
            let _ = target.apply(&payload_of(&mut generator, &mut random, 2_000_000), |_| {});
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    assert_eq!(machine.digest().unwrap(), before);
}
