//! Query: what the verbs about many records promise to a Rust program.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use concord_kv::{
    Compress, Concord, Condition, Config, ErrorKind, EventKind, Guard, NewToken, Notice, PageOptions, Pattern,
    PatternFlags, PutOptions, ReadOptions, Scopes, Selector, Value, WatchOptions, Write, check_expression,
};

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect())
}

fn open() -> Concord {
    Concord::open(Config::default()).unwrap()
}

/// The users and products of the documentation.
fn shop() -> Concord {
    let db = open();
    for (key, role, age) in [("user:1", "admin", 31), ("user:2", "user", 40), ("user:100", "admin", 29)] {
        db.kv().put(key, map(&[("role", Value::Atom(role.into())), ("age", age.into())])).wait().unwrap();
    }
    for (key, price) in [("product:1", 50), ("product:2", 150), ("product:3", 199)] {
        db.kv().put(key, map(&[("price", price.into())])).wait().unwrap();
    }
    db
}

const ALL: Selector<'_> = Selector {
    prefix: None,
    suffix: None,
    contains: None,
    pattern: None,
    range: None,
    filter: None,
    offset: 0,
    limit: None,
};

fn pattern(text: &str) -> Option<Pattern<'_>> {
    Some(Pattern { text, flags: PatternFlags::default() })
}

fn keys(db: &Concord, selector: Selector<'_>) -> Vec<String> {
    let keys = db.query().keys(&selector, &ReadOptions::default()).unwrap();
    keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect()
}

fn kind_of<T: std::fmt::Debug>(result: concord_kv::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn the_examples_of_the_documentation_hold() {
    let db = shop();
    let users = Selector { prefix: Some(b"user:"), ..ALL };
    assert_eq!(keys(&db, users), ["user:1", "user:100", "user:2"]);
    assert_eq!(keys(&db, Selector { suffix: Some(b":1"), ..ALL }), ["product:1", "user:1"]);
    assert_eq!(keys(&db, Selector { contains: Some(b"er:1"), ..ALL }), ["user:1", "user:100"]);
    assert_eq!(keys(&db, Selector { pattern: pattern(r"user:\d{3}"), ..ALL }), ["user:100"]);
    assert_eq!(
        keys(&db, Selector { range: Some((b"product:2", b"user:1")), ..ALL }),
        ["product:2", "product:3", "user:1"]
    );
    assert_eq!(keys(&db, Selector { limit: Some(2), ..users }), ["user:1", "user:100"]);
    assert_eq!(keys(&db, Selector { offset: 1, limit: Some(5), ..users }), ["user:100", "user:2"]);
    assert_eq!(keys(&db, Selector { pattern: pattern(r"\d{3}"), limit: Some(10), ..users }), ["user:100"]);

    let dear = Selector { prefix: Some(b"product:"), filter: Some("value.price > 100"), ..ALL };
    let pairs = db.query().pairs(&dear, &ReadOptions::default()).unwrap();
    assert_eq!(pairs.iter().map(|pair| &*pair.key).collect::<Vec<_>>(), [b"product:2", b"product:3"]);
    assert_eq!(pairs[0].decode().unwrap(), map(&[("price", 150.into())]));
    assert_eq!((pairs[0].revision, pairs[0].ttl_ms), (5, None));
    let old = Selector { filter: Some(r#"value.age >= 30 and value.role == "admin""#), ..users };
    assert_eq!(keys(&db, old), ["user:1"], "an atom is its name");

    assert_eq!(db.query().count(&users, &ReadOptions::default()).unwrap(), 3);
    assert_eq!(db.query().delete_where(&users, None).unwrap(), 3);
    assert_eq!(db.query().count(&users, &ReadOptions::default()).unwrap(), 0);
    assert_eq!(keys(&db, ALL).len(), 3);
}

#[test]
fn expired_records_are_neither_found_nor_counted_nor_removed() {
    let db = open();
    let brief = PutOptions { ttl: Some(Duration::from_millis(30)), ..PutOptions::default() };
    db.kv().put_with("a", 1, &brief).wait().unwrap();
    let long = PutOptions { ttl: Some(Duration::from_secs(60)), ..PutOptions::default() };
    db.kv().put_with("b", 1, &long).wait().unwrap();
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(keys(&db, Selector { filter: Some("ttl <= 60 and ttl > 50"), ..ALL }), ["b"]);
    assert_eq!(db.query().count(&ALL, &ReadOptions::default()).unwrap(), 1);
    assert_eq!(db.query().delete_where(&Selector { prefix: Some(b""), ..ALL }, None).unwrap(), 1);
}

/// Promised: a selector that was left empty by mistake removes nothing.
#[test]
fn what_is_to_be_removed_must_be_said() {
    let db = shop();
    for nothing in [ALL, Selector { limit: Some(1), offset: 1, ..ALL }] {
        assert_eq!(kind_of(db.query().delete_where(&nothing, None)), ErrorKind::InvalidCondition);
    }
    assert_eq!(keys(&db, ALL).len(), 6);
    assert_eq!(db.query().delete_where(&Selector { prefix: Some(b""), ..ALL }, None).unwrap(), 6);
}

#[test]
fn removing_is_one_durable_change_that_is_told_as_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    for n in 0..1_000 {
        db.kv().put(format!("n:{n:04}"), n).wait().unwrap();
    }
    let mut watch = db.watch(&WatchOptions::default()).unwrap();
    let even = Selector { filter: Some("value in [0, 2, 4] or ends_with(key, \"6\") or ends_with(key, \"8\")"), ..ALL };
    assert_eq!(db.query().delete_where(&even, None).unwrap(), 203);
    let mut revisions = BTreeSet::new();
    for _ in 0..203 {
        let Some(Notice::Event(event)) = watch.next_within(Duration::from_secs(5)).unwrap() else { panic!("a change") };
        assert_eq!(event.kind, EventKind::Delete);
        revisions.insert(event.revision);
    }
    assert_eq!(revisions.len(), 1);
    assert_eq!(watch.next_within(Duration::ZERO).unwrap(), None);
    let digest = db.digest().unwrap();
    db.close().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    assert_eq!((db.digest().unwrap(), db.query().count(&ALL, &ReadOptions::default()).unwrap()), (digest, 797));
}

/// Promised: all pages are one point in time, each is small, and writers do not wait for the reader.
#[test]
fn pages_are_one_point_in_time_while_writes_go_on() {
    let db = open();
    for n in 0..3_000 {
        db.kv().put(format!("n:{n:04}"), 0).wait().unwrap();
    }
    let options = PageOptions { items_max: 100, ..PageOptions::default() };
    let mut pages = db.query().stream(&ALL, &ReadOptions::default(), &options).unwrap();
    let (mut keys, mut slowest) = (Vec::new(), Duration::ZERO);
    let mut n = 0;
    while let Some(page) = pages.next_page().unwrap() {
        assert!(page.pairs.len() <= 100 && page.revision == 3_000);
        assert!(page.pairs.iter().all(|pair| pair.decode().unwrap() == Value::from(0)));
        keys.extend(page.pairs.into_iter().map(|pair| pair.key));
        let before = Instant::now();
        db.kv().put(format!("n:{:04}", (n * 37) % 3_000), 1).wait().unwrap();
        db.kv().delete(format!("n:{:04}", (n * 91) % 3_000)).wait().unwrap();
        db.kv().put(format!("n:{n:04}:new"), 1).wait().unwrap();
        slowest = slowest.max(before.elapsed());
        n += 1;
    }
    assert_eq!((keys.len(), n), (3_000, 30));
    assert!(keys.is_sorted() && slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(pages.next_page().unwrap().is_none(), "and so it stays");
    drop(pages);

    // By bytes, and by hand.
    let small = PageOptions { bytes_max: 50, ..PageOptions::default() };
    let first = db.query().page(&ALL, None, &ReadOptions::default(), &small).unwrap();
    assert!((2..20).contains(&first.pairs.len()));
    let next = first.next.expect("there is more");
    let second = db.query().page(&ALL, Some(&next), &ReadOptions::default(), &small).unwrap();
    assert!(second.pairs[0].key > next);
    let nobody = Selector { prefix: Some(b"x"), ..ALL };
    let none = db.query().page(&nobody, None, &ReadOptions::default(), &small).unwrap();
    assert_eq!((none.pairs.len(), none.next), (0, None));
    assert!(db.query().stream(&nobody, &ReadOptions::default(), &small).unwrap().next_page().unwrap().is_none());
}

#[test]
fn nobody_sees_a_part_of_a_removal() {
    let db = open();
    let (pair, stop) = (Selector { prefix: Some(b"pair:"), ..ALL }, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                db.kv().put_many(&[("pair:a", 1.into(), None), ("pair:b", 1.into(), None)]).wait().unwrap();
                assert_eq!(db.query().delete_where(&pair, None).unwrap(), 2);
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let count = db.query().count(&pair, &ReadOptions::default()).unwrap();
            assert!(count == 0 || count == 2, "{count}");
        }
    });
}

#[test]
fn a_condition_may_be_an_expression() {
    let db = open();
    let version = |n: i32| map(&[("version", n.into())]);
    let older = || Guard::Where("value.version < 2".into());
    assert_eq!(kind_of(db.kv().put_if("config", version(2), older()).wait()), ErrorKind::NotFound);
    db.kv().put("config", version(1)).wait().unwrap();
    db.kv().put_if("config", version(2), older()).wait().unwrap();
    assert_eq!(kind_of(db.kv().put_if("config", version(2), older()).wait()), ErrorKind::ConditionFailed);
    assert_eq!(kind_of(db.kv().delete_if("config", older()).wait()), ErrorKind::ConditionFailed);
    let wrong = db.kv().delete_if("config", Guard::Where("value.version <".into())).wait().unwrap_err();
    assert_eq!((wrong.kind(), wrong.column()), (ErrorKind::InvalidCondition, Some(16)));
    let write = Write::Put {
        key: b"config",
        value: &[1],
        ttl_ms: None,
        condition: Condition::Where("revision == 2"),
        compress: Compress::Auto,
    };
    db.kv().call(write, None).unwrap();
    db.kv().delete_if("config", Guard::Where("value == 1".into())).wait().unwrap();
}

#[test]
fn what_is_no_selector_is_refused_before_anything_is_done() {
    let db = shop();
    let long = "a".repeat(1 << 20);
    for (wrong, column) in [
        (Selector { range: Some((b"b", b"a")), ..ALL }, None),
        (Selector { pattern: pattern("a(?!b)"), ..ALL }, Some(2)),
        (Selector { pattern: pattern(r"(a)\1"), ..ALL }, Some(4)),
        (Selector { pattern: pattern(&long), ..ALL }, None),
        (Selector { filter: Some(&long), ..ALL }, None),
        (Selector { filter: Some("value.price >"), ..ALL }, Some(14)),
    ] {
        let begun = Instant::now();
        let options = ReadOptions::default();
        for error in [
            db.query().keys(&wrong, &options).unwrap_err(),
            db.query().pairs(&wrong, &options).unwrap_err(),
            db.query().count(&wrong, &options).unwrap_err(),
            db.query().stream(&wrong, &options, &PageOptions::default()).err().unwrap(),
            db.query().delete_where(&wrong, None).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidCondition, column), "{error}");
        }
        assert!(begun.elapsed() < Duration::from_millis(500));
    }
    assert!(check_expression("value.price > 1").is_ok());
    assert_eq!(keys(&db, ALL).len(), 6);
}

/// Promised: nothing is left out silently; how many are removed by their values tells of these.
#[test]
fn a_token_with_prefixes_asks_within_one_of_them() {
    let db = Concord::open(Config { auth_enabled: true, ..Config::default() }).unwrap();
    let options = ReadOptions::default();
    assert_eq!(kind_of(db.query().keys(&ALL, &options)), ErrorKind::Unauthorized);
    assert_eq!(kind_of(db.query().delete_where(&ALL, None)), ErrorKind::Unauthorized);
    let admin = db.as_admin();
    for key in ["a:1", "a:2", "b:1"] {
        admin.kv().put(key, 1).wait().unwrap();
    }
    let holder = |read, write, prefixes: &[&[u8]]| {
        let key_prefixes = prefixes.iter().map(|prefix| prefix.to_vec()).collect();
        let new = NewToken {
            name: "of a test".into(),
            scopes: Scopes { read, write, admin: false },
            key_prefixes,
            ttl: None,
        };
        db.with_token(admin.tokens().create(&new).unwrap().token.reveal()).unwrap()
    };
    let (reader, writer, bound) = (holder(true, false, &[]), holder(false, true, &[]), holder(true, true, &[b"a:"]));
    let of_a = Selector { prefix: Some(b"a:"), ..ALL };
    assert_eq!(reader.query().count(&ALL, &options).unwrap(), 3);
    assert_eq!(kind_of(reader.query().delete_where(&of_a, None)), ErrorKind::Forbidden);
    assert_eq!(kind_of(writer.query().count(&ALL, &options)), ErrorKind::Forbidden);
    let by_value = Selector { filter: Some("value == 1"), ..of_a };
    assert_eq!(kind_of(writer.query().delete_where(&by_value, None)), ErrorKind::Forbidden, "it would tell of values");

    assert_eq!(bound.query().count(&of_a, &options).unwrap(), 2);
    assert_eq!(bound.query().count(&Selector { range: Some((b"a:1", b"a:1")), ..ALL }, &options).unwrap(), 1);
    assert_eq!(bound.query().count(&Selector { pattern: pattern("^a:[2-9]"), ..ALL }, &options).unwrap(), 1);
    for beyond in [ALL, Selector { suffix: Some(b":1"), ..ALL }, Selector { range: Some((b"a:1", b"b:1")), ..ALL }] {
        assert_eq!(kind_of(bound.query().keys(&beyond, &options)), ErrorKind::Forbidden);
        assert_eq!(kind_of(bound.query().delete_where(&beyond, None)), ErrorKind::Forbidden);
    }
    assert_eq!(bound.query().delete_where(&by_value, None).unwrap(), 2);
    assert_eq!(writer.query().delete_where(&Selector { prefix: Some(b"b"), ..ALL }, None).unwrap(), 1);
}
