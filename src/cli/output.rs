//! Output: answers for people, or one JSON object for machines.

use std::io::Write as _;

use concord_kv::{Error, ErrorKind, Member, Result, Status, Value, decode_value, value_to_json};
use serde_json::json;

use super::place::Way;
use super::table;
use super::verbs::key_json;

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
pub(super) fn print_record(key: &[u8], value: &[u8], revision: u64, ttl_ms: Option<u64>, json: bool) -> Result<()> {
    if !json {
        return match decode_value(value)? {
            Value::Text(text) => print(&text),
            _ => print(&value_to_json(value)?),
        };
    }
    let value: serde_json::Value = serde_json::from_str(&value_to_json(value)?)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    let ttl_s = ttl_ms.map(|ttl_ms| ttl_ms as f64 / 1000.0);
    print(&json!({"key": key_json(key)?, "value": value, "revision": revision, "ttl": ttl_s}).to_string())
}

pub(super) fn print_status(status: &Status, json: bool) -> Result<()> {
    if json {
        return print(&status_json(status).to_string());
    }
    status_lines(status).iter().try_for_each(|line| print(line))
}

/// The members as JSON, with the names that every language uses.
pub(super) fn print_members(status: &Status, json: bool) -> Result<()> {
    if json {
        return print(&json!({"members": members_json(&status.raft.members)}).to_string());
    }
    member_lines(status).iter().try_for_each(|line| print(line))
}

pub(super) fn status_json(status: &Status) -> serde_json::Value {
    let raft = &status.raft;
    json!({
        "cluster": {
            "id": format!("{:032x}", status.cluster_id),
            "state": raft.state.name(),
            "ready": raft.is_ready,
            "leader": raft.leader,
            "term": raft.term,
            "commit_index": raft.commit_index,
            "last_applied": raft.last_applied,
            "snapshot_index": raft.snapshot_index,
            "snapshot_state": raft.snapshot_state.name(),
            "members": members_json(&raft.members),
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
}

pub(super) fn members_json(members: &[Member]) -> serde_json::Value {
    let member = |member: &Member| {
        json!({
            "node": member.node_id,
            "address": member.address,
            "name": member.name,
            "role": member.role.name(),
            "leader": member.is_leader,
            "matched_index": member.matched_index,
            "lag": member.lag,
            "last_contact_ms": member.last_contact_ms,
        })
    };
    members.iter().map(member).collect()
}

/// What the member that has answered says, then the table of all members.
pub(super) fn status_lines(status: &Status) -> Vec<String> {
    let raft = &status.raft;
    let state = if raft.is_ready { raft.state.name().to_owned() } else { format!("{}, not ready", raft.state.name()) };
    let mut lines = table::facts(&[
        ("cluster", format!("{:032x}", status.cluster_id)),
        ("node", raft.node_id.to_string()),
        ("state", state),
        ("term", raft.term.to_string()),
        ("commit index", raft.commit_index.to_string()),
        ("snapshot", format!("up to {}, {}", raft.snapshot_index, raft.snapshot_state.name())),
        ("records", status.size.to_string()),
        ("memory", format!("{} bytes", status.memory_bytes)),
        ("revision", status.revision.to_string()),
        ("log", format!("{} bytes", status.log_bytes)),
        ("repaired", status.repaired.clone().unwrap_or_else(|| "nothing".to_owned())),
        ("failure", status.failure.clone().unwrap_or_else(|| "none".to_owned())),
    ]);
    lines.push(String::new());
    lines.extend(member_lines(status));
    lines
}

/// One line a member. What only the leader knows of it is `-` where nobody has told.
pub(super) fn member_lines(status: &Status) -> Vec<String> {
    let raft = &status.raft;
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let row = |member: &Member| {
        // Of snapshots a node knows its own only.
        let snapshot = if member.node_id == raft.node_id { raft.snapshot_state.name() } else { "-" };
        [
            text(&member.name),
            member.node_id.to_string(),
            text(&member.address),
            member.role.name().to_owned(),
            if member.is_leader { "*".to_owned() } else { String::new() },
            number(member.matched_index),
            number(member.lag),
            member.last_contact_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            snapshot.to_owned(),
        ]
    };
    let heading = ["NAME", "NODE", "ADDRESS", "ROLE", "LEADER", "MATCHED", "LAG", "LAST CONTACT", "SNAPSHOT"];
    let right = [false, true, false, false, false, true, true, true, false];
    table::lines(heading, right, &raft.members.iter().map(row).collect::<Vec<_>>())
}

/// What went wrong, and which way was taken to the store.
pub(super) fn print_error(error: &Error, way: Option<&Way>, json: bool) {
    let way = way.map(Way::to_string);
    let text = if json {
        let error = json!({"code": error.kind().name(), "message": error.message()});
        json!({"status": "error", "error": error, "way": way}).to_string()
    } else {
        let way = way.map_or(String::new(), |way| format!(" ({way})"));
        format!("concord: {error}{way}")
    };
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A reader that went away (`concord get k | head -0`) is no reason to panic.
pub(super) fn print(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Error::new(ErrorKind::Io, format!("cannot print: {error}")))
}

/// The same without an end of the line.
pub(super) fn print_piece(piece: &str) -> Result<()> {
    write!(std::io::stdout(), "{piece}").map_err(|error| Error::new(ErrorKind::Io, format!("cannot print: {error}")))
}

/// A remark for people, beside what is printed for programs.
pub(super) fn print_aside(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
