//! A node on its way into a cluster, and a data directory on its way into another: every crash leaves something that opens.

use super::*;
use crate::ErrorKind;
use crate::storage::Replacement;

const LONER: Identity = Identity { cluster_id: 0, node_id: 7 };
const CLUSTER: u128 = 0xabc;

fn open_loner(files: &MemFiles) -> DataDir {
    DataDir::open(Path::new(DIR), Arc::new(files.clone()), || LONER).unwrap()
}

#[test]
fn a_node_is_adopted_once() {
    let files = MemFiles::default();
    let dir = open_loner(&files);
    assert_eq!(dir.adopt(0).unwrap_err().kind(), ErrorKind::InvalidConfig);
    dir.adopt(CLUSTER).unwrap();
    dir.adopt(CLUSTER).unwrap();
    let error = dir.adopt(CLUSTER + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("give the node an empty data_dir"), "{error}");
    let log = Log::open(&dir, small()).unwrap();
    fill(&log, 0..3);
    drop((log, dir));
    let dir = open_loner(&files.after_crash(None));
    assert_eq!(dir.identity(), Identity { cluster_id: CLUSTER, ..LONER });
    assert_eq!(all(&Log::open(&dir, small()).unwrap()).len(), 3);
}

#[test]
#[should_panic(expected = "adopted before its log")]
fn there_is_no_log_before_there_is_a_cluster() {
    Log::open(&open_loner(&MemFiles::default()), small()).ok();
}

#[test]
fn a_crash_while_it_is_adopted_leaves_it_free_or_adopted() {
    for crash_at in 0..8 {
        let files = MemFiles::default();
        let dir = open_loner(&files);
        files.crash_at_operation(files.operations() + crash_at);
        let adopted = dir.adopt(CLUSTER).is_ok();
        assert_eq!(dir.identity().cluster_id != 0, adopted);
        for torn_seed in [None, Some(crash_at), Some(crash_at + 50)] {
            let dir = open_loner(&files.after_crash(torn_seed));
            let found = dir.identity().cluster_id;
            assert!(found == CLUSTER || (found == 0 && !adopted), "crash at {crash_at}: {found}");
            dir.adopt(CLUSTER).unwrap();
        }
    }
}

#[test]
fn the_note_is_whole_or_the_one_before() {
    let files = MemFiles::default();
    let dir = open_loner(&files);
    assert_eq!(dir.read_note().unwrap(), None);
    dir.remove_note().unwrap();
    for note in [&b""[..], b"who agreed", &[7; 4096]] {
        dir.save_note(note).unwrap();
        assert_eq!(dir.read_note().unwrap().unwrap(), note);
    }
    assert_eq!(dir.save_note(&[0; 4097]).unwrap_err().kind(), ErrorKind::ValueTooLarge);
    dir.save_note(b"old").unwrap();
    let base = files.copy();
    for crash_at in 0..10 {
        let files = base.copy();
        let dir = open_loner(&files);
        files.crash_at_operation(files.operations() + crash_at);
        let saved = dir.save_note(b"new").is_ok();
        let removed = saved && dir.remove_note().is_ok();
        for torn_seed in [None, Some(crash_at), Some(crash_at + 50)] {
            let found = open_loner(&files.after_crash(torn_seed)).read_note().unwrap();
            let allowed: &[Option<&[u8]>] = match (saved, removed) {
                (_, true) => &[None],
                (true, false) => &[Some(b"new"), None],
                (false, false) => &[Some(b"old"), Some(b"new")],
            };
            assert!(allowed.contains(&found.as_deref()), "crash at {crash_at}: {found:?}");
        }
    }
    let path = Path::new(DIR).join("FORMATION");
    let good = base.content(&path);
    let dir = open_loner(&base);
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 4;
        base.set_content(&path, bytes);
        assert_eq!(dir.read_note().unwrap_err().kind(), ErrorKind::Corrupt, "byte {place}");
        base.set_content(&path, good[..place].to_vec());
        assert_eq!(dir.read_note().unwrap_err().kind(), ErrorKind::Corrupt, "cut at {place}");
    }
}

#[test]
fn a_note_that_failed_to_be_written_can_be_written_again() {
    let files = MemFiles::default();
    let dir = open_loner(&files);
    files.set_bytes_left(Some(0));
    assert!(crate::storage::is_disk_full(&dir.save_note(b"note").unwrap_err()));
    assert!(dir.adopt(CLUSTER).is_err());
    files.set_bytes_left(None);
    dir.save_note(b"note").unwrap();
    dir.adopt(CLUSTER).unwrap();
    assert_eq!(dir.read_note().unwrap().unwrap(), b"note");
}

const RECOVERED: Identity = Identity { cluster_id: 0xdef, node_id: 7 };
const KEPT: &str = "/data.before-recovery-20261121T130000Z";

/// What `concord recover` does with the files.
fn recover(files: &MemFiles) -> crate::Result<()> {
    let shared: Arc<dyn Files> = Arc::new(files.clone());
    if Replacement::complete(Path::new(DIR), &shared)? {
        return Ok(());
    }
    let old = DataDir::open_existing(Path::new(DIR), shared)?;
    let state = SnapshotStore::open(&old, leading_number)?.latest().expect("there was one");
    let replacement = Replacement::begin(old, RECOVERED)?;
    let snapshots = SnapshotStore::open(replacement.fresh(), leading_number)?;
    let mut reader = state.open()?;
    let mut writer = snapshots.create(reader.header())?;
    while let Some(block) = reader.next_block()? {
        writer.write_block(&block)?;
    }
    writer.finish()?;
    drop(snapshots);
    assert_eq!(replacement.swap("20261121T130000Z")?, Path::new(KEPT));
    Ok(())
}

#[test]
fn a_crash_during_recovery_leaves_the_old_directory_the_new_one_or_a_word_of_what_to_do() {
    let base = MemFiles::default();
    let dir = data_dir(&base).unwrap();
    fill(&Log::open(&dir, small()).unwrap(), 0..30);
    let snapshots = SnapshotStore::open(&dir, leading_number).unwrap();
    let mut writer = snapshots.create(b"state").unwrap();
    writer.write_block(b"precious").unwrap();
    writer.finish().unwrap();
    drop((dir, snapshots));
    let mut seen = [0; 3];
    for crash_at in 0..60 {
        let files = base.copy();
        files.crash_at_operation(crash_at);
        let is_done = recover(&files).is_ok();
        for torn_seed in [None, Some(crash_at), Some(crash_at + 1000)] {
            let disk = files.after_crash(torn_seed);
            let what = format!("crash at {crash_at}, torn {torn_seed:?}");
            match data_dir(&disk) {
                Ok(dir) if dir.identity() == OWNER => {
                    assert!(!is_done, "{what}");
                    seen[0] += 1;
                    assert_eq!(all(&Log::open(&dir, small()).unwrap()).len(), 30, "{what}");
                    drop(dir);
                    recover(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                Ok(dir) => {
                    assert_eq!(dir.identity(), RECOVERED, "{what}");
                    seen[1] += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{what}");
                    assert!(error.message().contains("run `concord recover` again, or rename /data.recovered"));
                    seen[2] += 1;
                    recover(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
            }
            let dir = data_dir(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(dir.identity(), RECOVERED);
            let state = SnapshotStore::open(&dir, leading_number).unwrap().latest().unwrap();
            assert_eq!(state.open().unwrap().next_block().unwrap().unwrap(), b"precious");
            assert_eq!(Log::open(&dir, small()).unwrap().last(), None);
            let kept = DataDir::open_existing(Path::new(KEPT), Arc::new(disk.clone())).unwrap();
            assert_eq!((kept.identity(), all(&Log::open(&kept, small()).unwrap()).len()), (OWNER, 30));
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "old, new, in between: {seen:?}");
}

#[test]
fn a_real_directory_is_replaced_and_stays_locked_meanwhile() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("node");
    let files: Arc<dyn Files> = Arc::new(crate::storage::RealFiles);
    let missing = DataDir::open_existing(&path, files.clone()).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(!path.exists(), "looking makes nothing");
    fill(&Log::open(&DataDir::open(&path, files.clone(), || OWNER).unwrap(), small()).unwrap(), 0..3);
    for time in ["1", "2"] {
        let old = DataDir::open_existing(&path, files.clone()).unwrap();
        drop(Replacement::begin(old.clone(), RECOVERED).unwrap());
        let replacement = Replacement::begin(old, RECOVERED).unwrap();
        let locked = DataDir::open(&path, files.clone(), || OWNER).err().unwrap();
        assert_eq!(locked.kind(), ErrorKind::Locked);
        replacement.swap(time).unwrap();
        assert!(!Replacement::complete(&path, &files).unwrap());
    }
    let replacement = Replacement::begin(DataDir::open_existing(&path, files.clone()).unwrap(), RECOVERED).unwrap();
    assert_eq!(replacement.swap("2").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(DataDir::open_existing(&path, files.clone()).unwrap().identity(), RECOVERED);
    let kept = DataDir::open_existing(&temp.path().join("node.before-recovery-1"), files).unwrap();
    assert_eq!(all(&Log::open(&kept, small()).unwrap()).len(), 3);
}
