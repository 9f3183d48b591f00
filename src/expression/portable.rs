//! Portable: what of a pattern means the same in the regular expressions of other languages (PCRE above all). The rest is
//! refused: it is never silently something else.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSetItem, Flag, FlagsItemKind, Literal, LiteralKind, RepetitionKind,
};
use regex_syntax::ast::{SpecialLiteralKind, Visitor, visit};

use super::pattern::refused;
use crate::error::{Error, Result};
use crate::model::PatternFlags;

/// Errors: `invalid_condition`, with the column.
pub(super) fn check(ast: &Ast, text: &str, flags: &PatternFlags) -> Result<()> {
    visit(ast, Judge { text, is_unicode: flags.unicode, is_extended: flags.extended })
}

struct Judge<'a> {
    text: &'a str,
    is_unicode: bool,
    /// Whether white space means nothing anywhere in it.
    is_extended: bool,
}

impl Visitor for Judge<'_> {
    type Output = ();
    type Err = Error;

    fn finish(self) -> Result<()> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<()> {
        match ast {
            Ast::Flags(flags) => self.flags(&flags.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), |flags| self.flags(flags)),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => Err(at(&assertion.span, r"beginnings and ends of words are said with `\b`")),
            },
            Ast::Literal(literal) => special(literal),
            Ast::Repetition(repetition) => self.repetition(repetition),
            Ast::ClassBracketed(class) if self.is_extended => {
                let inside = &self.text[class.span.start.offset..class.span.end.offset];
                let has_space = inside.contains(|char: char| char.is_whitespace() || char == '#');
                let reason = r"white space in a class means different things with `x`; write `\x20`";
                if has_space { Err(at(&class.span, reason)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<()> {
        match item {
            ClassSetItem::Literal(literal) => special(literal),
            ClassSetItem::Bracketed(class) => Err(at(&class.span, r"a class within a class; write `\[`")),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, operation: &ast::ClassSetBinaryOp) -> Result<()> {
        Err(at(&operation.span, r"`&&`, `--` and `~~` in a class; write `\&` and its like"))
    }
}

impl Judge<'_> {
    fn flags(&mut self, flags: &ast::Flags) -> Result<()> {
        for item in &flags.items {
            match item.kind {
                FlagsItemKind::Flag(Flag::CRLF) => return Err(at(&item.span, "there is no recursion")),
                FlagsItemKind::Flag(Flag::Unicode) => {
                    return Err(at(&item.span, "`u` is a flag of the whole pattern"));
                }
                FlagsItemKind::Flag(Flag::IgnoreWhitespace) => self.is_extended = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn repetition(&self, repetition: &ast::Repetition) -> Result<()> {
        let operator = &repetition.op.span;
        match &*repetition.ast {
            Ast::Repetition(_) if matches!(repetition.op.kind, RepetitionKind::OneOrMore) => {
                Err(at(operator, "there are no possessive repetitions"))
            }
            Ast::Literal(literal) if !self.is_unicode && !literal.c.is_ascii() && is_verbatim(literal) => {
                Err(at(operator, "it would repeat a byte of a character; set the flag `u`"))
            }
            _ => Ok(()),
        }
    }
}

fn is_verbatim(literal: &Literal) -> bool {
    matches!(literal.kind, LiteralKind::Verbatim)
}

fn special(literal: &Literal) -> Result<()> {
    match literal.kind {
        LiteralKind::Special(SpecialLiteralKind::VerticalTab) => {
            Err(at(&literal.span, r"`\v` means different things; write `\x0b`"))
        }
        _ => Ok(()),
    }
}

fn at(span: &ast::Span, reason: &str) -> Error {
    refused(span.start.column, reason)
}
