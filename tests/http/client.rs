//! Client: a store that serves HTTP, and the smallest client that hides nothing of what goes over the socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use concord_kv::{Concord, Config, HttpConfig, Serving};
use serde_json::Value;

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A store in memory with its API on a port of its own.
pub struct Server {
    pub db: Concord,
    pub serving: Serving,
}

pub fn server() -> Server {
    server_with(|_| {})
}

pub fn server_with(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config { http: any_port(), ..Config::default() };
    change(&mut config);
    let db = Concord::open(config.clone()).expect("a store");
    let serving = Serving::start(&db, &config).expect("a server").expect("an address is configured");
    Server { db, serving }
}

pub fn any_port() -> HttpConfig {
    HttpConfig { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..HttpConfig::default() }
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        self.serving.address().expect("the API listens")
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(self.address(), method, path, headers, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn put(&self, path: &str, json: &str) -> Answer {
        self.ask("PUT", path, &[JSON], json.as_bytes())
    }

    pub fn post(&self, path: &str, json: &str) -> Answer {
        self.ask("POST", path, &[JSON], json.as_bytes())
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], b"")
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// What comes back for these bytes, until the other side closes.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The other side may close before it has read all.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    /// The status that comes back for these bytes; 0 when the connection is just closed.
    pub fn raw_status(&self, bytes: &[u8]) -> u16 {
        status_of(&self.raw(bytes))
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream
}

pub fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset after the answer leaves what was read.
    let _ = stream.read_to_end(&mut all);
    all
}

pub fn status_of(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// One request on a connection of its own.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = connect(address);
    let _ = stream.write_all(&request(method, path, headers, body));
    Answer::read(&read_all(&mut stream))
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no whole head in {:?}", String::from_utf8_lossy(bytes));
        });
        let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
        let field = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers: Vec<_> = head.lines().skip(1).map(field).collect();
        let mut answer = Answer { status: status_of(bytes), headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The data of a good answer.
    #[track_caller]
    pub fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        let json = self.json();
        assert_eq!(json["status"], "ok");
        json["data"].clone()
    }

    /// The code of an error, with everything that an error has.
    #[track_caller]
    pub fn code(&self) -> String {
        let json = self.json();
        assert_eq!(json["status"], "error", "{}", self.text());
        assert_eq!(json["error"]["request_id"], self.header("x-request-id").expect("a request id"));
        assert!(json["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{json}");
        json["error"]["code"].as_str().expect("a code").to_owned()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("a size"), 16).expect("a size");
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    body
}
