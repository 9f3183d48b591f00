//! Strangers: who does not belong to the cluster stays outside, is told why, and costs nobody anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use concord_kv::{ClientConfig, ClusterConfig, Concord, Config, Consistency, ErrorKind, ReadOptions, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::fleet::{COOKIE, Fleet};

/// Writes an authority and a certificate of it for this host.
fn certificates(dir: &Path) -> TlsConfig {
    let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_pem = authority.self_signed(&authority_key).expect("an authority").pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        path
    };
    TlsConfig {
        certificate: write("node.pem", &certificate),
        private_key: write("node.key", &key.serialize_pem()),
        authority: write("authority.pem", &authority_pem),
        verify_node_id: false,
    }
}

/// With certificates the cluster works as without, and whoever has none of its authority stays outside.
#[test]
fn a_cluster_with_certificates_serves_only_who_has_one() {
    let (own, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let fleet = Fleet::form_in(3, None, Some(certificates(own.path())));
    let clients: Vec<_> = fleet.all().map(|node| fleet.connect([node])).collect();
    for (node, client) in clients.iter().enumerate() {
        client.kv().put(format!("from{node}"), node as i64).wait().expect("a write");
    }
    let strong = ReadOptions { consistency: Some(Consistency::Strong), timeout_ms: None };
    for client in &clients {
        for node in fleet.all() {
            let found =
                client.kv().read(format!("from{node}").as_bytes(), &strong, |record| record.revision).expect("a read");
            assert!(found.is_some());
        }
    }
    let impatient = ClientConfig { connect_timeout_ms: 1_500, ..fleet.client_config(fleet.all()) };
    let without = ClientConfig { tls: None, ..impatient.clone() };
    let error = Concord::connect(without).err().expect("plaintext is refused");
    println!("without a certificate: {error}");
    let forged = ClientConfig { tls: Some(certificates(other.path())), ..impatient };
    let error = Concord::connect(forged).err().expect("another authority is refused");
    println!("with a certificate of another authority: {error}");
    clients[0].kv().put("after", 1).wait().expect("the cluster goes on");
}

/// A client or a node with another secret is told so; a node of another cluster is told what to do.
#[test]
fn strangers_are_refused_with_a_message_that_helps() {
    let fleet = Fleet::form(3);
    let members = fleet.connect(fleet.all());
    let wrong = ClientConfig { cookie: "another secret".into(), ..fleet.client_config(fleet.all()) };
    let start = Instant::now();
    let error = Concord::connect(wrong).err().expect("a wrong secret is refused");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());

    let stranger = |cookie: &str, dir: &str, expect: usize| {
        let cluster = ClusterConfig {
            listen: "127.0.0.1:0".to_owned(),
            seeds: if expect == 1 { Vec::new() } else { vec![fleet.address(0).to_owned()] },
            bootstrap_expect: expect,
            cookie: cookie.into(),
            ..ClusterConfig::default()
        };
        Concord::open(Config { cluster: Some(cluster), ..Config::at(fleet.spare_dir(dir)) }).expect("it listens")
    };
    let node = stranger("another secret", "wrong", 0);
    let error = node.cluster().wait_ready(1_000).expect_err("it is not taken in");
    assert!(error.message().contains("secret") || error.message().contains("cookie"), "{error}");
    node.close().expect("it closes");

    let foreign = stranger(COOKIE, "foreign", 1);
    foreign.cluster().wait_ready(5_000).expect("it founds a cluster of its own");
    let address = foreign.status().expect("a status").raft.address;
    let error = members.cluster().add(&address, Some(3_000)).expect_err("it belongs to another cluster");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.message().contains("correct the address"), "{error}");
    foreign.close().expect("it closes");
    assert_eq!(members.members().expect("the members").len(), 3);
}

fn resident_kib(process_id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Garbage, claims of gigabytes, half messages and hundreds of silent connections on the port of the leader: it stays the
/// leader, answers in time, and takes no memory for what was only claimed.
#[test]
fn hostile_bytes_on_the_port_disturb_nobody() {
    let fleet = Fleet::form(3);
    let client = fleet.connect(fleet.all());
    client.kv().put("k", 0).wait().expect("a write");
    let leader = fleet.leader(&[0, 1, 2]);
    let before = client.status().expect("a status").raft;
    let (process_id, address) = (fleet.process_id(leader), fleet.address(leader));
    let resident_before_kib = resident_kib(process_id);
    let opening = b"CONCORD\0\x01\0";
    let claims: [&[u8]; 6] =
        [&[0xff; 64], b"GET / HTTP/1.1\r\n\r\n", opening, &[0; 4096], b"\xff\xff\xff\xff\x01", b"CONCORD\0\xff\xff"];
    let mut open = Vec::new();
    for round in 0..600 {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        // It may have closed the connection already.
        stream.write_all(claims[round % claims.len()]).ok();
        if round % 3 > 0 {
            // Whatever it answers, if anything.
            let _answered = stream.read(&mut [0; 256]).unwrap_or(0);
            open.push(stream);
        }
        if round % 50 == 0 {
            let start = Instant::now();
            client.kv().put("k", round as i64).wait().expect("a write in between");
            assert!(start.elapsed() < Duration::from_secs(1), "a write took {:?}", start.elapsed());
        }
    }
    let grown_kib = resident_kib(process_id).saturating_sub(resident_before_kib);
    println!("hostile: {} connections held open, {grown_kib} KiB more", open.len());
    assert!(grown_kib < 32 * 1024, "it takes {grown_kib} KiB for {} strangers", open.len());
    let new = fleet.connect([leader]);
    assert_eq!(new.kv().get("k").expect("a new client is served"), Some(550.into()));
    let after = client.status().expect("a status").raft;
    assert_eq!((after.term, after.leader), (before.term, before.leader), "the leader was disturbed");
}
