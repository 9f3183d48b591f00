//! Stored form: an encoded value as it lies in log, memory and snapshot, compressed or not.
//!
//! One byte says how: 0 raw, 1 zlib (RFC 1950), 2 gzip (RFC 1952). Raw values follow as they are;
//! compressed ones after the length of the original, four bytes, little-endian.
//! This format is on disk: a number is never given to another codec.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::sync::{Mutex, PoisonError};

use flate2::{Compress as Deflater, Decompress as Inflater, FlushCompress, FlushDecompress, Status};

use crate::config::{Compression, CompressionAlgorithm};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::VALUE_BYTES_MAX_CEILING;
use crate::model::Compress;

/// Codec byte of a value that is stored as it is.
pub(crate) const RAW: u8 = 0;
const ZLIB: u8 = 1;
const GZIP: u8 = 2;

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
    let is_done = match settings.algorithm {
        CompressionAlgorithm::Zlib => deflate_zlib(value, settings.level.min(9), out),
        CompressionAlgorithm::Gzip => deflate(value, settings, out).is_ok(),
    };
    let is_smaller = is_done && out.len() - before < 1 + value.len();
    if !is_smaller {
        out.truncate(before);
    }
    is_smaller
}

/// States of finished compressions and decompressions. Making one costs more than a short value does.
static DEFLATERS: Mutex<Vec<(u32, Deflater)>> = Mutex::new(Vec::new());
static INFLATERS: Mutex<Vec<Inflater>> = Mutex::new(Vec::new());

/// Most states of a kind that wait for their next use; each holds up to about 300 KiB.
const IDLE_STATES_MAX: usize = 4;

fn borrow<T>(pool: &Mutex<Vec<T>>, fits: impl Fn(&T) -> bool) -> Option<T> {
    let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
    let at = idle.iter().position(fits)?;
    Some(idle.swap_remove(at))
}

fn give_back<T>(pool: &Mutex<Vec<T>>, state: T) {
    let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() >= IDLE_STATES_MAX {
        idle.remove(0);
    }
    idle.push(state);
}

/// Appends the zlib form of `value`, unless it would be longer than the value itself.
fn deflate_zlib(value: &[u8], level: u32, out: &mut Vec<u8>) -> bool {
    let mut state = borrow(&DEFLATERS, |(idle_level, _)| *idle_level == level)
        .unwrap_or_else(|| (level, Deflater::new(flate2::Compression::new(level), true)));
    out.reserve(value.len());
    let status = state.1.compress_vec(value, out, FlushCompress::Finish);
    state.1.reset();
    give_back(&DEFLATERS, state);
    matches!(status, Ok(Status::StreamEnd))
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

/// Bytes that `open` would give, as the stored form says.
pub(crate) fn opened_len(stored: &[u8]) -> usize {
    match stored {
        [ZLIB | GZIP, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => stored.len().saturating_sub(1),
    }
}

fn inflate(codec: u8, declared_bytes: usize, body: &[u8]) -> Result<Vec<u8>> {
    if declared_bytes > VALUE_BYTES_MAX_CEILING {
        return Err(corrupt("a compressed value declares more bytes than a value may have"));
    }
    // Deflate expands at most 1,032 times: a short body cannot make us reserve much.
    // One byte more than declared, so that the reader meets the end and its checksum.
    let mut out = Vec::with_capacity(declared_bytes.min(body.len().saturating_mul(1032)) + 1);
    let is_whole = match codec {
        ZLIB => inflate_zlib(body, &mut out),
        _ => {
            let mut rest = body;
            let decoder = flate2::bufread::GzDecoder::new(&mut rest);
            decoder.take(declared_bytes as u64 + 1).read_to_end(&mut out).is_ok() && rest.is_empty()
        }
    };
    if !is_whole || out.len() != declared_bytes {
        return Err(corrupt("a compressed value cannot be decompressed to the length that it declares"));
    }
    Ok(out)
}

/// Appends what all of `body` inflates to, if there is room for it.
fn inflate_zlib(body: &[u8], out: &mut Vec<u8>) -> bool {
    let mut state = borrow(&INFLATERS, |_| true).unwrap_or_else(|| Inflater::new(true));
    let status = state.decompress_vec(body, out, FlushDecompress::Finish);
    let is_whole = matches!(status, Ok(Status::StreamEnd)) && state.total_in() == body.len() as u64;
    state.reset(true);
    give_back(&INFLATERS, state);
    is_whole
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(algorithm: CompressionAlgorithm) -> Compression {
        Compression { algorithm, ..Compression::default() }
    }

    const ALGORITHMS: [CompressionAlgorithm; 2] = [CompressionAlgorithm::Zlib, CompressionAlgorithm::Gzip];

    const ZLIB_BODY: &[u8] = &[0x78, 0x9c, 0xab, 0x48, 0x49, 0xa4, 0x03, 0x00, 0x00, 0xd1, 0x8d, 0x26, 0xc1];
    const GZIP_BODY: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xab, 0x48, 0x49, 0xa4, 0x03, 0x00, 0x00, 0xdb,
        0xb8, 0x17, 0xda, 0x66, 0x00, 0x00, 0x00,
    ];

    /// Bytes that do not compress.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn values_come_back_whatever_the_settings() {
        for algorithm in ALGORITHMS {
            for level in 0..=9 {
                let settings = Compression { level, ..settings(algorithm) };
                for value in
                    [vec![], vec![1], vec![7; 1024], vec![7; 1025], noise(5000), [noise(500), vec![0; 90_000]].concat()]
                {
                    for compress in [Compress::Auto, Compress::Always, Compress::Never] {
                        let stored = seal(&value, compress, &settings);
                        assert_eq!(*open(&stored).unwrap(), *value);
                        assert_eq!(seal(&value, compress, &settings), stored, "the same whenever it is made");
                        assert!(stored.len() <= 1 + value.len(), "never larger than raw");
                    }
                }
            }
        }
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        let auto = |value: &[u8], settings: &Compression| seal(value, Compress::Auto, settings)[0];
        let default = Compression::default();
        assert_eq!(auto(&[7; 1024], &default), RAW, "not above the threshold");
        assert_eq!(auto(&[7; 1025], &default), ZLIB);
        assert_eq!(auto(&[7; 1025], &settings(CompressionAlgorithm::Gzip)), GZIP);
        assert_eq!(auto(&noise(5000), &default), RAW, "would be larger");
        assert_eq!(auto(&[7; 5000], &Compression { enabled: false, ..default }), RAW);
        assert_eq!(seal(&[7; 100], Compress::Always, &default)[0], ZLIB, "forced below the threshold");
        assert_eq!(seal(&[7; 5000], Compress::Never, &default)[0], RAW);
        assert_eq!(auto(&[7; 5000], &Compression { level: 0, ..default }), RAW);
    }

    #[test]
    fn what_was_stored_by_the_first_release_stays_readable() {
        // Made by Python's zlib and gzip: 100 times the letter a as text (78 64 61 61 ...).
        let value = [&[0x78, 0x64][..], &[b'a'; 100]].concat();
        let zlib = [&[1, 102, 0, 0, 0][..], ZLIB_BODY].concat();
        let gzip = [&[2, 102, 0, 0, 0][..], GZIP_BODY].concat();
        assert_eq!(*open(&zlib).unwrap(), *value);
        assert_eq!(*open(&gzip).unwrap(), *value);
        assert_eq!(*open(&[&[0][..], &value].concat()).unwrap(), *value);
    }

    #[test]
    fn damage_is_refused() {
        for algorithm in ALGORITHMS {
            let value = vec![7; 5000];
            let stored = seal(&value, Compress::Always, &settings(algorithm));
            for cut in 0..stored.len() {
                assert_eq!(open(&stored[..cut]).unwrap_err().kind(), ErrorKind::Corrupt);
            }
            let declare = |bytes: u32| [&stored[..1], &bytes.to_le_bytes(), &stored[5..]].concat();
            for declared in [0, 4999, 5001, u32::MAX] {
                assert_eq!(open(&declare(declared)).unwrap_err().kind(), ErrorKind::Corrupt);
            }
            let with_garbage = [&stored[..], &[0]].concat();
            assert_eq!(open(&with_garbage).unwrap_err().kind(), ErrorKind::Corrupt);
            let twice = [&stored[..], &stored[5..]].concat();
            assert_eq!(open(&twice).unwrap_err().kind(), ErrorKind::Corrupt);
            let mut last_changed = stored.clone();
            *last_changed.last_mut().unwrap() ^= 1;
            assert_eq!(open(&last_changed).unwrap_err().kind(), ErrorKind::Corrupt, "the checksum counts");
        }
        assert_eq!(open(&[]).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(open(&[3, 1, 2]).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    /// The checksum of zlib and gzip finds nearly everything; what it does not cover must do no harm.
    #[test]
    fn ten_thousand_damaged_forms_give_an_error_or_a_value() {
        let value: Vec<u8> = noise(300).repeat(4);
        let forms = ALGORITHMS.map(|algorithm| seal(&value, Compress::Always, &settings(algorithm)));
        let mut wrong = 0;
        for (round, place) in noise(20_000).chunks_exact(2).enumerate() {
            let mut stored = forms[round % 2].clone();
            let at = round % stored.len();
            stored[at] = stored[at].wrapping_add(place[0].max(1));
            match open(&stored) {
                Ok(opened) if at > 0 => wrong += usize::from(*opened != *value),
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
        assert_eq!(wrong, 0);
    }

    /// A body that inflates to 256 MiB, declared as little or as much as a value may have.
    #[test]
    fn a_compression_bomb_costs_no_more_than_it_declares() {
        let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 1 << 20];
        (0..256).for_each(|_| bomb.write_all(&zeros).unwrap());
        let bomb = bomb.finish().unwrap();
        for declared in [10, VALUE_BYTES_MAX_CEILING as u32, VALUE_BYTES_MAX_CEILING as u32 + 1, 256 << 20] {
            let stored = [&[ZLIB][..], &declared.to_le_bytes(), &bomb].concat();
            assert_eq!(open(&stored).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        // A tiny body cannot make us reserve what it declares.
        let tiny = [&[ZLIB][..], &(VALUE_BYTES_MAX_CEILING as u32).to_le_bytes(), &[0x78, 0x9c]].concat();
        assert_eq!(open(&tiny).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn stats_are_in_bytes_and_percent() {
        let stats = compression_stats(&[7; 10_000], &Compression::default());
        assert_eq!(stats.original_bytes, 10_000);
        assert_eq!(stats.saved_bytes, 10_000 - stats.compressed_bytes as i64);
        assert!((stats.ratio_percent + stats.saved_percent - 100.0).abs() < 0.011);
        let stats = compression_stats(&noise(5000), &Compression::default());
        assert!(stats.saved_bytes < 0 && stats.saved_percent < 0.0);
        assert_eq!(compression_stats(&[], &Compression::default()).original_bytes, 0);
    }
}
