//! Driver: who does the work of a log, its own thread or a simulation step by step.

use std::fmt;
use std::sync::Arc;

/// Who brings changes to the disk, and prepares and frees segments.
#[derive(Clone, Default)]
pub(crate) enum Driver {
    /// Threads of the log.
    #[default]
    Thread,
    /// Nobody, until `Log::drive` is called. The log has no thread and never waits; everything happens in `drive` and
    /// `close`, in an order that depends on the calls alone. The closure is called, outside all locks, whenever there is new work;
    /// it must not call the log. A disk that is full when the next segment is needed is a failure of this log.
    Manual(Arc<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Thread => "Thread",
            Driver::Manual(_) => "Manual",
        })
    }
}

/// A mistake in the log, made on purpose.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sabotage {
    #[default]
    None,
    /// Answers before the sync, which comes only at the end of a segment or of the log.
    SkipSync,
    /// Answers `save_ballot` without writing it.
    ForgetBallot,
}
