//! Selection: a selector made ready to be held against keys and records.

use std::ops::Bound;

use memchr::memmem::Finder;

use super::pattern::{Matcher, Strictness};
use super::{Expression, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::KEY_BYTES_MAX;
use crate::model::Selector;

/// What a selector picks.
///
/// - Every key that it picks lies within its range.
#[derive(Debug)]
pub(crate) struct Selection {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    suffix: Vec<u8>,
    contains: Option<Finder<'static>>,
    pattern: Option<Matcher>,
    filter: Option<Expression>,
    pub(crate) offset: u64,
    pub(crate) limit: Option<u64>,
}

impl Selection {
    /// Errors: `invalid_condition`, with the column when there is one.
    pub(crate) fn of(selector: &Selector<'_>, strictness: Strictness) -> Result<Selection> {
        let Selector { prefix, suffix, contains, pattern, range, filter, offset, limit } = *selector;
        let parts = [("prefix", prefix), ("suffix", suffix), ("contains", contains)];
        let ends = [("range", range.map(|(from, _)| from)), ("range", range.map(|(_, to)| to))];
        for (name, part) in parts.into_iter().chain(ends) {
            if part.is_some_and(|part| part.len() > KEY_BYTES_MAX) {
                return Err(refused(format!("`{name}` is longer than a key can be, {KEY_BYTES_MAX} bytes")));
            }
        }
        if range.is_some_and(|(from, to)| from > to) {
            return Err(refused(
                "the range ends before it begins; give its ends in the order of their bytes".to_owned(),
            ));
        }
        let pattern = pattern.map(|pattern| Matcher::compile(&pattern, strictness)).transpose()?;
        let mut selection = Selection {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            suffix: suffix.unwrap_or_default().to_vec(),
            contains: contains.filter(|part| !part.is_empty()).map(|part| Finder::new(part).into_owned()),
            pattern,
            filter: filter.map(|text| Expression::parse_as(text, strictness)).transpose()?,
            offset,
            limit,
        };
        if let Some((from, to)) = range {
            (selection.from, selection.to) = (Bound::Included(from.to_vec()), Bound::Included(to.to_vec()));
        }
        selection.narrow(prefix.unwrap_or_default());
        let beginning = selection.pattern.as_ref().map_or(Vec::new(), |pattern| pattern.beginning().to_vec());
        selection.narrow(&beginning);
        Ok(selection)
    }

    /// Only keys that begin with this.
    fn narrow(&mut self, prefix: &[u8]) {
        if prefix.is_empty() {
            return;
        }
        if !matches!(&self.from, Bound::Included(from) | Bound::Excluded(from) if from.as_slice() >= prefix) {
            self.from = Bound::Included(prefix.to_vec());
        }
        let Some(end) = end_of(prefix) else { return };
        let is_narrower = match &self.to {
            Bound::Unbounded => false,
            Bound::Included(to) => *to < end,
            Bound::Excluded(to) => *to <= end,
        };
        if !is_narrower {
            self.to = Bound::Excluded(end);
        }
    }

    /// Where all keys lie that it picks. May be empty, also inverted.
    pub(crate) fn range(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice))
    }

    /// Whether it picks this key of its range, as far as the key says.
    pub(crate) fn picks_key(&self, key: &[u8]) -> bool {
        key.ends_with(&self.suffix)
            && self.contains.as_ref().is_none_or(|contains| contains.find(key).is_some())
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(key))
    }

    /// What must be true of the record as well.
    pub(crate) fn filter(&self) -> Option<&Expression> {
        self.filter.as_ref()
    }

    /// Whether it picks this record, whose key it picks.
    pub(crate) fn picks_record(&self, subject: &Subject<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.holds(subject))
    }
}

/// The first key after all that begin with this prefix; `None` when there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidCondition, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Pattern, PatternFlags};

    type Keys<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

    #[track_caller]
    fn lies_in(selector: Selector<'_>, range: Keys<'_>) {
        assert_eq!(Selection::of(&selector, Strictness::Asked).unwrap().range(), range);
    }

    #[test]
    fn prefix_range_and_pattern_narrow_the_walk_together() {
        let all = Selector::default();
        let pattern = |text| Some(Pattern { text, flags: PatternFlags::default() });
        lies_in(all, (Bound::Unbounded, Bound::Unbounded));
        lies_in(Selector { prefix: Some(b"a"), ..all }, (Bound::Included(b"a"), Bound::Excluded(b"b")));
        lies_in(Selector { prefix: Some(b"\xff"), ..all }, (Bound::Included(b"\xff"), Bound::Unbounded));
        let range = Selector { range: Some((b"ab", b"c")), ..all };
        lies_in(range, (Bound::Included(b"ab"), Bound::Included(b"c")));
        lies_in(Selector { prefix: Some(b"a"), ..range }, (Bound::Included(b"ab"), Bound::Excluded(b"b")));
        lies_in(Selector { prefix: Some(b"b"), ..range }, (Bound::Included(b"b"), Bound::Excluded(b"c")));
        lies_in(Selector { prefix: Some(b"c"), ..range }, (Bound::Included(b"c"), Bound::Included(b"c")));
        lies_in(Selector { pattern: pattern("^b:x?"), ..range }, (Bound::Included(b"b:"), Bound::Excluded(b"b;")));
    }

    #[test]
    fn what_no_key_can_be_is_refused() {
        let long = vec![b'a'; KEY_BYTES_MAX + 1];
        let all = Selector::default();
        for wrong in [
            Selector { range: Some((b"b", b"a")), ..all },
            Selector { prefix: Some(&long), ..all },
            Selector { range: Some((b"", &long)), ..all },
            Selector { filter: Some("value >"), ..all },
            Selector { pattern: Some(Pattern { text: "(", flags: PatternFlags::default() }), ..all },
        ] {
            let error = Selection::of(&wrong, Strictness::Asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidCondition, "{error}");
        }
        assert!(Selection::of(&Selector { range: Some((b"a", b"a")), ..all }, Strictness::Asked).is_ok());
    }
}
