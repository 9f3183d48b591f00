//! Full disk: writes fail with an error, reads go on, and when there is space again writes resume by themselves.
//!
//! The disk is a small tmpfs. Mounting it takes root, or a user namespace in which this test runs itself again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use concord_kv::{Compress, Concord, Config, ErrorKind, PutOptions, Value};

use crate::scratch;

/// Two segments of the log and some room beside them.
const DISK_MIB: u64 = 200;
const MOUNTED_AT: &str = "CONCORD_CRASH_SMALL_DISK";

#[test]
fn a_full_disk_stops_writes_only_until_there_is_space() {
    if let Ok(disk) = std::env::var(MOUNTED_AT) {
        fill_and_free(Path::new(&disk));
        return;
    }
    let place = scratch();
    let disk = place.path().join("disk");
    fs::create_dir(&disk).expect("a mount point");
    if mount(&disk) {
        let outcome = std::panic::catch_unwind(|| fill_and_free(&disk));
        let unmounted = Command::new("umount").arg(&disk).status().is_ok_and(|status| status.success());
        assert!(unmounted, "{} could not be unmounted", disk.display());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    } else {
        println!("full disk: mounting is not permitted here; trying a user namespace");
        run_in_a_namespace(&disk);
    }
}

fn mount(disk: &Path) -> bool {
    let size = format!("size={DISK_MIB}m");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk).output();
    mount.is_ok_and(|output| output.status.success())
}

/// Runs this test again where an ordinary user may mount. Where even that is forbidden the test fails: what was
/// not tested must not look tested.
fn run_in_a_namespace(disk: &Path) {
    let script = format!("mount -t tmpfs -o size={DISK_MIB}m tmpfs \"$1\" && shift && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
        .arg(disk)
        .arg(std::env::current_exe().expect("the path of this program"))
        .args(["--exact", "full_disk::a_full_disk_stops_writes_only_until_there_is_space", "--nocapture"])
        .env(MOUNTED_AT, disk)
        .output();
    let (done, text) = match &output {
        Ok(output) => (output.status.success(), [&output.stdout[..], &output.stderr[..]].concat()),
        Err(error) => (false, error.to_string().into_bytes()),
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("{text}");
    assert!(
        done && text.contains("full disk: "),
        "FULL DISK NOT TESTED, or failed: it takes root or `unshare --user --map-root-user --mount`\n{text}"
    );
}

fn fill_and_free(disk: &Path) {
    let dir = disk.join("data");
    let config = Config { snapshot_log_bytes: 16 * 1024 * 1024, ..Config::at(&dir) };
    let db = Concord::open(config.clone()).expect("it opens while there is space");
    let value = |n: u64| Value::from(format!("{n:-<1}").repeat(400_000 / n.to_string().len()));
    // The same sixteen keys over and over: what grows is the log, not the content.
    let options = PutOptions { compress: Compress::Never, ..PutOptions::default() };
    let put = |n: u64| db.kv().put_with(format!("key{}", n % 16), value(n), &options).wait();
    let mut last = [None; 16];
    for n in 1..=20 {
        put(n).expect("there is space");
        last[(n % 16) as usize] = Some(n);
    }

    // Phase 1: somebody else fills the disk; sooner or later a write fails, with an error, at once or by its deadline.
    let ballast = fill(disk);
    let mut refused = None;
    for n in 21..2_000 {
        match put(n) {
            Ok(()) => {
                last[(n % 16) as usize] = Some(n);
                top_up(&ballast);
            }
            Err(error) => {
                refused = Some((n, error));
                break;
            }
        }
    }
    let (refused_at, error) = refused.expect("a disk that is full is noticed");
    assert!(
        matches!(error.kind(), ErrorKind::ClusterNotReady | ErrorKind::Io),
        "nothing was done, and the error should say so: {error}"
    );

    // Phase 2: reads go on, writes go on failing.
    let check = |db: &Concord| {
        for (slot, n) in last.iter().enumerate() {
            let found = db.kv().get(format!("key{slot}")).expect("reads go on");
            assert!(found == n.map(value), "key{slot} is not what write {n:?} put there");
        }
    };
    check(&db);
    assert!(put(refused_at).is_err(), "the disk is still full");
    check(&db);

    // Phase 3: space again; writes resume without anybody's help.
    fs::remove_file(&ballast).expect("the ballast goes");
    let start = Instant::now();
    let mut n = refused_at;
    while let Err(error) = put(n) {
        assert!(start.elapsed() < Duration::from_secs(10), "writes did not resume: {error}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let resumed_ms = start.elapsed().as_millis();
    while n < refused_at + 20 {
        last[(n % 16) as usize] = Some(n);
        n += 1;
        put(n).expect("there is space");
    }
    last[(n % 16) as usize] = Some(n);
    let check = |db: &Concord| {
        for (slot, n) in last.iter().enumerate() {
            assert!(
                db.kv().get(format!("key{slot}")).expect("a read") == n.map(value),
                "key{slot} is wrong afterwards"
            );
        }
    };
    check(&db);
    db.close().expect("a close never fails");
    drop(db);
    let db = Concord::open(config).expect("it opens again");
    check(&db);
    println!(
        "full disk: refused with {}, reads went on, writes resumed after {resumed_ms} ms, {n} writes",
        error.kind()
    );
}

/// Takes all space that is left.
fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    fs::File::create(&ballast).expect("the ballast");
    top_up(&ballast);
    ballast
}

/// Takes what has become free since.
fn top_up(ballast: &Path) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(ballast).expect("the ballast");
    for step in [1024 * 1024, 64 * 1024, 4096] {
        while file.write_all(&vec![1; step]).is_ok() {}
    }
}
