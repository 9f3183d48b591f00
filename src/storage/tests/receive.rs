//! Snapshots that come from another node: verified before they count, and never a step back.

use super::snapshot::{blocks, read, snapshot_paths, store, write};
use super::*;
use crate::ErrorKind;
use crate::storage::{SnapshotFile, SnapshotReceiver};

const OTHER: Identity = Identity { node_id: 8, ..OWNER };

/// A snapshot of another node of the cluster.
fn theirs(header: &[u8], blocks: &[Vec<u8>]) -> SnapshotFile {
    write(&SnapshotStore::in_memory(OTHER, leading_number), header, blocks).unwrap()
}

fn send(from: &SnapshotFile, to: &mut SnapshotReceiver, chunk_bytes: usize) -> crate::Result<()> {
    loop {
        let offset = to.received();
        let chunk = from.chunk(offset, chunk_bytes)?;
        if chunk.is_empty() {
            return Ok(());
        }
        to.write(offset, &chunk)?;
    }
}

fn receive(from: &SnapshotFile, store: &SnapshotStore) -> crate::Result<SnapshotFile> {
    let mut receiver = store.receive()?;
    send(from, &mut receiver, 65_536)?;
    receiver.finish()
}

#[test]
fn one_from_another_node_is_verified_before_it_counts() {
    let files = MemFiles::default();
    let (mine, sent) = (store(&files), theirs(b"theirs", &blocks(6, 90_000)));
    write(&mine, b"mine", &[]).unwrap();
    for place in (0..sent.bytes()).step_by(7_919) {
        let mut bytes = sent.chunk(0, usize::MAX).unwrap();
        // The node that wrote it may be any, but that is under the head's checksum too.
        bytes[place as usize] ^= 1;
        let mut receiver = mine.receive().unwrap();
        receiver.write(0, &bytes).unwrap();
        assert_eq!(receiver.finish().err().expect("a changed byte").kind(), ErrorKind::Corrupt);
    }
    for bytes in [0, 10, 47, 48, 60, sent.bytes() as usize - 1] {
        let mut receiver = mine.receive().unwrap();
        receiver.write(0, &sent.chunk(0, bytes).unwrap()).unwrap();
        assert_eq!(receiver.finish().err().expect("a cut").kind(), ErrorKind::Corrupt);
    }
    assert_eq!(read(&mine.latest().unwrap()).unwrap().0, b"mine");
    assert_eq!(snapshot_paths(&files).len(), 1);
    let received = receive(&sent, &mine).unwrap();
    assert_eq!(read(&received).unwrap(), (b"theirs".to_vec(), blocks(6, 90_000)));
    drop(mine);
    assert_eq!(read(&store(&files).latest().unwrap()).unwrap().0, b"theirs");

    let stranger = SnapshotStore::in_memory(Identity { cluster_id: 5, node_id: 8 }, leading_number);
    let foreign = write(&stranger, b"", &[]).unwrap();
    let error = receive(&foreign, &store(&files)).err().unwrap();
    assert!(error.message().contains("belongs to another cluster"), "{error}");
}

#[test]
fn bytes_come_in_order_or_again_from_the_beginning() {
    let files = MemFiles::default();
    let (mine, sent) = (store(&files), theirs(b"theirs", &blocks(4, 200_000)));
    let mut receiver = mine.receive().unwrap();
    let chunk = |offset| sent.chunk(offset, 100_000).unwrap();
    receiver.write(0, &chunk(0)).unwrap();
    for offset in [1, 99_999, 100_001, 200_000] {
        let error = receiver.write(offset, &chunk(offset)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConditionFailed);
        assert!(error.message().contains("do not follow the 100000 received; begin again at offset 0"), "{error}");
    }
    for upto in [1, 3, 5] {
        receiver.write(0, &chunk(0)).unwrap();
        for number in 1..upto {
            receiver.write(number * 100_000, &chunk(number * 100_000)).unwrap();
        }
        assert_eq!(snapshot_paths(&files).len(), 1, "what came before is gone");
    }
    send(&sent, &mut receiver, 100_000).unwrap();
    assert_eq!(read(&receiver.finish().unwrap()).unwrap().1, blocks(4, 200_000));
    let mut dropped = mine.receive().unwrap();
    send(&sent, &mut dropped, 1000).unwrap();
    drop(dropped);
    assert_eq!(snapshot_paths(&files).len(), 1);
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_one_or_the_new_one() {
    let sent = theirs(b"new", &blocks(4, 300_000));
    let base = MemFiles::default();
    write(&store(&base), b"old", &blocks(2, 500)).unwrap();
    let mut outcomes = [0, 0];
    for crash_at in 0..30 {
        let files = base.copy();
        let mine = store(&files);
        files.crash_at_operation(files.operations() + crash_at);
        let received = receive(&sent, &mine);
        for torn_seed in [None, Some(crash_at), Some(crash_at + 100)] {
            let disk = files.after_crash(torn_seed);
            let found = read(&store(&disk).latest().expect("one is always there")).unwrap();
            let is_new = found.0 == b"new";
            assert!(is_new || received.is_err(), "crash at {crash_at}, torn {torn_seed:?}: it counted and is lost");
            assert_eq!(found.1, if is_new { blocks(4, 300_000) } else { blocks(2, 500) });
            assert_eq!(snapshot_paths(&disk).len(), 1, "what is left over goes at the start");
            outcomes[usize::from(is_new)] += 1;
        }
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 10, "{outcomes:?}");
}

#[test]
fn of_several_at_the_same_time_the_one_that_reaches_furthest_stays() {
    let files = MemFiles::default();
    let mine = store(&files);
    let (third, fifth) = (theirs(b"3", &blocks(3, 100_000)), theirs(b"5", &blocks(5, 100_000)));
    let (mut slow, mut other, mut early) = (mine.receive().unwrap(), mine.receive().unwrap(), mine.receive().unwrap());
    send(&third, &mut slow, 10_000).unwrap();
    send(&fifth, &mut other, 10_000).unwrap();
    send(&third, &mut early, 10_000).unwrap();
    let slow_local = mine.create(b"4").unwrap();
    early.finish().unwrap();
    assert_eq!(read(&mine.latest().unwrap()).unwrap().0, b"3");
    let passed_by = mine.latest().unwrap();
    // A receiver lives where it likes.
    std::thread::spawn(move || other.finish().unwrap()).join().unwrap();
    let late = slow.finish().unwrap();
    let late_local = slow_local.finish().unwrap();
    assert_eq!(read(&mine.latest().unwrap()).unwrap().0, b"5", "going back would lose what the log has given up");
    assert_eq!(read(&late).unwrap().1, blocks(3, 100_000), "who holds an overtaken one can read it");
    assert_eq!(read(&late_local).unwrap().0, b"4");
    assert_eq!(read(&passed_by).unwrap().0, b"3");
    assert_eq!(snapshot_paths(&files).len(), 1);
    write(&mine, b"6 of our own", &[]).unwrap();
    drop(mine);
    assert_eq!(read(&store(&files).latest().unwrap()).unwrap().0, b"6 of our own");
}

#[test]
fn a_disk_that_fails_on_the_way_is_not_trusted_again() {
    let files = MemFiles::default();
    let (mine, sent) = (store(&files), theirs(b"theirs", &blocks(9, 100_000)));
    let mut receiver = mine.receive().unwrap();
    files.fail_sync_after(1);
    assert_eq!(send(&sent, &mut receiver, 50_000).unwrap_err().kind(), ErrorKind::Io);
    let received = receiver.received();
    let goes_on = sent.chunk(received, usize::MAX).unwrap();
    let error = receiver.write(received, &goes_on).and_then(|()| receiver.finish().map(drop)).unwrap_err();
    assert!(error.message().contains("begin the snapshot again"), "{error}");
    assert_eq!(snapshot_paths(&files).len(), 0);

    files.set_bytes_left(Some(300_000));
    let mut receiver = mine.receive().unwrap();
    let error = send(&sent, &mut receiver, 50_000).unwrap_err();
    assert!(crate::storage::is_disk_full(&error));
    files.set_bytes_left(None);
    receiver.write(0, &sent.chunk(0, 70_000).unwrap()).unwrap();
    send(&sent, &mut receiver, 50_000).unwrap();
    assert_eq!(read(&receiver.finish().unwrap()).unwrap().1, blocks(9, 100_000));
}

#[test]
fn nodes_that_keep_nothing_on_disk_send_and_receive_as_well() {
    let files = MemFiles::default();
    let memory = || SnapshotStore::in_memory(OTHER, leading_number);
    let (first, second) = (memory(), memory());
    assert!(first.latest().is_none());
    let large = blocks(7, 123_457);
    let (on_disk, written) = (store(&files), write(&first, b"1", &large).unwrap());
    receive(&written, &on_disk).unwrap();
    receive(&on_disk.latest().unwrap(), &second).unwrap();
    assert_eq!(read(&second.latest().unwrap()).unwrap(), (b"1".to_vec(), large.clone()));
    write(&second, b"2", &[]).unwrap();
    receive(&written, &second).unwrap();
    assert_eq!(read(&second.latest().unwrap()).unwrap().0, b"2");
    let here = on_disk.latest().unwrap();
    assert_eq!(here.bytes(), written.bytes());
    for offset in (0..written.bytes() + 2).step_by(65_535) {
        assert!(here.chunk(offset, 65_537).unwrap() == written.chunk(offset, 65_537).unwrap());
    }
}
