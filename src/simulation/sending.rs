//! Sending: a snapshot that arrives, and whose sender never hears of it.

use super::member::Planted;
use super::nemesis::mend;
use super::verdict;
use super::world::World;

const SEEDS: u64 = 5;
const PATIENCE_MS: u64 = 20_000;

fn snapshot_index(world: &World, number: usize) -> u64 {
    world.member(number).map_or(0, |member| member.node.status().snapshot_index)
}

/// Found by a schedule: the leader waited ten minutes for the answer, and sent nothing else meanwhile.
#[test]
fn an_answer_that_is_lost_holds_nobody_up() {
    for seed in 1..=SEEDS {
        let mut world = World::new(seed, 3, Planted::Nothing);
        world.run_while("somebody leads", PATIENCE_MS, |world| world.leader().is_none());
        let Some(leader) = world.leader() else { unreachable!("somebody led") };
        let follower = (leader + 1) % 3;
        world.kill(follower);
        // Twice, so that the log no longer reaches back to where the follower is.
        for _ in 0..2 {
            let before = snapshot_index(&world, leader);
            world.run_while("a snapshot is taken", PATIENCE_MS, |world| snapshot_index(world, leader) == before);
        }
        world.network.change_link(follower, leader, |link| link.lost = 700);
        world.start(follower);
        let behind = snapshot_index(&world, leader);
        world.run_while("the snapshot arrives", PATIENCE_MS, |world| snapshot_index(world, follower) < behind);
        mend(&mut world);
        verdict::judge(&mut world).unwrap_or_else(|failure| panic!("SEED={seed}: {failure}"));
    }
}
