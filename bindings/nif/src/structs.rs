//! Structs: those of Elixir that the value model has a form for, and all others by name and fields.
//!
//! A struct whose fields are not what its own module would make (another calendar, a fraction finer than
//! its precision, a negative zero) is written by name and fields, so that it comes back as it was.

use concord_kv::{limits, tags};

use crate::atoms::{atoms, write_name};
use crate::cbor::{self, write_head};
use crate::encode::{Encoder, Refusal};
use crate::env::{Env, Kind, Term};
use crate::integer;
use crate::times::{Clock, Day, Moment};

const DATE_TIME_FIELDS: usize = 13;
const NAIVE_DATE_TIME_FIELDS: usize = 9;

/// Appends a struct.
pub(crate) fn write(encoder: &mut Encoder<'_>, map: Term, module: Term, depth: usize) -> Result<(), Refusal> {
    let atoms = atoms();
    let env = encoder.env;
    if module == atoms.date_time {
        if let Some(moment) = Moment::of_term(env, map, DATE_TIME_FIELDS) {
            return date_time(encoder, map, &moment, depth);
        }
    } else if module == atoms.naive_date_time {
        if let Some(moment) = Moment::of_term(env, map, NAIVE_DATE_TIME_FIELDS) {
            return text(encoder, tags::NAIVE_DATE_TIME, |out| moment.write(out));
        }
    } else if module == atoms.date {
        if let Some(day) = Day::of_term(env, map) {
            return text(encoder, tags::DATE, |out| day.write(out));
        }
    } else if module == atoms.time {
        if let Some(clock) = Clock::of_term(env, map) {
            return text(encoder, tags::TIME, |out| clock.write(out));
        }
    } else if module == atoms.decimal {
        if let Some(parts) = decimal_parts(env, map) {
            return decimal(encoder, parts, depth);
        }
    } else if module == atoms.map_set
        && let Some(elements) = map_set_elements(env, map)
    {
        return set(encoder, elements, depth);
    }
    by_name(encoder, map, module, depth)
}

fn text(encoder: &mut Encoder<'_>, tag: u64, f: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refusal> {
    write_head(cbor::TAG, tag, encoder.out);
    write_short_text(encoder.out, f);
    Ok(())
}

/// Appends text that `f` writes and that is longer than 23 and shorter than 256 bytes, or shorter.
fn write_short_text(out: &mut Vec<u8>, f: impl FnOnce(&mut Vec<u8>)) {
    let head = out.len();
    out.push(0);
    f(out);
    let len = out.len() - head - 1;
    if len < 24 {
        out[head] = cbor::TEXT << 5 | len as u8;
    } else {
        out[head] = cbor::TEXT << 5 | 24;
        out.insert(head + 1, len as u8);
    }
}

fn date_time(encoder: &mut Encoder<'_>, map: Term, moment: &Moment, depth: usize) -> Result<(), Refusal> {
    let (atoms, env) = (atoms(), encoder.env);
    let module = atoms.date_time;
    let zone = env.map_value(map, atoms.time_zone).and_then(|term| env.bytes(term));
    let abbreviation = env.map_value(map, atoms.zone_abbr).and_then(|term| env.bytes(term));
    let offset = |key| env.map_value(map, key).and_then(|term| env.int(term)).and_then(|int| i32::try_from(int).ok());
    let (Some(zone), Some(abbreviation), Some(utc_offset_s), Some(std_offset_s)) =
        (zone, abbreviation, offset(atoms.utc_offset), offset(atoms.std_offset))
    else {
        return by_name(encoder, map, module, depth);
    };
    let total_s = i64::from(utc_offset_s) + i64::from(std_offset_s);
    let mut fixed_offset = Vec::with_capacity(6);
    write_offset(total_s, &mut fixed_offset);
    if zone == b"Etc/UTC" && abbreviation == b"UTC" && utc_offset_s == 0 && std_offset_s == 0 {
        return text(encoder, tags::DATE_TIME, |out| {
            moment.write(out);
            out.push(b'Z');
        });
    }
    if zone == fixed_offset && abbreviation == fixed_offset && std_offset_s == 0 && total_s % 60 == 0 {
        return text(encoder, tags::DATE_TIME, |out| {
            moment.write(out);
            out.extend_from_slice(&fixed_offset);
        });
    }
    let is_text = std::str::from_utf8(zone).is_ok() && std::str::from_utf8(abbreviation).is_ok();
    let is_short = zone.len() <= 255 && abbreviation.len() <= 255;
    if !is_text || !is_short || zone.is_empty() || total_s.abs() >= 24 * 3600 {
        return by_name(encoder, map, module, depth);
    }
    check_level(depth)?;
    write_head(cbor::TAG, tags::ZONED_DATE_TIME, encoder.out);
    write_head(cbor::ARRAY, 5, encoder.out);
    write_short_text(encoder.out, |out| {
        moment.write(out);
        out.extend_from_slice(&fixed_offset);
    });
    for name in [zone, abbreviation] {
        write_head(cbor::TEXT, name.len() as u64, encoder.out);
        encoder.out.extend_from_slice(name);
    }
    for offset_s in [utc_offset_s, std_offset_s] {
        let offset_s = i64::from(offset_s);
        if offset_s >= 0 {
            write_head(cbor::UNSIGNED, offset_s as u64, encoder.out);
        } else {
            write_head(cbor::NEGATIVE, !offset_s as u64, encoder.out);
        }
    }
    Ok(())
}

/// Appends `+hh:mm`; seconds are cut off, as Elixir does.
fn write_offset(total_s: i64, out: &mut Vec<u8>) {
    let minutes = total_s.abs() / 60;
    let (hours, minutes) = (minutes / 60 % 100, minutes % 60);
    out.push(if total_s < 0 { b'-' } else { b'+' });
    out.extend([b'0' + (hours / 10) as u8, b'0' + (hours % 10) as u8, b':']);
    out.extend([b'0' + (minutes / 10) as u8, b'0' + (minutes % 10) as u8]);
}

/// Sign, coefficient and exponent of a `Decimal` that is a number.
fn decimal_parts(env: Env, map: Term) -> Option<(bool, Term, i64)> {
    let atoms = atoms();
    if env.map_size(map) != Some(4) {
        return None;
    }
    let coefficient = env.map_value(map, atoms.coef)?;
    let exponent = env.int(env.map_value(map, atoms.exp)?)?;
    let is_negative = match env.int(env.map_value(map, atoms.sign)?)? {
        1 => false,
        -1 => true,
        _ => return None,
    };
    let is_plain = match env.int(coefficient) {
        Some(int) => int > 0 || int == 0 && !is_negative,
        None => env.is_integer(coefficient) && !integer::is_big_negative(env, coefficient),
    };
    is_plain.then_some((is_negative, coefficient, exponent))
}

fn decimal(encoder: &mut Encoder<'_>, parts: (bool, Term, i64), depth: usize) -> Result<(), Refusal> {
    let (is_negative, coefficient, exponent) = parts;
    check_level(depth)?;
    let env = encoder.env;
    write_head(cbor::TAG, tags::DECIMAL, encoder.out);
    write_head(cbor::ARRAY, 2, encoder.out);
    if exponent >= 0 {
        write_head(cbor::UNSIGNED, exponent as u64, encoder.out);
    } else {
        write_head(cbor::NEGATIVE, !exponent as u64, encoder.out);
    }
    if !is_negative {
        return integer::write(env, coefficient, encoder.bytes_max, encoder.out);
    }
    if let Some(int) = env.uint(coefficient) {
        let mut magnitude = int.to_le_bytes().to_vec();
        integer::write_magnitude(true, &mut magnitude, encoder.out);
        return Ok(());
    }
    integer::write_negated(env, coefficient, encoder.bytes_max, encoder.out)
}

/// The map whose keys are the elements of a `MapSet`.
fn map_set_elements(env: Env, map: Term) -> Option<Term> {
    let atoms = atoms();
    let fields = if atoms.map_set_version.is_some() { 3 } else { 2 };
    let version = env.map_value(map, atoms.version).and_then(|term| env.int(term));
    if env.map_size(map) != Some(fields) || version != atoms.map_set_version {
        return None;
    }
    let elements = env.map_value(map, atoms.map)?;
    let is_plain = env.kind(elements) == Kind::Map
        && env.each_entry(elements, |_, value| if env.is_empty_list(value) { Ok(()) } else { Err(()) }).is_ok();
    is_plain.then_some(elements)
}

fn set(encoder: &mut Encoder<'_>, elements: Term, depth: usize) -> Result<(), Refusal> {
    let count = encoder.env.map_size(elements).ok_or(Refusal::Invalid)?;
    encoder.check_count(count)?;
    write_head(cbor::TAG, tags::SET, encoder.out);
    write_head(cbor::ARRAY, count as u64, encoder.out);
    encoder.env.each_entry(elements, |element, _| encoder.item(element, depth + 1))
}

fn by_name(encoder: &mut Encoder<'_>, map: Term, module: Term, depth: usize) -> Result<(), Refusal> {
    check_level(depth)?;
    let atoms = atoms();
    let count = encoder.env.map_size(map).ok_or(Refusal::Invalid)?;
    encoder.check_count(count)?;
    write_head(cbor::TAG, tags::STRUCT, encoder.out);
    write_head(cbor::ARRAY, 2, encoder.out);
    write_name(encoder.env, module, encoder.out).ok_or(Refusal::Invalid)?;
    write_head(cbor::MAP, count as u64 - 1, encoder.out);
    encoder.env.each_entry(map, |key, value| {
        if key == atoms.struct_ {
            return Ok(());
        }
        encoder.item(key, depth + 2)?;
        encoder.item(value, depth + 2)
    })
}

/// Whether there may be items inside an item of this depth.
fn check_level(depth: usize) -> Result<(), Refusal> {
    if depth >= limits::VALUE_DEPTH_MAX { Err(Refusal::Invalid) } else { Ok(()) }
}
