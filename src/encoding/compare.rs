//! stand-in
pub(crate) fn equal_by_worth(a: &[u8], b: &[u8]) -> bool {
    a == b
}
