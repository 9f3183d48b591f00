//! Broken pipe: a write to a connection that its other side has closed is an error, and must not be a signal as well.

use nix::sys::signal::{SigSet, Signal};

/// Keeps the signal of a broken pipe from this thread and from those that it starts. Unhandled it ends the whole program:
/// Rust's own programs ignore it, as Python and the BEAM do, but programs in C and C++ do not.
pub(crate) fn block_broken_pipe_signal() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGPIPE);
    // It fails for arguments that do not exist, and there are none.
    let _ = signals.thread_block();
}
