//! Secondary indexes through the public API.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use concord_kv::{
    ClientConfig, Concord, Config, ErrorKind, Guard, IndexRange, NewToken, PutOptions, ReadOptions, Scopes, Selector,
    Value, encode_value, limits,
};

const OPTIONS: ReadOptions = ReadOptions { consistency: None, timeout_ms: None };

fn store() -> Concord {
    Concord::open(Config::default()).unwrap()
}

fn product(price: impl Into<Value>, tags: &[&str]) -> Value {
    let tags = tags.iter().map(|tag| (*tag).into()).collect();
    Value::Map(vec![("price".into(), price.into()), ("tags".into(), Value::List(tags))])
}

fn texts(keys: Vec<Vec<u8>>) -> Vec<String> {
    keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn every_way_to_write_is_followed() {
    let db = store();
    let (kv, indexes) = (db.kv(), db.indexes());
    kv.put("before", product(10, &["old"])).wait().unwrap();
    indexes.create("by_price", "value.price").unwrap();
    indexes.create("by_tag", "value.tags[]").unwrap();
    indexes.create("whole", "value").unwrap();
    let by_price =
        |from: i64, to: i64| texts(indexes.range("by_price", Some(from.into()), Some(to.into()), &OPTIONS).unwrap());
    let tagged = |tag: &str| texts(indexes.lookup("by_tag", tag, &OPTIONS).unwrap());
    assert_eq!((by_price(0, 100), tagged("old")), (vec!["before".to_owned()], vec!["before".to_owned()]));

    kv.put("a", product(20, &["new", "red", "new"])).wait().unwrap();
    kv.put_many(&[("b", product(5, &["red"]), None), ("c", product(20.0, &[]), None)]).wait().unwrap();
    assert_eq!(by_price(0, 100), ["b", "before", "a", "c"], "by value, then by key");
    assert_eq!(by_price(20, 20), ["a", "c"], "20 is 20.0");
    assert_eq!(tagged("red"), ["a", "b"]);
    kv.put_if("a", product(1, &["blue"]), Guard::Where("value.price == 20".into())).wait().unwrap();
    assert_eq!((by_price(0, 5), tagged("red")), (vec!["a".to_owned(), "b".to_owned()], vec!["b".to_owned()]));
    db.txn().put("d", product(2, &["red"])).delete("b").increment("n", 7).commit().wait().unwrap();
    assert_eq!((by_price(0, 5), tagged("red")), (vec!["a".to_owned(), "d".to_owned()], vec!["d".to_owned()]));
    assert_eq!(texts(indexes.lookup("whole", 7, &OPTIONS).unwrap()), ["n"]);
    kv.increment("n", 1).wait().unwrap();
    assert!(indexes.lookup("whole", 7, &OPTIONS).unwrap().is_empty());
    assert_eq!(texts(indexes.lookup("whole", 8, &OPTIONS).unwrap()), ["n"]);
    kv.delete_many(&["a", "nobody"]).wait().unwrap();
    db.query().delete_where(&Selector { prefix: Some(b"be"), ..Selector::default() }, None).unwrap();
    assert_eq!(by_price(0, 100), ["d", "c"]);

    let mortal = PutOptions { ttl: Some(Duration::from_millis(150)), ..PutOptions::default() };
    kv.put_with("e", product(3, &["red"]), &mortal).wait().unwrap();
    kv.put_with("f", product(4, &["red"]), &mortal).wait().unwrap();
    kv.touch("f", Duration::from_secs(1_000)).wait().unwrap();
    assert_eq!(tagged("red"), ["d", "e", "f"]);
    while kv.get("e").unwrap().is_some() {
        std::thread::yield_now();
    }
    assert_eq!(tagged("red"), ["d", "f"], "what has expired is not found, removed or not");
    kv.put("c", 1).wait().unwrap();
    assert_eq!(by_price(0, 100), ["d", "f"], "a record that has nothing there is not found");
}

#[test]
fn the_order_and_what_is_left_out() {
    let db = store();
    db.indexes().create("i", "value").unwrap();
    let values: [(&str, Value); 11] = [
        ("k0", Value::Null),
        ("k1", false.into()),
        ("k2", true.into()),
        ("k3", (-5).into()),
        ("k4", 1.5.into()),
        ("k5", i64::MAX.into()),
        ("k6", "a".into()),
        ("k7", Value::Bytes(vec![0xff])),
        ("x", Value::Float(f64::NAN)),
        ("y", Value::List(vec![1.into()])),
        ("z", "x".repeat(limits::INDEX_TERM_BYTES_MAX + 1).into()),
    ];
    for (key, value) in values {
        db.kv().put(key, value).wait().unwrap();
    }
    let range = |from, to| texts(db.indexes().range("i", from, to, &OPTIONS).unwrap());
    assert_eq!(range(None, None), ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"]);
    assert_eq!(range(Some(0.into()), None), ["k4", "k5", "k6", "k7"]);
    assert_eq!(range(None, Some(true.into())), ["k0", "k1", "k2"]);
    assert!(range(Some(5.into()), Some(1.into())).is_empty());
    let long = db.indexes().lookup("i", "x".repeat(limits::INDEX_TERM_BYTES_MAX + 1), &OPTIONS).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidValue, "{long}");
}

#[test]
fn indexes_are_declared_listed_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    let kind = |outcome: concord_kv::Result<()>| outcome.unwrap_err().kind();
    db.kv().put("k", 1).wait().unwrap();
    db.indexes().create("b", "value").unwrap();
    db.indexes().create("b", "value").unwrap();
    assert_eq!(kind(db.indexes().create("b", "value.x")), ErrorKind::AlreadyExists);
    let wrong = db.indexes().create("c", "price").unwrap_err();
    assert_eq!((wrong.kind(), wrong.column()), (ErrorKind::InvalidCondition, Some(1)));
    for name in ["", "a\nb", &"x".repeat(limits::INDEX_NAME_BYTES_MAX + 1)] {
        assert_eq!(kind(db.indexes().create(name, "value")), ErrorKind::InvalidConfig);
    }
    for unknown in [db.indexes().drop("nobody"), db.indexes().reindex("nobody")] {
        assert_eq!(kind(unknown), ErrorKind::NotFound);
    }
    assert_eq!(db.indexes().lookup("nobody", 1, &OPTIONS).unwrap_err().kind(), ErrorKind::NotFound);
    db.indexes().create("a", "value.x[0]").unwrap();
    for n in 2..limits::INDEXES_MAX {
        db.indexes().create(&format!("n{n:02}"), "value").unwrap();
    }
    let full = db.indexes().create("one more", "value").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::InvalidConfig);
    assert!(full.message().contains("drop one"), "{full}");
    db.indexes().drop("n02").unwrap();
    db.indexes().reindex("b").unwrap();
    let listed = db.indexes().list().unwrap();
    assert_eq!(listed.len(), limits::INDEXES_MAX - 1);
    assert_eq!((listed[1].name.as_str(), listed[1].path.as_str(), listed[1].entries), ("b", "value", 1));
    assert!(listed.iter().all(|info| info.is_built));
    db.close().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    let again: Vec<_> = db.indexes().list().unwrap().into_iter().map(|info| (info.name, info.path)).collect();
    assert_eq!(again, listed.into_iter().map(|info| (info.name, info.path)).collect::<Vec<_>>());
    assert_eq!(db.indexes().lookup("b", 1, &OPTIONS).unwrap(), [b"k"]);
    db.close().unwrap();
}

#[test]
fn pages_follow_each_other_while_records_come_and_go() {
    let db = store();
    db.indexes().create("i", "value").unwrap();
    for n in 0..2_500 {
        db.kv().put(format!("k{n:04}"), n % 10).wait().unwrap();
    }
    let (from, to) = (encode_value(&3.into()).unwrap(), encode_value(&4.into()).unwrap());
    let (mut keys, mut after, mut pages) = (Vec::new(), None::<Vec<u8>>, 0);
    loop {
        let range = IndexRange { from: Some(&from), to: Some(&to), after: after.as_deref(), limit: 60 };
        let page = db.indexes().page("i", &range, &OPTIONS).unwrap();
        keys.extend(page.keys);
        pages += 1;
        db.kv().put(format!("k{:04}", 5 + 10 * pages), 3).wait().unwrap();
        db.kv().delete(keys.last().unwrap()).wait().unwrap();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let there: Vec<String> =
        [3, 4].iter().flat_map(|digit| (0..250).map(move |n| format!("k{:04}", n * 10 + digit))).collect();
    let found = texts(keys);
    let missed: Vec<_> = there.iter().filter(|key| !found.contains(key)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(pages > 8);
    let range = IndexRange { from: None, to: None, after: Some(b"x"), limit: 1 };
    assert_eq!(db.indexes().page("i", &range, &OPTIONS).unwrap_err().kind(), ErrorKind::InvalidOperationFormat);
}

#[test]
fn readers_and_writers_go_on_while_an_index_is_built() {
    let db = store();
    let items: Vec<Vec<_>> = (0..100_000u64)
        .collect::<Vec<_>>()
        .chunks(500)
        .map(|chunk| chunk.iter().map(|n| (format!("k{n:06}"), (n % 1_000).into(), None)).collect())
        .collect();
    items.iter().for_each(|items| db.kv().put_many(items).wait().unwrap());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut written, mut longest) = (0u64, Duration::ZERO);
            while !is_over.load(Ordering::Acquire) {
                let begun = std::time::Instant::now();
                db.kv().put(format!("k{:06}", written % 100_000), 1_000).wait().unwrap();
                longest = longest.max(begun.elapsed());
                written += 1;
            }
            (written, longest)
        });
        for _ in 0..5 {
            db.indexes().create("i", "value").unwrap();
            let info = db.indexes().list().unwrap().remove(0);
            assert!(info.is_built);
            assert_eq!(info.entries, 100_000, "one of each record");
            db.indexes().reindex("i").unwrap();
            db.indexes().drop("i").unwrap();
        }
        is_over.store(true, Ordering::Release);
        let (written, longest) = writer.join().unwrap();
        assert!(written > 0);
        println!("{written} writes meanwhile, the longest took {longest:?}");
    });
    db.indexes().create("i", "value").unwrap();
    let written = db.indexes().lookup("i", 1_000, &OPTIONS).unwrap();
    let selector = Selector { filter: Some("value == 1000"), ..Selector::default() };
    assert_eq!(written, db.query().keys(&selector, &OPTIONS).unwrap());
}

#[test]
fn a_token_gets_only_keys_that_it_reaches() {
    let db = store();
    for n in 0..100 {
        db.kv().put(format!("{}:{n:02}", if n % 10 == 0 { "mine" } else { "other" }), 1).wait().unwrap();
    }
    db.indexes().create("i", "value").unwrap();
    let with = |read, write, prefixes: &[&str]| {
        let scopes = Scopes { read, write, admin: false };
        let key_prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
        let created = db.tokens().create(&NewToken { name: String::new(), scopes, key_prefixes, ttl: None }).unwrap();
        db.with_token(created.token.reveal()).unwrap()
    };
    let mine = with(true, true, &["mine:"]);
    assert_eq!(mine.indexes().lookup("i", 1, &OPTIONS).unwrap().len(), 10);
    let value = encode_value(&1.into()).unwrap();
    let (mut after, mut keys) = (None::<Vec<u8>>, Vec::new());
    loop {
        let range = IndexRange { from: Some(&value), to: Some(&value), after: after.as_deref(), limit: 3 };
        let page = mine.indexes().page("i", &range, &OPTIONS).unwrap();
        keys.extend(page.keys);
        match page.next {
            Some(next) => {
                let tells = |part: &[u8]| next.windows(part.len()).any(|window| window == part);
                assert!(!tells(b"other"), "a place is told by a key that may be told");
                after = Some(next);
            }
            None => break,
        }
    }
    assert_eq!(keys.len(), 10);
    let forbidden = |outcome: concord_kv::Result<()>| assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Forbidden);
    forbidden(mine.indexes().create("j", "value"));
    forbidden(mine.indexes().drop("i"));
    forbidden(mine.indexes().reindex("i"));
    forbidden(with(false, true, &[]).indexes().lookup("i", 1, &OPTIONS).map(drop));
    assert_eq!(mine.indexes().list().unwrap().len(), 1);
}

#[test]
fn a_client_asks_the_members() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config { local_socket: true, ..Config::at(dir.path()) }).unwrap();
    let client = Concord::connect(ClientConfig::local(dir.path())).unwrap();
    client.indexes().create("i", "value").unwrap();
    let items: Vec<_> = (0..500).map(|n| (format!("k{n:04}"), (n % 2).into(), None)).collect();
    client.kv().put_many(&items).wait().unwrap();
    assert_eq!(client.indexes().lookup("i", 1, &OPTIONS).unwrap(), db.indexes().lookup("i", 1, &OPTIONS).unwrap());
    assert_eq!(client.indexes().range("i", None, None, &OPTIONS).unwrap().len(), 500);
    assert_eq!(client.indexes().list().unwrap(), db.indexes().list().unwrap());
    client.indexes().reindex("i").unwrap();
    assert_eq!(client.indexes().lookup("i", 0, &OPTIONS).unwrap().len(), 250);
    client.indexes().drop("i").unwrap();
    assert_eq!(client.indexes().lookup("i", 0, &OPTIONS).unwrap_err().kind(), ErrorKind::NotFound);
    client.close().unwrap();
    db.close().unwrap();
}
