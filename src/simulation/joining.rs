//! Joining: a member that was taken in by an entry that nobody else has.

use super::member::Planted;
use super::nemesis::mend;
use super::verdict;
use super::world::World;

const SEEDS: u64 = 20;
const NEWCOMER: usize = 3;
const PATIENCE_MS: u64 = 10_000;

/// Whether this member counts the newcomer among the members.
fn knows_newcomer(world: &World, number: usize) -> bool {
    let node_id = world.places[NEWCOMER].node_id;
    let knows = |members: &[crate::raft::Member]| members.iter().any(|member| member.node_id == node_id);
    world.member(number).is_some_and(|member| knows(&member.node.status().members))
}

/// The leader takes a newcomer in while the others hear it late; it falls, the others elect a new one, which has never
/// heard of the newcomer. Tells whether it came to that: the others may be quicker.
fn is_taken_in_for_nothing(world: &mut World) -> bool {
    world.run_until(1_000).unwrap();
    world.run_while("somebody leads", PATIENCE_MS, |world| world.leader().is_none());
    let Some(first) = world.leader() else { return false };
    let others: Vec<usize> = (0..NEWCOMER).filter(|other| *other != first).collect();
    for other in &others {
        for (from, to) in [(first, *other), (*other, first)] {
            world.network.change_link(from, to, |link| link.delay_ms_max = 200);
        }
        for (from, to) in [(NEWCOMER, *other), (*other, NEWCOMER)] {
            world.network.change_link(from, to, |link| link.is_blocked = true);
        }
    }
    world.places[NEWCOMER].belongs = true;
    world.start(NEWCOMER);
    let give_up_ms = world.now_ms + 2_000;
    while !knows_newcomer(world, NEWCOMER) {
        if world.now_ms > give_up_ms {
            return false;
        }
        world.tick().unwrap();
    }
    world.lose_power(first);
    world.lose_power(NEWCOMER);
    world.run_while("another one leads", PATIENCE_MS, |world| world.leader().is_none());
    others.iter().all(|other| !knows_newcomer(world, *other))
}

/// Found by a schedule: the newcomer was told that it had been removed.
#[test]
fn who_was_taken_in_by_a_leader_that_fell_asks_again() {
    let mut met = 0;
    for seed in 1..=SEEDS {
        let mut world = World::new(seed, 3, Planted::Nothing);
        let is_met = is_taken_in_for_nothing(&mut world);
        mend(&mut world);
        world.run_while("the newcomer is a member", PATIENCE_MS, |world| {
            world.leader().is_none_or(|leader| !knows_newcomer(world, leader))
        });
        verdict::judge(&mut world).unwrap_or_else(|failure| panic!("SEED={seed}: {failure}"));
        met += u64::from(is_met);
    }
    println!("met in {met} of {SEEDS}");
    assert!(met >= 3, "met in {met} of {SEEDS}");
}
