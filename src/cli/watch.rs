//! Watch: the status again and again, in place on a terminal, otherwise a line whenever something has changed.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use concord_kv::{Concord, Error, ErrorKind, Member, Result, Status};
use serde_json::json;

use super::output;

const INTERVAL: Duration = Duration::from_millis(500);
/// A member of which the leader has heard nothing for so long is called silent.
const SILENT_MS: u64 = 2_000;

/// Goes on until the program is ended, or nobody reads what it prints.
pub(super) fn watch(db: &Concord, json: bool) -> Result<()> {
    let is_in_place = !json && std::io::stdout().is_terminal();
    let mut lines_before = 0;
    let mut told = String::new();
    loop {
        let answer = db.status();
        if is_in_place {
            let lines = match &answer {
                Ok(status) => output::status_lines(status),
                Err(error) => vec![format!("no answer: {error}")],
            };
            print_over(lines_before, &lines)?;
            lines_before = lines.len();
        } else {
            let (gist, line) = match &answer {
                Ok(status) => (gist(status), line(status, json)),
                Err(error) => (error.kind().name().to_owned(), failure(error, json)),
            };
            if gist != told {
                output::print(&line)?;
                told = gist;
            }
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Writes over the lines that were written last. Meanwhile the terminal cuts what is too wide, so that a line is a line.
fn print_over(lines_before: usize, lines: &[String]) -> Result<()> {
    let back = if lines_before == 0 { String::new() } else { format!("\x1b[{lines_before}A\x1b[J") };
    let mut out = std::io::stdout();
    let printed = writeln!(out, "{back}\x1b[?7l{}\x1b[?7h", lines.join("\n")).and_then(|()| out.flush());
    printed.map_err(|error| Error::new(ErrorKind::Io, format!("cannot print: {error}")))
}

/// What makes a line worth printing; progress alone does not.
fn gist(status: &Status) -> String {
    let raft = &status.raft;
    let members = raft.members.iter().map(|member| format!("{} {} {}", member.node_id, member.address, role(member)));
    format!("{:?} {} {} {:?}", raft.leader, raft.term, raft.is_ready, members.collect::<Vec<_>>())
}

/// What a member is, and whether the leader hears of it.
fn role(member: &Member) -> String {
    let is_heard = member.is_leader || member.last_contact_ms.is_some_and(|ms| ms < SILENT_MS);
    if is_heard { member.role.name().to_owned() } else { format!("{}, silent", member.role.name()) }
}

fn line(status: &Status, json: bool) -> String {
    if json {
        return output::status_json(status).to_string();
    }
    let raft = &status.raft;
    let leader = raft.members.iter().find(|member| member.is_leader);
    let leader = leader.map_or("no leader".to_owned(), |leader| format!("leader {}", leader.name));
    let members = raft.members.iter().map(|member| format!("{} ({})", member.name, role(member)));
    let members = members.collect::<Vec<_>>().join(", ");
    let ready = if raft.is_ready { "ready" } else { "not ready" };
    format!("term {}, {leader}, {ready}, {} records; members: {members}", raft.term, status.size)
}

fn failure(error: &Error, json: bool) -> String {
    match json {
        true => {
            json!({"status": "error", "error": {"code": error.kind().name(), "message": error.message()}}).to_string()
        }
        false => format!("no answer: {error}"),
    }
}
