//! Values: the golden vectors, and what must hold for every value and for any bytes.

mod json;

use concord_kv::{ErrorKind, Value, check_value, decode_value, encode_value, value_from_json, value_to_json};
use proptest::prelude::*;

const VECTORS: &str = include_str!("../golden/values/vectors.txt");
const ACCEPTED: &str = include_str!("../golden/values/accepted.txt");
const REFUSED: &str = include_str!("../golden/values/refused.txt");

const NO_LIMIT: usize = usize::MAX;

/// Columns of each line of a golden file.
fn lines<const N: usize>(file: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    file.split_terminator('\n').map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        columns.try_into().unwrap_or_else(|columns| panic!("{N} columns expected: {columns:?}"))
    })
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii(), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Numbers below a bound, the same in every run.
fn random(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    }
}

/// All golden values that are accepted, in whatever form.
fn golden_values() -> Vec<Vec<u8>> {
    let vectors = lines(VECTORS).map(|[_, hex, _, _]| unhex(hex));
    vectors.chain(lines(ACCEPTED).map(|[_, hex, _, _]| unhex(hex))).collect()
}

/// Whether JSON has this type, so that the way there and back is exact.
fn is_json(value: &Value) -> bool {
    match value {
        Value::Atom(_) | Value::Tuple(_) | Value::DateTime(_) | Value::ZonedDateTime { .. } => false,
        Value::NaiveDateTime(_) | Value::Date(_) | Value::Time(_) => false,
        Value::Float(float) => float.is_finite(),
        Value::List(items) | Value::Set(items) => items.iter().all(is_json),
        Value::Map(entries) => entries.iter().all(|(key, value)| matches!(key, Value::Text(_)) && is_json(value)),
        Value::Struct { fields, .. } => is_json(fields),
        _ => true,
    }
}

#[test]
fn golden_vectors_decode_and_encode_to_the_same_bytes() {
    let mut count = 0;
    for [name, hex, json, _] in lines(VECTORS) {
        let bytes = unhex(hex);
        check_value(&bytes, bytes.len()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let value = decode_value(&bytes).unwrap();
        assert_eq!(encode_value(&value).unwrap(), bytes, "{name}");

        match value_to_json(&bytes) {
            Ok(text) => assert_eq!(text, json, "{name}"),
            Err(error) => assert_eq!((error.kind(), json), (ErrorKind::InvalidValue, "-"), "{name}: {error}"),
        }
        if json != "-" {
            let back = value_from_json(json).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(value_to_json(&back).unwrap(), json, "{name}");
            assert_eq!(back == bytes, is_json(&value), "{name}");
        }
        count += 1;
    }
    assert!(count >= 80, "{count}");
}

#[test]
fn other_well_formed_encodings_are_read_and_written_as_preferred() {
    for [name, hex, preferred, _] in lines(ACCEPTED) {
        let bytes = unhex(hex);
        check_value(&bytes, NO_LIMIT).unwrap_or_else(|error| panic!("{name}: {error}"));
        let value = decode_value(&bytes).unwrap();
        let preferred = unhex(preferred);
        assert_eq!(encode_value(&value).unwrap(), preferred, "{name}");
        assert_eq!(value_to_json(&bytes).ok(), value_to_json(&preferred).ok(), "{name}");
    }
}

#[test]
fn what_is_no_value_is_refused() {
    let mut count = 0;
    for [name, hex, _] in lines(REFUSED) {
        let bytes = unhex(hex);
        for error in [check_value(&bytes, NO_LIMIT).err(), decode_value(&bytes).err(), value_to_json(&bytes).err()] {
            let error = error.unwrap_or_else(|| panic!("{name} was accepted"));
            assert_eq!(error.kind(), ErrorKind::InvalidValue, "{name}: {error}");
            assert!(error.message().contains("at byte "), "{name}: {error}");
        }
        count += 1;
    }
    assert!(count >= 40, "{count}");
}

/// A damaged value is refused, or it is another value; never a crash, hang or unbounded allocation.
#[test]
fn ten_thousand_damaged_values_give_an_error_or_a_right_answer() {
    let values = golden_values();
    let mut next = random(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = values[round % values.len()].clone();
        let at = next(bytes.len());
        match next(4) {
            0 => bytes[at] = next(256) as u8,
            1 => bytes[at] ^= 1 << next(8),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, next(256) as u8),
        }
        match decode_value(&bytes) {
            Ok(value) => {
                check_value(&bytes, NO_LIMIT).unwrap();
                let again = encode_value(&value).unwrap();
                assert_eq!(encode_value(&decode_value(&again).unwrap()).unwrap(), again);
                if let Ok(json) = value_to_json(&bytes) {
                    assert_eq!(value_to_json(&value_from_json(&json).unwrap()).unwrap(), json);
                }
                accepted += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidValue);
                assert_eq!(check_value(&bytes, NO_LIMIT).unwrap_err().message(), error.message());
                assert!(value_to_json(&bytes).is_err());
                refused += 1;
            }
        }
    }
    assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn nesting_ends_at_128_levels_in_every_direction() {
    let nested = |levels| (1..levels).fold(Value::Null, |value, _| Value::List(vec![value]));
    let deepest = nested(128);
    let bytes = encode_value(&deepest).unwrap();
    assert_eq!(decode_value(&bytes).unwrap(), deepest);
    assert_eq!(value_from_json(&value_to_json(&bytes).unwrap()).unwrap(), bytes);

    let error = encode_value(&nested(129)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    let in_map = Value::Map(vec![(deepest.clone(), Value::Null)]);
    assert_eq!(encode_value(&in_map).unwrap_err().kind(), ErrorKind::InvalidValue);

    // A million levels neither overflow the stack nor take long.
    for opening in [&[0x81][..], &[0x9f], &[0xa1, 0x00], &[0xbf, 0x00], &[0xd9, 0x43, 0x44, 0x81], &[0xd8, 0x27]] {
        let bytes = opening.repeat(1_000_000);
        assert_eq!(decode_value(&bytes).unwrap_err().kind(), ErrorKind::InvalidValue);
        assert_eq!(check_value(&bytes, NO_LIMIT).unwrap_err().kind(), ErrorKind::InvalidValue);
    }
}

/// A scheduler thread of the BEAM has a stack of 320 KiB at least.
#[test]
fn the_deepest_values_need_little_stack() {
    let test = || {
        let lists = (1..128).fold(Value::Null, |value, _| Value::List(vec![value]));
        let maps = (1..128).fold(Value::Null, |value, _| Value::Map(vec![("a".into(), value)]));
        let sets = (1..128).fold(Value::Null, |value, _| Value::Set(vec![value]));
        for value in [lists, maps, sets] {
            let bytes = encode_value(&value).unwrap();
            check_value(&bytes, NO_LIMIT).unwrap();
            assert_eq!(decode_value(&bytes).unwrap(), value);
            assert_eq!(value_from_json(&value_to_json(&bytes).unwrap()).unwrap(), bytes);
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(test).unwrap();
    thread.join().unwrap();
}

#[test]
fn values_beyond_the_size_limit_are_too_large_rather_than_invalid() {
    let bytes = encode_value(&Value::from("x".repeat(1000))).unwrap();
    assert!(check_value(&bytes, bytes.len()).is_ok());
    assert_eq!(check_value(&bytes, bytes.len() - 1).unwrap_err().kind(), ErrorKind::ValueTooLarge);
    assert_eq!(check_value(&[0xff; 10], 9).unwrap_err().kind(), ErrorKind::ValueTooLarge);
}

#[test]
fn values_that_nobody_could_read_back_are_not_written() {
    let text = |value: fn(String) -> Value| value("yesterday".to_owned());
    let zoned = |text: &str, zone: &str| Value::ZonedDateTime {
        text: text.to_owned(),
        zone: zone.to_owned(),
        abbreviation: "CET".to_owned(),
        utc_offset_s: 3600,
        std_offset_s: 0,
    };
    let refused = [
        text(Value::DateTime),
        text(Value::NaiveDateTime),
        text(Value::Date),
        text(Value::Time),
        zoned("2025-01-01T12:00:00+02:00", "Europe/Berlin"),
        zoned("2025-01-01T12:00:00+01:00", ""),
        Value::Decimal { exponent: 0, mantissa: Box::new(Value::Float(1.0)) },
        Value::Struct { name: "Point".to_owned(), fields: Box::new(Value::List(vec![])) },
    ];
    for value in refused {
        assert_eq!(encode_value(&value).unwrap_err().kind(), ErrorKind::InvalidValue, "{value:?}");
        let mut out = vec![1, 2, 3];
        let list = Value::List(vec![Value::Null, value]);
        assert!(concord_kv::encode_value_into(&list, &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
    }
}

#[test]
fn integers_have_one_form_whatever_variant_holds_them() {
    let big =
        |negative, magnitude: &[u8]| encode_value(&Value::BigInt { negative, magnitude: magnitude.to_vec() }).unwrap();
    let int = |integer: i128| encode_value(&Value::Int(integer)).unwrap();
    assert_eq!(big(false, &[]), int(0));
    assert_eq!(big(true, &[0, 0]), int(0));
    assert_eq!(big(true, &[1]), int(-1));
    assert_eq!(big(false, &[0, 1, 0]), int(256));
    assert_eq!(big(true, &[1, 0, 0, 0, 0, 0, 0, 0, 0]), int(-(1 << 64)));
    assert_eq!(big(true, &i128::MIN.unsigned_abs().to_be_bytes()), int(i128::MIN));
    assert_eq!(decode_value(&int(i128::MIN)).unwrap(), Value::Int(i128::MIN));
    assert_eq!(decode_value(&int(i128::MAX)).unwrap(), Value::Int(i128::MAX));
}

/// Values of all types, three levels deep.
fn any_value() -> impl Strategy<Value = Value> {
    let digits2 = |max: u32| (0..=max).prop_map(|number| format!("{number:02}"));
    let date =
        (0..=9999u32, 1..=12u32, 1..=28u32).prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"));
    let time = (digits2(23), digits2(59), digits2(59), "(\\.[0-9]{1,6})?")
        .prop_map(|(hour, minute, second, fraction)| format!("{hour}:{minute}:{second}{fraction}"));
    let moment = (date.clone(), time.clone()).prop_map(|(date, time)| format!("{date}T{time}"));
    let big = prop::collection::vec(any::<u8>(), 17..60).prop_map(|mut magnitude| {
        magnitude[0] |= 1;
        magnitude
    });
    let big = (any::<bool>(), big).prop_map(|(negative, magnitude)| Value::BigInt { negative, magnitude });
    let integer = prop_oneof![any::<i128>().prop_map(Value::Int), any::<i64>().prop_map(Value::from), big];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::from),
        integer.clone(),
        any::<f64>().prop_filter("NaN equals nothing", |float| !float.is_nan()).prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        "\\$*(bytes|set|struct|decimal)".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Value::Bytes),
        any::<String>().prop_map(Value::Atom),
        date.prop_map(Value::Date),
        time.prop_map(Value::Time),
        moment.clone().prop_map(Value::NaiveDateTime),
        (moment, "Z|[+-](0[1-9]|1[0-9]):[0-5][0-9]").prop_map(|(moment, offset)| Value::DateTime(moment + &offset)),
        (any::<i64>(), integer)
            .prop_map(|(exponent, mantissa)| Value::Decimal { exponent, mantissa: Box::new(mantissa) }),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        let entries = prop::collection::vec((inner.clone(), inner.clone()), 0..6);
        let named = prop::collection::vec(("\\$*(bytes|set|struct|decimal|a|b)", inner.clone()), 0..3);
        let named = named.prop_map(|entries| {
            Value::Map(entries.into_iter().map(|(key, value)| (Value::Text(key), value)).collect())
        });
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..30).prop_map(Value::List),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Tuple),
            prop::collection::vec(inner, 0..6).prop_map(Value::Set),
            entries.prop_map(Value::Map),
            named.clone(),
            (any::<String>(), named).prop_map(|(name, fields)| Value::Struct { name, fields: Box::new(fields) }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_value_comes_back_as_it_went(value in any_value()) {
        let bytes = encode_value(&value).unwrap();
        check_value(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(&decode_value(&bytes).unwrap(), &value);

        if let Ok(json) = value_to_json(&bytes) {
            let back = value_from_json(&json).unwrap();
            prop_assert_eq!(&value_to_json(&back).unwrap(), &json);
            if is_json(&value) {
                prop_assert_eq!(back, bytes);
            }
            // What we write is JSON for others, too.
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_judged_alike(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let is_value = check_value(&bytes, NO_LIMIT).is_ok();
        prop_assert_eq!(decode_value(&bytes).is_ok(), is_value);
        prop_assert!(is_value || value_to_json(&bytes).is_err());
    }
}
