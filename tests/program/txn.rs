//! Txn: several operations as one change, as people and scripts ask for it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{refused, said};

const TRANSFER: &str = r#"{"compare": [{"key": "alice", "where": "value >= 30"}],
    "then": [{"increment": "alice", "by": -30}, {"increment": "bob", "by": 30}, {"put": "last", "value": "bob"}],
    "else": [{"get": "alice"}, {"get": "nobody"}]}"#;

#[test]
fn a_transaction_comes_from_a_file_or_from_the_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let at = [("CONCORD_DATA_DIR", data.to_str().expect("a path of text"))];
    let file = dir.path().join("transfer.json");
    let file = file.to_str().expect("a path of text");
    std::fs::write(file, TRANSFER).unwrap();
    said(&["put", "alice", "50"], &at);
    assert_eq!(said(&["txn", file], &at), "then\n20\n30\nok\n");
    assert_eq!(said(&["txn", file], &at), "else\n20\n(none)\n");
    let again: Value = serde_json::from_str(&said(&["txn", file, "--json"], &at)).expect("JSON");
    assert_eq!(
        (&again["succeeded"], &again["revision"], &again["results"][1]),
        (&json!(false), &json!(null), &json!(null))
    );

    for words in [&["txn"][..], &["txn", "-"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_concord"));
        program.args(words).envs(at).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = program.spawn().expect("it starts");
        running.stdin.take().expect("a pipe").write_all(br#"{"then": [{"increment": "n"}]}"#).expect("it reads");
        let output = running.wait_with_output().expect("it ends");
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("then\n"));
    }
    assert_eq!(said(&["get", "n"], &at), "2\n");

    std::fs::write(file, r#"{"then": [{"increment": "last"}]}"#).unwrap();
    assert!(refused(&["txn", file], &at).1.contains("`then`, operation 1: the current value is not an integer"));
    std::fs::write(file, "{").unwrap();
    assert!(refused(&["txn", file], &at).1.contains("no JSON"));
    assert!(refused(&["txn", "/nowhere"], &at).1.contains("cannot read /nowhere"));
}
