//! Golden files: what release 0.1 wrote can be read, and the same is written today, byte for byte.
//!
//! The files lie in `tests/golden/storage/`. A new format version gets new files beside the old ones. To make them:
//! `CONCORD_WRITE_GOLDEN=1 cargo test --lib storage::tests::golden`, then look at the difference and commit it.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::storage::Ballot;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/storage").join(name)
}

/// Compares with the file, or writes it when asked to.
fn check(name: &str, bytes: &[u8]) {
    if std::env::var_os("CONCORD_WRITE_GOLDEN").is_some() {
        fs::write(golden(name), bytes).unwrap();
    }
    let stored = fs::read(golden(name)).unwrap_or_else(|error| panic!("{name}: {error}; see the head of this file"));
    assert!(stored == bytes, "{name}: what is written today differs from what was released");
}

const SEGMENT: &str = "log/0000000000000001.log";
const SNAPSHOT: &str = "snapshot/0000000000000001.snapshot";

/// One of everything that a segment can hold.
fn write_all(files: &MemFiles) {
    let dir = data_dir(files).unwrap();
    let log = Log::open(&dir, LogOptions { mark_after_ms: 1_000_000, ..small() }).unwrap();
    append(&log, vec![entry(1, 0, b""), entry(1, 1, b"one"), entry(1, 2, b"two")]).unwrap();
    now(|done| log.save_ballot(Ballot { term: 2, node: 7, committed: true }, done)).unwrap();
    now(|done| log.truncate_after(Some(at(1, 1)), done)).unwrap();
    append(&log, vec![entry(2, 2, &[0xc7; 100])]).unwrap();
    now(|done| log.purge(at(1, 0), done)).unwrap();
    log.save_committed(at(2, 2));
    append(&log, vec![LogEntry { kind: 2, ..entry(2, 3, b"last") }]).unwrap();
    log.close();
    dir.save_note(b"note about the formation").unwrap();
    let snapshots = SnapshotStore::open(&dir, leading_number).unwrap();
    let mut writer = snapshots.create(b"header of the state machine").unwrap();
    writer.write_block(b"first block").unwrap();
    writer.write_block(&[]).unwrap();
    writer.write_block(&[7; 300]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn files_are_written_as_they_were_released() {
    let files = MemFiles::default();
    write_all(&files);
    let content = |name: &str| files.content(&Path::new(DIR).join(name));
    check("meta_v1.bin", &content("META"));
    check("formation_v1.bin", &content("FORMATION"));
    check("segment_v1.bin", &content(SEGMENT));
    check("snapshot_v1.bin", &content(SNAPSHOT));
}

#[test]
fn released_files_can_be_read() {
    let files = MemFiles::default();
    for dir in ["", "log", "snapshot"] {
        files.create_dir(&Path::new(DIR).join(dir)).unwrap();
    }
    let names = [
        ("meta_v1.bin", "META"),
        ("formation_v1.bin", "FORMATION"),
        ("segment_v1.bin", SEGMENT),
        ("snapshot_v1.bin", SNAPSHOT),
    ];
    for (golden_name, name) in names {
        files.set_content(&Path::new(DIR).join(name), fs::read(golden(golden_name)).unwrap());
    }
    let dir = DataDir::open(Path::new(DIR), Arc::new(files.clone()), || panic!("META is there")).unwrap();
    assert_eq!(dir.identity(), OWNER);
    assert_eq!(dir.read_note().unwrap().unwrap(), b"note about the formation");
    let log = Log::open(&dir, small()).unwrap();
    assert_eq!(log.recovery().repaired, None);
    assert_eq!(log.ballot(), Some(Ballot { term: 2, node: 7, committed: true }));
    assert_eq!((log.purged(), log.committed()), (Some(at(1, 0)), Some(at(2, 2))));
    let last = LogEntry { kind: 2, ..entry(2, 3, b"last") };
    assert_eq!(all(&log), [entry(1, 1, b"one"), entry(2, 2, &[0xc7; 100]), last]);
    let mut reader = SnapshotStore::open(&dir, leading_number).unwrap().latest().unwrap().open().unwrap();
    assert_eq!(reader.header(), b"header of the state machine");
    let expected = [Some(b"first block".to_vec()), Some(Vec::new()), Some(vec![7; 300]), None];
    for block in expected {
        assert_eq!(reader.next_block().unwrap(), block);
    }
}
