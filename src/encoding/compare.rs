//! Compare: whether two encoded values are worth the same.

use crate::encoding::cbor::reader::{Length, Read, Reader, Token, major};
use crate::encoding::cbor::writer::{insert_head, write_bytes, write_float, write_head, write_text};
use crate::encoding::check::well_formed;
use crate::encoding::integer::{small, strip_zeros, write_big_argument, write_integer};
use crate::encoding::tags;

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
pub(super) fn canonical(bytes: &[u8]) -> Option<Vec<u8>> {
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
    // Every NaN begins with one of these pairs; most values hold none of them at all.
    let is_candidate = |(head, next): (&u8, &u8)| matches!(head, 0xf9..=0xfb) & (next & 0x7c == 0x7c);
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    if !pairs.fold(false, |found, pair| found | is_candidate(pair)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::encode_value;
    use crate::model::Value;

    fn encoded(value: impl Into<Value>) -> Vec<u8> {
        encode_value(&value.into()).unwrap()
    }

    fn equal(a: impl Into<Value>, b: impl Into<Value>) -> bool {
        let (a, b) = (encoded(a), encoded(b));
        let answer = equal_by_worth(&a, &b);
        assert_eq!(equal_by_worth(&b, &a), answer, "symmetric");
        answer
    }

    fn map(entries: impl IntoIterator<Item = (Value, Value)>) -> Value {
        Value::Map(entries.into_iter().collect())
    }

    fn power(exponent: u32) -> Value {
        let mut magnitude = vec![0; exponent as usize / 8 + 1];
        magnitude[0] = 1 << (exponent % 8);
        Value::BigInt { negative: false, magnitude }
    }

    #[test]
    fn numbers_compare_by_what_they_are_worth() {
        assert!(equal(1, 1.0) && equal(-1, -1.0) && equal(0, -0.0) && equal(0.0, -0.0));
        assert!(!equal(1, 1.5) && !equal(1, -1.0) && !equal(1, "1") && !equal(1, true) && !equal(0, ()));
        assert!(equal(u64::MAX, u64::MAX) && !equal(u64::MAX, u64::MAX as f64));
        for exponent in [52, 53, 63, 64, 65, 100, 127, 128, 200, 1023] {
            let float = 2f64.powi(exponent as i32);
            assert!(equal(power(exponent), float), "2^{exponent}");
            assert!(!equal(power(exponent), -float) && !equal(power(exponent), float * 2.0));
        }
        assert!(!equal(power(1024), f64::INFINITY) && !equal(power(1024), f64::MAX));
        assert!(equal(i128::MIN, -(2f64.powi(127))) && !equal(i128::MIN + 1, -(2f64.powi(127))));
        assert!(equal(-(1i128 << 64), -18_446_744_073_709_551_616.0));
        assert!(!equal(-(1i128 << 64) - 1, -18_446_744_073_709_551_616.0));
    }

    #[test]
    fn integers_beyond_53_bits_equal_no_neighbouring_float() {
        let two_to_53 = 1i64 << 53;
        assert!(equal(two_to_53, two_to_53 as f64) && !equal(two_to_53 + 1, two_to_53 as f64));
        let long = Value::BigInt { negative: false, magnitude: [&[1; 7][..], &[0; 30]].concat() };
        let Value::BigInt { magnitude, .. } = &long else { unreachable!() };
        let float = magnitude.iter().fold(0.0, |number, byte| number * 256.0 + f64::from(*byte));
        assert!(equal(long.clone(), float));
        let one_more = Value::BigInt { negative: false, magnitude: [&[1; 7][..], &[0; 29], &[1]].concat() };
        assert!(!equal(one_more, float) && !equal(long, float.next_up()));
    }

    #[test]
    fn nan_equals_nothing_wherever_it_is() {
        let nan = || Value::Float(f64::NAN);
        assert!(!equal(f64::NAN, f64::NAN) && !equal(f64::NAN, 0));
        assert!(!equal([nan()], [nan()]) && !equal(Value::Set(vec![nan()]), Value::Set(vec![nan()])));
        assert!(!equal(map([(nan(), Value::Null)]), map([(nan(), Value::Null)])));
        // Bytes that look like one are none.
        assert!(equal(vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]));
        assert!(equal(f64::INFINITY, f64::INFINITY) && !equal(f64::INFINITY, f64::NEG_INFINITY));
    }

    #[test]
    fn maps_and_sets_have_no_order() {
        let (a, b) = (|value: Value| (Value::from("a"), value), |value: Value| (Value::from("b"), value));
        assert!(equal(map([a(1.into()), b(2.into())]), map([b(2.0.into()), a(1.into())])));
        assert!(!equal(map([a(1.into())]), map([a(1.into()), b(2.into())])));
        assert!(!equal(map([a(1.into()), b(2.into())]), map([a(2.into()), b(1.into())])));
        let set = |items: &[i32]| Value::Set(items.iter().map(|item| Value::from(*item)).collect());
        assert!(equal(set(&[1, 2, 3]), set(&[3, 1, 2])) && !equal(set(&[1, 2]), set(&[1, 3])));
        assert!(equal(set(&[1, 1, 2]), set(&[2, 1])));
        assert!(!equal(Value::List(vec![1.into(), 2.into()]), Value::List(vec![2.into(), 1.into()])));
        assert!(!equal(set(&[1]), Value::List(vec![1.into()])) && !equal(Value::Tuple(vec![]), Value::List(vec![])));
    }

    #[test]
    fn keys_and_elements_compare_by_type_too() {
        let with_key = |key: Value| map([(key, Value::Null)]);
        assert!(!equal(with_key(1.into()), with_key(1.0.into())));
        assert!(!equal(with_key(Value::Atom("a".into())), with_key("a".into())));
        assert!(!equal(Value::Set(vec![1.into()]), Value::Set(vec![1.0.into()])));
        assert!(!equal(with_key([1].into()), with_key([1.0].into())));
        // A key that is a map has no order either.
        let inner = |order: [i32; 2]| with_key(map(order.map(|key| (Value::from(key), Value::Null))));
        assert!(equal(inner([1, 2]), inner([2, 1])));
    }

    #[test]
    fn of_duplicate_keys_the_last_counts() {
        let entry = |value: i32| (Value::from("a"), Value::from(value));
        assert!(equal(map([entry(1), entry(2)]), map([entry(2)])));
        assert!(!equal(map([entry(1), entry(2)]), map([entry(1)])));
    }

    #[test]
    fn other_encodings_of_the_same_value_are_equal() {
        assert!(equal_by_worth(&[0x9f, 0x01, 0xff], &[0x81, 0x18, 0x01]));
        assert!(equal_by_worth(&[0xf9, 0x3c, 0x00], &[0x01]) && equal_by_worth(&[0xc2, 0x41, 0x01], &[0x01]));
        assert!(equal_by_worth(&[0x7f, 0x61, b'a', 0x61, b'b', 0xff], &[0x62, b'a', b'b']));
        assert!(!equal_by_worth(&[0x42, b'a', b'b'], &[0x62, b'a', b'b']));
    }

    #[test]
    fn decimals_and_times_compare_by_content() {
        let decimal = |exponent, mantissa: i128| Value::Decimal { exponent, mantissa: Box::new(mantissa.into()) };
        assert!(
            equal(decimal(-1, 10), decimal(-1, 10))
                && !equal(decimal(-1, 10), decimal(0, 1))
                && !equal(decimal(0, 1), 1)
        );
        assert!(!equal(decimal(0, 1 << 70), decimal(0, (1 << 70) + 1)));
        let time = |text: &str| Value::DateTime(text.to_owned());
        assert!(!equal(time("2025-01-01T00:00:00Z"), time("2025-01-01T00:00:00+00:00")));
        let user = |age: Value| Value::Struct { name: "User".into(), fields: Box::new(map([("age".into(), age)])) };
        assert!(equal(user(1.into()), user(1.0.into())));
    }

    #[test]
    fn bytes_that_are_no_value_equal_nothing() {
        for bytes in [&[][..], &[0xff], &[0x81], &[0x01, 0x01], &[0x9f, 0x9f], &[0xfb; 20]] {
            assert!(
                !equal_by_worth(bytes, bytes) && !equal_by_worth(bytes, &[0x01]) && !equal_by_worth(&[0x01], bytes)
            );
        }
    }

    #[test]
    fn a_hundred_thousand_entries_compare_quickly() {
        let forth: Vec<_> = (0..100_000).map(|key| (Value::from(key), Value::from(key))).collect();
        let back: Vec<_> = forth.iter().rev().cloned().collect();
        let start = std::time::Instant::now();
        assert!(equal(Value::Map(forth), Value::Map(back)));
        assert!(start.elapsed().as_secs() < 5);
    }

    #[test]
    fn golden_values_equal_themselves_and_no_other() {
        let vectors = include_str!("../../tests/golden/values/vectors.txt");
        let values: Vec<(&str, Vec<u8>)> = vectors
            .lines()
            .map(|line| {
                let mut columns = line.split('\t');
                let (name, hex) = (columns.next().unwrap(), columns.next().unwrap());
                let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
                (name, bytes.collect())
            })
            .collect();
        for (index, (name, a)) in values.iter().enumerate() {
            assert_eq!(equal_by_worth(a, a), *name != "float_nan", "{name}");
            for (other, b) in &values[..index] {
                let answer = equal_by_worth(a, b);
                assert_eq!(answer, equal_by_worth(b, a), "{name} and {other}");
                let pair = [*name, *other];
                let is_same_number = pair == ["float_0", "int_0"]
                    || pair == ["float_minus_0", "int_0"]
                    || pair == ["float_minus_0", "float_0"]
                    || pair == ["float_1", "int_1"];
                assert_eq!(answer, is_same_number, "{name} and {other}");
            }
        }
    }
}
