//! Churn: tokens that come, are used and go on every member, so that replicas have them to agree on.

use std::sync::Weak;
use std::time::Duration;

use super::dice::Dice;
use crate::model::{Command, NewTokenItem, Operation, Scopes, TokenId};
use crate::raft::Node;
use crate::service::Clock;

/// How many tokens there are at most.
const TOKENS: u64 = 6;
const TIMEOUT_MS: u64 = 1_500;

/// Runs until the process ends. What becomes of each command only the members' contents tell.
pub(super) async fn churn(node: Weak<Node>, clock: Clock, mut dice: Dice) {
    loop {
        tokio::time::sleep(Duration::from_millis(200 + dice.below(800))).await;
        let Some(node) = node.upgrade().filter(|node| !node.is_closed()) else { return };
        let stamp_ms = clock.now_ms();
        let hash = [dice.below(TOKENS) as u8; 32];
        let token = TokenId::of(&hash);
        let scopes = Scopes { write: true, ..Scopes::default() };
        let operation = match dice.below(4) {
            0 => {
                let deadline_ms = (dice.below(2) == 0).then_some(stamp_ms + 1 + dice.below(3_000));
                Operation::CreateToken(NewTokenItem { hash, name: "", scopes, key_prefixes: Vec::new(), deadline_ms })
            }
            1 => Operation::RevokeToken(token),
            2 => Operation::NoteTokenUse { token, used_ms: stamp_ms },
            _ => {
                let count = Operation::Increment { key: b"of tokens", by: 1, initial: 0, deadline_ms: None };
                Operation::Authorised { token, operation: Box::new(count) }
            }
        };
        // Refused while there is no leader, as others are.
        let _ = node.propose(&Command { stamp_ms, operation }, TIMEOUT_MS, Box::new(|_| {}));
    }
}
