//! Given: the value of an option as somebody has written it.

use std::fmt;
use std::str::FromStr;

/// A value of a TOML file, or text from a variable or a flag.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given<'a> {
    /// Text of a file.
    Text(&'a str),
    /// An integer of a file.
    Integer(i128),
    /// True or false of a file.
    Switch(bool),
    /// A list of texts of a file.
    List(Vec<&'a str>),
    /// Of a variable or a flag: a list is separated by commas.
    Written(&'a str),
    /// Something else of a file, by its name.
    Other(&'static str),
}

impl<'a> Given<'a> {
    /// Text.
    pub(super) fn text(&self) -> Result<&'a str, String> {
        match self {
            Given::Text(text) | Given::Written(text) => Ok(text),
            other => Err(format!("is a text in quotes, not {}", other.kind())),
        }
    }

    /// A whole number of this type.
    pub(super) fn number<T: TryFrom<i128> + FromStr>(&self) -> Result<T, String> {
        match self {
            Given::Integer(number) => {
                T::try_from(*number).map_err(|_| format!("is a number in a smaller range, not {number}"))
            }
            Given::Written(text) => text.parse().map_err(|_| format!("is a whole number, not `{text}`")),
            other => Err(format!("is a whole number, not {}", other.kind())),
        }
    }

    /// True or false; 1 and 0 as well where it is written.
    pub(super) fn switch(&self) -> Result<bool, String> {
        match self {
            Given::Switch(is_on) => Ok(*is_on),
            Given::Written("true" | "1") => Ok(true),
            Given::Written("false" | "0") => Ok(false),
            Given::Written(text) => Err(format!("is true or false, not `{text}`")),
            other => Err(format!("is true or false, not {}", other.kind())),
        }
    }

    /// Several texts.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        match self {
            Given::List(texts) => Ok(texts.iter().map(|&text| text.to_owned()).collect()),
            Given::Written(text) => Ok(super::split_list(text)),
            other => Err(format!("is a list of texts, not {}", other.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Given::Text(_) | Given::Written(_) => "a text",
            Given::Integer(_) => "a number",
            Given::Switch(_) => "true or false",
            Given::List(_) => "a list",
            Given::Other(kind) => kind,
        }
    }
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Text(text) | Given::Written(text) => f.write_str(text),
            Given::Integer(number) => number.fmt(f),
            Given::Switch(is_on) => is_on.fmt(f),
            Given::List(texts) => f.write_str(&texts.join(",")),
            Given::Other(kind) => f.write_str(kind),
        }
    }
}
