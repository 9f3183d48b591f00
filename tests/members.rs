//! Members: three stores in one process are one store.

use std::time::{Duration, Instant};

use concord_kv::{ClientConfig, ClusterConfig, Concord, Config, Consistency, ReadOptions};

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn member(dir: &std::path::Path, port: u16, ports: &[u16], expect: usize) -> Config {
    let cluster = ClusterConfig {
        listen: format!("127.0.0.1:{port}"),
        seeds: ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
        bootstrap_expect: expect,
        cookie: "a secret of this test".into(),
        ..ClusterConfig::default()
    };
    Config { cluster: Some(cluster), ..Config::at(dir) }
}

#[test]
fn three_nodes_are_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(3);
    let open = |at: usize| Concord::open(member(&dir.path().join(at.to_string()), ports[at], &ports, 3)).unwrap();
    let mut nodes: Vec<Concord> = (0..3).map(open).collect();
    let start = Instant::now();
    for node in &nodes {
        node.cluster().wait_ready(20_000).unwrap();
    }
    eprintln!("formed in {:?}", start.elapsed());
    for (at, node) in nodes.iter().enumerate() {
        node.kv().put(format!("from:{at}"), at as i64).wait().unwrap();
    }
    for node in &nodes {
        for at in 0..3 {
            for level in [Consistency::Leader, Consistency::Strong] {
                let options = ReadOptions { consistency: Some(level), timeout_ms: None };
                let found =
                    node.kv().read(format!("from:{at}").as_bytes(), &options, |record| record.revision).unwrap();
                assert!(found.is_some(), "{level:?} {at}");
            }
        }
    }
    let client =
        Concord::connect(ClientConfig::new(&format!("127.0.0.1:{}", ports[0]), "a secret of this test")).unwrap();
    client.kv().put("client", "here").wait().unwrap();
    assert_eq!(client.kv().get("client").unwrap(), Some("here".into()));
    assert_eq!(client.kv().get_all().unwrap().len(), 4);

    let leader = nodes.iter().position(|node| node.kv().reads_at_once(&ReadOptions::default())).unwrap();
    let start = Instant::now();
    nodes.remove(leader).close().unwrap();
    eprintln!("closed the leader in {:?}", start.elapsed());
    let start = Instant::now();
    nodes[0].kv().put("after", 1).wait().unwrap();
    eprintln!("first put after {:?}", start.elapsed());
    client.kv().put("client", "still").wait().unwrap();
    assert_eq!(client.kv().get("client").unwrap(), Some("still".into()));
    std::thread::sleep(Duration::from_millis(100));
    for status in nodes.iter().map(|node| node.status().unwrap()) {
        eprintln!("{:?}", status.raft);
    }
}
