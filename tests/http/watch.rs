//! Watch: changes over HTTP, as a stream that can be lost and taken up again, and as one answer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use concord_kv::{EventHistory, NewToken, Scopes};
use serde_json::{Value, json};

use crate::client::{Answer, Server, request, server, server_with};

/// A stream of server-sent events, as a browser reads it.
struct Stream {
    lines: BufReader<TcpStream>,
    /// The id of the last event that had one.
    last_id: Option<String>,
}

/// One event: its name and its data.
type Event = (String, Value);

impl Stream {
    fn open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Stream {
        let mut stream = server.connect();
        let headers = [&[("Accept", "text/event-stream")], headers].concat();
        stream.write_all(&request("GET", &format!("/api/v1/watch{query}"), &headers, b"")).expect("a request");
        let mut stream = Stream { lines: BufReader::new(stream), last_id: None };
        let head: Vec<String> = std::iter::from_fn(|| Some(stream.line()).filter(|line| !line.is_empty())).collect();
        assert!(head[0].starts_with("HTTP/1.1 200"), "{head:?}");
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")), "{head:?}");
        // Its greeting: it watches from now on.
        while stream.line() != ": connected" {}
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    /// The next event; `None` at the end of the stream. Chunk lengths, comments and blank lines between are left out.
    fn next(&mut self) -> Option<Event> {
        let mut name = None;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("a line in time") == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                Some(("event", event)) => name = Some(event.to_owned()),
                Some(("data", data)) => {
                    return Some((name.expect("its name"), serde_json::from_str(data).expect("JSON")));
                }
                _ => {}
            }
        }
    }

    /// Name, key and value of the next event.
    fn told(&mut self) -> (String, String, Value) {
        let (name, data) = self.next().expect("an event");
        (name, data["key"].as_str().unwrap_or_default().to_owned(), data["value"].clone())
    }
}

fn put(key: &str, value: i64) -> (String, String, Value) {
    ("put".to_owned(), key.to_owned(), value.into())
}

#[test]
fn a_stream_tells_changes_as_they_happen_and_is_taken_up_where_it_was_lost() {
    let server = server();
    server.put("/api/v1/kv/a", r#"{"value":1}"#);
    let mut stream = Stream::open(&server, "", &[]);
    server.put("/api/v1/kv/a", r#"{"value":{"n":2},"ttl":60}"#);
    let (name, data) = stream.next().expect("an event");
    let time_ms = data["time_ms"].as_u64().expect("a time");
    let expected = json!({"type": "put", "key": "a", "value": {"n": 2}, "revision": 2, "next": "3", "time_ms": time_ms,
        "ttl": 60, "bulk": false});
    assert_eq!((name.as_str(), data), ("put", expected));
    assert_eq!(stream.last_id.as_deref(), Some("3"));
    let bulk = r#"{"operations":[{"key":"x","value":1},{"key":"y","value":2},{"key":"z","value":3}]}"#;
    server.post("/api/v1/kv/bulk", bulk);
    assert_eq!([stream.told(), stream.told()], [put("x", 1), put("y", 2)]);
    // Lost in the middle of a command.
    let last = stream.last_id.clone().expect("an id");
    assert_eq!(last, "3.2");
    drop(stream);
    server.delete("/api/v1/kv/a");
    let mut again = Stream::open(&server, "?from_revision=1&include=prev", &[("Last-Event-ID", &last)]);
    assert_eq!(again.told(), put("z", 3));
    let (name, data) = again.next().expect("an event");
    assert_eq!((name.as_str(), &data["value"], &data["previous"]), ("delete", &Value::Null, &json!({"n": 2})));
    let mut first = Stream::open(&server, "?from_revision=1&types=put,delete&prefix=a", &[]);
    let kinds: Vec<String> = (0..3).map(|_| first.told().0).collect();
    assert_eq!(kinds, ["put", "put", "delete"]);
}

#[test]
fn the_state_comes_first_and_a_stream_ends_when_it_is_to() {
    let server = server();
    for n in 0..3 {
        server.put(&format!("/api/v1/kv/k:{n}"), &format!("{{\"value\":{n}}}"));
    }
    let begun = Instant::now();
    let mut stream = Stream::open(&server, "?include=state&prefix=k:&where=value%20%3E%200&timeout_ms=700", &[]);
    assert_eq!(stream.told(), ("state".to_owned(), "k:1".to_owned(), 1.into()));
    assert_eq!(stream.told(), ("state".to_owned(), "k:2".to_owned(), 2.into()));
    assert_eq!(stream.last_id, None, "one that is lost here begins again");
    assert_eq!(stream.next(), Some(("progress".to_owned(), json!({"type": "progress", "revision": 3}))));
    assert_eq!(stream.last_id.as_deref(), Some("4"));
    server.put("/api/v1/kv/k:0", r#"{"value":0}"#);
    server.put("/api/v1/kv/k:0", r#"{"value":9}"#);
    assert_eq!(stream.told(), put("k:0", 9));
    assert_eq!(stream.next(), None);
    assert!(begun.elapsed() >= Duration::from_millis(700));
    // The server stops without waiting for streams.
    let mut endless = Stream::open(&server, "", &[]);
    let begun = Instant::now();
    server.serving.close();
    assert_eq!(endless.next(), None);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn what_is_no_longer_retained_is_said_and_so_is_a_gap() {
    let event_history = EventHistory { events_max: 50, ..EventHistory::default() };
    let server = server_with(|config| config.event_history = event_history);
    let mut slow = Stream::open(&server, "", &[]);
    // More than every buffer on the way holds.
    let large = "x".repeat(200_000);
    for n in 0..400i64 {
        server.db.kv().put("k", format!("{n}{large}")).wait().expect("a put");
    }
    let (mut seen, mut gaps, mut last) = (0, 0, 0);
    while last < 400 {
        let (name, data) = slow.next().expect("an event");
        match name.as_str() {
            "gap" => {
                gaps += 1;
                assert_eq!(data["from_revision"], last + 1);
                last = data["resume_revision"].as_u64().expect("a revision") - 1;
            }
            _ => {
                seen += 1;
                assert_eq!(data["revision"], last + 1);
                last += 1;
            }
        }
    }
    assert!(gaps > 0 && seen > 0, "{gaps} gaps, {seen} events");
    let gone = server.get("/api/v1/watch?from_revision=2");
    assert_eq!((gone.status, gone.code().as_str()), (410, "COMPACTED"));
    let details = gone.json();
    let oldest = details["error"]["oldest_revision"].as_u64().expect("the oldest revision");
    assert!(oldest > 300 && details["error"]["kind"] == "compacted", "{details}");
    assert_eq!(poll(&server, &format!("?from_revision={oldest}")).status, 200);
}

fn poll(server: &Server, query: &str) -> Answer {
    server.ask("GET", &format!("/api/v1/watch{query}"), &[("Accept", "application/json")], b"")
}

#[test]
fn json_is_one_answer_and_where_to_go_on() {
    let server = server();
    let nothing = poll(&server, "?timeout_ms=1").data();
    assert_eq!(nothing, json!({"events": [], "next": "1"}));
    for n in 0..3 {
        server.put(&format!("/api/v1/kv/k:{n}"), &format!("{{\"value\":{n}}}"));
    }
    let all = poll(&server, "?from_revision=1").data();
    assert_eq!((all["events"].as_array().map(Vec::len), &all["next"]), (Some(3), &json!("4")));
    assert_eq!(poll(&server, "?from_revision=4&timeout_ms=1").data(), json!({"events": [], "next": "4"}));
    let writing = std::thread::spawn({
        let db = server.db.clone();
        move || {
            while db.watch_stats().expect("stats").watchers == 0 {
                std::thread::yield_now();
            }
            db.kv().put("later", 1).wait().expect("a put");
        }
    });
    let later = poll(&server, "?from_revision=4&timeout_ms=20000").data();
    assert_eq!((&later["events"][0]["key"], &later["next"]), (&json!("later"), &json!("5")));
    writing.join().expect("a writer");
    let state = poll(&server, "?include=state&prefix=k:&timeout_ms=1000").data();
    assert_eq!(state["events"].as_array().map(Vec::len), Some(3));
    for (wrong, words) in [
        ("from_revision=x", "position"),
        ("from_revision=-1", "position"),
        ("types=get", "`get`"),
        ("include=all", "include"),
        ("include=state&from_revision=1", "each says where"),
        ("where=value%20%3E", "column"),
        ("pattern=%28", "pattern"),
        ("from=b&to=a", "range"),
        ("from=a", "together"),
        ("pattern_flags=q", "imsxu"),
        ("prefixes=a", "documented"),
    ] {
        let refused = poll(&server, &format!("?{wrong}"));
        assert!(refused.status == 400 && refused.text().contains(words), "{wrong}: {}", refused.text());
    }
}

#[test]
fn a_stream_ends_with_its_token() {
    let server = server_with(|config| config.auth_enabled = true);
    let scopes = Scopes { read: true, ..Scopes::default() };
    let new = NewToken { name: "w".to_owned(), scopes, key_prefixes: vec![b"mine:".to_vec()], ttl: None };
    let admin = server.db.as_admin();
    let token = admin.tokens().create(&new).expect("a token");
    let bearer = format!("Bearer {}", token.token.reveal());
    let refused = server.ask("GET", "/api/v1/watch", &[("Authorization", &bearer)], b"");
    assert_eq!(refused.status, 403);
    let mut stream = Stream::open(&server, "?prefix=mine:", &[("Authorization", &bearer)]);
    admin.kv().put("theirs:1", 1).wait().expect("a put");
    admin.kv().put("mine:1", 1).wait().expect("a put");
    assert_eq!(stream.told(), put("mine:1", 1));
    admin.tokens().revoke(&token.info.id).expect("a revocation");
    let (name, data) = stream.next().expect("an event");
    assert_eq!((name.as_str(), &data["kind"]), ("end", &json!("unauthorized")));
    assert_eq!(stream.next(), None);
}
