//! Consumers: watches with a name, whose place is kept in the store.

use super::{Watch, WatchOptions, WatchStart};
use crate::encoding::command::{put_selector, read_selector};
use crate::encoding::wire::WireReader;
use crate::error::{Error, ErrorKind, Result};
use crate::expression::{Selection, Strictness};
use crate::limits;
use crate::model::{ConsumerItem, EventKinds, Operation, Position, Reply, Selector};
use crate::service::Pending;
use crate::service::kv::{Backend, Kv};
use crate::state_machine::{ConsumerRecord, Need};

/// What a consumer is to be told, and from where on, when there is none of its name yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewConsumer<'a> {
    /// Which keys, as in [`WatchOptions`].
    pub selector: Selector<'a>,
    /// Where it begins.
    pub start: WatchStart,
    /// Which kinds of changes.
    pub kinds: EventKinds,
}

/// What is known of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// Which kinds of changes it is told.
    pub kinds: EventKinds,
    /// The change that it is told next, by what it has acknowledged; `None` when everything that is there comes first.
    pub next: Option<Position>,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it last acknowledged anything, milliseconds since the Unix epoch.
    pub acknowledged_ms: Option<u64>,
    selector: Vec<u8>,
}

impl ConsumerInfo {
    pub(in crate::service) fn of(record: ConsumerRecord) -> ConsumerInfo {
        let ConsumerRecord { name, kinds, next, created_ms, acknowledged_ms, selector } = record;
        let next = Some(next).filter(|next| next.revision > 0);
        let acknowledged_ms = Some(acknowledged_ms).filter(|ms| *ms > 0);
        ConsumerInfo { name, kinds, next, created_ms, acknowledged_ms, selector }
    }

    /// Which keys it is told of.
    ///
    /// # Errors
    /// `corrupt`, never of a store that is well.
    pub fn selector(&self) -> Result<Selector<'_>> {
        read_selector(&mut WireReader::new(&self.selector))
    }

    fn start(&self) -> WatchStart {
        self.next.map_or(WatchStart::State, WatchStart::From)
    }
}

/// Watches with a name, whose place is kept in the store: whoever opens one goes on behind what was acknowledged last, on any
/// member, from any language, after any crash. Get it from [`Concord::consumers`](crate::Concord::consumers). The verbs block.
///
/// What was told and not acknowledged is told again: at least once, in order. Nobody is kept from opening the same consumer
/// twice: both are told everything, and what one acknowledges neither is told again when it is opened anew.
///
/// The history of changes is bounded: a consumer that stays away for longer than it reaches gets `compacted` when it is
/// opened, and a gap when that happens while it is open. The remedy is to delete it and open it with [`WatchStart::State`]:
/// it is then told everything that is there, and what changes from there on.
///
/// Its place is a small write of its own with each acknowledgement: acknowledge after a batch, not after each change. A token
/// needs the scopes `read` and `write` for a consumer, and must reach all keys of its selector.
///
/// ```
/// use concord_kv::{Concord, Config, NewConsumer, Notice};
/// use std::time::Duration;
///
/// let db = Concord::open(Config::default())?;
/// let mut audit = db.consumers().open("audit", &NewConsumer::default())?;
/// db.kv().put("user:1", "Alice").wait()?;
/// for notice in audit.watch().take_within(100, Duration::from_secs(5))? {
///     println!("{notice:?}"); // done with it
/// }
/// audit.acknowledge().wait()?;
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub struct Consumers {
    kv: Kv,
}

impl Consumers {
    pub(crate) fn new(kv: Kv) -> Consumers {
        Consumers { kv }
    }

    /// Takes up the consumer of this name where it stands, or makes it. What is said of it counts only when it is made.
    ///
    /// # Errors
    /// `invalid_config` for a name that is not 1 to 64 bytes without control characters, and when there are 1,000 consumers;
    /// `already_exists` when there is one that is told something else; `compacted` when what it is told next is no longer
    /// retained; what else a watch and a write answer.
    pub fn open(&self, name: &str, new: &NewConsumer<'_>) -> Result<Consumer> {
        self.kv.caller.check_scope(Need::ReadAndWrite)?;
        check_name(name)?;
        let options = WatchOptions { selector: new.selector, kinds: new.kinds, ..WatchOptions::default() };
        let selection = super::selection(&options.selector)?;
        self.kv.caller.check_range(selection.range())?;
        let start = match new.start {
            WatchStart::Now => None,
            WatchStart::From(position) => Some(position.max(Position::before(1))),
            WatchStart::State => Some(Position::before(0)),
        };
        let item = ConsumerItem { name, kinds: new.kinds, start, selector: new.selector };
        let info = match self.carry_out(Operation::CreateConsumer(item)).wait() {
            Ok(()) => self.get(name)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let info = self.get(name)?;
                let mut selector = Vec::new();
                put_selector(&mut selector, &new.selector);
                if (info.kinds, &info.selector) != (new.kinds, &selector) {
                    let message = format!("there is a consumer `{name}` that is told something else; delete it first");
                    return Err(Error::new(ErrorKind::AlreadyExists, message));
                }
                info
            }
            Err(error) if error.kind() == ErrorKind::InvalidConfig => {
                let message = format!("there are {} consumers, more are not possible", limits::CONSUMERS_MAX);
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
            Err(error) => return Err(error),
        };
        self.take_up(info)
    }

    /// Takes up the consumer of this name where it stands.
    ///
    /// # Errors
    /// `not_found`; as [`Consumers::open`].
    pub fn resume(&self, name: &str) -> Result<Consumer> {
        self.kv.caller.check_scope(Need::ReadAndWrite)?;
        let info = self.get(name)?;
        self.take_up(info)
    }

    fn take_up(&self, info: ConsumerInfo) -> Result<Consumer> {
        let selector = info.selector()?;
        let options = WatchOptions { selector, start: info.start(), kinds: info.kinds, ..WatchOptions::default() };
        let watch = Watch::begin(&self.kv, &options)?;
        Ok(Consumer { kv: self.kv.clone(), name: info.name, watch })
    }

    /// What is known of one.
    ///
    /// # Errors
    /// `unauthorized`; `not_found`; `forbidden` for a token that does not reach all its keys.
    pub fn get(&self, name: &str) -> Result<ConsumerInfo> {
        self.kv.caller.check_scope(Need::Read)?;
        let unknown = || Error::new(ErrorKind::NotFound, format!("there is no consumer `{name}`"));
        let info = self.known(Some(name))?.pop().ok_or_else(unknown)?;
        self.kv.caller.check_range(Selection::of(&info.selector()?, Strictness::Accepted)?.range())?;
        Ok(info)
    }

    /// All consumers, by name. A token needs to reach every key.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`, `timeout`, `cluster_not_ready`.
    pub fn list(&self) -> Result<Vec<ConsumerInfo>> {
        self.kv.caller.check_read_all()?;
        self.known(None)
    }

    /// Forgets a consumer. One that is open goes on, but what it acknowledges is `not_found`.
    ///
    /// # Errors
    /// `not_found`; what else a write answers.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.kv.caller.check_scope(Need::ReadAndWrite)?;
        check_name(name)?;
        self.carry_out(Operation::DeleteConsumer { name }).wait()
    }

    fn carry_out(&self, operation: Operation<'_>) -> Pending<()> {
        carry_out(&self.kv, operation)
    }

    fn known(&self, only: Option<&str>) -> Result<Vec<ConsumerInfo>> {
        let node = match &self.kv.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => return client.consumers(only),
        };
        self.kv.catch_up(node)?;
        let machine = node.machine();
        let records = only.map_or_else(|| machine.consumers(), |name| machine.consumer(name).into_iter().collect());
        Ok(records.into_iter().map(ConsumerInfo::of).collect())
    }
}

fn carry_out(kv: &Kv, operation: Operation<'_>) -> Pending<()> {
    Pending::start(limits::TIMEOUT_MS_DEFAULT, drop, |done| kv.propose(kv.clock.now_ms(), operation, None, done))
}

fn check_name(name: &str) -> Result<()> {
    let is_name = (1..=limits::CONSUMER_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    let message = "the name of a consumer has 1 to 64 bytes and no control characters";
    if is_name { Ok(()) } else { Err(Error::new(ErrorKind::InvalidConfig, message)) }
}

/// A named watch that is open. From [`Consumers::open`].
pub struct Consumer {
    kv: Kv,
    name: String,
    watch: Watch,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The changes that it is told, from behind what was acknowledged last. How they are taken is up to the caller.
    pub fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// Says that everything is done that was taken: it is not told again. Nothing happens while it is still told what was there
    /// in the beginning: that is told again as a whole.
    ///
    /// # Errors
    /// By way of what is awaited: `not_found` when the consumer was deleted; what else a write answers.
    pub fn acknowledge(&self) -> Pending<()> {
        match self.watch.position() {
            Some(position) => self.acknowledge_up_to(position),
            None => Pending::start(limits::TIMEOUT_MS_DEFAULT, drop, |done| {
                done(Ok(Reply::Done { revision: 0 }));
                Ok(())
            }),
        }
    }

    /// Says that everything before this place is done, such as [`Event::next`](crate::Event::next) of the last change that is.
    /// An acknowledgement that is behind an earlier one changes nothing.
    ///
    /// # Errors
    /// As [`Consumer::acknowledge`], and `invalid_condition` for a place that is yet to come.
    pub fn acknowledge_up_to(&self, position: Position) -> Pending<()> {
        if let Err(error) = self.kv.caller.check_scope(Need::ReadAndWrite) {
            return Pending::refused(error, drop);
        }
        carry_out(&self.kv, Operation::AcknowledgeConsumer { name: &self.name, position })
    }
}
