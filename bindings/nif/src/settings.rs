//! Settings: what a store or a client is opened with, from the tuples that `Concord.Config` makes.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use concord_kv::{ClientConfig, ClusterConfig, Compression, CompressionAlgorithm, Config, Durability};
use concord_kv::{HttpConfig, HttpTlsConfig, Multicast, Secret, TlsConfig};

use crate::atoms::atoms;
use crate::call::{Answer, Stop, consistency};
use crate::env::{Env, Term};

/// A store, from the argument of `open`.
pub(crate) fn config(env: Env, settings: Term) -> Answer<Config> {
    let atoms = atoms();
    let Some(
        &[
            data_dir,
            durability,
            level,
            compression,
            value_bytes_max,
            expiry_ms,
            snapshot_bytes,
            cluster,
            access,
            telemetry,
            http,
        ],
    ) = env.tuple(settings)
    else {
        return Err(Stop::Misused);
    };
    let (Some(&[auth_enabled, local_socket]), Some(&[telemetry_enabled, hot_keys, metrics_keys])) =
        (env.tuple(access), env.tuple(telemetry))
    else {
        return Err(Stop::Misused);
    };
    let durability = match durability {
        term if term == atoms.always => Durability::Always,
        term if term == atoms.memory => Durability::Memory,
        term => Durability::Interval { interval_ms: uint(env, term)? },
    };
    Ok(Config {
        data_dir: optional(env, data_dir, path)?,
        durability,
        default_read_consistency: consistency(level)?,
        compression: compression_of(env, compression)?,
        value_bytes_max: number(env, value_bytes_max)?,
        expiry_interval_ms: uint(env, expiry_ms)?,
        snapshot_log_bytes: uint(env, snapshot_bytes)?,
        cluster: optional(env, cluster, cluster_of)?,
        auth_enabled: flag(auth_enabled)?,
        local_socket: flag(local_socket)?,
        http: optional(env, http, http_of)?.unwrap_or_default(),
        telemetry_enabled: flag(telemetry_enabled)?,
        hot_keys: flag(hot_keys)?,
        metrics_keys: flag(metrics_keys)?,
        ..Config::default()
    })
}

/// HTTP, from `{nil | {ip, port}, nil | {ip, port} of the metrics, nil | {certificate, private_key}, body_bytes_max,
/// connections_max, allow_open}`.
fn http_of(env: Env, settings: Term) -> Answer<HttpConfig> {
    let Some(&[listen, metrics_listen, tls, body_bytes_max, connections_max, allow_open]) = env.tuple(settings) else {
        return Err(Stop::Misused);
    };
    Ok(HttpConfig {
        listen: optional(env, listen, address)?,
        metrics_listen: optional(env, metrics_listen, address)?,
        tls: optional(env, tls, http_tls_of)?,
        body_bytes_max: number(env, body_bytes_max)?,
        connections_max: number(env, connections_max)?,
        allow_open: flag(allow_open)?,
    })
}

/// `{ip, port}`
fn address(env: Env, term: Term) -> Answer<SocketAddr> {
    let Some(&[ip, port]) = env.tuple(term) else { return Err(Stop::Misused) };
    let ip: IpAddr = text(env, ip)?.parse().map_err(|_| Stop::Misused)?;
    let port = uint(env, port)?.try_into().map_err(|_| Stop::Misused)?;
    Ok(SocketAddr::new(ip, port))
}

/// `{certificate, private_key}`
fn http_tls_of(env: Env, term: Term) -> Answer<HttpTlsConfig> {
    let Some(&[certificate, private_key]) = env.tuple(term) else { return Err(Stop::Misused) };
    Ok(HttpTlsConfig { certificate: path(env, certificate)?, private_key: path(env, private_key)? })
}

/// A cluster, from `{listen, advertise, name, seeds, bootstrap_expect, cookie, nil | {group, port}, nil | tls,
/// election_timeout_ms, promote}`.
fn cluster_of(env: Env, settings: Term) -> Answer<ClusterConfig> {
    let Some(&[listen, advertise, name, seeds, bootstrap_expect, cookie, multicast, tls, election_timeout_ms, promote]) =
        env.tuple(settings)
    else {
        return Err(Stop::Misused);
    };
    Ok(ClusterConfig {
        listen: text(env, listen)?,
        advertise: optional(env, advertise, text)?,
        name: optional(env, name, text)?,
        seeds: texts(env, seeds)?,
        bootstrap_expect: number(env, bootstrap_expect)?,
        cookie: Secret::new(text(env, cookie)?),
        multicast: optional(env, multicast, multicast_of)?,
        tls: optional(env, tls, tls_of)?,
        election_timeout_ms: uint(env, election_timeout_ms)?,
        promote: flag(promote)?,
    })
}

/// A client, from the argument of `connect`.
pub(crate) fn client(env: Env, settings: Term) -> Answer<ClientConfig> {
    let Some(&[data_dir, addresses, cookie, token, tls, level, compression, connect_timeout_ms]) = env.tuple(settings)
    else {
        return Err(Stop::Misused);
    };
    Ok(ClientConfig {
        data_dir: optional(env, data_dir, path)?,
        addresses: texts(env, addresses)?,
        cookie: Secret::new(text(env, cookie)?),
        token: optional(env, token, text)?.map(Secret::new),
        tls: optional(env, tls, tls_of)?,
        default_read_consistency: consistency(level)?,
        compression: compression_of(env, compression)?,
        connect_timeout_ms: uint(env, connect_timeout_ms)?,
    })
}

fn multicast_of(env: Env, term: Term) -> Answer<Multicast> {
    let Some(&[group, port]) = env.tuple(term) else { return Err(Stop::Misused) };
    let group = text(env, group)?.parse().map_err(|_| Stop::Misused)?;
    let port = uint(env, port)?.try_into().map_err(|_| Stop::Misused)?;
    Ok(Multicast { group, port })
}

/// `{certificate, private_key, authority, verify_node_id}`
fn tls_of(env: Env, term: Term) -> Answer<TlsConfig> {
    let Some(&[certificate, private_key, authority, verify_node_id]) = env.tuple(term) else {
        return Err(Stop::Misused);
    };
    Ok(TlsConfig {
        certificate: path(env, certificate)?,
        private_key: path(env, private_key)?,
        authority: path(env, authority)?,
        verify_node_id: flag(verify_node_id)?,
    })
}

/// Compression from `{enabled, algorithm, threshold_bytes, level}`.
pub(crate) fn compression_of(env: Env, term: Term) -> Answer<Compression> {
    let atoms = atoms();
    let Some(&[enabled, algorithm, threshold, level]) = env.tuple(term) else { return Err(Stop::Misused) };
    let algorithm = match algorithm {
        algorithm if algorithm == atoms.zlib => CompressionAlgorithm::Zlib,
        algorithm if algorithm == atoms.gzip => CompressionAlgorithm::Gzip,
        _ => return Err(Stop::Misused),
    };
    Ok(Compression {
        enabled: enabled == atoms.true_,
        algorithm,
        threshold_bytes: number(env, threshold)?,
        level: u32::try_from(number(env, level)?).map_err(|_| Stop::Misused)?,
    })
}

fn optional<T>(env: Env, term: Term, read: fn(Env, Term) -> Answer<T>) -> Answer<Option<T>> {
    if term == atoms().nil { Ok(None) } else { read(env, term).map(Some) }
}

fn path(env: Env, term: Term) -> Answer<PathBuf> {
    env.bytes(term).map(|bytes| PathBuf::from(OsStr::from_bytes(bytes))).ok_or(Stop::Misused)
}

pub(crate) fn text(env: Env, term: Term) -> Answer<String> {
    let bytes = env.bytes(term).ok_or(Stop::Misused)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Stop::Misused)
}

fn texts(env: Env, list: Term) -> Answer<Vec<String>> {
    let mut texts = Vec::new();
    let mut rest = list;
    while let Some((head, tail)) = env.list_cell(rest) {
        texts.push(text(env, head)?);
        rest = tail;
    }
    if env.is_empty_list(rest) { Ok(texts) } else { Err(Stop::Misused) }
}

fn flag(term: Term) -> Answer<bool> {
    let atoms = atoms();
    match term {
        term if term == atoms.true_ => Ok(true),
        term if term == atoms.false_ => Ok(false),
        _ => Err(Stop::Misused),
    }
}

pub(crate) fn uint(env: Env, term: Term) -> Answer<u64> {
    env.uint(term).ok_or(Stop::Misused)
}

fn number(env: Env, term: Term) -> Answer<usize> {
    usize::try_from(uint(env, term)?).map_err(|_| Stop::Misused)
}
