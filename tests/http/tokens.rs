//! Tokens: with `auth_enabled` each request acts in the name of its token, and nothing answers without one that should not.

use concord_kv::{NewToken, Scopes};
use serde_json::{Value, json};

use crate::client::{Answer, JSON, Server, server, server_with};

/// A store that needs tokens, with one that may do everything.
fn guarded() -> (Server, String) {
    let server = server_with(|config| config.auth_enabled = true);
    let admin = mint(&server, Scopes { admin: true, ..Scopes::default() }, &[]);
    (server, admin)
}

fn mint(server: &Server, scopes: Scopes, prefixes: &[&str]) -> String {
    let key_prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
    let new = NewToken { name: "of a test".to_owned(), scopes, key_prefixes, ttl: None };
    server.db.as_admin().tokens().create(&new).expect("a token").token.reveal().to_owned()
}

const READ: Scopes = Scopes { read: true, write: false, admin: false };
const WRITE: Scopes = Scopes { read: false, write: true, admin: false };

fn with(server: &Server, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    server.ask(method, path, &[JSON, ("Authorization", &bearer)], body.as_bytes())
}

#[test]
fn nothing_but_health_answers_without_a_token() {
    let (server, admin) = guarded();
    let document: Value = with(&server, &admin, "GET", "/api/v1/openapi.json", "").json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let (method, at) = (method.to_uppercase(), path.replace("{key}", "k").replace("{id}", "7"));
            let answer = server.ask(&method, &at, &[JSON], b"{}");
            let is_open =
                ["/health", "/api/v1/health", "/ready", "/metrics", "/api/v1/openapi.json"].contains(&at.as_str());
            if is_open {
                assert_eq!(answer.status, 200, "{at} is open to this machine");
                continue;
            }
            assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"), "{method} {at}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(server.get("/nowhere").status, 401, "what there is, is nobody's business");
    for wrong in ["", "x", "sk_concord_", &format!("{admin}x")] {
        assert_eq!(with(&server, wrong, "GET", "/api/v1/kv/k", "").status, 401, "{wrong}");
    }
}

/// What an operation of the document needs, with a body that gets as far as that. An operation that is not here fails the
/// test: whoever adds one says whom it is for.
fn needed(operation: &str) -> (Need, &'static str) {
    match operation {
        "alive" | "health" | "metrics" | "openapi" | "ready" => (Need::Nothing, ""),
        "get" | "list" | "members" | "status" | "ttl" => (Need::Read, ""),
        "get_many" => (Need::Read, r#"{"keys":["app:k"]}"#),
        "watch" => (Need::Read, ""),
        "count" | "query" => (Need::Read, r#"{"prefix":"app:"}"#),
        "delete" => (Need::Write, ""),
        "put" => (Need::Write, r#"{"value":1}"#),
        "touch" => (Need::Write, r#"{"ttl":5}"#),
        "increment" => (Need::Write, r#"{"by":1}"#),
        "put_many" => (Need::Write, r#"{"operations":[{"key":"app:k","value":1}]}"#),
        "delete_many" => (Need::Write, r#"{"keys":["app:k"]}"#),
        "touch_many" => (Need::Write, r#"{"operations":[{"key":"app:k","ttl":5}]}"#),
        "create_index" => (Need::Admin, r#"{"name":"i","path":"value"}"#),
        "drop_index" | "reindex" => (Need::Admin, ""),
        "indexes" => (Need::Read, ""),
        "query_index" => (Need::Read, r#"{"value":1}"#),
        "txn" => (Need::Write, r#"{"then":[{"put":"app:k","value":1}]}"#),
        "delete_where" => (Need::Write, r#"{"prefix":"app:"}"#),
        "add_member" => (Need::Admin, r#"{"address":"127.0.0.1:1"}"#),
        "create_token" => (Need::Admin, r#"{"name":"x","scopes":["read"]}"#),
        "promote_member" | "remove_member" | "revoke_token" | "tokens" => (Need::Admin, ""),
        "replace_member" => (Need::Admin, r#"{"with":"8"}"#),
        "transfer_leadership" => (Need::Admin, "{}"),
        other => panic!("{other}: whom is it for?"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Need {
    Nothing,
    Read,
    Write,
    Admin,
}

/// T5, T6: every operation of the document for every scope, and for a token of other keys.
#[test]
fn every_operation_asks_for_its_scope() {
    let (server, admin) = guarded();
    let tokens = [
        (Need::Nothing, mint(&server, Scopes { read: true, write: true, admin: false }, &["other:"])),
        (Need::Read, mint(&server, READ, &["app:"])),
        (Need::Write, mint(&server, WRITE, &["app:"])),
        (Need::Admin, admin.clone()),
    ];
    let document: Value = with(&server, &admin, "GET", "/api/v1/openapi.json", "").json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let operation = operation["operationId"].as_str().expect("an id");
            let (need, body) = needed(operation);
            let at = path.replace("{key}", "app:k").replace("{id}", "7").replace("{name}", "i");
            let query = match operation {
                "list" => "?prefix=app:",
                // A stream has no other end.
                "watch" => "?prefix=app:&timeout_ms=1",
                // A store of one node waits for others in vain.
                "add_member" | "promote_member" | "remove_member" | "replace_member" | "transfer_leadership" => {
                    "?timeout_ms=1"
                }
                _ => "",
            };
            let at = format!("{at}{query}");
            for (scope, token) in &tokens {
                // What concerns no key is read by whoever may read.
                let reads_no_key =
                    matches!(operation, "indexes" | "members" | "query_index" | "status") && *scope == Need::Nothing;
                let may = need == Need::Nothing || need == *scope || *scope == Need::Admin || reads_no_key;
                let status = with(&server, token, &method.to_uppercase(), &at, body).status;
                assert_eq!(status != 403, may, "{operation} with {scope:?}: {status}");
                assert_ne!(status, 401, "{operation} with {scope:?}");
                assert_ne!(status, 405, "{operation}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 100, "{asked}");
}

#[test]
fn both_headers_carry_a_token() {
    let (server, admin) = guarded();
    assert_eq!(with(&server, &admin, "PUT", "/api/v1/kv/k", r#"{"value":1}"#).status, 200);
    assert_eq!(server.ask("GET", "/api/v1/kv/k", &[("X-API-Key", &admin)], b"").data(), json!(1));
    let bearer = format!("bearer {admin}");
    assert_eq!(server.ask("GET", "/api/v1/kv/k", &[("Authorization", &bearer)], b"").data(), json!(1));
    assert_eq!(server.ask("GET", "/api/v1/kv/k", &[("Authorization", "Basic YTpi")], b"").status, 401);
}

#[test]
fn scopes_and_prefixes_hold_and_nothing_is_filtered_silently() {
    let (server, admin) = guarded();
    let reader = mint(&server, READ, &["app:"]);
    let writer = mint(&server, WRITE, &["app:"]);
    let put =
        |token: &str, key: &str| with(&server, token, "PUT", &format!("/api/v1/kv/{key}"), r#"{"value":1}"#).status;
    let get = |token: &str, key: &str| with(&server, token, "GET", &format!("/api/v1/kv/{key}"), "").status;
    assert_eq!([put(&writer, "app:a"), put(&reader, "app:a"), put(&writer, "other")], [200, 403, 403]);
    assert_eq!([get(&reader, "app:a"), get(&writer, "app:a"), get(&reader, "other")], [200, 403, 403]);
    assert_eq!([get(&reader, "app:none"), get(&reader, "none")], [404, 403], "whether a key exists is not told");
    let bulk = |token: &str, path: &str, body: &str| {
        with(&server, token, "POST", &format!("/api/v1/kv/bulk{path}"), body).status
    };
    let mixed = r#"{"operations":[{"key":"app:b","value":1},{"key":"other","value":1}]}"#;
    assert_eq!(bulk(&writer, "", mixed), 403);
    assert_eq!(get(&reader, "app:b"), 404, "none of it was done");
    assert_eq!(bulk(&reader, "/get", r#"{"keys":["app:a","other"]}"#), 403);
    assert_eq!(bulk(&writer, "/delete", r#"{"keys":["app:a","other"]}"#), 403);
    assert_eq!(bulk(&writer, "/touch", r#"{"operations":[{"key":"other","ttl":5}]}"#), 403);
    let list = |token: &str, query: &str| with(&server, token, "GET", &format!("/api/v1/kv{query}"), "").status;
    assert_eq!([list(&reader, "?prefix=app:"), list(&reader, ""), list(&writer, "?prefix=app:")], [200, 403, 403]);
    for (method, path, body) in
        [("GET", "/api/v1/tokens", ""), ("POST", "/api/v1/leader", "{}"), ("DELETE", "/api/v1/members/7", "")]
    {
        assert_eq!(with(&server, &reader, method, path, body).status, 403, "{method} {path}");
        assert_ne!(with(&server, &admin, method, path, body).status, 403, "{method} {path}");
    }
}

#[test]
fn tokens_are_made_shown_once_listed_and_revoked() {
    let (server, admin) = guarded();
    let body = r#"{"name":"reports","scopes":["read"],"key_prefixes":["r:",{"$bytes":"/w=="}],"ttl":3600}"#;
    let made = with(&server, &admin, "POST", "/api/v1/tokens", body).data();
    let (token, id) = (made["token"].as_str().expect("a token"), made["info"]["id"].as_str().expect("an id"));
    assert!(token.starts_with("sk_concord_"));
    assert_eq!(made["info"]["scopes"], json!(["read"]));
    assert_eq!(made["info"]["key_prefixes"], json!(["r:", {"$bytes": "/w=="}]));
    assert_eq!(with(&server, token, "GET", "/api/v1/kv/r:1", "").status, 404);
    let list = with(&server, &admin, "GET", "/api/v1/tokens", "");
    assert!(list.data().as_array().is_some_and(|tokens| tokens.iter().any(|token| token["id"] == id)));
    assert!(!list.text().contains("sk_concord_"), "a token is shown once");
    with(&server, &admin, "DELETE", &format!("/api/v1/tokens/{id}"), "").data();
    assert_eq!(with(&server, token, "GET", "/api/v1/kv/r:1", "").status, 401);
    assert_eq!(with(&server, &admin, "DELETE", &format!("/api/v1/tokens/{id}"), "").code(), "NOT_FOUND");
    for wrong in [r#"{"name":"x","scopes":[]}"#, r#"{"name":"x","scopes":["all"]}"#, r#"{"scopes":["read"]}"#] {
        assert_eq!(with(&server, &admin, "POST", "/api/v1/tokens", wrong).status, 400, "{wrong}");
    }
}

#[test]
fn who_guesses_has_to_wait() {
    let (server, admin) = guarded();
    let guess = format!("{}{}", &admin[..admin.len() - 8], "AAAAAAAA");
    let refused: Vec<u16> = (0..12).map(|_| with(&server, &guess, "GET", "/api/v1/kv/k", "").status).collect();
    assert!(refused.iter().all(|status| *status == 401));
    let held = with(&server, &admin, "GET", "/api/v1/kv/k", "");
    assert_eq!(held.status, 401, "right tokens of this source wait as well");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn where_no_token_is_needed_a_known_one_is_held_to_its_scopes() {
    let server = server();
    let reader = mint(&server, READ, &[]);
    assert_eq!(with(&server, &reader, "PUT", "/api/v1/kv/k", r#"{"value":1}"#).status, 403);
    assert_eq!(with(&server, "your-token-here", "PUT", "/api/v1/kv/k", r#"{"value":1}"#).status, 200);
}
