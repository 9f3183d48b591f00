//! Values: the codec by itself, for tests, for `Concord.Compression`, and for whoever keeps values elsewhere.

use concord_kv::{ErrorKind, check_value, compression_stats, limits};

use crate::atoms::atoms;
use crate::call::{Answer, INLINE_BYTES_MAX, Nif, Stop, nif, succeeded};
use crate::decode;
use crate::encode::{Encoder, Refusal};
use crate::env::{Env, Term};
use crate::settings::compression_of;
use crate::status::map;

nif! {
    /// `encode(value)` -> `{:ok, binary} | {:error, kind}`
    encode, |env, args| encode_from(env, args, Some(encode_dirty))
}

nif! {
    /// The same for a large value.
    encode_dirty, |env, args| encode_from(env, args, None)
}

nif! {
    /// `decode(binary)` -> `{:ok, value} | {:error, :invalid_value}`
    decode, |env, args| decode_from(env, args, Some(decode_dirty))
}

nif! {
    /// The same for a large value.
    decode_dirty, |env, args| decode_from(env, args, None)
}

nif! {
    /// `compression_stats(binary, compression)` of an encoded value. Dirty: compresses.
    stats, |env, &[encoded, compression]| {
        let settings = compression_of(env, compression)?;
        let encoded = env.bytes(encoded).ok_or(Stop::Misused)?;
        let stats = compression_stats(encoded, &settings);
        let atoms = atoms();
        map(
            env,
            &[
                (atoms.compressed_size, env.make_uint(stats.compressed_bytes)),
                (atoms.compression_ratio, env.make_float(stats.ratio_percent)),
                (atoms.original_size, env.make_uint(stats.original_bytes)),
                (atoms.savings_bytes, env.make_int(stats.saved_bytes)),
                (atoms.savings_percent, env.make_float(stats.saved_percent)),
            ],
        )
    }
}

nif! {
    /// `panic()` -> `{:error, :internal}`: shows that a defect in here does not take the VM down.
    panic, |_env, &[]| -> Answer { panic!("asked to") }
}

fn encode_from(env: Env, &[term]: &[Term; 1], dirty: Option<Nif>) -> Answer {
    let mut out = Vec::new();
    let bytes_max = if dirty.is_some() { INLINE_BYTES_MAX } else { limits::VALUE_BYTES_MAX_CEILING };
    match (Encoder { env, out: &mut out, bytes_max }.value(term), dirty) {
        (Err(Refusal::Full), Some(dirty)) => Err(Stop::Later(dirty)),
        (result, _) => {
            result?;
            Ok(succeeded(env, env.make_binary(&out)))
        }
    }
}

fn decode_from(env: Env, &[encoded]: &[Term; 1], dirty: Option<Nif>) -> Answer {
    let bytes = env.bytes(encoded).ok_or(Stop::Misused)?;
    match dirty {
        Some(dirty) if bytes.len() > INLINE_BYTES_MAX => Err(Stop::Later(dirty)),
        _ => {
            check_value(bytes, limits::VALUE_BYTES_MAX_CEILING)?;
            let term = decode::value(env, bytes).map_err(|_| Stop::Failed(ErrorKind::InvalidValue))?;
            Ok(succeeded(env, term))
        }
    }
}
