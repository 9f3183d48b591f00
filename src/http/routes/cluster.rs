//! Cluster: what the node knows of itself, who is a member, and who leads.

use axum::http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::concord::Concord;
use crate::error::Result;
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault};
use crate::http::request::{Ask, Content, Parameters, checked_timeout};
use crate::service::Status;

/// A node's id: up to 63 bits, so it travels as text, which every language keeps exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, example = "5377243512891012457")]
pub(super) struct NodeId(u64);

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(NodeId).map_err(|_| serde::de::Error::custom("a node's id is a number, written as a string"))
    }
}

/// What a node knows of itself.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusData {
    cluster: ClusterData,
    storage: StorageData,
    /// The node that answers.
    node: NodeId,
}

/// Consensus as the node sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct ClusterData {
    /// 32 hexadecimal digits, the same on every member.
    id: String,
    /// `joining`, `learner`, `follower`, `candidate`, `leader` or `shutdown`.
    state: String,
    /// Whether it serves.
    ready: bool,
    /// The leader, when one is known.
    leader: Option<NodeId>,
    term: u64,
    commit_index: u64,
    last_applied: u64,
    snapshot_index: u64,
    /// `idle`, `building`, `receiving` or `sending`.
    snapshot_state: String,
    members: Vec<MemberData>,
}

/// What the node keeps.
#[derive(Serialize, ToSchema)]
pub(super) struct StorageData {
    /// Records; expired ones count until they are removed.
    size: u64,
    /// Memory that they take, bytes, about.
    memory: u64,
    /// The last change.
    revision: u64,
    /// Bytes of log that the next snapshot would free.
    log_bytes: u64,
    /// Whether a write that a crash had torn was removed when the store was opened.
    repaired: bool,
    /// Whether writes have stopped for good.
    failed: bool,
}

/// A member of the cluster.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberData {
    node: NodeId,
    address: String,
    name: String,
    /// `voter` or `learner`.
    role: String,
    leader: bool,
    /// Last entry that it is known to have, as the leader told last.
    matched_index: Option<u64>,
    /// Entries that it is behind.
    lag: Option<u64>,
    /// Since the leader heard of it last.
    last_contact_ms: Option<u64>,
}

fn members_of(status: &Status) -> Vec<MemberData> {
    let members = status.raft.members.iter();
    members
        .map(|member| MemberData {
            node: NodeId(member.node_id),
            address: member.address.clone(),
            name: member.name.clone(),
            role: member.role.name().to_owned(),
            leader: member.is_leader,
            matched_index: member.matched_index,
            lag: member.lag,
            last_contact_ms: member.last_contact_ms,
        })
        .collect()
}

impl From<&Status> for StatusData {
    fn from(status: &Status) -> StatusData {
        let raft = &status.raft;
        StatusData {
            cluster: ClusterData {
                id: format!("{:032x}", status.cluster_id),
                state: raft.state.name().to_owned(),
                ready: raft.is_ready,
                leader: raft.leader.map(NodeId),
                term: raft.term,
                commit_index: raft.commit_index,
                last_applied: raft.last_applied,
                snapshot_index: raft.snapshot_index,
                snapshot_state: raft.snapshot_state.name().to_owned(),
                members: members_of(status),
            },
            storage: StorageData {
                size: status.size,
                memory: status.memory_bytes,
                revision: status.revision,
                log_bytes: status.log_bytes,
                // What exactly names files of the server: `concord status` there says it.
                repaired: status.repaired.is_some(),
                failed: status.failure.is_some(),
            },
            node: NodeId(raft.node_id),
        }
    }
}

/// What the node that answers knows of itself and its cluster.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "cluster", operation_id = "status",
    responses(
        (status = 200, description = "The status", body = Envelope<StatusData>),
        (status = "4XX", description = "UNAUTHORIZED, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn status(ask: Ask) -> Answer {
    answer::ok(StatusData::from(&ask.apart(|db| Ok(db.status()?)).await?))
}

/// The members of the cluster.
#[utoipa::path(
    get, path = "/api/v1/members", tag = "cluster", operation_id = "members",
    responses(
        (status = 200, description = "All members", body = Envelope<Vec<MemberData>>),
        (status = "4XX", description = "UNAUTHORIZED, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn members(ask: Ask) -> Answer {
    answer::ok(members_of(&ask.apart(|db| Ok(db.status()?)).await?))
}

/// How a change of membership is done.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeParameters {
    /// Longest wait for the change, milliseconds. Default: 30,000.
    #[param(maximum = 600_000)]
    timeout_ms: Option<u64>,
}

/// Does a change of membership where it may block.
async fn change<T: Send + 'static>(
    ask: &Ask,
    given: &ChangeParameters,
    work: impl FnOnce(&Concord, Option<u64>) -> Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let timeout_ms = checked_timeout(given.timeout_ms)?;
    ask.apart(move |db| Ok(work(db, timeout_ms)?)).await
}

/// The node id in `/api/v1/members/{id}/...`.
fn id_of(uri: &Uri) -> Result<u64, Fault> {
    let id = uri.path().split('/').nth(4).unwrap_or_default();
    id.parse().map_err(|_| Fault::request("a member is named by its node id, a number"))
}

/// Nothing more to say.
#[derive(Serialize, ToSchema)]
pub(super) struct Nothing {}

/// A node to take in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    /// `host:port` where it listens for other members.
    address: String,
}

/// A node that was taken in.
#[derive(Serialize, ToSchema)]
pub(super) struct Added {
    node: NodeId,
}

/// Takes a node in as a learner; it is promoted when it has caught up. Needs the scope `admin`, as all changes here do.
#[utoipa::path(
    post, path = "/api/v1/members", tag = "cluster", operation_id = "add_member",
    params(ChangeParameters),
    request_body = AddBody,
    responses(
        (status = 200, description = "It is a learner", body = Envelope<Added>),
        (status = "4XX", description = "INVALID_REQUEST, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE when it cannot be reached", body = ErrorEnvelope),
    )
)]
pub(super) async fn add(ask: Ask, Parameters(given): Parameters<ChangeParameters>, content: Content) -> Answer {
    let body: AddBody = content.open_json()?.json()?;
    let node = change(&ask, &given, move |db, timeout_ms| db.cluster().add(&body.address, timeout_ms)).await?;
    answer::ok(Added { node: NodeId(node) })
}

/// Removes a member for good, whether it runs or not.
#[utoipa::path(
    delete, path = "/api/v1/members/{id}", tag = "cluster", operation_id = "remove_member",
    params(("id" = String, Path, description = "Its node id"), ChangeParameters),
    responses(
        (status = 200, description = "It is none any more", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND; INVALID_REQUEST for the last voter", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn remove(ask: Ask, Parameters(given): Parameters<ChangeParameters>, uri: Uri) -> Answer {
    let id = id_of(&uri)?;
    change(&ask, &given, move |db, timeout_ms| db.cluster().remove(id, timeout_ms)).await?;
    answer::ok(Nothing {})
}

/// Makes a learner that has caught up a voter.
#[utoipa::path(
    post, path = "/api/v1/members/{id}/promote", tag = "cluster", operation_id = "promote_member",
    params(("id" = String, Path, description = "Its node id"), ChangeParameters),
    responses(
        (status = 200, description = "It is a voter", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND, INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE while it lags behind", body = ErrorEnvelope),
    )
)]
pub(super) async fn promote(
    ask: Ask,
    Parameters(given): Parameters<ChangeParameters>,
    uri: Uri,
    content: Content,
) -> Answer {
    content.check_json()?;
    let id = id_of(&uri)?;
    change(&ask, &given, move |db, timeout_ms| db.cluster().promote(id, timeout_ms)).await?;
    answer::ok(Nothing {})
}

/// Who comes instead.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceBody {
    /// Node id of a learner that has caught up.
    with: NodeId,
}

/// Puts a learner that has caught up in the place of a voter, in one step.
#[utoipa::path(
    post, path = "/api/v1/members/{id}/replace", tag = "cluster", operation_id = "replace_member",
    params(("id" = String, Path, description = "Node id of the voter"), ChangeParameters),
    request_body = ReplaceBody,
    responses(
        (status = 200, description = "It is done", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND, INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE while the new one lags behind", body = ErrorEnvelope),
    )
)]
pub(super) async fn replace(
    ask: Ask,
    Parameters(given): Parameters<ChangeParameters>,
    uri: Uri,
    content: Content,
) -> Answer {
    let id = id_of(&uri)?;
    let body: ReplaceBody = content.open_json()?.json()?;
    change(&ask, &given, move |db, timeout_ms| db.cluster().replace(id, body.with.0, timeout_ms)).await?;
    answer::ok(Nothing {})
}

/// Who is to lead.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeadBody {
    /// Node id of a voter. Default: the one that is furthest.
    to: Option<NodeId>,
}

/// Hands leadership over.
#[utoipa::path(
    post, path = "/api/v1/leader", tag = "cluster", operation_id = "transfer_leadership",
    params(ChangeParameters),
    request_body = LeadBody,
    responses(
        (status = 200, description = "Another one leads", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND when it is no voter; INVALID_REQUEST", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE when it did not take over", body = ErrorEnvelope),
    )
)]
pub(super) async fn lead(ask: Ask, Parameters(given): Parameters<ChangeParameters>, content: Content) -> Answer {
    let body: LeadBody = content.open_json()?.json()?;
    let to = body.to.map(|node| node.0);
    change(&ask, &given, move |db, timeout_ms| db.cluster().transfer_leadership(to, timeout_ms)).await?;
    answer::ok(Nothing {})
}
