//! MembershipChange: who is a member and who leads, changed by the leader, asked for by anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::raft::core::{Core, RaftHandle};
use crate::raft::peer::{Use, error_of, method};
use crate::raft::types::Peer;

/// Entries by which a learner may be behind and still counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 256;

/// A change of who is a member or who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MembershipChange {
    /// A node asks to be taken in, or tells its new address.
    Join {
        node_id: u64,
        address: String,
        name: String,
        promote: bool,
    },
    /// Take in the node at this address.
    Add {
        address: String,
    },
    /// Make a learner a voter.
    Promote {
        node_id: u64,
    },
    Remove {
        node_id: u64,
    },
    Replace {
        old_node_id: u64,
        new_node_id: u64,
    },
    TransferLeadership {
        to: Option<u64>,
    },
}

impl MembershipChange {
    pub(in crate::raft) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            MembershipChange::Join { node_id, address, name, promote } => {
                out.push(1);
                put_varint(&mut out, *node_id);
                put_bytes(&mut out, address.as_bytes());
                put_bytes(&mut out, name.as_bytes());
                out.push(u8::from(*promote));
            }
            MembershipChange::Add { address } => {
                out.push(2);
                put_bytes(&mut out, address.as_bytes());
            }
            MembershipChange::Promote { node_id } => {
                out.push(3);
                put_varint(&mut out, *node_id);
            }
            MembershipChange::Remove { node_id } => {
                out.push(4);
                put_varint(&mut out, *node_id);
            }
            MembershipChange::Replace { old_node_id, new_node_id } => {
                out.push(5);
                put_varint(&mut out, *old_node_id);
                put_varint(&mut out, *new_node_id);
            }
            MembershipChange::TransferLeadership { to } => {
                out.push(6);
                put_varint(&mut out, to.unwrap_or(0));
            }
        }
        out
    }

    pub(in crate::raft) fn decode(bytes: &[u8]) -> Result<MembershipChange> {
        let mut reader = WireReader::new(bytes);
        let change = match reader.u8()? {
            1 => MembershipChange::Join {
                node_id: reader.varint()?,
                address: reader.text()?,
                name: reader.text()?,
                promote: reader.u8()? == 1,
            },
            2 => MembershipChange::Add { address: reader.text()? },
            3 => MembershipChange::Promote { node_id: reader.varint()? },
            4 => MembershipChange::Remove { node_id: reader.varint()? },
            5 => MembershipChange::Replace { old_node_id: reader.varint()?, new_node_id: reader.varint()? },
            6 => MembershipChange::TransferLeadership { to: Some(reader.varint()?).filter(|to| *to != 0) },
            _ => return Err(damaged("an unknown change of membership")),
        };
        reader.finish()?;
        Ok(change)
    }
}

/// Carries a change out, here or at the leader; tries again while leadership moves. Gives the id of the node that it is about.
pub(in crate::raft) async fn change(core: &Arc<Core>, change: MembershipChange, timeout: Duration) -> Result<u64> {
    let doing = async {
        loop {
            match attempt(core, &change).await {
                // Leadership moves, or another change is under way: both end soon.
                Err(error) if error.kind() == ErrorKind::ClusterNotReady && !is_final(&error) => {
                    if core.is_closed() {
                        return Err(ErrorKind::Closed.into());
                    }
                    core.change_within(Duration::from_millis(50)).await;
                }
                outcome => return outcome,
            }
        }
    };
    tokio::time::timeout(timeout, doing).await.unwrap_or_else(|_| Err(late(core)))
}

fn late(core: &Core) -> Error {
    let message = match core.leader() {
        Some(_) => "the change was not committed in time; it may still be, look at the members before trying again",
        None => "there is no leader that a majority follows; start the members that are down, then try again",
    };
    Error::new(ErrorKind::Timeout, message)
}

const LAGS: &str = "lags behind";

/// What does not go away by itself within a call.
fn is_final(error: &Error) -> bool {
    error.message().contains(LAGS)
}

async fn attempt(core: &Arc<Core>, change: &MembershipChange) -> Result<u64> {
    let leader = core.leader().ok_or_else(not_leader)?;
    if leader.node_id == core.node_id {
        return execute(core, change).await;
    }
    let peers = core.peers.as_ref().ok_or_else(not_leader)?;
    let caller = peers.caller(leader.node_id, &leader.address, Use::Messages).await?;
    let answer = caller.call(method::CHANGE, change.encode()).await.map_err(|error| match error_of(error) {
        error if error.kind() == ErrorKind::UnknownOutcome => not_leader(),
        error => error,
    })?;
    let mut reader = WireReader::new(&answer);
    reader.varint()
}

fn not_leader() -> Error {
    Error::new(ErrorKind::ClusterNotReady, "there is no leader that a majority follows; try again shortly")
}

/// Carries a change out as the leader.
pub(in crate::raft) async fn execute(core: &Arc<Core>, change: &MembershipChange) -> Result<u64> {
    let raft = core.raft().ok_or_else(not_leader)?;
    if !raft.is_leader() {
        return Err(not_leader());
    }
    match change {
        MembershipChange::Join { node_id, address, name, promote } => {
            let peer = Peer { address: address.clone(), name: name.clone(), promote: *promote };
            join(core, raft, *node_id, peer).await.map(|()| *node_id)
        }
        MembershipChange::Add { address } => add(core, address).await,
        MembershipChange::Promote { node_id } => {
            let members = Members::of(raft);
            if members.voters.contains(node_id) {
                return Ok(*node_id);
            }
            members.check_caught_up(raft, *node_id)?;
            reconfigure(core, raft, ChangeMembers::AddVoterIds(BTreeSet::from([*node_id])), true).await?;
            Ok(*node_id)
        }
        MembershipChange::Remove { node_id } => remove(core, raft, *node_id).await.map(|()| *node_id),
        MembershipChange::Replace { old_node_id, new_node_id } => {
            let members = Members::of(raft);
            members.check(*old_node_id)?;
            if *old_node_id == core.node_id {
                return transfer(core, raft, None).await.and(Err(not_leader()));
            }
            members.check_caught_up(raft, *new_node_id)?;
            let add = ChangeMembers::AddVoterIds(BTreeSet::from([*new_node_id]));
            let remove = ChangeMembers::RemoveVoters(BTreeSet::from([*old_node_id]));
            reconfigure(core, raft, ChangeMembers::Batch(vec![add, remove]), false).await?;
            Ok(*new_node_id)
        }
        MembershipChange::TransferLeadership { to } => transfer(core, raft, *to).await,
    }
}

/// Who is what, as the leader knows.
struct Members {
    voters: BTreeSet<u64>,
    nodes: BTreeMap<u64, Peer>,
}

impl Members {
    fn of(raft: &RaftHandle) -> Members {
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        let nodes = membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        Members { voters: membership.voter_ids().collect(), nodes }
    }

    fn check(&self, node_id: u64) -> Result<()> {
        if self.nodes.contains_key(&node_id) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, format!("there is no member {node_id}; look at the members for the ids")))
    }

    fn check_caught_up(&self, raft: &RaftHandle, node_id: u64) -> Result<()> {
        self.check(node_id)?;
        match lag(raft, node_id) {
            Some(lag) if lag <= CAUGHT_UP_ENTRIES => Ok(()),
            Some(lag) => Err(lags(node_id, &format!("by {lag} entries"))),
            None => Err(lags(node_id, "and has not answered yet")),
        }
    }
}

fn lags(node_id: u64, how: &str) -> Error {
    Error::new(ErrorKind::ClusterNotReady, format!("member {node_id} {LAGS} {how}; try again when it has caught up"))
}

/// How many entries a member is behind this leader; `None` when it has not answered yet.
pub(in crate::raft) fn lag(raft: &RaftHandle, node_id: u64) -> Option<u64> {
    let receiver = raft.metrics();
    let metrics = receiver.borrow_watched();
    let matched = metrics.replication.as_ref()?.get(&node_id)?.as_ref()?.index;
    Some(metrics.last_log_index?.saturating_sub(matched))
}

async fn join(core: &Arc<Core>, raft: &RaftHandle, node_id: u64, peer: Peer) -> Result<()> {
    match Members::of(raft).nodes.get(&node_id) {
        Some(known) if known.address == peer.address && known.name == peer.name => Ok(()),
        Some(_) => reconfigure(core, raft, ChangeMembers::SetNodes(BTreeMap::from([(node_id, peer)])), true).await,
        None => reconfigure(core, raft, ChangeMembers::AddNodes(BTreeMap::from([(node_id, peer)])), true).await,
    }
}

/// Asks the node at this address to join, which it does by itself.
async fn add(core: &Arc<Core>, address: &str) -> Result<u64> {
    let peers = core.peers.as_ref().ok_or_else(not_leader)?;
    let caller = peers.stranger(address).await?;
    let (node_id, found) = (caller.peer().node_id, caller.peer().cluster_id);
    let own = peers.hello();
    if found != 0 && found != own.cluster_id {
        let message = format!(
            "the node at {address} belongs to another cluster; stop it, empty its data directory, start it again"
        );
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    // Also one that belongs here already: it may have been stopped before it was taken in.
    if !Members::of(core.raft().ok_or_else(not_leader)?).nodes.contains_key(&node_id) {
        let mut invitation = own.cluster_id.to_le_bytes().to_vec();
        put_bytes(&mut invitation, own.address.as_bytes());
        caller.call(method::INVITE, invitation).await.map_err(error_of)?;
    }
    loop {
        let Some(raft) = core.raft().filter(|raft| raft.is_leader()) else { return Err(not_leader()) };
        if Members::of(raft).nodes.contains_key(&node_id) {
            return Ok(node_id);
        }
        core.change_within(Duration::from_millis(50)).await;
    }
}

async fn remove(core: &Arc<Core>, raft: &RaftHandle, node_id: u64) -> Result<()> {
    let members = Members::of(raft);
    members.check(node_id)?;
    if !members.voters.contains(&node_id) {
        return reconfigure(core, raft, ChangeMembers::RemoveNodes(BTreeSet::from([node_id])), false).await;
    }
    if members.voters.len() == 1 {
        let message = "this is the last voter, without it the data is gone; to end the cluster, just stop it";
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    if node_id == core.node_id {
        // The next leader removes this one.
        return transfer(core, raft, None).await.and(Err(not_leader()));
    }
    reconfigure(core, raft, ChangeMembers::RemoveVoters(BTreeSet::from([node_id])), false).await
}

/// Commits a new configuration. Meanwhile there is no lease, because it knows only one configuration at a time.
pub(in crate::raft) async fn reconfigure(
    core: &Arc<Core>,
    raft: &RaftHandle,
    change: ChangeMembers<u64, Peer>,
    retain: bool,
) -> Result<()> {
    let _suspension = core.lease.suspend();
    match raft.change_membership(change, retain).await {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_))) => {
            Err(not_leader())
        }
        Err(RaftError::APIError(error)) => {
            Err(Error::new(ErrorKind::ClusterNotReady, format!("the members cannot be changed now: {error}")))
        }
        Err(RaftError::Fatal(error)) => Err(Error::new(ErrorKind::Closed, format!("this node has stopped: {error}"))),
    }
}

/// Hands leadership over and waits until another node leads.
pub(in crate::raft) async fn transfer(core: &Arc<Core>, raft: &RaftHandle, to: Option<u64>) -> Result<u64> {
    let members = Members::of(raft);
    let target = match to {
        Some(to) if to == core.node_id => return Ok(to),
        Some(to) if members.voters.contains(&to) => to,
        Some(to) => return Err(Error::new(ErrorKind::NotFound, format!("{to} is no voter, so it cannot lead"))),
        None => furthest(core, raft, &members)?,
    };
    // Before anybody else may lead, this node stops to answer by itself.
    let _suspension = core.lease.suspend();
    let stopped =
        |error: &dyn std::fmt::Display| Error::new(ErrorKind::Closed, format!("this node has stopped: {error}"));
    raft.trigger().transfer_leader(target).await.map_err(|error| stopped(&error))?;
    let mut metrics = raft.server_metrics();
    let gone = async {
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|leader| leader != core.node_id) {
                return;
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    };
    match tokio::time::timeout(core.election_timeout * 5, gone).await {
        Ok(()) => Ok(target),
        Err(_) => Err(Error::new(
            ErrorKind::ClusterNotReady,
            format!("member {target} {LAGS} or is down; it did not take over"),
        )),
    }
}

/// The other voter that has most of the log and has answered lately.
fn furthest(core: &Core, raft: &RaftHandle, members: &Members) -> Result<u64> {
    let others = members.voters.iter().copied().filter(|id| *id != core.node_id);
    let lately = |ns: &u64| u128::from(*ns) < core.election_timeout.as_nanos();
    let heard = others.filter_map(|id| Some((lag(raft, id)?, core.lease.last_contact_ns(id).filter(lately)?, id)));
    let nobody = || Error::new(ErrorKind::ClusterNotReady, format!("every other voter {LAGS} or is down"));
    heard.min().map(|(_, _, id)| id).ok_or_else(nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_as_they_went_and_damage_is_an_error() {
        let changes = [
            MembershipChange::Join { node_id: 300, address: "a:1".to_owned(), name: "n".to_owned(), promote: true },
            MembershipChange::Add { address: "b:2".to_owned() },
            MembershipChange::Promote { node_id: 1 },
            MembershipChange::Remove { node_id: u64::MAX },
            MembershipChange::Replace { old_node_id: 1, new_node_id: 2 },
            MembershipChange::TransferLeadership { to: None },
            MembershipChange::TransferLeadership { to: Some(7) },
        ];
        for change in changes {
            let bytes = change.encode();
            assert_eq!(MembershipChange::decode(&bytes).unwrap(), change);
            for at in 0..bytes.len() {
                assert!(MembershipChange::decode(&bytes[..at]).is_err());
            }
        }
    }
}
