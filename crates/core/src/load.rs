//! Load: how busy a server's machine is, and where every worker reads it, without a new snapshot.

use crate::time::{Millis, Moment};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A reading counts in full until it is as old as so many halves of the time between two readings...
const FULL_HALVES: u64 = 3;
/// ... and no longer at all when it is as old as so many.
const STALE_HALVES: u64 = 6;

/// How busy a machine is, in hundredths of a percent: from 0 to 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load(u16);

impl Load {
    /// Nothing more can be done there.
    pub const FULL: Load = Load(10_000);

    /// So many percent; more than 100 are 100.
    pub const fn from_percent(percent: u32) -> Self {
        match percent {
            0..100 => Self(percent as u16 * 100),
            _ => Self::FULL,
        }
    }

    /// A share, where 1 is full; beyond either end it is that end. `None` if it is no number.
    pub fn from_share(share: f64) -> Option<Self> {
        (!share.is_nan()).then(|| Self((share.clamp(0.0, 1.0) * 10_000.0).round() as u16))
    }

    /// In hundredths of a percent.
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// As it is compared, such as `76.5 %`.
    pub fn exactly(self) -> String {
        format!("{} %", f64::from(self.0) / 100.0)
    }

    /// The load that a machine must come down to which was above a peak load of this: nine tenths of it.
    pub const fn back_from_peak(self) -> Self {
        Self(self.0 - self.0 / 10)
    }

    /// In percent, rounded.
    pub const fn percent(self) -> u32 {
        (self.0 as u32 + 50) / 100
    }
}

/// `34 %`.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

/// What was last read of a server's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadReading {
    /// How busy it was.
    pub load: Load,
    /// When.
    pub at: Moment,
    /// Sessions that the server had then.
    pub sessions: u32,
    /// Time between two readings.
    pub every: Millis,
}

impl LoadReading {
    /// How far it can be relied on, from 1 down to 0: it is as good as new until the next one is
    /// overdue, and worth nothing when the one after that is.
    pub fn trust(&self, now: Moment) -> f64 {
        let age = now.since(self.at).0.saturating_mul(2);
        let (full, stale) = (self.every.0 * FULL_HALVES, self.every.0 * STALE_HALVES);
        match age {
            age if age <= full => 1.0,
            age if age < stale => (stale - age) as f64 / (stale - full) as f64,
            _ => 0.0,
        }
    }

    /// Whether it is too old to be relied on at all.
    pub fn is_stale(&self, now: Moment) -> bool {
        now.since(self.at).0.saturating_mul(2) >= self.every.0 * STALE_HALVES
    }
}

/// The last reading of a server's machine. One writer; readers may see half of a new one beside half
/// of the one before, which is as good as either.
#[derive(Debug, Default)]
pub struct LoadGauge {
    /// The moment, with the load and one in the last 16 bits; 0: there is no reading.
    reading: AtomicU64,
    sessions: AtomicU32,
    every_ms: AtomicU32,
}

impl LoadGauge {
    /// Takes in a new reading.
    pub fn set(&self, reading: LoadReading) {
        let every = u32::try_from(reading.every.0).unwrap_or(u32::MAX);
        self.every_ms.store(every, Relaxed);
        self.sessions.store(reading.sessions, Relaxed);
        let at = reading.at.0.max(0).unsigned_abs();
        self.reading
            .store(at << 16 | (u64::from(reading.load.0) + 1), Relaxed);
    }

    /// Forgets what was read.
    pub fn clear(&self) {
        self.reading.store(0, Relaxed);
    }

    /// The last reading, however old.
    pub fn reading(&self) -> Option<LoadReading> {
        let reading = self.reading.load(Relaxed);
        let load = (reading as u16).checked_sub(1)?;
        Some(LoadReading {
            load: Load(load),
            at: Moment((reading >> 16).cast_signed()),
            sessions: self.sessions.load(Relaxed),
            every: Millis(u64::from(self.every_ms.load(Relaxed))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_between_nothing_and_everything() {
        let shares = [-1.0, 0.0, 0.335, 1.0, 7.0, f64::INFINITY];
        let loads = shares.map(|share| Load::from_share(share).unwrap().to_string());
        assert_eq!(loads, ["0 %", "0 %", "34 %", "100 %", "100 %", "100 %"]);
        assert_eq!(Load::from_share(f64::NAN), None);
        assert_eq!(
            [34, 100, 400].map(|p| Load::from_percent(p).percent()),
            [34, 100, 100]
        );
        let peaks = [80, 85, 1].map(Load::from_percent);
        let back = peaks.map(|peak| peak.back_from_peak().exactly());
        assert_eq!(back, ["72 %", "76.5 %", "0.9 %"]);
    }

    #[test]
    fn a_gauge_gives_back_what_it_was_given_until_it_is_cleared() {
        let gauge = LoadGauge::default();
        assert_eq!(gauge.reading(), None);
        for load in [0, 1, 9_999, 10_000] {
            let reading = LoadReading {
                load: Load(load),
                at: Moment(9_000_000_000_000),
                sessions: 7,
                every: Millis(5_000),
            };
            gauge.set(reading);
            assert_eq!(gauge.reading(), Some(reading));
        }
        gauge.clear();
        assert_eq!(gauge.reading(), None);
    }

    #[test]
    fn a_reading_is_worth_less_once_the_next_one_is_overdue() {
        let reading = LoadReading {
            load: Load(0),
            at: Moment(0),
            sessions: 0,
            every: Millis(1_000),
        };
        let trust = [0, 1_500, 2_250, 3_000, 9_000].map(|age| reading.trust(Moment(age)));
        assert_eq!(trust, [1.0, 1.0, 0.5, 0.0, 0.0]);
    }
}
