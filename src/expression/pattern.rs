//! Matcher: a pattern, compiled within bounds. Linear in what it is held against, whatever the pattern.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{AssertionKind, Ast};
use regex_syntax::hir::translate::TranslatorBuilder;

use super::portable;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{PATTERN_BYTES_MAX, PATTERN_PROGRAM_BYTES_MAX};
use crate::model::Pattern;

/// Deepest nesting of groups and classes.
const NEST_MAX: u32 = 50;
/// How much larger a program may be where a replica applies what was accepted: what passed one node passes all, also those
/// on which a pointer has another size.
const APPLY_SLACK: usize = 8;

/// Who compiles: bounds are for those who hand something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// A caller's wish, judged before it is accepted.
    Asked,
    /// What the log carries.
    Accepted,
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Matcher {
    regex: Regex,
    /// What every match begins with, at the beginning of the text; empty when nothing is known.
    beginning: Vec<u8>,
}

impl Matcher {
    /// Errors: `invalid_condition`, with the column.
    pub(crate) fn compile(pattern: &Pattern<'_>, strictness: Strictness) -> Result<Matcher> {
        let Pattern { text, flags } = *pattern;
        if text.len() > PATTERN_BYTES_MAX {
            let message = format!("a pattern has at most {PATTERN_BYTES_MAX} bytes, this one has {}", text.len());
            return Err(Error::new(ErrorKind::InvalidCondition, message));
        }
        let mut parser = ParserBuilder::new().nest_limit(NEST_MAX).ignore_whitespace(flags.extended).build();
        let ast = parser.parse(text).map_err(|error| refused(error.span().start.column, error.kind()))?;
        portable::check(&ast, text, &flags)?;
        let mut translator = TranslatorBuilder::new()
            .utf8(false)
            .unicode(flags.unicode)
            .case_insensitive(flags.caseless)
            .multi_line(flags.multiline)
            .dot_matches_new_line(flags.dotall)
            .build();
        translator.translate(text, &ast).map_err(|error| refused(error.span().start.column, error.kind()))?;
        let slack = if strictness == Strictness::Asked { 1 } else { APPLY_SLACK };
        let regex = RegexBuilder::new(text)
            .unicode(flags.unicode)
            .case_insensitive(flags.caseless)
            .multi_line(flags.multiline)
            .dot_matches_new_line(flags.dotall)
            .ignore_whitespace(flags.extended)
            .nest_limit(NEST_MAX)
            .size_limit(slack * PATTERN_PROGRAM_BYTES_MAX)
            .dfa_size_limit(PATTERN_PROGRAM_BYTES_MAX)
            .build();
        let regex = regex.map_err(|_| refused(1, "it becomes too large; repeat less often"))?;
        let beginning = if flags.caseless { Vec::new() } else { beginning(&ast, flags.multiline) };
        Ok(Matcher { regex, beginning })
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// What every text in which it matches begins with.
    pub(super) fn beginning(&self) -> &[u8] {
        &self.beginning
    }
}

/// The literal after a `^` or `\A` that is the very first of a pattern.
fn beginning(ast: &Ast, multiline: bool) -> Vec<u8> {
    let Ast::Concat(concat) = ast else { return Vec::new() };
    let is_anchored = match concat.asts.first() {
        Some(Ast::Assertion(assertion)) => match assertion.kind {
            AssertionKind::StartText => true,
            AssertionKind::StartLine => !multiline,
            _ => false,
        },
        _ => false,
    };
    if !is_anchored {
        return Vec::new();
    }
    let literals = concat.asts[1..].iter().map_while(|ast| match ast {
        // What is no ASCII may be written as a number, which means a byte or a character.
        Ast::Literal(literal) if literal.c.is_ascii() => Some(literal.c as u8),
        _ => None,
    });
    literals.collect()
}

pub(super) fn refused(column: usize, reason: impl std::fmt::Display) -> Error {
    let message = format!("the pattern cannot be used: {reason}, at column {column}");
    Error::new(ErrorKind::InvalidCondition, message).at_column(column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PatternFlags;

    fn compiled(text: &str, flags: &str) -> Result<Matcher> {
        Matcher::compile(&Pattern { text, flags: PatternFlags::parse(flags).unwrap() }, Strictness::Asked)
    }

    #[track_caller]
    fn matches(text: &str, flags: &str, yes: &[&[u8]], no: &[&[u8]]) {
        let matcher = compiled(text, flags).unwrap();
        yes.iter().for_each(|key| assert!(matcher.is_match(key), "{text} in {key:?}"));
        no.iter().for_each(|key| assert!(!matcher.is_match(key), "{text} not in {key:?}"));
        for key in yes {
            assert!(key.starts_with(matcher.beginning()), "{text} begins as {key:?}");
        }
    }

    #[track_caller]
    fn refuses(text: &str, flags: &str, column: usize) {
        let error = compiled(text, flags).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidCondition, Some(column)), "{error}");
    }

    #[test]
    fn patterns_match_bytes_unless_they_are_unicode() {
        matches(r"user:\d{3}", "", &[b"user:100", b"a user:1234"], &[b"user:1", "user:١٢٣".as_bytes()]);
        matches(r"user:\d{3}", "u", &["user:١٢٣".as_bytes()], &[b"user:12"]);
        matches(r"^.$", "", &[b"\xff", b"a"], &["é".as_bytes(), b"\n", b""]);
        matches(r"^.$", "u", &["é".as_bytes()], &[b"\xff"]);
        matches(r"^.$", "s", &[b"\n"], &[]);
        matches("É", "i", &["É".as_bytes()], &["é".as_bytes()]);
        matches("É", "iu", &["é".as_bytes()], &[]);
        matches(r"\xff", "", &[b"a\xff"], &["ÿ".as_bytes()]);
        matches("^b", "m", &[b"b", b"a\nb"], &[b"ab"]);
        matches("^ b  # a comment", "x", &[b"b"], &[b" b"]);
        matches("", "", &[b"", b"a"], &[]);
    }

    #[test]
    fn an_anchored_beginning_is_known() {
        let beginning = |text: &str, flags: &str| compiled(text, flags).unwrap().beginning().to_vec();
        assert_eq!(beginning(r"^user:\d+", ""), b"user:");
        assert_eq!(beginning(r"\Auser\.x", "m"), b"user.x");
        assert_eq!(beginning("^users?:", ""), b"user");
        assert_eq!(beginning("^a", "x"), b"a");
        for (text, flags) in
            [("user:", ""), ("^user", "i"), ("^user", "m"), ("^a|^b", ""), ("(^a)", ""), ("^(?i)a", "")]
        {
            assert_eq!(beginning(text, flags), b"", "{text}");
        }
        assert_eq!(beginning(r"^\xff", ""), b"");
    }

    #[test]
    fn what_is_not_linear_or_means_something_else_elsewhere_is_refused() {
        for (text, column) in [
            ("a(?=b)", 2),
            ("(?<!a)b", 1),
            (r"(a)\1", 4),
            ("(?>a)", 3),
            ("a++", 3),
            ("a*+", 3),
            ("a{,3}", 3),
            (r"\bstart\<", 8),
            (r"\v", 1),
            ("[a&&b]", 2),
            ("[a[b]]", 3),
            ("(", 1),
            ("ab[", 3),
            (r"\pL", 1),
            ("é+", 2),
            ("(?R)a", 3),
        ] {
            refuses(text, "", column);
        }
        refuses("a [ b]", "x", 3);
        refuses("(?x)[a b]", "", 5);
    }

    #[test]
    fn bombs_cost_little_and_are_refused() {
        let begun = std::time::Instant::now();
        for text in [
            "(a{1000}){1000}",
            "((a{100}){100}){100}",
            r"(\w{200}){50}",
            "(?:){4294967295}{4294967295}",
            "(a*){1000}{1000}",
        ] {
            for flags in ["", "u", "iu"] {
                let _ = compiled(text, flags).map(|matcher| matcher.is_match(&[b'a'; 1024]));
            }
        }
        refuses("(a{1000}){1000}", "", 1);
        assert!(compiled(&"(".repeat(1024), "").is_err());
        assert!(compiled(&"a".repeat(1 << 20), "").is_err());
        assert!(compiled(&"(?i:".repeat(256), "").is_err());
        assert!(begun.elapsed().as_millis() < 5_000, "{:?}", begun.elapsed());
        // Exponential where matching goes back and forth.
        let begun = std::time::Instant::now();
        assert!(!compiled("^(a+)+$", "").unwrap().is_match(&[&[b'a'; 1000][..], b"!"].concat()));
        assert!(begun.elapsed().as_millis() < 500);
    }
}
