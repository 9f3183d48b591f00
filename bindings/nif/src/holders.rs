//! Holders: the handles of those who act by a token, kept so that a call with one costs little more than one without.
//!
//! - A kept handle decides nothing: what its token may is judged anew with every verb, and a revocation counts at once.
//! - Only tokens that were valid are kept, by a hash, never as text.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use concord_kv::{Error, ErrorKind};
use sha2::{Digest, Sha256};

use crate::call::{Answer, Nif, Stop, nif, succeeded};
use crate::env::{Env, Term};
use crate::resource::Owned;
use crate::store::{STORE, Store, store};

/// Handles that a store keeps; beyond them it begins anew.
const KEPT_MAX: usize = 1_024;

/// A token's SHA-256.
type Hash = [u8; 32];

/// The kept handles of one store.
#[derive(Default)]
pub(crate) struct Holders(RwLock<HashMap<Hash, Owned<Store>>>);

impl Holders {
    fn term(&self, env: Env, hash: &Hash) -> Option<Term> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(hash).map(|holder| holder.term(env))
    }

    fn keep(&self, hash: Hash, holder: Owned<Store>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let dropped = if kept.len() >= KEPT_MAX { std::mem::take(&mut *kept) } else { HashMap::new() };
        let replaced = kept.insert(hash, holder);
        drop(kept);
        drop((dropped, replaced));
    }

    /// Those of a client are connections of their own.
    pub(crate) fn close(&self) {
        let kept = std::mem::take(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner));
        for holder in kept.values().filter(|holder| holder.is_client) {
            // Closing twice is fine, and nobody is left to tell.
            let _ = holder.db.close();
        }
    }
}

nif! {
    /// `as_token(handle, token)` -> `{:ok, handle} | {:error, kind}`: the same store, in the name of the token's holder.
    /// Where no token is needed an unknown one changes nothing.
    as_token, |env, args| holder_of(env, args, Some(as_token_waiting))
}

nif! {
    /// The same for a token that this store has not seen yet: a follower may ask the leader, a client connects.
    as_token_waiting, |env, args| holder_of(env, args, None)
}

fn holder_of(env: Env, &[handle, token]: &[Term; 2], waiting: Option<Nif>) -> Answer {
    let store = store(env, handle)?;
    let Some(owned) = &store.owned else { return Err(Stop::Misused) };
    let token = env.bytes(token).ok_or(Stop::Misused)?;
    let hash: Hash = Sha256::digest(token).into();
    if let Some(holder) = owned.holders.term(env, &hash) {
        return Ok(succeeded(env, holder));
    }
    if let Some(waiting) = waiting {
        return Err(Stop::Waits(waiting));
    }
    let text = std::str::from_utf8(token).map_err(|_| Error::from(ErrorKind::Unauthorized));
    match text.and_then(|text| store.db.with_token(text)) {
        Ok(db) => {
            let holder = STORE.make(store.held(db));
            let term = holder.term(env);
            owned.holders.keep(hash, holder);
            Ok(succeeded(env, term))
        }
        Err(error) if error.kind() == ErrorKind::Unauthorized && !store.is_client && !store.db.auth_enabled() => {
            Ok(succeeded(env, handle))
        }
        Err(error) => Err(error.into()),
    }
}
