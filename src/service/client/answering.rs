//! Answering: how a member answers clients.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::indexing::{decode_page_request, encode_indexes, encode_page};
use super::protocol::{self, ReadRequest, ScanRequest, ViewRequest, method};
use super::selecting::{SelectRequest, encode_selected, put_selected};
use crate::encoding::command::read_selector;
use crate::encoding::wire::{WireReader, put_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::expression::{Selection, Strictness};
use crate::model::{Consistency, ReadOptions, TokenId};
use crate::net::{Hello, Service};
use crate::service::auth::Caller;
use crate::service::kv::{Backend, Kv};
use crate::service::query::Want;
use crate::service::{Indexes, Status, TokenInfo, View, watch};
use crate::state_machine::{Effort, Need, put_consumer_record};

/// Bytes of values in one page of a scan, about.
const PAGE_BYTES: usize = 256 * 1024;
/// What one piece of a selection costs at most.
const EFFORT: Effort = Effort { keys_max: 8 * 1024, bytes_max: 1024 * 1024 };
/// Views that are kept for clients at most. Beyond it: `cluster_not_ready`.
const VIEWS_MAX: usize = 256;
/// A view that nobody asks about for so long is let go.
const VIEW_IDLE: Duration = Duration::from_secs(30);

type Answer = BoxFuture<'static, Result<Vec<u8>>>;

/// Answers clients with this member's own verbs, each in the name of the token of its connection, if it has one.
pub(crate) struct Answering {
    /// Weak, because the store holds what holds this.
    kv: Weak<Kv>,
    status: Box<dyn Fn() -> Result<Status> + Send + Sync>,
    views: Arc<Views>,
    polls: Arc<watch::HeldPolls>,
}

#[derive(Default)]
struct Views {
    state: Mutex<ViewsState>,
}

#[derive(Default)]
struct ViewsState {
    last: u64,
    open: BTreeMap<u64, (Arc<View>, Instant)>,
}

impl Answering {
    pub(crate) fn new(kv: Weak<Kv>, status: Box<dyn Fn() -> Result<Status> + Send + Sync>) -> Answering {
        Answering { kv, status, views: Arc::default(), polls: Arc::default() }
    }

    /// The verbs in the name of whoever is at the other end.
    fn kv(&self, from: &Hello) -> Result<Arc<Kv>> {
        let kv = self.kv.upgrade().ok_or_else(|| Error::from(ErrorKind::Closed))?;
        if from.token == 0 {
            return Ok(kv);
        }
        let Backend::Node(node) = &kv.backend else { return Err(ErrorKind::Internal.into()) };
        let token = node.machine().tokens().get(TokenId(from.token)).ok_or(ErrorKind::Unauthorized)?;
        Ok(Arc::new(kv.acting_as(Caller::holding(token, kv.clock.clone()))))
    }

    fn read(&self, kv: &Kv, message: &[u8]) -> Result<Answer> {
        let request = ReadRequest::decode(message)?;
        let [key] = request.keys[..] else {
            return Err(Error::new(ErrorKind::InvalidOperationFormat, "one key is read at a time"));
        };
        let options = ReadOptions { consistency: Some(request.level), timeout_ms: Some(request.timeout_ms) };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        kv.start_read(key, &options, move |record| {
            let answer = record.map(|record| {
                let mut out = Vec::new();
                protocol::put_record(&mut out, record.as_ref());
                out
            });
            let _ = sender.send(answer);
        });
        Ok(async move { receiver.await.unwrap_or_else(|_| Err(ErrorKind::Closed.into())) }.boxed())
    }

    fn open_view(&self, kv: &Kv, message: &[u8]) -> Result<Answer> {
        let request = ReadRequest::decode(message)?;
        let options = ReadOptions { consistency: Some(request.level), timeout_ms: Some(request.timeout_ms) };
        let views = self.views.clone();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        kv.start_view(&options, move |view| drop(sender.send(view)));
        Ok(async move {
            let view = receiver.await.unwrap_or_else(|_| Err(ErrorKind::Closed.into()))?;
            let revision = view.revision();
            let id = views.keep(view)?;
            let watched = views.clone();
            tokio::spawn(async move { watched.let_go_when_idle(id).await });
            Ok(protocol::encode_opened(id, revision))
        }
        .boxed())
    }

    fn view_read(&self, kv: &Kv, message: &[u8]) -> Result<Vec<u8>> {
        let request = ViewRequest::decode(message)?;
        let view = self.views.get(request.view, &kv.caller)?;
        kv.caller.check_reads(&request.keys)?;
        let mut out = Vec::new();
        for key in request.keys {
            let found = view.get(key, |record| protocol::put_record(&mut out, Some(&record)))?;
            if found.is_none() {
                protocol::put_record(&mut out, None);
            }
        }
        Ok(out)
    }

    fn view_scan(&self, kv: &Kv, message: &[u8]) -> Result<Vec<u8>> {
        let request = ScanRequest::decode(message)?;
        let view = self.views.get(request.view, &kv.caller)?;
        kv.caller.check_range((request.from, request.to))?;
        let mut out = vec![1];
        if is_empty_range(request.from, request.to) {
            return Ok(out);
        }
        view.scan((request.from, request.to), |key, record| {
            if out.len() > PAGE_BYTES {
                out[0] = 0;
                return ControlFlow::Break(());
            }
            put_bytes(&mut out, key);
            protocol::put_record(&mut out, Some(&record));
            ControlFlow::Continue(())
        })?;
        Ok(out)
    }

    /// Apart from the threads that speak to others: patterns and expressions take their time.
    fn view_select(&self, kv: Arc<Kv>, message: Vec<u8>) -> Answer {
        let views = self.views.clone();
        let selected = tokio::task::spawn_blocking(move || select(&kv, &views, &message));
        async move { selected.await.unwrap_or_else(|_| Err(ErrorKind::Internal.into())) }.boxed()
    }

    /// Apart as well: an index may have to be built.
    fn index_page(&self, kv: Arc<Kv>, message: Vec<u8>) -> Answer {
        let answer = tokio::task::spawn_blocking(move || {
            let (read, request) = decode_page_request(&message)?;
            let options = ReadOptions { consistency: Some(read.level), timeout_ms: Some(read.timeout_ms) };
            Ok(encode_page(&kv.answer_page(&request, &options)?))
        });
        async move { answer.await.unwrap_or_else(|_| Err(ErrorKind::Internal.into())) }.boxed()
    }

    fn indexes(&self, kv: Arc<Kv>) -> Answer {
        let listed = tokio::task::spawn_blocking(move || {
            Indexes::new(Kv::clone(&kv)).list().map(|indexes| encode_indexes(&indexes))
        });
        async move { listed.await.unwrap_or_else(|_| Err(ErrorKind::Internal.into())) }.boxed()
    }

    fn close_view(&self, kv: &Kv, message: &[u8]) -> Result<Vec<u8>> {
        let request = ViewRequest::decode(message)?;
        self.views.get(request.view, &kv.caller)?;
        self.views.state().open.remove(&request.view);
        Ok(Vec::new())
    }

    fn tokens(&self, kv: Arc<Kv>, message: &[u8]) -> Result<Answer> {
        kv.caller.check_scope(Need::Admin)?;
        let only = protocol::decode_only(message)?;
        let options = ReadOptions { consistency: Some(Consistency::Leader), timeout_ms: None };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A view for the sake of what precedes it: this member has applied what was acknowledged before.
        kv.start_view(&options, move |view| drop(sender.send(view.map(drop))));
        Ok(async move {
            receiver.await.unwrap_or_else(|_| Err(ErrorKind::Closed.into()))?;
            let Backend::Node(node) = &kv.backend else { return Err(ErrorKind::Internal.into()) };
            Ok(protocol::encode_tokens(&TokenInfo::known_to(node, only)))
        }
        .boxed())
    }

    /// Of one, whose keys the caller must reach, or of all.
    fn consumers(&self, kv: Arc<Kv>, message: Vec<u8>) -> Result<Answer> {
        let only = Some(message).filter(|name| !name.is_empty()).map(String::from_utf8);
        let only = only.transpose().map_err(|_| Error::from(ErrorKind::NotFound))?;
        match only {
            Some(_) => kv.caller.check_scope(Need::Read)?,
            None => kv.caller.check_read_all()?,
        }
        let options = ReadOptions { consistency: Some(Consistency::Leader), timeout_ms: None };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // As for tokens.
        kv.acting_as(Caller::Trusted).start_view(&options, move |view| drop(sender.send(view.map(drop))));
        Ok(async move {
            receiver.await.unwrap_or_else(|_| Err(ErrorKind::Closed.into()))?;
            kv.caller.check_valid()?;
            let Backend::Node(node) = &kv.backend else { return Err(ErrorKind::Internal.into()) };
            let machine = node.machine();
            let records =
                only.map_or_else(|| machine.consumers(), |name| machine.consumer(&name).into_iter().collect());
            let mut out = Vec::new();
            for record in &records {
                let selector = read_selector(&mut WireReader::new(&record.selector))?;
                kv.caller.check_range(Selection::of(&selector, Strictness::Accepted)?.range())?;
                put_consumer_record(&mut out, record);
            }
            Ok(out)
        }
        .boxed())
    }

    fn status(&self, kv: &Kv) -> Result<Vec<u8>> {
        kv.caller.check_scope(Need::Read)?;
        (self.status)().map(|status| protocol::encode_status(&status))
    }
}

fn select(kv: &Kv, views: &Views, message: &[u8]) -> Result<Vec<u8>> {
    let SelectRequest { view, want, mut walk, selector } = SelectRequest::decode(message)?;
    let view = views.get(view, &kv.caller)?;
    let selection = Selection::of(&selector, Strictness::Asked)?;
    kv.caller.check_range(selection.range())?;
    let mut records = Vec::new();
    let is_last = view.select(&selector, &selection, &mut walk, want, EFFORT, |key, record| {
        if records.len() > PAGE_BYTES {
            return ControlFlow::Break(());
        }
        if want != Want::Count {
            put_selected(&mut records, key, &record);
        }
        ControlFlow::Continue(())
    })?;
    Ok(encode_selected(is_last, &walk, &records))
}

/// Ordered maps take an inverted range for a mistake of the program.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
    }
}

impl Views {
    fn keep(&self, view: View) -> Result<u64> {
        let mut state = self.state();
        if state.open.len() >= VIEWS_MAX {
            return Err(Error::new(ErrorKind::ClusterNotReady, "too many scans are open on this member; end some"));
        }
        state.last += 1;
        let id = state.last;
        state.open.insert(id, (Arc::new(view), Instant::now()));
        Ok(id)
    }

    /// The view of this number, if it was opened in the same name.
    fn get(&self, id: u64, caller: &Caller) -> Result<Arc<View>> {
        let mut state = self.state();
        let gone = || {
            Error::new(
                ErrorKind::ClusterNotReady,
                "this scan was left alone too long, or its member restarted; begin again",
            )
        };
        let (view, used) =
            state.open.get_mut(&id).filter(|(view, _)| view.caller().is_same(caller)).ok_or_else(gone)?;
        *used = Instant::now();
        Ok(view.clone())
    }

    async fn let_go_when_idle(&self, id: u64) {
        loop {
            let Some(idle) = self.state().open.get(&id).map(|(_, used)| used.elapsed()) else { return };
            if idle >= VIEW_IDLE {
                self.state().open.remove(&id);
                return;
            }
            tokio::time::sleep(VIEW_IDLE - idle).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, ViewsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Answering {
    fn handle(&self, from: &Arc<Hello>, method: u16, message: Vec<u8>) -> Answer {
        let now = |answer: Result<Vec<u8>>| Ok(std::future::ready(answer).boxed());
        let answer = self.kv(from).and_then(|kv| match method {
            method::READ => self.read(&kv, &message),
            method::OPEN_VIEW => self.open_view(&kv, &message),
            method::VIEW_READ => now(self.view_read(&kv, &message)),
            method::VIEW_SCAN => now(self.view_scan(&kv, &message)),
            method::CLOSE_VIEW => now(self.close_view(&kv, &message)),
            method::VIEW_SELECT => Ok(self.view_select(kv, message)),
            method::INDEX_PAGE => Ok(self.index_page(kv, message)),
            method::INDEXES => Ok(self.indexes(kv)),
            method::WATCH => Ok(watch::answer(kv, self.polls.clone(), message).boxed()),
            method::STATUS => now(self.status(&kv)),
            method::TOKENS => self.tokens(kv, &message),
            method::CONSUMERS => self.consumers(kv, message),
            _ => Err(Error::new(ErrorKind::InvalidOperationFormat, format!("there is no request {method}"))),
        });
        answer.unwrap_or_else(|error| std::future::ready(Err(error)).boxed())
    }
}
