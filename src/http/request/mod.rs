//! Request: what a handler takes out of a request, each part checked as it is taken.

mod conditions;
mod content;
mod key;
mod media;
mod parameters;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::{oneshot, watch};

pub(super) use conditions::{Conditions, Unless};
pub(super) use content::{Content, unsupported};
pub(super) use key::{PathKey, key_json, key_of_json, key_text};
pub(super) use media::{Media, Wanted};
pub(super) use parameters::{Parameters, present};

use super::answer::Fault;
use super::budget::Budget;
use crate::concord::Concord;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Consistency, ReadOptions, Reply, Write};

/// Largest body or value, bytes, that is worked on by the threads that speak HTTP. Larger ones would hold up others.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What all requests share.
pub(super) struct App {
    pub(super) db: Concord,
    pub(super) budget: Budget,
    pub(super) body_bytes_max: usize,
    /// The OpenAPI document.
    pub(super) openapi: String,
    /// Whether the server stops.
    pub(super) stops: watch::Sender<bool>,
}

impl App {
    /// Ready when the server stops, for answers that have no end of their own.
    pub(super) async fn closing(&self) {
        // The sender lives as long as this.
        let _ = self.stops.subscribe().wait_for(|stops| *stops).await;
    }
}

/// One request: in whose name it acts, and what it shares with others.
#[derive(Clone)]
pub(super) struct Ask {
    /// The store for the holder of the request's token.
    pub(super) db: Concord,
    pub(super) app: Arc<App>,
    /// Whether it comes from this machine.
    pub(super) is_local: bool,
}

impl<S: Sync> FromRequestParts<S> for Ask {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Ask, Fault> {
        parts.extensions.get::<Ask>().cloned().ok_or_else(|| ErrorKind::Internal.into())
    }
}

impl Ask {
    /// Does what blocks, or takes long, on a thread where it holds up nobody.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Concord) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let db = self.db.clone();
        let done = tokio::task::spawn_blocking(move || work(&db)).await;
        done.unwrap_or_else(|_| Err(ErrorKind::Internal.into()))
    }

    /// Does it at once, or apart when it is about many bytes.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Concord) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        if bytes > INLINE_BYTES_MAX { self.apart(work).await } else { work(&self.db) }
    }

    /// Whether what is about the node, and not its records, may be shown to who asks.
    pub(super) async fn may_look(&self) -> Result<(), Fault> {
        if self.is_local || !self.app.db.auth_enabled() {
            return Ok(());
        }
        self.apart(|db| db.status().map(drop).map_err(Fault::from)).await
    }
}

/// A write that has begun.
pub(super) struct Begun(oneshot::Receiver<Result<Reply>>);

impl Begun {
    /// # Errors
    /// What was refused before it began.
    pub(super) fn submit(db: &Concord, write: Write<'_>, timeout_ms: Option<u64>) -> Result<Begun, Fault> {
        let (sender, receiver) = oneshot::channel();
        db.kv().submit(write, timeout_ms, move |outcome| drop(sender.send(outcome)))?;
        Ok(Begun(receiver))
    }

    pub(super) async fn outcome(self) -> Result<Reply, Fault> {
        Ok(self.0.await.unwrap_or_else(|_| Err(ErrorKind::UnknownOutcome.into()))?)
    }

    /// Revision of the change; `None` when nothing had to change.
    pub(super) async fn revision(self) -> Result<Option<u64>, Fault> {
        Ok(match self.outcome().await? {
            Reply::Done { revision } | Reply::Integer { revision, .. } => {
                Some(revision).filter(|revision| *revision > 0)
            }
            Reply::Touched { .. } | Reply::Transaction(_) => None,
        })
    }
}

/// Options of a read from what the query says.
pub(super) fn read_options(consistency: Option<Level>, timeout_ms: Option<u64>) -> Result<ReadOptions, Fault> {
    Ok(ReadOptions { consistency: consistency.map(Level::into), timeout_ms: checked_timeout(timeout_ms)? })
}

/// A timeout within its bound.
pub(super) fn checked_timeout(timeout_ms: Option<u64>) -> Result<Option<u64>, Fault> {
    match timeout_ms {
        Some(timeout_ms) if timeout_ms > crate::limits::HTTP_TIMEOUT_MS_MAX => {
            Err(Fault::request("timeout_ms is at most 600000"))
        }
        timeout_ms => Ok(timeout_ms),
    }
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// What this node has applied; may be stale.
    Eventual,
    /// What the leader has applied.
    Leader,
    /// Confirmed by a quorum.
    Strong,
}

impl From<Level> for Consistency {
    fn from(level: Level) -> Consistency {
        match level {
            Level::Eventual => Consistency::Eventual,
            Level::Leader => Consistency::Leader,
            Level::Strong => Consistency::Strong,
        }
    }
}

/// Milliseconds of a lifetime in seconds. What is no positive time becomes 0, which the service refuses.
pub(super) fn ttl_ms(seconds: f64) -> u64 {
    // The cast saturates: a negative number or NaN is 0, what is too large stays too large.
    (seconds * 1000.0).round() as u64
}

/// JSON as a value, `what` says of which field.
pub(super) fn value_of(json: &serde_json::value::RawValue, what: &str) -> Result<Vec<u8>, Fault> {
    crate::encoding::value_from_json(json.get())
        .map_err(|error| Error::new(error.kind(), format!("`{what}`: {}", error.message())).into())
}
