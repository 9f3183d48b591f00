//! JSON: what is refused, what is a marker, and how deep it goes.

use concord_kv::{ErrorKind, Value, encode_value, value_from_json, value_to_json};

use crate::{VECTORS, lines, random};

#[test]
fn json_that_is_no_value_is_refused() {
    let refused = [
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "1e400",
        "-1e400",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "[1 2]",
        "1 2",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\n\"",
        "\"a\nb\"",
        "\"\u{1}\"",
        "'a'",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "/**/1",
        "\u{feff}1",
        "1\u{0}",
        "{\"$bytes\":\"hi\"}",
        "{\"$bytes\":\"aGk\"}",
        "{\"$decimal\":\"abc\"}",
        "{\"$decimal\":\"-0\"}",
        "{\"$struct\":[]}",
        "{\"$struct\":[\"A\"]}",
        "{\"$struct\":[\"A\",1]}",
        "{\"$struct\":[1,{}]}",
        "\"é",
        "\"\\é\"",
    ];
    for json in refused {
        let error = value_from_json(json).map(|bytes| panic!("{json} became {bytes:x?}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue, "{json}");
    }
    let digits = "9".repeat(4300);
    assert_eq!(value_to_json(&value_from_json(&digits).unwrap()).unwrap(), digits);
    assert!(value_from_json(&format!("{digits}9")).is_err());
    let beyond = Value::BigInt { negative: true, magnitude: vec![0xff; 2000] };
    assert!(value_to_json(&encode_value(&beyond).unwrap()).is_err());
}

/// Our own reader agrees with serde_json on what is JSON, wherever both have the same idea of it.
#[test]
fn ten_thousand_damaged_json_texts_are_judged_as_serde_json_does() {
    const LETTERS: &[u8] = b" \"[]{}:,\\0123456789.eE+-tfnu";
    let texts: Vec<_> = lines(VECTORS).map(|[_, _, json, _]| json).filter(|json| json.len() < 100).collect();
    let mut next = random(0x2545_f491_4f6c_dd1d);
    for round in 0..20_000 {
        let mut bytes = texts[round % texts.len()].as_bytes().to_vec();
        let at = next(bytes.len());
        match next(3) {
            0 => bytes[at] = LETTERS[next(LETTERS.len())],
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, LETTERS[next(LETTERS.len())]),
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        // Markers, duplicate keys and floats beyond 64 bits are judged by the value model alone.
        if text.contains('$') {
            continue;
        }
        match (value_from_json(text), serde_json::from_str::<serde_json::Value>(text)) {
            (Ok(value), Ok(json)) => {
                let printed: serde_json::Value = serde_json::from_str(&value_to_json(&value).unwrap()).unwrap();
                if !text.contains(['e', 'E', '.', '-']) {
                    assert_eq!(printed, json, "{text}");
                }
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => panic!("only we accept {text}: {error}"),
            (Err(error), Ok(_)) => {
                let message = error.message();
                assert!(
                    ["twice", "64-bit", "128"].iter().any(|part| message.contains(part)),
                    "only we refuse {text}: {error}"
                );
            }
        }
    }
}

#[test]
fn markers_of_json_take_no_level_of_the_value() {
    let sets = (0..127).fold(Value::from(vec![0xff]), |value, _| Value::Set(vec![value]));
    let bytes = encode_value(&sets).unwrap();
    assert_eq!(value_from_json(&value_to_json(&bytes).unwrap()).unwrap(), bytes);
}

#[test]
fn deep_json_is_refused_without_overflowing_the_stack() {
    for opening in ["[", "{\"a\":", "{\"$set\":["] {
        assert_eq!(value_from_json(&opening.repeat(1_000_000)).unwrap_err().kind(), ErrorKind::InvalidValue);
    }
    assert!(value_from_json(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_ok());
    assert!(value_from_json(&format!("{}{}", "[".repeat(129), "]".repeat(129))).is_err());
}
