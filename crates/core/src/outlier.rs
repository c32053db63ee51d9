//! Servers that are sick without being dead: which of a pool's servers fail or dawdle so much more than
//! the others that new sessions are better off elsewhere, and how many of them the pool can spare.

use crate::config::Protocol;
use crate::time::Millis;
use crate::traffic::{SLOW, Traffic, median_words};
use std::cmp::Reverse;
use std::fmt;

/// One or two users alone, whatever they send, do not make a server sick.
const USERS_MIN: u32 = 3;
/// A hold lasts at most so many times as long as the first one.
const LONGEST: u32 = 20;

/// When a server counts as sick, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierSettings {
    /// Whether sick servers are held; otherwise they are only shown.
    pub acts: bool,
    /// So many percent more of its requests fail than at the pool's median, 1 to 100.
    pub errors: u8,
    /// So many times the pool's median is what it takes to answer, 2 to 1000; `None`: that is not looked
    /// at.
    pub slower: Option<u32>,
    /// Requests that tell something, in a window; at least 1.
    pub requests: u32,
    /// How long traffic is watched before it is judged.
    pub window: Millis,
    /// The part of the pool that may be held at a time, in percent, 1 to 100; one server always may.
    pub share_max: u8,
    /// How long a server is held for the first time.
    pub hold: Millis,
}

impl OutlierSettings {
    /// The defaults, as the settings table of the program has them too. Watching costs nothing, but a
    /// server is only held where somebody has asked for it.
    pub fn defaults() -> Self {
        Self {
            acts: false,
            errors: 20,
            slower: Some(5),
            requests: 50,
            window: Millis::from_secs(10),
            share_max: 30,
            hold: Millis::from_secs(30),
        }
    }

    /// How long the hold of this number in a row lasts: each twice as long as the one before.
    pub(crate) fn hold_of(&self, number: u32) -> Millis {
        let times = 1_u64.checked_shl(number.saturating_sub(1));
        let times = times.unwrap_or(u64::MAX).min(u64::from(LONGEST));
        Millis(self.hold.0.saturating_mul(times))
    }

    /// How long the longest hold lasts, how long earlier ones are remembered, and how long an operator's
    /// word stands.
    pub(crate) fn hold_max(&self) -> Millis {
        self.hold_of(u32::MAX)
    }
}

/// What is wrong with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ailment {
    Slow {
        /// In percent of what is still well.
        excess: u64,
        words: String,
    },
    Failing {
        /// Failures of a thousand requests, over the pool's median.
        excess: u64,
        words: String,
    },
}

impl Ailment {
    /// The greater the worse: failing before slow, then by how much.
    fn severity(&self) -> (bool, u64) {
        match self {
            Self::Slow { excess, .. } => (false, *excess),
            Self::Failing { excess, .. } => (true, *excess),
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow { words, .. } | Self::Failing { words, .. } => f.write_str(words),
        }
    }
}

/// What a window tells of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Too little came to it, or to the others, to tell anything.
    Unknown,
    /// It is not much worse than the others: less than half of what makes a server sick.
    Well,
    /// Neither well nor sick.
    Doubtful,
    Sick(Ailment),
}

/// What a window tells of each of a pool's servers (`None`: is not looked at), each compared with the
/// median of all: what all of them do is nobody's illness.
pub(crate) fn examine(
    servers: &[Option<Traffic>],
    settings: &OutlierSettings,
    protocol: Protocol,
) -> Vec<Finding> {
    let enough = u64::from(settings.requests);
    let tells = |traffic: &&Traffic| traffic.requests >= enough;
    let telling = || servers.iter().flatten().filter(tells);
    let failed = median(telling().map(Traffic::failed_permille));
    let timed = telling().filter(|traffic| traffic.timed >= enough);
    let slow = median(timed.filter_map(|traffic| traffic.median_ms));
    let examine = |traffic: &Option<Traffic>| match traffic.as_ref().filter(tells) {
        Some(traffic) if telling().count() > 1 => {
            let failing = examine_failures(traffic, failed, settings, protocol);
            match (failing, examine_latency(traffic, slow, settings)) {
                (Finding::Sick(ailment), _) | (_, Finding::Sick(ailment)) => Finding::Sick(ailment),
                (Finding::Doubtful, _) | (_, Finding::Doubtful) => Finding::Doubtful,
                _ => Finding::Well,
            }
        }
        _ => Finding::Unknown,
    };
    servers.iter().map(examine).collect()
}

fn examine_failures(
    traffic: &Traffic,
    median: Option<u64>,
    settings: &OutlierSettings,
    protocol: Protocol,
) -> Finding {
    let (own, median) = (traffic.failed_permille(), median.unwrap_or(0));
    let (excess, limit) = (own.saturating_sub(median), u64::from(settings.errors) * 10);
    if excess * 2 < limit {
        return Finding::Well;
    }
    if excess < limit || traffic.failing_users < USERS_MIN {
        return Finding::Doubtful;
    }
    let window = settings.window;
    let (what, kinds) = match protocol {
        Protocol::Http => (
            "requests",
            [
                (traffic.errors, "answered 5xx"),
                (traffic.lost, "not answered"),
                (traffic.cut_short, "broken off"),
            ],
        ),
        Protocol::Tcp | Protocol::Nbd => (
            "connections",
            [
                (traffic.errors, ""),
                (traffic.lost, "not made"),
                (traffic.cut_short, "ended at once"),
            ],
        ),
    };
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(n, kind)| format!("{n} {kind}")).collect();
    let words = format!(
        "{} of its {} {what} in {window} failed ({}); the pool's median is {}",
        percent(own),
        traffic.requests,
        kinds.join(", "),
        percent(median)
    );
    Finding::Sick(Ailment::Failing { excess, words })
}

fn examine_latency(traffic: &Traffic, median: Option<u64>, settings: &OutlierSettings) -> Finding {
    let enough = traffic.timed >= u64::from(settings.requests);
    let own = traffic.median_ms.filter(|_| enough);
    let Some(((own, median), slower)) = own.zip(median).zip(settings.slower) else {
        return Finding::Well;
    };
    let floor = u64::try_from(SLOW.as_millis()).unwrap_or(u64::MAX);
    let limit = median.saturating_mul(u64::from(slower)).max(floor);
    if own * 2 < limit {
        return Finding::Well;
    }
    if own < limit || traffic.slow_users < USERS_MIN {
        return Finding::Doubtful;
    }
    let words = format!(
        "the median of its {} answers in {} is {}; the pool's is {}",
        traffic.timed,
        settings.window,
        median_words(own),
        median_words(median),
    );
    let excess = own.saturating_mul(100) / limit;
    Finding::Sick(Ailment::Slow { excess, words })
}

/// The lower one of two in the middle: of two servers, the one that is better off.
fn median(figures: impl Iterator<Item = u64>) -> Option<u64> {
    let mut figures: Vec<u64> = figures.collect();
    figures.sort_unstable();
    figures.get(figures.len().checked_sub(1)? / 2).copied()
}

/// `0.3 %`, `42 %`.
fn percent(permille: u64) -> String {
    match (permille / 10, permille % 10) {
        (whole @ 0..10, part @ 1..) => format!("{whole}.{part} %"),
        (whole, part) => format!("{} %", whole + u64::from(part >= 5)),
    }
}

/// A server that would be held.
#[derive(Clone, Debug)]
pub(crate) struct Patient<'a> {
    pub ailment: &'a Ailment,
    /// It takes new sessions at present.
    pub takes_new: bool,
}

/// What a pool has, and has to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ward {
    pub servers: usize,
    /// Of them, those that are held as sick.
    pub held: usize,
    /// Those that take new sessions.
    pub takers: usize,
    /// Those that must.
    pub minimum: usize,
    /// In percent.
    pub share_max: u8,
}

impl Ward {
    /// How many may be held as sick at a time.
    pub(crate) fn held_max(&self) -> usize {
        match self.servers {
            0 | 1 => 0,
            servers => (servers * usize::from(self.share_max) / 100).max(1),
        }
    }
}

/// Why a sick server is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spared {
    /// The pool only watches.
    Watching,
    /// The pool would have fewer than so many servers that take new sessions.
    Minimum(usize),
    /// So many are held already, which is the greatest share that may be.
    Share(usize),
    /// An operator has said that it is ready.
    ByOperator,
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watching => f.write_str("`outliers` of its pool does not act"),
            Self::Minimum(minimum) => write!(f, "the pool needs {minimum} that take new sessions"),
            Self::Share(1) => {
                f.write_str("one server is held as sick, and no more may be at a time")
            }
            Self::Share(held) => write!(
                f,
                "{held} servers are held as sick, and no more may be at a time"
            ),
            Self::ByOperator => f.write_str("an operator said that it is ready"),
        }
    }
}

/// Whom to hold of those that are sick, the worst first and of equals the first, as far as the pool can
/// spare them. For each: nothing, or why not.
pub(crate) fn triage(patients: &[Patient<'_>], mut ward: Ward) -> Vec<Option<Spared>> {
    let mut order: Vec<usize> = (0..patients.len()).collect();
    order.sort_by_key(|index| Reverse(patients[*index].ailment.severity()));
    let mut spared = vec![None; patients.len()];
    for index in order {
        let takes_new = usize::from(patients[index].takes_new);
        if ward.held >= ward.held_max() {
            spared[index] = Some(Spared::Share(ward.held));
        } else if takes_new > 0 && ward.takers <= ward.minimum {
            spared[index] = Some(Spared::Minimum(ward.minimum));
        } else {
            ward.held += 1;
            ward.takers -= takes_new;
        }
    }
    spared
}

/// So many to let go of those that are held: the least sick.
pub(crate) fn relief(held: &[&Ailment], number: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_by_key(|index| held[*index].severity());
    order.truncate(number);
    order
}

#[cfg(test)]
mod tests;
