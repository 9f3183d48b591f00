//! Disk: what the machine itself can do, measured in the same run as what is built on it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const APPEND_BYTES: usize = 256;
const FILE_BYTES: usize = 16 * 1024 * 1024;

/// Seconds that one bare append takes (write and fdatasync of 256 B into a zero-filled file): the median of a second.
pub fn bare_append_s(folder: &Path) -> f64 {
    let path = folder.join("bare");
    std::fs::write(&path, vec![0; FILE_BYTES]).expect("a file of zeros");
    let file = File::options().write(true).open(&path).expect("the file");
    file.sync_all().expect("it is on disk");
    let (start, block) = (Instant::now(), [7; APPEND_BYTES]);
    let mut times = Vec::new();
    while start.elapsed() < Duration::from_secs(1) {
        let offset = times.len() * APPEND_BYTES % FILE_BYTES;
        let before = Instant::now();
        file.write_all_at(&block, offset as u64).expect("a write");
        file.sync_data().expect("fdatasync");
        times.push(before.elapsed());
    }
    std::fs::remove_file(&path).expect("the file goes");
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
