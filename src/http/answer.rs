//! Answer: what goes back to the client: data in an envelope, or a fault with its code.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::error::{Error, ErrorKind};

/// Media type of everything that is not raw.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Says that an answer holds data.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Good {
    Ok,
}

/// Says that an answer holds an error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Bad {
    Error,
}

/// Every good answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    status: Good,
    data: T,
}

/// Every other answer.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorEnvelope {
    status: Bad,
    error: ErrorDetails,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorDetails {
    /// What programs look at, for example `NOT_FOUND` or `CONFLICT`.
    code: String,
    /// What happened and what to do next, for people.
    message: String,
    /// The same as in the header `x-request-id`.
    request_id: String,
    /// The name of the error in every other language, when it has one: `already_exists` and `condition_failed` are
    /// both a `CONFLICT` here.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Of `COMPACTED`: the oldest revision whose changes are retained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    oldest_revision: Option<u64>,
}

/// Why a request gets no data. The request's id is added on its way out.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    kind: Option<ErrorKind>,
    message: Cow<'static, str>,
    oldest_revision: Option<u64>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault { status, code, kind: None, message: message.into(), oldest_revision: None }
    }

    /// A request that is not of the form that the documentation tells.
    pub(super) fn request(message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    /// For people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The whole answer.
    pub(super) fn response(self, request_id: &str) -> Response<Body> {
        let error = ErrorDetails {
            code: self.code.to_owned(),
            message: self.message.into_owned(),
            request_id: request_id.to_owned(),
            kind: self.kind.map(|kind| kind.name().to_owned()),
            oldest_revision: self.oldest_revision,
        };
        // Text and names only: this is always JSON.
        let body = serde_json::to_vec(&ErrorEnvelope { status: Bad::Error, error }).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The one table of what each kind of error is in HTTP.
fn in_http(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::Timeout => (StatusCode::REQUEST_TIMEOUT, "TIMEOUT"),
        ErrorKind::Unauthorized => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "FORBIDDEN"),
        ErrorKind::ClusterNotReady => (StatusCode::SERVICE_UNAVAILABLE, "CLUSTER_UNAVAILABLE"),
        ErrorKind::InvalidKey => (StatusCode::BAD_REQUEST, "INVALID_KEY"),
        ErrorKind::InvalidValue => (StatusCode::UNPROCESSABLE_ENTITY, "INVALID_VALUE"),
        ErrorKind::ValueTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "VALUE_TOO_LARGE"),
        ErrorKind::InvalidTtl => (StatusCode::BAD_REQUEST, "INVALID_TTL"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "CONFLICT"),
        ErrorKind::ConditionFailed => (StatusCode::CONFLICT, "CONFLICT"),
        ErrorKind::MissingCondition => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        ErrorKind::ConflictingConditions => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        ErrorKind::InvalidCondition => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        ErrorKind::BatchTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "BATCH_TOO_LARGE"),
        ErrorKind::InvalidOperationFormat => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        ErrorKind::NotAnInteger => (StatusCode::UNPROCESSABLE_ENTITY, "NOT_AN_INTEGER"),
        ErrorKind::UnknownOutcome => (StatusCode::GATEWAY_TIMEOUT, "UNKNOWN_OUTCOME"),
        ErrorKind::Noproc => (StatusCode::SERVICE_UNAVAILABLE, "CLUSTER_UNAVAILABLE"),
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        ErrorKind::Closed => (StatusCode::SERVICE_UNAVAILABLE, "CLUSTER_UNAVAILABLE"),
        ErrorKind::InvalidTouchOperation => (StatusCode::BAD_REQUEST, "INVALID_TTL"),
        ErrorKind::InvalidConfig => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
        ErrorKind::Locked => (StatusCode::SERVICE_UNAVAILABLE, "CLUSTER_UNAVAILABLE"),
        ErrorKind::Io => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        ErrorKind::Compacted => (StatusCode::GONE, "COMPACTED"),
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let kind = error.kind();
        let (status, code) = in_http(kind);
        let message: Cow<'static, str> = match kind {
            // These name files of the server.
            ErrorKind::Corrupt | ErrorKind::Io | ErrorKind::Internal | ErrorKind::Locked => {
                "the server failed; its own status and logs say more".into()
            }
            ErrorKind::Unauthorized if error.message() == Error::from(kind).message() => {
                "a valid token is required: send `Authorization: Bearer ...` or `X-API-Key: ...`".into()
            }
            _ => error.message().to_owned().into(),
        };
        Fault { status, code, kind: Some(kind), message, oldest_revision: error.oldest_revision() }
    }
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Fault {
        Error::from(kind).into()
    }
}

/// The fault travels beside an empty answer; whoever knows the request's id fills it in.
impl IntoResponse for Fault {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// What a handler gives.
pub(super) type Answer = Result<Response<Body>, Fault>;

/// An answer with this body.
pub(super) fn with_type(media_type: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// `data` is JSON already.
pub(super) fn enveloped(data: &str) -> Vec<u8> {
    [r#"{"status":"ok","data":"#, data, "}"].concat().into_bytes()
}

/// An answer with this data.
pub(super) fn ok<T: Serialize>(data: T) -> Answer {
    let body = serde_json::to_vec(&Envelope { status: Good::Ok, data })
        .map_err(|error| Error::new(ErrorKind::Internal, format!("an answer is no JSON: {error}")))?;
    Ok(with_type(JSON, body.into()))
}

/// The header of a record's revision.
pub(super) fn set_revision(response: &mut Response<Body>, revision: u64) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// Milliseconds that JSON writes as seconds: whole ones without a fraction, others to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, ToSchema)]
#[schema(value_type = f64)]
pub(super) struct Seconds(u64);

impl Seconds {
    /// A lifetime as text; `null` for ever.
    pub(super) fn json(ttl_ms: Option<u64>) -> String {
        json!(ttl_ms.map(Seconds)).to_string()
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => serializer.serialize_u64(self.0 / 1000),
            _ => serializer.serialize_f64(self.0 as f64 / 1000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_client_or_server_error_and_none_tells_of_files() {
        for kind in ErrorKind::ALL {
            let (status, code) = in_http(*kind);
            assert!(status.is_client_error() || status.is_server_error(), "{kind}");
            assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{kind}");
            let fault = Fault::from(Error::new(*kind, "cannot read secret-place"));
            assert!(!status.is_server_error() || status.as_u16() > 500 || !fault.message.contains("secret-place"));
        }
    }

    #[test]
    fn seconds_keep_their_milliseconds() {
        assert_eq!(Seconds::json(Some(60_000)), "60");
        assert_eq!(Seconds::json(Some(1_500)), "1.5");
        assert_eq!(serde_json::to_string(&Seconds(59_999)).unwrap(), "59.999");
        assert_eq!(Seconds::json(None), "null");
    }
}
