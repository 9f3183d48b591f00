//! Delivery: brings a batch to the leader, wherever it is, and tries again until it is known what became of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::session::{Session, Ticket};
use crate::encoding::batch::put_batch_header;
use crate::encoding::command::put_command;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, Operation, Reply};
use crate::state_machine::Outcome;

/// What became of one attempt to bring a batch to the leader.
pub(in crate::raft) enum Attempt {
    /// Committed and applied.
    Applied(Vec<Outcome>),
    /// Certainly not done now or later; another attempt may succeed.
    NotDone(Error),
    /// Certainly not done, and it makes no sense to try again.
    Refused(Error),
    /// The answer was lost: it may be done.
    Lost,
    /// The cluster does not know the batch's session; certainly not done by this attempt.
    UnknownSession,
}

/// The way to the leader.
pub(in crate::raft) trait Way: Send + Sync {
    /// One attempt to have this batch applied; `Lost` when whoever was asked does not answer in this time.
    fn attempt(&self, batch: Vec<u8>, answer_timeout: Duration) -> BoxFuture<'_, Attempt>;
    /// Waits for a change that makes another attempt worthwhile, but not for long.
    fn pause(&self) -> BoxFuture<'_, ()>;
    /// How long a batch that certainly was not done waits for a leader.
    fn patience(&self) -> Duration;
    fn is_closed(&self) -> bool;
}

/// How long the first attempt waits for its answer. A leader that is frozen or cut off answers never, and the batch is
/// safe to send again, under its number, to the next one. After a lost answer the next attempt waits twice as long.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(600);
const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Brings batches to the leader, each exactly once.
pub(in crate::raft) struct Delivery {
    way: Arc<dyn Way>,
    session: Session,
    opening: tokio::sync::Mutex<()>,
}

impl Delivery {
    pub(in crate::raft) fn new(way: Arc<dyn Way>) -> Delivery {
        Delivery { way, session: Session::default(), opening: tokio::sync::Mutex::new(()) }
    }

    /// Delivers encoded commands. An error says for all of them whether they are not done or may be done.
    pub(in crate::raft) async fn deliver(&self, commands: &[u8], timeout: Duration) -> Result<Vec<Outcome>> {
        if timeout.is_zero() {
            return Err(ErrorKind::Timeout.into());
        }
        let start = Instant::now();
        let give_up_at = start + timeout;
        // So that a caller hears that nothing was done before its own time is over.
        let patient_until = start + self.way.patience().min(timeout.mul_f64(0.8));
        loop {
            let ticket = self.ticket(patient_until).await?;
            let outcome = self.deliver_as(ticket, commands, give_up_at, patient_until).await;
            self.session.done(ticket);
            match outcome {
                // Nothing was done under the old session, so a new one may begin.
                Ok(None) => {}
                Ok(Some(outcomes)) => return Ok(outcomes),
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` when the session is not known any more and nothing was done.
    async fn deliver_as(
        &self,
        ticket: Ticket,
        commands: &[u8],
        give_up_at: Instant,
        patient_until: Instant,
    ) -> Result<Option<Vec<Outcome>>> {
        let mut may_be_done = false;
        let mut answer_timeout = ANSWER_TIMEOUT;
        loop {
            let mut batch = Vec::with_capacity(commands.len() + 40);
            put_batch_header(&mut batch, ticket.session, ticket.sequence, self.session.acknowledged_below(ticket));
            batch.extend_from_slice(commands);
            let attempt = tokio::time::timeout_at(give_up_at, self.way.attempt(batch, answer_timeout)).await;
            let failure = match attempt {
                Ok(Attempt::Applied(outcomes)) => return Ok(Some(outcomes)),
                Ok(Attempt::UnknownSession) => {
                    self.session.forget(ticket.session);
                    if may_be_done {
                        return Err(ErrorKind::UnknownOutcome.into());
                    }
                    return Ok(None);
                }
                Ok(Attempt::Refused(error)) if !may_be_done => return Err(error),
                Ok(Attempt::NotDone(error) | Attempt::Refused(error)) => error,
                Ok(Attempt::Lost) | Err(_) => {
                    may_be_done = true;
                    answer_timeout = ANSWER_TIMEOUT_MAX.min(answer_timeout * 2);
                    ErrorKind::UnknownOutcome.into()
                }
            };
            if self.way.is_closed() {
                return Err(if may_be_done { ErrorKind::UnknownOutcome.into() } else { ErrorKind::Closed.into() });
            }
            let end = if may_be_done { give_up_at } else { patient_until };
            if Instant::now() >= end {
                return Err(if may_be_done { ErrorKind::UnknownOutcome.into() } else { failure });
            }
            self.way.pause().await;
        }
    }

    async fn ticket(&self, patient_until: Instant) -> Result<Ticket> {
        if let Some(ticket) = self.session.ticket() {
            return Ok(ticket);
        }
        let _one_opens = self.opening.lock().await;
        loop {
            if let Some(ticket) = self.session.ticket() {
                return Ok(ticket);
            }
            let failure = match self.open_session(patient_until).await {
                Ok(id) => {
                    self.session.open(id);
                    continue;
                }
                // Nobody may open one in this name: that stays so.
                Err(failure) if !failure.kind().is_retryable() => return Err(failure),
                Err(failure) => failure,
            };
            if self.way.is_closed() {
                return Err(ErrorKind::Closed.into());
            }
            if Instant::now() >= patient_until {
                return Err(failure);
            }
            self.way.pause().await;
        }
    }

    /// A session that is opened and not used, because the answer was lost, does no harm: it is forgotten in time.
    async fn open_session(&self, until: Instant) -> Result<u64> {
        let mut batch = Vec::new();
        put_batch_header(&mut batch, 0, 0, 0);
        put_command(&mut batch, &Command { stamp_ms: 0, operation: Operation::OpenSession });
        match tokio::time::timeout_at(until, self.way.attempt(batch, ANSWER_TIMEOUT)).await {
            Ok(Attempt::Applied(outcomes)) => match outcomes.first() {
                Some(Ok(Reply::Done { revision })) => Ok(*revision),
                Some(Err(refusal)) => Err((*refusal).into()),
                _ => Err(ErrorKind::Internal.into()),
            },
            Ok(Attempt::NotDone(error) | Attempt::Refused(error)) => Err(error),
            Ok(Attempt::Lost | Attempt::UnknownSession) | Err(_) => {
                Err(Error::new(ErrorKind::ClusterNotReady, "no leader answers; nothing was done, try again shortly"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use crate::encoding::command::Commands;

    /// A leader that answers as it is told.
    struct Script {
        answers: Mutex<Vec<Attempt>>,
        seen: Mutex<Vec<(u64, u64)>>,
    }

    impl Script {
        fn new(mut answers: Vec<Attempt>) -> Arc<Script> {
            answers.reverse();
            Arc::new(Script { answers: Mutex::new(answers), seen: Mutex::default() })
        }
    }

    impl Way for Script {
        fn attempt(&self, batch: Vec<u8>, answer_timeout: Duration) -> BoxFuture<'_, Attempt> {
            let header = Commands::of(&batch).unwrap().header();
            self.seen.lock().unwrap().push((header.session, header.sequence));
            let answer = self.answers.lock().unwrap().pop().unwrap();
            let is_frozen = matches!(answer, Attempt::Lost);
            Box::pin(async move {
                if is_frozen {
                    tokio::time::sleep(answer_timeout).await;
                }
                answer
            })
        }

        fn pause(&self) -> BoxFuture<'_, ()> {
            Box::pin(tokio::time::sleep(Duration::from_millis(10)))
        }

        fn patience(&self) -> Duration {
            Duration::from_millis(100)
        }

        fn is_closed(&self) -> bool {
            false
        }
    }

    fn opened(id: u64) -> Attempt {
        Attempt::Applied(vec![Ok(Reply::Done { revision: id })])
    }

    fn not_done() -> Attempt {
        Attempt::NotDone(Error::new(ErrorKind::ClusterNotReady, "no leader"))
    }

    fn done() -> Attempt {
        Attempt::Applied(vec![Ok(Reply::Done { revision: 5 })])
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_whose_answer_was_lost_comes_again_under_the_same_number() {
        let script = Script::new(vec![opened(9), Attempt::Lost, not_done(), done()]);
        let delivery = Delivery::new(script.clone());
        assert!(delivery.deliver(b"", Duration::from_secs(5)).await.is_ok());
        assert_eq!(*script.seen.lock().unwrap(), [(0, 0), (9, 1), (9, 1), (9, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_frozen_does_not_hold_a_batch_until_its_timeout() {
        let script = Script::new(vec![opened(9), Attempt::Lost, Attempt::Lost, done()]);
        let start = Instant::now();
        assert!(Delivery::new(script.clone()).deliver(b"", Duration::from_secs(60)).await.is_ok());
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(*script.seen.lock().unwrap(), [(0, 0), (9, 1), (9, 1), (9, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_session_is_opened_anew_only_when_nothing_can_have_been_done() {
        let script = Script::new(vec![opened(9), Attempt::UnknownSession, opened(10), done()]);
        let delivery = Delivery::new(script.clone());
        assert!(delivery.deliver(b"", Duration::from_secs(5)).await.is_ok());
        assert_eq!(*script.seen.lock().unwrap(), [(0, 0), (9, 1), (0, 0), (10, 1)]);

        let script = Script::new(vec![opened(9), Attempt::Lost, Attempt::UnknownSession]);
        let error = Delivery::new(script).deliver(b"", Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownOutcome);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_leader_it_fails_before_its_timeout_and_says_that_nothing_was_done() {
        let answers = std::iter::once(opened(9)).chain(std::iter::repeat_with(not_done).take(100)).collect();
        let start = Instant::now();
        let error = Delivery::new(Script::new(answers)).deliver(b"", Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClusterNotReady);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_done_is_never_called_failed() {
        let answers = vec![opened(9), Attempt::Lost].into_iter();
        let answers = answers.chain(std::iter::repeat_with(not_done).take(1000)).collect();
        let error = Delivery::new(Script::new(answers)).deliver(b"", Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownOutcome);
    }
}
