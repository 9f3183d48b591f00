//! What an embedded store promises to a Rust program: durability, atomicity, isolation, limits, clear refusals.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use concord_kv::{
    Compress, Compression, Concord, Condition, Config, Consistency, Durability, ErrorKind, EventKind, Guard, NodeState,
    Notice, PutOptions, ReadOptions, Reply, Value, WatchOptions, Write, decode_value, encode_value, limits,
};

fn everything(db: &Concord) -> BTreeMap<Vec<u8>, Value> {
    db.kv().get_all().unwrap().into_iter().map(|(key, record)| (key, record.value)).collect()
}

fn kind_of<T: std::fmt::Debug>(result: concord_kv::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart_with_its_revision_and_lifetime() {
    let dir = tempfile::tempdir().unwrap();
    let (digest, record);
    {
        let db = Concord::open(Config::at(dir.path())).unwrap();
        db.kv().put("a", "first").wait().unwrap();
        db.kv().put("a", "second").wait().unwrap();
        let options = PutOptions { ttl: Some(Duration::from_secs(3600)), ..PutOptions::default() };
        db.kv().put_with("b", 42, &options).wait().unwrap();
        db.kv().delete("gone").wait().unwrap();
        db.kv().increment("n", 7).wait().unwrap();
        digest = db.digest().unwrap();
        record = db.kv().get_record("a").unwrap();
        db.close().unwrap();
    }
    let db = Concord::open(Config::at(dir.path())).unwrap();
    assert_eq!(db.digest().unwrap(), digest);
    assert_eq!(db.kv().get_record("a").unwrap(), record);
    assert_eq!(db.kv().get("a").unwrap(), Some("second".into()));
    let ttl = db.kv().ttl("b").unwrap().unwrap().unwrap();
    assert!(ttl <= Duration::from_secs(3600) && ttl > Duration::from_secs(3500), "{ttl:?}");
    assert_eq!(db.kv().increment("n", 1).wait().unwrap(), 8);
}

#[test]
fn a_directory_belongs_to_one_open_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Concord::open(Config::at(dir.path())).unwrap();
    let refusal = Concord::open(Config::at(dir.path())).err().unwrap();
    assert_eq!(refusal.kind(), ErrorKind::Locked);
    assert!(refusal.message().contains("in use"), "{refusal}");
    first.close().unwrap();
    // The closed handle is still held: closing alone gives the directory back.
    let second = Concord::open(Config::at(dir.path())).unwrap();
    assert_eq!(kind_of(first.kv().get("a")), ErrorKind::Closed);
    second.kv().put("a", 1).wait().unwrap();
}

#[test]
fn a_closed_store_answers_closed_and_closing_twice_is_fine() {
    let db = Concord::open(Config::default()).unwrap();
    let clone = db.clone();
    db.kv().put("a", 1).wait().unwrap();
    db.close().unwrap();
    db.close().unwrap();
    assert_eq!(kind_of(clone.kv().get("a")), ErrorKind::Closed);
    assert_eq!(kind_of(clone.kv().put("a", 2).wait()), ErrorKind::Closed);
    assert_eq!(kind_of(clone.kv().view(&ReadOptions::default()).map(drop)), ErrorKind::Closed);
    assert_eq!(clone.status().unwrap().raft.state, NodeState::Shutdown);
}

#[test]
fn every_write_under_way_when_the_store_closes_gets_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let db = db.clone();
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    for number in 0.. {
                        let key = format!("{thread}:{number}");
                        match db.kv().put(&key, number).wait() {
                            Ok(()) => acknowledged.push(key),
                            Err(error) => return (acknowledged, error.kind()),
                        }
                    }
                    unreachable!()
                })
            })
            .collect();
        while db.kv().get("3:20").unwrap().is_none() {
            std::thread::yield_now();
        }
        db.close().unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let db = Concord::open(Config::at(dir.path())).unwrap();
    for (acknowledged, end) in answers {
        assert!(matches!(end, ErrorKind::Closed | ErrorKind::UnknownOutcome), "{end}");
        for key in acknowledged {
            assert!(db.kv().get(&key).unwrap().is_some(), "{key} was acknowledged");
        }
    }
}

#[test]
fn in_memory_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { durability: Durability::Memory, ..Config::at(dir.path().join("data")) };
    let db = Concord::open(config.clone()).unwrap();
    db.kv().put("a", 1).wait().unwrap();
    db.close().unwrap();
    assert!(!dir.path().join("data").exists());
    assert!(everything(&Concord::open(config).unwrap()).is_empty());
}

#[test]
fn with_an_interval_a_close_still_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { durability: Durability::Interval { interval_ms: 60_000 }, ..Config::at(dir.path()) };
    let db = Concord::open(config.clone()).unwrap();
    (0..100).for_each(|number| db.kv().put(format!("key:{number}"), number).wait().unwrap());
    db.close().unwrap();
    assert_eq!(everything(&Concord::open(config).unwrap()).len(), 100);
}

#[test]
fn concurrent_increments_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..200).for_each(|_| assert!(db.kv().increment("n", 1).wait().unwrap() > 0)));
        }
    });
    assert_eq!(db.kv().get("n").unwrap(), Some(1600.into()));
}

#[test]
fn no_reader_ever_sees_a_part_of_a_bulk_write() {
    let db = Concord::open(Config::default()).unwrap();
    let keys: Vec<String> = (0..50).map(|number| format!("key:{number:02}")).collect();
    let write = |round: i64| {
        let items: Vec<_> = keys.iter().map(|key| (key, Value::from(round), None)).collect();
        db.kv().put_many(&items).wait().unwrap();
    };
    write(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sees_only_whole_rounds = || {
            let mut last_seen = 0;
            while !stop.load(Ordering::Relaxed) {
                // Point reads in the order of the writes: a later one never shows an older round.
                for key in &keys {
                    let Some(Value::Int(round)) = db.kv().get(key).unwrap() else { panic!("{key} is missing") };
                    assert!(round >= last_seen, "{key}: round {round} after round {last_seen}");
                    last_seen = round;
                }
                let all = db.kv().get_many(&keys).unwrap();
                let rounds: Vec<_> = all.into_iter().map(|record| record.unwrap().value).collect();
                assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
            }
        };
        scope.spawn(sees_only_whole_rounds);
        scope.spawn(sees_only_whole_rounds);
        (1..=2000).for_each(write);
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_view_stays_as_it_was_while_writes_go_on() {
    let db = Concord::open(Config::default()).unwrap();
    (0..500).for_each(|number| db.kv().put(format!("key:{number:03}"), number).wait().unwrap());
    let view = db.kv().view(&ReadOptions::default()).unwrap();
    for number in 0..500 {
        match number % 3 {
            0 => db.kv().put(format!("key:{number:03}"), "changed").wait().unwrap(),
            1 => db.kv().delete(format!("key:{number:03}")).wait().unwrap(),
            _ => db.kv().put(format!("new:{number:03}"), number).wait().unwrap(),
        }
    }
    let mut seen = Vec::new();
    view.scan((Bound::Included(b"key:"), Bound::Unbounded), |key, record| {
        seen.push((String::from_utf8(key.to_vec()).unwrap(), decode_value(&record.value).unwrap()));
        ControlFlow::Continue(())
    })
    .unwrap();
    let expected: Vec<_> = (0..500).map(|number| (format!("key:{number:03}"), Value::from(number))).collect();
    assert_eq!(seen, expected);
    assert!(view.get(b"new:002", |_| ()).unwrap().is_none());
    // Inverted and empty ranges are empty, not a panic.
    let never = |_: &[u8], _: concord_kv::RecordView<'_>| panic!("an empty range has no records");
    view.scan((Bound::Included(b"z"), Bound::Excluded(b"a")), never).unwrap();
    view.scan((Bound::Excluded(b"a"), Bound::Excluded(b"a")), never).unwrap();
}

#[test]
fn an_expired_record_is_gone_at_once_and_for_good() {
    let db = Concord::open(Config { expiry_interval_ms: 10, ..Config::default() }).unwrap();
    let mut watch = db.watch(&WatchOptions::default()).unwrap();
    let short = PutOptions { ttl: Some(Duration::from_millis(60)), ..PutOptions::default() };
    db.kv().put_with("session", "alive", &short).wait().unwrap();
    assert!(db.kv().get("session").unwrap().is_some());
    let started = Instant::now();
    while db.kv().get("session").unwrap().is_some() {
        assert!(started.elapsed() < Duration::from_secs(10), "it never expired");
    }
    assert_eq!(kind_of(db.kv().touch("session", Duration::from_secs(9)).wait()), ErrorKind::NotFound);
    assert_eq!(kind_of(db.kv().put_if("session", 1, Guard::Expected("alive".into())).wait()), ErrorKind::NotFound);
    assert_eq!(db.kv().get("session").unwrap(), None);
    // The removal itself comes through the log, as a change of its own kind.
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        match watch.next_within(Duration::from_secs(10)).unwrap() {
            Some(Notice::Event(event)) => kinds.push(event.kind),
            other => panic!("no change came: {other:?}"),
        }
    }
    assert_eq!(kinds, [EventKind::Put, EventKind::Expire]);
    assert_eq!(db.status().unwrap().size, 0);
}

#[test]
fn the_log_is_compacted_while_writes_go_on_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        snapshot_log_bytes: 1024 * 1024,
        compression: Compression { enabled: false, ..Compression::default() },
        ..Config::at(dir.path())
    };
    let db = Concord::open(config.clone()).unwrap();
    let value = Value::Bytes(vec![7; 20_000]);
    let mut round = 0;
    while db.status().unwrap().raft.snapshot_index == 0 || round < 20 {
        let items: Vec<_> = (0..20).map(|n| (format!("key:{}", (round * 20 + n) % 300), value.clone(), None)).collect();
        db.kv().put_many(&items).wait().unwrap();
        round += 1;
        assert!(round < 100_000, "no snapshot came");
    }
    let digest = db.digest().unwrap();
    db.close().unwrap();
    let db = Concord::open(config).unwrap();
    assert!(db.status().unwrap().raft.snapshot_index > 0);
    assert_eq!(db.digest().unwrap(), digest);
}

#[test]
fn input_outside_the_limits_is_refused_and_changes_nothing() {
    let db = Concord::open(Config::default()).unwrap();
    let kv = db.kv();
    let revision = db.status().unwrap().revision;
    let long_key = "k".repeat(limits::KEY_BYTES_MAX + 1);
    assert_eq!(kind_of(kv.put("", 1).wait()), ErrorKind::InvalidKey);
    assert_eq!(kind_of(kv.put(&long_key, 1).wait()), ErrorKind::InvalidKey);
    assert_eq!(kind_of(kv.get("")), ErrorKind::InvalidKey);
    assert_eq!(kind_of(kv.get_many(&[long_key.as_str()])), ErrorKind::InvalidKey);
    assert_eq!(kind_of(kv.put("k", "x".repeat(17 * 1024 * 1024)).wait()), ErrorKind::ValueTooLarge);
    let too_deep = (0..limits::VALUE_DEPTH_MAX).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    assert_eq!(kind_of(kv.put("k", too_deep).wait()), ErrorKind::InvalidValue);
    let zero = PutOptions { ttl: Some(Duration::ZERO), ..PutOptions::default() };
    assert_eq!(kind_of(kv.put_with("k", 1, &zero).wait()), ErrorKind::InvalidTtl);
    let endless = PutOptions { ttl: Some(Duration::MAX), ..PutOptions::default() };
    assert_eq!(kind_of(kv.put_with("k", 1, &endless).wait()), ErrorKind::InvalidTtl);
    assert_eq!(kind_of(kv.touch_many(&[("k", Duration::ZERO)]).wait()), ErrorKind::InvalidTouchOperation);
    let many: Vec<_> = (0..=limits::BATCH_OPS_MAX).map(|n| (format!("k{n}"), Value::Null, None)).collect();
    assert_eq!(kind_of(kv.put_many(&many).wait()), ErrorKind::BatchTooLarge);
    let mixed = [("good", Value::Null, None), ("", Value::Null, None)];
    assert_eq!(kind_of(kv.put_many(&mixed).wait()), ErrorKind::InvalidKey);
    for bytes in [&b""[..], b"\x61", b"\xff", b"\x01\x01", b"\x62\xff\xff", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let put = Write::Put {
            key: b"k",
            value: bytes,
            ttl_ms: None,
            condition: Condition::Always,
            compress: Compress::Auto,
        };
        assert_eq!(kind_of(kv.call(put, None)), ErrorKind::InvalidValue, "{bytes:x?}");
    }
    assert_eq!(kind_of(kv.delete_if("k", Guard::Absent).wait()), ErrorKind::InvalidCondition);
    let late = Write::Delete { key: b"k", condition: Condition::Always };
    assert_eq!(kind_of(kv.call(late, Some(0))), ErrorKind::Timeout);
    assert_eq!(db.status().unwrap().revision, revision);
    assert!(everything(&db).is_empty());
}

#[test]
fn large_values_are_compressed_out_of_sight() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).unwrap();
    let text = Value::Text("all work and no play ".repeat(5_000));
    db.kv().put("big", text.clone()).wait().unwrap();
    let small = PutOptions { compress: Compress::Never, ..PutOptions::default() };
    db.kv().put_with("raw", text.clone(), &small).wait().unwrap();
    assert_eq!(db.kv().get("big").unwrap(), Some(text.clone()));
    assert_eq!(db.kv().get("raw").unwrap(), Some(text.clone()));
    // Conditions look through the compression.
    db.kv().put_if("big", "small", Guard::Expected(text.clone())).wait().unwrap();
    let memory = db.status().unwrap().memory_bytes;
    db.kv().put("big", text).wait().unwrap();
    assert!(db.status().unwrap().memory_bytes < memory + 5_000, "105 kB of text take less than 5 kB");
}

#[test]
fn every_level_reads_the_same_on_one_node() {
    let db = Concord::open(Config::default()).unwrap();
    for number in 0..100 {
        db.kv().put("k", number).wait().unwrap();
        for consistency in [Consistency::Eventual, Consistency::Leader, Consistency::Strong] {
            let options = ReadOptions { consistency: Some(consistency), ..ReadOptions::default() };
            let read = db.kv().read(b"k", &options, |record| decode_value(&record.value).unwrap()).unwrap();
            assert_eq!(read, Some(Value::from(number)));
        }
    }
}

#[test]
fn a_write_can_be_awaited_and_its_caller_may_go_away() {
    let db = Concord::open(Config::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        db.kv().put("awaited", 1).await.unwrap();
        assert_eq!(db.kv().increment("awaited", 1).await.unwrap(), 2);
    });
    drop(db.kv().put("dropped", 1));
    db.kv().put("later", 1).wait().unwrap();
    assert_eq!(db.kv().get("dropped").unwrap(), Some(1.into()), "a write is not taken back by forgetting it");
}

#[test]
fn the_last_handle_may_go_away_inside_a_completion() {
    let db = Concord::open(Config::default()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let captured = db.clone();
    let value = encode_value(&1.into()).unwrap();
    let put =
        Write::Put { key: b"k", value: &value, ttl_ms: None, condition: Condition::Always, compress: Compress::Auto };
    db.kv()
        .submit(put, None, move |reply| {
            drop(captured);
            sender.send(matches!(reply, Ok(Reply::Done { revision: 1 }))).unwrap();
        })
        .unwrap();
    drop(db);
    assert!(receiver.recv_timeout(Duration::from_secs(10)).unwrap());
}
