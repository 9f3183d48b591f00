//! Tokens: the verbs that make, list and revoke them.

use std::time::Duration;

use concord_kv::{Concord, NewToken, Scopes, TokenInfo};

use crate::atoms::atoms;
use crate::call::{Answer, Stop, explained, nif, optional_uint, succeeded};
use crate::env::{Env, Term};
use crate::settings::text;
use crate::store::{Store, store};

nif! {
    /// `create_token(handle, {name, scopes, key_prefixes, ttl_ms | nil})` -> `{:ok, {token, info}} | {:error, {kind,
    /// message}}`; scopes are `:read | :write | :admin`, for the info see `info_term`. Dirty: waits for the disk.
    create, |env, &[handle, new]| {
        let store = store(env, handle)?;
        let new = new_token(env, new)?;
        Ok(match administration(store).tokens().create(&new) {
            Ok(created) => {
                let token = env.make_binary(created.token.reveal().as_bytes());
                succeeded(env, env.make_tuple(&[token, info_term(env, &created.info)]))
            }
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `list_tokens(handle)` -> `{:ok, [info]} | {:error, {kind, message}}`. Dirty: may wait for the leader.
    list, |env, &[handle]| {
        Ok(match administration(store(env, handle)?).tokens().list() {
            Ok(tokens) => {
                let infos: Vec<Term> = tokens.iter().map(|info| info_term(env, info)).collect();
                succeeded(env, env.make_list(&infos))
            }
            Err(error) => explained(env, &error),
        })
    }
}

nif! {
    /// `revoke_token(handle, id_or_token)` -> `:ok | {:error, {kind, message}}`. Dirty: waits for the disk.
    revoke, |env, &[handle, token]| {
        let store = store(env, handle)?;
        let token = text(env, token)?;
        Ok(match administration(store).tokens().revoke(&token) {
            Ok(()) => atoms().ok,
            Err(error) => explained(env, &error),
        })
    }
}

/// The program administers the store that it holds; who acts by a token has the rights of that token.
fn administration(store: &Store) -> Concord {
    if store.owned.is_some() { store.db.as_admin() } else { store.db.clone() }
}

fn new_token(env: Env, term: Term) -> Answer<NewToken> {
    let Some(&[name, scopes, key_prefixes, ttl_ms]) = env.tuple(term) else { return Err(Stop::Misused) };
    Ok(NewToken {
        name: text(env, name)?,
        scopes: scopes_of(env, scopes)?,
        key_prefixes: items(env, key_prefixes, |prefix| env.bytes(prefix).map(<[u8]>::to_vec))?,
        ttl: optional_uint(env, ttl_ms)?.map(Duration::from_millis),
    })
}

fn scopes_of(env: Env, list: Term) -> Answer<Scopes> {
    let atoms = atoms();
    let mut scopes = Scopes::default();
    items(env, list, |scope| {
        let granted = match scope {
            scope if scope == atoms.read => &mut scopes.read,
            scope if scope == atoms.write => &mut scopes.write,
            scope if scope == atoms.admin => &mut scopes.admin,
            _ => return None,
        };
        *granted = true;
        Some(())
    })?;
    Ok(scopes)
}

/// The items of a list, each read by `read`.
fn items<T>(env: Env, list: Term, mut read: impl FnMut(Term) -> Option<T>) -> Answer<Vec<T>> {
    let mut items = Vec::new();
    let mut rest = list;
    while let Some((head, tail)) = env.list_cell(rest) {
        items.push(read(head).ok_or(Stop::Misused)?);
        rest = tail;
    }
    if env.is_empty_list(rest) { Ok(items) } else { Err(Stop::Misused) }
}

/// `{id, name, scopes, key_prefixes, created_ms, expires_ms | nil, last_used_ms | nil}`
fn info_term(env: Env, info: &TokenInfo) -> Term {
    let atoms = atoms();
    let Scopes { read, write, admin } = info.scopes;
    let scopes = [(read, atoms.read), (write, atoms.write), (admin, atoms.admin)];
    let scopes: Vec<Term> = scopes.into_iter().filter_map(|(has, scope)| has.then_some(scope)).collect();
    let prefixes: Vec<Term> = info.key_prefixes.iter().map(|prefix| env.make_binary(prefix)).collect();
    let time = |ms: Option<u64>| ms.map_or(atoms.nil, |ms| env.make_uint(ms));
    env.make_tuple(&[
        env.make_binary(info.id.as_bytes()),
        env.make_binary(info.name.as_bytes()),
        env.make_list(&scopes),
        env.make_list(&prefixes),
        env.make_uint(info.created_ms),
        time(info.expires_ms),
        time(info.last_used_ms),
    ])
}
