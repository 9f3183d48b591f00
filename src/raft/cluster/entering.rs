//! Entering: how a node that belongs to no cluster comes into one: it founds one with others, or joins one that it finds.
//!
//! A cluster is founded by exactly `bootstrap_expect` nodes in two steps, so that one configuration never makes two
//! clusters out of the same nodes: the one with the smallest id asks all of them, each says yes to one founding at a
//! time; when all have said yes they are told, keep it on disk, and each starts its log with the same members.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Formation, Found, Info};
use crate::discovery::Discovery;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Caller;
use crate::raft::core::reachable;
use crate::raft::peer::{Peers, error_of, method};
use crate::raft::types::Peer;
use crate::storage::DataDir;

/// Between two looks around.
const LOOK_INTERVAL: Duration = Duration::from_millis(150);
/// For how long who has said yes to one founding says no to others.
const PROMISE: Duration = Duration::from_secs(3);
/// How long the only founder looks for others before it founds alone.
const LOOK_BEFORE_FOUNDING_ALONE: Duration = Duration::from_millis(1_500);
/// How long it waits for one who is heard but does not answer: that one may be about to found, or have founded already.
const WAIT_FOR_THE_SILENT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many of those who invited this node it remembers.
const INVITATIONS_MAX: usize = 16;

/// How a node came to its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::raft) struct Entered {
    pub(in crate::raft) cluster_id: u128,
    /// The founders, when this node is one of them.
    pub(in crate::raft) formation: Option<Formation>,
}

/// What others may ask of a node that belongs to no cluster yet.
#[derive(Default)]
pub(in crate::raft) struct Threshold {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    promise: Option<(Formation, Instant)>,
    entered: Option<Entered>,
    /// Where others are, besides those that were configured.
    invitations: Vec<String>,
}

impl Threshold {
    /// An answer to a founder; an error says why not.
    pub(in crate::raft) fn found(&self, found: Found, dir: Option<&DataDir>, node_id: u64) -> Result<()> {
        let mut state = self.state();
        let refused = |message: &str| Err(Error::new(ErrorKind::ClusterNotReady, message));
        let (Found::Ask(formation) | Found::Seal(formation)) = &found;
        if !formation.members.contains_key(&node_id) {
            return refused("this node is none of the founders");
        }
        if let Some(entered) = &state.entered {
            let is_same = entered.formation.as_ref() == Some(formation);
            return if is_same { Ok(()) } else { refused("this node belongs to another cluster already") };
        }
        let promised = state.promise.as_ref().filter(|(_, until)| Instant::now() < *until);
        match found {
            Found::Ask(formation) => {
                if promised.is_some_and(|(other, _)| *other != formation) {
                    return refused("this node has promised to found another cluster; it will be free in some seconds");
                }
                state.promise = Some((formation, Instant::now() + PROMISE));
                Ok(())
            }
            Found::Seal(formation) => {
                if promised.is_none_or(|(other, _)| *other != formation) {
                    return refused("this node has not promised to found this cluster, or too long ago");
                }
                if let Some(dir) = dir {
                    dir.save_note(&formation.encode())?;
                    dir.adopt(formation.cluster_id)?;
                }
                let cluster_id = formation.cluster_id;
                state.entered = Some(Entered { cluster_id, formation: Some(formation) });
                self.changed.notify_one();
                Ok(())
            }
        }
    }

    /// A member asks this node to join its cluster.
    pub(in crate::raft) fn invite(&self, address: String) {
        let mut state = self.state();
        state.invitations.retain(|known| *known != address);
        state.invitations.insert(0, address);
        state.invitations.truncate(INVITATIONS_MAX);
        self.changed.notify_one();
    }

    /// Who has invited this node, the last one first.
    pub(in crate::raft) fn invitations(&self) -> Vec<String> {
        self.state().invitations.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is there.
struct Around {
    answered: Vec<(Caller, Info)>,
    /// Where somebody gossips who did not answer, perhaps because it has just started.
    silent: Option<String>,
    /// Why somebody refuses this node for good.
    refusal: Option<String>,
}

/// A node on its way into a cluster.
pub(in crate::raft) struct Entry<'a> {
    pub(in crate::raft) peers: &'a Arc<Peers>,
    pub(in crate::raft) discovery: &'a Discovery,
    pub(in crate::raft) threshold: &'a Threshold,
    pub(in crate::raft) dir: Option<&'a DataDir>,
    pub(in crate::raft) name: String,
    pub(in crate::raft) bootstrap_expect: usize,
    /// A name for the cluster that this node may found.
    pub(in crate::raft) fresh_cluster_id: u128,
    /// Whether others may be found at all.
    pub(in crate::raft) has_company: bool,
    /// Where the node tells what it waits for.
    pub(in crate::raft) progress: &'a Mutex<String>,
}

impl Entry<'_> {
    /// Runs until the node belongs to a cluster.
    pub(in crate::raft) async fn run(&self) -> Result<Entered> {
        let start = Instant::now();
        let mut found_more = self.discovery.watch();
        loop {
            if let Some(entered) = self.threshold.state().entered.clone() {
                return Ok(entered);
            }
            // A look may take long, and shows only who was there when it began.
            let waited = start.elapsed();
            let around = self.look_around().await;
            if let Some(entered) = self.join_one(&around.answered)? {
                return Ok(entered);
            }
            self.found_one(&around, waited).await;
            if let Some(refusal) = around.refusal {
                self.tell(refusal);
            }
            tokio::select! {
                biased;
                () = self.threshold.changed.notified() => {}
                Ok(()) = found_more.changed() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    fn tell(&self, message: String) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }

    /// Asks everybody that was ever heard of. Also tells why somebody refuses this node for good.
    async fn look_around(&self) -> Around {
        let own = self.peers.hello();
        let has_tls = self.peers.options().tls.is_some();
        let known = self.discovery.peers();
        let mut addresses: Vec<String> = known.iter().map(|found| reachable(found, has_tls)).collect();
        addresses.extend(self.threshold.invitations());
        addresses.sort();
        addresses.dedup();
        addresses.retain(|address| *address != own.address);
        let asked = join_all(addresses.iter().map(|address| self.ask(address))).await;
        let gossips = |address: &String| known.iter().any(|one| one.node_id.is_some() && one.address == *address);
        let (mut found, mut silent, mut refusal) = (BTreeMap::new(), None, None);
        for (address, answer) in addresses.into_iter().zip(asked) {
            match answer {
                Ok((caller, info)) if info.node_id != own.node_id => {
                    found.insert(info.node_id, (caller, info));
                }
                Ok(_) => {}
                Err(error) => {
                    if error.kind() != ErrorKind::ClusterNotReady {
                        refusal = Some(format!("{address}: {}", error.message()));
                    }
                    silent = silent.or(Some(address).filter(gossips));
                }
            }
        }
        Around { answered: found.into_values().collect(), silent, refusal }
    }

    async fn ask(&self, address: &str) -> Result<(Caller, Info)> {
        let asking = async {
            let caller = self.peers.stranger(address).await?;
            let answer = caller.call(method::INFO, Vec::new()).await.map_err(error_of)?;
            Ok((caller, Info::decode(&answer)?))
        };
        let late = || Error::new(ErrorKind::ClusterNotReady, "no answer");
        tokio::time::timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// A cluster that exists is joined, whoever wanted to found one.
    fn join_one(&self, found: &[(Caller, Info)]) -> Result<Option<Entered>> {
        let mut clusters = found.iter().map(|(_, info)| info.cluster_id).filter(|cluster_id| *cluster_id != 0);
        let Some(cluster_id) = clusters.next() else { return Ok(None) };
        if clusters.any(|other| other != cluster_id) {
            self.tell(
                "the nodes that are found belong to different clusters; correct `seeds` or the cookies".to_owned(),
            );
            return Ok(None);
        }
        let mut state = self.threshold.state();
        if state.entered.is_none() {
            if let Some(dir) = self.dir {
                dir.save_note(&Formation::of_joiner(cluster_id).encode())?;
                dir.adopt(cluster_id)?;
            }
            state.entered = Some(Entered { cluster_id, formation: None });
        }
        Ok(state.entered.clone())
    }

    /// When enough nodes are there, the one with the smallest id founds.
    async fn found_one(&self, around: &Around, waited: Duration) {
        let expect = self.bootstrap_expect;
        let own = self.peers.hello();
        let willing =
            around.answered.iter().filter(|(_, info)| info.cluster_id == 0 && info.bootstrap_expect == expect as u64);
        let mut founders: BTreeMap<u64, Option<&(Caller, Info)>> =
            willing.map(|one| (one.1.node_id, Some(one))).collect();
        founders.insert(own.node_id, None);
        if expect == 0 {
            self.tell(
                "waiting for a member to answer; `bootstrap_expect` is 0, so this node founds nothing".to_owned(),
            );
            return;
        }
        if founders.len() < expect {
            self.tell(format!("waiting for {expect} nodes to found a cluster, {} are here", founders.len()));
            return;
        }
        if expect == 1
            && self.has_company
            && let Some(reason) = reason_to_wait(around.silent.as_deref(), waited)
        {
            self.tell(reason);
            return;
        }
        // Only so many found; the others join them.
        let founders: BTreeMap<_, _> = founders.into_iter().take(expect).collect();
        if founders.first_key_value().is_none_or(|(first, _)| *first != own.node_id) {
            self.tell("waiting for the node with the smallest id to found the cluster".to_owned());
            return;
        }
        let peer_of = |one: &Option<&(Caller, Info)>| match one {
            Some((_, info)) => Peer { address: info.address.clone(), name: info.name.clone(), promote: true },
            None => Peer { address: own.address.clone(), name: self.name.clone(), promote: true },
        };
        let members = founders.iter().map(|(node_id, one)| (*node_id, peer_of(one))).collect();
        let formation = Formation { cluster_id: self.fresh_cluster_id, members };
        let others: Vec<&Caller> = founders.values().flatten().map(|(caller, _)| caller).collect();
        if let Err(error) = self.found(formation, &others).await {
            self.tell(format!("a founder has not agreed: {}", error.message()));
        }
    }

    async fn found(&self, formation: Formation, others: &[&Caller]) -> Result<()> {
        let node_id = self.peers.hello().node_id;
        self.threshold.found(Found::Ask(formation.clone()), self.dir, node_id)?;
        self.tell_all(others, &Found::Ask(formation.clone())).await?;
        // From here on it is so: whoever misses this learns of it when it looks around.
        self.threshold.found(Found::Seal(formation.clone()), self.dir, node_id)?;
        self.tell_all(others, &Found::Seal(formation)).await
    }

    async fn tell_all(&self, others: &[&Caller], found: &Found) -> Result<()> {
        let telling = others.iter().map(|caller| {
            let call = caller.call(method::FOUND, found.encode());
            async move {
                let late = || Error::new(ErrorKind::ClusterNotReady, "no answer");
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, call).await.map_err(|_| late())?;
                answer.map(drop).map_err(error_of)
            }
        });
        join_all(telling).await.into_iter().collect()
    }
}

/// Why the only founder does not found alone yet.
fn reason_to_wait(silent: Option<&str>, waited: Duration) -> Option<String> {
    match silent {
        _ if waited < LOOK_BEFORE_FOUNDING_ALONE => Some("looking for others before founding a cluster".to_owned()),
        Some(address) if waited < WAIT_FOR_THE_SILENT => {
            Some(format!("{address} is heard but does not answer; waiting for it before founding a cluster"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, of three that started together on a busy machine one sometimes founded a cluster of its own: those that
    /// it heard had not answered in time.
    #[test]
    fn who_is_heard_but_silent_is_waited_for_but_not_for_ever() {
        let at = Duration::from_millis;
        assert!(reason_to_wait(None, at(1_499)).is_some());
        assert_eq!(reason_to_wait(None, at(1_500)), None);
        assert!(reason_to_wait(Some("10.0.0.2:1"), at(1_500)).unwrap().contains("10.0.0.2:1"));
        assert!(reason_to_wait(Some("10.0.0.2:1"), at(9_999)).is_some());
        assert_eq!(reason_to_wait(Some("10.0.0.2:1"), at(10_000)), None, "it may be a node that cannot be reached");
    }

    fn formation(cluster_id: u128) -> Formation {
        let peer = || Peer { address: "a:1".to_owned(), name: "a".to_owned(), promote: true };
        Formation { cluster_id, members: [(1, peer()), (2, peer())].into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_founds_one_cluster_only() {
        let threshold = Threshold::default();
        let (one, other) = (formation(7), formation(8));
        assert!(threshold.found(Found::Seal(one.clone()), None, 1).is_err(), "it has promised nothing");
        assert!(threshold.found(Found::Ask(one.clone()), None, 3).is_err(), "it is no founder");
        threshold.found(Found::Ask(one.clone()), None, 1).unwrap();
        assert!(threshold.found(Found::Ask(other.clone()), None, 1).is_err(), "it has promised itself to another");
        threshold.found(Found::Ask(one.clone()), None, 1).unwrap();

        tokio::time::sleep(PROMISE).await;
        assert!(threshold.found(Found::Seal(one.clone()), None, 1).is_err(), "the promise is over");
        threshold.found(Found::Ask(other.clone()), None, 1).unwrap();
        threshold.found(Found::Seal(other.clone()), None, 1).unwrap();
        assert!(threshold.found(Found::Ask(one), None, 1).is_err(), "it belongs to a cluster now");
        threshold.found(Found::Seal(other), None, 1).expect("the same news twice are fine");
    }
}
