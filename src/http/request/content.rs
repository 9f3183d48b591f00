//! Content: the body of a request, whole, within its bounds of size and time.

use std::io::Read as _;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Ask, Media};
use crate::error::ErrorKind;
use crate::http::answer::Fault;
use crate::http::budget::{Budget, Hold};
use crate::limits::{HTTP_BODY_IDLE_TIMEOUT_MS, HTTP_BODY_TIMEOUT_MS};

/// A body, counted among the bytes that all requests hold until it is dropped.
pub(in crate::http) struct Content {
    bytes: Bytes,
    media: Option<Media>,
    is_gzip: bool,
    bytes_max: usize,
    hold: Hold,
}

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Result<Content, Fault> {
        let (bytes_max, budget) = match request.extensions().get::<Ask>() {
            Some(ask) => (ask.app.body_bytes_max, ask.app.budget.clone()),
            None => return Err(ErrorKind::Internal.into()),
        };
        let media = Media::of_body(request.headers());
        let is_gzip = is_gzip(request.headers())?;
        if request.body().size_hint().lower() > bytes_max as u64 {
            return Err(too_large(bytes_max));
        }
        let limit = Duration::from_millis(HTTP_BODY_TIMEOUT_MS);
        let collected = timeout_at(Instant::now() + limit, collect(request.into_body(), bytes_max, &budget));
        let (bytes, hold) = collected.await.unwrap_or_else(|_| Err(too_slow()))?;
        Ok(Content { bytes, media, is_gzip, bytes_max, hold })
    }
}

impl Content {
    /// Bytes to work on.
    pub(in crate::http) fn len(&self) -> usize {
        // What is compressed may become more than it looks.
        if self.is_gzip { self.bytes_max } else { self.bytes.len() }
    }

    pub(in crate::http) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(in crate::http) fn media(&self) -> Option<Media> {
        self.media
    }

    /// The body, decompressed.
    pub(in crate::http) fn open(mut self) -> Result<Opened, Fault> {
        if !self.is_gzip {
            return Ok(Opened { bytes: self.bytes, _hold: self.hold });
        }
        let mut bytes = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(&*self.bytes).take(self.bytes_max as u64 + 1);
        decoder.read_to_end(&mut bytes).map_err(|_| Fault::request("the body is not gzip"))?;
        if bytes.len() > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.hold.grow(bytes.len())?;
        Ok(Opened { bytes: bytes.into(), _hold: self.hold })
    }

    /// Refuses what is not JSON: a web page of another site can send forms and text without being asked for leave.
    pub(in crate::http) fn check_json(&self) -> Result<(), Fault> {
        match self.media {
            Some(Media::Json) => Ok(()),
            _ => Err(unsupported("send `Content-Type: application/json`")),
        }
    }

    /// The body, which must be JSON.
    pub(in crate::http) fn open_json(self) -> Result<Opened, Fault> {
        self.check_json()?;
        self.open()
    }
}

/// A body to read.
pub(in crate::http) struct Opened {
    pub(in crate::http) bytes: Bytes,
    _hold: Hold,
}

impl Opened {
    /// The JSON in it. Values stay text until they are encoded.
    pub(in crate::http) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| Fault::request(format!("the body is not as documented: {error}")))
    }
}

/// A form of body that is not taken.
pub(in crate::http) fn unsupported(message: &'static str) -> Fault {
    Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Fault> {
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(unsupported("a body is sent as it is or with `Content-Encoding: gzip`")),
    }
}

async fn collect(mut body: Body, bytes_max: usize, budget: &Budget) -> Result<(Bytes, Hold), Fault> {
    let idle = Duration::from_millis(HTTP_BODY_IDLE_TIMEOUT_MS);
    let mut hold = budget.begin();
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while !body.is_end_stream() {
        let frame = match timeout(idle, body.frame()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Fault::request("the body ended before its end")),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing here.
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + all.len() + piece.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        hold.grow(piece.len())?;
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            all.reserve(first.len() + piece.len());
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&piece);
    }
    Ok((if all.is_empty() { first } else { all.into() }, hold))
}

fn too_large(bytes_max: usize) -> Fault {
    let message = format!("a body has at most {bytes_max} bytes");
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
}

fn too_slow() -> Fault {
    Fault::new(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", "the body came too slowly; nothing was done")
}
