//! Encoding: nouns to bytes and back.
//!
//! A value is one CBOR item (see [`tags`]). What programs hand in is checked once, by [`check_value`];
//! from then on everything reads those bytes as they are.

pub(crate) mod batch;
mod cbor;
mod check;
pub(crate) mod command;
mod compare;
pub(crate) mod event;
mod integer;
pub(crate) mod item;
mod json;
pub(crate) mod stored;
pub mod tags;
pub(crate) mod times;
mod value;
pub(crate) mod wire;

pub use check::check_value;
pub(crate) use compare::equal_by_worth;
pub use event::{decode_notices, encode_notices, notice_to_json};
pub(crate) use integer::{INTEGER_BYTES_MAX, Integer, encode_integer, integer_of};
pub use json::{value_from_json, value_to_json};
pub use stored::{CompressionStats, compression_stats};
pub use value::{decode_value, encode_value, encode_value_into};
