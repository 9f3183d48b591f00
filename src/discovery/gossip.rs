//! Gossip: finds the first peer by multicast, and the others through the membership protocol SWIM (library foca).
//!
//! A beacon says to all who a node is. Who hears one of a stranger asks it for the members that it knows; from then
//! on members probe each other, and news travel with the probes. A node is listed once it has answered, or once a
//! member has told of it, and until it leaves or stops answering.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use foca::{Foca, NoCustomBroadcast, Notification, PeriodicParams, Runtime, State, Timer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::codec::{Codec, decode_identity, encode_identity};
use super::counts::{Counts, add_one};
use super::identity::Identity;
use super::options::Announcement;
use super::roster::Roster;
use super::seal::{BODY_BYTES_MAX, Envelope, Kind, Refusal, Seal};
use super::senders::Senders;
use super::sockets::Sockets;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::GOSSIP_NODES_MAX;

/// Beacons come quickly at first and settle at the slower pace, which also joins what a partition has parted.
const BEACON_MS_FIRST: u64 = 250;
const BEACON_MS_LAST: u64 = 5_000;

/// Most timers of the membership protocol; only a peer that knows the cookie and floods could cause more.
const TIMERS_MAX: usize = 16 * GOSSIP_NODES_MAX;

type Swim = Foca<Identity, Codec, StdRng, NoCustomBroadcast>;

/// One node's part in gossip, run by one task.
///
/// - nothing is read before its seal was checked, and nothing is read twice
/// - memory is bounded: beyond the bounds everything is forgotten, and found again
pub(super) struct Gossip {
    swim: Swim,
    outbox: Outbox,
    sockets: Sockets,
    seal: Seal,
    senders: Senders,
    counter: u64,
    counts: Arc<Counts>,
    roster: Arc<Roster>,
    me: watch::Receiver<Announcement>,
}

impl Gossip {
    pub(super) fn new(
        sockets: Sockets,
        seal: Seal,
        roster: Arc<Roster>,
        counts: Arc<Counts>,
        me: watch::Receiver<Announcement>,
    ) -> Result<Gossip> {
        let mut random = [0; 40];
        getrandom::fill(&mut random)
            .map_err(|error| Error::new(ErrorKind::Io, format!("the system gives no randomness: {error}")))?;
        let run = random[32..].iter().fold(0u64, |run, byte| (run << 8) | u64::from(*byte)).max(1);
        let about = me.borrow().clone();
        let identity = Identity { run, generation: 0, endpoint: sockets.endpoint(&about), about: Arc::new(about) };
        let mut seed = [0; 32];
        seed.copy_from_slice(&random[..32]);
        let swim = Foca::new(identity, swim_config(), StdRng::from_seed(seed), Codec);
        let (outbox, senders) = (Outbox::default(), Senders::new());
        Ok(Gossip { swim, outbox, sockets, seal, senders, counter: 0, counts, roster, me })
    }

    /// Until nobody holds the other end of `me` any more; then tells the others that this node leaves.
    pub(super) async fn run(mut self) {
        let (mut own_ear, mut group_ear) = self.sockets.ears();
        let mut beacon_ms = BEACON_MS_FIRST;
        let mut beacon_at = Instant::now();
        loop {
            let due = self.outbox.next_timer().map_or(beacon_at, |timer| timer.min(beacon_at));
            tokio::select! {
                biased;
                changed = self.me.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.announce_anew();
                    beacon_at = Instant::now();
                }
                () = sleep_until(due) => {
                    if beacon_at <= Instant::now() {
                        self.beacon().await;
                        beacon_at = Instant::now() + Duration::from_millis(beacon_ms);
                        beacon_ms = (2 * beacon_ms).min(BEACON_MS_LAST);
                    }
                    self.fire_timers();
                }
                (datagram, source) = own_ear.hear() => self.read(datagram, source),
                (datagram, source) = group_ear.hear() => self.read(datagram, source),
            }
            self.keep_bounds();
            self.send().await;
            self.publish();
        }
        let _told_nobody = self.swim.leave_cluster(&mut self.outbox);
        self.send().await;
    }

    fn read(&mut self, datagram: &[u8], source: SocketAddr) {
        let envelope = match self.seal.open(datagram) {
            Ok(envelope) => envelope,
            Err(Refusal::Malformed) => return add_one(&self.counts.malformed),
            Err(Refusal::Foreign) => return add_one(&self.counts.foreign),
        };
        let own_run = self.swim.identity().run;
        if envelope.sender == own_run {
            return;
        }
        let expected = if envelope.kind == Kind::Beacon { 0 } else { own_run };
        if envelope.receiver != expected || !self.senders.admit(envelope.sender, envelope.counter, source) {
            return add_one(&self.counts.replayed);
        }
        let is_read = match envelope.kind {
            Kind::Beacon => self.hear_beacon(&envelope),
            Kind::Swim => self.swim.handle_data(envelope.body, &mut self.outbox).is_ok(),
        };
        add_one(if is_read { &self.counts.accepted } else { &self.counts.malformed });
    }

    /// Asks a stranger for the members it knows. It is listed when it answers.
    fn hear_beacon(&mut self, envelope: &Envelope<'_>) -> bool {
        let Some(identity) = decode_identity(envelope.body).filter(|identity| identity.run == envelope.sender) else {
            return false;
        };
        let is_known = self.swim.iter_members().any(|member| *member.id() == identity);
        is_known || self.swim.announce(identity, &mut self.outbox).is_ok()
    }

    /// Each interface gets a datagram of its own: who hears two of them has not heard one twice.
    async fn beacon(&mut self) {
        self.sockets.join_group();
        let body = encode_identity(self.swim.identity());
        for interface in self.sockets.interfaces() {
            if let Some(datagram) = self.close(Kind::Beacon, 0, &body)
                && self.sockets.send_to_group(&datagram, interface).await
            {
                add_one(&self.counts.sent);
            }
        }
    }

    fn announce_anew(&mut self) {
        let about = self.me.borrow_and_update().clone();
        let endpoint = self.sockets.endpoint(&about);
        if let Some(identity) = self.swim.identity().renewed(endpoint, about) {
            let _told_nobody_yet = self.swim.change_identity(identity, &mut self.outbox);
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        while let Some(timer) = self.outbox.take_timer(now) {
            // Its errors tell of timers that were late, as after a pause of the machine; it recovers by itself.
            let _late = self.swim.handle_timer(timer, &mut self.outbox);
        }
    }

    fn keep_bounds(&mut self) {
        let is_within = self.swim.iter_membership_state().len() <= GOSSIP_NODES_MAX
            && self.swim.updates_backlog() <= GOSSIP_NODES_MAX
            && self.outbox.timers.len() <= TIMERS_MAX;
        if is_within {
            return;
        }
        let identity = self.swim.identity().clone();
        let identity = foca::Identity::renew(&identity).unwrap_or(identity);
        let mut random = [0; 32];
        // Its only use is to choose whom to probe: without fresh randomness the run's own number will do.
        if getrandom::fill(&mut random).is_err() {
            random[..8].copy_from_slice(&identity.run.to_be_bytes());
        }
        self.swim = Foca::new(identity, swim_config(), StdRng::from_seed(random), Codec);
        self.outbox = Outbox { is_news: true, ..Outbox::default() };
    }

    async fn send(&mut self) {
        for (to, body) in std::mem::take(&mut self.outbox.messages) {
            let address = self.senders.source(to.run).unwrap_or(SocketAddr::V4(to.endpoint));
            if let Some(datagram) = self.close(Kind::Swim, to.run, &body)
                && self.sockets.send(&datagram, address).await
            {
                add_one(&self.counts.sent);
            }
        }
    }

    fn close(&mut self, kind: Kind, receiver: u64, body: &[u8]) -> Option<Vec<u8>> {
        self.counter += 1;
        self.seal.close(&Envelope { kind, sender: self.swim.identity().run, receiver, counter: self.counter, body })
    }

    /// A node that was started again may be known twice for some seconds: who is not suspected comes first.
    fn publish(&mut self) {
        if !std::mem::take(&mut self.outbox.is_news) {
            return;
        }
        let mut members: Vec<_> =
            self.swim.iter_members().map(|member| (member.state() != State::Alive, &*member.id().about)).collect();
        members.sort_by(|(a_suspect, a), (b_suspect, b)| {
            (a_suspect, a.node_id, &a.address).cmp(&(b_suspect, b.node_id, &b.address))
        });
        let mut gossip: Vec<Announcement> = Vec::with_capacity(members.len());
        for (_, about) in members {
            if gossip.iter().all(|other| other.address != about.address) {
                gossip.push(about.clone());
            }
        }
        gossip.sort_by(|a, b| (a.node_id, &a.address).cmp(&(b.node_id, &b.address)));
        self.roster.set_gossip(gossip);
    }
}

/// What the membership protocol wants done, in order.
#[derive(Default)]
struct Outbox {
    messages: Vec<(Receiver, Vec<u8>)>,
    timers: BTreeMap<(Instant, u64), Timer<Identity>>,
    timers_set: u64,
    is_news: bool,
}

struct Receiver {
    run: u64,
    endpoint: SocketAddrV4,
}

impl Outbox {
    fn next_timer(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    fn take_timer(&mut self, now: Instant) -> Option<Timer<Identity>> {
        let entry = self.timers.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}

impl Runtime<Identity> for Outbox {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        use Notification::{MemberDown, MemberUp, Rename};
        self.is_news |= matches!(notification, MemberUp(_) | MemberDown(_) | Rename(..));
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.messages.push((Receiver { run: to.run, endpoint: to.endpoint }, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers_set += 1;
        self.timers.insert((Instant::now() + after, self.timers_set), event);
    }
}

/// For a local network of some tens of nodes: who dies in silence is dropped after about five seconds.
fn swim_config() -> foca::Config {
    const fn count(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).expect("positive")
    }
    foca::Config {
        probe_period: Duration::from_millis(1_000),
        probe_rtt: Duration::from_millis(300),
        num_indirect_probes: count(3),
        max_transmissions: NonZeroU8::new(6).expect("positive"),
        suspect_to_down_after: Duration::from_millis(3_000),
        remove_down_after: Some(Duration::from_secs(60)),
        max_packet_size: count(BODY_BYTES_MAX),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams { frequency: Duration::from_secs(30), num_members: count(1) }),
        // Beacons already bring back together what was parted.
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams { frequency: Duration::from_millis(500), num_members: count(3) }),
    }
}

#[cfg(test)]
mod tests {
    use foca::{Codec as _, Header, Member, Message};

    use super::super::options::Multicast;
    use super::*;

    fn about(node_id: u64) -> Announcement {
        Announcement { address: format!("127.0.0.1:{node_id}"), node_id, cluster_id: 0, name: String::new() }
    }

    fn identity(run: u64, generation: u32) -> Identity {
        let endpoint = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9);
        Identity { run, generation, endpoint, about: Arc::new(about(run)) }
    }

    fn gossip() -> (Gossip, watch::Sender<Announcement>) {
        let free = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let multicast = Multicast { port: free.local_addr().unwrap().port(), ..Multicast::default() };
        drop(free);
        let (me, receiver) = watch::channel(about(1));
        let sockets = Sockets::open(&multicast, &about(1)).unwrap();
        let roster = Arc::new(Roster::new(about(1), 0));
        (Gossip::new(sockets, Seal::new("cookie"), roster, Arc::default(), receiver).unwrap(), me)
    }

    /// What a peer that knows the cookie sends: this message with these members.
    fn say(gossip: &Gossip, src: Identity, message: Message<Identity>, members: &[Member<Identity>]) -> Vec<u8> {
        let header = Header { src, src_incarnation: 0, dst: gossip.swim.identity().clone(), message };
        let mut body = Vec::new();
        Codec.encode_header(&header, &mut body).unwrap();
        body.extend((members.len() as u16).to_be_bytes());
        for member in members {
            Codec.encode_member(member, &mut body).unwrap();
        }
        body
    }

    fn hear(gossip: &mut Gossip, sender: u64, counter: u64, body: &[u8]) {
        let receiver = gossip.swim.identity().run;
        let envelope = Envelope { kind: Kind::Swim, sender, receiver, counter, body };
        let datagram = gossip.seal.close(&envelope).unwrap();
        gossip.read(&datagram, "127.0.0.1:9".parse().unwrap());
        gossip.keep_bounds();
        gossip.outbox.messages.clear();
    }

    /// A peer that knows the cookie went mad and sends damaged messages, well sealed: nothing panics, and memory
    /// stays within its bounds.
    #[tokio::test]
    async fn damaged_messages_inside_good_seals_are_harmless() {
        let (mut gossip, _me) = gossip();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        let mut state = u64::from_be_bytes(seed) | 1;
        println!("seed {state}");
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (target, origin, probe_number) = (identity(7, 0), identity(8, 0), 1);
        let messages = [
            Message::Ping(1),
            Message::Ack(1),
            Message::PingReq { target: target.clone(), probe_number },
            Message::IndirectPing { origin: origin.clone(), probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        let members = [Member::alive(identity(3, 1)), Member::down(gossip.swim.identity().clone())];
        for counter in 1..20_000 {
            let message = messages[random(messages.len())].clone();
            let mut body = say(&gossip, identity(5, 0), message, &members[..random(3)]);
            for _ in 0..random(4) {
                let at = random(body.len());
                body[at] = random(256) as u8;
            }
            body.truncate(body.len() - random(8).saturating_sub(4));
            hear(&mut gossip, 5, counter, &body);
            if counter % 100 == 0 {
                let _late = gossip
                    .outbox
                    .timers
                    .pop_first()
                    .map(|(_, timer)| gossip.swim.handle_timer(timer, &mut gossip.outbox));
            }
        }
        let counts = gossip.counts.read();
        assert!(counts.accepted > 1_000 && counts.malformed > 1_000, "{counts:?}");
    }

    /// A peer that knows the cookie invents nodes without end: some are listed, memory stays within its bounds.
    #[tokio::test]
    async fn invented_nodes_fill_no_memory() {
        let (mut gossip, _me) = gossip();
        let mut known_max = 0;
        for counter in 1..2_000 {
            let invented: Vec<_> = (0..8).map(|n| Member::alive(identity(1_000 + 8 * counter + n, 0))).collect();
            let body = say(&gossip, identity(5, 0), Message::Gossip, &invented);
            hear(&mut gossip, 5, counter, &body);
            known_max = known_max.max(gossip.swim.iter_membership_state().len());
        }
        assert!(known_max > GOSSIP_NODES_MAX / 2 && known_max <= GOSSIP_NODES_MAX, "{known_max}");
        gossip.publish();
        assert!(gossip.roster.peers().len() <= GOSSIP_NODES_MAX);
    }

    /// Others thought this node gone, as after a long pause: it comes back by itself as its next generation.
    #[tokio::test]
    async fn a_node_that_was_thought_gone_comes_back() {
        let (mut gossip, _me) = gossip();
        let body = say(&gossip, identity(5, 0), Message::TurnUndead, &[])[..].to_vec();
        let body = &body[..body.len() - 2];
        hear(&mut gossip, 5, 1, body);
        assert_eq!(gossip.swim.identity().generation, 1);
        let news = say(&gossip, identity(5, 0), Message::Gossip, &[]);
        hear(&mut gossip, 5, 2, &news);
        gossip.publish();
        assert_eq!(gossip.roster.peers().len(), 1);
    }
}
