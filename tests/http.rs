//! Http: the API over real sockets: every route, every limit, and clients that mean no good.

#[path = "http/client.rs"]
mod client;
#[path = "http/documents.rs"]
mod documents;
#[path = "http/guards.rs"]
mod guards;
#[path = "http/index.rs"]
mod index;
#[path = "http/keys.rs"]
mod keys;
#[path = "http/limits.rs"]
mod limits;
#[path = "http/members.rs"]
mod members;
#[path = "http/parsing.rs"]
mod parsing;
#[path = "http/query.rs"]
mod query;
#[path = "http/several.rs"]
mod several;
#[path = "http/tls.rs"]
mod tls;
#[path = "http/tokens.rs"]
mod tokens;
#[path = "http/txn.rs"]
mod txn;
#[path = "cluster/until.rs"]
mod until;
#[path = "http/watch.rs"]
mod watch;
