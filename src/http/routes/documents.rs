//! Documents: the OpenAPI document, and the pages for people.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;

use super::console;
use crate::http::answer::{self, Answer, ErrorEnvelope, Fault, JSON};
use crate::http::request::Ask;

/// Scripts and styles from here only; the page styles itself while it runs.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCS: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> =
    LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::from("/api/v1/openapi.json")));

/// The API as an OpenAPI 3.1 document, made from the routes themselves.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "health", operation_id = "openapi",
    responses(
        (status = 200, description = "This document", body = serde_json::Value),
        (status = "4XX", description = "UNAUTHORIZED, FORBIDDEN", body = ErrorEnvelope),
    )
)]
pub(super) async fn openapi(ask: Ask) -> Answer {
    ask.may_look().await?;
    Ok(answer::with_type(JSON, ask.app.openapi.clone().into()))
}

/// Adds the pages for people.
pub(super) fn pages(router: Router) -> Router {
    console::pages(router)
        .route("/api/docs", get(|| async { Redirect::permanent("/api/docs/") }))
        .route("/api/docs/", get(docs))
        .route("/api/docs/{*file}", get(docs))
}

/// A file of the page that shows the document. All of them are inside the program.
async fn docs(ask: Ask, uri: Uri) -> Result<Response<Body>, Fault> {
    ask.may_look().await?;
    let path = uri.path().trim_start_matches("/api/docs").trim_start_matches('/');
    let missing = || Fault::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such file");
    let file = utoipa_swagger_ui::serve(path, DOCS.clone()).map_err(|_| missing())?.ok_or_else(missing)?;
    let mut response = file.bytes.into_owned().into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_str(&file.content_type).unwrap_or(HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_TYPE, media);
    if file.gzpipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
    Ok(response)
}
