//! Tender: what a member does all the time for its cluster: greets the others, promotes learners, ends what was begun,
//! and knows whether it is ready.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::Notify;

use super::change::{MembershipChange, change, lag, reconfigure};
use super::{Info, Progress, Threshold};
use crate::discovery::Discovery;
use crate::error::ErrorKind;
use crate::raft::core::Core;
use crate::raft::peer::{Use, error_of, method};
use crate::raft::reads::Rounds;
use crate::storage::DataDir;

/// Between two rounds of looking after things.
const INTERVAL: Duration = Duration::from_millis(250);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How many rounds a joint configuration may stand before somebody ends it.
const JOINT_ROUNDS_MAX: u32 = 8;

/// What the leader last told of everybody's progress.
#[derive(Default)]
pub(in crate::raft) struct Progresses {
    of: Mutex<BTreeMap<u64, Progress>>,
}

impl Progresses {
    pub(in crate::raft) fn get(&self, node_id: u64) -> Option<Progress> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).get(&node_id).copied()
    }

    fn replace(&self, progresses: BTreeMap<u64, Progress>) {
        *self.of.lock().unwrap_or_else(PoisonError::into_inner) = progresses;
    }
}

/// Whether this member serves.
#[derive(Default)]
pub(in crate::raft) struct Readiness {
    is_ready: AtomicBool,
    changed: Notify,
}

impl Readiness {
    pub(in crate::raft) fn get(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    pub(in crate::raft) fn set(&self, is_ready: bool) {
        if self.is_ready.swap(is_ready, Ordering::AcqRel) != is_ready {
            tracing::info!(is_ready, "{}", if is_ready { "this node serves" } else { "this node does not serve" });
            self.changed.notify_waiters();
        }
    }

    pub(in crate::raft) async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            if self.get() {
                return;
            }
            changed.await;
        }
    }
}

/// Looks after the cluster, as one of its members.
pub(in crate::raft) struct Tender {
    pub(in crate::raft) core: Arc<Core>,
    pub(in crate::raft) discovery: Option<Discovery>,
    /// Knows who has invited this node.
    pub(in crate::raft) threshold: Arc<Threshold>,
    pub(in crate::raft) strong: Arc<Rounds>,
    pub(in crate::raft) promote: bool,
    /// Whether this node asks to be taken in.
    pub(in crate::raft) joins: bool,
    /// Holds the note that it has to ask.
    pub(in crate::raft) dir: Option<DataDir>,
}

impl Tender {
    /// Runs until the node closes.
    pub(in crate::raft) async fn run(self) {
        tokio::select! {
            biased;
            () = self.core.closing.notified() => {}
            () = self.look_after() => {}
        }
        self.core.readiness.set(false);
        if let Some(discovery) = self.discovery {
            discovery.leave().await;
        }
    }

    async fn look_after(&self) {
        let mut joint_rounds = 0;
        let mut is_introduced = false;
        while !self.core.is_closed() {
            // First of all: a node that is no member yet is served by nobody, and would wait for that in vain.
            if !is_introduced {
                is_introduced = self.introduce().await;
            }
            self.look_for_readiness().await;
            if !self.core.readiness.get() {
                self.greet_strangers().await;
            }
            if self.core.is_leader() {
                self.promote_learners().await;
                joint_rounds = self.end_joint(joint_rounds).await;
            } else {
                joint_rounds = 0;
                self.ask_for_progress().await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// A real read through a quorum tells whether this node serves.
    async fn look_for_readiness(&self) {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let timeout = self.core.election_timeout * 3;
        self.strong.join(
            timeout,
            Box::new(move |ready| {
                let _ = sender.send(ready.is_ok());
            }),
        );
        let is_served = tokio::time::timeout(timeout * 2, answer).await.is_ok_and(|answer| answer == Ok(true));
        self.core.readiness.set(is_served && !self.core.is_removed());
    }

    /// Members whose addresses have changed, or who do not know ours, learn of each other by talking.
    async fn greet_strangers(&self) {
        let (Some(peers), Some(discovery)) = (&self.core.peers, &self.discovery) else { return };
        let own = peers.hello();
        for address in self.core.addresses(discovery) {
            if address == own.address {
                continue;
            }
            let greeting = async {
                let caller = peers.stranger(&address).await?;
                peers.learn(caller.peer());
                let answer = caller.call(method::INFO, Vec::new()).await.map_err(error_of)?;
                Info::decode(&answer)
            };
            let Ok(Ok(info)) = tokio::time::timeout(ANSWER_TIMEOUT, greeting).await else { continue };
            self.core.notice_removal(&info);
        }
    }

    /// Asks to be taken in, or tells a new address. Tells whether nothing remains to be done.
    async fn introduce(&self) -> bool {
        let Some(peers) = &self.core.peers else { return true };
        let own = peers.hello();
        match self.core.known_peer(own.node_id) {
            Some(peer) if peer.address == own.address && peer.name == self.core.name() && self.core.is_settled() => {
                if let Some(Err(error)) = self.dir.as_ref().map(DataDir::remove_note) {
                    tracing::warn!(%error, "cannot remove the note that this node still has to be taken in");
                    return false;
                }
                return true;
            }
            // The log decides.
            Some(peer) if peer.address == own.address && peer.name == self.core.name() && !self.joins => return false,
            None if !self.joins => return false,
            _ => {}
        }
        let introduction = MembershipChange::Join {
            node_id: own.node_id,
            address: own.address,
            name: self.core.name(),
            promote: self.promote,
        };
        if self.core.leader().is_some() && change(&self.core, introduction.clone(), ANSWER_TIMEOUT).await.is_ok() {
            // The log will say so.
            return false;
        }
        // Nobody has sent this node a log yet, or who has does not lead any more: it asks whom it finds.
        let Some(discovery) = &self.discovery else { return false };
        let invitations = self.threshold.invitations();
        for address in invitations.into_iter().chain(self.core.addresses(discovery)) {
            if address == peers.hello().address {
                continue;
            }
            let asking = async {
                let caller = peers.stranger(&address).await?;
                let answer = caller.call(method::INFO, Vec::new()).await.map_err(error_of)?;
                if Info::decode(&answer)?.leader.is_none() {
                    // Another that joins: it would hold the question until it is a member itself.
                    return Err(ErrorKind::ClusterNotReady.into());
                }
                caller.call(method::CHANGE, introduction.encode()).await.map_err(error_of)
            };
            if matches!(tokio::time::timeout(ANSWER_TIMEOUT * 3, asking).await, Ok(Ok(_))) {
                break;
            }
        }
        false
    }

    /// Learners that have caught up become voters, unless they stand in for one that is to be replaced.
    async fn promote_learners(&self) {
        let Some(raft) = self.core.raft() else { return };
        let learners = {
            let receiver = raft.metrics();
            let metrics = receiver.borrow_watched();
            let membership = metrics.membership_config.membership();
            let voters: Vec<u64> = membership.voter_ids().collect();
            let known: Vec<_> = membership.nodes().collect();
            let stands_in = |address: &str, name: &str| {
                known.iter().any(|(id, peer)| voters.contains(id) && (peer.address == address || peer.name == name))
            };
            let wanted = known
                .iter()
                .filter(|(id, peer)| peer.promote && !voters.contains(id) && !stands_in(&peer.address, &peer.name));
            wanted.map(|(id, _)| **id).collect::<Vec<u64>>()
        };
        for node_id in learners {
            let is_here = self.core.lease.last_contact_ns(node_id).is_some_and(|ns| ns < 1_000_000_000);
            if is_here && lag(raft, node_id).is_some_and(|lag| lag <= 16) {
                let _ = change(&self.core, MembershipChange::Promote { node_id }, Duration::from_secs(5)).await;
            }
        }
    }

    /// A leader that died between the two steps of a change leaves both configurations in force.
    async fn end_joint(&self, rounds: u32) -> u32 {
        let Some(raft) = self.core.raft() else { return 0 };
        let target = {
            let receiver = raft.metrics();
            let metrics = receiver.borrow_watched();
            let configs = metrics.membership_config.membership().get_joint_config().clone();
            if configs.len() > 1 { configs.last().cloned() } else { None }
        };
        let Some(target) = target else { return 0 };
        if rounds < JOINT_ROUNDS_MAX {
            return rounds + 1;
        }
        let ending = reconfigure(&self.core, raft, ChangeMembers::ReplaceAllVoters(target), true);
        let _ = tokio::time::timeout(Duration::from_secs(5), ending).await;
        0
    }

    /// What only the leader knows is shown by every member.
    async fn ask_for_progress(&self) {
        let (Some(leader), Some(peers)) = (self.core.leader(), &self.core.peers) else { return };
        let asking = async {
            let caller = peers.caller(leader.node_id, &leader.address, Use::Messages).await?;
            let answer = caller.call(method::INFO, Vec::new()).await.map_err(error_of)?;
            Info::decode(&answer)
        };
        let Ok(Ok(info)) = tokio::time::timeout(ANSWER_TIMEOUT, asking).await else { return };
        let progresses = info.members.iter().filter_map(|member| Some((member.node_id, member.progress?)));
        self.core.progresses.replace(progresses.collect());
    }
}
