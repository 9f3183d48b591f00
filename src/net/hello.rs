//! Hello: who is at an end of a connection, and whom the other end expects there.

use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// What one end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A node of a cluster, or one that wants to become one.
    Peer = 1,
    /// A program that only sends requests.
    Client = 2,
}

/// Who one end of a connection says it is. It has proved that it knows the shared secret, or that it holds the token;
/// with TLS and `verify_node_id` also that it is the node of this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) role: Role,
    /// 0: belongs to no cluster yet.
    pub(crate) cluster_id: u128,
    /// 0 for a client.
    pub(crate) node_id: u64,
    /// Public id of the token that a client holds; 0 for whoever knows the shared secret.
    pub(crate) token: u64,
    /// Where others reach it, `host:port`, at most 256 bytes; may be empty.
    pub(crate) address: String,
}

/// Who has to answer. `None`: anybody who knows the secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expectation {
    pub(crate) cluster_id: Option<u128>,
    pub(crate) node_id: Option<u64>,
}

impl Expectation {
    /// Whether the one who answered at `address` is the one that was meant.
    pub(super) fn check(&self, answered: &Hello, address: &str) -> Result<()> {
        if let Some(expected) = self.cluster_id.filter(|expected| *expected != answered.cluster_id) {
            return Err(wrong_cluster(answered.cluster_id, expected, address));
        }
        if let Some(expected) = self.node_id.filter(|expected| *expected != answered.node_id) {
            return Err(wrong_node(answered.node_id, expected, address));
        }
        Ok(())
    }
}

pub(super) fn wrong_cluster(found: u128, expected: u128, address: &str) -> Error {
    let found = if found == 0 { "no cluster yet".to_owned() } else { format!("cluster {found:032x}") };
    let message = format!(
        "the node at {address} belongs to {found}, not to cluster {expected:032x}; correct the address, \
         or give each cluster its own `cluster_cookie`"
    );
    Error::new(ErrorKind::InvalidConfig, message)
}

pub(super) fn wrong_node(found: u64, expected: u64, address: &str) -> Error {
    let message = format!(
        "node {found} answers at {address} where node {expected} was expected; the address was given to another node, \
         ask the cluster for the current one"
    );
    Error::new(ErrorKind::ClusterNotReady, message)
}

/// A hello in bytes: role, cluster, node, token, length of the address; the address follows.
pub(super) const FIXED_BYTES: usize = 1 + 16 + 8 + 8 + 2;

impl Hello {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        if !self.is_well_formed() {
            let message = format!(
                "node {} cannot introduce itself as {:?}: a node has an id other than 0, a client has 0, and an address \
                 is at most {} visible ASCII characters; correct the advertised address",
                self.node_id,
                self.address,
                limits::ADDRESS_BYTES_MAX
            );
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        out.push(self.role as u8);
        out.extend_from_slice(&self.cluster_id.to_le_bytes());
        out.extend_from_slice(&self.node_id.to_le_bytes());
        out.extend_from_slice(&self.token.to_le_bytes());
        out.extend_from_slice(&(self.address.len() as u16).to_le_bytes());
        out.extend_from_slice(self.address.as_bytes());
        Ok(())
    }

    /// Length of the address that follows, once it is known to be allowed.
    pub(super) fn address_bytes(fixed: &[u8; FIXED_BYTES]) -> Option<usize> {
        let bytes = u16::from_le_bytes([fixed[FIXED_BYTES - 2], fixed[FIXED_BYTES - 1]]) as usize;
        (bytes <= limits::ADDRESS_BYTES_MAX).then_some(bytes)
    }

    /// Reads what `encode` wrote; `None` when it is something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Hello> {
        let (fixed, address) = bytes.split_first_chunk::<FIXED_BYTES>()?;
        let role = match fixed[0] {
            1 => Role::Peer,
            2 => Role::Client,
            _ => return None,
        };
        let cluster_id = u128::from_le_bytes(fixed[1..17].try_into().ok()?);
        let node_id = u64::from_le_bytes(fixed[17..25].try_into().ok()?);
        let token = u64::from_le_bytes(fixed[25..33].try_into().ok()?);
        let is_whole = Hello::address_bytes(fixed) == Some(address.len());
        let address = String::from_utf8(address.to_vec()).ok()?;
        let hello = Hello { role, cluster_id, node_id, token, address };
        (is_whole && hello.is_well_formed()).then_some(hello)
    }

    /// A peer without an id could be taken for anybody, a client with one for a node; no token makes one a peer.
    fn is_well_formed(&self) -> bool {
        (self.role == Role::Peer) == (self.node_id != 0)
            && (self.role == Role::Client || self.token == 0)
            && self.address.len() <= limits::ADDRESS_BYTES_MAX
            && self.address.bytes().all(|byte| byte.is_ascii_graphic())
    }
}
