//! Snapshots: files that hold the whole state at one log position.
//!
//! ```text
//! magic 8 | format 4 | zero 4 | cluster 16 | node 8 | CRC 4 | zero 4      of the whole: the file's head
//! kind 1 | zero 3 | body length 4 | CRC 4 | body                        and so on: header, blocks, end
//! ```
//! - A part's CRC covers its number, kind, length and body: parts cannot be swapped, left out or repeated.
//! - The end part holds the number of blocks and bytes; nothing may follow it.
//! - A snapshot has its final name only when it is whole and durable.

use std::path::Path;

use super::damaged;
use super::data_dir::{Identity, check_format};
use crate::error::Result;

mod draft;
mod file;
mod receiver;
mod store;

pub(crate) use file::SnapshotFile;
#[cfg(test)]
pub(super) use file::SnapshotReader;
pub(crate) use receiver::SnapshotReceiver;
pub(crate) use store::SnapshotStore;

/// How far the snapshot with this header reaches: the index of the last entry in it.
pub(crate) type Reach = fn(header: &[u8]) -> Result<u64>;

const MAGIC: &[u8; 8] = b"CONCSNAP";
const FORMAT: u32 = 1;
const HEAD_BYTES: u64 = 48;
const PART_HEAD_BYTES: usize = 12;

const HEADER: u8 = 1;
const BLOCK: u8 = 2;
const END: u8 = 3;

fn crc_of_part(number: u64, head: &[u8; PART_HEAD_BYTES], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&head[..8]);
    hasher.update(body);
    hasher.finalize()
}

fn encode_head(identity: Identity) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[16..32].copy_from_slice(&identity.cluster_id.to_le_bytes());
    head[32..40].copy_from_slice(&identity.node_id.to_le_bytes());
    let crc = crc32fast::hash(&head[..40]);
    head[40..44].copy_from_slice(&crc.to_le_bytes());
    head
}

/// The cluster that a snapshot belongs to. Which node wrote it does not matter: they travel.
fn decode_head(head: &[u8], path: &Path) -> Result<u128> {
    if head.len() != HEAD_BYTES as usize || &head[..8] != MAGIC {
        return Err(damaged(path, 0, "it is not a snapshot"));
    }
    if crc32fast::hash(&head[..40]).to_le_bytes() != head[40..44] || head[44..] != [0; 4] {
        return Err(damaged(path, 0, "wrong checksum of the head"));
    }
    check_format(u32::from_le_bytes(head[8..12].try_into().expect("four bytes")), FORMAT, path)?;
    Ok(u128::from_le_bytes(head[16..32].try_into().expect("sixteen bytes")))
}
