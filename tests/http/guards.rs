//! Guards: what every answer carries, and whom a store without tokens does not answer.

use concord_kv::{Config, ErrorKind, Serving};

use crate::client::{JSON, any_port, server};

#[test]
fn every_answer_has_its_headers_and_its_id() {
    let server = server();
    for (method, path, status) in [
        ("GET", "/health", 200),
        ("GET", "/api/v1/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/metrics", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/kv/none", 404),
        ("PATCH", "/api/v1/kv/none", 405),
        ("POST", "/health", 405),
        ("OPTIONS", "/api/v1/kv/none", 405),
        ("TRACE", "/api/v1/status", 405),
    ] {
        let answer = server.ask(method, path, &[JSON], b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 16));
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control")), "no CORS");
        if status == 405 {
            let allowed = answer.header("allow").expect("what is allowed").to_owned();
            assert!(allowed.contains("GET") && !allowed.contains(method), "{allowed}");
            assert_eq!(answer.code(), "METHOD_NOT_ALLOWED");
        }
    }
}

#[test]
fn a_sane_request_id_is_kept_and_another_is_not() {
    let server = server();
    let long = "x".repeat(65);
    for (id, is_kept) in
        [("req-42_a.b", true), ("a b", false), ("<script>", false), ("", false), (long.as_str(), false)]
    {
        let answer = server.ask("GET", "/api/v1/kv/none", &[("X-Request-Id", id)], b"");
        assert_eq!(answer.header("x-request-id") == Some(id), is_kept, "{id}");
        assert_eq!(answer.code(), "NOT_FOUND");
    }
}

#[test]
fn other_names_and_other_pages_are_refused_while_no_token_is_needed() {
    let server = server();
    let port = server.address().port();
    let own = format!("localhost:{port}");
    let get = |host: &str| server.ask("GET", "/api/v1/status", &[("Host", host)], b"").status;
    assert_eq!([get(&own), get("127.0.0.1"), get("[::1]:80"), get("10.1.2.3")], [200; 4]);
    assert_eq!([get("evil.example"), get("localhost.evil.example"), get(&format!("x.{own}"))], [403; 3]);
    let put = |name: &str, value: &str| {
        let headers = [JSON, ("Host", own.as_str()), (name, value)];
        server.ask("PUT", "/api/v1/kv/k", &headers, br#"{"value":1}"#).status
    };
    assert_eq!(put("Origin", &format!("http://{own}")), 200);
    assert_eq!(put("Sec-Fetch-Site", "same-origin"), 200);
    for (name, value) in [("Origin", "http://localhost:1"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        assert_eq!(put(name, value), 403, "{name}: {value}");
    }
    let read = [("Host", own.as_str()), ("Origin", "http://evil.example")];
    assert_eq!(
        server.ask("GET", "/api/v1/kv/k", &read, b"").status,
        200,
        "a browser shows it to nobody: there is no CORS"
    );
}

#[test]
fn an_open_address_has_to_be_meant() {
    let mut config = Config { http: any_port(), ..Config::default() };
    config.http.listen = Some("0.0.0.0:0".parse().unwrap());
    let refused = concord_kv::Concord::open(config.clone()).err().expect("nobody meant it");
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    config.http.allow_open = true;
    let db = concord_kv::Concord::open(config.clone()).unwrap();
    let serving = Serving::start(&db, &config).unwrap().expect("an address");
    let address = format!("127.0.0.1:{}", serving.address().expect("an address").port());
    let answer = crate::client::ask(address.parse().unwrap(), "GET", "/health", &[("Host", "any.example")], b"");
    assert_eq!(answer.status, 200, "its names are not known");
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let server = server();
    let mut config = Config { http: any_port(), ..Config::default() };
    config.http.listen = Some(server.address());
    let refused = Serving::start(&server.db, &config).err().expect("it is taken");
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    assert!(refused.message().contains("choose another"), "{refused}");
    assert!(Serving::start(&server.db, &Config::default()).unwrap().is_none(), "nothing was asked for");
}

#[test]
fn a_store_that_is_closed_says_so() {
    let server = server();
    server.db.close().unwrap();
    assert_eq!(server.get("/health").status, 200, "the server lives");
    for answer in [server.get("/ready"), server.get("/api/v1/kv/k"), server.put("/api/v1/kv/k", r#"{"value":1}"#)] {
        assert_eq!((answer.status, answer.code().as_str()), (503, "CLUSTER_UNAVAILABLE"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[test]
fn metrics_have_an_address_of_their_own() {
    let server = crate::client::server_with(|config| config.http.metrics_listen = config.http.listen);
    let address = server.serving.metrics_address().expect("the metrics listen");
    let get = |path: &str| crate::client::ask(address, "GET", path, &[], b"");
    let metrics = get("/metrics");
    assert!(metrics.text().contains("\nconcord_cluster_size 0\n"), "{}", metrics.text());
    assert!(metrics.header("content-type").is_some_and(|media| media.starts_with("text/plain; version=0.0.4")));
    assert_eq!((get("/ready").status, get("/api/v1/kv").status), (200, 404));
}
