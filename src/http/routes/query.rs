//! Query: the records that a selector picks: page after page, counted, or removed.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::bulk::JsonKey;
use super::list::{ITEMS_DEFAULT, Page, key_of_cursor, page_json};
use crate::concord::Concord;
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, JSON, enveloped};
use crate::http::request::{Ask, Begun, Content, Level, Parameters, checked_timeout, key_of_json, read_options};
use crate::limits::{HTTP_LIST_BYTES_MAX, HTTP_LIST_ITEMS_MAX};
use crate::model::{OwnedSelector, PatternFlags, ReadOptions, Reply, Write};
use crate::service::PageOptions;

/// How the records are read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueryParameters {
    /// How fresh they must be. Default: as configured, else `leader`.
    #[param(inline)]
    consistency: Option<Level>,
    /// Longest wait for others, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// How they are removed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveParameters {
    /// Longest wait for the write, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// Which records: those for which all that is said holds. Nothing said picks every record.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryBody<'a> {
    /// Keys that begin with this.
    #[serde(borrow)]
    #[schema(value_type = JsonKey, required = false)]
    prefix: Option<&'a RawValue>,
    /// Keys that end with this.
    #[serde(borrow)]
    #[schema(value_type = JsonKey, required = false)]
    suffix: Option<&'a RawValue>,
    /// Keys that hold this somewhere.
    #[serde(borrow)]
    #[schema(value_type = JsonKey, required = false)]
    contains: Option<&'a RawValue>,
    /// Keys in which this regular expression matches somewhere. No look-around, no back-references.
    pattern: Option<String>,
    /// How the pattern is read, letters of `imsxu`.
    pattern_flags: Option<String>,
    /// Keys from the first to the second, both included.
    #[serde(borrow)]
    #[schema(value_type = Vec<JsonKey>, required = false, min_items = 2, max_items = 2)]
    range: Option<[&'a RawValue; 2]>,
    /// Records of which this expression is true: `value.price > 100 and value.role == "admin"`.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// How many are left out first.
    offset: Option<u64>,
    /// Most records in the answer, 1 to 1,000, default 100; of `count` and `delete`: most records at all, without a bound.
    limit: Option<u64>,
    /// Where the page before this one ended, as it told; the rest of the query is the same.
    cursor: Option<String>,
    /// Keys, revisions and lifetimes without the values. Default: false.
    keys_only: Option<bool>,
}

/// What a body says.
fn selector_of(body: &mut QueryBody<'_>) -> Result<OwnedSelector, Fault> {
    let key = |json: Option<&RawValue>| json.filter(|json| json.get() != "null").map(key_of_json).transpose();
    let unknown = || Fault::request("`pattern_flags` are letters, each of `imsxu`");
    let flags = PatternFlags::parse(body.pattern_flags.as_deref().unwrap_or_default()).ok_or_else(unknown)?;
    Ok(OwnedSelector {
        prefix: key(body.prefix)?,
        suffix: key(body.suffix)?,
        contains: key(body.contains)?,
        pattern: body.pattern.take().map(|text| (text, flags)),
        range: body.range.map(|[from, to]| Ok::<_, Fault>((key_of_json(from)?, key_of_json(to)?))).transpose()?,
        filter: body.filter.take(),
        offset: body.offset.unwrap_or(0),
        limit: body.limit,
    })
}

/// The records that a selector picks, in key order, page by page.
///
/// Each page is one point in time. A cursor names the last key of its page: ask again with it and the same query, and every
/// record that is there all the time comes exactly once.
#[utoipa::path(
    post, path = "/api/v1/query", tag = "query", operation_id = "query",
    params(QueryParameters),
    request_body = QueryBody,
    responses(
        (status = 200, description = "A page", body = Envelope<Page>),
        (status = "4XX", description = "INVALID_REQUEST, with the column of the fault in an expression or a pattern; INVALID_KEY", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn query(ask: Ask, Parameters(given): Parameters<QueryParameters>, content: Content) -> Answer {
    let options = read_options(given.consistency, given.timeout_ms)?;
    let body = ask
        .apart(move |db| {
            let opened = content.open_json()?;
            let mut body: QueryBody<'_> = opened.json()?;
            let limit = body.limit.unwrap_or(ITEMS_DEFAULT as u64);
            if !(1..=HTTP_LIST_ITEMS_MAX as u64).contains(&limit) {
                return Err(Fault::request("limit is 1 to 1000"));
            }
            let after = body.cursor.as_deref().map(key_of_cursor).transpose()?;
            let with_values = !body.keys_only.unwrap_or(false);
            let selector = OwnedSelector { limit: None, ..selector_of(&mut body)? };
            let page = PageOptions { items_max: limit as usize, bytes_max: HTTP_LIST_BYTES_MAX, with_values };
            let page = db.query().page(&selector.get(), after.as_deref(), &options, &page)?;
            page_json(&page, with_values).map(|page| enveloped(&page))
        })
        .await?;
    Ok(answer::with_type(JSON, ask.app.budget.lend(body)?))
}

/// How many there are.
#[derive(Serialize, ToSchema)]
pub(super) struct Counted {
    count: u64,
}

/// How many records a selector picks.
#[utoipa::path(
    post, path = "/api/v1/query/count", tag = "query", operation_id = "count",
    params(QueryParameters),
    request_body = QueryBody,
    responses(
        (status = 200, description = "The number", body = Envelope<Counted>),
        (status = "4XX", description = "INVALID_REQUEST, INVALID_KEY", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn count(ask: Ask, Parameters(given): Parameters<QueryParameters>, content: Content) -> Answer {
    let options = read_options(given.consistency, given.timeout_ms)?;
    let count = ask.apart(move |db| counted(db, content, &options)).await?;
    answer::ok(Counted { count })
}

fn counted(db: &Concord, content: Content, options: &ReadOptions) -> Result<u64, Fault> {
    let opened = content.open_json()?;
    let mut body: QueryBody<'_> = opened.json()?;
    no_pages(&body)?;
    Ok(db.query().count(&selector_of(&mut body)?.get(), options)?)
}

/// How many were removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Removed {
    deleted: u64,
    /// Number of the change in the whole store; `null` when nothing had to change.
    revision: Option<u64>,
}

/// Removes all records that a selector picks, as one change: all or none, and nobody sees a part of it.
///
/// At least one of `prefix`, `suffix`, `contains`, `pattern`, `range` and `where` is given; `{"prefix": ""}` removes everything.
/// Other writes wait meanwhile.
#[utoipa::path(
    post, path = "/api/v1/query/delete", tag = "query", operation_id = "delete_where",
    params(RemoveParameters),
    request_body = QueryBody,
    responses(
        (status = 200, description = "They are not there any more", body = Envelope<Removed>),
        (status = "4XX", description = "INVALID_REQUEST, INVALID_KEY: none is removed", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn delete(ask: Ask, Parameters(given): Parameters<RemoveParameters>, content: Content) -> Answer {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    // A pattern takes its time to be understood.
    let begun = ask
        .apart(move |db| {
            let opened = content.open_json()?;
            let mut body: QueryBody<'_> = opened.json()?;
            no_pages(&body)?;
            let selector = selector_of(&mut body)?;
            Begun::submit(db, Write::DeleteWhere { selector: selector.get() }, timeout_ms)
        })
        .await?;
    let Reply::Integer { value, revision } = begun.outcome().await? else {
        return Err(crate::error::ErrorKind::Internal.into());
    };
    let revision = Some(revision).filter(|revision| *revision > 0);
    answer::ok(Removed { deleted: u64::try_from(value).unwrap_or(0), revision })
}

fn no_pages(body: &QueryBody<'_>) -> Result<(), Fault> {
    match (&body.cursor, body.keys_only) {
        (None, None) => Ok(()),
        _ => Err(Fault::request("`cursor` and `keys_only` belong to `POST /api/v1/query` only")),
    }
}
