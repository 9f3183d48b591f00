//! Incoming: snapshots that other members are sending, piece by piece.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use super::messages::SnapshotPiece;
use crate::error::{Error, ErrorKind, Result};
use crate::raft::entry::Vote;
use crate::storage::SnapshotReceiver;

/// What each member is sending, at most one snapshot a member.
#[derive(Default)]
pub(super) struct Incoming {
    transfers: Mutex<BTreeMap<u64, Arc<Queue<Option<Transfer>>>>>,
}

struct Transfer {
    id: u64,
    stage: Stage,
}

enum Stage {
    Receiving(SnapshotReceiver),
    /// All of it is here; this was the answer.
    Installed(Vote),
}

/// What is to be done with a piece.
pub(super) enum Next {
    /// Its bytes belong behind those that this has received.
    Write(SnapshotReceiver),
    /// It was taken before; the answer was lost, or it came twice.
    Taken,
    /// The last one was taken before; this was the answer.
    Installed(Vote),
}

/// The turn of one piece; the next one of the same member waits until it is dropped.
pub(super) struct Turn(OwnedMutexGuard<Option<Transfer>>);

impl Incoming {
    /// Waits until all earlier pieces of this member are done with, however long a disk takes for them.
    pub(super) async fn turn(&self, from: u64) -> Turn {
        let queue = self.transfers().entry(from).or_default().clone();
        Turn(queue.lock_owned().await)
    }

    /// Forgets what others than `from` have begun to send: a snapshot of a newer leader is here.
    pub(super) fn forget_others(&self, from: u64) {
        self.transfers().retain(|node_id, _| *node_id == from);
    }

    fn transfers(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Queue<Option<Transfer>>>>> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Finds out what this piece is to the transfer so far. A transfer begins at 0, and a new one takes the place of the old one.
    ///
    /// Errors: `cluster_not_ready` when pieces before this one are missing.
    pub(super) fn next(
        &mut self,
        piece: &SnapshotPiece<'_>,
        begin: impl FnOnce() -> Result<SnapshotReceiver>,
    ) -> Result<Next> {
        let end = piece.offset + piece.bytes.len() as u64;
        match self.0.take().filter(|transfer| transfer.id == piece.transfer).map(|transfer| transfer.stage) {
            Some(Stage::Installed(vote)) => {
                self.installed(piece.transfer, vote);
                Ok(Next::Installed(vote))
            }
            Some(Stage::Receiving(receiver))
                if piece.offset == receiver.received() && (end > piece.offset || piece.is_last) =>
            {
                Ok(Next::Write(receiver))
            }
            Some(Stage::Receiving(receiver)) if end <= receiver.received() => {
                self.received(piece.transfer, receiver);
                Ok(Next::Taken)
            }
            None if piece.offset == 0 => begin().map(Next::Write),
            _ => Err(Error::new(ErrorKind::ClusterNotReady, "the pieces before this one are missing; begin again")),
        }
    }

    /// The piece is written.
    pub(super) fn received(&mut self, transfer: u64, receiver: SnapshotReceiver) {
        *self.0 = Some(Transfer { id: transfer, stage: Stage::Receiving(receiver) });
    }

    /// The snapshot is whole and answered with this vote.
    pub(super) fn installed(&mut self, transfer: u64, vote: Vote) {
        *self.0 = Some(Transfer { id: transfer, stage: Stage::Installed(vote) });
    }

    /// Nothing more of it is wanted.
    pub(super) fn end(&mut self) {
        *self.0 = None;
    }
}
