//! Writer: heads, strings and floats of CBOR in their one preferred form.

use crate::encoding::cbor::reader::major;

/// Writes the shortest head.
#[inline]
pub(in crate::encoding) fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    if argument < 24 {
        out.push(major | argument as u8);
    } else if let Ok(argument) = u8::try_from(argument) {
        out.extend_from_slice(&[major | 24, argument]);
    } else if let Ok(argument) = u16::try_from(argument) {
        let [a, b] = argument.to_be_bytes();
        out.extend_from_slice(&[major | 25, a, b]);
    } else if let Ok(argument) = u32::try_from(argument) {
        let [a, b, c, d] = argument.to_be_bytes();
        out.extend_from_slice(&[major | 26, a, b, c, d]);
    } else {
        let mut head = [major | 27; 9];
        head[1..].copy_from_slice(&argument.to_be_bytes());
        out.extend_from_slice(&head);
    }
}

/// Writes text with its head.
#[inline]
pub(in crate::encoding) fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(major::TEXT, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Writes bytes with their head.
#[inline]
pub(in crate::encoding) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_head(major::BYTES, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a float; always 64 bits, so that every language agrees on the bytes.
#[inline]
pub(in crate::encoding) fn write_float(float: f64, out: &mut Vec<u8>) {
    let mut bytes = [0xfb; 9];
    bytes[1..].copy_from_slice(&float.to_bits().to_be_bytes());
    out.extend_from_slice(&bytes);
}

/// Puts the head in front of the `count` items that were written from `start` on.
pub(in crate::encoding) fn insert_head(major: u8, count: u64, start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    write_head(major, count, out);
    let mut head = [0; 9];
    let head_bytes = out.len() - end;
    head[..head_bytes].copy_from_slice(&out[end..]);
    out.copy_within(start..end, start + head_bytes);
    out[start..start + head_bytes].copy_from_slice(&head[..head_bytes]);
}
