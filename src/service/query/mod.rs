//! Query: the verbs about all records that a selector picks.

mod pages;

pub use pages::{Page, PageOptions, Pages, Pair};

use std::ops::ControlFlow;
use std::time::Instant;

use super::Kv;
use crate::error::Result;
use crate::expression::{Selection, Strictness};
use crate::model::{ReadOptions, RecordView, Reply, Selector, Write};
use crate::state_machine::{Effort, Walk};
use crate::telemetry::{Ending, Verb};

/// What of the picked records is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// How many there are.
    Count,
    /// Their keys, revisions and lifetimes.
    Keys,
    /// Their values too.
    Records,
}

/// The verbs about all records that a [`Selector`] picks. Get it from [`Concord::query`](crate::Concord::query). They block.
///
/// Each reads one point in time: what is written meanwhile is not seen, and what it replaces is kept in memory until the
/// verb is done. Nothing is locked for longer than a look at a few hundred keys. A verb costs the walk over the keys within
/// the prefix, the range and the beginning of an anchored pattern, and for `filter` a look at their values. There are no
/// hidden limits: what is picked is given. For much of it use [`Query::stream`].
///
/// A client asks a member, which walks in its place and sends what is picked, piece by piece, all at the same point in time;
/// the member keeps that for half a minute after each piece. When that member is gone in between, the verb answers
/// `cluster_not_ready`: begin again.
///
/// A token that reaches only some keys needs a selector that lies within one of its prefixes, else `forbidden`: nothing is
/// left out silently.
///
/// ```
/// use concord_kv::{Concord, Config, ReadOptions, Selector, Value};
///
/// let db = Concord::open(Config::default())?;
/// for n in 1..=3 {
///     let product = Value::Map(vec![("price".into(), (n * 50).into())]);
///     db.kv().put(format!("product:{n}"), product).wait()?;
/// }
/// let dear = Selector { prefix: Some(b"product:"), filter: Some("value.price >= 100"), ..Selector::default() };
/// let options = ReadOptions::default();
/// assert_eq!(db.query().keys(&dear, &options)?, [b"product:2", b"product:3"]);
/// assert_eq!(db.query().count(&dear, &options)?, 2);
/// assert_eq!(db.query().delete_where(&dear, None)?, 2);
/// assert_eq!(db.query().count(&Selector::default(), &options)?, 1);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub struct Query {
    kv: Kv,
}

impl Query {
    pub(crate) fn new(kv: Kv) -> Query {
        Query { kv }
    }

    /// The keys, in their order.
    ///
    /// # Errors
    /// `invalid_condition` for what is no selector; `unauthorized`, `forbidden`, `closed`; at levels above eventual also
    /// `timeout` and `cluster_not_ready`.
    pub fn keys(&self, selector: &Selector<'_>, options: &ReadOptions) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        self.visit_as(selector, options, Want::Keys, |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// The records with their keys, in the order of these.
    ///
    /// # Errors
    /// As [`Query::keys`].
    pub fn pairs(&self, selector: &Selector<'_>, options: &ReadOptions) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        self.visit_as(selector, options, Want::Records, |key, record| {
            pairs.push(Pair::of(key, record));
            ControlFlow::Continue(())
        })?;
        Ok(pairs)
    }

    /// How many there are. With an offset and a limit: how many of them [`Query::keys`] would give.
    ///
    /// # Errors
    /// As [`Query::keys`].
    pub fn count(&self, selector: &Selector<'_>, options: &ReadOptions) -> Result<u64> {
        Ok(self.visit_as(selector, options, Want::Count, |_, _| ControlFlow::Continue(()))?.picked)
    }

    /// Visits the records in the order of their keys until `f` breaks off, while they are borrowed from the store. Without
    /// `with_values` they come with an empty value, which costs less. Gives the revision at which they were read. Keep `f`
    /// short and do not write to the store from within it.
    ///
    /// # Errors
    /// As [`Query::keys`].
    pub fn visit(
        &self,
        selector: &Selector<'_>,
        options: &ReadOptions,
        with_values: bool,
        f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<u64> {
        let want = if with_values { Want::Records } else { Want::Keys };
        Ok(self.visit_as(selector, options, want, f)?.revision)
    }

    fn visit_as(
        &self,
        selector: &Selector<'_>,
        options: &ReadOptions,
        want: Want,
        mut f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<Visited> {
        let since = Instant::now();
        let visited = self.begin(selector, options).and_then(|(view, selection)| {
            let mut walk = Walk::of(&selection);
            let mut is_over = false;
            while !is_over {
                let mut is_broken = false;
                is_over = view.select(selector, &selection, &mut walk, want, Effort::WHOLE, |key, record| {
                    let flow = f(key, record);
                    is_broken |= flow.is_break();
                    flow
                })?;
                is_over |= is_broken;
            }
            Ok(Visited { revision: view.revision(), picked: walk.picked })
        });
        self.kv.account(Verb::Query, since, Ending::of(&visited));
        visited
    }

    /// Pages of the picked records, all at the same point in time. It is kept as long as the pages are: do not keep them
    /// longer than needed. Of a client, half a minute may pass between two pages.
    ///
    /// # Errors
    /// As [`Query::keys`].
    pub fn stream(&self, selector: &Selector<'_>, options: &ReadOptions, pages: &PageOptions) -> Result<Pages> {
        let since = Instant::now();
        let begun = self.begin(selector, options);
        self.kv.account(Verb::Query, since, Ending::of(&begun));
        let (view, selection) = begun?;
        Ok(Pages::new(view, selection, selector, *pages))
    }

    /// One page that begins behind a key, or with the first record, for callers that keep nothing between two pages. Each
    /// page is a point in time of its own: what is there all the time comes exactly once when the next one begins with
    /// [`Page::next`]. With a key the offset is taken for done; the limit counts for each page anew.
    ///
    /// # Errors
    /// As [`Query::keys`].
    pub fn page(
        &self,
        selector: &Selector<'_>,
        after: Option<&[u8]>,
        options: &ReadOptions,
        pages: &PageOptions,
    ) -> Result<Page> {
        let offset = if after.is_some() { 0 } else { selector.offset };
        let selector = Selector { offset, ..*selector };
        let since = Instant::now();
        let page = self.begin(&selector, options).and_then(|(view, selection)| {
            let mut pages = Pages::new(view, selection, &selector, *pages);
            pages.begin_behind(after);
            let empty = Page { pairs: Vec::new(), next: None, revision: pages.revision() };
            Ok(pages.next_page()?.unwrap_or(empty))
        });
        self.kv.account(Verb::Query, since, Ending::of(&page));
        page
    }

    /// Removes every record that the selector picks, as one change, and tells how many these were. See
    /// [`Write::DeleteWhere`]. A selector that says nothing is refused; an empty prefix removes everything.
    ///
    /// ```
    /// # let db = concord_kv::Concord::open(concord_kv::Config::default())?;
    /// # use concord_kv::Selector;
    /// db.kv().put("temp:1", 1).wait()?;
    /// assert_eq!(db.query().delete_where(&Selector { prefix: Some(b"temp:"), ..Selector::default() }, None)?, 1);
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_condition` for what is no selector; what else a write answers.
    pub fn delete_where(&self, selector: &Selector<'_>, timeout_ms: Option<u64>) -> Result<u64> {
        match self.kv.call(Write::DeleteWhere { selector: *selector }, timeout_ms)? {
            Reply::Integer { value, .. } => Ok(u64::try_from(value).unwrap_or(0)),
            Reply::Done { .. } | Reply::Touched { .. } | Reply::Transaction(_) => Ok(0),
        }
    }

    /// A selector that was understood and may be asked about, and the point in time.
    fn begin(&self, selector: &Selector<'_>, options: &ReadOptions) -> Result<(super::View, Selection)> {
        self.kv.caller.check_scope(crate::state_machine::Need::Read)?;
        let selection = Selection::of(selector, Strictness::Asked)?;
        self.kv.caller.check_range(selection.range())?;
        Ok((self.kv.pin(options)?, selection))
    }
}

struct Visited {
    revision: u64,
    picked: u64,
}
