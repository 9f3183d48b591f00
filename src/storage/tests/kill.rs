//! A process that writes real files is killed with -9 again and again: every entry that it had acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::storage::RealFiles;

const DIR_VARIABLE: &str = "CONCORD_TEST_KILL_DIR";
const ROUNDS: u64 = 12;

fn open_real(path: &Path) -> Log {
    let dir = DataDir::open(path, Arc::new(RealFiles), || OWNER).unwrap();
    let options = LogOptions { segment_bytes: 256 * 1024, cache_bytes: 10_000, ..LogOptions::default() };
    Log::open(&dir, options).unwrap()
}

fn sized(index: u64) -> LogEntry {
    entry(1, index, &vec![index as u8; (index * 37 % 3000) as usize])
}

/// Not a test of its own: what `entries_survive_kill_9` runs as the process to be killed.
#[test]
fn as_the_killed_process() {
    let Some(path) = std::env::var_os(DIR_VARIABLE) else { return };
    let log = open_real(Path::new(&path));
    let first = log.last().map_or(0, |last| last.index + 1);
    let mut answers = std::collections::VecDeque::new();
    for index in first.. {
        let (done, answer) = done();
        log.append(vec![sized(index)], done);
        answers.push_back((index, answer));
        if index % 500 == 499 {
            log.purge(at(1, index - 400), Box::new(|_| ()));
        }
        if answers.len() > 20 {
            let (index, answer) = answers.pop_front().unwrap();
            wait(&answer).unwrap();
            // One write for a line: it is there whole or not at all.
            std::io::stdout().write_all(format!("acknowledged {index}\n").as_bytes()).unwrap();
        }
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::tests::kill::as_the_killed_process", "--nocapture"])
        .env(DIR_VARIABLE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn entries_survive_kill_9() {
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = None;
    for round in 0..ROUNDS {
        let mut child = start(temp.path());
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60 + round * 13));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in output.lines().map_while(Result::ok) {
            if let Some(index) = line.split("acknowledged ").nth(1).and_then(|index| index.parse::<u64>().ok()) {
                acknowledged = Some(index);
            }
        }
        killer.join().unwrap();
        let log = open_real(temp.path());
        assert!(log.last().map(|last| last.index) >= acknowledged, "{acknowledged:?} was acknowledged");
        let first = log.purged().map_or(0, |purged| purged.index + 1);
        let mut next = first;
        for found in all(&log) {
            assert_eq!(found, sized(next));
            next += 1;
        }
        assert_eq!(log.last().map_or(0, |last| last.index + 1), next);
    }
    assert!(acknowledged > Some(100), "the writer came to {acknowledged:?} only");
}
