//! Compare: whether two encoded values are worth the same.

use crate::encoding::check::well_formed;
use crate::encoding::integer::{small, strip_zeros, write_big_argument, write_integer};
use crate::encoding::reader::{Length, Read, Reader, Token, major};
use crate::encoding::tags;
use crate::encoding::writer::{insert_head, write_bytes, write_float, write_head, write_text};

/// Whether two encoded values are worth the same, as [`Condition::Expected`](crate::Condition::Expected) asks.
///
/// - Numbers compare exactly by what they are worth: `1` equals `1.0`, `0.0` equals `-0.0`, 2^53 + 1
///   equals no float. Decimals compare by content: `1.0` and `1.00` differ.
/// - Maps compare whatever the order of their entries, sets whatever the order of their elements. Keys and
///   elements compare by type and content: `1` and `1.0` are different keys. Of duplicates the last counts.
/// - Everything else compares by type and content.
/// - A value that holds a NaN anywhere equals nothing, and so do bytes that are no value.
///
/// Deterministic; n log n at worst, plain comparison of bytes when both were written alike.
pub(crate) fn equal_by_worth(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return well_formed(a).is_ok() && !holds_nan(a);
    }
    match (canonical(a), canonical(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// A form that is the same for all values worth the same; `None` when there is none.
fn canonical(bytes: &[u8]) -> Option<Vec<u8>> {
    well_formed(bytes).ok()?;
    let mut out = Vec::with_capacity(bytes.len());
    let is_comparable = write(&mut Reader::new(bytes), Numbers::ByWorth, &mut out).ok()?;
    is_comparable.then_some(out)
}

/// How numbers compare at this place.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    ByWorth,
    /// In keys and elements of sets.
    Exactly,
}

/// Whether well-formed bytes hold a NaN outside of text and bytes.
fn holds_nan(bytes: &[u8]) -> bool {
    // Every NaN has a head of these; most values hold none of them at all.
    if !bytes.iter().any(|byte| matches!(byte, 0xf9..=0xfb)) {
        return false;
    }
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 {
        if reader.take_break() {
            continue;
        }
        match reader.token() {
            Ok(Token::Float(float)) if float.is_nan() => return true,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
    false
}

/// Appends the canonical form of the next item; false when a NaN is in it.
fn write(reader: &mut Reader<'_>, numbers: Numbers, out: &mut Vec<u8>) -> Read<bool> {
    match reader.token()? {
        Token::Null => out.push(0xf6),
        Token::Bool(value) => out.push(if value { 0xf5 } else { 0xf4 }),
        Token::Int { negative, argument } => write_integer(small(negative, argument), out),
        Token::Float(float) if float.is_nan() => return Ok(false),
        Token::Float(float) => write_number(float, numbers, out),
        Token::Text(text) => write_text(&text, out),
        Token::Bytes(bytes) => write_bytes(&bytes, out),
        Token::Array(length) => return write_items(reader, length, numbers, out),
        Token::Map(length) => return write_entries(reader, length, numbers, out),
        Token::Tag(tag @ (tags::BIG_POSITIVE | tags::BIG_NEGATIVE)) => {
            if let Token::Bytes(bytes) = reader.token()? {
                write_big(tag == tags::BIG_NEGATIVE, &bytes, numbers, out);
            }
        }
        Token::Tag(tags::SET) => {
            if let Token::Array(length) = reader.token()? {
                write_head(major::TAG, tags::SET, out);
                return write_elements(reader, length, out);
            }
        }
        Token::Tag(tag) => {
            write_head(major::TAG, tag, out);
            // A decimal is made of two integers that say nothing alone.
            let numbers = if tag == tags::DECIMAL { Numbers::Exactly } else { numbers };
            return write(reader, numbers, out);
        }
    }
    Ok(true)
}

/// By worth, a whole float that a CBOR head can hold is that integer; others stay floats.
fn write_number(float: f64, numbers: Numbers, out: &mut Vec<u8>) {
    const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
    let is_head = (-TWO_TO_64..TWO_TO_64).contains(&float) && float.fract() == 0.0;
    if numbers == Numbers::ByWorth && is_head {
        write_integer(float as i128, out);
    } else {
        write_float(float, out);
    }
}

/// By worth, an integer beyond 64 bits that is exactly a float is that float.
fn write_big(negative: bool, argument: &[u8], numbers: Numbers, out: &mut Vec<u8>) {
    let start = out.len();
    write_big_argument(negative, argument, out);
    let is_head = out[start] >> 5 != major::TAG;
    if numbers == Numbers::Exactly || is_head {
        return;
    }
    if let Some(float) = exact_float(negative, strip_zeros(argument)) {
        out.truncate(start);
        write_float(float, out);
    }
}

/// The float that is exactly `argument`, or `-1 - argument`, if there is one.
fn exact_float(negative: bool, argument: &[u8]) -> Option<f64> {
    // The largest float has 128 bytes; one more can only come from the `-1`.
    if argument.len() > 128 {
        return None;
    }
    let mut magnitude = vec![0; 1];
    magnitude.extend_from_slice(argument);
    if negative {
        let last = magnitude.iter().rposition(|byte| *byte != 0xff)?;
        magnitude[last] += 1;
        magnitude[last + 1..].fill(0);
    }
    let magnitude = strip_zeros(&magnitude);
    let (front, rest) = magnitude.split_at(magnitude.len().min(16));
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    let front = front.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let significant_bits = 128 - front.leading_zeros() - front.trailing_zeros();
    let float = front as f64 * 2f64.powi(8 * rest.len() as i32);
    let is_exact = significant_bits <= f64::MANTISSA_DIGITS && float.is_finite();
    is_exact.then_some(if negative { -float } else { float })
}

fn write_items(reader: &mut Reader<'_>, mut length: Length, numbers: Numbers, out: &mut Vec<u8>) -> Read<bool> {
    let (start, mut count) = (out.len(), 0);
    while reader.more(&mut length)? {
        count += 1;
        if !write(reader, numbers, out)? {
            return Ok(false);
        }
    }
    insert_head(major::ARRAY, count, start, out);
    Ok(true)
}

/// Entries sorted by key, so that two maps compare as bytes.
fn write_entries(reader: &mut Reader<'_>, mut length: Length, numbers: Numbers, out: &mut Vec<u8>) -> Read<bool> {
    let (mut content, mut entries) = (Vec::new(), Vec::new());
    while reader.more(&mut length)? {
        let start = content.len();
        if !write(reader, Numbers::Exactly, &mut content)? {
            return Ok(false);
        }
        let middle = content.len();
        if !write(reader, numbers, &mut content)? {
            return Ok(false);
        }
        entries.push((start, middle, content.len()));
    }
    write_sorted(major::MAP, &content, entries, out);
    Ok(true)
}

fn write_elements(reader: &mut Reader<'_>, mut length: Length, out: &mut Vec<u8>) -> Read<bool> {
    let (mut content, mut elements) = (Vec::new(), Vec::new());
    while reader.more(&mut length)? {
        let start = content.len();
        if !write(reader, Numbers::Exactly, &mut content)? {
            return Ok(false);
        }
        elements.push((start, content.len(), content.len()));
    }
    write_sorted(major::ARRAY, &content, elements, out);
    Ok(true)
}

/// Writes the entries (start, end of the key, end) sorted by key; of equal keys the last.
fn write_sorted(major: u8, content: &[u8], mut entries: Vec<(usize, usize, usize)>, out: &mut Vec<u8>) {
    let key = |entry: &(usize, usize, usize)| &content[entry.0..entry.1];
    entries.sort_by(|a, b| key(a).cmp(key(b)).then(b.0.cmp(&a.0)));
    entries.dedup_by(|later, kept| key(later) == key(kept));
    write_head(major, entries.len() as u64, out);
    for (start, _, end) in entries {
        out.extend_from_slice(&content[start..end]);
    }
}
