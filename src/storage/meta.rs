//! Meta: the file that says whose data a directory holds.

use std::path::Path;

use super::data_dir::{Identity, check_format};
use super::files::Files;
use super::formation::FORMATION;
use super::{damaged, io_failed, small_file};
use crate::error::Result;

const META_MAGIC: &[u8; 8] = b"CONCMETA";
const META_FORMAT: u32 = 1;
const META_BYTES: usize = 64;
pub(super) const META: &str = "META";

/// What the META file says.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub identity: Identity,
    /// Whether a log was ever made here.
    pub had_log: bool,
}

/// `None` in a new directory. Removes what an interrupted replacement left behind.
pub(super) fn read_meta(path: &Path, files: &dyn Files) -> Result<Option<Meta>> {
    let names = files.list(path).map_err(|error| io_failed("list", path, error))?;
    let meta = path.join(META);
    for name in [META, FORMATION].map(small_file::temp_name).iter().filter(|&name| names.contains(name)) {
        let temp = path.join(name);
        files.remove(&temp).map_err(|error| io_failed("remove", &temp, error))?;
    }
    if !names.iter().any(|name| name == META) {
        if names.iter().any(|name| name == FORMATION) {
            return Err(damaged(&meta, 0, format!("it is missing, yet there is {FORMATION}")));
        }
        for name in ["log", "snapshot"] {
            let dir = path.join(name);
            if names.iter().any(|found| found == name) && !files.list(&dir).is_ok_and(|inside| inside.is_empty()) {
                return Err(damaged(&meta, 0, format!("it is missing, yet {} holds files", dir.display())));
            }
        }
        return Ok(None);
    }
    let bytes = small_file::read(files, &meta, META_BYTES).map_err(|error| io_failed("read", &meta, error))?;
    decode_meta(&bytes.unwrap_or_default(), &meta).map(Some)
}

/// Replaces the file in one step.
pub(super) fn write_meta(path: &Path, files: &dyn Files, content: Meta) -> Result<Meta> {
    let written = small_file::replace(files, path, META, &encode_meta(content));
    written.map_err(|error| io_failed("write", &path.join(META), error))?;
    Ok(content)
}

/// Magic (8), format (4), zero (4), cluster (16), node (8), had a log (1), zero (19), CRC-32 of all before it (4).
fn encode_meta(meta: Meta) -> [u8; META_BYTES] {
    let mut bytes = [0; META_BYTES];
    bytes[..8].copy_from_slice(META_MAGIC);
    bytes[8..12].copy_from_slice(&META_FORMAT.to_le_bytes());
    bytes[16..32].copy_from_slice(&meta.identity.cluster_id.to_le_bytes());
    bytes[32..40].copy_from_slice(&meta.identity.node_id.to_le_bytes());
    bytes[40] = u8::from(meta.had_log);
    let crc = crc32fast::hash(&bytes[..META_BYTES - 4]);
    bytes[META_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode_meta(bytes: &[u8], path: &Path) -> Result<Meta> {
    let Ok(bytes) = <&[u8; META_BYTES]>::try_from(bytes) else {
        return Err(damaged(path, 0, format!("it has not {META_BYTES} bytes")));
    };
    let (body, crc) = bytes.split_last_chunk::<4>().expect("META_BYTES is more than 4");
    if &bytes[..8] != META_MAGIC {
        return Err(damaged(path, 0, "it is not a META file"));
    }
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(damaged(path, 0, "wrong checksum"));
    }
    let format = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    check_format(format, META_FORMAT, path)?;
    let identity = Identity {
        cluster_id: u128::from_le_bytes(bytes[16..32].try_into().expect("sixteen bytes")),
        node_id: u64::from_le_bytes(bytes[32..40].try_into().expect("eight bytes")),
    };
    Ok(Meta { identity, had_log: bytes[40] == 1 })
}
