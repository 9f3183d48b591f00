//! Records: reads of one record, on the way that holds up nobody, in the form that was asked for.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use tokio::sync::oneshot;

use crate::encoding::{decode_value, value_to_json};
use crate::error::{ErrorKind, Result};
use crate::http::answer::{self, Fault, Seconds, enveloped, set_revision};
use crate::http::request::{Ask, INLINE_BYTES_MAX, Media, Unless};
use crate::model::{ReadOptions, Value};

/// What of a record is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Value,
    WithTtl,
    Record,
    Ttl,
    /// The value alone, without JSON around it.
    Raw(Media),
}

/// How a record is to be shown.
#[derive(Clone)]
pub(super) struct How {
    pub(super) form: Form,
    pub(super) unless: Unless,
}

/// A record, ready to be sent.
enum Shown {
    Body {
        body: Vec<u8>,
        revision: u64,
    },
    /// The client has it already.
    Unchanged {
        revision: u64,
    },
}

impl How {
    fn show(&self, value: &[u8], revision: u64, ttl_ms: Option<u64>) -> Result<Shown, Fault> {
        if self.unless.has(revision) {
            return Ok(Shown::Unchanged { revision });
        }
        let ttl = || Seconds::json(ttl_ms);
        let body = match self.form {
            Form::Value => enveloped(&value_to_json(value)?),
            Form::WithTtl => enveloped(&format!(r#"{{"value":{},"ttl":{}}}"#, value_to_json(value)?, ttl())),
            Form::Record => {
                let value = value_to_json(value)?;
                enveloped(&format!(r#"{{"value":{value},"revision":{revision},"ttl":{}}}"#, ttl()))
            }
            Form::Ttl => enveloped(&format!(r#"{{"ttl":{}}}"#, ttl())),
            Form::Raw(Media::Octets) => match decode_value(value)? {
                Value::Text(text) => text.into_bytes(),
                Value::Bytes(bytes) => bytes,
                _ => {
                    let message = "this value is neither text nor bytes; ask for application/json or application/cbor";
                    return Err(Fault::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message));
                }
            },
            Form::Raw(_) => value.to_vec(),
        };
        Ok(Shown::Body { body, revision })
    }

    fn media(&self) -> HeaderValue {
        match self.form {
            Form::Raw(media) => media.name(),
            _ => Media::Json.name(),
        }
    }
}

/// A record that had to be fetched.
struct Fetched {
    value: Vec<u8>,
    revision: u64,
    ttl_ms: Option<u64>,
}

/// Reads a record and shows it.
pub(super) async fn show(ask: &Ask, key: Vec<u8>, options: ReadOptions, how: How) -> Result<Response<Body>, Fault> {
    let media = how.media();
    let shown = find(ask, key, options, how).await?.ok_or(ErrorKind::NotFound)?;
    let (mut response, revision) = match shown {
        Shown::Body { body, revision } => (answer::with_type(media, ask.app.budget.lend(body)?), revision),
        Shown::Unchanged { revision } => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            (response, revision)
        }
    };
    set_revision(&mut response, revision);
    Ok(response)
}

async fn find(ask: &Ask, key: Vec<u8>, options: ReadOptions, how: How) -> Result<Option<Shown>, Fault> {
    if ask.db.kv().reads_at_once(&options) {
        let at_once = ReadOptions { timeout_ms: Some(0), ..options };
        let look = |record: crate::model::RecordView<'_>| how.show(&record.value, record.revision, record.ttl_ms);
        match ask.db.kv().read_within(&key, &at_once, INLINE_BYTES_MAX, look) {
            Ok(shown) => return shown.transpose(),
            Err(error) if error.kind() == ErrorKind::ValueTooLarge => {
                let look =
                    move |record: crate::model::RecordView<'_>| how.show(&record.value, record.revision, record.ttl_ms);
                return ask.apart(move |db| db.kv().read(&key, &options, look)?.transpose()).await;
            }
            // The lease was lost in between.
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (sender, receiver) = oneshot::channel();
    // This runs on a thread of consensus: nothing but a copy.
    ask.db.kv().start_read(&key, &options, move |read| {
        let fetched = read.map(|record| {
            record.map(|record| Fetched {
                revision: record.revision,
                ttl_ms: record.ttl_ms,
                value: record.value.into_owned(),
            })
        });
        drop(sender.send(fetched));
    });
    let fetched = receiver.await.unwrap_or_else(|_| Err(ErrorKind::Closed.into()))?;
    let Some(Fetched { value, revision, ttl_ms }) = fetched else { return Ok(None) };
    ask.work(value.len(), move |_| how.show(&value, revision, ttl_ms)).await.map(Some)
}
