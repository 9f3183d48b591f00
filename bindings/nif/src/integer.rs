//! Integer: integers of any size. Those beyond 64 bits go through Erlang's external format, the only way
//! in and out that the C interface has.

use concord_kv::tags;

use crate::cbor::{self, Malformed, write_head};
use crate::encode::Refusal;
use crate::env::{Env, Term};

const EXTERNAL_VERSION: u8 = 131;
const SMALL_BIG_EXT: u8 = 110;
const LARGE_BIG_EXT: u8 = 111;

/// Appends an integer.
#[inline]
pub(crate) fn write(env: Env, term: Term, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if let Some(int) = env.int(term) {
        if int >= 0 {
            write_head(cbor::UNSIGNED, int as u64, out);
        } else {
            write_head(cbor::NEGATIVE, !int as u64, out);
        }
        Ok(())
    } else if let Some(int) = env.uint(term) {
        write_head(cbor::UNSIGNED, int, out);
        Ok(())
    } else {
        write_big(env, term, bytes_max, out)
    }
}

fn write_big(env: Env, term: Term, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let (is_negative, mut magnitude) = env.to_external(term, magnitude).ok_or(Refusal::Invalid)?;
    if magnitude.len() > bytes_max.saturating_sub(out.len()) {
        return Err(Refusal::Full);
    }
    write_magnitude(is_negative, &mut magnitude, out);
    Ok(())
}

/// Sign and absolute value, little-endian, of a big integer in Erlang's external format.
fn magnitude(external: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (sign, magnitude) = match *external {
        [EXTERNAL_VERSION, SMALL_BIG_EXT, _, sign, ref magnitude @ ..] => (sign, magnitude),
        [EXTERNAL_VERSION, LARGE_BIG_EXT, _, _, _, _, sign, ref magnitude @ ..] => (sign, magnitude),
        _ => return None,
    };
    Some((sign != 0, magnitude.to_vec()))
}

/// Appends the integer with this sign and absolute value (little-endian, below zero or not zero).
pub(crate) fn write_magnitude(is_negative: bool, magnitude: &mut Vec<u8>, out: &mut Vec<u8>) {
    if is_negative {
        // CBOR writes -1 - n.
        for byte in magnitude.iter_mut() {
            let (less, borrowed) = byte.overflowing_sub(1);
            *byte = less;
            if !borrowed {
                break;
            }
        }
    }
    while magnitude.last() == Some(&0) {
        magnitude.pop();
    }
    if magnitude.len() <= 8 {
        let mut argument = [0; 8];
        argument[..magnitude.len()].copy_from_slice(magnitude);
        let major = if is_negative { cbor::NEGATIVE } else { cbor::UNSIGNED };
        return write_head(major, u64::from_le_bytes(argument), out);
    }
    write_head(cbor::TAG, if is_negative { tags::BIG_NEGATIVE } else { tags::BIG_POSITIVE }, out);
    write_head(cbor::BYTES, magnitude.len() as u64, out);
    out.extend(magnitude.iter().rev());
}

/// The integer of a CBOR head: `argument`, or `-1 - argument`.
#[inline]
pub(crate) fn make(env: Env, is_negative: bool, argument: u64) -> Result<Term, Malformed> {
    match i64::try_from(argument) {
        Ok(int) => Ok(env.make_int(if is_negative { !int } else { int })),
        Err(_) if !is_negative => Ok(env.make_uint(argument)),
        Err(_) => make_big(env, true, &argument.to_be_bytes()),
    }
}

/// The integer of a big-endian magnitude: `n`, or `-1 - n`.
pub(crate) fn make_big(env: Env, is_negative: bool, bytes: &[u8]) -> Result<Term, Malformed> {
    let mut magnitude = little_endian(bytes);
    if is_negative {
        increment(&mut magnitude);
    }
    of_magnitude(env, is_negative, &magnitude)
}

/// The integer `n + 1` of a big-endian magnitude.
pub(crate) fn make_successor(env: Env, bytes: &[u8]) -> Result<Term, Malformed> {
    let mut magnitude = little_endian(bytes);
    increment(&mut magnitude);
    of_magnitude(env, false, &magnitude)
}

fn little_endian(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes[first..].iter().rev().copied().collect()
}

fn increment(magnitude: &mut Vec<u8>) {
    let is_carried = magnitude.iter_mut().all(|byte| {
        *byte = byte.wrapping_add(1);
        *byte == 0
    });
    if is_carried {
        magnitude.push(1);
    }
}

/// The integer of a little-endian magnitude without leading zeros.
fn of_magnitude(env: Env, is_negative: bool, magnitude: &[u8]) -> Result<Term, Malformed> {
    if magnitude.len() <= 8 {
        let mut bytes = [0; 8];
        bytes[..magnitude.len()].copy_from_slice(magnitude);
        let magnitude = u64::from_le_bytes(bytes);
        if !is_negative {
            return Ok(env.make_uint(magnitude));
        }
        if let Ok(int) = i64::try_from(-i128::from(magnitude)) {
            return Ok(env.make_int(int));
        }
    }
    let mut external = Vec::with_capacity(magnitude.len() + 7);
    external.push(EXTERNAL_VERSION);
    if let Ok(len) = u8::try_from(magnitude.len()) {
        external.extend([SMALL_BIG_EXT, len]);
    } else {
        let len = u32::try_from(magnitude.len()).map_err(|_| Malformed)?;
        external.push(LARGE_BIG_EXT);
        external.extend(len.to_be_bytes());
    }
    external.push(u8::from(is_negative));
    external.extend_from_slice(magnitude);
    env.read_external(&external).ok_or(Malformed)
}

/// Appends minus this positive integer.
pub(crate) fn write_negated(env: Env, term: Term, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let (_, mut magnitude) = env.to_external(term, magnitude).ok_or(Refusal::Invalid)?;
    if magnitude.len() > bytes_max.saturating_sub(out.len()) {
        return Err(Refusal::Full);
    }
    write_magnitude(true, &mut magnitude, out);
    Ok(())
}

/// Whether an integer beyond 64 bits is below zero.
pub(crate) fn is_big_negative(env: Env, term: Term) -> bool {
    env.uint(term).is_none() && env.to_external(term, magnitude).is_some_and(|(is_negative, _)| is_negative)
}
