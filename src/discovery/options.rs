//! Options: where to look for peers, and what this node tells about itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::seeds::{Resolver, SystemResolver};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// Where to look for peers.
#[derive(Clone)]
pub(crate) struct DiscoveryOptions {
    /// `host:port` each. A name may have several addresses; all are taken, and asked for again every few seconds.
    pub(crate) seeds: Vec<String>,
    /// Gossip in the local network. `None`: seeds only, and no UDP socket is opened.
    pub(crate) multicast: Option<Multicast>,
    /// The secret that peers share; required for gossip.
    pub(crate) cookie: String,
    /// What others learn about this node.
    pub(crate) me: Announcement,
    /// How long the answer for a name is good for, milliseconds. Default: 5,000.
    pub(crate) lookup_interval_ms: u64,
    /// Answers for the names among the seeds.
    pub(crate) resolver: Arc<dyn Resolver>,
}

impl DiscoveryOptions {
    /// Neither seeds nor gossip: finds nobody until told where to look.
    pub(crate) fn new(me: Announcement, cookie: impl Into<String>) -> DiscoveryOptions {
        DiscoveryOptions {
            seeds: Vec::new(),
            multicast: None,
            cookie: cookie.into(),
            me,
            lookup_interval_ms: 5_000,
            resolver: Arc::new(SystemResolver),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.me.validate()?;
        if self.seeds.len() > limits::SEEDS_MAX {
            return Err(invalid(format!("seeds: at most {}; give one name with several addresses", limits::SEEDS_MAX)));
        }
        self.seeds.iter().try_for_each(|seed| check_address("seeds", seed))?;
        if !(10..=3_600_000).contains(&self.lookup_interval_ms) {
            return Err(invalid("lookup_interval_ms is 10 to 3600000"));
        }
        let Some(multicast) = &self.multicast else { return Ok(()) };
        if self.cookie.is_empty() {
            return Err(invalid("cookie: gossip needs a secret that the nodes share; set one or switch multicast off"));
        }
        if !multicast.group.is_multicast() {
            return Err(invalid(format!("multicast.group is 224.0.0.0 to 239.255.255.255, not {}", multicast.group)));
        }
        if multicast.port == 0 {
            return Err(invalid("multicast.port is 1 to 65535, the same on every node"));
        }
        Ok(())
    }
}

/// How nodes of one local network find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Multicast {
    /// Default: 239.255.67.79, which routers do not forward.
    pub(crate) group: Ipv4Addr,
    /// UDP port of the group, shared by all nodes of a machine. Default: 45892.
    pub(crate) port: u16,
    /// Own addresses of the interfaces to use. Empty: the one that the system routes the group to, and loopback;
    /// loopback alone when the node advertises a loopback address.
    pub(crate) interfaces: Vec<Ipv4Addr>,
}

impl Default for Multicast {
    fn default() -> Multicast {
        Multicast { group: Ipv4Addr::new(239, 255, 67, 79), port: 45892, interfaces: Vec::new() }
    }
}

/// What a node tells others about itself. Whoever hears it may try the address, and believes nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// `host:port` where others reach this node over TCP.
    pub(crate) address: String,
    /// Stable id of the node; 0 if it has none yet.
    pub(crate) node_id: u64,
    /// Id of its cluster; 0 if it belongs to none yet.
    pub(crate) cluster_id: u128,
    /// For people; may be empty.
    pub(crate) name: String,
}

impl Announcement {
    pub(super) fn validate(&self) -> Result<()> {
        check_address("address", &self.address)?;
        if self.name.len() > limits::NODE_NAME_BYTES_MAX || self.name.chars().any(char::is_control) {
            return Err(invalid(format!("name: at most {} printable bytes", limits::NODE_NAME_BYTES_MAX)));
        }
        Ok(())
    }

    /// The advertised address when it is a number that one machine has.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.address.parse::<SocketAddr>().ok().map(|address| address.ip())
    }

    /// Whether nobody but this machine can reach the advertised address.
    pub(super) fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback()) || self.address.starts_with("localhost:")
    }
}

/// The host and port of `host:port`; an IPv6 address stands in brackets.
pub(super) fn split_address(address: &str) -> Option<(&str, u16)> {
    if address.len() > limits::ADDRESS_BYTES_MAX {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let port = port.bytes().all(|digit| digit.is_ascii_digit()).then(|| port.parse().ok()).flatten()?;
    if port == 0 {
        return None;
    }
    if host.starts_with('[') {
        return matches!(address.parse(), Ok(SocketAddr::V6(_))).then_some((host, port));
    }
    let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    (!host.is_empty() && host.bytes().all(is_name)).then_some((host, port))
}

fn check_address(option: &str, address: &str) -> Result<()> {
    if split_address(address).is_none() {
        return Err(invalid(format!("{option}: `{address}` is not host:port, such as 10.0.0.1:4100 or [::1]:4100")));
    }
    let numeric = address.parse::<SocketAddr>().ok();
    if numeric.is_some_and(|address| address.ip().is_unspecified() || address.ip().is_multicast()) {
        return Err(invalid(format!("{option}: nobody can connect to `{address}`; name an address that others reach")));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong setting is refused with a message that names the option, before any socket is opened.
    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let me = Announcement { address: "10.0.0.1:4100".into(), node_id: 1, cluster_id: 0, name: String::new() };
        let good = DiscoveryOptions::new(me, "secret");
        assert!(good.validate().is_ok());
        type Change = fn(&mut DiscoveryOptions);
        let changes: [(&str, Change); 11] = [
            ("seeds", |options| options.seeds = vec!["10.0.0.1".into()]),
            ("seeds", |options| options.seeds = vec!["host:0".into()]),
            ("seeds", |options| options.seeds = vec!["::1:4100".into()]),
            ("seeds", |options| options.seeds = vec!["a b:1".into()]),
            ("seeds", |options| options.seeds = vec!["host:1".into(); limits::SEEDS_MAX + 1]),
            ("lookup_interval_ms", |options| options.lookup_interval_ms = 0),
            ("address", |options| options.me.address = "0.0.0.0:4100".into()),
            ("name", |options| options.me.name = "x".repeat(65)),
            ("cookie", |options| {
                options.multicast = Some(Multicast::default());
                options.cookie.clear();
            }),
            ("multicast.group", |options| {
                options.multicast = Some(Multicast { group: Ipv4Addr::LOCALHOST, ..Multicast::default() })
            }),
            ("multicast.port", |options| options.multicast = Some(Multicast { port: 0, ..Multicast::default() })),
        ];
        for (option, change) in changes {
            let mut options = good.clone();
            change(&mut options);
            let error = options.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.message().starts_with(option), "{error}");
        }
    }

    #[test]
    fn addresses_come_apart_at_the_port() {
        assert_eq!(split_address("concord-0.concord:4100"), Some(("concord-0.concord", 4100)));
        assert_eq!(split_address("[fe80::1]:4100"), Some(("[fe80::1]", 4100)));
        assert_eq!(split_address(&format!("{}:1", "a".repeat(254))), None);
        assert_eq!(split_address("host:+1"), None);
    }
}
