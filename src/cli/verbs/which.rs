//! Which: the options that say which keys are meant.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use concord_kv::{Error, Pattern, PatternFlags, Selector};

use crate::cli::output;

/// Which records. All that is said must hold.
#[derive(Args)]
pub(super) struct Which {
    /// Keys that begin with this.
    #[arg(long, value_name = "BYTES")]
    prefix: Option<OsString>,
    /// Keys that end with this.
    #[arg(long, value_name = "BYTES")]
    suffix: Option<OsString>,
    /// Keys that hold this somewhere.
    #[arg(long, value_name = "BYTES")]
    contains: Option<OsString>,
    /// Keys in which this regular expression matches somewhere. No look-around, no back-references.
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    /// How the pattern is read: letters of `imsxu`.
    #[arg(long, value_name = "LETTERS", requires = "pattern", value_parser = flags)]
    pattern_flags: Option<PatternFlags>,
    /// Keys from the first to the second, both included.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"])]
    range: Option<Vec<OsString>>,
    /// Records of which this expression is true, such as `value.price > 100`.
    #[arg(long = "where", value_name = "EXPRESSION", allow_hyphen_values = true)]
    filter: Option<String>,
}

fn flags(letters: &str) -> Result<PatternFlags, String> {
    PatternFlags::parse(letters).ok_or_else(|| "flags are letters, each of `imsxu`".to_owned())
}

impl Which {
    pub(super) fn selector(&self) -> Selector<'_> {
        let flags = self.pattern_flags.unwrap_or_default();
        Selector {
            prefix: self.prefix.as_deref().map(OsStr::as_bytes),
            suffix: self.suffix.as_deref().map(OsStr::as_bytes),
            contains: self.contains.as_deref().map(OsStr::as_bytes),
            pattern: self.pattern.as_ref().map(|text| Pattern { text, flags }),
            range: match self.range.as_deref() {
                Some([from, to]) => Some((from.as_bytes(), to.as_bytes())),
                _ => None,
            },
            filter: self.filter.as_deref(),
            offset: 0,
            limit: None,
        }
    }

    /// Shows people where in what they gave the fault is.
    pub(super) fn point_at(&self, error: &Error) {
        // Of the two texts that can have a fault, the pattern is looked at first.
        let is_pattern = error.message().starts_with("the pattern");
        let text = if is_pattern { &self.pattern } else { &self.filter };
        if let (Some(column), Some(text)) = (error.column(), text) {
            // What a line break or a tab is shown as takes one place, so that the caret stands where it should.
            let line: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
            output::print_aside(&format!("  {line}\n  {:>column$}", "^"));
        }
    }
}
