//! Senders: which datagrams of whom were read already, and where they came from.
//!
//! Why no clock is needed. Every run of a node draws a random number, and a datagram to one node names the run that
//! it is for: whatever was recorded before this run began cannot name it. What was recorded since then carries a
//! counter that its sender's window has seen. Only a beacon names nobody, so an old one can be played to a new run;
//! it moves the receiver to one datagram to a run that no longer answers, and nobody is listed before answering.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Most runs remembered. Beyond it the one heard longest ago is forgotten: playing its datagrams again could list
/// a node that is gone, until the next probe.
const SENDERS_MAX: usize = 4_096;

const WINDOW_BITS: u64 = 64;

/// A sliding window of counters for each run (RFC 6479), behind the seal: only who knows the cookie gets an entry.
pub(super) struct Senders {
    known: HashMap<u64, Sender>,
    heard: u64,
}

struct Sender {
    newest: u64,
    /// Bit n: the counter `newest - n` was read.
    window: u64,
    source: SocketAddr,
    last_heard: u64,
}

impl Senders {
    pub(super) fn new() -> Senders {
        Senders { known: HashMap::new(), heard: 0 }
    }

    /// Whether this datagram is read for the first time.
    pub(super) fn admit(&mut self, sender: u64, counter: u64, source: SocketAddr) -> bool {
        self.heard += 1;
        let heard = self.heard;
        let Some(known) = self.known.get_mut(&sender) else {
            if self.known.len() >= SENDERS_MAX {
                self.forget_oldest();
            }
            self.known.insert(sender, Sender { newest: counter, window: 1, source, last_heard: heard });
            return true;
        };
        if let Some(ahead) = counter.checked_sub(known.newest).filter(|ahead| *ahead > 0) {
            known.window = if ahead < WINDOW_BITS { (known.window << ahead) | 1 } else { 1 };
            known.newest = counter;
        } else {
            let behind = known.newest - counter;
            if behind >= WINDOW_BITS || known.window & (1 << behind) != 0 {
                return false;
            }
            known.window |= 1 << behind;
        }
        known.source = source;
        known.last_heard = heard;
        true
    }

    /// Where this run was last heard from, which beats what it believes its address to be.
    pub(super) fn source(&self, sender: u64) -> Option<SocketAddr> {
        self.known.get(&sender).map(|sender| sender.source)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.known.iter().min_by_key(|(_, sender)| sender.last_heard).map(|(run, _)| *run);
        if let Some(run) = oldest {
            self.known.remove(&run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    /// Networks reorder and repeat: each counter is read once, whatever the order within the window.
    #[test]
    fn each_counter_is_read_once() {
        let mut senders = Senders::new();
        for (counter, is_new) in [
            (5, true),
            (5, false),
            (7, true),
            (6, true),
            (6, false),
            (200, true),
            (7, false),
            (136, false),
            (137, true),
        ] {
            assert_eq!(senders.admit(1, counter, SOURCE), is_new, "counter {counter}");
        }
        assert!(senders.admit(2, 5, SOURCE), "another sender counts for itself");
        assert!(senders.admit(1, u64::MAX, SOURCE));
        assert!(!senders.admit(1, u64::MAX, SOURCE));
        assert!(!senders.admit(1, 0, SOURCE));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut senders = Senders::new();
        for sender in 0..SENDERS_MAX as u64 {
            assert!(senders.admit(sender, 1, SOURCE));
        }
        assert!(senders.admit(0, 2, SOURCE));
        assert!(senders.admit(u64::MAX, 1, SOURCE));
        assert_eq!(senders.known.len(), SENDERS_MAX);
        assert!(senders.source(0).is_some());
        assert!(senders.source(1).is_none());
    }
}
