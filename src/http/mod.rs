//! FACE: HTTP. The API, the console, metrics, and the local socket.

use std::net::SocketAddr;

use crate::concord::Concord;
use crate::config::Config;
use crate::error::Result;

/// What an open store serves over HTTP, until it is closed or dropped.
pub struct Serving {}

impl Serving {
    /// Serves what the configuration asks for. `None` when it asks for nothing.
    ///
    /// # Errors
    /// `invalid_config` for an address that is taken or certificates that cannot be read; `io`.
    pub fn start(_db: &Concord, _config: &Config) -> Result<Option<Serving>> {
        Ok(None)
    }

    /// Where the API listens.
    pub fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// Where the metrics listen.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Stops accepting, lets requests that are under way end within a few seconds, then stops.
    pub fn close(&self) {}
}
