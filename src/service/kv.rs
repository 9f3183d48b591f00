//! Kv: the key-value verbs in the form that every face builds on: encoded values, explicit options.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::account::{awaited, begin_write};
use super::auth::Caller;
use super::transaction::transaction_item;
use super::{Clock, Pending, View};
use crate::config::{ClientConfig, Compression, Config};
use crate::encoding::{check_value, stored};
use crate::error::{Error, ErrorKind, Result};
use crate::expression::{Selection, Strictness, check_expression};
use crate::limits;
use crate::model::{Command, Compress, Condition, Consistency, Operation, PutItem};
use crate::model::{ReadOptions, RecordView, Reply, Scopes, Write};
use crate::raft::{Done, Freshness, Node};
use crate::service::client::Client;
use crate::state_machine::Need;
use crate::telemetry::{Ending, Metrics, Verb};

/// Where the data is.
#[derive(Clone)]
pub(super) enum Backend {
    /// Here: this program is a member.
    Node(Arc<Node>),
    /// With the members.
    Client(Arc<Client>),
}

/// The key-value verbs of an open store. Get it from [`Concord::kv`](crate::Concord::kv).
///
/// The methods named like the verbs (`put`, `get`, ...) take and give native values; `read`, `view`,
/// `submit` and `call` carry encoded ones and are what the bindings of other languages are made of.
///
/// Every verb is carried out in the name of the handle that it was got from, see
/// [`Concord::with_token`](crate::Concord::with_token), and answers first of all `unauthorized` when there is no valid
/// token where one is needed, and `forbidden` when the token does not allow it, whether the key exists or not.
#[derive(Clone)]
pub struct Kv {
    pub(super) backend: Backend,
    pub(super) clock: Clock,
    pub(super) caller: Caller,
    compression: Compression,
    value_bytes_max: usize,
    default_consistency: Consistency,
    metrics: Arc<Metrics>,
    /// Whether reads are counted; beside what every read looks at.
    counts: bool,
}

impl Kv {
    pub(crate) fn of_node(node: Arc<Node>, clock: Clock, config: &Config, metrics: Arc<Metrics>) -> Kv {
        Kv {
            backend: Backend::Node(node),
            clock,
            caller: Caller::Trusted,
            compression: config.compression,
            value_bytes_max: config.value_bytes_max,
            default_consistency: config.default_read_consistency,
            counts: metrics.is_enabled(),
            metrics,
        }
    }

    pub(crate) fn of_client(client: Arc<Client>, clock: Clock, config: &ClientConfig, metrics: Arc<Metrics>) -> Kv {
        Kv {
            backend: Backend::Client(client),
            clock,
            caller: Caller::Trusted,
            compression: config.compression,
            value_bytes_max: limits::VALUE_BYTES_MAX_CEILING,
            default_consistency: config.default_read_consistency,
            counts: metrics.is_enabled(),
            metrics,
        }
    }

    /// The same verbs in somebody's name.
    pub(crate) fn acting_as(&self, caller: Caller) -> Kv {
        Kv { caller, ..self.clone() }
    }

    /// Judges the caller alone, as every verb does first of all: whether it has a valid token, these scopes, and reaches
    /// these keys. For faces that find a fault in what they were given before they hand it on: what the token says goes
    /// first. A client judges nothing, its members do.
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`.
    pub fn check_caller(&self, needed: Scopes, keys: &[&[u8]]) -> Result<()> {
        self.caller.check_valid()?;
        if needed.read {
            self.caller.check_reads(keys)?;
        }
        if needed.write {
            self.caller.check_write(&Write::DeleteMany { keys })?;
        }
        if needed.admin { self.caller.check_scope(Need::Admin) } else { Ok(()) }
    }

    /// Reads one record without queue, task or copy: `f` gets it while it is borrowed from the store.
    /// `None` when it is missing or expired. On a single node every level costs the same; on the leader of a cluster
    /// `leader` does so under its lease. Whatever must ask others blocks until they have answered, and with a timeout
    /// of 0 answers `timeout` at once.
    ///
    /// Keep `f` short and do not write to the store from within it.
    ///
    /// # Errors
    /// `invalid_key`, `closed`; at levels above eventual also `timeout` and `cluster_not_ready`.
    pub fn read<T>(&self, key: &[u8], options: &ReadOptions, f: impl FnOnce(RecordView<'_>) -> T) -> Result<Option<T>> {
        self.read_within(key, options, usize::MAX, f)
    }

    /// The same for callers that must not be held up: a value that encodes to more than `value_bytes_max` bytes is refused
    /// before it is looked at or decompressed.
    ///
    /// # Errors
    /// As [`Kv::read`], and `value_too_large`.
    pub fn read_within<T>(
        &self,
        key: &[u8],
        options: &ReadOptions,
        value_bytes_max: usize,
        f: impl FnOnce(RecordView<'_>) -> T,
    ) -> Result<Option<T>> {
        if !self.counts {
            return self.look(key, options, value_bytes_max, f);
        }
        let begun = self.metrics.begin_read();
        let outcome = self.look(key, options, value_bytes_max, f);
        self.metrics.end_read(begun, key, self.level(options), Ending::of_read(&outcome));
        outcome
    }

    /// Reads without accounting for it.
    #[inline]
    fn look<T>(
        &self,
        key: &[u8],
        options: &ReadOptions,
        value_bytes_max: usize,
        f: impl FnOnce(RecordView<'_>) -> T,
    ) -> Result<Option<T>> {
        self.caller.check_read(key)?;
        check_key(key)?;
        let level = self.level(options);
        let node = match &self.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => return client.read(key, level, timeout_ms(options), value_bytes_max, f),
        };
        let machine = node.machine();
        let freshness = node.begin_read(level)?;
        if freshness == Freshness::Present {
            return machine.read_within(key, value_bytes_max, || self.clock.now_ms(), f);
        }
        let mut f = Some(f);
        if freshness == Freshness::Leased {
            // The record is handed out only if this node still led after it was read.
            let mut look = |record: RecordView<'_>| match node.still_leads() {
                true => f.take().map(|f| f(record)),
                false => None,
            };
            match machine.read_within(key, value_bytes_max, || self.clock.now_ms(), &mut look)? {
                Some(Some(found)) => return Ok(Some(found)),
                None if node.still_leads() => return Ok(None),
                _ => {}
            }
        }
        let time_ms = self.wait_for_read(node, level, options)?;
        machine.read_within(key, value_bytes_max, || time_ms, |record| f.take().map(|f| f(record))).map(Option::flatten)
    }

    /// Whether [`Kv::read`] and [`Kv::view`] with these options answer without waiting for anybody. Callers that
    /// must not block take [`Kv::start_read`] when they do not.
    pub fn reads_at_once(&self, options: &ReadOptions) -> bool {
        match &self.backend {
            Backend::Node(node) => !matches!(node.begin_read(self.level(options)), Ok(Freshness::Unknown)),
            Backend::Client(_) => false,
        }
    }

    /// Reads one record without blocking this thread: `done` runs exactly once, here or on an internal thread, with
    /// the record while it is borrowed from the store. It must be quick and must not block.
    ///
    /// # Errors
    /// As [`Kv::read`], all by way of `done`.
    pub fn start_read(
        &self,
        key: &[u8],
        options: &ReadOptions,
        done: impl FnOnce(Result<Option<RecordView<'_>>>) + Send + 'static,
    ) {
        let level = self.level(options);
        if let Err(error) = self.caller.check_read(key).and_then(|()| check_key(key)) {
            self.metrics.awaited_read(Instant::now(), key, level, Ending::Failed(error.kind()));
            return done(Err(error));
        }
        let node = match &self.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => {
                let told = awaited(&self.metrics, key, level, done);
                return client.start_read(key, level, timeout_ms(options), Box::new(told));
            }
        };
        if self.reads_at_once(options) {
            let at_once = ReadOptions { timeout_ms: Some(0), ..*options };
            let mut done = Some(done);
            let begun = self.metrics.begin_read();
            let look = self.look(key, &at_once, usize::MAX, |record| done.take().map(|done| done(Ok(Some(record)))));
            match look {
                // The lease was lost in between.
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                look => {
                    self.metrics.end_read(begun, key, level, Ending::of_read(&look));
                    return done.map_or((), |done| done(look.map(|_| None)));
                }
            }
            let Some(done) = done else { return };
            return self.start_confirmed(
                node,
                key,
                level,
                timeout_ms(options),
                awaited(&self.metrics, key, level, done),
            );
        }
        self.start_confirmed(node, key, level, timeout_ms(options), awaited(&self.metrics, key, level, done));
    }

    /// Reads once the leader or a quorum has confirmed.
    fn start_confirmed(
        &self,
        node: &Arc<Node>,
        key: &[u8],
        level: Consistency,
        timeout_ms: u64,
        done: impl FnOnce(Result<Option<RecordView<'_>>>) + Send + 'static,
    ) {
        let (reader, key, caller) = (node.clone(), key.to_vec(), self.caller.clone());
        let ready = move |ready: Result<u64>| {
            let mut done = Some(done);
            let read = caller.check_valid().and(ready).and_then(|time_ms| {
                reader.machine().read(&key, || time_ms, |record| done.take().map(|done| done(Ok(Some(record)))))
            });
            if let Some(done) = done {
                done(read.map(|_| None));
            }
        };
        node.confirm_read(level, timeout_ms, Box::new(ready));
    }

    /// A point in time of the whole store, for several reads that belong together. Writes go on meanwhile. Blocks like
    /// [`Kv::read`].
    ///
    /// # Errors
    /// `closed`; at levels above eventual also `timeout` and `cluster_not_ready`.
    pub fn view(&self, options: &ReadOptions) -> Result<View> {
        let since = Instant::now();
        let view = self.pin(options);
        self.metrics.ended(Verb::View, since, Ending::of(&view));
        view
    }

    pub(super) fn pin(&self, options: &ReadOptions) -> Result<View> {
        self.caller.check_scope(Need::Read)?;
        let level = self.level(options);
        let node = match &self.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => return client.view(level, timeout_ms(options)).map(View::of_client),
        };
        let freshness = node.begin_read(level)?;
        if freshness != Freshness::Unknown {
            let view = node.machine().view(self.clock.now_ms());
            if freshness == Freshness::Present || node.still_leads() {
                return Ok(View::of_node(view, self.caller.clone()));
            }
        }
        let time_ms = self.wait_for_read(node, level, options)?;
        Ok(View::of_node(node.machine().view(time_ms), self.caller.clone()))
    }

    /// Accounts for a verb that is made of others.
    pub(super) fn account(&self, verb: Verb, since: Instant, ending: Ending) {
        self.metrics.ended(verb, since, ending);
    }

    /// The same without blocking this thread: `done` runs exactly once, here or on an internal thread.
    pub(crate) fn start_view(&self, options: &ReadOptions, done: impl FnOnce(Result<View>) + Send + 'static) {
        let Backend::Node(node) = &self.backend else { return done(Err(ErrorKind::Internal.into())) };
        let (metrics, since) = (self.metrics.clone(), Instant::now());
        let done = move |view: Result<View>| {
            metrics.ended(Verb::View, since, Ending::of(&view));
            done(view);
        };
        if let Err(error) = self.caller.check_scope(Need::Read) {
            return done(Err(error));
        }
        let level = self.level(options);
        match node.begin_read(level) {
            Err(error) => return done(Err(error)),
            Ok(Freshness::Unknown) => {}
            Ok(freshness) => {
                let view = node.machine().view(self.clock.now_ms());
                if freshness == Freshness::Present || node.still_leads() {
                    return done(Ok(View::of_node(view, self.caller.clone())));
                }
            }
        }
        let (reader, caller) = (node.clone(), self.caller.clone());
        let view = move |time_ms| {
            caller.check_valid()?;
            Ok(View::of_node(reader.machine().view(time_ms), caller))
        };
        let ready = move |ready: Result<u64>| done(ready.and_then(view));
        node.confirm_read(level, timeout_ms(options), Box::new(ready));
    }

    pub(super) fn level(&self, options: &ReadOptions) -> Consistency {
        options.consistency.unwrap_or(self.default_consistency)
    }

    /// Blocks until the leader or a quorum has confirmed; gives the time to judge expiry by. What was revoked before the
    /// read began is refused then.
    #[cold]
    pub(super) fn wait_for_read(&self, node: &Node, level: Consistency, options: &ReadOptions) -> Result<u64> {
        let timeout_ms = timeout_ms(options);
        if timeout_ms == 0 {
            return Err(ErrorKind::Timeout.into());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        node.confirm_read(level, timeout_ms, Box::new(move |ready| drop(sender.send(ready))));
        // The rounds keep the time themselves; a node that stops drops the sender.
        let patience = Duration::from_millis(timeout_ms.saturating_add(1_000));
        match receiver.recv_timeout(patience) {
            Ok(ready) => self.caller.check_valid().and(ready),
            Err(_) if node.is_closed() => Err(ErrorKind::Closed.into()),
            Err(_) => Err(ErrorKind::Timeout.into()),
        }
    }

    /// Starts a write and returns at once. `done` runs exactly once, on an internal thread, when the write is
    /// committed and applied or has failed; it must be quick and must not block. When this returns an
    /// error the write was refused: nothing was done and `done` is never called.
    ///
    /// # Errors
    /// The checks of the contract, in its order (token, key, TTL and condition, value, cluster).
    pub fn submit(
        &self,
        write: Write<'_>,
        timeout_ms: Option<u64>,
        done: impl FnOnce(Result<Reply>) + Send + 'static,
    ) -> Result<()> {
        self.start(write, timeout_ms, done)
    }

    /// The same, blocking this thread until the answer is there.
    ///
    /// # Errors
    /// As [`Kv::submit`], and `unknown_outcome` when there is no answer in time: the write may have happened.
    pub fn call(&self, write: Write<'_>, timeout_ms: Option<u64>) -> Result<Reply> {
        self.pending(write, timeout_ms, |reply| reply).wait()
    }

    pub(super) fn pending<T>(&self, write: Write<'_>, timeout_ms: Option<u64>, convert: fn(Reply) -> T) -> Pending<T> {
        let wait_ms = timeout_ms.unwrap_or(limits::TIMEOUT_MS_DEFAULT);
        Pending::start(wait_ms, convert, |done| self.start(write, timeout_ms, done))
    }

    /// Hands a write on and accounts for it when it is done or refused.
    fn start(
        &self,
        write: Write<'_>,
        timeout_ms: Option<u64>,
        done: impl FnOnce(Result<Reply>) + Send + 'static,
    ) -> Result<()> {
        if !self.counts {
            return self.hand_on(write, timeout_ms, Box::new(done));
        }
        let (verb, since) = begin_write(&self.metrics, &write);
        let metrics = self.metrics.clone();
        let told = move |outcome: Result<Reply>| {
            metrics.ended(verb, since, Ending::of(&outcome));
            done(outcome);
        };
        let handed_on = self.hand_on(write, timeout_ms, Box::new(told));
        if handed_on.is_err() {
            self.metrics.ended(verb, since, Ending::of(&handed_on));
        }
        handed_on
    }

    fn hand_on(&self, write: Write<'_>, timeout_ms: Option<u64>, done: Done) -> Result<()> {
        self.caller.check_write(&write)?;
        self.check(&write)?;
        let sealed = self.seal_values(&write)?;
        if timeout_ms == Some(0) {
            return Err(ErrorKind::Timeout.into());
        }
        let stamp_ms = self.clock.now_ms();
        self.propose(stamp_ms, operation(&write, stamp_ms, sealed.as_slice()), timeout_ms, done)
    }

    /// Hands an operation that was judged to the log.
    pub(super) fn propose(
        &self,
        stamp_ms: u64,
        operation: Operation<'_>,
        timeout_ms: Option<u64>,
        done: Done,
    ) -> Result<()> {
        let command = Command { stamp_ms, operation: self.caller.in_own_name(operation) };
        let timeout_ms = timeout_ms.unwrap_or(limits::TIMEOUT_MS_DEFAULT);
        match &self.backend {
            Backend::Node(node) => node.propose(&command, timeout_ms, done),
            Backend::Client(client) => client.propose(&command, timeout_ms, done),
        }
    }

    /// Keys, then TTLs and conditions, of every item.
    fn check(&self, write: &Write<'_>) -> Result<()> {
        match *write {
            Write::Put { key, ttl_ms, condition, .. } => {
                check_key(key)?;
                check_ttl(ttl_ms, ErrorKind::InvalidTtl)?;
                self.check_condition(condition)
            }
            // What does not exist needs no removing.
            Write::Delete { key, condition: Condition::Absent } => {
                check_key(key)?;
                Err(ErrorKind::InvalidCondition.into())
            }
            Write::Delete { key, condition } => {
                check_key(key)?;
                self.check_condition(condition)
            }
            Write::Touch { key, ttl_ms } => {
                check_key(key)?;
                check_ttl(Some(ttl_ms), ErrorKind::InvalidTtl)
            }
            Write::Increment { key, ttl_ms, .. } => {
                check_key(key)?;
                check_ttl(ttl_ms, ErrorKind::InvalidTtl)
            }
            Write::PutMany { items, .. } => {
                check_batch(items.len())?;
                items.iter().try_for_each(|(key, _, _)| check_key(key))?;
                items.iter().try_for_each(|(_, _, ttl_ms)| check_ttl(*ttl_ms, ErrorKind::InvalidTtl))
            }
            Write::DeleteMany { keys } => {
                check_batch(keys.len())?;
                keys.iter().try_for_each(|key| check_key(key))
            }
            Write::TouchMany { items } => {
                check_batch(items.len())?;
                items.iter().try_for_each(|(key, _)| check_key(key))?;
                items.iter().try_for_each(|(_, ttl_ms)| check_ttl(Some(*ttl_ms), ErrorKind::InvalidTouchOperation))
            }
            Write::DeleteWhere { selector } => {
                if !selector.says_which() {
                    let message = "say which records to remove; an empty prefix means all";
                    return Err(Error::new(ErrorKind::InvalidCondition, message));
                }
                Selection::of(&selector, Strictness::Asked).map(drop)
            }
            Write::Transaction(transaction) => self.check_transaction(transaction),
        }
    }

    fn seal_values(&self, write: &Write<'_>) -> Result<Sealed> {
        match *write {
            Write::Put { value, compress, .. } => Ok(Sealed::One([self.seal(value, compress)?])),
            Write::PutMany { items, compress } => {
                let seal = |(_, value, _): &(&[u8], &[u8], Option<u64>)| self.seal(value, compress);
                let values = items.iter().map(seal).collect::<Result<Vec<_>>>()?;
                let bytes: usize = values.iter().map(Vec::len).sum();
                if bytes > limits::BATCH_BYTES_MAX {
                    let max = limits::BATCH_BYTES_MAX;
                    let message = format!("a bulk operation holds at most {max} bytes, this one has {bytes}; split it");
                    return Err(Error::new(ErrorKind::ValueTooLarge, message));
                }
                Ok(Sealed::Many(values))
            }
            Write::Transaction(transaction) => Ok(Sealed::Many(self.seal_transaction(transaction)?)),
            _ => Ok(Sealed::Many(Vec::new())),
        }
    }

    pub(super) fn seal(&self, value: &[u8], compress: Compress) -> Result<Vec<u8>> {
        check_value(value, self.value_bytes_max)?;
        Ok(stored::seal(value, compress, &self.compression))
    }

    pub(super) fn check_condition(&self, condition: Condition<'_>) -> Result<()> {
        match condition {
            Condition::Expected(value) => check_value(value, self.value_bytes_max),
            Condition::Where(expression) => check_expression(expression),
            Condition::Always | Condition::Absent | Condition::Present | Condition::Revision(_) => Ok(()),
        }
    }
}

pub(super) fn timeout_ms(options: &ReadOptions) -> u64 {
    options.timeout_ms.unwrap_or(limits::TIMEOUT_MS_DEFAULT)
}

pub(super) fn check_key(key: &[u8]) -> Result<()> {
    if (1..=limits::KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(ErrorKind::InvalidKey.into()) }
}

fn check_batch(items: usize) -> Result<()> {
    if items <= limits::BATCH_OPS_MAX { Ok(()) } else { Err(ErrorKind::BatchTooLarge.into()) }
}

pub(super) fn check_ttl(ttl_ms: Option<u64>, refusal: ErrorKind) -> Result<()> {
    match ttl_ms {
        Some(ttl_ms) if !(1..=limits::TTL_MS_MAX).contains(&ttl_ms) => Err(refusal.into()),
        _ => Ok(()),
    }
}

/// The values of one write in stored form.
enum Sealed {
    One([Vec<u8>; 1]),
    Many(Vec<Vec<u8>>),
}

impl Sealed {
    fn as_slice(&self) -> &[Vec<u8>] {
        match self {
            Sealed::One(value) => value,
            Sealed::Many(values) => values,
        }
    }
}

/// A checked write as the command that the log carries.
fn operation<'a>(write: &Write<'a>, stamp_ms: u64, sealed: &'a [Vec<u8>]) -> Operation<'a> {
    let deadline = |ttl_ms: Option<u64>| ttl_ms.map(|ttl_ms| stamp_ms + ttl_ms);
    match *write {
        Write::Put { key, ttl_ms, condition, .. } => {
            Operation::Put { item: PutItem { key, stored: &sealed[0], deadline_ms: deadline(ttl_ms) }, condition }
        }
        Write::Delete { key, condition } => Operation::Delete { key, condition },
        Write::Touch { key, ttl_ms } => Operation::Touch { key, deadline_ms: stamp_ms + ttl_ms },
        Write::Increment { key, by, initial, ttl_ms } => {
            Operation::Increment { key, by, initial, deadline_ms: deadline(ttl_ms) }
        }
        Write::PutMany { items, .. } => Operation::PutMany(
            items
                .iter()
                .zip(sealed)
                .map(|((key, _, ttl_ms), stored)| PutItem { key, stored, deadline_ms: deadline(*ttl_ms) })
                .collect(),
        ),
        Write::DeleteMany { keys } => Operation::DeleteMany(keys.to_vec()),
        Write::DeleteWhere { selector } => Operation::DeleteWhere(selector),
        Write::Transaction(transaction) => Operation::Transact(transaction_item(transaction, stamp_ms, sealed)),
        Write::TouchMany { items } => {
            Operation::TouchMany(items.iter().map(|(key, ttl_ms)| (*key, stamp_ms + ttl_ms)).collect())
        }
    }
}
