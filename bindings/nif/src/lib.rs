//! NIF of Concord.
