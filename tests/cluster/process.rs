//! Process: one `concord serve` as its parent sees it: what it says, and what is done to it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A running process. It is killed when dropped.
pub struct Process {
    child: Child,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Said {
    fn listen_to(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let said = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                said.lines.lock().expect("no panic while it is held").push(line);
                said.changed.notify_all();
            }
        });
    }
}

impl Process {
    /// Starts a program that prints one JSON object a line.
    pub fn start(mut command: Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let said = Arc::new(Said::default());
        said.listen_to(child.stdout.take().expect("a pipe"));
        said.listen_to(child.stderr.take().expect("a pipe"));
        Process { child, said }
    }

    /// The line that tells of this event, as soon as it is there.
    pub fn wait_for(&self, event: &str, timeout: Duration) -> Result<serde_json::Value, String> {
        let deadline = Instant::now() + timeout;
        let mut lines = self.said.lines.lock().expect("no panic while it is held");
        loop {
            let told = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            if let Some(line) = told.into_iter().find(|line| line["event"] == event) {
                return Ok(line);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no `{event}` within {timeout:?}; it said:\n{}", lines.join("\n")));
            }
            lines = self.said.changed.wait_timeout(lines, left).expect("no panic while it is held").0;
        }
    }

    /// Everything that it has said.
    pub fn log(&self) -> String {
        self.said.lines.lock().expect("no panic while it is held").join("\n")
    }

    /// Kills it with -9 and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it ends");
    }

    /// Sends a signal by its name (`STOP`, `CONT`, `TERM`).
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(status.is_ok_and(|status| status.success()), "SIG{name} was not sent");
    }

    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("it has not ended within {timeout:?}; it said:\n{}", self.log()))
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self, timeout: Duration) -> Result<ExitStatus, String> {
        self.signal("TERM");
        self.wait_for("stopped", timeout)?;
        self.child.wait().map_err(|error| error.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was stopped by a signal dies of SIGKILL as well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
