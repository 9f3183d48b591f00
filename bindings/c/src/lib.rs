//! C interface of Concord: what `include/concord.h` declares, one file a noun.
//!
//! Every entry goes through [`status::enter`], which turns errors and panics into a status; every handle goes
//! through a [`handle::Slab`], which turns misuse into an error. No rule of the store lives here.
#![allow(non_camel_case_types, reason = "types have the names that C programs write")]
#![allow(clippy::missing_safety_doc, reason = "the head of concord.h says once what every pointer must be")]

pub mod batch;
mod beside;
pub mod bytes;
pub mod client;
pub mod cluster;
pub mod expression;
mod handle;
pub mod http;
pub mod kv;
pub mod options;
pub mod query;
pub mod queue;
pub mod scan;
pub mod selector;
pub mod status;
pub mod store;
pub mod tokens;
pub mod value;
