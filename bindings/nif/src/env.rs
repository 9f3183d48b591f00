//! Env: the few things that this library asks of the Erlang VM, each once, as safe methods.
//!
//! A term is only meaningful in the environment that it came from; `Env` values live as long as one call of a NIF
//! (or one message), so neither is ever stored, with the exceptions named in `atoms` (atoms are no pointers).

use std::mem::MaybeUninit;

use rustler::sys::*;

pub(crate) use rustler::sys::ErlNifTerm as Term;

/// What a term is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Atom,
    Bitstring,
    Float,
    Integer,
    List,
    Map,
    Tuple,
    /// Functions, processes, ports, references, and what future VMs may add.
    Other,
}

/// An environment that terms are read from and built in.
#[derive(Clone, Copy)]
pub(crate) struct Env(*mut ErlNifEnv);

impl Env {
    /// # Safety
    /// `env` must be valid, and used by this thread alone, for as long as this value is used.
    pub(crate) unsafe fn new(env: *mut ErlNifEnv) -> Env {
        Env(env)
    }

    pub(crate) fn as_ptr(self) -> *mut ErlNifEnv {
        self.0
    }

    pub(crate) fn kind(self, term: Term) -> Kind {
        // SAFETY: the environment is valid.
        match unsafe { enif_term_type_number(self.0, term) } {
            1 => Kind::Atom,
            2 => Kind::Bitstring,
            3 => Kind::Float,
            5 => Kind::Integer,
            6 => Kind::List,
            7 => Kind::Map,
            11 => Kind::Tuple,
            _ => Kind::Other,
        }
    }

    pub(crate) fn is_atom(self, term: Term) -> bool {
        // SAFETY: the environment is valid.
        unsafe { enif_is_atom(self.0, term) != 0 }
    }

    pub(crate) fn is_integer(self, term: Term) -> bool {
        self.kind(term) == Kind::Integer
    }

    /// The bytes of a binary; `None` for anything else, bit strings included.
    pub(crate) fn bytes<'a>(self, term: Term) -> Option<&'a [u8]> {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: the environment is valid, and `binary` is filled when the answer is not 0. The bytes stay where they
        // are while the NIF runs: the term is an argument (or part of one), and the VM does not collect garbage
        // during the call. No caller keeps the slice beyond its call.
        unsafe {
            if enif_inspect_binary(self.0, term, binary.as_mut_ptr()) == 0 {
                return None;
            }
            let binary = binary.assume_init();
            Some(slice(binary.data, binary.size))
        }
    }

    pub(crate) fn int(self, term: Term) -> Option<i64> {
        let mut int = 0;
        // SAFETY: the environment and the place for the answer are valid.
        (unsafe { enif_get_int64(self.0, term, &mut int) } != 0).then_some(int)
    }

    pub(crate) fn uint(self, term: Term) -> Option<u64> {
        let mut int = 0;
        // SAFETY: the environment and the place for the answer are valid.
        (unsafe { enif_get_uint64(self.0, term, &mut int) } != 0).then_some(int)
    }

    pub(crate) fn float(self, term: Term) -> Option<f64> {
        let mut float = 0.0;
        // SAFETY: the environment and the place for the answer are valid.
        (unsafe { enif_get_double(self.0, term, &mut float) } != 0).then_some(float)
    }

    pub(crate) fn tuple<'a>(self, term: Term) -> Option<&'a [Term]> {
        let mut arity = 0;
        let mut items = std::ptr::null();
        // SAFETY: the environment is valid; the items stay where they are while the NIF runs (see `bytes`).
        unsafe {
            if enif_get_tuple(self.0, term, &mut arity, &mut items) == 0 {
                return None;
            }
            Some(slice(items, arity as usize))
        }
    }

    /// Head and tail of a list that is not empty.
    pub(crate) fn list_cell(self, list: Term) -> Option<(Term, Term)> {
        let (mut head, mut tail) = (Term::default(), Term::default());
        // SAFETY: the environment and the places for the answer are valid.
        (unsafe { enif_get_list_cell(self.0, list, &mut head, &mut tail) } != 0).then_some((head, tail))
    }

    pub(crate) fn is_empty_list(self, term: Term) -> bool {
        // SAFETY: the environment is valid.
        unsafe { enif_is_empty_list(self.0, term) != 0 }
    }

    pub(crate) fn map_size(self, map: Term) -> Option<usize> {
        let mut size = 0;
        // SAFETY: the environment and the place for the answer are valid.
        (unsafe { enif_get_map_size(self.0, map, &mut size) } != 0).then_some(size)
    }

    pub(crate) fn map_value(self, map: Term, key: Term) -> Option<Term> {
        let mut value = Term::default();
        // SAFETY: the environment and the place for the answer are valid.
        (unsafe { enif_get_map_value(self.0, map, key, &mut value) } != 0).then_some(value)
    }

    /// Calls `f` with each entry of a map until it refuses one.
    pub(crate) fn each_entry<E>(self, map: Term, mut f: impl FnMut(Term, Term) -> Result<(), E>) -> Result<(), E> {
        let mut iterator = MaybeUninit::<ErlNifMapIterator>::uninit();
        let head = ErlNifMapIteratorEntry::ERL_NIF_MAP_ITERATOR_HEAD;
        // SAFETY: the environment is valid; the iterator is initialised when the answer is not 0, and destroyed below
        // whatever `f` answers. Should `f` panic, the iterator's memory is leaked, no more.
        unsafe {
            if enif_map_iterator_create(self.0, map, iterator.as_mut_ptr(), head) == 0 {
                return Ok(());
            }
            let iterator = iterator.as_mut_ptr();
            let (mut key, mut value) = (Term::default(), Term::default());
            let mut result = Ok(());
            while result.is_ok() && enif_map_iterator_get_pair(self.0, iterator, &mut key, &mut value) != 0 {
                result = f(key, value);
                enif_map_iterator_next(self.0, iterator);
            }
            enif_map_iterator_destroy(self.0, iterator);
            result
        }
    }

    pub(crate) fn make_int(self, int: i64) -> Term {
        // SAFETY: the environment is valid.
        unsafe { enif_make_int64(self.0, int) }
    }

    pub(crate) fn make_uint(self, int: u64) -> Term {
        // SAFETY: the environment is valid.
        unsafe { enif_make_uint64(self.0, int) }
    }

    /// `float` must be finite: anything else would crash the VM.
    pub(crate) fn make_float(self, float: f64) -> Term {
        debug_assert!(float.is_finite());
        // SAFETY: the environment is valid and the only caller checks that the float is finite.
        unsafe { enif_make_double(self.0, float) }
    }

    /// A binary with a copy of these bytes.
    pub(crate) fn make_binary(self, bytes: &[u8]) -> Term {
        let mut term = Term::default();
        // SAFETY: the VM returns writable memory of the size asked for (it aborts when it has none), which nobody else
        // knows yet.
        unsafe {
            let data = enif_make_new_binary(self.0, bytes.len(), &mut term);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
        }
        term
    }

    pub(crate) fn make_tuple(self, items: &[Term]) -> Term {
        // SAFETY: the environment is valid and the items are terms of it.
        unsafe { enif_make_tuple_from_array(self.0, items.as_ptr(), items.len() as u32) }
    }

    pub(crate) fn make_list(self, items: &[Term]) -> Term {
        // SAFETY: the environment is valid and the items are terms of it.
        unsafe { enif_make_list_from_array(self.0, items.as_ptr(), items.len() as u32) }
    }

    /// A map of these keys and values; `None` when a key occurs twice.
    pub(crate) fn make_map(self, keys: &[Term], values: &[Term]) -> Option<Term> {
        debug_assert_eq!(keys.len(), values.len());
        let mut map = Term::default();
        let count = keys.len().min(values.len());
        // SAFETY: the environment is valid, both arrays have `count` terms of it.
        let is_made = unsafe { enif_make_map_from_arrays(self.0, keys.as_ptr(), values.as_ptr(), count, &mut map) };
        (is_made != 0).then_some(map)
    }

    /// Makes an atom. Only for names that this library knows: atoms are never freed.
    pub(crate) fn make_known_atom(self, name: &'static str) -> Term {
        // SAFETY: the environment is valid, the name has at most 255 characters.
        unsafe { enif_make_atom_len(self.0, name.as_ptr().cast(), name.len()) }
    }

    /// The atom of this ASCII name, if the VM has it already.
    pub(crate) fn existing_atom(self, name: &[u8]) -> Option<Term> {
        const CHARACTERS_MAX: usize = 255;
        if name.len() > CHARACTERS_MAX || !name.is_ascii() {
            return None;
        }
        let mut atom = Term::default();
        let latin1 = ErlNifCharEncoding::ERL_NIF_LATIN1;
        // SAFETY: the environment is valid and the name is read with its length.
        let exists =
            unsafe { enif_make_existing_atom_len(self.0, name.as_ptr().cast(), name.len(), &mut atom, latin1) };
        (exists != 0).then_some(atom)
    }

    /// The name of an atom in Latin-1, if it can be written so.
    pub(crate) fn atom_name_latin1(self, atom: Term, name: &mut [u8; 256]) -> Option<usize> {
        let latin1 = ErlNifCharEncoding::ERL_NIF_LATIN1;
        // SAFETY: the environment is valid and the buffer has the length that is passed.
        let written = unsafe { enif_get_atom(self.0, atom, name.as_mut_ptr().cast(), name.len() as u32, latin1) };
        usize::try_from(written).ok()?.checked_sub(1)
    }

    /// The term in Erlang's external format, for what the C interface cannot say otherwise.
    pub(crate) fn to_external<T>(self, term: Term, f: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: the environment is valid; the binary is filled when the answer is not 0, read only here and released.
        unsafe {
            if enif_term_to_binary(self.0, term, binary.as_mut_ptr()) == 0 {
                return None;
            }
            let mut binary = binary.assume_init();
            let result = f(slice(binary.data, binary.size));
            enif_release_binary(&mut binary);
            result
        }
    }

    /// The term of these bytes in Erlang's external format; makes no new atoms.
    pub(crate) fn read_external(self, bytes: &[u8]) -> Option<Term> {
        let mut term = Term::default();
        // SAFETY: the environment is valid and the bytes are read with their length.
        let read =
            unsafe { enif_binary_to_term(self.0, bytes.as_ptr(), bytes.len(), &mut term, ERL_NIF_BIN2TERM_SAFE) };
        (read == bytes.len()).then_some(term)
    }

    pub(crate) fn hash(self, term: Term) -> u64 {
        // SAFETY: hashing reads the term only.
        unsafe { enif_hash(ErlNifHash::ERL_NIF_INTERNAL_HASH, term, 0) }
    }

    /// Tells the scheduler that this call has done about `bytes` worth of work.
    pub(crate) fn consume_timeslice(self, bytes: usize) {
        const BYTES_PER_PERCENT: usize = 2_000;
        if bytes >= BYTES_PER_PERCENT {
            let percent = (bytes / BYTES_PER_PERCENT).min(100) as i32;
            // SAFETY: called from a NIF with its own environment.
            unsafe { enif_consume_timeslice(self.0, percent) };
        }
    }
}

/// Whether two terms are the same term (`===`).
pub(crate) fn is_identical(a: Term, b: Term) -> bool {
    // SAFETY: comparing reads the terms only.
    unsafe { enif_is_identical(a, b) != 0 }
}

unsafe extern "C" {
    /// The VM's own function; its answer is taken as a number, because future VMs may give some that no enum of today knows.
    #[link_name = "enif_term_type"]
    fn enif_term_type_number(env: *mut ErlNifEnv, term: Term) -> c_int;
}

/// # Safety
/// As `std::slice::from_raw_parts`, except that the pointer of an empty slice may be null.
unsafe fn slice<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(data, len) }
}
