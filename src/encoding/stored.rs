//! stand-in
use crate::config::Compression;
use crate::error::*;
use crate::model::Compress;
use std::borrow::Cow;
pub(crate) const RAW: u8 = 0;
pub(crate) fn open(stored: &[u8]) -> Result<Cow<'_, [u8]>> {
    Ok(Cow::Borrowed(&stored[1..]))
}
pub(crate) fn seal<'a>(value: &'a [u8], _c: Compress, _s: &Compression) -> Cow<'a, [u8]> {
    let mut v = vec![0];
    v.extend_from_slice(value);
    Cow::Owned(v)
}
