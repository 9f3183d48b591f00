//! Decode: from the encoded value straight to a term, with nothing in between.
//!
//! What is stored was checked when it was written, so a malformed value means a defect; it is refused all the same,
//! and no input makes this crash, recurse without end or reserve more memory than the input could fill.

use std::borrow::Cow;
use std::cell::RefCell;

use concord_kv::{limits, tags};

use crate::atoms::{self, atoms};
use crate::cbor::{self, Head, Malformed, Reader, half_float};
use crate::env::{Env, Term};
use crate::integer;
use crate::map;
use crate::times::{Clock, Day, Moment, Zone};

thread_local! {
    /// Terms of the lists and maps that are being built.
    static TERMS: RefCell<Vec<Term>> = const { RefCell::new(Vec::new()) };
}

/// Room for terms that a thread keeps between two calls.
const TERMS_KEPT_MAX: usize = 64 * 1024;

/// The term of an encoded value.
#[inline]
pub(crate) fn value(env: Env, bytes: &[u8]) -> Result<Term, Malformed> {
    // Text and bytes are most of what is stored.
    if let Some(&first) = bytes.first()
        && matches!(first >> 5, cbor::TEXT | cbor::BYTES)
        && first & 31 != 31
    {
        let mut reader = Reader::new(bytes);
        let head = reader.head()?;
        let content = reader.take(head.argument)?;
        return if reader.remaining() == 0 { Ok(env.make_binary(content)) } else { Err(Malformed) };
    }
    structured(env, bytes)
}

fn structured(env: Env, bytes: &[u8]) -> Result<Term, Malformed> {
    let mut terms = TERMS.take();
    terms.clear();
    let mut decoder = Decoder { env, reader: Reader::new(bytes), terms };
    let term = decoder.item(1);
    let rest = decoder.reader.remaining();
    let mut terms = decoder.terms;
    if terms.capacity() > TERMS_KEPT_MAX {
        terms = Vec::new();
    }
    TERMS.set(terms);
    if rest == 0 { term } else { Err(Malformed) }
}

struct Decoder<'a> {
    env: Env,
    reader: Reader<'a>,
    terms: Vec<Term>,
}

impl<'a> Decoder<'a> {
    fn item(&mut self, depth: usize) -> Result<Term, Malformed> {
        if depth > limits::VALUE_DEPTH_MAX {
            return Err(Malformed);
        }
        let head = self.reader.head()?;
        match head.major {
            cbor::UNSIGNED => integer::make(self.env, false, head.argument),
            cbor::NEGATIVE => integer::make(self.env, true, head.argument),
            cbor::BYTES | cbor::TEXT => {
                let content = self.string(head)?;
                Ok(self.env.make_binary(&content))
            }
            cbor::ARRAY => {
                let from = self.items(head, depth)?;
                let list = self.env.make_list(&self.terms[from..]);
                self.terms.truncate(from);
                Ok(list)
            }
            cbor::MAP => self.map(head, depth, 0),
            cbor::TAG => self.tagged(head.argument, depth),
            _ => self.simple(head),
        }
    }

    fn simple(&mut self, head: Head) -> Result<Term, Malformed> {
        let atoms = atoms();
        let float = match head.info {
            20 => return Ok(atoms.false_),
            21 => return Ok(atoms.true_),
            22 => return Ok(atoms.nil),
            25 => half_float(head.argument as u16),
            26 => f64::from(f32::from_bits(head.argument as u32)),
            27 => f64::from_bits(head.argument),
            _ => return Err(Malformed),
        };
        Ok(if float.is_finite() {
            self.env.make_float(float)
        } else if float.is_nan() {
            atoms.nan
        } else if float > 0.0 {
            atoms.infinity
        } else {
            atoms.negative_infinity
        })
    }

    /// Content of text or bytes.
    fn string(&mut self, head: Head) -> Result<Cow<'a, [u8]>, Malformed> {
        if !head.is_indefinite() {
            return self.reader.take(head.argument).map(Cow::Borrowed);
        }
        let mut joined = Vec::new();
        while !self.reader.is_break() {
            let chunk = self.reader.head()?;
            if chunk.major != head.major || chunk.is_indefinite() {
                return Err(Malformed);
            }
            joined.extend_from_slice(self.reader.take(chunk.argument)?);
        }
        Ok(Cow::Owned(joined))
    }

    /// Leaves the items of a list on the stack of terms and returns where they begin.
    fn items(&mut self, head: Head, depth: usize) -> Result<usize, Malformed> {
        let from = self.terms.len();
        if head.is_indefinite() {
            while !self.reader.is_break() {
                let item = self.item(depth + 1)?;
                self.terms.push(item);
            }
        } else {
            for _ in 0..self.reader.count(head, 1)? {
                let item = self.item(depth + 1)?;
                self.terms.push(item);
            }
        }
        Ok(from)
    }

    /// A map of the entries of a CBOR map and of `more` entries (key and value) that lie on the stack already.
    fn map(&mut self, head: Head, depth: usize, more: usize) -> Result<Term, Malformed> {
        let from = self.terms.len() - 2 * more;
        if head.is_indefinite() {
            while !self.reader.is_break() {
                self.entry(depth)?;
            }
        } else {
            for _ in 0..self.reader.count(head, 2)? {
                self.entry(depth)?;
            }
        }
        let map = map::of_entries(self.env, &mut self.terms, from);
        self.terms.truncate(from);
        map.ok_or(Malformed)
    }

    fn entry(&mut self, depth: usize) -> Result<(), Malformed> {
        let key = self.item(depth + 1)?;
        self.terms.push(key);
        let value = self.item(depth + 1)?;
        self.terms.push(value);
        Ok(())
    }

    fn tagged(&mut self, tag: u64, depth: usize) -> Result<Term, Malformed> {
        let head = self.reader.head()?;
        let env = self.env;
        match (tag, head.major) {
            (tags::ATOM, cbor::TEXT) => {
                let name = self.string(head)?;
                Ok(atoms::existing(env, &name).unwrap_or_else(|| env.make_binary(&name)))
            }
            (tags::TUPLE, cbor::ARRAY) => {
                let from = self.items(head, depth)?;
                let tuple = env.make_tuple(&self.terms[from..]);
                self.terms.truncate(from);
                Ok(tuple)
            }
            (tags::BIG_POSITIVE | tags::BIG_NEGATIVE, cbor::BYTES) => {
                let magnitude = self.string(head)?;
                integer::make_big(env, tag == tags::BIG_NEGATIVE, &magnitude)
            }
            (tags::DATE_TIME, cbor::TEXT) => {
                let text = self.string(head)?;
                let (moment, offset) = Moment::read(&text)?;
                moment.make_zoned(env, &Zone::of_offset(offset)?)
            }
            (tags::NAIVE_DATE_TIME, cbor::TEXT) => Moment::read(&self.string(head)?)?.0.make_naive(env),
            (tags::DATE, cbor::TEXT) => Day::read(&self.string(head)?)?.0.make(env),
            (tags::TIME, cbor::TEXT) => Clock::read(&self.string(head)?)?.0.make(env),
            (tags::ZONED_DATE_TIME, cbor::ARRAY) => self.fixed(head, |decoder| decoder.zoned()),
            (tags::DECIMAL, cbor::ARRAY) => self.fixed(head, |decoder| decoder.decimal(depth)),
            (tags::STRUCT, cbor::ARRAY) => self.fixed(head, |decoder| decoder.structure(depth)),
            (tags::SET, cbor::ARRAY) => self.set(head, depth),
            _ => Err(Malformed),
        }
    }

    /// A list whose items `content` reads, one by one.
    fn fixed(
        &mut self,
        head: Head,
        content: impl FnOnce(&mut Self) -> Result<Term, Malformed>,
    ) -> Result<Term, Malformed> {
        let term = content(self)?;
        if head.is_indefinite() && !self.reader.is_break() { Err(Malformed) } else { Ok(term) }
    }

    fn zoned(&mut self) -> Result<Term, Malformed> {
        let text = self.expect_text()?;
        let name = self.expect_text()?;
        let abbreviation = self.expect_text()?;
        let (utc_offset_s, std_offset_s) = (self.expect_int()?, self.expect_int()?);
        let (moment, _) = Moment::read(&text)?;
        let zone = Zone { name: &name, abbreviation: &abbreviation, utc_offset_s, std_offset_s };
        moment.make_zoned(self.env, &zone)
    }

    fn decimal(&mut self, depth: usize) -> Result<Term, Malformed> {
        let atoms = atoms();
        let exponent = self.item(depth + 1)?;
        let head = self.reader.head()?;
        let (is_negative, coefficient) = match (head.major, head.argument) {
            (cbor::UNSIGNED, argument) => (false, integer::make(self.env, false, argument)?),
            (cbor::NEGATIVE, argument) => (true, integer::make_successor(self.env, &argument.to_be_bytes())?),
            (cbor::TAG, tags::BIG_POSITIVE) => {
                let head = self.reader.head()?;
                (false, integer::make_big(self.env, false, &self.string(head)?)?)
            }
            (cbor::TAG, tags::BIG_NEGATIVE) => {
                let head = self.reader.head()?;
                (true, integer::make_successor(self.env, &self.string(head)?)?)
            }
            _ => return Err(Malformed),
        };
        let sign = self.env.make_int(if is_negative { -1 } else { 1 });
        let keys = [atoms.struct_, atoms.coef, atoms.exp, atoms.sign];
        self.env.make_map(&keys, &[atoms.decimal, coefficient, exponent, sign]).ok_or(Malformed)
    }

    /// A struct if the VM knows its name, else a map with the name under the key `"__struct__"`.
    fn structure(&mut self, depth: usize) -> Result<Term, Malformed> {
        let name = self.expect_text()?;
        let head = self.reader.head()?;
        if head.major != cbor::MAP {
            return Err(Malformed);
        }
        let (key, value) = match atoms::existing(self.env, &name) {
            Some(module) => (atoms().struct_, module),
            None => (self.env.make_binary(b"__struct__"), self.env.make_binary(&name)),
        };
        self.terms.extend([key, value]);
        self.map(head, depth + 1, 1)
    }

    fn set(&mut self, head: Head, depth: usize) -> Result<Term, Malformed> {
        let (atoms, env) = (atoms(), self.env);
        let from = self.items(head, depth)?;
        let elements = self.terms.split_off(from);
        let present = env.make_list(&[]);
        self.terms.extend(elements.iter().flat_map(|element| [*element, present]));
        let map = map::of_entries(env, &mut self.terms, from).ok_or(Malformed)?;
        self.terms.truncate(from);
        let set = match atoms.map_set_version {
            Some(version) => {
                env.make_map(&[atoms.struct_, atoms.map, atoms.version], &[atoms.map_set, map, env.make_int(version)])
            }
            None => env.make_map(&[atoms.struct_, atoms.map], &[atoms.map_set, map]),
        };
        set.ok_or(Malformed)
    }

    fn expect_text(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let head = self.reader.head()?;
        if head.major == cbor::TEXT { self.string(head) } else { Err(Malformed) }
    }

    fn expect_int(&mut self) -> Result<i64, Malformed> {
        let head = self.reader.head()?;
        let argument = i64::try_from(head.argument).map_err(|_| Malformed)?;
        match head.major {
            cbor::UNSIGNED => Ok(argument),
            cbor::NEGATIVE => Ok(!argument),
            _ => Err(Malformed),
        }
    }
}
