//! Lexer: the text of an expression as words, numbers, strings and signs, each with its place.

use crate::encoding::value_from_json;
use crate::error::{Error, ErrorKind, Result};

/// What is read next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    /// An encoded number.
    Number(Vec<u8>),
    /// What stands in quotes, as JSON, quotes included.
    Quoted(&'a str),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 13] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", ".", "-"];

/// What people write who know it from elsewhere.
const OTHER_WAYS: [(&str, &str); 9] = [
    ("&&", "`and`"),
    ("||", "`or`"),
    ("=~", "`matches(text, \"pattern\")`"),
    ("=", "`==`"),
    ("!", "`not`"),
    ("'", "text in double quotes"),
    ("`", "text in double quotes"),
    ("<>", "`!=`"),
    ("$", "`value`, `key`, `revision` or `ttl`"),
];

/// Reads tokens from a text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token and the byte at which it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>)> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let start = self.text.len() - rest.len();
        let (length, token) = self.token(start, rest)?;
        self.at = start + length;
        Ok((start, token))
    }

    fn token(&self, start: usize, rest: &'a str) -> Result<(usize, Token<'a>)> {
        let Some(first) = rest.bytes().next() else { return Ok((0, Token::End)) };
        if first == b'_' || first.is_ascii_alphabetic() {
            let length = rest.find(|char: char| char != '_' && !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
            return Ok((length, Token::Word(&rest[..length])));
        }
        if first == b'"' {
            let length = quoted(rest).ok_or_else(|| self.fault(start, "this text has no end; close it with `\"`"))?;
            return Ok((length, Token::Quoted(&rest[..length])));
        }
        let is_number =
            first.is_ascii_digit() || (first == b'-' && rest[1..].starts_with(|char: char| char.is_ascii_digit()));
        if is_number {
            return self.number(start, rest);
        }
        if let Some((sign, instead)) = OTHER_WAYS.iter().find(|(sign, _)| rest.starts_with(sign))
            && !["==", "!="].iter().any(|sign| rest.starts_with(sign))
        {
            return Err(self.fault(start, &format!("there is no `{sign}`; write {instead}")));
        }
        match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => Ok((sign.len(), Token::Sign(sign))),
            None => {
                let char = rest.chars().next().unwrap_or_default();
                Err(self.fault(start, &format!("`{}` means nothing here", char.escape_debug())))
            }
        }
    }

    /// As JSON writes it.
    fn number(&self, start: usize, rest: &str) -> Result<(usize, Token<'a>)> {
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut length = usize::from(bytes[0] == b'-');
        length += digits(length);
        if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
            length += 1 + digits(length + 1);
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            length += 1 + sign + digits(length + 1 + sign);
        }
        let follows = bytes.get(length).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        match value_from_json(&rest[..length]) {
            Ok(number) if !follows => Ok((length, Token::Number(number))),
            _ => Err(self.fault(start, "this is no number; numbers are written as in JSON")),
        }
    }

    /// An error at this byte of the text.
    pub(super) fn fault(&self, at: usize, reason: &str) -> Error {
        let column = self.text[..at].chars().count() + 1;
        let message = format!("the expression cannot be used: {reason}, at column {column}");
        Error::new(ErrorKind::InvalidCondition, message).at_column(column)
    }
}

/// Length of a string in quotes at the front; `None` when it has no end.
fn quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
