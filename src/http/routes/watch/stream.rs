//! Stream: a watch as server-sent events, taken as fast as the client reads, and no faster.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::http::header::{self, HeaderValue};
use futures_util::stream::{Stream, unfold};
use tokio::time::{Instant, sleep_until};

use super::notice::{bytes_of, end, sse};
use crate::error::{Error, ErrorKind};
use crate::http::request::Ask;
use crate::model::{Notice, Position};
use crate::service::Watch;

/// A stream that is silent for so long says that it lives, so that nobody on the way closes it.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Most changes that are taken at once.
const TAKEN_MAX: usize = 256;
/// What a client waits before it connects again, and the first bytes of the stream, so that it knows that it is connected.
const GREETING: &str = "retry: 1000\n: connected\n\n";

struct Streaming {
    ask: Ask,
    watch: Watch,
    until: Option<Instant>,
    /// Up to where the client knows how far the stream has come.
    told: Option<Position>,
    is_greeted: bool,
}

/// A stream that ends after this time, if there is one.
pub(super) fn response(ask: Ask, watch: Watch, timeout: Option<Duration>) -> Response<Body> {
    let until = timeout.map(|timeout| Instant::now() + timeout);
    let streaming = Streaming { ask, told: watch.position(), watch, until, is_greeted: false };
    let mut response = Response::new(Body::from_stream(pieces(streaming)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn pieces(streaming: Streaming) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    unfold(Some(streaming), |streaming| async move {
        let mut streaming = streaming?;
        match streaming.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(streaming))),
            Ok(None) => None,
            Err(error) => Some((Ok(end(&error).into()), None)),
        }
    })
}

impl Streaming {
    /// The next piece; `None` when its time is over or the server stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if !std::mem::replace(&mut self.is_greeted, true) {
            return Ok(Some(GREETING.into()));
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        let until = self.until.map_or(heartbeat, |until| until.min(heartbeat));
        let notices = tokio::select! {
            notices = self.watch.take_some(TAKEN_MAX) => notices?,
            () = sleep_until(until) => {
                let is_over = self.until.is_some_and(|until| Instant::now() >= until);
                return if is_over { Ok(None) } else { self.sign_of_life().map(Some) };
            }
            () = self.ask.app.closing() => return Ok(None),
        };
        self.told = self.watch.position();
        let written = self.ask.work(bytes_of(&notices), move |_| Ok(sse(&notices)?)).await;
        let lent = written.and_then(|text| self.ask.app.budget.lend(text.into_bytes()));
        lent.map(Some).map_err(|fault| Error::new(ErrorKind::ClusterNotReady, fault.message().to_owned()))
    }

    /// How far it has come, if that is news.
    fn sign_of_life(&mut self) -> Result<Bytes, Error> {
        let position = self.watch.position();
        match position {
            Some(Position { revision, changes: 0 }) if position != self.told => {
                self.told = position;
                Ok(sse(&[Notice::Progress { revision: revision.saturating_sub(1) }])?.into())
            }
            _ => Ok(": alive\n\n".into()),
        }
    }
}
