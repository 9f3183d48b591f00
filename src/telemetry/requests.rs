//! Requests: what the HTTP server has answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::buckets::{Buckets, CALL_NS};

/// Methods that are told apart; a client may invent others.
const METHODS: &[&str] = &["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"];
const OTHER_METHOD: &str = "other";

/// Statuses have three digits; what is not one of 100 to 599 counts as 599.
const STATUS_FIRST: u16 = 100;
const STATUS_LAST: u16 = 599;

/// What was recorded of each route, by method.
type Routes = BTreeMap<Box<str>, BTreeMap<&'static str, Arc<Route>>>;

/// Requests by method and route. As many series as the program has routes, times the methods above.
#[derive(Default)]
pub(super) struct Requests {
    all: RwLock<Routes>,
}

/// One method of one route.
pub(super) struct Route {
    statuses: Box<[AtomicU64]>,
    pub(super) durations: Buckets,
}

impl Route {
    fn new() -> Route {
        let statuses = (STATUS_FIRST..=STATUS_LAST).map(|_| AtomicU64::new(0)).collect();
        Route { statuses, durations: Buckets::new(CALL_NS) }
    }

    /// Statuses that were answered, with how often.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.statuses.iter().map(|count| count.load(Ordering::Relaxed));
        (STATUS_FIRST..).zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Requests {
    pub(super) fn record(&self, method: &str, route: &str, status: u16, ns: u64) {
        let method = METHODS.iter().copied().find(|known| *known == method).unwrap_or(OTHER_METHOD);
        let route = self.route(route, method);
        let status = if (STATUS_FIRST..=STATUS_LAST).contains(&status) { status } else { STATUS_LAST };
        route.statuses[usize::from(status - STATUS_FIRST)].fetch_add(1, Ordering::Relaxed);
        route.durations.record(ns, 1);
    }

    fn route(&self, route: &str, method: &'static str) -> Arc<Route> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(route).and_then(|methods| methods.get(method)) {
            return known.clone();
        }
        drop(all);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let methods = all.entry(route.into()).or_default();
        methods.entry(method).or_insert_with(|| Arc::new(Route::new())).clone()
    }

    /// Route, method and what was recorded of them, in order.
    pub(super) fn read(&self) -> Vec<(Box<str>, &'static str, Arc<Route>)> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let methods =
            all.iter().flat_map(|(route, methods)| methods.iter().map(move |(method, of)| (route, *method, of)));
        methods.map(|(route, method, recorded)| (route.clone(), method, recorded.clone())).collect()
    }
}
