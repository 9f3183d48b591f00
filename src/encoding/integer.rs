//! Integer: integers of any size, as CBOR and as decimal digits.

use std::borrow::Cow;

use crate::encoding::cbor::reader::{Reader, Token, major};
use crate::encoding::cbor::writer::{write_bytes, write_head};
use crate::encoding::tags;
use crate::model::Value;

/// What an encoded integer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integer {
    /// Fits into 128 bits.
    Exact(i128),
    /// An integer beyond 128 bits.
    OutOfRange,
}

/// The integer that these bytes encode; `None` when they are something else. A float is no integer,
/// whatever it is worth.
pub(crate) fn integer_of(encoded: &[u8]) -> Option<Integer> {
    let mut reader = Reader::new(encoded);
    let integer = match reader.token().ok()? {
        Token::Int { negative, argument } => Integer::Exact(small(negative, argument)),
        Token::Tag(tag @ (tags::BIG_POSITIVE | tags::BIG_NEGATIVE)) => match reader.token().ok()? {
            Token::Bytes(bytes) => match big(tag == tags::BIG_NEGATIVE, &bytes) {
                Value::Int(integer) => Integer::Exact(integer),
                _ => Integer::OutOfRange,
            },
            _ => return None,
        },
        _ => return None,
    };
    (reader.remaining() == 0).then_some(integer)
}

/// Bytes of the longest integer of 64 bits as a value.
pub(crate) const INTEGER_BYTES_MAX: usize = 9;

/// Writes a 64-bit integer as a value.
pub(crate) fn encode_integer(integer: i64, out: &mut Vec<u8>) {
    write_integer(integer.into(), out);
}

/// The integer of a CBOR head: `argument`, or `-1 - argument`.
#[inline]
pub(super) fn small(negative: bool, argument: u64) -> i128 {
    if negative { -1 - i128::from(argument) } else { argument.into() }
}

/// The integer of a CBOR big number: `bytes`, or `-1 - bytes`.
pub(super) fn big(negative: bool, bytes: &[u8]) -> Value {
    let magnitude = strip_zeros(bytes);
    if let Some(magnitude) = as_u128(magnitude)
        && let Ok(magnitude) = i128::try_from(magnitude)
    {
        return Value::Int(if negative { -1 - magnitude } else { magnitude });
    }
    let mut magnitude = magnitude.to_vec();
    if negative {
        increment(&mut magnitude);
        if let Some(value) = smallest_int(&magnitude) {
            return value;
        }
    }
    Value::BigInt { negative, magnitude }
}

/// -2^127 is the one `Int` whose magnitude is no `i128`.
fn smallest_int(magnitude: &[u8]) -> Option<Value> {
    (as_u128(magnitude) == Some(i128::MIN.unsigned_abs())).then_some(Value::Int(i128::MIN))
}

/// Writes an integer in its shortest form.
#[inline]
pub(super) fn write_integer(integer: i128, out: &mut Vec<u8>) {
    let is_negative = integer < 0;
    let argument = if is_negative { -1 - integer } else { integer } as u128;
    match u64::try_from(argument) {
        Ok(argument) => write_head(if is_negative { major::NEGATIVE } else { major::UNSIGNED }, argument, out),
        Err(_) => write_big_argument(is_negative, &argument.to_be_bytes(), out),
    }
}

/// Writes an integer given by sign and magnitude (leading zeros allowed) in its shortest form.
pub(super) fn write_magnitude(negative: bool, magnitude: &[u8], out: &mut Vec<u8>) {
    let magnitude = strip_zeros(magnitude);
    if !negative || magnitude.is_empty() {
        return write_big_argument(false, magnitude, out);
    }
    let mut argument = magnitude.to_vec();
    decrement(&mut argument);
    write_big_argument(true, &argument, out);
}

/// Writes `argument` or `-1 - argument`, as a plain integer where 64 bits hold it.
pub(super) fn write_big_argument(negative: bool, argument: &[u8], out: &mut Vec<u8>) {
    let argument = strip_zeros(argument);
    if argument.len() <= 8 {
        let major = if negative { major::NEGATIVE } else { major::UNSIGNED };
        let argument = argument.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        return write_head(major, argument, out);
    }
    write_head(major::TAG, if negative { tags::BIG_NEGATIVE } else { tags::BIG_POSITIVE }, out);
    write_bytes(argument, out);
}

pub(super) fn strip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn as_u128(magnitude: &[u8]) -> Option<u128> {
    (magnitude.len() <= 16).then(|| magnitude.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

fn increment(magnitude: &mut Vec<u8>) {
    for byte in magnitude.iter_mut().rev() {
        let (sum, carries) = byte.overflowing_add(1);
        *byte = sum;
        if !carries {
            return;
        }
    }
    magnitude.insert(0, 1);
}

/// Of a magnitude above zero.
fn decrement(magnitude: &mut [u8]) {
    for byte in magnitude.iter_mut().rev() {
        let (difference, borrows) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrows {
            return;
        }
    }
}

/// Decimal digits of an integer, or `None` when there would be more than `digits_max`.
pub(super) fn to_digits(value: &Value, digits_max: usize) -> Option<String> {
    let (negative, magnitude) = match value {
        Value::Int(integer) => return Some(integer.to_string()),
        Value::BigInt { negative, magnitude } => (*negative, magnitude),
        _ => return None,
    };
    // A digit is at most 5/12 of a byte, so this refuses no number that is short enough.
    if magnitude.len() > digits_max * 5 / 12 + 1 {
        return None;
    }
    let mut limbs: Vec<u32> = magnitude.rchunks(4).map(limb).collect();
    let mut groups = Vec::new();
    while let Some(0) = limbs.last() {
        limbs.pop();
    }
    while !limbs.is_empty() {
        let mut remainder = 0;
        for limb in limbs.iter_mut().rev() {
            let dividend = remainder << 32 | u64::from(*limb);
            *limb = (dividend / GROUP) as u32;
            remainder = dividend % GROUP;
        }
        groups.push(remainder);
        while let Some(0) = limbs.last() {
            limbs.pop();
        }
    }
    let mut digits = String::with_capacity(groups.len() * GROUP_DIGITS + 1);
    if negative {
        digits.push('-');
    }
    digits.push_str(&groups.pop().unwrap_or(0).to_string());
    for group in groups.iter().rev() {
        digits.push_str(&format!("{group:09}"));
    }
    (digits.len() - usize::from(negative) <= digits_max).then_some(digits)
}

const GROUP: u64 = 1_000_000_000;
const GROUP_DIGITS: usize = 9;

fn limb(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte))
}

/// The integer of decimal digits (ASCII, checked by the caller).
pub(super) fn from_digits(negative: bool, digits: &str) -> Value {
    if let Ok(integer) = digits.parse::<i128>() {
        return Value::Int(if negative { -integer } else { integer });
    }
    let mut limbs: Vec<u32> = Vec::new();
    let first = digits.len() % GROUP_DIGITS;
    let (head, tail) = digits.split_at(first);
    let groups = std::iter::once(head).filter(|head| !head.is_empty()).map(Cow::Borrowed);
    let groups = groups.chain(tail.as_bytes().chunks(GROUP_DIGITS).map(String::from_utf8_lossy));
    for group in groups {
        let mut carry = group.parse::<u64>().unwrap_or(0);
        for limb in &mut limbs {
            let product = u64::from(*limb) * GROUP + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    let magnitude = strip_zeros(&bytes).to_vec();
    if let (true, Some(value)) = (negative, smallest_int(&magnitude)) {
        return value;
    }
    Value::BigInt { negative, magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::encode_value;

    fn worth(value: impl Into<Value>) -> Option<Integer> {
        integer_of(&encode_value(&value.into()).unwrap())
    }

    #[test]
    fn integers_of_every_size_are_recognised() {
        for integer in [0, 1, -1, 23, 24, i128::from(i64::MAX), i128::from(i64::MIN), 1 << 64, i128::MAX, i128::MIN] {
            assert_eq!(worth(integer), Some(Integer::Exact(integer)));
        }
        let beyond = Value::BigInt { negative: true, magnitude: vec![1; 17] };
        assert_eq!(worth(beyond), Some(Integer::OutOfRange));
        let mut out = Vec::new();
        encode_integer(i64::MIN, &mut out);
        assert_eq!(integer_of(&out), Some(Integer::Exact(i64::MIN.into())));
    }

    #[test]
    fn nothing_else_is_an_integer() {
        let others = [Value::Null, 1.0.into(), "1".into(), true.into(), [1].into(), Value::Atom("1".into())];
        assert!(others.into_iter().all(|value| worth(value).is_none()));
        assert!(
            [&[][..], &[0x18], &[0x01, 0x01], &[0xc2, 0x01], &[0xff]]
                .into_iter()
                .all(|bytes| integer_of(bytes).is_none())
        );
    }

    #[test]
    fn digits_of_big_integers_are_right() {
        for exponent in [0usize, 1, 8, 9, 10, 18, 37, 38, 39, 40, 77, 100, 154, 155, 4299] {
            let digits = format!("1{}", "0".repeat(exponent));
            assert_eq!(to_digits(&from_digits(false, &digits), 4300).as_deref(), Some(digits.as_str()));
            let nines = "9".repeat(exponent + 1);
            assert_eq!(to_digits(&from_digits(true, &nines), 4300), Some(format!("-{nines}")));
        }
        assert_eq!(from_digits(true, &i128::MIN.to_string()[1..]), Value::Int(i128::MIN));
        assert_eq!(to_digits(&from_digits(false, &"9".repeat(4301)), 4300), None);
        assert_eq!(to_digits(&Value::BigInt { negative: false, magnitude: vec![] }, 10).as_deref(), Some("0"));
    }
}
