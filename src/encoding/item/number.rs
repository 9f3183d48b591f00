//! Number: integers of any size and floats, compared exactly by what they are worth.

use std::cmp::Ordering;

use crate::encoding::integer::{big, small, strip_zeros};
use crate::model::Value;

/// 2^127: integers from here on, and below its negative, are [`Number::Big`].
const TWO_TO_127: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Int(i128),
    /// Beyond 128 bits: sign and magnitude, big-endian without leading zeros.
    Big {
        negative: bool,
        magnitude: Vec<u8>,
    },
    Float(f64),
}

impl Number {
    pub(super) fn small(negative: bool, argument: u64) -> Number {
        Number::Int(small(negative, argument))
    }

    pub(super) fn big(negative: bool, bytes: &[u8]) -> Number {
        match big(negative, bytes) {
            Value::BigInt { negative, magnitude } => Number::Big { negative, magnitude },
            Value::Int(integer) => Number::Int(integer),
            // `big` makes nothing else.
            _ => Number::Float(f64::NAN),
        }
    }

    /// `None` when one of them is a NaN. Equal are those that `Condition::Expected` takes for equal.
    pub(crate) fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
            (Number::Int(a), Number::Float(b)) => int_with_float(*a, *b),
            (Number::Float(_), Number::Int(_)) => other.compare(self).map(Ordering::reverse),
            (Number::Int(_), Number::Big { negative, .. }) => Some(below(!negative)),
            (Number::Big { negative, .. }, Number::Int(_)) => Some(below(*negative)),
            (Number::Big { negative, magnitude }, Number::Float(float)) => big_with_float(*negative, magnitude, *float),
            (Number::Float(_), Number::Big { .. }) => other.compare(self).map(Ordering::reverse),
            (Number::Big { negative: a, magnitude: m }, Number::Big { negative: b, magnitude: n }) => {
                Some(match (a, b) {
                    (false, true) => Ordering::Greater,
                    (true, false) => Ordering::Less,
                    (false, false) => magnitudes(m, n),
                    (true, true) => magnitudes(n, m),
                })
            }
        }
    }
}

fn below(is_below: bool) -> Ordering {
    if is_below { Ordering::Less } else { Ordering::Greater }
}

fn int_with_float(int: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= TWO_TO_127 {
        return Some(Ordering::Less);
    }
    if float < -TWO_TO_127 {
        return Some(Ordering::Greater);
    }
    // Exact: the float lies within the integers of 128 bits.
    let whole = float.trunc() as i128;
    Some(int.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal)))
}

fn big_with_float(negative: bool, magnitude: &[u8], float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.is_infinite() || negative != (float < 0.0) || float.abs() < TWO_TO_127 {
        let float_is_farther = float.is_infinite() && negative == (float < 0.0);
        return Some(below(negative != float_is_farther));
    }
    let ordering = magnitudes(magnitude, &whole_magnitude(float));
    Some(if negative { ordering.reverse() } else { ordering })
}

fn magnitudes(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The magnitude of a finite float of at least 2^127.
fn whole_magnitude(float: f64) -> Vec<u8> {
    let bits = float.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as usize - 1075;
    let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52) << (exponent % 8);
    let mut magnitude = strip_zeros(&mantissa.to_be_bytes()).to_vec();
    magnitude.resize(magnitude.len() + exponent / 8, 0);
    magnitude
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::item::{Item, Worth};
    use crate::encoding::{encode_value, equal_by_worth};

    fn power(exponent: usize, plus: u8) -> Value {
        let mut magnitude = vec![0; exponent / 8 + 1];
        magnitude[0] = 1 << (exponent % 8);
        if let Some(last) = magnitude.last_mut() {
            *last += plus;
        }
        Value::BigInt { negative: false, magnitude }
    }

    fn negated(value: &Value) -> Value {
        match value.clone() {
            Value::Int(integer) => Value::Int(integer.checked_neg().unwrap_or(integer)),
            Value::Float(float) => Value::Float(-float),
            Value::BigInt { negative, magnitude } => Value::BigInt { negative: !negative, magnitude },
            other => other,
        }
    }

    /// In ascending order, those of one line being equal.
    fn ascending() -> Vec<Vec<Value>> {
        let two_to_53 = (1u64 << 53) as f64;
        vec![
            vec![0.into(), 0.0.into(), (-0.0).into()],
            vec![f64::MIN_POSITIVE.into()],
            vec![0.5.into()],
            vec![1.into(), 1.0.into()],
            vec![1.5.into()],
            vec![Value::Int(1 << 53), two_to_53.into()],
            vec![Value::Int((1 << 53) + 1)],
            vec![Value::Int(u64::MAX.into())],
            vec![Value::Int(1 << 64), 2f64.powi(64).into()],
            vec![Value::Int(i128::MAX)],
            vec![power(127, 0), 2f64.powi(127).into()],
            vec![power(127, 1)],
            vec![power(128, 0), 2f64.powi(128).into()],
            vec![power(200, 0), 2f64.powi(200).into()],
            vec![power(200, 1)],
            vec![2f64.powi(200).next_up().into()],
            vec![power(1023, 0), 2f64.powi(1023).into()],
            vec![f64::MAX.into()],
            vec![power(1024, 0)],
            vec![f64::INFINITY.into()],
        ]
    }

    #[test]
    fn order_and_equality_are_exact_and_those_of_expected() {
        let mut lines: Vec<Vec<Value>> =
            ascending().iter().skip(1).rev().map(|line| line.iter().map(negated).collect()).collect();
        lines.extend(ascending());
        let encode = |value: &Value| encode_value(value).unwrap();
        let numbers: Vec<(usize, Vec<u8>)> =
            lines.iter().enumerate().flat_map(|(at, line)| line.iter().map(move |value| (at, encode(value)))).collect();
        for (place, a) in &numbers {
            for (other_place, b) in &numbers {
                let (Worth::Number(x), Worth::Number(y)) = (Item::new(a).worth(), Item::new(b).worth()) else {
                    panic!("{a:?} and {b:?} are numbers")
                };
                assert_eq!(x.compare(&y), Some(place.cmp(other_place)), "{x:?} and {y:?}");
                assert_eq!(equal_by_worth(a, b), place == other_place, "{x:?} and {y:?}");
            }
        }
        let nan = Number::Float(f64::NAN);
        let with_nan = [Number::Int(0), nan.clone(), Number::big(false, &[1; 17])];
        assert!(with_nan.iter().all(|number| number.compare(&nan).is_none() && nan.compare(number).is_none()));
    }
}
