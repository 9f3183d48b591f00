//! Indexes: which records have a certain part of their value, and in what order. What indexes there are is replicated; what they
//! hold each node makes of its records, and makes anew when it loads a snapshot.

mod index;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub(super) use index::Indexed;
pub(crate) use index::{Index, TermRange};

use super::keyspace::{Content, StateMachine};
use crate::encoding::wire::{WireReader, damaged, put_bytes};
use crate::error::{ErrorKind, Result};
use crate::limits::{INDEX_NAME_BYTES_MAX, INDEXES_MAX};

/// All indexes by their names. Only the writer of the state machine changes which there are.
#[derive(Default)]
pub(super) struct Indexes {
    all: ArcSwap<Vec<Arc<Index>>>,
}

impl Indexes {
    pub(super) fn all(&self) -> arc_swap::Guard<Arc<Vec<Arc<Index>>>> {
        self.all.load()
    }

    fn place(all: &[Arc<Index>], name: &str) -> Result<usize, usize> {
        all.binary_search_by(|index| index.name().cmp(name))
    }

    /// One that is there already, with the same path, stays as it is.
    pub(super) fn create(&self, name: &str, path: &str) -> Result<(), ErrorKind> {
        let mut all = Vec::clone(&self.all());
        let index = Index::new(name, path).map_err(|error| error.kind())?;
        match Indexes::place(&all, name) {
            Ok(at) if all[at].path() == path => Ok(()),
            Ok(_) => Err(ErrorKind::AlreadyExists),
            Err(_) if all.len() >= INDEXES_MAX => Err(ErrorKind::InvalidConfig),
            Err(at) => {
                all.insert(at, Arc::new(index));
                self.all.store(Arc::new(all));
                Ok(())
            }
        }
    }

    pub(super) fn drop_index(&self, name: &str) -> Result<(), ErrorKind> {
        let mut all = Vec::clone(&self.all());
        let at = Indexes::place(&all, name).map_err(|_| ErrorKind::NotFound)?;
        all.remove(at);
        self.all.store(Arc::new(all));
        Ok(())
    }

    /// Begins anew, with nothing built.
    pub(super) fn rebuild(&self, name: &str) -> Result<(), ErrorKind> {
        let mut all = Vec::clone(&self.all());
        let at = Indexes::place(&all, name).map_err(|_| ErrorKind::NotFound)?;
        let index = Index::new(name, all[at].path()).map_err(|error| error.kind())?;
        all[at] = Arc::new(index);
        self.all.store(Arc::new(all));
        Ok(())
    }

    /// Hands the bytes of each to `write`, by name.
    pub(super) fn encode(&self, mut write: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for index in self.all().iter() {
            out.clear();
            put_bytes(&mut out, index.name().as_bytes());
            put_bytes(&mut out, index.path().as_bytes());
            write(&out);
        }
    }

    /// Adds one index of a snapshot, in the order in which [`Indexes::encode`] gave them.
    pub(super) fn decode(&self, reader: &mut WireReader<'_>) -> Result<()> {
        let name = reader.text()?;
        let path = reader.text()?;
        let impossible = || damaged("an index of a snapshot that no command can have made");
        let is_next = self.all().last().is_none_or(|last| last.name() < name.as_str());
        if !is_next || !(1..=INDEX_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(impossible());
        }
        self.create(&name, &path).map_err(|_| impossible())
    }
}

/// One index together with the content that it is of.
pub(crate) struct IndexReader {
    content: Arc<Content>,
    index: Arc<Index>,
}

impl StateMachine {
    /// The index of this name, as it is now.
    pub(crate) fn index(&self, name: &str) -> Option<IndexReader> {
        let content = self.content_arc();
        let all = content.indexes.all();
        let at = Indexes::place(&all, name).ok()?;
        let index = all[at].clone();
        drop(all);
        Some(IndexReader { content, index })
    }

    /// All indexes, by name.
    pub(crate) fn indexes(&self) -> Vec<Arc<Index>> {
        Vec::clone(&self.content().indexes.all())
    }

    /// Whether an index is not built yet.
    pub(crate) fn has_index_to_build(&self) -> bool {
        self.content().indexes.all().iter().any(|index| !index.is_built())
    }
}

impl IndexReader {
    /// Builds what is missing, piece by piece, together with whoever does so at the same time, as long as this holds. True when
    /// the index is whole.
    pub(crate) fn build_while(&self, may_go_on: impl Fn() -> bool) -> bool {
        while !self.index.is_built() {
            if !may_go_on() {
                return false;
            }
            self.index.build_more(&self.content);
        }
        true
    }

    /// Hands on keys that were not expired at `now_ms`, see [`TermRange`], until `f` has enough. Gives where it goes on.
    pub(crate) fn walk(
        &self,
        range: &TermRange,
        now_ms: u64,
        f: impl FnMut(&[u8]) -> bool,
    ) -> Option<(Box<[u8]>, Vec<u8>)> {
        self.index.walk(range, now_ms, f)
    }
}
