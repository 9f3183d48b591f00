//! Tests: several nodes of one machine on real sockets, and strangers among them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foca::{Codec as _, Header, Message};
use futures_util::future::BoxFuture;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::codec::{Codec, decode_identity, encode_identity};
use super::identity::Identity;
use super::seal::{Envelope, Kind, Seal};
use super::sockets::{Ear, Sockets};
use super::{Announcement, Discovery, DiscoveryOptions, Found, Multicast, Resolver, SystemResolver};
use crate::error::ErrorKind;
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_PER_S_MAX};

/// Nothing takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn about(node_id: u64) -> Announcement {
    Announcement {
        address: format!("127.0.0.1:{}", 4100 + node_id),
        node_id,
        cluster_id: 0,
        name: format!("n{node_id}"),
    }
}

/// A group of its own for each test: tests run beside each other.
fn group() -> Multicast {
    let free = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    Multicast { port: free.local_addr().unwrap().port(), ..Multicast::default() }
}

fn start(node_id: u64, group: &Multicast, cookie: &str) -> Discovery {
    let options = DiscoveryOptions { multicast: Some(group.clone()), ..DiscoveryOptions::new(about(node_id), cookie) };
    Discovery::start(options).unwrap()
}

/// Waits until what is found looks like this.
async fn wait_for(discovery: &Discovery, what: &str, looks_right: impl Fn(&[Found]) -> bool) {
    let mut watch = discovery.watch();
    let seen = timeout(PATIENCE, watch.wait_for(|peers| looks_right(peers))).await.map(|seen| seen.is_ok());
    assert_eq!(seen, Ok(true), "{what}; found {:#?} {:?}", discovery.peers(), discovery.counts());
}

async fn wait_for_nodes(discovery: &Discovery, expected: &[u64]) {
    wait_for(discovery, &format!("expected the nodes {expected:?}"), |peers| nodes(peers) == expected).await;
}

fn nodes(peers: &[Found]) -> Vec<u64> {
    peers.iter().filter_map(|peer| peer.node_id).collect()
}

/// Counters wake nobody, so they are looked at again and again.
async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, looking).await.is_ok(), "{what}");
}

/// Whether datagrams to a group come back on loopback here; says so when they do not.
async fn has_multicast() -> bool {
    let group = group();
    let sockets = Sockets::open(&group, &about(1)).unwrap();
    let (_, mut ear) = sockets.ears();
    sockets.send_to_group(b"echo", Ipv4Addr::LOCALHOST).await;
    let is_heard = timeout(Duration::from_secs(2), ear.hear()).await.is_ok();
    if !is_heard {
        println!("skipped: this machine has no multicast on loopback");
    }
    is_heard
}

/// Three nodes of one machine start with the same cookie and nothing else: they find each other. One learns its
/// cluster later, one leaves, one dies in silence and comes back: the others hear of it all.
#[tokio::test]
async fn nodes_find_each_other_and_notice_who_is_gone() {
    if !has_multicast().await {
        return;
    }
    let group = group();
    let [one, two, three] = [1, 2, 3].map(|id| start(id, &group, "cookie"));
    wait_for_nodes(&one, &[2, 3]).await;
    wait_for_nodes(&two, &[1, 3]).await;
    wait_for_nodes(&three, &[1, 2]).await;
    let expected =
        Found { address: about(2).address, host: None, node_id: Some(2), cluster_id: None, name: "n2".into() };
    assert_eq!(one.peers()[0], expected);

    two.set_announcement(Announcement { cluster_id: 77, address: "127.0.0.1:5000".into(), ..about(2) }).unwrap();
    let has_news = |peers: &[Found]| {
        peers.len() == 2 && peers.iter().any(|peer| peer.cluster_id == Some(77) && peer.address == "127.0.0.1:5000")
    };
    wait_for(&one, "node 2 tells of its cluster and its new address", has_news).await;
    wait_for(&three, "node 2 tells of its cluster and its new address", has_news).await;

    three.leave().await;
    wait_for_nodes(&one, &[2]).await;
    wait_for_nodes(&two, &[1]).await;

    two.gossip.as_ref().unwrap().abort();
    wait_for_nodes(&one, &[]).await;
    let two_again = start(2, &group, "cookie");
    wait_for_nodes(&one, &[2]).await;
    wait_for_nodes(&two_again, &[1]).await;
}

/// A node that others of the network reach, and one that only its own machine reaches, stand on one machine: they
/// find each other, and hearing a beacon on two interfaces is no replay.
#[tokio::test]
async fn a_node_of_the_network_and_one_of_loopback_meet() {
    let group = group();
    let route = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    if route.connect((group.group, group.port)).is_err() || !has_multicast().await {
        println!("skipped: this machine has no route for multicast");
        return;
    }
    let address = SocketAddr::new(route.local_addr().unwrap().ip(), 4102).to_string();
    let options = DiscoveryOptions {
        multicast: Some(group.clone()),
        ..DiscoveryOptions::new(Announcement { address: address.clone(), ..about(2) }, "cookie")
    };
    let two = Discovery::start(options).unwrap();
    let three = {
        let me = Announcement { address: address.replace("4102", "4103"), ..about(3) };
        let multicast = Some(group.clone());
        Discovery::start(DiscoveryOptions { multicast, ..DiscoveryOptions::new(me, "cookie") }).unwrap()
    };
    let one = start(1, &group, "cookie");
    wait_for_nodes(&one, &[2, 3]).await;
    wait_for_nodes(&two, &[1, 3]).await;
    wait_for_nodes(&three, &[1, 2]).await;
    assert_eq!(one.peers()[0].address, address);
    assert_eq!([&one, &two, &three].map(|node| node.counts().replayed), [0; 3]);
}

/// A dropped search ends its tasks and says goodbye: the other drops it long before a probe would have failed.
#[tokio::test]
async fn a_dropped_search_says_goodbye() {
    if !has_multicast().await {
        return;
    }
    let group = group();
    let [one, two] = [1, 2].map(|id| start(id, &group, "cookie"));
    wait_for_nodes(&one, &[2]).await;
    wait_for_nodes(&two, &[1]).await;
    let dropped_at = tokio::time::Instant::now();
    drop(two);
    wait_for_nodes(&one, &[]).await;
    assert!(dropped_at.elapsed() < Duration::from_secs(3), "{:?}", dropped_at.elapsed());
}

/// Two clusters share a network and a port, and do not see each other. The cookie itself is in no datagram.
#[tokio::test]
async fn another_cookie_is_invisible() {
    if !has_multicast().await {
        return;
    }
    let group = group();
    let mut stranger = Actor::new(&group, "none of them");
    let [one, two] = [1, 2].map(|id| start(id, &group, "first cookie"));
    let other = start(3, &group, "second cookie");
    for _ in 0..4 {
        let (datagram, _) = timeout(PATIENCE, stranger.group_ear.hear()).await.unwrap();
        assert!(!datagram.windows(6).any(|part| part == b"cookie"));
    }
    wait_for_nodes(&one, &[2]).await;
    wait_until("both hear what they cannot read", || one.counts().foreign > 0 && other.counts().foreign > 0).await;
    wait_for_nodes(&two, &[1]).await;
    assert_eq!((nodes(&one.peers()), nodes(&other.peers())), (vec![2], vec![]));
    assert_eq!(other.counts().accepted, 0);
}

/// A peer that is played by the test, with whatever cookie.
struct Actor {
    sockets: Sockets,
    group_ear: Ear,
    seal: Seal,
    identity: Identity,
    counter: u64,
}

impl Actor {
    fn new(group: &Multicast, cookie: &str) -> Actor {
        let sockets = Sockets::open(group, &about(99)).unwrap();
        let (_, group_ear) = sockets.ears();
        let identity =
            Identity { run: 99, generation: 0, endpoint: sockets.endpoint(&about(99)), about: about(99).into() };
        Actor { sockets, group_ear, seal: Seal::new(cookie), identity, counter: 0 }
    }

    /// Who the next beacon is from, and the beacon itself.
    async fn hear_beacon(&mut self) -> (Identity, Vec<u8>) {
        let (datagram, _) = timeout(PATIENCE, self.group_ear.hear()).await.expect("a beacon is heard");
        let envelope = self.seal.open(datagram).expect("the beacon is of our cookie");
        (decode_identity(envelope.body).expect("a beacon tells who"), datagram.to_vec())
    }

    fn close(&mut self, kind: Kind, receiver: u64, body: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let envelope = Envelope { kind, sender: self.identity.run, receiver, counter: self.counter, body };
        self.seal.close(&envelope).unwrap()
    }

    /// Asks this node for the members that it knows, which also introduces the actor.
    fn announce(&mut self, to: &Identity) -> Vec<u8> {
        let (src, dst) = (self.identity.clone(), to.clone());
        let mut body = Vec::new();
        let header = Header { src, src_incarnation: 0, dst, message: Message::Announce };
        Codec.encode_header(&header, &mut body).unwrap();
        self.close(Kind::Swim, to.run, &body)
    }

    async fn send(&self, datagram: &[u8], to: &Identity) {
        assert!(self.sockets.send(datagram, SocketAddr::V4(to.endpoint)).await);
    }
}

/// Somebody records datagrams and plays them again, cuts them, or sends them to whom they are not meant for.
/// They are counted and nothing else happens; above all nobody who is gone comes back by it.
#[tokio::test]
async fn recorded_and_damaged_datagrams_change_nothing() {
    if !has_multicast().await {
        return;
    }
    let group = group();
    let mut actor = Actor::new(&group, "cookie");
    let node = start(1, &group, "cookie");
    let (target, own_beacon) = actor.hear_beacon().await;

    let introduction = actor.announce(&target);
    actor.send(&introduction, &target).await;
    wait_for_nodes(&node, &[99]).await;

    for _ in 0..5 {
        actor.send(&introduction, &target).await;
    }
    let for_an_earlier_run = actor.announce(&Identity { run: target.run ^ 1, ..target.clone() });
    actor.send(&for_an_earlier_run, &target).await;
    wait_until("six are known or not for this run", || node.counts().replayed == 6).await;

    let before = node.counts();
    for length in 0..introduction.len() {
        actor.send(&introduction[..length], &target).await;
    }
    actor.send(&[1; DATAGRAM_BYTES_MAX + 1], &target).await;
    let refused = || node.counts().malformed + node.counts().foreign - before.malformed - before.foreign;
    wait_until("all cut datagrams are refused", || refused() == introduction.len() as u64 + 1).await;
    assert_eq!(node.counts().accepted, before.accepted);

    // The node's own beacon comes back to it, and the actor, silent from now on, is dropped and stays so.
    actor.sockets.send_to_group(&own_beacon, Ipv4Addr::LOCALHOST).await;
    wait_for_nodes(&node, &[]).await;
    for recorded in [&introduction, &for_an_earlier_run] {
        actor.send(recorded, &target).await;
    }
    wait_until("the recording is refused", || node.counts().replayed == 8).await;
    assert_eq!(*node.peers(), []);
}

/// A beacon of a node that is gone is played to a node that started later and cannot know it: an address to ask,
/// but nobody answers there, so nobody is listed.
#[tokio::test]
async fn a_beacon_of_the_past_lists_nobody() {
    if !has_multicast().await {
        return;
    }
    let group = group();
    let mut actor = Actor::new(&group, "cookie");
    let body = encode_identity(&actor.identity);
    let beacon = actor.close(Kind::Beacon, 0, &body);
    let node = start(1, &group, "cookie");
    let (target, _) = actor.hear_beacon().await;
    let sent = node.counts().sent;
    actor.send(&beacon, &target).await;
    wait_until("it asks at that address", || node.counts().accepted == 1 && node.counts().sent > sent).await;
    actor.send(&beacon, &target).await;
    wait_until("once", || node.counts().replayed == 1).await;
    assert_eq!(*node.peers(), []);
}

/// A flood costs a bounded number of reads each second, whatever arrives, and afterwards nodes find each other.
#[tokio::test]
async fn a_flood_is_rationed_and_survived() {
    if !has_multicast().await {
        return;
    }
    let group = group();
    let mut actor = Actor::new(&group, "another cookie");
    let (before, node) = (tokio::time::Instant::now(), start(1, &group, "cookie"));
    let rubbish = actor.close(Kind::Beacon, 0, &[7; 1_000]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    for _ in 0..10_000 {
        socket.send_to(&rubbish, SocketAddrV4::new(group.group, group.port)).await.unwrap();
        tokio::task::yield_now().await;
    }
    let read = node.counts().foreign;
    let allowed = before.elapsed().as_millis() as u64 * u64::from(DATAGRAMS_PER_S_MAX) / 1_000 + 200;
    assert!(read > 0 && read <= allowed, "{read} of 10,000 were read, allowed {allowed}");
    let two = start(2, &group, "cookie");
    wait_for_nodes(&node, &[2]).await;
    wait_for_nodes(&two, &[1]).await;
}

/// Answers with what the test says, or not at all.
struct Names(Mutex<BTreeMap<&'static str, Option<Vec<&'static str>>>>);

impl Names {
    fn set(&self, name: &'static str, addresses: Option<Vec<&'static str>>) {
        self.0.lock().unwrap().insert(name, addresses);
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        let known = self.0.lock().unwrap().get(address).cloned().flatten();
        let answer = known.ok_or_else(|| io::Error::other("the name server is down"));
        Box::pin(async { Ok(answer?.into_iter().map(str::to_owned).collect()) })
    }
}

/// One name stands for all nodes, as in Kubernetes. Nodes come and go behind it; this node is among them; then the
/// name server dies, which takes away nobody. The other seeds stay where they are, and there is no multicast at all.
#[tokio::test]
async fn a_name_with_several_addresses_is_followed() {
    let names = Arc::new(Names(Mutex::default()));
    names.set("all:4100", Some(vec!["10.0.0.3:4100", "10.0.0.1:4100", "10.0.0.2:4100"]));
    names.set("me:4100", Some(vec!["10.0.0.1:4100"]));
    let me = Announcement { address: "me:4100".into(), ..about(1) };
    let options = DiscoveryOptions {
        seeds: vec!["10.0.0.9:4100".into(), "all:4100".into(), "nobody:4100".into(), "me:4100".into()],
        lookup_interval_ms: 10,
        resolver: names.clone(),
        ..DiscoveryOptions::new(me.clone(), "")
    };
    let discovery = Discovery::start(options).unwrap();
    let are = |expected: &'static [&'static str]| {
        move |peers: &[Found]| peers.iter().map(|peer| &*peer.address).eq(expected.iter().copied())
    };
    wait_for(&discovery, "the others", are(&["10.0.0.9:4100", "10.0.0.2:4100", "10.0.0.3:4100"])).await;
    let hosts: Vec<_> = discovery.peers().iter().map(|peer| peer.host.clone()).collect();
    assert_eq!(hosts, [None, Some("all".into()), Some("all".into())]);

    names.set("all:4100", Some(vec!["10.0.0.4:4100", "10.0.0.1:4100"]));
    wait_for(&discovery, "who is there now", are(&["10.0.0.9:4100", "10.0.0.4:4100"])).await;

    names.set("all:4100", None);
    names.set("nobody:4100", Some(vec!["10.0.0.5:4100"]));
    wait_for(&discovery, "nobody is lost", are(&["10.0.0.9:4100", "10.0.0.4:4100", "10.0.0.5:4100"])).await;

    names.set("moved:4100", Some(vec!["10.0.0.4:4100"]));
    discovery.set_announcement(Announcement { address: "moved:4100".into(), ..me }).unwrap();
    wait_for(&discovery, "this node moved", |peers| !peers.iter().any(|peer| peer.address == "10.0.0.4:4100")).await;
    let error = discovery.set_announcement(Announcement { address: "nowhere".into(), ..about(1) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    discovery.leave().await;
}

/// The system's resolver, with the one name that every machine knows.
#[tokio::test]
async fn the_system_knows_localhost() {
    let found = SystemResolver.resolve("localhost:4100").await.unwrap();
    assert!(found.contains(&"127.0.0.1:4100".to_owned()) || found.contains(&"[::1]:4100".to_owned()), "{found:?}");
}

/// The interface for gossip is gone: seeds work as before.
#[tokio::test]
async fn seeds_survive_without_multicast() {
    let multicast = Multicast { interfaces: vec![Ipv4Addr::new(203, 0, 113, 77)], ..group() };
    let seeds = vec!["127.0.0.1:4101".into(), "127.0.0.1:4102".into()];
    let options = DiscoveryOptions { seeds, multicast: Some(multicast), ..DiscoveryOptions::new(about(1), "cookie") };
    let discovery = Discovery::start(options).unwrap();
    wait_for(&discovery, "the other seed", |peers| peers.len() == 1 && peers[0].address == "127.0.0.1:4102").await;
    assert_eq!(discovery.counts().sent, 0);
}

/// Another program holds the port for itself: the message says which port and what to do.
#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let alien = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let multicast = Multicast { port: alien.local_addr().unwrap().port(), ..Multicast::default() };
    let port = multicast.port.to_string();
    let options = DiscoveryOptions { multicast: Some(multicast), ..DiscoveryOptions::new(about(1), "cookie") };
    let error = Discovery::start(options).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains(&port) && error.message().contains("multicast.port"), "{error}");
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let error = Discovery::start(DiscoveryOptions::new(about(1), "")).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}
