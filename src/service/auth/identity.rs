//! Identification: whose token a text is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Consistency, TokenHash, TokenId, TokenSecret};
use crate::raft::{Freshness, Node};
use crate::service::Clock;
use crate::state_machine::TokenRecord;

/// How long a follower that does not know a token asks the leader.
const TIMEOUT_MS: u64 = 500;
/// Threads that wait for the leader at once; others are refused, so that guessing holds up nobody.
const WAITING_MAX: usize = 4;

/// Finds the holders of tokens on one node.
#[derive(Default)]
pub(crate) struct Identification {
    waiting: AtomicUsize,
}

impl Identification {
    /// Whose token this is. A follower that does not know it may be behind, and asks the leader once.
    ///
    /// Errors: `unauthorized`.
    pub(crate) fn identify(&self, node: &Node, clock: &Clock, text: &str) -> Result<Caller> {
        let mistyped = || Error::new(ErrorKind::Unauthorized, "this is no token: it was mistyped or cut off");
        let hash = TokenSecret::parse(text).ok_or_else(mistyped)?.hash();
        let found = find(node, &hash).or_else(|| self.catch_up(node).and_then(|()| find(node, &hash)));
        let unknown = || Error::new(ErrorKind::Unauthorized, "the token is not known, or it was revoked");
        let record = found.ok_or_else(unknown)?;
        record.check_valid(clock.now_ms())?;
        Ok(Caller::holding(record, clock.clone()))
    }

    /// Waits until this node has applied what was acknowledged before; `None` when it has, or cannot.
    fn catch_up(&self, node: &Node) -> Option<()> {
        if node.begin_read(Consistency::Leader).ok()? != Freshness::Unknown {
            return None;
        }
        let _waiting = Waiting::begin(&self.waiting)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let ready = move |ready: Result<u64>| drop(sender.send(ready));
        node.confirm_read(Consistency::Leader, TIMEOUT_MS, Box::new(ready));
        receiver.recv_timeout(Duration::from_millis(TIMEOUT_MS)).ok()?.ok().map(drop)
    }
}

/// One of those who wait, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(count: &AtomicUsize) -> Option<Waiting<'_>> {
        let waiting = Waiting(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The public id leads to the token, and says nothing of its hash; the hash is compared in constant time.
fn find(node: &Node, hash: &TokenHash) -> Option<Arc<TokenRecord>> {
    let record = node.machine().tokens().get(TokenId::of(hash))?;
    bool::from(record.hash().ct_eq(hash)).then_some(record)
}
