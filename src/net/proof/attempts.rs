//! Attempts: sources that try wrong tokens have to wait, longer each time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{TOKEN_FAILURE_PAUSE_MS_MAX, TOKEN_FAILURE_SOURCES_MAX, TOKEN_FAILURES_MAX};

/// A source that has not failed for so long begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Failed attempts by where they came from. A network of IPv6 (/64) is one source: whoever has one address has all of it.
///
/// - At most `TOKEN_FAILURE_SOURCES_MAX` sources; `remembered` is how many, so that without failures nothing is locked.
#[derive(Default)]
pub(crate) struct Attempts {
    sources: Mutex<HashMap<IpAddr, Source>>,
    remembered: AtomicUsize,
    failed: AtomicU64,
}

#[derive(Clone, Copy)]
struct Source {
    failures: u32,
    failed_at: Instant,
}

impl Source {
    /// How long it has to wait after its last failure: a second, then twice as long each time.
    fn pause(&self) -> Duration {
        match self.failures.checked_sub(TOKEN_FAILURES_MAX) {
            None => Duration::ZERO,
            Some(more) => Duration::from_millis((1_000 << more.min(10)).min(TOKEN_FAILURE_PAUSE_MS_MAX)),
        }
    }
}

impl Attempts {
    /// Whether this source may try a token now.
    ///
    /// Errors: `unauthorized`; the message says for how long.
    pub(crate) fn check(&self, source: IpAddr) -> Result<()> {
        self.check_at(source, Instant::now())
    }

    /// It has tried a wrong one.
    pub(crate) fn failed(&self, source: IpAddr) {
        self.failed_at(source, Instant::now());
    }

    /// It has used a right one.
    pub(crate) fn succeeded(&self, source: IpAddr) {
        if self.remembered.load(Ordering::Relaxed) > 0 {
            let mut sources = self.sources();
            sources.remove(&network_of(source));
            self.remembered.store(sources.len(), Ordering::Relaxed);
        }
    }

    /// How many attempts have failed since the start.
    pub(crate) fn failed_attempts(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn check_at(&self, source: IpAddr, now: Instant) -> Result<()> {
        if self.remembered.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let Some(known) = self.sources().get(&network_of(source)).copied() else { return Ok(()) };
        let left = known.pause().saturating_sub(now.saturating_duration_since(known.failed_at));
        if left.is_zero() {
            return Ok(());
        }
        let message = format!(
            "{} attempts from this address have failed; the next one is looked at in {} s",
            known.failures,
            left.as_secs() + 1
        );
        Err(Error::new(ErrorKind::Unauthorized, message))
    }

    fn failed_at(&self, source: IpAddr, now: Instant) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let network = network_of(source);
        let mut sources = self.sources();
        let known = sources.get(&network).filter(|known| now.saturating_duration_since(known.failed_at) < FORGET_AFTER);
        let failures = known.map_or(0, |known| known.failures).saturating_add(1);
        if !sources.contains_key(&network) && sources.len() >= TOKEN_FAILURE_SOURCES_MAX {
            let oldest = sources.iter().min_by_key(|(_, known)| known.failed_at).map(|(network, _)| *network);
            oldest.map(|oldest| sources.remove(&oldest));
        }
        sources.insert(network, Source { failures, failed_at: now });
        self.remembered.store(sources.len(), Ordering::Relaxed);
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<IpAddr, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn after_ten_failures_a_source_waits_longer_each_time_and_others_do_not() {
        let attempts = Attempts::default();
        let mut now = Instant::now();
        for _ in 0..10 {
            attempts.check_at(HOST, now).unwrap();
            attempts.failed_at(HOST, now);
        }
        for pause_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            let refused = attempts.check_at(HOST, now + Duration::from_millis(pause_s * 1_000 - 1)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unauthorized);
            assert!(refused.message().contains("in 1 s"), "{refused}");
            now += Duration::from_secs(pause_s);
            attempts.check_at(HOST, now).unwrap();
            attempts.failed_at(HOST, now);
        }
        assert!(attempts.check_at(HOST, now).unwrap_err().message().contains("in 61 s"));
        attempts.check_at(IpAddr::V4(Ipv4Addr::LOCALHOST), now).unwrap();
        assert_eq!(attempts.failed_attempts(), 18);

        attempts.failed_at(HOST, now + FORGET_AFTER);
        attempts.check_at(HOST, now + FORGET_AFTER).unwrap();
    }

    #[test]
    fn a_right_token_clears_the_source() {
        let attempts = Attempts::default();
        (0..11).for_each(|_| attempts.failed(HOST));
        attempts.check(HOST).unwrap_err();
        attempts.succeeded(HOST);
        attempts.check(HOST).unwrap();
        assert_eq!(attempts.remembered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn so_many_sources_are_remembered_and_a_network_of_addresses_is_one() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let source = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        for number in 0..TOKEN_FAILURE_SOURCES_MAX as u32 + 5 {
            attempts.failed_at(source(number), start + Duration::from_millis(number.into()));
        }
        assert_eq!(attempts.sources().len(), TOKEN_FAILURE_SOURCES_MAX);
        assert!(!attempts.sources().contains_key(&source(4)) && attempts.sources().contains_key(&source(5)));

        let attempts = Attempts::default();
        let address = |low: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, low));
        (0..10).for_each(|low| attempts.failed_at(address(low), start));
        attempts.check_at(address(99), start).unwrap_err();
        attempts.check_at(IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 2, 4, 0, 0, 0, 1)), start).unwrap();
    }
}
