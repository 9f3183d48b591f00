//! Benchmarks of the Rust interface: each measured claim beside its baseline in the same run, results checked.
//!
//! Prints one JSON object a line: `{"id", "name", "value", "unit", "baseline", "ratio"}`; `benches/bench.sh` collects
//! them. Sizes that need a process of their own (P10, P11) run in one: this program starts itself again.

#[path = "rust/cluster.rs"]
mod cluster;
#[path = "rust/disk.rs"]
mod disk;
#[path = "rust/etcd.rs"]
mod etcd;
#[path = "rust/index.rs"]
mod index;
#[path = "rust/million.rs"]
mod million;
#[path = "rust/query.rs"]
mod query;
#[path = "rust/telemetry.rs"]
mod telemetry;
#[path = "rust/txn.rs"]
mod txn;
#[path = "rust/watch.rs"]
mod watch;
#[path = "rust/writes.rs"]
mod writes;

use std::path::Path;

use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", dir] => million::fill(Path::new(dir)),
        ["open", dir] => million::open(Path::new(dir)),
        ["pause", dir] => million::pause(Path::new(dir)),
        ["member", folder, at, ref ports @ ..] => cluster::member(Path::new(folder), at, ports),
        ["cluster"] => cluster::run(folder().path()),
        ["telemetry"] => telemetry::run(),
        ["query"] => query::run(),
        ["txn"] => txn::run(),
        ["index"] => index::run(),
        ["watch"] => watch::run(),
        ["reads", switch, count] => telemetry::reads(switch == "on", count.parse().expect("a number")),
        ["failover"] => cluster::fail_over(folder().path()),
        [] => run_all(),
        _ => panic!(
            "usage: rust [cluster | failover | telemetry | query | txn | index | watch | reads on|off N | fill|open|pause DIR]"
        ),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build")
}

fn run_all() {
    let folder = folder();
    telemetry::run();
    writes::run(folder.path());
    query::run();
    txn::run();
    index::run();
    watch::run();
    cluster::run(folder.path());
    let million = folder.path().join("million");
    for step in ["fill", "open", "pause"] {
        let program = std::env::current_exe().expect("the path of this program");
        let status = std::process::Command::new(program).arg(step).arg(&million).status().expect("it starts again");
        assert!(status.success(), "the step `{step}` failed");
    }
}

/// One measured figure. `ratio` is ours / baseline in time (or bytes) a call: below 1 is better than the baseline.
struct Figure<'a> {
    id: &'a str,
    name: &'a str,
    value: f64,
    unit: &'a str,
    baseline: f64,
    baseline_name: &'a str,
    ratio: f64,
}

impl Figure<'_> {
    fn print(&self) {
        let Figure { id, name, value, unit, baseline, baseline_name, ratio } = self;
        println!(
            "{}",
            json!({
                "id": id, "name": name, "value": value, "unit": unit,
                "baseline": baseline, "baseline_name": baseline_name, "ratio": ratio,
            })
        );
    }
}
