//! Sabotage: bugs planted on purpose, to see that the tests of the whole system find them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all clones of one state machine; both bugs are off until they are planted.
#[derive(Default)]
pub(crate) struct Sabotage {
    applies_twice: AtomicBool,
    local_clock: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl Sabotage {
    /// A batch that comes again is applied again.
    pub(crate) fn apply_twice(&self) {
        self.applies_twice.store(true, Ordering::Relaxed);
    }

    /// Time is what this node's own clock says, not what the leader has stamped.
    pub(crate) fn trust_local_clock(&self, now_ms: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.local_clock.set(Box::new(now_ms));
    }

    pub(super) fn applies_twice(&self) -> bool {
        self.applies_twice.load(Ordering::Relaxed)
    }

    pub(super) fn local_ms(&self) -> Option<u64> {
        self.local_clock.get().map(|now_ms| now_ms())
    }
}
