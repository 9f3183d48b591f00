//! Process: memory, files and age of this process, as Linux tells them.

use std::fs;

/// Ticks a second in which Linux tells the times of a process, whatever its timer does: part of its interface to programs.
const TICKS_PER_S: f64 = 100.0;

/// What is known of this process. What the system does not tell is left out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) started_s: Option<f64>,
    pub(super) cpu_s: Option<f64>,
}

impl Process {
    pub(super) fn read() -> Process {
        let text = |path: &str| fs::read_to_string(path).ok();
        let times = text("/proc/self/stat").and_then(|stat| times_of(&stat));
        let booted_s = text("/proc/stat").and_then(|stat| number_after(&stat, "btime"));
        Process {
            resident_bytes: text("/proc/self/status")
                .and_then(|status| number_after(&status, "VmRSS:"))
                .map(|kib| kib * 1024),
            // One of them is the directory that is being read.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            started_s: times.zip(booted_s).map(|((_, started_s), booted_s)| booted_s as f64 + started_s),
            cpu_s: times.map(|(cpu_s, _)| cpu_s),
        }
    }
}

/// The number in the line that begins with this word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(word))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Time spent by the processor, and when the process began after the machine did, seconds. The name of the process, in brackets,
/// may hold anything.
fn times_of(stat: &str) -> Option<(f64, f64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14, 15 and 22 of the line, of which two come before the bracket closes.
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(((ticks(14)? + ticks(15)?) / TICKS_PER_S, ticks(22)? / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_holds_brackets_is_read_all_the_same() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 200 0";
        assert_eq!(times_of(stat), Some((3.0, 123.45)));
        assert_eq!(times_of("42 (a"), None);
        assert_eq!(number_after("Name:\tx\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234));
    }

    #[test]
    fn this_process_is_running_and_not_from_the_future() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 1024 * 1024, "{process:?}");
        assert!(process.open_files.unwrap() > 2, "{process:?}");
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..86_400.0 * 365.0).contains(&(now_s + 2.0 - process.started_s.unwrap())), "{process:?}");
    }
}
