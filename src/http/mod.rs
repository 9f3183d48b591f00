//! FACE: HTTP. The API, the console, metrics, and the local socket.
//!
//! A request passes `front` (limits, `access`, its id), is routed, and its handler calls the service; no rule about records
//! lives here. Everything runs on threads of its own, and what blocks or is large on others again (`Ask::apart`), so a slow
//! or huge client holds up neither consensus nor other clients.
//!
//! | room | what |
//! |--|--|
//! | `server` | sockets, TLS, time limits, who may connect |
//! | `request` | what handlers take out of a request |
//! | `routes` | one handler a route, each with its part of the OpenAPI document |

mod access;
mod answer;
mod budget;
mod front;
mod request;
mod routes;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::concord::Concord;
use crate::config::{ClusterConfig, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::HTTP_BYTES_RUNNING_MAX;
use crate::net::ServerTls;
use access::Rules;
use budget::Budget;
use front::Front;
use request::App;
use server::{Listener, Server};

/// What an open store serves over HTTP, until it is closed or dropped.
pub struct Serving {
    address: Option<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    server: Server,
    app: Arc<App>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.app.stops.send_replace(true);
    }
}

impl Serving {
    /// Serves what the configuration asks for, from now on. `None` when it asks for nothing.
    ///
    /// ```
    /// use concord_kv::{Concord, Config, HttpConfig, Serving};
    ///
    /// let http = HttpConfig { listen: Some("127.0.0.1:0".parse().unwrap()), ..HttpConfig::default() };
    /// let config = Config { http, ..Config::default() };
    /// let db = Concord::open(config.clone())?;
    /// let serving = Serving::start(&db, &config)?.expect("an address is configured");
    /// println!("http://{}/api/docs", serving.address().expect("an address is configured"));
    /// serving.close();
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_config` for an address that is taken or certificates that cannot be read; `io`.
    pub fn start(db: &Concord, config: &Config) -> Result<Option<Serving>> {
        config.validate()?;
        let http = &config.http;
        if http.listen.is_none() && http.metrics_listen.is_none() {
            return Ok(None);
        }
        let (routes, document) = routes::api();
        let openapi = document
            .to_json()
            .map_err(|error| Error::new(ErrorKind::Internal, format!("the OpenAPI document is no JSON: {error}")))?;
        let app = Arc::new(App {
            db: db.clone(),
            budget: Budget::new(HTTP_BYTES_RUNNING_MAX),
            body_bytes_max: http.body_bytes_max,
            openapi,
            stops: tokio::sync::watch::Sender::new(false),
        });
        let open = |tls: &crate::config::HttpTlsConfig| {
            ServerTls::open(tls.certificate.clone(), tls.private_key.clone()).map(Arc::new)
        };
        let tls = http.tls.as_ref().map(open).transpose()?;
        let names = names(config.cluster.as_ref());
        let bind = |address: Option<SocketAddr>, routes: axum::Router| {
            let Some(address) = address else { return Ok(None) };
            let rules = Rules { is_loopback: address.ip().is_loopback(), names: names.clone() };
            let front = Arc::new(Front::new(app.clone(), rules, routes));
            Listener::bind(address, http.connections_max, front, tls.clone()).map(Some)
        };
        let api = bind(http.listen, routes)?;
        let metrics = bind(http.metrics_listen, routes::metrics_alone())?;
        Ok(Some(Serving {
            address: api.as_ref().map(|listener| listener.address),
            metrics_address: metrics.as_ref().map(|listener| listener.address),
            server: Server::start(api.into_iter().chain(metrics).collect())?,
            app,
        }))
    }

    /// Where the API listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where the metrics listen.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Stops accepting, ends streams of changes, lets other requests that are under way end within a few seconds, then stops.
    /// Blocks for that. Close this before the store: requests that are still under way get an answer then.
    pub fn close(&self) {
        self.app.stops.send_replace(true);
        self.server.stop();
    }
}

/// Names under which people know this node: its own, and the host that others reach it by.
fn names(cluster: Option<&ClusterConfig>) -> Vec<String> {
    let Some(cluster) = cluster else { return Vec::new() };
    let host =
        cluster.advertise.as_deref().and_then(|address| address.rsplit_once(':')).map(|(host, _)| host.to_owned());
    cluster.name.clone().into_iter().chain(host).collect()
}
