//! Membership: who belongs to the cluster, who leads it, and whether it serves.

use concord_kv::Cluster;

use crate::atoms::atoms;
use crate::call::{Answer, Nif, Stop, explained, nif, optional_uint, succeeded};
use crate::env::{Env, Term};
use crate::settings::{text, uint};
use crate::status::asked;
use crate::store::store;

nif! {
    /// `ready(handle)` -> whether this node serves. A client asks a member.
    ready, |env, args| is_ready(env, args, Some(ready_waiting))
}

nif! {
    /// The same where calls may block.
    ready_waiting, |env, args| is_ready(env, args, None)
}

fn is_ready(env: Env, &[handle]: &[Term; 1], waiting: Option<Nif>) -> Answer {
    let atoms = atoms();
    Ok(if asked(env, handle, waiting)?.db.cluster().is_ready() { atoms.true_ } else { atoms.false_ })
}

nif! {
    /// `wait_ready(handle, timeout_ms)` -> `:ok | {:error, {kind, message}}`. Dirty: blocks so long.
    wait_ready, |env, &[handle, timeout_ms]| {
        let timeout_ms = uint(env, timeout_ms)?;
        Ok(match store(env, handle)?.db.cluster().wait_ready(timeout_ms) {
            Ok(()) => atoms().ok,
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `change(handle, change, timeout_ms | nil)` -> `{:ok, node_id}` of the node that was added, `:ok` for all others,
    /// `{:error, {kind, message}}`. The change is `{:add, address}`, `{:promote, id}`, `{:remove, id}`,
    /// `{:replace, old_id, new_id}`, `{:transfer_leadership, id | nil}` or `{:leave}`. Dirty: blocks until it is committed.
    change, |env, &[handle, change, timeout_ms]| {
        let timeout_ms = optional_uint(env, timeout_ms)?;
        make(env, store(env, handle)?.db.cluster(), change, timeout_ms)
    }
}

fn make(env: Env, cluster: &Cluster, change: Term, timeout_ms: Option<u64>) -> Answer {
    let atoms = atoms();
    let result = match env.tuple(change) {
        Some(&[verb, address]) if verb == atoms.add => {
            cluster.add(&text(env, address)?, timeout_ms).map(|id| succeeded(env, env.make_uint(id)))
        }
        Some(&[verb, id]) if verb == atoms.promote => cluster.promote(uint(env, id)?, timeout_ms).map(|()| atoms.ok),
        Some(&[verb, id]) if verb == atoms.remove => cluster.remove(uint(env, id)?, timeout_ms).map(|()| atoms.ok),
        Some(&[verb, old_id, new_id]) if verb == atoms.replace => {
            cluster.replace(uint(env, old_id)?, uint(env, new_id)?, timeout_ms).map(|()| atoms.ok)
        }
        Some(&[verb, to]) if verb == atoms.transfer_leadership => {
            cluster.transfer_leadership(optional_uint(env, to)?, timeout_ms).map(|()| atoms.ok)
        }
        Some(&[verb]) if verb == atoms.leave => cluster.leave(timeout_ms).map(|()| atoms.ok),
        _ => return Err(Stop::Misused),
    };
    Ok(result.unwrap_or_else(|error| explained(env, &error)))
}
