//! Tags: the numbers that the value model puts in front of CBOR items, listed once.
//!
//! A value is one CBOR item (RFC 8949). Null, booleans, integers, floats, text, bytes, lists and maps
//! need no tag. Everything else is one of these tags over exactly the content described; any other tag,
//! or other content, is refused as `invalid_value`. A tag never stands directly over another tag.
//!
//! Times are checked when they are stored: years are `0000` to `9999`, or `-0001` to `-9999`; seconds
//! are 0 to 59; a fraction has one to six digits; letters are upper case; offsets are `Z` or `+hh:mm` / `-hh:mm`.

/// A point in time in UTC or with a fixed offset, over RFC 3339 text: `2025-10-21T12:47:27.231034Z`.
pub const DATE_TIME: u64 = 0;

/// A non-negative integer beyond 64 bits, over its bytes, big-endian.
pub const BIG_POSITIVE: u64 = 2;

/// An integer `-1 - n` below -2^64, over the bytes of `n`, big-endian.
pub const BIG_NEGATIVE: u64 = 3;

/// A decimal number, over `[exponent, mantissa]`: an integer of 64 bits and an integer of any size.
///
/// Decimal NaN, infinities and negative zero have no such form; languages that have them write a struct.
pub const DECIMAL: u64 = 4;

/// A value of a named type, over `[name, fields]`: text and a map.
pub const STRUCT: u64 = 27;

/// A name (Elixir's atom), over text.
pub const ATOM: u64 = 39;

/// A set, over a list.
pub const SET: u64 = 258;

/// A calendar date, over text: `2025-10-21`.
pub const DATE: u64 = 1004;

/// A tuple, over a list.
pub const TUPLE: u64 = 17220;

/// Date and time without zone, over text: `2025-10-21T12:47:27.231034`.
pub const NAIVE_DATE_TIME: u64 = 17221;

/// A time of day, over text: `12:47:27.231034`.
pub const TIME: u64 = 17222;

/// A point in time in a named zone, over `[text, zone, abbreviation, utc_offset_s, std_offset_s]`.
///
/// The text has the offset of that moment in whole minutes; where the zone's offset has seconds (before
/// about 1930), the sum of the two offsets is the exact one and the text's differs from it by less than a minute.
pub const ZONED_DATE_TIME: u64 = 17223;
