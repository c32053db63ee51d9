//! What a server's traffic tells of it: how much of it failed, how long answers took, and how many of its
//! users met that. Counted by workers, each in its own slot; looked at window by window.

use crate::balance::split_mix;
use crate::counters::{Counter, ServerCounters, ServerSlot};
use crate::time::{Millis, Moment};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Classes of how long a server took to begin its answer: less than 1 ms, then up to twice as long each;
/// the last one: longer.
pub const LATENCY_CLASSES: usize = 16;
/// Answers that begin sooner than this are never called slow.
pub(crate) const SLOW: Duration = Duration::from_millis(256);
/// Users are told apart by so many bits of a number, which is enough to tell one from a few.
const MARKS: u64 = 48;

/// How long a server took to begin its answers, with one writer.
#[derive(Debug, Default)]
pub struct Latencies([Counter; LATENCY_CLASSES]);

impl Latencies {
    /// Counts one. Only the slot's own worker may call it.
    pub fn record(&self, latency: Duration) {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let class = (u64::BITS - ms.leading_zeros()) as usize;
        self.0[class.min(LATENCY_CLASSES - 1)].add(1);
    }
}

/// Who met something, in the window that is under way and in the one before it, with one writer. It costs
/// as little for a million users as for one, so it only tells a few from many.
#[derive(Debug, Default)]
pub struct Marks([AtomicU64; 2]);

impl Marks {
    /// Somebody met it in the window of this number. Only the slot's own worker may call it.
    pub fn mark(&self, window: u64, who: u64) {
        let marks = &self.0[(window % 2) as usize];
        let bit = 1 << (split_mix(who) % MARKS);
        marks.store(window << MARKS | self.of(window) | bit, Relaxed);
    }

    /// The bits of those who met it in the window of this number.
    fn of(&self, window: u64) -> u64 {
        let marks = self.0[(window % 2) as usize].load(Relaxed);
        match marks >> MARKS == window << MARKS >> MARKS {
            true => marks & ((1 << MARKS) - 1),
            false => 0,
        }
    }
}

/// Everything that was counted of a server's traffic so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficTotal {
    answers: u64,
    errors: u64,
    lost: u64,
    cut_short: u64,
    latencies: [u64; LATENCY_CLASSES],
}

impl TrafficTotal {
    /// By now.
    pub fn of(counters: &ServerCounters) -> Self {
        let mut total = Self::default();
        let add = |to: &mut u64, counter: &Counter| *to = to.wrapping_add(counter.get());
        for slot in counters.slots() {
            for responses in &slot.responses {
                add(&mut total.answers, responses);
            }
            add(&mut total.answers, &slot.taken);
            add(&mut total.errors, &slot.responses[4]);
            add(&mut total.lost, &slot.lost);
            add(&mut total.cut_short, &slot.cut_short);
            for (to, class) in total.latencies.iter_mut().zip(&slot.latencies.0) {
                add(to, class);
            }
        }
        total
    }

    fn since(self, before: &Self) -> Self {
        let mut latencies = self.latencies;
        for (count, before) in latencies.iter_mut().zip(before.latencies) {
            *count = count.wrapping_sub(before);
        }
        Self {
            answers: self.answers.wrapping_sub(before.answers),
            errors: self.errors.wrapping_sub(before.errors),
            lost: self.lost.wrapping_sub(before.lost),
            cut_short: self.cut_short.wrapping_sub(before.cut_short),
            latencies,
        }
    }
}

/// A server's traffic within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that came to an end, or connections that were tried.
    pub requests: u64,
    /// Answers of status 5xx.
    pub errors: u64,
    /// Those that got no answer, by the server's doing.
    pub lost: u64,
    /// Answers that broke off, by the server's doing, and connections that it ended at once.
    pub cut_short: u64,
    /// Users who met one of these, as far as they are told apart: up to 48.
    pub failing_users: u32,
    /// Answers whose time is known.
    pub timed: u64,
    /// About the time within which half of these began, in milliseconds: the class is known, and within it
    /// they are taken to be spread evenly.
    pub median_ms: Option<u64>,
    /// Users who met one that took more than 256 ms, as far as they are told apart.
    pub slow_users: u32,
}

impl Traffic {
    /// What has come since `before`, in the window of this number.
    pub(crate) fn within(
        counters: &ServerCounters,
        before: &TrafficTotal,
        window: u64,
    ) -> (Self, TrafficTotal) {
        let total = TrafficTotal::of(counters);
        let since = total.since(before);
        let users = |marks: fn(&ServerSlot) -> &Marks| {
            let slots = counters.slots().iter();
            let bits = slots.fold(0, |bits, slot| bits | marks(slot).of(window));
            bits.count_ones()
        };
        let traffic = Self {
            requests: since.answers + since.lost,
            errors: since.errors,
            lost: since.lost,
            cut_short: since.cut_short,
            failing_users: users(|slot| &slot.failing),
            timed: since.latencies.iter().sum(),
            median_ms: median_ms(&since.latencies),
            slow_users: users(|slot| &slot.slow),
        };
        (traffic, total)
    }

    /// Those that failed, by the server's doing.
    pub fn failures(&self) -> u64 {
        (self.errors + self.lost + self.cut_short).min(self.requests)
    }

    /// The same of a thousand.
    pub(crate) fn failed_permille(&self) -> u64 {
        (self.failures() * 1000)
            .checked_div(self.requests)
            .unwrap_or(0)
    }
}

/// Within how many milliseconds half of these began, taken to be spread evenly over each class.
fn median_ms(latencies: &[u64; LATENCY_CLASSES]) -> Option<u64> {
    let all: u64 = latencies.iter().sum();
    let mut before = 0;
    for (class, count) in latencies.iter().enumerate() {
        if *count > 0 && (before + count) * 2 >= all {
            let (from, to) = (1_u64 << class >> 1, 1_u64 << class);
            let into = (all - before * 2) * (to - from) / (count * 2);
            // Within its class, which can be told from it.
            return Some(from + into.min(to - from - 1));
        }
        before += count;
    }
    None
}

/// What is known of the time within which half of some answers began, of which [`Traffic::median_ms`] is
/// the middle.
pub(crate) fn median_words(median_ms: u64) -> String {
    let class = (u64::BITS - median_ms.leading_zeros()) as usize;
    let (from, to) = (1_u64 << class >> 1, 1_u64 << class);
    match class {
        0 => "less than 1 ms".to_owned(),
        class if class + 1 < LATENCY_CLASSES => format!("between {from} and {to} ms"),
        _ => format!("more than {} ms", 1_u64 << (LATENCY_CLASSES - 2)),
    }
}

/// The number of the window in which `now` is. Workers and the driver count windows alike, so that a
/// user is one user of it for all of them.
pub fn window_at(now: Moment, window: Millis) -> u64 {
    now.0.max(0).unsigned_abs() / window.0.max(1)
}

impl ServerSlot {
    /// Somebody met a failure of the server's doing. Only the slot's own worker may call it.
    pub fn note_failing(&self, window: u64, who: u64) {
        self.failing.mark(window, who);
    }

    /// The server took so long to begin its answer; returns whether that is to be noted of its user with
    /// [`Self::note_slow`]. Only the slot's own worker may call it.
    pub fn note_latency(&self, latency: Duration) -> bool {
        self.latencies.record(latency);
        latency >= SLOW
    }

    /// Somebody met a slow answer. Only the slot's own worker may call it.
    pub fn note_slow(&self, window: u64, who: u64) {
        self.slow.mark(window, who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_answers_began_within_the_median() {
        let counters = ServerCounters::new(2);
        let median = |counters: &ServerCounters| median_ms(&TrafficTotal::of(counters).latencies);
        assert_eq!(median(&counters), None);
        let record = |worker: usize, ms: u64, times: usize| {
            let latencies = &counters.slot(worker).latencies;
            (0..times).for_each(|_| latencies.record(Duration::from_millis(ms)));
        };
        record(0, 0, 10);
        assert_eq!(median(&counters), Some(0));
        record(1, 700, 30);
        // The class from 512 to 1024 ms, a third of which lies below.
        assert_eq!(median(&counters), Some(512 + 512 / 3));
        record(1, 600_000, 1000);
        assert_eq!(median(&counters), Some(16_384 + 16_384 * 960 / 2000));
        let counters = ServerCounters::new(1);
        let record = |ms| counters.slot(0).latencies.record(Duration::from_millis(ms));
        [601, 1024].into_iter().for_each(record);
        assert_eq!(
            median(&counters),
            Some(1023),
            "still of the first one's class"
        );
    }

    #[test]
    fn what_is_said_of_a_median_is_true_of_every_answer_in_its_class() {
        for (ms, words) in [
            (0, "less than 1 ms"),
            (1, "between 1 and 2 ms"),
            (601, "between 512 and 1024 ms"),
            (1024, "between 1024 and 2048 ms"),
            (16_383, "between 8192 and 16384 ms"),
            (16_384, "more than 16384 ms"),
            (600_000, "more than 16384 ms"),
        ] {
            let counters = ServerCounters::new(1);
            let latencies = &counters.slot(0).latencies;
            (0..9).for_each(|_| latencies.record(Duration::from_millis(ms)));
            let median = median_ms(&TrafficTotal::of(&counters).latencies);
            assert_eq!(median.map(median_words).as_deref(), Some(words), "{ms}");
        }
    }

    #[test]
    fn users_are_told_apart_within_a_window_and_over_all_workers() {
        let counters = ServerCounters::new(2);
        let users = |window| {
            let none = TrafficTotal::default();
            Traffic::within(&counters, &none, window).0.failing_users
        };
        for who in [1, 1, 1, 2] {
            counters.slot(0).note_failing(70_000, who);
        }
        counters.slot(1).note_failing(70_000, 2);
        assert_eq!(users(70_000), 2);
        (0..1000).for_each(|who| counters.slot(1).note_failing(70_001, who));
        assert_eq!((users(70_000), users(70_001)), (2, 48));
        counters.slot(1).note_failing(70_002, 9);
        assert_eq!(
            (users(70_000), users(70_002)),
            (2, 1),
            "one worker's are gone"
        );
        assert_eq!(
            users(70_000 + (1 << 16)),
            2,
            "numbers begin anew after very long"
        );
    }

    #[test]
    fn what_failed_is_a_share_of_what_came_to_an_end() {
        let counters = ServerCounters::new(1);
        let slot = counters.slot(0);
        slot.responses[1].add(60);
        slot.responses[4].add(20);
        slot.lost.add(20);
        slot.cut_short.add(2);
        let (traffic, total) = Traffic::within(&counters, &TrafficTotal::default(), 0);
        assert_eq!((traffic.requests, traffic.failures()), (100, 42));
        assert_eq!(traffic.failed_permille(), 420);
        let (later, _) = Traffic::within(&counters, &total, 0);
        assert_eq!((later.requests, later.failed_permille()), (0, 0));
    }
}
