//! Nouns: pure data that the rest of the house speaks in.

mod command;
mod condition;
mod event;
mod options;
mod record;
mod reply;
mod selector;
mod token;
mod transaction;
mod value;

pub(crate) use command::{Command, ConsumerItem, NewTokenItem, Operation, PutItem, StepItem, TransactionItem};
pub use condition::Condition;
pub use event::{Event, EventKind, EventKinds, EventView, Notice, Position};
pub use options::{Compress, Consistency, ReadOptions, Write};
pub use record::{Record, RecordView};
pub use reply::Reply;
pub use selector::{OwnedSelector, Pattern, PatternFlags, Selector};
pub use token::Scopes;
pub(crate) use token::{SECRET_BYTES, TokenHash, TokenId, TokenSecret};
pub use transaction::{Compare, Step, StepReply, Transaction, TransactionReply};
pub use value::Value;
