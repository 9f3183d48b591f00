//! Load: clients that call again and again and write down what they asked and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use concord_kv::{Concord, Consistency};

use crate::caller::{outcome, perform};
use crate::dice::Dice;
use crate::fleet::Fleet;
use crate::linearizability::{Action, Answer, Expected, Operation, Outcome, Verdict, check};

pub const CLIENTS: usize = 8;
const KEYS: u64 = 6;
/// After that long the clients turn to fresh keys, so that no history gets too long to be judged.
const GENERATION: Duration = Duration::from_secs(5);
/// Client number of the story itself.
const NARRATOR: usize = 99;

/// What all clients of a story have seen so far.
#[derive(Clone)]
pub struct History {
    start: Instant,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    operations: Vec<Operation>,
    errors: BTreeMap<&'static str, u64>,
    slowest_write: Duration,
}

impl History {
    pub fn new() -> History {
        History { start: Instant::now(), calls: Arc::default() }
    }

    /// Performs an action and writes down what came of it.
    pub fn call(
        &self,
        client: usize,
        store: &Concord,
        key: &str,
        action: Action,
        level: Consistency,
    ) -> concord_kv::Result<Answer> {
        let invoked = self.now();
        let answer = perform(store, key, action, level);
        let returned = self.now();
        let outcome = outcome(&answer);
        let mut calls = self.calls.lock().expect("no panic while it is held");
        calls.operations.push(Operation { client, key: key.to_owned(), action, invoked, returned, outcome });
        if let (Err(error), Outcome::Fail | Outcome::Unknown) = (&answer, outcome) {
            *calls.errors.entry(error.kind().name()).or_default() += 1;
        }
        if !matches!(action, Action::Read | Action::EventualRead) {
            calls.slowest_write = calls.slowest_write.max(Duration::from_nanos(returned - invoked));
        }
        answer
    }

    /// The same for the story itself, which reads `:strong`.
    pub fn narrate(&self, store: &Concord, key: &str, action: Action) -> concord_kv::Result<Answer> {
        self.call(NARRATOR, store, key, action, Consistency::Strong)
    }

    /// Reads every key once more, so that what was acknowledged last is judged too, and judges everything. Tells how
    /// many calls failed, by the kind of their error.
    #[track_caller]
    pub fn judge(&self, story: &str, store: &Concord) -> BTreeMap<&'static str, u64> {
        let keys = self.keys();
        for key in &keys {
            self.narrate(store, key, Action::Read).unwrap_or_else(|error| panic!("{story}: reading {key}: {error}"));
        }
        let verdict = self.verdict();
        let calls = self.calls.lock().expect("no panic while it is held");
        let unknown = calls.operations.iter().filter(|operation| operation.outcome == Outcome::Unknown).count();
        println!(
            "{story}: {} operations on {} keys, {unknown} of unknown outcome, errors {:?}, slowest write {:?}",
            calls.operations.len(),
            keys.len(),
            calls.errors,
            calls.slowest_write
        );
        assert!(verdict.is_linearizable(), "{story}: {verdict}");
        calls.errors.clone()
    }

    /// Every key that was called.
    pub fn keys(&self) -> BTreeSet<String> {
        let calls = self.calls.lock().expect("no panic while it is held");
        calls.operations.iter().map(|operation| operation.key.clone()).collect()
    }

    /// What the checker says of what is written down so far.
    pub fn verdict(&self) -> Verdict {
        check(&self.calls.lock().expect("no panic while it is held").operations)
    }

    /// The longest that a write took.
    pub fn slowest_write(&self) -> Duration {
        self.calls.lock().expect("no panic while it is held").slowest_write
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Clients at work. They stop when this is dropped or stopped.
pub struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts clients of a fleet, each with a connection of its own that starts from another member.
    pub fn start(fleet: &Fleet, history: &History, dice: &mut Dice) -> Load {
        let members = fleet.all().len();
        let stores =
            (0..CLIENTS).map(|client| fleet.connect(fleet.all().map(|node| (node + client) % members))).collect();
        Load::on(stores, history, dice)
    }

    /// Starts a client on each of these.
    pub fn on(stores: Vec<Concord>, history: &History, dice: &mut Dice) -> Load {
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |(number, store)| {
            let mut client = Client { number, dice: Dice(dice.below(u64::MAX)), written: 0, seen: None };
            let (history, is_over): (History, Arc<AtomicBool>) = (history.clone(), is_over.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    client.call(&history, &store);
                }
            })
        };
        let clients = stores.into_iter().enumerate().map(client).collect();
        Load { is_over, clients }
    }

    /// Lets each client finish its call.
    #[track_caller]
    pub fn stop(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client does not panic");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

struct Client {
    number: usize,
    dice: Dice,
    written: i64,
    /// Value and revision of the record that it read last.
    seen: Option<(i64, u64)>,
}

impl Client {
    fn call(&mut self, history: &History, store: &Concord) {
        let generation = history.start.elapsed().as_secs() / GENERATION.as_secs();
        let slot = self.dice.below(KEYS);
        let (key, action) = match slot {
            0 => (format!("counter:{generation}"), self.count()),
            _ => (format!("register{slot}:{generation}"), self.act()),
        };
        let level = if self.dice.below(3) == 0 { Consistency::Strong } else { Consistency::Leader };
        if let Ok(Answer::Found { value, revision: Some(revision) }) =
            history.call(self.number, store, &key, action, level)
        {
            self.seen = Some((value, revision));
        }
        // A pace that leaves the machine to the members.
        std::thread::sleep(Duration::from_micros(500 + self.dice.below(4_000)));
    }

    fn count(&mut self) -> Action {
        if self.dice.below(3) == 0 { Action::Read } else { Action::Increment(1) }
    }

    fn act(&mut self) -> Action {
        self.written += 1;
        let value = self.number as i64 * 1_000_000_000 + self.written;
        let (seen, revision) = self.seen.unwrap_or((0, 1));
        match self.dice.below(20) {
            0..=6 => Action::Write(value),
            7..=12 => Action::Read,
            13 => Action::EventualRead,
            14 => Action::Delete,
            15 => Action::PutNew(value),
            16 => Action::PutIf { expected: Expected::Value(seen), value },
            17 => Action::DeleteIf(Expected::Value(seen)),
            _ => Action::PutIf { expected: Expected::Revision(revision), value },
        }
    }
}
