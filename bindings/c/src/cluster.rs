//! Cluster: what makes a store a member of several, and the verbs that change who the members are.

use std::ffi::c_char;
use std::net::Ipv4Addr;

use concord_kv::{ClusterConfig, Multicast, Secret, TlsConfig};

use crate::bytes::{out, path, text};
use crate::options::{OptionStruct, consistency_of, copied, nonzero};
use crate::status::{Failure, Outcome, concord_status, enter, enter_or};
use crate::store::{concord_db, store};

/// Whether a new member becomes a voter.
#[repr(i32)]
pub enum concord_promote {
    /// As CONCORD_PROMOTE_AUTOMATIC.
    CONCORD_PROMOTE_DEFAULT = 0,
    /// By itself, once it has caught up.
    CONCORD_PROMOTE_AUTOMATIC = 1,
    /// Only by concord_cluster_promote(): until then it keeps a copy and does not vote.
    CONCORD_PROMOTE_MANUAL = 2,
}

/// What makes a store a member of a cluster: `cluster` of concord_open_options. Zero or NULL in a field means its
/// default. Texts are NUL-terminated UTF-8, borrowed until concord_open() returns.
///
/// A new cluster forms once, by agreement of `bootstrap_expect` nodes that see each other and belong to none yet. Later
/// ones set it to 0, or leave it as it is: a cluster that exists is joined, not formed again.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_cluster_options {
    /// sizeof(concord_cluster_options)
    pub size: usize,
    /// "host:port" on which other nodes and clients are served; port 0 takes any. Default: "127.0.0.1:7400".
    pub listen: *const c_char,
    /// "host:port" under which others reach this node. Default: `listen`.
    pub advertise: *const c_char,
    /// Name for people, up to 255 bytes. Default: the advertised address.
    pub name: *const c_char,
    /// "host:port,host:port": nodes that may be there already; a DNS name may stand for several. Default: none.
    pub seeds: *const c_char,
    /// Shared secret of all members, never sent. Default: the environment's CONCORD_COOKIE. There must be one.
    pub cookie: *const c_char,
    /// PEM file: certificate chain of this node. TLS needs all three files; without them nothing is encrypted, which is
    /// for trusted networks only.
    pub tls_certificate: *const c_char,
    /// PEM file: its private key, readable by its owner only.
    pub tls_private_key: *const c_char,
    /// PEM file: certificates of the authority that signs all members and clients.
    pub tls_authority: *const c_char,
    /// Not 0: a member's certificate must be valid for "<node id>.node.concord".
    pub tls_verify_node_id: i32,
    /// How many nodes found a new cluster together, 1 to 9; 0 joins an existing one only.
    pub bootstrap_expect: u32,
    /// Not 0: nodes on the local network find each other by multicast.
    pub multicast: i32,
    /// UDP port of the multicast group. Default: 45,892.
    pub multicast_port: u32,
    /// IPv4 address of the multicast group. Default: "239.255.67.79".
    pub multicast_group: *const c_char,
    /// Followers that hear nothing for this long elect a new leader, milliseconds, 100 to 60,000. Default: 200.
    pub election_timeout_ms: u64,
    /// A concord_promote.
    pub promote: i32,
    /// Keep it 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_cluster_options {
    const NAME: &'static str = "concord_cluster_options";
}

/// The core's cluster configuration; NULL gives `None`.
///
/// # Safety
/// As [`copied`]; each text is NULL or NUL-terminated.
pub(crate) unsafe fn cluster_configuration(options: *const concord_cluster_options) -> Outcome<Option<ClusterConfig>> {
    // SAFETY: the same promise.
    let Some(given) = unsafe { copied(options) }? else { return Ok(None) };
    if given.reserved != 0 {
        return Err(Failure::argument("reserved is not 0"));
    }
    let mut config = ClusterConfig::default();
    // SAFETY: each text is NULL or NUL-terminated, as the caller promised.
    let [listen, advertise, name, seeds, cookie, group] = unsafe {
        [
            text(given.listen, "listen")?,
            text(given.advertise, "advertise")?,
            text(given.name, "name")?,
            text(given.seeds, "seeds")?,
            text(given.cookie, "cookie")?,
            text(given.multicast_group, "multicast_group")?,
        ]
    };
    if let Some(listen) = listen {
        config.listen = listen.to_owned();
    }
    config.advertise = advertise.map(str::to_owned);
    config.name = name.map(str::to_owned);
    config.seeds = parts(seeds.unwrap_or_default());
    config.cookie = Secret::new(cookie.unwrap_or_default());
    // SAFETY: the same promise.
    config.tls = unsafe { tls(given.tls_certificate, given.tls_private_key, given.tls_authority) }?
        .map(|tls| TlsConfig { verify_node_id: given.tls_verify_node_id != 0, ..tls });
    config.bootstrap_expect = given.bootstrap_expect as usize;
    config.multicast = multicast(given.multicast != 0, group, given.multicast_port)?;
    config.election_timeout_ms = nonzero(given.election_timeout_ms).unwrap_or(config.election_timeout_ms);
    config.promote = match given.promote {
        0 | 1 => true,
        2 => false,
        other => return Err(Failure::argument(format!("promote {other} is none of concord_promote"))),
    };
    Ok(Some(config))
}

/// The parts of a list that is separated by commas.
fn parts(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn multicast(wanted: bool, group: Option<&str>, port: u32) -> Outcome<Option<Multicast>> {
    if !wanted {
        let is_set = group.is_some() || port != 0;
        return if is_set {
            Err(Failure::argument("multicast_group and multicast_port go with multicast"))
        } else {
            Ok(None)
        };
    }
    let mut multicast = Multicast::default();
    if let Some(group) = group {
        let address = group.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_multicast);
        multicast.group = address
            .ok_or_else(|| Failure::argument("multicast_group is an address of 224.0.0.0 to 239.255.255.255"))?;
    }
    if port != 0 {
        multicast.port = u16::try_from(port).map_err(|_| Failure::argument("multicast_port is at most 65535"))?;
    }
    Ok(Some(multicast))
}

/// The files of TLS: all three or none.
///
/// # Safety
/// Each is NULL or NUL-terminated.
pub(crate) unsafe fn tls(
    certificate: *const c_char,
    private_key: *const c_char,
    authority: *const c_char,
) -> Outcome<Option<TlsConfig>> {
    // SAFETY: the same promise.
    match unsafe { [path(certificate), path(private_key), path(authority)] } {
        [None, None, None] => Ok(None),
        [Some(certificate), Some(private_key), Some(authority)] => {
            Ok(Some(TlsConfig { certificate, private_key, authority, verify_node_id: false }))
        }
        _ => Err(Failure::argument("TLS needs tls_certificate, tls_private_key and tls_authority together")),
    }
}

/// Whether this node serves: it belongs to a cluster, has caught up, and knows a leader that a majority follows. A
/// store without cluster is ready when it is open; a client is when it reaches a member.
///
/// - `out_is_ready`: receives it; false on failure.
///
/// Errors: CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_is_ready(db: *const concord_db, out_is_ready: *mut bool) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable.
        let place = unsafe { out(out_is_ready, "out_is_ready", false) }?;
        *place = store(db)?.cluster().is_ready();
        Ok(())
    })
}

/// Waits until concord_is_ready() holds.
///
/// - `timeout_ms`: 0 is 5,000.
///
/// Errors: CONCORD_TIMEOUT when it takes longer (the message says what is missing), CONCORD_CLOSED,
/// CONCORD_INVALID_CONFIG. Blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_wait_ready(db: *const concord_db, timeout_ms: u64) -> concord_status {
    enter(|| Ok(store(db)?.cluster().wait_ready(wait_ms(timeout_ms))?))
}

/// Whether reads at this level answer without waiting for the network. Programs that must not block take
/// concord_get_async() when they do not. An error at once is an answer as well, so a closed handle says true.
///
/// - `consistency`: a concord_consistency.
///
/// Costs less than a read. What it says may be over a moment later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_reads_at_once(db: *const concord_db, consistency: i32) -> bool {
    enter_or(true, || {
        let (Ok(db), Ok(consistency)) = (store(db), consistency_of(consistency)) else { return true };
        db.kv().reads_at_once(&concord_kv::ReadOptions { consistency, timeout_ms: None })
    })
}

/// Takes a node in that listens at an address and belongs to no cluster yet: as a learner first, promoted when it has
/// caught up. Nodes that were opened with `seeds` do this by themselves.
///
/// - `address`: "host:port", NUL-terminated.
/// - `timeout_ms`: 0 is 5,000.
/// - `out_node_id`: receives its node id; may be NULL.
///
/// Any member and any client can be asked, as for all concord_cluster_*: they block until the change is committed and
/// answer CONCORD_CLUSTER_NOT_READY when there is no majority, CONCORD_TIMEOUT, CONCORD_UNKNOWN_OUTCOME when no answer
/// came in time (look at concord_members_json()), CONCORD_CLOSED, CONCORD_INVALID_CONFIG for wrong arguments. Errors
/// beside those: CONCORD_CLUSTER_NOT_READY when the node cannot be reached, CONCORD_INVALID_CONFIG when it belongs to
/// another cluster.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_cluster_add(
    db: *const concord_db,
    address: *const c_char,
    timeout_ms: u64,
    out_node_id: *mut u64,
) -> concord_status {
    enter(|| {
        if !out_node_id.is_null() {
            // SAFETY: the caller's variable.
            unsafe { out(out_node_id, "out_node_id", 0) }?;
        }
        let db = store(db)?;
        // SAFETY: NULL or NUL-terminated, as documented.
        let address = unsafe { text(address, "address") }?.ok_or_else(|| Failure::argument("address is NULL"))?;
        let node_id = db.cluster().add(address, nonzero(timeout_ms))?;
        if !out_node_id.is_null() {
            // SAFETY: the caller's variable, judged above.
            unsafe { out_node_id.write(node_id) };
        }
        Ok(())
    })
}

/// Makes a learner that has caught up a voter.
///
/// - `node_id`: as in concord_members_json().
/// - `timeout_ms`: 0 is 5,000.
///
/// Errors beside those named at concord_cluster_add(): CONCORD_NOT_FOUND when it is no member,
/// CONCORD_CLUSTER_NOT_READY while it lags behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_cluster_promote(
    db: *const concord_db,
    node_id: u64,
    timeout_ms: u64,
) -> concord_status {
    enter(|| Ok(store(db)?.cluster().promote(node_id, nonzero(timeout_ms))?))
}

/// Removes a member for good, whether it runs or not. It is told, stops serving, and can come back only with an empty
/// data directory.
///
/// - `node_id`: as in concord_members_json().
/// - `timeout_ms`: 0 is 5,000.
///
/// Errors beside those named at concord_cluster_add(): CONCORD_NOT_FOUND when it is no member, CONCORD_INVALID_CONFIG
/// for the last voter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_cluster_remove(
    db: *const concord_db,
    node_id: u64,
    timeout_ms: u64,
) -> concord_status {
    enter(|| Ok(store(db)?.cluster().remove(node_id, nonzero(timeout_ms))?))
}

/// Puts a learner that has caught up in the place of a voter, in one step: the way back for a node that lost its disk.
///
/// - `old_node_id`, `new_node_id`: as in concord_members_json().
/// - `timeout_ms`: 0 is 5,000.
///
/// Errors beside those named at concord_cluster_add(): CONCORD_NOT_FOUND when one of them is no member,
/// CONCORD_CLUSTER_NOT_READY while the new one lags behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_cluster_replace(
    db: *const concord_db,
    old_node_id: u64,
    new_node_id: u64,
    timeout_ms: u64,
) -> concord_status {
    enter(|| Ok(store(db)?.cluster().replace(old_node_id, new_node_id, nonzero(timeout_ms))?))
}

/// Hands leadership to a voter.
///
/// - `node_id`: as in concord_members_json(); 0: the one that is furthest.
/// - `timeout_ms`: 0 is 5,000.
///
/// Errors beside those named at concord_cluster_add(): CONCORD_NOT_FOUND when it is no voter,
/// CONCORD_CLUSTER_NOT_READY when it did not take over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_cluster_transfer_leadership(
    db: *const concord_db,
    node_id: u64,
    timeout_ms: u64,
) -> concord_status {
    enter(|| Ok(store(db)?.cluster().transfer_leadership(nonzero(node_id), nonzero(timeout_ms))?))
}

/// Leaves the cluster for good: hands leadership over and is removed from the members. Close the store afterwards.
/// Stopping for a while needs only concord_close().
///
/// - `timeout_ms`: 0 is 5,000.
///
/// Errors beside those named at concord_cluster_add(): CONCORD_INVALID_CONFIG for the last voter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_cluster_leave(db: *const concord_db, timeout_ms: u64) -> concord_status {
    enter(|| Ok(store(db)?.cluster().leave(nonzero(timeout_ms))?))
}

fn wait_ms(timeout_ms: u64) -> u64 {
    nonzero(timeout_ms).unwrap_or(concord_kv::limits::TIMEOUT_MS_DEFAULT)
}
