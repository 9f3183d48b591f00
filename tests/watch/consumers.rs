//! Consumers: a named watch goes on where it was acknowledged, whoever opens it, and says when it cannot.

use concord_kv::{
    ClientConfig, Concord, Config, ErrorKind, EventHistory, EventKind, EventKinds, NewConsumer, Notice, Position,
    Selector, WatchStart,
};

use super::{PATIENCE, next, prefix, put};

fn users() -> NewConsumer<'static> {
    NewConsumer { selector: prefix("user:"), ..NewConsumer::default() }
}

/// Promised: at least once, in order, across restarts, members and clients.
#[test]
fn a_consumer_goes_on_behind_what_was_acknowledged_whoever_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    let mut audit = db.consumers().open("audit", &users()).unwrap();
    for n in 1..=4 {
        db.kv().put(format!("user:{n}"), n).wait().unwrap();
    }
    assert_eq!([next(audit.watch()), next(audit.watch())], [put("user:1", 1, 1), put("user:2", 2, 2)]);
    audit.acknowledge().wait().unwrap();
    assert_eq!(next(audit.watch()), put("user:3", 3, 3));
    drop(audit);
    // Not acknowledged: it comes again, to a client too.
    let client = Concord::connect(ClientConfig::local(dir.path())).unwrap();
    let mut again = client.consumers().resume("audit").unwrap();
    assert_eq!(again.name(), "audit");
    assert_eq!(next(again.watch()), put("user:3", 3, 3));
    again.acknowledge().wait().unwrap();
    let (told, local) = (client.consumers().get("audit").unwrap(), db.consumers().get("audit").unwrap());
    assert_eq!((told.next, &told), (Some(Position::before(4)), &local));
    assert!(told.acknowledged_ms.is_some() && told.created_ms > 0);
    assert_eq!(told.selector().unwrap(), users().selector);
    // An acknowledgement that comes late changes nothing; what is yet to come cannot be acknowledged.
    again.acknowledge_up_to(Position::before(2)).wait().unwrap();
    assert_eq!(db.consumers().get("audit").unwrap().next, Some(Position::before(4)));
    let early = again.acknowledge_up_to(Position::before(50)).wait().unwrap_err();
    assert_eq!(early.kind(), ErrorKind::InvalidCondition);
    client.close().unwrap();
    db.close().unwrap();

    let db = Concord::open(Config::at(dir.path())).unwrap();
    let mut audit = db.consumers().open("audit", &users()).unwrap();
    assert_eq!(next(audit.watch()), put("user:4", 4, 4));
    let other = NewConsumer { kinds: EventKinds::of(&[EventKind::Delete]), ..users() };
    let error = db.consumers().open("audit", &other).err().unwrap();
    assert!(error.kind() == ErrorKind::AlreadyExists && error.message().contains("audit"), "{error}");
    db.consumers().open("all", &NewConsumer::default()).unwrap();
    let names: Vec<String> = db.consumers().list().unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["all", "audit"]);
    db.consumers().delete("audit").unwrap();
    assert_eq!(audit.acknowledge().wait().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.consumers().resume("audit").err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(db.consumers().delete("audit").unwrap_err().kind(), ErrorKind::NotFound);
    for wrong in ["", "a\nb", &"x".repeat(65)] {
        assert_eq!(db.consumers().open(wrong, &users()).err().unwrap().kind(), ErrorKind::InvalidConfig, "{wrong:?}");
    }
    let endless = NewConsumer { selector: Selector { limit: Some(1), ..Selector::default() }, ..users() };
    assert_eq!(db.consumers().open("c", &endless).err().unwrap().kind(), ErrorKind::InvalidCondition);
}

#[test]
fn one_that_stayed_away_too_long_is_told_and_begins_again_with_the_state() {
    let event_history = EventHistory { events_max: 50, ..EventHistory::default() };
    let db = Concord::open(Config { event_history, ..Config::default() }).unwrap();
    db.kv().put("user:0", 0).wait().unwrap();
    drop(db.consumers().open("cache", &users()).unwrap());
    for n in 0..200 {
        db.kv().put(format!("user:{}", n % 3), n).wait().unwrap();
    }
    let error = db.consumers().resume("cache").err().unwrap();
    assert!(error.kind() == ErrorKind::Compacted && error.oldest_revision().is_some(), "{error}");
    db.consumers().delete("cache").unwrap();
    let with_state = NewConsumer { start: WatchStart::State, ..users() };
    let mut cache = db.consumers().open("cache", &with_state).unwrap();
    assert_eq!(next(cache.watch()).1, "user:0");
    // Nothing of it is acknowledged before all of it was told.
    cache.acknowledge().wait().unwrap();
    assert_eq!(db.consumers().get("cache").unwrap().next, None);
    let mut cache = db.consumers().resume("cache").unwrap();
    let mut keys = Vec::new();
    let revision = loop {
        match cache.watch().next_within(PATIENCE).unwrap().unwrap() {
            Notice::Event(event) => keys.push(String::from_utf8(event.key).unwrap()),
            Notice::Progress { revision } => break revision,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((keys.join(" "), revision), ("user:0 user:1 user:2".to_owned(), 201));
    cache.acknowledge().wait().unwrap();
    db.kv().put("user:9", 9).wait().unwrap();
    let mut cache = db.consumers().resume("cache").unwrap();
    assert_eq!(next(cache.watch()), put("user:9", 9, 202));
}
