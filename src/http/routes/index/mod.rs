//! Index: declares secondary indexes, and asks them for keys.

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::bulk::JsonKey;
use super::cluster::Nothing;
use crate::error::ErrorKind;
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, JSON, enveloped};
use crate::http::request::{Ask, Content, Level, Parameters, key_json, present, read_options, value_of};
use crate::limits::INDEX_PAGE_MAX;
use crate::service::IndexRange;

/// What is known of an index.
#[derive(Serialize, ToSchema)]
pub(super) struct IndexData {
    name: String,
    /// Where in a value the parts are that it holds.
    path: String,
    /// Whether the node that has answered has built it; the first question does so otherwise.
    built: bool,
    /// How many parts of values it holds there.
    entries: u64,
}

/// Every index, by name.
#[utoipa::path(
    get, path = "/api/v1/index", tag = "index", operation_id = "indexes",
    responses(
        (status = 200, description = "All indexes", body = Envelope<Vec<IndexData>>),
        (status = "4XX", description = "UNAUTHORIZED, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn list(ask: Ask) -> Answer {
    let indexes = ask.apart(|db| Ok(db.indexes().list()?)).await?;
    let data = indexes.into_iter().map(|info| IndexData {
        name: info.name,
        path: info.path,
        built: info.is_built,
        entries: info.entries,
    });
    answer::ok(data.collect::<Vec<_>>())
}

/// An index to be declared.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateIndexBody {
    /// 1 to 64 bytes without control characters.
    name: String,
    /// As expressions have it, with `[]` for each item of a list: `value.price`, `value.tags[]`.
    path: String,
}

/// Declares an index. One of this name and path that is there already is fine. Answers when this node has built it.
#[utoipa::path(
    post, path = "/api/v1/index", tag = "index", operation_id = "create_index",
    request_body = CreateIndexBody,
    responses(
        (status = 200, description = "It is there", body = Envelope<Nothing>),
        (status = "4XX", description = "INVALID_REQUEST, with the column of the fault in the path; CONFLICT when the name has another path", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn create(ask: Ask, content: Content) -> Answer {
    let opened = content.open_json()?;
    let CreateIndexBody { name, path } = opened.json()?;
    ask.apart(move |db| Ok(db.indexes().create(&name, &path)?)).await?;
    answer::ok(Nothing {})
}

/// Ends an index.
#[utoipa::path(
    delete, path = "/api/v1/index/{name}", tag = "index", operation_id = "drop_index",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is not there any more", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn drop(ask: Ask, uri: Uri) -> Answer {
    let name = name_of(&uri)?;
    ask.apart(move |db| Ok(db.indexes().drop(&name)?)).await?;
    answer::ok(Nothing {})
}

/// Builds an index anew on every member; answers when this node has done so.
#[utoipa::path(
    post, path = "/api/v1/index/{name}/reindex", tag = "index", operation_id = "reindex",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "It is built", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE, UNKNOWN_OUTCOME", body = ErrorEnvelope),
    )
)]
pub(super) async fn reindex(ask: Ask, uri: Uri) -> Answer {
    let name = name_of(&uri)?;
    ask.apart(move |db| Ok(db.indexes().reindex(&name)?)).await?;
    answer::ok(Nothing {})
}

/// How keys are read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct IndexParameters {
    /// How fresh they must be. Default: as configured, else `leader`.
    #[param(inline)]
    consistency: Option<Level>,
    /// Longest wait for others, and for the index to be built, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// Which values: one, or those from one to another, both included.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexBody<'a> {
    /// This one.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    value: Option<&'a RawValue>,
    /// Nothing before this.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    from: Option<&'a RawValue>,
    /// Nothing after this.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value, required = false)]
    to: Option<&'a RawValue>,
    /// Most keys, 1 to 1,000. Default: 1,000.
    limit: Option<usize>,
    /// Where the page before this one ended, as it told; the rest is the same.
    cursor: Option<String>,
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(super) struct IndexKeys {
    /// In the order of their values.
    keys: Vec<JsonKey>,
    /// For the next page; `null` after the last one.
    cursor: Option<String>,
}

/// The keys of the records that have a value, or one of a range, where the index looks.
#[utoipa::path(
    post, path = "/api/v1/index/{name}/query", tag = "index", operation_id = "query_index",
    params(("name" = String, Path, description = "Its name"), IndexParameters),
    request_body = IndexBody,
    responses(
        (status = 200, description = "A page", body = Envelope<IndexKeys>),
        (status = "4XX", description = "NOT_FOUND when there is no such index; INVALID_VALUE for what no index holds; INVALID_REQUEST; TIMEOUT when it is not built yet", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn query(
    ask: Ask,
    Parameters(given): Parameters<IndexParameters>,
    uri: Uri,
    content: Content,
) -> Answer {
    let options = read_options(given.consistency, given.timeout_ms)?;
    let name = name_of(&uri)?;
    let body = ask
        .apart(move |db| {
            let opened = content.open_json()?;
            let body: IndexBody<'_> = opened.json()?;
            let limit = body.limit.unwrap_or(INDEX_PAGE_MAX);
            if !(1..=INDEX_PAGE_MAX).contains(&limit) {
                return Err(Fault::request("limit is 1 to 1000"));
            }
            if body.value.is_some() && (body.from.is_some() || body.to.is_some()) {
                return Err(Fault::request("give either `value`, or `from` and `to`"));
            }
            let encoded = |json: Option<&RawValue>, what| json.map(|json| value_of(json, what)).transpose();
            let value = encoded(body.value, "value")?;
            let (from, to) = (encoded(body.from, "from")?.or(value.clone()), encoded(body.to, "to")?.or(value));
            let unknown = |_| Fault::request("`cursor` is what a page told");
            let after = body.cursor.map(|cursor| URL_SAFE_NO_PAD.decode(cursor)).transpose().map_err(unknown)?;
            let range = IndexRange { from: from.as_deref(), to: to.as_deref(), after: after.as_deref(), limit };
            let page = db.indexes().page(&name, &range, &options)?;
            let keys = page.keys.iter().map(|key| key_json(key)).collect::<Result<Vec<_>, _>>()?;
            let cursor = page.next.map_or("null".to_owned(), |next| format!("\"{}\"", URL_SAFE_NO_PAD.encode(next)));
            Ok(enveloped(&format!(r#"{{"keys":[{}],"cursor":{cursor}}}"#, keys.join(","))))
        })
        .await?;
    Ok(answer::with_type(JSON, ask.app.budget.lend(body)?))
}

fn name_of(uri: &Uri) -> Result<String, Fault> {
    let name = percent_decode_str(uri.path().split('/').nth(4).unwrap_or_default());
    Ok(name.decode_utf8().map_err(|_| Fault::from(ErrorKind::NotFound))?.into_owned())
}
