//! Nouns to bytes and back: the log's commands, snapshot records, values.

pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod compare;
pub(crate) mod stored;
pub(crate) mod value;
pub(crate) mod wire;
