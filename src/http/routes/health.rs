//! Health: whether the node lives and serves, and its figures.

use axum::http::HeaderValue;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::answer::{self, Answer, Envelope, ErrorEnvelope, Fault};
use super::super::request::Ask;
use crate::concord::Concord;
use crate::error::{Error, ErrorKind};

/// That it lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// True.
    alive: bool,
}

/// Whether the node lives: it answers.
#[utoipa::path(
    get, path = "/api/v1/health", tag = "health", operation_id = "health",
    responses((status = 200, description = "It lives", body = Envelope<Alive>))
)]
pub(super) async fn health() -> Answer {
    answer::ok(Alive { alive: true })
}

/// The same, where probes look for it.
#[utoipa::path(
    get, path = "/health", tag = "health", operation_id = "alive",
    responses((status = 200, description = "It lives", body = Envelope<Alive>))
)]
pub(super) async fn alive() -> Answer {
    health().await
}

/// That it serves.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// True.
    ready: bool,
}

/// Whether the node serves: it has caught up and knows a leader that a quorum follows.
#[utoipa::path(
    get, path = "/ready", tag = "health", operation_id = "ready",
    responses(
        (status = 200, description = "It serves", body = Envelope<Ready>),
        (status = 503, description = "Not now", body = ErrorEnvelope),
    )
)]
pub(super) async fn ready(ask: Ask) -> Answer {
    // Whoever looks after the node asks without a token.
    let is_ready = ask.apart(|db| Ok(db.as_admin().cluster().is_ready())).await?;
    if is_ready {
        return answer::ok(Ready { ready: true });
    }
    Err(Error::new(ErrorKind::ClusterNotReady, "this node does not serve now; `/api/v1/status` says more").into())
}

/// Everything that is measured, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses(
        (status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"),
        (status = "4XX", description = "UNAUTHORIZED, FORBIDDEN", body = ErrorEnvelope),
    )
)]
pub(super) async fn metrics(ask: Ask) -> Answer {
    ask.may_look().await?;
    let text = ask.apart(|db| metrics_text(&db.as_admin())).await?;
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(answer::with_type(media, text.into()))
}

/// The figures that the status gives.
fn metrics_text(db: &Concord) -> Result<String, Fault> {
    let status = db.status()?;
    let gauges = [
        ("concord_cluster_size", "Records in the store", status.size),
        ("concord_cluster_memory", "Memory that the records take, bytes", status.memory_bytes),
        ("concord_cluster_member_count", "Members of the cluster", status.raft.members.len() as u64),
        ("concord_cluster_commit_index", "Index of the last committed entry", status.raft.commit_index),
        ("concord_cluster_is_leader", "1 on the leader", u64::from(status.raft.leader == Some(status.raft.node_id))),
        ("concord_is_ready", "1 while the node serves", u64::from(status.raft.is_ready)),
    ];
    let line =
        |(name, help, value): (&str, &str, u64)| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
    Ok(gauges.into_iter().map(line).collect())
}
