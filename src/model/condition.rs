//! Condition: what must hold for a write to happen.

/// Guards a write. Evaluated by the state machine, so that check and write are one atomic step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Condition<'a> {
    /// Write whatever is there.
    #[default]
    Always,
    /// Write only if the key does not exist; otherwise `already_exists`.
    Absent,
    /// Write only if the key exists; otherwise `not_found`.
    Present,
    /// Write only if the key's current revision is this one; otherwise `condition_failed`,
    /// or `not_found` when there is no such key.
    Revision(u64),
    /// Write only if the current value equals this encoded value; otherwise `condition_failed`,
    /// or `not_found` when there is no such key. Numbers compare by what they are worth
    /// (`1` equals `1.0`), maps whatever the order of their entries, everything else by type and content.
    Expected(&'a [u8]),
    /// Write only if this expression is true of the current record, as a selector's `filter` has it:
    /// `value.version < 2`; otherwise `condition_failed`, or `not_found` when there is no such key. One that cannot be
    /// understood is `invalid_condition`, and the error tells the column.
    Where(&'a str),
}
