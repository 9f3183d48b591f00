//! Seeds: configured addresses, looked up again and again, since names change what they point to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::options::{Announcement, DiscoveryOptions, split_address};
use super::roster::{Roster, SeedAddress};
use crate::limits;

/// Turns `host:port` into every `ip:port` behind it.
pub(crate) trait Resolver: Send + Sync {
    /// All addresses of this name now, in any order.
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>>;
}

/// The system's own resolver.
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host(address).await?.map(|found| found.to_string()).collect()) })
    }
}

/// The tasks that look names up, one for each, so that a slow name delays no other.
///
/// - a failed lookup keeps the last good answer: a name server that is down takes no peer away
/// - dropped, no lookup is started any more
pub(super) struct Seeds {
    _lookups: JoinSet<()>,
}

impl Seeds {
    pub(super) fn start(options: &DiscoveryOptions, roster: &Arc<Roster>, me: watch::Receiver<Announcement>) -> Seeds {
        let interval = Duration::from_millis(options.lookup_interval_ms);
        let mut lookups = JoinSet::new();
        for (place, seed) in options.seeds.iter().enumerate() {
            lookups.spawn(look_up(place, seed.clone(), interval, options.resolver.clone(), roster.clone()));
        }
        lookups.spawn(look_up_myself(me, interval, options.resolver.clone(), roster.clone()));
        Seeds { _lookups: lookups }
    }
}

async fn look_up(place: usize, seed: String, interval: Duration, resolver: Arc<dyn Resolver>, roster: Arc<Roster>) {
    if let Ok(address) = seed.parse::<SocketAddr>() {
        roster.set_seed(place, vec![SeedAddress { address: address.to_string(), seed, host: None }]);
        return;
    }
    let host = split_address(&seed).map(|(host, _)| host.to_owned());
    loop {
        if let Some(addresses) = answer(&*resolver, &seed).await {
            let found = |address| SeedAddress { address, seed: seed.clone(), host: host.clone() };
            roster.set_seed(place, addresses.into_iter().map(found).collect());
        }
        sleep(interval).await;
    }
}

/// A name that all nodes share stands for this node too; its own addresses are looked up to leave them out.
async fn look_up_myself(
    mut me: watch::Receiver<Announcement>,
    interval: Duration,
    resolver: Arc<dyn Resolver>,
    roster: Arc<Roster>,
) {
    loop {
        let address = me.borrow_and_update().address.clone();
        if let Some(own) = answer(&*resolver, &address).await {
            roster.set_own(own);
        }
        tokio::select! {
            biased;
            () = sleep(interval) => {}
            changed = me.changed() => if changed.is_err() { return },
        }
    }
}

/// Sorted, so that a name server that rotates its answers changes nothing.
async fn answer(resolver: &dyn Resolver, address: &str) -> Option<Vec<String>> {
    let mut addresses = resolver.resolve(address).await.ok()?;
    addresses.sort();
    addresses.dedup();
    addresses.truncate(limits::SEED_ADDRESSES_MAX);
    Some(addresses)
}
