//! Discovery: finds addresses that may be peers, from seeds, names and gossip. It decides nothing.
//!
//! Everything found here is an address to try; who answers there, and whether it belongs to this cluster, is for
//! the handshake to show. So the worst that a lie can do here is a connection that leads nowhere.

mod codec;
mod counts;
mod gossip;
mod identity;
mod options;
mod roster;
mod seal;
mod seeds;
mod senders;
mod sockets;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::counts::Counts;
use self::gossip::Gossip;
use self::roster::Roster;
use self::seal::Seal;
use self::seeds::Seeds;
use self::sockets::Sockets;
use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
pub(crate) use self::counts::DatagramCounts;
pub(crate) use self::options::{Announcement, DiscoveryOptions, Multicast};
pub(crate) use self::roster::Found;
pub(crate) use self::roster::Peers;
pub(crate) use self::seeds::Resolver;
#[cfg(test)]
pub(crate) use self::seeds::SystemResolver;

/// How long a leaving node tries to tell the others.
const LEAVE_MS_MAX: u64 = 500;

/// A running search for peers. Dropped, all its tasks end; those that gossip with it are told when the runtime
/// still runs.
pub(crate) struct Discovery {
    roster: Arc<Roster>,
    #[cfg(test)]
    counts: Arc<Counts>,
    me: watch::Sender<Announcement>,
    gossip: Option<JoinHandle<()>>,
    _seeds: Seeds,
}

impl Discovery {
    /// Begins to search, on the current Tokio runtime, which needs IO and time.
    ///
    /// Errors: `invalid_config` for options that cannot work; `io` when the gossip port is held by another program.
    /// A network that is down is no error. With gossip this takes some milliseconds to make a key of the cookie.
    pub(crate) fn start(options: DiscoveryOptions) -> Result<Discovery> {
        options.validate()?;
        Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Internal, "discovery was started outside a Tokio runtime").with_source(error)
        })?;
        let (me, _) = watch::channel(options.me.clone());
        let roster = Arc::new(Roster::new(options.me.clone(), options.seeds.len()));
        let counts = Arc::new(Counts::default());
        let gossip = match &options.multicast {
            Some(multicast) => {
                let sockets = Sockets::open(multicast, &options.me)?;
                let seal = Seal::new(&options.cookie);
                let gossip = Gossip::new(sockets, seal, roster.clone(), counts.clone(), me.subscribe())?;
                Some(tokio::spawn(gossip.run()))
            }
            None => None,
        };
        let seeds = Seeds::start(&options, &roster, me.subscribe());
        Ok(Discovery {
            roster,
            #[cfg(test)]
            counts,
            me,
            gossip,
            _seeds: seeds,
        })
    }

    /// Everyone found now: seeds first, each address once, never this node itself as far as can be known. A seed
    /// name that resolves to an address of this node that it does not advertise is left for the handshake to see.
    pub(crate) fn peers(&self) -> Peers {
        self.roster.peers()
    }

    /// Wakes whenever [`Discovery::peers`] changes, and holds what it changed to.
    pub(crate) fn watch(&self) -> watch::Receiver<Peers> {
        self.roster.watch()
    }

    /// Tells others something new about this node: another address, a cluster that it now belongs to.
    pub(crate) fn set_announcement(&self, me: Announcement) -> Result<()> {
        me.validate()?;
        self.roster.set_me(me.clone());
        self.me.send_if_modified(|told| {
            let is_new = *told != me;
            *told = me;
            is_new
        });
        Ok(())
    }

    /// What became of the datagrams of gossip.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> DatagramCounts {
        self.counts.read()
    }

    /// Ends the search and waits until those that gossip with this node were told, or half a second.
    pub(crate) async fn leave(self) {
        let Discovery { me, gossip, .. } = self;
        drop(me);
        if let Some(gossip) = gossip {
            let _told_or_late = tokio::time::timeout(Duration::from_millis(LEAVE_MS_MAX), gossip).await;
        }
    }
}
