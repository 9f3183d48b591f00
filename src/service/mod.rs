//! Verbs, as every face calls them: authorise, check limits, stamp, hand to the node, account.

mod account;
mod auth;
mod client;
mod clock;
mod cluster;
mod expiry;
mod indexes;
mod kv;
mod pending;
mod query;
mod status;
mod tokens;
mod transaction;
mod verbs;
mod view;
mod watch;

pub(crate) use auth::{Caller, Identification, note_token_uses};
pub(crate) use client::{Answering, Client};
pub(crate) use clock::Clock;
#[cfg(test)]
pub(crate) use clock::TimeSource;
pub use cluster::Cluster;
pub(crate) use expiry::remove_expired;
pub use indexes::{IndexInfo, IndexPage, IndexRange, Indexes};
pub use kv::Kv;
pub use pending::Pending;
pub use query::{Page, PageOptions, Pages, Pair, Query};
pub use status::Status;
pub use tokens::{CreatedToken, NewToken, TokenInfo, Tokens};
pub use transaction::{Txn, decode_transaction, encode_transaction_reply, transaction_reply_to_json};
pub use verbs::{Guard, PutOptions};
pub use view::View;
pub use watch::{Consumer, ConsumerInfo, Consumers, NewConsumer};
pub use watch::{Watch, WatchOptions, WatchStart, WatchStats};
