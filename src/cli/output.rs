//! Output: answers for people, or one JSON object for machines.

use std::io::Write as _;

use concord_kv::{Error, ErrorKind, Result, Status, Value, decode_value, value_to_json};
use serde_json::json;

pub(super) fn print_done(json: bool) -> Result<()> {
    print(&if json { json!({"status": "ok"}).to_string() } else { "ok".to_owned() })
}

/// One line of a program that goes on running: a sentence for people, or an object with `event` and the fields.
pub(super) fn print_event(event: &str, sentence: &str, fields: serde_json::Value, json: bool) -> Result<()> {
    if !json {
        return print(sentence);
    }
    let mut line = json!({"event": event});
    if let (Some(line), serde_json::Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
    print(&line.to_string())
}

/// Text as it is, everything else as JSON; with `json` the whole record.
pub(super) fn print_record(key: &str, value: &[u8], revision: u64, ttl_ms: Option<u64>, json: bool) -> Result<()> {
    if !json {
        return match decode_value(value)? {
            Value::Text(text) => print(&text),
            _ => print(&value_to_json(value)?),
        };
    }
    let value: serde_json::Value = serde_json::from_str(&value_to_json(value)?)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    let ttl_s = ttl_ms.map(|ttl_ms| ttl_ms as f64 / 1000.0);
    print(&json!({"key": key, "value": value, "revision": revision, "ttl": ttl_s}).to_string())
}

pub(super) fn print_status(status: &Status, json: bool) -> Result<()> {
    let raft = &status.raft;
    if json {
        let members: Vec<_> = raft
            .members
            .iter()
            .map(|member| {
                json!({"node_id": member.node_id, "address": member.address, "role": member.role.name(), "is_leader": member.is_leader})
            })
            .collect();
        return print(
            &json!({
                "cluster": {
                    "id": format!("{:032x}", status.cluster_id),
                    "state": raft.state.name(),
                    "leader": raft.leader,
                    "term": raft.term,
                    "commit_index": raft.commit_index,
                    "last_applied": raft.last_applied,
                    "snapshot_index": raft.snapshot_index,
                    "members": members,
                },
                "storage": {
                    "size": status.size,
                    "memory": status.memory_bytes,
                    "revision": status.revision,
                    "log_bytes": status.log_bytes,
                    "repaired": status.repaired,
                    "failure": status.failure,
                },
                "node": raft.node_id,
            })
            .to_string(),
        );
    }
    let rows = [
        ("cluster", format!("{:032x}", status.cluster_id)),
        ("node", raft.node_id.to_string()),
        ("state", raft.state.name().to_owned()),
        ("term", raft.term.to_string()),
        ("commit index", raft.commit_index.to_string()),
        ("members", raft.members.len().to_string()),
        ("records", status.size.to_string()),
        ("memory", format!("{} bytes", status.memory_bytes)),
        ("revision", status.revision.to_string()),
        ("log", format!("{} bytes", status.log_bytes)),
        ("repaired", status.repaired.clone().unwrap_or_else(|| "nothing".to_owned())),
        ("failure", status.failure.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    rows.iter().try_for_each(|(name, value)| print(&format!("{name:<14}{value}")))
}

pub(super) fn print_error(error: &Error, json: bool) {
    let text = if json {
        json!({"status": "error", "error": {"code": error.kind().name(), "message": error.message()}}).to_string()
    } else {
        format!("concord: {error}")
    };
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A reader that went away (`concord get k | head -0`) is no reason to panic.
fn print(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Error::new(ErrorKind::Io, format!("cannot print: {error}")))
}
