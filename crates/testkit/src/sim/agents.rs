//! The part of a plan in which there are agents on the servers of the HTTP pools, who say what their own
//! operators want, or cannot be asked. Dice are of its own, so that the rest of a run is what it would be
//! without.

use super::dice::Dice;
use super::number::ServerNumber;
use super::plan::{Action, Order, Planner, SHELLS};
use super::world::{NodeHappening, World};
use ebbtide_core::{
    AgentHealth, AgentSaid, AgentSettings, AgentWeight, AgentWish, Input, Millis, PoolConfig,
};
use std::net::SocketAddr;

/// How many of a hundred seeds have agents.
const AGENTS_PERCENT: u64 = 25;
/// Between two questions.
pub(super) const EVERY_MS: i64 = 1000;
const PORT: u16 = 9777;

/// What comes of asking an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replies {
    Says(AgentSaid),
    /// It cannot be asked.
    Lost,
    /// Not even that is known for a while.
    Nothing,
}

/// Whether there are agents.
pub(super) fn are_there(dice: &mut Dice) -> bool {
    dice.chance(AGENTS_PERCENT)
}

/// Lets the agents of this pool's servers be asked, if it is an HTTP pool.
pub(super) fn settle(index: usize, pool: &mut PoolConfig) {
    pool.agent = (index < SHELLS).then_some(AgentSettings {
        port: PORT,
        every: Millis(EVERY_MS.unsigned_abs()),
        timeout: Millis(500),
    });
}

/// Everything that it said before is taken back.
fn all_clear() -> AgentSaid {
    AgentSaid {
        wish: Some(AgentWish::Ready),
        health: Some(AgentHealth::Up),
        weight: Some(AgentWeight::Percent(100)),
        max_sessions: Some(0),
        remark: None,
        note: None,
    }
}

impl Planner {
    /// Agents keep users away and let them in again, or fall silent in between; operators overrule them.
    pub(super) fn agents(&mut self, mut dice: Dice) {
        if !self.setup.agents {
            return;
        }
        std::mem::swap(&mut self.dice, &mut dice);
        for _ in 0..self.dice.between(4, 20) {
            let (at, server) = (self.moment(), self.server());
            let said = self.words();
            self.add(at, Action::Agent(server, Replies::Says(said)));
            let later = at + self.dice.between(1200, 12_000);
            let replies = match self.dice.below(5) {
                0 | 1 => Replies::Lost,
                2 => Replies::Nothing,
                _ => Replies::Says(all_clear()),
            };
            self.add(later, Action::Agent(server, replies));
            if self.dice.chance(30) {
                let ready = Action::Operator(Order::Ready(server, false));
                let at = later + self.dice.between(-2000, 3000);
                self.add(at, ready);
            }
        }
        std::mem::swap(&mut self.dice, &mut dice);
    }

    /// What an agent says; now and then what contradicts itself.
    fn words(&mut self) -> AgentSaid {
        let mut said = AgentSaid::default();
        for _ in 0..1 + self.dice.below(2) {
            match self.dice.below(9) {
                0 | 1 => said.wish = Some(AgentWish::Drain),
                2 => said.wish = Some(AgentWish::Maintenance),
                3 => said.wish = Some(AgentWish::Ready),
                4 => {
                    const ILL: [AgentHealth; 3] =
                        [AgentHealth::Down, AgentHealth::Fail, AgentHealth::Stopped];
                    said.health = Some(ILL[self.dice.below(3)]);
                }
                5 => said.health = Some(AgentHealth::Up),
                6 => said.max_sessions = Some(self.dice.below(4) as u32),
                7 => said.weight = Some(AgentWeight::Percent(0)),
                // So far apart that each is news to the node.
                _ => {
                    let share = [25, 50, 200][self.dice.below(3)];
                    said.weight = Some(match self.dice.chance(70) {
                        true => AgentWeight::Percent(share),
                        false => AgentWeight::Absolute(share / 25),
                    });
                }
            }
        }
        said
    }
}

impl World {
    /// Asks all agents.
    pub(super) fn agent_round(&mut self) {
        let Some(node) = &self.node else { return };
        let snapshot = node.driver.snapshot();
        let pools = snapshot.pools.iter();
        for pool in pools.filter(|pool| pool.config.agent.is_some()) {
            for view in &pool.servers {
                let server = ServerNumber::of_view(pool, view);
                let replies = &self.servers.get_or_default(server).replies;
                let said = match replies {
                    Replies::Nothing => continue,
                    Replies::Lost => Err("connection refused".to_owned()),
                    Replies::Says(said) => Ok(said.clone()),
                };
                let agent = SocketAddr::new(view.address.ip(), PORT);
                let at = self.at + self.between(1, 80);
                self.node_later(at, NodeHappening::AgentSaid(server, agent, said));
            }
        }
        self.node_later(self.at + EVERY_MS, NodeHappening::AgentRound);
    }

    /// What an agent said is known.
    pub(super) fn agent_said(
        &mut self,
        server: ServerNumber,
        agent: SocketAddr,
        said: Result<AgentSaid, String>,
    ) {
        let now = self.now();
        self.judge.agent_said(server, said.as_ref().ok(), now);
        self.step(Input::AgentSaid {
            server: server.name(),
            agent,
            said,
        });
    }
}
