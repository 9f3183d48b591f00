//! Child: the process that writes until it is killed, and its parent's side.
//!
//! The child prints `@ready n n ...` once it has opened and verified the store, then `@ack lane n` after each
//! acknowledged write; what it has printed survives it in the pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use concord_kv::{Concord, ErrorKind};

use crate::lanes::{Counts, LANES, perform, verify};

const DIR: &str = "CONCORD_CRASH_CHILD_DIR";
const ACKNOWLEDGED: &str = "CONCORD_CRASH_CHILD_ACKNOWLEDGED";
const DURABILITY: &str = "CONCORD_CRASH_CHILD_DURABILITY";

/// A running child, as its parent sees it.
pub struct Child {
    process: std::process::Child,
    reader: JoinHandle<Result<Counts, String>>,
    ready: Receiver<()>,
}

impl Child {
    /// Starts this very program again as a writer on `dir`.
    pub fn start(dir: &Path, acknowledged: &Counts, durability: &str) -> Child {
        let counts: Vec<String> = acknowledged.iter().map(u64::to_string).collect();
        let mut process = Command::new(std::env::current_exe().expect("the path of this program"))
            .args(["--ignored", "--exact", "child_process", "--nocapture"])
            .env(DIR, dir)
            .env(ACKNOWLEDGED, counts.join(" "))
            .env(DURABILITY, durability)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child process starts");
        let stdout = process.stdout.take().expect("a pipe");
        let (tell_ready, ready) = channel();
        let mut counts = *acknowledged;
        let reader = std::thread::spawn(move || {
            let mut fault = None;
            for line in BufReader::new(stdout).split(b'\n') {
                let line = String::from_utf8_lossy(&line.map_err(|error| error.to_string())?).into_owned();
                if let Some(found) = line.strip_prefix("@ready ") {
                    counts = read_counts(found);
                    tell_ready.send(()).ok();
                } else if let Some(ack) = line.strip_prefix("@ack ") {
                    let (lane, n) = ack.split_once(' ').expect("lane and number");
                    counts[lane.parse::<usize>().expect("a lane")] = n.parse().expect("a number");
                } else if let Some(message) = line.strip_prefix("@fault ") {
                    fault = Some(message.to_owned());
                }
            }
            fault.map_or(Ok(counts), Err)
        });
        Child { process, reader, ready }
    }

    /// Returns when the child has begun to write, or has died.
    pub fn wait_until_ready(&mut self) {
        self.ready.recv_timeout(Duration::from_secs(60)).ok();
    }

    /// Kills it with -9 and tells what it had acknowledged by then, or what it found wrong.
    pub fn kill(mut self) -> Result<Counts, String> {
        self.process.kill().expect("SIGKILL");
        self.process.wait().expect("the child ends");
        self.reader.join().expect("the reader ends with the pipe")
    }
}

fn read_counts(text: &str) -> Counts {
    let mut counts = [0; LANES];
    for (count, word) in counts.iter_mut().zip(text.split_whitespace()) {
        *count = word.parse().expect("a number");
    }
    counts
}

/// The child's side.
pub fn write_until_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let acknowledged = read_counts(&std::env::var(ACKNOWLEDGED).expect("counts"));
    let mut config = crate::config(Path::new(&dir));
    config.durability =
        concord_kv::parse_durability(&std::env::var(DURABILITY).expect("durability")).expect("durability");
    let db = match Concord::open(config) {
        Ok(db) => db,
        Err(error) => return say(&format!("@fault it does not open after a crash: {error}")),
    };
    let found = match verify(&db, &acknowledged, 0) {
        Ok(found) => found,
        Err(fault) => return say(&format!("@fault {fault}")),
    };
    let counts: Vec<String> = found.iter().map(u64::to_string).collect();
    say(&format!("@ready {}", counts.join(" ")));
    std::thread::scope(|scope| {
        for (lane, found) in found.into_iter().enumerate() {
            let db = &db;
            scope.spawn(move || {
                for n in found + 1.. {
                    match perform(db, lane, n) {
                        Ok(()) => say(&format!("@ack {lane} {n}")),
                        // No answer within seconds on an overloaded machine: the lane stops, its write is in flight.
                        Err(error) if error.kind() == ErrorKind::UnknownOutcome => return,
                        Err(error) => return say(&format!("@fault lane {lane} write {n}: {error}")),
                    }
                }
            });
        }
    });
    std::thread::sleep(Duration::from_secs(60));
}

/// One line, one system call: a kill never leaves half of it.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).expect("the parent reads");
    stdout.flush().expect("the parent reads");
}
