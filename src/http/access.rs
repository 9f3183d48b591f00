//! Access: who may ask at all: tokens, and what keeps other people's web pages out of a store without them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::header::{self, HeaderName};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, Method, StatusCode, Version};

use super::answer::Fault;
use super::request::{App, Ask};
use crate::error::ErrorKind;
use crate::telemetry::AuthFailure;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers without any token: whether the node lives and serves, and a page that holds no data.
const OPEN: &[&str] = &["/health", "/api/v1/health", "/ready", "/console"];

/// Answers without a token to programs on the same machine.
const FOR_THE_MACHINE: &[&str] = &["/metrics", "/api/v1/openapi.json", "/api/docs"];

/// The rules of one address.
pub(super) struct Rules {
    /// Whether only this machine reaches the address.
    pub(super) is_loopback: bool,
    /// Names of this node, beside its addresses and `localhost`.
    pub(super) names: Vec<String>,
}

impl Rules {
    /// In whose name the request acts.
    pub(super) fn admit(
        &self,
        app: &Arc<App>,
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Ask, Fault> {
        let host = host_header(headers)?;
        if host.is_none() && uri.authority().is_none() && version == Version::HTTP_11 {
            return Err(Fault::request("a request of HTTP/1.1 has a Host header"));
        }
        let token = token(headers);
        let needs_token = app.db.auth_enabled();
        if !needs_token {
            if self.is_loopback {
                self.check_host(uri.authority())?;
                self.check_host(host.as_ref())?;
            }
            if *method != Method::GET && *method != Method::HEAD {
                check_origin(headers, uri.authority().or(host.as_ref()))?;
            }
        }
        let is_local = peer.ip().is_loopback();
        let db = match token {
            // Nobody needs one here, so a wrong one changes nothing.
            Some(token) if !needs_token => app.db.with_token(token).unwrap_or_else(|_| app.db.clone()),
            Some(token) => app.db.with_token_from(token, peer.ip()).inspect_err(|error| {
                if error.kind() == ErrorKind::Unauthorized {
                    app.db.metrics().auth_failed(AuthFailure::Token);
                }
            })?,
            None if needs_token && !is_free(uri.path(), is_local) => return Err(ErrorKind::Unauthorized.into()),
            None => app.db.clone(),
        };
        Ok(Ask { db, app: app.clone(), is_local })
    }

    /// A web page of somewhere else can make a browser ask this machine under the name of its own server. Such a
    /// request names that server here.
    fn check_host(&self, authority: Option<&Authority>) -> Result<(), Fault> {
        let Some(host) = authority.map(Authority::host) else { return Ok(()) };
        let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let is_own = bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(bare));
        if is_own {
            return Ok(());
        }
        let message = "without tokens this address answers only to an IP address, `localhost` or the node's name";
        Err(Fault::new(StatusCode::FORBIDDEN, "FORBIDDEN", message))
    }
}

/// Whether this path needs no token.
fn is_free(path: &str, is_local: bool) -> bool {
    let is_under = |root: &&str| path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    OPEN.iter().any(&is_under) || (is_local && FOR_THE_MACHINE.iter().any(is_under))
}

fn host_header(headers: &HeaderMap) -> Result<Option<Authority>, Fault> {
    let mut values = headers.get_all(header::HOST).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Fault::request("a request has one Host header"));
    }
    first
        .map(|host| Authority::try_from(host.as_bytes()).map_err(|_| Fault::request("the Host header names no host")))
        .transpose()
}

/// A browser tells from where a page asks; pages of other sites write nothing here.
fn check_origin(headers: &HeaderMap, host: Option<&Authority>) -> Result<(), Fault> {
    let is_foreign = |origin: &axum::http::HeaderValue| {
        let of = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, of)| of);
        of.is_none() || of.map(str::to_ascii_lowercase) != host.map(|host| host.as_str().to_ascii_lowercase())
    };
    let is_cross_site = headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site");
    if is_cross_site || headers.get(header::ORIGIN).is_some_and(is_foreign) {
        let message = "a web page of another site may not write here; set `auth_enabled` and use a token";
        return Err(Fault::new(StatusCode::FORBIDDEN, "FORBIDDEN", message));
    }
    Ok(())
}

/// The token of `Authorization: Bearer` or `X-API-Key`.
fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer.or_else(|| headers.get(API_KEY).and_then(|value| value.to_str().ok()).map(str::trim))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_other_servers_are_refused() {
        let rules = Rules { is_loopback: true, names: vec!["north".to_owned()] };
        let check = |host: &str| rules.check_host(Some(&host.parse().unwrap())).is_ok();
        for own in ["127.0.0.1:4000", "[::1]:4000", "localhost", "LOCALHOST:1", "localhost.:4000", "North:4000"] {
            assert!(check(own), "{own}");
        }
        for other in ["evil.example", "127.0.0.1.evil.example:4000", "localhost.evil.example", "south"] {
            assert!(!check(other), "{other}");
        }
    }

    #[test]
    fn pages_of_other_sites_may_not_write() {
        let host: Authority = "localhost:4000".parse().unwrap();
        let check = |name: &'static str, value: &'static str| {
            check_origin(
                &HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]),
                Some(&host),
            )
        };
        assert!(check("origin", "http://localhost:4000").is_ok());
        assert!(check("sec-fetch-site", "same-origin").is_ok());
        for (name, value) in [
            ("origin", "http://localhost:3000"),
            ("origin", "null"),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert!(check(name, value).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn what_needs_no_token() {
        for (path, far, near) in [
            ("/ready", true, true),
            ("/health", true, true),
            ("/healthy", false, false),
            ("/metrics", false, true),
            ("/api/docs/swagger-ui.css", false, true),
            ("/api/v1/kv/health", false, false),
            ("/nowhere", false, false),
        ] {
            assert_eq!((is_free(path, false), is_free(path, true)), (far, near), "{path}");
        }
    }
}
