//! Network: how Raft reaches one other member.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use futures_util::{FutureExt, Stream, future};
use openraft::base::BoxFuture;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::impls::leader_id_adv::LeaderId;
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, Snapshot};

use super::messages::{self, Append, SnapshotPiece, method};
use super::{Peers, Use};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{CallError, Caller};
use crate::raft::core::Core;
use crate::raft::entry::{Vote, ballot_of};
use crate::raft::machine_store::SnapshotData;
use crate::raft::types::{LogId, Peer, Types};

/// Requests with entries that are on their way to one member at once.
const PIPELINE: usize = 32;
/// Bytes of a snapshot in one message.
const SNAPSHOT_PIECE_BYTES: usize = 1024 * 1024;
/// A message that has had no answer for so long is taken for lost. Longer than a slow disk takes.
const ANSWER_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// Between two questions what became of a piece of a snapshot, at most.
const QUESTION_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Makes a [`PeerNetwork`] for each member.
pub(in crate::raft) struct Network {
    core: Arc<Core>,
}

impl Network {
    pub(in crate::raft) fn new(core: Arc<Core>) -> Network {
        Network { core }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &Peer) -> PeerNetwork {
        PeerNetwork { core: self.core.clone(), target, address: node.address.clone() }
    }
}

/// The way to one other member.
pub(in crate::raft) struct PeerNetwork {
    core: Arc<Core>,
    target: u64,
    address: String,
}

type RpcResult<T> = Result<T, RPCError<Types>>;

fn unreachable_peer(error: &Error) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&std::io::Error::other(error.to_string())))
}

fn broken(error: &impl std::fmt::Display) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&std::io::Error::other(error.to_string())))
}

fn rpc_error(error: CallError) -> RPCError<Types> {
    match error {
        CallError::NotSent(error) => unreachable_peer(&error),
        CallError::Lost => broken(&"the connection was lost"),
        CallError::Answered(error) => unreachable_peer(&error),
    }
}

impl PeerNetwork {
    async fn caller(&self, r#use: Use) -> RpcResult<Caller> {
        let no_sockets = || Error::new(ErrorKind::ClusterNotReady, "this node has no sockets");
        let peers: &Peers = self.core.peers.as_deref().ok_or_else(|| unreachable_peer(&no_sockets()))?;
        let address = self.core.address_of(self.target).unwrap_or_else(|| self.address.clone());
        peers.caller(self.target, &address, r#use).await.map_err(|error| unreachable_peer(&error))
    }

    async fn call(&self, method: u16, message: Vec<u8>, option: &RPCOption, kind: RPCTypes) -> RpcResult<Vec<u8>> {
        let answer = async { self.caller(Use::Messages).await?.call(method, message).await.map_err(rpc_error) };
        match tokio::time::timeout(option.hard_ttl(), answer).await {
            Ok(answer) => answer,
            Err(_) => Err(RPCError::Timeout(self.timeout(kind, option.hard_ttl()))),
        }
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<Types> {
        Timeout { action, id: self.core.node_id, target: self.target, timeout }
    }

    /// Puts one request into the connection's queue now; what it gives resolves to the answer.
    fn send_append(
        &self,
        caller: &Caller,
        request: AppendEntriesRequest<Types>,
    ) -> impl Future<Output = RpcResult<AppendEntriesResponse<Types>>> + Send + use<> {
        let (core, target) = (self.core.clone(), self.target);
        let term = ballot_of(&request.vote).term;
        let sent_ns = core.lease.now_ns();
        let call = caller.call(method::APPEND, Append::encode(request, core.time.now_ms()));
        async move {
            #[cfg(test)]
            if core.counts_unanswered {
                return Ok(AppendEntriesResponse::Success);
            }
            let answer = call.await.map_err(rpc_error)?;
            let answer = messages::decode_append_answer(&answer).map_err(|error| broken(&error))?;
            if matches!(answer, AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) {
                core.lease.answered(target, term, sent_ns);
            }
            Ok(answer)
        }
    }

    async fn ask_for_vote(
        &self,
        method: u16,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Types>> {
        let answer = self.call(method, messages::encode_vote(&request), &option, RPCTypes::Vote).await?;
        let (answer, time_ms) = messages::decode_vote_answer(&answer).map_err(|error| broken(&error))?;
        if time_ms > 0 {
            self.core.time.advance_to(time_ms);
        }
        Ok(answer)
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        data: &SnapshotData,
        piece_timeout: Duration,
    ) -> Result<Vote, StreamingError<Types>> {
        let caller = match self.caller(Use::Snapshots).await {
            Ok(caller) => caller,
            Err(error) => return Err(StreamingError::Unreachable(Unreachable::new(&error))),
        };
        let lost = |error: &dyn std::fmt::Display| {
            StreamingError::Network(NetworkError::new(&std::io::Error::other(error.to_string())))
        };
        let transfer = self.core.lease.now_ns();
        let mut offset = 0;
        loop {
            let bytes = data.chunk(offset, SNAPSHOT_PIECE_BYTES).map_err(|error| lost(&error))?;
            let is_last = offset + bytes.len() as u64 >= data.bytes();
            let piece = SnapshotPiece { transfer, vote, offset, is_last, bytes: &bytes };
            // After the last piece all of it is verified and loaded.
            let limit = if is_last { piece_timeout * 20 } else { piece_timeout };
            let answer = match tokio::time::timeout(limit, send_piece(&caller, piece)).await {
                Ok(answer) => answer.map_err(|error| lost(&super::error_of(error)))?,
                Err(_) => return Err(StreamingError::Timeout(self.timeout(RPCTypes::InstallSnapshot, limit))),
            };
            let answer = messages::decode_vote_alone(&answer).map_err(|error| lost(&error))?;
            offset += bytes.len() as u64;
            // A receiver that knows a higher vote has not taken the piece.
            if is_last || answer != vote {
                return Ok(answer);
            }
        }
    }
}

/// Sends a piece, and asks what became of it whenever no answer has come for a while: an answer that was lost never comes,
/// and nobody can tell how long a disk takes.
async fn send_piece(caller: &Caller, piece: SnapshotPiece<'_>) -> Result<Vec<u8>, CallError> {
    let mut call = caller.call(method::SNAPSHOT, piece.encode());
    let question = SnapshotPiece { offset: piece.offset + piece.bytes.len() as u64, bytes: &[], ..piece }.encode();
    let mut patience = ANSWER_TIMEOUT_MIN;
    loop {
        match tokio::time::timeout(patience, call).await {
            Ok(answer) => return answer,
            Err(_) => call = caller.call(method::SNAPSHOT, question.clone()),
        }
        patience = (patience * 2).min(QUESTION_INTERVAL_MAX);
    }
}

impl RaftNetworkV2<Types> for PeerNetwork {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        let limit = option.hard_ttl();
        let answer = async { self.send_append(&self.caller(Use::Messages).await?, request).await };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(RPCError::Timeout(self.timeout(RPCTypes::AppendEntries, limit))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        async move {
            // Between attempts the library waits where it makes the first request; who fails before never waits.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let input = stream::iter([first]).chain(input);
            let caller = self.caller(Use::Messages).await?;
            let limit = option.hard_ttl().max(ANSWER_TIMEOUT_MIN);
            let this: &'s PeerNetwork = self;
            let answers = input
                .map(move |request| {
                    let prev = request.prev_log_id;
                    let last: Option<LogId> = request.entries.last().map(|entry| entry.log_id).or(prev);
                    let answer = this.send_append(&caller, request);
                    async move {
                        match tokio::time::timeout(limit, answer).await {
                            Ok(answer) => answer.map(|answer| answer.into_stream_result(prev, last)),
                            Err(_) => Err(RPCError::Timeout(this.timeout(RPCTypes::AppendEntries, limit))),
                        }
                    }
                })
                .buffered(PIPELINE);
            // Nothing may follow a refusal: the library starts anew from there.
            let answers = answers.scan(false, |has_ended, answer| {
                if *has_ended {
                    return future::ready(None);
                }
                *has_ended = !matches!(answer, Ok(Ok(_)));
                future::ready(Some(answer))
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        self.ask_for_vote(method::VOTE, request, option).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        self.ask_for_vote(method::PRE_VOTE, request, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId<u64, u64>, u64, Peer, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let _sending = self.core.snapshot_activity.sending();
        let sending = pin!(self.send_snapshot(vote, &snapshot.snapshot, option.hard_ttl()));
        match future::select(sending, pin!(cancel)).await {
            future::Either::Left((answer, _)) => Ok(SnapshotResponse::new(answer?)),
            future::Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Types>> {
        let message = messages::encode_transfer(&request);
        let answer = self.call(method::TRANSFER, message, &option, RPCTypes::TransferLeader).await?;
        messages::decode_transfer_answer(&answer).map_err(|error| broken(&error))
    }

    fn backoff(&self) -> Option<Backoff> {
        // A member that comes back is wanted at once; an attempt costs little.
        let delays = [20, 50, 100, 200].into_iter().chain(std::iter::repeat(300));
        Some(Backoff::new(delays.map(Duration::from_millis)))
    }
}
