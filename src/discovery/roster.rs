//! Roster: everyone found so far, from seeds and gossip, as one list that can be watched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::options::Announcement;

/// The list that is published whole whenever it changes.
pub(crate) type Peers = Arc<[Found]>;

/// An address to try, with what is said about it. Only a handshake shows what is true of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// `host:port` over TCP.
    pub(crate) address: String,
    /// The name that the address was looked up under, for checking certificates; `None` for numeric seeds and gossip.
    pub(crate) host: Option<String>,
    /// Known from gossip only.
    pub(crate) node_id: Option<u64>,
    /// Known from gossip only; `None` also for a node that belongs to no cluster yet.
    pub(crate) cluster_id: Option<u128>,
    /// Known from gossip only, else empty.
    pub(crate) name: String,
}

/// One address behind a configured seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeedAddress {
    pub(super) address: String,
    /// The seed as configured.
    pub(super) seed: String,
    pub(super) host: Option<String>,
}

/// - seeds come first, in their configured order; no address stands there twice, and never this node's own
/// - published only when it differs from what was published before
pub(super) struct Roster {
    state: Mutex<State>,
    published: watch::Sender<Peers>,
}

struct State {
    me: Announcement,
    own: Vec<String>,
    seeds: Vec<Vec<SeedAddress>>,
    gossip: Vec<Announcement>,
}

impl Roster {
    pub(super) fn new(me: Announcement, seeds: usize) -> Roster {
        let state = State { me, own: Vec::new(), seeds: vec![Vec::new(); seeds], gossip: Vec::new() };
        Roster { state: Mutex::new(state), published: watch::Sender::new(Arc::new([])) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Peers> {
        self.published.subscribe()
    }

    pub(super) fn peers(&self) -> Peers {
        self.published.borrow().clone()
    }

    pub(super) fn set_me(&self, me: Announcement) {
        let mut state = self.state();
        // Until the new address has been looked up, nobody can say which numbers are this node's.
        if state.me.address != me.address {
            state.own.clear();
        }
        state.me = me;
        self.publish(&state);
    }

    pub(super) fn set_own(&self, own: Vec<String>) {
        let mut state = self.state();
        state.own = own;
        self.publish(&state);
    }

    pub(super) fn set_seed(&self, place: usize, addresses: Vec<SeedAddress>) {
        let mut state = self.state();
        if let Some(seed) = state.seeds.get_mut(place) {
            *seed = addresses;
        }
        self.publish(&state);
    }

    pub(super) fn set_gossip(&self, gossip: Vec<Announcement>) {
        let mut state = self.state();
        state.gossip = gossip;
        self.publish(&state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &State) {
        let peers = state.merge();
        self.published.send_if_modified(|published| {
            let is_new = **published != *peers;
            if is_new {
                *published = peers.into();
            }
            is_new
        });
    }
}

impl State {
    fn merge(&self) -> Vec<Found> {
        let mut peers: Vec<Found> = Vec::new();
        for addresses in &self.seeds {
            for SeedAddress { address, seed, host } in addresses {
                if self.is_me(address) || *seed == self.me.address || peers.iter().any(|peer| peer.address == *address)
                {
                    continue;
                }
                // A name with several addresses does not say which of them announced itself under it.
                let is_only = addresses.len() == 1;
                let known = self
                    .gossip
                    .iter()
                    .find(|about| about.address == *address)
                    .or_else(|| self.gossip.iter().find(|about| is_only && about.address == *seed));
                peers.push(found(address.clone(), host.clone(), known));
            }
        }
        let is_only_address_of =
            |name: &str| self.seeds.iter().any(|addresses| matches!(&addresses[..], [only] if only.seed == name));
        for about in &self.gossip {
            let is_me = self.is_me(&about.address) || (about.node_id != 0 && about.node_id == self.me.node_id);
            let is_there = peers.iter().any(|peer| peer.address == about.address);
            if !is_me && !is_there && !is_only_address_of(&about.address) {
                peers.push(found(about.address.clone(), None, Some(about)));
            }
        }
        peers
    }

    fn is_me(&self, address: &str) -> bool {
        self.me.address == address || self.own.iter().any(|own| own == address)
    }
}

fn found(address: String, host: Option<String>, about: Option<&Announcement>) -> Found {
    Found {
        address,
        host,
        node_id: about.map(|about| about.node_id).filter(|id| *id != 0),
        cluster_id: about.map(|about| about.cluster_id).filter(|id| *id != 0),
        name: about.map(|about| about.name.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(address: &str, node_id: u64) -> Announcement {
        Announcement { address: address.into(), node_id, cluster_id: 7, name: format!("n{node_id}") }
    }

    fn seed(address: &str, seed: &str) -> SeedAddress {
        SeedAddress { address: address.into(), seed: seed.into(), host: None }
    }

    fn addresses(roster: &Roster) -> Vec<String> {
        roster.peers().iter().map(|peer| peer.address.clone()).collect()
    }

    /// One list for all sources: seeds first, told more by gossip, each address once, never this node.
    #[test]
    fn sources_become_one_list_without_oneself() {
        let roster = Roster::new(about("10.0.0.1:1", 1), 2);
        roster.set_gossip(vec![about("10.0.0.1:1", 9), about("10.0.0.2:1", 2), about("10.0.0.3:1", 3)]);
        roster.set_seed(0, vec![seed("10.0.0.1:1", "all:1"), seed("10.0.0.4:1", "all:1"), seed("10.0.0.3:1", "all:1")]);
        roster.set_seed(1, vec![seed("10.0.0.4:1", "10.0.0.4:1")]);
        assert_eq!(addresses(&roster), ["10.0.0.4:1", "10.0.0.3:1", "10.0.0.2:1"]);
        let peers = roster.peers();
        assert_eq!((peers[0].node_id, peers[0].cluster_id), (None, None));
        assert_eq!((peers[1].node_id, peers[1].cluster_id, &*peers[1].name), (Some(3), Some(7), "n3"));
    }

    /// Before a restart the same node gossiped under another address: that is still this node.
    #[test]
    fn an_earlier_life_of_this_node_is_no_peer() {
        let roster = Roster::new(about("10.0.0.1:1", 1), 0);
        roster.set_gossip(vec![about("10.0.0.9:1", 1), about("10.0.0.2:1", 2)]);
        assert_eq!(addresses(&roster), ["10.0.0.2:1"]);
        roster.set_me(about("10.0.0.2:1", 5));
        assert_eq!(addresses(&roster), ["10.0.0.9:1"]);
    }

    /// A seed and a gossiped address are the same name, which has one number: it is one peer.
    #[test]
    fn a_name_with_one_address_meets_its_own_gossip() {
        let roster = Roster::new(about("a:1", 1), 1);
        roster.set_seed(0, vec![seed("10.0.0.2:1", "b:1")]);
        roster.set_gossip(vec![about("b:1", 2)]);
        assert_eq!(addresses(&roster), ["10.0.0.2:1"]);
        assert_eq!(roster.peers()[0].node_id, Some(2));
    }

    #[test]
    fn watchers_wake_only_for_news() {
        let roster = Roster::new(about("10.0.0.1:1", 1), 0);
        let mut watch = roster.watch();
        roster.set_own(vec!["10.0.0.1:1".into()]);
        assert!(!watch.has_changed().unwrap());
        roster.set_gossip(vec![about("10.0.0.2:1", 2)]);
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        roster.set_gossip(vec![about("10.0.0.2:1", 2)]);
        assert!(!watch.has_changed().unwrap());
    }
}
