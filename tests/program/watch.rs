//! Watch: what changes, as people and scripts follow it, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use concord_kv::{Concord, Config};
use serde_json::{Value, json};

use crate::{refused, said};

fn at(dir: &Path) -> [(&str, &str); 1] {
    [("CONCORD_DATA_DIR", dir.to_str().expect("a path of text"))]
}

/// Runs until it is told to stop. What it says is read line by line.
fn start(dir: &Path, words: &[&str]) -> (Child, impl Iterator<Item = String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concord"));
    command.arg("watch").args(words).envs(at(dir)).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("a line"));
    (child, lines)
}

#[test]
fn what_changes_is_printed_until_ctrl_c_which_is_no_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Concord::open(Config::at(dir.path())).expect("a store");
    db.kv().put("user:1", "Ann").wait().expect("a put");
    let (mut child, mut lines) = start(dir.path(), &["--with-state", "--prefix", "user:", "--previous"]);
    assert_eq!(lines.next().as_deref(), Some("1\tstate\tuser:1\t\"Ann\""));
    db.kv().put("other", 1).wait().expect("a put");
    db.kv().put("user:1", "Bob").wait().expect("a put");
    db.kv().delete("user:1").wait().expect("a delete");
    assert_eq!(lines.next().as_deref(), Some("3\tput\tuser:1\t\"Bob\"\t(was \"Ann\")"));
    assert_eq!(lines.next().as_deref(), Some("4\tdelete\tuser:1\t(was \"Bob\")"));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(lines.next(), None);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn scripts_get_an_object_a_line_from_where_they_say_and_as_many_as_they_want() {
    let dir = tempfile::tempdir().expect("a directory");
    let db = Concord::open(Config::at(dir.path())).expect("a store");
    db.kv().put("a", 1).wait().expect("a put");
    db.kv().put_many(&[("b", 2.into(), None), ("c", 3.into(), None)]).wait().expect("a bulk put");
    db.kv().delete("a").wait().expect("a delete");
    let say = |words: &[&str]| said(&[&["watch", "--json"], words].concat(), &at(dir.path()));
    let all = say(&["--from-revision", "1", "--limit", "4"]);
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let short = |event: &Value| json!([event["type"], event["key"], event["value"], event["next"]]);
    let expected = [
        json!(["put", "a", 1, "2"]),
        json!(["put", "b", 2, "2.1"]),
        json!(["put", "c", 3, "3"]),
        json!(["delete", "a", null, "4"]),
    ];
    assert_eq!(all.iter().map(short).collect::<Vec<_>>(), expected);
    let rest = say(&["--from-revision", "2.1", "--limit", "1", "--types", "put"]);
    assert!(rest.contains(r#""key":"c""#), "{rest}");
    let refuse = |words: &[&str]| refused(&[&["watch"], words].concat(), &at(dir.path()));
    for misuse in [&["--from-revision", "x"][..], &["--types", "get"], &["--with-state", "--from-revision", "1"]] {
        assert_eq!(refuse(misuse).0, 2, "{misuse:?}");
    }
    let (code, says) = refuse(&["--where", "value >"]);
    assert!(code == 1 && says.starts_with("  value >\n         ^\nconcord: invalid_condition:"), "{says}");
}
