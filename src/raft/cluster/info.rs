//! Info: what a node tells another of itself and of the cluster that it belongs to.

use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Info {
    pub node_id: u64,
    /// 0: belongs to no cluster yet.
    pub cluster_id: u128,
    pub name: String,
    pub address: String,
    /// How many nodes it wants to found a cluster with.
    pub bootstrap_expect: u64,
    pub term: u64,
    pub leader: Option<u64>,
    pub members: Vec<MemberInfo>,
}

/// What a node tells of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberInfo {
    pub node_id: u64,
    pub address: String,
    pub name: String,
    pub is_voter: bool,
    /// What the leader knows of its progress.
    pub progress: Option<Progress>,
}

/// How far a member is, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub matched_index: u64,
    pub lag: u64,
    pub last_contact_ms: u64,
}

impl Info {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.node_id);
        out.extend_from_slice(&self.cluster_id.to_le_bytes());
        put_bytes(&mut out, self.name.as_bytes());
        put_bytes(&mut out, self.address.as_bytes());
        put_varint(&mut out, self.bootstrap_expect);
        put_varint(&mut out, self.term);
        put_varint(&mut out, self.leader.unwrap_or(0));
        put_varint(&mut out, self.members.len() as u64);
        for member in &self.members {
            put_varint(&mut out, member.node_id);
            put_bytes(&mut out, member.address.as_bytes());
            put_bytes(&mut out, member.name.as_bytes());
            out.push(u8::from(member.is_voter) | u8::from(member.progress.is_some()) << 1);
            if let Some(Progress { matched_index, lag, last_contact_ms }) = member.progress {
                put_varint(&mut out, matched_index);
                put_varint(&mut out, lag);
                put_varint(&mut out, last_contact_ms);
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Info> {
        let mut reader = WireReader::new(bytes);
        let mut info = Info { node_id: reader.varint()?, cluster_id: reader.u128_le()?, ..Info::default() };
        info.name = reader.text()?;
        info.address = reader.text()?;
        info.bootstrap_expect = reader.varint()?;
        info.term = reader.varint()?;
        info.leader = Some(reader.varint()?).filter(|leader| *leader != 0);
        for _ in 0..reader.count()? {
            info.members.push(read_member(&mut reader)?);
        }
        reader.finish()?;
        Ok(info)
    }
}

fn read_member(reader: &mut WireReader<'_>) -> Result<MemberInfo> {
    let (node_id, address, name) = (reader.varint()?, reader.text()?, reader.text()?);
    let flags = reader.u8()?;
    if flags > 3 {
        return Err(damaged("unknown flags of a member"));
    }
    let progress = match flags & 2 {
        0 => None,
        _ => {
            Some(Progress { matched_index: reader.varint()?, lag: reader.varint()?, last_contact_ms: reader.varint()? })
        }
    };
    Ok(MemberInfo { node_id, address, name, is_voter: flags & 1 == 1, progress })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_went_and_damage_is_an_error() {
        let member = |node_id, progress| MemberInfo {
            node_id,
            address: format!("h:{node_id}"),
            name: "n".to_owned(),
            is_voter: node_id == 1,
            progress,
        };
        let progress = Progress { matched_index: 300, lag: 1, last_contact_ms: 20 };
        let info = Info {
            node_id: 1,
            cluster_id: u128::MAX / 3,
            name: "first".to_owned(),
            address: "h:1".to_owned(),
            bootstrap_expect: 3,
            term: 9,
            leader: Some(1),
            members: vec![member(1, None), member(2, Some(progress))],
        };
        let bytes = info.encode();
        assert_eq!(Info::decode(&bytes).unwrap(), info);
        for at in 0..bytes.len() {
            assert!(Info::decode(&bytes[..at]).is_err());
            for change in [1u8, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let _ = Info::decode(&damaged);
            }
        }
    }
}
