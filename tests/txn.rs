//! Transactions through the public API.

#[path = "cluster/until.rs"]
mod until;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use concord_kv::{
    ClientConfig, Compare, Compress, Concord, Condition, Config, ErrorKind, Guard, NewToken, Notice, Record, Reply,
    Scopes, Step, StepReply, Transaction, TransactionReply, Value, WatchOptions, Write, decode_transaction,
    decode_value, encode_transaction_reply, encode_value, limits, transaction_reply_to_json, value_from_json,
};

fn store() -> Concord {
    Concord::open(Config::default()).unwrap()
}

fn value_of(result: &StepReply) -> Option<Value> {
    match result {
        StepReply::Record(record) => record.as_ref().map(|record| decode_value(&record.value).unwrap()),
        other => panic!("{other:?} is no record"),
    }
}

#[test]
fn one_branch_or_the_other_is_done_with_one_revision() {
    let db = store();
    db.kv().put("stock", 2).wait().unwrap();
    let order = |name: &str| {
        let sold = db.txn().compare("stock", Guard::Where("value > 0".into())).increment("stock", -1);
        let sold = sold.put(format!("order:{name}"), name).get(format!("order:{name}")).get("stock");
        sold.or_else().put_for("sold out", true, Duration::from_secs(60)).get("stock").commit().wait().unwrap()
    };
    let first = order("ann");
    assert!(first.succeeded);
    assert_eq!(first.results[..2], [StepReply::Integer(1), StepReply::Done]);
    assert_eq!(value_of(&first.results[2]), Some("ann".into()), "a read sees what the operations before it did");
    let StepReply::Record(Some(stock)) = &first.results[3] else { panic!("{first:?}") };
    assert_eq!((stock.revision, stock.ttl_ms), (first.revision, None));
    for key in ["stock", "order:ann"] {
        assert_eq!(db.kv().get_record(key).unwrap().unwrap().revision, first.revision);
    }
    assert!(order("bob").succeeded);
    let third = order("cyd");
    assert!(!third.succeeded);
    assert_eq!(third.results[0], StepReply::Done);
    assert_eq!(value_of(&third.results[1]), Some(0.into()));
    assert_eq!(db.kv().get("order:cyd").unwrap(), None);
    let sold_out = db.kv().get_record("sold out").unwrap().unwrap();
    assert!(sold_out.ttl_ms.is_some_and(|ttl_ms| ttl_ms <= 60_000));
    let nothing = db.txn().delete("missing").get("missing").commit().wait().unwrap();
    assert_eq!(
        nothing,
        TransactionReply { succeeded: true, revision: 0, results: vec![StepReply::Done, StepReply::Record(None)] }
    );
}

#[test]
fn every_compare_says_what_it_means() {
    let db = store();
    let kv = db.kv();
    kv.put("n", 1).wait().unwrap();
    kv.put_with("mortal", 1, &concord_kv::PutOptions { ttl: Some(Duration::from_secs(100)), ..Default::default() })
        .wait()
        .unwrap();
    let revision = kv.get_record("n").unwrap().unwrap().revision;
    let holds = |key: &str, guard: Guard| db.txn().compare(key, guard).commit().wait().unwrap().succeeded;
    let is = |expression: &str| Guard::Where(expression.to_owned());
    for (key, guard, expected) in [
        ("n", Guard::Present, true),
        ("missing", Guard::Present, false),
        ("n", Guard::Absent, false),
        ("missing", Guard::Absent, true),
        ("n", Guard::Expected(1.0.into()), true),
        ("n", Guard::Expected("1".into()), false),
        ("missing", Guard::Expected(Value::Null), false),
        ("n", Guard::Revision(revision), true),
        ("n", Guard::Revision(revision + 1), false),
        ("missing", Guard::Revision(0), false),
        ("n", is(&format!("revision != {revision}")), false),
        ("n", is(&format!("revision < {}", revision + 1)), true),
        ("n", is(&format!("revision > {revision}")), false),
        ("n", is("ttl == null"), true),
        ("mortal", is("ttl == null"), false),
        ("mortal", is("ttl > 90 and ttl <= 100"), true),
        ("mortal", is("ttl < 90"), false),
        ("missing", is("true"), false),
        ("missing", is("value != 1"), false),
    ] {
        assert_eq!(holds(key, guard.clone()), expected, "{key}: {guard:?}");
    }
    assert!(!db.txn().compare("n", Guard::Present).compare("n", Guard::Absent).commit().wait().unwrap().succeeded);
    assert!(db.txn().commit().wait().unwrap().succeeded, "nothing to hold always holds");
    kv.put_if("n", 2, Guard::Present).wait().unwrap();
    assert_eq!(kv.put_if("missing", 2, Guard::Present).wait().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_operation_that_cannot_be_done_is_named_and_nothing_is_done() {
    let db = store();
    db.kv().put("text", "t").wait().unwrap();
    db.kv().put("most", i64::MAX).wait().unwrap();
    db.kv().put("large", "x".repeat(limits::TXN_ANSWER_BYTES_MAX - 5)).wait().unwrap();
    let before = db.digest().unwrap();
    let minute = Duration::from_secs(60);
    let begin = || db.txn().put("a", 1).delete("text");
    let otherwise = || db.txn().compare("a", Guard::Present).put("a", 1).or_else().put("b", 1);
    for (txn, kind, place) in [
        (begin().increment("most", 1), ErrorKind::ValueTooLarge, "`then`, operation 3: "),
        (begin().touch("missing", minute), ErrorKind::NotFound, "`then`, operation 3: "),
        (db.txn().put("a", 1).increment("text", 1), ErrorKind::NotAnInteger, "`then`, operation 2: "),
        (otherwise().increment("text", 1), ErrorKind::NotAnInteger, "`else`, operation 2: "),
        (begin().get("large").get("most"), ErrorKind::ValueTooLarge, "`then`, operation 4: "),
        (
            begin().get("a").put("large", "x".repeat(limits::TXN_ANSWER_BYTES_MAX)).get("large"),
            ErrorKind::ValueTooLarge,
            "`then`, operation 5: ",
        ),
    ] {
        let error = txn.idempotency_key("once").commit().wait().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().starts_with(place) && error.message().ends_with("; nothing was done"), "{error}");
        assert_eq!(db.digest().unwrap(), before, "not even a receipt: {error}");
    }
    assert!(db.txn().get("large").idempotency_key("once").commit().wait().unwrap().succeeded);
}

#[test]
fn what_cannot_be_used_is_refused_before_it_begins() {
    let db = store();
    let kind = |transaction: &Transaction<'_>, part: &str| {
        let error = db.kv().call(Write::Transaction(transaction), None).unwrap_err();
        assert!(error.message().contains(part), "{error}");
        error.kind()
    };
    let steps = |count: usize| vec![Step::Get { key: b"k" }; count];
    let compare = |condition| Compare { key: b"k", condition };
    let then = |then: Vec<Step<'static>>| Transaction { then, ..Transaction::default() };
    let most = Transaction {
        compares: vec![compare(Condition::Absent); 28],
        then: steps(50),
        otherwise: steps(50),
        ..Transaction::default()
    };
    db.kv().call(Write::Transaction(&most), None).unwrap();
    let more = Transaction { otherwise: steps(51), ..most.clone() };
    assert_eq!(kind(&more, "at most 128"), ErrorKind::BatchTooLarge);
    for key in [&[][..], &[7; 129]] {
        let named = Transaction { idempotency_key: Some(key), ..Transaction::default() };
        assert_eq!(kind(&named, "1 to 128 bytes"), ErrorKind::InvalidKey);
    }
    let value = encode_value(&1.into()).unwrap();
    let put = |key, value| Step::Put { key, value, ttl_ms: None, compress: Compress::Auto };
    let value: &'static [u8] = value.leak();
    assert_eq!(kind(&then(vec![put(b"k", value), put(b"", value)]), "`then`, operation 2: "), ErrorKind::InvalidKey);
    assert_eq!(kind(&then(vec![put(b"k", b"\xff")]), "`then`, operation 1: "), ErrorKind::InvalidValue);
    let twice = || {
        vec![
            put(b"k", value),
            Step::Get { key: b"k" },
            Step::Delete { key: b"l" },
            Step::Touch { key: b"k", ttl_ms: 1 },
        ]
    };
    assert_eq!(kind(&then(twice()), "`then`, operation 4: "), ErrorKind::InvalidOperationFormat);
    let otherwise = Transaction { otherwise: twice(), ..Transaction::default() };
    assert_eq!(kind(&otherwise, "`else`, operation 4: "), ErrorKind::InvalidOperationFormat);
    let both = Transaction { then: twice()[..2].to_vec(), otherwise: twice()[..2].to_vec(), ..Transaction::default() };
    db.kv().call(Write::Transaction(&both), None).unwrap();
    for ttl_ms in [0, limits::TTL_MS_MAX + 1] {
        assert_eq!(kind(&then(vec![Step::Touch { key: b"k", ttl_ms }]), "operation 1: "), ErrorKind::InvalidTtl);
    }
    let comparing = |condition| Transaction {
        compares: vec![compare(Condition::Absent), compare(condition)],
        ..Transaction::default()
    };
    assert_eq!(kind(&comparing(Condition::Always), "compare 2: "), ErrorKind::MissingCondition);
    assert_eq!(kind(&comparing(Condition::Expected(b"")), "compare 2: "), ErrorKind::InvalidValue);
    let error = db.kv().call(Write::Transaction(&comparing(Condition::Where("value ==="))), None).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidCondition, Some(9)), "{error}");
    let large = encode_value(&"x".repeat(9 * 1024 * 1024).into()).unwrap();
    let puts = ["a", "b", "c", "d"].map(|key| Step::Put {
        key: key.as_bytes(),
        value: &large,
        ttl_ms: None,
        compress: Compress::Never,
    });
    let large = Transaction { then: puts.to_vec(), ..Transaction::default() };
    assert_eq!(kind(&large, "split it"), ErrorKind::ValueTooLarge);
}

#[test]
fn a_name_makes_it_happen_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { snapshot_log_bytes: 1024 * 1024, ..Config::at(dir.path()) };
    let pay = |db: &Concord| db.txn().increment("paid", 5).get("paid").idempotency_key("invoice:1").commit().wait();
    let db = Concord::open(config()).unwrap();
    let first = pay(&db).unwrap();
    assert_eq!(pay(&db).unwrap(), first);
    db.close().unwrap();
    let db = Concord::open(config()).unwrap();
    assert_eq!(pay(&db).unwrap(), first, "from the log");
    let mut number = 0u64;
    while db.status().unwrap().raft.snapshot_index == 0 {
        number += 1;
        db.kv().put("big", Value::Bytes((0..100_000u64).map(|n| (n * n + number) as u8).collect())).wait().unwrap();
    }
    db.close().unwrap();
    let db = Concord::open(config()).unwrap();
    assert_eq!(pay(&db).unwrap(), first, "from a snapshot");
    assert_eq!(db.kv().get("paid").unwrap(), Some(5.into()));
    let error = db.txn().increment("paid", 6).idempotency_key("invoice:1").commit().wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.message().contains("take a new key"), "{error}");
    // The same lifetime is the same transaction, whenever it is sent and however its value is stored.
    let value = encode_value(&"x".repeat(5_000).into()).unwrap();
    let put = |compress| {
        let then = vec![Step::Put { key: b"k", value: &value, ttl_ms: Some(60_000), compress }];
        let transaction = Transaction { then, idempotency_key: Some(b"lifetime"), ..Transaction::default() };
        db.kv().call(Write::Transaction(&transaction), None)
    };
    let stored = put(Compress::Always).unwrap();
    let is_later = || db.kv().get_record("k").unwrap().filter(|Record { ttl_ms, .. }| *ttl_ms < Some(60_000));
    until::until("a millisecond has passed", is_later);
    assert_eq!(put(Compress::Never).unwrap(), stored);
    db.close().unwrap();
}

#[test]
fn all_changes_come_to_followers_with_one_revision() {
    let db = store();
    let mut watch = db.watch(&WatchOptions::default()).unwrap();
    let reply = db.txn().put("a", 1).increment("b", 1).delete("a?").commit().wait().unwrap();
    for key in [&b"a"[..], b"b"] {
        let Some(Notice::Event(event)) = watch.next_within(Duration::from_secs(5)).unwrap() else {
            panic!("no change")
        };
        assert_eq!((&event.key[..], event.revision), (key, reply.revision));
    }
    assert!(!matches!(watch.next_within(Duration::ZERO).unwrap(), Some(Notice::Event(_))));
}

#[test]
fn a_token_is_held_to_its_scopes_and_keys() {
    let db = store();
    let with = |read, write, prefixes: &[&str]| {
        let scopes = Scopes { read, write, admin: false };
        let key_prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
        let created = db.tokens().create(&NewToken { name: String::new(), scopes, key_prefixes, ttl: None }).unwrap();
        (db.with_token(created.token.reveal()).unwrap(), created.info.id)
    };
    let (reader, writer, both) = (with(true, false, &[]).0, with(false, true, &[]).0, with(true, true, &["a:"]));
    let (both, both_id) = both;
    let forbidden =
        |txn: concord_kv::Txn<'_>| assert_eq!(txn.commit().wait().unwrap_err().kind(), ErrorKind::Forbidden);
    forbidden(reader.txn().get("a:1"));
    forbidden(reader.txn().compare("a:1", Guard::Absent));
    forbidden(writer.txn().put("a:1", 1).get("a:1"));
    forbidden(writer.txn().compare("a:1", Guard::Absent).put("a:1", 1));
    writer.txn().put("a:1", 1).increment("b:1", 1).commit().wait().unwrap();
    forbidden(both.txn().put("a:1", 1).get("b:1"));
    forbidden(both.txn().compare("b:1", Guard::Present));
    forbidden(both.txn().or_else().delete("b:1"));
    both.txn().compare("a:1", Guard::Present).put("a:2", 1).get("a:1").or_else().delete("a:1").commit().wait().unwrap();
    db.tokens().revoke(&both_id).unwrap();
    assert_eq!(both.txn().put("a:1", 2).commit().wait().unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(db.kv().get("a:1").unwrap(), Some(1.into()));
}

#[test]
fn a_client_has_transactions_too() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config { local_socket: true, ..Config::at(dir.path()) }).unwrap();
    let client = Concord::connect(ClientConfig::local(dir.path())).unwrap();
    let pay =
        |db: &Concord| db.txn().compare("n", Guard::Absent).put("n", 1).get("n").idempotency_key("k").commit().wait();
    let reply = pay(&client).unwrap();
    assert!(reply.succeeded);
    assert_eq!(value_of(&reply.results[1]), Some(1.into()));
    assert_eq!(pay(&db).unwrap(), reply, "whoever asks again");
    let error = client
        .txn()
        .put("t", "text")
        .commit()
        .wait()
        .and_then(|_| client.txn().increment("t", 1).commit().wait())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAnInteger);
    assert!(error.message().starts_with("`then`, operation 1: "), "{error}");
    // Many answers that are large share no batch that would be too large to be sent.
    client.kv().put("large", "x".repeat(200_000)).wait().unwrap();
    let all: Vec<_> = (0..600).map(|_| client.txn().get("large").commit()).collect();
    for one in all {
        assert_eq!(one.wait().unwrap().results.len(), 1);
    }
    client.close().unwrap();
    db.close().unwrap();
}

/// The documents' bank: whatever happens at once, nothing is lost and nobody owes.
#[test]
fn money_is_conserved_over_a_hundred_thousand_concurrent_transfers() {
    const ACCOUNTS: u64 = 10;
    const THREADS: u64 = 4;
    const TRANSFERS: u64 = 100_000;
    let db = store();
    for account in 0..ACCOUNTS {
        db.kv().put(format!("account:{account}"), 100).wait().unwrap();
    }
    let keys: Vec<String> = (0..ACCOUNTS).map(|account| format!("account:{account}")).collect();
    let total = || -> i128 {
        let records = db.kv().get_many(&keys).unwrap().into_iter().flatten();
        records.map(|record| if let Value::Int(money) = record.value { money } else { panic!("{record:?}") }).sum()
    };
    let (moved, refused, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, keys, moved, refused, done) = (&db, &keys, &moved, &refused, &done);
            scope.spawn(move || {
                let mut random = thread + 1;
                let mut next = |bound: u64| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (random >> 33) % bound
                };
                for _ in 0..TRANSFERS / THREADS / 50 {
                    let started: Vec<_> = (0..50)
                        .map(|_| {
                            let (from, amount) = (next(ACCOUNTS), next(80) as i64 + 1);
                            let to = (from + 1 + next(ACCOUNTS - 1)) % ACCOUNTS;
                            let (from, to) = (&keys[from as usize], &keys[to as usize]);
                            let enough = Guard::Where(format!("value >= {amount}"));
                            db.txn().compare(from, enough).increment(from, -amount).increment(to, amount).commit()
                        })
                        .collect();
                    for transfer in started {
                        let counter = if transfer.wait().unwrap().succeeded { moved } else { refused };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        let begun = Instant::now();
        while done.load(Ordering::Acquire) < THREADS {
            assert_eq!(total(), 100 * i128::from(ACCOUNTS), "at every point in time");
            assert!(begun.elapsed() < Duration::from_secs(120), "it takes too long");
        }
    });
    let (moved, refused) = (moved.into_inner(), refused.into_inner());
    assert_eq!(moved + refused, TRANSFERS);
    assert!(moved > TRANSFERS / 10 && refused > TRANSFERS / 100, "{moved} moved, {refused} refused");
    assert_eq!(total(), 100 * i128::from(ACCOUNTS));
    for key in &keys {
        let Some(Value::Int(money)) = db.kv().get(key).unwrap() else { panic!("{key} is gone") };
        assert!(money >= 0, "{key} owes {money}");
    }
}

#[test]
fn a_document_is_a_transaction_and_what_is_none_is_told_where() {
    let db = store();
    let run = |json: &str| -> concord_kv::Result<(String, Value)> {
        let document = value_from_json(json)?;
        match db.kv().call(Write::Transaction(&decode_transaction(&document)?), None)? {
            Reply::Transaction(reply) => {
                let encoded = decode_value(&encode_transaction_reply(&reply)?)?;
                Ok((transaction_reply_to_json(&reply)?, encoded))
            }
            other => panic!("{other:?}"),
        }
    };
    let (json, encoded) = run(
        r#"{"compare": [{"key": "a", "exists": false}, {"key": {"$bytes": "/w=="}, "exists": false}],
            "then": [{"put": "a", "value": {"b": [1]}, "ttl": 1000000}, {"increment": "n"}, {"get": "missing"},
                     {"put": "$bytes", "value": null}, {"get": "$bytes"}, {"touch": "a?", "ttl": 1}], "else": []}"#,
    )
    .unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "the touch at the end: {error}");
        run(r#"{"then": [{"increment": "n", "by": 2, "initial": 5}, {"get": "missing"}, {"put": "k", "value": null}, {"get": "k"}],
                "else": null, "idempotency_key": null}"#)
        .unwrap()
    });
    assert_eq!(
        json,
        r#"{"succeeded":true,"revision":1,"results":[7,null,"ok",{"value":null,"revision":1,"ttl":null}]}"#
    );
    let Value::Map(fields) = encoded else { panic!("{encoded:?}") };
    let names: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["succeeded".into(), "revision".into(), "results".into()]);
    for (json, kind, part) in [
        ("[]", ErrorKind::InvalidOperationFormat, "is a map"),
        (r#"{"if": []}"#, ErrorKind::InvalidOperationFormat, "no `if`"),
        (r#"{"then": {}}"#, ErrorKind::InvalidOperationFormat, "a list is needed"),
        (r#"{"then": [{"get": "a"}, {}]}"#, ErrorKind::InvalidOperationFormat, "`then`, operation 2: "),
        (r#"{"else": [{"get": 1}]}"#, ErrorKind::InvalidKey, "`else`, operation 1: "),
        (r#"{"then": [{"put": "a"}]}"#, ErrorKind::InvalidOperationFormat, "needs a `value`"),
        (r#"{"then": [{"put": "a", "delete": "b", "value": 1}]}"#, ErrorKind::InvalidOperationFormat, "is one of"),
        (r#"{"then": [{"delete": "a", "value": 1}]}"#, ErrorKind::InvalidOperationFormat, "does not take"),
        (r#"{"then": [{"touch": "a"}]}"#, ErrorKind::InvalidTtl, "needs a `ttl`"),
        (r#"{"then": [{"touch": "a", "ttl": "x"}]}"#, ErrorKind::InvalidTtl, "seconds"),
        (r#"{"then": [{"touch": "a", "ttl": -1}]}"#, ErrorKind::InvalidTtl, "operation 1: "),
        (r#"{"then": [{"touch": "a", "ttl": 1e300}]}"#, ErrorKind::InvalidTtl, "operation 1: "),
        (r#"{"then": [{"increment": "a", "by": 1.5}]}"#, ErrorKind::InvalidOperationFormat, "64 bits"),
        (r#"{"compare": [{"key": "a"}]}"#, ErrorKind::MissingCondition, "compare 1: "),
        (r#"{"compare": [{"exists": true}]}"#, ErrorKind::InvalidOperationFormat, "needs a `key`"),
        (r#"{"compare": [{"key": "a", "exists": true, "value": 1}]}"#, ErrorKind::ConflictingConditions, "compare 1: "),
        (r#"{"compare": [{"key": "a", "revision": -1}]}"#, ErrorKind::InvalidOperationFormat, "number of a change"),
        (r#"{"compare": [{"key": "a", "where": "value >"}]}"#, ErrorKind::InvalidCondition, "column 8"),
        (r#"{"idempotency_key": ""}"#, ErrorKind::InvalidKey, "1 to 128"),
    ] {
        let error = run(json).unwrap_err();
        assert_eq!(error.kind(), kind, "{json}: {error}");
        assert!(error.message().contains(part), "{json}: {error}");
    }
    assert_eq!(decode_transaction(b"\xff").unwrap_err().kind(), ErrorKind::InvalidValue);
}
