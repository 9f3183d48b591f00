//! Cluster: three members on this machine, each a process of its own: durable puts, reads of all levels on the leader, and
//! fail-over.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use concord_kv::{ClientConfig, ClusterConfig, Concord, Config, Consistency, NodeState, ReadOptions, Value};

use crate::{Figure, disk, etcd};

const WARM_UP: Duration = Duration::from_millis(500);
const LENGTH: Duration = Duration::from_secs(3);
const COOKIE: &str = "the secret of a benchmark";
const KILLS: usize = 100;

pub fn run(folder: &Path) {
    let append_s = disk::bare_append_s(folder);
    let peers = etcd::measure(folder);
    let cluster = Members::form(&folder.join("P8"));
    let leader = cluster.leader();
    for (id, clients, goal) in [("P8", 1, "1"), ("P8x128", 128, "128")] {
        let rate = puts(leader, clients);
        print(
            id,
            &format!("three nodes, durable put on the leader, {goal} client(s)"),
            rate,
            &peers,
            append_s,
            |peer| peer.put,
        );
    }
    for (id, clients, goal) in [("P9", 1, "1"), ("P9x128", 128, "128")] {
        let rate = reads(leader, clients, Consistency::Strong);
        print(
            id,
            &format!("three nodes, get strong on the leader, {goal} client(s)"),
            rate,
            &peers,
            append_s,
            |peer| peer.get,
        );
    }
    let (lease_ns, local_ns) = (read_ns(leader, Consistency::Leader), read_ns(leader, Consistency::Eventual));
    Figure {
        id: "P9lease",
        name: "three nodes, get leader on the leader, under its lease",
        value: lease_ns,
        unit: "ns/call",
        baseline: local_ns,
        baseline_name: "get eventual on the same node, ns",
        ratio: lease_ns / local_ns,
    }
    .print();
    drop(cluster);
    fail_over(&folder.join("P12"));
}

fn print(
    id: &str,
    name: &str,
    rate: f64,
    peers: &Option<etcd::Figures>,
    append_s: f64,
    of: impl Fn(&etcd::Figures) -> [f64; 2],
) {
    let place = usize::from(id.ends_with("x128"));
    let (baseline, baseline_name) = match peers {
        Some(peer) => (of(peer)[place], "etcd, three nodes, same clients, through its JSON gateway"),
        None => (1.0 / append_s, "bare fdatasync append, appends/s (etcd is not installed)"),
    };
    Figure { id, name, value: rate, unit: "calls/s", baseline, baseline_name, ratio: baseline / rate }.print();
}

/// This process is one member, two others are processes of their own.
struct Members {
    db: Concord,
    others: Vec<Child>,
}

impl Members {
    fn form(folder: &Path) -> Members {
        let ports = free_ports(3);
        let others = (1..3).map(|at| start(folder, at, &ports)).collect();
        let db = open(folder, 0, &ports);
        db.cluster().wait_ready(30_000).expect("a cluster forms");
        Members { db, others }
    }

    /// The store of this process, made the leader.
    fn leader(&self) -> &Concord {
        let own = self.db.status().expect("a status").raft.node_id;
        self.db.cluster().transfer_leadership(Some(own), None).expect("this node takes over");
        self.db.cluster().wait_ready(10_000).expect("it serves");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.db.kv().reads_at_once(&ReadOptions::default()) {
            assert!(Instant::now() < deadline, "the leader has no lease");
            std::thread::yield_now();
        }
        &self.db
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let _ = self.db.close();
        self.others.iter_mut().for_each(end);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address").port()).collect()
}

fn open(folder: &Path, at: usize, ports: &[u16]) -> Concord {
    let cluster = ClusterConfig {
        listen: format!("127.0.0.1:{}", ports[at]),
        seeds: ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
        bootstrap_expect: ports.len(),
        cookie: COOKIE.into(),
        ..ClusterConfig::default()
    };
    let config = Config { cluster: Some(cluster), ..Config::at(folder.join(at.to_string())) };
    Concord::open(config).expect("a member opens")
}

/// Starts a member in a process of its own: `rust member FOLDER AT PORT PORT PORT`.
fn start(folder: &Path, at: usize, ports: &[u16]) -> Child {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command.arg("member").arg(folder).arg(at.to_string()).args(ports.iter().map(u16::to_string));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a member starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("it listens");
    child
}

/// What a member's process runs, until its standard input ends.
pub fn member(folder: &Path, at: &str, ports: &[&str]) {
    let ports: Vec<u16> = ports.iter().map(|port| port.parse().expect("a port")).collect();
    let db = open(folder, at.parse().expect("a place"), &ports);
    println!("listening");
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|count| count > 0) {}
    db.close().expect("it closes");
}

fn value(n: u64) -> Value {
    let mut bytes = vec![b'-'; 100];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes.into()
}

fn key(task: u64, n: u64) -> String {
    format!("task:{task}:{}", n % 16)
}

/// Acknowledged puts a second; the last of every key is read back.
fn puts(db: &Concord, clients: u64) -> f64 {
    let counts = in_tasks(clients, |task, n| {
        let put = db.kv().put(key(task, n), value(n));
        async move { put.await.expect("a put") }
    });
    for (task, (_, count)) in (0..).zip(&counts) {
        for n in count.saturating_sub(16)..*count {
            assert_eq!(db.kv().get(key(task, n)).expect("a read"), Some(value(n)), "an acknowledged put is lost");
        }
    }
    counts.iter().map(|(measured, _)| measured).sum::<u64>() as f64 / LENGTH.as_secs_f64()
}

/// Reads a second at this level, each checked.
fn reads(db: &Concord, clients: u64, level: Consistency) -> f64 {
    let options = ReadOptions { consistency: Some(level), timeout_ms: None };
    for task in 0..clients {
        db.kv().put(key(task, 0), value(task)).wait().expect("a put");
    }
    let counts = in_tasks(clients, |task, _| {
        let (sender, answer) = tokio::sync::oneshot::channel();
        db.kv().start_read(key(task, 0).as_bytes(), &options, move |record| {
            let _ = sender.send(record.expect("a read").is_some_and(|record| record.value.len() > 100));
        });
        async move { assert!(answer.await.expect("an answer"), "the record is not there") }
    });
    counts.iter().map(|(measured, _)| measured).sum::<u64>() as f64 / LENGTH.as_secs_f64()
}

/// Nanoseconds of one blocking read at this level.
fn read_ns(db: &Concord, level: Consistency) -> f64 {
    let options = ReadOptions { consistency: Some(level), timeout_ms: None };
    let keys: Vec<String> = (0..1000).map(|n| format!("lease:{n}")).collect();
    keys.iter().for_each(|key| db.kv().put(key, value(1)).wait().expect("a put"));
    let (mut count, mut bytes, start) = (0u64, 0, Instant::now());
    while start.elapsed() < Duration::from_secs(1) {
        for key in &keys {
            bytes +=
                db.kv().read(key.as_bytes(), &options, |record| record.value.len()).expect("a read").expect("a record");
            count += 1;
        }
    }
    assert!(bytes as u64 >= count * 100, "the records are not whole");
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Kills the leader of three processes again and again; the time until a client has put again.
pub fn fail_over(folder: &Path) {
    let ports = free_ports(3);
    let mut members: Vec<Child> = (0..3).map(|at| start(folder, at, &ports)).collect();
    let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut config = ClientConfig::new(&addresses.join(","), COOKIE);
    config.connect_timeout_ms = 30_000;
    let client = Concord::connect(config).expect("a member answers");
    client.cluster().wait_ready(30_000).expect("a cluster forms");
    let mut times = Vec::new();
    for kill in 0..KILLS as u64 {
        client.kv().put("failover", value(kill)).wait().expect("a put before the kill");
        let all_are_there = |status: &concord_kv::Status| {
            status.raft.members.iter().all(|member| {
                member.lag.is_some_and(|lag| lag < 10) && member.last_contact_ms.is_some_and(|ms| ms < 200)
            })
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match client.status() {
                // Only the leader itself knows this at first hand.
                Ok(status) if status.raft.state == NodeState::Leader && all_are_there(&status) => break status,
                _ => assert!(Instant::now() < deadline, "the restarted member does not catch up"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let leader = status.raft.members.iter().find(|member| member.is_leader).expect("a leader");
        let at = addresses.iter().position(|address| *address == leader.address).expect("it is one of them");
        end(&mut members[at]);
        let start_of_outage = Instant::now();
        let options = concord_kv::PutOptions { timeout_ms: Some(20_000), ..Default::default() };
        client.kv().put_with("failover", value(kill + 1), &options).wait().unwrap_or_else(|error| {
            panic!("kill {kill} {:?}: {error} {:?}", start_of_outage.elapsed(), client.status())
        });
        times.push(start_of_outage.elapsed().as_secs_f64());
        assert_eq!(client.kv().get("failover").expect("a read"), Some(value(kill + 1)));
        members[at] = start(folder, at, &ports);
    }
    client.close().expect("it closes");
    members.iter_mut().for_each(end);
    times.sort_by(f64::total_cmp);
    let (median, p99) = (times[KILLS / 2], times[KILLS - 1 - KILLS / 100]);
    Figure {
        id: "P12",
        name: "three nodes, kill -9 of the leader to the first put of a client, p99 of 100",
        value: p99 * 1000.0,
        unit: "ms",
        baseline: median * 1000.0,
        baseline_name: "its own median, ms",
        ratio: p99 / median,
    }
    .print();
}

/// Calls `work(task, n)` again and again in so many tasks; tells for each how many were done in the measured time, and in all.
fn in_tasks<F: Future<Output = ()>>(tasks: u64, work: impl Fn(u64, u64) -> F) -> Vec<(u64, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let start = Instant::now();
    let (from, to) = (start + WARM_UP, start + WARM_UP + LENGTH);
    runtime.block_on(futures_util::future::join_all((0..tasks).map(|task| {
        let work = &work;
        async move {
            let (mut measured, mut n) = (0, 0);
            loop {
                work(task, n).await;
                n += 1;
                let now = Instant::now();
                if now >= to {
                    return (measured, n);
                }
                measured += u64::from(now >= from);
            }
        }
    })))
}
