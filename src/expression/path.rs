//! Path: where in a value the parts are that an index holds.

use super::evaluate::find;
use super::parser;
use super::tree::Step;
use crate::encoding::item::{Item, Worth};
use crate::error::Result;
use crate::limits::INDEX_TERMS_MAX;

/// A path that was understood: steps as in an expression, and `[]` for each item of a list or set.
#[derive(Debug)]
pub(crate) struct Path {
    steps: Vec<PathStep>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    To(Step),
    Each,
}

impl Path {
    /// Errors: `invalid_condition`, with the column.
    pub(crate) fn parse(text: &str) -> Result<Path> {
        Ok(Path { steps: parser::parse_path(text)? })
    }

    /// The terms of what the path leads to in an encoded value, each once, in order. Of too many the first that are found.
    pub(crate) fn terms(&self, value: &[u8]) -> Vec<Box<[u8]>> {
        let mut terms = Vec::new();
        collect(Item::new(value), &self.steps, &mut terms);
        terms.sort_unstable();
        terms.dedup();
        terms
    }
}

fn collect(item: Item<'_>, steps: &[PathStep], terms: &mut Vec<Box<[u8]>>) {
    if terms.len() >= INDEX_TERMS_MAX {
        return;
    }
    match steps {
        [] => terms.extend(item.term()),
        [PathStep::To(step), rest @ ..] => {
            if let Some(item) = find(item, step) {
                collect(item, rest, terms);
            }
        }
        [PathStep::Each, rest @ ..] => {
            if let Worth::List(items) | Worth::Set(items) = item.worth() {
                items.items().for_each(|item| collect(item, rest, terms));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::value_from_json;

    fn terms(path: &str, json: &str) -> Vec<Box<[u8]>> {
        Path::parse(path).unwrap().terms(&value_from_json(json).unwrap())
    }

    #[test]
    fn a_path_leads_to_parts_of_a_value() {
        let value = r#"{"price": 5, "address": {"last name": "b"}, "tags": ["b", "a", "b", ["c"]], "rows": [{"n": 1}, {"n": 2}, 3]}"#;
        let scalars = |json: &[&str]| -> Vec<Box<[u8]>> { json.iter().flat_map(|json| terms("value", json)).collect() };
        assert_eq!(terms("value.price", value), scalars(&["5"]));
        assert_eq!(terms(" value . address [ \"last name\" ] ", value), scalars(&["\"b\""]));
        assert_eq!(terms("value.tags[]", value), scalars(&["\"a\"", "\"b\""]));
        assert_eq!(terms("value.tags[0]", value), scalars(&["\"b\""]));
        assert_eq!(terms("value.tags[][]", value), scalars(&["\"c\""]));
        assert_eq!(terms("value.rows[].n", value), scalars(&["1", "2"]));
        for nothing in ["value", "value.tags", "value.missing", "value.price[]", "value.price.x"] {
            assert!(terms(nothing, value).is_empty(), "{nothing}");
        }
        let many: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
        assert_eq!(terms("value[]", &format!("[{}]", many.join(","))).len(), INDEX_TERMS_MAX);
    }

    #[test]
    fn what_is_no_path_is_told_where() {
        for (path, column) in [
            ("", 1),
            ("price", 1),
            ("key", 1),
            ("value.", 7),
            ("value[", 7),
            ("value.a b", 9),
            ("value[1.5]", 7),
            ("value.a == 1", 9),
            ("value[]]", 8),
        ] {
            assert_eq!(Path::parse(path).unwrap_err().column(), Some(column), "{path}");
        }
        assert!(Path::parse(&format!("value{}", "[0]".repeat(16))).is_ok());
        assert!(Path::parse(&format!("value{}", "[0]".repeat(17))).is_err());
        assert!(Path::parse(&format!("value.{}", "a".repeat(2_000))).is_err());
    }
}
