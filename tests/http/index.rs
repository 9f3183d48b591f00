//! Index: secondary indexes over HTTP.

use serde_json::{Value, json};

use crate::client::{Answer, JSON, Server, server};

fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    server.ask(method, path, &[JSON], body.to_string().as_bytes())
}

#[test]
fn an_index_is_declared_asked_and_ended() {
    let server = server();
    for (key, value) in [
        ("p:1", json!({"price": 50, "tags": ["new", "red"]})),
        ("p:2", json!({"price": 150, "tags": ["red"]})),
        ("p:3", json!({"price": 150.5})),
        ("p:4", json!("text")),
    ] {
        assert_eq!(server.put(&format!("/api/v1/kv/{key}"), &json!({"value": value}).to_string()).status, 200);
    }
    for (name, path) in [("by price", "value.price"), ("by_tag", "value.tags[]")] {
        for _ in 0..2 {
            assert_eq!(ask(&server, "POST", "/api/v1/index", &json!({"name": name, "path": path})).status, 200);
        }
    }
    let listed = server.get("/api/v1/index").data();
    assert_eq!(listed[0], json!({"name": "by price", "path": "value.price", "built": true, "entries": 3}));
    let keys = |name: &str, body: Value| ask(&server, "POST", &format!("/api/v1/index/{name}/query"), &body).data();
    assert_eq!(keys("by_tag", json!({"value": "red"})), json!({"keys": ["p:1", "p:2"], "cursor": null}));
    let strong =
        ask(&server, "POST", "/api/v1/index/by%20price/query?consistency=strong", &json!({"from": 100})).data();
    assert_eq!(strong["keys"], json!(["p:2", "p:3"]));
    assert_eq!(keys("by%20price", json!({"from": 50, "to": 150}))["keys"], json!(["p:1", "p:2"]));
    let page = keys("by%20price", json!({"limit": 2}));
    assert_eq!(page["keys"], json!(["p:1", "p:2"]));
    assert_eq!(keys("by%20price", json!({"limit": 2, "cursor": page["cursor"]}))["keys"], json!(["p:3"]));

    let refused = |path: &str, body: Value| {
        let answer = ask(&server, "POST", path, &body);
        (answer.status, answer.code())
    };
    let query = "/api/v1/index/by_tag/query";
    for (path, body, status, code) in [
        ("/api/v1/index", json!({"name": "by_tag", "path": "value"}), 409, "CONFLICT"),
        ("/api/v1/index", json!({"name": "x", "path": "price"}), 400, "INVALID_REQUEST"),
        ("/api/v1/index", json!({"name": "", "path": "value"}), 400, "INVALID_REQUEST"),
        ("/api/v1/index/nobody/query", json!({}), 404, "NOT_FOUND"),
        ("/api/v1/index/nobody/reindex", json!({}), 404, "NOT_FOUND"),
        (query, json!({"value": [1]}), 422, "INVALID_VALUE"),
        (query, json!({"value": 1, "from": 1}), 400, "INVALID_REQUEST"),
        (query, json!({"limit": 0}), 400, "INVALID_REQUEST"),
        (query, json!({"limit": 1001}), 400, "INVALID_REQUEST"),
        (query, json!({"cursor": "AAAA"}), 400, "INVALID_REQUEST"),
        (query, json!({"cursor": "?"}), 400, "INVALID_REQUEST"),
    ] {
        assert_eq!(refused(path, body.clone()), (status, code.to_owned()), "{path} {body}");
    }
    assert_eq!(server.ask("POST", "/api/v1/index/by_tag/reindex", &[], b"").status, 200);
    assert_eq!(server.ask("DELETE", "/api/v1/index/by_tag", &[], b"").status, 200);
    assert_eq!(server.ask("DELETE", "/api/v1/index/by_tag", &[], b"").status, 404);
}

/// `null` is a value that an index holds, and not the same as none.
#[test]
fn null_is_asked_for_like_others() {
    let server = server();
    server.db.kv().put("nothing", concord_kv::Value::Null).wait().unwrap();
    server.db.kv().put("one", 1).wait().unwrap();
    server.db.indexes().create("i", "value").unwrap();
    let keys = |body: Value| ask(&server, "POST", "/api/v1/index/i/query", &body).data()["keys"].clone();
    assert_eq!(keys(json!({"value": null})), json!(["nothing"]));
    assert_eq!(keys(json!({"to": null})), json!(["nothing"]));
    assert_eq!(keys(json!({})), json!(["nothing", "one"]));
}
