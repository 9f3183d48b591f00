//! Search: looks for an order of the calls on one key that explains every answer.
//!
//! What keeps it short, beside the memory of configurations that lead nowhere:
//! - a call that observes what is there and changes nothing is taken at once: moving it to the front changes no other
//!   answer, so there is nothing to choose;
//! - a call of unknown outcome is tried last, must take effect, must lead to what an answer tells, and is not followed by
//!   one that overwrites it unseen: leaving it out explains as much;
//! - of equal calls of unknown outcome the earliest is used first, and a configuration that used more of them than a
//!   known one with the same register is no better than that.

use std::collections::HashMap;

use super::bits::Bits;
use super::history::{Action, Answer, Operation, Outcome};
use super::register::Register;
use super::wants::Wants;

/// The calls on one key that are judged.
pub struct Calls<'a> {
    /// Those with an answer, by the time of the call.
    pub answered: Vec<Answered<'a>>,
    /// Those that may have happened, by the time of the call.
    open: Vec<Open>,
}

/// A call with an answer.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// As the client recorded it.
    pub operation: &'a Operation,
    answer: Answer,
}

/// A call of unknown outcome.
struct Open {
    invoked: u64,
    action: Action,
    /// The call before this one that asked for the same.
    twin: Option<usize>,
}

impl<'a> Calls<'a> {
    /// All calls of a history of one key.
    pub fn of(operations: &[&'a Operation]) -> Calls<'a> {
        Calls::until(operations, u64::MAX)
    }

    /// The history as it stood at `end`: what had no answer then is of unknown outcome, what was not called is not there.
    pub fn until(operations: &[&'a Operation], end: u64) -> Calls<'a> {
        let mut answered = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut sorted: Vec<&'a Operation> =
            operations.iter().copied().filter(|operation| operation.invoked <= end).collect();
        sorted.sort_by_key(|operation| operation.invoked);
        for operation in sorted {
            let action = operation.action;
            match operation.outcome {
                _ if action == Action::EventualRead => {}
                Outcome::Fail => {}
                Outcome::Ok(answer) if operation.returned <= end => answered.push(Answered { operation, answer }),
                _ if action == Action::Read => {}
                Outcome::Ok(_) | Outcome::Unknown => {
                    let twin = open.iter().rposition(|earlier| earlier.action == action);
                    open.push(Open { invoked: operation.invoked, action, twin });
                }
            }
        }
        Calls { answered, open }
    }
}

/// The end of a search.
pub enum Found {
    /// There is an order.
    Order,
    /// There is none.
    NoOrder {
        /// What the register can hold where no order leads on, for the orders that lead furthest.
        registers: Vec<Register>,
    },
    /// It was given up.
    TooMuch {
        /// After so many steps.
        steps: u64,
    },
}

/// Looks for an order with at most `steps_max` steps.
pub fn search(calls: &Calls<'_>, steps_max: u64) -> Found {
    let mut search = Search::new(calls);
    let mut stack = vec![Frame { undo: None, choices: search.choices(), next: 0 }];
    let mut steps = 0;
    while let Some(frame) = stack.last_mut() {
        if search.remaining == 0 {
            return Found::Order;
        }
        let Some((call, register)) = frame.choices.get(frame.next).copied() else {
            if let Some(undo) = stack.pop().and_then(|frame| frame.undo) {
                search.undo(undo);
            }
            continue;
        };
        frame.next += 1;
        steps += 1;
        if steps > steps_max {
            return Found::TooMuch { steps: steps_max };
        }
        let undo = search.take(call, register);
        if search.is_new() {
            stack.push(Frame { undo: Some(undo), choices: search.choices(), next: 0 });
        } else {
            search.undo(undo);
        }
    }
    Found::NoOrder { registers: search.furthest }
}

/// One step of the order that is being tried.
struct Frame {
    undo: Option<Undo>,
    choices: Vec<(Call, Register)>,
    next: usize,
}

#[derive(Clone, Copy)]
enum Call {
    Answered(usize),
    Open(usize),
}

struct Undo {
    call: Call,
    register: Register,
    is_unseen: bool,
}

/// Where in the tree of orders the search stands.
#[derive(PartialEq, Eq, Hash)]
struct Configuration {
    /// The first call that is not in the order, and from its word on those that are.
    first: usize,
    taken: Box<[u64]>,
    register: Register,
    is_unseen: bool,
}

struct Search<'a> {
    calls: &'a Calls<'a>,
    /// A ring through the answered calls that are not in the order yet; the last index is its head.
    next: Vec<usize>,
    previous: Vec<usize>,
    remaining: usize,
    taken: Bits,
    used: Bits,
    register: Register,
    /// Whether the last call in the order is an open one.
    is_unseen: bool,
    /// For each configuration the smallest sets of open calls that led to it.
    known: HashMap<Configuration, Vec<Bits>>,
    remaining_min: usize,
    furthest: Vec<Register>,
}

impl<'a> Search<'a> {
    fn new(calls: &'a Calls<'a>) -> Search<'a> {
        let head = calls.answered.len();
        Search {
            calls,
            next: (1..=head).chain([0]).collect(),
            previous: std::iter::once(head).chain(0..head).collect(),
            remaining: head,
            taken: Bits::new(head),
            used: Bits::new(calls.open.len()),
            register: Register::MISSING,
            is_unseen: false,
            known: HashMap::new(),
            remaining_min: head,
            furthest: vec![Register::MISSING],
        }
    }

    /// The calls that can come next, each with what the register holds after it; the last resort last.
    fn choices(&self) -> Vec<(Call, Register)> {
        let mut choices = Vec::new();
        let mut wants = Wants::default();
        // A call cannot come after one that was not even invoked when it returned.
        let mut returned_min = u64::MAX;
        let mut n = self.next[self.calls.answered.len()];
        while let Some(Answered { operation, answer }) = self.calls.answered.get(n).copied() {
            if operation.invoked > returned_min {
                break;
            }
            returned_min = returned_min.min(operation.returned);
            match self.register.step(operation.action, Some(answer)) {
                Some(after) if answer.is_observation() && after == self.register => {
                    return vec![(Call::Answered(n), after)];
                }
                Some(_) if self.is_unseen && self.is_overwritten_by(operation.action) => {}
                Some(after) => {
                    if operation.action == Action::Delete {
                        wants.add_answered(operation.action, answer);
                    }
                    choices.push((Call::Answered(n), after));
                }
                // Its revision is too low, and revisions only grow.
                None if matches!(operation.action, Action::Write(_)) => {}
                None => wants.add_answered(operation.action, answer),
            }
            n = self.next[n];
        }
        self.add_open(returned_min, wants, &mut choices);
        choices
    }

    /// Whether the action gives the same whatever is there, and tells nothing of it. An answer to a delete may: one of an older
    /// revision tells that the key was missing already.
    fn is_overwritten_by(&self, action: Action) -> bool {
        match action {
            Action::Delete => self.register.value().is_some(),
            action => Register::overwrites(action),
        }
    }

    /// The open calls that were invoked by then and may lead to what is wanted.
    fn add_open(&self, invoked_max: u64, mut wants: Wants, choices: &mut Vec<(Call, Register)>) {
        let invoked = self.calls.open.partition_point(|open| open.invoked <= invoked_max);
        let left = || self.calls.open[..invoked].iter().enumerate().filter(|(n, _)| !self.used.contains(*n));
        wants.add_open(left().map(|(_, open)| &open.action));
        for (n, open) in left() {
            let twin_is_left = open.twin.is_some_and(|twin| !self.used.contains(twin));
            if twin_is_left || (self.is_unseen && Register::overwrites(open.action)) {
                continue;
            }
            let after = self.register.step(open.action, None);
            let helps = |after: &Register| *after != self.register && wants.holds(after.value());
            if let Some(after) = after.filter(helps) {
                choices.push((Call::Open(n), after));
            }
        }
    }

    fn take(&mut self, call: Call, register: Register) -> Undo {
        let undo = Undo { call, register: self.register, is_unseen: self.is_unseen };
        match call {
            Call::Answered(n) => {
                self.taken.insert(n);
                self.next[self.previous[n]] = self.next[n];
                self.previous[self.next[n]] = self.previous[n];
                self.remaining -= 1;
                self.is_unseen = false;
            }
            Call::Open(n) => {
                self.used.insert(n);
                self.is_unseen = true;
            }
        }
        self.register = register;
        if self.remaining < self.remaining_min {
            self.remaining_min = self.remaining;
            self.furthest.clear();
        }
        if self.remaining == self.remaining_min && !self.furthest.contains(&register) {
            self.furthest.push(register);
        }
        undo
    }

    fn undo(&mut self, undo: Undo) {
        match undo.call {
            Call::Answered(n) => {
                self.taken.remove(n);
                self.next[self.previous[n]] = n;
                self.previous[self.next[n]] = n;
                self.remaining += 1;
            }
            Call::Open(n) => self.used.remove(n),
        }
        self.register = undo.register;
        self.is_unseen = undo.is_unseen;
    }

    /// Whether this configuration may lead further than those that the search has been in.
    fn is_new(&mut self) -> bool {
        let first = self.next[self.calls.answered.len()];
        let taken = self.taken.words_from(first);
        let configuration = Configuration { first, taken, register: self.register, is_unseen: self.is_unseen };
        let sets = self.known.entry(configuration).or_default();
        if sets.iter().any(|known| known.is_subset(&self.used)) {
            return false;
        }
        sets.retain(|known| !self.used.is_subset(known));
        sets.push(self.used.clone());
        true
    }
}
