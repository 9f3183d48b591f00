//! Index: secondary indexes, as people and scripts use them.

use serde_json::{Value, json};

use crate::{refused, said};

#[test]
fn indexes_are_declared_asked_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let at = [("CONCORD_DATA_DIR", dir.path().to_str().expect("a path of text"))];
    for (key, value) in
        [("p:1", r#"{"price":50,"tags":["new"]}"#), ("p:2", r#"{"price":-7}"#), ("p:3", r#"{"price":50}"#)]
    {
        said(&["put", key, value], &at);
    }
    let say = |words: &[&str]| said(&[&["index"], words].concat(), &at);
    assert_eq!(say(&["create", "by_price", "value.price"]), "ok\n");
    assert_eq!(say(&["create", "by_tag", "value.tags[]"]), "ok\n");
    assert_eq!(say(&["lookup", "by_price", "50"]), "p:1\np:3\n");
    assert_eq!(say(&["lookup", "by_price", "-7"]), "p:2\n");
    assert_eq!(say(&["lookup", "by_tag", "\"new\"", "--json"]), "{\"keys\":[\"p:1\"]}\n");
    assert_eq!(say(&["range", "by_price", "--from", "-100", "--to", "49.5"]), "p:2\n");
    assert_eq!(say(&["range", "by_price", "--limit", "2"]), "p:2\np:1\n");
    assert_eq!(say(&["range", "by_price", "--from", "1000", "--json"]), "{\"keys\":[]}\n");
    assert_eq!(say(&["reindex", "by_tag"]), "ok\n");
    let listed: Value = serde_json::from_str(&say(&["list", "--json"])).expect("JSON");
    assert_eq!(listed["indexes"][1]["path"], json!("value.tags[]"));
    assert!(say(&["list"]).starts_with("by_price\tvalue.price\t"));
    assert_eq!(say(&["drop", "by_tag"]), "ok\n");
    let refuse = |words: &[&str]| refused(&[&["index"], words].concat(), &at).1;
    let fault = refuse(&["create", "x", "value.a b"]);
    assert!(fault.starts_with("  value.a b\n          ^\n"), "{fault}");
    assert!(refuse(&["lookup", "by_tag", "1"]).contains("there is no index `by_tag`"));
    assert!(refuse(&["lookup", "by_price", "x"]).contains("values are JSON"));
    assert!(refuse(&["lookup", "by_price", "[]"]).contains("no index holds this value"));
}
