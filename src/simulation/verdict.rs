//! Verdict: what must be true of a cluster after everything was mended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::linearizability::{Action, Answer, Operation, Outcome, check};
use super::member::Member;
use super::transactions::ACCOUNTS;
use super::workload::Client;
use super::world::World;
use crate::storage::LogEntry;

/// How long it may take until all calls have ended and all members are equal.
const PATIENCE_MS: u64 = 20_000;
/// The longest that a call takes.
const CALLS_END_MS: u64 = 2_500;
const QUIET_MS: u64 = 300;

/// Waits until the cluster is whole again and judges all that happened.
pub(super) fn judge(world: &mut World) -> Result<(), String> {
    let give_up_ms = world.now_ms + PATIENCE_MS;
    world.run_until(world.now_ms + 500)?;
    world.history.end();
    world.run_until(world.now_ms + CALLS_END_MS)?;
    wait_until_whole(world, give_up_ms)?;
    let members = members(world);
    let Some(first) = members.first().cloned() else { return Err("there are no members".to_owned()) };
    let reading = Client::new(first.kv.clone(), super::dice::Dice(1), world.history.clone()).read_all();
    first.node.spawn(reading);
    world.run_until(world.now_ms + CALLS_END_MS)?;
    wait_until_whole(world, give_up_ms + PATIENCE_MS)?;
    same_content(&members)?;
    same_log(&members)?;
    history(world)
}

/// Those that the cluster itself counts as members.
fn members(world: &World) -> Vec<Arc<Member>> {
    let all: Vec<_> = (0..world.places.len()).filter_map(|number| world.member(number)).collect();
    let leader = all.iter().find(|member| member.node.is_leader());
    let Some(leader) = leader else { return Vec::new() };
    let ids: Vec<u64> = leader.node.status().members.iter().map(|member| member.node_id).collect();
    all.iter().filter(|member| ids.contains(&member.node.status().node_id)).cloned().collect()
}

/// All members serve and have applied the same, and it stays so for a while.
fn wait_until_whole(world: &mut World, give_up_ms: u64) -> Result<(), String> {
    let mut since_ms = None;
    while world.now_ms < give_up_ms {
        world.tick()?;
        if !world.now_ms.is_multiple_of(20) {
            continue;
        }
        let members = members(world);
        let applied: Vec<u64> = members.iter().map(|member| member.node.status().last_applied).collect();
        let is_whole = members.len() >= 3
            && applied.windows(2).all(|pair| pair[0] == pair[1])
            && members.iter().all(|member| member.node.is_ready());
        if !is_whole {
            since_ms = None;
        } else if world.now_ms >= *since_ms.get_or_insert(world.now_ms) + QUIET_MS {
            return Ok(());
        }
    }
    let mut message = "the cluster does not become whole again:".to_owned();
    for number in 0..world.places.len() {
        if let Some(member) = world.member(number) {
            message.push_str(&format!("\n  {:?}", member.node.status()));
        }
    }
    Err(message)
}

fn same_content(members: &[Arc<Member>]) -> Result<(), String> {
    let digests: Result<Vec<_>, _> = members.iter().map(|member| member.node.machine().digest()).collect();
    let digests = digests.map_err(|error| format!("a content cannot be read: {error}"))?;
    if digests.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(());
    }
    Err(format!("the members have applied the same and hold different contents: {digests:?}"))
}

/// What two members both still have of the log is the same.
fn same_log(members: &[Arc<Member>]) -> Result<(), String> {
    let mut known: BTreeMap<u64, LogEntry> = BTreeMap::new();
    for member in members {
        let status = member.node.status();
        let Some(log) = member.log() else { continue };
        let entries = log.read(0..status.last_applied + 1, usize::MAX).map_err(|error| error.to_string())?;
        for entry in entries {
            let other = known.entry(entry.position.index).or_insert_with(|| entry.clone());
            if *other != entry {
                let node_id = status.node_id;
                return Err(format!("node {node_id} has committed what another has not: {entry:?}, {other:?}"));
            }
        }
    }
    Ok(())
}

/// The answers fit together, and each increment counts once.
fn history(world: &World) -> Result<(), String> {
    let operations = world.history.operations();
    let verdict = check(&operations);
    if !verdict.is_linearizable() {
        return Err(verdict.to_string());
    }
    for key in ["c0", "c1"] {
        let of_key = || operations.iter().filter(|operation| operation.key == key);
        let increments = |done: fn(&Outcome) -> bool| {
            of_key().filter(|call| matches!(call.action, Action::Increment(_)) && done(&call.outcome)).count() as i64
        };
        let done = increments(|outcome| matches!(outcome, Outcome::Ok(_)));
        let unknown = increments(|outcome| matches!(outcome, Outcome::Unknown));
        let value = last_read(&operations, key)?;
        if !(done..=done + unknown).contains(&value) {
            return Err(format!("{key} is {value} after {done} increments and {unknown} of unknown outcome"));
        }
    }
    let money = ACCOUNTS.map(|key| last_read(&operations, key));
    match money {
        [Ok(a), Ok(b)] if a + b == 0 => Ok(()),
        [Ok(a), Ok(b)] => Err(format!("money was lost or made: the accounts hold {a} and {b}")),
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
}

/// What the last read of a key has found; a missing one counts as 0.
fn last_read(operations: &[Operation], key: &str) -> Result<i64, String> {
    let is_read = |call: &&Operation| call.key == key && call.action == Action::Read;
    match operations.iter().rev().find(is_read).map(|call| call.outcome) {
        Some(Outcome::Ok(Answer::Found { value, .. })) => Ok(value),
        Some(Outcome::Ok(Answer::Missing)) => Ok(0),
        other => Err(format!("the last read of {key} has no answer: {other:?}")),
    }
}
