//! Faults: what happens to the leader, again and again, while clients write and read.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use concord_kv::{Concord, Consistency};

use crate::fleet::Fleet;
use crate::linearizability::Action;
use crate::load::{History, Load};
use crate::network::Network;
use crate::{chaos, dice};

/// How long a leader is frozen or cut off: long enough for a new one and for the old lease to end.
const ABSENCE: Duration = Duration::from_secs(2);

/// Puts until one is acknowledged, and tells when that was.
fn first_put(history: &History, client: &Concord, key: &str, value: i64) -> Instant {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match history.narrate(client, key, Action::Write(value)) {
            Ok(_) => return Instant::now(),
            Err(error) => assert!(Instant::now() < deadline, "no put succeeds: {error}"),
        }
    }
}

/// The leader dies of kill -9 under load, again and again: no acknowledged write is lost, no read lies, and puts go on
/// after an election. `P12_KILLS` says how often (10).
#[test]
fn kill_9_of_the_leader_loses_nothing() {
    let mut fleet = Fleet::form(3);
    let history = History::new();
    let prober = fleet.connect(fleet.all());
    let load = Load::start(&fleet, &history, &mut dice());
    let kills = std::env::var("P12_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10);
    let mut gaps = Vec::new();
    while gaps.len() < kills {
        first_put(&history, &prober, "first", -1 - gaps.len() as i64);
        let leader = fleet.leader(&[0, 1, 2]);
        fleet.kill(leader);
        let killed = Instant::now();
        gaps.push(first_put(&history, &prober, "first", 1 + gaps.len() as i64) - killed);
        fleet.start(leader);
        fleet.wait_ready(leader);
    }
    load.stop();
    gaps.sort_unstable();
    let at = |percent: usize| gaps[(gaps.len() - 1) * percent / 100];
    println!("kill -9: first put of {} kills after p50 {:?}, p99 {:?}, max {:?}", gaps.len(), at(50), at(99), at(100));
    history.judge("kill -9", &fleet.connect(fleet.all()));
}

/// A frozen leader wakes up and still believes that it leads. Whoever asks it first must not get what it remembers.
#[test]
fn a_leader_that_was_frozen_answers_nothing_stale() {
    let fleet = Fleet::form(3);
    let history = History::new();
    let load = Load::start(&fleet, &history, &mut dice());
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < chaos() {
        round += 1;
        let (first, frozen) = (format!("first:{round}"), format!("frozen:{round}"));
        let leader = fleet.leader(&[0, 1, 2]);
        let others = fleet.connect(fleet.others(leader));
        let old = fleet.connect([leader]);
        history.narrate(&others, &frozen, Action::Write(-round)).expect("a write before the freeze");
        fleet.pause(leader);
        let paused = Instant::now();
        first_put(&history, &others, &first, round);
        history.narrate(&others, &frozen, Action::Write(round)).expect("a write of the new leader");
        // These calls lie in the frozen process's buffers when it wakes up: one on an old connection, one on a new.
        let (history, frozen, config) = (&history, &frozen, fleet.client_config([leader]));
        std::thread::scope(|scope| {
            let (tell, asked) = mpsc::channel();
            let tell_too = tell.clone();
            scope.spawn(move || {
                tell.send(()).ok();
                history.call(20, &old, frozen, Action::Read, Consistency::Leader).ok();
                history.call(20, &old, frozen, Action::Read, Consistency::Strong).ok();
            });
            scope.spawn(move || {
                tell_too.send(()).ok();
                if let Ok(new) = Concord::connect(config) {
                    history.call(21, &new, frozen, Action::Read, Consistency::Strong).ok();
                    history.call(21, &new, frozen, Action::Read, Consistency::Leader).ok();
                    new.close().ok();
                }
            });
            asked.iter().take(2).for_each(drop);
            std::thread::sleep(ABSENCE.saturating_sub(paused.elapsed()));
            fleet.resume(leader);
        });
    }
    load.stop();
    println!("freeze: {round} rounds");
    history.judge("freeze", &fleet.connect(fleet.all()));
}

/// The leader is cut off from the others but not from its clients, both ways or one way only.
#[test]
fn a_leader_behind_a_partition_answers_nothing_stale() {
    let network = match Network::build(3) {
        Ok(network) => network,
        Err(reason) => return println!("partition: skipped, network namespaces need root and `ip`: {reason}"),
    };
    let fleet = Fleet::form_in(3, Some(network), None);
    let network = fleet.network.as_ref().expect("it was passed in");
    let history = History::new();
    let load = Load::start(&fleet, &history, &mut dice());
    let start = Instant::now();
    let (mut round, mut slowest) = (0, Duration::ZERO);
    while start.elapsed() < chaos() || round < 3 {
        let leader = fleet.leader(&[0, 1, 2]);
        let others = fleet.others(leader);
        let old = fleet.connect([leader]);
        let majority = fleet.connect(others.iter().copied());
        match round % 3 {
            0 => network.isolate(leader),
            1 => others.iter().for_each(|other| network.cut(leader, *other)),
            _ => others.iter().for_each(|other| network.cut(*other, leader)),
        }
        round += 1;
        let key = format!("partition:{round}");
        let cut = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while cut.elapsed() < ABSENCE {
                    for level in [Consistency::Leader, Consistency::Strong] {
                        history.call(20, &old, &key, Action::Read, level).ok();
                    }
                }
            });
            let gap = first_put(&history, &majority, &key, 0) - cut;
            println!("partition: round {round}, first put of the majority after {gap:?}");
            slowest = slowest.max(gap);
            while cut.elapsed() < ABSENCE {
                first_put(&history, &majority, &key, cut.elapsed().as_millis() as i64);
            }
        });
        network.heal();
    }
    load.stop();
    println!("partition: {round} rounds");
    history.judge("partition", &fleet.connect(fleet.all()));
    // By an election, not by the healing of the network.
    assert!(slowest < ABSENCE, "the majority had no leader for {slowest:?}");
}
