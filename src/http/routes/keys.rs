//! Keys: the verbs of one key.

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::records::{Form, How, show};
use crate::concord::Concord;
use crate::encoding::encode_value;
use crate::error::ErrorKind;
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, Seconds, set_revision};
use crate::http::request::{
    Ask, Begun, Conditions, Content, Level, Media, Parameters, PathKey, Unless, Wanted, checked_timeout, present,
    read_options, ttl_ms, unsupported, value_of,
};
use crate::model::{Compress, Reply, Value, Write};

/// How a record is read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetParameters {
    /// How fresh it must be. Default: as configured, else `leader`.
    #[param(inline)]
    consistency: Option<Level>,
    /// Longest wait for others, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
    /// `{"value", "ttl"}` instead of the value alone.
    with_ttl: Option<bool>,
    /// `record`: `{"value", "revision", "ttl"}`.
    #[param(inline)]
    with: Option<With>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum With {
    Record,
}

/// The value of a key.
///
/// `data` is the value itself, or what `with_ttl` and `with` say. `Accept: application/octet-stream` gives text and bytes as
/// they are, `Accept: application/cbor` the encoded value.
#[utoipa::path(
    get, path = "/api/v1/kv/{key}", tag = "keys", operation_id = "get",
    params(
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        GetParameters,
        ("If-None-Match" = Option<String>, Header, description = "Revisions that the client has, as ETag gave them"),
    ),
    responses(
        (status = 200, description = "The value, with its revision as ETag", headers(("ETag" = String)), content(
            (Envelope<serde_json::Value> = "application/json"),
            (String = "application/octet-stream"),
            (String = "application/cbor"),
        )),
        (status = 304, description = "The client has this revision already"),
        (status = "4XX", description = "NOT_FOUND, INVALID_KEY, NOT_ACCEPTABLE; INVALID_VALUE when JSON cannot say it", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn get(
    ask: Ask,
    PathKey(key): PathKey,
    Parameters(given): Parameters<GetParameters>,
    headers: HeaderMap,
) -> Answer {
    let form = match (Wanted::of(&headers)?, given.with, given.with_ttl) {
        (Media::Json, Some(With::Record), _) => Form::Record,
        (Media::Json, None, Some(true)) => Form::WithTtl,
        (Media::Json, None, _) => Form::Value,
        (raw, _, _) => Form::Raw(raw),
    };
    let options = read_options(given.consistency, given.timeout_ms)?;
    show(&ask, key, options, How { form, unless: Unless::of(&headers)? }).await
}

/// How a write is done.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WriteParameters {
    /// Longest wait for the write, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// How a key is removed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteParameters {
    /// Longest wait for the write, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
    /// Remove only if this expression is true of the current record, as `condition` in the body says it.
    #[serde(rename = "if")]
    condition: Option<String>,
}

/// How a write of a value is done.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PutParameters {
    /// Longest wait for the write, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
    /// Lifetime of a raw value in seconds, fractions allowed. JSON says it in the body.
    #[param(exclusive_minimum = 0)]
    ttl: Option<f64>,
    /// Store only if this expression is true of the current record, as `condition` in the body says it.
    #[serde(rename = "if")]
    condition: Option<String>,
}

/// A value to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutBody<'a> {
    /// Any JSON.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    value: &'a RawValue,
    /// Lifetime in seconds, fractions allowed. Without it the key lives for ever, whatever it had before.
    #[schema(exclusive_minimum = 0)]
    ttl: Option<f64>,
    /// Store only if the current value equals this one.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    expected: Option<&'a RawValue>,
    /// Store only if this expression is true of the current record: `value.version < 2`.
    condition: Option<String>,
}

/// A change that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct Changed {
    /// Number of the change in the whole store; `null` when nothing had to change.
    revision: Option<u64>,
}

/// Stores a value.
///
/// With `If-None-Match: *` only if the key does not exist, with `If-Match: "revision"` only over that revision, with
/// `expected` only over an equal value, with `condition` only if that is true; else 409. `application/octet-stream` stores bytes, `application/cbor` an encoded value.
#[utoipa::path(
    put, path = "/api/v1/kv/{key}", tag = "keys", operation_id = "put",
    params(
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        PutParameters,
        ("If-Match" = Option<String>, Header, description = "Only over this revision"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if the key does not exist"),
    ),
    request_body(content(
        (PutBody = "application/json"),
        (String = "application/octet-stream"),
        (String = "application/cbor"),
    )),
    responses(
        (status = 200, description = "Stored, with the new revision as ETag", headers(("ETag" = String)), body = Envelope<Changed>),
        (status = "4XX", description = "CONFLICT, NOT_FOUND, INVALID_KEY, INVALID_REQUEST, INVALID_TTL, INVALID_VALUE, VALUE_TOO_LARGE", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn put(
    ask: Ask,
    PathKey(key): PathKey,
    Parameters(given): Parameters<PutParameters>,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let begun = ask
        .work(content.len(), move |db| {
            let (value, ttl, conditions) = match content.media() {
                Some(Media::Json) => {
                    let opened = content.open()?;
                    let body: PutBody<'_> = opened.json()?;
                    let conditions = Conditions::of(&headers, body.expected, one_of(body.condition, given.condition)?)?;
                    (value_of(body.value, "value")?, body.ttl.or(given.ttl), conditions)
                }
                Some(Media::Octets) => {
                    let value = encode_value(&Value::Bytes(content.open()?.bytes.into()))?;
                    (value, given.ttl, Conditions::of(&headers, None, given.condition)?)
                }
                Some(Media::Cbor) => {
                    (content.open()?.bytes.into(), given.ttl, Conditions::of(&headers, None, given.condition)?)
                }
                None => {
                    let message = "send application/json, application/octet-stream or application/cbor";
                    return Err(unsupported(message));
                }
            };
            let (ttl_ms, condition) = (ttl.map(ttl_ms), conditions.condition());
            let write = Write::Put { key: &key, value: &value, ttl_ms, condition, compress: Compress::Auto };
            Begun::submit(db, write, timeout_ms)
        })
        .await?;
    changed(begun.revision().await?)
}

/// The condition of the body or of the query, of which one is enough.
fn one_of(in_body: Option<String>, in_query: Option<String>) -> Result<Option<String>, Fault> {
    match (in_body, in_query) {
        (Some(_), Some(_)) => Err(ErrorKind::ConflictingConditions.into()),
        (in_body, in_query) => Ok(in_body.or(in_query)),
    }
}

/// What must hold for a key to be removed.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteBody<'a> {
    /// Remove only if the current value equals this one.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    expected: Option<&'a RawValue>,
    /// Remove only if this expression is true of the current record: `value.version < 2`.
    condition: Option<String>,
}

/// Removes a key; fine when it is missing.
///
/// With `If-Match: "revision"` only that revision, with `expected` only an equal value; else 409, or 404 when it is missing.
#[utoipa::path(
    delete, path = "/api/v1/kv/{key}", tag = "keys", operation_id = "delete",
    params(
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        DeleteParameters,
        ("If-Match" = Option<String>, Header, description = "Only this revision"),
    ),
    request_body(content = Option<DeleteBody>, content_type = "application/json"),
    responses(
        (status = 200, description = "It is not there any more", body = Envelope<Changed>),
        (status = "4XX", description = "CONFLICT, NOT_FOUND, INVALID_KEY, INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn delete(
    ask: Ask,
    PathKey(key): PathKey,
    Parameters(given): Parameters<DeleteParameters>,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let begun = ask
        .work(content.len(), move |db| {
            let opened = if content.is_empty() { None } else { Some(content.open_json()?) };
            let body: DeleteBody<'_> = opened.as_ref().map(|opened| opened.json()).transpose()?.unwrap_or_default();
            let conditions = Conditions::of(&headers, body.expected, one_of(body.condition, given.condition)?)?;
            Begun::submit(db, Write::Delete { key: &key, condition: conditions.condition() }, timeout_ms)
        })
        .await?;
    answer::ok(Changed { revision: begun.revision().await? })
}

/// A new lifetime.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TouchBody {
    /// Seconds from now, fractions allowed.
    #[schema(exclusive_minimum = 0)]
    ttl: f64,
}

/// Makes the remaining lifetime of a key `ttl`, also of one that had none.
#[utoipa::path(
    post, path = "/api/v1/kv/{key}/touch", tag = "lifetimes", operation_id = "touch",
    params(
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        WriteParameters,
    ),
    request_body = TouchBody,
    responses(
        (status = 200, description = "It has the new lifetime", body = Envelope<Changed>),
        (status = "4XX", description = "NOT_FOUND, INVALID_KEY, INVALID_TTL, INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn touch(
    ask: Ask,
    PathKey(key): PathKey,
    Parameters(given): Parameters<WriteParameters>,
    content: Content,
) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let body: TouchBody = content.open_json()?.json()?;
    let begun = Begun::submit(&ask.db, Write::Touch { key: &key, ttl_ms: ttl_ms(body.ttl) }, timeout_ms)?;
    answer::ok(Changed { revision: begun.revision().await? })
}

/// How a lifetime is read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TtlParameters {
    /// How fresh it must be. Default: as configured, else `leader`.
    #[param(inline)]
    consistency: Option<Level>,
    /// Longest wait for others, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// What is left of a lifetime.
#[derive(Serialize, ToSchema)]
pub(super) struct Remaining {
    /// Seconds; `null` for one that lives for ever.
    ttl: Option<Seconds>,
}

/// The remaining lifetime of a key.
#[utoipa::path(
    get, path = "/api/v1/kv/{key}/ttl", tag = "lifetimes", operation_id = "ttl",
    params(
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        TtlParameters,
    ),
    responses(
        (status = 200, description = "What is left", body = Envelope<Remaining>),
        (status = "4XX", description = "NOT_FOUND, INVALID_KEY", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn ttl(
    ask: Ask,
    PathKey(key): PathKey,
    Parameters(given): Parameters<TtlParameters>,
) -> Result<Response<Body>, Fault> {
    let options = read_options(given.consistency, given.timeout_ms)?;
    show(&ask, key, options, How { form: Form::Ttl, unless: Unless::default() }).await
}

/// What to add to a counter.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IncrementBody {
    /// May be negative. Default: 1.
    by: Option<i64>,
    /// What a missing key counts as before the addition. Default: 0.
    initial: Option<i64>,
    /// Lifetime in seconds of a key that this call creates; an existing one keeps its own.
    #[schema(exclusive_minimum = 0)]
    ttl: Option<f64>,
}

/// A counter after the addition.
#[derive(Serialize, ToSchema)]
pub(super) struct Sum {
    /// The sum.
    value: i64,
    /// Number of the change in the whole store.
    revision: u64,
}

/// Adds to an integer atomically. An empty object adds 1.
#[utoipa::path(
    post, path = "/api/v1/kv/{key}/increment", tag = "keys", operation_id = "increment",
    params(
        ("key" = String, Path, description = "1 to 1,024 bytes, percent-encoded", min_length = 1),
        WriteParameters,
    ),
    request_body = IncrementBody,
    responses(
        (status = 200, description = "The sum, with its revision as ETag", headers(("ETag" = String)), body = Envelope<Sum>),
        (status = "4XX", description = "NOT_AN_INTEGER; VALUE_TOO_LARGE when the sum leaves 64 bits; INVALID_KEY, INVALID_TTL, INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn increment(
    ask: Ask,
    PathKey(key): PathKey,
    Parameters(given): Parameters<WriteParameters>,
    content: Content,
) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let body: IncrementBody = content.open_json()?.json()?;
    match increased(&ask.db, &key, &body, timeout_ms)?.outcome().await? {
        Reply::Integer { value, revision } => {
            let mut response = answer::ok(Sum { value, revision })?;
            set_revision(&mut response, revision);
            Ok(response)
        }
        Reply::Done { .. } | Reply::Touched { .. } | Reply::Transaction(_) => Err(ErrorKind::Internal.into()),
    }
}

fn increased(db: &Concord, key: &[u8], body: &IncrementBody, timeout_ms: Option<u64>) -> Result<Begun, Fault> {
    let (by, initial) = (body.by.unwrap_or(1), body.initial.unwrap_or(0));
    Begun::submit(db, Write::Increment { key, by, initial, ttl_ms: body.ttl.map(ttl_ms) }, timeout_ms)
}

fn changed(revision: Option<u64>) -> Answer {
    let mut response = answer::ok(Changed { revision })?;
    if let Some(revision) = revision {
        set_revision(&mut response, revision);
    }
    Ok(response)
}
