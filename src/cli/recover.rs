//! Recover: tells what a member's directory holds and what is given up, asks, and makes it a cluster of one.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use clap::Args;
use concord_kv::{Concord, Error, ErrorKind, Member, MemberRole, Recoverable, Recovered, Result};
use serde_json::json;

use super::access::misuse;
use super::{output, table};

/// What is typed to agree.
const YES: &str = "recover";

/// How to recover.
#[derive(Args)]
#[command(
    after_help = "Only when more than half of the voters will never come back. Of the members that are left, recover the one with the \
highest last term, then the highest last index (`concord recover` shows them before it asks), and give all others \
empty data directories: they join it as new members.\n\nExample:\n  concord recover --data-dir ./data"
)]
pub(super) struct Recover {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn recover(options: &Recover, data_dir: Option<&Path>, json: bool) -> Result<()> {
    let Some(data_dir) = data_dir else {
        return Err(misuse("say which directory to recover: --data-dir DIR or CONCORD_DATA_DIR"));
    };
    let recovered = Concord::recover(data_dir, |found| {
        // Machines get one object, in the end; what is asked is asked beside it.
        if !json {
            findings(found, data_dir).iter().try_for_each(|line| output::print(line))?;
        }
        if options.yes { Ok(()) } else { ask() }
    })?;
    print_recovered(&recovered, data_dir, json)
}

fn findings(found: &Recoverable, data_dir: &Path) -> Vec<String> {
    let role = found.role.map_or("none, it was removed", MemberRole::name);
    let mut lines = table::facts(&[
        ("directory", data_dir.display().to_string()),
        ("cluster", format!("{:032x}, given up", found.cluster_id)),
        ("node", format!("{}, {role}; it keeps its id", found.node_id)),
        ("last entry", format!("index {}, term {}", found.last_index, found.last_term)),
        ("snapshot", format!("up to index {}", found.snapshot_index)),
        ("committed", format!("up to index {} for certain", found.commit_index)),
        ("records", format!("{}, revision {}", found.records, found.revision)),
        ("repaired", found.repaired.clone().unwrap_or_else(|| "nothing".to_owned())),
    ]);
    let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let row = |member: &Member| {
        [text(&member.name), member.node_id.to_string(), text(&member.address), member.role.name().to_owned()]
    };
    lines.push(String::new());
    lines.push("Given up:".to_owned());
    let rows: Vec<_> = found.others.iter().map(row).collect();
    lines.extend(table::lines(["NAME", "NODE", "ADDRESS", "ROLE"], [false, true, false, false], &rows));
    lines.push(String::new());
    lines.push("KEPT  every entry above.".to_owned());
    if found.uncertain() > 0 {
        let (count, last) = (found.uncertain(), found.last_index);
        lines.push(format!(
            "      The last {count} (index {} to {last}) may or may not have been acknowledged;",
            last - count + 1
        ));
        lines.push(
            "      they are kept, so a write that was reported as failed or unknown may have happened.".to_owned(),
        );
    }
    lines.push(format!(
        "LOST  what the others acknowledged without this member: all beyond index {}.",
        found.last_index
    ));
    lines.push("      Another member with a higher last term, or the same term and a higher index, has more: recover that one.".to_owned());
    lines.push(
        "NEVER use the other members' directories again: start those nodes with empty ones, and they join.".to_owned(),
    );
    lines.push(String::new());
    lines
}

fn ask() -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(misuse("there is no terminal to ask on: look at what it says, then pass --yes"));
    }
    let failed = |error: std::io::Error| Error::new(ErrorKind::Io, format!("cannot ask: {error}"));
    let mut out = std::io::stderr();
    write!(out, "Type `{YES}` to go on: ").and_then(|()| out.flush()).map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    if answer.trim() == YES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::ConditionFailed, "not confirmed; nothing was changed"))
}

fn print_recovered(recovered: &Recovered, data_dir: &Path, json: bool) -> Result<()> {
    let Recovered { cluster_id, node_id, kept, .. } = recovered;
    if json {
        let kept = kept.as_ref().map(|kept| kept.display().to_string());
        let fields = json!({"status": "ok", "cluster": format!("{cluster_id:032x}"), "node": node_id, "kept": kept});
        return output::print(&fields.to_string());
    }
    let dir = data_dir.display();
    output::print(&match kept {
        Some(_) => format!("{dir} is node {node_id} of the new cluster {cluster_id:032x}, alone."),
        None => format!(
            "{dir} is node {node_id} of the new cluster {cluster_id:032x}: an interrupted recovery is complete."
        ),
    })?;
    if let Some(kept) = kept {
        output::print(&format!("What was there lies in {}; delete it when all is well.", kept.display()))?;
    }
    output::print("Start it as before; then start the others with empty data directories.")
}
