//! Write: every write is one NIF that returns at once; the answer comes as a message.

use std::cell::RefCell;

use concord_kv::{Compress, Condition, ErrorKind, Reply, Result, Scopes, Write, limits};

use crate::answer::{self, Answerer};
use crate::atoms::atoms;
use crate::call::{
    Answer, INLINE_BYTES_MAX, INLINE_COMPRESS_BYTES_MAX, Nif, Stop, failed, nif, optional_uint, succeeded,
};
use crate::encode::{Encoder, Refusal};
use crate::env::{Env, Kind, Term};
use crate::read::{any_key, list};
use crate::selector::{is_long, selector};
use crate::store::{Store, store};

thread_local! {
    /// The values of the write that is being submitted, encoded one after the other.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Room for encoded bytes that a thread keeps between two writes.
const ENCODED_KEPT_MAX: usize = 256 * 1024;

/// Stands for a value that could not be encoded: no value is that short.
const NO_VALUE: &[u8] = &[];

/// Stands for what is no lifetime.
const NO_LIFETIME: u64 = 0;

nif! {
    /// `submit(handle, reference, operation, timeout_ms | nil)` -> a slot, when `{reference, answer}` will be sent to the
    /// caller, or `{:error, kind}`, when nothing was done and nothing will be sent.
    submit, |env, args| submit_from(env, args, Some(submit_dirty))
}

nif! {
    /// The same for large values.
    submit_dirty, |env, args| submit_from(env, args, None)
}

fn submit_from(env: Env, args: &[Term; 4], dirty: Option<Nif>) -> Answer {
    let mut encoded = ENCODED.take();
    encoded.clear();
    let result = submit_with(env, args, dirty, &mut encoded);
    if encoded.capacity() > ENCODED_KEPT_MAX {
        encoded = Vec::new();
    }
    ENCODED.set(encoded);
    result
}

fn submit_with(
    env: Env,
    &[handle, reference, operation, timeout_ms]: &[Term; 4],
    dirty: Option<Nif>,
    encoded: &mut Vec<u8>,
) -> Answer {
    let caller =
        Caller { env, store: store(env, handle)?, dirty, reference, timeout_ms: optional_uint(env, timeout_ms)? };
    let atoms = atoms();
    let Some(&[verb, ref args @ ..]) = env.tuple(operation) else { return Err(Stop::Misused) };
    match *args {
        [key, value, ttl, condition, compress] if verb == atoms.put => {
            let (key, ttl_ms, compress) = (any_key(env, key), lifetime(env, ttl), compress_of(compress)?);
            let refusable = |condition| Write::Put { key, value: NO_VALUE, ttl_ms, condition, compress };
            let condition = caller.condition(condition, encoded, compress, refusable)?;
            let value = caller.encoder(encoded, compress).value(value);
            let value = value.map_err(|stop| caller.refuse(refusable(condition.without_value()), stop))?;
            let condition = condition.bind(encoded);
            caller.is_not_long(&condition)?;
            let value = &encoded[value.0..value.1];
            caller.submit(Write::Put { key, value, ttl_ms, condition, compress })
        }
        [key, condition] if verb == atoms.delete => {
            let key = any_key(env, key);
            let refusable = |condition| match condition {
                Condition::Expected(_) | Condition::Where(_) => Write::Delete { key, condition },
                _ => Write::Delete { key, condition: Condition::Absent },
            };
            let condition = caller.condition(condition, encoded, Compress::Never, refusable)?.bind(encoded);
            caller.is_not_long(&condition)?;
            caller.submit(Write::Delete { key, condition })
        }
        [key, ttl] if verb == atoms.touch => {
            let ttl_ms = lifetime(env, ttl).unwrap_or(NO_LIFETIME);
            caller.submit(Write::Touch { key: any_key(env, key), ttl_ms })
        }
        [key, by, initial, ttl] if verb == atoms.increment => {
            let (key, ttl_ms) = (any_key(env, key), lifetime(env, ttl));
            let write = |by, initial| Write::Increment { key, by, initial, ttl_ms };
            match (env.int(by), env.int(initial)) {
                (Some(by), Some(initial)) => caller.submit(write(by, initial)),
                _ if env.is_integer(by) && env.is_integer(initial) => {
                    Err(caller.refuse(write(0, 0), ErrorKind::ValueTooLarge.into()))
                }
                _ => Err(Stop::Misused),
            }
        }
        [items, ttl, compress] if verb == atoms.put_many => {
            put_many(&caller, items, ttl, compress_of(compress)?, encoded)
        }
        [keys] if verb == atoms.delete_many => {
            let keys = list(env, keys).map_err(|kind| caller.refuse(Write::DeleteMany { keys: &[] }, kind.into()))?;
            let keys: Vec<&[u8]> = keys.iter().map(|key| any_key(env, *key)).collect();
            caller.submit(Write::DeleteMany { keys: &keys })
        }
        [items] if verb == atoms.touch_many => touch_many(&caller, items),
        [picking] if verb == atoms.delete_where => delete_where(&caller, picking),
        _ => Err(Stop::Misused),
    }
}

/// All items are checked: first their form, then (by the store) their keys, their lifetimes, their values.
fn put_many(caller: &Caller<'_>, items: Term, ttl: Term, compress: Compress, encoded: &mut Vec<u8>) -> Answer {
    let env = caller.env;
    let malformed = |kind: ErrorKind| caller.refuse(Write::PutMany { items: &[], compress }, kind.into());
    let mut parsed = Vec::new();
    for item in list(env, items).map_err(malformed)? {
        let (key, value, ttl) = match env.tuple(item) {
            Some(&[key, value]) => (key, value, ttl),
            Some(&[key, value, ttl]) => (key, value, ttl),
            _ => return Err(malformed(ErrorKind::InvalidOperationFormat)),
        };
        let key = env.bytes(key).ok_or_else(|| malformed(ErrorKind::InvalidOperationFormat))?;
        parsed.push((key, value, lifetime(env, ttl)));
    }
    let mut values = caller.encoder(encoded, compress);
    let places = parsed.iter().map(|(_, value, _)| values.value(*value)).collect::<Answer<Vec<_>>>();
    let places = places.map_err(|stop| {
        let items: Vec<_> = parsed.iter().map(|(key, _, ttl_ms)| (*key, NO_VALUE, *ttl_ms)).collect();
        caller.refuse(Write::PutMany { items: &items, compress }, stop)
    })?;
    let items: Vec<_> =
        parsed.iter().zip(places).map(|((key, _, ttl_ms), (from, to))| (*key, &encoded[from..to], *ttl_ms)).collect();
    caller.submit(Write::PutMany { items: &items, compress })
}

fn touch_many(caller: &Caller<'_>, items: Term) -> Answer {
    let env = caller.env;
    let malformed = |kind: ErrorKind| caller.refuse(Write::TouchMany { items: &[] }, kind.into());
    let mut parsed = Vec::new();
    for item in list(env, items).map_err(malformed)? {
        let Some(&[key, ttl]) = env.tuple(item) else { return Err(malformed(ErrorKind::InvalidTouchOperation)) };
        let key = env.bytes(key).ok_or_else(|| malformed(ErrorKind::InvalidTouchOperation))?;
        parsed.push((key, lifetime(env, ttl).unwrap_or(NO_LIFETIME)));
    }
    caller.submit(Write::TouchMany { items: &parsed })
}

fn delete_where(caller: &Caller<'_>, picking: Term) -> Answer {
    const WRITE: Scopes = Scopes { read: false, write: true, admin: false };
    let selector = match selector(caller.env, picking)? {
        Ok(selector) => selector,
        Err(kind) => {
            caller.store.db.kv().check_caller(WRITE, &[])?;
            return Err(kind.into());
        }
    };
    match caller.dirty {
        Some(dirty) if selector.pattern.is_some() || selector.filter.is_some_and(is_long) => Err(Stop::Later(dirty)),
        _ => caller.submit(Write::DeleteWhere { selector }),
    }
}

/// Who asks for a write, and what is the same for all writes.
struct Caller<'a> {
    env: Env,
    store: &'a Store,
    dirty: Option<Nif>,
    reference: Term,
    timeout_ms: Option<u64>,
}

impl Caller<'_> {
    fn submit(&self, write: Write<'_>) -> Answer {
        let (answerer, slot) = Answerer::new(self.env, self.reference);
        let done = |result| answerer.answer(|env| reply_term(env, result));
        answer::during(self.env, || self.store.db.kv().submit(write, self.timeout_ms, done))?;
        Ok(slot)
    }

    /// Why a write cannot be made, unless the store refuses it for its caller, its keys or its lifetimes: that is said first.
    /// It is shown the write with what it refuses last, and no time to do it.
    fn refuse(&self, write: Write<'_>, stop: Stop) -> Stop {
        let Stop::Failed(kind) = stop else { return stop };
        let said = self.store.db.kv().submit(write, Some(0), |_| ()).map_err(|error| error.kind());
        Stop::Failed(match said {
            Ok(()) | Err(ErrorKind::InvalidValue | ErrorKind::InvalidCondition | ErrorKind::Timeout) => kind,
            Err(first) => first,
        })
    }

    /// Leaves for a dirty scheduler when understanding the condition may take long.
    fn is_not_long(&self, condition: &Condition<'_>) -> Answer<()> {
        match (condition, self.dirty) {
            (Condition::Where(expression), Some(dirty)) if is_long(expression) => Err(Stop::Later(dirty)),
            _ => Ok(()),
        }
    }

    /// A condition, `:always | :absent | {:revision, n} | {:expected, value} | {:where, text}`, or `{:refused, kind}`, which the
    /// caller has found to be none. `refusable` is the write under a condition.
    fn condition<'w>(
        &self,
        term: Term,
        encoded: &mut Vec<u8>,
        compress: Compress,
        refusable: impl Fn(Condition<'w>) -> Write<'w>,
    ) -> Answer<Expectation<'w>> {
        let atoms = atoms();
        if term == atoms.always {
            return Ok(Expectation::Always);
        }
        if term == atoms.absent {
            return Ok(Expectation::Absent);
        }
        match self.env.tuple(term) {
            Some(&[kind, value]) if kind == atoms.expected => {
                let expected = self.encoder(encoded, compress).value(value);
                let refused = |stop| self.refuse(refusable(Condition::Expected(NO_VALUE)), stop);
                expected.map(|(from, to)| Expectation::Value(from, to)).map_err(refused)
            }
            Some(&[kind, revision]) if kind == atoms.revision => match self.env.uint(revision) {
                Some(revision) => Ok(Expectation::Revision(revision)),
                None => Err(self.refuse(refusable(Condition::Absent), ErrorKind::InvalidCondition.into())),
            },
            Some(&[kind, text]) if kind == atoms.where_ => {
                let text = self.env.bytes(text).ok_or(Stop::Misused)?;
                let refused = |_| self.refuse(refusable(Condition::Where("")), ErrorKind::InvalidCondition.into());
                std::str::from_utf8(text).map(Expectation::Where).map_err(refused)
            }
            Some(&[kind, why]) if kind == atoms.refused => {
                let why = atoms.kind_of(why).ok_or(Stop::Misused)?;
                Err(self.refuse(refusable(Condition::Absent), why.into()))
            }
            _ => Err(Stop::Misused),
        }
    }

    fn encoder<'a>(&self, out: &'a mut Vec<u8>, compress: Compress) -> Values<'a> {
        let compression = &self.store.compression;
        let compressed_from = match compress {
            Compress::Auto if compression.enabled => compression.threshold_bytes,
            Compress::Always => 0,
            Compress::Auto | Compress::Never => usize::MAX,
        };
        let value_bytes_max = self.store.value_bytes_max;
        Values { env: self.env, out, dirty: self.dirty, value_bytes_max, compressed_from, compressed: 0 }
    }
}

fn reply_term(env: Env, result: Result<Reply>) -> Term {
    let atoms = atoms();
    match result {
        Ok(Reply::Done { .. }) => atoms.ok,
        Ok(Reply::Integer { value, .. }) => succeeded(env, env.make_int(value)),
        Ok(Reply::Touched { found }) => {
            let found = found.iter().map(|found| if *found { atoms.true_ } else { atoms.false_ });
            succeeded(env, env.make_list(&found.collect::<Vec<Term>>()))
        }
        // None of the writes here is one.
        Ok(Reply::Transaction(_)) => failed(env, ErrorKind::Internal),
        Err(error) => failed(env, error.kind()),
    }
}

/// Encodes the values of one write, and leaves for a dirty scheduler when they are too much for a normal one.
struct Values<'a> {
    env: Env,
    out: &'a mut Vec<u8>,
    dirty: Option<Nif>,
    value_bytes_max: usize,
    /// Values of more bytes than this will be compressed.
    compressed_from: usize,
    /// Bytes that will be compressed so far.
    compressed: usize,
}

impl Values<'_> {
    /// Where the encoded value begins and ends.
    fn value(&mut self, term: Term) -> Answer<(usize, usize)> {
        let from = self.out.len();
        if from > limits::BATCH_BYTES_MAX {
            return Err(ErrorKind::ValueTooLarge.into());
        }
        let value_max = from + self.value_bytes_max;
        let bytes_max = if self.dirty.is_some() { value_max.min(INLINE_BYTES_MAX) } else { value_max };
        let result = Encoder { env: self.env, out: self.out, bytes_max }.value(term);
        let to = self.out.len();
        if to - from > self.compressed_from {
            self.compressed += to - from;
        }
        match (result, self.dirty) {
            (Err(Refusal::Full), Some(dirty)) if bytes_max < value_max => Err(Stop::Later(dirty)),
            (_, Some(dirty)) if self.compressed > INLINE_COMPRESS_BYTES_MAX => Err(Stop::Later(dirty)),
            (result, _) => {
                result?;
                Ok((from, to))
            }
        }
    }
}

/// A condition whose value lies among the encoded bytes.
enum Expectation<'a> {
    Always,
    Absent,
    Revision(u64),
    Value(usize, usize),
    Where(&'a str),
}

impl<'a> Expectation<'a> {
    /// The same with a value that is none.
    fn without_value(&self) -> Condition<'a> {
        match self {
            Expectation::Always => Condition::Always,
            Expectation::Absent => Condition::Absent,
            Expectation::Revision(revision) => Condition::Revision(*revision),
            Expectation::Value(..) => Condition::Expected(NO_VALUE),
            Expectation::Where(expression) => Condition::Where(expression),
        }
    }

    fn bind<'b>(self, encoded: &'b [u8]) -> Condition<'b>
    where
        'a: 'b,
    {
        match self {
            Expectation::Always => Condition::Always,
            Expectation::Absent => Condition::Absent,
            Expectation::Revision(revision) => Condition::Revision(revision),
            Expectation::Value(from, to) => Condition::Expected(&encoded[from..to]),
            Expectation::Where(expression) => Condition::Where(expression),
        }
    }
}

/// Milliseconds of a lifetime: nil and `:infinity` are none, else whole seconds above 0. What cannot be one is
/// [`NO_LIFETIME`]; the store says so, after it has looked at caller and key.
fn lifetime(env: Env, ttl: Term) -> Option<u64> {
    let atoms = atoms();
    if ttl == atoms.nil || ttl == atoms.infinity {
        return None;
    }
    let seconds = if env.kind(ttl) == Kind::Integer { env.uint(ttl) } else { None };
    Some(seconds.and_then(|seconds| seconds.checked_mul(1000)).unwrap_or(NO_LIFETIME))
}

fn compress_of(term: Term) -> Answer<Compress> {
    let atoms = atoms();
    match term {
        term if term == atoms.auto => Ok(Compress::Auto),
        term if term == atoms.always => Ok(Compress::Always),
        term if term == atoms.never => Ok(Compress::Never),
        _ => Err(Stop::Misused),
    }
}
