//! Health: whether the node lives and serves, and its figures.

use axum::http::HeaderValue;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, ErrorKind};
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope};
use crate::http::request::Ask;

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
    let text = ask.apart(|db| Ok(db.metrics_text())).await?;
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(answer::with_type(media, text.into()))
}
