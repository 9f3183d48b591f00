//! Small files: each is written, replaced and read as a whole.

use std::io;
use std::path::Path;

use super::files::Files;

/// Where a file lies until it is whole and durable.
pub(super) fn temp_name(name: &str) -> String {
    format!("{name}.tmp")
}

/// Replaces the file in one step: after a crash at any point there is the old one or the new one.
pub(super) fn replace(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temp = dir.join(temp_name(name));
    let file = match files.create(&temp) {
        // What an attempt that failed has left.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.remove(&temp)?;
            files.create(&temp)?
        }
        created => created?,
    };
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    files.rename(&temp, &dir.join(name))?;
    files.sync_dir(dir)
}

/// Reads the file, `None` if there is none; of one that is longer than `bytes_max`, one byte more than that.
pub(super) fn read(files: &dyn Files, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; bytes_max + 1];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}
