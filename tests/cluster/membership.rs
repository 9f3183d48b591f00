//! Membership: members move, lose their disks, are removed and added, and the others go on.

use std::time::{Duration, Instant};

use concord_kv::{Concord, ErrorKind, MemberRole};

use crate::fleet::{Fleet, PATIENCE};

/// Tries until it succeeds; what goes away by itself does so within seconds.
#[track_caller]
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(reason) => assert!(Instant::now() < deadline, "{what}: {reason}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ids of the voters and of the learners.
fn roles(client: &Concord) -> Result<(Vec<u64>, Vec<u64>), String> {
    let members = client.members().map_err(|error| error.to_string())?;
    let of = |role| members.iter().filter(|member| member.role == role).map(|member| member.node_id).collect();
    Ok((of(MemberRole::Voter), of(MemberRole::Learner)))
}

#[track_caller]
fn wait_for_roles(client: &Concord, voters: &[u64], learners: &[u64]) {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let wanted = (sorted(voters), sorted(learners));
    eventually("the members", || match roles(client)? {
        found if (sorted(&found.0), sorted(&found.1)) == wanted => Ok(()),
        found => Err(format!("{found:?} instead of {wanted:?}")),
    });
}

fn follower(fleet: &Fleet) -> usize {
    fleet.others(fleet.leader(&[0, 1, 2]))[0]
}

/// A node is who it is by its directory; where it is may change, and the members learn of it from itself.
#[test]
fn a_node_comes_back_under_a_new_address() {
    let mut fleet = Fleet::form(3);
    let client = fleet.connect(fleet.all());
    let (moved, node_id) = (follower(&fleet), fleet.node_id(follower(&fleet)));
    fleet.stop(moved);
    client.kv().put("while it was away", 1).wait().expect("two of three are a majority");
    fleet.move_away(moved);
    fleet.start(moved);
    fleet.wait_ready(moved);
    assert_eq!(fleet.node_id(moved), node_id);
    eventually("its address", || {
        let members = client.members().map_err(|error| error.to_string())?;
        let addresses: Vec<_> = members.into_iter().map(|member| (member.node_id, member.address)).collect();
        let wanted = (node_id, fleet.address(moved).to_owned());
        if addresses.contains(&wanted) && addresses.len() == 3 { Ok(()) } else { Err(format!("{addresses:?}")) }
    });
    let there = fleet.connect([moved]);
    assert_eq!(there.kv().get("while it was away").expect("a read through it"), Some(1.into()));
    // It counts: without it there would be no majority now.
    fleet.kill(fleet.others(moved)[0]);
    there.kv().put("with its vote", 1).wait().expect("a majority with the one that moved");
}

/// A node that lost its disk is another node: it may not vote again under its old name. It joins as a learner, and one
/// verb puts it in the place of its old self.
#[test]
fn a_wiped_node_replaces_its_old_self() {
    let mut fleet = Fleet::form(3);
    let client = fleet.connect(fleet.all());
    client.kv().put("k", "kept").wait().expect("a write");
    let (wiped, old) = (follower(&fleet), fleet.node_id(follower(&fleet)));
    let others: Vec<u64> = fleet.others(wiped).into_iter().map(|node| fleet.node_id(node)).collect();
    fleet.kill(wiped);
    fleet.wipe(wiped);
    fleet.start(wiped);
    let new = fleet.node_id(wiped);
    assert_ne!(new, old, "a node without its disk has no right to its name");
    wait_for_roles(&client, &[others[0], others[1], old], &[new]);
    fleet.wait_ready(wiped);
    eventually("the replacement", || client.cluster().replace(old, new, None).map_err(|error| error.to_string()));
    wait_for_roles(&client, &[others[0], others[1], new], &[]);
    assert_eq!(fleet.connect([wiped]).kv().get("k").expect("a read through it"), Some("kept".into()));
    fleet.kill(fleet.others(wiped)[0]);
    client.kv().put("with its vote", 1).wait().expect("a majority with the new one");
}

/// A node that was removed says so and ends; started again it disturbs nobody.
#[test]
fn a_removed_node_stays_out_and_calls_no_election() {
    let mut fleet = Fleet::form(3);
    let client = fleet.connect(fleet.all());
    let (removed, node_id) = (follower(&fleet), fleet.node_id(follower(&fleet)));
    let others: Vec<u64> = fleet.others(removed).into_iter().map(|node| fleet.node_id(node)).collect();
    let term = client.status().expect("a status").raft.term;
    client.cluster().remove(node_id, None).expect("it is removed");
    wait_for_roles(&client, &others, &[]);
    for life in ["running", "started again"] {
        let (is_content, said) = fleet.wait_end(removed);
        assert!(!is_content && said.contains("removed from its cluster"), "{life}: {said}");
        let status = client.status().expect("a status");
        assert_eq!(status.raft.term, term, "{life}: it has called an election");
        if life == "running" {
            fleet.start(removed);
        }
    }
    client.kv().put("k", 1).wait().expect("the others go on");
    let error = client.cluster().remove(node_id, None).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Nothing that is down wedges the cluster: not an address where nobody is, not a learner that died before it was
/// promoted, and not the promotion of such a one.
#[test]
fn a_member_that_is_down_when_it_is_added_wedges_nothing() {
    let mut fleet = Fleet::form(3);
    let client = fleet.connect(fleet.all());
    let voters: Vec<u64> = fleet.all().map(|node| fleet.node_id(node)).collect();
    let learner = fleet.add_member();
    let error = client.cluster().add(fleet.address(learner), Some(2_000)).expect_err("nobody is there");
    assert!(matches!(error.kind(), ErrorKind::ClusterNotReady | ErrorKind::Timeout), "{error}");
    client.kv().put("k", 1).wait().expect("writes go on");

    fleet.start_with(learner, &["--no-promote"]);
    let node_id = fleet.node_id(learner);
    wait_for_roles(&client, &voters, &[node_id]);
    fleet.kill(learner);
    client.kv().put("k", 2).wait().expect("a learner does not count");
    // Three of four are there: whether it is promoted or refused, writes go on and it can be removed.
    let promoted = client.cluster().promote(node_id, Some(3_000));
    println!("promoting a dead learner: {promoted:?}");
    let start = Instant::now();
    client.kv().put("k", 3).wait().expect("writes go on");
    assert!(start.elapsed() < Duration::from_secs(2), "a write took {:?}", start.elapsed());
    eventually("the removal", || match client.cluster().remove(node_id, Some(5_000)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    });
    wait_for_roles(&client, &voters, &[]);
}
