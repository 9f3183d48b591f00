//! The machine crashes at every single operation: what was acknowledged is there afterwards, and the log opens.

use std::sync::Mutex;

use super::*;
use crate::storage::Ballot;

/// What a run knows of itself when the machine stops.
#[derive(Default)]
struct Known {
    entries: Vec<LogEntry>,
    ballots: Vec<Ballot>,
    acknowledged_ballots: usize,
    purges: Vec<LogPosition>,
    acknowledged_purges: usize,
    /// Entries acknowledged, by number.
    acknowledged: u64,
    /// Entries after this one may be gone: a truncation is under way.
    may_be_truncated_to: u64,
}

/// Appends alone and in bursts, truncates, purges, saves ballots, until the crash stops it.
fn live(log: &Log, known: &mut Known, random: &mut Random) -> io::Result<()> {
    for round in 0..24 {
        let mut answers = Vec::new();
        for _ in 0..random.below(6) {
            let first = known.entries.len() as u64;
            let size = |random: &mut Random| random.below(700) as usize;
            let entries: Vec<_> = (first..first + 1 + random.below(3))
                .map(|index| entry(round, index, &vec![index as u8; size(random)]))
                .collect();
            let (done, answer) = done();
            known.entries.extend(entries.clone());
            log.append_alone(entries, done);
            answers.push((known.entries.len() as u64, answer));
        }
        for (count, answer) in answers {
            wait(&answer)?;
            known.acknowledged = count;
        }
        known.may_be_truncated_to = u64::MAX;
        match round % 4 {
            0 => {
                let ballot = Ballot { term: round, node: 1, committed: round % 8 == 0 };
                known.ballots.push(ballot);
                now(|done| log.save_ballot(ballot, done))?;
                known.acknowledged_ballots = known.ballots.len();
            }
            1 if known.entries.len() > 8 => {
                let last = known.entries[known.entries.len() - 3].position;
                known.may_be_truncated_to = last.index;
                now(|done| log.truncate_after(Some(last), done))?;
                known.entries.truncate(last.index as usize + 1);
                known.acknowledged = known.entries.len() as u64;
            }
            3 if known.entries.len() > 8 => {
                let upto = known.entries[known.entries.len() * 2 / 3].position;
                known.purges.push(upto);
                now(|done| log.purge(upto, done))?;
                known.acknowledged_purges = known.purges.len();
            }
            _ => {}
        }
    }
    log.close();
    Ok(())
}

fn check(log: &Log, known: &Known, what: &str) {
    let allowed = &known.ballots[known.acknowledged_ballots.saturating_sub(1)..];
    match log.ballot() {
        Some(ballot) => assert!(allowed.contains(&ballot), "{what}: ballot {ballot:?}"),
        None => assert_eq!(known.acknowledged_ballots, 0, "{what}: the ballot is lost"),
    }
    let allowed = &known.purges[known.acknowledged_purges.saturating_sub(1)..];
    match log.purged() {
        Some(purged) => assert!(allowed.contains(&purged), "{what}: purged {purged:?}"),
        None => assert_eq!(known.acknowledged_purges, 0, "{what}: the purge mark is lost"),
    }
    let first = log.purged().map_or(0, |purged| purged.index + 1);
    let found = all(log);
    let must_end = known.acknowledged.min(known.may_be_truncated_to.saturating_add(1));
    let end = first + found.len() as u64;
    assert!(end >= must_end, "{what}: acknowledged up to {must_end}, found up to {end}");
    assert_eq!(found, known.entries[first as usize..end as usize], "{what}");
}

fn options(inline_bytes: usize, durability: Durability) -> LogOptions {
    LogOptions { inline_bytes, durability, ..small() }
}

fn run(files: &MemFiles, options: LogOptions, seed: u64) -> Known {
    let mut known = Known { may_be_truncated_to: u64::MAX, ..Known::default() };
    if let Ok(log) = data_dir(files).and_then(|dir| Log::open(&dir, options)) {
        live(&log, &mut known, &mut Random(seed)).ok();
    }
    known
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    for inline_bytes in [0, 1000] {
        let files = MemFiles::default();
        run(&files, options(inline_bytes, Durability::Always), 5);
        let operations = files.operations();
        assert!(operations > 200, "{operations} operations");
        for crash_at in 0..operations {
            let files = MemFiles::default();
            files.crash_at_operation(crash_at);
            let known = run(&files, options(inline_bytes, Durability::Always), 5);
            for torn_seed in [None, Some(1), Some(crash_at * 2 + 3)] {
                let what = format!("crash at {crash_at}, torn {torn_seed:?}, inline {inline_bytes}");
                let disk = files.after_crash(torn_seed);
                check(&open_log(&disk).unwrap_or_else(|error| panic!("{what}: {error}")), &known, &what);
            }
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let mut repaired = 0;
    for crash_at in (20..200).step_by(3) {
        let files = MemFiles::default();
        files.crash_at_operation(crash_at);
        let known = run(&files, options(0, Durability::Always), 6);
        let disk = files.after_crash(Some(crash_at));
        for second in 0..12 {
            let disk = disk.after_crash(None);
            disk.crash_at_operation(second);
            drop(open_log(&disk));
            let what = format!("crash at {crash_at}, then at {second}");
            let disk = disk.after_crash(Some(second));
            let log = open_log(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            check(&log, &known, &what);
            repaired += u32::from(log.recovery().repaired.is_some());
            let next = log.last().map_or(0, |last| last.index + 1);
            append(&log, vec![entry(99, next, b"goes on")]).unwrap();
        }
    }
    assert!(repaired > 0, "no torn write was met");
}

#[test]
fn at_an_interval_a_crash_costs_the_end_but_never_the_whole_log() {
    for crash_at in (20..160).step_by(3) {
        let files = MemFiles::default();
        files.crash_at_operation(crash_at);
        let known = run(&files, options(500, Durability::Interval { interval_ms: 5 }), 7);
        for torn_seed in [None, Some(crash_at), Some(crash_at + 1000)] {
            let disk = files.after_crash(torn_seed);
            let log =
                open_log(&disk).unwrap_or_else(|error| panic!("crash at {crash_at}, torn {torn_seed:?}: {error}"));
            let first = log.purged().map_or(0, |purged| purged.index + 1);
            let found = all(&log);
            for (found, index) in found.iter().zip(first..) {
                assert_eq!(found.position.index, index, "crash at {crash_at}, torn {torn_seed:?}");
            }
            assert!(log.purged().is_none_or(|purged| known.purges.contains(&purged)));
            let next = log.last().map_or(0, |last| last.index + 1);
            append(&log, vec![entry(99, next, b"goes on")]).unwrap();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_either() {
    // What was written is in the page cache and survives the process: the same bytes, no sync.
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    let answered = Arc::new(Mutex::new(0));
    for index in 0..300 {
        let count = answered.clone();
        log.append(vec![usual(index)], Box::new(move |outcome| *count.lock().unwrap() += u64::from(outcome.is_ok())));
        if index % 10 == 0 {
            let acknowledged = *answered.lock().unwrap();
            let killed = open_log(&files.copy()).unwrap();
            assert!(all(&killed).len() as u64 >= acknowledged);
        }
    }
}
