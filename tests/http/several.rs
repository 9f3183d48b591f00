//! Several: bulk routes and lists.

use concord_kv::Value;
use serde_json::json;

use crate::client::{Server, server};

#[test]
fn bulk_routes_do_all_or_nothing() {
    let server = server();
    let put = r#"{"operations":[{"key":"a","value":1,"ttl":60},{"key":"b","value":[2]},{"key":"a","value":3}]}"#;
    assert_eq!(server.post("/api/v1/kv/bulk", put).data(), json!({"a": "ok", "b": "ok"}));
    let got = server.post("/api/v1/kv/bulk/get", r#"{"keys":["a","b","c"],"with_ttl":true}"#).data();
    assert_eq!(
        got,
        json!({
            "a": {"status": "ok", "value": 3, "ttl": null},
            "b": {"status": "ok", "value": [2], "ttl": null},
            "c": {"status": "error", "error": "not_found"},
        })
    );
    let touched = server.post("/api/v1/kv/bulk/touch", r#"{"operations":[{"key":"a","ttl":60},{"key":"c","ttl":60}]}"#);
    assert_eq!(touched.data(), json!({"a": "ok", "c": {"status": "error", "error": "not_found"}}));
    assert!(server.get("/api/v1/kv/a/ttl").data()["ttl"].is_number());
    let deleted = server.post("/api/v1/kv/bulk/delete", r#"{"keys":["a","c"]}"#).data();
    assert_eq!(deleted, json!([{"key": "a", "status": "ok"}, {"key": "c", "status": "ok"}]));
    assert_eq!(server.db.kv().get("a").unwrap(), None);
    for (path, empty, answer) in [
        ("bulk", r#"{"operations":[]}"#, json!({})),
        ("bulk/get", r#"{"keys":[]}"#, json!({})),
        ("bulk/delete", r#"{"keys":[]}"#, json!([])),
        ("bulk/touch", r#"{"operations":[]}"#, json!({})),
    ] {
        assert_eq!(server.post(&format!("/api/v1/kv/{path}"), empty).data(), answer, "{path}");
    }
}

#[test]
fn one_bad_item_refuses_the_whole_bulk() {
    let server = server();
    for (operations, status, code) in [
        (r#"[{"key":"a","value":1},{"key":"","value":2}]"#, 400, "INVALID_KEY"),
        (r#"[{"key":"a","value":1},{"key":7,"value":2}]"#, 400, "INVALID_KEY"),
        (r#"[{"key":"a","value":1},{"key":"b","value":2,"ttl":0}]"#, 400, "INVALID_TTL"),
        (r#"[{"key":"a","value":1},{"key":"b"}]"#, 400, "INVALID_REQUEST"),
        (r#"[{"key":"a","value":1},["b",2]]"#, 400, "INVALID_REQUEST"),
        (r#"[{"key":"a","value":1},{"key":"b","value":{"$bytes":"?"}}]"#, 422, "INVALID_VALUE"),
        (r#"[{"key":"a","value":1},{"key":{"$bytes":"/w=="},"value":1}]"#, 400, "INVALID_KEY"),
    ] {
        let refused = server.post("/api/v1/kv/bulk", &format!(r#"{{"operations":{operations}}}"#));
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{operations}");
    }
    let touch = server.post("/api/v1/kv/bulk/touch", r#"{"operations":[{"key":"a","ttl":-5}]}"#);
    assert_eq!((touch.status, touch.code().as_str()), (400, "INVALID_TTL"));
    let keys: Vec<String> = (0..501).map(|n| format!("\"k{n}\"")).collect();
    let items: Vec<String> = keys.iter().map(|key| format!(r#"{{"key":{key},"value":1,"ttl":1}}"#)).collect();
    let touches: Vec<String> = keys.iter().map(|key| format!(r#"{{"key":{key},"ttl":1}}"#)).collect();
    for (path, body) in [
        ("bulk", format!(r#"{{"operations":[{}]}}"#, items.join(","))),
        ("bulk/touch", format!(r#"{{"operations":[{}]}}"#, touches.join(","))),
        ("bulk/get", format!(r#"{{"keys":[{}]}}"#, keys.join(","))),
        ("bulk/delete", format!(r#"{{"keys":[{}]}}"#, keys.join(","))),
    ] {
        let refused = server.post(&format!("/api/v1/kv/{path}"), &body);
        assert_eq!((refused.status, refused.code().as_str()), (413, "BATCH_TOO_LARGE"), "{path}");
    }
    let fits = server.post("/api/v1/kv/bulk", &format!(r#"{{"operations":[{}]}}"#, items[..500].join(",")));
    assert_eq!(fits.status, 200);
}

#[test]
fn a_value_that_json_cannot_say_hides_no_other() {
    let server = server();
    server.db.kv().put("nan", f64::NAN).wait().unwrap();
    server.db.kv().put("one", 1).wait().unwrap();
    let got = server.post("/api/v1/kv/bulk/get", r#"{"keys":["nan","one"]}"#).data();
    assert_eq!(got, json!({"nan": {"status": "error", "error": "invalid_value"}, "one": {"status": "ok", "value": 1}}));
    let page = server.get("/api/v1/kv?values=true").data();
    assert_eq!(
        (page["items"][0]["error"].as_str(), page["items"][1]["value"].as_u64()),
        (Some("invalid_value"), Some(1))
    );
}

/// Keys of all pages.
fn pages(server: &Server, query: &str, mut between: impl FnMut(usize)) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let data = server.get(&format!("/api/v1/kv?{query}{cursor}")).data();
        let items = data["items"].as_array().expect("items");
        pages.push(items.iter().map(|item| item["key"].as_str().expect("a text key").to_owned()).collect());
        match data["cursor"].as_str() {
            None => return pages,
            Some(next) => cursor = format!("&cursor={next}"),
        }
        between(pages.len());
    }
}

#[test]
fn lists_go_in_key_order_and_writes_between_pages_disturb_nothing() {
    let server = server();
    let kv = server.db.kv();
    let key = |n: usize| format!("user:{n:02}");
    (0..25).for_each(|n| kv.put(key(n), n as u64).wait().unwrap());
    kv.put("other", 1).wait().unwrap();
    kv.put("uses", 1).wait().unwrap();
    let seen = pages(&server, "prefix=user:&limit=10", |page| {
        // Before and behind the cursor, and the very record that the cursor names.
        kv.put(format!("user:0{page}x"), 1).wait().unwrap();
        kv.delete(key(page * 10 - 1)).wait().unwrap();
    });
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(seen.concat(), (0..25).map(key).collect::<Vec<_>>());

    let all = server.get("/api/v1/kv?limit=1000&values=true&consistency=strong").data();
    let keys: Vec<&str> = all["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert!(keys.is_sorted() && keys.contains(&"other"), "{keys:?}");
    assert_eq!(all["cursor"], json!(null));
    for wrong in ["limit=0", "limit=1001", "cursor=?", "cursor=", "cursor=AAAAA", "prefx=a"] {
        assert_eq!(server.get(&format!("/api/v1/kv?{wrong}")).code(), "INVALID_REQUEST", "{wrong}");
    }
}

#[test]
fn keys_that_are_no_text_are_listed_in_base64() {
    let server = server();
    server.db.kv().put([0xff, 0x00], 1).wait().unwrap();
    server.db.kv().put([0xff, 0xff], 2).wait().unwrap();
    let first = server.get("/api/v1/kv?limit=1").data();
    assert_eq!(first["items"][0]["key"], json!({"$bytes": "/wA="}));
    let rest = server.get(&format!("/api/v1/kv?cursor={}", first["cursor"].as_str().expect("a cursor"))).data();
    assert_eq!((rest["items"][0]["key"].clone(), rest["cursor"].clone()), (json!({"$bytes": "//8="}), json!(null)));
}

#[test]
fn a_page_of_large_values_ends_early() {
    let server = server();
    let value = Value::Text("x".repeat(1024 * 1024));
    (0..20).for_each(|n| server.db.kv().put(format!("{n:02}"), value.clone()).wait().unwrap());
    let seen = pages(&server, "values=true", |_| {});
    assert!(seen.len() > 1 && seen.concat().len() == 20, "{seen:?}");
}
