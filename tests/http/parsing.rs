//! Parsing: requests as no library would send them.

use std::io::Write;
use std::net::Shutdown;

use crate::client::{JSON, read_all, request, server, status_of};

#[test]
fn strange_requests_get_a_client_error_or_nothing() {
    let server = server();
    let table: &[(&str, &[u8], &[u16])] = &[
        ("two lengths", b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", &[400]),
        ("a length that is none", b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", &[400]),
        ("a negative length", b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", &[400]),
        ("an unknown coding", b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n", &[400]),
        ("a bad chunk", b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", &[400]),
        ("no host", b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", &[400]),
        ("two hosts", b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400]),
        ("a host that is none", b"GET /health HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", &[400]),
        ("a space before the colon", b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n", &[400]),
        ("a folded header", b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", &[400]),
        ("a zero byte in a header", b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: \0\r\n\r\n", &[400]),
        ("a zero byte in the path", b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("no path", b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("another version", b"GET /health HTTP/3.0\r\nHost: localhost\r\n\r\n", &[400, 505]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400]),
        ("another server's name", b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[403]),
        ("an unknown method", b"BREW /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[405]),
        ("a tunnel", b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404, 405]),
        ("the whole server", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404, 405]),
        ("up and out", b"GET /api/docs/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404]),
        ("up and out, encoded", b"GET /api/docs/%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404]),
        ("twice a slash", b"GET //api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404]),
        ("a slash too many", b"GET /api/v1/status/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404]),
        ("bytes that are no UTF-8 as a key", b"GET /api/v1/kv/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404]),
        ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 400, 505]),
    ];
    for (what, bytes, statuses) in table {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        let answer = read_all(&mut stream);
        let status = crate::client::status_of(&answer);
        assert!(statuses.contains(&status), "{what}: {status}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.db.status().unwrap().size, 0, "nothing was stored");
}

#[test]
fn length_and_chunks_together_smuggle_nothing() {
    let server = server();
    let smuggled = b"DELETE /api/v1/kv/victim HTTP/1.1\r\nHost: localhost\r\nX: ";
    server.put("/api/v1/kv/victim", r#"{"value":1}"#);
    let mut bytes =
        b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec();
    bytes.extend_from_slice(smuggled);
    bytes.extend_from_slice(&request("GET", "/health", &[], b""));
    let answer = String::from_utf8_lossy(&server.raw(&bytes)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "the connection ends with it: {answer}");
    assert_eq!(server.get("/api/v1/kv/victim").status, 200);
}

#[test]
fn requests_in_one_breath_are_answered_in_order() {
    let server = server();
    let put = |n: u32| {
        let body = format!(r#"{{"value":{n}}}"#);
        format!(
            "PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}\
             GET /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\n\r\n",
            body.len()
        )
    };
    let mut all: Vec<u8> = (0..20).flat_map(|n| put(n).into_bytes()).collect();
    all.extend(request("GET", "/health", &[], b""));
    let answers = String::from_utf8(server.raw(&all)).unwrap();
    let values: Vec<&str> = answers.split(r#""data":"#).skip(1).step_by(2).collect();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 41, "{answers}");
    assert_eq!(values.len(), 21);
    for n in 0..20 {
        assert!(answers.contains(&format!(r#"{{"status":"ok","data":{n}}}"#)), "{n}");
    }
}

/// As `nc` and some proxies do.
#[test]
fn who_closes_its_side_after_the_request_is_answered() {
    let server = server();
    for round in 0..50 {
        let mut stream = server.connect();
        let body = format!("{{\"value\":{round}}}");
        stream.write_all(&request("PUT", "/api/v1/kv/half", &[JSON], body.as_bytes())).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(status_of(&read_all(&mut stream)), 200, "round {round}");
        assert_eq!(server.db.kv().get("half").unwrap(), Some(round.into()));
    }
}
