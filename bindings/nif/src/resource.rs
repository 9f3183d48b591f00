//! Resource: memory that terms refer to and that the VM frees with the last of them.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustler::sys::*;

use crate::env::{Env, Term};

/// A kind of resource that holds a `T`.
pub(crate) struct ResourceType<T> {
    name: &'static CStr,
    raw: AtomicPtr<ErlNifResourceType>,
    content: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> ResourceType<T> {
    pub(crate) const fn new(name: &'static CStr) -> ResourceType<T> {
        assert!(align_of::<T>() <= 8);
        ResourceType { name, raw: AtomicPtr::new(std::ptr::null_mut()), content: PhantomData }
    }

    /// Makes it known to the VM; when the library is loaded again, takes over what the last one left.
    ///
    /// # Safety
    /// Only while the VM loads the library.
    pub(crate) unsafe fn load(&self, env: *mut ErlNifEnv) -> bool {
        let init = ErlNifResourceTypeInit {
            dtor: drop_content::<T> as *const ErlNifResourceDtor,
            stop: std::ptr::null(),
            down: std::ptr::null(),
            members: 1,
            dyncall: std::ptr::null(),
        };
        // SAFETY: create and take over are flags of one integer, in C; the VM reads no more of `init` than `members`.
        let raw =
            unsafe { init_resource_type(env, self.name.as_ptr(), &init, CREATE | TAKE_OVER, std::ptr::null_mut()) };
        self.raw.store(raw.cast_mut(), Ordering::Release);
        !raw.is_null()
    }

    /// A new resource, owned by the caller.
    pub(crate) fn make(&self, content: T) -> Owned<T> {
        // SAFETY: the type was made known before any NIF ran; the VM returns memory for a `T`, aligned to 8 bytes
        // (it aborts when it has none), and writing there hands the content over to `drop_content`.
        unsafe {
            let memory = enif_alloc_resource(self.raw.load(Ordering::Acquire), size_of::<T>()).cast::<T>();
            memory.write(content);
            Owned(NonNull::new_unchecked(memory))
        }
    }

    /// The content of a term of this type. It lives as long as the call whose argument the term is.
    #[inline]
    pub(crate) fn get<'a>(&self, env: Env, term: Term) -> Option<&'a T> {
        let mut content = std::ptr::null();
        // SAFETY: the VM checks that the term is of this type; the term keeps the content alive while the NIF runs.
        unsafe {
            let is_it = enif_get_resource(env.as_ptr(), term, self.raw.load(Ordering::Acquire), &mut content);
            (is_it != 0).then(|| &*content.cast::<T>())
        }
    }
}

impl<T: Send + Sync + 'static> ResourceType<T> {
    /// The resource of a term of this type, for longer than the call.
    pub(crate) fn own(&self, env: Env, term: Term) -> Option<Owned<T>> {
        let content = NonNull::from(self.get(env, term)?);
        // SAFETY: the term keeps the resource alive now, the reference that is counted here from now on.
        unsafe { enif_keep_resource(content.as_ptr().cast()) };
        Some(Owned(content))
    }
}

/// A reference to a resource that is not a term.
pub(crate) struct Owned<T>(NonNull<T>);

// SAFETY: resources are counted atomically by the VM, and the content may be shared between threads.
unsafe impl<T: Send + Sync> Send for Owned<T> {}

// SAFETY: through it the content is only shared.
unsafe impl<T: Send + Sync> Sync for Owned<T> {}

impl<T> Owned<T> {
    /// A term that refers to the resource too.
    pub(crate) fn term(&self, env: Env) -> Term {
        // SAFETY: the resource is alive, this reference holds it.
        unsafe { enif_make_resource(env.as_ptr(), self.0.as_ptr().cast()) }
    }
}

impl<T> std::ops::Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the resource is alive, this reference holds it.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: gives up the reference that this value holds.
        unsafe { enif_release_resource(self.0.as_ptr().cast()) };
    }
}

unsafe extern "C" fn drop_content<T>(_env: *mut ErlNifEnv, content: *mut c_void) {
    // A panic here must not reach the VM; there is nobody to tell.
    let _ = std::panic::catch_unwind(|| {
        // SAFETY: the VM calls this once, when nothing refers to the resource any more.
        unsafe { content.cast::<T>().drop_in_place() }
    });
}

const CREATE: c_int = 1;
const TAKE_OVER: c_int = 2;

unsafe extern "C" {
    /// The VM's own function, with its flags as the number that C takes.
    #[link_name = "enif_init_resource_type"]
    fn init_resource_type(
        env: *mut ErlNifEnv,
        name: *const c_char,
        init: *const ErlNifResourceTypeInit,
        flags: c_int,
        tried: *mut c_int,
    ) -> *const ErlNifResourceType;
}
