//! Subscribers see every committed change once and in order, and are told when they fell behind.

use std::time::Duration;

use super::{ChangeKind, FeedItem, StateMachine};
use crate::encoding::batch::UNSTAMPED_VERSION;
use crate::encoding::command::put_command;
use crate::model::{Command, Condition, Operation, PutItem};

fn apply(machine: &StateMachine, stamp_ms: u64, operation: Operation<'_>) {
    let mut payload = vec![UNSTAMPED_VERSION];
    put_command(&mut payload, &Command { stamp_ms, operation });
    machine.apply(&payload, |_| {}).unwrap();
}

fn put(machine: &StateMachine, key: &str, deadline_ms: Option<u64>) {
    let item = PutItem { key: key.as_bytes(), stored: b"\0\x01", deadline_ms };
    apply(machine, 1, Operation::Put { item, condition: Condition::Always });
}

#[test]
fn every_subscriber_gets_every_change_with_its_reason() {
    let machine = StateMachine::new();
    put(&machine, "before", None);
    let mut subscribers = [machine.changes(100), machine.changes(100)];
    put(&machine, "a", Some(10));
    apply(&machine, 2, Operation::Touch { key: b"a", deadline_ms: 20 });
    apply(&machine, 3, Operation::Delete { key: b"before", condition: Condition::Always });
    apply(&machine, 30, Operation::Expire { up_to_ms: 30 });
    for subscriber in &mut subscribers {
        let mut seen = Vec::new();
        while let Some(FeedItem::Change(change)) = subscriber.next_within(Duration::ZERO) {
            let key = String::from_utf8(change.key().to_vec()).unwrap();
            seen.push((change.kind(), change.revision(), key, change.value().unwrap(), change.deadline_ms()));
        }
        let one = Some(vec![1]);
        assert_eq!(
            seen,
            [
                (ChangeKind::Put, 2, "a".to_owned(), one.clone(), Some(10)),
                (ChangeKind::Touch, 3, "a".to_owned(), one, Some(20)),
                (ChangeKind::Delete, 4, "before".to_owned(), None, None),
                (ChangeKind::Expire, 5, "a".to_owned(), None, None),
            ]
        );
    }
}

#[test]
fn a_subscriber_that_falls_behind_is_told_where_and_goes_on_from_there() {
    let machine = StateMachine::new();
    let mut slow = machine.changes(2);
    (0..5).for_each(|number| put(&machine, &format!("key:{number}"), None));
    let mut revisions = Vec::new();
    while let Some(item) = slow.next_within(Duration::ZERO) {
        match item {
            FeedItem::Change(change) => revisions.push(change.revision()),
            FeedItem::Gap { from_revision } => assert_eq!(from_revision, 3),
        }
    }
    assert_eq!(revisions, [1, 2]);
    put(&machine, "later", None);
    assert!(matches!(slow.next_within(Duration::ZERO), Some(FeedItem::Change(change)) if change.revision() == 6));
}
