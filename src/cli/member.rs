//! Member: verbs that change who belongs to a running cluster and who leads it.

use clap::Subcommand;
use concord_kv::{Concord, Error, ErrorKind, Member, Result};
use serde_json::json;

use super::access::misuse;
use super::output;

/// A NODE is a node id, a name, or an address, as `concord members` shows them.
#[derive(Subcommand)]
pub(super) enum Change {
    /// Take in the node that listens at an address and belongs to no cluster yet. Those started with --seed come by themselves.
    Add {
        /// Where it listens.
        // Not called `address`: that is the option that names the cluster.
        #[arg(id = "new_member", value_name = "HOST:PORT")]
        address: String,
    },
    /// Make a learner that has caught up a voter.
    Promote {
        /// Id, name or address.
        node: String,
    },
    /// Remove a member for good, running or not. It comes back only with an empty data directory.
    Remove {
        /// Id, name or address.
        node: String,
    },
    /// Put a learner that has caught up in the place of a voter, in one step: for a node that lost its disk.
    Replace {
        /// The voter that goes.
        old: String,
        /// The learner that takes its place.
        new: String,
    },
    /// Hand leadership over.
    Transfer {
        /// To this voter; without it, to the one that is furthest.
        node: Option<String>,
    },
}

pub(super) fn execute(db: &Concord, change: &Change, timeout_ms: Option<u64>, json: bool) -> Result<()> {
    let (sentence, node_id) = match change {
        Change::Add { address } => {
            let node_id = db.cluster().add(address, timeout_ms)?;
            (format!("added node {node_id} at {address}; it votes when it has caught up"), Some(node_id))
        }
        Change::Promote { node } => {
            let member = find(&db.members()?, node)?;
            db.cluster().promote(member.node_id, timeout_ms)?;
            (format!("{} votes now", called(&member)), Some(member.node_id))
        }
        Change::Remove { node } => {
            let member = find(&db.members()?, node)?;
            db.cluster().remove(member.node_id, timeout_ms)?;
            (
                format!("removed {}; empty its data directory before it is used again", called(&member)),
                Some(member.node_id),
            )
        }
        Change::Replace { old, new } => {
            let members = db.members()?;
            let (old, new) = (find(&members, old)?, find(&members, new)?);
            db.cluster().replace(old.node_id, new.node_id, timeout_ms)?;
            (format!("{} stands in the place of {}", called(&new), called(&old)), Some(new.node_id))
        }
        Change::Transfer { node } => {
            let to = node.as_deref().map(|node| find(&db.members()?, node)).transpose()?;
            db.cluster().transfer_leadership(to.as_ref().map(|member| member.node_id), timeout_ms)?;
            let leader = db.status()?.raft.leader;
            (format!("the leader is {}", leader.map_or("being elected".to_owned(), |id| format!("node {id}"))), leader)
        }
    };
    match json {
        true => output::print(&json!({"status": "ok", "node": node_id}).to_string()),
        false => output::print(&sentence),
    }
}

fn called(member: &Member) -> String {
    format!("node {} ({})", member.node_id, member.name)
}

/// The member with this id, or else the only one with this name or address.
fn find(members: &[Member], node: &str) -> Result<Member> {
    if let Some(member) = node.parse().ok().and_then(|id: u64| members.iter().find(|member| member.node_id == id)) {
        return Ok(member.clone());
    }
    let named: Vec<&Member> = members.iter().filter(|member| member.name == node || member.address == node).collect();
    match &named[..] {
        [member] => Ok((*member).clone()),
        [] => {
            let known: Vec<String> = members.iter().map(called).collect();
            let message = format!("there is no member `{node}`; the members are {}", known.join(", "));
            Err(Error::new(ErrorKind::NotFound, message))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|member| member.node_id.to_string()).collect();
            Err(misuse(format!("several members are called `{node}`; name one by its id: {}", ids.join(" or "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use concord_kv::MemberRole;

    use super::*;

    fn member(node_id: u64, name: &str, address: &str) -> Member {
        Member {
            node_id,
            address: address.to_owned(),
            name: name.to_owned(),
            role: MemberRole::Voter,
            is_leader: false,
            matched_index: None,
            lag: None,
            last_contact_ms: None,
        }
    }

    #[test]
    fn members_are_named_by_id_name_or_address_and_never_guessed() {
        let members =
            [member(1, "north", "a:1"), member(2, "south", "b:1"), member(3, "south", "c:1"), member(4, "1", "d:1")];
        let id_of = |node: &str| find(&members, node).map(|member| member.node_id).map_err(|error| error.kind());
        assert_eq!(id_of("2"), Ok(2));
        assert_eq!(id_of("north"), Ok(1));
        assert_eq!(id_of("c:1"), Ok(3));
        assert_eq!(id_of("1"), Ok(1), "an id goes before a name");
        assert_eq!(id_of("south"), Err(ErrorKind::InvalidConfig));
        assert_eq!(id_of("west"), Err(ErrorKind::NotFound));
    }
}
