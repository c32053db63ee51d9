//! Points in time as people and programs read them: RFC 3339, UTC, milliseconds.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

const DAY_MS: u64 = 86_400_000;

/// A point in time: milliseconds since 1970-01-01 UTC. Written as `2026-01-31T08:05:09.042Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / DAY_MS);
        let ms = self.0 % DAY_MS;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            ms % 1000
        )
    }
}

/// Why a text is not a [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTimestamp;

impl fmt::Display for BadTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time such as 2026-01-31T08:05:09.042Z")
    }
}

impl std::error::Error for BadTimestamp {}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    /// Reads what [`Display`](fmt::Display) writes; the fraction, or it and the seconds, may be absent,
    /// and instead of `Z` there may be an offset such as `+01:00`.
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        parse(text).ok_or(BadTimestamp)
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (text, ahead_ms) = split_offset(text)?;
    let (date, time) = text.split_once('T')?;
    let minutes_only = format!("{time}:00");
    let time = if time.len() == 5 { &minutes_only } else { time };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "000"));
    let (year, month, day) = three(date, '-', [4, 2, 2])?;
    let (hour, minute, second) = three(clock, ':', [2, 2, 2])?;
    let ms = digits(fraction, 3)?;
    let days = days_from_civil(year, month, day)?;
    let is_real = civil_from_days(days) == (year, month, day);
    if !is_real || hour >= 24 || minute >= 60 || second >= 60 {
        return None;
    }
    let local = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    local.checked_add_signed(-ahead_ms).map(Timestamp)
}

/// The text without its offset, and how far its clock is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(text) = text.strip_suffix('Z') {
        return Some((text, 0));
    }
    let (text, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours >= 24 || minutes >= 60 {
        return None;
    }
    let ms = ((hours * 60 + minutes) * 60_000).cast_signed();
    match offset.as_bytes()[0] {
        b'+' => Some((text, ms)),
        b'-' => Some((text, -ms)),
        _ => None,
    }
}

fn three(text: &str, separator: char, widths: [usize; 3]) -> Option<(u64, u64, u64)> {
    let mut parts = text.split(separator);
    let numbers = (
        digits(parts.next()?, widths[0])?,
        digits(parts.next()?, widths[1])?,
        digits(parts.next()?, widths[2])?,
    );
    parts.next().is_none().then_some(numbers)
}

fn digits(text: &str, width: usize) -> Option<u64> {
    let plain = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// The date of a day counted from 1970-01-01, by eras of 400 years that begin on a 1 March, so
/// that the leap day is the last of its year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|bad| de::Error::custom(format_args!("{text:?} is {bad}")))
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC, with milliseconds"))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_in_time() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_769_846_709_042, "2026-01-31T08:05:09.042Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(ms)));
        }
        assert_eq!(
            "2026-01-31T08:05:09Z".parse(),
            Ok(Timestamp(1_769_846_709_000))
        );
    }

    #[test]
    fn an_offset_says_how_far_the_clock_is_ahead() {
        let utc: Timestamp = "2026-03-29T01:30:00Z".parse().unwrap();
        for text in [
            "2026-03-29T03:30:00+02:00",
            "2026-03-28T20:00:00-05:30",
            "2026-03-29T01:30:00+00:00",
            "2026-03-29T03:30+02:00",
            "2026-03-29T01:30Z",
        ] {
            assert_eq!(text.parse(), Ok(utc), "{text}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for day in 0..150_000 {
            let time = Timestamp(day * DAY_MS + 1);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "2026-01-31",
            "2026-02-30T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T08:05:09",
            "2026-01-31T08:05:09+0100",
            "2026-01-31T08:05",
            "2026-01-31T08Z",
            "2026-01-31T08:5Z",
            "2026-01-31T08:05.042Z",
            "2026-01-31T8:05:Z",
            "2026-01-31T08:05:09+24:00",
            "1970-01-01T00:30:00+01:00",
            "2026-01-31T08:05:09.04Z",
            "1969-12-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-31T08:05:+9Z",
        ] {
            assert_eq!(bad.parse::<Timestamp>(), Err(BadTimestamp), "{bad}");
        }
    }
}
