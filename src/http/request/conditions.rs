//! Conditions: what must hold for a write, by header or by body, and what a reader has already.

use axum::http::header::{self, HeaderMap, HeaderName};
use serde_json::value::RawValue;

use super::value_of;
use crate::error::{Error, ErrorKind};
use crate::http::answer::Fault;
use crate::model::Condition;

/// What must hold for a write.
pub(in crate::http) enum Conditions {
    Nothing,
    Absent,
    Revision(u64),
    /// Encoded.
    Expected(Vec<u8>),
    /// An expression.
    Where(String),
}

impl Conditions {
    /// At most one of `If-Match: "revision"`, `If-None-Match: *`, `expected` and `condition`.
    pub(in crate::http) fn of(
        headers: &HeaderMap,
        expected: Option<&RawValue>,
        expression: Option<String>,
    ) -> Result<Conditions, Fault> {
        let revision = match text(headers, &header::IF_MATCH)? {
            None => None,
            Some(tag) => Some(revision_of(tag).ok_or_else(|| {
                let message = "If-Match is one revision in quotes, as the ETag of a read gives it";
                Error::new(ErrorKind::InvalidCondition, message)
            })?),
        };
        let is_new = match text(headers, &header::IF_NONE_MATCH)? {
            None => false,
            Some("*") => true,
            Some(_) => {
                let message = "If-None-Match of a write is `*`: only if the key does not exist";
                return Err(Error::new(ErrorKind::InvalidCondition, message).into());
            }
        };
        match (revision, is_new, expected, expression) {
            (None, false, None, None) => Ok(Conditions::Nothing),
            (Some(revision), false, None, None) => Ok(Conditions::Revision(revision)),
            (None, true, None, None) => Ok(Conditions::Absent),
            (None, false, Some(expected), None) => value_of(expected, "expected").map(Conditions::Expected),
            (None, false, None, Some(expression)) => Ok(Conditions::Where(expression)),
            _ => {
                let message = "give one of If-Match, If-None-Match, `expected` and `condition`";
                Err(Error::new(ErrorKind::ConflictingConditions, message).into())
            }
        }
    }

    pub(in crate::http) fn condition(&self) -> Condition<'_> {
        match self {
            Conditions::Nothing => Condition::Always,
            Conditions::Absent => Condition::Absent,
            Conditions::Revision(revision) => Condition::Revision(*revision),
            Conditions::Expected(value) => Condition::Expected(value),
            Conditions::Where(expression) => Condition::Where(expression),
        }
    }
}

/// What a reader has already: `If-None-Match`.
#[derive(Debug, Clone, Default)]
pub(in crate::http) enum Unless {
    #[default]
    Nothing,
    Anything,
    Revisions(Vec<u64>),
}

impl Unless {
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Unless, Fault> {
        Ok(match text(headers, &header::IF_NONE_MATCH)? {
            None => Unless::Nothing,
            Some("*") => Unless::Anything,
            Some(tags) => Unless::Revisions(
                tags.split(',').filter_map(|tag| revision_of(tag.trim().trim_start_matches("W/"))).collect(),
            ),
        })
    }

    pub(in crate::http) fn has(&self, revision: u64) -> bool {
        match self {
            Unless::Nothing => false,
            Unless::Anything => true,
            Unless::Revisions(revisions) => revisions.contains(&revision),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let unreadable = |_| Fault::request(format!("{name} is not text"));
    headers.get(name).map(|value| value.to_str().map(str::trim).map_err(unreadable)).transpose()
}

fn revision_of(tag: &str) -> Option<u64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}
