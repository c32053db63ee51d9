//! How long a drain is likely to take still, from how long sessions of the pool last: those that have
//! ended, and those that have not, of which no more is known than that they last longer (the estimate
//! of Kaplan and Meier). Who looks only at those that have ended sees the short ones and foretells too
//! early an end.

use crate::time::Millis;
use std::collections::VecDeque;

/// Durations kept per pool: enough to show the shape, few enough to look through at any moment.
const KEPT: usize = 1024;
/// Below this many sessions that ended by themselves nothing is foretold.
const NEEDED: usize = 8;
/// Of a session: what sums of shares may be wrong by.
const ROUNDING: f64 = 1e-6;

/// How long the pool's recent sessions lasted.
#[derive(Clone, Debug, Default)]
pub struct DurationHistory {
    /// In order of ending, the oldest first.
    lasted: VecDeque<Lasted>,
    /// How many of them ended by themselves.
    ended: usize,
}

/// How long a session lasted.
#[derive(Clone, Copy, Debug)]
struct Lasted {
    span: Millis,
    /// It ended by itself: otherwise it would have lasted longer.
    by_itself: bool,
}

/// When sessions will probably be gone, counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Half of them.
    pub half: Millis,
    /// All of them (fewer than half a session is expected to be left); `None`: not before the
    /// deadline, or later than any session seen so far would allow to say.
    pub all: Option<Millis>,
    /// How many sessions that have ended by themselves this rests on.
    pub samples: usize,
}

/// How many sessions will probably be left at a time: nine times out of ten between `low` and `high`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Left {
    /// What is expected.
    pub likely: f64,
    /// Rarely fewer.
    pub low: f64,
    /// Rarely more.
    pub high: f64,
}

/// Nine of ten outcomes lie within so many standard deviations of what is expected.
const NINE_OF_TEN: f64 = 1.645;

/// Which share of sessions lasts longer than a time.
#[derive(Clone, Debug)]
pub struct Survival {
    /// Times at which sessions ended, in ascending order, and the share that lasts longer than each.
    steps: Vec<(u64, f64)>,
    samples: usize,
}

impl DurationHistory {
    /// Takes one more, which ended by itself.
    pub fn record(&mut self, span: Millis) {
        self.keep(span, true);
    }

    /// Takes one more, which was ended from outside.
    pub fn record_cut_off(&mut self, span: Millis) {
        self.keep(span, false);
    }

    fn keep(&mut self, span: Millis, by_itself: bool) {
        if self.lasted.len() == KEPT
            && let Some(oldest) = self.lasted.pop_front()
        {
            self.ended -= usize::from(oldest.by_itself);
        }
        self.lasted.push_back(Lasted { span, by_itself });
        self.ended += usize::from(by_itself);
    }

    /// Whether enough sessions have ended by themselves to foretell anything.
    pub fn is_enough(&self) -> bool {
        self.ended >= NEEDED
    }

    /// What past sessions and those that are open now (by their ages) tell together; `None` if too few
    /// have ended.
    pub fn survival(&self, open: &[Millis]) -> Option<Survival> {
        if !self.is_enough() {
            return None;
        }
        let past = self.lasted.iter().map(|one| (one.span.0, one.by_itself));
        let mut all: Vec<(u64, bool)> = past.chain(open.iter().map(|age| (age.0, false))).collect();
        all.sort_unstable();
        let mut steps: Vec<(u64, f64)> = Vec::new();
        let (mut at_risk, mut share) = (all.len(), 1.0);
        for same in all.chunk_by(|one, other| one.0 == other.0) {
            let ended = same.iter().filter(|(_, by_itself)| *by_itself).count();
            if ended > 0 {
                share *= 1.0 - ended as f64 / at_risk as f64;
                steps.push((same[0].0, share));
            }
            at_risk -= same.len();
        }
        Some(Survival {
            steps,
            samples: self.ended,
        })
    }
}

impl Survival {
    /// Foretells when sessions of these ages are gone; `None` without sessions, or if not even half of
    /// them are gone by any time that is known of.
    pub fn forecast(&self, ages: &[Millis]) -> Option<Forecast> {
        Some(Forecast {
            half: self.falls_to(ages, ages.len() as f64 / 2.0)?,
            all: self.falls_below(ages, 0.5),
            samples: self.samples,
        })
    }

    /// When so many of the sessions of these ages are expected to be left; `None` without sessions, or
    /// if that is later than any time that is known of.
    pub fn falls_to(&self, ages: &[Millis], left: f64) -> Option<Millis> {
        self.falls_below(ages, left + ROUNDING)
    }

    fn falls_below(&self, ages: &[Millis], limit: f64) -> Option<Millis> {
        let longest = self.steps.last().filter(|_| !ages.is_empty())?.0;
        let expected_left =
            |after: u64| -> f64 { ages.iter().map(|age| self.stays(age.0, after)).sum() };
        if expected_left(longest) >= limit {
            return None;
        }
        let (mut low, mut high) = (0, longest);
        while low < high {
            let middle = low + (high - low) / 2;
            if expected_left(middle) < limit {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(Millis(low))
    }

    /// How many of the sessions of these ages will probably be left after so long.
    pub fn left(&self, ages: &[Millis], after: Millis) -> Left {
        let (mut likely, mut variance) = (0.0, 0.0);
        for age in ages {
            let stays = self.stays(age.0, after.0);
            likely += stays;
            variance += stays * (1.0 - stays);
        }
        let spread = NINE_OF_TEN * variance.sqrt();
        Left {
            likely,
            low: (likely - spread).max(0.0),
            high: (likely + spread).min(ages.len() as f64),
        }
    }

    /// How many sessions that have ended by themselves this rests on.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The share of all sessions that last longer than this.
    fn share(&self, span: u64) -> f64 {
        let before = self.steps.partition_point(|(at, _)| *at <= span);
        match before {
            0 => 1.0,
            some => self.steps[some - 1].1,
        }
    }

    /// How likely a session of this age is to be there still after so long. Of one older than any that
    /// has ended nothing is known: it is taken to stay.
    fn stays(&self, age: u64, after: u64) -> f64 {
        match self.share(age) {
            0.0 => 1.0,
            share => self.share(age.saturating_add(after)) / share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Millis {
        Millis::from_secs(60 * count)
    }

    fn of(lengths: impl IntoIterator<Item = u64>) -> DurationHistory {
        let mut history = DurationHistory::default();
        for length in lengths {
            history.record(minutes(length));
        }
        history
    }

    #[test]
    fn young_sessions_go_as_earlier_ones_went() {
        let survival = of(1..=10).survival(&[]).unwrap();
        let forecast = survival.forecast(&[minutes(0); 4]).unwrap();
        assert!((minutes(5)..=minutes(6)).contains(&forecast.half));
        assert!(forecast.all.unwrap() >= minutes(9));
        assert_eq!(survival.forecast(&[]), None);
    }

    #[test]
    fn what_is_left_is_told_with_a_band_around_it() {
        let survival = of(1..=10).survival(&[]).unwrap();
        let ages = [minutes(0); 100];
        let left = survival.left(&ages, minutes(5));
        assert!((left.likely - 50.0).abs() < 1e-9, "{left:?}");
        // A hundred coins: five is one standard deviation.
        assert!(
            (left.high - left.low - 2.0 * 1.645 * 5.0).abs() < 1e-9,
            "{left:?}"
        );
        assert_eq!(survival.left(&ages, minutes(0)).low, 100.0);
        assert_eq!(survival.left(&ages, minutes(10)).high, 0.0);
        assert_eq!(survival.falls_to(&ages, 50.0), Some(minutes(5)));
        assert_eq!(survival.falls_to(&ages, 5.0), Some(minutes(10)));
        assert_eq!(survival.falls_to(&[], 0.0), None);
    }

    #[test]
    fn of_a_session_older_than_all_others_nothing_is_said() {
        let survival = of(1..=10).survival(&[minutes(60)]).unwrap();
        assert_eq!(survival.forecast(&[minutes(60)]), None);
        let both = survival.forecast(&[minutes(60), minutes(0), minutes(0)]);
        assert_eq!(both.unwrap().all, None);
    }

    #[test]
    fn a_handful_of_sessions_must_have_ended_by_themselves() {
        let mut history = of(1..=7);
        for length in 1..=100 {
            history.record_cut_off(minutes(length));
        }
        assert!(history.survival(&[minutes(1)]).is_none());
        history.record(minutes(8));
        assert!(history.survival(&[minutes(1)]).is_some());
        (0..KEPT).for_each(|_| history.record_cut_off(minutes(1)));
        assert!(!history.is_enough());
    }

    /// Eight short sessions have ended, and eight that are long go on: of those that go on for
    /// three hours already the short ones tell nothing.
    #[test]
    fn sessions_that_go_on_count_as_long_ones() {
        let history = of(1..=8);
        let open = [minutes(180); 8];
        let survival = history.survival(&open).unwrap();
        assert_eq!(survival.forecast(&open), None);
        // Of new ones one half will be short, and the other half longer than anybody knows.
        let new = survival.forecast(&[minutes(0); 10]).unwrap();
        assert_eq!((new.half, new.all), (minutes(8), None));
        let by_the_short_ones = history.survival(&[]).unwrap();
        let all = by_the_short_ones.forecast(&[minutes(0); 10]).unwrap().all;
        assert_eq!(all, Some(minutes(8)));
    }

    /// The estimate from the literature, worked out by hand: 3, 5+, 6, 8, 10+, 12 (where + goes on).
    #[test]
    fn the_shares_are_those_of_kaplan_and_meier() {
        let mut history = of([3, 6, 8, 12, 12, 12, 12, 12]);
        history.record_cut_off(minutes(10));
        let survival = history.survival(&[minutes(5)]).unwrap();
        let shares = [2, 3, 6, 8, 12].map(|at| survival.share(minutes(at).0));
        let expected = [
            1.0,
            9.0 / 10.0,
            9.0 / 10.0 * 7.0 / 8.0,
            9.0 / 10.0 * 7.0 / 8.0 * 6.0 / 7.0,
            0.0,
        ];
        for (share, expected) in shares.into_iter().zip(expected) {
            assert!((share - expected).abs() < 1e-12, "{share} {expected}");
        }
    }
}
