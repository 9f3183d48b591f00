//! Query: how many records a selector picks, and removing them.

use concord_kv::{OwnedSelector, Reply, Write};

use crate::bytes::out;
use crate::kv::unconditional;
use crate::options::{concord_read_options, concord_write_options, read_options, write_options};
use crate::queue::{Answer, concord_queue, queue_of, writing};
use crate::selector::{concord_selector, selector};
use crate::status::{concord_status, enter};
use crate::store::concord_db;
use crate::tokens::{READ, acting, writer};

/// Counts the records that a selector picks, at one point in time. With `offset` and `limit` it is how many a scan would
/// give. To read the records themselves, see `selector` of concord_scan_options.
///
/// - `selector`: NULL: every record.
/// - `options`: NULL for the defaults.
/// - `out_count`: receives the number.
///
/// It costs the walk over the keys within prefix and range; `where` looks at values too. A token that reaches only some
/// keys needs a selector within one of its prefixes. Errors: CONCORD_UNAUTHORIZED, CONCORD_FORBIDDEN,
/// CONCORD_INVALID_CONDITION, CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Blocks
/// for other nodes where concord_reads_at_once() does not hold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_count(
    db: *const concord_db,
    selector: *const concord_selector,
    options: *const concord_read_options,
    out_count: *mut u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable and options.
        let (place, (options, token)) = unsafe { (out(out_count, "out_count", 0)?, read_options(options)?) };
        let db = acting(db, token)?;
        db.kv().check_caller(READ, &[])?;
        // SAFETY: the caller's selector.
        let selector = unsafe { self::selector(selector) }?;
        *place = db.query().count(&selector, &options)?;
        Ok(())
    })
}

/// Removes every record that a selector picks, as one change: all or none, and nobody sees a part of it.
///
/// - `selector`: must say which records; an empty prefix whose `data` is not NULL means all of them.
/// - `options`: NULL for the defaults; takes no condition.
/// - `out_count`: receives how many were removed; may be NULL.
///
/// Other writes wait meanwhile, on every member: it costs the walk over the keys within prefix and range. A token needs
/// CONCORD_SCOPE_READ too for `where`, because the number tells of values then. Errors: CONCORD_UNAUTHORIZED,
/// CONCORD_FORBIDDEN, CONCORD_INVALID_CONDITION, CONCORD_TIMEOUT, CONCORD_CLUSTER_NOT_READY,
/// CONCORD_UNKNOWN_OUTCOME, CONCORD_CLOSED, CONCORD_INVALID_CONFIG. Blocks for the disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete_where(
    db: *const concord_db,
    selector: *const concord_selector,
    options: *const concord_write_options,
    out_count: *mut u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options.
        let db = unsafe { writer(db, &[], options) }?;
        // SAFETY: the caller's selector and options.
        let (selector, options) = unsafe { (self::selector(selector)?, write_options(options)?) };
        unconditional(&options)?;
        let reply = db.kv().call(Write::DeleteWhere { selector }, options.timeout_ms)?;
        if let (Reply::Integer { value, .. }, false) = (reply, out_count.is_null()) {
            // SAFETY: the caller's variable.
            *unsafe { out(out_count, "out_count", 0) }? = u64::try_from(value).unwrap_or(0);
        }
        Ok(())
    })
}

/// concord_count() that does not wait. The completion has `integer`. What the selector lacks is told by the completion.
///
/// Scans and counts of one queue run on up to 8 threads of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_count_async(
    queue: *mut concord_queue,
    selector: *const concord_selector,
    options: *const concord_read_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options.
        let (options, token) = unsafe { read_options(options) }?;
        let queue = queue_of(queue)?;
        let db = acting(queue.db(), token)?.to_owned();
        db.kv().check_caller(READ, &[])?;
        // SAFETY: the caller's selector.
        let selector = OwnedSelector::from(unsafe { self::selector(selector) }?);
        queue.beside(tag, move || Ok(Answer::Count(db.query().count(&selector.get(), &options)?)))
    })
}

/// concord_delete_where() that does not wait. The completion has `integer` and `revision`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_delete_where_async(
    queue: *mut concord_queue,
    selector: *const concord_selector,
    options: *const concord_write_options,
    tag: u64,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's options.
        let (queue, db) = unsafe { writing(queue, &[], options) }?;
        // SAFETY: the caller's selector and options.
        let (selector, options) = unsafe { (self::selector(selector)?, write_options(options)?) };
        unconditional(&options)?;
        queue.submit(&db, Write::DeleteWhere { selector }, options.timeout_ms, tag)
    })
}
