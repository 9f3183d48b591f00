//! Store: the handle that Elixir holds, and opening, connecting and closing it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use concord_kv::{Compression, Concord, Config, Result, Serving, limits};

use crate::atoms::atoms;
use crate::call::{Answer, Stop, explained, nif, succeeded};
use crate::env::{Env, Term};
use crate::holders::Holders;
use crate::resource::ResourceType;
use crate::settings;

/// An open store, or a client of one; its own handle, or that of the holder of a token.
pub(crate) struct Store {
    pub(crate) db: Concord,
    /// Whether it keeps nothing here, so that whatever is asked may have to wait for a member.
    pub(crate) is_client: bool,
    pub(crate) value_bytes_max: usize,
    pub(crate) compression: Compression,
    /// What ends with the store. The holder of a token owns nothing.
    pub(crate) owned: Option<Belongings>,
}

/// What ends with the store.
#[derive(Default)]
pub(crate) struct Belongings {
    pub(crate) holders: Holders,
    serving: Mutex<Option<Serving>>,
    /// Whether HTTP is served under TLS.
    is_https: bool,
}

pub(crate) static STORE: ResourceType<Store> = ResourceType::new(c"concord_store");

impl Store {
    fn open(config: Config) -> Result<Store> {
        let (value_bytes_max, compression) = (config.value_bytes_max, config.compression);
        let db = Concord::open(config.clone())?;
        let serving = Serving::start(&db, &config).inspect_err(|_| {
            // It never was anybody's.
            let _ = db.close();
        })?;
        let is_https = config.http.tls.is_some();
        let owned = Belongings { holders: Holders::default(), serving: Mutex::new(serving), is_https };
        Ok(Store { db, is_client: false, value_bytes_max, compression, owned: Some(owned) })
    }

    /// The same store for the holder of a token, through this handle.
    pub(crate) fn held(&self, db: Concord) -> Store {
        let Store { is_client, value_bytes_max, compression, .. } = *self;
        Store { db, is_client, value_bytes_max, compression, owned: None }
    }

    /// What is asked over HTTP gets its answer before the store goes.
    fn close(&self) -> Result<()> {
        if let Some(owned) = &self.owned {
            let serving = owned.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(serving) = serving {
                serving.close();
            }
            owned.holders.close();
        }
        self.db.close()
    }
}

impl Drop for Store {
    /// The last reference is gone. Closing waits for threads, which a scheduler must not.
    fn drop(&mut self) {
        let (db, owned) = (self.db.clone(), self.owned.take());
        if owned.is_none() && !self.is_client {
            return;
        }
        let close = move || {
            let Some(owned) = owned else { return drop(db) };
            let serving = owned.serving.into_inner().unwrap_or_else(PoisonError::into_inner);
            serving.inspect(Serving::close);
            owned.holders.close();
            // Nobody is left to tell.
            let _ = db.close();
        };
        // Without a thread it all ends here: the last handle closes the store.
        let _ = std::thread::Builder::new().name("concord-close".into()).spawn(close);
    }
}

/// The store of a handle.
#[inline]
pub(crate) fn store<'a>(env: Env, handle: Term) -> Answer<&'a Store> {
    STORE.get(env, handle).ok_or(Stop::Misused)
}

nif! {
    /// `open({data_dir, durability, consistency, {enabled, algorithm, threshold, level}, value_bytes_max,
    /// expiry_interval_ms, snapshot_log_bytes, nil | cluster, {auth_enabled, local_socket}, {telemetry_enabled, hot_keys,
    /// metrics_keys}, nil | http})` -> `{:ok, handle} | {:error, {kind, message}}`; for cluster and HTTP see `settings`.
    /// Dirty: waits for files.
    open, |env, &[settings]| {
        let config = settings::config(env, settings)?;
        Ok(match Store::open(config) {
            Ok(store) => succeeded(env, STORE.make(store).term(env)),
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `connect({nil | data_dir, addresses, cookie, nil | token, nil | tls, consistency, compression, timeout_ms})` -> as
    /// `open`. Dirty: waits for a member.
    connect, |env, &[settings]| {
        let config = settings::client(env, settings)?;
        let compression = config.compression;
        // What a value may take is the members' to say.
        let value_bytes_max = limits::VALUE_BYTES_MAX_CEILING;
        Ok(match Concord::connect(config) {
            Ok(db) => {
                let owned = Some(Belongings::default());
                succeeded(env, STORE.make(Store { db, is_client: true, value_bytes_max, compression, owned }).term(env))
            }
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `close(handle)` -> `:ok`. Dirty: waits for the writes that are on their way.
    close, |env, &[handle]| {
        store(env, handle)?.close()?;
        Ok(atoms().ok)
    }
}

nif! {
    /// `serving(handle)` -> `{api | nil, metrics | nil}`: where HTTP is served, as `"http://ip:port"`.
    serving, |env, &[handle]| {
        let nil = atoms().nil;
        let Some(owned) = &store(env, handle)?.owned else { return Ok(env.make_tuple(&[nil, nil])) };
        let serving = owned.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let scheme = if owned.is_https { "https" } else { "http" };
        let url = |address: Option<SocketAddr>| {
            address.map_or(nil, |address| env.make_binary(format!("{scheme}://{address}").as_bytes()))
        };
        let (api, metrics) = serving.as_ref().map_or((None, None), |it| (it.address(), it.metrics_address()));
        Ok(env.make_tuple(&[url(api), url(metrics)]))
    }
}
