//! The part of a plan in which servers of the HTTP pools tell how busy their machines are, and how many
//! places they have, and operators set peak loads. Dice are of its own, so that the rest of a run is
//! what it would be without.

use super::dice::Dice;
use super::number::ServerNumber;
use super::plan::{Action, Being, Order, Planner, SHELLS};
use super::world::{NodeHappening, World};
use ebbtide_core::{Balance, Input, Load, LoadMeasure, LoadSettings, Millis, PoolConfig};

/// How many of a hundred seeds have loads.
const LOADS_PERCENT: u64 = 40;
/// Between two looks at an exporter.
pub(super) const EVERY_MS: i64 = 1000;

/// How loads count.
#[derive(Clone, Debug)]
pub(super) struct Loads {
    balance: Balance,
    peak: Option<u8>,
}

/// What the exporter of a machine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A load in percent.
    Percent(u8),
    /// What cannot be understood.
    Nonsense,
    /// Nothing at all: not even that it cannot be reached is known for a while.
    Nothing,
}

/// How loads count, in some runs.
pub(super) fn setup(dice: &mut Dice) -> Option<Loads> {
    dice.chance(LOADS_PERCENT).then(|| Loads {
        balance: [
            Balance::LeastLoad,
            Balance::MostAvailable,
            Balance::LeastSessions,
        ][dice.below(3)],
        peak: dice.chance(60).then(|| dice.between(30, 90) as u8),
    })
}

impl Loads {
    /// Lets the loads of this pool's servers be read, if it is an HTTP pool.
    pub fn settle(&self, index: usize, pool: &mut PoolConfig) {
        if index >= SHELLS {
            return;
        }
        pool.balance = self.balance;
        pool.peak_load = self.peak;
        pool.load = Some(LoadSettings {
            exporter: "http://{host}/{server}".into(),
            by: LoadMeasure::Cpu,
            sessions_max: None,
            every: Millis(EVERY_MS.unsigned_abs()),
            timeout: Millis(500),
        });
    }
}

impl Planner {
    /// Machines become busy and idle, pages tell of places, and operators set peak loads.
    pub(super) fn loads(&mut self, mut dice: Dice) {
        if self.setup.loads.is_none() {
            return;
        }
        std::mem::swap(&mut self.dice, &mut dice);
        for _ in 0..self.dice.between(10, 60) {
            let (at, server) = (self.moment(), self.server());
            let says = match self.dice.below(12) {
                0 => Says::Nonsense,
                1 => Says::Nothing,
                _ => Says::Percent(self.dice.between(0, 100) as u8),
            };
            self.add(at, Action::Load(server, says));
        }
        for _ in 0..self.dice.between(0, 5) {
            let (at, server) = (self.moment(), self.server());
            let places = 1 + self.dice.below(4) as u8;
            let spell = self.dice.between(1500, 8000);
            self.add(at, Action::Server(server, Being::HasPlaces(places)));
            self.add(at + spell, Action::Server(server, Being::Well));
        }
        for _ in 0..self.dice.between(0, 6) {
            let (at, server) = (self.moment(), self.server());
            let peak = match self.dice.below(4) {
                0 | 1 => Some(0),
                2 => Some(self.dice.between(10, 100) as u8),
                _ => None,
            };
            let force = self.dice.chance(50);
            self.add(at, Action::Operator(Order::Peak(server, peak, force)));
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }
}

impl World {
    /// Asks all exporters.
    pub(super) fn load_round(&mut self) {
        let Some(node) = &self.node else { return };
        let snapshot = node.driver.snapshot();
        for pool in &snapshot.pools {
            for view in &pool.servers {
                let Some(exporter) = view.exporter.clone() else {
                    continue;
                };
                let server = ServerNumber::of_view(pool, view);
                let says = self.servers.get_or_default(server).says;
                let at = self.at + self.between(1, 80);
                self.node_later(at, NodeHappening::LoadRead(server, exporter, says));
            }
        }
        self.node_later(self.at + EVERY_MS, NodeHappening::LoadRound);
    }

    /// What an exporter said is known.
    pub(super) fn load_read(&mut self, server: ServerNumber, exporter: &str, says: Says) {
        let read = match says {
            Says::Percent(percent) => Ok(Some(Load::from_percent(u32::from(percent)))),
            Says::Nonsense => Err("it says nothing of a load".to_owned()),
            Says::Nothing => return,
        };
        if let Says::Percent(percent) = says {
            self.judge.load_read(server, percent, self.now());
        }
        self.step(Input::LoadRead {
            server: server.name(),
            exporter: exporter.to_owned(),
            read,
        });
    }
}
