//! Serving: how a member answers a client that watches: it holds the question until there is something to tell.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::local::LocalWatch;
use super::{WatchOptions, WatchStart};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{WATCH_ITEMS_MAX, WATCH_POLLS_MAX, WATCH_WAIT_MS_MAX};
use crate::model::Notice;
use crate::service::client::{WatchRequest, Watched};
use crate::service::kv::{Backend, Kv};

/// The questions that are held at this moment.
#[derive(Default)]
pub(in crate::service) struct Held(AtomicUsize);

/// One of them, until it is dropped.
struct Place(Arc<Held>);

impl Held {
    fn take(self: &Arc<Held>) -> Result<Place> {
        let place = Place(self.clone());
        if self.0.fetch_add(1, Ordering::Relaxed) < WATCH_POLLS_MAX {
            return Ok(place);
        }
        let message = format!("this member holds {WATCH_POLLS_MAX} watches already; ask another one");
        Err(Error::new(ErrorKind::ClusterNotReady, message))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers one question. What takes its time, as patterns and expressions may, is done apart from the threads that speak to
/// others.
pub(in crate::service) async fn answer(kv: Arc<Kv>, held: Arc<Held>, message: Vec<u8>) -> Result<Vec<u8>> {
    let _place = held.take()?;
    let opening = kv.clone();
    let (mut watch, items_max, wait_ms) = match apart(move || open(&opening, &message)).await {
        Err(error) => return compacted_or(error),
        Ok(opened) => opened,
    };
    let until = Instant::now() + Duration::from_millis(wait_ms.min(WATCH_WAIT_MS_MAX));
    loop {
        let is_over = timeout_at(until, poll_fn(|context| watch.poll_ready(context))).await.is_err();
        let (back, looked) = apart(move || {
            let mut notices = Vec::new();
            let looked = watch.take(items_max, None, &mut notices);
            Ok((watch, looked.map(|_| notices)))
        })
        .await?;
        watch = back;
        let notices = looked?;
        if let Some(Notice::Gap { resume_revision, .. }) = notices.first() {
            return Ok(Watched::Compacted { oldest: *resume_revision }.encode());
        }
        if notices.is_empty() && !is_over {
            continue;
        }
        let Backend::Node(node) = &kv.backend else { return Err(ErrorKind::Internal.into()) };
        if notices.is_empty() && !node.is_ready() {
            let message = "this member is cut off from the others, so it learns of no changes; ask another one";
            return Err(Error::new(ErrorKind::ClusterNotReady, message));
        }
        return Ok(Watched::Taken { next: watch.next_change(), notices }.encode());
    }
}

fn open(kv: &Kv, message: &[u8]) -> Result<(LocalWatch, usize, u64)> {
    let WatchRequest { position, kinds, with_previous, items_max, wait_ms, selector } = WatchRequest::decode(message)?;
    let Backend::Node(node) = &kv.backend else { return Err(ErrorKind::Internal.into()) };
    kv.caller.check_scope(crate::state_machine::Need::Read)?;
    let selection = super::selection(&selector)?;
    kv.caller.check_range(selection.range())?;
    let start = position.map_or(WatchStart::Now, WatchStart::From);
    let options = WatchOptions { selector, start, kinds, with_previous, with_progress: false };
    let watch = LocalWatch::open(node, kv, &options, selection)?;
    Ok((watch, usize::try_from(items_max).unwrap_or(usize::MAX).clamp(1, WATCH_ITEMS_MAX), wait_ms))
}

fn compacted_or(error: Error) -> Result<Vec<u8>> {
    match error.oldest_revision() {
        Some(oldest) => Ok(Watched::Compacted { oldest }.encode()),
        None => Err(error),
    }
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ErrorKind::Internal.into()))
}
