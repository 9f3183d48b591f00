//! Cluster: the options that make a store one member of several.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use super::{invalid, split_list};
use crate::error::Result;
use crate::limits;

/// Port that is taken when an address names none.
pub const PORT_DEFAULT: u16 = 7400;

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text of a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Reads a secret from a file; the ends of lines at its end do not count.
    ///
    /// # Errors
    /// `invalid_config` when it cannot be read, and when others than its owner may read it.
    pub fn from_file(path: &Path) -> Result<Secret> {
        let unreadable = |error: std::io::Error| {
            invalid(format!("cannot read the secret in {}: {error}", path.display())).with_source(error)
        };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(invalid(format!("others may read the secret in {0}: run `chmod 600 {0}`", path.display())));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::new(text)
    }
}

/// Files for TLS in both directions (PEM). All members and clients trust the same authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificate chain of this node or client.
    pub certificate: PathBuf,
    /// Its private key; refused when group or others may read it.
    pub private_key: PathBuf,
    /// Certificates of the authority that signs all members and clients.
    pub authority: PathBuf,
    /// Whether a member's certificate must be valid for `<node id>.node.concord`. Default: false.
    pub verify_node_id: bool,
}

/// How nodes on one network find each other without being told of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multicast {
    /// Group that announcements go to. Default: 239.255.67.79.
    pub group: Ipv4Addr,
    /// UDP port of the group. Default: 45892.
    pub port: u16,
}

impl Default for Multicast {
    fn default() -> Multicast {
        Multicast { group: Ipv4Addr::new(239, 255, 67, 79), port: 45892 }
    }
}

/// What makes a store a member of a cluster.
///
/// A new cluster forms once, by agreement of `bootstrap_expect` nodes that see each other and belong to none yet.
/// Later ones set it to 0 (or leave it as it is: a cluster that exists is joined, not formed again), start as
/// learners and are promoted when they have caught up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `host:port` on which other nodes and clients are served. Port 0 takes any. Default: `127.0.0.1:7400`.
    pub listen: String,
    /// `host:port` under which others reach this node, when that differs from `listen`.
    pub advertise: Option<String>,
    /// Name for people, shown in the status; up to 64 bytes. Default: the advertised address.
    pub name: Option<String>,
    /// `host:port` of nodes that may be there already; a DNS name may stand for several.
    pub seeds: Vec<String>,
    /// How many nodes found a new cluster together (1 to 9); 0 joins an existing one only. Default: 0.
    pub bootstrap_expect: usize,
    /// Shared secret of all members, at least 1 byte; better a long random text. Never sent.
    pub cookie: Secret,
    /// Find nodes on the local network by multicast and gossip. Default: `None`.
    pub multicast: Option<Multicast>,
    /// Encrypt and authenticate by certificates. Default: `None`, which is for trusted networks only.
    pub tls: Option<TlsConfig>,
    /// Followers that hear nothing for this long (and up to twice that) elect a new leader, milliseconds
    /// (100 to 60,000). The leader's lease is somewhat shorter. Default: 200.
    pub election_timeout_ms: u64,
    /// Whether this node becomes a voter by itself once it has caught up. Default: true.
    pub promote: bool,
}

impl Default for ClusterConfig {
    fn default() -> ClusterConfig {
        ClusterConfig {
            listen: format!("127.0.0.1:{PORT_DEFAULT}"),
            advertise: None,
            name: None,
            seeds: Vec::new(),
            bootstrap_expect: 0,
            cookie: Secret::default(),
            multicast: None,
            tls: None,
            election_timeout_ms: 200,
            promote: true,
        }
    }
}

impl ClusterConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let name_bytes = self.name.as_ref().map_or(0, String::len);
        let checks = [
            (
                !self.cookie.is_empty(),
                "cluster: set `cluster_cookie` (CONCORD_COOKIE) to the secret that all members share",
            ),
            (is_address(&self.listen), "cluster: `listen` is host:port"),
            (self.advertise.as_deref().is_none_or(is_address), "cluster: `advertise` is host:port"),
            (self.seeds.iter().all(|seed| is_address(seed)), "cluster: each of `seeds` is host:port"),
            (name_bytes <= limits::NODE_NAME_BYTES_MAX, "cluster: `name` has at most 64 bytes"),
            (self.bootstrap_expect <= 9, "cluster: `bootstrap_expect` is 0 to 9"),
            ((100..=60_000).contains(&self.election_timeout_ms), "cluster: `election_timeout_ms` is 100 to 60000"),
            (
                self.bootstrap_expect < 2 || !self.seeds.is_empty() || self.multicast.is_some(),
                "cluster: `bootstrap_expect` above 1 needs `seeds` or multicast, or the nodes never meet",
            ),
        ];
        checks.into_iter().try_for_each(|(holds, message)| if holds { Ok(()) } else { Err(invalid(message)) })
    }

    /// What the environment says of a cluster, if it says anything: `CONCORD_LISTEN` makes it one.
    pub(super) fn from_variables(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<ClusterConfig>> {
        let text = |name: &str| variable(name).filter(|text| !text.is_empty());
        let Some(listen) = text("CONCORD_LISTEN") else { return Ok(None) };
        let mut cluster = ClusterConfig { listen, ..ClusterConfig::default() };
        cluster.advertise = text("CONCORD_ADVERTISE");
        cluster.name = text("CONCORD_NODE_NAME");
        cluster.seeds = split_list(&text("CONCORD_SEEDS").unwrap_or_default());
        cluster.cookie = Secret::new(text("CONCORD_COOKIE").unwrap_or_default());
        if let Some(expect) = text("CONCORD_BOOTSTRAP_EXPECT") {
            cluster.bootstrap_expect =
                expect.parse().map_err(|_| invalid(format!("CONCORD_BOOTSTRAP_EXPECT is a number, not `{expect}`")))?;
        }
        if let Some(flag) = text("CONCORD_MULTICAST") {
            cluster.multicast = matches!(flag.as_str(), "1" | "true").then(Multicast::default);
        }
        cluster.tls = tls_from_variables(&text)?;
        Ok(Some(cluster))
    }
}

pub(super) fn tls_from_variables(text: &impl Fn(&str) -> Option<String>) -> Result<Option<TlsConfig>> {
    let files = ["CONCORD_TLS_CERTIFICATE", "CONCORD_TLS_PRIVATE_KEY", "CONCORD_TLS_AUTHORITY"].map(text);
    match files {
        [None, None, None] => Ok(None),
        [Some(certificate), Some(private_key), Some(authority)] => Ok(Some(TlsConfig {
            certificate: certificate.into(),
            private_key: private_key.into(),
            authority: authority.into(),
            verify_node_id: false,
        })),
        _ => Err(invalid(
            "TLS needs CONCORD_TLS_CERTIFICATE, CONCORD_TLS_PRIVATE_KEY and CONCORD_TLS_AUTHORITY together",
        )),
    }
}

/// How a program that is no member reaches a cluster, or a store on its own machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// `host:port` of some members; the others are learned from them.
    pub addresses: Vec<String>,
    /// Reach the store that is open in this directory on this machine, whatever it is a member of, instead of the
    /// addresses; the cookie and TLS are not used then. Default: `None`.
    pub data_dir: Option<PathBuf>,
    /// The cluster's shared secret: whoever has it may do everything. Empty when there is a token.
    pub cookie: Secret,
    /// A token (`sk_concord_...`), instead of the cookie: the members allow what the token allows. It is never sent.
    pub token: Option<Secret>,
    /// Encrypt and authenticate by certificates.
    pub tls: Option<TlsConfig>,
    /// Level of reads that name none. Default: `Leader`.
    pub default_read_consistency: super::Consistency,
    /// How large values are compressed.
    pub compression: super::Compression,
    /// Longest wait for the first member to answer, milliseconds (1 to 600,000). Default: 5,000.
    pub connect_timeout_ms: u64,
}

impl ClientConfig {
    /// Reaches these members (`host:port`, separated by commas) with this secret.
    pub fn new(addresses: &str, cookie: impl Into<Secret>) -> ClientConfig {
        ClientConfig {
            addresses: split_list(addresses),
            data_dir: None,
            cookie: cookie.into(),
            token: None,
            tls: None,
            default_read_consistency: super::Consistency::Leader,
            compression: super::Compression::default(),
            connect_timeout_ms: 5_000,
        }
    }

    /// Reaches these members (`host:port`, separated by commas) with this token.
    pub fn with_token(addresses: &str, token: impl Into<Secret>) -> ClientConfig {
        ClientConfig { token: Some(token.into()), ..ClientConfig::new(addresses, Secret::default()) }
    }

    /// Reaches the store that is open in this directory on this machine, in another program or in this one. The socket
    /// there is for the user who runs the store, and for the superuser, and gives every right.
    ///
    /// ```
    /// use concord_kv::{ClientConfig, Concord, Config};
    ///
    /// let dir = tempfile::tempdir().unwrap();
    /// let store = Concord::open(Config::at(dir.path()))?; // elsewhere, usually
    /// let client = Concord::connect(ClientConfig::local(dir.path()))?;
    /// client.kv().put("visits", 1).wait()?;
    /// assert_eq!(store.kv().get("visits")?, Some(1.into()));
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    pub fn local(data_dir: impl Into<PathBuf>) -> ClientConfig {
        ClientConfig { data_dir: Some(data_dir.into()), ..ClientConfig::new("", "") }
    }

    /// Takes `CONCORD_TOKEN`, or else `CONCORD_COOKIE`, when there is neither token nor cookie, and `CONCORD_TLS_*` where
    /// nothing is set.
    pub fn or_environment(mut self) -> Result<ClientConfig> {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        if self.cookie.is_empty() && self.token.is_none() {
            self.token = text("CONCORD_TOKEN").map(Secret::new);
        }
        if self.cookie.is_empty() && self.token.is_none() {
            self.cookie = Secret::new(text("CONCORD_COOKIE").unwrap_or_default());
        }
        if self.tls.is_none() {
            self.tls = tls_from_variables(&text)?;
        }
        Ok(self)
    }

    /// Refuses values outside their ranges with `invalid_config`.
    pub fn validate(&self) -> Result<()> {
        let is_local = self.data_dir.is_some();
        let checks = [
            (is_local || !self.addresses.is_empty(), "client: name at least one member as host:port"),
            (self.addresses.iter().all(|address| is_address(address)), "client: each address is host:port"),
            (
                is_local || !self.cookie.is_empty() || self.token.is_some(),
                "client: pass a `token` (or set CONCORD_TOKEN), or the cluster's `cookie` (CONCORD_COOKIE)",
            ),
            (self.cookie.is_empty() || self.token.is_none(), "client: pass a `token` or the `cookie`, not both"),
            (
                !is_local || self.token.is_none(),
                "client: the local socket gives every right, so a `token` means nothing there; connect by address",
            ),
            ((1..=600_000).contains(&self.connect_timeout_ms), "client: `connect_timeout_ms` is 1 to 600000"),
        ];
        checks.into_iter().try_for_each(|(holds, message)| if holds { Ok(()) } else { Err(invalid(message)) })
    }
}

/// Whether this is `host:port`, with brackets around an IPv6 host.
fn is_address(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((host, port)) => {
            let is_bracketed = host.starts_with('[') && host.ends_with(']');
            !host.is_empty()
                && (is_bracketed || !host.contains(':'))
                && text.len() <= limits::ADDRESS_BYTES_MAX
                && port.parse::<u16>().is_ok()
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let cluster = ClusterConfig { cookie: "hunter2".into(), ..ClusterConfig::default() };
        assert!(!format!("{cluster:?}").contains("hunter2"));
    }

    #[test]
    fn a_cluster_without_a_secret_or_without_a_way_to_meet_is_refused() {
        let alone = ClusterConfig { bootstrap_expect: 1, ..ClusterConfig::default() };
        assert!(alone.validate().unwrap_err().message().contains("cluster_cookie"));
        let secret = ClusterConfig { cookie: "s".into(), ..alone };
        assert!(secret.validate().is_ok());
        let three = ClusterConfig { bootstrap_expect: 3, ..secret.clone() };
        assert!(three.validate().unwrap_err().message().contains("seeds"));
        for wrong in ["nowhere", ":7400", "host:", "host:99999", "::1:7400"] {
            let cluster = ClusterConfig { seeds: vec![wrong.to_owned()], ..secret.clone() };
            assert!(cluster.validate().is_err(), "{wrong}");
        }
        assert!(ClusterConfig { seeds: vec!["[::1]:7400".to_owned()], ..secret }.validate().is_ok());
    }
}
