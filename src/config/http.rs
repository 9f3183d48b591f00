//! Http: the options of what a store serves over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::invalid;
use crate::error::Result;

/// Port of the HTTP API when none is named.
pub const API_PORT_DEFAULT: u16 = 4000;

/// Port of the metrics for Prometheus when none is named.
pub const PROMETHEUS_PORT_DEFAULT: u16 = 9568;

/// Certificate and key of the HTTP server (PEM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTlsConfig {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its private key; refused when group or others may read it.
    pub private_key: PathBuf,
}

/// What an open store serves over HTTP. Nothing by default; see [`Serving`](crate::Serving).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where the API, the console and `/metrics` are served. Port 0 takes any. Default: `None`, not at all.
    pub listen: Option<SocketAddr>,
    /// Where `/metrics` alone is served. Default: `None`, not at all.
    pub metrics_listen: Option<SocketAddr>,
    /// Default: `None`, plain HTTP.
    pub tls: Option<HttpTlsConfig>,
    /// Largest request body, bytes (1,024 to 64 MiB). Default: 8 MiB.
    pub body_bytes_max: usize,
    /// Most connections at once (1 to 65,536). Default: 1,024.
    pub connections_max: usize,
    /// Serve addresses other than loopback although `auth_enabled` is off. Default: false, which is refused.
    pub allow_open: bool,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            listen: None,
            metrics_listen: None,
            tls: None,
            body_bytes_max: 8 * 1024 * 1024,
            connections_max: 1024,
            allow_open: false,
        }
    }
}

impl HttpConfig {
    /// Takes `CONCORD_API_PORT`, `CONCORD_API_IP`, `CONCORD_PROMETHEUS_PORT`, `CONCORD_API_TLS_CERTIFICATE` and
    /// `CONCORD_API_TLS_PRIVATE_KEY` for what is not set.
    pub(super) fn or_variables(&mut self, variable: &impl Fn(&str) -> Option<String>) -> Result<()> {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        let ip = match given("CONCORD_API_IP") {
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(text) => {
                text.parse().map_err(|_| invalid(format!("CONCORD_API_IP is an IP address, not `{text}`")))?
            }
        };
        let port = |name: &str| match given(name) {
            None => Ok(None),
            Some(text) => text
                .parse::<u16>()
                .map(Some)
                .map_err(|_| invalid(format!("{name} is a port (0 to 65535), not `{text}`"))),
        };
        if self.listen.is_none() {
            self.listen = port("CONCORD_API_PORT")?.map(|port| SocketAddr::new(ip, port));
        }
        if self.metrics_listen.is_none() {
            self.metrics_listen = port("CONCORD_PROMETHEUS_PORT")?.map(|port| SocketAddr::new(ip, port));
        }
        if self.tls.is_none() {
            self.tls = match (given("CONCORD_API_TLS_CERTIFICATE"), given("CONCORD_API_TLS_PRIVATE_KEY")) {
                (None, None) => None,
                (Some(certificate), Some(private_key)) => {
                    Some(HttpTlsConfig { certificate: certificate.into(), private_key: private_key.into() })
                }
                _ => {
                    let message = "CONCORD_API_TLS_CERTIFICATE and CONCORD_API_TLS_PRIVATE_KEY go together";
                    return Err(invalid(message));
                }
            };
        }
        Ok(())
    }

    pub(super) fn validate(&self, auth_enabled: bool) -> Result<()> {
        if !(1024..=64 * 1024 * 1024).contains(&self.body_bytes_max) {
            return Err(invalid("http.body_bytes_max is 1024 to 67108864"));
        }
        if !(1..=65_536).contains(&self.connections_max) {
            return Err(invalid("http.connections_max is 1 to 65536"));
        }
        let is_open = |address: &SocketAddr| !address.ip().is_loopback();
        match self.listen.iter().chain(&self.metrics_listen).find(|address| is_open(address)) {
            Some(address) if !auth_enabled && !self.allow_open => Err(invalid(format!(
                "everybody who reaches {address} could read and write: set `auth_enabled`, listen on 127.0.0.1, or set \
                 `allow_open` if the network itself keeps others out"
            ))),
            _ => Ok(()),
        }
    }
}
