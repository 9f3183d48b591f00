//! Store: the handle that Elixir holds, and opening, connecting and closing it.

use concord_kv::{Compression, Concord, limits};

use crate::atoms::atoms;
use crate::call::{Answer, Stop, explained, nif, succeeded};
use crate::env::{Env, Term};
use crate::resource::ResourceType;
use crate::settings;

/// An open store, or a client of one.
pub(crate) struct Store {
    pub(crate) db: Concord,
    /// Whether it keeps nothing here, so that whatever is asked may have to wait for a member.
    pub(crate) is_client: bool,
    pub(crate) value_bytes_max: usize,
    pub(crate) compression: Compression,
}

pub(crate) static STORE: ResourceType<Store> = ResourceType::new(c"concord_store");

impl Drop for Store {
    /// The last reference is gone. Closing waits for threads, which a scheduler must not.
    fn drop(&mut self) {
        let db = self.db.clone();
        let close = move || {
            // Nobody is left to tell.
            let _ = db.close();
        };
        if std::thread::Builder::new().name("concord-close".into()).spawn(close).is_err() {
            let _ = self.db.close();
        }
    }
}

/// The store of a handle.
#[inline]
pub(crate) fn store<'a>(env: Env, handle: Term) -> Answer<&'a Store> {
    STORE.get(env, handle).ok_or(Stop::Misused)
}

nif! {
    /// `open({data_dir, durability, consistency, {enabled, algorithm, threshold, level}, value_bytes_max,
    /// expiry_interval_ms, snapshot_log_bytes, nil | cluster})` -> `{:ok, handle} | {:error, {kind, message}}`; for the
    /// cluster see `settings`. Dirty: waits for files.
    open, |env, &[settings]| {
        let config = settings::config(env, settings)?;
        let (value_bytes_max, compression) = (config.value_bytes_max, config.compression);
        Ok(match Concord::open(config) {
            Ok(db) => succeeded(env, STORE.make(Store { db, is_client: false, value_bytes_max, compression }).term(env)),
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `connect({addresses, cookie, nil | tls, consistency, compression, timeout_ms})` -> as `open`. Dirty: waits for a member.
    connect, |env, &[settings]| {
        let config = settings::client(env, settings)?;
        let compression = config.compression;
        // What a value may take is the members' to say.
        let value_bytes_max = limits::VALUE_BYTES_MAX_CEILING;
        Ok(match Concord::connect(config) {
            Ok(db) => succeeded(env, STORE.make(Store { db, is_client: true, value_bytes_max, compression }).term(env)),
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `close(handle)` -> `:ok`. Dirty: waits for the writes that are on their way.
    close, |env, &[handle]| {
        store(env, handle)?.db.close()?;
        Ok(atoms().ok)
    }
}
