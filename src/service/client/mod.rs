//! Clients: the same verbs for a program that is no member, as messages to the members.

mod answering;
mod indexing;
mod protocol;
mod remote_view;
mod selecting;
mod watching;

use std::future::Future;
use std::time::Duration;

use crate::encoding::wire::WireReader;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, Consistency, RecordView, TokenId};
use crate::raft::{Done, MembershipChange, Remote, Target};
use crate::service::{ConsumerInfo, Status, TokenInfo};
use crate::state_machine::read_consumer_record;

pub(crate) use answering::Answering;
use protocol::{ReadRequest, method};
pub(super) use remote_view::RemoteView;
pub(super) use watching::{WatchRequest, Watched};

/// How long a client waits for an answer beyond the time that the member has for it.
const GRACE: Duration = Duration::from_millis(500);
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
const TOKENS_TIMEOUT: Duration = Duration::from_secs(10);

/// A program that reads and writes through the members.
pub(crate) struct Client {
    remote: std::sync::Arc<Remote>,
}

type ReadDone = Box<dyn FnOnce(Result<Option<RecordView<'_>>>) + Send>;

impl Client {
    pub(crate) fn new(remote: Remote) -> Client {
        Client { remote: std::sync::Arc::new(remote) }
    }

    pub(super) fn propose(&self, command: &Command<'_>, timeout_ms: u64, done: Done) -> Result<()> {
        self.remote.propose(command, timeout_ms, done)
    }

    pub(super) fn read<T>(
        &self,
        key: &[u8],
        level: Consistency,
        timeout_ms: u64,
        value_bytes_max: usize,
        f: impl FnOnce(RecordView<'_>) -> T,
    ) -> Result<Option<T>> {
        let timeout = patience(timeout_ms)?;
        let message = ReadRequest { level, timeout_ms, keys: vec![key] }.encode();
        let asking = self.remote.ask(target_of(level), method::READ, message, timeout);
        let answer = self.remote.wait(timeout, asking)??;
        let mut records = protocol::decode_records(&answer.bytes)?;
        match records.pop().flatten() {
            Some(record) if record.value.len() > value_bytes_max => Err(ErrorKind::ValueTooLarge.into()),
            record => Ok(record.map(f)),
        }
    }

    pub(super) fn start_read(&self, key: &[u8], level: Consistency, timeout_ms: u64, done: ReadDone) {
        let timeout = match patience(timeout_ms) {
            Ok(timeout) if !self.remote.is_closed() => timeout,
            Ok(_) => return done(Err(ErrorKind::Closed.into())),
            Err(error) => return done(Err(error)),
        };
        let message = ReadRequest { level, timeout_ms, keys: vec![key] }.encode();
        let asking = self.remote.ask(target_of(level), method::READ, message, timeout);
        self.remote.spawn(async move {
            match asking.await {
                Ok(answer) => match protocol::decode_records(&answer.bytes) {
                    Ok(mut records) => done(Ok(records.pop().flatten())),
                    Err(error) => done(Err(error)),
                },
                Err(error) => done(Err(error)),
            }
        });
    }

    pub(super) fn view(&self, level: Consistency, timeout_ms: u64) -> Result<RemoteView> {
        let timeout = patience(timeout_ms)?;
        let message = ReadRequest { level, timeout_ms, keys: Vec::new() }.encode();
        let asking = self.remote.ask(target_of(level), method::OPEN_VIEW, message, timeout);
        let answer = self.remote.wait(timeout, asking)??;
        RemoteView::open(self.remote.clone(), &answer)
    }

    /// Asks for changes: a certain member, else the leader or anybody. Waits as long as the member is asked to and a little more;
    /// when that was in vain, the next one asked is another one.
    pub(super) async fn watch(
        &self,
        of_leader: bool,
        member: Option<u64>,
        message: Vec<u8>,
        wait: Duration,
    ) -> Result<(u64, Vec<u8>)> {
        let anybody = if of_leader { Target::Leader } else { Target::Anybody };
        let target = member.map_or(anybody, Target::Member);
        let answered = self.remote.ask_waiting(target, method::WATCH, message, wait).await?;
        Ok((answered.member, answered.bytes))
    }

    /// The members that are known.
    pub(super) fn members(&self) -> Vec<u64> {
        self.remote.members()
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.remote.spawn(task);
    }

    /// Blocks until a task on the runtime of the connections is done.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        timeout: Duration,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        self.remote.wait(timeout, task)
    }

    /// What a member knows of itself and of the cluster.
    pub(crate) fn status(&self) -> Result<Status> {
        let asking = self.remote.ask(Target::Leader, method::STATUS, Vec::new(), STATUS_TIMEOUT);
        protocol::decode_status(&self.remote.wait(STATUS_TIMEOUT, asking)??.bytes)
    }

    /// What is known of one token or of all.
    pub(super) fn tokens(&self, only: Option<TokenId>) -> Result<Vec<TokenInfo>> {
        let message = protocol::encode_only(only);
        let asking = self.remote.ask(Target::Leader, method::TOKENS, message, TOKENS_TIMEOUT);
        protocol::decode_tokens(&self.remote.wait(TOKENS_TIMEOUT, asking)??.bytes)
    }

    /// What is known of one consumer or of all.
    pub(super) fn consumers(&self, only: Option<&str>) -> Result<Vec<ConsumerInfo>> {
        let message = only.unwrap_or_default().as_bytes().to_vec();
        let asking = self.remote.ask(Target::Leader, method::CONSUMERS, message, TOKENS_TIMEOUT);
        let answer = self.remote.wait(TOKENS_TIMEOUT, asking)??;
        let (mut reader, mut infos) = (WireReader::new(&answer.bytes), Vec::new());
        while !reader.is_empty() {
            infos.push(ConsumerInfo::of(read_consumer_record(&mut reader)?));
        }
        Ok(infos)
    }

    pub(crate) fn change(&self, change: &MembershipChange, timeout_ms: u64) -> Result<u64> {
        self.remote.change(change, timeout_ms)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.remote.is_closed()
    }

    pub(crate) fn close(&self) {
        self.remote.close();
    }
}

/// Stale reads are spread over the members; others have the shortest way at the leader.
fn target_of(level: Consistency) -> Target {
    if level == Consistency::Eventual { Target::Anybody } else { Target::Leader }
}

fn patience(timeout_ms: u64) -> Result<Duration> {
    if timeout_ms == 0 {
        return Err(Error::new(ErrorKind::Timeout, "a client reads from others, which takes more than no time"));
    }
    Ok(Duration::from_millis(timeout_ms) + GRACE)
}
