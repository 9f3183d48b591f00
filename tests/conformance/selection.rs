//! Selection: the steps of a conformance script about all records that a selector picks.

use concord_kv::{OwnedSelector, PatternFlags, Query, ReadOptions, Result, encode_value};

use crate::script::Token;
use crate::steps::{Answer, level};

/// What a step picks.
pub struct Wanted {
    selector: OwnedSelector,
    options: ReadOptions,
}

impl Wanted {
    pub fn of(words: &[Token]) -> Wanted {
        let option = |name: &str| words.iter().find_map(|word| word.option(name));
        let number = |name| option(name).map(|token: Token| token.integer().unsigned_abs());
        let flags = PatternFlags::parse(option("flags").map_or("", |token| token.word)).expect("flags");
        let range = option("range").map(|token| {
            let ends: [String; 2] = serde_json::from_value(token.json()).expect("two keys");
            let [from, to] = ends.map(String::into_bytes);
            (from, to)
        });
        let selector = OwnedSelector {
            prefix: option("prefix").map(Token::key),
            suffix: option("suffix").map(Token::key),
            contains: option("contains").map(Token::key),
            pattern: option("pattern").map(|token| (token.text(), flags)),
            range,
            filter: option("where").map(Token::text),
            offset: number("offset").unwrap_or(0),
            limit: number("limit"),
        };
        Wanted { selector, options: level(words).unwrap_or_default() }
    }

    pub fn ask(&self, query: &Query, verb: &str) -> Result<Answer> {
        let (selector, options) = (self.selector.get(), &self.options);
        let number = |number: u64| encode_value(&number.into()).map(Answer::Value);
        match verb {
            "keys" => query.keys(&selector, options).map(Answer::Picked),
            "pairs" => {
                let pairs = query.pairs(&selector, options)?;
                Ok(Answer::Pairs(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()))
            }
            "count" => number(query.count(&selector, options)?),
            _ => number(query.delete_where(&selector, None)?),
        }
    }
}
