//! Tree: an expression as it is understood.

use super::pattern::Matcher;
use crate::encoding::times::Moment;

/// One part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    /// An encoded value.
    Literal(Vec<u8>),
    Moment(Moment),
    /// Steps into the value; none for the value itself.
    Value(Vec<Step>),
    Key,
    Revision,
    Ttl,
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Compare(Box<Node>, Comparison, Box<Node>),
    /// The first is in the second.
    In(Box<Node>, Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    EndsWith(Box<Node>, Box<Node>),
    Matches(Box<Node>, Box<Matcher>),
    Exists(Box<Node>),
    Size(Box<Node>),
    Type(Box<Node>),
    Date(Box<Node>),
}

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The entry of a map with this name, text or atom.
    Name(Box<str>),
    /// The item of a list at this place, the first is 0; of a map the entry with this integer.
    Place(i128),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
