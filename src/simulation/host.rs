//! Host: one simulated machine, with a runtime, clocks and a disk of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::raft::LeaseClock;
use crate::service::TimeSource;
use crate::storage::MemFiles;

/// By how much a simulation advances at a time.
pub(super) const TICK_MS: u64 = 2;
/// When simulations begin, milliseconds since the epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// The clocks of one host. They go on while it is paused or off.
pub(super) struct HostClock {
    now_ms: AtomicU64,
    /// How much faster than real time the crystal runs, millionths.
    drift_ppm: i64,
    /// How wrong the wall clock is.
    wall_offset_ms: AtomicI64,
}

impl HostClock {
    pub(super) fn new(drift_ppm: i64, wall_offset_ms: i64) -> Arc<HostClock> {
        Arc::new(HostClock { now_ms: AtomicU64::new(0), drift_ppm, wall_offset_ms: AtomicI64::new(wall_offset_ms) })
    }

    pub(super) fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock.
    pub(super) fn jump(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    fn crystal_us(&self) -> u64 {
        let real_us = self.now_ms.load(Ordering::Relaxed) as i64 * 1_000;
        (1_000_000 + real_us + real_us / 1_000 * self.drift_ppm / 1_000) as u64
    }
}

impl LeaseClock for HostClock {
    fn now_ns(&self) -> u64 {
        self.crystal_us() * 1_000
    }
}

impl TimeSource for HostClock {
    fn wall_ms(&self) -> u64 {
        (EPOCH_MS + self.crystal_us() / 1_000).saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed))
    }

    fn monotonic_ms(&self) -> u64 {
        self.crystal_us() / 1_000
    }
}

/// One machine.
pub(super) struct Host {
    pub(super) clock: Arc<HostClock>,
    pub(super) files: MemFiles,
    /// How often it was started.
    pub(super) starts: u64,
    /// `None` while it is down.
    runtime: Option<Runtime>,
    paused_at_ms: Option<u64>,
}

impl Host {
    pub(super) fn new(clock: Arc<HostClock>) -> Host {
        Host { clock, files: MemFiles::default(), starts: 0, runtime: None, paused_at_ms: None }
    }

    pub(super) fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_at_ms.is_some()
    }

    /// Starts a process that runs this.
    pub(super) fn start(&mut self, process: impl Future<Output = ()> + Send + 'static) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.spawn(process);
        self.runtime = Some(runtime);
        self.starts += 1;
    }

    /// Lets the process do what it has to do in this tick.
    pub(super) fn tick(&self, now_ms: u64) {
        self.clock.set(now_ms);
        if let Some(runtime) = self.runtime.as_ref().filter(|_| self.paused_at_ms.is_none()) {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(TICK_MS)).await });
        }
    }

    /// The process does nothing until it is resumed.
    pub(super) fn pause(&mut self, now_ms: u64) {
        if self.is_up() && self.paused_at_ms.is_none() {
            self.paused_at_ms = Some(now_ms);
        }
    }

    /// The process goes on. Its timers have seen the time pass, unless the whole machine was suspended.
    pub(super) fn resume(&mut self, now_ms: u64, was_suspended: bool) {
        let Some(paused_at_ms) = self.paused_at_ms.take() else { return };
        if let Some(runtime) = self.runtime.as_ref().filter(|_| !was_suspended) {
            self.clock.set(now_ms);
            let passed = Duration::from_millis(now_ms - paused_at_ms);
            runtime.block_on(async { tokio::time::advance(passed).await });
        }
    }

    /// The process is killed; what it has written stays written.
    pub(super) fn kill(&mut self) {
        let files = self.files.copy();
        self.stop(files);
    }

    /// The machine loses power: what was not synced may be gone.
    pub(super) fn lose_power(&mut self, seed: u64) {
        let files = self.files.crash(seed);
        self.stop(files);
    }

    fn stop(&mut self, files: MemFiles) {
        // Whatever the end of the process still wants to write, it is too late.
        self.files.crash_at_operation(0);
        self.paused_at_ms = None;
        self.runtime = None;
        let old = std::mem::replace(&mut self.files, files);
        assert_eq!(old.holders(), 1, "a process has ended and left something in memory that nobody will free");
    }
}
