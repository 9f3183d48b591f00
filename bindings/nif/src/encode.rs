//! Encode: from a term straight to the encoded value, with nothing in between.

use concord_kv::{limits, tags};

use crate::atoms::{self, atoms};
use crate::cbor::{self, write_head};
use crate::env::{Env, Kind, Term};
use crate::integer;
use crate::structs;

/// Why a term was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no value: a function, process, port, reference, bit string, improper list, or nested too deeply.
    Invalid,
    /// It does not fit into the bytes that were allowed.
    Full,
}

/// Writes terms as encoded values.
///
/// - `out` never grows beyond `bytes_max` by more than one item's head.
pub(crate) struct Encoder<'a> {
    pub(crate) env: Env,
    pub(crate) out: &'a mut Vec<u8>,
    /// Length of `out` beyond which encoding stops.
    pub(crate) bytes_max: usize,
}

impl Encoder<'_> {
    /// Appends one value. After a refusal `out` holds a part of it.
    #[inline]
    pub(crate) fn value(&mut self, term: Term) -> Result<(), Refusal> {
        self.item(term, 1)
    }

    pub(crate) fn item(&mut self, term: Term, depth: usize) -> Result<(), Refusal> {
        if depth > limits::VALUE_DEPTH_MAX {
            return Err(Refusal::Invalid);
        }
        if self.out.len() > self.bytes_max {
            return Err(Refusal::Full);
        }
        match self.env.kind(term) {
            Kind::Bitstring => self.binary(term),
            Kind::Integer => integer::write(self.env, term, self.bytes_max, self.out),
            Kind::Atom => self.atom(term),
            Kind::Float => self.float(term),
            Kind::Map => self.map(term, depth),
            Kind::List => self.list(term, depth),
            Kind::Tuple => self.tuple(term, depth),
            Kind::Other => Err(Refusal::Invalid),
        }
    }

    fn binary(&mut self, term: Term) -> Result<(), Refusal> {
        let bytes = self.env.bytes(term).ok_or(Refusal::Invalid)?;
        if bytes.len() > self.bytes_max.saturating_sub(self.out.len()) {
            return Err(Refusal::Full);
        }
        let major = if std::str::from_utf8(bytes).is_ok() { cbor::TEXT } else { cbor::BYTES };
        write_head(major, bytes.len() as u64, self.out);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn atom(&mut self, term: Term) -> Result<(), Refusal> {
        let atoms = atoms();
        if term == atoms.nil {
            self.out.push(cbor::NULL);
        } else if term == atoms.true_ {
            self.out.push(cbor::TRUE);
        } else if term == atoms.false_ {
            self.out.push(cbor::FALSE);
        } else {
            atoms::write(self.env, term, self.out).ok_or(Refusal::Invalid)?;
        }
        Ok(())
    }

    fn float(&mut self, term: Term) -> Result<(), Refusal> {
        let float = self.env.float(term).ok_or(Refusal::Invalid)?;
        self.out.push(cbor::FLOAT);
        self.out.extend_from_slice(&float.to_bits().to_be_bytes());
        Ok(())
    }

    fn tuple(&mut self, term: Term, depth: usize) -> Result<(), Refusal> {
        let items = self.env.tuple(term).ok_or(Refusal::Invalid)?;
        self.check_count(items.len())?;
        write_head(cbor::TAG, tags::TUPLE, self.out);
        write_head(cbor::ARRAY, items.len() as u64, self.out);
        items.iter().try_for_each(|item| self.item(*item, depth + 1))
    }

    fn list(&mut self, list: Term, depth: usize) -> Result<(), Refusal> {
        let count = self.list_len(list)?;
        write_head(cbor::ARRAY, count as u64, self.out);
        let mut rest = list;
        while let Some((head, tail)) = self.env.list_cell(rest) {
            self.item(head, depth + 1)?;
            rest = tail;
        }
        Ok(())
    }

    /// Length of a proper list. Looks at no more cells than could be encoded.
    fn list_len(&self, list: Term) -> Result<usize, Refusal> {
        let mut count = 0;
        let mut rest = list;
        while let Some((_, tail)) = self.env.list_cell(rest) {
            count += 1;
            self.check_count(count)?;
            rest = tail;
        }
        if self.env.is_empty_list(rest) { Ok(count) } else { Err(Refusal::Invalid) }
    }

    fn map(&mut self, map: Term, depth: usize) -> Result<(), Refusal> {
        if let Some(module) = self.env.map_value(map, atoms().struct_)
            && self.env.is_atom(module)
        {
            return structs::write(self, map, module, depth);
        }
        let count = self.env.map_size(map).ok_or(Refusal::Invalid)?;
        self.check_count(count)?;
        write_head(cbor::MAP, count as u64, self.out);
        self.env.each_entry(map, |key, value| {
            self.item(key, depth + 1)?;
            self.item(value, depth + 1)
        })
    }

    /// Every item takes at least one byte.
    pub(crate) fn check_count(&self, count: usize) -> Result<(), Refusal> {
        if count > self.bytes_max.saturating_sub(self.out.len()) { Err(Refusal::Full) } else { Ok(()) }
    }
}
