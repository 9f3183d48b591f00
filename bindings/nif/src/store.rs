//! Store: the handle that Elixir holds, and opening, closing and looking at it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use concord_kv::{
    Compression, CompressionAlgorithm, Concord, Config, Durability, ErrorKind, Member, MemberRole, NodeState, Status,
};

use crate::atoms::atoms;
use crate::call::{Answer, Stop, consistency, nif, succeeded};
use crate::env::{Env, Term};
use crate::resource::ResourceType;

/// An open store.
pub(crate) struct Store {
    pub(crate) db: Concord,
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
    /// expiry_interval_ms, snapshot_log_bytes})` -> `{:ok, handle} | {:error, {kind, message}}`. Dirty: waits for files.
    open, |env, &[settings]| {
        let config = config(env, settings)?;
        let (value_bytes_max, compression) = (config.value_bytes_max, config.compression);
        match Concord::open(config) {
            Ok(db) => Ok(succeeded(env, STORE.make(Store { db, value_bytes_max, compression }).term(env))),
            Err(error) => {
                let message = env.make_binary(error.message().as_bytes());
                let reason = env.make_tuple(&[atoms().kind(error.kind()), message]);
                Ok(env.make_tuple(&[atoms().error, reason]))
            }
        }
    }
}

nif! {
    /// `close(handle)` -> `:ok`. Dirty: waits for the writes that are on their way.
    close, |env, &[handle]| {
        store(env, handle)?.db.close()?;
        Ok(atoms().ok)
    }
}

nif! {
    /// `status(handle)` -> `{:ok, %{cluster: ..., storage: ...}}`
    status, |env, &[handle]| {
        let status = store(env, handle)?.db.status()?;
        if status.raft.state == NodeState::Shutdown {
            return Err(ErrorKind::Closed.into());
        }
        status_term(env, &status).map(|term| succeeded(env, term))
    }
}

nif! {
    /// `members(handle)` -> `{:ok, [...]}`
    members, |env, &[handle]| {
        let db = &store(env, handle)?.db;
        if db.status()?.raft.state == NodeState::Shutdown {
            return Err(ErrorKind::Closed.into());
        }
        Ok(succeeded(env, members_term(env, &db.members()?)?))
    }
}

fn config(env: Env, settings: Term) -> Answer<Config> {
    let atoms = atoms();
    let Some(&[data_dir, durability, level, compression, value_bytes_max, expiry_ms, snapshot_bytes]) =
        env.tuple(settings)
    else {
        return Err(Stop::Misused);
    };
    let data_dir = match data_dir {
        dir if dir == atoms.nil => None,
        dir => Some(PathBuf::from(OsStr::from_bytes(env.bytes(dir).ok_or(Stop::Misused)?))),
    };
    let durability = match durability {
        term if term == atoms.always => Durability::Always,
        term if term == atoms.memory => Durability::Memory,
        term => Durability::Interval { interval_ms: env.uint(term).ok_or(Stop::Misused)? },
    };
    Ok(Config {
        data_dir,
        durability,
        default_read_consistency: consistency(level)?,
        compression: compression_of(env, compression)?,
        value_bytes_max: number(env, value_bytes_max)?,
        expiry_interval_ms: env.uint(expiry_ms).ok_or(Stop::Misused)?,
        snapshot_log_bytes: env.uint(snapshot_bytes).ok_or(Stop::Misused)?,
        cluster: None,
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

fn number(env: Env, term: Term) -> Answer<usize> {
    env.uint(term).and_then(|number| usize::try_from(number).ok()).ok_or(Stop::Misused)
}

fn status_term(env: Env, status: &Status) -> Answer {
    let atoms = atoms();
    let raft = &status.raft;
    let leader = raft.leader.map_or(atoms.nil, |id| env.make_uint(id));
    let failure = status.failure.as_ref().map_or(atoms.nil, |text| env.make_binary(text.as_bytes()));
    let cluster = map(
        env,
        &[
            (atoms.cluster_id, env.make_binary(format!("{:032x}", status.cluster_id).as_bytes())),
            (atoms.commit_index, env.make_uint(raft.commit_index)),
            (atoms.failure, failure),
            (atoms.last_applied, env.make_uint(raft.last_applied)),
            (atoms.leader, leader),
            (atoms.members, members_term(env, &raft.members)?),
            (atoms.node_id, env.make_uint(raft.node_id)),
            (atoms.snapshot_index, env.make_uint(raft.snapshot_index)),
            (atoms.state, state(raft.state)),
            (atoms.term, env.make_uint(raft.term)),
        ],
    )?;
    let storage = map(
        env,
        &[
            (atoms.log_bytes, env.make_uint(status.log_bytes)),
            (atoms.memory, env.make_uint(status.memory_bytes)),
            (atoms.revision, env.make_uint(status.revision)),
            (atoms.size, env.make_uint(status.size)),
        ],
    )?;
    map(env, &[(env.make_known_atom("cluster"), cluster), (env.make_known_atom("storage"), storage)])
}

fn members_term(env: Env, members: &[Member]) -> Answer {
    let atoms = atoms();
    let member = |member: &Member| {
        map(
            env,
            &[
                (atoms.address, env.make_binary(member.address.as_bytes())),
                (atoms.leader, if member.is_leader { atoms.true_ } else { atoms.false_ }),
                (atoms.node_id, env.make_uint(member.node_id)),
                (atoms.role, if member.role == MemberRole::Voter { atoms.voter } else { atoms.learner }),
            ],
        )
    };
    Ok(env.make_list(&members.iter().map(member).collect::<Answer<Vec<Term>>>()?))
}

fn state(state: NodeState) -> Term {
    let atoms = atoms();
    match state {
        NodeState::Learner => atoms.learner,
        NodeState::Follower => atoms.follower,
        NodeState::Candidate => atoms.candidate,
        NodeState::Leader => atoms.leader,
        _ => atoms.shutdown,
    }
}

/// A map of entries with distinct keys.
pub(crate) fn map(env: Env, entries: &[(Term, Term)]) -> Answer {
    let (keys, values): (Vec<Term>, Vec<Term>) = entries.iter().copied().unzip();
    env.make_map(&keys, &values).ok_or(Stop::Failed(ErrorKind::Internal))
}
