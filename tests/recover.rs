//! Recover: two of three members are gone for good; the third becomes a cluster of its own with all that it has.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use concord_kv::{ClusterConfig, Concord, Config, Error, ErrorKind, MemberRole, Recoverable, Value};

const PATIENCE_MS: u64 = 20_000;
const RECORDS: i64 = 200;
/// Records so large that the log is compacted by a snapshot on their way.
const BLOBS: u64 = 40;

/// Three members in this process, and where their directories are.
struct Three {
    dir: tempfile::TempDir,
    ports: Vec<u16>,
    nodes: Vec<Concord>,
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn agreed(_: &Recoverable) -> Result<(), Error> {
    Ok(())
}

impl Three {
    fn form() -> Three {
        let mut three = Three { dir: tempfile::tempdir().unwrap(), ports: free_ports(4), nodes: Vec::new() };
        three.nodes = (0..3).map(|at| three.open(at, 3)).collect();
        for node in &three.nodes {
            node.cluster().wait_ready(PATIENCE_MS).unwrap();
        }
        three
    }

    fn path(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("member{at}"))
    }

    fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    /// Opens one of them; with `expect` above 0 it looks for all the others.
    fn open(&self, at: usize, expect: usize) -> Concord {
        let cluster = ClusterConfig {
            listen: self.address(at),
            seeds: (0..3).map(|other| self.address(other)).collect(),
            bootstrap_expect: expect,
            cookie: "a secret of this test".into(),
            ..ClusterConfig::default()
        };
        let snapshot_log_bytes = 1024 * 1024;
        Concord::open(Config { cluster: Some(cluster), snapshot_log_bytes, ..Config::at(self.path(at)) }).unwrap()
    }

    /// Writes records that are acknowledged, stops all, and destroys all but the first.
    fn lose_two(&mut self) -> [u8; 32] {
        for number in 0..BLOBS {
            self.nodes[0].kv().put(format!("blob{number}"), blob(number)).wait().unwrap();
        }
        until("a snapshot", || self.nodes[0].status().unwrap().raft.snapshot_index > 0);
        for number in 0..RECORDS {
            self.nodes[number as usize % 3].kv().put(format!("k{number}"), number).wait().unwrap();
        }
        // Whoever reads strongly has applied all of it; the first one is to have all of it on its disk.
        let strong = concord_kv::ReadOptions { consistency: Some(concord_kv::Consistency::Strong), timeout_ms: None };
        self.nodes[0].kv().read(b"k0", &strong, |_| ()).unwrap();
        let digest = self.nodes[0].digest().unwrap();
        for node in self.nodes.drain(..) {
            node.close().unwrap();
        }
        digest
    }
}

/// Bytes that no compression makes smaller.
fn blob(seed: u64) -> Value {
    let mut state = seed + 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    Value::Bytes((0..64 * 1024).map(|_| next()).collect())
}

/// Asks again until it is so; for what no event tells from outside.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that was acknowledged is there, the node serves alone under a new cluster id and its old node id, the old
/// directory is kept, new members join it, and a member of the old cluster is refused.
#[test]
fn the_last_of_three_goes_on_with_everything() {
    let mut three = Three::form();
    let old_cluster = three.nodes[0].status().unwrap().cluster_id;
    let ids: Vec<u64> = three.nodes.iter().map(|node| node.status().unwrap().raft.node_id).collect();
    let digest = three.lose_two();
    std::fs::remove_dir_all(three.path(1)).unwrap();

    let mut told = None;
    let recovered = Concord::recover(three.path(0), |found| {
        told = Some(found.clone());
        Ok(())
    })
    .unwrap();
    let told = told.expect("it was asked");
    assert_eq!((told.cluster_id, told.node_id, told.role), (old_cluster, ids[0], Some(MemberRole::Voter)));
    assert_eq!(told.records, RECORDS as u64 + BLOBS);
    assert!((1..told.last_index).contains(&told.snapshot_index), "a snapshot and a log: {told:?}");
    assert!(
        told.commit_index <= told.last_index && told.uncertain() == told.last_index - told.commit_index,
        "{told:?}"
    );
    let mut others: Vec<u64> = told.others.iter().map(|member| member.node_id).collect();
    let mut expected = ids[1..].to_vec();
    others.sort_unstable();
    expected.sort_unstable();
    assert_eq!(others, expected);
    assert_ne!(recovered.cluster_id, old_cluster);
    assert_eq!(recovered.node_id, ids[0]);
    let kept = recovered.kept.expect("the old directory is kept");
    assert!(kept.join("META").exists(), "{}", kept.display());

    // As if it had been interrupted before its last step.
    std::fs::rename(three.path(0), three.dir.path().join("member0.recovered")).unwrap();
    let error = Concord::open(Config::at(three.path(0))).err().expect("an empty one must not take its place");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.message().contains("concord recover"), "{error}");
    let completed = Concord::recover(three.path(0), |_| panic!("it was asked before")).unwrap();
    assert_eq!((completed.cluster_id, completed.kept), (recovered.cluster_id, None));

    let node = three.open(0, 3);
    node.cluster().wait_ready(PATIENCE_MS).unwrap();
    let status = node.status().unwrap();
    assert_eq!((status.cluster_id, status.raft.node_id), (recovered.cluster_id, ids[0]));
    assert_eq!(status.raft.members.len(), 1);
    assert_eq!(node.digest().unwrap(), digest, "not the same content");
    for number in 0..RECORDS {
        assert_eq!(node.kv().get(format!("k{number}")).unwrap(), Some(number.into()));
    }
    node.kv().put("after", 1).wait().unwrap();

    // One of the old cluster that was thought to be lost comes back.
    let stranger = three.open(2, 3);
    let error = node.cluster().add(&three.address(2), Some(5_000)).expect_err("a member of another cluster");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.message().contains("cluster"), "{error}");
    assert!(!stranger.cluster().is_ready());
    assert_eq!(node.members().unwrap().len(), 1);
    stranger.close().unwrap();

    // One with an empty directory is welcome.
    let joined = three.open(1, 0);
    joined.cluster().wait_ready(PATIENCE_MS).unwrap();
    assert_eq!(joined.kv().get("after").unwrap(), Some(1.into()));
    assert_eq!(joined.status().unwrap().cluster_id, recovered.cluster_id);
    assert_eq!(joined.kv().get_all().unwrap().len(), RECORDS as usize + BLOBS as usize + 1);
    joined.close().unwrap();
    node.close().unwrap();
}

/// Who is asked and says no changes nothing; the reopened member is what it was.
#[test]
fn a_no_leaves_the_directory_as_it_was() {
    let mut three = Three::form();
    three.lose_two();
    let before = tree(&three.path(0));
    let no = || Error::new(ErrorKind::ConditionFailed, "no");
    let error = Concord::recover(three.path(0), |_| Err(no())).expect_err("the answer was no");
    assert_eq!((error.kind(), error.message()), (ErrorKind::ConditionFailed, "no"));
    assert_eq!(tree(&three.path(0)), before);
    let names: Vec<_> = std::fs::read_dir(three.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "something was left behind: {names:?}");
    three.nodes = (0..3).map(|at| three.open(at, 3)).collect();
    three.nodes[0].cluster().wait_ready(PATIENCE_MS).unwrap();
    assert_eq!(three.nodes[0].members().unwrap().len(), 3);
}

/// Refused: a directory that a process has open, one of a store of one node, one without data.
#[test]
fn what_needs_no_recovery_is_refused_with_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alone");
    let db = Concord::open(Config::at(&path)).unwrap();
    db.kv().put("k", 1).wait().unwrap();
    let error = Concord::recover(&path, agreed).expect_err("it is open");
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    db.close().unwrap();

    let error = Concord::recover(&path, agreed).expect_err("it is alone already");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.message().contains("only voter"), "{error}");
    let db = Concord::open(Config::at(&path)).unwrap();
    assert_eq!(db.kv().get("k").unwrap(), Some(1.into()));

    let error = Concord::recover(dir.path().join("nowhere"), agreed).expect_err("there is nothing");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Names and sizes of all files, without the lock and the log's reserve.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in ["META", "snapshot"] {
        let path = dir.join(name);
        match std::fs::read_dir(&path) {
            Ok(entries) => found.extend(entries.map(|entry| {
                let path = entry.unwrap().path();
                (path.clone(), std::fs::read(&path).unwrap())
            })),
            Err(_) => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}
