//! Cluster: three processes are one store, through kill -9, freezes, restarts and partitions, and no answer lies.
//!
//! Each story records what its clients asked and were told, and a checker judges it. `CONCORD_CLUSTER_SEED` repeats the
//! clients' choices (not the machine's timing); `CHAOS_SECONDS` lengthens the stories that repeat a fault (6), `P12_KILLS`
//! the one that kills leaders (10).

#[path = "cluster/caller.rs"]
mod caller;
#[path = "linearizability/dice.rs"]
mod dice;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/fleet.rs"]
mod fleet;
#[path = "linearizability/mod.rs"]
mod linearizability;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/membership.rs"]
mod membership;
#[path = "cluster/network.rs"]
mod network;
#[path = "cluster/process.rs"]
mod process;
#[path = "cluster/strangers.rs"]
mod strangers;
#[path = "cluster/watching.rs"]
mod watching;

use std::time::{Duration, Instant};

use concord_kv::{Concord, Config, Consistency, ErrorKind};
use dice::Dice;
use fleet::Fleet;
use linearizability::{Action, Answer};
use load::{History, Load};

/// How long a story that repeats a fault goes on.
fn chaos() -> Duration {
    let seconds = std::env::var("CHAOS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

fn dice() -> Dice {
    Dice::from_environment("CONCORD_CLUSTER_SEED")
}

/// A member that is started alone listens, and stops when it is asked to.
#[test]
fn a_member_says_where_it_listens_and_stops_on_sigterm() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_concord"));
    command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--bootstrap-expect", "1"]);
    command.env("CONCORD_COOKIE", "a secret").arg("--data-dir").arg(dir.path());
    let mut process = process::Process::start(command);
    let listening = process.wait_for("listening", fleet::PATIENCE).expect("it listens");
    assert!(listening["node"].is_u64() && listening["address"].is_string(), "{listening}");
    let ready = process.wait_for("ready", fleet::PATIENCE).expect("it is ready");
    assert_eq!(ready["state"], "leader");
    let status = process.stop(fleet::PATIENCE).expect("it stops");
    assert!(status.success(), "{status}");
    assert!(!process.log().contains("a secret"), "it printed its secret");
}

/// The judge itself: clients of one store pass, and clients of two that believe to have one are found out.
#[test]
fn the_clients_of_two_stores_are_found_out() {
    let mut dice = dice();
    let stores: Vec<_> = (0..2).map(|_| Concord::open(Config::default()).expect("a store in memory")).collect();
    for halves in [1, 2] {
        let history = History::new();
        let load =
            Load::on((0..load::CLIENTS).map(|client| stores[client % halves].clone()).collect(), &history, &mut dice);
        std::thread::sleep(Duration::from_secs(1));
        load.stop();
        if halves == 1 {
            history.judge("one store", &stores[0]);
            stores[0].kv().delete_many(&history.keys().iter().collect::<Vec<_>>()).wait().expect("a clean slate");
        } else {
            assert!(history.verdict().is_violation(), "a split brain was not seen");
            println!("two stores: {}", history.verdict());
        }
    }
}

/// What is written through any member is read through every member, and all agree on who they are.
#[test]
fn three_nodes_form_one_store() {
    let fleet = Fleet::form(3);
    let history = History::new();
    let clients: Vec<_> = fleet.all().map(|node| fleet.connect([node])).collect();
    for (node, client) in clients.iter().enumerate() {
        history.narrate(client, &format!("from{node}"), Action::Write(node as i64)).expect("a write");
    }
    for (reader, client) in clients.iter().enumerate() {
        for node in fleet.all() {
            for level in [Consistency::Leader, Consistency::Strong] {
                let answer = history.call(reader, client, &format!("from{node}"), Action::Read, level).expect("a read");
                assert!(matches!(answer, Answer::Found { value, .. } if value == node as i64), "{answer:?}");
            }
        }
        let members = client.members().expect("the members");
        assert_eq!(members.len(), 3, "{members:?}");
        assert_eq!(members.iter().filter(|member| member.is_leader).count(), 1, "{members:?}");
        assert!(fleet.all().all(|node| members.iter().any(|member| member.node_id == fleet.node_id(node))));
    }
    let ids: Vec<_> = clients.iter().map(|client| client.status().expect("a status").cluster_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "more than one cluster: {ids:?}");
    history.judge("form", &clients[0]);
}

/// Two of three die. The one that is left refuses writes and linearizable reads within their deadline and says so, and
/// goes on answering eventual reads. When one comes back, so does everything.
#[test]
fn a_minority_refuses_writes_and_goes_on_with_eventual_reads() {
    let mut fleet = Fleet::form(3);
    let history = History::new();
    let survivor = fleet.leader(&[0, 1, 2]);
    let client = fleet.connect([survivor]);
    history.narrate(&client, "k", Action::Write(1)).expect("a write");
    for node in fleet.others(survivor) {
        fleet.kill(node);
    }
    let start = Instant::now();
    for (value, action) in (2..).zip([Action::Write(2), Action::Increment(1), Action::Read]) {
        let error = history.narrate(&client, "k", action).expect_err("there is no majority");
        let kinds = [ErrorKind::Timeout, ErrorKind::ClusterNotReady, ErrorKind::UnknownOutcome];
        assert!(kinds.contains(&error.kind()), "call {value}: {error}");
        println!("minority: {action} answers {} after {:?}", error.kind().name(), start.elapsed());
    }
    let error = history.call(1, &client, "k", Action::Read, Consistency::Leader).expect_err("its lease is over");
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::ClusterNotReady), "{error}");
    let answer = history.call(1, &client, "k", Action::EventualRead, Consistency::Eventual).expect("a local read");
    assert!(matches!(answer, Answer::Found { value: 1, .. }), "{answer:?}");
    let back = fleet.others(survivor)[0];
    fleet.start(back);
    fleet.wait_ready(back);
    history.narrate(&client, "k", Action::Write(9)).expect("there is a majority again");
    history.judge("minority", &client);
}

/// One member after the other is stopped and started under load. Clients see no error, and no write waits
/// longer than for an election.
#[test]
fn a_rolling_restart_fails_no_request() {
    let mut fleet = Fleet::form(3);
    let history = History::new();
    let load = Load::start(&fleet, &history, &mut dice());
    for node in fleet.all() {
        fleet.stop(node);
        fleet.start(node);
        fleet.wait_ready(node);
    }
    load.stop();
    let errors = history.judge("rolling restart", &fleet.connect(fleet.all()));
    assert!(errors.is_empty(), "requests failed: {errors:?}");
    assert!(history.slowest_write() < Duration::from_secs(2), "a write took {:?}", history.slowest_write());
}
