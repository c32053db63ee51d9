//! Health: what probes have shown of a server, by rise and fall.

use crate::config::HealthSettings;
use crate::places::PLACES_MAX;
use crate::time::{Now, WallTime};

/// What one probe showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The server answered as expected; `places` if its page said how many sessions it can take.
    Good {
        /// Sessions available, as the health page tells.
        places: Option<u64>,
    },
    /// The server answered as expected, but what its page says of its places makes no sense.
    Odd {
        /// The places that it is taken to have.
        places: Option<u64>,
        /// What it said and what that is taken for, for people.
        why: String,
    },
    /// The page says `ON HOLD`: alive, wants no new sessions.
    OnHold,
    /// The page says `ALL SESSIONS IN USE`: alive, full.
    AllInUse,
    /// No answer, or the wrong one; the reason is for people.
    Bad(String),
}

/// What a server's own health page asks for, while it is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    #[default]
    Active,
    OnHold,
    AllInUse,
}

/// Up or down, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet since the program started; taken to be up.
    Unproven,
    /// New in a running program; takes no sessions before its first good probe.
    Starting,
    /// Up.
    Up,
    /// Down.
    Down,
    /// The pool has no health check; taken to be up.
    Unchecked,
}

impl Health {
    /// The word that people see.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down => "down",
            Self::Unchecked => "unchecked",
        }
    }
}

/// The rise-and-fall state of one server.
#[derive(Clone, Debug)]
pub(crate) struct HealthState {
    pub health: Health,
    pub page: Page,
    pub places: Option<u64>,
    /// Results in a row that speak against the present state.
    against: u32,
    /// The last failure's reason, kept while it matters, or what makes no sense on the last page.
    pub why: Option<String>,
    pub since: WallTime,
    /// A worker's connection was refused: the next failed probe takes the server down at once.
    suspected: bool,
}

impl HealthState {
    pub fn new(health: Health, now: Now) -> Self {
        Self {
            health,
            page: Page::Active,
            places: None,
            against: 0,
            why: None,
            since: now.wall,
            suspected: false,
        }
    }

    /// A worker could not connect. Returns whether that is news that a probe should confirm now.
    pub fn suspect(&mut self) -> bool {
        let news = !self.suspected && !matches!(self.health, Health::Down | Health::Unchecked);
        self.suspected |= news;
        news
    }

    /// Takes one probe's outcome; returns whether what others see of the server has changed.
    pub fn probed(&mut self, outcome: ProbeOutcome, rule: &HealthSettings, now: Now) -> bool {
        let before = (self.health, self.page);
        let mut odd = None;
        let (page, places) = match outcome {
            ProbeOutcome::Bad(why) => {
                self.failed(why, rule);
                return self.changed(before, now);
            }
            ProbeOutcome::Odd { places, why } => {
                odd = Some(why);
                page_with(places)
            }
            ProbeOutcome::Good {
                places: Some(places),
            } if places > PLACES_MAX => {
                odd = Some(format!(
                    "its page tells of {places} places, which no server has and set no bound"
                ));
                page_with(None)
            }
            ProbeOutcome::Good { places } => page_with(places),
            ProbeOutcome::OnHold => (Page::OnHold, None),
            ProbeOutcome::AllInUse => (Page::AllInUse, Some(0)),
        };
        self.page = page;
        self.places = places;
        self.suspected = false;
        self.succeeded(rule);
        if self.health == Health::Up && odd.is_some() {
            self.why = odd;
        }
        self.changed(before, now)
    }

    fn failed(&mut self, why: String, rule: &HealthSettings) {
        self.why = Some(why);
        match self.health {
            // The first word heard of a server is believed.
            Health::Unproven | Health::Starting => self.enter(Health::Down),
            Health::Up => {
                self.against += 1;
                if self.against >= rule.fall || self.suspected {
                    self.enter(Health::Down);
                }
            }
            Health::Down => self.against = 0,
            Health::Unchecked => {}
        }
    }

    fn succeeded(&mut self, rule: &HealthSettings) {
        match self.health {
            Health::Unproven | Health::Starting => self.enter(Health::Up),
            Health::Up => {
                self.against = 0;
                self.why = None;
            }
            Health::Down => {
                self.against += 1;
                if self.against >= rule.rise {
                    self.enter(Health::Up);
                }
            }
            Health::Unchecked => {}
        }
    }

    fn enter(&mut self, health: Health) {
        self.health = health;
        self.against = 0;
        self.suspected = false;
        if health == Health::Up {
            self.why = None;
        }
    }

    fn changed(&mut self, before: (Health, Page), now: Now) -> bool {
        let changed = before != (self.health, self.page);
        if changed {
            self.since = now.wall;
        }
        changed
    }
}

/// No places left is full, in whichever words.
fn page_with(places: Option<u64>) -> (Page, Option<u64>) {
    match places {
        Some(0) => (Page::AllInUse, Some(0)),
        _ => (Page::Active, places),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: Health, script: &str) -> String {
        let rule = HealthSettings::defaults();
        let mut state = HealthState::new(start, Now::default());
        let mut seen = String::new();
        for letter in script.chars() {
            let good = ProbeOutcome::Good { places: None };
            let _news = match letter {
                '+' => state.probed(good, &rule, Now::default()),
                '-' => state.probed(ProbeOutcome::Bad("no".into()), &rule, Now::default()),
                '!' => state.suspect(),
                _ => unreachable!("scripts are made of + - !"),
            };
            seen.push(match state.health {
                Health::Up => 'U',
                Health::Down => 'd',
                Health::Unproven => '?',
                Health::Starting => 's',
                Health::Unchecked => '*',
            });
        }
        seen
    }

    #[test]
    fn falls_after_three_and_rises_after_two() {
        assert_eq!(run(Health::Unproven, "+--+---++"), "UUUUUUddU");
    }

    #[test]
    fn the_first_word_is_believed() {
        assert_eq!(run(Health::Unproven, "-"), "d");
        assert_eq!(run(Health::Starting, "+"), "U");
    }

    #[test]
    fn places_that_make_no_sense_are_told_while_the_server_is_up() {
        let rule = HealthSettings::defaults();
        let mut state = HealthState::new(Health::Unproven, Now::default());
        let mut probe = |outcome: ProbeOutcome| {
            state.probed(outcome, &rule, Now::default());
            (state.page, state.places, state.why.clone())
        };
        let odd = |places| ProbeOutcome::Odd {
            places,
            why: "odd".into(),
        };
        let good = |places| ProbeOutcome::Good { places };
        let why = |why: &str| Some(why.to_owned());
        assert_eq!(probe(odd(None)), (Page::Active, None, why("odd")));
        assert_eq!(probe(odd(Some(0))), (Page::AllInUse, Some(0), why("odd")));
        assert_eq!(probe(good(Some(7))), (Page::Active, Some(7), None));
        let many =
            "its page tells of 1000000000000000000 places, which no server has and set no bound";
        let probed = probe(good(Some(1_000_000_000_000_000_000)));
        assert_eq!(probed, (Page::Active, None, why(many)));
        let bad = || ProbeOutcome::Bad("no".into());
        assert_eq!(probe(bad()).2, why("no"));
        let _twice = (probe(bad()), probe(bad()));
        assert_eq!(probe(odd(None)).2, why("no"), "it is down yet");
        assert_eq!(probe(odd(None)).2, why("odd"));
    }

    #[test]
    fn a_refused_connection_needs_one_probe_to_confirm() {
        assert_eq!(run(Health::Unproven, "+!-"), "UUd");
        assert_eq!(run(Health::Unproven, "+!+-"), "UUUU");
    }
}
