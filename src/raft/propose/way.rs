//! NodeWay: how a member brings batches to the leader: its own log, or a message to another node.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, BoxFuture, Either};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::oneshot;

use super::answer::{ProposeAnswer, decode_answer};
use super::delivery::{Attempt, Way};
use crate::encoding::batch::stamp_batch;
use crate::error::{Error, ErrorKind};
use crate::net::CallError;
use crate::raft::core::Core;
use crate::raft::peer::{Use, method};
use crate::raft::types::{Batch, Types};
use crate::state_machine::Applied;
use crate::storage::Payload;

/// How long a batch or a read waits for a leader before it fails, in election timeouts.
pub(in crate::raft) const PATIENCE_ELECTIONS: u32 = 15;

pub(in crate::raft) struct NodeWay {
    core: Arc<Core>,
}

impl NodeWay {
    pub(in crate::raft) fn new(core: Arc<Core>) -> NodeWay {
        NodeWay { core }
    }

    /// Resolves when another node than this one leads.
    async fn succession(&self, node_id: u64) {
        while self.core.leader().is_none_or(|leader| leader.node_id == node_id) {
            self.core.change_within(Duration::from_secs(1)).await;
        }
    }
}

fn no_leader() -> Attempt {
    Attempt::NotDone(Error::new(
        ErrorKind::ClusterNotReady,
        "there is no leader that a majority follows; nothing was done, try again shortly",
    ))
}

/// Proposes a batch of any session to this node's own log.
pub(in crate::raft) async fn propose_here(core: &Core, mut batch: Vec<u8>) -> ProposeAnswer {
    if !core.leads_with_quorum() {
        let leader = core.leader().filter(|leader| leader.node_id != core.node_id);
        return ProposeAnswer::NotLeader(leader.map(|leader| (leader.node_id, leader.address)));
    }
    stamp_batch(&mut batch, core.time.now_ms());
    let (sender, receiver) = oneshot::channel();
    core.propose_here(Batch { payload: Payload::from(batch), is_alone: false }, |result| {
        let _ = sender.send(result);
    });
    match future::select(receiver, pin!(loss_of_quorum(core))).await {
        // Without an answer the node has stopped, and nobody knows.
        Either::Left((answer, _)) => answer.map_or(ProposeAnswer::Unknown, answer_of),
        // Whoever asked can send it again, under its number, to a leader that others have elected meanwhile.
        Either::Right(_) => ProposeAnswer::Unknown,
    }
}

/// Resolves when no quorum has confirmed this node for some time: what it has proposed may wait for ever.
async fn loss_of_quorum(core: &Core) {
    loop {
        tokio::time::sleep(core.election_timeout / 2).await;
        if !core.has_quorum() {
            return;
        }
    }
}

fn answer_of(result: ClientWriteResult<Types>) -> ProposeAnswer {
    match result {
        Ok(response) => match response.data.applied {
            Applied::Done => ProposeAnswer::Applied(response.data.outcomes),
            Applied::UnknownSession => ProposeAnswer::UnknownSession,
            // Its owner has said that it needs no answer any more.
            Applied::Stale | Applied::Refused => ProposeAnswer::Unknown,
        },
        Err(ClientWriteError::ForwardToLeader(to)) => {
            ProposeAnswer::NotLeader(to.leader_id.zip(to.leader_node.map(|peer| peer.address)))
        }
        // That includes an entry that this node has discarded: others may have committed it.
        Err(_) => ProposeAnswer::Unknown,
    }
}

/// What the answer means to whoever asked.
pub(in crate::raft) fn attempt_of(answer: ProposeAnswer) -> Attempt {
    match answer {
        ProposeAnswer::Applied(outcomes) => Attempt::Applied(outcomes),
        ProposeAnswer::NotLeader(_) => no_leader(),
        ProposeAnswer::UnknownSession => Attempt::UnknownSession,
        ProposeAnswer::Unknown => Attempt::Lost,
    }
}

/// What an answer that came, or did not come, over a connection means.
pub(in crate::raft) fn attempt_of_call(answer: Result<Vec<u8>, CallError>) -> Result<ProposeAnswer, Attempt> {
    match answer {
        Ok(bytes) => decode_answer(&bytes).map_err(|_| Attempt::Lost),
        Err(CallError::NotSent(error)) => Err(Attempt::NotDone(error)),
        Err(CallError::Lost) => Err(Attempt::Lost),
        Err(CallError::Answered(error)) if error.kind().is_retryable() => Err(Attempt::NotDone(error)),
        Err(CallError::Answered(error)) if error.kind() == ErrorKind::Internal => Err(Attempt::Lost),
        Err(CallError::Answered(error)) => Err(Attempt::Refused(error)),
    }
}

impl Way for NodeWay {
    fn attempt(&self, batch: Vec<u8>, answer_timeout: Duration) -> BoxFuture<'_, Attempt> {
        Box::pin(async move {
            let Some(leader) = self.core.leader() else { return no_leader() };
            if leader.node_id == self.core.node_id {
                let proposing = tokio::time::timeout(answer_timeout, propose_here(&self.core, batch));
                return proposing.await.map_or(Attempt::Lost, attempt_of);
            }
            let Some(peers) = &self.core.peers else { return no_leader() };
            let caller = match peers.caller(leader.node_id, &leader.address, Use::Messages).await {
                Ok(caller) => caller,
                Err(error) => return Attempt::NotDone(error),
            };
            let call = pin!(caller.call(method::PROPOSE, batch));
            let succession = pin!(self.succession(leader.node_id));
            match tokio::time::timeout(answer_timeout, future::select(call, succession)).await {
                Ok(Either::Left((answer, _))) => match attempt_of_call(answer) {
                    Ok(answer) => attempt_of(answer),
                    Err(attempt) => attempt,
                },
                Ok(Either::Right(_)) | Err(_) => Attempt::Lost,
            }
        })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.core.change_within(Duration::from_millis(20)))
    }

    fn patience(&self) -> Duration {
        self.core.election_timeout * PATIENCE_ELECTIONS
    }

    fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}
