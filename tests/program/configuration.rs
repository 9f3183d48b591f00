//! Configuration: flags over environment over file over defaults, as the program itself tells and does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::{refused, said};

fn write(path: &Path, text: &str, mode: u32) -> String {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    path.to_string_lossy().into_owned()
}

#[test]
fn check_tells_what_is_in_effect_and_where_it_comes_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let cookie = write(&dir.path().join("cookie"), "hunter2\n", 0o600);
    let text = format!("data_dir = \"/file\"\nvalue_bytes_max = 4096\n[cluster]\ncookie_file = \"{cookie}\"\n");
    let file = write(&dir.path().join("concord.toml"), &text, 0o644);
    let variables = [("CONCORD_CONFIG", file.as_str()), ("CONCORD_DURABILITY", "250")];
    let told = said(&["config", "check", "--json", "--data-dir", "/flag"], &variables);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let row = |name: &str| {
        let rows = told["settings"].as_array().expect("a list");
        let row = rows.iter().find(|row| row["name"] == name).expect("its row");
        (row["value"].as_str().map(str::to_owned), row["source"].as_str().expect("a source").to_owned())
    };
    let is = |value: &str, source: &str| (Some(value.to_owned()), source.to_owned());
    assert_eq!(row("data_dir"), is("\"/flag\"", "flag"));
    assert_eq!(row("durability"), is("250", "environment"));
    assert_eq!(row("value_bytes_max"), is("4096", "file"));
    assert_eq!(row("local_socket"), is("true", "default"));
    assert_eq!(row("cluster.cookie_file"), is(&format!("{cookie:?}"), "file"));
    let table = said(&["config", "check", "--file", &file], &[("CONCORD_CONFIG", "no-such-file")]);
    assert!(table.starts_with("OPTION") && !table.contains("hunter2"), "{table}");

    // What is shown is a file again.
    let shown = said(&["config", "show"], &variables);
    assert!(shown.contains("[cluster]\n") && !shown.contains("hunter2"), "{shown}");
    let again = write(&dir.path().join("again.toml"), &shown, 0o600);
    assert_eq!(said(&["config", "show", "--config", &again], &[]), shown);
    let sample = write(&dir.path().join("sample.toml"), &said(&["config", "sample"], &[]), 0o644);
    said(&["config", "check", "--file", &sample], &[]);
}

#[test]
fn mistakes_in_a_file_are_misuse_and_name_the_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("concord.toml");
    for (text, mode, words) in [
        ("\nauth_enable = true\n", 0o600, &["line 2", "`auth_enabled`", "concord.toml"][..]),
        ("durability = 0", 0o600, &["1 to 60000"]),
        ("[cluster]\ncookie = \"hunter2\"\n", 0o644, &["chmod 600", "cookie_file"]),
        ("[cluster]\nlisten = \"a:1\"\n", 0o600, &["CONCORD_COOKIE"]),
    ] {
        let file = write(&path, text, mode);
        let (code, complaint) = refused(&["config", "check", "--file", &file], &[]);
        assert!(code == 2 && words.iter().all(|word| complaint.contains(word)), "{text}: {code} {complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
    }
    let file = write(&path, "nonsense", 0o600);
    for words in [&["get", "k"][..], &["serve"], &["config", "show"]] {
        let (code, complaint) = refused(&[words, &["--config", &file]].concat(), &[]);
        assert!(code == 2 && complaint.contains("line 1"), "{words:?}: {code} {complaint}");
    }
    assert_eq!(refused(&["get", "k", "--config", "no-such-file"], &[]).0, 2);
}

#[test]
fn verbs_find_their_store_by_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let file = write(&dir.path().join("concord.toml"), &format!("data_dir = {data:?}\n"), 0o644);
    let variables = [("CONCORD_CONFIG", file.as_str())];
    said(&["put", "k", "v"], &variables);
    assert!(data.join("META").exists());
    assert_eq!(said(&["get", "k"], &[("CONCORD_DATA_DIR", &data.to_string_lossy())]), "v\n");
    // And a member is made of it, though not without a secret.
    let (code, complaint) = refused(&["serve"], &variables);
    assert!(code == 2 && complaint.contains("CONCORD_COOKIE"), "{code} {complaint}");
}
