//! Shell: completions, help, and how the program behaves between others.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::{concord, refused, said};

/// Every subcommand, with those inside others.
const VERBS: &[&str] = &[
    "put",
    "get",
    "delete",
    "exist",
    "touch",
    "ttl",
    "increment",
    "list",
    "query",
    "txn",
    "index",
    "watch",
    "import",
    "export",
    "status",
    "members",
    "member",
    "ready",
    "health",
    "token",
    "token create",
    "token list",
    "token revoke",
    "config",
    "config check",
    "config show",
    "config sample",
    "completions",
    "bench",
    "serve",
    "recover",
];

#[test]
fn the_help_of_every_verb_has_an_example() {
    let all = said(&["--help"], &[]);
    for verb in VERBS {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let help = said(&words, &[]);
        assert!(help.contains("  concord ") && help.contains("Example"), "{verb}:\n{help}");
        assert!(!help.contains('\x1b'), "colours where there is no terminal");
        assert!(verb.contains(' ') || all.contains(&format!("\n  {verb}")), "{verb} is missing in:\n{all}");
    }
    // Of verbs that nobody has listed above there are none.
    let listed = all.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")).filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        assert!(VERBS.contains(&name), "`{name}` is not among the verbs of this test");
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell], &[]);
        assert!(script.contains("increment") && script.contains("data-dir"), "{shell}");
        if shell != "bash" {
            continue;
        }
        let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
        bash.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
        assert!(bash.wait().expect("it ends").success());
    }
    assert_eq!(refused(&["completions", "no-such-shell"], &[]).0, 2);
}

#[test]
fn errors_are_one_object_for_machines_and_say_which_way_was_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_string_lossy().into_owned();
    let output = concord(&["-d", &path, "--json", "get", "k"], &[]);
    assert!(output.stdout.is_empty() && output.status.code() == Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one object");
    assert_eq!((&told["status"], &told["error"]["code"]), (&"error".into(), &"not_found".into()));
    assert_eq!(told["way"], format!("opened {path}"));
    let (code, complaint) = refused(&["--address", "127.0.0.1:9", "--cookie", "c", "ready"], &[]);
    assert!(code == 1 && complaint.contains("asked the cluster at 127.0.0.1:9"), "{code} {complaint}");
}
