//! Answer: the message that ends a write or a read that waits, and the slot by which a caller that gave up keeps it away.
//!
//! - The slot goes from waiting to answered or to abandoned, once. Whoever moves it decides: after `cancel` said
//!   true no message comes, after it said false one is in the mailbox or about to be.
//! - A caller that died is harmless: the VM drops the message.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use rustler::sys::*;

use crate::atoms::atoms;
use crate::call::{Stop, caller, nif};
use crate::env::{Env, Term};
use crate::resource::{Owned, ResourceType};

const WAITING: u8 = 0;
const ANSWERED: u8 = 1;
const ABANDONED: u8 = 2;

/// Whether the answer of one call may still be sent.
pub(crate) struct Slot(AtomicU8);

pub(crate) static SLOT: ResourceType<Slot> = ResourceType::new(c"concord_slot");

impl Slot {
    fn settle(&self, as_what: u8) -> bool {
        self.0.compare_exchange(WAITING, as_what, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

nif! {
    /// `cancel(slot)` -> whether the answer has not been sent, and now never will be.
    cancel, |env, &[slot]| {
        let slot = SLOT.get(env, slot).ok_or(Stop::Misused)?;
        Ok(if slot.settle(ABANDONED) { atoms().true_ } else { atoms().false_ })
    }
}

thread_local! {
    /// Environment of the NIF that runs on this thread, while what it calls may answer before it returns.
    static CALLING: Cell<*mut ErlNifEnv> = const { Cell::new(null_mut()) };
}

/// Runs what may answer before it returns. The VM wants its own threads to send with the environment of their call.
pub(crate) fn during<T>(env: Env, f: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            CALLING.set(null_mut());
        }
    }
    CALLING.set(env.as_ptr());
    let _reset = Reset;
    f()
}

/// Sends `{reference, answer}` to the process that called, once, from whatever thread knows the answer.
pub(crate) struct Answerer {
    slot: Owned<Slot>,
    to: ErlNifPid,
    message: Message,
    reference: Term,
}

impl Answerer {
    /// For the calling process. Returns the slot's term too.
    pub(crate) fn new(env: Env, reference: Term) -> (Answerer, Term) {
        let message = Message::new();
        let reference = message.copy(reference);
        let slot = SLOT.make(Slot(AtomicU8::new(WAITING)));
        let term = slot.term(env);
        (Answerer { slot, to: caller(env), message, reference }, term)
    }

    /// Sends the answer that `make` builds, unless the caller has given up.
    pub(crate) fn answer(self, make: impl FnOnce(Env) -> Term) {
        if !self.slot.settle(ANSWERED) {
            return;
        }
        let env = self.message.env();
        let message = env.make_tuple(&[self.reference, make(env)]);
        let calling = CALLING.get();
        // SAFETY: asking for the kind of the current thread.
        if !calling.is_null() || unsafe { enif_thread_type() } == ERL_NIF_THR_UNDEFINED {
            self.send(calling, message);
        } else {
            // A thread of the VM whose environment is not at hand.
            std::thread::spawn(move || self.send(null_mut(), message));
        }
    }

    fn send(self, calling: *mut ErlNifEnv, message: Term) {
        // SAFETY: `calling` is the environment of the NIF that runs on this thread, or null on a thread that is not the
        // VM's; the message and its environment belong together. Nobody receives it when the process is gone.
        unsafe { enif_send(calling, &self.to, self.message.0, message) };
    }
}

/// An environment for one message at a time.
struct Message(*mut ErlNifEnv);

// SAFETY: an environment without a process may be used by any thread, one at a time.
unsafe impl Send for Message {}

/// Environments to use again; making one costs as much as sending.
static SPARE: Mutex<Vec<Message>> = Mutex::new(Vec::new());

const SPARE_MAX: usize = 1024;

impl Message {
    fn new() -> Message {
        let spare = SPARE.lock().ok().and_then(|mut spare| spare.pop());
        // SAFETY: the VM makes one or aborts.
        spare.unwrap_or_else(|| Message(unsafe { enif_alloc_env() }))
    }

    fn env(&self) -> Env {
        // SAFETY: owned by this value, used by one thread at a time.
        unsafe { Env::new(self.0) }
    }

    fn copy(&self, term: Term) -> Term {
        // SAFETY: the environment is valid; the term is an argument of the running NIF.
        unsafe { enif_make_copy(self.0, term) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the environment is valid, and no term of it is used any more.
        unsafe { enif_clear_env(self.0) };
        if let Ok(mut spare) = SPARE.lock()
            && spare.len() < SPARE_MAX
        {
            return spare.push(Message(self.0));
        }
        // SAFETY: owned by this value, which is gone after this.
        unsafe { enif_free_env(self.0) };
    }
}
