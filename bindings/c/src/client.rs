//! Client: a store that lives elsewhere, behind the same handle.

use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr;

use concord_kv::{ClientConfig, Concord, Consistency, Secret, TlsConfig};

use crate::bytes::{out, path, text};
use crate::cluster::tls;
use crate::handle::DBS;
use crate::options::{OptionStruct, compression_of, consistency_of, copied, nonzero};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::{Db, concord_db};

/// Options of concord_connect(). Zero or NULL in a field means its default. Texts are NUL-terminated UTF-8, borrowed
/// until concord_connect() returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_client_options {
    /// sizeof(concord_client_options)
    pub size: usize,
    /// The cluster's shared secret, never sent: whoever has it may do everything. Default: without a token the
    /// environment's CONCORD_TOKEN, else its CONCORD_COOKIE. There must be one of the two, and not both.
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
    /// A token ("sk_concord_...") instead of the cookie, never sent either: the members allow what it allows.
    pub token: *const c_char,
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_client_options {
    const NAME: &'static str = "concord_client_options";
    const EARLIER_BYTES: &'static [usize] = &[offset_of!(concord_client_options, token)];
}

/// What the options say, over how to reach what is to be reached, and whether node ids are verified.
///
/// # Safety
/// As [`copied`]; each text is NULL or NUL-terminated.
unsafe fn given(mut config: ClientConfig, options: *const concord_client_options) -> Outcome<(ClientConfig, bool)> {
    // SAFETY: the same promise.
    let Some(given) = unsafe { copied(options) }? else { return Ok((config, false)) };
    // SAFETY: the same promise.
    let (cookie, token) = unsafe { (text(given.cookie, "cookie")?, text(given.token, "token")?) };
    config.cookie = Secret::new(cookie.unwrap_or_default());
    config.token = token.map(Secret::new);
    // SAFETY: the same promise.
    config.tls = unsafe { tls(given.tls_certificate, given.tls_private_key, given.tls_authority) }?;
    config.default_read_consistency = consistency_of(given.consistency)?.unwrap_or(Consistency::Leader);
    config.connect_timeout_ms = nonzero(given.connect_timeout_ms).unwrap_or(config.connect_timeout_ms);
    config.compression = compression_of(given.compression, given.compression_level, given.compression_threshold_bytes)?;
    Ok((config, given.tls_verify_node_id != 0))
}

fn connected(config: ClientConfig) -> Outcome<*mut concord_db> {
    let id = DBS.insert(Db::opened(Concord::connect(config)?, None))?;
    Ok(ptr::without_provenance_mut(id))
}

/// Reaches a cluster without being a member of it. The handle is used like one of concord_open(): the same verbs,
/// nothing kept here. It follows the leader, survives fail-over and spreads eventual reads over the members.
///
/// - `addresses`: "host:port,host:port" of some members, NUL-terminated; the others are learned from them.
/// - `options`: NULL for the defaults.
/// - `out_db`: receives the handle, to be closed with concord_close(); NULL on failure.
///
/// Errors: CONCORD_UNAUTHORIZED when the cookie is not the cluster's or the token is not valid, CONCORD_TIMEOUT when nobody answers in time,
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
        let (config, verify_node_id) = unsafe { given(ClientConfig::new(addresses, Secret::default()), options) }?;
        let config = config.or_environment()?;
        let tls = config.tls.map(|tls| TlsConfig { verify_node_id, ..tls });
        *place = connected(ClientConfig { tls, ..config })?;
        Ok(())
    })
}

/// Reaches the store that another program of the same user, or this one, has open in a directory of this machine, through
/// the socket concord.sock there. It gives every right. The handle is like that of concord_connect().
///
/// - `data_dir`: the directory, NUL-terminated.
/// - `options`: NULL for the defaults; its cookie and TLS are not used, a token is refused.
/// - `out_db`: receives the handle, to be closed with concord_close(); NULL on failure.
///
/// The environment is not looked at. Errors: CONCORD_NOPROC when no store is open there, CONCORD_IO when this user may
/// not reach it, CONCORD_TIMEOUT, CONCORD_INVALID_CONFIG. Blocks until the store has answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_connect_local(
    data_dir: *const c_char,
    options: *const concord_client_options,
    out_db: *mut *mut concord_db,
) -> concord_status {
    enter(|| {
        // SAFETY: `out_db` is NULL or the caller's pointer variable.
        let place = unsafe { out(out_db, "out_db", ptr::null_mut()) }?;
        // SAFETY: NULL or NUL-terminated, as documented.
        let data_dir = unsafe { path(data_dir) }
            .ok_or_else(|| Failure::argument("data_dir is NULL or empty; name the directory of an open store"))?;
        // SAFETY: `options` is NULL or the caller's struct, which carries its size.
        let (config, _) = unsafe { given(ClientConfig::local(data_dir), options) }?;
        *place = connected(config)?;
        Ok(())
    })
}
