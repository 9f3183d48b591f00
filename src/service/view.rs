//! View: a point in time of the whole store, here or at a member.

use std::ops::{Bound, ControlFlow};

use super::auth::Caller;
use super::client::RemoteView;
use super::query::Want;
use crate::error::Result;
use crate::expression::Selection;
use crate::model::{RecordView, Selector};
use crate::state_machine::{self, Effort, Walk};

/// A point in time of the whole store. Writes go on meanwhile; what they replace is kept in memory
/// as long as the view lives, so do not keep one longer than needed. That of a client is kept by a member, which lets it
/// go after half a minute without a question.
///
/// It answers in the name of the handle that it was got from, and with every question anew: `unauthorized` once the token
/// was revoked, `forbidden` for keys out of its reach.
pub struct View {
    place: Place,
    caller: Caller,
}

enum Place {
    Here(state_machine::View),
    There(RemoteView),
}

impl View {
    pub(super) fn of_node(view: state_machine::View, caller: Caller) -> View {
        View { place: Place::Here(view), caller }
    }

    pub(super) fn of_client(view: RemoteView) -> View {
        // The member that keeps it judges.
        View { place: Place::There(view), caller: Caller::Trusted }
    }

    /// In whose name it answers.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Revision of the last change that this view sees.
    pub fn revision(&self) -> u64 {
        match &self.place {
            Place::Here(view) => view.revision(),
            Place::There(view) => view.revision(),
        }
    }

    /// Reads one record; `None` when it was missing or expired. For several keys prefer [`View::get_many`].
    ///
    /// # Errors
    /// `unauthorized`, `forbidden`. Of a client: `cluster_not_ready` when the member that kept the view is gone, `timeout`.
    pub fn get<T>(&self, key: &[u8], f: impl FnOnce(RecordView<'_>) -> T) -> Result<Option<T>> {
        self.caller.check_read(key)?;
        match &self.place {
            Place::Here(view) => view.get(key, f),
            Place::There(view) => {
                let (mut f, mut found) = (Some(f), None);
                view.get_many(&[key], |record| found = record.and_then(|record| f.take().map(|f| f(record))))?;
                Ok(found)
            }
        }
    }

    /// Reads several records: calls `f` for each key in order, with `None` where there is nothing. One key that the token
    /// does not reach refuses all of them.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn get_many(&self, keys: &[&[u8]], mut f: impl FnMut(Option<RecordView<'_>>)) -> Result<()> {
        self.caller.check_reads(keys)?;
        match &self.place {
            Place::Here(view) => {
                for key in keys {
                    if view.get(key, |record| f(Some(record)))?.is_none() {
                        f(None);
                    }
                }
                Ok(())
            }
            Place::There(view) => view.get_many(keys, f),
        }
    }

    /// Visits the records of a range of keys in key order, until `f` breaks off. The range of a token that reaches only
    /// some keys must lie within one of its prefixes.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn scan(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.caller.check_range(range)?;
        match &self.place {
            Place::Here(view) => view.scan(range, f),
            Place::There(view) => view.scan(range, f),
        }
    }

    /// Visits the records that are picked from where the walk stands, and moves it on; true at its end. A record at which
    /// `f` breaks off comes first the next time. Counted ones are only counted in the walk.
    pub(super) fn select(
        &self,
        selector: &Selector<'_>,
        selection: &Selection,
        walk: &mut Walk,
        want: Want,
        effort: Effort,
        f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        self.caller.check_range(selection.range())?;
        match &self.place {
            Place::Here(view) => view.select(selection, walk, want == Want::Records, effort, f),
            Place::There(view) => view.select(selector, walk, want, f),
        }
    }
}
