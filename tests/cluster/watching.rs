//! Watching: clients that follow the changes while leaders die see each of them exactly once and in order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use concord_kv::{Concord, Notice, Position, Value, WatchOptions, decode_value};

use crate::chaos;
use crate::fleet::Fleet;

const WRITERS: i64 = 4;
/// Longest wait for a change: an election and the patience of a client.
const PATIENCE: Duration = Duration::from_secs(40);

/// Follows until the key `end` is written. Whatever is missing, told twice or out of order is a failure.
fn follow(client: &Concord, batch: usize) -> Vec<(Vec<u8>, Value)> {
    let options = WatchOptions { start: concord_kv::WatchStart::From(Position::before(1)), ..WatchOptions::default() };
    let mut watch = client.watch(&options).expect("a watch from the beginning");
    let (mut seen, mut last) = (Vec::new(), 0);
    loop {
        // What nobody answered for a while is asked again: nothing is lost by it.
        let notices = match watch.take_within(batch, PATIENCE) {
            Ok(notices) => notices,
            Err(error) if error.kind().is_retryable() => continue,
            Err(error) => panic!("after revision {last}: {error}"),
        };
        assert!(!notices.is_empty(), "nothing came after revision {last}");
        for notice in notices {
            let Notice::Event(event) = notice else { panic!("after revision {last}: {notice:?}") };
            // Every change has a revision of its own here: none may be missing and none may come twice.
            assert_eq!((event.revision, event.next), (last + 1, Position::after(event.revision)));
            last = event.revision;
            if event.key == b"end" {
                return seen;
            }
            seen.push((event.key, decode_value(&event.value.expect("a put")).expect("a value")));
        }
    }
}

#[test]
fn watchers_see_every_change_once_and_in_order_while_leaders_are_killed() {
    let mut fleet = Fleet::form(3);
    let watchers: Vec<_> = [1, 50, 4_000]
        .into_iter()
        .map(|batch| {
            let client = fleet.connect(fleet.all());
            std::thread::spawn(move || follow(&client, batch))
        })
        .collect();
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, stop, acknowledged) = (fleet.connect(fleet.all()), stop.clone(), acknowledged.clone());
            std::thread::spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("{writer}:{n}");
                    if client.kv().put(&key, n).wait().is_ok() {
                        acknowledged.lock().expect("no panic").insert(key.into_bytes());
                    }
                }
            })
        })
        .collect();
    let until = Instant::now() + chaos().max(Duration::from_secs(8));
    let mut kills = 0;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        let leader = fleet.leader(&[0, 1, 2]);
        fleet.kill(leader);
        kills += 1;
        std::thread::sleep(Duration::from_secs(1));
        fleet.start(leader);
        fleet.wait_ready(leader);
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    let client = fleet.connect(fleet.all());
    while client.kv().put("end", true).wait().is_err() {}
    let seen: Vec<_> = watchers.into_iter().map(|watcher| watcher.join().expect("a watcher")).collect();
    assert!(seen.iter().all(|other| *other == seen[0]), "the watchers do not agree");
    let acknowledged = acknowledged.lock().expect("no panic");
    let keys: BTreeSet<&[u8]> = seen[0].iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(keys.len(), seen[0].len(), "a write was told twice");
    assert!(acknowledged.iter().all(|key| keys.contains(key.as_slice())), "an acknowledged write was not told");
    println!("watch: {} changes, {} acknowledged, {kills} leaders killed", seen[0].len(), acknowledged.len());
}
