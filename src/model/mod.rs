//! Nouns: pure data that the rest of the house speaks in.

mod command;
mod condition;
mod options;
mod record;
mod reply;
mod selector;
mod token;
mod value;

pub(crate) use command::{Command, NewTokenItem, Operation, PutItem};
pub use condition::Condition;
pub use options::{Compress, Consistency, ReadOptions, Write};
pub use record::{Record, RecordView};
pub use reply::Reply;
pub use selector::{OwnedSelector, Pattern, PatternFlags, Selector};
pub use token::Scopes;
pub(crate) use token::{SECRET_BYTES, TokenHash, TokenId, TokenSecret};
pub use value::Value;
