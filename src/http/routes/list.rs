//! List: records in key order, page after page.

use std::ops::{Bound, ControlFlow};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::bulk::JsonKey;
use crate::concord::Concord;
use crate::encoding::value_to_json;
use crate::error::ErrorKind;
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, JSON, Seconds, enveloped};
use crate::http::request::{Ask, Level, Parameters, key_json, read_options};
use crate::limits::{HTTP_LIST_BYTES_MAX, HTTP_LIST_ITEMS_MAX, KEY_BYTES_MAX};
use crate::model::{ReadOptions, RecordView};

/// Records in one page when nothing is said.
pub(super) const ITEMS_DEFAULT: usize = 100;

/// Which part of the store.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Only keys that begin with this.
    prefix: Option<String>,
    /// Most records in the answer. Default: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page before this one ended, as it told.
    cursor: Option<String>,
    /// The values as well. Default: false.
    values: Option<bool>,
    /// How fresh they must be. Default: as configured, else `leader`.
    #[param(inline)]
    consistency: Option<Level>,
    /// Longest wait for others, milliseconds. Default: 5,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// A page of the store.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    /// In the order of their keys.
    items: Vec<Item>,
    /// What to ask the next page with; `null` after the last one.
    cursor: Option<String>,
}

/// A record of the page.
#[derive(Serialize, ToSchema)]
pub(super) struct Item {
    key: JsonKey,
    /// The change that last wrote it.
    revision: u64,
    /// Remaining lifetime in seconds; `null` for one that lives for ever.
    ttl: Option<Seconds>,
    /// Any JSON. Only when it was asked for.
    #[schema(required = false)]
    value: serde_json::Value,
    /// `invalid_value` in place of a value that JSON cannot say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

/// The records in key order, page by page.
///
/// Each page is one point in time. A cursor names the last key of its page, so writes between two pages disturb nothing:
/// every key that is there all the time comes exactly once. A page may hold fewer records than `limit` before the last one.
#[utoipa::path(
    get, path = "/api/v1/kv", tag = "keys", operation_id = "list",
    params(ListParameters),
    responses(
        (status = 200, description = "A page", body = Envelope<Page>),
        (status = "4XX", description = "INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn list(ask: Ask, Parameters(given): Parameters<ListParameters>) -> Answer {
    let options = read_options(given.consistency, given.timeout_ms)?;
    let limit = given.limit.unwrap_or(ITEMS_DEFAULT);
    if !(1..=HTTP_LIST_ITEMS_MAX).contains(&limit) {
        return Err(Fault::request("limit is 1 to 1000"));
    }
    let after = given.cursor.as_deref().map(key_of_cursor).transpose()?;
    let prefix = given.prefix.unwrap_or_default().into_bytes();
    let page = Wanted { prefix, after, limit, values: given.values.unwrap_or(false) };
    let body = ask.apart(move |db| page.read(db, &options)).await?;
    Ok(answer::with_type(JSON, ask.app.budget.lend(body)?))
}

struct Wanted {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
    values: bool,
}

impl Wanted {
    fn read(&self, db: &Concord, options: &ReadOptions) -> Result<Vec<u8>, Fault> {
        let view = db.kv().view(options)?;
        let end = end_of(&self.prefix);
        let start = match &self.after {
            Some(key) if *key >= self.prefix => Bound::Excluded(key.as_slice()),
            _ => Bound::Included(self.prefix.as_slice()),
        };
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut items, mut count, mut failure) = (String::new(), 0, None);
        let mut last: Vec<u8> = Vec::new();
        let mut has_more = false;
        view.scan((start, end), |key, record| {
            if count == self.limit || items.len() > HTTP_LIST_BYTES_MAX {
                has_more = true;
                return ControlFlow::Break(());
            }
            count += 1;
            last.clear();
            last.extend_from_slice(key);
            failure = self.add(&mut items, key, &record).err();
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(enveloped(&enclosed(&items, has_more.then_some(last.as_slice()))))
    }

    fn add(&self, out: &mut String, key: &[u8], record: &RecordView<'_>) -> Result<(), Fault> {
        let value = self.values.then_some(&*record.value);
        put_item(out, key, record.revision, record.ttl_ms, value)
    }
}

/// Appends one record of a page.
fn put_item(
    out: &mut String,
    key: &[u8],
    revision: u64,
    ttl_ms: Option<u64>,
    value: Option<&[u8]>,
) -> Result<(), Fault> {
    if !out.is_empty() {
        out.push(',');
    }
    let (key, ttl) = (key_json(key)?, Seconds::json(ttl_ms));
    out.push_str(&format!(r#"{{"key":{key},"revision":{revision},"ttl":{ttl}"#));
    match value.map(value_to_json) {
        None => {}
        Some(Ok(value)) => {
            out.push_str(r#","value":"#);
            out.push_str(&value);
        }
        Some(Err(error)) if error.kind() == ErrorKind::InvalidValue => out.push_str(r#","error":"invalid_value""#),
        Some(Err(failure)) => return Err(failure.into()),
    }
    out.push('}');
    Ok(())
}

/// A page of a query.
pub(super) fn page_json(page: &crate::service::Page, with_values: bool) -> Result<String, Fault> {
    let mut items = String::new();
    for pair in &page.pairs {
        put_item(&mut items, &pair.key, pair.revision, pair.ttl_ms, with_values.then_some(&pair.value))?;
    }
    Ok(enclosed(&items, page.next.as_deref()))
}

/// Items with the cursor behind them.
fn enclosed(items: &str, last: Option<&[u8]>) -> String {
    let cursor = last.map_or("null".to_owned(), |last| format!("\"{}\"", URL_SAFE_NO_PAD.encode(last)));
    format!(r#"{{"items":[{items}],"cursor":{cursor}}}"#)
}

/// The first key after all that begin with this prefix; `None` when there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

pub(super) fn key_of_cursor(cursor: &str) -> Result<Vec<u8>, Fault> {
    let key = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    key.ok_or_else(|| Fault::request("this cursor was not made here; begin without one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_outside() {
        assert_eq!(end_of(b""), None);
        assert_eq!(end_of(b"a"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"\xff"), None);
    }

    #[test]
    fn only_own_cursors_are_taken() {
        assert_eq!(key_of_cursor(&URL_SAFE_NO_PAD.encode(b"\xffkey")).unwrap(), b"\xffkey");
        for wrong in ["", "?", "a", "====", &URL_SAFE_NO_PAD.encode([0; KEY_BYTES_MAX + 1])] {
            assert!(key_of_cursor(wrong).is_err(), "{wrong}");
        }
    }
}
