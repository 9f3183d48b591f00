//! Expiry: proposes the removal of what has expired. Reads hide it from its deadline on already. Indexes are seen to as well.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Clock;
use crate::limits;
use crate::model::{Command, Operation};
use crate::raft::Node;

/// About how many records one command removes, so that no write waits long behind it.
const RECORDS_PER_COMMAND: usize = 1_000;

/// Builds indexes that nobody has asked for since a snapshot was loaded or they were declared elsewhere.
fn build_indexes(node: &Weak<Node>) {
    let Some(node) = node.upgrade().filter(|node| node.machine().has_index_to_build()) else { return };
    let machine = node.machine().clone();
    let node = Arc::downgrade(&node);
    tokio::task::spawn_blocking(move || {
        let is_open = || node.upgrade().is_some_and(|node| !node.is_closed());
        for index in machine.indexes() {
            if let Some(index) = machine.index(index.name()) {
                index.build_while(is_open);
            }
        }
    });
}

/// Runs until the node closes.
pub(crate) async fn remove_expired(node: Weak<Node>, clock: Clock, interval_ms: u64) {
    let mut tick = tokio::time::interval(Duration::from_millis(interval_ms));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        build_indexes(&node);
        loop {
            let Some(node) = node.upgrade().filter(|node| !node.is_closed()) else { return };
            let now_ms = clock.now_ms();
            let due = if node.is_leader() { node.machine().expiry_due(now_ms, RECORDS_PER_COMMAND) } else { None };
            let Some(up_to_ms) = due else { break };
            let (sender, applied) = oneshot::channel();
            let command = Command { stamp_ms: now_ms, operation: Operation::Expire { up_to_ms } };
            let proposed = node.propose(
                &command,
                limits::TIMEOUT_MS_DEFAULT,
                Box::new(move |reply| {
                    let _ = sender.send(reply.is_ok());
                }),
            );
            drop(node);
            // Refused (a full disk, say): tried again at the next tick.
            if proposed.is_err() || applied.await != Ok(true) {
                break;
            }
        }
    }
}
