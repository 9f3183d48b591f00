//! Cluster: tokens on three members, and clients that connect with one.

use concord_kv::{ClientConfig, ClusterConfig, Concord, Config, Consistency, ErrorKind, Member, ReadOptions};

use super::verbs::check_matrix;
use super::{ADMIN, BOTH, READ, create, token};
use crate::until::until;

const COOKIE: &str = "a secret of this test";

/// Three members that ask for tokens.
struct Trio {
    _dir: tempfile::TempDir,
    addresses: Vec<String>,
    nodes: Vec<Concord>,
}

impl Trio {
    fn open() -> Trio {
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        drop(listeners);
        let open = |at: usize| {
            let cluster = ClusterConfig {
                listen: addresses[at].clone(),
                seeds: addresses.clone(),
                bootstrap_expect: 3,
                cookie: COOKIE.into(),
                ..ClusterConfig::default()
            };
            let config = Config::at(dir.path().join(at.to_string()));
            Concord::open(Config { cluster: Some(cluster), auth_enabled: true, ..config }).unwrap()
        };
        let nodes: Vec<Concord> = (0..3).map(open).collect();
        nodes.iter().for_each(|node| node.cluster().wait_ready(20_000).unwrap());
        Trio { _dir: dir, addresses, nodes }
    }

    fn connect(&self, token: &str) -> concord_kv::Result<Concord> {
        Concord::connect(ClientConfig::with_token(&self.addresses.join(","), token))
    }

    fn leader(&self) -> usize {
        let leads = |node: &Concord| node.as_admin().kv().reads_at_once(&ReadOptions::default());
        until("one of them leads", || self.nodes.iter().position(leads))
    }
}

fn kind<T>(outcome: concord_kv::Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

/// T4.
#[test]
fn a_token_is_known_and_a_revocation_holds_on_every_member_when_it_is_acknowledged() {
    let trio = Trio::open();
    let (strong, leader) = (Consistency::Strong, Consistency::Leader);
    let levels = [leader, strong].map(|level| ReadOptions { consistency: Some(level), timeout_ms: None });
    for round in 0..30 {
        let (made_on, revoked_on) = (&trio.nodes[round % 3], &trio.nodes[(round + 1) % 3]);
        let created = create(made_on, &token(BOTH, &[]));
        let held: Vec<Concord> =
            trio.nodes.iter().map(|node| node.with_token(created.token.reveal()).unwrap()).collect();
        held.iter().for_each(|held| held.kv().put("k", round as i64).wait().unwrap());
        revoked_on.as_admin().tokens().revoke(&created.info.id).unwrap();
        for held in &held {
            assert_eq!(kind(held.kv().put("k", -1).wait()), Some(ErrorKind::Unauthorized));
            for options in &levels {
                assert_eq!(kind(held.kv().read(b"k", options, |_| ())), Some(ErrorKind::Unauthorized), "{options:?}");
                assert_eq!(kind(held.kv().view(options)), Some(ErrorKind::Unauthorized), "{options:?}");
            }
        }
    }
    assert_eq!(trio.nodes[0].as_admin().kv().get("k").unwrap(), Some(29.into()));
    let admin = create(&trio.nodes[0], &token(ADMIN, &[]));
    let held: Vec<Concord> = trio.nodes.iter().map(|node| node.with_token(admin.token.reveal()).unwrap()).collect();
    held[0].tokens().revoke(&admin.info.id).unwrap();
    for held in &held {
        assert_eq!(kind(held.tokens().create(&token(READ, &[]))), Some(ErrorKind::Unauthorized));
        assert_eq!(kind(held.tokens().list()), Some(ErrorKind::Unauthorized));
        assert_eq!(kind(held.cluster().transfer_leadership(None, Some(1_000))), Some(ErrorKind::Unauthorized));
    }
}

/// A member that has lost the others cannot know what they have revoked: it refuses, except for reads that may be stale.
#[test]
fn a_member_that_is_cut_off_serves_nothing_but_stale_reads() {
    let mut trio = Trio::open();
    let created = create(&trio.nodes[0], &token(BOTH, &[]));
    trio.nodes[0].as_admin().kv().put("k", 1).wait().unwrap();
    let survivor = trio.nodes.remove((trio.leader() + 1) % 3);
    let held = until("it knows the token", || survivor.with_token(created.token.reveal()).ok());
    until("it has the record", || {
        let stale = ReadOptions { consistency: Some(Consistency::Eventual), timeout_ms: None };
        held.kv().read(b"k", &stale, |_| ()).unwrap()
    });
    trio.nodes.clear();
    for level in [Consistency::Leader, Consistency::Strong] {
        let options = ReadOptions { consistency: Some(level), timeout_ms: Some(1_000) };
        until("it notices", || held.kv().read(b"k", &options, |_| ()).err());
    }
    assert!(held.kv().put("k", 2).wait().is_err());
}

#[test]
fn a_client_with_a_token_may_do_what_the_token_allows_and_nothing_else() {
    let trio = Trio::open();
    let admin = trio.nodes[0].as_admin();
    check_matrix(&admin, |token| trio.connect(token).unwrap(), false);

    let created = create(&admin, &token(ADMIN, &[]));
    let client = trio.connect(created.token.reveal()).unwrap();
    let reader = client.tokens().create(&token(READ, &[])).unwrap();
    assert_eq!(client.tokens().list().unwrap().len(), 2);
    let held = client.with_token(reader.token.reveal()).unwrap();
    held.kv().get("k").unwrap();
    assert_eq!(kind(held.kv().put("k", 1).wait()), Some(ErrorKind::Forbidden));
    let (leader, members) = (trio.leader(), client.members().unwrap());
    let other: Vec<&Member> = members.iter().filter(|member| !member.is_leader).collect();
    client.cluster().transfer_leadership(Some(other[0].node_id), None).unwrap();
    until("another one leads", || (trio.leader() != leader).then_some(()));
    client.kv().put("after", 1).wait().unwrap();
    client.tokens().revoke(&reader.info.id).unwrap();
    assert_eq!(kind(held.kv().get("k")), Some(ErrorKind::Unauthorized));
}

/// What asks with a token each time must not connect each time.
#[test]
fn a_client_stays_connected_for_a_token_until_it_is_closed() {
    let trio = Trio::open();
    let admin = create(&trio.nodes[0], &token(ADMIN, &[]));
    let writer = create(&trio.nodes[0], &token(BOTH, &[]));
    let client = trio.connect(admin.token.reveal()).unwrap();
    let (one, same) =
        (client.with_token(writer.token.reveal()).unwrap(), client.with_token(writer.token.reveal()).unwrap());
    one.kv().put("k", 1).wait().unwrap();
    one.close().unwrap();
    assert_eq!(kind(same.kv().get("k")), Some(ErrorKind::Closed), "it is one connection");
    let anew = client.with_token(writer.token.reveal()).unwrap();
    assert_eq!(anew.kv().get("k").unwrap(), Some(1.into()));
    client.close().unwrap();
    assert_eq!(kind(anew.kv().get("k")), Some(ErrorKind::Closed));
}

/// Writes of one client travel together; what one of them may not do is nothing to the others.
#[test]
fn a_forbidden_write_does_not_spoil_those_that_travel_with_it() {
    let trio = Trio::open();
    let created = create(&trio.nodes[0], &token(BOTH, &["mine:"]));
    let client = trio.connect(created.token.reveal()).unwrap();
    let write = |at: u64| {
        let key = if at.is_multiple_of(3) { "theirs:n" } else { "mine:n" };
        client.kv().increment(key, 1)
    };
    let writes: Vec<_> = (0..300).map(write).collect();
    for (at, write) in writes.into_iter().enumerate() {
        assert_eq!(kind(write.wait()), (at % 3 == 0).then_some(ErrorKind::Forbidden), "{at}");
    }
    let admin = trio.nodes[0].as_admin();
    assert_eq!(admin.kv().get("mine:n").unwrap(), Some(200.into()));
    assert_eq!(admin.kv().get("theirs:n").unwrap(), None);
}

#[test]
fn a_client_without_a_valid_token_does_not_come_in_and_guessing_is_slow() {
    let trio = Trio::open();
    let created = create(&trio.nodes[0], &token(READ, &[]));
    let text = created.token.reveal();
    assert_eq!(kind(trio.connect(&text[..50])), Some(ErrorKind::Unauthorized));
    trio.nodes[0].as_admin().tokens().revoke(&created.info.id).unwrap();
    until("every member refuses it", || {
        let refused = trio.connect(text).err()?;
        assert_eq!(refused.kind(), ErrorKind::Unauthorized, "{refused}");
        Some(())
    });
    for _ in 0..10 {
        assert_eq!(kind(trio.connect(text)), Some(ErrorKind::Unauthorized));
    }
    assert!(trio.nodes.iter().any(|node| node.failed_attempts() >= 10));
    // This machine has to wait now, whatever it shows.
    let valid = create(&trio.nodes[0], &token(READ, &[]));
    assert_eq!(kind(trio.connect(valid.token.reveal())), Some(ErrorKind::Unauthorized));
    until("it has waited", || trio.connect(valid.token.reveal()).ok());
    let both = ClientConfig { cookie: COOKIE.into(), ..ClientConfig::with_token("127.0.0.1:1", text) };
    assert_eq!(kind(Concord::connect(both)), Some(ErrorKind::InvalidConfig));
    let neither = ClientConfig::new("127.0.0.1:1", "");
    assert_eq!(kind(Concord::connect(neither)), Some(ErrorKind::InvalidConfig));
}
