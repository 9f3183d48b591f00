//! Pages: what a selector picks, piece by piece, all at one point in time.

use std::ops::ControlFlow;

use super::Want;
use crate::encoding::command::{put_selector, read_selector};
use crate::encoding::decode_value;
use crate::encoding::wire::WireReader;
use crate::error::Result;
use crate::expression::Selection;
use crate::model::{RecordView, Selector, Value};
use crate::service::View;
use crate::state_machine::{Effort, Walk};

/// Keys that one question looks at, picked or not, so that a page which picks little is no long wait for others.
const KEYS_PER_LOOK: usize = 16 * 1024;

/// A record with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: Vec<u8>,
    /// The value, encoded (CBOR); empty when only keys were asked for.
    pub value: Vec<u8>,
    /// Cluster-wide number of the change that last wrote the key.
    pub revision: u64,
    /// Remaining lifetime in milliseconds; `None` lives for ever.
    pub ttl_ms: Option<u64>,
}

impl Pair {
    pub(super) fn of(key: &[u8], record: RecordView<'_>) -> Pair {
        let RecordView { value, revision, ttl_ms } = record;
        Pair { key: key.to_vec(), value: value.into_owned(), revision, ttl_ms }
    }

    /// The value.
    ///
    /// # Errors
    /// `invalid_value` when only keys were asked for.
    pub fn decode(&self) -> Result<Value> {
        decode_value(&self.value)
    }
}

/// How large a page is, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageOptions {
    /// Most records of a page, at least 1.
    pub items_max: usize,
    /// Bytes of keys and values after which a page ends; one record may pass it.
    pub bytes_max: usize,
    /// Whether the values come too.
    pub with_values: bool,
}

impl Default for PageOptions {
    /// Up to 1,000 records and about 1 MiB, with their values.
    fn default() -> PageOptions {
        PageOptions { items_max: 1_000, bytes_max: 1024 * 1024, with_values: true }
    }
}

/// A piece of what was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub pairs: Vec<Pair>,
    /// The key behind which the next page begins; `None` after the last one.
    pub next: Option<Vec<u8>>,
    /// Revision of the last change that the page sees.
    pub revision: u64,
}

/// Pages of what a selector picks, all at one point in time. Holds no more than one page. From
/// [`Query::stream`](crate::Query::stream).
///
/// ```
/// # let db = concord_kv::Concord::open(concord_kv::Config::default())?;
/// # use concord_kv::{PageOptions, ReadOptions, Selector};
/// for n in 0..25 {
///     db.kv().put(format!("n:{n:02}"), n).wait()?;
/// }
/// let options = PageOptions { items_max: 10, ..PageOptions::default() };
/// let pages = db.query().stream(&Selector::default(), &ReadOptions::default(), &options)?;
/// db.kv().delete("n:24").wait()?; // after that point in time
/// let sizes: Vec<usize> = pages.map(|page| page.map(|page| page.pairs.len())).collect::<Result<_, _>>()?;
/// assert_eq!(sizes, [10, 10, 5]);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub struct Pages {
    view: View,
    selection: Selection,
    /// As it is sent to a member.
    selector: Vec<u8>,
    options: PageOptions,
    walk: Walk,
    is_over: bool,
}

impl Pages {
    pub(super) fn new(view: View, selection: Selection, selector: &Selector<'_>, options: PageOptions) -> Pages {
        let mut encoded = Vec::new();
        put_selector(&mut encoded, selector);
        let walk = Walk::of(&selection);
        Pages { view, selection, selector: encoded, options, walk, is_over: false }
    }

    pub(super) fn begin_behind(&mut self, key: Option<&[u8]>) {
        self.walk.after = key.map(<[u8]>::to_vec);
    }

    /// Revision of the last change that the pages see.
    pub fn revision(&self) -> u64 {
        self.view.revision()
    }

    /// The next page; `None` after the last one. Only the very first may be empty, and only when nothing is picked at all: then
    /// there is none. Blocks like [`Query::keys`](crate::Query::keys).
    ///
    /// # Errors
    /// As [`Query::keys`](crate::Query::keys). Of a client: `cluster_not_ready` when the member that keeps the point in time is
    /// gone, or was not asked for half a minute. The pages end there; to go on at another point in time, begin behind the
    /// last key.
    pub fn next_page(&mut self) -> Result<Option<Page>> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.fill();
        self.is_over = !matches!(&page, Ok(Page { next: Some(_), .. }));
        page.map(|page| Some(page).filter(|page| !page.pairs.is_empty()))
    }

    fn fill(&mut self) -> Result<Page> {
        let PageOptions { items_max, bytes_max, with_values } = self.options;
        let want = if with_values { Want::Records } else { Want::Keys };
        let effort = Effort { keys_max: KEYS_PER_LOOK, bytes_max: bytes_max.max(1) };
        let selector = read_selector(&mut WireReader::new(&self.selector))?;
        let (mut pairs, mut bytes, mut is_full) = (Vec::new(), 0, false);
        let mut is_whole = false;
        while !is_full && !is_whole {
            is_whole = self.view.select(&selector, &self.selection, &mut self.walk, want, effort, |key, record| {
                is_full = pairs.len() >= items_max.max(1) || (bytes >= bytes_max && !pairs.is_empty());
                if is_full {
                    return ControlFlow::Break(());
                }
                bytes += key.len() + record.value.len();
                pairs.push(Pair::of(key, record));
                ControlFlow::Continue(())
            })?;
        }
        let last = pairs.last().map(|pair: &Pair| pair.key.clone());
        let next = if is_whole { None } else { last };
        Ok(Page { pairs, next, revision: self.view.revision() })
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.next_page().transpose()
    }
}
