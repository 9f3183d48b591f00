//! Recorder: the writer's end of the history: takes notes while commands are applied and hands them on together.

use super::History;
use super::chunk::Chunk;
use crate::config::EventHistory;
use crate::model::EventKind;
use crate::state_machine::slot::{Current, Version};

/// A chunk is handed on when it holds this much, so that old ones go in small steps.
const CHUNK_BYTES: usize = 64 * 1024;
/// Of what is retained a chunk is at most this part, unless one command is more.
const CHUNK_PART: usize = 8;

/// One change, as it is applied.
#[derive(Clone, Copy)]
pub(in crate::state_machine) struct Change<'a> {
    pub(in crate::state_machine) kind: EventKind,
    pub(in crate::state_machine) is_bulk: bool,
    pub(in crate::state_machine) key: &'a [u8],
    /// What the key has now; `None` when it was removed.
    pub(in crate::state_machine) version: Option<&'a Version>,
    /// What it had before; `None` when it had nothing.
    pub(in crate::state_machine) previous: Option<&'a Current>,
}

/// Notes of the commands that were applied since they were handed on last.
#[derive(Default)]
pub(in crate::state_machine) struct Recorder {
    chunk: Chunk,
    /// The last command that has ended.
    revision: u64,
    /// Whether a command changed more than is ever retained.
    has_lost: bool,
    /// Whether the command that is being applied does.
    is_too_much: bool,
    /// Whether those who watch are to be woken.
    has_news: bool,
}

impl Recorder {
    /// Takes a note. Of what is more than is ever retained nothing is collected.
    pub(in crate::state_machine) fn note(
        &mut self,
        retention: EventHistory,
        revision: u64,
        time_ms: u64,
        change: &Change<'_>,
    ) {
        if self.is_too_much {
            return;
        }
        self.chunk.push(revision, time_ms, change);
        if self.chunk.len() > retention.events_max || self.chunk.bytes() > retention.bytes_max {
            self.chunk = Chunk::default();
            self.is_too_much = true;
        }
    }

    /// The command with this revision has ended.
    pub(in crate::state_machine) fn end_command(&mut self, history: &History, revision: u64) {
        self.revision = revision;
        self.has_lost |= std::mem::take(&mut self.is_too_much);
        self.chunk.end_command();
        let EventHistory { events_max, bytes_max } = history.retention();
        if self.chunk.bytes() >= CHUNK_BYTES.min(bytes_max / CHUNK_PART) || self.chunk.len() >= events_max / CHUNK_PART
        {
            self.hand_on(history);
        }
    }

    /// All commands of an entry have ended. Tells whether those who watch are to be woken, which is done without any lock.
    pub(in crate::state_machine) fn end_entry(&mut self, history: &History) -> bool {
        self.hand_on(history);
        std::mem::take(&mut self.has_news)
    }

    /// Those who watch are to look whether they still may.
    pub(in crate::state_machine) fn wake(&mut self) {
        self.has_news = true;
    }

    fn hand_on(&mut self, history: &History) {
        if self.chunk.is_empty() && !self.has_lost {
            return;
        }
        self.has_news = true;
        let next = Chunk::like(&self.chunk);
        let chunk = std::mem::replace(&mut self.chunk, next);
        history.publish(chunk, self.revision, !std::mem::take(&mut self.has_lost));
    }
}
