//! Snapshots: whole or not there at all.

use super::*;
use crate::ErrorKind;
use crate::storage::SnapshotFile;
use crate::storage::snapshot::SnapshotReader;

pub(super) fn store(files: &MemFiles) -> SnapshotStore {
    SnapshotStore::open(&data_dir(files).unwrap(), leading_number).unwrap()
}

pub(super) fn blocks(count: u8, bytes: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number; bytes + usize::from(number)]).collect()
}

pub(super) fn write(store: &SnapshotStore, header: &[u8], blocks: &[Vec<u8>]) -> crate::Result<SnapshotFile> {
    let mut writer = store.create(header)?;
    for block in blocks {
        writer.write_block(block)?;
    }
    writer.finish()
}

fn rest(mut reader: SnapshotReader) -> crate::Result<Vec<Vec<u8>>> {
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    assert_eq!(reader.next_block()?, None);
    Ok(blocks)
}

pub(super) fn read(snapshot: &SnapshotFile) -> crate::Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let reader = snapshot.open()?;
    Ok((reader.header().to_vec(), rest(reader)?))
}

pub(super) fn snapshot_paths(files: &MemFiles) -> Vec<std::path::PathBuf> {
    files.paths().into_iter().filter(|path| path.to_string_lossy().contains("/snapshot/")).collect()
}

#[test]
fn the_newest_is_kept_and_the_one_before_goes() {
    let files = MemFiles::default();
    let snapshots = store(&files);
    assert!(snapshots.latest().is_none());
    let first = write(&snapshots, b"first", &blocks(3, 100)).unwrap();
    let large = blocks(5, 700_000);
    write(&snapshots, b"second", &large).unwrap();
    assert_eq!(read(&snapshots.latest().unwrap()).unwrap(), (b"second".to_vec(), large.clone()));
    assert_eq!(read(&first).unwrap().1, blocks(3, 100), "who holds the old one reads on");
    assert_eq!(snapshot_paths(&files).len(), 1);
    drop(snapshots);
    assert_eq!(read(&store(&files).latest().unwrap()).unwrap(), (b"second".to_vec(), large));
}

#[test]
fn one_that_is_not_finished_leaves_nothing() {
    let files = MemFiles::default();
    let snapshots = store(&files);
    write(&snapshots, b"good", &[]).unwrap();
    let mut begun = snapshots.create(b"begun").unwrap();
    begun.write_block(&[1; 2_000_000]).unwrap();
    assert_eq!(snapshot_paths(&files).len(), 2);
    drop(begun);
    assert_eq!(snapshot_paths(&files).len(), 1);
    assert_eq!(read(&snapshots.latest().unwrap()).unwrap().0, b"good");
}

#[test]
fn the_disk_never_has_more_than_a_megabyte_to_write_at_once() {
    let files = MemFiles::default();
    let snapshots = store(&files);
    let before = files.syncs();
    write(&snapshots, b"", &blocks(10, 1_000_000)).unwrap();
    assert!(files.syncs() - before >= 10);
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_one_or_the_new_one() {
    let base = MemFiles::default();
    write(&store(&base), b"old", &blocks(2, 500)).unwrap();
    for crash_at in 0..40 {
        let files = base.copy();
        let snapshots = store(&files);
        files.crash_at_operation(files.operations() + crash_at);
        let written = write(&snapshots, b"new", &blocks(4, 400_000));
        for torn_seed in [None, Some(crash_at)] {
            let disk = files.after_crash(torn_seed);
            let snapshots = store(&disk);
            let found = read(&snapshots.latest().expect("one is always there")).unwrap();
            if found.0 == b"old" {
                assert!(written.is_err());
                assert_eq!(found.1, blocks(2, 500));
            } else {
                assert_eq!(found, (b"new".to_vec(), blocks(4, 400_000)));
            }
            assert_eq!(snapshot_paths(&disk).len(), 1, "what is left over goes at the start");
        }
    }
}

#[test]
fn ten_thousand_changed_bytes_are_all_noticed() {
    let files = MemFiles::default();
    write(&store(&files), b"header", &blocks(12, 150)).unwrap();
    let path = snapshot_paths(&files).pop().unwrap();
    let good = files.content(&path);
    let mut random = Random(11);
    let opened = data_dir(&files).unwrap();
    for _ in 0..10_000 {
        let mut bytes = good.clone();
        let place = random.below(bytes.len() as u64) as usize;
        bytes[place] ^= 1 << random.below(8);
        files.set_content(&path, bytes);
        let read = SnapshotStore::open(&opened, leading_number).and_then(|store| read(&store.latest().unwrap()));
        // The node that wrote it is the only thing that may differ, and that is under the head's checksum.
        let error = read.expect_err("a changed byte must be noticed");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("0000000000000001.snapshot is damaged at offset"), "{error}");
    }
    for length in 0..good.len() {
        files.set_content(&path, good[..length].to_vec());
        let read = SnapshotStore::open(&opened, leading_number).and_then(|store| read(&store.latest().unwrap()));
        assert_eq!(read.expect_err("a cut must be noticed").kind(), ErrorKind::Corrupt);
    }
    files.set_content(&path, [&good[..], &[0]].concat());
    let longer = SnapshotStore::open(&opened, leading_number).and_then(|store| read(&store.latest().unwrap()));
    assert!(longer.is_err());
}
