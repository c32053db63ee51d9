//! The wall clock, as people and logs read it. All times are UTC.

use ebbtide_core::WallTime;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A date of the Gregorian calendar with the time of day.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    millis: u64,
}

impl Civil {
    /// `Jan` to `Dec`.
    fn month_name(&self) -> &'static str {
        let index = usize::try_from(self.month - 1).ok();
        let name = index.and_then(|index| MONTHS.get(index));
        name.copied().unwrap_or_default()
    }

    fn of(time: WallTime) -> Self {
        let (days, of_day) = (time.0 / 86_400_000, time.0 % 86_400_000);
        // Days are counted from 1 March of the year 0, so that leap days come last: then the
        // months' lengths follow one formula.
        let days = days + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1000 % 60,
            millis: of_day % 1000,
        }
    }
}

/// `2026-11-22T17:11:21.042Z` (RFC 3339).
pub(crate) fn rfc3339(time: WallTime) -> String {
    let at = Civil::of(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.millis
    )
}

/// `2026-11-22 17:11 UTC`, for people.
pub(crate) fn minute(time: WallTime) -> String {
    let at = Civil::of(time);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02} UTC",
        at.year, at.month, at.day, at.hour, at.minute
    )
}

/// `Sun, 22 Nov 2026 17:11:21 GMT` (RFC 9110, 5.6.7). What is left of the second is left out: nobody
/// is told of an end that is later than it will be.
pub(crate) fn http_date(time: WallTime) -> String {
    let at = Civil::of(time);
    // 1 January 1970 was a Thursday.
    let weekday = WEEKDAYS[(time.0 / 86_400_000 % 7) as usize];
    format!(
        "{weekday}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        at.day,
        at.month_name(),
        at.year,
        at.hour,
        at.minute,
        at.second
    )
}

/// `22/Nov/2026:17:11:21 +0000`, as in the combined log format.
pub(crate) fn common_log(time: WallTime) -> String {
    let at = Civil::of(time);
    format!(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02} +0000",
        at.day,
        at.month_name(),
        at.year,
        at.hour,
        at.minute,
        at.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_others_write_them() {
        let shown = |seconds: u64| rfc3339(WallTime(seconds * 1000 + 42));
        assert_eq!(shown(0), "1970-01-01T00:00:00.042Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59.042Z");
        assert_eq!(shown(951_868_799), "2000-02-29T23:59:59.042Z");
        assert_eq!(shown(1_795_367_481), "2026-11-22T17:11:21.042Z");
        let field = http_date(WallTime(1_795_367_481_999));
        assert_eq!(field, "Sun, 22 Nov 2026 17:11:21 GMT");
        let shown = minute(WallTime(1_795_367_481_000));
        assert_eq!(shown, "2026-11-22 17:11 UTC");
        let logged = common_log(WallTime(1_795_367_481_000));
        assert_eq!(logged, "22/Nov/2026:17:11:21 +0000");
    }
}
