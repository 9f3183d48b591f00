//! PeerServer: answers what other nodes and clients ask.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;

use super::in_name::InName;
use super::incoming::{Incoming, Next};
use super::messages::{self, Append, SnapshotPiece, method};
use crate::encoding::batch::check_batch;
use crate::encoding::wire::{WireReader, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Consistency, TokenId};
use crate::net::{Gate, Hello, Role, Service, source_of};
use crate::raft::cluster::{self, Found, Info, MemberInfo, MembershipChange, Progress, Threshold};
use crate::raft::core::{Core, RaftHandle};
use crate::raft::entry::{Vote, ballot_of, vote_of};
use crate::raft::machine_store::SnapshotData;
use crate::raft::propose::{self, Attempt, NodeWay, ProposeAnswer, Way, encode_answer};
use crate::raft::reads;
use crate::state_machine::{Need, TokenRecord};
use crate::storage::{DataDir, SnapshotReceiver};
use crate::telemetry::AuthFailure;

/// How long a leader may take for a batch that this node handed on; whoever asked gives up earlier.
const HAND_ON_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers what other nodes and clients ask of this node.
pub(in crate::raft) struct PeerServer {
    core: Arc<Core>,
    threshold: Arc<Threshold>,
    dir: Option<DataDir>,
    bootstrap_expect: usize,
    /// A node that has just started may have promised a leader, in its last run, to vote for nobody else.
    votes_from_ns: u64,
    incoming: Incoming,
    above: OnceLock<Arc<dyn Service>>,
}

pub(super) type Answer = BoxFuture<'static, Result<Vec<u8>>>;

impl PeerServer {
    pub(in crate::raft) fn new(
        core: Arc<Core>,
        threshold: Arc<Threshold>,
        dir: Option<DataDir>,
        bootstrap_expect: usize,
    ) -> PeerServer {
        let votes_from_ns = core.lease.now_ns() + core.election_timeout.as_nanos() as u64;
        let (incoming, above) = (Incoming::default(), OnceLock::new());
        PeerServer { core, threshold, dir, bootstrap_expect, votes_from_ns, incoming, above }
    }

    /// Who answers what is not about consensus.
    pub(in crate::raft) fn serve_above(&self, above: Arc<dyn Service>) {
        let _ = self.above.set(above);
    }

    fn raft(&self) -> Result<RaftHandle> {
        let not_yet = || Error::new(ErrorKind::ClusterNotReady, "this node belongs to no cluster yet");
        self.core.raft().cloned().ok_or_else(not_yet)
    }

    fn append(&self, message: &[u8]) -> Result<Answer> {
        let raft = self.raft()?;
        let Append { request, time_ms } = Append::decode(message)?;
        self.core.heard_time(time_ms);
        // The library's queue is entered at the first poll, and so in the order of arrival.
        Ok(async move {
            let answer = raft.append_entries(request).await.map_err(|error| stopped(&error))?;
            Ok(messages::encode_append_answer(&answer))
        }
        .boxed())
    }

    fn vote(&self, message: &[u8], is_real: bool) -> Result<Answer> {
        let raft = self.raft()?;
        let request = messages::decode_vote(message)?;
        if self.core.lease.now_ns() < self.votes_from_ns && !request.leadership_transfer {
            return Err(Error::new(ErrorKind::ClusterNotReady, "this node has just started and does not vote yet"));
        }
        let core = self.core.clone();
        Ok(async move {
            let answer = if is_real { raft.vote(request).await } else { raft.pre_vote(request).await };
            let answer = answer.map_err(|error| stopped(&error))?;
            Ok(messages::encode_vote_answer(&answer, core.last_heard_time_ms()))
        }
        .boxed())
    }

    fn transfer(&self, message: &[u8]) -> Result<Answer> {
        let raft = self.raft()?;
        let request = messages::decode_transfer(message)?;
        Ok(async move {
            let answer = raft.handle_transfer_leader(request).await.map_err(|error| stopped(&error))?;
            Ok(messages::encode_transfer_answer(&answer))
        }
        .boxed())
    }

    fn propose(&self, from: &Hello, batch: Vec<u8>) -> Result<Answer> {
        // A member has checked what it hands on; a client may be anything.
        if from.role == Role::Client {
            check_batch(&batch)?;
        }
        if from.token != 0 {
            return self.propose_as(&*self.token(from.token)?, &batch);
        }
        self.core.check_room(batch.len())?;
        let core = self.core.clone();
        Ok(async move { Ok(encode_answer(&propose::propose_here(&core, batch).await)) }.boxed())
    }

    /// The token of a connection, if it is still valid.
    fn token(&self, id: u64) -> Result<Arc<TokenRecord>> {
        let gone = || Error::new(ErrorKind::Unauthorized, "the token was revoked; use another one");
        let token = self.core.machine.tokens().get(TokenId(id)).ok_or_else(gone)?;
        let now_ms = self.core.time.now_ms();
        token.check_valid(now_ms)?;
        token.see(now_ms);
        Ok(token)
    }

    /// Proposes what a client with a token has collected.
    fn propose_as(&self, token: &TokenRecord, batch: &[u8]) -> Result<Answer> {
        let InName { batch, refused } = InName::of(&self.core, token, batch)?;
        self.core.check_room(batch.len())?;
        let core = self.core.clone();
        Ok(async move {
            let answer = propose::propose_here(&core, batch).await;
            Ok(encode_answer(&refused.put_into(answer)))
        }
        .boxed())
    }

    /// Brings a client's batch to the leader, wherever that is: for those who can reach this node only.
    pub(super) fn hand_on(&self, batch: Vec<u8>) -> Result<Answer> {
        check_batch(&batch)?;
        self.core.check_room(batch.len())?;
        let way = NodeWay::new(self.core.clone());
        Ok(async move {
            match way.attempt(batch, HAND_ON_TIMEOUT).await {
                Attempt::Applied(outcomes) => Ok(encode_answer(&ProposeAnswer::Applied(outcomes))),
                Attempt::UnknownSession => Ok(encode_answer(&ProposeAnswer::UnknownSession)),
                Attempt::Lost => Ok(encode_answer(&ProposeAnswer::Unknown)),
                Attempt::NotDone(error) | Attempt::Refused(error) => Err(as_others_see_it(error)),
            }
        }
        .boxed())
    }

    fn read_index(&self, message: &[u8]) -> Result<Answer> {
        let level = reads::decode_level(message)?;
        let core = self.core.clone();
        Ok(async move {
            if !core.is_leader() {
                return Err(Error::new(ErrorKind::ClusterNotReady, "this node is not the leader now"));
            }
            Ok(reads::encode_index(&reads::confirm_here(&core, level).await?))
        }
        .boxed())
    }

    /// A change in the name of a token leaves no trace of it in the log, so the leader alone carries it out, once it knows
    /// of everything that was acknowledged before: the token may have been revoked.
    fn change_as(self: &Arc<PeerServer>, id: u64, message: &[u8]) -> Result<Answer> {
        self.token(id)?.check_scope(Need::Admin)?;
        let change = MembershipChange::decode(message)?;
        let server = self.clone();
        Ok(async move {
            if !server.core.is_leader() {
                return Err(Error::new(ErrorKind::ClusterNotReady, "this node is not the leader now"));
            }
            reads::confirm_here(&server.core, Consistency::Leader).await?;
            server.token(id)?.check_scope(Need::Admin)?;
            let mut out = Vec::new();
            put_varint(&mut out, cluster::execute(&server.core, &change).await?);
            Ok(out)
        }
        .boxed())
    }

    fn change(&self, message: &[u8]) -> Result<Answer> {
        let change = MembershipChange::decode(message)?;
        let core = self.core.clone();
        let timeout = core.election_timeout * 50;
        Ok(async move {
            let node_id = match core.is_leader() {
                true => cluster::execute(&core, &change).await?,
                false => cluster::change(&core, change, timeout).await?,
            };
            let mut out = Vec::new();
            put_varint(&mut out, node_id);
            Ok(out)
        }
        .boxed())
    }

    fn found(&self, message: &[u8]) -> Result<Answer> {
        let found = Found::decode(message)?;
        self.threshold.found(found, self.dir.as_ref(), self.core.node_id)?;
        Ok(done())
    }

    fn invite(&self, message: &[u8]) -> Result<Answer> {
        let mut reader = WireReader::new(message);
        let (_cluster_id, address) = (reader.u128_le()?, reader.text()?);
        self.threshold.invite(address);
        Ok(done())
    }

    fn snapshot(self: Arc<PeerServer>, from: u64, message: Vec<u8>) -> Result<Answer> {
        let raft = self.raft()?;
        Ok(async move {
            let mut turn = self.incoming.turn(from).await;
            let piece = SnapshotPiece::decode(&message)?;
            let (vote, transfer, is_last) = (piece.vote, piece.transfer, piece.is_last);
            if let Some(higher) = self.higher_vote(&vote) {
                turn.end();
                return Ok(messages::encode_vote_alone(&higher));
            }
            let mut receiver = match turn.next(&piece, || self.receiver())? {
                Next::Write(receiver) => receiver,
                Next::Taken => return Ok(messages::encode_vote_alone(&vote)),
                Next::Installed(vote) => return Ok(messages::encode_vote_alone(&vote)),
            };
            let core = self.core.clone();
            let _receiving = core.snapshot_activity.receiving();
            let take = move || {
                let piece = SnapshotPiece::decode(&message)?;
                receiver.write(piece.offset, piece.bytes)?;
                if is_last { receiver.finish().map(Err) } else { Ok(Ok(receiver)) }
            };
            match core.blocking(take).await.map_err(|error| stopped(&error))?? {
                Ok(receiver) => {
                    turn.received(transfer, receiver);
                    Ok(messages::encode_vote_alone(&vote))
                }
                Err(file) => {
                    let snapshot = SnapshotData::received(file)?;
                    let answer = raft.install_full_snapshot(vote, snapshot).await.map_err(|error| stopped(&error))?;
                    turn.installed(transfer, answer.vote);
                    self.incoming.forget_others(from);
                    Ok(messages::encode_vote_alone(&answer.vote))
                }
            }
        }
        .boxed())
    }

    /// The vote of this node when it is higher than that of whoever sends.
    fn higher_vote(&self, vote: &Vote) -> Option<Vote> {
        let own = self.core.running.get()?.log.ballot()?;
        let theirs = ballot_of(vote);
        ((own.term, own.node) > (theirs.term, theirs.node)).then(|| vote_of(own))
    }

    /// What takes a new snapshot.
    fn receiver(&self) -> Result<SnapshotReceiver> {
        let running = self.core.running.get();
        let snapshots = running.and_then(|running| running.snapshots.as_ref());
        snapshots.ok_or_else(|| Error::from(ErrorKind::ClusterNotReady))?.receive()
    }

    /// What this node tells of itself.
    fn info(&self) -> Info {
        let core = &self.core;
        let mut info = Info { node_id: core.node_id, name: core.name(), ..Info::default() };
        info.bootstrap_expect = self.bootstrap_expect as u64;
        if let Some(peers) = &core.peers {
            let hello = peers.hello();
            info.address = hello.address;
            info.cluster_id = hello.cluster_id;
        }
        let Some(raft) = core.raft() else { return info };
        let is_leader = raft.is_leader();
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        info.term = metrics.current_term;
        info.leader = metrics.current_leader;
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let last = metrics.last_log_index.unwrap_or(0);
        for (node_id, peer) in membership.nodes() {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(node_id)?.as_ref());
            let matched = if *node_id == core.node_id { Some(last) } else { matched.map(|log_id| log_id.index) };
            let contact_ns = if *node_id == core.node_id { Some(0) } else { core.lease.last_contact_ns(*node_id) };
            let progress = matched.zip(contact_ns).filter(|_| is_leader).map(|(matched_index, ns)| Progress {
                matched_index,
                lag: last.saturating_sub(matched_index),
                last_contact_ms: ns / 1_000_000,
            });
            info.members.push(MemberInfo {
                node_id: *node_id,
                address: peer.address.clone(),
                name: peer.name.clone(),
                is_voter: voters.contains(node_id),
                progress,
            });
        }
        info
    }
}

fn stopped(error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::ClusterNotReady, format!("this node has stopped: {error}"))
}

fn done() -> Answer {
    std::future::ready(Ok(Vec::new())).boxed()
}

/// What the listener serves: the server, counted, so that requests may hold it.
pub(in crate::raft) struct Shared(pub(in crate::raft) Arc<PeerServer>);

impl Service for Shared {
    fn handle(&self, from: &Arc<Hello>, method: u16, message: Vec<u8>) -> Answer {
        let server = &self.0;
        if from.token != 0
            && let Err(error) = server.token(from.token)
        {
            return std::future::ready(Err(error)).boxed();
        }
        let is_peer = from.role == Role::Peer;
        // A node that has not entered a cluster has nothing to say about its log.
        let is_member = is_peer && from.cluster_id != 0 && from.cluster_id == self.hello().cluster_id;
        let answer = match method {
            method::APPEND if is_member => server.append(&message),
            method::VOTE if is_member => server.vote(&message, true),
            method::PRE_VOTE if is_member => server.vote(&message, false),
            method::SNAPSHOT if is_member => server.clone().snapshot(from.node_id, message),
            method::TRANSFER if is_member => server.transfer(&message),
            method::FOUND if is_peer => server.found(&message),
            method::INVITE if is_peer => server.invite(&message),
            method::PROPOSE => server.propose(from, message),
            method::READ_INDEX if from.token == 0 => server.read_index(&message),
            method::CHANGE if from.token != 0 => server.change_as(from.token, &message),
            // Who the members are every client must know to find the leader.
            method::INFO => Ok(std::future::ready(Ok(server.info().encode())).boxed()),
            method::CHANGE => server.change(&message),
            method::SERVICE.. => match server.above.get() {
                Some(above) => Ok(above.handle(from, method, message)),
                None => Err(ErrorKind::ClusterNotReady.into()),
            },
            _ => Err(Error::new(ErrorKind::InvalidOperationFormat, format!("there is no request {method}"))),
        };
        match answer {
            Ok(answer) => answer.map(|answer| answer.map_err(as_others_see_it)).boxed(),
            Err(error) => std::future::ready(Err(as_others_see_it(error))).boxed(),
        }
    }
}

/// That this node is closed does not mean that the one who asks is; it may ask another member.
pub(super) fn as_others_see_it(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Closed => Error::new(ErrorKind::ClusterNotReady, "this member is stopping; ask another one"),
        _ => error,
    }
}

impl Gate for Shared {
    fn hello(&self) -> Hello {
        match &self.0.core.peers {
            Some(peers) => peers.hello(),
            None => {
                let node_id = self.0.core.node_id;
                Hello { role: Role::Peer, cluster_id: 0, node_id, token: 0, address: String::new() }
            }
        }
    }

    fn stored_token(&self, from: &str, token: u64) -> Result<Option<[u8; 32]>> {
        let core = &self.0.core;
        if let Some(source) = source_of(from) {
            core.attempts.check(source)?;
        }
        let known = core.machine.tokens().get(TokenId(token));
        let valid = known.filter(|token| token.check_valid(core.time.now_ms()).is_ok());
        Ok(valid.map(|token| *token.hash()))
    }

    fn tried_token(&self, from: &str, is_right: bool) {
        let attempts = &self.0.core.attempts;
        match source_of(from) {
            Some(source) if is_right => attempts.succeeded(source),
            Some(source) => attempts.failed(source),
            None => {}
        }
    }

    /// Strangers can cause this, as often as they like.
    fn refused(&self, from: &str, why: &Error) {
        let metrics = &self.0.core.metrics;
        if why.kind() == ErrorKind::Unauthorized {
            metrics.auth_failed(AuthFailure::Peer);
        }
        if metrics.may_tell_refusal() {
            tracing::warn!(from, kind = why.kind().name(), "a peer was refused: {}", why.message());
        }
    }

    /// Nodes of other clusters, and this node itself, stay outside.
    fn admit(&self, hello: &Hello) -> Result<()> {
        let own = self.hello();
        if hello.role == Role::Client {
            return Ok(());
        }
        if hello.node_id == own.node_id {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "this is the node itself, or a copy of its data directory",
            ));
        }
        if hello.cluster_id != 0 && own.cluster_id != 0 && hello.cluster_id != own.cluster_id {
            let message = format!(
                "this node belongs to cluster {:032x}, you to {:032x}; correct the addresses, or, to move a node \
                 here, stop it, empty its data directory and start it again",
                own.cluster_id, hello.cluster_id
            );
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        if let Some(peers) = &self.0.core.peers {
            peers.learn(hello);
        }
        Ok(())
    }
}
