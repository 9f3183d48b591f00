//! RemoteView: a point in time that a member keeps for a client.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

use super::protocol::{self, ScanRequest, ViewRequest, method};
use super::selecting::{SelectRequest, decode_selected};
use crate::error::{ErrorKind, Result};
use crate::model::{RecordView, Selector};
use crate::raft::{Answered, Remote, Target};
use crate::service::query::Want;
use crate::state_machine::Walk;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A point in time at one member. Gone when that member restarts or nothing is asked for half a minute.
pub(in crate::service) struct RemoteView {
    remote: Arc<Remote>,
    member: u64,
    id: u64,
    revision: u64,
}

impl RemoteView {
    pub(super) fn open(remote: Arc<Remote>, answer: &Answered) -> Result<RemoteView> {
        let (id, revision) = protocol::decode_opened(&answer.bytes)?;
        Ok(RemoteView { remote, member: answer.member, id, revision })
    }

    pub(in crate::service) fn revision(&self) -> u64 {
        self.revision
    }

    fn ask(&self, method: u16, message: Vec<u8>) -> Result<Vec<u8>> {
        let asking = self.remote.ask(Target::Member(self.member), method, message, TIMEOUT);
        Ok(self.remote.wait(TIMEOUT, asking)??.bytes)
    }

    /// Calls `f` for each of the keys in order.
    pub(in crate::service) fn get_many(&self, keys: &[&[u8]], mut f: impl FnMut(Option<RecordView<'_>>)) -> Result<()> {
        for keys in keys.chunks(crate::limits::BATCH_OPS_MAX) {
            let answer = self.ask(method::VIEW_READ, ViewRequest { view: self.id, keys: keys.to_vec() }.encode())?;
            let records = protocol::decode_records(&answer)?;
            if records.len() != keys.len() {
                return Err(ErrorKind::Internal.into());
            }
            records.into_iter().for_each(&mut f);
        }
        Ok(())
    }

    pub(in crate::service) fn scan(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        mut f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (from, to) = range;
        let mut from = from.map(<[u8]>::to_vec);
        loop {
            let request = ScanRequest { view: self.id, from: from.as_ref().map(Vec::as_slice), to };
            let answer = self.ask(method::VIEW_SCAN, request.encode())?;
            let page = protocol::decode_page(&answer)?;
            let last_key = page.records.last().map(|(key, _)| key.to_vec());
            for (key, record) in page.records {
                if f(key, record).is_break() {
                    return Ok(());
                }
            }
            match last_key {
                Some(key) if !page.is_last => from = Bound::Excluded(key),
                _ => return Ok(()),
            }
        }
    }

    /// One piece, as large as the member makes it; see [`View::select`](crate::service::View). Records at which `f` breaks off,
    /// and those behind, are asked for again.
    pub(in crate::service) fn select(
        &self,
        selector: &Selector<'_>,
        walk: &mut Walk,
        want: Want,
        mut f: impl FnMut(&[u8], RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        let answer = self.ask(method::VIEW_SELECT, self.selecting(selector, walk, want))?;
        let selected = decode_selected(&answer)?;
        for (key, record) in selected.records {
            if f(key, record).is_break() {
                return Ok(false);
            }
            walk.skip = 0;
            walk.after = Some(key.to_vec());
            walk.picked += 1;
            walk.left = walk.left.map(|left| left.saturating_sub(1));
        }
        *walk = selected.walk;
        Ok(selected.is_last)
    }
}

impl RemoteView {
    fn selecting(&self, selector: &Selector<'_>, walk: &Walk, want: Want) -> Vec<u8> {
        SelectRequest { view: self.id, want, walk: walk.clone(), selector: *selector }.encode()
    }

    /// One piece, as large as the member makes it, without blocking.
    pub(in crate::service) async fn select_async(
        &self,
        selector: &Selector<'_>,
        walk: &mut Walk,
        want: Want,
        mut f: impl FnMut(&[u8], RecordView<'_>),
    ) -> Result<bool> {
        let message = self.selecting(selector, walk, want);
        let answer = self.remote.ask(Target::Member(self.member), method::VIEW_SELECT, message, TIMEOUT).await?;
        let selected = decode_selected(&answer.bytes)?;
        selected.records.into_iter().for_each(|(key, record)| f(key, record));
        *walk = selected.walk;
        Ok(selected.is_last)
    }
}

impl Drop for RemoteView {
    fn drop(&mut self) {
        let message = ViewRequest { view: self.id, keys: Vec::new() }.encode();
        let closing = self.remote.ask(Target::Member(self.member), method::CLOSE_VIEW, message, TIMEOUT);
        // Whatever becomes of it: the member lets it go by itself.
        self.remote.spawn(async move { drop(closing.await) });
    }
}
