//! Options: the table of all options by name, with how each is read and shown. `deploy/concord.toml` explains them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::given::Given;
use super::{
    ClusterConfig, CompressionAlgorithm, Config, Consistency, Durability, HttpTlsConfig, Multicast, TlsConfig,
};
use super::{Secret, parse_consistency, parse_durability};

/// One option.
#[derive(Debug)]
pub(super) struct Setting {
    /// As in a file, with its table: `cluster.listen`.
    pub(super) name: &'static str,
    /// The variable of the environment that sets it.
    pub(super) variable: Option<&'static str>,
    pub(super) is_secret: bool,
    /// As it stands in a file; `None` when there is none.
    pub(super) show: fn(&Config) -> Option<String>,
    /// Takes a value, or says what it has to be.
    pub(super) take: fn(&mut Config, &Given<'_>) -> Result<(), String>,
}

impl Setting {
    pub(super) fn named(name: &str) -> Option<&'static Setting> {
        OPTIONS.iter().find(|setting| setting.name == name)
    }
}

type Show = fn(&Config) -> Option<String>;
type Take = fn(&mut Config, &Given<'_>) -> Result<(), String>;

const fn plain(name: &'static str, variable: Option<&'static str>, show: Show, take: Take) -> Setting {
    Setting { name, variable, is_secret: false, show, take }
}

/// Gives a field what was given, and says that it is done.
macro_rules! set {
    ($place:expr, $value:expr) => {{
        $place = $value;
        Ok(())
    }};
}

/// Every option, in the order of the sample file.
pub(super) static OPTIONS: &[Setting] = &[
    plain(
        "data_dir",
        Some("CONCORD_DATA_DIR"),
        |c| c.data_dir.as_deref().map(path),
        |c, given| set!(c.data_dir, Some(PathBuf::from(given.text()?))),
    ),
    plain(
        "durability",
        Some("CONCORD_DURABILITY"),
        |c| Some(durability(c.durability)),
        |c, given| {
            let text = match given {
                Given::Integer(interval_ms) => interval_ms.to_string(),
                other => other.text()?.to_owned(),
            };
            set!(c.durability, parse_durability(&text).map_err(|error| error.message().to_owned())?)
        },
    ),
    plain(
        "default_read_consistency",
        Some("CONCORD_READ_CONSISTENCY"),
        |c| Some(quoted(level(c.default_read_consistency))),
        |c, given| {
            let level = parse_consistency(given.text()?);
            set!(c.default_read_consistency, level.map_err(|error| error.message().to_owned())?)
        },
    ),
    plain(
        "value_bytes_max",
        None,
        |c| Some(c.value_bytes_max.to_string()),
        |c, given| set!(c.value_bytes_max, given.number()?),
    ),
    plain(
        "expiry_interval_ms",
        None,
        |c| Some(c.expiry_interval_ms.to_string()),
        |c, given| set!(c.expiry_interval_ms, given.number()?),
    ),
    plain(
        "snapshot_log_bytes",
        None,
        |c| Some(c.snapshot_log_bytes.to_string()),
        |c, given| set!(c.snapshot_log_bytes, given.number()?),
    ),
    plain(
        "auth_enabled",
        Some("CONCORD_AUTH_ENABLED"),
        |c| Some(c.auth_enabled.to_string()),
        |c, given| set!(c.auth_enabled, given.switch()?),
    ),
    plain(
        "local_socket",
        Some("CONCORD_LOCAL_SOCKET"),
        |c| Some(c.local_socket.to_string()),
        |c, given| set!(c.local_socket, given.switch()?),
    ),
    plain(
        "telemetry_enabled",
        Some("CONCORD_TELEMETRY_ENABLED"),
        |c| Some(c.telemetry_enabled.to_string()),
        |c, given| set!(c.telemetry_enabled, given.switch()?),
    ),
    plain(
        "hot_keys",
        Some("CONCORD_HOT_KEYS"),
        |c| Some(c.hot_keys.to_string()),
        |c, given| set!(c.hot_keys, given.switch()?),
    ),
    plain(
        "metrics_keys",
        Some("CONCORD_METRICS_KEYS"),
        |c| Some(c.metrics_keys.to_string()),
        |c, given| set!(c.metrics_keys, given.switch()?),
    ),
    plain(
        "compression.enabled",
        None,
        |c| Some(c.compression.enabled.to_string()),
        |c, given| set!(c.compression.enabled, given.switch()?),
    ),
    plain(
        "compression.algorithm",
        None,
        |c| Some(quoted(algorithm(c.compression.algorithm))),
        |c, given| {
            set!(
                c.compression.algorithm,
                match given.text()? {
                    "zlib" => CompressionAlgorithm::Zlib,
                    "gzip" => CompressionAlgorithm::Gzip,
                    other => return Err(format!("is `zlib` or `gzip`, not `{other}`")),
                }
            )
        },
    ),
    plain(
        "compression.threshold_bytes",
        None,
        |c| Some(c.compression.threshold_bytes.to_string()),
        |c, given| set!(c.compression.threshold_bytes, given.number()?),
    ),
    plain(
        "compression.level",
        None,
        |c| Some(c.compression.level.to_string()),
        |c, given| set!(c.compression.level, given.number()?),
    ),
    plain(
        "event_history.events_max",
        Some("CONCORD_EVENT_HISTORY"),
        |c| Some(c.event_history.events_max.to_string()),
        |c, given| set!(c.event_history.events_max, given.number()?),
    ),
    plain(
        "event_history.bytes_max",
        None,
        |c| Some(c.event_history.bytes_max.to_string()),
        |c, given| set!(c.event_history.bytes_max, given.number()?),
    ),
    plain(
        "cluster.listen",
        Some("CONCORD_LISTEN"),
        |c| Some(quoted(&shown(c)?.listen)),
        |c, given| set!(cluster(c).listen, given.text()?.to_owned()),
    ),
    plain(
        "cluster.advertise",
        Some("CONCORD_ADVERTISE"),
        |c| shown(c)?.advertise.as_deref().map(quoted),
        |c, given| set!(cluster(c).advertise, Some(given.text()?.to_owned())),
    ),
    plain(
        "cluster.name",
        Some("CONCORD_NODE_NAME"),
        |c| shown(c)?.name.as_deref().map(quoted),
        |c, given| set!(cluster(c).name, Some(given.text()?.to_owned())),
    ),
    plain(
        "cluster.seeds",
        Some("CONCORD_SEEDS"),
        |c| Some(list(&shown(c)?.seeds)),
        |c, given| set!(cluster(c).seeds, given.list()?),
    ),
    plain(
        "cluster.bootstrap_expect",
        Some("CONCORD_BOOTSTRAP_EXPECT"),
        |c| Some(shown(c)?.bootstrap_expect.to_string()),
        |c, given| set!(cluster(c).bootstrap_expect, given.number()?),
    ),
    plain(
        "cluster.cookie_file",
        Some("CONCORD_COOKIE_FILE"),
        |_| None,
        |c, given| {
            let secret = Secret::from_file(Path::new(given.text()?)).map_err(|error| error.message().to_owned());
            set!(cluster(c).cookie, secret?)
        },
    ),
    Setting {
        name: "cluster.cookie",
        variable: Some("CONCORD_COOKIE"),
        is_secret: true,
        show: |c| Some(&shown(c)?.cookie).filter(|cookie| !cookie.is_empty()).map(|_| String::new()),
        take: |c, given| set!(cluster(c).cookie, Secret::new(given.text()?)),
    },
    plain(
        "cluster.multicast",
        Some("CONCORD_MULTICAST"),
        |c| Some(shown(c)?.multicast.is_some().to_string()),
        |c, given| {
            let is_on = given.switch()?;
            let known = cluster(c).multicast;
            set!(cluster(c).multicast, is_on.then(|| known.unwrap_or_default()))
        },
    ),
    plain(
        "cluster.multicast_group",
        None,
        |c| shown(c)?.multicast.map(|it| quoted(&it.group.to_string())),
        |c, given| {
            let group = given.text()?;
            let group = group.parse().map_err(|_| format!("is an IPv4 address, not `{group}`"))?;
            set!(multicast(c)?.group, group)
        },
    ),
    plain(
        "cluster.multicast_port",
        None,
        |c| shown(c)?.multicast.map(|it| it.port.to_string()),
        |c, given| set!(multicast(c)?.port, given.number()?),
    ),
    plain(
        "cluster.election_timeout_ms",
        None,
        |c| Some(shown(c)?.election_timeout_ms.to_string()),
        |c, given| set!(cluster(c).election_timeout_ms, given.number()?),
    ),
    plain(
        "cluster.promote",
        None,
        |c| Some(shown(c)?.promote.to_string()),
        |c, given| set!(cluster(c).promote, given.switch()?),
    ),
    plain(
        "cluster.tls.certificate",
        Some("CONCORD_TLS_CERTIFICATE"),
        |c| shown(c)?.tls.as_ref().map(|tls| path(&tls.certificate)),
        |c, given| set!(tls(c).certificate, PathBuf::from(given.text()?)),
    ),
    plain(
        "cluster.tls.private_key",
        Some("CONCORD_TLS_PRIVATE_KEY"),
        |c| shown(c)?.tls.as_ref().map(|tls| path(&tls.private_key)),
        |c, given| set!(tls(c).private_key, PathBuf::from(given.text()?)),
    ),
    plain(
        "cluster.tls.authority",
        Some("CONCORD_TLS_AUTHORITY"),
        |c| shown(c)?.tls.as_ref().map(|tls| path(&tls.authority)),
        |c, given| set!(tls(c).authority, PathBuf::from(given.text()?)),
    ),
    plain(
        "cluster.tls.verify_node_id",
        None,
        |c| shown(c)?.tls.as_ref().map(|tls| tls.verify_node_id.to_string()),
        |c, given| set!(tls(c).verify_node_id, given.switch()?),
    ),
    plain(
        "http.listen",
        None,
        |c| c.http.listen.map(|it| quoted(&it.to_string())),
        |c, given| set!(c.http.listen, Some(socket_address(given)?)),
    ),
    plain(
        "http.metrics_listen",
        None,
        |c| c.http.metrics_listen.map(|it| quoted(&it.to_string())),
        |c, given| set!(c.http.metrics_listen, Some(socket_address(given)?)),
    ),
    plain(
        "http.body_bytes_max",
        None,
        |c| Some(c.http.body_bytes_max.to_string()),
        |c, given| set!(c.http.body_bytes_max, given.number()?),
    ),
    plain(
        "http.connections_max",
        None,
        |c| Some(c.http.connections_max.to_string()),
        |c, given| set!(c.http.connections_max, given.number()?),
    ),
    plain(
        "http.allow_open",
        None,
        |c| Some(c.http.allow_open.to_string()),
        |c, given| set!(c.http.allow_open, given.switch()?),
    ),
    plain(
        "http.tls.certificate",
        Some("CONCORD_API_TLS_CERTIFICATE"),
        |c| c.http.tls.as_ref().map(|tls| path(&tls.certificate)),
        |c, given| set!(http_tls(c).certificate, PathBuf::from(given.text()?)),
    ),
    plain(
        "http.tls.private_key",
        Some("CONCORD_API_TLS_PRIVATE_KEY"),
        |c| c.http.tls.as_ref().map(|tls| path(&tls.private_key)),
        |c, given| set!(http_tls(c).private_key, PathBuf::from(given.text()?)),
    ),
];

/// The cluster that options are given for.
fn cluster(config: &mut Config) -> &mut ClusterConfig {
    config.cluster.get_or_insert_default()
}

fn shown(config: &Config) -> Option<&ClusterConfig> {
    config.cluster.as_ref()
}

/// Multicast, which `multicast = true` turns on: it stands before its other options.
fn multicast(config: &mut Config) -> Result<&mut Multicast, String> {
    cluster(config).multicast.as_mut().ok_or_else(|| "needs `multicast = true`".to_owned())
}

/// TLS of which some files are not named yet; that all are is looked at in the end.
fn tls(config: &mut Config) -> &mut TlsConfig {
    let none = || TlsConfig {
        certificate: PathBuf::new(),
        private_key: PathBuf::new(),
        authority: PathBuf::new(),
        verify_node_id: false,
    };
    cluster(config).tls.get_or_insert_with(none)
}

fn http_tls(config: &mut Config) -> &mut HttpTlsConfig {
    let none = || HttpTlsConfig { certificate: PathBuf::new(), private_key: PathBuf::new() };
    config.http.tls.get_or_insert_with(none)
}

fn socket_address(given: &Given<'_>) -> Result<SocketAddr, String> {
    let text = given.text()?;
    text.parse().map_err(|_| format!("is an IP address with a port, such as \"127.0.0.1:4000\", not `{text}`"))
}

/// As a TOML text.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn durability(durability: Durability) -> String {
    match durability {
        Durability::Always => quoted("always"),
        Durability::Memory => quoted("memory"),
        Durability::Interval { interval_ms } => interval_ms.to_string(),
    }
}

fn level(level: Consistency) -> &'static str {
    match level {
        Consistency::Eventual => "eventual",
        Consistency::Leader => "leader",
        Consistency::Strong => "strong",
    }
}

fn algorithm(algorithm: CompressionAlgorithm) -> &'static str {
    match algorithm {
        CompressionAlgorithm::Zlib => "zlib",
        CompressionAlgorithm::Gzip => "gzip",
    }
}
