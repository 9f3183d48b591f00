//! Transfer: what `export` writes `import` reads, and a bad line is named.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use concord_kv::{Concord, Config, PutOptions, Value};

use crate::{refused, said};

/// Runs `concord import -` on this text.
fn import(dir: &str, text: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_concord"))
        .args(["--data-dir", dir, "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a code"), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn what_was_exported_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let store = Concord::open(Config::at(&from)).expect("a store");
    let values: Vec<(&[u8], Value)> = vec![
        (b"a", Value::Map(vec![("z".into(), 1.into()), ("a".into(), Value::Bytes(vec![0xff, 0]))])),
        (b"big", Value::Int(1 << 100)),
        (b"\xff\x00", "a key of bytes".into()),
        (b"line\nend", "two\nlines".into()),
        (b"list", Value::List(vec![Value::Null, true.into(), Value::Float(1.0)])),
    ];
    for (key, value) in &values {
        store.kv().put(key, value.clone()).wait().expect("a write");
    }
    for n in 0..1_200 {
        store.kv().put(format!("many:{n:04}"), n).wait().expect("a write");
    }
    let lifetime = PutOptions { ttl: Some(Duration::from_secs(1_000)), ..PutOptions::default() };
    store.kv().put_with("mortal", 1, &lifetime).wait().expect("a write");
    let (from, to, file) =
        (from.to_string_lossy(), to.to_string_lossy(), dir.path().join("records.jsonl").to_string_lossy().into_owned());
    // Through the socket, and into a directory that nobody has open.
    assert_eq!(said(&["-d", &from, "export", &file], &[]), "1206 records written\n");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(said(&["-d", &to, "import", &file, "--dry-run"], &[]), "1206 records could be stored; nothing was\n");
    assert!(!dir.path().join("to").exists(), "a rehearsal opens nothing");
    assert_eq!(said(&["-d", &to, "import", &file], &[]), "1206 records stored\n");
    let part = said(&["-d", &to, "export", "-", "--prefix", "many:110"], &[]);
    assert_eq!((part.lines().count(), part.lines().next()), (10, Some("{\"key\":\"many:1100\",\"value\":1100}")));

    let copy = Concord::open(Config::at(&*to)).expect("a store");
    for (key, value) in &values {
        assert_eq!(copy.kv().get(key).expect("a read").as_ref(), Some(value));
    }
    let ttl = copy.kv().ttl("mortal").expect("a read").expect("it is there").expect("it is mortal");
    assert!((900..=1_000).contains(&ttl.as_secs()), "{ttl:?}");
    assert_eq!(copy.kv().get_all().expect("a read").len(), 1_206);
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("a directory").map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "no half file is left: {names:?}");
}

#[test]
fn a_bad_line_is_named_and_nothing_after_it_is_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("data").to_string_lossy().into_owned();
    let good: String = (1..=700).map(|n| format!("{{\"key\":\"k{n}\",\"value\":{n}}}\n")).collect();
    for (line, word) in [
        ("nonsense", "invalid_value"),
        ("[]", "an object"),
        ("{\"key\":\"k\"}", "`value`"),
        ("{\"value\":1}", "`key`"),
        ("{\"key\":\"\",\"value\":1}", "invalid_key"),
        ("{\"key\":7,\"value\":1}", "string"),
        ("{\"key\":\"k\",\"value\":1,\"ttl\":-1}", "invalid_ttl"),
        ("{\"key\":\"k\",\"value\":1,\"ttl\":\"x\"}", "number of seconds"),
        ("{\"key\":\"k\",\"value\":1,\"tll\":1}", "tll"),
    ] {
        let (code, told) = import(&path, &format!("{good}\n{line}\n{{\"key\":\"after\",\"value\":1}}\n"));
        assert!(code == 1 && told.contains("line 702") && told.contains(word), "{line}: {code} {told}");
        assert!(told.contains("700 records before it are stored"), "{told}");
        assert_eq!(said(&["-d", &path, "get", "k700"], &[]), "700\n");
        assert_eq!(refused(&["-d", &path, "exist", "after"], &[]).0, 1);
    }
    assert_eq!(import(&path, "").0, 0);
    assert_eq!(refused(&["-d", &path, "import", "no-such-file"], &[]).0, 2);
    assert_eq!(refused(&["-d", &path, "export", "no/such/place"], &[]).0, 2);
    // What JSON cannot say is no reason to leave it out.
    let store = Concord::open(Config::at(&path)).expect("a store");
    store.kv().put("odd", Value::Float(f64::NAN)).wait().expect("a write");
    let file = dir.path().join("odd.jsonl");
    let (code, complaint) = refused(&["-d", &path, "export", &file.to_string_lossy()], &[]);
    assert!(code == 1 && complaint.contains("`odd`") && !file.exists(), "{code} {complaint}");
}
