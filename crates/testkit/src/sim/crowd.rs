//! A crowd of users beside the others, of whom only the traffic is there, as workers count it: what a
//! node finds out from that whether a server is sick. Dice and rolls are of its own, so that the rest of
//! a run is what it would be without.

use super::dice::{Dice, scramble};
use super::number::ServerNumber;
use super::plan::{Action, Being, DISKS, Planner};
use super::world::{NodeHappening, World};
use ebbtide_core::{Millis, OutlierSettings, ServerView, window_at};
use std::time::Duration;

/// How many of a hundred seeds have a crowd.
const CROWD_PERCENT: u64 = 40;
/// Between two looks at what it has done, and its requests to each server in that time.
const EVERY_MS: i64 = 500;
const REQUESTS: u64 = 30;

/// What is wrong with a server, though it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ails {
    /// Half or more of its answers are errors.
    Fails,
    /// Its answers take long.
    Dawdles,
}

/// Whether there is a crowd.
pub(super) fn is_there(dice: &mut Dice) -> bool {
    dice.chance(CROWD_PERCENT)
}

/// Sick servers are held soon, and not for long.
pub(super) fn outliers() -> OutlierSettings {
    OutlierSettings {
        acts: true,
        requests: 20,
        window: Millis::from_secs(2),
        share_max: 50,
        hold: Millis::from_secs(3),
        ..OutlierSettings::defaults()
    }
}

impl Planner {
    /// Servers turn sick, some of them at the same time.
    pub fn crowd(&mut self, mut dice: Dice) {
        if !self.setup.crowd {
            return;
        }
        for _ in 0..dice.between(2, 8) {
            let at = dice.between(100, self.setup.length_ms);
            let server = match dice.chance(80) {
                true => ServerNumber::of_file(dice.below(3), dice.below(4)),
                false => ServerNumber::added(dice.below(2), dice.below(2)),
            };
            let ails = [Ails::Fails, Ails::Dawdles][dice.below(2)];
            let for_ms = dice.between(1_000, 15_000);
            self.add(at, Action::Sick(server, ails, for_ms));
        }
    }
}

impl World {
    pub(super) fn begin_crowd(&mut self) {
        if self.setup.crowd {
            self.node_later(self.at + EVERY_MS, NodeHappening::CrowdRound);
        }
    }

    /// Counts what the crowd has met since the last time.
    pub(super) fn crowd_round(&mut self) {
        let Some(node) = &self.node else { return };
        let snapshot = node.driver.snapshot();
        for (number, pool) in snapshot.pools.iter().enumerate() {
            if pool.config.name == super::plan::pool_name(DISKS) {
                continue;
            }
            let window = window_at(self.now().moment, pool.config.outliers.window);
            for server in &pool.servers {
                let name = ServerNumber::of_view(pool, server);
                let key = self.seed ^ self.at.unsigned_abs() << 8 ^ number as u64;
                let roll = scramble(key ^ scramble(u64::from(server.key.0)));
                if server.standing.serves_own {
                    self.count(name, server, window, roll);
                }
            }
        }
        self.node_later(self.at + EVERY_MS, NodeHappening::CrowdRound);
    }

    fn count(&self, name: ServerNumber, server: &ServerView, window: u64, roll: u64) {
        let slot = server.counters.slot(0);
        let ails = self.servers.get(name).and_then(|known| {
            let (ails, until) = known.ails?;
            (until > self.at).then_some(ails)
        });
        let (failing, latency_ms) = match (self.being(name), ails) {
            (Being::Dead | Being::Hung | Being::SaysGood, _) => (REQUESTS, 0),
            (_, Some(Ails::Fails)) => (REQUESTS / 2 + roll % (REQUESTS / 2), 20),
            (_, Some(Ails::Dawdles)) => (0, 300 + roll % 2000),
            (_, None) => (roll % 3, 20),
        };
        slot.lost.add(failing);
        slot.responses[1].add(REQUESTS - failing);
        for user in 0..roll % 8 {
            if failing > 0 {
                slot.note_failing(window, user);
            }
        }
        for user in 0..REQUESTS - failing {
            if slot.note_latency(Duration::from_millis(latency_ms)) {
                slot.note_slow(window, user % 8);
            }
        }
    }
}
