//! Bulk: up to 500 keys in one command, all or nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::concord::Concord;
use crate::encoding::value_to_json;
use crate::error::{Error, ErrorKind};
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, JSON, Seconds, enveloped};
use crate::http::request::{
    Ask, Begun, Content, Level, Parameters, checked_timeout, key_json, key_of_json, key_text, read_options, ttl_ms,
    value_of,
};
use crate::limits::{BATCH_OPS_MAX, HTTP_ANSWER_BYTES_MAX, KEY_BYTES_MAX};
use crate::model::{Compress, ReadOptions, RecordView, Reply, Write};

/// How a bulk write is done.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BulkParameters {
    /// Longest wait for the write, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// Values to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutManyBody<'a> {
    /// At most 500; of duplicate keys the last wins.
    #[serde(borrow)]
    operations: Vec<PutOperation<'a>>,
}

/// One value to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutOperation<'a> {
    /// A string, or `{"$bytes": "base64"}`.
    #[serde(borrow)]
    #[schema(value_type = JsonKey)]
    key: &'a RawValue,
    /// Any JSON.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    value: &'a RawValue,
    /// Lifetime in seconds, fractions allowed.
    #[schema(exclusive_minimum = 0)]
    ttl: Option<f64>,
}

/// A key in JSON: text as a string, other bytes in base64.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum JsonKey {
    /// UTF-8.
    Text(String),
    /// Any bytes.
    Bytes(KeyBytes),
}

/// A key that is no text.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyBytes {
    /// Base64.
    #[serde(rename = "$bytes")]
    pub(super) bytes: String,
}

/// What became of a key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Done {
    Ok,
}

/// Stores up to 500 values, all or none. The answer has an `"ok"` for each key.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk", tag = "bulk", operation_id = "put_many",
    params(BulkParameters),
    request_body = PutManyBody,
    responses(
        (status = 200, description = "All are stored", body = Envelope<BTreeMap<String, Done>>),
        (status = "4XX", description = "BATCH_TOO_LARGE, INVALID_KEY, INVALID_TTL, INVALID_VALUE, INVALID_REQUEST: none is stored", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn put(ask: Ask, Parameters(given): Parameters<BulkParameters>, content: Content) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let (begun, answer) = ask
        .work(content.len(), move |db| {
            let opened = content.open_json()?;
            let PutManyBody { operations } = opened.json()?;
            check_count(operations.len())?;
            let keys = operations.iter().map(|item| key_of_json(item.key)).collect::<Result<Vec<_>, _>>()?;
            let answer = all_done(&keys)?;
            let values = operations.iter().map(|item| value_of(item.value, "value")).collect::<Result<Vec<_>, _>>()?;
            let items: Vec<_> = operations
                .iter()
                .zip(keys.iter().zip(&values))
                .map(|(item, (key, value))| (key.as_slice(), value.as_slice(), item.ttl.map(ttl_ms)))
                .collect();
            let write = Write::PutMany { items: &items, compress: Compress::Auto };
            Ok((Begun::submit(db, write, timeout_ms)?, answer))
        })
        .await?;
    begun.outcome().await?;
    send(&ask, answer)
}

/// Keys to remove.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteManyBody<'a> {
    /// At most 500.
    #[serde(borrow)]
    #[schema(value_type = Vec<JsonKey>)]
    keys: Vec<&'a RawValue>,
}

/// A key that was removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    key: JsonKey,
    status: Done,
}

/// Removes up to 500 keys, all or none; missing ones too.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk/delete", tag = "bulk", operation_id = "delete_many",
    params(BulkParameters),
    request_body = DeleteManyBody,
    responses(
        (status = 200, description = "None is there any more", body = Envelope<Vec<Deleted>>),
        (status = "4XX", description = "BATCH_TOO_LARGE, INVALID_KEY, INVALID_REQUEST: none is removed", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn delete(ask: Ask, Parameters(given): Parameters<BulkParameters>, content: Content) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let (begun, keys) = ask
        .work(content.len(), move |db| {
            let opened = content.open_json()?;
            let body: DeleteManyBody<'_> = opened.json()?;
            let keys = keys_of(&body.keys)?;
            let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            Ok((Begun::submit(db, Write::DeleteMany { keys: &slices }, timeout_ms)?, keys))
        })
        .await?;
    begun.outcome().await?;
    let mut list = String::from("[");
    for key in keys {
        separate(&mut list, '[');
        list.push_str(&format!(r#"{{"key":{},"status":"ok"}}"#, key_json(&key)?));
    }
    list.push(']');
    send(&ask, enveloped(&list))
}

/// Keys with new lifetimes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TouchManyBody<'a> {
    /// At most 500.
    #[serde(borrow)]
    operations: Vec<TouchOperation<'a>>,
}

/// A key with a new lifetime.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TouchOperation<'a> {
    /// A string, or `{"$bytes": "base64"}`.
    #[serde(borrow)]
    #[schema(value_type = JsonKey)]
    key: &'a RawValue,
    /// Seconds from now, fractions allowed.
    #[schema(exclusive_minimum = 0)]
    ttl: f64,
}

/// What became of one key: `"ok"`, or an error.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Touched {
    Done(Done),
    Missing(MissingKey),
}

/// Why one key has nothing.
#[derive(Serialize, ToSchema)]
pub(super) struct MissingKey {
    /// Always `error`.
    status: String,
    /// `not_found`; of reads also `invalid_value` when JSON cannot say the value.
    error: String,
}

/// Makes the remaining lifetimes of up to 500 keys what is said; tells of each whether it was there.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk/touch", tag = "bulk", operation_id = "touch_many",
    params(BulkParameters),
    request_body = TouchManyBody,
    responses(
        (status = 200, description = "Those that are there have their new lifetimes", body = Envelope<BTreeMap<String, Touched>>),
        (status = "4XX", description = "BATCH_TOO_LARGE, INVALID_KEY, INVALID_TTL, INVALID_REQUEST: none is changed", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn touch(ask: Ask, Parameters(given): Parameters<BulkParameters>, content: Content) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    let (begun, keys) = ask
        .work(content.len(), move |db| {
            let opened = content.open_json()?;
            let TouchManyBody { operations } = opened.json()?;
            check_count(operations.len())?;
            let keys = operations.iter().map(|item| key_of_json(item.key)).collect::<Result<Vec<_>, _>>()?;
            keys.iter().try_for_each(|key| key_text(key).map(drop))?;
            let items: Vec<_> =
                operations.iter().zip(&keys).map(|(item, key)| (key.as_slice(), ttl_ms(item.ttl))).collect();
            Ok((Begun::submit(db, Write::TouchMany { items: &items }, timeout_ms)?, keys))
        })
        .await?;
    let Reply::Touched { found } = begun.outcome().await? else { return Err(ErrorKind::Internal.into()) };
    let mut fields = BTreeMap::new();
    for (key, found) in keys.iter().zip(found) {
        let outcome = if found { Touched::Done(Done::Ok) } else { Touched::Missing(missing(ErrorKind::NotFound)) };
        fields.insert(key_text(key)?, outcome);
    }
    answer::ok(fields)
}

fn missing(kind: ErrorKind) -> MissingKey {
    MissingKey { status: "error".to_owned(), error: kind.name().to_owned() }
}

/// How several records are read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetManyParameters {
    /// How fresh they must be. Default: as configured, else `leader`.
    #[param(inline)]
    consistency: Option<Level>,
    /// Longest wait for others, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// Keys to read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetManyBody<'a> {
    /// At most 500.
    #[serde(borrow)]
    #[schema(value_type = Vec<JsonKey>)]
    keys: Vec<&'a RawValue>,
    /// Tell the remaining lifetimes as well. Default: false.
    with_ttl: Option<bool>,
}

/// One record of several.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "values go from their encoding to text without a stop here")]
#[serde(untagged)]
pub(super) enum Got {
    Found(FoundRecord),
    Missing(MissingKey),
}

/// A record that is there.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundRecord {
    status: Done,
    /// Any JSON.
    value: serde_json::Value,
    /// Seconds; `null` for one that lives for ever. Only when it was asked for.
    #[schema(required = false)]
    ttl: Option<Seconds>,
}

/// The values of up to 500 keys at one point in time.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk/get", tag = "bulk", operation_id = "get_many",
    params(GetManyParameters),
    request_body = GetManyBody,
    responses(
        (status = 200, description = "What each key has", body = Envelope<BTreeMap<String, Got>>),
        (status = "4XX", description = "BATCH_TOO_LARGE, INVALID_KEY, INVALID_REQUEST; VALUE_TOO_LARGE when all values together are more than 64 MiB", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn get(ask: Ask, Parameters(given): Parameters<GetManyParameters>, content: Content) -> Answer {
    let options = read_options(given.consistency, given.timeout_ms)?;
    let answer = ask
        .apart(move |db| {
            let opened = content.open_json()?;
            let body: GetManyBody<'_> = opened.json()?;
            let mut keys = keys_of(&body.keys)?;
            keys.iter().try_for_each(|key| key_text(key).map(drop))?;
            keys.sort_unstable();
            keys.dedup();
            records(db, &keys, &options, body.with_ttl.unwrap_or(false))
        })
        .await?;
    send(&ask, answer)
}

fn records(db: &Concord, keys: &[Vec<u8>], options: &ReadOptions, with_ttl: bool) -> Result<Vec<u8>, Fault> {
    let view = db.kv().view(options)?;
    let mut fields = String::from("{");
    let mut failure = None;
    let mut names = keys.iter();
    let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    view.get_many(&slices, |record| {
        let Some(key) = names.next().filter(|_| failure.is_none()) else { return };
        failure = add_field(&mut fields, key, record, with_ttl).err();
    })?;
    fields.push('}');
    failure.map_or_else(|| Ok(enveloped(&fields)), Err)
}

fn add_field(out: &mut String, key: &[u8], record: Option<RecordView<'_>>, with_ttl: bool) -> Result<(), Fault> {
    separate(out, '{');
    out.push_str(&key_json(key)?);
    out.push(':');
    let error = |kind: ErrorKind| format!(r#"{{"status":"error","error":"{}"}}"#, kind.name());
    match record {
        None => out.push_str(&error(ErrorKind::NotFound)),
        Some(record) => match value_to_json(&record.value) {
            Ok(value) => {
                out.push_str(r#"{"status":"ok","value":"#);
                out.push_str(&value);
                if with_ttl {
                    out.push_str(r#","ttl":"#);
                    out.push_str(&Seconds::json(record.ttl_ms));
                }
                out.push('}');
            }
            Err(refused) if refused.kind() == ErrorKind::InvalidValue => out.push_str(&error(ErrorKind::InvalidValue)),
            Err(failure) => return Err(failure.into()),
        },
    }
    if out.len() > HTTP_ANSWER_BYTES_MAX {
        let message = "the values of these keys are more than 64 MiB together; ask for fewer";
        return Err(Error::new(ErrorKind::ValueTooLarge, message).into());
    }
    Ok(())
}

fn keys_of(keys: &[&RawValue]) -> Result<Vec<Vec<u8>>, Fault> {
    check_count(keys.len())?;
    keys.iter()
        .map(|key| {
            let key = key_of_json(key)?;
            // Views do not check keys; an empty or long one would just be missing.
            if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(key) } else { Err(ErrorKind::InvalidKey.into()) }
        })
        .collect()
}

/// Before anything is converted.
fn check_count(count: usize) -> Result<(), Fault> {
    if count <= BATCH_OPS_MAX { Ok(()) } else { Err(ErrorKind::BatchTooLarge.into()) }
}

/// `{"key":"ok", ...}`, each key once.
fn all_done(keys: &[Vec<u8>]) -> Result<Vec<u8>, Fault> {
    let mut texts = keys.iter().map(|key| key_text(key)).collect::<Result<Vec<_>, _>>()?;
    texts.sort_unstable();
    texts.dedup();
    let mut fields = String::from("{");
    for text in texts {
        separate(&mut fields, '{');
        fields.push_str(&key_json(text.as_bytes())?);
        fields.push_str(r#":"ok""#);
    }
    fields.push('}');
    Ok(enveloped(&fields))
}

fn separate(out: &mut String, opening: char) {
    if !(out.len() == 1 && out.starts_with(opening)) {
        out.push(',');
    }
}

fn send(ask: &Ask, body: Vec<u8>) -> Answer {
    Ok(answer::with_type(JSON, ask.app.budget.lend(body)?))
}
