//! Connection: one accepted socket until it ends: TLS, HTTP/1.1 or HTTP/2, one request after the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::net::TcpStream;

use super::pace::PacedStream;
use super::seats::Seat;
use crate::http::front::Front;
use crate::limits;
use crate::net::ServerTls;

/// What is read ahead of a connection at most.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Bytes of one HTTP/2 stream's body that may be under way.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of one HTTP/2 connection's bodies that may be under way.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of answers that wait for one HTTP/2 stream.
const STREAM_SEND_BYTES: usize = 256 * 1024;

/// How often a silent HTTP/2 connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_millis(limits::HTTP_KEEP_ALIVE_MS / 2);

/// Serves one connection until it ends, is too slow, or has to make room.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    front: Arc<Front>,
    tls: Option<Arc<ServerTls>>,
    watcher: Watcher,
) {
    // Answers are written in one piece: waiting for more would only add delay.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let pace = seat.pace.clone();
    let stream = PacedStream::new(stream, pace.clone());
    let answer = service_fn(move |request: Request<Incoming>| {
        let (front, running) = (front.clone(), pace.begin());
        async move {
            let response = front.answer(request, peer).await;
            drop(running);
            Ok::<Response<Body>, Infallible>(response)
        }
    });
    let served = async {
        let Some(tls) = tls else {
            let _ = watcher.watch(http1_builder().serve_connection(TokioIo::new(stream), answer)).await;
            return;
        };
        let Ok((stream, speaks_http2)) = tls.accept(stream).await else { return };
        // How it ended is the client's affair: it was told, or it went away.
        if speaks_http2 {
            let _ = watcher.watch(http2_builder().serve_connection(TokioIo::new(stream), answer)).await;
        } else {
            let _ = watcher.watch(http1_builder().serve_connection(TokioIo::new(stream), answer)).await;
        }
    };
    tokio::select! {
        () = served => {}
        () = seat.pace.evicted() => {}
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Who has sent everything may close its side and wait for the answer.
        .half_close(true)
        // The socket keeps this time itself, and tells a request that hangs from a connection that rests.
        .header_read_timeout(None)
        // One line and all headers; which of both is too long is told when they are there.
        .max_header_size(limits::HTTP_HEADER_BYTES_MAX + limits::HTTP_URL_BYTES_MAX + 1024)
        // No `pipeline_flush`: with it the answer to a request that cannot be read is not sent while more of it waits.
        .max_buf_size(READ_AHEAD_BYTES);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size((limits::HTTP_HEADER_BYTES_MAX + limits::HTTP_URL_BYTES_MAX) as u32)
        .max_concurrent_streams(limits::HTTP_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(Duration::from_millis(limits::HTTP_HEADER_TIMEOUT_MS));
    builder
}
