//! Store: opening, closing and looking at a whole store.

use std::ffi::{CStr, OsStr, c_char};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use concord_kv::{Concord, Config, Member, Serving, Status, Value, encode_value, value_to_json};

use crate::bytes::{concord_buffer, out};
use crate::handle::{DBS, Pinned};
use crate::options::{concord_open_options, configuration};
use crate::status::{Failure, Outcome, concord_status, enter};

/// An open store, or a client of a cluster. Any number of threads may use it at once.
pub struct concord_db;

/// What is behind a handle: the store in somebody's name.
pub(crate) struct Db {
    concord: Concord,
    /// The handle that the store was opened with; `None` in that one itself.
    pub(crate) owner: Option<usize>,
    serving: Option<Serving>,
    pub(crate) api_address: Option<SocketAddr>,
    pub(crate) prometheus_address: Option<SocketAddr>,
}

impl Db {
    /// A store, or a client, that this handle closes.
    pub(crate) fn opened(concord: Concord, serving: Option<Serving>) -> Db {
        let api_address = serving.as_ref().and_then(Serving::address);
        let prometheus_address = serving.as_ref().and_then(Serving::metrics_address);
        Db { concord, owner: None, serving, api_address, prometheus_address }
    }

    /// The same store in another name.
    pub(crate) fn derived(&self, owner: usize, concord: Concord) -> Db {
        let (api_address, prometheus_address) = (self.api_address, self.prometheus_address);
        Db { concord, owner: Some(owner), serving: None, api_address, prometheus_address }
    }
}

impl Deref for Db {
    type Target = Concord;

    #[inline]
    fn deref(&self) -> &Concord {
        &self.concord
    }
}

/// The store behind a handle, held open for as long as the answer lives.
#[inline]
pub(crate) fn store(db: *const concord_db) -> Outcome<Pinned<Db>> {
    DBS.pin(db.addr())
}

/// Opens a store and waits until it can serve.
///
/// - `data_dir`: NUL-terminated directory, created with mode 0700 when it does not exist. NULL: the environment's
///   CONCORD_DATA_DIR, else a store in memory, which is empty each time.
/// - `options`: NULL for the defaults.
/// - `out_db`: receives the handle, to be closed with concord_close(); NULL on failure.
///
/// What is not set here is taken from the environment's CONCORD_* variables, HTTP and `auth_enabled` included. Errors:
/// CONCORD_LOCKED when the directory is open already, CONCORD_CORRUPT when what it holds is damaged (nothing
/// is changed then), CONCORD_IO, CONCORD_INVALID_CONFIG, also for an HTTP address that is taken. Blocks while the log is read. A member of a cluster may still
/// look for the others when this returns: concord_wait_ready().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_open(
    data_dir: *const c_char,
    options: *const concord_open_options,
    out_db: *mut *mut concord_db,
) -> concord_status {
    enter(|| {
        // SAFETY: `out_db` is NULL or the caller's pointer variable.
        let place = unsafe { out(out_db, "out_db", ptr::null_mut()) }?;
        let mut base = Config::default();
        if !data_dir.is_null() {
            // SAFETY: not NULL, and NUL-terminated as documented.
            let path = unsafe { CStr::from_ptr(data_dir) }.to_bytes();
            if path.is_empty() {
                return Err(Failure::argument("data_dir is empty; pass NULL for a store in memory"));
            }
            base.data_dir = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        // SAFETY: `options` is NULL or the caller's struct, which carries its size.
        let config = unsafe { configuration(base, options) }?;
        let concord = Concord::open(config.clone())?;
        let serving = Serving::start(&concord, &config)?;
        *place = ptr::without_provenance_mut(DBS.insert(Db::opened(concord, serving))?);
        Ok(())
    })
}

/// Closes a store: what is acknowledged is safe, the directory is free for others when it returns. Calls of other
/// threads that are under way end with their answer, with CONCORD_CLOSED or CONCORD_UNKNOWN_OUTCOME; scans and queues
/// of this store answer CONCORD_CLOSED from now on and are still to be closed. Handles that concord_with_token() and
/// concord_as_admin() made of it are closed with it, whoever made them. HTTP requests that are under way get up to five
/// seconds.
///
/// Of such a handle itself this closes no more than the handle: the store stays open, and so do its other handles.
///
/// Errors: CONCORD_CLOSED when it was closed before, also with its store, CONCORD_INVALID_CONFIG for NULL. Blocks until
/// the log is written. Not from within a concord_read_fn.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_close(db: *mut concord_db) -> concord_status {
    enter(|| {
        let store = DBS.remove(db.addr())?;
        if store.owner.is_some() {
            return Ok(());
        }
        DBS.remove_all(|other| other.owner == Some(db.addr()));
        // Requests that are under way are answered while the store is open.
        store.serving.iter().for_each(Serving::close);
        Ok(store.close()?)
    })
}

pub(crate) fn printed(value: &Value) -> Outcome<concord_buffer> {
    concord_buffer::copy(value_to_json(&encode_value(value)?)?.as_bytes())
}

pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn members_value(members: &[Member]) -> Value {
    let member = |member: &Member| {
        object([
            ("node", member.node_id.into()),
            ("address", member.address.as_str().into()),
            ("name", member.name.as_str().into()),
            ("role", member.role.name().into()),
            ("leader", member.is_leader.into()),
            ("matched_index", member.matched_index.into()),
            ("lag", member.lag.into()),
            ("last_contact_ms", member.last_contact_ms.into()),
        ])
    };
    Value::List(members.iter().map(member).collect())
}

fn status_value(status: &Status) -> Value {
    let raft = &status.raft;
    let cluster = object([
        ("id", format!("{:032x}", status.cluster_id).into()),
        ("state", raft.state.name().into()),
        ("ready", raft.is_ready.into()),
        ("leader", raft.leader.into()),
        ("term", raft.term.into()),
        ("commit_index", raft.commit_index.into()),
        ("last_applied", raft.last_applied.into()),
        ("snapshot_index", raft.snapshot_index.into()),
        ("snapshot_state", raft.snapshot_state.name().into()),
        ("members", members_value(&raft.members)),
    ]);
    let storage = object([
        ("size", status.size.into()),
        ("memory", status.memory_bytes.into()),
        ("revision", status.revision.into()),
        ("log_bytes", status.log_bytes.into()),
        ("repaired", status.repaired.as_deref().into()),
        ("failure", status.failure.as_deref().into()),
    ]);
    object([("cluster", cluster), ("storage", storage), ("node", raft.node_id.into())])
}

/// What the store is doing, as a JSON object: cluster (id, state, ready, leader, term, ..., members), storage, node.
/// Sizes are bytes.
///
/// - `out_json`: receives the text; free it with concord_buffer_free().
///
/// Errors: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not wait for the disk; a
/// client asks a member and may answer
/// CONCORD_TIMEOUT and CONCORD_CLUSTER_NOT_READY as well.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_status_json(db: *const concord_db, out_json: *mut concord_buffer) -> concord_status {
    enter(|| {
        // SAFETY: `out_json` is NULL or the caller's buffer variable.
        let place = unsafe { out(out_json, "out_json", concord_buffer::EMPTY) }?;
        *place = printed(&status_value(&store(db)?.status()?))?;
        Ok(())
    })
}

/// The cluster's members, as a JSON array of objects: node (its id), address, name, role, leader; and, as the leader told
/// last or null, matched_index, lag (entries behind the leader) and last_contact_ms.
///
/// - `out_json`: receives the text; free it with concord_buffer_free().
///
/// Errors and blocking: as concord_status_json().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_members_json(db: *const concord_db, out_json: *mut concord_buffer) -> concord_status {
    enter(|| {
        // SAFETY: `out_json` is NULL or the caller's buffer variable.
        let place = unsafe { out(out_json, "out_json", concord_buffer::EMPTY) }?;
        *place = printed(&members_value(&store(db)?.members()?))?;
        Ok(())
    })
}
