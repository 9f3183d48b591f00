//! Serving: the options of what `serve` serves over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use concord_kv::{Concord, HttpConfig, HttpTlsConfig, Result, Serving};
use serde_json::json;

use super::output::print_event;

/// Every option has its `CONCORD_*` variable; the option wins.
#[derive(Args)]
#[command(next_help_heading = "HTTP")]
pub(super) struct HttpOptions {
    /// Where the HTTP API is served. Also CONCORD_API_PORT and CONCORD_API_IP (127.0.0.1 by default).
    #[arg(long, value_name = "IP:PORT")]
    api: Option<SocketAddr>,
    /// Where /metrics alone is served. Also CONCORD_PROMETHEUS_PORT.
    #[arg(long, value_name = "IP:PORT")]
    prometheus: Option<SocketAddr>,
    /// Certificate chain of the HTTP server (PEM). Also CONCORD_API_TLS_CERTIFICATE.
    #[arg(long, value_name = "FILE", requires = "api_tls_private_key")]
    api_tls_certificate: Option<PathBuf>,
    /// Its private key (PEM). Also CONCORD_API_TLS_PRIVATE_KEY.
    #[arg(long, value_name = "FILE", requires = "api_tls_certificate")]
    api_tls_private_key: Option<PathBuf>,
    /// Every verb needs a token.
    #[arg(long, env = "CONCORD_AUTH_ENABLED", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(super) auth: bool,
    /// Serve other addresses than those of this machine although no token is needed: everybody who reaches them can read and write.
    #[arg(long)]
    allow_open: bool,
}

impl HttpOptions {
    /// What the command line says, over what the file and the environment say.
    pub(super) fn over(&self, base: HttpConfig) -> HttpConfig {
        let tls = self.api_tls_certificate.clone().zip(self.api_tls_private_key.clone());
        let tls = tls.map(|(certificate, private_key)| HttpTlsConfig { certificate, private_key });
        HttpConfig {
            listen: self.api.or(base.listen),
            metrics_listen: self.prometheus.or(base.metrics_listen),
            tls: tls.or(base.tls),
            allow_open: self.allow_open || base.allow_open,
            ..base
        }
    }
}

/// Serves what is configured, and says where.
pub(super) fn start(db: &Concord, config: &concord_kv::Config, json: bool) -> Result<Option<Serving>> {
    let Some(serving) = Serving::start(db, config)? else { return Ok(None) };
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let url = |address: Option<SocketAddr>| address.map(|address| format!("{scheme}://{address}"));
    let (api, metrics) = (url(serving.address()), url(serving.metrics_address()));
    let places: Vec<String> = [("the API on ", &api), ("metrics on ", &metrics)]
        .into_iter()
        .filter_map(|(what, url)| Some(format!("{what}{}", url.as_ref()?)))
        .collect();
    let sentence = format!("serving {}", places.join(", "));
    print_event("serving", &sentence, json!({"api": api, "metrics": metrics}), json)?;
    Ok(Some(serving))
}
