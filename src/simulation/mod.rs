//! SIMULATION: whole clusters in one thread, with every fault that a seed can think of. Tests only.

#[path = "../../tests/linearizability/dice.rs"]
mod dice;
mod host;
#[path = "../../tests/linearizability/mod.rs"]
mod linearizability;
mod member;
mod network;
mod stream;
mod workload;
mod world;

use member::Planted;
use world::World;

#[test]
fn three_nodes_form_a_cluster_and_serve() {
    let started = std::time::Instant::now();
    let mut world = World::new(1, 3, Planted::Nothing);
    world.is_verbose = true;
    world.run_until(5_000).unwrap();
    println!("{} answered in {:?}", world.history.answered(), started.elapsed());
    for n in 0..3 {
        let m = world.member(n).unwrap();
        println!("{:?}", m.node.status());
    }
    let verdict = linearizability::check(&world.history.operations());
    println!("{verdict}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let mut world = World::new(7, 3, Planted::Nothing);
        world.run_until(5_000).unwrap();
        world.trace()
    };
    assert_eq!(trace(), trace());
}
