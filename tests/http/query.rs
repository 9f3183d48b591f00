//! Query: what a selector picks, over HTTP: pages, counts, removal, and conditions that are expressions.

use serde_json::{Value, json};

use crate::client::{Answer, JSON, Server, server};

fn shop() -> Server {
    let server = server();
    for (key, value) in [
        ("product:1", json!({"price": 50, "tags": ["new"]})),
        ("product:2", json!({"price": 150})),
        ("product:3", json!({"price": 199.5})),
        ("user:1", json!({"age": 31, "role": "admin"})),
        ("user:2", json!({"age": 29, "role": "admin"})),
    ] {
        assert_eq!(server.put(&format!("/api/v1/kv/{key}"), &json!({"value": value}).to_string()).status, 200);
    }
    server.db.kv().put(b"\xff:raw", 1).wait().unwrap();
    server
}

fn ask(server: &Server, path: &str, body: &Value) -> Answer {
    server.ask("POST", path, &[JSON], body.to_string().as_bytes())
}

fn keys(server: &Server, body: Value) -> Vec<Value> {
    let page = ask(server, "/api/v1/query", &body).data();
    assert_eq!(page["cursor"], Value::Null, "{page}");
    page["items"].as_array().expect("items").iter().map(|item| item["key"].clone()).collect()
}

#[test]
fn every_part_of_a_selector_picks() {
    let server = shop();
    assert_eq!(keys(&server, json!({})).len(), 6);
    assert_eq!(keys(&server, json!({"prefix": "user:"})), ["user:1", "user:2"]);
    assert_eq!(keys(&server, json!({"suffix": ":1"})), ["product:1", "user:1"]);
    assert_eq!(keys(&server, json!({"contains": "duct"})).len(), 3);
    assert_eq!(keys(&server, json!({"pattern": "^USER:[2-9]", "pattern_flags": "i"})), ["user:2"]);
    assert_eq!(keys(&server, json!({"range": ["product:2", "user:1"]})), ["product:2", "product:3", "user:1"]);
    assert_eq!(keys(&server, json!({"prefix": {"$bytes": "/w=="}})), [json!({"$bytes": "/zpyYXc="})]);
    assert_eq!(keys(&server, json!({"prefix": "product:", "where": "value.price > 100"})), ["product:2", "product:3"]);
    assert_eq!(keys(&server, json!({"where": r#"value.age >= 30 and value.role == "admin""#})), ["user:1"]);
    assert_eq!(keys(&server, json!({"offset": 4})).len(), 2);
    let page = ask(&server, "/api/v1/query?consistency=strong", &json!({"suffix": ":1", "prefix": "p"})).data();
    let item = &page["items"][0];
    assert_eq!((&item["value"]["price"], &item["ttl"], item["revision"].as_u64()), (&json!(50), &Value::Null, Some(1)));
    let page = ask(&server, "/api/v1/query", &json!({"suffix": ":1", "keys_only": true})).data();
    assert_eq!(page["items"][0], json!({"key": "product:1", "revision": 1, "ttl": null}));
}

#[test]
fn pages_follow_each_other_by_their_cursors() {
    let server = shop();
    let (mut all, mut body) = (Vec::new(), json!({"limit": 2, "where": "not (value == 1)"}));
    for sizes in [2, 2, 1] {
        let page = ask(&server, "/api/v1/query", &body).data();
        let items = page["items"].as_array().expect("items");
        assert_eq!(items.len(), sizes, "{page}");
        all.extend(items.iter().map(|item| item["key"].clone()));
        body["cursor"] = page["cursor"].clone();
    }
    assert_eq!(body["cursor"], Value::Null);
    assert_eq!(all, ["product:1", "product:2", "product:3", "user:1", "user:2"]);
    for wrong in [json!({"limit": 0}), json!({"limit": 1001}), json!({"cursor": "?"}), json!({"filter": "x"})] {
        assert_eq!(ask(&server, "/api/v1/query", &wrong).code(), "INVALID_REQUEST", "{wrong}");
    }
}

#[test]
fn what_is_picked_is_counted_and_removed_at_once() {
    let server = shop();
    assert_eq!(ask(&server, "/api/v1/query/count", &json!({"prefix": "product:"})).data(), json!({"count": 3}));
    assert_eq!(ask(&server, "/api/v1/query/count", &json!({"limit": 2})).data(), json!({"count": 2}));
    let removed = ask(&server, "/api/v1/query/delete", &json!({"where": "value.price > 100"})).data();
    assert_eq!((&removed["deleted"], removed["revision"].as_u64().is_some()), (&json!(2), true));
    let nothing = ask(&server, "/api/v1/query/delete", &json!({"prefix": "nobody"})).data();
    assert_eq!(nothing, json!({"deleted": 0, "revision": null}));
    assert_eq!(ask(&server, "/api/v1/query/delete", &json!({})).code(), "INVALID_REQUEST");
    assert_eq!(
        ask(&server, "/api/v1/query/delete", &json!({"keys_only": true, "prefix": "a"})).code(),
        "INVALID_REQUEST"
    );
    assert_eq!(keys(&server, json!({})).len(), 4);
    assert_eq!(ask(&server, "/api/v1/query/delete", &json!({"prefix": ""})).data()["deleted"], 4);
}

#[test]
fn faults_are_named_with_their_place() {
    let server = shop();
    for (body, says) in [
        (json!({"where": "value.price >"}), "at column 14"),
        (json!({"pattern": "a(?=b)"}), "at column 2"),
        (json!({"range": ["b", "a"]}), "ends before it begins"),
        (json!({"pattern": "a".repeat(1 << 20)}), "at most 1024 bytes"),
        (json!({"where": "(".repeat(4000)}), "64 levels"),
        (json!({"pattern": "(a{1000}){1000}"}), "too large"),
        (json!({"pattern": "a", "pattern_flags": "g"}), "imsxu"),
        (json!({"prefix": "a".repeat(1025)}), "longer than a key"),
    ] {
        for path in ["/api/v1/query", "/api/v1/query/count", "/api/v1/query/delete"] {
            let answer = ask(&server, path, &body);
            assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_REQUEST"), "{}", answer.text());
            assert!(answer.text().contains(says), "{}", answer.text());
        }
    }
}

#[test]
fn a_write_happens_only_if_its_condition_is_true() {
    let server = server();
    let path = "/api/v1/kv/config";
    assert_eq!(server.put(path, r#"{"value":{"version":1},"condition":"true"}"#).code(), "NOT_FOUND");
    assert_eq!(server.put(path, r#"{"value":{"version":1}}"#).status, 200);
    let second = r#"{"value":{"version":2},"condition":"value.version < 2"}"#;
    assert_eq!(server.put(path, second).status, 200);
    let again = server.put(path, second);
    assert_eq!((again.status, again.json()["error"]["kind"].as_str()), (409, Some("condition_failed")));
    let octets = ("Content-Type", "application/octet-stream");
    let guarded = "/api/v1/kv/config?if=value.version%20%3D%3D%202";
    assert_eq!(server.ask("PUT", guarded, &[octets], b"raw").status, 200);
    assert_eq!(server.ask("PUT", guarded, &[octets], b"raw").status, 409);
    assert_eq!(server.put(guarded, r#"{"value":1,"condition":"true"}"#).code(), "INVALID_REQUEST");
    assert_eq!(server.put(path, r#"{"value":1,"condition":"true","expected":1}"#).code(), "INVALID_REQUEST");
    assert!(server.put(path, r#"{"value":1,"condition":"versoin"}"#).text().contains("value.versoin"));
    assert_eq!(server.ask("DELETE", path, &[JSON], br#"{"condition":"value == 2"}"#).status, 409);
    assert_eq!(server.delete("/api/v1/kv/config?if=type(value)%20in%20%5B%22text%22,%22bytes%22%5D").status, 200);
    assert_eq!(server.db.kv().get("config").unwrap(), None);
}
