//! Limits: what is too much, too long or too slow is cut off with an error, and others do not notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{Answer, JSON, Server, any_port, ask, connect, read_all, request, server, server_with, status_of};
use concord_kv::HttpConfig;

/// A server whose bodies are small.
fn small() -> Server {
    server_with(|config| config.http.body_bytes_max = 64 * 1024)
}

/// The server does what it should, soon.
#[track_caller]
fn is_well(server: &Server) {
    let start = Instant::now();
    assert_eq!(server.put("/api/v1/kv/well", r#"{"value":1}"#).status, 200);
    assert_eq!(server.get("/api/v1/kv/well").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn each_limit_plus_one_is_refused_by_name() {
    let server = small();
    let padding = |bytes: usize| "x".repeat(bytes);
    let headers = |count: usize| "A: b\r\n".repeat(count);
    let get = |path: &str, headers: &str| {
        server.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").as_bytes())
    };
    for (what, answer, status) in [
        ("98 more headers", get("/health", &headers(98)), 200),
        ("99 more headers", get("/health", &headers(99)), 431),
        ("100,000 headers", get("/health", &headers(100_000)), 431),
        ("15 KiB of headers", get("/health", &format!("A: {}\r\n", padding(15 * 1024))), 200),
        ("16 KiB of headers", get("/health", &format!("A: {}\r\n", padding(16 * 1024))), 431),
        ("1 MiB of headers", get("/health", &format!("A: {}\r\n", padding(1024 * 1024))), 431),
        ("a path of 8 KiB", get(&format!("/{}", padding(8 * 1024 - 1)), ""), 404),
        ("a path of 8 KiB and a byte", get(&format!("/{}", padding(8 * 1024)), ""), 414),
        ("a path of 1 MiB", get(&format!("/{}", padding(1024 * 1024)), ""), 414),
    ] {
        let status_is = status_of(&answer);
        // A line that does not even fit into the buffer for line and headers is both.
        assert!(status_is == status || (status == 414 && status_is == 431), "{what}: {status_is}");
    }
    let body = |bytes: usize| format!(r#"{{"value":"{}"}}"#, padding(bytes - 12));
    assert_eq!(server.put("/api/v1/kv/k", &body(64 * 1024)).status, 200);
    let beyond = server.put("/api/v1/kv/k", &body(64 * 1024 + 1));
    assert_eq!((beyond.status, beyond.code().as_str()), (413, "BODY_TOO_LARGE"));
    is_well(&server);
}

#[test]
fn a_gigabyte_is_refused_before_it_is_sent_or_soon_after() {
    let server = server();
    let head = "PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let declared = server.raw_status(format!("{head}Content-Length: 1073741824\r\n\r\n").as_bytes());
    assert_eq!(declared, 413);

    let mut stream = server.connect();
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 1024 * 1024 * 1024 && stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
    assert_eq!(status_of(&read_all(&mut stream)), 413);
    is_well(&server);
}

#[test]
fn compressed_bodies_are_opened_within_the_same_bound() {
    let server = small();
    let zip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let gzip = [JSON, ("Content-Encoding", "gzip")];
    let good = zip(br#"{"value":"zipped"}"#);
    assert_eq!(server.ask("PUT", "/api/v1/kv/k", &gzip, &good).status, 200);
    assert_eq!(server.get("/api/v1/kv/k").data(), "zipped");
    let bomb = zip(&vec![b' '; 32 * 1024 * 1024]);
    assert!(bomb.len() < 64 * 1024);
    let refused = server.ask("PUT", "/api/v1/kv/k", &gzip, &bomb);
    assert_eq!((refused.status, refused.code().as_str()), (413, "BODY_TOO_LARGE"));
    assert_eq!(server.ask("PUT", "/api/v1/kv/k", &gzip, b"no gzip").code(), "INVALID_REQUEST");
    assert_eq!(server.ask("PUT", "/api/v1/kv/k", &gzip, &good[..good.len() - 5]).code(), "INVALID_REQUEST");
    let other = server.ask("PUT", "/api/v1/kv/k", &[JSON, ("Content-Encoding", "br")], b"?");
    assert_eq!((other.status, other.code().as_str()), (415, "UNSUPPORTED_MEDIA_TYPE"));
}

#[test]
fn answers_are_compressed_for_those_who_ask() {
    let server = server();
    server.put("/api/v1/kv/k", &format!(r#"{{"value":"{}"}}"#, "again and ".repeat(1_000)));
    let zipped = server.ask("GET", "/api/v1/kv/k", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, Some("gzip")));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*zipped.body).read_to_string(&mut text).unwrap();
    assert_eq!(text, server.get("/api/v1/kv/k").text());
    assert!(zipped.body.len() * 10 < text.len());
    for accept in ["identity", "gzip;q=0", "br"] {
        assert_eq!(server.ask("GET", "/api/v1/kv/k", &[("Accept-Encoding", accept)], b"").text(), text);
    }
}

#[test]
fn nested_too_deeply_is_an_error_and_not_a_crash() {
    let server = server();
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |depth: usize| format!(r#"{{"value":{}1{}}}"#, open.repeat(depth), close.repeat(depth));
        assert_eq!(server.put("/api/v1/kv/k", &nested(127)).status, 200);
        for depth in [128, 1_000, 100_000] {
            let refused = server.put("/api/v1/kv/k", &nested(depth));
            assert!([400, 422].contains(&refused.status), "{depth}: {}", refused.text());
        }
    }
    for body in ["[".repeat(100_000), r#"{"operations":"#.repeat(100_000)] {
        assert_eq!(server.post("/api/v1/kv/bulk", &body).code(), "INVALID_REQUEST");
    }
    is_well(&server);
}

#[test]
fn whoever_is_slow_is_cut_off() {
    let server = server();
    let start = Instant::now();
    let begin = |bytes: &[u8]| {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        stream
    };
    let mut silent = begin(b"");
    let mut heading = begin(b"GET /health HTTP/1.1\r\nHost: localhost\r\n");
    let head = b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{";
    let mut sending = begin(head);
    let mut resting = begin(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answered = [0; 1024];
    let length = resting.read(&mut answered).unwrap();
    assert_eq!(status_of(&answered[..length]), 200);
    // One that sends a byte now and then is no better.
    let mut dripping = begin(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ");
    let drips = std::thread::spawn(move || {
        while dripping.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
        start.elapsed()
    });
    is_well(&server);
    assert_eq!(read_all(&mut silent), b"");
    assert_eq!(read_all(&mut heading), b"");
    let answer = Answer::read(&read_all(&mut sending));
    assert_eq!((answer.status, answer.code().as_str()), (408, "TIMEOUT"));
    let took = start.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(25), "{took:?}");
    let dripped = drips.join().unwrap();
    assert!(dripped < Duration::from_secs(25), "{dripped:?}");
    // A connection that rests between two requests is kept longer.
    resting.write_all(&request("GET", "/health", &[], b"")).unwrap();
    assert_eq!(status_of(&read_all(&mut resting)), 200);
    is_well(&server);
}

#[test]
fn thousands_that_say_nothing_keep_nobody_out() {
    let raised = std::process::Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), "--nofile=8192:8192"])
        .status();
    assert!(raised.is_ok_and(|status| status.success()), "8192 descriptors are needed");
    let server = server_with(|config| config.http = HttpConfig { connections_max: 500, ..any_port() });
    let mut kept = server.connect();
    let mut answered = [0; 1024];
    let mut again = |kept: &mut TcpStream| {
        kept.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let length = kept.read(&mut answered).unwrap();
        assert_eq!(status_of(&answered[..length]), 200);
    };
    again(&mut kept);
    let idle: Vec<_> = (0..2_000).map(|_| server.connect()).collect();
    for _ in 0..10 {
        is_well(&server);
    }
    // Who has asked before goes last.
    again(&mut kept);
    drop(idle);
    is_well(&server);
}

#[test]
fn when_all_places_are_busy_the_next_one_is_told_so() {
    let server = server_with(|config| config.http = HttpConfig { connections_max: 2, ..any_port() });
    let head =
        b"PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 11\r\n";
    let busy: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(head).unwrap();
            // The server asks for the body when the request runs.
            stream.write_all(b"Expect: 100-continue\r\n\r\n").unwrap();
            let mut goes_on = [0; 25];
            stream.read_exact(&mut goes_on).unwrap();
            assert!(goes_on.starts_with(b"HTTP/1.1 100"));
            stream
        })
        .collect();
    let refused = Answer::read(&read_all(&mut server.connect()));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    for mut stream in busy {
        stream.write_all(br#"{"value":1}"#).unwrap();
        stream.write_all(&request("GET", "/health", &[], b"")).unwrap();
        let answers = read_all(&mut stream);
        assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count(), 2);
    }
    is_well(&server);
}

#[test]
fn closing_lets_what_is_under_way_end() {
    let server = server();
    let address = server.address();
    let mut stream = connect(address);
    let head =
        "PUT /api/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 11\r\n";
    stream.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let mut goes_on = [0; 25];
    stream.read_exact(&mut goes_on).unwrap();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| server.serving.close());
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        stream.write_all(br#"{"value":1}"#).unwrap();
        let answer = Answer::read(&read_all(&mut stream));
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        closing.join().unwrap();
    });
    assert_eq!(server.db.kv().get("k").unwrap(), Some(1.into()));
    server.serving.close();
}

#[test]
fn a_hundred_large_bodies_at_once_are_served_or_turned_away() {
    let server = server();
    let body = format!(r#"{{"value":"{}"}}"#, "0".repeat(7 * 1024 * 1024));
    let address = server.address();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let put = |n: usize| {
            let body = &body;
            scope.spawn(move || ask(address, "PUT", &format!("/api/v1/kv/{}", n % 3), &[JSON], body.as_bytes()).status)
        };
        let asked: Vec<_> = (0..48).map(put).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200));
    is_well(&server);
}
