//! Network: connections between simulated hosts, and everything that can happen to them.
//!
//! Like TCP a connection keeps the order of its bytes: a partition holds them back until it is over, unless the
//! connection breaks. Loss and repetition therefore hit whole frames, as a proxy or a retry would have it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::dice::Dice;
use super::stream::Frames;

/// Bytes that may be on their way in one direction.
const IN_FLIGHT_BYTES_MAX: usize = 1024 * 1024;
const PORT: &str = ":7400";

/// Where a host listens.
pub(super) fn address_of(host: usize) -> String {
    format!("10.0.0.{}{PORT}", host + 1)
}

fn host_of(address: &str) -> Option<usize> {
    let number: usize = address.strip_prefix("10.0.0.")?.strip_suffix(PORT)?.parse().ok()?;
    number.checked_sub(1)
}

/// What a direction between two hosts does to what is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) is_blocked: bool,
    /// On top of the usual delay, at most.
    pub(super) delay_ms_max: u64,
    /// Frames lost and frames repeated, of a thousand.
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

const HEALTHY: Link = Link { is_blocked: false, delay_ms_max: 0, lost: 0, repeated: 0 };

/// All connections of a simulation; clones are the same network.
#[derive(Clone)]
pub(super) struct Network {
    state: Arc<Mutex<State>>,
}

struct State {
    now_ms: u64,
    dice: Dice,
    links: BTreeMap<(usize, usize), Link>,
    listening: BTreeMap<usize, Listening>,
    /// Hosts without power: nothing comes from them, not even the end of a connection.
    dark: BTreeSet<usize>,
    pipes: BTreeMap<u64, Pipe>,
    next_pipe: u64,
    delivered: Vec<(u64, u64, usize)>,
}

#[derive(Default)]
struct Listening {
    arrived: VecDeque<(usize, Ends)>,
    waker: Option<Waker>,
}

/// The two directions of a connection, as one side sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) out: u64,
    pub(super) into: u64,
}

/// One direction of a connection.
struct Pipe {
    from: usize,
    to: usize,
    /// Its own, because the connections of a process that is killed end in an order that no seed repeats.
    dice: Dice,
    frames: Frames,
    /// When it arrives, and what; nothing is the end.
    under_way: VecDeque<(u64, Option<Vec<u8>>)>,
    under_way_bytes: usize,
    arrived: VecDeque<u8>,
    has_ended: bool,
    is_reset: bool,
    is_silent: bool,
    has_writer: bool,
    has_reader: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(from: usize, to: usize, dice: Dice) -> Pipe {
        Pipe {
            from,
            to,
            dice,
            frames: Frames::default(),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            arrived: VecDeque::new(),
            has_ended: false,
            is_reset: false,
            is_silent: false,
            has_writer: true,
            has_reader: true,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn reset(&mut self) {
        self.is_reset = true;
        self.wake();
    }
}

impl State {
    fn link(&self, from: usize, to: usize) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(HEALTHY)
    }

    /// Puts something on its way, behind what is on its way already.
    fn send(&mut self, id: u64, what: Option<Vec<u8>>) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let link = self.links.get(&(pipe.from, pipe.to)).copied().unwrap_or(HEALTHY);
        let delay_ms = 1 + pipe.dice.below(3) + pipe.dice.below(link.delay_ms_max + 1);
        let earliest_ms = pipe.under_way.back().map_or(0, |(due_ms, _)| *due_ms);
        pipe.under_way_bytes += what.as_ref().map_or(0, Vec::len);
        pipe.under_way.push_back((earliest_ms.max(self.now_ms + delay_ms), what));
    }

    fn remove_if_unused(&mut self, id: u64) {
        let is_unused = |pipe: &Pipe| !pipe.has_reader && (!pipe.has_writer || pipe.is_reset);
        if self.pipes.get(&id).is_some_and(is_unused) {
            self.pipes.remove(&id);
        }
    }
}

impl Network {
    pub(super) fn new(seed: u64) -> Network {
        let state = State {
            now_ms: 0,
            dice: Dice(seed),
            links: BTreeMap::new(),
            listening: BTreeMap::new(),
            dark: BTreeSet::new(),
            pipes: BTreeMap::new(),
            next_pipe: 0,
            delivered: Vec::new(),
        };
        Network { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Time goes on; what is due arrives.
    pub(super) fn tick(&self, now_ms: u64) {
        let mut state = self.state();
        let state = &mut *state;
        state.now_ms = now_ms;
        let healthy = |from, to| !state.links.get(&(from, to)).is_some_and(|link| link.is_blocked);
        for (id, pipe) in &mut state.pipes {
            if pipe.is_silent || pipe.is_reset {
                continue;
            }
            if !pipe.has_reader && pipe.has_writer && healthy(pipe.to, pipe.from) {
                pipe.reset();
            }
            if !healthy(pipe.from, pipe.to) {
                continue;
            }
            while let Some((due_ms, _)) = pipe.under_way.front().filter(|(due_ms, _)| *due_ms <= now_ms) {
                let due_ms = *due_ms;
                let what = pipe.under_way.pop_front().and_then(|(_, what)| what);
                state.delivered.push((due_ms, *id, what.as_ref().map_or(0, Vec::len)));
                match what {
                    Some(bytes) => {
                        pipe.under_way_bytes -= bytes.len();
                        pipe.arrived.extend(bytes);
                    }
                    None => pipe.has_ended = true,
                }
                pipe.wake();
            }
        }
        state.pipes.retain(|_, pipe| pipe.has_reader || (pipe.has_writer && !pipe.is_reset));
    }

    /// What arrived since the last call: when, where, and how many bytes.
    pub(super) fn take_delivered(&self) -> Vec<(u64, u64, usize)> {
        std::mem::take(&mut self.state().delivered)
    }

    /// Changes what happens from one host to another.
    pub(super) fn change_link(&self, from: usize, to: usize, change: impl FnOnce(&mut Link)) {
        change(self.state().links.entry((from, to)).or_insert(HEALTHY));
    }

    /// All links work again.
    pub(super) fn heal(&self) {
        self.state().links.clear();
    }

    /// Every connection of this host breaks, and both sides learn it.
    pub(super) fn reset(&self, host: usize) {
        let mut state = self.state();
        state.pipes.values_mut().filter(|pipe| pipe.from == host || pipe.to == host).for_each(Pipe::reset);
    }

    /// The host has lost its power: nobody is told.
    pub(super) fn darken(&self, host: usize) {
        let mut state = self.state();
        state.dark.insert(host);
        state.listening.remove(&host);
        for pipe in state.pipes.values_mut().filter(|pipe| pipe.from == host || pipe.to == host) {
            pipe.is_silent = true;
            pipe.under_way.clear();
        }
    }

    /// The host has booted: it knows nothing of its old connections, and says so.
    pub(super) fn lighten(&self, host: usize) {
        let mut state = self.state();
        if state.dark.remove(&host) {
            state.pipes.values_mut().filter(|pipe| pipe.from == host || pipe.to == host).for_each(Pipe::reset);
        }
    }

    pub(super) fn listen(&self, host: usize) -> io::Result<()> {
        match self.state().listening.insert(host, Listening::default()) {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AddrInUse.into()),
        }
    }

    pub(super) fn stop_listening(&self, host: usize) {
        let listening = self.state().listening.remove(&host);
        for (_, ends) in listening.into_iter().flat_map(|listening| listening.arrived) {
            self.close(ends);
        }
    }

    pub(super) fn poll_accept(&self, host: usize, cx: &Context<'_>) -> Poll<io::Result<(usize, Ends)>> {
        let mut state = self.state();
        let Some(listening) = state.listening.get_mut(&host) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match listening.arrived.pop_front() {
            Some(arrived) => Poll::Ready(Ok(arrived)),
            None => {
                listening.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// How long the first packet takes.
    pub(super) fn connect_delay_ms(&self) -> u64 {
        2 + self.state().dice.below(3)
    }

    /// `None` while nothing comes through.
    pub(super) fn try_connect(&self, from: usize, address: &str) -> io::Result<Option<Ends>> {
        let to = host_of(address).ok_or(io::ErrorKind::NotFound)?;
        let mut state = self.state();
        if state.link(from, to).is_blocked || state.link(to, from).is_blocked || state.dark.contains(&to) {
            return Ok(None);
        }
        let (out, into) = (state.next_pipe, state.next_pipe + 1);
        let Some(listening) = state.listening.get_mut(&to) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        listening.arrived.push_back((from, Ends { out: into, into: out }));
        listening.waker.take().into_iter().for_each(Waker::wake);
        state.next_pipe += 2;
        let [forth, back] = [(); 2].map(|()| Dice(state.dice.below(u64::MAX)));
        state.pipes.insert(out, Pipe::new(from, to, forth));
        state.pipes.insert(into, Pipe::new(to, from, back));
        Ok(Some(Ends { out, into }))
    }

    pub(super) fn poll_read(&self, id: u64, cx: &Context<'_>, room: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut state = self.state();
        let Some(pipe) = state.pipes.get_mut(&id) else { return Poll::Ready(Err(reset())) };
        if pipe.is_reset {
            return Poll::Ready(Err(reset()));
        }
        if !pipe.arrived.is_empty() {
            let count = room.min(pipe.arrived.len());
            return Poll::Ready(Ok(pipe.arrived.drain(..count).collect()));
        }
        if pipe.has_ended {
            return Poll::Ready(Ok(Vec::new()));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn poll_write(&self, id: u64, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let state = &mut *state;
        let Some(pipe) = state.pipes.get_mut(&id).filter(|pipe| !pipe.is_reset) else {
            return Poll::Ready(Err(reset()));
        };
        if pipe.under_way_bytes > IN_FLIGHT_BYTES_MAX {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if pipe.is_silent {
            return Poll::Ready(Ok(bytes.len()));
        }
        let link = state.links.get(&(pipe.from, pipe.to)).copied().unwrap_or(HEALTHY);
        let mut sent = Vec::new();
        for frame in pipe.frames.take_in(bytes) {
            let is_frame = frame.is_whole && link.lost + link.repeated > 0;
            let fate = if is_frame { pipe.dice.below(1000) } else { 1000 };
            let times = if fate < link.lost { 0 } else { 1 + u64::from(fate < link.lost + link.repeated) };
            (0..times).for_each(|_| sent.extend_from_slice(&frame.bytes));
        }
        if !sent.is_empty() {
            state.send(id, Some(sent));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Nothing more is written.
    pub(super) fn finish(&self, id: u64) {
        let mut state = self.state();
        let Some(pipe) = state.pipes.get_mut(&id).filter(|pipe| pipe.has_writer) else { return };
        pipe.has_writer = false;
        let rest = pipe.frames.take_rest();
        if pipe.is_silent || pipe.is_reset {
            state.remove_if_unused(id);
            return;
        }
        if !rest.is_empty() {
            state.send(id, Some(rest));
        }
        state.send(id, None);
        state.remove_if_unused(id);
    }

    /// One side is gone.
    pub(super) fn close(&self, ends: Ends) {
        self.finish(ends.out);
        let mut state = self.state();
        if let Some(pipe) = state.pipes.get_mut(&ends.into) {
            pipe.has_reader = false;
        }
        state.remove_if_unused(ends.into);
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
