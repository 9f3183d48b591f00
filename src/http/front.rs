//! Front: what every request passes on its way in and every answer on its way out.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_service::Service as _;

use super::access::Rules;
use super::answer::Fault;
use super::request::{App, Ask};
use crate::limits;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request is counted under that no route has answered.
const NO_ROUTE: &str = "none";

/// Longest request id that is taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// One address's answers.
pub(super) struct Front {
    app: Arc<App>,
    rules: Rules,
    plain: Router,
    /// The same for clients that take gzip.
    compressing: Router,
    ids: RandomState,
    requests: AtomicU64,
}

impl Front {
    pub(super) fn new(app: Arc<App>, rules: Rules, routes: Router) -> Front {
        let layer = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
        let compressing = routes.clone().layer(layer);
        Front { app, rules, plain: routes, compressing, ids: RandomState::new(), requests: AtomicU64::new(0) }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let (id, method, begun) = (self.request_id(request.headers()), request.method().clone(), Instant::now());
        let mut response = match self.admit(&request, peer) {
            Ok(ask) => self.route(request, ask).await,
            Err(fault) => fault.response(&id),
        };
        let route = response.extensions_mut().remove::<MatchedPath>();
        if let Some(fault) = response.extensions_mut().remove::<Fault>() {
            let allowed = response.headers_mut().remove(header::ALLOW);
            response = fault.response(&id);
            allowed.map(|allowed| response.headers_mut().insert(header::ALLOW, allowed));
        }
        let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        self.app.db.metrics().http_request(method.as_str(), route, response.status().as_u16(), begun.elapsed());
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    async fn route(&self, request: Request<Incoming>, ask: Ask) -> Response<Body> {
        let takes_gzip = request.headers().contains_key(header::ACCEPT_ENCODING);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ask);
        let routes = if takes_gzip { &self.compressing } else { &self.plain };
        let answered: Result<_, Infallible> = routes.clone().call(request).await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn admit(&self, request: &Request<Incoming>, peer: SocketAddr) -> Result<Ask, Fault> {
        within_limits(request)?;
        self.rules.admit(&self.app, request.method(), request.uri(), request.version(), request.headers(), peer)
    }

    /// The client's own id if it is a sane one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let is_sane = |id: &&str| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_sane) {
            Some(id) => id.to_owned(),
            None => format!("{:016x}", self.ids.hash_one(self.requests.fetch_add(1, Ordering::Relaxed))),
        }
    }
}

fn within_limits(request: &Request<Incoming>) -> Result<(), Fault> {
    let url_bytes = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    if url_bytes > limits::HTTP_URL_BYTES_MAX {
        let message = "a path with its query has at most 8192 bytes";
        return Err(Fault::new(StatusCode::URI_TOO_LONG, "URL_TOO_LONG", message));
    }
    let headers = request.headers();
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes > limits::HTTP_HEADER_BYTES_MAX || headers.len() > limits::HTTP_HEADERS_MAX {
        let message = "a request has at most 100 headers and 16384 bytes of them";
        return Err(Fault::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE", message));
    }
    Ok(())
}
