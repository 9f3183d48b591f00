//! Documents: the OpenAPI document, the page that shows it, and the examples that people copy.

use std::process::Command;

use serde_json::Value;

use crate::client::{Server, server};

/// The examples of the documentation as they stand there, but for the port.
const EXAMPLES: &str = r#"
# Health check
curl http://localhost:4000/api/v1/health

# Store data with Bearer token
export CONCORD_TOKEN="your-token-here"
curl -X PUT \
  -H "Authorization: Bearer $CONCORD_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{"value": "Hello, World!"}' \
  http://localhost:4000/api/v1/kv/greeting

# Retrieve data
curl -H "Authorization: Bearer $CONCORD_TOKEN" \
  http://localhost:4000/api/v1/kv/greeting

# Send request with trace context
curl -H "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" \
     -H "Authorization: Bearer $TOKEN" \
     http://localhost:4000/api/v1/kv/greeting
"#;

#[test]
fn the_examples_of_the_documentation_run_as_written() {
    let server = server();
    let script = EXAMPLES.replace(":4000", &format!(":{}", server.address().port()));
    let output =
        Command::new("bash").args(["-euc", &script.replace("$TOKEN", "none")]).output().expect("bash and curl");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&said).into_iter().collect::<Result<_, _>>().expect("four answers");
    assert_eq!(answers.len(), 4, "{said}");
    assert!(answers.iter().all(|answer| answer["status"] == "ok"), "{said}");
    assert_eq!(answers[2]["data"], "Hello, World!");
}

#[test]
fn the_examples_of_the_readme_run_as_written() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("\n## HTTP\n").nth(1).expect("a section on HTTP");
    let examples = section.split("```sh\n").nth(2).and_then(|rest| rest.split("```").next()).expect("examples");
    let server = server();
    let script = examples.replace("localhost:4000", &server.address().to_string()).replace("curl ", "curl -sf ");
    let output = Command::new("bash").args(["-euc", &script]).output().expect("bash and curl");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&said).into_iter().collect::<Result<_, _>>().expect("answers");
    assert_eq!((answers.len(), &answers[1]["data"]), (6, &Value::from("Hello, World!")), "{said}");
    assert_eq!(answers[4]["data"]["items"][0]["value"], "Hello, World!");
}

fn document(server: &Server) -> Value {
    let answer = server.get("/api/v1/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

#[test]
fn the_document_tells_every_route_and_nothing_else() {
    let server = server();
    let document = document(&server);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().expect("paths");
    let told: Vec<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let mut promised: Vec<String> = "GET /api/v1/kv/{key}, PUT /api/v1/kv/{key}, DELETE /api/v1/kv/{key}, \
         POST /api/v1/kv/{key}/touch, GET /api/v1/kv/{key}/ttl, POST /api/v1/kv/{key}/increment, GET /api/v1/kv, \
         POST /api/v1/query, POST /api/v1/query/count, POST /api/v1/query/delete, POST /api/v1/txn, GET /api/v1/watch, \
         GET /api/v1/index, POST /api/v1/index, DELETE /api/v1/index/{name}, POST /api/v1/index/{name}/reindex, \
         POST /api/v1/index/{name}/query, \
         POST /api/v1/kv/bulk, POST /api/v1/kv/bulk/get, POST /api/v1/kv/bulk/delete, POST /api/v1/kv/bulk/touch, \
         GET /api/v1/status, GET /api/v1/members, POST /api/v1/members, DELETE /api/v1/members/{id}, \
         POST /api/v1/members/{id}/promote, POST /api/v1/members/{id}/replace, POST /api/v1/leader, \
         GET /api/v1/tokens, POST /api/v1/tokens, DELETE /api/v1/tokens/{id}, GET /api/v1/openapi.json, \
         GET /api/v1/health, GET /health, GET /ready, GET /metrics"
        .split(", ")
        .map(str::to_owned)
        .collect();
    let mut found = told.clone();
    promised.sort();
    found.sort();
    assert_eq!(found, promised);
    for route in told {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        // A stream of changes has no other end.
        let path = path.replace("{key}", "k").replace("{id}", "7").replace("/watch", "/watch?timeout_ms=1");
        let status = server.ask(method, &path, &[], b"").status;
        assert_ne!(status, 405, "{route}");
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = document(&server());
    let text = document.to_string();
    let references: Vec<&str> =
        text.split(r##""$ref":"#"##).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.len() > 50);
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

#[test]
fn the_page_of_the_document_needs_nothing_from_elsewhere() {
    let server = server();
    let moved = server.get("/api/docs");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/api/docs/")));
    let get = |path: &str| server.ask("GET", &format!("/api/docs/{path}"), &[("Accept-Encoding", "gzip")], b"");
    let opened = |path: &str| {
        let answer = get(path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
        match answer.header("content-encoding") {
            Some("gzip") => {
                let mut text = String::new();
                let mut decoder = flate2::read::GzDecoder::new(&*answer.body);
                std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
                text
            }
            _ => answer.text(),
        }
    };
    let page = opened("");
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
    let mut files = 0;
    for attribute in ["src=\"", "href=\""] {
        for file in page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(get(file.trim_start_matches("./")).status == 200, "{file}");
            files += 1;
        }
    }
    assert!(files >= 5, "{page}");
    assert!(opened("swagger-initializer.js").contains("\"/api/v1/openapi.json\""));
    assert_eq!(get("nothing.js").code(), "NOT_FOUND");
}
