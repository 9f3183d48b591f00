//! The `concord` program.
fn main() {}
