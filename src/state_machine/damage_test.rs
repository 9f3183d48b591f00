//! Damaged commands and snapshots are an error or other content; never a panic, a hang or an allocation without bound.

use super::model_test::{Generator, Random};
use super::{SnapshotHeader, StateMachine, load_snapshot};
use crate::encoding::command::{COMMANDS_VERSION, put_command};
use crate::encoding::wire::WireReader;

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

#[test]
fn ten_thousand_damaged_log_entries() {
    let mut random = Random(7);
    let mut generator = Generator::new(7);
    let machine = StateMachine::new();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..MUTATIONS {
        let mut payload = vec![COMMANDS_VERSION];
        (0..1 + random.below(4)).for_each(|_| put_command(&mut payload, &generator.command()));
        match machine.apply(&mutate(&payload, &mut random), |_| {}) {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    // What got in is still readable as a whole, or says that it is damaged.
    let _ = machine.digest().unwrap();
}

#[test]
fn ten_thousand_damaged_snapshots() {
    let mut random = Random(8);
    let mut generator = Generator::new(8);
    let machine = StateMachine::new();
    for _ in 0..300 {
        let mut payload = vec![COMMANDS_VERSION];
        put_command(&mut payload, &generator.command());
        machine.apply(&payload, |_| {}).unwrap();
    }
    let view = machine.view(0);
    let mut header = Vec::new();
    view.snapshot_header(&machine).encode(&mut header);
    let mut blocks = Vec::new();
    view.write_snapshot(|block| {
        blocks.extend_from_slice(block);
        Ok(())
    })
    .unwrap();
    let before = machine.digest().unwrap();
    for _ in 0..MUTATIONS {
        let damaged_header = if random.below(10) == 0 { mutate(&header, &mut random) } else { header.clone() };
        let mut damaged_blocks = Some(mutate(&blocks, &mut random));
        let target = StateMachine::new();
        let loaded = SnapshotHeader::decode(&mut WireReader::new(&damaged_header))
            .and_then(|header| load_snapshot(&target, header, || Ok(damaged_blocks.take())));
        if loaded.is_err() {
            assert_eq!(target.len(), 0, "a refused snapshot leaves the old content in place");
        }
    }
    assert_eq!(machine.digest().unwrap(), before);
}
