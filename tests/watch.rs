//! Watch: what those who follow the changes are promised, through the public API.

#[path = "watch/consumers.rs"]
mod consumers;
#[path = "watch/remote.rs"]
mod remote;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use concord_kv::{
    Concord, Config, ErrorKind, Event, EventHistory, EventKind, EventKinds, NewToken, Notice, Position, PutOptions,
    Scopes, Selector, Value, Watch, WatchOptions, WatchStart, decode_value,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn open() -> Concord {
    Concord::open(Config::default()).unwrap()
}

fn keeping(events_max: usize) -> Config {
    Config { event_history: EventHistory { events_max, ..EventHistory::default() }, ..Config::default() }
}

fn options() -> WatchOptions<'static> {
    WatchOptions::default()
}

fn from(revision: u64) -> WatchOptions<'static> {
    WatchOptions { start: WatchStart::From(Position::before(revision)), ..options() }
}

fn prefix(prefix: &str) -> Selector<'_> {
    Selector { prefix: Some(prefix.as_bytes()), ..Selector::default() }
}

/// Bytes that no compression makes smaller.
fn noise(seed: u8, count: usize) -> Value {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(seed);
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    Value::Bytes((0..count).map(next).collect())
}

/// The next event; anything else is a failure.
fn event(watch: &mut Watch) -> Event {
    match watch.next_within(PATIENCE).unwrap() {
        Some(Notice::Event(event)) => event,
        other => panic!("no event came: {other:?}"),
    }
}

/// An event in a few words: kind, key, value, revision.
fn told(event: &Event) -> (EventKind, String, Option<Value>, u64) {
    let value = event.value.as_deref().map(|value| decode_value(value).unwrap());
    (event.kind, String::from_utf8(event.key.clone()).unwrap(), value, event.revision)
}

fn next(watch: &mut Watch) -> (EventKind, String, Option<Value>, u64) {
    told(&event(watch))
}

fn put(key: &str, value: i64, revision: u64) -> (EventKind, String, Option<Value>, u64) {
    (EventKind::Put, key.to_owned(), Some(value.into()), revision)
}

#[test]
fn a_watch_begins_now_or_at_a_revision_that_is_included() {
    let db = open();
    db.kv().put("a", 1).wait().unwrap();
    let mut now = db.watch(&options()).unwrap();
    assert_eq!(now.try_take(10).unwrap(), []);
    db.kv().put("b", 2).wait().unwrap();
    db.kv().put("a", 3).wait().unwrap();
    assert_eq!([next(&mut now), next(&mut now)], [put("b", 2, 2), put("a", 3, 3)]);
    let mut second = db.watch(&from(2)).unwrap();
    assert_eq!([next(&mut second), next(&mut second)], [put("b", 2, 2), put("a", 3, 3)]);
    for beginning in [0, 1] {
        assert_eq!(next(&mut db.watch(&from(beginning)).unwrap()), put("a", 1, 1));
    }
    // One that is not reached yet is waited for.
    let mut later = db.watch(&from(5)).unwrap();
    db.kv().put("c", 4).wait().unwrap();
    assert_eq!(later.next_within(Duration::from_millis(50)).unwrap(), None);
    db.kv().put("d", 5).wait().unwrap();
    assert_eq!(next(&mut later), put("d", 5, 5));
    assert_eq!(later.position(), Some(Position::before(6)));
}

/// Promised: what is there, at one revision, and then every change behind it, whatever is written meanwhile.
#[test]
fn the_state_comes_first_and_then_the_changes_without_a_gap() {
    let db = open();
    for n in 0..5_000i64 {
        drop(db.kv().put(format!("k:{n:04}"), n));
    }
    db.kv().put("other", 0).wait().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (db, stop) = (db.clone(), stop.clone());
        move || {
            let mut n = 0i64;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                db.kv().put(format!("k:{:04}", n * 7_919 % 6_000), -n).wait().unwrap();
                if n % 5 == 0 {
                    db.kv().delete(format!("k:{:04}", n * 31 % 6_000)).wait().unwrap();
                }
            }
        }
    });
    for _ in 0..5 {
        let mut watch =
            db.watch(&WatchOptions { start: WatchStart::State, selector: prefix("k:"), ..options() }).unwrap();
        let (mut model, mut state_at, mut last_key) = (BTreeMap::new(), None, None);
        let mut changes = 0;
        while changes < 300 {
            for notice in watch.take_within(100, PATIENCE).unwrap() {
                match notice {
                    Notice::Event(event) if event.kind == EventKind::State => {
                        assert!(state_at.is_none() && last_key.as_ref() < Some(&event.key));
                        last_key = Some(event.key.clone());
                        model.insert(event.key, event.value.unwrap());
                    }
                    Notice::Progress { revision } => {
                        assert_eq!((state_at, watch.position()), (None, Some(Position::after(revision))));
                        state_at = Some(revision);
                    }
                    Notice::Event(event) => {
                        assert!(event.revision > state_at.unwrap());
                        changes += 1;
                        match event.value {
                            Some(value) => drop(model.insert(event.key, value)),
                            // Nothing is removed that the watcher has not heard of.
                            None => assert!(model.remove(&event.key).is_some()),
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn a_bulk_command_is_one_revision_and_a_removal_of_many_too() {
    let db = open();
    let mut watch = db.watch(&WatchOptions { with_previous: true, ..options() }).unwrap();
    let items: Vec<_> = (0..3).map(|n| (format!("k:{n}"), Value::from(n), None)).collect();
    db.kv().put_many(&items).wait().unwrap();
    let events: Vec<Event> = (0..3).map(|_| event(&mut watch)).collect();
    assert!(events.iter().all(|event| event.is_bulk && event.revision == 1 && event.previous.is_none()));
    assert_eq!(events.iter().map(|event| event.next.to_string()).collect::<Vec<_>>(), ["1.1", "1.2", "2"]);
    db.query().delete_where(&prefix("k:"), None).unwrap();
    let gone: Vec<Event> = (0..3).map(|_| event(&mut watch)).collect();
    for (event, before) in gone.iter().zip(&events) {
        assert_eq!((event.kind, event.revision, &event.key), (EventKind::Delete, 2, &before.key));
        assert_eq!((&event.value, &event.previous), (&None, &before.value));
    }
    // Taken in the middle of a command, and gone on from there by somebody else.
    let mut rest = db.watch(&WatchOptions { start: WatchStart::From(events[1].next), ..options() }).unwrap();
    assert_eq!(next(&mut rest), told(&events[2]));
    assert_eq!(next(&mut rest), (EventKind::Delete, "k:0".to_owned(), None, 2));
}

#[test]
fn touch_and_expiry_are_told_as_what_they_are() {
    let db = Concord::open(Config { expiry_interval_ms: 10, ..Config::default() }).unwrap();
    let mut watch = db.watch(&WatchOptions { with_previous: true, ..options() }).unwrap();
    db.kv().put("session", "alive").wait().unwrap();
    db.kv().touch("session", Duration::from_millis(40)).wait().unwrap();
    let [written, touched, expired] = [event(&mut watch), event(&mut watch), event(&mut watch)];
    assert_eq!([written.kind, touched.kind, expired.kind], [EventKind::Put, EventKind::Touch, EventKind::Expire]);
    assert_eq!((written.deadline_ms, &touched.value), (None, &written.value));
    assert_eq!(touched.deadline_ms.unwrap(), touched.time_ms + 40);
    assert_eq!((expired.value, &expired.previous), (None, &written.value));
    assert!(expired.time_ms >= touched.deadline_ms.unwrap());
    // A deletion is no expiry, and a touch of what is not there is no change.
    db.kv().put("k", 1).wait().unwrap();
    db.kv().delete("k").wait().unwrap();
    db.kv().touch("k", PATIENCE).wait().unwrap_err();
    db.kv().delete("k").wait().unwrap();
    assert_eq!([event(&mut watch).kind, event(&mut watch).kind], [EventKind::Put, EventKind::Delete]);
    assert_eq!(watch.try_take(1).unwrap(), []);
}

#[test]
fn a_watcher_gets_what_it_selects_by_key_kind_and_value() {
    let db = open();
    let watch = |options: WatchOptions<'_>| db.watch(&options).unwrap();
    let mut users = watch(WatchOptions { selector: prefix("user:"), ..options() });
    let removals = EventKinds::of(&[EventKind::Delete, EventKind::Expire]);
    let mut removed = watch(WatchOptions { kinds: removals, ..options() });
    let adults = Selector { filter: Some("value >= 18"), ..prefix("user:") };
    let mut adults = watch(WatchOptions { selector: adults, with_progress: true, ..options() });
    for (key, age) in [("user:1", 10), ("user:2", 20), ("other", 30)] {
        db.kv().put(key, age).wait().unwrap();
    }
    db.kv().delete("user:1").wait().unwrap();
    db.kv().delete("user:2").wait().unwrap();
    let keys = |watch: &mut Watch| {
        let notices = watch.try_take(100).unwrap();
        let key = |notice: Notice| match notice {
            Notice::Event(event) => format!("{} {}", event.kind, String::from_utf8(event.key).unwrap()),
            other => format!("{other:?}"),
        };
        notices.into_iter().map(key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&mut users), ["put user:1", "put user:2", "delete user:1", "delete user:2"]);
    assert_eq!(keys(&mut removed), ["delete user:1", "delete user:2"]);
    // Of one that was removed the value that it had counts.
    assert_eq!(keys(&mut adults), ["put user:2", "delete user:2"]);
    db.kv().put("other", 1).wait().unwrap();
    assert_eq!(keys(&mut adults), ["Progress { revision: 6 }"]);
    assert_eq!(keys(&mut adults), [""; 0]);
    assert_eq!(adults.position(), Some(Position::before(7)));
    for wrong in [
        Selector { offset: 1, ..Selector::default() },
        Selector { limit: Some(1), ..Selector::default() },
        Selector { filter: Some("value >"), ..Selector::default() },
    ] {
        let error = db.watch(&WatchOptions { selector: wrong, ..options() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidCondition, "{error}");
    }
}

#[test]
fn one_that_is_slow_is_told_of_a_gap_and_writers_do_not_wait() {
    let db = Concord::open(keeping(100)).unwrap();
    let mut slow = db.watch(&options()).unwrap();
    for n in 0..60 {
        db.kv().put("k", n).wait().unwrap();
    }
    assert_eq!(next(&mut slow), put("k", 0, 1));
    // What the history still holds is served from there, without a gap.
    for n in 60..100 {
        db.kv().put("k", n).wait().unwrap();
    }
    assert_eq!(next(&mut slow), put("k", 1, 2));
    for n in 100..1_000 {
        db.kv().put("k", n).wait().unwrap();
    }
    let Some(Notice::Gap { from_revision: 3, resume_revision }) = slow.next_within(PATIENCE).unwrap() else {
        panic!("it has missed something")
    };
    assert!(resume_revision > 900 && resume_revision <= 1_000, "{resume_revision}");
    assert_eq!(next(&mut slow).3, resume_revision);
    let rest = slow.try_take(1_000).unwrap();
    assert_eq!(rest.len() as u64, 1_000 - resume_revision);

    // To begin there is refused, with where one could.
    let stats = db.watch_stats().unwrap();
    assert_eq!((stats.watchers, stats.events_published, stats.next_revision), (1, 1_000, 1_001));
    assert!(stats.events_kept <= 100 && stats.bytes_kept < 100_000, "{stats:?}");
    drop(slow);
    assert_eq!(db.watch_stats().unwrap().watchers, 0);
    let error = db.watch(&from(3)).err().unwrap();
    assert_eq!((error.kind(), error.oldest_revision()), (ErrorKind::Compacted, Some(resume_revision)));
    assert!(error.message().contains(&resume_revision.to_string()), "{error}");
    assert_eq!(next(&mut db.watch(&from(resume_revision)).unwrap()).3, resume_revision);

    let none = Concord::open(keeping(0)).unwrap();
    none.kv().put("k", 1).wait().unwrap();
    let error = none.watch(&options()).err().unwrap();
    assert!(error.kind() == ErrorKind::InvalidConfig && error.message().contains("event_history"), "{error}");
}

#[test]
fn history_is_bounded_by_its_bytes_however_large_the_values_are() {
    let history = EventHistory { events_max: 1_000_000, bytes_max: 1024 * 1024 };
    let db = Concord::open(Config { event_history: history, ..Config::default() }).unwrap();
    let mut slow = db.watch(&WatchOptions { with_previous: true, ..options() }).unwrap();
    for n in 0..30 {
        db.kv().put("large", noise(n, 100_000)).wait().unwrap();
    }
    let Some(Notice::Gap { from_revision: 1, resume_revision }) = slow.next_within(PATIENCE).unwrap() else {
        panic!("it has missed something")
    };
    // Each with the value before it.
    assert!((25..=30).contains(&resume_revision), "{resume_revision}");
    let event = event(&mut slow);
    assert_eq!(decode_value(&event.value.unwrap()).unwrap(), noise(resume_revision as u8 - 1, 100_000));
    assert_eq!(decode_value(&event.previous.unwrap()).unwrap(), noise(resume_revision as u8 - 2, 100_000));
    // Larger than all that is kept: nobody gets it, and all are told.
    db.kv().put("huge", noise(1, 4_000_000)).wait().unwrap();
    db.kv().put("small", 1).wait().unwrap();
    let notices: Vec<Notice> = std::iter::from_fn(|| slow.try_take(100).unwrap().pop()).collect();
    assert!(matches!(notices[..], [Notice::Gap { resume_revision: 32, .. }, Notice::Event(_)]), "{notices:?}");
}

#[test]
fn a_restart_keeps_what_the_log_still_has_and_tells_of_what_it_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { snapshot_log_bytes: 1024 * 1024, ..Config::at(dir.path()) };
    let position = {
        let db = Concord::open(config.clone()).unwrap();
        let mut watch = db.watch(&options()).unwrap();
        for n in 0..10 {
            db.kv().put(format!("k:{n}"), n).wait().unwrap();
        }
        assert_eq!((next(&mut watch), next(&mut watch)), (put("k:0", 0, 1), put("k:1", 1, 2)));
        db.close().unwrap();
        assert_eq!(watch.next_within(PATIENCE).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(db.watch(&options()).err().unwrap().kind(), ErrorKind::Closed);
        watch.position().unwrap()
    };
    let db = Concord::open(config.clone()).unwrap();
    let mut watch = db.watch(&WatchOptions { start: WatchStart::From(position), ..options() }).unwrap();
    let rest: Vec<_> = (2..10).map(|n| put(&format!("k:{n}"), n, n as u64 + 1)).collect();
    assert_eq!((2..10).map(|_| next(&mut watch)).collect::<Vec<_>>(), rest);
    // A snapshot replaces the log, and with it what a restart has of the history.
    while db.status().unwrap().raft.snapshot_index < 11 {
        db.kv().put("padding", noise(1, 100_000)).wait().unwrap();
    }
    db.close().unwrap();
    let db = Concord::open(config).unwrap();
    let error = db.watch(&from(3)).err().unwrap();
    let oldest = error.oldest_revision().unwrap();
    assert!(error.kind() == ErrorKind::Compacted && oldest > 10, "{error}");
    assert!(db.watch(&from(oldest)).is_ok());
}

#[test]
fn a_watch_ends_with_its_token_and_wakes_to_say_so() {
    let db = Concord::open(Config { auth_enabled: true, ..Config::default() }).unwrap();
    let admin = db.as_admin();
    let scopes = Scopes { read: true, ..Scopes::default() };
    let new = NewToken { name: "w".to_owned(), scopes, key_prefixes: vec![b"mine:".to_vec()], ttl: None };
    let token = admin.tokens().create(&new).unwrap();
    let bound = db.with_token(token.token.reveal()).unwrap();
    let mine = WatchOptions { selector: prefix("mine:"), ..options() };
    for too_much in ["", "m", "theirs:"] {
        let error = bound.watch(&WatchOptions { selector: prefix(too_much), ..options() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{too_much}");
    }
    assert_eq!(db.watch(&mine).err().unwrap().kind(), ErrorKind::Unauthorized);
    let mut watch = bound.watch(&mine).unwrap();
    admin.kv().put("theirs:1", 1).wait().unwrap();
    admin.kv().put("mine:1", 1).wait().unwrap();
    assert_eq!(next(&mut watch), put("mine:1", 1, 2));
    let waiting = std::thread::spawn(move || watch.next_within(PATIENCE * 10));
    admin.tokens().revoke(&token.info.id).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Counted>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the queues of other languages are made of.
#[test]
fn one_that_has_no_thread_of_its_own_is_woken_when_there_is_something_to_take() {
    let db = open();
    let mut watch = db.watch(&options()).unwrap();
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(counted.clone());
    let mut context = Context::from_waker(&waker);
    assert!(watch.poll_take(&mut context, 10).is_pending());
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    for n in 0..5 {
        db.kv().put("k", n).wait().unwrap();
    }
    assert_eq!(counted.0.load(Ordering::Relaxed), 1, "once for each time that it was pending");
    let mut take = |max| match watch.poll_take(&mut context, max) {
        Poll::Ready(notices) => notices.unwrap().len(),
        Poll::Pending => 0,
    };
    // By demand: no more than was asked for.
    assert_eq!([take(2), take(2), take(2), take(2)], [2, 2, 1, 0]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let later = runtime.block_on(async {
        let writing = tokio::task::spawn_blocking({
            let db = db.clone();
            move || db.kv().put("later", 1).wait()
        });
        let notice = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
        writing.await.unwrap().unwrap();
        notice
    });
    assert!(matches!(later, Notice::Event(event) if event.key == b"later"));
}

/// Several threads write and several watch, each in its own way; every watcher sees the same sequence, without a gap.
#[test]
fn many_writers_and_many_watchers_agree_on_one_sequence() {
    const WRITERS: usize = 4;
    const WRITES: usize = 3_000;
    let db = open();
    let watchers: Vec<_> = (1..=6)
        .map(|step| {
            let mut watch = db.watch(&options()).unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                let mut last = Position::before(1);
                while seen.len() < WRITERS * WRITES {
                    let notices = watch.take_within(step * step * 10, PATIENCE).unwrap();
                    assert!(!notices.is_empty(), "{} have come", seen.len());
                    for notice in notices {
                        let Notice::Event(event) = notice else { panic!("{notice:?}") };
                        assert!(event.next > last && event.revision == last.revision);
                        last = event.next;
                        seen.push((event.revision, event.key, event.value));
                    }
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let db = db.clone();
            std::thread::spawn(move || {
                let key = |n: usize| format!("k:{}", (n * 31 + writer) % 100);
                for n in (0..WRITES).step_by(10) {
                    let bulk: Vec<_> = (n..n + 4).map(|n| (key(n), Value::from(n as i64), None)).collect();
                    db.kv().put_many(&bulk).wait().unwrap();
                    let pending: Vec<_> = (n + 4..n + 10).map(|n| db.kv().put(key(n), n as i64)).collect();
                    pending.into_iter().for_each(|pending| pending.wait().unwrap());
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let seen: Vec<_> = watchers.into_iter().map(|watcher| watcher.join().unwrap()).collect();
    assert!(seen.iter().all(|other| *other == seen[0]));
    let last: BTreeMap<_, _> = seen[0].iter().map(|(_, key, value)| (key.clone(), value.clone().unwrap())).collect();
    for (key, record) in db.kv().get_all().unwrap() {
        assert_eq!(decode_value(&last[&key]).unwrap(), record.value);
    }
}

#[test]
fn values_come_as_they_were_written_also_compressed_ones() {
    let db = open();
    let mut watch = db.watch(&WatchOptions { with_previous: true, ..options() }).unwrap();
    let text = |letter: &str| Value::from(letter.repeat(50_000));
    for letter in ["a", "b"] {
        db.kv().put_with("k", text(letter), &PutOptions::default()).wait().unwrap();
    }
    let value_of = |value: Option<Vec<u8>>| value.map(|value| decode_value(&value).unwrap());
    let [first, second] = [event(&mut watch), event(&mut watch)];
    assert_eq!((value_of(first.value), value_of(first.previous)), (Some(text("a")), None));
    assert_eq!((value_of(second.value), value_of(second.previous)), (Some(text("b")), Some(text("a"))));
}
