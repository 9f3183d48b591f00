//! Notices as JSON, the same for every face that speaks it.

use crate::encoding::{encode_value, value_to_json};
use crate::error::{ErrorKind, Result};
use crate::model::{Event, Notice, Value};

/// A notice as one JSON object. `type` is the kind of change, `progress` or `gap`; a key that is no UTF-8 is
/// `{"$bytes": "base64"}`; `ttl` is the lifetime that the key then had, in seconds; `next` is the
/// [`Position`](crate::Position) behind the change. A value that JSON cannot say is `null`, and `error` is `"invalid_value"`.
///
/// ```
/// use concord_kv::{Notice, notice_to_json};
/// assert_eq!(notice_to_json(&Notice::Progress { revision: 7 })?, r#"{"type":"progress","revision":7}"#);
/// # Ok::<(), concord_kv::Error>(())
/// ```
///
/// # Errors
/// `corrupt` for a value that is none.
pub fn notice_to_json(notice: &Notice) -> Result<String> {
    match notice {
        Notice::Event(event) => event_json(event),
        Notice::Progress { revision } => Ok(format!(r#"{{"type":"progress","revision":{revision}}}"#)),
        Notice::Gap { from_revision, resume_revision } => {
            let revisions = format!(r#""from_revision":{from_revision},"resume_revision":{resume_revision}"#);
            Ok(format!(r#"{{"type":"gap",{revisions}}}"#))
        }
    }
}

fn event_json(event: &Event) -> Result<String> {
    let Event { kind, revision, next, time_ms, is_bulk, ref key, ref value, ref previous, deadline_ms } = *event;
    let mut is_sayable = true;
    let mut out = format!(r#"{{"type":"{kind}","key":{},"value":"#, key_json(key)?);
    put_value(&mut out, value.as_deref(), &mut is_sayable)?;
    if previous.is_some() {
        out.push_str(r#","previous":"#);
        put_value(&mut out, previous.as_deref(), &mut is_sayable)?;
    }
    let ttl = seconds(deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(time_ms)));
    let rest = format!(r#","revision":{revision},"next":"{next}","time_ms":{time_ms},"ttl":{ttl},"bulk":{is_bulk}"#);
    out.push_str(&rest);
    out.push_str(if is_sayable { "}" } else { r#","error":"invalid_value"}"# });
    Ok(out)
}

fn key_json(key: &[u8]) -> Result<String> {
    let value = match std::str::from_utf8(key) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(key.to_vec()),
    };
    value_to_json(&encode_value(&value)?)
}

fn put_value(out: &mut String, value: Option<&[u8]>, is_sayable: &mut bool) -> Result<()> {
    match value.map(value_to_json) {
        Some(Ok(value)) => out.push_str(&value),
        None => out.push_str("null"),
        Some(Err(error)) if error.kind() == ErrorKind::InvalidValue => {
            *is_sayable = false;
            out.push_str("null");
        }
        Some(Err(failure)) => return Err(failure),
    }
    Ok(())
}

/// Whole seconds without a fraction, others to the millisecond.
fn seconds(ms: Option<u64>) -> String {
    match ms {
        None => "null".to_owned(),
        Some(ms) if ms % 1000 == 0 => (ms / 1000).to_string(),
        Some(ms) => (ms as f64 / 1000.0).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, Position};

    #[test]
    fn every_part_of_an_event_is_said() {
        let mut event = Event {
            kind: EventKind::Put,
            revision: 42,
            next: Position { revision: 42, changes: 1 },
            time_ms: 1_000,
            is_bulk: true,
            key: b"\xff".to_vec(),
            value: Some(encode_value(&f64::NAN.into()).unwrap()),
            previous: Some(encode_value(&"before".into()).unwrap()),
            deadline_ms: Some(2_500),
        };
        let json = |event: &Event| notice_to_json(&Notice::Event(event.clone())).unwrap();
        assert_eq!(
            json(&event),
            r#"{"type":"put","key":{"$bytes":"/w=="},"value":null,"previous":"before","revision":42,"next":"42.1","time_ms":1000,"ttl":1.5,"bulk":true,"error":"invalid_value"}"#
        );
        event = Event { kind: EventKind::Expire, value: None, previous: None, deadline_ms: None, ..event };
        event = Event { key: b"k".to_vec(), next: Position::before(43), is_bulk: false, ..event };
        assert_eq!(
            json(&event),
            r#"{"type":"expire","key":"k","value":null,"revision":42,"next":"43","time_ms":1000,"ttl":null,"bulk":false}"#
        );
    }
}
