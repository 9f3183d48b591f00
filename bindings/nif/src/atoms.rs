//! Atoms: those that this library speaks of, looked up once; and the two caches between atoms and their names.
//!
//! Atoms are numbers, the same in every environment, and the VM never frees one: that is why they may be kept.

use std::cell::RefCell;
use std::sync::OnceLock;

use concord_kv::{ErrorKind, tags};

use crate::cbor;
use crate::env::{Env, Term};

macro_rules! atoms {
    ($($name:ident = $text:literal,)+) => {
        /// The atoms that this library speaks of.
        pub(crate) struct Atoms {
            $(pub(crate) $name: Term,)+
            /// Names of the error kinds; the place is the code.
            errors: Vec<Term>,
            /// The value of `MapSet`'s field `version`, where this Elixir has one.
            pub(crate) map_set_version: Option<i64>,
        }

        impl Atoms {
            fn new(env: Env, map_set_template: Term) -> Atoms {
                let codes = ErrorKind::ALL.iter().map(|kind| kind.code() as usize).max().unwrap_or(0);
                let mut errors = vec![env.make_known_atom("internal"); codes + 1];
                for kind in ErrorKind::ALL {
                    errors[kind.code() as usize] = env.make_known_atom(kind.name());
                }
                let version = env.make_known_atom("version");
                let map_set_version = env.map_value(map_set_template, version).and_then(|term| env.int(term));
                Atoms { $($name: env.make_known_atom($text),)+ errors, map_set_version }
            }
        }
    };
}

atoms! {
    ok = "ok",
    error = "error",
    nil = "nil",
    true_ = "true",
    false_ = "false",
    infinity = "infinity",
    negative_infinity = "neg_infinity",
    nan = "nan",
    struct_ = "__struct__",
    calendar = "calendar",
    calendar_iso = "Elixir.Calendar.ISO",
    date_time = "Elixir.DateTime",
    naive_date_time = "Elixir.NaiveDateTime",
    date = "Elixir.Date",
    time = "Elixir.Time",
    decimal = "Elixir.Decimal",
    map_set = "Elixir.MapSet",
    year = "year",
    month = "month",
    day = "day",
    hour = "hour",
    minute = "minute",
    second = "second",
    microsecond = "microsecond",
    time_zone = "time_zone",
    zone_abbr = "zone_abbr",
    utc_offset = "utc_offset",
    std_offset = "std_offset",
    coef = "coef",
    exp = "exp",
    sign = "sign",
    map = "map",
    version = "version",
    always = "always",
    absent = "absent",
    revision = "revision",
    expected = "expected",
    auto = "auto",
    never = "never",
    memory = "memory",
    zlib = "zlib",
    gzip = "gzip",
    eventual = "eventual",
    leader = "leader",
    strong = "strong",
    value = "value",
    ttl = "ttl",
    record = "record",
    value_ttl = "value_ttl",
    put = "put",
    delete = "delete",
    touch = "touch",
    increment = "increment",
    put_many = "put_many",
    delete_many = "delete_many",
    touch_many = "touch_many",
    state = "state",
    term = "term",
    commit_index = "commit_index",
    last_applied = "last_applied",
    snapshot_index = "snapshot_index",
    members = "members",
    node_id = "node_id",
    cluster_id = "cluster_id",
    address = "address",
    role = "role",
    name = "name",
    matched_index = "matched_index",
    lag = "lag",
    last_contact_ms = "last_contact_ms",
    ready = "ready",
    snapshot_state = "snapshot_state",
    waits = "waits",
    add = "add",
    promote = "promote",
    remove = "remove",
    replace = "replace",
    transfer_leadership = "transfer_leadership",
    leave = "leave",
    refused = "refused",
    where_ = "where",
    delete_where = "delete_where",
    keys = "keys",
    pairs = "pairs",
    records = "records",
    more = "more",
    last = "last",
    read = "read",
    write = "write",
    admin = "admin",
    size = "size",
    log_bytes = "log_bytes",
    failure = "failure",
    original_size = "original_size",
    compressed_size = "compressed_size",
    compression_ratio = "compression_ratio",
    savings_bytes = "savings_bytes",
    savings_percent = "savings_percent",
}

static ATOMS: OnceLock<Atoms> = OnceLock::new();

/// Looks them up. `map_set_template` is an empty `MapSet` of the running Elixir.
pub(crate) fn load(env: Env, map_set_template: Term) {
    ATOMS.get_or_init(|| Atoms::new(env, map_set_template));
}

/// The atoms; only NIFs use them, and no NIF runs before `load`.
#[inline]
pub(crate) fn atoms() -> &'static Atoms {
    ATOMS.get().expect("the VM calls load before any NIF")
}

impl Atoms {
    /// The error kind of this name.
    pub(crate) fn kind_of(&self, name: Term) -> Option<ErrorKind> {
        ErrorKind::ALL.iter().copied().find(|kind| self.kind(*kind) == name)
    }

    /// The name of an error kind.
    pub(crate) fn kind(&self, kind: ErrorKind) -> Term {
        self.errors[kind.code() as usize]
    }
}

/// Places in each cache; a name that falls on a taken place replaces it.
const PLACES: usize = 512;

/// Longest name that the caches hold.
const NAME_BYTES_MAX: usize = 46;

#[derive(Clone, Copy)]
struct Entry {
    atom: Term,
    len: u8,
    bytes: [u8; NAME_BYTES_MAX],
}

const EMPTY: Entry = Entry { atom: NO_TERM, len: 0, bytes: [0; NAME_BYTES_MAX] };

// SAFETY: `Term` is a transparent usize; 0 is no term of any VM (`THE_NON_VALUE`), and this is only compared.
const NO_TERM: Term = unsafe { std::mem::transmute::<usize, Term>(0) };

thread_local! {
    /// From a name (UTF-8) to the existing atom.
    static BY_NAME: RefCell<Box<[Entry; PLACES]>> = RefCell::new(Box::new([EMPTY; PLACES]));
    /// From an atom to its encoded form (tag and text).
    static BY_ATOM: RefCell<Box<[Entry; PLACES]>> = RefCell::new(Box::new([EMPTY; PLACES]));
}

/// The atom of this name (UTF-8) if the VM has it already. Never makes one.
pub(crate) fn existing(env: Env, name: &[u8]) -> Option<Term> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return look_up(env, name);
    }
    BY_NAME.with_borrow_mut(|cache| {
        let entry = &mut cache[place_of_name(name)];
        if entry.bytes[..entry.len as usize] == *name {
            return Some(entry.atom);
        }
        let atom = look_up(env, name)?;
        *entry = Entry { atom, len: name.len() as u8, ..EMPTY };
        entry.bytes[..name.len()].copy_from_slice(name);
        Some(atom)
    })
}

fn look_up(env: Env, name: &[u8]) -> Option<Term> {
    const EXTERNAL_VERSION: u8 = 131;
    const ATOM_UTF8_EXT: u8 = 118;
    const NAME_BYTES_LIMIT: usize = 255 * 4;
    if name.is_ascii() {
        return env.existing_atom(name);
    }
    if name.len() > NAME_BYTES_LIMIT {
        return None;
    }
    // The C interface of this VM version only takes Latin-1; the external format takes UTF-8.
    let mut external = Vec::with_capacity(4 + name.len());
    external.extend([EXTERNAL_VERSION, ATOM_UTF8_EXT]);
    external.extend((name.len() as u16).to_be_bytes());
    external.extend_from_slice(name);
    env.read_external(&external).filter(|term| env.is_atom(*term))
}

fn place_of_name(name: &[u8]) -> usize {
    let mut hash = name.len() as u64;
    for chunk in name.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (hash >> 32) as usize % PLACES
}

/// Appends the encoded form of an atom that is neither nil nor a boolean.
pub(crate) fn write(env: Env, atom: Term, out: &mut Vec<u8>) -> Option<()> {
    BY_ATOM.with_borrow_mut(|cache| {
        let entry = &mut cache[place_of_atom(atom)];
        if entry.atom == atom {
            out.extend_from_slice(&entry.bytes[..entry.len as usize]);
            return Some(());
        }
        let before = out.len();
        cbor::write_head(cbor::TAG, tags::ATOM, out);
        write_name(env, atom, out)?;
        let encoded = &out[before..];
        if encoded.len() <= NAME_BYTES_MAX {
            *entry = Entry { atom, len: encoded.len() as u8, ..EMPTY };
            entry.bytes[..encoded.len()].copy_from_slice(encoded);
        }
        Some(())
    })
}

fn place_of_atom(atom: Term) -> usize {
    // SAFETY: `Term` is a transparent usize; the number is only used to pick a place.
    let number = unsafe { std::mem::transmute::<Term, usize>(atom) };
    // The low six bits of an atom are its kind.
    (number >> 6) % PLACES
}

/// Appends the name of an atom as text.
pub(crate) fn write_name(env: Env, atom: Term, out: &mut Vec<u8>) -> Option<()> {
    let mut name = [0; 256];
    if let Some(len) = env.atom_name_latin1(atom, &mut name) {
        let name = &name[..len];
        if name.is_ascii() {
            cbor::write_head(cbor::TEXT, len as u64, out);
            out.extend_from_slice(name);
        } else {
            let name: String = name.iter().map(|byte| char::from(*byte)).collect();
            cbor::write_head(cbor::TEXT, name.len() as u64, out);
            out.extend_from_slice(name.as_bytes());
        }
        return Some(());
    }
    env.to_external(atom, |external| {
        const SMALL_ATOM_UTF8_EXT: u8 = 119;
        const ATOM_UTF8_EXT: u8 = 118;
        let name = match *external {
            [_, SMALL_ATOM_UTF8_EXT, _, ref name @ ..] | [_, ATOM_UTF8_EXT, _, _, ref name @ ..] => name,
            _ => return None,
        };
        cbor::write_head(cbor::TEXT, name.len() as u64, out);
        out.extend_from_slice(name);
        Some(())
    })
}
