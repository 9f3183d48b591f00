//! Watch: committed changes as they happen: a stream of server-sent events, or one answer after a wait.

mod notice;
mod stream;

use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::bulk::JsonKey;
use crate::encoding::notice_to_json;
use crate::error::{Error, ErrorKind};
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault, JSON, Seconds, enveloped};
use crate::http::request::{Ask, Parameters, checked_timeout};
use crate::limits::TIMEOUT_MS_DEFAULT;
use crate::model::{EventKinds, Notice, Pattern, PatternFlags, Position, Selector};
use crate::service::{Watch, WatchOptions, WatchStart};

/// The place of the last event that an `EventSource` has seen: it sends it when it connects again.
const LAST_EVENT_ID: &str = "last-event-id";
/// Most changes in one answer.
const ITEMS_MAX: usize = 1_000;

/// Which changes, and from where on. All that is said of the keys must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WatchParameters {
    /// Keys that begin with this.
    prefix: Option<String>,
    /// Keys that end with this.
    suffix: Option<String>,
    /// Keys that hold this somewhere.
    contains: Option<String>,
    /// Keys in which this regular expression matches somewhere. No look-around, no back-references.
    pattern: Option<String>,
    /// How the pattern is read, letters of `imsxu`.
    pattern_flags: Option<String>,
    /// Keys from this one on; with `to`.
    from: Option<String>,
    /// Keys up to this one, which is included; with `from`.
    to: Option<String>,
    /// Changes of whose value this expression is true; of a removed key the value that it had counts.
    r#where: Option<String>,
    /// Kinds of changes, separated by commas: `put`, `delete`, `touch`, `expire`. Default: all.
    types: Option<String>,
    /// The first revision that is told, itself included; or the `id` of an event, to go on behind it. Without it: what changes
    /// from now on. `Last-Event-ID` wins over it.
    #[param(pattern = r"^[0-9]+(\.[0-9]+)?$")]
    from_revision: Option<String>,
    /// Separated by commas: `state` for everything that is there first, `prev` for the values before a change.
    include: Option<String>,
    /// Of JSON, how long to wait for the first change, milliseconds. Default: 5,000. A stream ends after it; without it, never.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// One change.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it is written as text, value by value; this says so in the document")]
pub(super) struct EventData {
    /// `put`, `delete`, `touch`, `expire`; `state` for what was there in the beginning.
    r#type: String,
    key: JsonKey,
    /// Any JSON; `null` when the key was removed.
    value: serde_json::Value,
    /// The value before, when `prev` was asked for and there was one.
    #[schema(required = false)]
    previous: serde_json::Value,
    /// Number of the change in the whole store.
    revision: u64,
    /// Where to go on behind it.
    next: String,
    /// When it happened, by the cluster's clock, milliseconds since 1970.
    time_ms: u64,
    /// Lifetime that the key then had, in seconds; `null` for ever, or when it was removed.
    ttl: Option<Seconds>,
    /// Whether the change was one of several at once.
    bulk: bool,
    /// `invalid_value` in place of a value that JSON cannot say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

/// Changes, and where to go on.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it is written as text, value by value; this says so in the document")]
pub(super) struct EventsData {
    /// In the order in which they happened.
    events: Vec<EventData>,
    /// What to ask the next time as `from_revision`; `null` while what was there in the beginning is not all told.
    next: Option<String>,
}

struct Asked {
    parameters: WatchParameters,
    start: WatchStart,
    kinds: EventKinds,
    flags: PatternFlags,
    with_previous: bool,
}

impl Asked {
    fn of(parameters: WatchParameters, headers: &HeaderMap) -> Result<Asked, Fault> {
        let words = parameters.include.as_deref().unwrap_or_default().split(',').map(str::trim);
        let (mut with_state, mut with_previous) = (false, false);
        for word in words.filter(|word| !word.is_empty()) {
            match word {
                "state" => with_state = true,
                "prev" => with_previous = true,
                _ => return Err(Fault::request("`include` is `state`, `prev` or both with a comma between them")),
            }
        }
        let position = |text: &str| text.parse::<Position>().map_err(Fault::from);
        let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
        let start = match (last, &parameters.from_revision, with_state) {
            (Some(last), ..) => WatchStart::From(position(last)?),
            (None, Some(_), true) => {
                return Err(Fault::request("give `from_revision` or `include=state`: each says where to begin"));
            }
            (None, Some(from), false) => WatchStart::From(position(from)?),
            (None, None, true) => WatchStart::State,
            (None, None, false) => WatchStart::Now,
        };
        let kinds = parameters.types.as_deref().map(str::parse).transpose()?.unwrap_or_default();
        let unknown = || Fault::request("`pattern_flags` are letters, each of `imsxu`");
        let letters = parameters.pattern_flags.as_deref().unwrap_or_default();
        let flags = PatternFlags::parse(letters).ok_or_else(unknown)?;
        if parameters.from.is_some() != parameters.to.is_some() {
            return Err(Fault::request("`from` and `to` go together"));
        }
        Ok(Asked { parameters, start, kinds, flags, with_previous })
    }

    fn options(&self) -> WatchOptions<'_> {
        let given = &self.parameters;
        let selector = Selector {
            prefix: given.prefix.as_deref().map(str::as_bytes),
            suffix: given.suffix.as_deref().map(str::as_bytes),
            contains: given.contains.as_deref().map(str::as_bytes),
            pattern: given.pattern.as_deref().map(|text| Pattern { text, flags: self.flags }),
            range: given.from.as_deref().zip(given.to.as_deref()).map(|(from, to)| (from.as_bytes(), to.as_bytes())),
            filter: given.r#where.as_deref(),
            ..Selector::default()
        };
        let Asked { start, kinds, with_previous, .. } = *self;
        WatchOptions { selector, start, kinds, with_previous, with_progress: false }
    }
}

/// Whether JSON is asked for and not a stream.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/event-stream")
}

/// Committed changes, in their order, as they happen.
///
/// A stream of server-sent events, which a browser reads with `EventSource`: the event is the kind of change, `data` its JSON, and
/// `id` the place behind it, from which a stream that was lost goes on exactly when it is sent as `Last-Event-ID`. `progress`
/// tells how far the stream has come while nothing was selected, and the end of what `include=state` told; `gap` that changes
/// are missing, with the `from_revision` and the `resume_revision`, because the client was too slow or the node took over a
/// snapshot; `end` why the stream ends. What `include=state` tells has no `id`: a stream that is lost meanwhile begins again.
///
/// With `Accept: application/json` one answer, as soon as something is there, and `next` to ask again with.
#[utoipa::path(
    get, path = "/api/v1/watch", tag = "query", operation_id = "watch",
    params(WatchParameters, ("Last-Event-ID" = Option<String>, Header, description = "Go on behind this event")),
    responses(
        (status = 200, description = "Changes", content(
            (Envelope<EventsData> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = "4XX", description = "INVALID_REQUEST; COMPACTED, 410, when the changes from there on are no longer retained, with `oldest_revision`: begin again with `include=state`", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn watch(ask: Ask, headers: HeaderMap, Parameters(given): Parameters<WatchParameters>) -> Answer {
    let timeout = checked_timeout(given.timeout_ms)?.map(Duration::from_millis);
    let asked = Asked::of(given, &headers)?;
    // A pattern takes its time to be understood.
    let watch = ask.apart(move |db| Ok(db.watch(&asked.options())?)).await?;
    if !wants_json(&headers) {
        return Ok(stream::response(ask, watch, timeout));
    }
    let timeout = timeout.unwrap_or(Duration::from_millis(TIMEOUT_MS_DEFAULT));
    let body = one_answer(&ask, watch, timeout).await?;
    Ok(answer::with_type(JSON, ask.app.budget.lend(body)?))
}

async fn one_answer(ask: &Ask, mut watch: Watch, timeout: Duration) -> Result<Vec<u8>, Fault> {
    let notices = tokio::select! {
        notices = watch.take_some(ITEMS_MAX) => notices?,
        () = tokio::time::sleep(timeout) => Vec::new(),
        () = ask.app.closing() => return Err(ErrorKind::Closed.into()),
    };
    ask.apart(move |_| {
        let mut events = String::new();
        for notice in &notices {
            if let Notice::Gap { from_revision, resume_revision } = *notice {
                return Err(Error::compacted(from_revision, resume_revision).into());
            }
            // `next` tells how far it has come.
            if matches!(notice, Notice::Event(_)) {
                events.push_str(if events.is_empty() { "" } else { "," });
                events.push_str(&notice_to_json(notice)?);
            }
        }
        let next = watch.position().map_or("null".to_owned(), |next| format!("\"{next}\""));
        Ok(enveloped(&format!(r#"{{"events":[{events}],"next":{next}}}"#)))
    })
    .await
}
