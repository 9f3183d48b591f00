//! Nemesis: what goes wrong in a schedule, drawn from its seed.

use super::dice::Dice;
use super::world::{DISK_DELAY_MS, World};
use crate::raft::MembershipChange;

/// From when on things go wrong: the cluster has formed by then, unless it is unlucky.
const BEGIN_MS: u64 = 1_500;
pub(super) const END_MS: u64 = 8_000;
const CHANGE_TIMEOUT_MS: u64 = 3_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill(usize),
    LosePower(usize),
    LosePowerEverywhere,
    Isolate(usize),
    /// Nothing goes from one to the other.
    Deafen(usize, usize),
    Slow(u64),
    Lossy {
        lost: u64,
        repeated: u64,
    },
    SlowDisk(usize, u64),
    Pause(usize),
    Suspend(usize),
    JumpClock(usize, i64),
    Reset(usize),
    Transfer(usize),
    Join,
    Remove(usize),
}

/// What happens when.
#[derive(Debug, Clone, Copy)]
enum Event {
    Begin(Fault),
    End(Fault),
}

/// All faults of one schedule.
pub(super) struct Nemesis {
    events: Vec<(u64, Event)>,
    founders: usize,
}

impl Nemesis {
    pub(super) fn new(seed: u64, founders: usize) -> Nemesis {
        let mut dice = Dice(seed);
        let mut events = Vec::new();
        // Some schedules are calm, some are not.
        let pause_ms = 150 + dice.below(900);
        let mut now_ms = BEGIN_MS + dice.below(500);
        while now_ms < END_MS - 500 {
            let fault = draw(&mut dice, founders);
            let length_ms = if dice.below(4) == 0 { 800 + dice.below(1_500) } else { 30 + dice.below(700) };
            events.push((now_ms, Event::Begin(fault)));
            events.push(((now_ms + length_ms).min(END_MS - 1), Event::End(fault)));
            now_ms += 1 + dice.below(2 * pause_ms);
        }
        events.sort_by_key(|(at_ms, _)| *at_ms);
        Nemesis { events, founders }
    }

    /// Whether some wall clock is set: one that is ahead lets records expire sooner, and what a leader has stored whose clock
    /// was behind expires sooner at the next one.
    pub(super) fn sets_clocks(&self) -> bool {
        self.events.iter().any(|(_, event)| matches!(event, Event::Begin(Fault::JumpClock(..))))
    }

    /// Runs the whole schedule, and then mends everything.
    pub(super) fn run(self, world: &mut World) -> Result<(), String> {
        let founders = self.founders;
        for (at_ms, event) in self.events {
            world.run_until(at_ms)?;
            world.say(format_args!("{event:?}"));
            match event {
                Event::Begin(fault) => begin(fault, world, founders),
                Event::End(fault) => end(fault, world),
            }
        }
        world.run_until(END_MS)?;
        mend(world);
        Ok(())
    }
}

fn draw(dice: &mut Dice, founders: usize) -> Fault {
    let host = dice.below(founders as u64) as usize;
    let other = (host + 1 + dice.below(founders as u64 - 1) as usize) % founders;
    match dice.below(100) {
        0..10 => Fault::Kill(host),
        10..20 => Fault::LosePower(host),
        20..23 => Fault::LosePowerEverywhere,
        23..38 => Fault::Isolate(host),
        38..50 => Fault::Deafen(host, other),
        50..56 => Fault::Slow(20 + dice.below(150)),
        56..62 => Fault::Lossy { lost: 5 + dice.below(40), repeated: 5 + dice.below(60) },
        62..68 => Fault::SlowDisk(host, 20 + dice.below(300)),
        68..76 => Fault::Pause(host),
        76..80 => Fault::Suspend(host),
        80..84 => Fault::JumpClock(host, dice.below(8_000) as i64 - 4_000),
        84..89 => Fault::Reset(host),
        89..95 => Fault::Transfer(host),
        95..97 => Fault::Join,
        _ => Fault::Remove(host),
    }
}

fn begin(fault: Fault, world: &mut World, founders: usize) {
    let everybody = world.places.len() + 1;
    match fault {
        Fault::Kill(host) if world.places[host].host.is_up() => world.kill(host),
        Fault::LosePower(host) if world.places[host].host.is_up() => world.lose_power(host),
        Fault::LosePowerEverywhere => {
            for host in 0..world.places.len() {
                if world.places[host].host.is_up() {
                    world.lose_power(host);
                }
            }
        }
        Fault::Kill(_) | Fault::LosePower(_) => {}
        Fault::Isolate(host) => cut(world, host, everybody, true),
        Fault::Deafen(from, to) => world.network.change_link(from, to, |link| link.is_blocked = true),
        Fault::Slow(delay_ms_max) => each_link(world, everybody, |link| link.delay_ms_max = delay_ms_max),
        Fault::Lossy { lost, repeated } => {
            each_link(world, everybody, |link| (link.lost, link.repeated) = (lost, repeated));
        }
        Fault::SlowDisk(host, delay_ms) => world.set_disk_delay(host, delay_ms),
        Fault::Pause(host) | Fault::Suspend(host) => world.places[host].host.pause(world.now_ms),
        Fault::JumpClock(host, by_ms) => world.places[host].host.clock.jump(by_ms),
        Fault::Reset(host) => world.network.reset(host),
        Fault::Transfer(host) => {
            change(world, host, MembershipChange::TransferLeadership { to: None });
        }
        Fault::Join => {
            let newcomer = (founders..world.places.len()).find(|host| !world.places[*host].belongs);
            if let Some(host) = newcomer {
                world.places[host].belongs = true;
                world.start(host);
            }
        }
        // One more than is needed to go on may leave.
        Fault::Remove(host) => {
            let members = world.places.iter().filter(|place| place.belongs).count();
            if members > 3 && world.places[host].belongs {
                let node_id = world.places[host].node_id;
                let witness = (0..world.places.len()).find(|other| *other != host && world.places[*other].belongs);
                let asked = witness.is_some_and(|witness| change(world, witness, MembershipChange::Remove { node_id }));
                world.places[host].belongs = !asked;
            }
        }
    }
}

fn end(fault: Fault, world: &mut World) {
    let everybody = world.places.len() + 1;
    match fault {
        Fault::Kill(host) | Fault::LosePower(host) => restart(world, host),
        Fault::LosePowerEverywhere => (0..world.places.len()).for_each(|host| restart(world, host)),
        Fault::Isolate(host) => cut(world, host, everybody, false),
        Fault::Deafen(from, to) => world.network.change_link(from, to, |link| link.is_blocked = false),
        Fault::Slow(_) => each_link(world, everybody, |link| link.delay_ms_max = 0),
        Fault::Lossy { .. } => each_link(world, everybody, |link| (link.lost, link.repeated) = (0, 0)),
        Fault::SlowDisk(host, _) => world.set_disk_delay(host, DISK_DELAY_MS),
        Fault::Pause(host) => world.places[host].host.resume(world.now_ms, false),
        Fault::Suspend(host) => world.places[host].host.resume(world.now_ms, true),
        Fault::JumpClock(..) | Fault::Reset(_) | Fault::Transfer(_) | Fault::Join | Fault::Remove(_) => {}
    }
}

fn restart(world: &mut World, host: usize) {
    let place = &world.places[host];
    if !place.host.is_up() && place.host.starts > 0 {
        world.start(host);
    }
}

fn cut(world: &World, host: usize, everybody: usize, is_blocked: bool) {
    for other in (0..everybody).filter(|other| *other != host) {
        world.network.change_link(host, other, |link| link.is_blocked = is_blocked);
        world.network.change_link(other, host, |link| link.is_blocked = is_blocked);
    }
}

fn each_link(world: &World, everybody: usize, change: impl Fn(&mut super::network::Link)) {
    for from in 0..everybody {
        for to in (0..everybody).filter(|to| *to != from) {
            world.network.change_link(from, to, &change);
        }
    }
}

/// Asks a node for a change; what comes of it is its business.
fn change(world: &World, host: usize, change: MembershipChange) -> bool {
    let Some(member) = world.member(host).filter(|_| !world.places[host].host.is_paused()) else { return false };
    let changing = member.node.start_change(change, CHANGE_TIMEOUT_MS);
    member.node.spawn(async move { drop(changing.await) });
    true
}

/// Whatever is broken works again.
pub(super) fn mend(world: &mut World) {
    world.say(format_args!("everything is mended"));
    world.network.heal();
    for host in 0..world.places.len() {
        world.set_disk_delay(host, DISK_DELAY_MS);
        let now_ms = world.now_ms;
        world.places[host].host.resume(now_ms, false);
        restart(world, host);
    }
}
