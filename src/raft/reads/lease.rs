//! Lease: how long this leader may answer reads by itself, in one atomic.
//!
//! Source of the rule: the Raft thesis, section 6.4.1. A follower that has heard the leader at a time `t` grants no vote
//! before `t + election timeout`. So once a quorum has answered requests that were *sent* at `t` or later, nobody else
//! can lead before `t` + election timeout, less a margin for clocks that do not run equally fast. The clock counts the
//! time in which the machine was suspended, and the lease is looked at *after* a read, so that a paused process never
//! answers from the past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nanoseconds since some fixed point; never goes back, and goes on while the machine is suspended.
pub(crate) trait LeaseClock: Send + Sync {
    fn now_ns(&self) -> u64;
}

/// The system's clock that counts suspension.
pub(crate) struct SystemLeaseClock;

impl LeaseClock for SystemLeaseClock {
    fn now_ns(&self) -> u64 {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        // Elsewhere the monotonic clock of the system counts suspension as well.
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// What this node knows of its own leadership.
///
/// - `valid_until_ns` is more than 0 only while this node leads, has applied an entry of its own term, and a quorum of
///   every active configuration has answered requests that were sent less than the lease's length ago.
/// - It is 0 while membership changes or leadership is being handed over.
pub(in crate::raft) struct Lease {
    clock: Arc<dyn LeaseClock>,
    length_ns: u64,
    valid_until_ns: AtomicU64,
    state: Mutex<State>,
    /// Planted, see `Hooks`.
    #[cfg(test)]
    is_kept: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct State {
    /// The term in which this node leads and has applied an entry of its own; 0 otherwise.
    term: u64,
    node_id: u64,
    configs: Vec<BTreeSet<u64>>,
    /// When the last answered request was sent to each member, in this term.
    answered_ns: BTreeMap<u64, u64>,
    suspensions: u32,
}

impl Lease {
    /// `election_timeout` is the least time for which a follower that has heard the leader grants no vote.
    pub(in crate::raft) fn new(clock: Arc<dyn LeaseClock>, election_timeout: Duration) -> Lease {
        // A tenth is far more than two crystals drift apart in this time.
        let length = election_timeout.mul_f64(0.9);
        Lease {
            clock,
            length_ns: length.as_nanos() as u64,
            valid_until_ns: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            #[cfg(test)]
            is_kept: false.into(),
        }
    }

    pub(in crate::raft) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Whether what was read before this call was still the present. To be asked after the read.
    pub(in crate::raft) fn is_valid(&self) -> bool {
        let valid_until_ns = self.valid_until_ns.load(Ordering::Acquire);
        #[cfg(test)]
        if self.is_kept.load(Ordering::Relaxed) {
            return valid_until_ns > 0;
        }
        valid_until_ns > 0 && self.clock.now_ns() < valid_until_ns
    }

    #[cfg(test)]
    pub(in crate::raft) fn keep(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Relaxed);
    }

    /// This node leads in this term, with these configurations. Answers of earlier terms do not count.
    pub(in crate::raft) fn lead(&self, term: u64, node_id: u64, configs: &[BTreeSet<u64>]) {
        let mut state = self.state();
        if state.term != term {
            state.answered_ns.clear();
            state.term = term;
        }
        state.node_id = node_id;
        state.configs = configs.to_vec();
        self.publish(&state);
    }

    /// This node does not lead, or cannot say so yet.
    pub(in crate::raft) fn drop_leadership(&self) {
        let mut state = self.state();
        state.term = 0;
        state.answered_ns.clear();
        self.publish(&state);
    }

    /// A member has answered, in this term, a request that was sent at this time.
    pub(in crate::raft) fn answered(&self, member: u64, term: u64, sent_ns: u64) {
        let mut state = self.state();
        if state.term != term {
            return;
        }
        let latest = state.answered_ns.entry(member).or_default();
        *latest = sent_ns.max(*latest);
        self.publish(&state);
    }

    /// When that was sent which a quorum of every configuration has answered last; `None` when this node does not lead. A
    /// leader that is on its way out counts as long as others follow it, though it has no lease.
    pub(in crate::raft) fn quorum_answered_ns(&self) -> Option<u64> {
        let state = self.state();
        if state.term == 0 { None } else { state.quorum_ns() }
    }

    /// When this member answered last, in nanoseconds ago.
    pub(in crate::raft) fn last_contact_ns(&self, member: u64) -> Option<u64> {
        let answered_ns = self.state().answered_ns.get(&member).copied()?;
        Some(self.clock.now_ns().saturating_sub(answered_ns))
    }

    /// No lease until the answer is dropped: membership changes, or leadership is handed over.
    pub(in crate::raft) fn suspend(self: &Arc<Lease>) -> Suspension {
        let mut state = self.state();
        state.suspensions += 1;
        self.publish(&state);
        Suspension(self.clone())
    }

    fn publish(&self, state: &State) {
        let until_ns = match state.quorum_ns() {
            Some(sent_ns) if state.term > 0 && state.suspensions == 0 && state.is_voter() => {
                sent_ns.saturating_add(self.length_ns)
            }
            _ => 0,
        };
        self.valid_until_ns.store(until_ns, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The latest time at or after which a quorum of every configuration was asked and has answered.
    fn quorum_ns(&self) -> Option<u64> {
        self.configs.iter().map(|voters| self.quorum_of(voters)).min().flatten()
    }

    fn is_voter(&self) -> bool {
        self.configs.iter().all(|voters| voters.contains(&self.node_id))
    }

    fn quorum_of(&self, voters: &BTreeSet<u64>) -> Option<u64> {
        let of = |id: &u64| if *id == self.node_id { u64::MAX } else { self.answered_ns.get(id).copied().unwrap_or(0) };
        let mut times: Vec<u64> = voters.iter().map(of).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(voters.len() / 2).copied().filter(|sent_ns| *sent_ns > 0)
    }
}

/// While it lives there is no lease.
pub(in crate::raft) struct Suspension(Arc<Lease>);

impl Drop for Suspension {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.suspensions -= 1;
        // What was answered before may have been answered to another configuration.
        state.answered_ns.clear();
        self.0.publish(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Manual(AtomicU64);

    impl LeaseClock for Manual {
        fn now_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn lease() -> (Arc<Manual>, Arc<Lease>) {
        let clock = Arc::new(Manual(AtomicU64::new(1_000)));
        let lease = Arc::new(Lease::new(clock.clone(), Duration::from_nanos(100)));
        (clock, lease)
    }

    fn voters(ids: &[u64]) -> Vec<BTreeSet<u64>> {
        vec![ids.iter().copied().collect()]
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_what_a_quorum_answered() {
        let (clock, lease) = lease();
        lease.lead(3, 1, &voters(&[1, 2, 3]));
        assert!(!lease.is_valid(), "nobody has answered yet");
        lease.answered(2, 2, 990);
        assert!(!lease.is_valid(), "an answer of another term counts for nothing");
        lease.answered(2, 3, 950);
        assert!(lease.is_valid(), "one of two others and this node are a quorum");
        clock.0.store(1_039, Ordering::Relaxed);
        assert!(lease.is_valid());
        clock.0.store(1_040, Ordering::Relaxed);
        assert!(!lease.is_valid(), "90 after the sending it is over, whenever the answer came");
    }

    #[test]
    fn a_leader_on_its_way_out_is_confirmed_by_the_others_and_has_no_lease() {
        let (_, lease) = lease();
        lease.lead(3, 1, &[BTreeSet::from([1, 2, 3, 4]), BTreeSet::from([2, 3, 4])]);
        assert_eq!(lease.quorum_answered_ns(), None, "nobody has answered yet");
        lease.answered(2, 3, 990);
        assert_eq!(lease.quorum_answered_ns(), None, "one of three is no majority, and this node is none of them");
        lease.answered(4, 3, 960);
        assert_eq!(lease.quorum_answered_ns(), Some(960));
        assert!(!lease.is_valid());
    }

    #[test]
    fn of_five_the_third_counts_and_of_a_joint_configuration_both_halves() {
        let (_, lease) = lease();
        lease.lead(1, 1, &voters(&[1, 2, 3, 4, 5]));
        lease.answered(2, 1, 999);
        assert!(!lease.is_valid());
        lease.answered(3, 1, 920);
        assert!(lease.is_valid());
        let joint = [BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 8, 9])];
        lease.lead(1, 1, &joint);
        assert!(!lease.is_valid(), "nobody of the new configuration has answered");
        lease.answered(9, 1, 995);
        assert!(lease.is_valid());
    }

    #[test]
    fn nothing_is_read_under_a_lease_that_is_being_handed_over() {
        let (_, lease) = lease();
        lease.lead(1, 1, &voters(&[1, 2, 3]));
        lease.answered(2, 1, 999);
        let suspension = lease.suspend();
        assert!(!lease.is_valid());
        lease.answered(3, 1, 1_000);
        assert!(!lease.is_valid());
        drop(suspension);
        assert!(!lease.is_valid(), "a quorum must answer anew");
        lease.answered(3, 1, 1_000);
        assert!(lease.is_valid());
        lease.drop_leadership();
        assert!(!lease.is_valid());
    }

    #[test]
    fn a_leader_that_was_removed_has_no_lease() {
        let (_, lease) = lease();
        lease.lead(1, 1, &voters(&[2, 3]));
        lease.answered(2, 1, 999);
        lease.answered(3, 1, 999);
        assert!(!lease.is_valid());
    }
}
