//! The data directory: private, locked, and known by its owner.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;
use crate::ErrorKind;
use crate::storage::RealFiles;

fn open_real(path: &Path) -> crate::Result<DataDir> {
    DataDir::open(path, Arc::new(RealFiles), || OWNER)
}

fn real_options() -> LogOptions {
    LogOptions { segment_bytes: 64 * 1024, ..LogOptions::default() }
}

#[test]
fn what_it_makes_is_private() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a/b");
    let dir = open_real(&path).unwrap();
    let log = Log::open(&dir, real_options()).unwrap();
    append(&log, vec![usual(0)]).unwrap();
    SnapshotStore::open(&dir, leading_number).unwrap().create(b"header").unwrap().finish().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut seen = 0;
    let mut dirs = vec![temp.path().join("a"), path.clone()];
    while let Some(dir) = dirs.pop() {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
        for inside in fs::read_dir(&dir).unwrap().map(|inside| inside.unwrap().path()) {
            if inside.is_dir() {
                if inside != path {
                    dirs.push(inside);
                }
            } else {
                seen += 1;
                assert_eq!(mode(&inside), 0o600, "{}", inside.display());
            }
        }
    }
    assert_eq!(seen, 4, "LOCK, META, one segment, one snapshot");
}

#[test]
fn it_is_open_once_in_this_process_and_free_again_after() {
    let temp = tempfile::tempdir().unwrap();
    let dir = open_real(temp.path()).unwrap();
    let error = open_real(temp.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let me = format!("is in use by process {}; close it there", std::process::id());
    assert!(error.message().contains(&me), "{error}");
    let log = Log::open(&dir, real_options()).unwrap();
    fill(&log, 0..20);
    drop(log);
    drop(dir);
    let dir = open_real(temp.path()).unwrap();
    let log = Log::open(&dir, real_options()).unwrap();
    assert_eq!(all(&log).len(), 20);
}

/// Not a test of its own: what `another_process_is_refused` runs as the other process.
#[test]
fn as_another_process() {
    let Some(path) = std::env::var_os("CONCORD_TEST_LOCKED_DIR") else { return };
    let error = open_real(Path::new(&path)).err().expect("the directory is locked");
    assert_eq!(error.kind(), ErrorKind::Locked);
    println!("refused: {error}");
}

#[test]
fn another_process_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let _dir = open_real(temp.path()).unwrap();
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::tests::data_dir::as_another_process", "--nocapture"])
        .env("CONCORD_TEST_LOCKED_DIR", temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(other.status.success() && said.contains("refused: locked"), "{said}");
}

#[test]
fn links_inside_are_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let elsewhere = temp.path().join("elsewhere");
    fs::write(&elsewhere, b"precious").unwrap();
    for name in ["META", "LOCK", "log/spare.tmp", "log/spare", "log/0000000000000001.log", "META.tmp"] {
        let path = temp.path().join(name.replace('/', "-"));
        fs::create_dir_all(path.join("log")).unwrap();
        symlink(&elsewhere, path.join(name)).unwrap();
        let opened = open_real(&path).and_then(|dir| Log::open(&dir, real_options()));
        assert!(opened.is_ok() || matches!(opened.err().unwrap().kind(), ErrorKind::Io | ErrorKind::Corrupt));
        assert_eq!(fs::read(&elsewhere).unwrap(), b"precious", "{name}");
    }
}

#[test]
fn its_identity_is_given_once() {
    let files = MemFiles::default();
    assert_eq!(data_dir(&files).unwrap().identity(), OWNER);
    let again = DataDir::open(Path::new(DIR), Arc::new(files.clone()), || panic!("it has an owner")).unwrap();
    assert_eq!((again.identity(), again.path()), (OWNER, Path::new(DIR)));
}

#[test]
fn a_crash_while_it_is_made_leaves_nothing_odd() {
    for crash_at in 0..12 {
        let files = MemFiles::default();
        files.crash_at_operation(crash_at);
        let made = data_dir(&files).is_ok();
        let disk = files.after_crash(Some(crash_at));
        let other = Identity { node_id: 99, ..OWNER };
        let dir = DataDir::open(Path::new(DIR), Arc::new(disk.clone()), || other).unwrap();
        assert!(!made || dir.identity() == OWNER);
        assert!(!disk.paths().iter().any(|path| path.ends_with("META.tmp")));
    }
}

#[test]
fn a_damaged_missing_or_newer_meta_is_refused() {
    let files = MemFiles::default();
    open_log(&files).unwrap().close();
    let meta = Path::new(DIR).join("META");
    let good = files.content(&meta);
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        let disk = files.copy();
        disk.set_content(&meta, bytes);
        assert_eq!(data_dir(&disk).err().unwrap().kind(), ErrorKind::Corrupt);
    }
    for bytes in [good[..63].to_vec(), Vec::new(), [&good[..], b"x"].concat()] {
        let disk = files.copy();
        disk.set_content(&meta, bytes);
        assert_eq!(data_dir(&disk).err().unwrap().kind(), ErrorKind::Corrupt);
    }
    let disk = files.copy();
    disk.erase(&meta);
    let error = data_dir(&disk).err().unwrap();
    assert!(error.message().contains("missing"), "{error}");

    let mut newer = good;
    newer[8] = 9;
    let crc = crc32fast::hash(&newer[..60]);
    newer[60..].copy_from_slice(&crc.to_le_bytes());
    let disk = files.copy();
    disk.set_content(&meta, newer);
    let error = data_dir(&disk).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("has format 9, this release of Concord knows 1"), "{error}");
}
