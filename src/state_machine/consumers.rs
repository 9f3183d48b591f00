//! Consumers: how far named watchers have come, replicated like the records.
//!
//! ```text
//! consumer := name  kinds (1)  revision  changes  created_ms  acknowledged_ms (0: never)  selector
//! ```

use std::collections::BTreeMap;

use crate::encoding::command::{put_selector, read_consumer_name, read_kinds, read_selector};
use crate::encoding::event::{put_position, read_position};
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::{ErrorKind, Result};
use crate::limits::CONSUMERS_MAX;
use crate::model::{ConsumerItem, EventKinds, Position};

/// A named watcher, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerRecord {
    pub(crate) name: String,
    pub(crate) kinds: EventKinds,
    /// The change that comes next; at revision 0 everything that is there comes first.
    pub(crate) next: Position,
    pub(crate) created_ms: u64,
    /// 0 for never.
    pub(crate) acknowledged_ms: u64,
    /// As bytes, see `encoding::command`.
    pub(crate) selector: Vec<u8>,
}

/// All of them, by name. Only the writer of the state machine changes them.
#[derive(Default)]
pub(super) struct Consumers {
    by_name: BTreeMap<String, ConsumerRecord>,
}

impl Consumers {
    pub(super) fn get(&self, name: &str) -> Option<&ConsumerRecord> {
        self.by_name.get(name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ConsumerRecord> {
        self.by_name.values()
    }

    /// One that has no place to begin begins with `next`.
    pub(super) fn create(&mut self, item: &ConsumerItem<'_>, next: Position, now_ms: u64) -> Result<(), ErrorKind> {
        if self.by_name.contains_key(item.name) {
            return Err(ErrorKind::AlreadyExists);
        }
        if self.by_name.len() >= CONSUMERS_MAX {
            return Err(ErrorKind::InvalidConfig);
        }
        let start = item.start.unwrap_or(next);
        let mut selector = Vec::new();
        put_selector(&mut selector, &item.selector);
        let (name, kinds) = (item.name.to_owned(), item.kinds);
        let record = ConsumerRecord { name, kinds, next: start, created_ms: now_ms, acknowledged_ms: 0, selector };
        self.by_name.insert(item.name.to_owned(), record);
        Ok(())
    }

    /// Moves on, never back. What has not happened yet, nobody has seen.
    pub(super) fn acknowledge(
        &mut self,
        name: &str,
        to: Position,
        next: Position,
        now_ms: u64,
    ) -> Result<(), ErrorKind> {
        if to > next {
            return Err(ErrorKind::InvalidCondition);
        }
        let record = self.by_name.get_mut(name).ok_or(ErrorKind::NotFound)?;
        record.next = record.next.max(to);
        record.acknowledged_ms = now_ms;
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), ErrorKind> {
        self.by_name.remove(name).map(drop).ok_or(ErrorKind::NotFound)
    }

    /// Hands each one's bytes to `write`, by name.
    pub(super) fn encode(&self, mut write: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for record in self.by_name.values() {
            out.clear();
            put_consumer_record(&mut out, record);
            write(&out);
        }
    }

    /// Adds one of a snapshot, in the order in which [`Consumers::encode`] gave them.
    pub(super) fn decode(&mut self, reader: &mut WireReader<'_>) -> Result<()> {
        let record = read_consumer_record(reader)?;
        let is_behind = self.by_name.last_key_value().is_none_or(|(last, _)| *last < record.name);
        if !is_behind || self.by_name.len() >= CONSUMERS_MAX {
            return Err(damaged("consumers of a snapshot out of order, or too many"));
        }
        self.by_name.insert(record.name.clone(), record);
        Ok(())
    }
}

/// Appends one, as snapshots have it and as members tell clients.
pub(crate) fn put_consumer_record(out: &mut Vec<u8>, record: &ConsumerRecord) {
    put_bytes(out, record.name.as_bytes());
    out.push(record.kinds.to_bits());
    put_position(out, record.next);
    put_varint(out, record.created_ms);
    put_varint(out, record.acknowledged_ms);
    put_bytes(out, &record.selector);
}

pub(crate) fn read_consumer_record(reader: &mut WireReader<'_>) -> Result<ConsumerRecord> {
    let (name, kinds) = (read_consumer_name(reader)?.to_owned(), read_kinds(reader)?);
    let (next, created_ms, acknowledged_ms) = (read_position(reader)?, reader.varint()?, reader.varint()?);
    let selector = reader.bytes()?.to_vec();
    let mut inside = WireReader::new(&selector);
    read_selector(&mut inside)?;
    inside.finish()?;
    Ok(ConsumerRecord { name, kinds, next, created_ms, acknowledged_ms, selector })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::{put_batch_header, stamp_batch};
    use crate::encoding::command::put_command;
    use crate::model::{Command, Condition, NewTokenItem, Operation, PutItem, Reply, Scopes, Selector, TokenId};
    use crate::state_machine::StateMachine;
    use crate::state_machine::model_test::copy_by_snapshot;

    fn apply(machine: &StateMachine, operation: Operation<'_>) -> Result<Reply, ErrorKind> {
        let (mut payload, mut outcomes) = (Vec::new(), Vec::new());
        put_batch_header(&mut payload, 0, 0, 0);
        put_command(&mut payload, &Command { stamp_ms: 5, operation });
        stamp_batch(&mut payload, 5);
        machine.apply(&payload, |outcome| outcomes.push(outcome)).unwrap();
        outcomes.remove(0).map_err(|refusal| refusal.kind)
    }

    fn put(machine: &StateMachine, key: &[u8]) {
        let item = PutItem { key, stored: b"\0\x01", deadline_ms: None };
        apply(machine, Operation::Put { item, condition: Condition::Always }).unwrap();
    }

    fn item(name: &str, start: Option<Position>) -> ConsumerItem<'_> {
        let selector = Selector { prefix: Some(b"a:"), ..Selector::default() };
        ConsumerItem { name, kinds: EventKinds::default(), start, selector }
    }

    fn next_of(machine: &StateMachine, name: &str) -> Option<Position> {
        machine.consumer(name).map(|record| record.next)
    }

    #[test]
    fn a_consumer_moves_on_and_never_back_and_lives_in_snapshots() {
        let machine = StateMachine::new();
        (0..4).for_each(|_| put(&machine, b"k"));
        let create = |name, start| apply(&machine, Operation::CreateConsumer(item(name, start))).map(drop);
        assert_eq!(create("now", None), Ok(()));
        assert_eq!(create("state", Some(Position::before(0))), Ok(()));
        assert_eq!(create("now", Some(Position::before(1))), Err(ErrorKind::AlreadyExists));
        assert_eq!(next_of(&machine, "now"), Some(Position::before(5)));
        put(&machine, b"k");
        let acknowledge = |name, position| apply(&machine, Operation::AcknowledgeConsumer { name, position }).map(drop);
        let inside = Position { revision: 5, changes: 2 };
        assert_eq!(acknowledge("now", inside), Ok(()));
        assert_eq!(acknowledge("now", Position::before(2)), Ok(()));
        assert_eq!(next_of(&machine, "now"), Some(inside));
        assert_eq!(acknowledge("now", Position::before(7)), Err(ErrorKind::InvalidCondition), "that is yet to come");
        assert_eq!(acknowledge("now", Position::before(6)), Ok(()));
        assert_eq!(acknowledge("nobody", Position::before(1)), Err(ErrorKind::NotFound));
        let copy = copy_by_snapshot(&machine);
        assert_eq!(copy.consumers(), machine.consumers());
        assert_eq!(copy.digest().unwrap(), machine.digest().unwrap());
        assert_eq!(machine.revision(), 5, "a consumer is no record");
        assert!(apply(&machine, Operation::DeleteConsumer { name: "now" }).is_ok());
        assert_eq!(apply(&machine, Operation::DeleteConsumer { name: "now" }), Err(ErrorKind::NotFound));
        assert_ne!(copy.digest().unwrap(), machine.digest().unwrap());
        assert_eq!(machine.consumers().len(), 1);
    }

    /// Whoever could name a consumer could otherwise make somebody else's skip what it has not seen.
    #[test]
    fn a_token_moves_only_consumers_of_keys_that_it_reaches() {
        let machine = StateMachine::new();
        let scopes = Scopes { read: true, write: true, admin: false };
        let [mine, theirs] = [[1; 32], [2; 32]];
        for (hash, prefix) in [(mine, &b"a:"[..]), (theirs, b"b:")] {
            let key_prefixes = vec![prefix];
            let token = NewTokenItem { hash, name: "", scopes, key_prefixes, deadline_ms: None };
            apply(&machine, Operation::CreateToken(token)).unwrap();
        }
        apply(&machine, Operation::CreateConsumer(item("c", None))).unwrap();
        let in_name_of = |hash, operation| {
            let operation = Operation::Authorised { token: TokenId::of(&hash), operation: Box::new(operation) };
            apply(&machine, operation).map(drop)
        };
        let acknowledge = Operation::AcknowledgeConsumer { name: "c", position: Position::before(1) };
        let delete = Operation::DeleteConsumer { name: "c" };
        assert_eq!(in_name_of(theirs, acknowledge.clone()), Err(ErrorKind::Forbidden));
        assert_eq!(in_name_of(theirs, delete.clone()), Err(ErrorKind::Forbidden));
        assert_eq!(in_name_of(mine, acknowledge), Ok(()));
        assert_eq!(in_name_of(mine, delete), Ok(()));
    }

    #[test]
    fn there_is_room_for_a_thousand() {
        let machine = StateMachine::new();
        for n in 0..CONSUMERS_MAX {
            apply(&machine, Operation::CreateConsumer(item(&format!("c{n}"), None))).unwrap();
        }
        let one_more = || apply(&machine, Operation::CreateConsumer(item("one more", None)));
        assert_eq!(one_more(), Err(ErrorKind::InvalidConfig));
        apply(&machine, Operation::DeleteConsumer { name: "c7" }).unwrap();
        assert!(one_more().is_ok());
        assert_eq!(copy_by_snapshot(&machine).consumers().len(), CONSUMERS_MAX);
    }
}
