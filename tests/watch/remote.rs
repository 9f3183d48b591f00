//! Remote: a client that watches sees what a member sees, by way of whoever answers.

use std::collections::BTreeMap;
use std::time::Duration;

use concord_kv::{
    ClientConfig, ClusterConfig, Concord, Config, ErrorKind, EventHistory, EventKind, EventKinds, NewToken, Notice,
    Position, Scopes, Selector, Value, Watch, WatchOptions, WatchStart,
};

use super::{PATIENCE, from, next, noise, options, prefix, put};

/// A store of one node, and a client of it.
fn pair(config: Config) -> (tempfile::TempDir, Concord, Concord) {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config { data_dir: Some(dir.path().to_owned()), ..config }).unwrap();
    let client = Concord::connect(ClientConfig::local(dir.path())).unwrap();
    (dir, db, client)
}

#[test]
fn a_client_begins_and_goes_on_like_a_member() {
    let (_dir, db, client) = pair(Config::default());
    db.kv().put("a", 1).wait().unwrap();
    let mut now = client.watch(&options()).unwrap();
    assert_eq!(now.position(), Some(Position::before(2)));
    assert_eq!(now.try_take(10).unwrap(), []);
    client.kv().put("b", 2).wait().unwrap();
    assert_eq!(next(&mut now), put("b", 2, 2));
    assert_eq!(now.position(), Some(Position::before(3)));
    assert_eq!(next(&mut client.watch(&from(0)).unwrap()), put("a", 1, 1));
    let mut later = client.watch(&from(4)).unwrap();
    db.kv().put("c", 3).wait().unwrap();
    assert_eq!(later.next_within(Duration::from_millis(50)).unwrap(), None);
    db.kv().put_many(&[("d", 4.into(), None), ("e", 5.into(), None)]).wait().unwrap();
    assert_eq!(next(&mut later), put("d", 4, 4));
    let middle = later.position().unwrap();
    assert_eq!(middle, Position { revision: 4, changes: 1 });
    let mut rest = client.watch(&WatchOptions { start: WatchStart::From(middle), ..options() }).unwrap();
    assert_eq!(next(&mut rest), put("e", 5, 4));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        drop(client.kv().put("f", 6));
        let notice = tokio::time::timeout(PATIENCE, rest.next()).await.unwrap().unwrap();
        assert!(matches!(notice, Notice::Event(event) if event.key == b"f"));
    });
}

#[test]
fn a_client_gets_the_state_and_what_it_selects() {
    let (_dir, db, client) = pair(Config::default());
    let mut expected = BTreeMap::new();
    for n in 0..2_500 {
        drop(db.kv().put(format!("k:{n:04}"), n));
        expected.insert(format!("k:{n:04}").into_bytes(), n);
    }
    db.kv().put("other", noise(1, 300_000)).wait().unwrap();
    let even = Selector { filter: Some("not (value == 7)"), ..prefix("k:") };
    let watch = WatchOptions { start: WatchStart::State, selector: even, with_previous: true, ..options() };
    let mut watch = client.watch(&WatchOptions { with_progress: true, ..watch }).unwrap();
    assert_eq!(watch.position(), None);
    expected.remove(&b"k:0007"[..]);
    let mut seen = Vec::new();
    let revision = loop {
        match watch.next_within(PATIENCE).unwrap().unwrap() {
            Notice::Event(event) if event.kind == EventKind::State => seen.push(event.key),
            Notice::Progress { revision } => break revision,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((revision, seen), (2_501, expected.into_keys().collect::<Vec<_>>()));
    assert_eq!(watch.position(), Some(Position::before(2_502)));
    db.kv().put("other", 1).wait().unwrap();
    assert_eq!(watch.next_within(PATIENCE).unwrap(), Some(Notice::Progress { revision: 2_502 }));
    db.kv().delete("k:0001").wait().unwrap();
    let Some(Notice::Event(event)) = watch.next_within(PATIENCE).unwrap() else { panic!("a change") };
    let previous = event.previous.map(|value| concord_kv::decode_value(&value).unwrap());
    assert_eq!((event.kind, previous), (EventKind::Delete, Some(Value::from(1))));
    let touches = WatchOptions { kinds: EventKinds::of(&[EventKind::Touch]), ..options() };
    let mut touches = client.watch(&touches).unwrap();
    db.kv().put("k:0002", 0).wait().unwrap();
    db.kv().touch("k:0002", PATIENCE).wait().unwrap();
    assert_eq!(next(&mut touches).0, EventKind::Touch);
}

#[test]
fn a_client_is_told_what_is_gone_and_when_it_is_slow() {
    let event_history = EventHistory { events_max: 100, ..EventHistory::default() };
    let (_dir, db, client) = pair(Config { event_history, ..Config::default() });
    let mut slow = client.watch(&options()).unwrap();
    for n in 0..1_000 {
        db.kv().put("k", n).wait().unwrap();
    }
    let Some(Notice::Gap { from_revision: 1, resume_revision }) = slow.next_within(PATIENCE).unwrap() else {
        panic!("it has missed something")
    };
    assert!(resume_revision > 900, "{resume_revision}");
    assert_eq!(next(&mut slow).3, resume_revision);
    let error = client.watch(&from(3)).err().unwrap();
    assert_eq!((error.kind(), error.oldest_revision()), (ErrorKind::Compacted, Some(resume_revision)));
    for wrong in [
        Selector { limit: Some(1), ..Selector::default() },
        Selector { filter: Some("value >"), ..Selector::default() },
    ] {
        let error = client.watch(&WatchOptions { selector: wrong, ..options() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidCondition, "{error}");
    }
    assert_eq!(client.watch_stats().unwrap_err().kind(), ErrorKind::ClusterNotReady);
}

#[test]
fn a_client_that_waits_learns_that_its_token_ended_or_that_it_was_closed() {
    let cookie = "a secret of this test";
    let cluster = ClusterConfig {
        listen: "127.0.0.1:0".to_owned(),
        bootstrap_expect: 1,
        cookie: cookie.into(),
        ..ClusterConfig::default()
    };
    let config = Config { cluster: Some(cluster), auth_enabled: true, ..Config::default() };
    let db = Concord::open(config).unwrap();
    db.cluster().wait_ready(20_000).unwrap();
    let address = db.as_admin().status().unwrap().raft.address;
    let client = Concord::connect(ClientConfig::new(&address, cookie)).unwrap();
    let scopes = Scopes { read: true, ..Scopes::default() };
    let new = NewToken { name: "w".to_owned(), scopes, key_prefixes: vec![b"mine:".to_vec()], ttl: None };
    let token = db.as_admin().tokens().create(&new).unwrap();
    let bound = client.with_token(token.token.reveal()).unwrap();
    assert_eq!(bound.watch(&options()).err().unwrap().kind(), ErrorKind::Forbidden);
    let waiting = |mut watch: Watch| std::thread::spawn(move || watch.next_within(PATIENCE * 10));
    let revoked = waiting(bound.watch(&WatchOptions { selector: prefix("mine:"), ..options() }).unwrap());
    let closed = waiting(client.watch(&options()).unwrap());
    db.as_admin().tokens().revoke(&token.info.id).unwrap();
    assert_eq!(revoked.join().unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
    client.close().unwrap();
    assert_eq!(closed.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
}
