//! Expression: what picks records, tried out without a store.

use concord_kv::{RecordView, check_expression, expression_holds};

use crate::bytes::{concord_bytes, out};
use crate::options::nonzero;
use crate::selector::utf8;
use crate::status::{concord_status, enter};

/// Whether this is an expression, as `where` of a selector and of a condition takes it. For programs that want to tell
/// early; every verb checks it by itself.
///
/// - `expression`: UTF-8, up to 4,096 bytes.
///
/// Errors: CONCORD_INVALID_CONDITION; concord_last_error_column() tells where.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_expression_check(expression: concord_bytes) -> concord_status {
    enter(|| {
        // SAFETY: the caller's text.
        let expression = unsafe { expression.slice("expression") }?;
        Ok(check_expression(utf8(expression, "the expression")?)?)
    })
}

/// Whether an expression is true of a record, as every member of a cluster judges it. For programs that try one out, or
/// filter what they have read already.
///
/// - `key`, `value`, `revision`, `ttl_ms`: the record; a `ttl_ms` of 0 lives for ever.
/// - `out_holds`: receives the answer.
///
/// Errors: CONCORD_INVALID_CONDITION; CONCORD_INVALID_VALUE when `value` is not one CBOR value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn concord_expression_holds(
    expression: concord_bytes,
    key: concord_bytes,
    value: concord_bytes,
    revision: u64,
    ttl_ms: u64,
    out_holds: *mut bool,
) -> concord_status {
    enter(|| {
        // SAFETY: the caller's variable, text, key and value.
        let (place, expression, key, value) = unsafe {
            let place = out(out_holds, "out_holds", false)?;
            (place, expression.slice("expression")?, key.slice("key")?, value.slice("value")?)
        };
        concord_kv::check_value(value, concord_kv::limits::VALUE_BYTES_MAX_CEILING)?;
        let record = RecordView { value: value.into(), revision, ttl_ms: nonzero(ttl_ms) };
        *place = expression_holds(utf8(expression, "the expression")?, key, &record)?;
        Ok(())
    })
}
