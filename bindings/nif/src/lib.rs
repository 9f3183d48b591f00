//! Erlang NIF of Concord, private to the Elixir package: values between terms and bytes, reads that wait for nobody as
//! plain calls, other reads and all writes answered by message. `Concord.Native` is its only user and says what each function takes.
//!
//! The library is written against the VM's C interface directly (`rustler::sys`): a call costs 11 ns instead of
//! 18 to 60, and it can be loaded again over itself.

mod answer;
mod atoms;
mod call;
mod cbor;
mod decode;
mod encode;
mod env;
mod holders;
mod integer;
mod map;
mod membership;
mod query;
mod read;
mod resource;
mod selector;
mod settings;
mod status;
mod store;
mod structs;
mod times;
mod tokens;
mod values;
mod workers;
mod write;

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustler::sys::{
    ERL_NIF_DIRTY_JOB_CPU_BOUND as CPU, ERL_NIF_DIRTY_JOB_IO_BOUND as IO, ERL_NIF_NORMAL_JOB as NORMAL, ErlNifEntry,
    ErlNifEnv, ErlNifFunc, internal_write_symbols,
};

use crate::call::Nif;
use crate::env::{Env, Term};

const fn function(name: &'static CStr, arity: u32, flags: u32, function: Nif) -> ErlNifFunc {
    ErlNifFunc { name: name.as_ptr(), arity, function, flags }
}

/// What the VM learns about this library.
struct Library<T>(T);

// SAFETY: the tables are constant and only point to constants.
unsafe impl<T> Sync for Library<T> {}

static FUNCTIONS: Library<[ErlNifFunc; 31]> = Library([
    function(c"open", 1, IO, store::open),
    function(c"connect", 1, IO, store::connect),
    function(c"close", 1, IO, store::close),
    function(c"as_token", 2, NORMAL, holders::as_token),
    function(c"create_token", 2, IO, tokens::create),
    function(c"list_tokens", 1, IO, tokens::list),
    function(c"revoke_token", 2, IO, tokens::revoke),
    function(c"metrics_text", 1, CPU, status::metrics_text),
    function(c"serving", 1, NORMAL, store::serving),
    function(c"status", 1, NORMAL, status::status),
    function(c"members", 1, NORMAL, status::members),
    function(c"ready", 1, NORMAL, membership::ready),
    function(c"wait_ready", 2, IO, membership::wait_ready),
    function(c"change", 3, IO, membership::change),
    function(c"get", 2, NORMAL, read::get),
    function(c"read", 5, NORMAL, read::read),
    function(c"start_read", 6, NORMAL, read::start_read),
    function(c"get_many", 4, CPU, read::get_many),
    function(c"get_all", 4, CPU, read::get_all),
    function(c"submit", 4, NORMAL, write::submit),
    function(c"start_count", 5, NORMAL, query::start_count),
    function(c"start_walk", 6, NORMAL, query::start_walk),
    function(c"start_page", 2, NORMAL, query::start_page),
    function(c"close_walk", 1, NORMAL, query::close_walk),
    function(c"check_expression", 1, CPU, query::expression_check),
    function(c"expression_holds", 5, CPU, query::holds),
    function(c"cancel", 1, NORMAL, answer::cancel),
    function(c"encode", 1, NORMAL, values::encode),
    function(c"decode", 1, NORMAL, values::decode),
    function(c"compression_stats", 2, CPU, values::stats),
    function(c"panic", 0, NORMAL, values::panic),
]);

static ENTRY: Library<ErlNifEntry> =
    Library(ErlNifEntry { upgrade: Some(upgrade), ..ErlNifEntry::new(c"Elixir.Concord.Native", &FUNCTIONS.0, load) });

/// Where the VM begins.
///
/// # Safety
/// Only for the VM, while it loads the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nif_init() -> *const c_void {
    // SAFETY: the VM loads one library at a time.
    unsafe { internal_write_symbols() };
    (&raw const ENTRY.0).cast()
}

unsafe extern "C" fn load(env: *mut ErlNifEnv, _private: *mut *mut c_void, map_set_template: Term) -> c_int {
    let load = || {
        // SAFETY: the VM calls this while it loads the library.
        let is_known = unsafe { store::STORE.load(env) && answer::SLOT.load(env) && query::WALK.load(env) };
        // SAFETY: the environment is the VM's own for this call.
        atoms::load(unsafe { Env::new(env) }, map_set_template);
        is_known
    };
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(true) => 0,
        Ok(false) | Err(_) => 1,
    }
}

/// The module was loaded again; stores that are open go on.
unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    private: *mut *mut c_void,
    _old_private: *mut *mut c_void,
    map_set_template: Term,
) -> c_int {
    // SAFETY: handed on from the VM.
    unsafe { load(env, private, map_set_template) }
}
