//! Program: the verbs of `concord` on a running cluster, through a local socket, on a data directory, and after a majority
//! is lost.

#[path = "program/configuration.rs"]
mod configuration;
#[path = "program/index.rs"]
mod index;
#[path = "program/local.rs"]
mod local;
#[path = "program/query.rs"]
mod query;
#[path = "program/shell.rs"]
mod shell;
#[path = "program/transfer.rs"]
mod transfer;
#[path = "program/txn.rs"]
mod txn;
#[path = "program/watch.rs"]
mod watch;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use concord_kv::{ClusterConfig, Concord, Config, MemberRole};
use serde_json::Value;

const COOKIE: &str = "a secret of this test";
const PATIENCE_MS: u64 = 20_000;

/// A member in this process that seeds another, or is seeded by it.
fn member(dir: &Path, name: &str, expect: usize, seed: Option<&str>) -> Concord {
    let cluster = ClusterConfig {
        listen: "127.0.0.1:0".to_owned(),
        name: Some(name.to_owned()),
        seeds: seed.into_iter().map(str::to_owned).collect(),
        bootstrap_expect: expect,
        cookie: COOKIE.into(),
        promote: false,
        ..ClusterConfig::default()
    };
    Concord::open(Config { cluster: Some(cluster), ..Config::at(dir.join(name)) }).expect("a member")
}

/// Two members: `north` founds, `south` joins and is a learner.
fn two(dir: &Path) -> (Concord, Concord, String) {
    let north = member(dir, "north", 1, None);
    north.cluster().wait_ready(PATIENCE_MS).expect("a cluster of one");
    let address = north.status().expect("a status").raft.address;
    let south = member(dir, "south", 0, Some(&address));
    south.cluster().wait_ready(PATIENCE_MS).expect("a cluster of two");
    (north, south, address)
}

/// Runs the program with nothing of this environment's `CONCORD_*`, without a terminal.
fn concord(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concord"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CONCORD_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command.output().expect("the program runs")
}

/// What it printed; it ended well.
fn said(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = concord(arguments, variables);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// Its exit code, and what it complained of.
fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let output = concord(arguments, variables);
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Asks again until it is so; for what no event tells from outside.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// With an address every verb acts on the running cluster; members are named by name, id or address.
#[test]
fn with_an_address_verbs_act_on_the_running_cluster() {
    let dir = tempfile::tempdir().expect("a directory");
    let (north, south, address) = two(dir.path());
    let variables = [("CONCORD_ADDRESS", address.as_str()), ("CONCORD_COOKIE", COOKIE)];
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&said(&[arguments, &["--json"]].concat(), &variables)).expect("one JSON object")
    };

    said(&["put", "greeting", "hello"], &variables);
    assert_eq!(north.kv().get("greeting").expect("a read"), Some("hello".into()));
    assert_eq!(said(&["get", "greeting", "--consistency", "strong"], &variables), "hello\n");
    said(&["delete", "greeting"], &variables);
    assert_eq!(refused(&["get", "greeting"], &variables).0, 1);
    said(&["ready", "--timeout-ms", "5000"], &variables);

    let members = json(&["members"])["members"].clone();
    let row = |name: &str| {
        members.as_array().expect("a list").iter().find(|row| row["name"] == name).expect("its row").clone()
    };
    for field in ["node", "address", "name", "role", "leader", "matched_index", "lag", "last_contact_ms"] {
        assert!(row("south").get(field).is_some(), "{field} is missing: {members}");
    }
    assert_eq!((&row("north")["role"], &row("north")["leader"]), (&"voter".into(), &true.into()));
    assert_eq!((&row("south")["role"], &row("south")["leader"]), (&"learner".into(), &false.into()));
    assert_eq!(json(&["status"])["cluster"]["members"].as_array().map(Vec::len), Some(2));
    let table = said(&["members"], &variables);
    assert!(table.starts_with("NAME") && table.contains("south") && table.contains(" *"), "{table}");
    assert!(!table.contains('\x1b'), "colours where there is no terminal");

    said(&["member", "promote", "south"], &variables);
    until("south votes", || {
        let members = north.members().expect("the members");
        members.iter().any(|member| member.name == "south" && member.role == MemberRole::Voter)
    });
    let id = south.status().expect("a status").raft.node_id;
    said(&["member", "transfer", &id.to_string()], &variables);
    until("south leads", || json(&["status"])["cluster"]["leader"] == id);
    said(&["member", "remove", &address], &variables);
    let south_address = south.status().expect("a status").raft.address;
    let variables = [("CONCORD_ADDRESS", south_address.as_str()), ("CONCORD_COOKIE", COOKIE)];
    until("south is alone", || said(&["members"], &variables).lines().count() == 2);

    let (code, complaint) = refused(&["member", "remove", "nobody"], &variables);
    assert!(code == 1 && complaint.contains("no member `nobody`") && complaint.contains("south"), "{code} {complaint}");
}

/// A member loses its disk and comes back at once with an empty one: one verb puts it in its own old place.
#[test]
fn a_lost_disk_is_replaced_by_one_verb() {
    let dir = tempfile::tempdir().expect("a directory");
    let (north, south, address) = two(dir.path());
    let variables = [("CONCORD_ADDRESS", address.as_str()), ("CONCORD_COOKIE", COOKIE)];
    let east = member(dir.path(), "east", 0, Some(&address));
    east.cluster().wait_ready(PATIENCE_MS).expect("a cluster of three");
    for name in ["south", "east"] {
        said(&["member", "promote", name], &variables);
    }
    north.kv().put("k", "everywhere").wait().expect("a write");
    let id_of = |node: &Concord| node.status().expect("a status").raft.node_id;
    let old = id_of(&east);
    east.close().expect("closed");
    std::fs::remove_dir_all(dir.path().join("east")).expect("the disk is lost");

    let east = member(dir.path(), "east", 0, Some(&address));
    east.cluster().wait_ready(PATIENCE_MS).expect("a learner");
    let (old, new) = (old.to_string(), id_of(&east).to_string());
    let (code, complaint) = refused(&["member", "replace", "east", "east"], &variables);
    assert!(code == 2 && complaint.contains(&old) && complaint.contains(&new), "which one? {code} {complaint}");
    said(&["member", "replace", &old, &new], &variables);
    until("it has its place", || {
        let members = south.members().expect("the members");
        members.len() == 3 && members.iter().all(|member| member.role == MemberRole::Voter)
    });
    assert!(south.members().expect("the members").iter().all(|member| member.node_id.to_string() != old));
    assert_eq!(east.kv().get("k").expect("a read"), Some("everywhere".into()));
}

/// Without an address the data directory is opened, and never as a member of a cluster: only `serve` makes members.
#[test]
fn without_an_address_verbs_open_the_directory_and_are_no_member() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("data").to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str()), ("CONCORD_LISTEN", "127.0.0.1:1"), ("CONCORD_COOKIE", "c")];
    said(&["put", "k", "1"], &variables);
    assert_eq!(said(&["get", "k"], &variables), "1\n");
    let status: Value = serde_json::from_str(&said(&["status", "--json"], &variables)).expect("JSON");
    assert_eq!(status["cluster"]["members"][0]["address"], "");
    said(&["ready"], &variables);

    for (arguments, word) in [
        (&["member", "remove", "1"][..], "--address"),
        (&["get", "k", "--consistency", "best"], "consistency"),
        (&["get", "k", "--address", "127.0.0.1:1", "--cookie", ""], "--cookie-file"),
        (&["get", "k", "--address", "nowhere", "--cookie", "c"], "host:port"),
        (&["get"], "Usage"),
    ] {
        let (code, complaint) = refused(arguments, &variables);
        assert!(code == 2 && complaint.contains(word), "{arguments:?}: {code} {complaint}");
    }
    let (code, complaint) = refused(&["get", "k"], &[]);
    assert!(code == 2 && complaint.contains("--data-dir") && complaint.contains("--address"), "{code} {complaint}");
}

/// `recover` says what would be lost and kept, changes nothing unless it is told to, and then the member goes on alone.
#[test]
fn recover_tells_before_it_acts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (north, south, address) = two(dir.path());
    let south_id = south.status().expect("a status").raft.node_id;
    north.cluster().promote(south_id, Some(PATIENCE_MS)).expect("two voters");
    north.kv().put("k", "kept").wait().expect("a write");
    south.close().expect("closed");
    let path = dir.path().join("north").to_string_lossy().into_owned();
    let variables = [("CONCORD_DATA_DIR", path.as_str())];
    let (code, complaint) = refused(&["recover", "--yes"], &variables);
    assert!(code == 1 && complaint.contains("in use by"), "it is open: {code} {complaint}");
    north.close().expect("closed");

    let output = concord(&["recover"], &variables);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "there is nobody to ask");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--yes"));
    for word in ["last entry", "committed", "Given up", "south", "KEPT", "LOST", "NEVER"] {
        assert!(told.contains(word), "`{word}` is missing in:\n{told}");
    }
    let (code, complaint) = refused(&["get", "k"], &variables);
    assert!(code == 2 && complaint.contains("concord recover"), "it is what it was: {code} {complaint}");

    let told = said(&["recover", "--yes", "--json"], &variables);
    let told: Value = serde_json::from_str(&told).expect("one JSON object");
    assert!(told["kept"].as_str().is_some_and(|kept| kept.contains("before-recovery")), "{told}");
    assert_eq!(said(&["get", "k"], &variables), "kept\n");
    let north = member(dir.path(), "north", 3, Some(&address));
    north.cluster().wait_ready(PATIENCE_MS).expect("a cluster of one");
    assert_eq!(format!("{:032x}", north.status().expect("a status").cluster_id), told["cluster"]);
    assert_eq!(north.kv().get("k").expect("a read"), Some("kept".into()));
}
