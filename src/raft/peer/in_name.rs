//! InName: a batch of a client with a token, as it goes to the log: each command in the token's name, without those that the
//! token does not allow.

use crate::encoding::batch::put_batch_header;
use crate::encoding::command::{Commands, put_command};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Command, Operation};
use crate::raft::core::Core;
use crate::raft::propose::ProposeAnswer;
use crate::state_machine::TokenRecord;

/// What goes to the log, and what does not.
pub(super) struct InName {
    pub(super) batch: Vec<u8>,
    pub(super) refused: Refused,
}

/// The commands that the token does not allow, each by its place in the batch. They are the same ones whenever the batch
/// comes: what a token allows never changes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refused(Vec<(usize, ErrorKind)>);

impl InName {
    /// Judges each command of a batch that has passed the check of batches from outside.
    ///
    /// Errors: `forbidden` when the batch's session was opened by somebody else: what it was told is not for others, and
    /// what it has acknowledged is not for them to say.
    pub(super) fn of(core: &Core, token: &TokenRecord, batch: &[u8]) -> Result<InName> {
        let commands = Commands::of(batch)?;
        let header = commands.header();
        if header.session != 0 {
            match core.machine.session_owner(header.session) {
                Some(Some(owner)) if owner == token.id() => {}
                Some(_) => return Err(Error::new(ErrorKind::Forbidden, "the session was opened by somebody else")),
                // It may be one that this leader has yet to apply, and so anybody's.
                None if !core.knows_all() => {
                    let message = "this node has just become the leader; nothing was done, try again shortly";
                    return Err(Error::new(ErrorKind::ClusterNotReady, message));
                }
                // The state machine tells that there is none; numbers are never given twice.
                None => {}
            }
        }
        let mut out = Vec::with_capacity(batch.len() + 64);
        put_batch_header(&mut out, header.session, header.sequence, header.acknowledged_below);
        let mut refused = Refused::default();
        for (at, command) in commands.enumerate() {
            let Command { stamp_ms, operation } = command?;
            match token.check_operation(&operation) {
                Ok(()) => {
                    let operation = Operation::Authorised { token: token.id(), operation: Box::new(operation) };
                    put_command(&mut out, &Command { stamp_ms, operation });
                }
                Err(error) => refused.0.push((at, error.kind())),
            }
        }
        Ok(InName { batch: out, refused })
    }
}

impl Refused {
    /// Puts the refusals where the client expects the outcomes of these commands.
    pub(super) fn put_into(self, answer: ProposeAnswer) -> ProposeAnswer {
        let ProposeAnswer::Applied(mut outcomes) = answer else { return answer };
        // In ascending order, so that each finds its place.
        for (at, kind) in self.0 {
            outcomes.insert(at.min(outcomes.len()), Err(kind.into()));
        }
        ProposeAnswer::Applied(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reply;

    #[test]
    fn refusals_stand_where_their_commands_stood() {
        let done = |revision| Ok(Reply::Done { revision });
        let refused = || Refused(vec![(0, ErrorKind::Forbidden), (2, ErrorKind::Forbidden), (4, ErrorKind::Forbidden)]);
        let answer = refused().put_into(ProposeAnswer::Applied(vec![done(1), done(2)]));
        let forbidden = || Err(ErrorKind::Forbidden.into());
        let expected = vec![forbidden(), done(1), forbidden(), done(2), forbidden()];
        assert_eq!(answer, ProposeAnswer::Applied(expected));
        assert_eq!(refused().put_into(ProposeAnswer::UnknownSession), ProposeAnswer::UnknownSession);
    }
}
