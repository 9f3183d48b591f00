//! Counts: what became of the datagrams of gossip.

use std::sync::atomic::{AtomicU64, Ordering};

/// Datagrams since the start. Those that were dropped are told to nobody but this.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DatagramCounts {
    /// Handed to the network.
    pub(crate) sent: u64,
    /// Read and acted upon.
    pub(crate) accepted: u64,
    /// Dropped: too short, too long, of an unknown version, or senseless inside a good seal.
    pub(crate) malformed: u64,
    /// Dropped: sealed with another cookie, or tampered with.
    pub(crate) foreign: u64,
    /// Dropped: read before, or meant for an earlier run of a node.
    pub(crate) replayed: u64,
}

/// The same numbers while they grow.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) foreign: AtomicU64,
    pub(super) replayed: AtomicU64,
}

#[cfg(test)]
impl Counts {
    pub(super) fn read(&self) -> DatagramCounts {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DatagramCounts {
            sent: value(&self.sent),
            accepted: value(&self.accepted),
            malformed: value(&self.malformed),
            foreign: value(&self.foreign),
            replayed: value(&self.replayed),
        }
    }
}

/// Counts one more.
pub(super) fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
