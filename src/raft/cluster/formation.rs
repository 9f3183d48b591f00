//! Formation: which nodes found a cluster together, and under which id.

use std::collections::BTreeMap;

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::raft::types::Peer;

/// Version of the stored form.
const VERSION: u8 = 1;

/// The founders of a cluster. Every founder keeps it, and starts its log with exactly these members. Who joins keeps one
/// without members until it was taken in for good, so that it asks again after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::raft) struct Formation {
    pub(in crate::raft) cluster_id: u128,
    pub(in crate::raft) members: BTreeMap<u64, Peer>,
}

impl Formation {
    pub(in crate::raft) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.cluster_id.to_le_bytes());
        put_varint(&mut out, self.members.len() as u64);
        for (node_id, peer) in &self.members {
            put_varint(&mut out, *node_id);
            put_bytes(&mut out, peer.address.as_bytes());
            put_bytes(&mut out, peer.name.as_bytes());
        }
        out
    }

    pub(in crate::raft) fn decode(bytes: &[u8]) -> Result<Formation> {
        let mut reader = WireReader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            other => return Err(damaged(&format!("a formation of version {other}"))),
        }
        let cluster_id = reader.u128_le()?;
        let mut members = BTreeMap::new();
        for _ in 0..reader.count()? {
            let node_id = reader.varint()?;
            let peer = Peer { address: reader.text()?, name: reader.text()?, promote: true };
            members.insert(node_id, peer);
        }
        reader.finish()?;
        if cluster_id == 0 {
            return Err(damaged("a formation of no cluster"));
        }
        Ok(Formation { cluster_id, members })
    }

    /// What one that joins keeps.
    pub(in crate::raft) fn of_joiner(cluster_id: u128) -> Formation {
        Formation { cluster_id, members: BTreeMap::new() }
    }

    /// One that founds.
    fn of_founders(bytes: &[u8]) -> Result<Formation> {
        let formation = Formation::decode(bytes)?;
        if formation.members.is_empty() { Err(damaged("a formation of nobody")) } else { Ok(formation) }
    }
}

/// The two steps of founding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::raft) enum Found {
    /// Will you found this cluster with us? Whoever says yes says no to others for a while.
    Ask(Formation),
    /// All have said yes: it is so.
    Seal(Formation),
}

impl Found {
    pub(in crate::raft) fn encode(&self) -> Vec<u8> {
        let (step, formation) = match self {
            Found::Ask(formation) => (0, formation),
            Found::Seal(formation) => (1, formation),
        };
        let mut out = vec![step];
        out.extend_from_slice(&formation.encode());
        out
    }

    pub(in crate::raft) fn decode(bytes: &[u8]) -> Result<Found> {
        match bytes.split_first() {
            Some((0, rest)) => Ok(Found::Ask(Formation::of_founders(rest)?)),
            Some((1, rest)) => Ok(Found::Seal(Formation::of_founders(rest)?)),
            _ => Err(damaged("an unknown step of founding")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_released_version_never_changes() {
        let peer = |text: &str| Peer { address: text.to_owned(), name: "n".to_owned(), promote: true };
        let formation = Formation { cluster_id: 7, members: [(1, peer("a:1")), (300, peer("b:2"))].into() };
        let mut golden = b"\x01\x07".to_vec();
        golden.extend_from_slice(&[0; 15]);
        golden.extend_from_slice(b"\x02\x01\x03a:1\x01n\xac\x02\x03b:2\x01n");
        assert_eq!(formation.encode(), golden);
        assert_eq!(Formation::decode(&golden).unwrap(), formation);
        for found in [Found::Ask(formation.clone()), Found::Seal(formation)] {
            assert_eq!(Found::decode(&found.encode()).unwrap(), found);
        }
        for at in 0..golden.len() {
            assert!(Formation::decode(&golden[..at]).is_err());
        }
        let joiner = Formation::of_joiner(7);
        let golden = [&golden[..17], b"\0"].concat();
        assert_eq!(joiner.encode(), golden);
        assert_eq!(Formation::decode(&golden).unwrap(), joiner);
        assert!(Found::decode(&Found::Ask(joiner).encode()).is_err(), "nobody founds nothing");
    }
}
