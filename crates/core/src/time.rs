//! Time, as it is handed to the rules.
//!
//! Two clocks come in together: the boot clock, which never steps and therefore carries every
//! deadline and every age, and the wall clock, which people read and which may step at any moment.

use std::fmt;

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

/// Written as people write it: `1h 5m`, `2m 30s`, `4s`, `250ms`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes, rest) {
            (0, 0, 0) => write!(f, "{}ms", self.0),
            (0, 0, s) => write!(f, "{s}s"),
            (0, m, 0) => write!(f, "{m}m"),
            (0, m, s) => write!(f, "{m}m {s}s"),
            (h, 0, _) => write!(f, "{h}h"),
            (h, m, _) => write!(f, "{h}h {m}m"),
        }
    }
}

/// A moment on the boot clock: milliseconds since the machine started. Negative for what began
/// before that (a session that outlived a reboot of the balancer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// The moment `span` later.
    pub const fn plus(self, span: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub const fn since(self, earlier: Moment) -> Millis {
        let span = self.0.saturating_sub(earlier.0);
        Millis(if span > 0 { span.unsigned_abs() } else { 0 })
    }
}

/// A point on the wall clock: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The boot clock.
    pub moment: Moment,
    /// The wall clock.
    pub wall: WallTime,
}

impl Now {
    /// What the wall clock shows at `moment`, if it does not step in between.
    pub const fn wall_at(&self, moment: Moment) -> WallTime {
        let distance = moment.0.saturating_sub(self.moment.0);
        WallTime(self.wall.0.saturating_add_signed(distance))
    }

    /// The moment at which the wall clock shows `wall`, if it does not step in between.
    pub const fn moment_at(&self, wall: WallTime) -> Moment {
        let distance = wall.0 as i64 - self.wall.0 as i64;
        Moment(self.moment.0.saturating_add(distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        let texts: Vec<String> = [250, 4_000, 150_000, 120_000, 3_900_000, 7_200_000]
            .map(|ms| Millis(ms).to_string())
            .to_vec();
        assert_eq!(texts, ["250ms", "4s", "2m 30s", "2m", "1h 5m", "2h"]);
    }

    #[test]
    fn moments_and_wall_times_convert_both_ways() {
        let now = Now {
            moment: Moment(5_000),
            wall: WallTime(1_000_000),
        };
        assert_eq!(now.wall_at(Moment(7_000)), WallTime(1_002_000));
        assert_eq!(now.moment_at(WallTime(990_000)), Moment(-5_000));
        assert_eq!(Moment(3).since(Moment(9)), Millis(0));
    }
}
