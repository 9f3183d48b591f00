//! Uses: when tokens were last used, told to the other members now and then. Never on the way of a request.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::ErrorKind;
use crate::limits;
use crate::model::{Command, Operation};
use crate::raft::Node;
use crate::service::Clock;
use crate::state_machine::TokenRecord;

/// How often a node looks for uses to tell.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The log carries the uses of one token at most so often.
const NOTE_EVERY_MS: u64 = 3_600_000;

/// Runs until the node closes.
pub(crate) async fn note_token_uses(node: Weak<Node>, clock: Clock) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(strong) = node.upgrade().filter(|node| !node.is_closed()) else { return };
        let due: Vec<Operation<'static>> =
            strong.machine().tokens().all().iter().filter_map(|token| due(token)).collect();
        drop(strong);
        for operation in due {
            // Not possible now (no leader, say): tried again at the next tick.
            if !note(&node, &clock, operation).await {
                break;
            }
        }
    }
}

/// The use that the others should know of.
fn due(token: &TokenRecord) -> Option<Operation<'static>> {
    let used_ms = token.seen_ms()?;
    let is_due = token.noted_ms().is_none_or(|noted_ms| used_ms >= noted_ms.saturating_add(NOTE_EVERY_MS));
    is_due.then(|| Operation::NoteTokenUse { token: token.id(), used_ms })
}

async fn note(node: &Weak<Node>, clock: &Clock, operation: Operation<'static>) -> bool {
    let Some(node) = node.upgrade() else { return false };
    let (sender, applied) = oneshot::channel();
    let command = Command { stamp_ms: clock.now_ms(), operation };
    let proposed = node.propose(&command, limits::TIMEOUT_MS_DEFAULT, Box::new(move |reply| drop(sender.send(reply))));
    drop(node);
    if proposed.is_err() {
        return false;
    }
    match applied.await {
        Ok(Ok(_)) => true,
        // Revoked meanwhile.
        Ok(Err(error)) => error.kind() == ErrorKind::NotFound,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::{put_batch_header, stamp_batch};
    use crate::encoding::command::put_command;
    use crate::model::{NewTokenItem, Scopes};
    use crate::state_machine::StateMachine;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn apply(machine: &StateMachine, stamp_ms: u64, operation: Operation<'_>) {
        let mut payload = Vec::new();
        put_batch_header(&mut payload, 0, 0, 0);
        put_command(&mut payload, &Command { stamp_ms, operation });
        stamp_batch(&mut payload, stamp_ms);
        machine.apply(&payload, |outcome| drop(outcome.unwrap())).unwrap();
    }

    #[test]
    fn the_first_use_is_told_and_then_one_an_hour() {
        let machine = StateMachine::new();
        let scopes = Scopes { read: true, ..Scopes::default() };
        let item = NewTokenItem { hash: [1; 32], name: "n", scopes, key_prefixes: Vec::new(), deadline_ms: None };
        apply(&machine, NOW_MS, Operation::CreateToken(item));
        let token = machine.tokens().all().remove(0);
        assert_eq!(due(&token), None, "never used");
        for (used_ms, is_told) in [(NOW_MS, true), (NOW_MS + 3_599_999, false), (NOW_MS + 3_600_000, true)] {
            token.see(used_ms);
            let told = due(&token);
            assert_eq!(told, is_told.then(|| Operation::NoteTokenUse { token: token.id(), used_ms }));
            told.into_iter().for_each(|operation| apply(&machine, used_ms, operation));
        }
        assert_eq!(token.noted_ms(), Some(NOW_MS + 3_600_000));
        token.see(NOW_MS);
        assert_eq!(token.seen_ms(), Some(NOW_MS + 3_600_000), "the last use is the latest");
    }
}
