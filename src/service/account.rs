//! Account: under which name a call is counted, and completions that tell of themselves.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Result;
use crate::model::{Condition, Consistency, RecordView, Write};
use crate::telemetry::{Ending, Metrics, Verb};

/// A write begins: the verb that it is counted as, and the time.
pub(super) fn begin_write(metrics: &Metrics, write: &Write<'_>) -> (Verb, Instant) {
    match *write {
        Write::Put { key, condition: Condition::Always, .. } => (Verb::Put, metrics.begin_write([key])),
        Write::Put { key, condition: Condition::Absent, .. } => (Verb::PutNew, metrics.begin_write([key])),
        Write::Put { key, .. } => (Verb::PutIf, metrics.begin_write([key])),
        Write::Delete { key, condition: Condition::Always } => (Verb::Delete, metrics.begin_write([key])),
        Write::Delete { key, .. } => (Verb::DeleteIf, metrics.begin_write([key])),
        Write::Touch { key, .. } => (Verb::Touch, metrics.begin_write([key])),
        Write::Increment { key, .. } => (Verb::Increment, metrics.begin_write([key])),
        Write::PutMany { items, .. } => (Verb::PutMany, metrics.begin_write(items.iter().map(|(key, _, _)| *key))),
        Write::DeleteMany { keys } => (Verb::DeleteMany, metrics.begin_write(keys.iter().copied())),
        Write::DeleteWhere { .. } => (Verb::DeleteWhere, metrics.begin_write([])),
        Write::Transaction(transaction) => {
            (Verb::Txn, metrics.begin_write(transaction.then.iter().map(|step| step.key())))
        }
        Write::TouchMany { items } => (Verb::TouchMany, metrics.begin_write(items.iter().map(|(key, _)| *key))),
    }
}

/// A completion that accounts for a read before it is called. Such a read asks others, so the clock is cheap beside it.
pub(super) fn awaited(
    metrics: &Arc<Metrics>,
    key: &[u8],
    level: Consistency,
    done: impl FnOnce(Result<Option<RecordView<'_>>>) + Send + 'static,
) -> impl FnOnce(Result<Option<RecordView<'_>>>) + Send + 'static {
    let (metrics, key, since) = (metrics.clone(), key.to_vec(), Instant::now());
    move |outcome: Result<Option<RecordView<'_>>>| {
        metrics.awaited_read(since, &key, level, Ending::of_read(&outcome));
        done(outcome);
    }
}
