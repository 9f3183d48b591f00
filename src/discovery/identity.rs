//! Identity: one run of a node, as the membership protocol knows it.

use std::net::SocketAddrV4;
use std::sync::Arc;

use super::options::Announcement;

/// - the same run and generation say the same thing
/// - a higher generation of a run replaces a lower one
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Drawn at random when the node starts; never 0.
    pub(super) run: u64,
    /// Grows when the announcement changes, and when others wrongly thought this run gone.
    pub(super) generation: u32,
    /// Where it believes to receive datagrams.
    pub(super) endpoint: SocketAddrV4,
    pub(super) about: Arc<Announcement>,
}

impl Identity {
    /// The next generation of this run, with something else to tell.
    pub(super) fn renewed(&self, endpoint: SocketAddrV4, about: Announcement) -> Option<Identity> {
        let generation = self.generation.checked_add(1)?;
        Some(Identity { run: self.run, generation, endpoint, about: Arc::new(about) })
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        (self.run, self.generation) == (other.run, other.generation)
    }
}

impl Eq for Identity {}

impl foca::Identity for Identity {
    type Addr = u64;

    fn renew(&self) -> Option<Identity> {
        Some(Identity { generation: self.generation.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> u64 {
        self.run
    }

    fn win_addr_conflict(&self, adversary: &Identity) -> bool {
        self.generation > adversary.generation
    }
}
