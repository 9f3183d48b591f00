//! Tokens: in whose name a call is made, and the verbs that make, list and revoke tokens.

use std::ffi::{CStr, c_char};
use std::ops::Deref;
use std::ptr;
use std::time::Duration;

use concord_kv::{Concord, ErrorKind, NewToken, Scopes, TokenInfo, Value, limits};

use crate::bytes::{array, concord_buffer, concord_bytes, out, text};
use crate::handle::{DBS, Pinned};
use crate::options::{OptionStruct, concord_write_options, copied, nonzero, write_token};
use crate::status::{Failure, Outcome, concord_status, enter};
use crate::store::{Db, concord_db, object, printed, store};

/// What a token allows; add them up.
#[repr(u32)]
pub enum concord_scope {
    /// Read records and the status.
    CONCORD_SCOPE_READ = 1,
    /// Write records. A write that happens only if the record has a certain value needs CONCORD_SCOPE_READ too.
    CONCORD_SCOPE_WRITE = 2,
    /// Everything, membership and tokens included.
    CONCORD_SCOPE_ADMIN = 4,
}

/// Options of concord_token_create(). Zero or NULL in a field means its default; all are borrowed until it returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct concord_token_options {
    /// sizeof(concord_token_options)
    pub size: usize,
    /// For people: UTF-8, up to 64 bytes without control characters, need not be unique. Default: "".
    pub name: *const c_char,
    /// The sum of what it allows, of concord_scope. There must be one.
    pub scopes: u32,
    /// Keep it 0.
    pub reserved: u32,
    /// Keys that it reaches: those that begin with one of these, at most 32 of 1 to 1,024 bytes, together at most 4,096
    /// bytes. Default: every key, which a token with CONCORD_SCOPE_ADMIN always reaches.
    pub key_prefixes: *const concord_bytes,
    /// How many prefixes there are.
    pub key_prefix_count: usize,
    /// How long it is valid, milliseconds. Default: until it is revoked.
    pub ttl_ms: u64,
}

// SAFETY: `repr(C)`, `size` first, only integers and pointers.
unsafe impl OptionStruct for concord_token_options {
    const NAME: &'static str = "concord_token_options";
}

/// A store in the name of whoever calls: of the handle, or of the token that the call names.
pub(crate) enum Acting {
    Handle(Pinned<Db>),
    Holder(Concord),
}

impl Deref for Acting {
    type Target = Concord;

    fn deref(&self) -> &Concord {
        match self {
            Acting::Handle(db) => db,
            Acting::Holder(concord) => concord,
        }
    }
}

impl Acting {
    /// A store that lives longer than the call.
    pub(crate) fn to_owned(&self) -> Concord {
        Concord::clone(self)
    }

    /// What an answer that comes later must keep open: the connection of a token's holder.
    pub(crate) fn kept(&self) -> Option<Concord> {
        match self {
            Acting::Handle(_) => None,
            Acting::Holder(concord) => Some(concord.clone()),
        }
    }
}

/// The token of a call; NULL is none. An empty text is none that is known, so that it never stands for "every right".
///
/// # Safety
/// `token` is NULL or points to NUL-terminated bytes that nobody writes during `'a`.
#[inline]
pub(crate) unsafe fn token_text<'a>(token: *const c_char) -> Outcome<Option<&'a str>> {
    if token.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and NUL-terminated as the caller promised.
    let text = unsafe { CStr::from_ptr(token) }.to_str();
    text.map(Some).map_err(|_| Failure::Kind(ErrorKind::Unauthorized))
}

/// The store in the name of a token, or of its handle when there is none.
pub(crate) fn acting(db: *const concord_db, token: Option<&str>) -> Outcome<Acting> {
    let db = store(db)?;
    match token {
        None => Ok(Acting::Handle(db)),
        Some(token) => Ok(Acting::Holder(db.with_token(token)?)),
    }
}

pub(crate) const READ: Scopes = Scopes { read: true, write: false, admin: false };
pub(crate) const WRITE: Scopes = Scopes { read: false, write: true, admin: false };

/// The store for a write in the name of the options' token, which is judged before anything else is.
///
/// # Safety
/// The keys are readable, `options` as [`copied`] asks.
pub(crate) unsafe fn writer(
    db: *const concord_db,
    keys: &[concord_bytes],
    options: *const concord_write_options,
) -> Outcome<Acting> {
    // SAFETY: the same promise.
    let db = acting(db, unsafe { write_token(options) }?)?;
    match keys {
        // SAFETY: the same promise.
        [key] => db.kv().check_caller(WRITE, &[unsafe { key.slice("key") }?])?,
        _ => db.kv().check_caller(WRITE, &[])?,
    }
    Ok(db)
}

/// A further handle for the store of this one.
fn derived(db: *const concord_db, derive: impl FnOnce(&Concord) -> concord_kv::Result<Concord>) -> Outcome<usize> {
    let from = store(db)?;
    let owner = from.owner.unwrap_or(db.addr());
    let id = DBS.insert(from.derived(owner, derive(&from)?))?;
    if !DBS.is_live(owner) {
        // The store was closed meanwhile, and this handle came too late to be closed with it.
        let _ = DBS.remove(id);
        return Err(ErrorKind::Closed.into());
    }
    Ok(id)
}

/// The same store for the holder of a token: every call with the new handle is made in its name and must be allowed to
/// it; without one CONCORD_UNAUTHORIZED, without the right CONCORD_FORBIDDEN. Also where `auth_enabled` is off, a token
/// is held to its scopes. What is revoked or expires later is refused from then on.
///
/// - `db`: an open store or client, or a handle that this or concord_as_admin() made.
/// - `token`: "sk_concord_...", NUL-terminated, borrowed.
/// - `out_db`: receives the handle, to be closed with concord_close(), which leaves the store open; NULL on failure.
///   Closing the store itself closes it too.
///
/// Errors: CONCORD_UNAUTHORIZED for a token that is malformed, empty, unknown, expired or revoked, CONCORD_CLOSED,
/// CONCORD_INVALID_CONFIG for NULL and for a client of a local directory, and those of concord_connect(). Takes
/// microseconds; a member that does not know the token blocks for at most half a second, a client until a member has
/// answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_with_token(
    db: *const concord_db,
    token: *const c_char,
    out_db: *mut *mut concord_db,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's pointer variable.
        let place = unsafe { out(out_db, "out_db", ptr::null_mut()) }?;
        // SAFETY: NULL or NUL-terminated, as documented.
        let token = unsafe { token_text(token) }?.ok_or_else(|| Failure::argument("token is NULL"))?;
        *place = ptr::without_provenance_mut(derived(db, |db| db.with_token(token))?);
        Ok(())
    })
}

/// The same store with every right, for the program that holds it: what a program does with its own store is its own
/// affair, tokens are for those whom it serves. With `auth_enabled` this is the way to the first token. A client has the
/// rights of its connection.
///
/// - `out_db`: receives the handle, to be closed with concord_close() as that of concord_with_token().
///
/// Errors: CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_as_admin(db: *const concord_db, out_db: *mut *mut concord_db) -> concord_status {
    enter(|| {
        // SAFETY: the caller's pointer variable.
        let place = unsafe { out(out_db, "out_db", ptr::null_mut()) }?;
        *place = ptr::without_provenance_mut(derived(db, |db| Ok(db.as_admin()))?);
        Ok(())
    })
}

/// Whether calls need a token: then the handle of concord_open() can do nothing by itself, see concord_with_token() and
/// concord_as_admin(). False for a client, whose connection has proved already what it may do.
///
/// - `out_auth_enabled`: receives it; false on failure.
///
/// Errors: CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_auth_enabled(db: *const concord_db, out_auth_enabled: *mut bool) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable.
        let place = unsafe { out(out_auth_enabled, "out_auth_enabled", false) }?;
        *place = store(db)?.auth_enabled();
        Ok(())
    })
}

/// Whether the handle, or the holder of a token, may do something; changes nothing. Every call judges this by itself,
/// before all else: this is for programs that want to say so before they look at what else they were given.
///
/// - `token`: NULL asks about the handle.
/// - `scopes`: the sum of what is needed, of concord_scope; 0 asks for a valid token only.
/// - `keys`, `count`: at most 500 keys that must be reached, however long; 0 of them is fine.
///
/// Errors: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN, CONCORD_BATCH_TOO_LARGE, CONCORD_CLOSED, CONCORD_INVALID_CONFIG, and
/// those of concord_with_token(), which blocks as long. A client does not know what its members allow and answers
/// CONCORD_OK for every valid token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_authorize(
    db: *const concord_db,
    token: *const c_char,
    scopes: u32,
    keys: *const concord_bytes,
    count: usize,
) -> concord_status {
    enter(|| {
        let needed = scopes_of(scopes)?;
        // SAFETY: NULL or NUL-terminated, as documented.
        let db = acting(db, unsafe { token_text(token) }?)?;
        // SAFETY: the caller's keys.
        let keys = unsafe { crate::batch::key_list(keys, count) }?;
        Ok(db.kv().check_caller(needed, &keys)?)
    })
}

fn scopes_of(sum: u32) -> Outcome<Scopes> {
    if sum > 7 {
        return Err(Failure::argument(format!("scopes {sum} is no sum of concord_scope")));
    }
    Ok(Scopes { read: sum & 1 != 0, write: sum & 2 != 0, admin: sum & 4 != 0 })
}

fn info_value(info: &TokenInfo) -> Value {
    let Scopes { read, write, admin } = info.scopes;
    let scopes = [(read, "read"), (write, "write"), (admin, "admin")];
    let prefix = |prefix: &Vec<u8>| match std::str::from_utf8(prefix) {
        Ok(text) => text.into(),
        Err(_) => Value::Bytes(prefix.clone()),
    };
    object([
        ("id", info.id.as_str().into()),
        ("name", info.name.as_str().into()),
        ("scopes", Value::List(scopes.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).into()).collect())),
        ("key_prefixes", Value::List(info.key_prefixes.iter().map(prefix).collect())),
        ("created_ms", info.created_ms.into()),
        ("expires_ms", info.expires_ms.into()),
        ("last_used_ms", info.last_used_ms.into()),
    ])
}

/// What a token is to be.
///
/// # Safety
/// As [`copied`]; the name and the prefixes are readable.
unsafe fn new_token(options: *const concord_token_options) -> Outcome<NewToken> {
    // SAFETY: the same promise.
    let given =
        unsafe { copied(options) }?.ok_or_else(|| Failure::argument("a token needs options that name scopes"))?;
    if given.reserved != 0 {
        return Err(Failure::argument("reserved is not 0"));
    }
    if given.key_prefix_count > limits::TOKEN_PREFIXES_MAX {
        return Err(Failure::argument("a token has at most 32 key prefixes"));
    }
    // SAFETY: the same promise.
    let (name, prefixes) =
        unsafe { (text(given.name, "name")?, array(given.key_prefixes, given.key_prefix_count, "key_prefixes")?) };
    let prefix = |prefix: &concord_bytes| {
        // SAFETY: the same promise.
        unsafe { prefix.slice("a key prefix") }.map(<[u8]>::to_vec)
    };
    Ok(NewToken {
        name: name.unwrap_or_default().to_owned(),
        scopes: scopes_of(given.scopes)?,
        key_prefixes: prefixes.iter().map(prefix).collect::<Outcome<_>>()?,
        ttl: nonzero(given.ttl_ms).map(Duration::from_millis),
    })
}

/// Makes a token. Its text is given this once and stored nowhere; every member of a cluster knows the token when this
/// returns, or the moment that it is used there.
///
/// - `options`: begins with CONCORD_TOKEN_OPTIONS_INIT; must name scopes.
/// - `out_token`: receives "sk_concord_..."; free it with concord_buffer_free().
/// - `out_info_json`: receives what is known of it, an object as in concord_tokens_json(), without the token; free it
///   with concord_buffer_free(). May be NULL.
///
/// Needs CONCORD_SCOPE_ADMIN, as the others of this kind. Errors: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN,
/// CONCORD_INVALID_CONFIG for options outside their bounds and when there are 10,000 tokens, CONCORD_INVALID_TTL beyond
/// 1,000 years, CONCORD_UNKNOWN_OUTCOME when the answer was lost (list the tokens and revoke the one of this name), and
/// those of concord_put(). Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_token_create(
    db: *const concord_db,
    options: *const concord_token_options,
    out_token: *mut concord_buffer,
    out_info_json: *mut concord_buffer,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variables, of which the second may be NULL.
        let (token, info) = unsafe {
            let info = (!out_info_json.is_null()).then(|| out(out_info_json, "out_info_json", concord_buffer::EMPTY));
            (out(out_token, "out_token", concord_buffer::EMPTY)?, info.transpose()?)
        };
        let db = store(db)?;
        db.kv().check_caller(Scopes { admin: true, ..Scopes::default() }, &[])?;
        // SAFETY: the caller's options.
        let created = db.tokens().create(&unsafe { new_token(options) }?)?;
        *token = concord_buffer::copy(created.token.reveal().as_bytes())?;
        if let Some(info) = info {
            *info = printed(&info_value(&created.info))?;
        }
        Ok(())
    })
}

/// Every token, by when it was made, as a JSON array of objects: id (16 hexadecimal digits), name, scopes (of "read",
/// "write", "admin"), key_prefixes (none: every key; one that is no UTF-8 is {"$bytes": "base64"}), created_ms, expires_ms
/// and last_used_ms (milliseconds since 1970, or null; the last as far as this node knows). Never the tokens themselves.
///
/// - `out_json`: receives the text; free it with concord_buffer_free().
///
/// Needs CONCORD_SCOPE_ADMIN. Errors: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN, CONCORD_TIMEOUT,
/// CONCORD_CLUSTER_NOT_READY, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Blocks where it asks other nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_tokens_json(db: *const concord_db, out_json: *mut concord_buffer) -> concord_status {
    enter(|| {
        // SAFETY: the caller's buffer variable.
        let place = unsafe { out(out_json, "out_json", concord_buffer::EMPTY) }?;
        let tokens = store(db)?.tokens().list()?;
        *place = printed(&Value::List(tokens.iter().map(info_value).collect()))?;
        Ok(())
    })
}

/// Ends a token. When this returns no member carries out any write of it, nor any read of level leader or strong,
/// through whichever handle; an eventual read it may get for as long as the member that it asks is behind.
///
/// - `id_or_token`: its id or its text, NUL-terminated.
///
/// Needs CONCORD_SCOPE_ADMIN. Errors: CONCORD_NOT_FOUND when there is no such token, CONCORD_UNAUTHORIZED,
/// CONCORD_FORBIDDEN, CONCORD_INVALID_CONFIG for NULL, and those of concord_delete(). Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_token_revoke(db: *const concord_db, id_or_token: *const c_char) -> concord_status {
    enter(|| {
        let db = store(db)?;
        if id_or_token.is_null() {
            return Err(Failure::argument("id_or_token is NULL"));
        }
        // SAFETY: not NULL, and NUL-terminated as documented. What is no text is no token either.
        let id = unsafe { CStr::from_ptr(id_or_token) }.to_str().unwrap_or_default();
        Ok(db.tokens().revoke(id)?)
    })
}
