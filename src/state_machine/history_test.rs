//! History holds every committed change once and in order, tells when something is missing, and stays within its bounds.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::model_test::Random;
use super::{Cursor, Held, Looked, StateMachine};
use crate::config::EventHistory;
use crate::encoding::batch::UNSTAMPED_VERSION;
use crate::encoding::command::put_command;
use crate::error::ErrorKind;
use crate::model::{Command, Condition, Event, EventKind, Operation, Position, PutItem, Selector};

fn apply(machine: &StateMachine, stamp_ms: u64, operation: Operation<'_>) {
    apply_together(machine, stamp_ms, &[operation]);
}

fn apply_together(machine: &StateMachine, stamp_ms: u64, operations: &[Operation<'_>]) {
    let mut payload = vec![UNSTAMPED_VERSION];
    for operation in operations {
        put_command(&mut payload, &Command { stamp_ms, operation: operation.clone() });
    }
    machine.apply(&payload, |_| {}).unwrap();
}

fn put_item(key: &str, deadline_ms: Option<u64>) -> PutItem<'_> {
    PutItem { key: key.as_bytes(), stored: b"\0\x01", deadline_ms }
}

fn put(machine: &StateMachine, key: &str, deadline_ms: Option<u64>) {
    apply(machine, 1, Operation::Put { item: put_item(key, deadline_ms), condition: Condition::Always });
}

fn take(cursor: &mut Cursor, max: usize) -> (Vec<Event>, Looked) {
    let mut events = Vec::new();
    let looked = cursor.look(max, None, |event| {
        events.push(event.to_event());
        ControlFlow::Continue(())
    });
    (events, looked.unwrap())
}

fn keeping(events_max: usize, bytes_max: usize) -> StateMachine {
    StateMachine::keeping(EventHistory { events_max, bytes_max })
}

#[test]
fn every_watcher_gets_every_change_with_its_reason_and_what_was_there_before() {
    let machine = StateMachine::new();
    put(&machine, "before", None);
    let mut cursors = [machine.cursor(None), machine.cursor(None)];
    put(&machine, "a", Some(10));
    apply(&machine, 2, Operation::Touch { key: b"a", deadline_ms: 20 });
    apply(&machine, 3, Operation::Delete { key: b"before", condition: Condition::Always });
    apply(&machine, 30, Operation::Expire { up_to_ms: 30 });
    for cursor in &mut cursors {
        let (events, looked) = take(cursor, usize::MAX);
        assert_eq!(looked, Looked::AtEnd);
        let seen: Vec<_> = events
            .into_iter()
            .map(|event| {
                let key = String::from_utf8(event.key).unwrap();
                (event.kind, event.revision, key, event.value, event.previous, event.deadline_ms, event.time_ms)
            })
            .collect();
        let one = || Some(vec![1]);
        assert_eq!(
            seen,
            [
                (EventKind::Put, 2, "a".to_owned(), one(), None, Some(10), 1),
                (EventKind::Touch, 3, "a".to_owned(), one(), one(), Some(20), 2),
                (EventKind::Delete, 4, "before".to_owned(), None, one(), None, 3),
                (EventKind::Expire, 5, "a".to_owned(), None, one(), None, 30),
            ]
        );
    }
}

#[test]
fn one_that_falls_behind_is_told_where_it_can_go_on() {
    let machine = keeping(2, 1 << 20);
    let mut slow = machine.cursor(None);
    (0..5).for_each(|number| put(&machine, &format!("key:{number}"), None));
    assert_eq!(take(&mut slow, usize::MAX), (Vec::new(), Looked::Missing { oldest: 4 }));
    slow.move_to(Position::before(4));
    let revisions = |events: &[Event]| events.iter().map(|event| event.revision).collect::<Vec<_>>();
    assert_eq!(revisions(&take(&mut slow, usize::MAX).0), [4, 5]);
    put(&machine, "later", None);
    assert_eq!(revisions(&take(&mut slow, usize::MAX).0), [6]);
}

#[test]
fn a_command_larger_than_all_that_is_kept_empties_the_history_and_costs_no_memory() {
    let machine = keeping(100, 1 << 20);
    let mut cursor = machine.cursor(None);
    let keys: Vec<String> = (0..101).map(|number| format!("key:{number}")).collect();
    let items: Vec<PutItem<'_>> = keys.iter().map(|key| put_item(key, None)).collect();
    apply_together(&machine, 1, &[Operation::PutMany(items[..100].to_vec())]);
    assert_eq!(take(&mut cursor, usize::MAX).0.len(), 100, "as much as is kept");
    let one = Operation::Put { item: items[0], condition: Condition::Always };
    apply_together(&machine, 1, &[one.clone(), Operation::PutMany(items.clone()), one.clone()]);
    assert_eq!(machine.history().held().events, 1);
    assert_eq!(take(&mut cursor, usize::MAX).1, Looked::Missing { oldest: 4 });
    apply_together(&machine, 1, &[one.clone(), Operation::PutMany(items)]);
    let Held { oldest, next, events, bytes, published, cursors } = machine.history().held();
    assert_eq!((oldest, next, events, bytes, published, cursors), (7, 7, 0, 0, 101, 1));
    cursor.move_to(Position::before(7));
    apply(&machine, 1, one);
    assert_eq!(take(&mut cursor, usize::MAX).0.len(), 1);
}

#[test]
fn changes_of_one_command_share_a_revision_and_can_be_taken_in_parts_from_anywhere() {
    let machine = StateMachine::new();
    put(&machine, "first", None);
    let items = vec![put_item("a", None), put_item("b", None), put_item("c", None)];
    apply_together(&machine, 1, &[Operation::PutMany(items), Operation::DeleteMany(vec![b"a", b"missing", b"c"])]);
    let (all, _) = take(&mut machine.cursor(Some(Position::before(1))), usize::MAX);
    let places: Vec<String> = all.iter().map(|event| event.next.to_string()).collect();
    assert_eq!(places, ["2", "2.1", "2.2", "3", "3.1", "4"]);
    assert_eq!(all.iter().map(|event| event.is_bulk).collect::<Vec<_>>(), [false, true, true, true, true, true]);
    // From every place, in steps of every size, what follows comes exactly once.
    for from in 0..all.len() {
        for step in 1..4 {
            let mut seen = all[..from].to_vec();
            let mut place = all[..from].last().map_or(Position::before(1), |event| event.next);
            while seen.len() < all.len() {
                // Each time as a new watcher, as after a lost connection.
                let (events, _) = take(&mut machine.cursor(Some(place)), step);
                assert!((1..=step).contains(&events.len()));
                place = events.last().unwrap().next;
                seen.extend(events);
            }
            assert_eq!(seen, all);
        }
    }
    // A place behind more changes than there are is the next revision.
    let (events, looked) = take(&mut machine.cursor(Some(Position { revision: 2, changes: 9 })), usize::MAX);
    assert_eq!((events[0].revision, events[0].next.to_string(), looked), (3, "3.1".to_owned(), Looked::AtEnd));
    let mut beyond = machine.cursor(Some(Position { revision: 3, changes: 9 }));
    assert_eq!(take(&mut beyond, usize::MAX), (Vec::new(), Looked::AtEnd));
    assert_eq!(beyond.position(), Position::before(4));
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Counted>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_is_woken_once_and_who_went_away_is_forgotten() {
    let machine = StateMachine::new();
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(counted.clone());
    let mut cursor = machine.cursor(None);
    let look = |cursor: &mut Cursor| cursor.look(usize::MAX, Some(&waker), |_| ControlFlow::Continue(()));
    let woken = || counted.0.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(look(&mut cursor).unwrap(), Looked::AtEnd);
    }
    put(&machine, "a", None);
    put(&machine, "b", None);
    assert_eq!(woken(), 1);
    assert_eq!(look(&mut cursor).unwrap(), Looked::AtEnd);
    machine.history().wake_all();
    assert_eq!(woken(), 2);
    assert_eq!(look(&mut cursor).unwrap(), Looked::AtEnd);
    let references = Arc::strong_count(&counted);
    drop(cursor);
    assert_eq!(Arc::strong_count(&counted), references - 1);
    put(&machine, "c", None);
    assert_eq!(woken(), 2);
    let mut cursor = machine.cursor(None);
    assert_eq!(look(&mut cursor).unwrap(), Looked::AtEnd);
    machine.history().close();
    assert_eq!((woken(), look(&mut cursor).unwrap_err().kind()), (3, ErrorKind::Closed));
}

/// One random command over few keys, with values of all sizes.
fn random_command(machine: &StateMachine, random: &mut Random, now_ms: u64) {
    let key = |random: &mut Random| format!("k{}", random.below(60));
    let value = |random: &mut Random| {
        let len = [0, 10, 200, 1_100, 5_000][random.below(5) as usize] as usize;
        [vec![0u8, 0x5a, 0, 0], (len as u16).to_be_bytes().to_vec(), vec![random.below(256) as u8; len]].concat()
    };
    let deadline = |random: &mut Random| (random.below(3) == 0).then(|| now_ms + 1 + random.below(300));
    let several = |random: &mut Random| (0..1 + random.below(8)).map(|_| key(random)).collect::<Vec<_>>();
    match random.below(8) {
        0..3 => {
            let (key, stored, deadline_ms) = (key(random), value(random), deadline(random));
            let item = PutItem { key: key.as_bytes(), stored: &stored, deadline_ms };
            apply(machine, now_ms, Operation::Put { item, condition: Condition::Always });
        }
        3 => {
            let keys = several(random);
            let values: Vec<_> = keys.iter().map(|_| (value(random), deadline(random))).collect();
            let item = |(key, (stored, deadline_ms)): (_, &(Vec<u8>, _))| {
                let key: &String = key;
                (key.clone(), stored.clone(), *deadline_ms)
            };
            let items: Vec<_> = keys.iter().zip(&values).map(item).collect();
            let items = items.iter().map(|(key, stored, deadline_ms)| PutItem {
                key: key.as_bytes(),
                stored,
                deadline_ms: *deadline_ms,
            });
            apply(machine, now_ms, Operation::PutMany(items.collect()));
        }
        4 => apply(machine, now_ms, Operation::Delete { key: key(random).as_bytes(), condition: Condition::Always }),
        5 => {
            let keys = several(random);
            let touched = keys.iter().map(|key| (key.as_bytes(), now_ms + 1 + random.below(300))).collect();
            apply(machine, now_ms, Operation::TouchMany(touched));
        }
        6 => apply(machine, now_ms, Operation::Expire { up_to_ms: now_ms }),
        _ => {
            let prefix = format!("k{}", random.below(60));
            let selector = Selector { prefix: Some(prefix.as_bytes()), ..Selector::default() };
            apply(machine, now_ms, Operation::DeleteWhere(selector));
        }
    }
}

type Records = BTreeMap<Vec<u8>, (Vec<u8>, u64, Option<u64>)>;

/// Everything that is stored, also what has expired and is not removed yet.
fn records(machine: &StateMachine) -> Records {
    let mut records = Records::new();
    machine
        .view(0)
        .scan((std::ops::Bound::Unbounded, std::ops::Bound::Unbounded), |key, record| {
            records.insert(key.to_vec(), (record.value.into_owned(), record.revision, record.ttl_ms));
            ControlFlow::Continue(())
        })
        .unwrap();
    records
}

#[test]
fn replaying_the_changes_behind_any_state_gives_the_state_over_forty_thousand_of_them() {
    let (machine, mut random) = (keeping(3_000, 256 * 1024), Random(42));
    let (mut model, mut cursor) = (records(&machine), machine.cursor(None));
    let (mut events, mut gaps, mut now_ms, mut last) = (0, 0, 1_000_000, Position::before(1));
    while events < 40_000 || gaps < 20 {
        now_ms += random.below(20);
        // Now and then so much between two looks that something is missing.
        let commands = if random.below(200) == 0 { 3_000 } else { random.below(40) };
        (0..commands).for_each(|_| random_command(&machine, &mut random, now_ms));
        let max = if random.below(2) == 0 { usize::MAX } else { 1 + random.below(20) as usize };
        loop {
            let looked = cursor.look(max, None, |event| {
                assert!(event.next > last, "{} behind {last}", event.next);
                last = event.next;
                let before = model.get(event.key).map(|(value, _, deadline_ms)| (value.as_slice(), *deadline_ms));
                // What had expired is not what was there before, but it is what expires.
                let is_over =
                    |deadline_ms: Option<u64>| deadline_ms.is_some_and(|deadline_ms| deadline_ms <= event.time_ms);
                let before = before.filter(|(_, over)| event.kind == EventKind::Expire || !is_over(*over));
                assert_eq!(event.previous, before.map(|(value, _)| value), "{} {:?}", event.kind, event.key);
                match event.value {
                    Some(value) => {
                        let record = (value.to_vec(), event.revision, event.deadline_ms);
                        model.insert(event.key.to_vec(), record);
                    }
                    None => assert!(model.remove(event.key).is_some()),
                }
                events += 1;
                ControlFlow::Continue(())
            });
            match looked.unwrap() {
                Looked::AtEnd => break,
                Looked::Paused => {}
                Looked::Missing { .. } => {
                    // As a watcher does that begins again with the state.
                    gaps += 1;
                    model = records(&machine);
                    cursor.move_to(Position::after(machine.revision()));
                }
            }
        }
        let held = machine.history().held();
        assert!(held.events <= 3_000 && held.bytes <= 256 * 1024, "{held:?}");
        if random.below(20) == 0 {
            assert_eq!(model, records(&machine));
        }
    }
    assert_eq!(model, records(&machine));
}
