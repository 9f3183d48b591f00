//! Failure: the first failed write, sync or removal; after it nothing is acknowledged any more.

use std::io;
use std::sync::OnceLock;

/// Set at most once, by whichever thread meets the failure.
#[derive(Default)]
pub(super) struct Failure {
    message: OnceLock<String>,
}

impl Failure {
    pub(super) fn note(&self, error: &io::Error) {
        let message = || format!("{error}; nothing is acknowledged any more: see to the disk, then restart this node");
        self.message.get_or_init(|| {
            let message = message();
            tracing::error!("a write has failed: {message}");
            message
        });
    }

    pub(super) fn message(&self) -> Option<String> {
        self.message.get().cloned()
    }

    /// An error once there was a failure.
    pub(super) fn check(&self) -> io::Result<()> {
        self.message.get().map_or(Ok(()), |message| Err(io::Error::other(message.clone())))
    }
}
