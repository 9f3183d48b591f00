//! NodeAuthority: how a member learns up to where it must have applied: from its own lease or a quorum when it leads,
//! from the leader otherwise.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use openraft::ReadPolicy;

use super::rounds::{Authority, ReadIndex};
use crate::encoding::wire::{WireReader, damaged, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Consistency;
use crate::raft::core::Core;
use crate::raft::peer::{Use, error_of, method};

pub(in crate::raft) struct NodeAuthority {
    core: Arc<Core>,
}

impl NodeAuthority {
    pub(in crate::raft) fn new(core: Arc<Core>) -> NodeAuthority {
        NodeAuthority { core }
    }
}

impl Authority for NodeAuthority {
    fn confirm(&self, level: Consistency) -> BoxFuture<'_, Result<ReadIndex>> {
        Box::pin(async move {
            let core = &*self.core;
            let leader = core.leader().ok_or_else(no_leader)?;
            if leader.node_id == core.node_id {
                return confirm_here(core, level).await;
            }
            let peers = core.peers.as_ref().ok_or_else(no_leader)?;
            let caller = peers.caller(leader.node_id, &leader.address, Use::Messages).await?;
            let call = caller.call(method::READ_INDEX, encode_level(level));
            // A leader that has stopped answering is asked again, or another one.
            let answer = tokio::time::timeout(core.election_timeout * 2, call).await.map_err(|_| no_leader())?;
            let index = decode_index(&answer.map_err(error_of)?)?;
            core.applied.wait_for(index.applied).await;
            Ok(index)
        })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.core.change_within(Duration::from_millis(20)))
    }

    fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}

fn no_leader() -> Error {
    Error::new(ErrorKind::ClusterNotReady, "there is no leader that a majority follows; try again shortly")
}

/// The leader's own answer. Everything that was acknowledged before is applied here when it comes.
pub(in crate::raft) async fn confirm_here(core: &Core, level: Consistency) -> Result<ReadIndex> {
    if level == Consistency::Leader {
        // The index first, then the lease: what was acknowledged until then is in the index.
        let index = ReadIndex { applied: core.applied.entries(), time_ms: core.time.now_ms() };
        if core.lease.is_valid() || core.serves_locally.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(index);
        }
    }
    let raft = core.raft().ok_or_else(no_leader)?;
    let begun_ns = core.lease.now_ns();
    let confirming = raft.ensure_linearizable(ReadPolicy::ReadIndex);
    match tokio::time::timeout(core.election_timeout * 2, confirming).await {
        // openraft takes the answer to an older request for one to the newest that ends at the same entry: an answer that
        // a partition has held back would confirm a leader that was replaced long ago. When each request was sent is
        // known here.
        Ok(Ok(_)) if core.lease.quorum_answered_ns().is_some_and(|sent_ns| sent_ns >= begun_ns) => {
            Ok(ReadIndex { applied: core.applied.entries(), time_ms: core.time.now_ms() })
        }
        _ => Err(no_leader()),
    }
}

const LEADER: u8 = 1;
const STRONG: u8 = 2;

pub(in crate::raft) fn encode_level(level: Consistency) -> Vec<u8> {
    vec![if level == Consistency::Leader { LEADER } else { STRONG }]
}

pub(in crate::raft) fn decode_level(bytes: &[u8]) -> Result<Consistency> {
    match bytes {
        [LEADER] => Ok(Consistency::Leader),
        [STRONG] => Ok(Consistency::Strong),
        _ => Err(damaged("an unknown level of a read")),
    }
}

pub(in crate::raft) fn encode_index(index: &ReadIndex) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, index.applied);
    put_varint(&mut out, index.time_ms);
    out
}

fn decode_index(bytes: &[u8]) -> Result<ReadIndex> {
    let mut reader = WireReader::new(bytes);
    let index = ReadIndex { applied: reader.varint()?, time_ms: reader.varint()? };
    reader.finish()?;
    Ok(index)
}
