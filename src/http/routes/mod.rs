//! Routes: every path with its handler. The one registration makes the router and the OpenAPI document.

mod bulk;
mod cluster;
mod console;
mod documents;
mod health;
mod index;
mod keys;
mod list;
mod query;
mod records;
mod tokens;
mod txn;
mod watch;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Fault;
use crate::error::ErrorKind;

/// What a key may be, for the document.
const ABOUT: &str = "\
Keys are 1 to 1,024 bytes, percent-encoded in paths: `%2F` is a slash, `%00` a zero byte. Paths are routed before they are \
decoded, so a key called `bulk` is reached as `%62ulk`. In JSON a key is a string, or `{\"$bytes\": \"base64\"}` when it \
is no UTF-8.\n\n\
Values are any JSON. Bytes are `{\"$bytes\": \"base64\"}`; or send and ask for `application/octet-stream`, or \
`application/cbor` for the encoded value of any type.\n\n\
Conditional writes: the `ETag` of a read is the record's revision. `If-Match` writes only over that revision, \
`If-None-Match: *` only if there is no such key, `expected` in the body only over an equal value, `condition` only if that \
expression is true of the current record. When the condition does not \
hold the answer is 409 (not 412), with the `kind` that every language uses.\n\n\
Errors are `{\"status\": \"error\", \"error\": {\"code\", \"message\", \"request_id\", \"kind\"?}}`. 408 and 503 may be tried again; \
504 `UNKNOWN_OUTCOME` means that a write may have happened. Requests that cannot be read at all (broken headers) are \
answered by their status alone.";

/// The API: its router and its document.
pub(super) fn api() -> (Router, OpenApi) {
    let about = InfoBuilder::new().title("Concord").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT)).build();
    let document = OpenApiBuilder::new().info(about).build();
    let (router, mut document) = OpenApiRouter::with_openapi(document)
        .routes(routes!(keys::get, keys::put, keys::delete))
        .routes(routes!(keys::touch))
        .routes(routes!(keys::ttl))
        .routes(routes!(keys::increment))
        .routes(routes!(list::list))
        .routes(routes!(query::query))
        .routes(routes!(query::count))
        .routes(routes!(query::delete))
        .routes(routes!(txn::txn))
        .routes(routes!(index::list, index::create))
        .routes(routes!(index::drop))
        .routes(routes!(index::reindex))
        .routes(routes!(index::query))
        .routes(routes!(watch::watch))
        .routes(routes!(bulk::put))
        .routes(routes!(bulk::get))
        .routes(routes!(bulk::delete))
        .routes(routes!(bulk::touch))
        .routes(routes!(cluster::status))
        .routes(routes!(cluster::members, cluster::add))
        .routes(routes!(cluster::remove))
        .routes(routes!(cluster::promote))
        .routes(routes!(cluster::replace))
        .routes(routes!(cluster::lead))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(health::health))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(documents::openapi))
        .split_for_parts();
    add_security(&mut document);
    let router = documents::pages(router).route_layer(middleware::from_fn(name_route));
    (router.fallback(unknown).method_not_allowed_fallback(wrong_method), document)
}

/// What the address for metrics alone answers.
pub(super) fn metrics_alone() -> Router {
    OpenApiRouter::new()
        .routes(routes!(health::metrics))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .split_for_parts()
        .0
        .route_layer(middleware::from_fn(name_route))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
}

/// A token in either of two headers, or none where none is needed.
fn add_security(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    let none: [&str; 0] = [];
    document.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new("bearer", none),
        SecurityRequirement::new("api_key", none),
    ]);
}

/// Tells on the way out which route has answered.
async fn name_route(path: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(path);
    response
}

async fn unknown(uri: Uri) -> Fault {
    // The router wants something between two slashes.
    if uri.path().strip_prefix("/api/v1/kv/").is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return ErrorKind::InvalidKey.into();
    }
    Fault::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such path; `/api/v1/openapi.json` lists all")
}

async fn wrong_method() -> Fault {
    let message = "this path does not know this method; the `Allow` header lists those that it does";
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}
