//! Known: what a client knows of the cluster's members.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Target;
use crate::raft::cluster::Info;

/// For how long one that did not answer is asked last, and not taken for the leader because others still say so.
const AVOIDANCE: Duration = Duration::from_secs(1);

/// The members as one of them told last, and where to ask again.
pub(super) struct Known {
    configured: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<u64, String>,
    leader: Option<u64>,
    /// Whose turn it is among all members.
    turn: usize,
    /// Who did not answer, and until when it is asked last.
    avoided: Option<(u64, Instant)>,
}

impl State {
    fn is_avoided(&self, node_id: u64) -> bool {
        self.avoided.is_some_and(|(avoided, until)| avoided == node_id && Instant::now() < until)
    }
}

impl Known {
    pub(super) fn new(configured: Vec<String>) -> Known {
        Known { configured, state: Mutex::default() }
    }

    pub(super) fn update(&self, info: &Info) {
        let mut state = self.state();
        if !info.members.is_empty() {
            state.members = info.members.iter().map(|member| (member.node_id, member.address.clone())).collect();
        }
        // It may have moved since the others heard of it.
        state.members.insert(info.node_id, info.address.clone());
        if state.is_avoided(info.node_id) {
            state.avoided = None;
        }
        state.leader = info.leader.filter(|leader| !state.is_avoided(*leader)).or(state.leader);
    }

    /// A member says that this one leads.
    pub(super) fn learn_leader(&self, node_id: u64, address: String) {
        let mut state = self.state();
        state.members.insert(node_id, address);
        if !state.is_avoided(node_id) {
            state.leader = Some(node_id);
        }
    }

    /// This member does not lead, or cannot be reached.
    pub(super) fn forget_leader(&self, node_id: u64) {
        let mut state = self.state();
        if state.leader == Some(node_id) {
            state.leader = None;
        }
    }

    /// This member is connected or accepts connections, but does not answer.
    pub(super) fn avoid(&self, node_id: u64) {
        self.forget_leader(node_id);
        self.state().avoided = Some((node_id, Instant::now() + AVOIDANCE));
    }

    /// Whom to try, one after the other.
    pub(super) fn candidates(&self, target: Target) -> Vec<(u64, String)> {
        let mut state = self.state();
        let members: Vec<(u64, String)> = state.members.iter().map(|(id, address)| (*id, address.clone())).collect();
        if let Target::Member(node_id) = target {
            return members.into_iter().filter(|(id, _)| *id == node_id).collect();
        }
        let leader = state.leader.filter(|_| target == Target::Leader);
        state.turn = state.turn.wrapping_add(1);
        let first = members.iter().position(|(id, _)| Some(*id) == leader).unwrap_or(state.turn % members.len().max(1));
        let mut candidates: Vec<_> = members.iter().cycle().skip(first).take(members.len()).cloned().collect();
        candidates.sort_by_key(|(id, _)| state.is_avoided(*id));
        candidates
    }

    /// Where to ask who the members are: those that are known, then those that were configured.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> =
            self.candidates(Target::Anybody).into_iter().map(|(_, address)| address).collect();
        addresses
            .extend(self.configured.iter().filter(|address| !addresses.contains(address)).cloned().collect::<Vec<_>>());
        addresses
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_leader_is_asked_first_and_everybody_in_turn() {
        let known = Known::new(vec!["seed:1".to_owned()]);
        assert_eq!(known.addresses(), ["seed:1"]);
        known.learn_leader(2, "b".to_owned());
        known.learn_leader(1, "a".to_owned());
        known.learn_leader(3, "c".to_owned());
        let first = |target| known.candidates(target)[0].0;
        assert_eq!((first(Target::Leader), first(Target::Leader)), (3, 3));
        let turns: std::collections::BTreeSet<u64> = (0..3).map(|_| first(Target::Anybody)).collect();
        assert_eq!(turns.len(), 3);
        known.forget_leader(3);
        assert_eq!(known.candidates(Target::Leader).len(), 3, "without a leader anybody may know it");
        assert_eq!(known.candidates(Target::Member(2)), [(2, "b".to_owned())]);
        assert!(known.candidates(Target::Member(9)).is_empty());
        known.learn_leader(1, "a".to_owned());
        known.avoid(1);
        let asked_last = |target| known.candidates(target)[2].0;
        assert!((0..3).all(|_| asked_last(Target::Leader) == 1 && asked_last(Target::Anybody) == 1));
        known.learn_leader(1, "a".to_owned());
        assert_ne!(first(Target::Leader), 1, "others have not noticed yet that it does not answer");
        tokio::time::advance(AVOIDANCE).await;
        known.learn_leader(1, "a".to_owned());
        assert_eq!(first(Target::Leader), 1);
    }
}
