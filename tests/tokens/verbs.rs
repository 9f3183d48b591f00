//! Verbs: every one of them, as one row of a table that says what it needs.

use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use concord_kv::{
    Concord, Config, Consistency, ErrorKind, Guard, NewConsumer, NewToken, PutOptions, ReadOptions, Result, Scopes,
    Selector, Value, WatchOptions, Write,
};

use super::{ADMIN, BOTH, READ, WRITE, create, token};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Need {
    Read,
    Write,
    Both,
    Admin,
    /// A read of every key.
    ReadAll,
}

/// Calls a verb about this key.
type Verb = fn(&Concord, &str) -> Result<()>;

fn read_at(db: &Concord, key: &str, level: Consistency) -> Result<()> {
    let options = ReadOptions { consistency: Some(level), timeout_ms: None };
    db.kv().read(key.as_bytes(), &options, |_| ()).map(drop)
}

fn scan(db: &Concord, prefix: &str) -> Result<()> {
    let end = format!("{}{}", &prefix[..prefix.len() - 1], (prefix.as_bytes()[prefix.len() - 1] + 1) as char);
    let range = (Bound::Included(prefix.as_bytes()), Bound::Excluded(end.as_bytes()));
    db.kv().view(&ReadOptions::default())?.scan(range, |_, _| ControlFlow::Continue(()))
}

fn started_read(db: &Concord, key: &str) -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let options = ReadOptions { consistency: Some(Consistency::Strong), timeout_ms: None };
    db.kv().start_read(key.as_bytes(), &options, move |found| drop(sender.send(found.map(drop))));
    receiver.recv().unwrap()
}

fn watch(db: &Concord, selector: Selector<'_>) -> Result<()> {
    db.watch(&WatchOptions { selector, ..WatchOptions::default() }).map(drop)
}

fn submitted(db: &Concord, key: &str) -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let write = Write::Delete { key: key.as_bytes(), condition: Default::default() };
    db.kv().submit(write, None, move |reply| drop(sender.send(reply.map(drop))))?;
    receiver.recv().unwrap()
}

/// A new verb gets its row here.
pub const VERBS: &[(&str, Need, Verb)] = &[
    ("get", Need::Read, |db, key| db.kv().get(key).map(drop)),
    ("get_record", Need::Read, |db, key| db.kv().get_record(key).map(drop)),
    ("ttl", Need::Read, |db, key| db.kv().ttl(key).map(drop)),
    ("get_many", Need::Read, |db, key| db.kv().get_many(&[key]).map(drop)),
    ("read, eventual", Need::Read, |db, key| read_at(db, key, Consistency::Eventual)),
    ("read, leader", Need::Read, |db, key| read_at(db, key, Consistency::Leader)),
    ("read, strong", Need::Read, |db, key| read_at(db, key, Consistency::Strong)),
    ("start_read", Need::Read, started_read),
    ("view.get", Need::Read, |db, key| db.kv().view(&ReadOptions::default())?.get(key.as_bytes(), |_| ()).map(drop)),
    ("view.get_many", Need::Read, |db, key| db.kv().view(&ReadOptions::default())?.get_many(&[key.as_bytes()], |_| ())),
    ("view.scan", Need::Read, scan),
    ("watch all", Need::ReadAll, |db, _| watch(db, Selector::default())),
    ("consumers.open", Need::Both, |db, key| {
        let selector = Selector { prefix: Some(key.as_bytes()), ..Selector::default() };
        db.consumers().open(key, &NewConsumer { selector, ..NewConsumer::default() }).map(drop)
    }),
    ("watch", Need::Read, |db, key| watch(db, Selector { prefix: Some(key.as_bytes()), ..Selector::default() })),
    ("get_all", Need::ReadAll, |db, _| db.kv().get_all().map(drop)),
    ("put", Need::Write, |db, key| db.kv().put(key, 1).wait()),
    ("put_with ttl", Need::Write, |db, key| {
        let options = PutOptions { ttl: Some(Duration::from_secs(60)), ..PutOptions::default() };
        db.kv().put_with(key, 1, &options).wait()
    }),
    ("put_new", Need::Write, |db, key| db.kv().put_new(key, 1).wait()),
    ("put_if value", Need::Both, |db, key| db.kv().put_if(key, 1, Guard::Expected(1.into())).wait()),
    ("put_if revision", Need::Write, |db, key| db.kv().put_if(key, 1, Guard::Revision(1)).wait()),
    ("delete", Need::Write, |db, key| db.kv().delete(key).wait()),
    ("delete_if value", Need::Both, |db, key| db.kv().delete_if(key, Guard::Expected(1.into())).wait()),
    ("delete_if revision", Need::Write, |db, key| db.kv().delete_if(key, Guard::Revision(1)).wait()),
    ("touch", Need::Write, |db, key| db.kv().touch(key, Duration::from_secs(60)).wait()),
    ("increment", Need::Write, |db, key| db.kv().increment(key, 1).wait().map(drop)),
    ("put_many", Need::Write, |db, key| db.kv().put_many(&[(key, Value::from(1), None)]).wait()),
    ("delete_many", Need::Write, |db, key| db.kv().delete_many(&[key]).wait()),
    ("touch_many", Need::Write, |db, key| db.kv().touch_many(&[(key, Duration::from_secs(60))]).wait().map(drop)),
    ("call", Need::Write, |db, key| db.kv().call(Write::Touch { key: key.as_bytes(), ttl_ms: 60_000 }, None).map(drop)),
    ("submit", Need::Write, submitted),
];

/// Verbs of a member or a client that are about no single key.
const OTHERS: &[(&str, Need, Verb)] = &[
    ("consumers.list", Need::ReadAll, |db, _| db.consumers().list().map(drop)),
    ("consumers.get", Need::Read, |db, _| db.consumers().get("nobody").map(drop)),
    ("consumers.delete", Need::Both, |db, _| db.consumers().delete("nobody")),
    ("status", Need::Read, |db, _| db.status().map(drop)),
    ("members", Need::Read, |db, _| db.members().map(drop)),
    ("tokens.create", Need::Admin, |db, _| db.tokens().create(&token(READ, &[])).map(drop)),
    ("tokens.list", Need::Admin, |db, _| db.tokens().list().map(drop)),
    ("tokens.revoke", Need::Admin, |db, _| db.tokens().revoke("0123456789abcdef")),
    ("cluster.promote", Need::Admin, |db, _| db.cluster().promote(1, Some(100))),
    ("cluster.remove", Need::Admin, |db, _| db.cluster().remove(1, Some(100))),
    ("cluster.replace", Need::Admin, |db, _| db.cluster().replace(1, 2, Some(100))),
    ("cluster.add", Need::Admin, |db, _| db.cluster().add("127.0.0.1:1", Some(100)).map(drop)),
    ("cluster.transfer_leadership", Need::Admin, |db, _| db.cluster().transfer_leadership(Some(1), Some(100))),
];

/// Verbs that only a member has.
const OF_MEMBERS: &[(&str, Need, Verb)] = &[
    ("watch_stats", Need::Read, |db, _| db.watch_stats().map(drop)),
    ("digest", Need::ReadAll, |db, _| db.digest().map(drop)),
    ("cluster.leave", Need::Admin, |db, _| db.cluster().leave(Some(100))),
];

/// What a refusal says; what else a verb answers (a missing key, a condition that fails) is that of one who may.
fn refused(outcome: &Result<()>) -> Option<ErrorKind> {
    let kind = outcome.as_ref().err()?.kind();
    matches!(kind, ErrorKind::Unauthorized | ErrorKind::Forbidden).then_some(kind)
}

fn is_allowed(need: Need, new: &NewToken) -> bool {
    let scopes = new.scopes;
    scopes.admin
        || match need {
            Need::Read => scopes.read,
            Need::Write => scopes.write,
            Need::Both => scopes.read && scopes.write,
            Need::ReadAll => scopes.read && new.key_prefixes.is_empty(),
            Need::Admin => false,
        }
}

/// T5, T6: every verb for every token, with a key that exists and one that does not: those who may not hear the same of
/// both.
pub fn check_matrix(admin: &Concord, connect: impl Fn(&str) -> Concord, is_member: bool) {
    let of_members = if is_member { OF_MEMBERS } else { &[] };
    for new in [
        token(READ, &[]),
        token(WRITE, &[]),
        token(BOTH, &[]),
        token(ADMIN, &[]),
        token(READ, &["mine:"]),
        token(WRITE, &["mine:", "more:"]),
        token(BOTH, &["other", "mine:"]),
    ] {
        let created = create(admin, &new);
        let db = connect(created.token.reveal());
        for key in ["mine:there", "mine:not"] {
            admin.kv().put("mine:there", 1).wait().unwrap();
            for (name, need, verb) in VERBS.iter().chain(of_members) {
                let expected = (!is_allowed(*need, &new)).then_some(ErrorKind::Forbidden);
                let outcome = verb(&db, key);
                assert_eq!(refused(&outcome), expected, "{name} of {key} with {new:?}: {outcome:?}");
            }
        }
        for (name, need, verb) in OTHERS {
            let expected = (!is_allowed(*need, &new)).then_some(ErrorKind::Forbidden);
            // What admin may do is carried out elsewhere: here it would change the store under test.
            if expected.is_some() || *need != Need::Admin {
                assert_eq!(refused(&verb(&db, "")), expected, "{name} with {new:?}");
            }
        }
        if !new.key_prefixes.is_empty() {
            check_keys_out_of_reach(admin, &db, &new);
        }
        admin.tokens().revoke(&created.info.id).unwrap();
        let everything = VERBS.iter().chain(OTHERS).chain(of_members);
        for (name, _, verb) in everything {
            // A member that has not heard of the revocation yet gives what may be stale.
            if !is_member && name.contains("eventual") {
                continue;
            }
            assert_eq!(refused(&verb(&db, "mine:there")), Some(ErrorKind::Unauthorized), "{name} with {new:?}");
        }
    }
}

fn check_keys_out_of_reach(admin: &Concord, db: &Concord, new: &NewToken) {
    for key in ["theirs:there", "theirs:not", "mine", "min", "n"] {
        admin.kv().put("theirs:there", 1).wait().unwrap();
        for (name, _, verb) in VERBS {
            assert_eq!(refused(&verb(db, key)), Some(ErrorKind::Forbidden), "{name} of {key} with {new:?}");
        }
    }
    assert_eq!(admin.kv().get("theirs:there").unwrap(), Some(1.into()));
    // One key out of reach refuses the whole, and nothing of it is done.
    let bulk = [("mine:bulk", Value::from(1), None), ("theirs:bulk", Value::from(1), None)];
    let keys = ["mine:bulk", "theirs:there"];
    let ttl = Duration::from_secs(1);
    admin.kv().put("mine:bulk", 0).wait().unwrap();
    let outcomes = [
        db.kv().put_many(&bulk).wait(),
        db.kv().delete_many(&keys).wait(),
        db.kv().touch_many(&keys.map(|key| (key, ttl))).wait().map(drop),
        db.kv().get_many(&keys).map(drop),
    ];
    assert!(outcomes.iter().all(|outcome| refused(outcome) == Some(ErrorKind::Forbidden)), "{outcomes:?}");
    assert_eq!(admin.kv().get("mine:bulk").unwrap(), Some(0.into()));
    assert_eq!(admin.kv().ttl("mine:bulk").unwrap(), Some(None));
    assert_eq!(admin.kv().get("theirs:bulk").unwrap(), None);
}

#[test]
fn every_verb_asks_for_what_it_needs_and_says_the_same_of_keys_that_exist_and_keys_that_do_not() {
    let db = Concord::open(Config { auth_enabled: true, ..Config::default() }).unwrap();
    assert!(db.auth_enabled());
    for (name, _, verb) in VERBS.iter().chain(OTHERS).chain(OF_MEMBERS) {
        assert_eq!(refused(&verb(&db, "k")), Some(ErrorKind::Unauthorized), "{name} without a token");
    }
    check_matrix(&db.as_admin(), |token| db.with_token(token).unwrap(), true);
}

#[test]
fn a_token_is_judged_before_the_key() {
    let db = Concord::open(Config { auth_enabled: true, ..Config::default() }).unwrap();
    assert_eq!(db.kv().get("").unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(db.kv().get_many(&["k"; 501]).unwrap_err().kind(), ErrorKind::Unauthorized);
    let bound = create(&db, &token(READ, &["mine:"]));
    let bound = db.with_token(bound.token.reveal()).unwrap();
    assert_eq!(bound.kv().get("").unwrap_err().kind(), ErrorKind::Forbidden);
    let reader = create(&db, &token(READ, &[]));
    let reader = db.with_token(reader.token.reveal()).unwrap();
    assert_eq!(reader.kv().get("").unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(reader.kv().put("", 1).wait().unwrap_err().kind(), ErrorKind::Forbidden);
}

/// For faces that find a fault in what they were given before they hand it on.
#[test]
fn a_caller_can_be_judged_alone() {
    let db = Concord::open(Config { auth_enabled: true, ..Config::default() }).unwrap();
    let judge = |db: &Concord, needed, keys: &[&[u8]]| db.kv().check_caller(needed, keys).map_err(|error| error.kind());
    let nothing = Scopes::default();
    assert_eq!(judge(&db, nothing, &[]), Err(ErrorKind::Unauthorized));
    assert_eq!(judge(&db.as_admin(), Scopes { read: true, write: true, admin: true }, &[b"any"]), Ok(()));
    let reader = create(&db, &token(READ, &["mine:"]));
    let bound = db.with_token(reader.token.reveal()).unwrap();
    assert_eq!(judge(&bound, nothing, &[]), Ok(()));
    assert_eq!(judge(&bound, READ, &[b"mine:a"]), Ok(()));
    assert_eq!(judge(&bound, READ, &[b"mine:a", b"other"]), Err(ErrorKind::Forbidden));
    assert_eq!(judge(&bound, Scopes { write: true, ..READ }, &[]), Err(ErrorKind::Forbidden));
    assert_eq!(judge(&bound, Scopes { admin: true, ..nothing }, &[]), Err(ErrorKind::Forbidden));
    db.as_admin().tokens().revoke(&reader.info.id).unwrap();
    assert_eq!(judge(&bound, nothing, &[]), Err(ErrorKind::Unauthorized));
}
