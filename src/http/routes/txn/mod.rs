//! Txn: several operations as one change, if what is compared holds.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::bulk::JsonKey;
use crate::encoding::value_from_json;
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, JSON, Seconds, enveloped};
use crate::http::request::{Ask, Begun, Content, Parameters, checked_timeout};
use crate::model::{Reply, Write};
use crate::service::{decode_transaction, transaction_reply_to_json};

/// How a transaction is done.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TxnParameters {
    /// Longest wait for the write, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// What must hold, and what is done when it does and when it does not: at most 128 compares and operations together.
#[derive(Serialize, ToSchema)]
pub(super) struct TxnBody {
    /// All of it must hold.
    #[schema(required = false)]
    compare: Vec<CompareBody>,
    /// What is done then.
    #[schema(required = false)]
    then: Vec<OperationBody>,
    /// What is done otherwise.
    #[schema(required = false)]
    r#else: Vec<OperationBody>,
    /// Sent again with the same key within an hour, the transaction is not done again but gives its first answer.
    idempotency_key: Option<JsonKey>,
}

/// What must hold of one record: one of `exists`, `revision`, `value` and `where`.
#[derive(Serialize, ToSchema)]
pub(super) struct CompareBody {
    key: JsonKey,
    /// Whether there is such a key.
    exists: Option<bool>,
    /// Number of the change that last wrote it.
    revision: Option<u64>,
    /// It equals this.
    #[schema(required = false)]
    value: serde_json::Value,
    /// This expression is true of it: `value.price > 100`, `revision < 7`, `ttl == null`.
    r#where: Option<String>,
}

/// One operation: one of `put` (with `value`), `delete`, `touch` (with `ttl`), `increment` and `get`. Each names a key.
#[derive(Serialize, ToSchema)]
pub(super) struct OperationBody {
    /// Stores `value`, for ever or for `ttl`.
    put: Option<JsonKey>,
    /// Removes a key; fine when it is missing.
    delete: Option<JsonKey>,
    /// Makes the remaining lifetime of a key that exists `ttl`.
    touch: Option<JsonKey>,
    /// Adds `by` to an integer; a missing key counts as `initial` and takes `ttl`.
    increment: Option<JsonKey>,
    /// Reads a record, as it is after the operations before this one.
    get: Option<JsonKey>,
    /// Any JSON.
    #[schema(required = false)]
    value: serde_json::Value,
    /// Lifetime in seconds, fractions allowed.
    #[schema(exclusive_minimum = 0)]
    ttl: Option<f64>,
    /// Default: 1.
    by: Option<i64>,
    /// Default: 0.
    initial: Option<i64>,
}

/// What became of a transaction.
#[derive(Serialize, ToSchema)]
pub(super) struct TxnAnswer {
    /// Whether all compares held: then `then` was done, else `else`.
    succeeded: bool,
    /// Number of the change in the whole store; `null` when nothing had to change.
    revision: Option<u64>,
    /// Of each operation of that branch, in order: `"ok"`, the sum of an increment, or the record that was read, `null` for none.
    results: Vec<ResultBody>,
}

/// What an operation gave.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "answers go from their encoding to text without a stop here")]
#[serde(untagged)]
pub(super) enum ResultBody {
    Done(String),
    Sum(i64),
    Record(Option<RecordBody>),
}

/// A record that was read.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordBody {
    /// Any JSON.
    #[schema(required = false)]
    value: serde_json::Value,
    /// In the place of a value that JSON cannot say: `invalid_value`.
    error: Option<String>,
    revision: u64,
    /// Seconds; `null` for one that lives for ever.
    ttl: Option<Seconds>,
}

/// Several operations as one change: one branch or the other, all of it or nothing.
///
/// That compares do not hold is no error: `succeeded` tells. An operation that cannot be done (a `touch` of a missing key, an
/// `increment` of a text) is: its error is the answer, the message tells which it was, and nothing is done. A branch writes a
/// key at most once.
#[utoipa::path(
    post, path = "/api/v1/txn", tag = "txn", operation_id = "txn",
    params(TxnParameters),
    request_body = TxnBody,
    responses(
        (status = 200, description = "One branch was done", body = Envelope<TxnAnswer>),
        (status = "4XX", description = "INVALID_REQUEST, INVALID_KEY, INVALID_TTL, INVALID_VALUE, BATCH_TOO_LARGE, VALUE_TOO_LARGE, NOT_FOUND, NOT_AN_INTEGER; CONFLICT when the idempotency key was used for another transaction: nothing was done", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn txn(ask: Ask, Parameters(given): Parameters<TxnParameters>, content: Content) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    // Expressions take their time to be understood.
    let begun = ask
        .apart(move |db| {
            let opened = content.open_json()?;
            let text = std::str::from_utf8(&opened.bytes).map_err(|_| Fault::request("the body is not UTF-8"))?;
            let document = value_from_json(text)
                .map_err(|error| Fault::request(format!("the body is not as documented: {}", error.message())))?;
            let transaction = decode_transaction(&document)?;
            Begun::submit(db, Write::Transaction(&transaction), timeout_ms)
        })
        .await?;
    let Reply::Transaction(reply) = begun.outcome().await? else {
        return Err(crate::error::ErrorKind::Internal.into());
    };
    let body = enveloped(&transaction_reply_to_json(&reply)?);
    Ok(answer::with_type(JSON, ask.app.budget.lend(body)?))
}
