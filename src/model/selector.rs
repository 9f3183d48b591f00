//! Selector: picks keys.

/// Picks the keys for which everything that it says holds. `Selector::default()` picks every key.
///
/// Keys are bytes and are picked by their bytes, in the order of their bytes. The prefix, the range and the beginning of a
/// pattern such as `^user:` narrow the walk: it costs what lies within them, not what the store holds.
///
/// ```
/// use concord_kv::{Concord, Config, ReadOptions, Selector};
///
/// let db = Concord::open(Config::default())?;
/// for n in 1..=3 {
///     db.kv().put(format!("user:{n}"), n).wait()?;
/// }
/// let selector = Selector { prefix: Some(b"user:"), filter: Some("value >= 2"), ..Selector::default() };
/// assert_eq!(db.query().keys(&selector, &ReadOptions::default())?, [b"user:2", b"user:3"]);
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selector<'a> {
    /// Keys that begin with this, up to 1,024 bytes.
    pub prefix: Option<&'a [u8]>,
    /// Keys that end with this, up to 1,024 bytes.
    pub suffix: Option<&'a [u8]>,
    /// Keys that hold this somewhere, up to 1,024 bytes.
    pub contains: Option<&'a [u8]>,
    /// Keys in which this matches somewhere.
    pub pattern: Option<Pattern<'a>>,
    /// Keys from the first to the second, both included. Each up to 1,024 bytes; the first after the second is refused.
    pub range: Option<(&'a [u8], &'a [u8])>,
    /// Records of which this expression is true, up to 4,096 bytes: `value.price > 100 and value.role == "admin"`. Other
    /// languages call it `where`.
    pub filter: Option<&'a str>,
    /// How many of those, in key order, are left out first.
    pub offset: u64,
    /// How many of those that follow are picked at most; `None` is all.
    pub limit: Option<u64>,
}

impl Selector<'_> {
    /// Whether it says which records are meant; an offset and a limit alone do not. An empty prefix does: it means all.
    pub fn says_which(&self) -> bool {
        let Selector { prefix, suffix, contains, pattern, range, filter, offset: _, limit: _ } = *self;
        [prefix, suffix, contains].iter().any(Option::is_some)
            || pattern.is_some()
            || range.is_some()
            || filter.is_some()
    }
}

/// A [`Selector`] that borrows nothing, for faces that hand one to another thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedSelector {
    /// See [`Selector::prefix`].
    pub prefix: Option<Vec<u8>>,
    /// See [`Selector::suffix`].
    pub suffix: Option<Vec<u8>>,
    /// See [`Selector::contains`].
    pub contains: Option<Vec<u8>>,
    /// See [`Selector::pattern`].
    pub pattern: Option<(String, PatternFlags)>,
    /// See [`Selector::range`].
    pub range: Option<(Vec<u8>, Vec<u8>)>,
    /// See [`Selector::filter`].
    pub filter: Option<String>,
    /// See [`Selector::offset`].
    pub offset: u64,
    /// See [`Selector::limit`].
    pub limit: Option<u64>,
}

impl OwnedSelector {
    /// The selector that it is.
    pub fn get(&self) -> Selector<'_> {
        Selector {
            prefix: self.prefix.as_deref(),
            suffix: self.suffix.as_deref(),
            contains: self.contains.as_deref(),
            pattern: self.pattern.as_ref().map(|(text, flags)| Pattern { text, flags: *flags }),
            range: self.range.as_ref().map(|(from, to)| (from.as_slice(), to.as_slice())),
            filter: self.filter.as_deref(),
            offset: self.offset,
            limit: self.limit,
        }
    }
}

impl From<Selector<'_>> for OwnedSelector {
    fn from(selector: Selector<'_>) -> OwnedSelector {
        let Selector { prefix, suffix, contains, pattern, range, filter, offset, limit } = selector;
        let [prefix, suffix, contains] = [prefix, suffix, contains].map(|part| part.map(<[u8]>::to_vec));
        OwnedSelector {
            prefix,
            suffix,
            contains,
            pattern: pattern.map(|Pattern { text, flags }| (text.to_owned(), flags)),
            range: range.map(|(from, to)| (from.to_vec(), to.to_vec())),
            filter: filter.map(str::to_owned),
            offset,
            limit,
        }
    }
}

/// A regular expression over the bytes of a key. It is found in time that grows with the key, whatever the pattern: so it has
/// no look-around and no back-references. Those are refused, and so is what other languages read in another way.
///
/// `$` is the very end, also of a key that ends with a line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pattern<'a> {
    /// Up to 1,024 bytes.
    pub text: &'a str,
    /// How it is read.
    pub flags: PatternFlags,
}

/// How a pattern is read; the names are those of Elixir's `Regex`. Whether repetitions are greedy does not matter here: what
/// is asked is whether there is a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatternFlags {
    /// `i`: upper and lower case are the same. Of ASCII only, unless `unicode` is set.
    pub caseless: bool,
    /// `m`: `^` and `$` also match at the beginning and end of lines.
    pub multiline: bool,
    /// `s`: `.` matches line breaks too.
    pub dotall: bool,
    /// `x`: white space and comments in the pattern mean nothing.
    pub extended: bool,
    /// `u`: a character is one of Unicode and not a byte; `\w`, `\d` and `\s` are those of Unicode. What is no UTF-8 in a key
    /// is matched by nothing then.
    pub unicode: bool,
}

impl PatternFlags {
    /// Reads flags as letters, each of `imsxu`; `None` for any other.
    ///
    /// ```
    /// use concord_kv::PatternFlags;
    /// assert_eq!(PatternFlags::parse("iu"), Some(PatternFlags { caseless: true, unicode: true, ..Default::default() }));
    /// assert_eq!(PatternFlags::parse("g"), None);
    /// ```
    pub fn parse(letters: &str) -> Option<PatternFlags> {
        letters.chars().try_fold(PatternFlags::default(), |mut flags, letter| {
            match letter {
                'i' => flags.caseless = true,
                'm' => flags.multiline = true,
                's' => flags.dotall = true,
                'x' => flags.extended = true,
                'u' => flags.unicode = true,
                _ => return None,
            }
            Some(flags)
        })
    }

    /// As stored: one bit each.
    pub(crate) fn to_bits(self) -> u8 {
        let PatternFlags { caseless, multiline, dotall, extended, unicode } = self;
        let flags = [caseless, multiline, dotall, extended, unicode];
        (0..).zip(flags).fold(0, |bits, (at, flag)| bits | u8::from(flag) << at)
    }

    /// `None` when one of them is unknown.
    pub(crate) fn from_bits(bits: u8) -> Option<PatternFlags> {
        let bit = |at: u8| bits >> at & 1 == 1;
        let flags =
            PatternFlags { caseless: bit(0), multiline: bit(1), dotall: bit(2), extended: bit(3), unicode: bit(4) };
        (bits < 32).then_some(flags)
    }
}
