//! Local: verbs reach the store that is open in a data directory through its socket, whoever has it open.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use concord_kv::{ClientConfig, Concord, Config, ErrorKind, Value};

use crate::{COOKIE, concord, refused, said, two, until};

/// A `concord serve`, killed when it is dropped.
struct Served(Child);

impl Served {
    /// Runs the words in a shell that lets everybody read what is made, and waits for the event.
    fn start(dir: &Path, words: &str, event: &str) -> Served {
        let script = format!("umask 000; exec \"$0\" serve --listen 127.0.0.1:0 {words}");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_concord")])
            .env("CONCORD_DATA_DIR", dir)
            .env("CONCORD_COOKIE", COOKIE)
            .args(["--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let is_told = lines.by_ref().any(|line| line.is_ok_and(|line| line.contains(event)));
        assert!(is_told, "it ended before it said `{event}`");
        // What it says from now on must not fill the pipe.
        std::thread::spawn(move || lines.count());
        Served(child)
    }

    fn signal(&mut self, name: &str) {
        let told = Command::new("kill").args([name, &self.0.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        self.0.wait().expect("it ends");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket_of(dir: &Path) -> PathBuf {
    dir.join("concord.sock")
}

/// Every verb on keys, as people type them, on the store in this directory.
fn every_verb_on_keys(dir: &Path) {
    let path = dir.to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str())];
    let say = |words: &str| said(&words.split(' ').collect::<Vec<_>>(), &variables);
    assert_eq!(say("put greeting hello"), "ok\n");
    assert_eq!(say("get greeting"), "hello\n");
    assert_eq!(say("exist greeting"), "true\n");
    assert_eq!(say("ttl greeting"), "none\n");
    assert_eq!(say("touch greeting 60.5"), "ok\n");
    let ttl_s: f64 = say("ttl greeting").trim().parse().expect("seconds");
    assert!((50.0..=60.5).contains(&ttl_s), "{ttl_s}");
    assert_eq!(say("increment visits"), "1\n");
    assert_eq!(say("increment visits -5 --initial 7"), "-4\n");
    assert_eq!(say("increment stock 5 --initial 7 --ttl 60"), "12\n");
    assert_eq!(say("put greetings 1 --new"), "ok\n");
    let list = say("list greet --values");
    assert!(list.starts_with("KEY") && list.contains("\"hello\"") && !list.contains("visits"), "{list}");
    let list: serde_json::Value = serde_json::from_str(&say("list --limit 2 --values --json")).expect("JSON");
    let keys: Vec<_> = list["keys"].as_array().expect("a list").iter().map(|row| row["key"].clone()).collect();
    assert_eq!(
        (keys, &list["more"], &list["keys"][0]["value"]),
        (vec!["greeting".into(), "greetings".into()], &true.into(), &"hello".into())
    );
    assert_eq!(say("delete greeting"), "ok\n");
    assert!(say("health").starts_with("ok, leader, ready"));
    let bench = |verb: &str| -> serde_json::Value {
        serde_json::from_str(&say(&format!("bench {verb} --clients 2 --seconds 1 --json"))).expect("JSON")
    };
    for verb in ["put", "get"] {
        let figures = bench(verb);
        assert!(figures["operations"].as_u64() > Some(10) && figures["checked"] == true, "{figures}");
    }
    assert!(!say("list").contains("concord:bench:"), "it cleans up behind itself");

    let fail = |words: &str| refused(&words.split(' ').collect::<Vec<_>>(), &variables);
    for (words, kind) in [
        ("get greeting", "not_found"),
        ("exist greeting", "not_found"),
        ("ttl greeting", "not_found"),
        ("touch greeting 5", "not_found"),
        ("touch visits -1", "invalid_ttl"),
        ("put greetings 1 --new", "already_exists"),
        ("put k v --ttl 0", "invalid_ttl"),
        ("increment k2 1 --ttl 0", "invalid_ttl"),
    ] {
        let (code, complaint) = fail(words);
        assert!(code == 1 && complaint.contains(kind) && complaint.contains(&path), "{words}: {code} {complaint}");
    }
    for words in
        ["put k v --ttl soon", "increment visits lots", "list --limit -1", "bench get --clients 0", "token create"]
    {
        assert_eq!(fail(words).0, 2, "{words}");
    }
    say("delete visits");
    say("delete stock");
    say("delete greetings");
    assert_eq!(say("list"), "KEY  REVISION  TTL\n");
}

#[test]
fn verbs_reach_the_store_that_this_program_has_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Concord::open(Config::at(dir.path())).expect("a store");
    every_verb_on_keys(dir.path());
    let path = dir.path().to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str())];
    said(&["put", "from", "outside"], &variables);
    assert_eq!(store.kv().get("from").expect("a read"), Some("outside".into()));
    let status = said(&["status"], &variables);
    assert!(status.contains(&store.status().expect("a status").raft.node_id.to_string()), "{status}");
    assert!(said(&["members"], &variables).lines().count() == 2);
    said(&["ready"], &variables);
    let (_, complaint) = refused(&["get", "nothing"], &variables);
    assert!(complaint.contains("asked the store that is open in"), "{complaint}");
    let (code, complaint) = refused(&["member", "add", "127.0.0.1:1"], &variables);
    assert!(code != 0 && !complaint.contains("internal"), "{code} {complaint}");

    let client = Concord::connect(ClientConfig::local(dir.path())).expect("a client");
    assert_eq!(client.kv().get("from").expect("a read"), Some("outside".into()));
    store.close().expect("closed");
    assert!(!socket_of(dir.path()).exists(), "it goes with the store");
    assert!(client.kv().put("k", 1).wait().is_err());
    let gone = Concord::connect(ClientConfig::local(dir.path())).err().expect("nobody is there");
    assert_eq!(gone.kind(), ErrorKind::Noproc);
    let (_, complaint) = refused(&["get", "nothing"], &variables);
    assert!(complaint.contains("opened"), "{complaint}");
}

#[test]
fn verbs_open_a_directory_that_nobody_has_open() {
    let dir = tempfile::tempdir().expect("a directory");
    every_verb_on_keys(dir.path());
    assert!(!socket_of(dir.path()).exists(), "one verb serves nobody");
}

/// Also with a umask that lets everybody in, and after kill -9.
#[test]
fn verbs_reach_a_member_and_the_socket_is_its_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let mut served = Served::start(&data, "--bootstrap-expect 1", "ready");
    every_verb_on_keys(&data);
    let mode = |path: &Path| std::fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&socket_of(&data))), (0o700, 0o600));

    let path = data.to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str())];
    said(&["put", "k", "kept"], &variables);
    served.signal("-KILL");
    let left = std::fs::symlink_metadata(socket_of(&data)).expect("a killed process cleans nothing up");
    assert!(left.file_type().is_socket());
    assert_eq!(said(&["get", "k"], &variables), "kept\n", "nobody serves it, so the directory is opened");
    let mut served = Served::start(&data, "--bootstrap-expect 1", "ready");
    assert_eq!(said(&["get", "k"], &variables), "kept\n");
    served.signal("-TERM");
    assert!(!socket_of(&data).exists());
}

#[test]
fn a_member_that_waits_to_join_tells_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let _served = Served::start(dir.path(), "--seed 127.0.0.1:9 --bootstrap-expect 3", "listening");
    let path = dir.path().to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str())];
    assert!(said(&["status"], &variables).contains("joining, not ready"));
    assert_eq!(refused(&["ready"], &variables).0, 1);
    assert!(said(&["health"], &variables).contains("not ready"));
}

/// Whoever reaches a follower's socket reaches the cluster: it hands on what only the leader can do.
#[test]
fn a_follower_hands_on_what_comes_through_its_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (north, south, _) = two(dir.path());
    let path = dir.path().join("south").to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str())];
    said(&["put", "k", "1"], &variables);
    assert_eq!(north.kv().get("k").expect("a read"), Some(Value::Int(1)));
    assert_eq!(said(&["increment", "k"], &variables), "2\n");
    assert_eq!(said(&["get", "k", "--consistency", "strong"], &variables), "2\n");
    said(&["member", "promote", "south"], &variables);
    said(&["member", "transfer", "south"], &variables);
    until("south leads", || {
        let raft = south.status().expect("a status").raft;
        raft.leader == Some(raft.node_id)
    });
    assert_eq!(said(&["increment", "k"], &variables), "3\n");
    let path = dir.path().join("north").to_string_lossy().into_owned();
    assert_eq!(said(&["increment", "k"], &[("CONCORD_DATA_DIR", path.as_str())]), "4\n");
}

#[test]
fn a_store_without_a_socket_is_only_locked() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Concord::open(Config { local_socket: false, ..Config::at(dir.path()) }).expect("a store");
    let path = dir.path().to_string_lossy().into_owned();
    let (code, complaint) = refused(&["get", "k"], &[("CONCORD_DATA_DIR", path.as_str())]);
    assert!(code == 1 && complaint.contains("locked") && complaint.contains("concord.sock"), "{code} {complaint}");
    drop(store);
}

#[test]
fn a_link_in_the_place_of_the_socket_is_refused_and_not_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, precious) = (dir.path().join("data"), dir.path().join("precious"));
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(&precious, "precious").expect("a file");
    symlink(&precious, socket_of(&data)).expect("a link");
    let error = Concord::open(Config::at(&data)).err().expect("it is refused");
    assert!(error.kind() == ErrorKind::Io && error.message().contains("concord.sock"), "{error}");
    let path = data.to_string_lossy().into_owned();
    let output = concord(&["put", "k", "1"], &[("CONCORD_DATA_DIR", path.as_str())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("links are not followed"));
    assert_eq!(std::fs::read_to_string(&precious).expect("it is there"), "precious");
}
