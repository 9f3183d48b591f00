//! Indexes: the verbs that declare them, and ask them for keys.

mod page;

pub(super) use page::PageRequest;
pub use page::{IndexPage, IndexRange};

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pending;
use super::kv::{Backend, Kv, timeout_ms};
use crate::encoding::encode_value;
use crate::error::{Error, ErrorKind, Result};
use crate::expression::check_path;
use crate::limits;
use crate::model::{Consistency, Operation, ReadOptions, Value};
use crate::raft::{Freshness, Node};
use crate::state_machine::{Index, Need};
use crate::telemetry::{Ending, Verb};

/// What is known of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexInfo {
    /// By which it is asked.
    pub name: String,
    /// Where in a value the parts are that it holds.
    pub path: String,
    /// Whether the node that was asked has built it; the first question does so otherwise.
    pub is_built: bool,
    /// How many parts of values it holds on that node.
    pub entries: u64,
}

/// The verbs of secondary indexes. Get it from [`Concord::indexes`](crate::Concord::indexes). They block.
///
/// An index knows the records by a part of their values: by a path as expressions have it, `value.price`,
/// `value.address["last name"]`, with `[]` for each item of a list or set: `value.tags[]`. It follows every write, whatever way it
/// comes, and its answers are those of whole commands: what a write has changed is found from the moment that anybody sees the
/// write.
///
/// It holds null, booleans, numbers, strings (text, atoms and bytes, up to 1,024 bytes) and dates, of each record at most 1,000;
/// what else there is at the path, or nothing, it leaves out. They come in this order: null, false, true, numbers by their worth
/// (`1` is `1.0`), strings by their bytes, points in time, dates with times, dates, times of day. Keys of equal ones come in the
/// order of keys.
///
/// What indexes there are is replicated; what they hold each node makes of its own records, when it is first asked or within
/// seconds: until then a question waits, for as long as its timeout. Reads and writes go on meanwhile.
///
/// A token needs the scope `admin` to create, drop and rebuild indexes, and gets only keys that it reaches.
///
/// ```
/// use concord_kv::{Concord, Config, ReadOptions, Value};
///
/// let db = Concord::open(Config::default())?;
/// for (key, price) in [("p:1", 50), ("p:2", 150), ("p:3", 150)] {
///     db.kv().put(key, Value::Map(vec![("price".into(), price.into())])).wait()?;
/// }
/// let (indexes, options) = (db.indexes(), ReadOptions::default());
/// indexes.create("by_price", "value.price")?;
/// assert_eq!(indexes.lookup("by_price", 150, &options)?, [b"p:2", b"p:3"]);
/// assert_eq!(indexes.range("by_price", None, Some(100.into()), &options)?, [b"p:1"]);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub struct Indexes {
    kv: Kv,
}

impl Indexes {
    pub(crate) fn new(kv: Kv) -> Indexes {
        Indexes { kv }
    }

    /// Declares an index, and builds it on this node. Meanwhile readers go on, and a write waits for a look at 256 records at
    /// most. One of this name and path that is there already is fine.
    ///
    /// # Errors
    /// `invalid_condition` for what is no path, with the column; `invalid_config` for a name that is not 1 to 64 bytes without
    /// control characters, and when there are 16 indexes; `already_exists` when the name has another path. What else a write
    /// answers.
    pub fn create(&self, name: &str, path: &str) -> Result<()> {
        self.kv.caller.check_scope(Need::Admin)?;
        if !(1..=limits::INDEX_NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            let message = "the name of an index is 1 to 64 bytes without control characters";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        check_path(path)?;
        self.carry_out(Operation::CreateIndex { name, path }).map_err(|error| match error.kind() {
            ErrorKind::InvalidConfig => {
                let message = format!("there are {} indexes, more are not possible; drop one", limits::INDEXES_MAX);
                Error::new(ErrorKind::InvalidConfig, message)
            }
            ErrorKind::AlreadyExists => {
                Error::new(ErrorKind::AlreadyExists, "there is an index of this name with another path; drop it first")
            }
            _ => error,
        })?;
        self.build(name);
        Ok(())
    }

    /// Ends an index.
    ///
    /// # Errors
    /// `not_found`; what else a write answers.
    pub fn drop(&self, name: &str) -> Result<()> {
        self.kv.caller.check_scope(Need::Admin)?;
        self.carry_out(Operation::DropIndex(name)).map_err(|error| told(error, name))
    }

    /// Builds an index anew on every member, this one at once. Nothing needs it: an index is never behind. For those who want
    /// to be sure.
    ///
    /// # Errors
    /// `not_found`; what else a write answers.
    pub fn reindex(&self, name: &str) -> Result<()> {
        self.kv.caller.check_scope(Need::Admin)?;
        self.carry_out(Operation::RebuildIndex(name)).map_err(|error| told(error, name))?;
        self.build(name);
        Ok(())
    }

    /// All indexes, by their names.
    ///
    /// # Errors
    /// `timeout`, `cluster_not_ready`.
    pub fn list(&self) -> Result<Vec<IndexInfo>> {
        self.kv.caller.check_scope(Need::Read)?;
        let node = match &self.kv.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => return client.indexes(),
        };
        self.kv.catch_up(node)?;
        let info = |index: &Arc<Index>| IndexInfo {
            name: index.name().to_owned(),
            path: index.path().to_owned(),
            is_built: index.is_built(),
            entries: index.len() as u64,
        };
        Ok(node.machine().indexes().iter().map(info).collect())
    }

    /// The keys of the records that have this value there, in their order.
    ///
    /// # Errors
    /// `not_found` when there is no such index; `invalid_value` for a value that no index holds; `timeout` also when the index
    /// is not built in time: it goes on from there the next time. What else a read answers.
    pub fn lookup(&self, name: &str, value: impl Into<Value>, options: &ReadOptions) -> Result<Vec<Vec<u8>>> {
        let value = encode_value(&value.into())?;
        self.all(name, Some(&value), Some(&value), options)
    }

    /// The keys of the records that have there what is not before `from` and not after `to`, in the order of these values.
    /// `None` is without end: `None, None` gives all that the index holds. A key comes as often as its record has such values.
    ///
    /// # Errors
    /// As [`Indexes::lookup`].
    pub fn range(
        &self,
        name: &str,
        from: Option<Value>,
        to: Option<Value>,
        options: &ReadOptions,
    ) -> Result<Vec<Vec<u8>>> {
        let encoded = |value: Option<Value>| value.as_ref().map(encode_value).transpose();
        let (from, to) = (encoded(from)?, encoded(to)?);
        self.all(name, from.as_deref(), to.as_deref(), options)
    }

    fn all(&self, name: &str, from: Option<&[u8]>, to: Option<&[u8]>, options: &ReadOptions) -> Result<Vec<Vec<u8>>> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let range = IndexRange { from, to, after: after.as_deref(), limit: limits::INDEX_PAGE_MAX };
            let mut page = self.page(name, &range, options)?;
            keys.append(&mut page.keys);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(keys),
            }
        }
    }

    /// One page of the keys of a range, whose values are encoded (CBOR); a lookup is a range from a value to the same one. A
    /// page is one point in time. What is there all the time comes exactly once when the next page begins with
    /// [`IndexPage::next`].
    ///
    /// # Errors
    /// As [`Indexes::lookup`]; `invalid_operation_format` for a place that no page has told.
    pub fn page(&self, name: &str, range: &IndexRange<'_>, options: &ReadOptions) -> Result<IndexPage> {
        let since = Instant::now();
        let page = self.kv.index_page(name, range, options);
        self.kv.account(Verb::Index, since, Ending::of(&page));
        page
    }

    fn carry_out(&self, operation: Operation<'_>) -> Result<()> {
        let stamp_ms = self.kv.clock.now_ms();
        Pending::start(limits::TIMEOUT_MS_DEFAULT, drop, |done| self.kv.propose(stamp_ms, operation, None, done)).wait()
    }

    /// So that nobody waits for it later. A client leaves it to the members.
    fn build(&self, name: &str) {
        if let Backend::Node(node) = &self.kv.backend
            && let Some(index) = node.machine().index(name)
        {
            index.build_while(|| !node.is_closed());
        }
    }
}

fn told(error: Error, name: &str) -> Error {
    if error.kind() == ErrorKind::NotFound { unknown(name) } else { error }
}

fn unknown(name: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no index `{}`; create it, or list what there is", name.escape_debug()),
    )
}

impl Kv {
    fn index_page(&self, name: &str, range: &IndexRange<'_>, options: &ReadOptions) -> Result<IndexPage> {
        self.caller.check_scope(Need::Read)?;
        let request = PageRequest::of(name, range)?;
        self.answer_page(&request, options)
    }

    pub(super) fn answer_page(&self, request: &PageRequest, options: &ReadOptions) -> Result<IndexPage> {
        self.caller.check_scope(Need::Read)?;
        let (name, level) = (request.name.as_str(), self.level(options));
        let node = match &self.backend {
            Backend::Node(node) => node,
            Backend::Client(client) => return client.index_page(request, level, timeout_ms(options)),
        };
        let until = Instant::now() + Duration::from_millis(timeout_ms(options));
        let read = |now_ms: u64| {
            let index = node.machine().index(name).ok_or_else(|| unknown(name))?;
            if !index.build_while(|| Instant::now() < until && !node.is_closed()) {
                return Err(Error::new(ErrorKind::Timeout, "the index is still being built; try again shortly"));
            }
            Ok(request.answer(&index, now_ms, |key| self.caller.check_read(key).is_ok()))
        };
        self.read_settled(node, level, options, read)
    }

    /// Reads what is not of one record, with everything in it that the level promises.
    fn read_settled<T>(
        &self,
        node: &Node,
        level: Consistency,
        options: &ReadOptions,
        read: impl Fn(u64) -> Result<T>,
    ) -> Result<T> {
        let freshness = node.begin_read(level)?;
        if freshness != Freshness::Unknown {
            let found = read(self.clock.now_ms());
            if freshness == Freshness::Present || node.still_leads() {
                return found;
            }
        }
        let time_ms = self.wait_for_read(node, level, options)?;
        read(time_ms)
    }
}
