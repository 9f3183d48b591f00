//! What the log promises while nothing goes wrong.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::storage::Ballot;

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    assert_eq!((log.last(), log.purged(), log.ballot(), log.committed()), (None, None, None, None));
    fill(&log, 0..200);
    let ballot = Ballot { term: 3, node: 9, committed: true };
    now(|done| log.save_ballot(ballot, done)).unwrap();
    log.save_committed(at(1, 150));
    let expected: Vec<_> = (0..200).map(usual).collect();
    assert_eq!(all(&log), expected);
    log.close();
    drop(log);

    let log = open_log(&files).unwrap();
    assert_eq!(log.last(), Some(at(1, 199)));
    assert_eq!(log.ballot(), Some(ballot));
    assert_eq!(log.committed(), Some(at(1, 150)));
    assert_eq!(all(&log), expected);
    assert!(log.recovery().segments > 3, "4 KiB segments must have been left behind");
    assert_eq!((log.recovery().entries, log.recovery().repaired.clone()), (200, None));
    fill(&log, 200..210);
    assert_eq!(all(&log).len(), 210);
}

#[test]
fn entries_are_readable_before_they_are_durable_and_answers_come_in_order() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (last_done, last_answer) = done();
    for index in 0..500 {
        let order = order.clone();
        log.append(vec![usual(index)], Box::new(move |_| order.lock().unwrap().push(index)));
        assert_eq!(log.read(index..index + 1, 0).unwrap(), [usual(index)]);
    }
    log.append(Vec::new(), last_done);
    wait(&last_answer).unwrap();
    assert_eq!(*order.lock().unwrap(), (0..500).collect::<Vec<_>>());
    assert!(files.syncs() < 300, "entries that wait together share a sync: {}", files.syncs());
}

#[test]
fn a_callback_may_use_the_log() {
    for log in [open_log(&MemFiles::default()).unwrap(), Log::in_memory()] {
        let (done, answer) = done();
        let inner = log.clone();
        log.append(vec![usual(0)], Box::new(move |_| inner.append(vec![usual(1)], done)));
        wait(&answer).unwrap();
        assert_eq!(log.last(), Some(at(1, 1)));
    }
}

#[test]
fn a_read_gives_at_least_one_entry_and_about_max_bytes() {
    let log = open_log(&MemFiles::default()).unwrap();
    fill(&log, 0..100);
    let payload = usual(10).payload.len();
    assert_eq!(log.read(10..20, 0).unwrap(), [usual(10)]);
    assert_eq!(log.read(10..20, payload * 3).unwrap().len(), 3);
    assert_eq!(log.read(10..20, usize::MAX).unwrap().len(), 10);
    assert_eq!(log.read(97..u64::MAX, payload).unwrap(), [usual(97)]);
    assert_eq!(log.read(100..200, 1).unwrap(), []);
    assert_eq!(log.read(5..5, 1).unwrap(), []);
}

#[test]
fn truncated_entries_are_replaced_whether_cached_or_not() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..150);
    now(|done| log.truncate_after(Some(at(1, 40)), done)).unwrap();
    assert_eq!(log.last(), Some(at(1, 40)));
    let newer = |index| entry(2, index, b"of a later term");
    for index in 41..160 {
        append(&log, vec![newer(index)]).unwrap();
    }
    now(|done| log.truncate_after(Some(at(2, 120)), done)).unwrap();
    append(&log, vec![entry(3, 121, b"third")]).unwrap();
    let expected: Vec<_> = (0..=40).map(usual).chain((41..=120).map(newer)).chain([entry(3, 121, b"third")]).collect();
    assert_eq!(all(&log), expected);
    drop(log);
    let log = open_log(&files).unwrap();
    assert_eq!(all(&log), expected);
    now(|done| log.truncate_after(None, done)).unwrap();
    assert_eq!((log.last(), all(&log).len()), (None, 0));
    drop(log);
    assert_eq!(open_log(&files).unwrap().last(), None);
}

#[test]
fn a_purge_frees_segments_and_the_ballot_survives_it() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    let ballot = Ballot { term: 1, node: 7, committed: false };
    now(|done| log.save_ballot(ballot, done)).unwrap();
    fill(&log, 0..400);
    let (bytes, before) = (log.bytes(), files.paths().len());
    assert!(bytes > 400 * 80);
    now(|done| log.purge(at(1, 380), done)).unwrap();
    append(&log, vec![usual(400)]).unwrap();
    // The files go after the answer, and no write waits for that.
    log.wait_until_settled();
    assert!(files.paths().len() < before / 2, "{} files of {before} are left", files.paths().len());
    assert!(log.bytes() < bytes / 4);
    let expected: Vec<_> = (381..=400).map(usual).collect();
    assert_eq!(all(&log), expected);
    drop(log);
    let log = open_log(&files).unwrap();
    assert_eq!((log.purged(), log.ballot()), (Some(at(1, 380)), Some(ballot)));
    assert_eq!(all(&log), expected);
}

#[test]
fn a_purge_beyond_the_end_makes_the_log_go_on_there() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..50);
    now(|done| log.purge(at(4, 1000), done)).unwrap();
    assert_eq!((log.last(), log.bytes()), (Some(at(4, 1000)), 0));
    append(&log, vec![entry(4, 1001, b"after the snapshot")]).unwrap();
    drop(log);
    let log = open_log(&files).unwrap();
    assert_eq!((log.purged(), log.last()), (Some(at(4, 1000)), Some(at(4, 1001))));
    assert_eq!(all(&log), [entry(4, 1001, b"after the snapshot")]);
}

#[test]
fn a_gap_is_refused_and_harms_nothing() {
    let log = open_log(&MemFiles::default()).unwrap();
    fill(&log, 0..3);
    let refused = append(&log, vec![usual(5)]).unwrap_err();
    assert_eq!(refused.to_string(), "entry 5 does not follow entry 2");
    fill(&log, 3..5);
    assert_eq!(all(&log).len(), 5);
}

#[test]
fn an_entry_larger_than_a_segment_gets_one_of_its_own() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    let big = entry(1, 1, &vec![42; 100_000]);
    fill(&log, 0..1);
    append(&log, vec![big.clone()]).unwrap();
    fill(&log, 2..4);
    let expected = [usual(0), big, usual(2), usual(3)];
    assert_eq!(all(&log), expected);
    drop(log);
    assert_eq!(all(&open_log(&files).unwrap()), expected);
}

#[test]
fn at_an_interval_answers_come_before_the_sync_which_follows_by_itself() {
    let files = MemFiles::default();
    let interval = Durability::Interval { interval_ms: 20 };
    for inline_bytes in [0, 4096] {
        let options = LogOptions { durability: interval, inline_bytes, ..small() };
        let files = files.copy();
        let log = Log::open(&data_dir(&files).unwrap(), options).unwrap();
        let before = files.syncs();
        fill(&log, 0..10);
        std::thread::sleep(Duration::from_millis(200));
        assert!((1..5).contains(&(files.syncs() - before)));
        let crashed = files.after_crash(None);
        assert_eq!(open_log(&crashed).unwrap().last(), Some(at(1, 9)));
        let ballot = Ballot { term: 8, node: 1, committed: false };
        now(|done| log.save_ballot(ballot, done)).unwrap();
        assert_eq!(open_log(&files.after_crash(None)).unwrap().ballot(), Some(ballot), "votes never wait");
    }
}

#[test]
fn at_an_interval_load_puts_no_sync_off() {
    /// Each answer appends again, so that the queue is never empty when the log looks.
    fn go_on(log: Log, stop: Arc<AtomicBool>) {
        let next = log.clone();
        let again = move |_| {
            if !stop.load(Ordering::Relaxed) {
                go_on(next, stop)
            }
        };
        log.append(Vec::new(), Box::new(again));
    }
    let files = MemFiles::default();
    let options = LogOptions { durability: Durability::Interval { interval_ms: 20 }, ..small() };
    let log = Log::open(&data_dir(&files).unwrap(), options).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let before = files.syncs();
    go_on(log.clone(), stop.clone());
    append(&log, vec![usual(0)]).unwrap();
    let begin = Instant::now();
    while files.syncs() == before {
        assert!(begin.elapsed() < Duration::from_secs(5), "five seconds of load without a sync");
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(open_log(&files.after_crash(None)).unwrap().last(), Some(at(1, 0)));
}

#[test]
fn small_appends_on_the_calling_thread_are_as_durable() {
    let files = MemFiles::default();
    let log = Log::open(&data_dir(&files).unwrap(), LogOptions { inline_bytes: 4096, ..small() }).unwrap();
    let writers: Vec<_> = (0..4).map(|_| log.clone()).collect();
    let next = Arc::new(Mutex::new(0));
    std::thread::scope(|scope| {
        for log in writers {
            let next = next.clone();
            scope.spawn(move || {
                for _ in 0..100 {
                    let (done, answer) = done();
                    let mut next = next.lock().unwrap();
                    log.append_alone(vec![usual(*next)], done);
                    *next += 1;
                    drop(next);
                    wait(&answer).unwrap();
                }
            });
        }
    });
    assert_eq!(open_log(&files.after_crash(None)).unwrap().last(), Some(at(1, 399)));
}

#[test]
fn an_idle_log_notes_its_commit_position_by_itself() {
    let files = MemFiles::default();
    let log = Log::open(&data_dir(&files).unwrap(), LogOptions { mark_after_ms: 30, ..small() }).unwrap();
    fill(&log, 0..3);
    log.save_committed(at(1, 2));
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(30));
        if open_log(&files.copy()).unwrap().committed() == Some(at(1, 2)) {
            return;
        }
    }
    panic!("the commit position was not written within three seconds");
}

#[test]
fn a_closed_log_says_so() {
    for log in [open_log(&MemFiles::default()).unwrap(), Log::in_memory()] {
        fill(&log, 0..1);
        log.close();
        log.close();
        assert_eq!(append(&log, vec![usual(1)]).unwrap_err().to_string(), "the log is closed");
        assert_eq!(log.read(0..1, 1).unwrap(), [usual(0)]);
    }
}
