//! Torn: the last write of a crashed log is incomplete, or its middle is damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use concord_kv::{Concord, ErrorKind};

use crate::child::Child;
use crate::lanes::{Counts, LANES, verify};
use crate::{Dice, check, config, scratch};

/// Where the frames of a segment begin, and what each begins with; the layout is frozen with format 1.
const HEAD_BYTES: usize = 256;
const FRAME_HEAD_BYTES: usize = 24;
const FRAME_MAGIC: u8 = 0xC7;

/// A store that was killed while it wrote.
fn crashed(dir: &Path, acknowledged: &Counts) -> Counts {
    let mut child = Child::start(dir, acknowledged, "always");
    child.wait_until_ready();
    std::thread::sleep(Duration::from_millis(60));
    child.kill().unwrap_or_else(|fault| panic!("{fault}"))
}

/// The segment that was written last: the one with the highest sequence number.
fn last_segment(dir: &Path) -> PathBuf {
    let segments = fs::read_dir(dir.join("log")).expect("the log").map(|entry| entry.expect("an entry").path());
    segments.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().expect("a segment")
}

/// Where each frame begins, and at the end where the next one would.
fn frames(segment: &[u8]) -> Vec<usize> {
    let mut at = HEAD_BYTES;
    let mut starts = vec![at];
    while at + FRAME_HEAD_BYTES <= segment.len() && segment[at] == FRAME_MAGIC {
        let body = u32::from_le_bytes(segment[at + 4..at + 8].try_into().expect("four bytes")) as usize;
        at = (at + FRAME_HEAD_BYTES + body).next_multiple_of(8);
        starts.push(at);
    }
    starts
}

/// A write that was never acknowledged has reached the disk in part, in every way that one can.
#[test]
fn a_torn_last_write_is_repaired() {
    let mut dice = Dice::from_environment("torn tail");
    let dir = scratch();
    let mut acknowledged = [0; LANES];
    for round in 0..12 {
        acknowledged = crashed(dir.path(), &acknowledged);
        let path = last_segment(dir.path());
        let mut segment = fs::read(&path).expect("the segment");
        let end = *frames(&segment).last().expect("an end");
        let room = segment.len().saturating_sub(end);
        match round % 4 {
            // Noise instead of the frame.
            0 => segment[end..].iter_mut().take(3000).for_each(|byte| *byte = dice.below(256) as u8),
            // The head of a frame is there, its body is not.
            1 if room > 100 => {
                segment[end] = FRAME_MAGIC;
                segment[end + 4..end + 8].copy_from_slice(&50_000u32.to_le_bytes());
            }
            // A length that no file could hold.
            2 if room > 100 => segment[end..end + 8].copy_from_slice(&[FRAME_MAGIC, 1, 0, 0, 255, 255, 255, 255]),
            // The file ends in the middle of nothing.
            _ => segment.truncate(end + dice.below(200) as usize),
        }
        fs::write(&path, &segment).expect("the torn segment");
        acknowledged = check(dir.path(), &acknowledged);
    }
    println!("torn tail: 12 torn logs repaired, {} acknowledged writes, none lost", acknowledged.iter().sum::<u64>());
}

/// Even when the tear takes a frame that was whole, what is left is a state that once was: no write is half there.
#[test]
fn tearing_the_last_frame_takes_whole_writes() {
    let mut dice = Dice::from_environment("torn frame");
    let dir = scratch();
    let mut acknowledged = [0; LANES];
    for _ in 0..6 {
        acknowledged = crashed(dir.path(), &acknowledged);
        let path = last_segment(dir.path());
        let mut segment = fs::read(&path).expect("the segment");
        let starts = frames(&segment);
        let [.., start, end] = starts[..] else { continue };
        let cut = start + 1 + dice.below((end - start - 1) as u64) as usize;
        segment[cut..].fill(0);
        fs::write(&path, &segment).expect("the torn segment");
        let db = Concord::open(config(dir.path())).unwrap_or_else(|error| panic!("a torn tail is repaired: {error}"));
        acknowledged = verify(&db, &acknowledged, 2).unwrap_or_else(|fault| panic!("{fault}"));
        db.close().expect("a close never fails");
    }
}

/// Damage before the end is no torn write: acknowledged writes stand behind it. The store refuses to open, says
/// where, and leaves every file as it was.
#[test]
fn damage_in_the_middle_is_refused_and_nothing_is_changed() {
    let mut dice = Dice::from_environment("damage");
    let dir = scratch();
    let acknowledged = crashed(dir.path(), &[0; LANES]);
    let path = last_segment(dir.path());
    let whole = fs::read(&path).expect("the segment");
    let starts = frames(&whole);
    assert!(starts.len() > 20, "too few frames to damage one in the middle");
    for _ in 0..10 {
        let frame = starts[dice.below(starts.len() as u64 / 2) as usize];
        let mut damaged = whole.clone();
        damaged[frame + dice.below(FRAME_HEAD_BYTES as u64) as usize] ^= 1 << dice.below(8);
        fs::write(&path, &damaged).expect("the damaged segment");
        let Err(error) = Concord::open(config(dir.path())) else { panic!("damage at offset {frame} was not seen") };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(error.message().contains(&*name), "the message names no file: {error}");
        assert!(error.message().contains("offset"), "the message names no offset: {error}");
        assert!(fs::read(&path).expect("the segment") == damaged, "the damaged file was changed");
    }
    fs::write(&path, &whole).expect("the whole segment");
    check(dir.path(), &acknowledged);
}
