//! A disk that fails or is full: nothing false is acknowledged, reads go on, and space that returns is used.

use std::time::Instant;

use super::*;
use crate::ErrorKind;
use crate::storage::Ballot;

#[test]
fn a_failed_sync_ends_all_acknowledging_and_is_never_tried_again() {
    for inline_bytes in [0, 4096] {
        let files = MemFiles::default();
        // Large enough that no other file is being made meanwhile.
        let options = LogOptions { inline_bytes, segment_bytes: 64 * 1024, ..small() };
        let log = Log::open(&data_dir(&files).unwrap(), options).unwrap();
        fill(&log, 0..10);
        assert_eq!(log.failure(), None);
        files.fail_sync_after(0);
        let error = now(|done| log.append_alone(vec![usual(10)], done)).unwrap_err();
        assert!(error.to_string().contains("0000000000000001.log: injected sync failure"), "{error}");
        let failure = log.failure().expect("it is known");
        assert!(failure.contains("cannot sync") && failure.contains("nothing is acknowledged any more"), "{failure}");

        let syncs = files.syncs();
        assert!(append(&log, vec![usual(11)]).is_err());
        let ballot = Ballot { term: 5, node: 5, committed: false };
        assert!(now(|done| log.save_ballot(ballot, done)).is_err());
        assert!(now(|done| log.purge(at(1, 5), done)).is_err());
        log.close();
        assert_eq!(files.syncs(), syncs, "a second sync could succeed without the lost bytes");
        assert_eq!(log.read(9..10, 1).unwrap(), [usual(9)]);
        assert_eq!(log.failure(), Some(failure));

        let log = open_log(&files.after_crash(None)).unwrap();
        assert_eq!((log.last(), log.ballot()), (Some(at(1, 9)), None));
    }
}

#[test]
fn every_entry_under_way_hears_of_the_failure_in_order() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    files.fail_sync_after(2);
    let answers: Vec<_> = (0..100)
        .map(|index| {
            let (done, answer) = done();
            log.append(vec![usual(index)], done);
            answer
        })
        .collect();
    let outcomes: Vec<_> = answers.iter().map(|answer| wait(answer).is_ok()).collect();
    let acknowledged = outcomes.iter().take_while(|&&is_ok| is_ok).count();
    assert!(outcomes[acknowledged..].iter().all(|is_ok| !is_ok), "no answer overtakes the failure");
    let later = append(&log, vec![usual(100)]);
    if acknowledged < 100 {
        assert!(later.is_err());
    }
    let found = all(&open_log(&files.after_crash(None)).unwrap()).len();
    assert!(found >= acknowledged, "{acknowledged} acknowledged, {found} found");
}

#[test]
fn a_failed_write_is_a_failure_too() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..3);
    files.set_writes_fail(true);
    assert!(append(&log, vec![usual(3)]).is_err());
    assert!(log.failure().unwrap().contains("cannot write"));
    files.set_writes_fail(false);
    assert!(append(&log, vec![usual(4)]).is_err(), "it stays failed until it is opened again");
}

#[test]
fn a_segment_that_cannot_be_freed_is_a_failure_too() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..300);
    files.set_removals_fail(true);
    now(|done| log.purge(at(1, 250), done)).unwrap();
    append(&log, vec![usual(300)]).ok();
    log.wait_until_settled();
    let failure = log.failure().expect("it is known");
    assert!(failure.contains("cannot free segments in /data/log: injected removal failure"), "{failure}");
    assert!(append(&log, vec![usual(301)]).is_err());
    drop(log);
    let log = open_log(&files.after_crash(None)).unwrap();
    assert_eq!((log.purged(), log.recovery().repaired.clone()), (Some(at(1, 250)), None));
}

#[test]
fn asking_for_room_all_the_time_disturbs_no_change_of_segments() {
    // Who asks may begin a new spare just when the one before becomes a segment, and purges give spares as well.
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) && log.failure().is_none() {
                log.has_room(2000);
            }
        });
        for index in 0..3000 {
            append(&log, vec![usual(index)]).unwrap();
            if index % 100 == 99 {
                now(|done| log.purge(at(1, index - 10), done)).unwrap();
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    for disk in [files.copy(), files.after_crash(None), files.after_crash(Some(3))] {
        assert_eq!(all(&open_log(&disk).unwrap()), (2990..3000).map(usual).collect::<Vec<_>>());
    }
}

/// Appends while there is room; which index comes next.
fn fill_up(log: &Log, from: u64, payload_bytes: usize) -> u64 {
    let mut index = from;
    let has_room = || {
        // A spare that is being made counts as room, so wait until it is known how that ends.
        log.wait_until_settled();
        log.has_room(payload_bytes) && {
            log.wait_until_settled();
            log.has_room(payload_bytes)
        }
    };
    while has_room() {
        append(log, vec![entry(1, index, &vec![index as u8; payload_bytes])]).unwrap();
        index += 1;
        assert!(index < from + 20_000, "the disk is full, yet there is always room");
    }
    index
}

fn wait_for_room(log: &Log, payload_bytes: usize) {
    let begin = Instant::now();
    while !log.has_room(payload_bytes) {
        assert!(begin.elapsed() < Duration::from_secs(5), "space is back but not used");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_stops_writes_cleanly_and_they_go_on_when_there_is_space() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..10);
    files.set_bytes_left(Some(10_000));
    let mut next = fill_up(&log, 10, 50);
    for _ in 0..3 {
        assert!(!log.has_room(100), "still full");
        assert_eq!(log.failure(), None, "a full disk is no failure");
        assert_eq!(all(&log).len() as u64, next);
        files.set_bytes_left(Some(9_000));
        wait_for_room(&log, 100);
        let before = next;
        next = fill_up(&log, next, 50);
        assert!(next > before);
    }
    drop(log);
    assert_eq!(all(&open_log(&files).unwrap()).len() as u64, next);
}

#[test]
fn a_purge_on_a_full_disk_gives_room() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..10);
    files.set_bytes_left(Some(5000));
    let next = fill_up(&log, 10, 50);
    now(|done| log.purge(at(1, next - 1), done)).unwrap();
    wait_for_room(&log, 100);
    fill(&log, next..next + 5);
}

#[test]
fn what_is_appended_without_asking_waits_for_space() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..10);
    files.set_bytes_left(Some(0));
    let answers: Vec<_> = (10..200)
        .map(|index| {
            let (done, answer) = done();
            log.append(vec![usual(index)], done);
            answer
        })
        .collect();
    assert!(answers[189].recv_timeout(Duration::from_millis(300)).is_err(), "there is no space for all");
    files.set_bytes_left(None);
    answers.iter().for_each(|answer| wait(answer).unwrap());
    assert_eq!(all(&log).len(), 200);
}

#[test]
fn closing_does_not_wait_for_space() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..10);
    files.set_bytes_left(Some(0));
    let (done, answer) = done();
    log.append((10..200).map(usual).collect(), done);
    std::thread::sleep(Duration::from_millis(50));
    log.close();
    assert!(wait(&answer).is_err());
}

#[test]
fn opening_a_new_log_on_a_full_disk_says_so() {
    let files = MemFiles::default();
    files.set_bytes_left(Some(1000));
    let error = open_log(&files).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("no space left"), "{error}");
    files.set_bytes_left(None);
    open_log(&files).unwrap();
}

#[test]
fn a_callback_that_panics_harms_only_itself() {
    let log = open_log(&MemFiles::default()).unwrap();
    log.append(vec![usual(0)], Box::new(|_| panic!("on purpose")));
    fill(&log, 1..3);
    assert_eq!(all(&log).len(), 3);
}
