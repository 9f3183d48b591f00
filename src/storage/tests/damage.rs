//! Damaged files: an error that names file and offset, or a right answer; never a panic, a hang, or silence.

use std::path::PathBuf;

use super::*;
use crate::ErrorKind;
use crate::storage::log::SegmentHead;

fn segments(files: &MemFiles) -> Vec<PathBuf> {
    files.paths().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

/// A log of several segments, closed as it should be.
fn closed_log() -> (MemFiles, Vec<LogEntry>) {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..60);
    now(|done| log.truncate_after(Some(at(1, 49)), done)).unwrap();
    now(|done| log.save_ballot(super::super::Ballot { term: 2, node: 1, committed: true }, done)).unwrap();
    for index in 50..150 {
        append(&log, vec![entry(2, index, &vec![index as u8; 10 + index as usize])]).unwrap();
    }
    now(|done| log.purge(at(1, 30), done)).unwrap();
    let entries = all(&log);
    log.close();
    (files, entries)
}

fn end_of_frames(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).unwrap()
}

#[test]
fn ten_thousand_changed_bytes_never_cost_an_entry() {
    let (files, entries) = closed_log();
    let paths = segments(&files);
    assert!(paths.len() > 3);
    let mut random = Random(3);
    let (mut refused, mut fine) = (0, 0);
    for _ in 0..10_000 {
        let path = &paths[random.below(paths.len() as u64) as usize];
        let mut bytes = files.content(path);
        let place = random.below(bytes.len() as u64) as usize;
        bytes[place] ^= 1 << random.below(8);
        let disk = files.copy();
        disk.set_content(path, bytes.clone());
        match open_log(&disk) {
            Ok(log) => {
                fine += 1;
                assert_eq!(all(&log), entries, "{} byte {place}", path.display());
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.message().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
                assert!(error.message().contains("offset"), "{error}");
                assert_eq!(disk.content(path), bytes, "nothing on disk may change");
            }
        }
    }
    assert!(refused > 7000 && fine > 100, "{refused} refused, {fine} fine");
}

#[test]
fn damage_that_happens_while_the_log_is_open_is_found_by_the_read() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..100);
    let path = &segments(&files)[1];
    let file = files.open(path).unwrap();
    file.write_at(&[0xff; 4], 1000).unwrap();
    let error = (0..100).find_map(|index| log.read(index..100, usize::MAX).err()).expect("the damage is met");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("0000000000000002.log is damaged at offset"), "{error}");
}

#[test]
fn a_torn_end_is_repaired_and_reported_once() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..20);
    // As after a crash in the middle of a write that nobody was told of: the last frame is half there.
    let disk = files.copy();
    let path = segments(&disk).pop().unwrap();
    let mut bytes = disk.content(&path);
    let end = end_of_frames(&bytes);
    bytes[end - 10..].fill(0);
    disk.set_content(&path, bytes);
    let log = open_log(&disk).unwrap();
    let repaired = log.recovery().repaired.clone().expect("the repair is reported");
    assert!(repaired.contains("removed a write that was torn by a crash at offset"), "{repaired}");
    assert_eq!(all(&log), (0..19).map(usual).collect::<Vec<_>>());
    fill(&log, 19..21);
    drop(log);
    assert_eq!(open_log(&disk).unwrap().recovery().repaired, None);
}

#[test]
fn a_file_cut_short_is_a_torn_end_too() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..20);
    let path = segments(&files).pop().unwrap();
    let whole = files.content(&path);
    for cut in [end_of_frames(&whole) + 1, end_of_frames(&whole) - 5] {
        let disk = files.copy();
        disk.set_content(&path, whole[..cut].to_vec());
        let log = open_log(&disk).unwrap();
        assert!(log.recovery().repaired.is_some());
        assert!(all(&log).len() >= 19);
        fill(&log, all(&log).len() as u64..25);
        drop(log);
        assert_eq!(all(&open_log(&disk).unwrap()).len(), 25);
    }
}

#[test]
fn zeros_in_the_middle_are_damage_not_an_end() {
    let (files, _) = closed_log();
    for path in segments(&files) {
        let mut bytes = files.content(&path);
        let end = end_of_frames(&bytes);
        let middle = 256 + (end - 256) / 3 / 8 * 8;
        bytes[middle..end - 40].fill(0);
        let disk = files.copy();
        disk.set_content(&path, bytes);
        let error = open_log(&disk).err().expect("it must be refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    let (files, _) = closed_log();
    let paths = segments(&files);
    for missing in &paths[..paths.len() - 1] {
        let disk = files.copy();
        disk.erase(missing);
        let error = open_log(&disk).err().expect("it must be refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("missing"), "{error}");
    }
}

#[test]
fn a_log_that_is_gone_altogether_is_noticed_too() {
    // A node that has forgotten its votes must not vote again as if it were new.
    let (files, _) = closed_log();
    segments(&files).iter().for_each(|path| files.erase(path));
    let error = open_log(&files).err().expect("it must be refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("the log that was here is missing"), "{error}");
}

#[test]
fn leftovers_of_purged_segments_go_even_with_a_hole_between_them() {
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..200);
    let old = files.copy();
    now(|done| log.purge(at(1, 199), done)).unwrap();
    log.close();
    let oldest = &segments(&old)[0];
    assert!(!segments(&files).contains(oldest));
    files.set_content(oldest, old.content(oldest));
    let disk = files.copy();
    let log = open_log(&disk).unwrap();
    assert_eq!((log.last(), log.purged()), (Some(at(1, 199)), Some(at(1, 199))));
    assert!(!segments(&disk).contains(oldest));
}

#[test]
fn segments_of_another_node_or_a_newer_release_are_refused() {
    let (files, _) = closed_log();
    let path = segments(&files).pop().unwrap();
    let other = MemFiles::default();
    let stranger = Identity { node_id: 8, ..OWNER };
    let dir = DataDir::open(Path::new(DIR), Arc::new(other.clone()), || stranger).unwrap();
    Log::open(&dir, small()).unwrap().close();
    let mine = &segments(&other)[0];
    let disk = files.copy();
    for path in segments(&files) {
        disk.erase(&path);
    }
    disk.set_content(mine, other.content(mine));
    let error = open_log(&disk).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("belongs to another node or cluster"), "{error}");

    let mut bytes = files.content(&path);
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..252]);
    bytes[252..256].copy_from_slice(&crc.to_le_bytes());
    let disk = files.copy();
    disk.set_content(&path, bytes);
    let error = open_log(&disk).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("has format 2, this release of Concord knows 1"), "{error}");
}

#[test]
fn frames_of_a_recycled_file_never_come_back() {
    // A segment is filled, purged just when the next one is new, recycled, and filled again with less: its old frames
    // lie behind the new ones.
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    let spare = Path::new(DIR).join("log/spare");
    let mut next = 0;
    let fill_segment = |next: &mut u64| {
        let newest = segments(&files).pop();
        while segments(&files).pop() == newest {
            fill(&log, *next..*next + 1);
            *next += 1;
        }
    };
    for round in 0..5 {
        fill_segment(&mut next);
        now(|done| log.purge(at(1, next - 2), done)).unwrap();
        fill(&log, next..next + 1);
        next += 1;
        log.wait_until_settled();
        assert!(files.content(&spare)[256..].iter().any(|&byte| byte != 0), "the old segment is the spare");
        fill_segment(&mut next);
        fill(&log, next..next + round);
        next += round;
        let disk = files.copy();
        let newest = disk.content(&segments(&disk).pop().unwrap());
        assert!(newest[3000..].iter().any(|&byte| byte != 0), "old frames lie behind the new ones");
        let reopened = open_log(&disk).unwrap();
        assert_eq!(reopened.recovery().repaired, None, "nothing was torn");
        assert_eq!((all(&reopened), reopened.last()), (all(&log), Some(at(1, next - 1))));
    }
}

#[test]
fn what_is_left_of_a_torn_write_is_wiped() {
    // Three entries went out in one write; the first page was lost, the others are there. None was acknowledged.
    let files = MemFiles::default();
    let log = open_log(&files).unwrap();
    fill(&log, 0..5);
    let path = segments(&files).pop().unwrap();
    let end = end_of_frames(&files.content(&path)) / 8 * 8 + 8;
    append(&log, (5..8).map(usual).collect()).unwrap();
    let mut bytes = files.content(&path);
    bytes[end + 30] ^= 1;
    let disk = files.copy();
    disk.set_content(&path, bytes);
    let log = open_log(&disk).unwrap();
    assert_eq!(log.last(), Some(at(1, 4)));
    assert!(log.recovery().repaired.is_some());
    assert!(disk.content(&path)[end..].iter().all(|&byte| byte == 0), "else it could pass for live frames later");
    // The same when the write's first page is as it was before: zeros.
    let mut bytes = files.content(&path);
    bytes[end..end + 24].fill(0);
    let disk = files.copy();
    disk.set_content(&path, bytes);
    let log = open_log(&disk).unwrap();
    assert!(log.recovery().repaired.is_some());
    assert!(disk.content(&path)[end..].iter().all(|&byte| byte == 0));
}

#[test]
fn random_bytes_as_a_segment_are_refused_quickly() {
    let (files, _) = closed_log();
    let path = segments(&files).pop().unwrap();
    let head = SegmentHead::decode(&files.content(&path)[..256], &path).unwrap();
    let mut random = Random(9);
    for round in 0..300 {
        let disk = files.copy();
        let mut bytes: Vec<u8> = (0..4096).map(|_| random.next() as u8).collect();
        if round % 2 == 0 {
            // A sound head over garbage: no frame follows, so nothing of it can have been durable.
            bytes[..256].copy_from_slice(&head.encode());
        }
        disk.set_content(&path, bytes);
        match open_log(&disk) {
            Ok(log) => assert!(log.recovery().repaired.is_some()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }
}
