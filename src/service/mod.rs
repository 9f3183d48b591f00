//! Verbs, as every face calls them: check limits, stamp, hand to the node, account.

mod clock;
mod cluster;
mod expiry;
mod kv;
mod pending;
mod verbs;

pub(crate) use clock::Clock;
pub use cluster::Cluster;
pub(crate) use expiry::remove_expired;
pub use kv::Kv;
pub use pending::Pending;
pub use verbs::{Guard, PutOptions};
