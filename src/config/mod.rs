//! Config: every option with its meaning, unit, default and range.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;

mod cluster;
mod file;
mod given;
mod http;
mod options;
mod settings;

pub use cluster::{ClientConfig, ClusterConfig, Multicast, PORT_DEFAULT, Secret, TlsConfig};
pub use http::{API_PORT_DEFAULT, HttpConfig, HttpTlsConfig, PROMETHEUS_PORT_DEFAULT};
pub use settings::{SettingRow, Settings, Source};

/// When an acknowledged write is safe from a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before it is acknowledged: on disk (fdatasync) on a majority. The default.
    #[default]
    Always,
    /// At most this many milliseconds after it is acknowledged (1 to 60,000). A crash of the process
    /// alone loses nothing.
    Interval {
        /// Milliseconds between two fdatasync calls.
        interval_ms: u64,
    },
    /// Never: nothing is written to disk, and the store is empty after a restart.
    Memory,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// This node's own applied state, without asking anybody; may be stale.
    Eventual,
    /// The leader's applied state under its lease: linearizable as long as clocks drift less than the margin.
    #[default]
    Leader,
    /// Linearizable without any assumption about clocks: a quorum confirms.
    Strong,
}

/// Which format large values are compressed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionAlgorithm {
    /// RFC 1950.
    #[default]
    Zlib,
    /// RFC 1952.
    Gzip,
}

/// How large values are compressed. A value is kept compressed only when that makes it smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Whether values above the threshold are compressed. Default: true.
    pub enabled: bool,
    /// Default: zlib.
    pub algorithm: CompressionAlgorithm,
    /// Encoded values larger than this are compressed, bytes. Default: 1,024.
    pub threshold_bytes: usize,
    /// 0 (none) to 9 (smallest). Default: 6.
    pub level: u32,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression { enabled: true, algorithm: CompressionAlgorithm::Zlib, threshold_bytes: 1024, level: 6 }
    }
}

/// How many of the newest changes every node keeps for those who watch, see [`Concord::watch`](crate::Concord::watch). They are
/// kept once, in memory, whoever watches or not: a watcher may come later, or from a member that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHistory {
    /// Changes of one key each, up to 100,000,000; 0 keeps none, and nobody can watch. Default: 131,072.
    pub events_max: usize,
    /// Bytes of memory for them (65,536 to 1 GiB): their keys, values and previous values. Default: 16 MiB.
    pub bytes_max: usize,
}

impl Default for EventHistory {
    fn default() -> EventHistory {
        EventHistory { events_max: 131_072, bytes_max: 16 * 1024 * 1024 }
    }
}

/// Every option of a store. `Config::default()` is a store in memory; give it a `data_dir` and it is durable.
///
/// ```
/// use concord_kv::{Concord, Config};
/// let db = Concord::open(Config::default())?;
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directory that holds everything stored; created with mode 0700. `None`: in memory only.
    pub data_dir: Option<PathBuf>,
    /// Default: `Always` (in memory when there is no `data_dir`).
    pub durability: Durability,
    /// Level of reads that name none. Default: `Leader`.
    pub default_read_consistency: Consistency,
    /// How large values are compressed.
    pub compression: Compression,
    /// Largest encoded value, bytes (1,024 to 64 MiB). Default: 16 MiB.
    pub value_bytes_max: usize,
    /// How often expired records are removed from memory, milliseconds (10 to 3,600,000). They are
    /// invisible from their deadline on, whatever this is. Default: 1,000.
    pub expiry_interval_ms: u64,
    /// The log is compacted by a snapshot when it has grown by this many bytes since the last one
    /// (at least 1 MiB). Default: 64 MiB.
    pub snapshot_log_bytes: u64,
    /// How many changes are kept for those who watch.
    pub event_history: EventHistory,
    /// What makes this store a member of a cluster. Default: `None`, a store of one node, alone.
    pub cluster: Option<ClusterConfig>,
    /// Whether every verb of every face needs a token. Default: false.
    pub auth_enabled: bool,
    /// Serve the programs of the same user on this machine through `concord.sock` in the data directory, with every right:
    /// see [`ClientConfig::local`]. A file system that holds no sockets goes without. Default: true.
    pub local_socket: bool,
    /// What is served over HTTP. Default: nothing.
    pub http: HttpConfig,
    /// Whether calls are counted and timed, see [`Concord::metrics_text`](crate::Concord::metrics_text). Default: true.
    pub telemetry_enabled: bool,
    /// Whether the keys that are used most are looked for, by a sample. Default: true.
    pub hot_keys: bool,
    /// Whether metrics show those keys as they are; keys may be secrets, so otherwise they show salted hashes.
    /// Default: false.
    pub metrics_keys: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: None,
            durability: Durability::Always,
            default_read_consistency: Consistency::Leader,
            compression: Compression::default(),
            value_bytes_max: limits::VALUE_BYTES_MAX_DEFAULT,
            expiry_interval_ms: 1_000,
            snapshot_log_bytes: 64 * 1024 * 1024,
            event_history: EventHistory::default(),
            cluster: None,
            auth_enabled: false,
            local_socket: true,
            http: HttpConfig::default(),
            telemetry_enabled: true,
            hot_keys: true,
            metrics_keys: false,
        }
    }
}

impl Config {
    /// A durable store in this directory, everything else as by default.
    pub fn at(data_dir: impl Into<PathBuf>) -> Config {
        Config { data_dir: Some(data_dir.into()), ..Config::default() }
    }

    /// Takes the environment's `CONCORD_*` variables as defaults: what this configuration has
    /// set already is kept. Known here: `CONCORD_DATA_DIR`, `CONCORD_DURABILITY` (`always`, `memory`
    /// or a number of milliseconds), `CONCORD_READ_CONSISTENCY`, `CONCORD_EVENT_HISTORY`, `CONCORD_AUTH_ENABLED`, `CONCORD_LOCAL_SOCKET`; of HTTP
    /// `CONCORD_API_PORT`, `CONCORD_API_IP`, `CONCORD_PROMETHEUS_PORT`, `CONCORD_API_TLS_CERTIFICATE`,
    /// `CONCORD_API_TLS_PRIVATE_KEY`; of metrics `CONCORD_TELEMETRY_ENABLED`, `CONCORD_HOT_KEYS`, `CONCORD_METRICS_KEYS`;
    /// and, of a cluster, `CONCORD_LISTEN` (without
    /// which there is none), `CONCORD_ADVERTISE`, `CONCORD_NODE_NAME`, `CONCORD_SEEDS` (separated by commas),
    /// `CONCORD_BOOTSTRAP_EXPECT`, `CONCORD_COOKIE`, `CONCORD_MULTICAST`, `CONCORD_TLS_CERTIFICATE`,
    /// `CONCORD_TLS_PRIVATE_KEY`, `CONCORD_TLS_AUTHORITY`.
    pub fn or_environment(self) -> Result<Config> {
        self.or_variables(|name| std::env::var(name).ok())
    }

    fn or_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Config> {
        let unset = Config::default();
        if self.data_dir.is_none() {
            self.data_dir = variable("CONCORD_DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        }
        if let (true, Some(text)) = (self.durability == unset.durability, variable("CONCORD_DURABILITY")) {
            self.durability = parse_durability(&text)?;
        }
        let level_is_unset = self.default_read_consistency == unset.default_read_consistency;
        if let (true, Some(text)) = (level_is_unset, variable("CONCORD_READ_CONSISTENCY")) {
            self.default_read_consistency = parse_consistency(&text)?;
        }
        let history_is_unset = self.event_history == unset.event_history;
        if let (true, Some(text)) =
            (history_is_unset, variable("CONCORD_EVENT_HISTORY").filter(|text| !text.is_empty()))
        {
            let number = text.parse().map_err(|_| invalid(format!("CONCORD_EVENT_HISTORY is a number, not `{text}`")));
            self.event_history.events_max = number?;
        }
        match &mut self.cluster {
            None => self.cluster = ClusterConfig::from_variables(&variable)?,
            Some(cluster) if cluster.cookie.is_empty() => {
                cluster.cookie = Secret::new(variable("CONCORD_COOKIE").unwrap_or_default());
            }
            Some(_) => {}
        }
        if !self.auth_enabled {
            self.auth_enabled =
                parse_switch("CONCORD_AUTH_ENABLED", &variable("CONCORD_AUTH_ENABLED").unwrap_or_default())?;
        }
        if let (true, Some(text)) =
            (self.local_socket, variable("CONCORD_LOCAL_SOCKET").filter(|text| !text.is_empty()))
        {
            self.local_socket = parse_switch("CONCORD_LOCAL_SOCKET", &text)?;
        }
        self.http.or_variables(&variable)?;
        let switches = [
            ("CONCORD_TELEMETRY_ENABLED", &mut self.telemetry_enabled, unset.telemetry_enabled),
            ("CONCORD_HOT_KEYS", &mut self.hot_keys, unset.hot_keys),
            ("CONCORD_METRICS_KEYS", &mut self.metrics_keys, unset.metrics_keys),
        ];
        for (name, switch, unset) in switches {
            let text = variable(name).unwrap_or_default();
            if *switch == unset && !text.is_empty() {
                *switch = parse_switch(name, &text)?;
            }
        }
        Ok(self)
    }

    /// Refuses values outside their ranges with `invalid_config`.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            (
                !matches!(self.durability, Durability::Interval { interval_ms } if !(1..=60_000).contains(&interval_ms)),
                "durability: an interval is 1 to 60000 milliseconds",
            ),
            (self.compression.level <= 9, "compression.level is 0 to 9"),
            (
                (1024..=limits::VALUE_BYTES_MAX_CEILING).contains(&self.value_bytes_max),
                "value_bytes_max is 1024 to 67108864",
            ),
            ((10..=3_600_000).contains(&self.expiry_interval_ms), "expiry_interval_ms is 10 to 3600000"),
            (self.snapshot_log_bytes >= 1024 * 1024, "snapshot_log_bytes is at least 1048576"),
            (self.event_history.events_max <= 100_000_000, "event_history.events_max is 0 to 100000000"),
            (
                (64 * 1024..=1024 * 1024 * 1024).contains(&self.event_history.bytes_max),
                "event_history.bytes_max is 65536 to 1073741824",
            ),
        ];
        checks.into_iter().try_for_each(|(holds, message)| if holds { Ok(()) } else { Err(invalid(message)) })?;
        self.http.validate(self.auth_enabled)?;
        self.cluster.as_ref().map_or(Ok(()), ClusterConfig::validate)
    }

    /// Whether anything is written to disk.
    pub fn is_durable(&self) -> bool {
        self.data_dir.is_some() && self.durability != Durability::Memory
    }
}

/// Reads `always`, `memory` or a number of milliseconds.
pub fn parse_durability(text: &str) -> Result<Durability> {
    match text {
        "always" => Ok(Durability::Always),
        "memory" => Ok(Durability::Memory),
        number => number
            .parse()
            .map(|interval_ms| Durability::Interval { interval_ms })
            .map_err(|_| invalid(format!("durability is `always`, `memory` or milliseconds, not `{number}`"))),
    }
}

/// Reads `eventual`, `leader` or `strong`.
pub fn parse_consistency(text: &str) -> Result<Consistency> {
    match text {
        "eventual" => Ok(Consistency::Eventual),
        "leader" => Ok(Consistency::Leader),
        "strong" => Ok(Consistency::Strong),
        other => Err(invalid(format!("consistency is `eventual`, `leader` or `strong`, not `{other}`"))),
    }
}

/// Reads the value of a variable that is on or off.
fn parse_switch(name: &str, text: &str) -> Result<bool> {
    match text {
        "" | "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        other => Err(invalid(format!("{name} is `true` or `false`, not `{other}`"))),
    }
}

/// The parts of a list that is separated by commas.
fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explicit_settings_win_over_the_environment() {
        let variables = |name: &str| match name {
            "CONCORD_DATA_DIR" => Some("/from/environment".to_owned()),
            "CONCORD_DURABILITY" => Some("250".to_owned()),
            _ => None,
        };
        let config = Config::at("/explicit").or_variables(variables).unwrap();
        assert_eq!(config.data_dir, Some(PathBuf::from("/explicit")));
        assert_eq!(config.durability, Durability::Interval { interval_ms: 250 });
        let config = Config::default().or_variables(variables).unwrap();
        assert_eq!(config.data_dir, Some(PathBuf::from("/from/environment")));
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        let config = Config { compression: Compression { level: 10, ..Default::default() }, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert_eq!(parse_durability("sometimes").unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert!(Config::default().validate().is_ok());
    }
}
