//! How long a drain is likely to take still, from how long sessions of the pool have lasted.

use crate::time::Millis;
use std::collections::VecDeque;

/// Durations kept per pool: enough to show the shape, few enough to look through at any moment.
const KEPT: usize = 1024;
/// Below this many durations nothing is foretold.
const NEEDED: usize = 8;

/// How long the pool's recent sessions lasted.
#[derive(Clone, Debug, Default)]
pub struct DurationHistory {
    /// In order of ending, the oldest first.
    lasted: VecDeque<Millis>,
}

/// When sessions will probably be gone, counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Half of them.
    pub half: Millis,
    /// All of them (fewer than half a session is expected to be left); `None`: not before the
    /// deadline, or later than any session seen so far would allow to say.
    pub all: Option<Millis>,
    /// How many durations this rests on.
    pub samples: usize,
}

impl DurationHistory {
    /// Takes one more.
    pub fn record(&mut self, lasted: Millis) {
        if self.lasted.len() == KEPT {
            self.lasted.pop_front();
        }
        self.lasted.push_back(lasted);
    }

    /// Foretells when sessions of these ages are gone; `None` without sessions or with too few
    /// durations to go by. A session of age *a* is still there after *t* with the share of past
    /// sessions longer than *a* that were also longer than *a + t*.
    pub fn forecast(&self, ages: &[Millis]) -> Option<Forecast> {
        if ages.is_empty() || self.lasted.len() < NEEDED {
            return None;
        }
        let mut sorted: Vec<u64> = self.lasted.iter().map(|span| span.0).collect();
        sorted.sort_unstable();
        let longest = *sorted.last()?;
        let expected_left =
            |after: u64| -> f64 { ages.iter().map(|age| survival(&sorted, age.0, after)).sum() };
        let total = ages.len() as f64;
        let first = |limit: f64| {
            (expected_left(longest) < limit).then(|| {
                let (mut low, mut high) = (0, longest);
                while low < high {
                    let middle = low + (high - low) / 2;
                    if expected_left(middle) < limit {
                        high = middle;
                    } else {
                        low = middle + 1;
                    }
                }
                Millis(low)
            })
        };
        Some(Forecast {
            half: first(total / 2.0 + f64::EPSILON).unwrap_or(Millis(longest)),
            all: first(0.5),
            samples: sorted.len(),
        })
    }
}

/// The share of past sessions longer than `age` that were longer than `age + after` too. Of a
/// session older than any before it nothing is known: it is taken to stay.
fn survival(sorted: &[u64], age: u64, after: u64) -> f64 {
    let longer = |than: u64| sorted.len() - sorted.partition_point(|span| *span <= than);
    match longer(age) {
        0 => 1.0,
        peers => longer(age.saturating_add(after)) as f64 / peers as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Millis {
        Millis::from_secs(60 * count)
    }

    #[test]
    fn young_sessions_go_as_earlier_ones_went() {
        let mut history = DurationHistory::default();
        assert_eq!(history.forecast(&[minutes(1)]), None);
        (1..=10).for_each(|length| history.record(minutes(length)));
        let forecast = history.forecast(&[minutes(0); 4]).unwrap();
        assert!((minutes(5)..=minutes(6)).contains(&forecast.half));
        assert!(forecast.all.unwrap() >= minutes(9));
        assert_eq!(history.forecast(&[]), None);
    }

    #[test]
    fn of_a_session_older_than_all_others_nothing_is_said() {
        let mut history = DurationHistory::default();
        (1..=10).for_each(|length| history.record(minutes(length)));
        assert_eq!(history.forecast(&[minutes(60)]).unwrap().all, None);
    }
}
