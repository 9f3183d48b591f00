//! Times: dates and times between Elixir's structs and the text of the value model.

use crate::atoms::atoms;
use crate::cbor::Malformed;
use crate::env::{Env, Term};

const YEAR_MAX: i64 = 9999;

/// A day of the ISO calendar.
pub(crate) struct Day {
    year: i64,
    month: u8,
    day: u8,
}

/// A time of day, with as many digits of a second as `precision` says.
pub(crate) struct Clock {
    hour: u8,
    minute: u8,
    second: u8,
    microsecond: u32,
    precision: u8,
}

/// Both.
pub(crate) struct Moment {
    pub(crate) day: Day,
    pub(crate) clock: Clock,
}

impl Day {
    /// The day of a `Date`; `None` unless it is just that.
    pub(crate) fn of_term(env: Env, map: Term) -> Option<Day> {
        const DATE_FIELDS: usize = 5;
        if env.map_size(map) == Some(DATE_FIELDS) { Day::of_fields(env, map) } else { None }
    }

    fn of_fields(env: Env, map: Term) -> Option<Day> {
        let atoms = atoms();
        if env.map_value(map, atoms.calendar)? != atoms.calendar_iso {
            return None;
        }
        let year = env.int(env.map_value(map, atoms.year)?)?;
        let month = field(env, map, atoms.month, 12)?;
        let day = field(env, map, atoms.day, 31)?;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_max = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let is_valid = (-YEAR_MAX..=YEAR_MAX).contains(&year) && month >= 1 && (1..=day_max).contains(&day);
        is_valid.then_some(Day { year, month, day })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let year = self.year.unsigned_abs();
        if self.year < 0 {
            out.push(b'-');
        }
        write_two((year / 100) as u8, out);
        write_two((year % 100) as u8, out);
        out.push(b'-');
        write_two(self.month, out);
        out.push(b'-');
        write_two(self.day, out);
    }

    /// The day at the front of a text, and what follows it.
    pub(crate) fn read(text: &[u8]) -> Result<(Day, &[u8]), Malformed> {
        let (sign, text) = match text.strip_prefix(b"-") {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (&[a, b, c, d, _, e, f, _, g, h], rest) = text.split_first_chunk::<10>().ok_or(Malformed)?;
        let year = sign * (i64::from(two(a, b)?) * 100 + i64::from(two(c, d)?));
        Ok((Day { year, month: two(e, f)?, day: two(g, h)? }, rest))
    }

    /// A `Date`.
    pub(crate) fn make(&self, env: Env) -> Result<Term, Malformed> {
        let atoms = atoms();
        let keys = [atoms.struct_, atoms.calendar, atoms.day, atoms.month, atoms.year];
        let [day, month, year] = self.terms(env);
        env.make_map(&keys, &[atoms.date, atoms.calendar_iso, day, month, year]).ok_or(Malformed)
    }

    fn terms(&self, env: Env) -> [Term; 3] {
        [env.make_int(self.day.into()), env.make_int(self.month.into()), env.make_int(self.year)]
    }
}

impl Clock {
    /// The time of a `Time`; `None` unless it is just that.
    pub(crate) fn of_term(env: Env, map: Term) -> Option<Clock> {
        const TIME_FIELDS: usize = 6;
        if env.map_size(map) == Some(TIME_FIELDS) { Clock::of_fields(env, map) } else { None }
    }

    fn of_fields(env: Env, map: Term) -> Option<Clock> {
        let atoms = atoms();
        if env.map_value(map, atoms.calendar)? != atoms.calendar_iso {
            return None;
        }
        let hour = field(env, map, atoms.hour, 23)?;
        let minute = field(env, map, atoms.minute, 59)?;
        let second = field(env, map, atoms.second, 59)?;
        let &[microsecond, precision] = env.tuple(env.map_value(map, atoms.microsecond)?)? else { return None };
        let microsecond = u32::try_from(env.int(microsecond)?).ok().filter(|us| *us < 1_000_000)?;
        let precision = u8::try_from(env.int(precision)?).ok().filter(|digits| *digits <= 6)?;
        let is_exact = microsecond % 10u32.pow(6 - u32::from(precision)) == 0;
        is_exact.then_some(Clock { hour, minute, second, microsecond, precision })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write_two(self.hour, out);
        out.push(b':');
        write_two(self.minute, out);
        out.push(b':');
        write_two(self.second, out);
        if self.precision > 0 {
            out.push(b'.');
            let mut digits = [0; 6];
            let mut rest = self.microsecond;
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            out.extend_from_slice(&digits[..self.precision as usize]);
        }
    }

    /// The time at the front of a text, and what follows it.
    pub(crate) fn read(text: &[u8]) -> Result<(Clock, &[u8]), Malformed> {
        let (&[a, b, _, c, d, _, e, f], rest) = text.split_first_chunk::<8>().ok_or(Malformed)?;
        let mut clock =
            Clock { hour: two(a, b)?, minute: two(c, d)?, second: two(e, f)?, microsecond: 0, precision: 0 };
        let Some(fraction) = rest.strip_prefix(b".") else { return Ok((clock, rest)) };
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 6 {
            return Err(Malformed);
        }
        let padded = fraction[..digits].iter().chain(std::iter::repeat(&b'0'));
        clock.microsecond = padded.take(6).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        clock.precision = digits as u8;
        Ok((clock, &fraction[digits..]))
    }

    /// A `Time`.
    pub(crate) fn make(&self, env: Env) -> Result<Term, Malformed> {
        let atoms = atoms();
        let keys = [atoms.struct_, atoms.calendar, atoms.hour, atoms.microsecond, atoms.minute, atoms.second];
        let [hour, microsecond, minute, second] = self.terms(env);
        env.make_map(&keys, &[atoms.time, atoms.calendar_iso, hour, microsecond, minute, second]).ok_or(Malformed)
    }

    fn terms(&self, env: Env) -> [Term; 4] {
        let fraction = [env.make_int(self.microsecond.into()), env.make_int(self.precision.into())];
        [
            env.make_int(self.hour.into()),
            env.make_tuple(&fraction),
            env.make_int(self.minute.into()),
            env.make_int(self.second.into()),
        ]
    }
}

impl Moment {
    /// The day and time of a struct with this many fields; `None` unless it is just that.
    pub(crate) fn of_term(env: Env, map: Term, fields: usize) -> Option<Moment> {
        if env.map_size(map) != Some(fields) {
            return None;
        }
        Some(Moment { day: Day::of_fields(env, map)?, clock: Clock::of_fields(env, map)? })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.day.write(out);
        out.push(b'T');
        self.clock.write(out);
    }

    /// The day and time at the front of a text, and what follows them.
    pub(crate) fn read(text: &[u8]) -> Result<(Moment, &[u8]), Malformed> {
        let (day, rest) = Day::read(text)?;
        let (clock, rest) = Clock::read(rest.strip_prefix(b"T").ok_or(Malformed)?)?;
        Ok((Moment { day, clock }, rest))
    }

    /// A `NaiveDateTime`.
    pub(crate) fn make_naive(&self, env: Env) -> Result<Term, Malformed> {
        let atoms = atoms();
        let [day, month, year] = self.day.terms(env);
        let [hour, microsecond, minute, second] = self.clock.terms(env);
        #[rustfmt::skip]
        let keys = [
            atoms.struct_, atoms.calendar, atoms.day, atoms.hour, atoms.microsecond, atoms.minute, atoms.month,
            atoms.second, atoms.year,
        ];
        let values = [atoms.naive_date_time, atoms.calendar_iso, day, hour, microsecond, minute, month, second, year];
        env.make_map(&keys, &values).ok_or(Malformed)
    }

    /// A `DateTime`.
    pub(crate) fn make_zoned(&self, env: Env, zone: &Zone<'_>) -> Result<Term, Malformed> {
        let atoms = atoms();
        let [day, month, year] = self.day.terms(env);
        let [hour, microsecond, minute, second] = self.clock.terms(env);
        #[rustfmt::skip]
        let keys = [
            atoms.struct_, atoms.calendar, atoms.day, atoms.hour, atoms.microsecond, atoms.minute, atoms.month,
            atoms.second, atoms.std_offset, atoms.time_zone, atoms.utc_offset, atoms.year, atoms.zone_abbr,
        ];
        #[rustfmt::skip]
        let values = [
            atoms.date_time, atoms.calendar_iso, day, hour, microsecond, minute, month,
            second, env.make_int(zone.std_offset_s), env.make_binary(zone.name),
            env.make_int(zone.utc_offset_s), year, env.make_binary(zone.abbreviation),
        ];
        env.make_map(&keys, &values).ok_or(Malformed)
    }
}

/// The zone of a `DateTime`.
pub(crate) struct Zone<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) abbreviation: &'a [u8],
    pub(crate) utc_offset_s: i64,
    pub(crate) std_offset_s: i64,
}

impl<'a> Zone<'a> {
    /// The zone of an offset, `Z` or `+hh:mm`. A fixed offset is a zone of that name, so that it is kept.
    pub(crate) fn of_offset(offset: &'a [u8]) -> Result<Zone<'a>, Malformed> {
        if offset == b"Z" {
            return Ok(Zone { name: b"Etc/UTC", abbreviation: b"UTC", utc_offset_s: 0, std_offset_s: 0 });
        }
        let &[sign, a, b, _, c, d] = offset else { return Err(Malformed) };
        let total_s = i64::from(two(a, b)?) * 3600 + i64::from(two(c, d)?) * 60;
        let utc_offset_s = if sign == b'-' { -total_s } else { total_s };
        Ok(Zone { name: offset, abbreviation: offset, utc_offset_s, std_offset_s: 0 })
    }
}

fn field(env: Env, map: Term, key: Term, max: u8) -> Option<u8> {
    let number = env.int(env.map_value(map, key)?)?;
    u8::try_from(number).ok().filter(|number| *number <= max)
}

fn write_two(number: u8, out: &mut Vec<u8>) {
    out.extend([b'0' + number / 10, b'0' + number % 10]);
}

fn two(tens: u8, ones: u8) -> Result<u8, Malformed> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() { Ok((tens - b'0') * 10 + (ones - b'0')) } else { Err(Malformed) }
}
