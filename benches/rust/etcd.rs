//! etcd: the same work done by three etcd processes on this machine, when etcd is installed. Spoken to over its JSON
//! gateway with one connection a client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_secs(3);

/// Calls a second of 1 and of 128 clients.
pub struct Figures {
    pub put: [f64; 2],
    /// Linearizable reads.
    pub get: [f64; 2],
}

/// `None` when etcd is not installed.
pub fn measure(folder: &Path) -> Option<Figures> {
    Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let etcd = Etcd::start(folder);
    let put = [1, 128].map(|clients| etcd.rate(clients, true));
    let get = [1, 128].map(|clients| etcd.rate(clients, false));
    Some(Figures { put, get })
}

struct Etcd {
    members: Vec<Child>,
    /// Client port of the leader.
    leader: u16,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

impl Etcd {
    fn start(folder: &Path) -> Etcd {
        let bind = |_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listeners: Vec<_> = (0..6).map(bind).collect();
        let ports: Vec<u16> = listeners.iter().map(|one| one.local_addr().expect("its address").port()).collect();
        drop(listeners);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> = (0..3).map(|at| format!("e{at}={}", url(ports[at]))).collect();
        let start = |at: usize| {
            Command::new("etcd")
                .args(["--name", &format!("e{at}"), "--data-dir"])
                .arg(folder.join(format!("etcd{at}")))
                .args(["--listen-peer-urls", &url(ports[at]), "--initial-advertise-peer-urls", &url(ports[at])])
                .args(["--listen-client-urls", &url(ports[at + 3]), "--advertise-client-urls", &url(ports[at + 3])])
                .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd starts")
        };
        let members = (0..3).map(start).collect();
        let deadline = Instant::now() + Duration::from_secs(30);
        let leader = loop {
            assert!(Instant::now() < deadline, "etcd does not form a cluster");
            std::thread::sleep(Duration::from_millis(100));
            if let Some(leader) = (3..6).map(|at| ports[at]).find(|port| leads(*port)) {
                break leader;
            }
        };
        Etcd { members, leader }
    }

    fn rate(&self, clients: u64, writes: bool) -> f64 {
        let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for client in 0..clients {
                let (count, over) = (&count, &over);
                scope.spawn(move || {
                    let mut line = Line::open(self.leader).expect("a connection");
                    // Keys and values are base64 in this interface: 12 and 136 characters for 9 and 100 bytes.
                    let key = format!("{client:012}");
                    let put = format!(r#"{{"key":"{key}","value":"{}"}}"#, "QUFB".repeat(34));
                    let get = format!(r#"{{"key":"{key}"}}"#);
                    line.call("/v3/kv/put", &put).expect("a put");
                    while !over.load(Ordering::Relaxed) {
                        let answer =
                            if writes { line.call("/v3/kv/put", &put) } else { line.call("/v3/kv/range", &get) };
                        let answer = answer.expect("an answer");
                        assert!(answer.contains(if writes { "revision" } else { "\"kvs\"" }), "{answer}");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(500));
            let before = count.load(Ordering::Relaxed);
            std::thread::sleep(LENGTH);
            let calls = count.load(Ordering::Relaxed) - before;
            over.store(true, Ordering::Relaxed);
            calls as f64 / LENGTH.as_secs_f64()
        })
    }
}

fn leads(port: u16) -> bool {
    let answer = Line::open(port).and_then(|mut line| line.call("/v3/maintenance/status", "{}"));
    let field = |answer: &str, name: &str| {
        let at = answer.find(&format!("\"{name}\":\""))? + name.len() + 4;
        Some(answer[at..].split('"').next()?.to_owned())
    };
    answer.is_ok_and(|answer| {
        let (own, leader) = (field(&answer, "member_id"), field(&answer, "leader"));
        own.is_some() && own == leader
    })
}

/// One connection that stays open.
struct Line {
    stream: BufReader<TcpStream>,
}

impl Line {
    fn open(port: u16) -> std::io::Result<Line> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Line { stream: BufReader::new(stream) })
    }

    fn call(&mut self, path: &str, body: &str) -> std::io::Result<String> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
