//! Stored form: an encoded value as it lies in log, memory and snapshot, compressed or not.
//!
//! One byte says how: 0 raw, 1 zlib (RFC 1950), 2 gzip (RFC 1952). Raw values follow as they are;
//! compressed ones after the length of the original, four bytes, little-endian.
//! This format is on disk: a number is never given to another codec.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};

use crate::config::{Compression, CompressionAlgorithm};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::VALUE_BYTES_MAX_CEILING;
use crate::model::Compress;

/// Codec byte of a value that is stored as it is.
pub(crate) const RAW: u8 = 0;
const ZLIB: u8 = 1;
const GZIP: u8 = 2;

/// Codec byte and original length.
const COMPRESSED_HEADER_BYTES: usize = 5;

/// The stored form of an encoded value.
pub(crate) fn seal(value: &[u8], compress: Compress, settings: &Compression) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + value.len());
    seal_into(value, compress, settings, &mut out);
    out
}

/// The same, appended to `out`; a raw value is copied once.
pub(crate) fn seal_into(value: &[u8], compress: Compress, settings: &Compression, out: &mut Vec<u8>) {
    let is_wanted = match compress {
        Compress::Auto => settings.enabled && value.len() > settings.threshold_bytes,
        Compress::Always => true,
        Compress::Never => false,
    };
    if is_wanted && value.len() <= VALUE_BYTES_MAX_CEILING && compress_into(value, settings, out) {
        return;
    }
    out.reserve(1 + value.len());
    out.push(RAW);
    out.extend_from_slice(value);
}

/// Appends the compressed form if it is smaller than the raw one; otherwise leaves `out` as it was.
fn compress_into(value: &[u8], settings: &Compression, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let codec = match settings.algorithm {
        CompressionAlgorithm::Zlib => ZLIB,
        CompressionAlgorithm::Gzip => GZIP,
    };
    out.push(codec);
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    let is_smaller = deflate(value, settings, out).is_ok() && out.len() - before < 1 + value.len();
    if !is_smaller {
        out.truncate(before);
    }
    is_smaller
}

fn deflate(value: &[u8], settings: &Compression, out: &mut Vec<u8>) -> std::io::Result<()> {
    let level = flate2::Compression::new(settings.level.min(9));
    match settings.algorithm {
        CompressionAlgorithm::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(out, level);
            encoder.write_all(value)?;
            encoder.finish().map(drop)
        }
        CompressionAlgorithm::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(value)?;
            encoder.finish().map(drop)
        }
    }
}

/// The encoded value of a stored form. Costs no more memory than the length that the form declares,
/// which is at most the largest value that configuration may allow.
///
/// Errors: `corrupt`.
pub(crate) fn open(stored: &[u8]) -> Result<Cow<'_, [u8]>> {
    match stored {
        [RAW, value @ ..] => Ok(Cow::Borrowed(value)),
        [codec @ (ZLIB | GZIP), a, b, c, d, body @ ..] => {
            inflate(*codec, u32::from_le_bytes([*a, *b, *c, *d]) as usize, body).map(Cow::Owned)
        }
        _ => Err(corrupt("a stored value has no known form")),
    }
}

fn inflate(codec: u8, declared_bytes: usize, body: &[u8]) -> Result<Vec<u8>> {
    if declared_bytes > VALUE_BYTES_MAX_CEILING {
        return Err(corrupt("a compressed value declares more bytes than a value may have"));
    }
    let mut out = Vec::new();
    // Deflate expands at most 1,032 times: a short body cannot make us reserve much.
    out.reserve_exact(declared_bytes.min(body.len().saturating_mul(1032)));
    // One byte more than declared is asked for, so that the reader meets the end and its checksum.
    let limit = declared_bytes as u64 + 1;
    let mut rest = body;
    let result = match codec {
        ZLIB => flate2::bufread::ZlibDecoder::new(&mut rest).take(limit).read_to_end(&mut out),
        _ => flate2::bufread::GzDecoder::new(&mut rest).take(limit).read_to_end(&mut out),
    };
    match result {
        Ok(bytes) if bytes == declared_bytes && rest.is_empty() => Ok(out),
        Ok(_) => Err(corrupt("a compressed value has not the length that it declares")),
        Err(error) => Err(corrupt("a compressed value cannot be decompressed").with_source(error)),
    }
}

#[cold]
fn corrupt(message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// What compression makes of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressionStats {
    /// Bytes of the encoded value.
    pub original_bytes: u64,
    /// Bytes of it compressed.
    pub compressed_bytes: u64,
    /// Compressed size in percent of the original.
    pub ratio_percent: f64,
    /// Bytes that compression saves; below zero when it makes the value larger (it is then stored as it is).
    pub saved_bytes: i64,
    /// The same in percent of the original.
    pub saved_percent: f64,
}

/// What compression with these settings makes of an encoded value, whether or not it is above the threshold.
///
/// ```
/// use concord_kv::{compression_stats, encode_value, Compression, Value};
/// let value = encode_value(&Value::from("x".repeat(10_000)))?;
/// let stats = compression_stats(&value, &Compression::default());
/// assert_eq!(stats.original_bytes, 10_003);
/// assert!(stats.saved_percent > 99.0);
/// # Ok::<(), concord_kv::Error>(())
/// ```
pub fn compression_stats(value: &[u8], settings: &Compression) -> CompressionStats {
    let mut compressed = Vec::new();
    let compressed_bytes = match deflate(value, settings, &mut compressed) {
        Ok(()) => compressed.len() as u64,
        Err(_) => value.len() as u64,
    };
    let original_bytes = value.len() as u64;
    let percent = |bytes: f64| (bytes * 10_000.0 / (original_bytes.max(1) as f64)).round() / 100.0;
    let saved_bytes = original_bytes as i64 - compressed_bytes as i64;
    CompressionStats {
        original_bytes,
        compressed_bytes,
        ratio_percent: percent(compressed_bytes as f64),
        saved_bytes,
        saved_percent: percent(saved_bytes as f64),
    }
}
