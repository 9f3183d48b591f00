//! Identity: names for a new cluster and its first node, from the operating system's randomness.

use crate::error::{Error, ErrorKind, Result};
use crate::storage::Identity;

/// Node ids stay positive in languages whose integers are signed, and are never 0.
pub(crate) fn new_identity() -> Result<Identity> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Io, format!("the system gives no randomness: {error}")))?;
    let (cluster_id, node_id) = bytes.split_at(16);
    let number = |bytes: &[u8]| bytes.iter().fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
    Ok(Identity { cluster_id: number(cluster_id), node_id: (number(node_id) as u64 >> 1) | 1 })
}
