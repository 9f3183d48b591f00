//! Expressions: what picks records, the same in every language and on every replica.
//!
//! An expression is true of a record or it is not; there is no error once it is understood. What it means never changes: it
//! stands in the log.
//!
//! ```text
//! value.price > 100 and value.role == "admin"
//! starts_with(key, "user:") and (value.tags[0] in ["a", "b"] or not exists(value["last name"]))
//! date(value.created_at) < date("2025-01-01T00:00:00Z") and size(value.items) >= 2 and ttl != null
//! ```
//!
//! ```text
//! expression := and ("or" and)*
//! and        := not ("and" not)*
//! not        := "not"* comparison
//! comparison := operand [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") operand]
//! operand    := literal | name | function "(" expression ["," expression] ")" | "(" expression ")"
//! name       := "key" | "revision" | "ttl" | "value" ("." word | "[" string "]" | "[" integer "]")*
//! literal    := number | string | "true" | "false" | "null" | "[" [literal ("," literal)*] "]"
//! word       := a letter or "_", then letters, digits and "_", all of ASCII
//! ```
//!
//! **Names.** `value` is the record's value, `key` its key as bytes, `revision` the number of the change that wrote it, `ttl`
//! its remaining lifetime in seconds with milliseconds behind the point, or `null` when it lives for ever. `.name` and
//! `["any text"]` are the entry of a map (or the field of a struct) whose key is that text, atom or bytes; of equal keys the
//! last. `[0]` is the first item of a list or tuple, and of a map the entry with that integer. What is not there is
//! *missing*.
//!
//! **Literals** are those of JSON, with its escapes: `"user:\\d"` has one backslash. Integers have any size.
//!
//! **Kinds.** Numbers are integers and floats. Strings are text, atoms and bytes, all by their bytes: `:admin` of Elixir is
//! `"admin"`. Lists are lists and tuples. Maps are maps and structs. Dates are points in time (with or without a named zone),
//! dates with times, dates and times of day: four kinds, each for itself. Decimals are a kind of their own, no numbers.
//!
//! | | is true when |
//! |--|--|
//! | `a == b` | both have one kind and are equal: numbers by what they are worth, exactly (`1 == 1.0`, no NaN equals anything); strings by their bytes; points in time by the instant; lists item by item; maps, sets and decimals as `Condition::Expected` has it |
//! | `a != b` | `a == b` is not true: so it is true of missing things, and of different kinds |
//! | `a < b`, `<=`, `>`, `>=` | both are numbers, both strings, or both dates of one kind, and in that order; of all else it is not true |
//! | `a in b`, `contains(b, a)` | a list or set `b` has an item equal to `a`; a map `b` has the key `a`; a string `b` has `a` in it |
//! | `starts_with(a, b)`, `ends_with(a, b)` | both are strings, and `a` does |
//! | `matches(a, "pattern")`, `matches(a, "pattern", "flags")` | `a` is a string in which the pattern matches, see [`Pattern`](crate::Pattern); flags are letters of `imsxu` |
//! | `exists(a)` | `a` is not missing; `null` is not missing |
//! | `a and b`, `a or b`, `not a` | as usual, where what is not `true` (a number, a missing thing) counts as false |
//!
//! Three functions give something to compare: `size(a)`, the bytes of a string, the items of a list or set, the entries of a
//! map, else missing; `type(a)`, one of `"null"`, `"bool"`, `"number"`, `"text"` (atoms too), `"bytes"`, `"list"`, `"set"`,
//! `"map"`, `"date"`, `"other"` and `"missing"`; `date(a)`, the date that a text says, as in `"2025-10-21"`,
//! `"12:47:27.5"`, `"2025-10-21T12:47:27"` or `"2025-10-21T12:47:27+02:00"`; missing for other texts, and refused for a literal.
//!
//! An expression has at most 4,096 bytes, 64 levels and 8 patterns, else `invalid_condition`, as for all that cannot be understood; the
//! error tells the column, which counts characters from 1. It costs at most the size of the value for each of its parts.
//! The golden cases that every language runs are in `tests/golden/expressions.json`.

mod evaluate;
mod lexer;
mod parser;
mod path;
mod pattern;
mod portable;
mod selection;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use evaluate::Subject;
pub(crate) use path::Path;
pub(crate) use pattern::Strictness;
pub(crate) use selection::Selection;

use crate::error::Result;
use crate::model::RecordView;

/// An expression that was understood.
#[derive(Debug)]
pub(crate) struct Expression {
    root: tree::Node,
}

impl Expression {
    /// Errors: `invalid_condition`, with the column.
    pub(crate) fn parse_as(text: &str, strictness: Strictness) -> Result<Expression> {
        Ok(Expression { root: parser::parse(text, strictness)? })
    }

    /// Whether it is true of a record.
    pub(crate) fn holds(&self, subject: &Subject<'_>) -> bool {
        evaluate::holds(&self.root, subject)
    }
}

/// Whether this is an expression, as a selector's `filter` and [`Condition::Where`](crate::Condition::Where) take it. For
/// programs that want to tell early; every verb checks it by itself.
///
/// # Errors
/// `invalid_condition`; [`Error::column`](crate::Error::column) tells where.
///
/// ```
/// use concord_kv::check_expression;
/// check_expression("value.price > 100 and value.role == \"admin\"")?;
/// assert_eq!(check_expression("value.price >").unwrap_err().column(), Some(14));
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn check_expression(text: &str) -> Result<()> {
    Expression::parse_as(text, Strictness::Asked).map(drop)
}

/// Whether this is the path of an index.
///
/// Errors: `invalid_condition`, with the column.
pub(crate) fn check_path(text: &str) -> Result<()> {
    Path::parse(text).map(drop)
}

/// Whether an expression is true of a record, as every replica judges it. For programs that try an expression out, or filter
/// what they have read already.
///
/// # Errors
/// As [`check_expression`].
///
/// ```
/// use concord_kv::{RecordView, encode_value, expression_holds};
/// let value = encode_value(&150.into())?;
/// let record = RecordView { value: value.into(), revision: 7, ttl_ms: None };
/// assert!(expression_holds("value > 100 and ttl == null", b"price", &record)?);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn expression_holds(text: &str, key: &[u8], record: &RecordView<'_>) -> Result<bool> {
    let RecordView { value, revision, ttl_ms } = record;
    let subject = Subject { key, value, revision: *revision, ttl_ms: *ttl_ms };
    Ok(Expression::parse_as(text, Strictness::Asked)?.holds(&subject))
}
