//! C interface of Concord.
