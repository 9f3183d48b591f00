//! Apply: one command after the other, the same outcome on every replica.

mod transaction;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use super::history::{Change, History};
use super::indexes::{Index, Indexed};
use super::keyspace::{Content, StateMachine, Writer};
use super::sessions::{Admission, Applied, Outcome, Refusal, put_outcome};
use super::slot::{Current, Slot, Version};
use super::tokens::Tokens;
use super::versions::TRIM_PER_COMMAND;
use crate::encoding::command::{Commands, read_selector};
use crate::encoding::wire::WireReader;
use crate::encoding::{Integer, encode_integer, equal_by_worth, integer_of, stored};
use crate::error::{ErrorKind, Result};
use crate::expression::{Expression, Selection, Strictness, Subject};
use crate::model::{Command, Condition, EventKind, Operation, Position, PutItem, Reply, Selector, TokenId};

impl StateMachine {
    /// Applies the commands of one log entry in order, handing each outcome to `done` once the command is
    /// visible as a whole. A batch of a session that was applied before gives its outcomes of that time.
    /// An error means that the entry itself is damaged: the node must stop.
    pub(crate) fn apply(&self, payload: &[u8], mut done: impl FnMut(Outcome)) -> Result<Applied> {
        let content = self.content();
        let commands = Commands::of(payload)?;
        let header = commands.header();
        if header.session == 0 {
            self.apply_all(&content, commands, done)?;
            return Ok(Applied::Done);
        }
        let admission = content.writer().sessions.admit(&header)?;
        match admission {
            Admission::New => {}
            #[cfg(test)]
            Admission::Repeated(_) if self.sabotage.applies_twice() => {}
            Admission::Repeated(outcomes) => {
                outcomes.into_iter().for_each(done);
                return Ok(Applied::Done);
            }
            Admission::Not(why) => return Ok(why),
        }
        let mut kept = Vec::new();
        self.apply_all(&content, commands, |outcome| {
            put_outcome(&mut kept, &outcome);
            done(outcome);
        })?;
        content.writer().sessions.keep(&header, kept);
        Ok(Applied::Done)
    }

    fn apply_all(&self, content: &Content, commands: Commands<'_>, mut done: impl FnMut(Outcome)) -> Result<()> {
        let leader_ms = commands.header().stamp_ms;
        #[cfg(test)]
        let leader_ms = self.sabotage.local_ms().or(leader_ms);
        for command in commands {
            let command = command?;
            let outcome = Application::begin(self, content, &command, leader_ms).run(command.operation)?;
            done(outcome);
        }
        let has_news = content.writer().recorder.end_entry(self.history());
        if has_news {
            self.history().wake_all();
        }
        Ok(())
    }
}

impl Content {
    /// Drops up to `budget` old versions; returns how many it dropped.
    pub(super) fn trim(&self, budget: usize) -> usize {
        self.trim_with(&mut self.writer(), budget)
    }

    fn trim_with(&self, writer: &mut Writer, budget: usize) -> usize {
        writer.versions.trim(budget, |slot, at| {
            let current = slot.current();
            if current.as_ref().is_tombstone() && current.as_ref().revision() == at {
                self.remove(slot);
            }
        })
    }
}

/// One command being applied. Its revision is published, and so visible as a whole, at its end.
struct Application<'a> {
    content: &'a Content,
    history: &'a History,
    tokens: &'a Tokens,
    expired: &'a AtomicU64,
    writer: MutexGuard<'a, Writer>,
    /// Revision of this command if it changes anything.
    revision: u64,
    now_ms: u64,
    /// What the command's deadlines count from; `None` when they are points in time of the log's own.
    origin_ms: Option<u64>,
    /// Whether it may change several keys.
    is_bulk: bool,
    /// Whether readers wait for its end: they must not see a part of it.
    shared: bool,
    changed: bool,
    /// Slots to take out of the indexes once the command is published.
    removed: Vec<Slot>,
    indexes: arc_swap::Guard<Arc<Vec<Arc<Index>>>>,
    /// What indexes follow, when there are any.
    indexed: Vec<Indexed>,
}

impl<'a> Application<'a> {
    /// Time is the leader's, from the batch; in version 1 it came with each command.
    fn begin(
        machine: &'a StateMachine,
        content: &'a Content,
        command: &Command<'_>,
        leader_ms: Option<u64>,
    ) -> Application<'a> {
        let mut writer = content.writer();
        content.trim_with(&mut writer, TRIM_PER_COMMAND);
        let stamp_ms = leader_ms.unwrap_or(command.stamp_ms);
        if stamp_ms > writer.time_ms {
            writer.time_ms = stamp_ms;
            content.time_ms.store(stamp_ms, Ordering::Release);
        }
        let indexes = content.indexes.all();
        let is_bulk = matches!(
            command.operation.unwrapped(),
            Operation::PutMany(_)
                | Operation::DeleteMany(_)
                | Operation::TouchMany(_)
                | Operation::Expire { .. }
                | Operation::DeleteWhere(_)
                | Operation::Transact(_)
        );
        // A record that is known by its value is not seen before the indexes know it, nor after.
        let shared = is_bulk || !indexes.is_empty();
        let (revision, now_ms) = (writer.revision + 1, writer.time_ms);
        Application {
            content,
            history: machine.history(),
            tokens: machine.tokens(),
            expired: &machine.expired,
            writer,
            revision,
            now_ms,
            origin_ms: leader_ms.map(|_| command.stamp_ms),
            is_bulk,
            shared,
            changed: false,
            removed: Vec::new(),
            indexes,
            indexed: Vec::new(),
        }
    }

    fn run(mut self, operation: Operation<'_>) -> Result<Outcome> {
        let (operation, owner) = match operation {
            Operation::Authorised { token, operation } => (*operation, Some(token)),
            operation => (operation, None),
        };
        let outcome = match owner {
            Some(token) if !self.tokens.is_valid(token, self.now_ms) => Err(ErrorKind::Unauthorized.into()),
            _ => self.carry_out(operation, owner)?,
        };
        self.publish();
        Ok(outcome)
    }

    /// The operation itself, in the name of a token or of nobody.
    fn carry_out(&mut self, operation: Operation<'_>, owner: Option<TokenId>) -> Result<Outcome> {
        let outcome = match operation {
            Operation::Put { item, condition } => self.put_if(&self.dated(&item), condition)?,
            Operation::Delete { key, condition } => self.delete_if(key, condition)?,
            Operation::Touch { key, deadline_ms } => {
                if self.touch(key, self.deadline(deadline_ms)) {
                    self.done()
                } else {
                    Err(ErrorKind::NotFound.into())
                }
            }
            Operation::Increment { key, by, initial, deadline_ms } => {
                let deadline_ms = deadline_ms.map(|deadline_ms| self.deadline(deadline_ms));
                let sum = self.increment(key, by, initial, deadline_ms)?;
                sum.map(|value| Reply::Integer { value, revision: self.revision }).map_err(Refusal::from)
            }
            Operation::PutMany(items) => {
                items.iter().for_each(|item| self.put(&self.dated(item)));
                self.done()
            }
            Operation::DeleteMany(keys) => {
                keys.iter().for_each(|key| self.delete(key));
                self.done()
            }
            Operation::TouchMany(items) => {
                let touch = |(key, deadline_ms): &(&[u8], u64)| self.touch(key, self.deadline(*deadline_ms));
                Ok(Reply::Touched { found: items.iter().map(touch).collect() })
            }
            Operation::Expire { up_to_ms } => {
                let up_to_ms = up_to_ms.min(self.now_ms);
                let expired = self.writer.expiry.take_expired(up_to_ms);
                self.expired.fetch_add(expired.len() as u64, Ordering::Relaxed);
                expired.iter().for_each(|slot| self.bury(slot, EventKind::Expire));
                self.done()
            }
            Operation::DeleteWhere(selector) => self.delete_where(&selector)?,
            Operation::Transact(transaction) => self.transact(&transaction, owner)?,
            Operation::CreateIndex { name, path } => self.defined(self.content.indexes.create(name, path)),
            Operation::DropIndex(name) => self.defined(self.content.indexes.drop_index(name)),
            Operation::RebuildIndex(name) => self.defined(self.content.indexes.rebuild(name)),
            Operation::CreateConsumer(item) => {
                let (next, now_ms) = (Position::before(self.revision), self.now_ms);
                let created = self.writer.consumers.create(&item, next, now_ms);
                created.map(|()| self.unnumbered()).map_err(Refusal::from)
            }
            Operation::AcknowledgeConsumer { name, position } => {
                let (next, now_ms) = (Position::before(self.revision), self.now_ms);
                let allowed = self.may_move(owner, name)?;
                let moved = allowed.and_then(|()| self.writer.consumers.acknowledge(name, position, next, now_ms));
                moved.map(|()| self.unnumbered()).map_err(Refusal::from)
            }
            Operation::DeleteConsumer { name } => {
                let allowed = self.may_move(owner, name)?;
                let deleted = allowed.and_then(|()| self.writer.consumers.delete(name));
                deleted.map(|()| self.unnumbered()).map_err(Refusal::from)
            }
            Operation::OpenSession => Ok(Reply::Done { revision: self.writer.sessions.open(owner) }),
            Operation::CreateToken(item) => {
                let deadline_ms = item.deadline_ms.map(|deadline_ms| self.deadline(deadline_ms));
                let created = self.tokens.create(&item, deadline_ms, self.now_ms);
                created.map(|()| self.unnumbered()).map_err(Refusal::from)
            }
            Operation::RevokeToken(token) => {
                let revoked = self.tokens.revoke(token);
                // Those who watch with it are told.
                self.writer.recorder.wake();
                revoked.map(|()| self.unnumbered()).map_err(Refusal::from)
            }
            Operation::NoteTokenUse { token, used_ms } => {
                let noted = self.tokens.note_use(token, used_ms.min(self.now_ms));
                noted.map(|()| self.unnumbered()).map_err(Refusal::from)
            }
            // Reading a command lets none within another through.
            Operation::Authorised { .. } => Err(ErrorKind::Unauthorized.into()),
        };
        Ok(outcome)
    }

    /// Whether the token reaches all keys that the consumer of this name may be told of.
    fn may_move(&self, owner: Option<TokenId>, name: &str) -> Result<Result<(), ErrorKind>> {
        let token = owner.and_then(|owner| self.tokens.get(owner));
        let (Some(token), Some(consumer)) = (token, self.writer.consumers.get(name)) else { return Ok(Ok(())) };
        let selector = read_selector(&mut WireReader::new(&consumer.selector))?;
        Ok(token.check_selector(&selector).map_err(|error| error.kind()))
    }

    /// The reply of what changes no record.
    fn unnumbered(&self) -> Reply {
        Reply::Done { revision: 0 }
    }

    fn defined(&self, outcome: Result<(), ErrorKind>) -> Outcome {
        outcome.map(|()| self.unnumbered()).map_err(Refusal::from)
    }

    /// A deadline by the state machine's time, with the lifetime that the origin meant by its own clock.
    fn deadline(&self, deadline_ms: u64) -> u64 {
        let Some(origin_ms) = self.origin_ms else { return deadline_ms };
        let ttl_ms = deadline_ms.saturating_sub(origin_ms);
        // 0 and the largest number say that there is no deadline.
        self.now_ms.saturating_add(ttl_ms).clamp(1, u64::MAX - 1)
    }

    fn dated<'b>(&self, item: &PutItem<'b>) -> PutItem<'b> {
        PutItem { deadline_ms: item.deadline_ms.map(|deadline_ms| self.deadline(deadline_ms)), ..*item }
    }

    /// Tells the history of a change that is about to be made.
    fn note(&mut self, kind: EventKind, key: &[u8], version: Option<&Version>, previous: Option<&Current>) {
        self.changed = true;
        if self.history.is_kept() {
            let is_there = |previous: &&Current| {
                let previous = previous.as_ref();
                !previous.is_tombstone() && (kind == EventKind::Expire || !previous.is_expired_at(self.now_ms))
            };
            let previous = previous.filter(is_there);
            let change = Change { kind, is_bulk: self.is_bulk, key, version, previous };
            self.writer.recorder.note(self.history.retention(), self.revision, self.now_ms, &change);
        }
    }

    fn index(&mut self, slot: &Slot, old: Option<Version>) {
        self.indexed.push(Indexed { slot: slot.clone(), old, new: Some(slot.current().to_version()) });
    }

    fn publish(mut self) {
        if !self.indexed.is_empty() {
            self.indexes.iter().for_each(|index| index.follow(&self.indexed));
        }
        if self.changed {
            self.writer.revision = self.revision;
            self.content.published.store(self.revision, Ordering::Release);
            self.writer.recorder.end_command(self.history, self.revision);
        }
        self.removed.iter().for_each(|slot| self.content.remove_if_buried(slot, self.revision));
    }

    fn done(&self) -> Outcome {
        Ok(Reply::Done { revision: if self.changed { self.revision } else { 0 } })
    }

    /// The slot of a key that exists at this command's time.
    fn live(&self, key: &[u8]) -> Option<Slot> {
        self.content.slot(key).filter(|slot| {
            let current = slot.current();
            let version = current.as_ref();
            !version.is_tombstone() && !version.is_expired_at(self.now_ms)
        })
    }

    fn put_if(&mut self, item: &PutItem<'_>, condition: Condition<'_>) -> Result<Outcome> {
        if let Err(kind) = self.check(item.key, condition)? {
            return Ok(Err(kind.into()));
        }
        self.put(item);
        Ok(self.done())
    }

    fn delete_if(&mut self, key: &[u8], condition: Condition<'_>) -> Result<Outcome> {
        if let Err(kind) = self.check(key, condition)? {
            return Ok(Err(kind.into()));
        }
        self.delete(key);
        Ok(self.done())
    }

    fn check(&self, key: &[u8], condition: Condition<'_>) -> Result<Result<(), ErrorKind>> {
        if condition == Condition::Always {
            return Ok(Ok(()));
        }
        let verdict = match (condition, self.live(key)) {
            (Condition::Always, _) | (Condition::Absent, None) => Ok(()),
            (Condition::Absent, Some(_)) => Err(ErrorKind::AlreadyExists),
            (_, None) => Err(ErrorKind::NotFound),
            (Condition::Present, Some(_)) => Ok(()),
            (Condition::Revision(revision), Some(slot)) => {
                let holds = slot.current().as_ref().revision() == revision;
                if holds { Ok(()) } else { Err(ErrorKind::ConditionFailed) }
            }
            (Condition::Expected(expected), Some(slot)) => {
                let current = slot.current();
                let value = stored::open(current.as_ref().stored)?;
                if equal_by_worth(&value, expected) { Ok(()) } else { Err(ErrorKind::ConditionFailed) }
            }
            (Condition::Where(expression), Some(slot)) => self.check_expression(expression, &slot)?,
        };
        Ok(verdict)
    }

    fn check_expression(&self, expression: &str, slot: &Slot) -> Result<Result<(), ErrorKind>> {
        let expression = match Expression::parse_as(expression, Strictness::Accepted) {
            Ok(expression) => expression,
            Err(error) => return Ok(Err(error.kind())),
        };
        let current = slot.current();
        let version = current.as_ref();
        let value = stored::open(version.stored)?;
        let ttl_ms = version.deadline_ms().map(|deadline_ms| deadline_ms - self.now_ms);
        let subject = Subject { key: slot.key(), value: &value, revision: version.revision(), ttl_ms };
        Ok(if expression.holds(&subject) { Ok(()) } else { Err(ErrorKind::ConditionFailed) })
    }

    /// Picks first and then removes, so that readers go on until the last moment.
    fn delete_where(&mut self, selector: &Selector<'_>) -> Result<Outcome> {
        let selection = match Selection::of(selector, Strictness::Accepted) {
            Ok(selection) => selection,
            Err(error) => return Ok(Err(error.kind().into())),
        };
        let picked = self.content.picked(&selection, self.now_ms)?;
        picked.iter().for_each(|slot| self.bury(slot, EventKind::Delete));
        let revision = if self.changed { self.revision } else { 0 };
        Ok(Ok(Reply::Integer { value: picked.len() as i64, revision }))
    }

    fn put(&mut self, item: &PutItem<'_>) {
        let version = Version::new(self.revision, self.shared, item.deadline_ms, item.stored);
        match self.content.slot(item.key) {
            Some(slot) => self.replace(&slot, version, EventKind::Put),
            None => {
                self.note(EventKind::Put, item.key, Some(&version), None);
                let slot = Slot::new(item.key, version);
                self.content.insert(&slot, item.stored.len());
                if let Some(deadline_ms) = item.deadline_ms {
                    self.writer.expiry.insert(&slot, deadline_ms);
                }
                if !self.indexes.is_empty() {
                    self.index(&slot, None);
                }
            }
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(slot) = self.live(key) {
            self.bury(&slot, EventKind::Delete);
        }
    }

    fn touch(&mut self, key: &[u8], deadline_ms: u64) -> bool {
        let Some(slot) = self.live(key) else { return false };
        let version = {
            let current = slot.current();
            Version::new(self.revision, self.shared, Some(deadline_ms), current.as_ref().stored)
        };
        self.replace(&slot, version, EventKind::Touch);
        true
    }

    /// The sum; the revision is that of the command.
    fn increment(
        &mut self,
        key: &[u8],
        by: i64,
        initial: i64,
        deadline_ms: Option<u64>,
    ) -> Result<Result<i64, ErrorKind>> {
        let Sum { value, deadline_ms } = match self.sum(key, by, initial, deadline_ms)? {
            Ok(sum) => sum,
            Err(kind) => return Ok(Err(kind)),
        };
        let mut stored = vec![stored::RAW];
        encode_integer(value, &mut stored);
        self.put(&PutItem { key, stored: &stored, deadline_ms });
        Ok(Ok(value))
    }

    /// What an increment comes to.
    fn sum(&self, key: &[u8], by: i64, initial: i64, deadline_ms: Option<u64>) -> Result<Result<Sum, ErrorKind>> {
        let (current, deadline_ms) = match self.live(key) {
            None => (Some(initial), deadline_ms),
            Some(slot) => {
                let current = slot.current();
                let version = current.as_ref();
                match integer_of(&stored::open(version.stored)?) {
                    None => return Ok(Err(ErrorKind::NotAnInteger)),
                    Some(Integer::Exact(integer)) => (i64::try_from(integer).ok(), version.deadline_ms()),
                    Some(Integer::OutOfRange) => (None, version.deadline_ms()),
                }
            }
        };
        let value = current.and_then(|current| current.checked_add(by));
        Ok(value.map(|value| Sum { value, deadline_ms }).ok_or(ErrorKind::ValueTooLarge))
    }

    /// Puts a new version in the place of the current one, which is kept if a view needs it.
    fn replace(&mut self, slot: &Slot, version: Version, kind: EventKind) {
        let current = slot.current();
        let (old, new) = (current.as_ref(), version.as_ref());
        let new_deadline_ms = new.deadline_ms();
        if old.is_tombstone() {
            self.content.count(1, slot.key().len() + new.stored.len());
        } else {
            self.content.discount(0, old.stored.len());
            self.content.count(0, new.stored.len());
        }
        if self.writer.versions.needs(old.revision()) {
            self.writer.versions.keep(slot, current.to_version(), self.revision);
        }
        self.note(kind, slot.key(), Some(&version), Some(&current));
        slot.replace(version);
        self.writer.expiry.change(slot, old.deadline_ms(), new_deadline_ms);
        if !self.indexes.is_empty() {
            self.index(slot, Some(current.to_version()));
        }
    }

    /// Removes a record. Its slot leaves the indexes after the command is published, or when no view needs it.
    fn bury(&mut self, slot: &Slot, kind: EventKind) {
        let current = slot.current();
        let old = current.as_ref();
        self.content.discount(1, slot.key().len() + old.stored.len());
        if self.writer.versions.needs(old.revision()) {
            self.writer.versions.keep(slot, current.to_version(), self.revision);
        }
        self.note(kind, slot.key(), None, Some(&current));
        slot.replace(Version::tombstone(self.revision, self.shared));
        if self.writer.versions.keeps(slot) {
            self.writer.versions.bury(slot, self.revision);
        } else {
            self.removed.push(slot.clone());
        }
        self.writer.expiry.change(slot, old.deadline_ms(), None);
        if !self.indexes.is_empty() {
            self.index(slot, Some(current.to_version()));
        }
    }
}

/// What an incremented key holds afterwards.
struct Sum {
    value: i64,
    deadline_ms: Option<u64>,
}

impl Content {
    /// A later item of the same command may have put the key again.
    fn remove_if_buried(&self, slot: &Slot, revision: u64) {
        let current = slot.current();
        if current.as_ref().is_tombstone() && current.as_ref().revision() == revision {
            self.remove(slot);
        }
    }
}
