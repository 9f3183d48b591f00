//! Call: what surrounds every NIF: arguments in, a term out, no panic across the boundary.

use std::panic::{AssertUnwindSafe, catch_unwind};

use concord_kv::{Consistency, Error, ErrorKind, ReadOptions};
use rustler::sys::{
    ERL_NIF_DIRTY_JOB_CPU_BOUND, ERL_NIF_DIRTY_JOB_IO_BOUND, ErlNifEnv, c_int, enif_make_badarg, enif_schedule_nif,
    enif_self,
};

use crate::atoms::atoms;
use crate::cbor::Malformed;
use crate::encode::Refusal;
use crate::env::{Env, Term};

/// A NIF as the VM calls it.
pub(crate) type Nif = unsafe extern "C" fn(*mut ErlNifEnv, c_int, *const Term) -> Term;

/// Most encoded bytes that are handled on a normal scheduler; larger values go to a dirty one.
pub(crate) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The same for values that may have to be compressed.
pub(crate) const INLINE_COMPRESS_BYTES_MAX: usize = 8 * 1024;

/// Why a call has no ordinary answer.
pub(crate) enum Stop {
    /// The caller gets `{:error, kind}`.
    Failed(ErrorKind),
    /// The arguments are of the wrong types: `ArgumentError`. Only this package calls, so it is its defect.
    Misused,
    /// Too much for a normal scheduler: this function runs again on a dirty one.
    Later(Nif),
    /// It would have to wait for other nodes: this function runs again where calls may block.
    Waits(Nif),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error.kind())
    }
}

impl From<ErrorKind> for Stop {
    fn from(kind: ErrorKind) -> Stop {
        Stop::Failed(kind)
    }
}

impl From<Malformed> for Stop {
    /// A stored value was checked when it was written.
    fn from(Malformed: Malformed) -> Stop {
        Stop::Failed(ErrorKind::Corrupt)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Failed(match refusal {
            Refusal::Invalid => ErrorKind::InvalidValue,
            Refusal::Full => ErrorKind::ValueTooLarge,
        })
    }
}

pub(crate) type Answer<T = Term> = Result<T, Stop>;

/// Runs the body of a NIF with its arguments.
///
/// # Safety
/// To be called with what the VM passed to the NIF.
pub(crate) unsafe fn run<const ARITY: usize>(
    env: *mut ErlNifEnv,
    argc: c_int,
    argv: *const Term,
    body: impl FnOnce(Env, &[Term; ARITY]) -> Answer,
) -> Term {
    // SAFETY: the environment is the VM's own for this call.
    let call = unsafe { Env::new(env) };
    if argc as usize != ARITY {
        // SAFETY: as above.
        return unsafe { enif_make_badarg(env) };
    }
    // SAFETY: the VM passes `argc` terms.
    let args = unsafe { &*argv.cast::<[Term; ARITY]>() };
    // SAFETY: as above; the function takes the same arguments.
    let again = |nif, flags| unsafe { enif_schedule_nif(env, c"concord".as_ptr(), flags as c_int, nif, argc, argv) };
    match catch_unwind(AssertUnwindSafe(|| body(call, args))) {
        Ok(Ok(term)) => term,
        Ok(Err(Stop::Failed(kind))) => failed(call, kind),
        // SAFETY: as above.
        Ok(Err(Stop::Misused)) => unsafe { enif_make_badarg(env) },
        Ok(Err(Stop::Later(nif))) => again(nif, ERL_NIF_DIRTY_JOB_CPU_BOUND),
        Ok(Err(Stop::Waits(nif))) => again(nif, ERL_NIF_DIRTY_JOB_IO_BOUND),
        Err(_) => failed(call, ErrorKind::Internal),
    }
}

/// Defines a NIF of this name from the function that is its body.
macro_rules! nif {
    ($(#[doc = $doc:literal])* $name:ident, $body:expr) => {
        $(#[doc = $doc])*
        pub(crate) unsafe extern "C" fn $name(
            env: *mut rustler::sys::ErlNifEnv,
            argc: rustler::sys::c_int,
            argv: *const $crate::env::Term,
        ) -> $crate::env::Term {
            // SAFETY: these are the VM's arguments.
            unsafe { $crate::call::run(env, argc, argv, $body) }
        }
    };
}
pub(crate) use nif;

/// `{:error, kind}`
#[cold]
pub(crate) fn failed(env: Env, kind: ErrorKind) -> Term {
    let atoms = atoms();
    env.make_tuple(&[atoms.error, atoms.kind(kind)])
}

/// `{:error, {kind, message}}`, for whoever looks after the store.
pub(crate) fn explained(env: Env, error: &Error) -> Term {
    let atoms = atoms();
    let message = env.make_binary(error.message().as_bytes());
    env.make_tuple(&[atoms.error, env.make_tuple(&[atoms.kind(error.kind()), message])])
}

/// `{:ok, term}`
pub(crate) fn succeeded(env: Env, term: Term) -> Term {
    env.make_tuple(&[atoms().ok, term])
}

/// Options of a read from a level (or nil) and a timeout in milliseconds (or nil).
pub(crate) fn read_options(env: Env, level: Term, timeout_ms: Term) -> Answer<ReadOptions> {
    let atoms = atoms();
    let consistency = if level == atoms.nil { None } else { Some(consistency(level)?) };
    Ok(ReadOptions { consistency, timeout_ms: optional_uint(env, timeout_ms)? })
}

pub(crate) fn consistency(level: Term) -> Answer<Consistency> {
    let atoms = atoms();
    match level {
        level if level == atoms.leader => Ok(Consistency::Leader),
        level if level == atoms.eventual => Ok(Consistency::Eventual),
        level if level == atoms.strong => Ok(Consistency::Strong),
        _ => Err(Stop::Misused),
    }
}

/// A number that is not negative, or nil.
pub(crate) fn optional_uint(env: Env, term: Term) -> Answer<Option<u64>> {
    if term == atoms().nil { Ok(None) } else { env.uint(term).map(Some).ok_or(Stop::Misused) }
}

/// The calling process.
pub(crate) fn caller(env: Env) -> rustler::sys::ErlNifPid {
    let mut pid = std::mem::MaybeUninit::uninit();
    // SAFETY: called from a NIF with its own environment, which has a process.
    unsafe {
        enif_self(env.as_ptr(), pid.as_mut_ptr());
        pid.assume_init()
    }
}
