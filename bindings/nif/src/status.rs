//! Status: what a store knows of itself and of the members, as terms.

use concord_kv::{ErrorKind, Member, NodeState, Status};

use crate::atoms::atoms;
use crate::call::{Answer, Nif, Stop, nif, succeeded};
use crate::env::{Env, Term};
use crate::store::{Store, store};

nif! {
    /// `status(handle)` -> `{:ok, %{cluster: ..., storage: ...}}`
    status, |env, args| status_of(env, args, Some(status_waiting))
}

nif! {
    /// The same where calls may block.
    status_waiting, |env, args| status_of(env, args, None)
}

nif! {
    /// `members(handle)` -> `{:ok, [...]}`
    members, |env, args| members_of(env, args, Some(members_waiting))
}

nif! {
    /// The same where calls may block.
    members_waiting, |env, args| members_of(env, args, None)
}

nif! {
    /// `metrics_text(handle)` -> text for Prometheus. Dirty: it may be long.
    metrics_text, |env, &[handle]| Ok(env.make_binary(store(env, handle)?.db.metrics_text().as_bytes()))
}

fn status_of(env: Env, &[handle]: &[Term; 1], waiting: Option<Nif>) -> Answer {
    let store = asked(env, handle, waiting)?;
    status_term(env, &open_status(store)?).map(|term| succeeded(env, term))
}

fn members_of(env: Env, &[handle]: &[Term; 1], waiting: Option<Nif>) -> Answer {
    let store = asked(env, handle, waiting)?;
    open_status(store)?;
    Ok(succeeded(env, members_term(env, &store.db.members()?)?))
}

/// The store, where it may be asked: a client asks a member.
pub(crate) fn asked<'a>(env: Env, handle: Term, waiting: Option<Nif>) -> Answer<&'a Store> {
    let store = store(env, handle)?;
    match waiting {
        Some(waiting) if store.is_client => Err(Stop::Waits(waiting)),
        _ => Ok(store),
    }
}

fn open_status(store: &Store) -> Answer<Status> {
    let status = store.db.status()?;
    if status.raft.state == NodeState::Shutdown { Err(ErrorKind::Closed.into()) } else { Ok(status) }
}

fn status_term(env: Env, status: &Status) -> Answer {
    let atoms = atoms();
    let raft = &status.raft;
    let failure = status.failure.as_ref().map_or(atoms.nil, |text| env.make_binary(text.as_bytes()));
    let cluster = map(
        env,
        &[
            (atoms.cluster_id, env.make_binary(format!("{:032x}", status.cluster_id).as_bytes())),
            (atoms.commit_index, env.make_uint(raft.commit_index)),
            (atoms.failure, failure),
            (atoms.last_applied, env.make_uint(raft.last_applied)),
            (atoms.leader, optional_uint(env, raft.leader)),
            (atoms.members, members_term(env, &raft.members)?),
            (atoms.node_id, env.make_uint(raft.node_id)),
            (atoms.ready, boolean(raft.is_ready)),
            (atoms.snapshot_index, env.make_uint(raft.snapshot_index)),
            (atoms.snapshot_state, env.make_known_atom(raft.snapshot_state.name())),
            (atoms.state, env.make_known_atom(raft.state.name())),
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
                (atoms.lag, optional_uint(env, member.lag)),
                (atoms.last_contact_ms, optional_uint(env, member.last_contact_ms)),
                (atoms.leader, boolean(member.is_leader)),
                (atoms.matched_index, optional_uint(env, member.matched_index)),
                (atoms.name, env.make_binary(member.name.as_bytes())),
                (atoms.node_id, env.make_uint(member.node_id)),
                (atoms.role, env.make_known_atom(member.role.name())),
            ],
        )
    };
    Ok(env.make_list(&members.iter().map(member).collect::<Answer<Vec<Term>>>()?))
}

fn boolean(flag: bool) -> Term {
    if flag { atoms().true_ } else { atoms().false_ }
}

fn optional_uint(env: Env, number: Option<u64>) -> Term {
    number.map_or(atoms().nil, |number| env.make_uint(number))
}

/// A map of entries with distinct keys.
pub(crate) fn map(env: Env, entries: &[(Term, Term)]) -> Answer {
    let (keys, values): (Vec<Term>, Vec<Term>) = entries.iter().copied().unzip();
    env.make_map(&keys, &values).ok_or(Stop::Failed(ErrorKind::Internal))
}
