//! Sessions: which batches were applied already and what became of them, so that a batch sent again does
//! nothing again (Ongaro, "Consensus: Bridging Theory and Practice", section 6.3).

use std::collections::BTreeMap;

mod outcome;
mod receipts;
#[cfg(test)]
mod tests;

pub(crate) use outcome::{Outcome, Place, Refusal, put_outcome, read_outcome};
pub(in crate::state_machine) use receipts::{Fingerprint, Receipt, Receipts};

use crate::encoding::batch::BatchHeader;
use crate::encoding::wire::{WireReader, damaged, put_bytes, put_varint};
use crate::error::Result;
use crate::limits::{SESSION_BATCHES_MAX, SESSIONS_BYTES_MAX, SESSIONS_MAX};
use crate::model::TokenId;

/// What a kept batch costs beside its outcomes, about.
const KEPT_OVERHEAD_BYTES: usize = 64;

/// What became of a batch as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Applied {
    /// It is applied, now or when it came first; its outcomes are those of that time.
    #[default]
    Done,
    /// No such session, or one forgotten in favour of others. Nothing was applied now; whether it was
    /// before is not known.
    UnknownSession,
    /// The session's owner has acknowledged this batch, so it was applied before. Nothing was applied now.
    Stale,
    /// The session has too many batches that its owner has not acknowledged. Nothing was applied.
    Refused,
}

/// All sessions, the same on every replica: every map is ordered, and use is counted in the log's order.
///
/// Invariants:
/// - `by_use` lists each session once, by its `used`.
/// - Kept batches of a session have numbers from its floor on, and are at most `SESSION_BATCHES_MAX`.
/// - `kept_bytes` is what all kept batches cost, at most `SESSIONS_BYTES_MAX` unless one session has it all.
#[derive(Default)]
pub(in crate::state_machine) struct Sessions {
    opened: u64,
    uses: u64,
    by_id: BTreeMap<u64, Session>,
    by_use: BTreeMap<u64, u64>,
    kept_bytes: usize,
}

#[derive(Default)]
struct Session {
    used: u64,
    /// The token in whose name it was opened; nobody else with a token may use it.
    owner: Option<TokenId>,
    /// The owner has the outcomes of all batches below.
    floor: u64,
    /// Outcomes by the number of the batch.
    kept: BTreeMap<u64, Box<[u8]>>,
}

/// Whether a batch is to be applied.
#[derive(Debug, PartialEq)]
pub(in crate::state_machine) enum Admission {
    New,
    /// It was applied before, with these outcomes.
    Repeated(Vec<Outcome>),
    /// It is not, and has no outcomes.
    Not(Applied),
}

impl Sessions {
    /// Opens a session in the name of a token, or of nobody; its number was never given before.
    pub(in crate::state_machine) fn open(&mut self, owner: Option<TokenId>) -> u64 {
        self.opened += 1;
        self.uses += 1;
        self.by_id.insert(self.opened, Session { used: self.uses, owner, ..Session::default() });
        self.by_use.insert(self.uses, self.opened);
        self.forget_oldest();
        self.opened
    }

    /// Who opened a session; `None` when it is not known.
    pub(in crate::state_machine) fn owner(&self, id: u64) -> Option<Option<TokenId>> {
        Some(self.by_id.get(&id)?.owner)
    }

    /// How many sessions were ever opened, which is the number of the last one.
    pub(in crate::state_machine) fn opened(&self) -> u64 {
        self.opened
    }

    /// Judges a batch that names a session, before anything of it is applied.
    pub(in crate::state_machine) fn admit(&mut self, batch: &BatchHeader) -> Result<Admission> {
        let Some(session) = self.by_id.get_mut(&batch.session) else {
            return Ok(Admission::Not(Applied::UnknownSession));
        };
        self.uses += 1;
        self.by_use.remove(&session.used);
        self.by_use.insert(self.uses, batch.session);
        session.used = self.uses;
        if batch.acknowledged_below > session.floor {
            session.floor = batch.acknowledged_below;
            let still_kept = session.kept.split_off(&session.floor);
            let acknowledged = std::mem::replace(&mut session.kept, still_kept);
            self.kept_bytes -= acknowledged.values().map(|outcomes| cost(outcomes)).sum::<usize>();
        }
        if let Some(outcomes) = session.kept.get(&batch.sequence) {
            return Ok(Admission::Repeated(read_outcomes(outcomes)?));
        }
        Ok(match batch.sequence {
            sequence if sequence < session.floor => Admission::Not(Applied::Stale),
            _ if session.kept.len() >= SESSION_BATCHES_MAX => Admission::Not(Applied::Refused),
            _ => Admission::New,
        })
    }

    /// Keeps what became of a batch that was admitted as new and has been applied.
    pub(in crate::state_machine) fn keep(&mut self, batch: &BatchHeader, outcomes: Vec<u8>) {
        // Gone when the batch itself has opened too many sessions.
        let Some(session) = self.by_id.get_mut(&batch.session) else { return };
        self.kept_bytes += cost(&outcomes);
        if let Some(old) = session.kept.insert(batch.sequence, outcomes.into_boxed_slice()) {
            self.kept_bytes -= cost(&old);
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        while self.by_id.len() > SESSIONS_MAX || (self.kept_bytes > SESSIONS_BYTES_MAX && self.by_id.len() > 1) {
            let Some((_, id)) = self.by_use.pop_first() else { return };
            if let Some(session) = self.by_id.remove(&id) {
                self.kept_bytes -= session.kept.values().map(|outcomes| cost(outcomes)).sum::<usize>();
            }
        }
    }

    /// Hands each session's bytes to `write`, the one that was used longest ago first.
    pub(in crate::state_machine) fn encode(&self, mut write: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for id in self.by_use.values() {
            let Some(session) = self.by_id.get(id) else { continue };
            out.clear();
            put_varint(&mut out, *id);
            put_owner(&mut out, session.owner);
            put_varint(&mut out, session.floor);
            put_varint(&mut out, session.kept.len() as u64);
            for (sequence, outcomes) in &session.kept {
                put_varint(&mut out, *sequence);
                put_bytes(&mut out, outcomes);
            }
            write(&out);
        }
    }

    /// Adds one session from a snapshot, in the order in which [`Sessions::encode`] gave them. Those of older versions
    /// have no owner.
    pub(in crate::state_machine) fn decode(&mut self, reader: &mut WireReader<'_>, has_owner: bool) -> Result<()> {
        let id = reader.varint()?;
        let owner = if has_owner { read_owner(reader)? } else { None };
        let mut session = Session { used: self.uses + 1, owner, floor: reader.varint()?, kept: BTreeMap::new() };
        let kept = reader.count()?;
        if kept > SESSION_BATCHES_MAX {
            return Err(damaged("a session with more batches than one may keep"));
        }
        for _ in 0..kept {
            let sequence = reader.varint()?;
            let outcomes = reader.bytes()?;
            read_outcomes(outcomes)?;
            let is_next = session.kept.last_key_value().is_none_or(|(last, _)| sequence > *last);
            if !is_next || sequence < session.floor {
                return Err(damaged("batches of a session out of order"));
            }
            self.kept_bytes += cost(outcomes);
            session.kept.insert(sequence, outcomes.into());
        }
        let was_opened = (1..=self.opened).contains(&id);
        if !was_opened || self.by_id.len() >= SESSIONS_MAX || self.by_id.insert(id, session).is_some() {
            return Err(damaged("a session of a snapshot that no command can have opened"));
        }
        self.uses += 1;
        self.by_use.insert(self.uses, id);
        Ok(())
    }

    /// No sessions yet, but so many numbers given away.
    pub(in crate::state_machine) fn after(opened: u64) -> Sessions {
        Sessions { opened, ..Sessions::default() }
    }
}

fn put_owner(out: &mut Vec<u8>, owner: Option<TokenId>) {
    out.push(u8::from(owner.is_some()));
    if let Some(owner) = owner {
        put_varint(out, owner.0);
    }
}

fn read_owner(reader: &mut WireReader<'_>) -> Result<Option<TokenId>> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(TokenId(reader.varint()?))),
        _ => Err(damaged("a session that neither has an owner nor has none")),
    }
}

fn cost(outcomes: &[u8]) -> usize {
    outcomes.len() + KEPT_OVERHEAD_BYTES
}

fn read_outcomes(outcomes: &[u8]) -> Result<Vec<Outcome>> {
    let mut reader = WireReader::new(outcomes);
    let mut all = Vec::new();
    while !reader.is_empty() {
        all.push(read_outcome(&mut reader)?);
    }
    Ok(all)
}
