//! What the probes have said of a server, counted here once more.

use ebbtide_core::{HealthSettings, ProbeOutcome};

/// Whether a server is up, as far as its probes tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not heard of since the program started: taken to be up.
    #[default]
    Unproven,
    /// New in a running program.
    Starting,
    Up,
    Down,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub verdict: Verdict,
    /// Its page asks for no new sessions.
    pub closed_by_page: bool,
    bad_in_a_row: u32,
    good_in_a_row: u32,
    suspected: bool,
}

impl Seen {
    pub fn starting() -> Self {
        Self {
            verdict: Verdict::Starting,
            ..Self::default()
        }
    }

    pub fn suspect(&mut self) {
        self.suspected |= self.verdict != Verdict::Down;
    }

    pub fn probed(&mut self, outcome: &ProbeOutcome) {
        let rule = HealthSettings::defaults();
        let is_news = matches!(self.verdict, Verdict::Unproven | Verdict::Starting);
        let before = self.verdict;
        if let ProbeOutcome::Bad(_) = outcome {
            self.good_in_a_row = 0;
            self.bad_in_a_row += 1;
            if is_news || self.suspected || self.bad_in_a_row >= rule.fall {
                self.verdict = Verdict::Down;
                self.suspected = false;
            }
        } else {
            let is_open = matches!(
                outcome,
                ProbeOutcome::Good { .. } | ProbeOutcome::Odd { .. }
            );
            self.closed_by_page = !is_open;
            self.bad_in_a_row = 0;
            self.suspected = false;
            self.good_in_a_row += 1;
            if is_news || self.good_in_a_row >= rule.rise {
                self.verdict = Verdict::Up;
            }
        }
        if before != self.verdict {
            (self.good_in_a_row, self.bad_in_a_row) = (0, 0);
        }
    }
}
