//! Term: a scalar as bytes that compare as what it is worth, for the order of indexes.
//!
//! Null, then false, true, numbers, strings, points in time, dates with times, dates, times of day. Numbers of any size and floats
//! are compared exactly, strings (text, atoms, bytes) by their bytes. NaN, lists, maps, sets and decimals have no term.

use super::{Item, Number, Worth};
use crate::encoding::times::Moment;
use crate::limits::INDEX_TERM_BYTES_MAX;

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const STRING: u8 = 5;
const INSTANT: u8 = 6;
const NAIVE: u8 = 7;
const DATE: u8 = 8;
const TIME: u8 = 9;

/// What a number is, in the order of numbers.
const MINUS_INFINITY: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const INFINITY: u8 = 4;

/// Makes the exponent of the least float positive.
const EXPONENT_BIAS: i32 = 2_000;

impl Item<'_> {
    /// `None` for what has no term, or a longer one than an index holds.
    pub(crate) fn term(self) -> Option<Box<[u8]>> {
        let moment = |kind: u8, number: i64| {
            // With the sign turned, negative ones come first.
            let bytes = ((number as u64) ^ (1 << 63)).to_be_bytes();
            [&[kind][..], &bytes].concat()
        };
        let term = match self.worth() {
            Worth::Null => vec![NULL],
            Worth::Bool(false) => vec![FALSE],
            Worth::Bool(true) => vec![TRUE],
            Worth::Number(number) => number_term(&number)?,
            Worth::Text(bytes) | Worth::Bytes(bytes) if bytes.len() <= INDEX_TERM_BYTES_MAX => {
                [&[STRING][..], &bytes].concat()
            }
            Worth::Moment(Moment::Instant(number)) => moment(INSTANT, number),
            Worth::Moment(Moment::Naive(number)) => moment(NAIVE, number),
            Worth::Moment(Moment::Date(number)) => moment(DATE, number),
            Worth::Moment(Moment::Time(number)) => moment(TIME, number),
            Worth::Text(_) | Worth::Bytes(_) => return None,
            Worth::List(_) | Worth::Set(_) | Worth::Map(_) | Worth::Other(_) => return None,
        };
        Some(term.into_boxed_slice())
    }
}

fn number_term(number: &Number) -> Option<Vec<u8>> {
    let kind = |kind: u8| Some(vec![NUMBER, kind]);
    match number {
        Number::Float(float) if float.is_nan() => None,
        Number::Float(float) if float.is_infinite() => kind(if *float > 0.0 { INFINITY } else { MINUS_INFINITY }),
        Number::Float(0.0) | Number::Int(0) => kind(ZERO),
        Number::Float(float) => {
            let bits = float.to_bits();
            let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
            // A float is its significand times a power of two; the smallest ones have no hidden bit.
            let (significand, power) =
                if exponent == 0 { (fraction, -1_074) } else { (fraction | 1 << 52, exponent - 1_075) };
            Some(exact(*float < 0.0, &significand.to_be_bytes(), power))
        }
        Number::Int(integer) => Some(exact(*integer < 0, &integer.unsigned_abs().to_be_bytes(), 0)),
        Number::Big { negative, magnitude } if magnitude.len() <= INDEX_TERM_BYTES_MAX => {
            Some(exact(*negative, magnitude, 0))
        }
        Number::Big { .. } => None,
    }
}

/// A number other than 0: sign, binary exponent, and the bits behind the first one in groups of seven. A group that others
/// follow has its low bit set, and a zero ends the last one, so that of two the longer comes later. Of negative numbers
/// everything is turned around.
fn exact(negative: bool, magnitude: &[u8], power: i32) -> Vec<u8> {
    let zeros: u32 = {
        let bytes = magnitude.iter().take_while(|byte| **byte == 0).count();
        bytes as u32 * 8 + magnitude.get(bytes).map_or(0, |byte| byte.leading_zeros())
    };
    let bits = magnitude.len() as u32 * 8;
    let exponent = (bits as i32 - 1 - zeros as i32) + power + EXPONENT_BIAS;
    let bit = |at: u32| at < bits && magnitude[at as usize / 8] >> (7 - at % 8) & 1 == 1;
    let last = (zeros..bits).rev().find(|at| bit(*at)).unwrap_or(zeros);
    let mut tail = (exponent as u16).to_be_bytes().to_vec();
    let mut at = zeros + 1;
    while at <= last {
        let group = (0..7).fold(0u8, |group, n| group << 1 | u8::from(bit(at + n)));
        tail.push(group << 1 | 1);
        at += 7;
    }
    tail.push(0);
    if negative {
        tail.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut term = vec![NUMBER, if negative { NEGATIVE } else { POSITIVE }];
    term.append(&mut tail);
    term
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::encode_value;
    use crate::model::Value;

    fn term(value: &Value) -> Option<Box<[u8]>> {
        Item::new(&encode_value(value).unwrap()).term()
    }

    fn big(negative: bool, bytes: &[u8]) -> Value {
        Value::BigInt { negative, magnitude: bytes.to_vec() }
    }

    /// Every pair of numbers is in the order of their terms as it is by their worth.
    #[test]
    fn numbers_compare_as_what_they_are_worth() {
        let mut values: Vec<Value> = Vec::new();
        for exponent in [0, 1, 7, 8, 31, 52, 53, 54, 62, 63, 64, 100, 126] {
            let power = 1i128 << exponent;
            for near in [-2, -1, 0, 1, 2] {
                values.extend([Value::Int(power + near), Value::Int(-power - near)]);
            }
            let float = (exponent as f64).exp2();
            for float in [float, float * 1.5, float + 0.5, float.next_up(), float.next_down()] {
                values.extend([Value::Float(float), Value::Float(-float)]);
            }
        }
        for float in [0.0, -0.0, 0.1, 1e-300, f64::MIN_POSITIVE, 5e-324, 1e300, f64::MAX, f64::INFINITY] {
            values.extend([Value::Float(float), Value::Float(-float)]);
        }
        for negative in [false, true] {
            values.push(big(negative, &[1; 17]));
            values.push(big(negative, &[&[1][..], &[0; 20]].concat()));
            values.push(big(negative, &[&[1][..], &[0; 19], &[1]].concat()));
            values.push(big(negative, &[0xff; 1024]));
        }
        let number = |value: &Value| match Item::new(&encode_value(value).unwrap()).worth() {
            Worth::Number(number) => number,
            other => panic!("{other:?}"),
        };
        for a in &values {
            for b in &values {
                let expected = number(a).compare(&number(b)).unwrap();
                assert_eq!(term(a).unwrap().cmp(&term(b).unwrap()), expected, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn kinds_come_one_after_the_other_and_what_has_no_order_has_no_term() {
        let date = |text: &str| Value::Date(text.to_owned());
        let in_order = [
            Value::Null,
            false.into(),
            true.into(),
            Value::Float(f64::NEG_INFINITY),
            Value::Int(7),
            Value::Float(f64::INFINITY),
            "".into(),
            Value::Bytes(vec![0]),
            "a".into(),
            Value::Atom("aa".into()),
            Value::Bytes(vec![0xff]),
            Value::DateTime("1969-12-31T23:59:59Z".into()),
            Value::DateTime("2025-01-01T02:00:00+02:00".into()),
            Value::NaiveDateTime("0001-01-01T00:00:00".into()),
            date("1969-01-01"),
            date("2025-01-01"),
            Value::Time("00:00:00".into()),
        ];
        let terms: Vec<_> = in_order.iter().map(|value| term(value).unwrap()).collect();
        assert!(terms.windows(2).all(|pair| pair[0] < pair[1]), "{terms:?}");
        assert_eq!(term(&"a".into()), term(&Value::Atom("a".into())));
        assert_eq!(term(&"a".into()), term(&Value::Bytes(b"a".to_vec())));
        assert_eq!(term(&"x".repeat(INDEX_TERM_BYTES_MAX).into()).map(|term| term.len()), Some(1_025));
        for none in [
            Value::Float(f64::NAN),
            Value::List(vec![]),
            Value::Map(vec![]),
            "x".repeat(INDEX_TERM_BYTES_MAX + 1).into(),
            big(false, &[1; 1_025]),
            Value::Decimal { exponent: 0, mantissa: Box::new(1.into()) },
        ] {
            assert_eq!(term(&none), None, "{none:?}");
        }
    }
}
