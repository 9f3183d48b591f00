//! MemoryFile: a file of a node that keeps nothing on disk.

use std::io;
use std::sync::{PoisonError, RwLock};

use super::files::StoredFile;

/// Memory is taken in such pieces, so that a growing file is never copied.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes in memory; gone with the last holder.
#[derive(Default)]
pub(super) struct MemoryFile {
    content: RwLock<Content>,
}

/// - Every block has `BLOCK_BYTES`; what lies behind `bytes` is zero.
#[derive(Default)]
struct Content {
    blocks: Vec<Box<[u8]>>,
    bytes: u64,
}

/// The parts of `offset..offset + count`: which block, from where in it, how many bytes.
fn pieces(offset: u64, count: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let block_bytes = BLOCK_BYTES as u64;
    let end = offset + count as u64;
    (offset / block_bytes..end.div_ceil(block_bytes)).map(move |block| {
        let from = offset.max(block * block_bytes);
        let until = end.min((block + 1) * block_bytes);
        (block as usize, (from % block_bytes) as usize, (until - from) as usize)
    })
}

impl StoredFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        let count = buffer.len().min(content.bytes.saturating_sub(offset) as usize);
        let mut rest = &mut buffer[..count];
        for (block, from, bytes) in pieces(offset, count) {
            let (now, later) = rest.split_at_mut(bytes);
            now.copy_from_slice(&content.blocks[block][from..from + bytes]);
            rest = later;
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let content = &mut *self.content.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset + bytes.len() as u64;
        let blocks = end.div_ceil(BLOCK_BYTES as u64) as usize;
        while content.blocks.len() < blocks {
            content.blocks.push(vec![0; BLOCK_BYTES].into_boxed_slice());
        }
        let mut rest = bytes;
        for (block, from, count) in pieces(offset, bytes.len()) {
            let (now, later) = rest.split_at(count);
            content.blocks[block][from..from + count].copy_from_slice(now);
            rest = later;
        }
        content.bytes = content.bytes.max(end);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.read().unwrap_or_else(PoisonError::into_inner).bytes)
    }
}
