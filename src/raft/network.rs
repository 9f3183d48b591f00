//! Network: how this node reaches other members. A node that was given no transport reaches nobody.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::leader_id_adv::LeaderId;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, Snapshot};

use super::entry::Vote;
use super::machine_store::SnapshotData;
use super::types::{Peer, Types};

/// Reaches nobody, and says so.
pub(super) struct Isolated;

impl RaftNetworkFactory<Types> for Isolated {
    type Network = Isolated;

    async fn new_client(&mut self, _target: u64, _node: &Peer) -> Isolated {
        Isolated
    }
}

fn unreachable_peer() -> Unreachable<Types> {
    Unreachable::new(&std::io::Error::new(std::io::ErrorKind::NotConnected, "this node has no transport"))
}

impl RaftNetworkV2<Types> for Isolated {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(unreachable_peer()))
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(unreachable_peer()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot<LeaderId<u64, u64>, u64, Peer, SnapshotData>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(unreachable_peer()))
    }
}
