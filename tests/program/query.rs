//! Query: what a selector picks, as people and scripts ask for it.

use std::path::Path;

use serde_json::{Value, json};

use crate::{concord, refused, said};

fn shop(dir: &Path) {
    let lines = [
        "product:1 {\"price\":50}",
        "product:2 {\"price\":150}",
        "user:1 {\"age\":31,\"role\":\"admin\"}",
        "user:22 1",
    ];
    for line in lines {
        let (key, value) = line.split_once(' ').expect("two words");
        said(&["put", key, value], &at(dir));
    }
}

fn at(dir: &Path) -> [(&str, &str); 1] {
    [("CONCORD_DATA_DIR", dir.to_str().expect("a path of text"))]
}

#[test]
fn records_are_found_counted_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    shop(dir.path());
    let say = |words: &[&str]| said(&[&["query"], words].concat(), &at(dir.path()));
    assert_eq!(say(&["--prefix", "user:", "--keys"]), "user:1\nuser:22\n");
    assert_eq!(say(&["--where", "value.price > 100"]), "product:2\t{\"price\":150}\n");
    assert_eq!(say(&["--pattern", r"^USER:\d{2}$", "--pattern-flags", "i", "--keys"]), "user:22\n");
    assert_eq!(say(&["--range", "product:2", "user:1", "--count"]), "2\n");
    assert_eq!(say(&["--offset", "1", "--limit", "2", "--keys"]), "product:2\nuser:1\n");
    assert_eq!(say(&["--prefix", "nobody"]), "");
    let found: Value = serde_json::from_str(&say(&["--suffix", ":1", "--json"])).expect("JSON");
    assert_eq!(found["items"].as_array().map(Vec::len), Some(2));
    assert_eq!((&found["items"][1]["key"], &found["items"][1]["value"]["age"]), (&json!("user:1"), &json!(31)));
    assert_eq!(say(&["--prefix", "nobody", "--json"]), "{\"items\":[]}\n");
    assert_eq!(say(&["--count", "--json"]), "{\"count\":4}\n");
    assert_eq!(say(&["--where", r#"value.role == "admin""#, "--delete"]), "1\n");
    assert_eq!(say(&["--prefix", "", "--delete", "--json"]), "{\"deleted\":3}\n");
}

#[test]
fn a_fault_is_shown_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    shop(dir.path());
    let refuse = |words: &[&str]| refused(&[&["query"], words].concat(), &at(dir.path()));
    let (code, says) = refuse(&["--where", "value.price >"]);
    assert_eq!(code, 1);
    assert!(says.starts_with("  value.price >\n               ^\nconcord: invalid_condition:"), "{says}");
    let (_, says) = refuse(&["--pattern", "é(?=b)", "--delete", "--where", "true"]);
    assert!(says.starts_with("  é(?=b)\n   ^\nconcord: invalid_condition: the pattern"), "{says}");
    let (code, says) = refuse(&["--where", "price", "--json"]);
    let error: Value = serde_json::from_str(&says).expect("JSON alone");
    assert_eq!((code, &error["error"]["code"]), (1, &json!("invalid_condition")));
    assert_eq!(refuse(&["--range", "b", "a"]).0, 1);
    for misuse in [
        &["--delete"][..],
        &["--delete", "--limit", "1"],
        &["--keys", "--count"],
        &["--pattern-flags", "i"],
        &["--range", "a"],
    ] {
        assert_eq!(refuse(misuse).0, 2, "{misuse:?}");
    }
    assert!(concord(&["query", "--count"], &at(dir.path())).stdout.starts_with(b"4"));
}
