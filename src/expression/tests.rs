//! Golden cases that every language runs, and what holds for any text and any value.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Expression, Strictness, Subject};
use crate::encoding::item::Item;
use crate::encoding::{encode_value, value_from_json};
use crate::error::ErrorKind;
use crate::model::Value;

const GOLDEN: &str = include_str!("../../tests/golden/expressions.json");

fn parse(text: &str) -> crate::error::Result<Expression> {
    Expression::parse_as(text, Strictness::Asked)
}

fn holds(text: &str, value: &[u8]) -> bool {
    let subject = Subject { key: b"k", value, revision: 1, ttl_ms: None };
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&subject)
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A case: `expression`, then `value` (JSON) or `cbor` (hex), `key`, `revision` and `ttl` (seconds), with `result`; or `column`.
#[test]
fn the_golden_cases_hold() {
    let cases: Vec<Json> = serde_json::from_str(GOLDEN).unwrap();
    assert!(cases.len() > 150);
    for case in &cases {
        let text = case["expression"].as_str().unwrap();
        if let Some(column) = case.get("column") {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert_eq!(error.kind(), ErrorKind::InvalidCondition, "{text}");
            assert_eq!(error.column().map(|column| column as u64), column.as_u64(), "{text}: {error}");
            continue;
        }
        let value = match case.get("cbor") {
            Some(hex) => unhex(hex.as_str().unwrap()),
            None => value_from_json(&case.get("value").map_or("null".to_owned(), Json::to_string)).unwrap(),
        };
        let key = case.get("key").and_then(Json::as_str).unwrap_or("k");
        let ttl_ms = case.get("ttl").and_then(Json::as_f64).map(|ttl_s| (ttl_s * 1000.0) as u64);
        let revision = case.get("revision").and_then(Json::as_u64).unwrap_or(1);
        let subject = Subject { key: key.as_bytes(), value: &value, revision, ttl_ms };
        let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(Json::from(expression.holds(&subject)), case["result"], "{case}");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused_at_once() {
    let begun = Instant::now();
    let deep = |count: usize| format!("{}true{}", "(".repeat(count), ")".repeat(count));
    assert!(parse(&deep(64)).is_ok());
    for text in [
        deep(65),
        deep(2_000),
        deep(10_000),
        "(".repeat(4_096),
        "[".repeat(4_096),
        format!("value in {}1{}", "[".repeat(100), "]".repeat(100)),
        "size(".repeat(800),
        "not ".repeat(1_000),
        "value".to_owned() + &" and value".repeat(100_000),
        "x".repeat(1 << 20),
        "\"".to_owned() + &"\\".repeat(4_000),
    ] {
        assert_eq!(parse(&text).unwrap_err().kind(), ErrorKind::InvalidCondition, "{:.40}", text);
    }
    // Long, but not deep.
    assert!(parse(&("true".to_owned() + &" and true".repeat(400))).is_ok());
    assert!(parse(&("not ".repeat(1_000) + "true")).is_ok());
    assert!(parse(&format!("value{} == 1", ".a".repeat(2_000))).is_ok());
    assert!(parse(&format!("value in [{}1]", "1,".repeat(2_000))).is_ok());
    assert!(parse(&format!("matches(key, \"{}\")", "a".repeat(1_025))).is_err());
    assert!(parse(&["matches(key, \"a\")"; 8].join(" or ")).is_ok());
    assert!(parse(&["matches(key, \"a\")"; 9].join(" or ")).is_err());
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}

#[test]
fn the_cost_is_that_of_value_times_expression() {
    let begun = Instant::now();
    let part = "a".repeat(500_000);
    let map = |entries: Vec<(&str, Value)>| {
        let entries = entries.into_iter().map(|(name, value)| (Value::from(name), value));
        encode_value(&Value::Map(entries.collect())).unwrap()
    };
    // Where text is looked for naively this takes minutes.
    let texts = map(vec![("a", format!("{part}{part}").into()), ("b", format!("{part}b{part}").into())]);
    assert!(!holds("contains(value.a, value.b) or contains(value.b, value.a)", &texts));
    assert!(!holds("matches(value.a, \"(a+)+b\")", &texts));
    let list: Vec<Value> = (0..100_000).map(Value::from).collect();
    let lists = map(vec![("a", Value::List(list.clone())), ("b", Value::List(vec![Value::List(list); 3]))]);
    assert!(holds("value.a in value.b and value.b[2][99999] == 99999", &lists));
    // A large map, or a list of one, among many small ones.
    let large = || Value::Map((0..20_000).map(|n| (Value::from(n), Value::from("x"))).collect());
    let small = Value::Map(vec![(1.into(), 1.into())]);
    let maps = map(vec![
        ("a", large()),
        ("as", Value::List(vec![large()])),
        ("b", Value::List(vec![small.clone(); 20_000])),
        ("bs", Value::List(vec![Value::List(vec![small]); 20_000])),
        ("c", Value::List(vec![Value::Null, large()])),
    ]);
    assert!(!holds("value.a in value.b or value.as in value.bs", &maps) && holds("value.a in value.c", &maps));
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

/// What is equal has one form, and nothing else has it.
#[test]
fn equality_and_forms_agree() {
    let vectors = include_str!("../../tests/golden/values/vectors.txt").lines();
    let mut values: Vec<Vec<u8>> = vectors.filter_map(|line| line.split('\t').nth(1)).map(unhex).collect();
    for json in
        ["1", "1.0", "[1]", "[1.0]", "[[1], 2]", "[[1], [2]]", "[]", "{\"a\":[1]}", "{\"a\":[1.0]}", "\"a\"", "[\"a\"]"]
    {
        values.push(value_from_json(json).unwrap());
    }
    values.push(encode_value(&Value::List(vec![Value::Atom("a".into())])).unwrap());
    values.push(encode_value(&Value::Tuple(vec![Value::Bytes(b"a".to_vec())])).unwrap());
    let mut equal = 0;
    for a in &values {
        for b in &values {
            let pair = [&[0x82][..], a, b].concat();
            let is_equal = holds("value[0] == value[1]", &pair);
            let (a, b) = (Item::new(a).form(), Item::new(b).form());
            assert_eq!(is_equal, a.is_some() && a == b, "{pair:02x?}");
            equal += usize::from(is_equal);
        }
    }
    assert!(equal > values.len(), "{equal} of {}", values.len());
}

/// Texts that look like expressions.
fn texts() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "value",
        ".a",
        "[0]",
        "[\"b c\"]",
        "key",
        "revision",
        "ttl",
        "==",
        "!=",
        "<",
        ">=",
        "in",
        "not",
        "and",
        "or",
        "(",
        ")",
        "[",
        "]",
        ",",
        "1",
        "-2.5e3",
        "\"text\"",
        "null",
        "true",
        "size(",
        "type(",
        "contains(",
        "matches(key, \"^a\")",
        "exists(",
        "date(\"2025-01-01\")",
        "starts_with(",
        "é",
        "'",
        "=",
        "&&",
        "\\",
        "\"",
        " ",
        "1e999",
        "9999999999999999999",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_an_expression_or_an_error_with_a_column(text in prop_oneof![texts(), "\\PC{0,60}"], value in any::<Vec<u8>>()) {
        match parse(&text) {
            // The value may be anything, also none.
            Ok(expression) => {
                let subject = Subject { key: &value, value: &value, revision: 1, ttl_ms: Some(1) };
                expression.holds(&subject);
            }
            Err(error) => {
                let column = error.column().unwrap();
                prop_assert!((1..=text.chars().count() + 1).contains(&column), "{error}");
            }
        }
    }
}
