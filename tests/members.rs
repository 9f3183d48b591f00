//! Members: three stores in one process are one store.

#[path = "cluster/until.rs"]
mod until;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use concord_kv::{
    ClientConfig, ClusterConfig, Concord, Config, Consistency, Durability, ErrorKind, HttpConfig, MemberRole, NewToken,
    NodeState, Notice, PageOptions, Position, PutOptions, ReadOptions, Scopes, Selector, Serving, Value, Watch,
    WatchOptions, WatchStart,
};
use until::until;

const COOKIE: &str = "a secret of this test";

/// Three places for members, with their ports.
struct Trio {
    dir: tempfile::TempDir,
    ports: Vec<u16>,
    durability: Durability,
}

impl Trio {
    fn new(durability: Durability) -> Trio {
        let bind = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listeners: Vec<_> = (0..4).map(bind).collect();
        let ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        Trio { dir: tempfile::tempdir().unwrap(), ports, durability }
    }

    fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    fn dir(&self, at: usize) -> std::path::PathBuf {
        self.dir.path().join(at.to_string())
    }

    fn config(&self, at: usize, dir: &Path) -> Config {
        let cluster = ClusterConfig {
            listen: self.address(at),
            seeds: (0..3).map(|at| self.address(at)).collect(),
            bootstrap_expect: 3,
            cookie: COOKIE.into(),
            ..ClusterConfig::default()
        };
        let snapshot_log_bytes = 1024 * 1024;
        Config { cluster: Some(cluster), durability: self.durability, snapshot_log_bytes, ..Config::at(dir) }
    }

    fn open(&self, at: usize) -> Concord {
        Concord::open(self.config(at, &self.dir(at))).unwrap()
    }

    fn open_all(&self) -> Vec<Concord> {
        let nodes: Vec<Concord> = (0..3).map(|at| self.open(at)).collect();
        nodes.iter().for_each(|node| node.cluster().wait_ready(20_000).unwrap());
        nodes
    }

    fn client(&self) -> Concord {
        let addresses: Vec<String> = (0..3).map(|at| self.address(at)).collect();
        Concord::connect(ClientConfig::new(&addresses.join(","), COOKIE)).unwrap()
    }
}

fn leader_of(nodes: &[Concord]) -> usize {
    until("one of them leads", || nodes.iter().position(|node| node.kv().reads_at_once(&ReadOptions::default())))
}

fn converge(nodes: &[Concord]) {
    until("all have applied the same and hold the same", || {
        let applied: Vec<u64> = nodes.iter().map(|node| node.status().unwrap().raft.last_applied).collect();
        let is_level = applied.iter().all(|one| *one == applied[0]);
        let digests: Vec<_> = nodes.iter().map(|node| node.digest().unwrap()).collect();
        (is_level && digests.iter().all(|one| *one == digests[0])).then_some(())
    });
}

#[test]
fn what_any_member_or_client_writes_all_read_and_a_leader_that_leaves_is_hardly_noticed() {
    let trio = Trio::new(Durability::Always);
    let mut nodes = trio.open_all();
    for (at, node) in nodes.iter().enumerate() {
        node.kv().put(format!("from:{at}"), at as i64).wait().unwrap();
    }
    for node in &nodes {
        for at in 0..3 {
            for level in [Consistency::Leader, Consistency::Strong] {
                let options = ReadOptions { consistency: Some(level), timeout_ms: None };
                let found = node.kv().read(format!("from:{at}").as_bytes(), &options, |record| record.revision);
                assert!(found.unwrap().is_some(), "{level:?} {at}");
            }
        }
    }
    let client = trio.client();
    client.kv().put("client", "here").wait().unwrap();
    assert_eq!(nodes[0].kv().get("client").unwrap(), Some("here".into()));
    assert_eq!(client.kv().get("client").unwrap(), Some("here".into()));
    assert_eq!(client.kv().get_all().unwrap().len(), 4);
    let many = client.kv().get_many(&["from:0", "nothing", "from:2"]).unwrap();
    assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(client.status().unwrap().raft.members.len(), 3);
    converge(&nodes);

    let leader = leader_of(&nodes);
    nodes.remove(leader).close().unwrap();
    nodes[0].kv().put("after", 1).wait().unwrap();
    client.kv().put("client", "still").wait().unwrap();
    assert_eq!(client.kv().get("client").unwrap(), Some("still".into()));
    converge(&nodes);
}

#[test]
fn a_member_that_was_away_while_snapshots_were_made_catches_up() {
    for durability in [Durability::Always, Durability::Interval { interval_ms: 50 }] {
        let trio = Trio::new(durability);
        let mut nodes = trio.open_all();
        let away = (leader_of(&nodes) + 1) % 3;
        nodes.remove(away).close().unwrap();
        let big = Value::Bytes(vec![7; 100_000]);
        for n in 0..40 {
            let puts: Vec<_> =
                (0..4).map(|m| nodes[0].kv().put(format!("big:{n}:{m}"), incompressible(n * 4 + m, &big))).collect();
            puts.into_iter().for_each(|put| put.wait().unwrap());
        }
        for n in 0..300 {
            nodes[0].kv().put(format!("small:{}", n % 100), n).wait().unwrap();
        }
        nodes[0].kv().put("last", "one").wait().unwrap();
        let leader = leader_of(&nodes);
        // 16 MB were written: what a snapshot covers goes, though a member is away that would have wanted it.
        until("the log is compacted", || {
            let status = nodes[leader].status().unwrap();
            (status.raft.snapshot_index > 150 && status.log_bytes < 8_000_000).then_some(())
        });
        nodes.push(trio.open(away));
        let beginning = WatchOptions { start: WatchStart::From(Position::before(1)), ..WatchOptions::default() };
        let mut watch = nodes[2].watch(&beginning).unwrap();
        nodes[2].cluster().wait_ready(20_000).unwrap();
        converge(&nodes);
        assert_eq!(nodes[2].kv().get("last").unwrap(), Some("one".into()));
        watched_over_a_snapshot(&trio, &nodes, &mut watch, &beginning);
    }
}

/// Whoever watched the member that took over a snapshot is told what it has missed. Clients miss nothing as long as another
/// member still has it.
fn watched_over_a_snapshot(trio: &Trio, nodes: &[Concord], watch: &mut Watch, beginning: &WatchOptions<'_>) {
    let Some(Notice::Gap { from_revision: 1, resume_revision }) = watch.next_within(Duration::from_secs(20)).unwrap()
    else {
        panic!("a snapshot has no changes")
    };
    let error = nodes[2].watch(beginning).err().unwrap();
    assert_eq!((error.kind(), error.oldest_revision()), (ErrorKind::Compacted, Some(resume_revision)));
    nodes[0].kv().put("end", 1).wait().unwrap();
    let end = nodes[0].kv().get_record("end").unwrap().unwrap().revision;
    let follow = |watch: &mut Watch, mut next: u64| {
        while next <= end {
            for notice in watch.take_within(1_000, Duration::from_secs(20)).unwrap() {
                let Notice::Event(event) = notice else { panic!("{notice:?}") };
                assert_eq!(event.revision, next);
                next += 1;
            }
        }
    };
    follow(watch, resume_revision);
    // Each begins with another member.
    let client = trio.client();
    (0..3).for_each(|_| follow(&mut client.watch(beginning).unwrap(), 1));
}

/// Bytes that no compression makes smaller, told apart by a number.
fn incompressible(seed: u64, like: &Value) -> Value {
    let Value::Bytes(bytes) = like else { panic!("bytes") };
    let mut state = seed + 1;
    let next = |_: &u8| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    Value::Bytes(bytes.iter().map(next).collect())
}

/// Nobody has told the new node where the others are: they tell it.
#[test]
fn a_node_without_seeds_is_taken_in_by_its_address() {
    let trio = Trio::new(Durability::Always);
    let alone = |at: usize, bootstrap_expect: usize| {
        let config = trio.config(at, &trio.dir(at));
        let cluster = ClusterConfig { seeds: Vec::new(), bootstrap_expect, ..config.cluster.clone().unwrap() };
        Concord::open(Config { cluster: Some(cluster), ..config }).unwrap()
    };
    let (first, added) = (alone(0, 1), alone(1, 0));
    first.cluster().wait_ready(20_000).unwrap();
    first.kv().put("a", 1).wait().unwrap();
    let node_id = first.cluster().add(&trio.address(1), Some(20_000)).unwrap();
    assert_eq!(node_id, added.status().unwrap().raft.node_id);
    added.cluster().wait_ready(20_000).unwrap();
    until("it votes", || first.members().unwrap().iter().all(|member| member.role == MemberRole::Voter).then_some(()));
    assert_eq!(added.kv().get("a").unwrap(), Some(1.into()));
    assert_eq!(first.cluster().add(&trio.address(1), Some(20_000)).unwrap(), node_id, "it is one already");
}

#[test]
fn a_node_that_cannot_go_on_after_it_was_opened_tells_why() {
    let trio = Trio::new(Durability::Always);
    let with = |bootstrap_expect: usize, config: Config| {
        let cluster = ClusterConfig { bootstrap_expect, ..config.cluster.clone().unwrap() };
        Concord::open(Config { cluster: Some(cluster), ..config }).unwrap()
    };
    let joiner = with(0, trio.config(1, &trio.dir(1)));
    std::fs::remove_dir_all(trio.dir(1)).unwrap();
    let founder = with(1, trio.config(0, &trio.dir(0)));
    founder.cluster().wait_ready(20_000).unwrap();
    let failure = joiner.cluster().wait_ready(20_000).unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Io, "{failure}");
    assert!(failure.message().contains("could not go on"), "{failure}");
    assert!(joiner.status().unwrap().raft.state == NodeState::Shutdown);
}

#[test]
fn members_that_keep_nothing_on_disk_are_a_cluster_as_well() {
    let trio = Trio::new(Durability::Memory);
    let mut nodes = trio.open_all();
    nodes[1].kv().put("a", 1).wait().unwrap();
    let leader = leader_of(&nodes);
    nodes.remove(leader).close().unwrap();
    assert_eq!(nodes[0].kv().get("a").unwrap(), Some(1.into()));
    converge(&nodes);
}

#[test]
fn while_leadership_moves_every_increment_counts_once() {
    let trio = Trio::new(Durability::Always);
    let nodes = trio.open_all();
    let client = trio.client();
    let (acknowledged, unknown, over) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for db in nodes.iter().chain([&client]) {
            for _ in 0..2 {
                let (acknowledged, unknown, over) = (&acknowledged, &unknown, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        match db.kv().increment("counter", 1).wait() {
                            Ok(_) => drop(acknowledged.fetch_add(1, Ordering::Relaxed)),
                            Err(error) if error.kind() == ErrorKind::UnknownOutcome => {
                                unknown.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => assert!(error.kind().is_retryable(), "{error}"),
                        }
                    }
                });
            }
        }
        for round in 0..12 {
            let target = nodes[round % 3].status().unwrap().raft.node_id;
            // It may be refused while another handover is under way.
            let _ = nodes[0].cluster().transfer_leadership(Some(target), Some(5_000));
            std::thread::sleep(Duration::from_millis(60));
        }
        over.store(true, Ordering::Relaxed);
    });
    let (acknowledged, unknown) = (acknowledged.into_inner(), unknown.into_inner());
    let Some(Value::Int(counted)) = client.kv().get("counter").unwrap() else { panic!("no counter") };
    assert!(acknowledged > 100, "{acknowledged} increments are too few to tell");
    let most = i128::from(acknowledged + unknown);
    assert!(
        (i128::from(acknowledged)..=most).contains(&counted),
        "{acknowledged} + {unknown} unknown, {counted} counted"
    );
    converge(&nodes);
}

#[test]
fn without_a_majority_writes_and_fresh_reads_fail_soon_and_stale_reads_go_on() {
    let trio = Trio::new(Durability::Always);
    let mut nodes = trio.open_all();
    nodes[0].kv().put("k", 1).wait().unwrap();
    converge(&nodes);
    let survivor = nodes.remove(leader_of(&nodes));
    drop(nodes);
    // What it took while it did not know yet may be done or not; soon it knows.
    let hasty = PutOptions { timeout_ms: Some(300), ..PutOptions::default() };
    until("it knows that it is alone", || {
        let refused = survivor.kv().put_with("k", 1, &hasty).wait().unwrap_err();
        (refused.kind() == ErrorKind::ClusterNotReady).then_some(())
    });
    let start = Instant::now();
    let refused = survivor.kv().put("k", 2).wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ClusterNotReady, "{refused}");
    for level in [Consistency::Leader, Consistency::Strong] {
        let options = ReadOptions { consistency: Some(level), timeout_ms: None };
        let refused = survivor.kv().read(b"k", &options, |_| ()).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::ClusterNotReady | ErrorKind::Timeout), "{refused}");
    }
    assert!(start.elapsed() < Duration::from_secs(12), "each fails within some seconds");
    let stale = ReadOptions { consistency: Some(Consistency::Eventual), timeout_ms: Some(0) };
    assert_eq!(survivor.kv().read(b"k", &stale, |record| record.revision).unwrap(), Some(1));
}

/// Before, one that joined asked the others that joined, each of which held the question for three seconds, and only
/// then the founder.
#[test]
fn nodes_that_join_at_once_do_not_wait_for_each_other() {
    let nodes = Trio::new(Durability::Always);
    let open = |at: usize, bootstrap_expect: usize| {
        let mut config = nodes.config(at, &nodes.dir(at));
        let cluster = config.cluster.as_mut().unwrap();
        cluster.bootstrap_expect = bootstrap_expect;
        // The founder is the last, so that the others are asked first.
        cluster.seeds = (0..4).map(|at| nodes.address(at)).collect();
        Concord::open(config).unwrap()
    };
    let founder = open(3, 1);
    founder.cluster().wait_ready(20_000).unwrap();
    let start = Instant::now();
    let joining = [open(0, 0), open(1, 0), open(2, 0)];
    joining.iter().for_each(|node| node.cluster().wait_ready(20_000).unwrap());
    eprintln!("joined after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "they joined after {:?}", start.elapsed());
}

/// Promised: a client that is no member can ask everything, at one point in time, page by page; what is removed is removed
/// alike on every member; a token reaches no further through a client.
#[test]
fn queries_of_members_and_clients_agree_and_removals_leave_equal_replicas() {
    let trio = Trio::new(Durability::Memory);
    let nodes = trio.open_all();
    let client = trio.client();
    for first in (0..6_000).step_by(500) {
        let items: Vec<_> = (first..first + 500).map(|n| (format!("n:{n:05}"), Value::from(n), None)).collect();
        client.kv().put_many(&items).wait().unwrap();
    }
    client.kv().put("large:1", "x".repeat(900_000)).wait().unwrap();
    client.kv().put("large:2", "y".repeat(900_000)).wait().unwrap();
    let (all, strong) = (Selector::default(), ReadOptions { consistency: Some(Consistency::Strong), timeout_ms: None });
    let some = Selector { prefix: Some(b"n:"), suffix: Some(b"7"), filter: Some("value >= 100"), offset: 3, ..all };
    for db in nodes.iter().chain([&client]) {
        assert_eq!(db.query().count(&all, &strong).unwrap(), 6_002);
        let keys = db.query().keys(&Selector { limit: Some(500), ..some }, &strong).unwrap();
        assert_eq!((keys.len(), &*keys[0], &*keys[499]), (500, &b"n:00137"[..], &b"n:05127"[..]));
        assert_eq!(db.query().count(&some, &strong).unwrap(), 587);
        assert_eq!(db.query().pairs(&Selector { prefix: Some(b"large"), ..all }, &strong).unwrap().len(), 2);
        let wrong = db.query().keys(&Selector { filter: Some("value >"), ..all }, &strong).unwrap_err();
        assert_eq!((wrong.kind(), wrong.column()), (ErrorKind::InvalidCondition, Some(8)));
    }
    let options = PageOptions { items_max: 700, ..PageOptions::default() };
    let mut pages = client.query().stream(&Selector { prefix: Some(b"n:"), ..all }, &strong, &options).unwrap();
    let first = pages.next_page().unwrap().unwrap();
    let removed = Selector { range: Some((b"n:00700", b"n:04999")), filter: Some("value != 2000"), ..all };
    assert_eq!(client.query().delete_where(&removed, None).unwrap(), 4_299);
    let rest: usize = pages.by_ref().map(|page| page.unwrap().pairs.len()).sum();
    assert_eq!((first.pairs.len(), rest), (700, 5_300), "as it was before");
    assert_eq!(client.query().count(&all, &strong).unwrap(), 1_703);
    assert_eq!(nodes[leader_of(&nodes)].query().delete_where(&Selector { limit: Some(3), ..some }, None).unwrap(), 3);

    let scopes = Scopes { read: true, write: true, admin: false };
    let new = NewToken { name: "bound".into(), scopes, key_prefixes: vec![b"n:00".to_vec()], ttl: None };
    let token = nodes[leader_of(&nodes)].as_admin().tokens().create(&new).unwrap().token;
    let bound = client.with_token(token.reveal()).unwrap();
    let within = Selector { prefix: Some(b"n:000"), ..all };
    assert_eq!(bound.query().count(&within, &strong).unwrap(), 100);
    assert_eq!(bound.query().delete_where(&within, None).unwrap(), 100);
    for beyond in [Selector { prefix: Some(b""), ..all }, Selector { prefix: Some(b"n:0"), ..all }] {
        assert_eq!(bound.query().count(&beyond, &strong).unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(bound.query().delete_where(&beyond, None).unwrap_err().kind(), ErrorKind::Forbidden);
    }
    until("all have applied as much", || {
        let digests: Vec<_> = nodes.iter().map(|node| node.digest().unwrap()).collect();
        digests.iter().all(|digest| *digest == digests[0]).then_some(())
    });
}

/// Promised to programs in C and C++, which do not ignore that signal as ours do: a connection that its other side has closed
/// ends no program.
#[test]
#[cfg(target_os = "linux")]
fn no_thread_that_writes_to_a_connection_lets_a_broken_pipe_end_its_program() {
    const BROKEN_PIPE: u64 = 1 << 12;
    let trio = Trio::new(Durability::Always);
    let cluster = ClusterConfig { listen: trio.address(0), bootstrap_expect: 1, ..ClusterConfig::default() };
    let cluster = Some(ClusterConfig { cookie: COOKIE.into(), ..cluster });
    let http = HttpConfig { listen: Some("127.0.0.1:0".parse().unwrap()), ..HttpConfig::default() };
    let config = Config { cluster, http, ..Config::at(trio.dir(0)) };
    let node = Concord::open(config.clone()).unwrap();
    node.cluster().wait_ready(20_000).unwrap();
    let _serving = Serving::start(&node, &config).unwrap().unwrap();
    let _client = Concord::connect(ClientConfig::new(&trio.address(0), COOKIE)).unwrap();
    let mut seen = BTreeSet::new();
    // Threads of other tests may be at their first instruction.
    until("all block the signal", || {
        let mut all_block = true;
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let Ok(status) = std::fs::read_to_string(task.unwrap().path().join("status")) else { continue };
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            let name = field("Name:").to_owned();
            if name.starts_with("concord-") {
                all_block &= u64::from_str_radix(field("SigBlk:"), 16).unwrap() & BROKEN_PIPE != 0;
                seen.insert(name);
            }
        }
        all_block.then_some(())
    });
    for name in ["concord-raft", "concord-client", "concord-http"] {
        assert!(seen.contains(name), "{name} is not among {seen:?}");
    }
}
