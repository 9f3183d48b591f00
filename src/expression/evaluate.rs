//! Evaluate: what an expression is worth for a record, straight from the encoded value.
//!
//! Each part of the expression passes over the value once, so the cost is at most their product.

use std::borrow::Cow;
use std::cmp::Ordering;

use memchr::memmem;

use super::tree::{Comparison, Node, Step};
use crate::encoding::equal_by_worth;
use crate::encoding::item::{Item, Number, Worth};
use crate::encoding::times::Moment;

/// A record that an expression is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) key: &'a [u8],
    /// Encoded.
    pub(crate) value: &'a [u8],
    pub(crate) revision: u64,
    pub(crate) ttl_ms: Option<u64>,
}

/// Whether the expression is true of the record.
pub(super) fn holds(node: &Node, subject: &Subject<'_>) -> bool {
    matches!(worth(node, subject), Some(Worth::Bool(true)))
}

/// `None` is missing.
fn worth<'a>(node: &'a Node, subject: &Subject<'a>) -> Option<Worth<'a>> {
    let is_true = |node: &Node| holds(node, subject);
    Some(match node {
        Node::Literal(encoded) => Item::new(encoded).worth(),
        Node::Moment(moment) => Worth::Moment(*moment),
        Node::Value(steps) => {
            let value = Item::new(subject.value);
            steps.iter().try_fold(value, |item, step| find(item, step))?.worth()
        }
        Node::Key => Worth::Bytes(Cow::Borrowed(subject.key)),
        Node::Revision => Worth::Number(Number::Int(subject.revision.into())),
        Node::Ttl => match subject.ttl_ms {
            None => Worth::Null,
            Some(ttl_ms) => Worth::Number(Number::Float(ttl_ms as f64 / 1000.0)),
        },
        Node::Not(node) => Worth::Bool(!is_true(node)),
        Node::And(nodes) => Worth::Bool(nodes.iter().all(is_true)),
        Node::Or(nodes) => Worth::Bool(nodes.iter().any(is_true)),
        Node::Compare(a, comparison, b) => Worth::Bool(compares(worth(a, subject), *comparison, worth(b, subject))),
        Node::In(part, whole) => Worth::Bool(match (worth(part, subject), worth(whole, subject)) {
            (Some(part), Some(whole)) => contains(&whole, &part),
            _ => false,
        }),
        Node::StartsWith(text, part) => with_strings(worth(text, subject), worth(part, subject), <[u8]>::starts_with),
        Node::EndsWith(text, part) => with_strings(worth(text, subject), worth(part, subject), <[u8]>::ends_with),
        Node::Matches(text, matcher) => {
            let text = worth(text, subject);
            Worth::Bool(text.as_ref().and_then(string).is_some_and(|text| matcher.is_match(text)))
        }
        Node::Exists(node) => Worth::Bool(worth(node, subject).is_some()),
        Node::Size(node) => Worth::Number(Number::Int(size(&worth(node, subject)?)? as i128)),
        Node::Type(node) => Worth::Text(Cow::Borrowed(type_of(worth(node, subject).as_ref()).as_bytes())),
        Node::Date(node) => match worth(node, subject)? {
            Worth::Moment(moment) => Worth::Moment(moment),
            Worth::Text(text) => Worth::Moment(Moment::parse(std::str::from_utf8(&text).ok()?)?),
            _ => return None,
        },
    })
}

/// One step into an item. Of entries with the same key the last counts.
pub(super) fn find<'a>(item: Item<'a>, step: &Step) -> Option<Item<'a>> {
    match (item.worth(), step) {
        (Worth::Map(map), Step::Name(name)) => entry(map, |key| string(&key).is_some_and(|key| key == name.as_bytes())),
        (Worth::Map(map), Step::Place(place)) => {
            entry(map, |key| matches!(key, Worth::Number(Number::Int(integer)) if integer == *place))
        }
        (Worth::List(list), Step::Place(place)) => list.items().nth(usize::try_from(*place).ok()?),
        _ => None,
    }
}

fn entry<'a>(map: Item<'a>, is_wanted: impl Fn(Worth<'a>) -> bool) -> Option<Item<'a>> {
    let mut entries = map.entries();
    let mut found = None;
    while let (Some(key), Some(value)) = (entries.next(), entries.next()) {
        if is_wanted(key.worth()) {
            found = Some(value);
        }
    }
    found
}

/// Text, atoms and bytes are all strings of bytes.
fn string<'b>(worth: &'b Worth<'_>) -> Option<&'b [u8]> {
    match worth {
        Worth::Text(bytes) | Worth::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn with_strings<'a>(a: Option<Worth<'_>>, b: Option<Worth<'_>>, judge: fn(&[u8], &[u8]) -> bool) -> Worth<'a> {
    let strings = (a.as_ref().and_then(string), b.as_ref().and_then(string));
    Worth::Bool(matches!(strings, (Some(a), Some(b)) if judge(a, b)))
}

fn compares(a: Option<Worth<'_>>, comparison: Comparison, b: Option<Worth<'_>>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return comparison == Comparison::Unequal };
    match comparison {
        Comparison::Equal => equal(&a, &b),
        Comparison::Unequal => !equal(&a, &b),
        _ => order(&a, &b).is_some_and(|order| match comparison {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }),
    }
}

/// `None` for what has no order, or not with each other.
fn order(a: &Worth<'_>, b: &Worth<'_>) -> Option<Ordering> {
    match (a, b) {
        (Worth::Number(a), Worth::Number(b)) => a.compare(b),
        (Worth::Moment(a), Worth::Moment(b)) => a.compare(*b),
        _ => Some(string(a)?.cmp(string(b)?)),
    }
}

fn equal(a: &Worth<'_>, b: &Worth<'_>) -> bool {
    match (a, b) {
        (Worth::Null, Worth::Null) => true,
        (Worth::Bool(a), Worth::Bool(b)) => a == b,
        (Worth::List(a), Worth::List(b)) => {
            let (mut a, mut b) = (a.items(), b.items());
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if equal(&a.worth(), &b.worth()) => {}
                    _ => return false,
                }
            }
        }
        (Worth::Set(a), Worth::Set(b)) | (Worth::Map(a), Worth::Map(b)) | (Worth::Other(a), Worth::Other(b)) => {
            equal_by_worth(a.bytes(), b.bytes())
        }
        _ => order(a, b) == Some(Ordering::Equal),
    }
}

fn contains(whole: &Worth<'_>, part: &Worth<'_>) -> bool {
    match whole {
        Worth::List(items) | Worth::Set(items) => {
            let is_part = equal_to(part);
            items.items().any(|item| is_part(item.worth()))
        }
        Worth::Map(map) => entry(*map, equal_to(part)).is_some(),
        _ => match (string(whole), string(part)) {
            (Some(whole), Some(part)) => memmem::find(whole, part).is_some(),
            _ => false,
        },
    }
}

/// Equality with one that is held against many: what is large about it is looked at once.
fn equal_to<'b>(one: &'b Worth<'_>) -> impl Fn(Worth<'_>) -> bool + 'b {
    let form = composite(one).map(Item::form);
    move |other| match &form {
        None => equal(one, &other),
        Some(None) => false,
        Some(Some(form)) => composite(&other).and_then(Item::form).as_ref() == Some(form),
    }
}

fn composite<'a>(worth: &Worth<'a>) -> Option<Item<'a>> {
    match worth {
        Worth::List(item) | Worth::Set(item) | Worth::Map(item) | Worth::Other(item) => Some(*item),
        _ => None,
    }
}

fn size(worth: &Worth<'_>) -> Option<usize> {
    match worth {
        Worth::Text(bytes) | Worth::Bytes(bytes) => Some(bytes.len()),
        Worth::List(items) | Worth::Set(items) => Some(items.items().count()),
        Worth::Map(map) => Some(map.entries().count() / 2),
        _ => None,
    }
}

fn type_of(worth: Option<&Worth<'_>>) -> &'static str {
    match worth {
        None => "missing",
        Some(Worth::Null) => "null",
        Some(Worth::Bool(_)) => "bool",
        Some(Worth::Number(_)) => "number",
        Some(Worth::Text(_)) => "text",
        Some(Worth::Bytes(_)) => "bytes",
        Some(Worth::Moment(_)) => "date",
        Some(Worth::List(_)) => "list",
        Some(Worth::Set(_)) => "set",
        Some(Worth::Map(_)) => "map",
        Some(Worth::Other(_)) => "other",
    }
}
