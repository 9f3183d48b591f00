//! Parser: text to tree, by recursive descent. Bounded in length and depth; of what it builds nothing is deeper than that.

use super::lexer::{Lexer, Token};
use super::path::PathStep;
use super::pattern::{Matcher, Strictness};
use super::tree::{Comparison, Node, Step};
use crate::encoding::item::{Item, Number, Worth};
use crate::encoding::times::Moment;
use crate::encoding::{decode_value, encode_value, value_from_json};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_PATTERNS_MAX};
use crate::limits::{INDEX_PATH_BYTES_MAX, INDEX_PATH_STEPS_MAX};
use crate::model::{Pattern, PatternFlags, Value};

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

/// Functions with how many arguments each takes.
const FUNCTIONS: [(&str, usize); 8] = [
    ("starts_with", 2),
    ("ends_with", 2),
    ("contains", 2),
    ("matches", 2),
    ("exists", 1),
    ("size", 1),
    ("type", 1),
    ("date", 1),
];

/// Reads an expression.
///
/// Errors: `invalid_condition`, with the column.
pub(super) fn parse(text: &str, strictness: Strictness) -> Result<Node> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes, this one has {}", text.len());
        return Err(Error::new(ErrorKind::InvalidCondition, message));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let mut parser = Parser { lexer, at, token, depth: 0, patterns: 0, strictness };
    let node = parser.any_of()?;
    match &parser.token {
        Token::End => Ok(node),
        Token::Sign(")") => Err(parser.fault("there is no `(` for this `)`")),
        Token::Word("is") => Err(parser.fault("write `==` instead of `is`")),
        _ => Err(parser.fault("an `and`, an `or` or the end is missing here")),
    }
}

/// Reads the path of an index.
///
/// Errors: `invalid_condition`, with the column.
pub(super) fn parse_path(text: &str) -> Result<Vec<PathStep>> {
    if text.len() > INDEX_PATH_BYTES_MAX {
        let message = format!("a path has at most {INDEX_PATH_BYTES_MAX} bytes, this one has {}", text.len());
        return Err(Error::new(ErrorKind::InvalidCondition, message));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let mut parser = Parser { lexer, at, token, depth: 0, patterns: 0, strictness: Strictness::Accepted };
    if parser.token != Token::Word("value") {
        return Err(parser.fault("a path begins with `value`, as in `value.price`"));
    }
    parser.take()?;
    let steps = parser.path_steps()?;
    match &parser.token {
        Token::End => Ok(steps),
        _ => Err(parser.fault("a path goes on with `.name`, `[\"any key\"]`, `[0]` or `[]`")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token that is read next, and where it begins.
    token: Token<'a>,
    at: usize,
    depth: usize,
    patterns: usize,
    strictness: Strictness,
}

impl<'a> Parser<'a> {
    fn fault(&self, reason: &str) -> Error {
        self.lexer.fault(self.at, reason)
    }

    /// Takes the token and reads the one after it.
    fn take(&mut self) -> Result<Token<'a>> {
        let (at, next) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn take_if(&mut self, token: &Token<'_>) -> Result<bool> {
        let is_next = self.token == *token;
        if is_next {
            self.take()?;
        }
        Ok(is_next)
    }

    fn expect(&mut self, sign: &'static str, reason: &str) -> Result<()> {
        if self.take_if(&Token::Sign(sign))? { Ok(()) } else { Err(self.fault(reason)) }
    }

    /// Reads something one level deeper.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == EXPRESSION_DEPTH_MAX {
            return Err(self.fault("nested deeper than 64 levels"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// `a or b or c`
    fn any_of(&mut self) -> Result<Node> {
        let first = self.all_of()?;
        if self.token != Token::Word("or") {
            return Ok(first);
        }
        let mut nodes = vec![first];
        while self.take_if(&Token::Word("or"))? {
            nodes.push(self.all_of()?);
        }
        Ok(Node::Or(nodes))
    }

    /// `a and b and c`
    fn all_of(&mut self) -> Result<Node> {
        let first = self.negation()?;
        if self.token != Token::Word("and") {
            return Ok(first);
        }
        let mut nodes = vec![first];
        while self.take_if(&Token::Word("and"))? {
            nodes.push(self.negation()?);
        }
        Ok(Node::And(nodes))
    }

    /// `not a`. Two of them make a boolean of anything; more are as good as one or two.
    fn negation(&mut self) -> Result<Node> {
        let mut count = 0;
        while self.take_if(&Token::Word("not"))? {
            count = if count == 2 { 1 } else { count + 1 };
        }
        let mut node = self.comparison()?;
        for _ in 0..count {
            node = Node::Not(Box::new(node));
        }
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node> {
        let left = self.operand()?;
        let node = if let Some(comparison) = self.comparison_sign() {
            self.take()?;
            Node::Compare(Box::new(left), comparison, Box::new(self.operand()?))
        } else if self.take_if(&Token::Word("in"))? {
            Node::In(Box::new(left), Box::new(self.operand()?))
        } else if self.take_if(&Token::Word("not"))? {
            if !self.take_if(&Token::Word("in"))? {
                return Err(self.fault("after `not` there must be `in` here"));
            }
            let inside = Node::In(Box::new(left), Box::new(self.operand()?));
            Node::Not(Box::new(inside))
        } else {
            return Ok(left);
        };
        match self.token {
            Token::Word("in") => Err(self.fault("one comparison does not follow another; join them with `and`")),
            _ if self.comparison_sign().is_some() => {
                Err(self.fault("one comparison does not follow another; join them with `and`"))
            }
            _ => Ok(node),
        }
    }

    fn comparison_sign(&self) -> Option<Comparison> {
        let Token::Sign(sign) = self.token else { return None };
        COMPARISONS.iter().find(|(name, _)| *name == sign).map(|(_, comparison)| *comparison)
    }

    fn operand(&mut self) -> Result<Node> {
        match self.token.clone() {
            Token::Word(word) => self.word(word),
            Token::Sign("(") => {
                self.take()?;
                let node = self.nested(Self::any_of)?;
                self.expect(")", "a `)` is missing here")?;
                Ok(node)
            }
            Token::Sign("-") => Err(self.fault("a `-` stands directly before a number only")),
            Token::End => Err(self.fault("something is missing at the end")),
            Token::Number(_) | Token::Quoted(_) | Token::Sign("[") => {
                let mut out = Vec::new();
                self.literal(&mut out)?;
                out.pop().map(Node::Literal).ok_or_else(|| ErrorKind::Internal.into())
            }
            Token::Sign(sign) => Err(self.fault(&format!("a value is missing before `{sign}`"))),
        }
    }

    fn word(&mut self, word: &'a str) -> Result<Node> {
        let at = self.at;
        let literal = |json: &str| value_from_json(json).map(Node::Literal);
        match word {
            "null" | "true" | "false" => {
                self.take()?;
                literal(word)
            }
            "value" => {
                self.take()?;
                self.steps().map(Node::Value)
            }
            "key" | "revision" | "ttl" => {
                self.take()?;
                if matches!(self.token, Token::Sign("." | "[")) {
                    return Err(self.fault(&format!("`{word}` has no parts; only `value` has")));
                }
                Ok(match word {
                    "key" => Node::Key,
                    "revision" => Node::Revision,
                    _ => Node::Ttl,
                })
            }
            "and" | "or" | "not" | "in" => Err(self.fault(&format!("a value is missing before `{word}`"))),
            name => match FUNCTIONS.iter().find(|(function, _)| *function == name) {
                Some((function, count)) => {
                    self.take()?;
                    self.call(function, *count)
                }
                None => {
                    let lower = name.to_ascii_lowercase();
                    let reason = match lower.as_str() {
                        "and" | "or" | "not" | "in" | "null" | "true" | "false" => format!("write `{lower}`"),
                        "nil" | "none" => "write `null`".to_owned(),
                        _ => format!("`{name}` is not known; write `value.{name}` for a part of the value"),
                    };
                    Err(self.lexer.fault(at, &reason))
                }
            },
        }
    }

    /// Steps as below, and `[]`.
    fn path_steps(&mut self) -> Result<Vec<PathStep>> {
        let mut steps = Vec::new();
        loop {
            if steps.len() > INDEX_PATH_STEPS_MAX {
                return Err(self.fault("a path has at most 16 steps"));
            }
            if self.token == Token::Sign("[") {
                self.take()?;
                if self.take_if(&Token::Sign("]"))? {
                    steps.push(PathStep::Each);
                    continue;
                }
                steps.push(PathStep::To(self.step_in_brackets()?));
                self.expect("]", "a `]` is missing here")?;
            } else if self.take_if(&Token::Sign("."))? {
                steps.push(PathStep::To(self.step_to_name()?));
            } else {
                return Ok(steps);
            }
        }
    }

    fn step_to_name(&mut self) -> Result<Step> {
        let Token::Word(name) = self.token else {
            return Err(self.fault("after `.` there is a name; write `[\"any key\"]` for others"));
        };
        self.take()?;
        Ok(Step::Name(name.into()))
    }

    fn steps(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.take_if(&Token::Sign("."))? {
                steps.push(self.step_to_name()?);
            } else if self.take_if(&Token::Sign("["))? {
                steps.push(self.step_in_brackets()?);
                self.expect("]", "a `]` is missing here")?;
            } else {
                return Ok(steps);
            }
        }
    }

    fn step_in_brackets(&mut self) -> Result<Step> {
        let step = match &self.token {
            Token::Quoted(json) => Step::Name(self.string(json)?.into()),
            Token::Number(encoded) => match Item::new(encoded).worth() {
                Worth::Number(Number::Int(place)) => Step::Place(place),
                _ => return Err(self.fault("a place in a list is an integer")),
            },
            _ => return Err(self.fault("between `[` and `]` there is a text in quotes or an integer")),
        };
        self.take()?;
        Ok(step)
    }

    fn string(&self, json: &str) -> Result<String> {
        match value_from_json(json).and_then(|encoded| decode_value(&encoded)) {
            Ok(Value::Text(text)) => Ok(text),
            _ => Err(self.fault("this is no text as JSON writes it; a backslash is written `\\\\`")),
        }
    }

    /// Appends a literal, encoded: a list has literals only.
    fn literal(&mut self, out: &mut Vec<Vec<u8>>) -> Result<()> {
        let encoded = match self.token.clone() {
            Token::Number(encoded) => encoded,
            Token::Quoted(json) => encode_value(&Value::Text(self.string(json)?))?,
            Token::Word(word @ ("null" | "true" | "false")) => value_from_json(word)?,
            Token::Sign("[") => {
                self.take()?;
                let list = self.nested(Self::list)?;
                out.push(list);
                return Ok(());
            }
            _ => return Err(self.fault("a list holds numbers, texts, `true`, `false`, `null` and lists only")),
        };
        self.take()?;
        out.push(encoded);
        Ok(())
    }

    /// The rest of a list, of which `[` was taken.
    fn list(&mut self) -> Result<Vec<u8>> {
        let mut items = Vec::new();
        if !self.take_if(&Token::Sign("]"))? {
            loop {
                self.literal(&mut items)?;
                if self.take_if(&Token::Sign("]"))? {
                    break;
                }
                self.expect(",", "a `,` or a `]` is missing here")?;
            }
        }
        let values = items.iter().map(|item| decode_value(item)).collect::<Result<Vec<_>>>()?;
        encode_value(&Value::List(values))
    }

    fn call(&mut self, function: &str, count: usize) -> Result<Node> {
        self.expect("(", &format!("`{function}` is a function; a `(` is missing here"))?;
        let first_at = self.at;
        let first = Box::new(self.nested(Self::any_of)?);
        if function == "matches" {
            self.expect(",", "a `,` and a pattern in quotes are missing here")?;
            let matcher = Box::new(self.pattern()?);
            self.expect(")", "a `)` is missing here")?;
            return Ok(Node::Matches(first, matcher));
        }
        let mut second = None;
        if count == 2 {
            self.expect(",", &format!("`{function}` takes two arguments; a `,` is missing here"))?;
            second = Some(Box::new(self.nested(Self::any_of)?));
        }
        self.expect(")", "a `)` is missing here")?;
        Ok(match (function, second) {
            ("starts_with", Some(second)) => Node::StartsWith(first, second),
            ("ends_with", Some(second)) => Node::EndsWith(first, second),
            ("contains", Some(second)) => Node::In(second, first),
            ("exists", None) => Node::Exists(first),
            ("size", None) => Node::Size(first),
            ("type", None) => Node::Type(first),
            ("date", None) => match *first {
                Node::Literal(literal) => self.date(first_at, &literal)?,
                other => Node::Date(Box::new(other)),
            },
            _ => return Err(ErrorKind::Internal.into()),
        })
    }

    fn date(&self, at: usize, literal: &[u8]) -> Result<Node> {
        let text = match decode_value(literal)? {
            Value::Text(text) => text,
            _ => String::new(),
        };
        Moment::parse(&text).map(Node::Moment).ok_or_else(|| {
            let reason = "this is no date, time or both, such as `2025-10-21` or `2025-10-21T12:47:27Z`";
            self.lexer.fault(at, reason)
        })
    }

    /// A pattern in quotes, and perhaps its flags.
    fn pattern(&mut self) -> Result<Matcher> {
        let at = self.at;
        if self.patterns == EXPRESSION_PATTERNS_MAX {
            return Err(self.fault("an expression has at most 8 patterns"));
        }
        self.patterns += 1;
        let Token::Quoted(json) = self.token else { return Err(self.fault("a pattern stands in quotes")) };
        let text = self.string(json)?;
        self.take()?;
        let mut flags = PatternFlags::default();
        if self.take_if(&Token::Sign(","))? {
            let unknown = "flags of a pattern are letters in quotes, each of `imsxu`";
            let Token::Quoted(letters) = self.token else { return Err(self.fault(unknown)) };
            flags = PatternFlags::parse(&self.string(letters)?).ok_or_else(|| self.fault(unknown))?;
            self.take()?;
        }
        let pattern = Pattern { text: &text, flags };
        Matcher::compile(&pattern, self.strictness).map_err(|error| self.lexer.fault(at, error.message()))
    }
}
