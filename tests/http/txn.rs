//! Txn: several operations as one change, over HTTP.

use serde_json::{Value, json};

use crate::client::{Answer, JSON, Server, server};

fn ask(server: &Server, body: &Value) -> Answer {
    server.ask("POST", "/api/v1/txn", &[JSON], body.to_string().as_bytes())
}

#[test]
fn a_transfer_is_done_once_and_only_if_there_is_enough() {
    let server = server();
    for (key, money) in [("alice", 100), ("bob", 20)] {
        assert_eq!(server.put(&format!("/api/v1/kv/{key}"), &json!({"value": money}).to_string()).status, 200);
    }
    let transfer = |money: i64, name: &str| {
        json!({
            "compare": [{"key": "alice", "where": format!("value >= {money}")}, {"key": "bob", "exists": true}],
            "then": [{"increment": "alice", "by": -money}, {"increment": "bob", "by": money}],
            "else": [{"get": "alice"}, {"get": "nobody"}],
            "idempotency_key": name,
        })
    };
    let done = ask(&server, &transfer(70, "one")).data();
    assert_eq!(done, json!({"succeeded": true, "revision": 3, "results": [30, 90]}));
    assert_eq!(ask(&server, &transfer(70, "one")).data(), done, "sent again");
    let refused = ask(&server, &transfer(70, "two")).data();
    let alice = json!({"value": 30, "revision": 3, "ttl": null});
    assert_eq!(refused, json!({"succeeded": false, "revision": null, "results": [alice, null]}));
    let other = ask(&server, &transfer(1, "one"));
    assert_eq!((other.status, other.code().as_str()), (409, "CONFLICT"));
}

#[test]
fn keys_and_values_are_those_of_the_rest_of_the_api() {
    let server = server();
    let body = json!({
        "compare": [{"key": "a", "exists": false}],
        "then": [
            {"put": {"$bytes": "/w=="}, "value": {"$bytes": "AAE="}, "ttl": 1000},
            {"get": {"$bytes": "/w=="}},
            {"put": "a", "value": [1, {"b": null}]},
            {"get": "a"},
            {"delete": "c"},
        ],
    });
    let data = ask(&server, &body).data();
    let record = &data["results"][1];
    assert_eq!((&record["value"], &record["ttl"]), (&json!({"$bytes": "AAE="}), &json!(1000)));
    assert_eq!(data["results"][3]["value"], json!([1, {"b": null}]));
    let atom = concord_kv::Value::Map(vec![(1.into(), f64::NAN.into())]);
    server.db.kv().put("not in JSON", atom).wait().unwrap();
    let data = ask(&server, &json!({"then": [{"put": "d", "value": 1}, {"get": "not in JSON"}]})).data();
    assert_eq!(data["results"][1]["error"], "invalid_value", "what was done is answered: {data}");
    assert_eq!(server.db.kv().get("d").unwrap(), Some(1.into()));
}

#[test]
fn what_cannot_be_done_is_an_error_that_names_it() {
    let server = server();
    server.db.kv().put("t", "text").wait().unwrap();
    for (body, status, code, part) in [
        (json!({"then": [{"put": "a", "value": 1}, {"increment": "t"}]}), 422, "NOT_AN_INTEGER", "`then`, operation 2"),
        (
            json!({"then": [{"put": "a", "value": 1}, {"touch": "m", "ttl": 1}]}),
            404,
            "NOT_FOUND",
            "`then`, operation 2",
        ),
        (json!({"then": [{"put": "a", "value": 1}, {"delete": "a"}]}), 400, "INVALID_REQUEST", "`then`, operation 2"),
        (json!({"then": [{"put": "", "value": 1}]}), 400, "INVALID_KEY", "`then`, operation 1"),
        (json!({"else": [{"touch": "a", "ttl": 0}]}), 400, "INVALID_TTL", "`else`, operation 1"),
        (json!({"compare": [{"key": "a", "where": "value >"}]}), 400, "INVALID_REQUEST", "column 8"),
        (json!({"than": []}), 400, "INVALID_REQUEST", "no `than`"),
        (json!([]), 400, "INVALID_REQUEST", "is a map"),
        (json!({"then": vec![json!({"get": "a"}); 129]}), 413, "BATCH_TOO_LARGE", "128"),
    ] {
        let answer = ask(&server, &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        let message = answer.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(part), "{body}: {message}");
    }
    assert_eq!(server.ask("POST", "/api/v1/txn", &[JSON], b"{").code(), "INVALID_REQUEST");
    assert_eq!(server.db.kv().get("a").unwrap(), None);
}
