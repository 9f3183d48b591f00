//! A log without a thread, driven step by step as a simulation does: nothing happens by itself, and everything again the same way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::storage::{Ballot, Driver, Sabotage};

/// Options of a driven log, and how often it has told that there is work.
fn driven() -> (LogOptions, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    let notify = move || {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    (LogOptions { driver: Driver::Manual(Arc::new(notify)), inline_bytes: 4096, ..small() }, calls)
}

fn open_driven(files: &MemFiles, options: LogOptions) -> Log {
    Log::open(&data_dir(files).unwrap(), options).unwrap()
}

fn drive_all(log: &Log) {
    while log.drive() {}
}

#[test]
fn nothing_happens_until_it_is_driven() {
    let files = MemFiles::default();
    let (options, calls) = driven();
    // Large enough that no other file is being made meanwhile.
    let log = open_driven(&files, LogOptions { segment_bytes: 64 * 1024, ..options });
    assert!(!log.drive(), "there is nothing to do");
    let before = files.operations();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |number: u32| -> Done {
        let order = order.clone();
        Box::new(move |outcome| order.lock().unwrap().push((number, outcome.is_ok())))
    };
    log.append_alone(vec![usual(0)], note(0));
    log.append(vec![usual(1), usual(2)], note(1));
    log.save_ballot(Ballot { term: 2, node: 7, committed: false }, note(2));
    log.append(vec![usual(9)], note(3));
    log.truncate_after(Some(at(1, 1)), note(4));
    log.save_committed(at(1, 0));
    assert_eq!(calls.load(Ordering::SeqCst), 6, "it told of each change");
    assert_eq!(all(&log), [usual(0), usual(1)], "readers see it at once");
    assert_eq!((files.operations(), order.lock().unwrap().len()), (before, 0));

    assert!(log.drive(), "the last frame is no mark yet");
    assert_eq!(files.operations() - before, 2, "one write, one sync");
    assert_eq!(*order.lock().unwrap(), [(0, true), (1, true), (2, true), (3, false), (4, true)]);
    assert!(!log.drive());
    let log = open_driven(&files.after_crash(None), driven().0);
    assert_eq!((log.last(), log.committed()), (Some(at(1, 1)), Some(at(1, 0))));
}

#[test]
fn a_callback_may_append_and_that_is_another_round() {
    let log = open_driven(&MemFiles::default(), driven().0);
    let (done, answer) = done();
    let inner = log.clone();
    log.append(
        vec![usual(0)],
        Box::new(move |_| {
            inner.append(vec![usual(1)], done);
            assert!(!inner.drive(), "the round that calls back is still under way");
        }),
    );
    assert!(log.drive());
    assert!(answer.try_recv().is_err());
    log.drive();
    answer.try_recv().unwrap().unwrap();
}

#[test]
fn at_an_interval_one_round_answers_and_the_next_one_syncs() {
    let files = MemFiles::default();
    let log = open_driven(&files, LogOptions { durability: Durability::Interval { interval_ms: 20 }, ..driven().0 });
    let (done, answer) = done();
    log.append(vec![usual(0)], done);
    assert!(log.drive());
    answer.try_recv().unwrap().unwrap();
    assert_eq!(open_driven(&files.after_crash(None), driven().0).last(), None);
    log.append(vec![usual(1)], Box::new(|_| ()));
    log.drive();
    assert_eq!(open_driven(&files.after_crash(None), driven().0).last(), Some(at(1, 0)), "load puts no sync off");
    drive_all(&log);
    assert_eq!(open_driven(&files.after_crash(None), driven().0).last(), Some(at(1, 1)));
}

#[test]
fn closing_brings_all_to_the_disk_and_later_changes_fail() {
    let files = MemFiles::default();
    let log = open_driven(&files, driven().0);
    let (done, answer) = done();
    log.append((0..300).map(usual).collect(), done);
    log.close();
    answer.try_recv().unwrap().unwrap();
    assert_eq!(append(&log, vec![usual(300)]).unwrap_err().to_string(), "the log is closed");
    assert_eq!(all(&open_driven(&files.after_crash(None), driven().0)).len(), 300);
}

#[test]
fn segments_are_prepared_and_freed_while_it_is_driven() {
    let files = MemFiles::default();
    let log = open_driven(&files, driven().0);
    for index in 0..400 {
        log.append(vec![usual(index)], Box::new(|outcome| outcome.unwrap()));
        log.drive();
    }
    let before = files.paths().len();
    log.purge(at(1, 380), Box::new(|outcome| outcome.unwrap()));
    assert_eq!(files.paths().len(), before);
    log.drive();
    assert!(files.paths().len() < before / 2, "{} files of {before} are left", files.paths().len());
    assert!(files.paths().iter().any(|path| path.ends_with("spare")));

    files.set_bytes_left(Some(5000));
    let mut next = 400;
    while log.has_room(50) {
        log.append(vec![usual(next)], Box::new(|outcome| outcome.unwrap()));
        log.drive();
        next += 1;
    }
    assert_eq!(log.failure(), None, "a full disk is no failure to who asks first");
    files.set_bytes_left(None);
    assert!(!log.has_room(50), "it failed the last time");
    log.drive();
    assert!(log.has_room(50));
}

/// A life of random operations and rounds until a crash. What was acknowledged, and what is on the disk after it.
fn live_and_crash(seed: u64) -> (u64, Option<Ballot>, MemFiles) {
    let files = MemFiles::default();
    let mut random = Random(seed);
    let log = open_driven(&files, driven().0);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let ballot = Arc::new(Mutex::new(None));
    let mut next = 0;
    for round in 0..50 + random.below(300) {
        match random.below(10) {
            0 => {
                let (saved, new) = (ballot.clone(), Ballot { term: round, node: 7, committed: true });
                log.save_ballot(new, Box::new(move |_| *saved.lock().unwrap() = Some(new)));
            }
            1 if next > 60 => log.purge(at(1, next - 40), Box::new(|_| ())),
            2 => log.save_committed(at(1, next)),
            3..5 => drop(log.drive()),
            _ => {
                let acknowledged = acknowledged.clone();
                let count = random.below(4) + 1;
                let entries = (next..next + count).map(usual).collect();
                next += count;
                let upto = next;
                log.append_alone(entries, Box::new(move |_| acknowledged.store(upto, Ordering::SeqCst)));
            }
        }
    }
    let disk = files.crash(random.next());
    let known = (acknowledged.load(Ordering::SeqCst), *ballot.lock().unwrap());
    drop(log);
    (known.0, known.1, disk)
}

#[test]
fn the_same_seed_gives_the_same_disk_and_no_crash_loses_what_was_acknowledged() {
    for seed in 0..300 {
        let (acknowledged, ballot, disk) = live_and_crash(seed);
        let again = live_and_crash(seed).2;
        let paths = disk.paths();
        assert_eq!(paths, again.paths(), "seed {seed}");
        for path in &paths {
            assert!(disk.content(path) == again.content(path), "seed {seed}: {} differs", path.display());
        }
        let log = open_driven(&disk, driven().0);
        let found = log.last().map_or(0, |last| last.index + 1);
        assert!(found >= acknowledged, "seed {seed}: {acknowledged} acknowledged, {found} found");
        assert!(log.ballot().map(|ballot| ballot.term) >= ballot.map(|ballot| ballot.term), "seed {seed}");
        let first = log.purged().map_or(0, |purged| purged.index + 1);
        assert_eq!(all(&log), (first..found).map(usual).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn planted_mistakes_lose_what_was_acknowledged() {
    let files = MemFiles::default();
    let log = open_driven(&files, LogOptions { sabotage: Sabotage::SkipSync, ..driven().0 });
    let (done_entry, entry_answer) = done();
    log.append(vec![usual(0)], done_entry);
    log.drive();
    entry_answer.try_recv().unwrap().unwrap();
    assert_eq!(open_driven(&files.after_crash(None), driven().0).last(), None);

    let files = MemFiles::default();
    let log = open_driven(&files, LogOptions { sabotage: Sabotage::ForgetBallot, ..driven().0 });
    let (done_ballot, ballot_answer) = done();
    log.save_ballot(Ballot { term: 1, node: 1, committed: false }, done_ballot);
    drive_all(&log);
    ballot_answer.try_recv().unwrap().unwrap();
    assert!(log.ballot().is_some());
    log.close();
    drop(log);
    assert_eq!(open_driven(&files, driven().0).ballot(), None);
}
