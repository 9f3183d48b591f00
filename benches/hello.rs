//! Hello: what the same web framework does with nothing behind it; `benches/http.sh` holds the API against it.
//!
//! Serves `GET /` and `PUT /` on a port of its own, which it prints, until it is killed.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, header};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tower_service::Service as _;

/// As many threads as the server has.
const THREADS: usize = 2;

fn main() {
    let answer = || async { ([(header::CONTENT_TYPE, "application/json")], r#"{"status":"ok","data":"hello"}"#) };
    let routes = Router::new().route("/", get(answer).put(move |_: Bytes| answer()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("http://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            let routes = routes.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answered = routes.clone().call(request.map(Body::new));
                async move {
                    let answered: Result<Response<Body>, Infallible> = answered.await;
                    answered
                }
            });
            tokio::spawn(async move {
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).pipeline_flush(true);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}
