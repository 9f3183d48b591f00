//! Notice: what a watcher is told, as server-sent events.

use crate::encoding::notice_to_json;
use crate::error::{Error, Result};
use crate::model::{EventKind, Notice, Position};

/// Bytes of values: many of them are worth a thread of their own to be written.
pub(super) fn bytes_of(notices: &[Notice]) -> usize {
    let bytes = |notice: &Notice| match notice {
        Notice::Event(event) => [&event.value, &event.previous].into_iter().flatten().map(Vec::len).sum(),
        _ => 0,
    };
    notices.iter().map(bytes).sum()
}

/// Notices as events of a stream. JSON has no line breaks of its own, so each is one line of data.
pub(super) fn sse(notices: &[Notice]) -> Result<String> {
    let mut out = String::new();
    for notice in notices {
        let (name, id) = match notice {
            Notice::Event(event) if event.kind == EventKind::State => ("state", None),
            Notice::Event(event) => (event.kind.name(), Some(event.next)),
            Notice::Progress { revision } => ("progress", Some(Position::after(*revision))),
            Notice::Gap { resume_revision, .. } => ("gap", Some(Position::before(*resume_revision))),
        };
        put(&mut out, name, id, &notice_to_json(notice)?);
    }
    Ok(out)
}

/// Why the stream ends.
pub(super) fn end(error: &Error) -> String {
    let data = serde_json::json!({"kind": error.kind().name(), "message": error.message()});
    let mut out = String::new();
    put(&mut out, "end", None, &data.to_string());
    out
}

fn put(out: &mut String, event: &str, id: Option<Position>, data: &str) {
    if let Some(id) = id {
        out.push_str(&format!("id: {id}\n"));
    }
    out.push_str(&format!("event: {event}\ndata: {data}\n\n"));
}
