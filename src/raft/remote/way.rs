//! RemoteWay: how a client brings batches to the leader.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Links, PAUSE, Target};
use crate::raft::peer::method;
use crate::raft::propose::{Attempt, ProposeAnswer, Way, attempt_of, attempt_of_call};

/// How long a batch waits for a leader before it fails.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) struct RemoteWay {
    links: Arc<Links>,
}

impl RemoteWay {
    pub(super) fn new(links: Arc<Links>) -> RemoteWay {
        RemoteWay { links }
    }
}

impl Way for RemoteWay {
    fn attempt(&self, batch: Vec<u8>, answer_timeout: Duration) -> BoxFuture<'_, Attempt> {
        Box::pin(async move {
            let (member, caller) = match self.links.pick(Target::Leader).await {
                Ok(picked) => picked,
                Err(error) => return Attempt::NotDone(error),
            };
            let Ok(answer) = tokio::time::timeout(answer_timeout, caller.call(method::PROPOSE, batch)).await else {
                self.links.known.avoid(member);
                return Attempt::Lost;
            };
            match attempt_of_call(answer) {
                Ok(ProposeAnswer::NotLeader(Some((node_id, address)))) => {
                    self.links.known.learn_leader(node_id, address);
                    attempt_of(ProposeAnswer::NotLeader(None))
                }
                Ok(answer) => {
                    match answer {
                        ProposeAnswer::NotLeader(None) => self.links.known.forget_leader(member),
                        // It no longer leads, or nobody follows it, though others may still believe that it leads.
                        ProposeAnswer::Unknown => self.links.known.avoid(member),
                        _ => {}
                    }
                    attempt_of(answer)
                }
                Err(attempt) => {
                    self.links.known.forget_leader(member);
                    attempt
                }
            }
        })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::time::sleep(PAUSE).await;
            if self.links.known.candidates(Target::Leader).is_empty() {
                self.links.refresh().await;
            }
        })
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn is_closed(&self) -> bool {
        self.links.closed.load(Ordering::Relaxed)
    }
}
