//! File: a TOML text as the options that it sets, each with its line.

use toml::de::{DeTable, DeValue};

use super::given::Given;
use super::invalid;
use super::options::{OPTIONS, Setting};
use crate::error::Result;

/// Least likeness, between 0 and 1, of a name that is proposed in place of an unknown one.
const LIKENESS_MIN: f64 = 0.6;

/// Gets an option, its value and its line; `None` for the table `cluster`, which means something when it is empty as well.
pub(super) type Taker<'t> = dyn FnMut(Option<&'static Setting>, &Given<'_>, usize) -> Result<()> + 't;

/// Hands every option that the text sets to `take`.
pub(super) fn read(text: &str, take: &mut Taker<'_>) -> Result<()> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(String::new(), |span| format!("line {}: ", line_of(text, span.start)));
        invalid(format!("{line}{}", error.message()))
    })?;
    walk(text, "", table.get_ref(), take)
}

fn walk(text: &str, prefix: &str, table: &DeTable<'_>, take: &mut Taker<'_>) -> Result<()> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let line = line_of(text, key.span().start);
        if let DeValue::Table(inner) = value.get_ref() {
            let prefix = format!("{name}.");
            if !OPTIONS.iter().any(|setting| setting.name.starts_with(&prefix)) {
                return Err(unknown(&name, line));
            }
            if name == "cluster" {
                take(None, &Given::Switch(true), line)?;
            }
            walk(text, &prefix, inner, take)?;
            continue;
        }
        let setting = Setting::named(&name).ok_or_else(|| unknown(&name, line))?;
        if name == "cluster.cookie_file" && table.keys().any(|key| key.get_ref() == "cookie") {
            return Err(invalid(format!("line {line}: give either `cookie` or `cookie_file`, not both")));
        }
        take(Some(setting), &given(value.get_ref()), line)?;
    }
    Ok(())
}

fn given<'a>(value: &'a DeValue<'_>) -> Given<'a> {
    match value {
        DeValue::String(text) => Given::Text(text),
        DeValue::Boolean(is_on) => Given::Switch(*is_on),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Integer(number),
            Err(_) => Given::Other("a number of that size"),
        },
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str()).collect::<Option<Vec<_>>>();
            texts.map_or(Given::Other("a list of something else"), Given::List)
        }
        DeValue::Float(_) => Given::Other("a number with a fraction"),
        DeValue::Datetime(_) => Given::Other("a date"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Says which known name is nearest, whichever table it is in.
fn unknown(name: &str, line: usize) -> crate::error::Error {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &str| {
        strsim::jaro_winkler(known, name).max(strsim::normalized_damerau_levenshtein(&last(known), &last(name)))
    };
    let nearest = OPTIONS.iter().map(|setting| (likeness(setting.name), setting.name));
    let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    let meant = nearest.map_or(String::new(), |(_, known)| format!("; is `{known}` meant?"));
    invalid(format!("line {line}: there is no option `{name}`{meant}"))
}
