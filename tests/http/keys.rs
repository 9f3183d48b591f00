//! Keys: the verbs of one key, their conditions and their forms.

use concord_kv::{ErrorKind, Value};
use serde_json::json;

use crate::client::{JSON, server};

#[test]
fn a_value_is_stored_read_and_removed() {
    let server = server();
    let stored = server.put("/api/v1/kv/greeting", r#"{"value": "Hello, World!"}"#);
    let revision = stored.data()["revision"].as_u64().expect("a revision");
    assert_eq!(stored.header("etag"), Some(format!("\"{revision}\"").as_str()));
    assert_eq!(server.db.kv().get("greeting").unwrap(), Some(Value::from("Hello, World!")));

    let read = server.get("/api/v1/kv/greeting");
    assert_eq!(read.data(), json!("Hello, World!"));
    assert_eq!(read.header("etag"), stored.header("etag"));
    assert_eq!(server.get("/api/v1/kv/greeting?with_ttl=true").data(), json!({"value": "Hello, World!", "ttl": null}));
    let record = json!({"value": "Hello, World!", "revision": revision, "ttl": null});
    assert_eq!(server.get("/api/v1/kv/greeting?with=record").data(), record);
    for level in ["eventual", "leader", "strong"] {
        let read = server.get(&format!("/api/v1/kv/greeting?consistency={level}&timeout_ms=1000"));
        assert_eq!(read.data(), json!("Hello, World!"));
    }

    assert!(server.delete("/api/v1/kv/greeting").data()["revision"].as_u64().is_some());
    assert_eq!(server.delete("/api/v1/kv/greeting").data(), json!({"revision": null}));
    assert_eq!(server.get("/api/v1/kv/greeting").code(), "NOT_FOUND");
}

#[test]
fn what_json_says_comes_back_as_it_was() {
    let server = server();
    for text in [
        "null",
        "true",
        "123456789012345678901234567890",
        "-0.5",
        "\"\\u0000 \u{1f600}\"",
        r#"[1,[2,{"a":null}]]"#,
        r#"{"$bytes":"/wA="}"#,
        r#"{"$$bytes":"x"}"#,
        r#"{"":{"b":[]}}"#,
    ] {
        assert_eq!(server.put("/api/v1/kv/k", &format!(r#"{{"value":{text}}}"#)).status, 200, "{text}");
        assert_eq!(server.get("/api/v1/kv/k").text(), format!(r#"{{"status":"ok","data":{text}}}"#));
    }
}

#[test]
fn raw_values_go_in_and_out_as_they_are() {
    let server = server();
    let bytes: Vec<u8> = (0..=255).collect();
    let octets = ("Content-Type", "application/octet-stream");
    assert_eq!(server.ask("PUT", "/api/v1/kv/raw?ttl=60", &[octets], &bytes).status, 200);
    let read = server.ask("GET", "/api/v1/kv/raw", &[("Accept", "application/octet-stream")], b"");
    assert_eq!((read.body.as_slice(), read.header("content-type")), (&bytes[..], Some("application/octet-stream")));
    let ttl = server.get("/api/v1/kv/raw/ttl").data()["ttl"].as_f64().expect("a lifetime");
    assert!((50.0..=60.0).contains(&ttl), "{ttl}");

    let cbor = [0x82, 0x01, 0xf9, 0x7e, 0x00]; // [1, NaN]
    assert_eq!(server.ask("PUT", "/api/v1/kv/raw", &[("Content-Type", "application/cbor")], &cbor).status, 200);
    assert_eq!(server.ask("GET", "/api/v1/kv/raw", &[("Accept", "application/cbor")], b"").body, cbor);
    let unsaid = server.get("/api/v1/kv/raw");
    assert_eq!((unsaid.status, unsaid.code().as_str()), (422, "INVALID_VALUE"));
    for accept in ["application/octet-stream", "text/html"] {
        let refused = server.ask("GET", "/api/v1/kv/raw", &[("Accept", accept)], b"");
        assert_eq!((refused.status, refused.code().as_str()), (406, "NOT_ACCEPTABLE"));
    }
    let broken = server.ask("PUT", "/api/v1/kv/raw", &[("Content-Type", "application/cbor")], &cbor[..3]);
    assert_eq!((broken.status, broken.code().as_str()), (422, "INVALID_VALUE"));
}

#[test]
fn a_large_value_takes_the_same_ways() {
    let server = server();
    let value = "0123456789abcdef".repeat(100_000);
    assert_eq!(server.put("/api/v1/kv/large", &format!(r#"{{"value":"{value}"}}"#)).status, 200);
    assert_eq!(server.get("/api/v1/kv/large").data(), json!(value));
    assert_eq!(server.get("/api/v1/kv/large?consistency=strong&with_ttl=true").data()["value"], json!(value));
}

#[test]
fn conditions_hold_or_answer_409() {
    let server = server();
    let path = "/api/v1/kv/seat";
    let new = [JSON, ("If-None-Match", "*")];
    let first = server.ask("PUT", path, &new, br#"{"value":"ann"}"#);
    let tag = first.header("etag").expect("a tag").to_owned();
    let again = server.ask("PUT", path, &new, br#"{"value":"bob"}"#);
    assert_eq!((again.status, again.code().as_str()), (409, "CONFLICT"));
    assert_eq!(again.json()["error"]["kind"], "already_exists");

    let over = [JSON, ("If-Match", tag.as_str())];
    assert_eq!(server.ask("PUT", path, &over, br#"{"value":"cat"}"#).status, 200);
    let late = server.ask("PUT", path, &over, br#"{"value":"dan"}"#);
    assert_eq!((late.status, late.json()["error"]["kind"].as_str()), (409, Some("condition_failed")));
    assert_eq!(server.ask("DELETE", path, &[("If-Match", tag.as_str())], b"").status, 409);

    assert_eq!(server.put(path, r#"{"value":"eve","expected":"bob"}"#).code(), "CONFLICT");
    assert_eq!(server.put(path, r#"{"value":null,"expected":"cat"}"#).status, 200);
    assert_eq!(server.put(path, r#"{"value":7,"expected":null}"#).status, 200, "null is a legal expectation");
    assert_eq!(server.put(path, r#"{"value":8,"expected":7.0}"#).status, 200, "7 equals 7.0");
    assert_eq!(server.ask("DELETE", path, &[JSON], br#"{"expected":9}"#).status, 409);
    assert_eq!(server.ask("DELETE", path, &[JSON], br#"{"expected":8}"#).status, 200);
    assert_eq!(server.put(path, r#"{"value":1,"expected":8}"#).code(), "NOT_FOUND");

    let both = [JSON, ("If-Match", "\"1\""), ("If-None-Match", "*")];
    assert_eq!(server.ask("PUT", path, &both, br#"{"value":1}"#).code(), "INVALID_REQUEST");
    for wrong in ["*", "1", "W/\"1\"", "\"a\"", "\"1\", \"2\""] {
        let refused = server.ask("PUT", path, &[JSON, ("If-Match", wrong)], br#"{"value":1}"#);
        assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID_REQUEST"), "{wrong}");
    }
    assert_eq!(server.db.kv().get("seat").unwrap(), None, "nothing of what was refused was done");
}

#[test]
fn a_reader_that_has_the_revision_gets_no_body() {
    let server = server();
    let tag = server.put("/api/v1/kv/k", r#"{"value":1}"#).header("etag").expect("a tag").to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"77\", {tag}"), "*".to_owned()] {
        let read = server.ask("GET", "/api/v1/kv/k", &[("If-None-Match", &known)], b"");
        assert_eq!((read.status, read.body.len(), read.header("etag")), (304, 0, Some(tag.as_str())), "{known}");
    }
    server.put("/api/v1/kv/k", r#"{"value":2}"#);
    assert_eq!(server.ask("GET", "/api/v1/kv/k", &[("If-None-Match", &tag)], b"").data(), json!(2));
    let head = server.ask("HEAD", "/api/v1/kv/k", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn lifetimes_are_set_changed_and_told() {
    let server = server();
    server.put("/api/v1/kv/k", r#"{"value":1,"ttl":3600}"#);
    let ttl = |server: &crate::client::Server| server.get("/api/v1/kv/k/ttl").data()["ttl"].clone();
    assert!((3590.0..=3600.0).contains(&ttl(&server).as_f64().expect("a lifetime")));
    server.post("/api/v1/kv/k/touch", r#"{"ttl":30.5}"#).data();
    assert!(ttl(&server).as_f64().expect("a lifetime") <= 30.5);
    server.post("/api/v1/kv/k/touch", r#"{"ttl":60}"#).data();
    server.put("/api/v1/kv/k", r#"{"value":2}"#);
    assert_eq!(ttl(&server), json!(null), "a write without a lifetime removes the old one");
    for wrong in ["0", "-1", "0.0001", "1e300"] {
        let put = server.put("/api/v1/kv/k", &format!(r#"{{"value":3,"ttl":{wrong}}}"#));
        let touch = server.post("/api/v1/kv/k/touch", &format!(r#"{{"ttl":{wrong}}}"#));
        assert_eq!((put.status, put.code().as_str(), touch.code().as_str()), (400, "INVALID_TTL", "INVALID_TTL"));
    }
    assert_eq!(server.post("/api/v1/kv/none/touch", r#"{"ttl":60}"#).code(), "NOT_FOUND");
    assert_eq!(server.get("/api/v1/kv/none/ttl").code(), "NOT_FOUND");
}

#[test]
fn counters_count() {
    let server = server();
    let add = |json: &str| server.post("/api/v1/kv/visits/increment", json);
    assert_eq!(add("{}").data()["value"], 1);
    assert_eq!(add(r#"{"by":-11}"#).data()["value"], -10);
    let fresh = server.post("/api/v1/kv/fresh/increment", r#"{"by":5,"initial":100,"ttl":60}"#);
    assert_eq!(fresh.data()["value"], 105);
    assert!(server.get("/api/v1/kv/fresh/ttl").data()["ttl"].is_number());
    add(&format!(r#"{{"by":{}}}"#, i64::MAX));
    let beyond = add(&format!(r#"{{"by":{}}}"#, i64::MAX));
    assert_eq!((beyond.status, beyond.code().as_str()), (413, "VALUE_TOO_LARGE"));
    server.put("/api/v1/kv/text", r#"{"value":"1"}"#);
    let text = server.post("/api/v1/kv/text/increment", "{}");
    assert_eq!((text.status, text.code().as_str()), (422, "NOT_AN_INTEGER"));
    assert_eq!(text.json()["error"]["kind"], ErrorKind::NotAnInteger.name());
}

#[test]
fn any_bytes_are_a_key() {
    let server = server();
    for byte in 0..=255u8 {
        let path = format!("/api/v1/kv/%{byte:02x}");
        assert_eq!(server.put(&path, &format!(r#"{{"value":{byte}}}"#)).status, 200, "{path}");
        assert_eq!(server.db.kv().get([byte]).unwrap(), Some(Value::from(byte)));
        assert_eq!(server.get(&path).data(), json!(byte));
    }
    for (path, key) in [
        ("%62ulk", "bulk"),
        ("touch", "touch"),
        ("ttl", "ttl"),
        ("a%2Fb", "a/b"),
        ("..", ".."),
        ("%2e%2e%2f%2e%2e%2fetc", "../../etc"),
        ("a+b", "a+b"),
        ("%F0%9F%98%80", "\u{1f600}"),
    ] {
        server.put(&format!("/api/v1/kv/{path}"), &format!(r#"{{"value":"{key}"}}"#)).data();
        assert_eq!(server.db.kv().get(key).unwrap(), Some(Value::from(key)), "{path}");
    }
    assert_eq!(server.get("/api/v1/kv/touch/ttl").data(), json!({"ttl": null}), "the key is `touch`");
}

#[test]
fn keys_that_are_none_are_refused() {
    let server = server();
    let long = "x".repeat(1025);
    for path in ["", "%", "%2", "%zz", "/ttl", "/touch", &long, &"%61".repeat(1025)] {
        for method in ["GET", "PUT", "DELETE"] {
            // An empty key before a verb; the verb's method decides first.
            if path == "/touch" || (path == "/ttl" && method != "GET") {
                continue;
            }
            let refused = server.ask(method, &format!("/api/v1/kv/{path}"), &[JSON], br#"{"value":1}"#);
            assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID_KEY"), "{method} {path}");
        }
    }
    assert_eq!(server.put(&format!("/api/v1/kv/{}", "%61".repeat(1024)), r#"{"value":1}"#).status, 200);
}

#[test]
fn bodies_of_another_shape_are_refused() {
    let server = server();
    for wrong in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"value":1}x"#,
        r#"{"value":1,"value":2}"#,
        r#"{"value":1,"tll":5}"#,
        r#"{"value":1,"ttl":"5"}"#,
        r#"{"value":01}"#,
        "{\"value\":\"\u{1}\"}",
    ] {
        let refused = server.put("/api/v1/kv/k", wrong);
        assert!([400, 422].contains(&refused.status), "{wrong}: {}", refused.text());
        refused.code();
    }
    for wrong in
        ["consistency=fresh", "timeout_ms=-1", "timeout_ms=600001", "with_ttl=maybe", "tll=1", "ttl=1&ttl=2", "x=%ff"]
    {
        let refused = server.get(&format!("/api/v1/kv/k?{wrong}"));
        assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID_REQUEST"), "{wrong}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"] {
        for (method, path) in [("PUT", "k"), ("POST", "k/touch"), ("POST", "k/increment"), ("POST", "bulk")] {
            let refused = server.ask(method, &format!("/api/v1/kv/{path}"), &[("Content-Type", kind)], b"{}");
            assert_eq!((refused.status, refused.code().as_str()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{kind}");
        }
    }
    assert_eq!(server.db.status().unwrap().size, 0, "nothing was stored");
}
