//! World: hosts, a network and clients, step by step, from one seed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::dice::Dice;
use super::host::{Host, HostClock, TICK_MS};
use super::member::{DiskDelay, Member, MemberOptions, Planted, connect};
use super::network::Network;
use super::workload::{Client, History};
use crate::raft::NodeState;

/// How long a disk takes at most, milliseconds, unless it is slow.
pub(super) const DISK_DELAY_MS: u64 = 3;

/// What the process on a host has opened.
pub(super) type Slot = Arc<Mutex<Option<Arc<Member>>>>;

/// One machine that runs members.
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) slot: Slot,
    pub(super) disk_delay_ms: DiskDelay,
    pub(super) node_id: u64,
    pub(super) bootstrap_expect: usize,
    /// Whether it is meant to be a member.
    pub(super) belongs: bool,
}

pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) dice: Dice,
    pub(super) network: Network,
    pub(super) places: Vec<Place>,
    pub(super) history: Arc<History>,
    /// Programs that are no members, each on a host of its own.
    outside: Vec<Host>,
    planted: Planted,
    /// Who led in which term, as they said themselves.
    leaders: BTreeSet<(u64, u64)>,
    /// Of everything that happened on the network.
    trace: u64,
    pub(super) is_verbose: bool,
}

impl World {
    /// `founders` members with clients on each, and as many places again for those that join later.
    pub(super) fn new(seed: u64, founders: usize, planted: Planted) -> World {
        let mut dice = Dice(seed);
        let network = Network::new(dice.below(u64::MAX));
        let mut places = Vec::new();
        let has_true_clocks = dice.below(3) == 0;
        for number in 0..founders + 2 {
            let (drift_ppm, offset_ms) = (dice.below(20_000) as i64 - 10_000, dice.below(2_000) as i64 - 1_000);
            let clock = if has_true_clocks { HostClock::new(0, 0) } else { HostClock::new(drift_ppm, offset_ms) };
            places.push(Place {
                host: Host::new(clock),
                slot: Slot::default(),
                disk_delay_ms: Arc::new(DISK_DELAY_MS.into()),
                node_id: number as u64 + 1,
                bootstrap_expect: if number < founders { founders } else { 0 },
                belongs: number < founders,
            });
        }
        let mut world = World {
            now_ms: 0,
            dice,
            network,
            places,
            history: Arc::default(),
            outside: Vec::new(),
            planted,
            leaders: BTreeSet::new(),
            trace: seed,
            is_verbose: false,
        };
        if !has_true_clocks {
            // A leader whose clock is ahead lets what its predecessor has stored expire sooner.
            world.history.expect_early_expiry();
        }
        (0..founders).for_each(|number| world.start(number));
        world.connect_outside(founders);
        world
    }

    /// Starts the process of a member, with a client of its own.
    pub(super) fn start(&mut self, number: usize) {
        let seeds: Vec<usize> = (0..self.places.len()).filter(|other| *other != number).collect();
        let seed = self.dice.below(u64::MAX);
        let place = &mut self.places[number];
        let options = MemberOptions {
            host: number,
            node_id: place.node_id,
            seed,
            seeds,
            bootstrap_expect: place.bootstrap_expect,
            files: place.host.files.clone(),
            clock: place.host.clock.clone(),
            network: self.network.clone(),
            disk_delay_ms: place.disk_delay_ms.clone(),
            planted: self.planted,
        };
        let (slot, history) = (place.slot.clone(), self.history.clone());
        self.network.lighten(number);
        place.host.start(async move {
            let member = match Member::open(options).await {
                Ok(member) => Arc::new(member),
                Err(error) => panic!("member {number} does not open: {error}"),
            };
            let kv = member.kv.clone();
            *slot.lock().unwrap() = Some(member);
            Client::new(kv, Dice(seed), history).run().await;
        });
        self.say(format_args!("host {number} starts"));
    }

    fn connect_outside(&mut self, founders: usize) {
        let clock = HostClock::new(0, 0);
        let mut host = Host::new(clock.clone());
        let (network, history, seed) = (self.network.clone(), self.history.clone(), self.dice.below(u64::MAX));
        let (number, members) = (self.places.len(), (0..founders).collect::<Vec<_>>());
        host.start(async move {
            let kv = connect(network, number, &members, clock).await;
            let clients = [1, 2].map(|n| Client::new(kv.clone(), Dice(seed + n), history.clone()).run());
            futures_util::future::join_all(clients).await;
        });
        self.outside.push(host);
    }

    pub(super) fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.is_verbose {
            println!("{:>6} ms  {what}", self.now_ms);
        }
    }

    pub(super) fn member(&self, number: usize) -> Option<Arc<Member>> {
        self.places[number].slot.lock().unwrap().clone()
    }

    /// The process ends at once.
    pub(super) fn kill(&mut self, number: usize) {
        self.say(format_args!("host {number} is killed"));
        self.places[number].slot.lock().unwrap().take();
        self.places[number].host.kill();
    }

    /// The machine loses its power.
    pub(super) fn lose_power(&mut self, number: usize) {
        self.say(format_args!("host {number} loses power"));
        let seed = self.dice.below(u64::MAX);
        self.network.darken(number);
        self.places[number].slot.lock().unwrap().take();
        self.places[number].host.lose_power(seed);
    }

    /// Time goes on by one tick.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.network.tick(self.now_ms);
        self.history.tick(self.now_ms);
        for (due_ms, pipe, bytes) in self.network.take_delivered() {
            for number in [due_ms, pipe, bytes as u64] {
                self.trace = mixed(self.trace, number);
            }
        }
        for host in self.places.iter().map(|place| &place.host).chain(&self.outside) {
            host.tick(self.now_ms);
        }
        self.now_ms += TICK_MS;
        if self.now_ms.is_multiple_of(10 * TICK_MS) { self.look() } else { Ok(()) }
    }

    pub(super) fn run_until(&mut self, end_ms: u64) -> Result<(), String> {
        while self.now_ms < end_ms {
            self.tick()?;
        }
        Ok(())
    }

    /// Runs until this holds no more; panics when that takes too long.
    pub(super) fn run_while(&mut self, what: &str, patience_ms: u64, waits: impl Fn(&World) -> bool) {
        let give_up_ms = self.now_ms + patience_ms;
        while waits(self) {
            if self.now_ms >= give_up_ms {
                let members = (0..self.places.len()).filter_map(|number| self.member(number));
                let statuses: Vec<_> = members.map(|member| member.node.status()).collect();
                panic!("not in time: {what}: {statuses:#?}");
            }
            self.tick().unwrap();
        }
    }

    /// Who leads, as he says himself.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |number: &usize| self.member(*number).is_some_and(|member| member.node.is_leader());
        (0..self.places.len()).find(leads)
    }

    /// What must hold at every moment.
    fn look(&mut self) -> Result<(), String> {
        for number in 0..self.places.len() {
            let Some(member) = self.member(number) else { continue };
            // Who was removed says so, and that is right.
            if let Some(failure) = member.node.failure().filter(|_| self.places[number].belongs) {
                return Err(format!("node {number} has failed: {failure}"));
            }
            let status = member.node.status();
            if status.state != NodeState::Leader {
                continue;
            }
            // A term may have several leaders, the one with the highest id last.
            if self.leaders.insert((status.term, status.node_id)) {
                self.say(format_args!("node {} leads in term {}", status.node_id, status.term));
            }
        }
        Ok(())
    }

    /// A number that stands for all that happened.
    pub(super) fn trace(&self) -> u64 {
        self.history.operations().iter().fold(self.trace, |trace, operation| {
            let outcome = format!("{:?}{:?}", operation.outcome, operation.action);
            let trace = mixed(mixed(trace, operation.invoked), operation.returned);
            outcome.bytes().fold(trace, |trace, byte| mixed(trace, byte.into()))
        })
    }

    pub(super) fn set_disk_delay(&self, number: usize, delay_ms_max: u64) {
        self.places[number].disk_delay_ms.store(delay_ms_max, Ordering::Relaxed);
    }
}

fn mixed(trace: u64, number: u64) -> u64 {
    (trace ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
