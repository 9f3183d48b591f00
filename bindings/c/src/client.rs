//! Client: a store that lives elsewhere, behind the same handle.

use std::ffi::c_char;
use std::ptr;

use concord_kv::{ClientConfig, Concord, Consistency, Secret, TlsConfig};

use crate::bytes::{out, text};
use crate::cluster::tls;
use crate::handle::DBS;
use crate::options::{OptionStruct, compression_of, consistency_of, copied, nonzero};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::concord_db;

/// Options of concord_connect(). Zero or NULL in a field means its default. Texts are NUL-terminated UTF-8, borrowed
/// until concord_connect() returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_client_options {
    /// sizeof(concord_client_options)
    pub size: usize,
    /// The cluster's shared secret, never sent. Default: the environment's CONCORD_COOKIE. There must be one.
    pub cookie: *const c_char,
    /// PEM file: certificate chain of this client. TLS needs all three files. Default: the environment's
    /// CONCORD_TLS_CERTIFICATE, CONCORD_TLS_PRIVATE_KEY and CONCORD_TLS_AUTHORITY, else no encryption.
    pub tls_certificate: *const c_char,
    /// PEM file: its private key, readable by its owner only.
    pub tls_private_key: *const c_char,
    /// PEM file: certificates of the authority that signs all members and clients.
    pub tls_authority: *const c_char,
    /// Not 0: a member's certificate must be valid for "<node id>.node.concord".
    pub tls_verify_node_id: i32,
    /// A concord_consistency: the level of reads that name none. Default: leader.
    pub consistency: i32,
    /// Longest wait for the first member to answer, milliseconds, at most 600,000. Default: 5,000.
    pub connect_timeout_ms: u64,
    /// A concord_compression: how this client compresses what it writes. Default: zlib.
    pub compression: i32,
    /// 1 (fast) to 9 (small). Default: 6.
    pub compression_level: u32,
    /// Values larger than this are compressed, bytes. Default: 1,024.
    pub compression_threshold_bytes: usize,
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_client_options {
    const NAME: &'static str = "concord_client_options";
}

/// The core's client configuration. The environment's variables are defaults for what is not set here.
///
/// # Safety
/// As [`copied`]; each text is NULL or NUL-terminated.
unsafe fn client_configuration(addresses: &str, options: *const concord_client_options) -> Outcome<ClientConfig> {
    let mut config = ClientConfig::new(addresses, Secret::default());
    // SAFETY: the same promise.
    let Some(given) = unsafe { copied(options) }? else { return Ok(config.or_environment()?) };
    // SAFETY: the same promise.
    config.cookie = Secret::new(unsafe { text(given.cookie, "cookie") }?.unwrap_or_default());
    // SAFETY: the same promise.
    config.tls = unsafe { tls(given.tls_certificate, given.tls_private_key, given.tls_authority) }?;
    config.default_read_consistency = consistency_of(given.consistency)?.unwrap_or(Consistency::Leader);
    config.connect_timeout_ms = nonzero(given.connect_timeout_ms).unwrap_or(config.connect_timeout_ms);
    config.compression = compression_of(given.compression, given.compression_level, given.compression_threshold_bytes)?;
    let config = config.or_environment()?;
    let tls = config.tls.map(|tls| TlsConfig { verify_node_id: given.tls_verify_node_id != 0, ..tls });
    Ok(ClientConfig { tls, ..config })
}

/// Reaches a cluster without being a member of it. The handle is used like one of concord_open(): the same verbs,
/// nothing kept here. It follows the leader, survives fail-over and spreads eventual reads over the members.
///
/// - `addresses`: "host:port,host:port" of some members, NUL-terminated; the others are learned from them.
/// - `options`: NULL for the defaults.
/// - `out_db`: receives the handle, to be closed with concord_close(); NULL on failure.
///
/// Errors: CONCORD_UNAUTHORIZED when the cookie is not the cluster's, CONCORD_TIMEOUT when nobody answers in time,
/// CONCORD_CLUSTER_NOT_READY, CONCORD_INVALID_CONFIG. Blocks until a member has answered. After fork() the child
/// connects by itself, as with stores.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_connect(
    addresses: *const c_char,
    options: *const concord_client_options,
    out_db: *mut *mut concord_db,
) -> concord_status {
    enter(|| {
        // SAFETY: `out_db` is NULL or the caller's pointer variable.
        let place = unsafe { out(out_db, "out_db", ptr::null_mut()) }?;
        // SAFETY: NULL or NUL-terminated, as documented.
        let addresses = unsafe { text(addresses, "addresses") }?
            .ok_or_else(|| Failure::argument("addresses is NULL; name a member as host:port"))?;
        // SAFETY: `options` is NULL or the caller's struct, which carries its size.
        let config = unsafe { client_configuration(addresses, options) }?;
        let id = DBS.insert(Concord::connect(config)?)?;
        *place = ptr::without_provenance_mut(id);
        Ok(())
    })
}
