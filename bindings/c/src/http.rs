//! Http: what an embedded store serves over HTTP, where, and its metrics as text.

use std::ffi::c_char;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use concord_kv::{HttpConfig, HttpTlsConfig};

use crate::bytes::{concord_buffer, out, path, text};
use crate::options::{OptionStruct, copied};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::{concord_db, store};

/// Any port that is free; concord_api_address() and concord_prometheus_address() tell which.
pub const CONCORD_PORT_ANY: i32 = -1;
/// Not served, whatever the environment says.
pub const CONCORD_PORT_NONE: i32 = -2;

/// What a store serves over HTTP until it is closed: `http` of concord_open_options. Zero or NULL in a field means its
/// default. Texts are NUL-terminated UTF-8, borrowed until concord_open() returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_http_options {
    /// sizeof(concord_http_options)
    pub size: usize,
    /// IP address of both ports. Default: the environment's CONCORD_API_IP, else "127.0.0.1".
    pub ip: *const c_char,
    /// Port of the API, the console and /metrics: 1 to 65,535, CONCORD_PORT_ANY or CONCORD_PORT_NONE. Default: the
    /// environment's CONCORD_API_PORT, else not served.
    pub api_port: i32,
    /// Port of /metrics alone, in the same way. Default: the environment's CONCORD_PROMETHEUS_PORT, else not served.
    pub prometheus_port: i32,
    /// PEM file: certificate chain of the server. Both TLS files or none. Default: the environment's
    /// CONCORD_API_TLS_CERTIFICATE and CONCORD_API_TLS_PRIVATE_KEY, else plain HTTP.
    pub tls_certificate: *const c_char,
    /// PEM file: its private key, readable by its owner only.
    pub tls_private_key: *const c_char,
    /// Largest request body, bytes, 1,024 to 64 MiB. Default: 8 MiB.
    pub body_bytes_max: usize,
    /// Most connections at once, 1 to 65,536. Default: 1,024.
    pub connections_max: u32,
    /// Not 0: serve addresses other than loopback although `auth_enabled` is off, which is refused otherwise: everybody
    /// who reaches them can read and write.
    pub allow_open: i32,
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_http_options {
    const NAME: &'static str = "concord_http_options";
}

/// What a program says of one port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Unsaid,
    Not,
    At(u16),
}

/// What a program says of HTTP; over what the environment says.
pub(crate) struct Http {
    ip: Option<IpAddr>,
    api: Port,
    prometheus: Port,
    config: HttpConfig,
}

impl Http {
    /// NULL says nothing.
    ///
    /// # Safety
    /// As [`copied`]; each text is NULL or NUL-terminated.
    pub(crate) unsafe fn read(options: *const concord_http_options) -> Outcome<Http> {
        let mut config = HttpConfig::default();
        // SAFETY: the same promise.
        let Some(given) = unsafe { copied(options) }? else {
            return Ok(Http { ip: None, api: Port::Unsaid, prometheus: Port::Unsaid, config });
        };
        // SAFETY: each text is NULL or NUL-terminated, as the caller promised.
        let (ip, tls) = unsafe { (text(given.ip, "ip")?, (path(given.tls_certificate), path(given.tls_private_key))) };
        let wrong = |ip: &str| Failure::argument(format!("ip is an IP address, not `{ip}`"));
        let ip = ip.map(|ip| ip.parse().map_err(|_| wrong(ip))).transpose()?;
        config.tls = match tls {
            (None, None) => None,
            (Some(certificate), Some(private_key)) => Some(HttpTlsConfig { certificate, private_key }),
            _ => return Err(Failure::argument("TLS needs tls_certificate and tls_private_key together")),
        };
        if given.body_bytes_max != 0 {
            config.body_bytes_max = given.body_bytes_max;
        }
        if given.connections_max != 0 {
            config.connections_max = given.connections_max as usize;
        }
        config.allow_open = given.allow_open != 0;
        let (api, prometheus) = (port("api_port", given.api_port)?, port("prometheus_port", given.prometheus_port)?);
        Ok(Http { ip, api, prometheus, config })
    }

    /// What is to be said before the environment is looked at: what is set here is not looked for there.
    pub(crate) fn before(&self) -> HttpConfig {
        let set = |port| (port != Port::Unsaid).then(|| self.address(0, None));
        HttpConfig { listen: set(self.api), metrics_listen: set(self.prometheus), ..self.config.clone() }
    }

    /// The whole, once the environment has filled in what was not said.
    pub(crate) fn over(&self, filled: HttpConfig) -> Outcome<HttpConfig> {
        let environment = std::env::var("CONCORD_API_IP").ok().and_then(|ip| ip.parse().ok());
        let place = |port: Port, filled: Option<SocketAddr>| match port {
            Port::Unsaid => filled.map(|at| self.address(at.port(), Some(at.ip()))),
            Port::Not => None,
            Port::At(port) => Some(self.address(port, environment)),
        };
        let (listen, metrics_listen) = (place(self.api, filled.listen), place(self.prometheus, filled.metrics_listen));
        if self.ip.is_some() && listen.is_none() && metrics_listen.is_none() {
            return Err(Failure::argument("ip goes with api_port or prometheus_port"));
        }
        Ok(HttpConfig { listen, metrics_listen, ..filled })
    }

    fn address(&self, port: u16, otherwise: Option<IpAddr>) -> SocketAddr {
        SocketAddr::new(self.ip.or(otherwise).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)
    }
}

fn port(name: &str, number: i32) -> Outcome<Port> {
    match (number, u16::try_from(number)) {
        (0, _) => Ok(Port::Unsaid),
        (CONCORD_PORT_ANY, _) => Ok(Port::At(0)),
        (CONCORD_PORT_NONE, _) => Ok(Port::Not),
        (_, Ok(port)) => Ok(Port::At(port)),
        (_, Err(_)) => {
            let message = format!("{name} is 1 to 65535, CONCORD_PORT_ANY or CONCORD_PORT_NONE, not {number}");
            Err(Failure::argument(message))
        }
    }
}

fn told(
    db: *const concord_db,
    place: &mut concord_buffer,
    pick: fn(&crate::store::Db) -> Option<SocketAddr>,
) -> Outcome {
    if let Some(address) = pick(&*store(db)?) {
        *place = concord_buffer::copy(address.to_string().as_bytes())?;
    }
    Ok(())
}

/// Where the store serves the HTTP API, the console and /metrics: "127.0.0.1:8080", also when any port was asked for.
///
/// - `out_address`: receives the text, empty when nothing is served; free it with concord_buffer_free().
///
/// Errors: CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_api_address(
    db: *const concord_db,
    out_address: *mut concord_buffer,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable.
        let place = unsafe { out(out_address, "out_address", concord_buffer::EMPTY) }?;
        told(db, place, |db| db.api_address)
    })
}

/// Where the store serves /metrics alone. Otherwise as concord_api_address().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_prometheus_address(
    db: *const concord_db,
    out_address: *mut concord_buffer,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable.
        let place = unsafe { out(out_address, "out_address", concord_buffer::EMPTY) }?;
        told(db, place, |db| db.prometheus_address)
    })
}

/// All metrics in Prometheus text format 0.0.4, to be served as "text/plain; version=0.0.4"; deploy/README.md tells what
/// they say. Counters begin with 0 when the store is opened; a client tells what it has counted itself. Needs no token:
/// what a program counts is its own.
///
/// - `out_text`: receives the text; free it with concord_buffer_free().
///
/// Errors: CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not block for others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_metrics_text(db: *const concord_db, out_text: *mut concord_buffer) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable.
        let place = unsafe { out(out_text, "out_text", concord_buffer::EMPTY) }?;
        *place = concord_buffer::copy(store(db)?.metrics_text().as_bytes())?;
        Ok(())
    })
}
