//! Times: the text forms of dates and times that the value model accepts.
//!
//! Strict on purpose: what is stored can be read as a native date or time in every language that
//! has the year. No leap seconds, no lower case, no `24:00`, no offset `-00:00`.

use std::cmp::Ordering;

/// `2025-10-21`
pub(super) fn is_date(text: &str) -> bool {
    matches!(date(text.as_bytes()), Some([]))
}

/// `12:47:27` or `12:47:27.231034`
pub(super) fn is_time(text: &str) -> bool {
    matches!(time(text.as_bytes()), Some([]))
}

/// `2025-10-21T12:47:27.231034`
pub(super) fn is_naive_date_time(text: &str) -> bool {
    matches!(date_and_time(text.as_bytes()), Some([]))
}

/// `2025-10-21T12:47:27.231034Z` or with an offset such as `+02:00`
pub(super) fn is_date_time(text: &str) -> bool {
    date_and_time(text.as_bytes()).is_some_and(|rest| rest != b"-00:00" && offset_s(rest).is_some())
}

/// The same, where the offset is the zone's `total_s` in whole minutes.
pub(super) fn is_zoned(text: &str, total_s: i64) -> bool {
    let offset_s = date_and_time(text.as_bytes()).and_then(offset_s);
    offset_s.is_some_and(|offset_s| (offset_s - total_s).abs() < 60)
}

/// A date, a time, or both, as a number by which it is before or after others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A point in time: microseconds since the Unix epoch.
    Instant(i64),
    /// Date and time without zone, counted the same way.
    Naive(i64),
    /// Days since the Unix epoch.
    Date(i64),
    /// Microseconds since midnight.
    Time(i64),
}

impl Moment {
    /// Reads any of the four text forms.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        if is_date(text) {
            return Some(Moment::Date(days(text)));
        }
        if is_time(text) {
            return Some(Moment::Time(microseconds(text)));
        }
        if is_naive_date_time(text) {
            return Some(Moment::Naive(naive(text)));
        }
        let offset_s = offset_s(date_and_time(text.as_bytes())?)?;
        is_date_time(text).then(|| Moment::Instant(naive(text) - offset_s * 1_000_000))
    }

    /// A point in time in a zone, of which the text says the time there and the zone the exact offset.
    pub(super) fn zoned(text: &str, offset_s: i64) -> Option<Moment> {
        date_and_time(text.as_bytes())?;
        Some(Moment::Instant(naive(text) - offset_s * 1_000_000))
    }

    /// `None` for moments of different kinds.
    pub(crate) fn compare(self, other: Moment) -> Option<Ordering> {
        match (self, other) {
            (Moment::Instant(a), Moment::Instant(b))
            | (Moment::Naive(a), Moment::Naive(b))
            | (Moment::Date(a), Moment::Date(b))
            | (Moment::Time(a), Moment::Time(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }
}

/// Of text that begins with a date.
fn days(text: &str) -> i64 {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (year, month, day) = (sign * number(&text[..4]), number(&text[5..7]), number(&text[8..10]));
    // Years that begin in March, so that the leap day is the last one (Howard Hinnant, "chrono-compatible low-level date
    // algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Of text that begins with a time of day.
fn microseconds(text: &str) -> i64 {
    let seconds = number(&text[..2]) * 3600 + number(&text[3..5]) * 60 + number(&text[6..8]);
    let fraction = text[8..].strip_prefix('.').unwrap_or_default();
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).chain(std::iter::repeat(b'0')).take(6);
    seconds * 1_000_000 + digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// Of text that begins with a date and a time.
fn naive(text: &str) -> i64 {
    let time = text.find('T').map_or(text, |at| &text[at + 1..]);
    days(text) * 86_400_000_000 + microseconds(time)
}

/// Of decimal digits.
fn number(digits: &str) -> i64 {
    digits.bytes().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

fn date_and_time(bytes: &[u8]) -> Option<&[u8]> {
    time(date(bytes)?.strip_prefix(b"T")?)
}

/// What follows after a date at the front of `bytes`.
fn date(bytes: &[u8]) -> Option<&[u8]> {
    let (is_negative, bytes) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let (&[a, b, c, d, b'-', e, f, b'-', g, h], rest) = bytes.split_first_chunk::<10>()? else { return None };
    let year = two_digits(a, b)? * 100 + two_digits(c, d)?;
    let month = two_digits(e, f)?;
    let day = two_digits(g, h)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let day_max = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let is_valid = (1..=day_max).contains(&day) && !(is_negative && year == 0);
    is_valid.then_some(rest)
}

/// What follows after a time of day at the front of `bytes`.
fn time(bytes: &[u8]) -> Option<&[u8]> {
    let (&[a, b, b':', c, d, b':', e, f], rest) = bytes.split_first_chunk::<8>()? else { return None };
    if two_digits(a, b)? > 23 || two_digits(c, d)? > 59 || two_digits(e, f)? > 59 {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=6).contains(&digits).then(|| &fraction[digits..])
}

/// The offset that is all of `bytes`, in seconds.
fn offset_s(bytes: &[u8]) -> Option<i64> {
    if bytes == b"Z" {
        return Some(0);
    }
    let &[sign, a, b, b':', c, d] = bytes else { return None };
    let (hours, minutes) = (two_digits(a, b)?, two_digits(c, d)?);
    let offset_s = i64::from(hours * 3600 + minutes * 60);
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(offset_s),
        b'-' => Some(-offset_s),
        _ => None,
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let is_number = tens.is_ascii_digit() && ones.is_ascii_digit();
    is_number.then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let valid =
            ["2025-10-21", "0000-01-01", "9999-12-31", "-0001-12-31", "-9999-01-01", "2024-02-29", "2000-02-29"];
        let invalid = [
            "",
            "2025",
            "2025-10-21 ",
            "2025-13-01",
            "2025-00-01",
            "2025-01-00",
            "2025-04-31",
            "2025-02-29",
            "1900-02-29",
            "-0000-01-01",
            "+2025-01-01",
            "12025-01-01",
            "2025/01/01",
            "2025-1-1",
            "２025-01-01",
        ];
        assert!(valid.iter().all(|text| is_date(text)));
        assert!(!invalid.iter().any(|text| is_date(text)));
    }

    #[test]
    fn times_have_up_to_six_digits_of_a_second() {
        let valid = ["00:00:00", "23:59:59", "12:47:27.2", "12:47:27.231034"];
        let invalid =
            ["24:00:00", "12:60:00", "12:00:60", "12:00", "12:00:00.", "12:00:00.1234567", "1:00:00", "12:00:00Z"];
        assert!(valid.iter().all(|text| is_time(text)));
        assert!(!invalid.iter().any(|text| is_time(text)));
    }

    #[test]
    fn points_in_time_have_an_offset() {
        let day = "2025-10-21T12:47:27";
        assert!(["Z", "+00:00", "-03:30", ".000+23:59"].iter().all(|rest| is_date_time(&format!("{day}{rest}"))));
        let invalid = ["", "z", "-00:00", "+24:00", "+01:60", "+0100", "+01", " Z", "+01:00:00"];
        assert!(!invalid.iter().any(|rest| is_date_time(&format!("{day}{rest}"))));
        assert!(is_naive_date_time(day) && !is_naive_date_time("2025-10-21 12:47:27"));
    }

    #[test]
    fn moments_are_ordered_within_their_kind() {
        let moment = |text: &str| Moment::parse(text).unwrap();
        assert_eq!(moment("1970-01-01"), Moment::Date(0));
        assert_eq!(moment("2000-03-01"), Moment::Date(11_017));
        assert_eq!(moment("1969-12-31"), Moment::Date(-1));
        assert_eq!(moment("0000-03-01"), Moment::Date(-719_468));
        assert_eq!(moment("-0001-12-31").compare(moment("0000-01-01")), Some(Ordering::Less));
        assert_eq!(moment("00:00:01.5"), Moment::Time(1_500_000));
        assert_eq!(moment("1970-01-02T00:00:00.000001"), Moment::Naive(86_400_000_001));
        assert_eq!(moment("2025-10-21T12:00:00+02:00"), moment("2025-10-21T10:00:00Z"));
        assert_eq!(Moment::zoned("1900-01-01T00:00:00-00:00", -52), Some(moment("1900-01-01T00:00:52Z")));
        assert_eq!(moment("2025-10-21").compare(moment("12:00:00")), None);
        assert!(["", "2025", "2025-10-21T12:00:00-00:00"].iter().all(|text| Moment::parse(text).is_none()));
        let mut last = moment("-9999-01-01");
        for year in -9998..=9999i32 {
            let sign = if year < 0 { "-" } else { "" };
            let next = moment(&format!("{sign}{:04}-01-01", year.abs()));
            assert_eq!(last.compare(next), Some(Ordering::Less), "{year}");
            last = next;
        }
    }

    #[test]
    fn in_a_zone_the_offset_is_the_zone_s() {
        assert!(is_zoned("2025-10-21T12:47:27+02:00", 7200));
        assert!(!is_zoned("2025-10-21T12:47:27+02:00", 3600));
        // Accra until 1918, 52 seconds behind: Elixir writes -00:00.
        assert!(is_zoned("1900-01-01T00:00:00-00:00", -52));
        assert!(!is_zoned("1900-01-01T00:00:00", 0));
    }
}
