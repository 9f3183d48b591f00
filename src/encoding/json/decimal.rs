//! Decimal text: exponent and mantissa as digits and back, losing neither.
//!
//! The notation is `to-scientific-string` of the General Decimal Arithmetic Specification, which
//! Elixir's `Decimal` and Python's `decimal` print as well.

use crate::encoding::integer::{from_digits, to_digits};
use crate::limits::JSON_INTEGER_DIGITS_MAX;
use crate::model::Value;

/// The text of a decimal; `None` when it has too many digits.
pub(super) fn to_text(exponent: i64, mantissa: &Value) -> Option<String> {
    let digits = to_digits(mantissa, JSON_INTEGER_DIGITS_MAX)?;
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let count = digits.len() as i128;
    let exponent = i128::from(exponent);
    let adjusted = exponent + count - 1;
    if exponent > 0 || adjusted < -6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return Some(format!("{sign}{first}{point}{rest}E{adjusted:+}"));
    }
    let fraction = -exponent as usize;
    if fraction == 0 {
        return Some(format!("{sign}{digits}"));
    }
    let padded = format!("{digits:0>width$}", width = fraction + 1);
    let (whole, fraction) = padded.split_at(padded.len() - fraction);
    Some(format!("{sign}{whole}.{fraction}"))
}

/// Exponent and mantissa of a text; `None` when it is no decimal, has too many digits, or is a
/// negative zero, which has no such form.
pub(super) fn from_text(text: &str) -> Option<(i64, Value)> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let (number, power) = match unsigned.split_once(['e', 'E']) {
        Some((number, power)) => (number, read_power(power)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (number, ""),
    };
    let digits = [whole, fraction].concat();
    let is_number = !whole.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || digits.len() > JSON_INTEGER_DIGITS_MAX {
        return None;
    }
    let mantissa = from_digits(is_negative, &digits);
    if is_negative && mantissa == Value::Int(0) {
        return None;
    }
    let exponent = power.checked_sub(fraction.len() as i128)?;
    Some((i64::try_from(exponent).ok()?, mantissa))
}

fn read_power(power: &str) -> Option<i128> {
    let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { power.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_exponent_and_mantissa() {
        let vectors: &[(i64, i128, &str)] = &[
            (0, 123, "123"),
            (0, -123, "-123"),
            (1, 123, "1.23E+3"),
            (3, 123, "1.23E+5"),
            (-1, 123, "12.3"),
            (-5, 123, "0.00123"),
            (-10, 123, "1.23E-8"),
            (-12, -123, "-1.23E-10"),
            (0, 0, "0"),
            (-2, 0, "0.00"),
            (2, 0, "0E+2"),
            (-6, 5, "0.000005"),
            (-7, 50, "0.0000050"),
            (-7, 5, "5E-7"),
            (-8, 0, "0E-8"),
            (i64::MAX, 12, "1.2E+9223372036854775808"),
            (i64::MIN, 1, "1E-9223372036854775808"),
        ];
        for (exponent, mantissa, text) in vectors {
            assert_eq!(to_text(*exponent, &Value::Int(*mantissa)).as_deref(), Some(*text));
            assert_eq!(from_text(text), Some((*exponent, Value::Int(*mantissa))), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        let texts = [
            "",
            "-",
            ".5",
            "5.",
            "1.2.3",
            "0x1",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            "-0",
            "-0.00",
            "+1",
            "1 ",
            "1E9223372036854775808",
            "1e--1",
        ];
        for text in texts {
            assert_eq!(from_text(text), None, "{text}");
        }
    }
}
