//! What agents on servers say, counted here once more: who keeps new sessions away, who is down by it, and
//! what the operator's word is worth beside.

use super::intents::Want;
use super::{AGENTS, CLOSED, Judge, LAST_RESORT, STAYS, Server, health::Verdict};
use crate::sim::agents::EVERY_MS;
use crate::sim::number::ServerNumber;
use ebbtide_core::{
    AgentHealth, AgentSaid, AgentWeight, AgentWish, Moment, Now, PoolView, Reason, ServerStatus,
    ServerView, Snapshot,
};

/// A share or a limit counts until the agent has been silent for so long,
const FIGURES_MS: u64 = 10 * EVERY_MS.unsigned_abs();
/// give or take a tick.
const TICK_MS: u64 = 200;
/// Where agents are asked, a weight of 1 is so many parts.
const WEIGHT_PARTS: u32 = 100;

/// What is known of a server's agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    heard: Option<Moment>,
    /// It could not be asked the last time.
    lost: bool,
    wish: AgentWish,
    health: AgentHealth,
    weight: Option<AgentWeight>,
    max_sessions: Option<u32>,
    /// What counts cannot be told until the server is another one.
    hazy: bool,
    /// A worker that has taken this generation begins no session.
    shut_in: Option<u64>,
    /// The weight and the limit that an operator gave the server, as shown last.
    given: (u32, Option<u32>),
}

/// What an agent says of new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Open,
    /// None, and what is shown of that.
    Shut(Reason),
    /// That cannot be told.
    Unknown,
}

impl Agent {
    /// The server is not the one that it was.
    pub fn forget(&mut self) {
        *self = Self {
            given: self.given,
            ..Self::default()
        };
    }

    /// For how long it has said nothing, as far as figures go: not too long, too long, or just so.
    fn has_figures(&self, now: Now) -> Option<bool> {
        let age = self.heard.map_or(0, |heard| now.moment.since(heard).0);
        match age {
            age if age + TICK_MS < FIGURES_MS => Some(true),
            age if age > FIGURES_MS + TICK_MS => Some(false),
            _ => None,
        }
    }

    fn take(&mut self, said: &AgentSaid, now: Now) {
        match self.has_figures(now) {
            Some(true) => {}
            Some(false) => (self.weight, self.max_sessions) = (None, None),
            None => {
                self.hazy |= self.weight.or(said.weight).is_some() || self.max_sessions.is_some()
            }
        }
        (self.heard, self.lost) = (Some(now.moment), false);
        self.wish = said.wish.unwrap_or(self.wish);
        self.health = said.health.unwrap_or(self.health);
        self.weight = said.weight.or(self.weight);
        if let Some(max) = said.max_sessions {
            self.max_sessions = Some(max).filter(|max| *max > 0);
        }
    }

    pub fn word(&self, now: Now) -> Word {
        let has_enough = match (self.weight, self.has_figures(now)) {
            (None, _) | (_, Some(false)) => Some(false),
            (Some(weight), Some(true)) => Some(weight.is_none()),
            (Some(weight), None) => (!weight.is_none()).then_some(false),
        };
        match (self.wish, has_enough) {
            _ if self.hazy => Word::Unknown,
            (AgentWish::Maintenance, _) => Word::Shut(Reason::AgentMaintenance),
            (AgentWish::Drain, _) => Word::Shut(Reason::AgentDrain),
            (AgentWish::Ready, Some(true)) => Word::Shut(Reason::AgentFull),
            (AgentWish::Ready, Some(false)) => Word::Open,
            (AgentWish::Ready, None) => Word::Unknown,
        }
    }

    /// Whether the server is down by it; `None`: that cannot be told.
    pub fn is_down(&self) -> Option<bool> {
        (!self.hazy).then_some(self.health != AgentHealth::Up)
    }

    /// An operator wants the server in traffic: what an agent said that is silent now counts no more.
    fn overrule(&mut self) {
        let keeps_off = self.wish != AgentWish::Ready
            || self.health != AgentHealth::Up
            || self.weight.is_some_and(AgentWeight::is_none);
        if self.lost && keeps_off {
            *self = Self {
                heard: self.heard,
                lost: true,
                hazy: self.hazy,
                given: self.given,
                ..Self::default()
            };
        }
    }

    /// The weight, in parts, and the limit that count beside what an operator gave.
    fn counts(&self, now: Now) -> Option<(u32, Option<u32>)> {
        let keeps = self.has_figures(now).filter(|_| !self.hazy);
        let is_sure = keeps.is_some() || (self.weight, self.max_sessions) == (None, None);
        let (given, given_max) = self.given;
        let weight = match self.weight.filter(|_| keeps == Some(true)) {
            None => given * WEIGHT_PARTS,
            Some(AgentWeight::Percent(share)) => (given * share).max(1),
            Some(AgentWeight::Absolute(weight)) => (weight * WEIGHT_PARTS).max(1),
        };
        let max = self.max_sessions.filter(|_| keeps == Some(true));
        let max = [given_max, max].into_iter().flatten().min();
        (is_sure && !self.hazy).then_some((weight, max))
    }
}

impl Judge {
    /// The driver is about to be told what an agent said; `None`: it could not be asked.
    pub fn agent_said(&mut self, name: ServerNumber, said: Option<&AgentSaid>, now: Now) {
        let at = self.at;
        let server = self.server(name);
        if !server.present {
            return;
        }
        let was_down = server.agent.is_down();
        match said {
            Some(said) => server.agent.take(said, now),
            None => server.agent.lost = true,
        }
        let is_down = server.agent.is_down();
        if was_down != Some(false) || is_down != Some(false) {
            server.unserving_at = Some(at);
        }
        if !matches!(server.agent.word(now), Word::Shut(_)) {
            server.agent.shut_in = None;
        }
    }

    /// An operator's word that it is ready is stored, and about to be made true.
    pub(super) fn overrules_agent(&mut self, name: ServerNumber) {
        let at = self.at;
        let server = self.server(name);
        if server.agent.is_down() != Some(false) {
            server.unserving_at = Some(at);
        }
        server.agent.overrule();
        server.agent.shut_in = None;
    }

    /// It came too late, so the agent's word may stand after all, and whose wish it was.
    pub(super) fn wanted_in_vain(&mut self, name: ServerNumber) {
        let server = self.server(name);
        server.wanted_by_dns = server.was_wanted_by_dns;
        server.agent.hazy |= server.agent.lost;
    }

    /// What an operator gave the server.
    pub(super) fn judge_given(&mut self, name: ServerNumber, shown: &ServerStatus) {
        self.server(name).agent.given = (shown.weight, shown.max_sessions);
    }

    /// A worker that has taken `generation` begins a session there.
    pub(super) fn begun_beside_agent(&mut self, name: ServerNumber, generation: u64) {
        let shut_in = self.server(name).agent.shut_in;
        if let Some(shut_in) = shut_in.filter(|shut_in| generation >= *shut_in) {
            let text = format!(
                "a session began on {name} by generation {generation}, whose agent keeps new ones off \
                 since {shut_in}"
            );
            self.fail(CLOSED, text);
        }
    }

    /// After each tick: what workers are given fits what the agents have said.
    pub fn agents_heard(&mut self, snapshot: &Snapshot, now: Now) {
        let pools = snapshot.pools.iter();
        for pool in pools.filter(|pool| pool.config.agent.is_some()) {
            let mut wrong = None;
            for view in &pool.servers {
                let name = ServerNumber::of_view(pool, view);
                let server = self.server(name);
                if server.present && wrong.is_none() {
                    wrong = server.heard(view, pool, snapshot.generation, now);
                    let known = &server.in_force;
                    wrong = wrong.map(|(promise, text)| {
                        (
                            promise,
                            format!("{name}, which is {}, {text}", known.label()),
                        )
                    });
                }
            }
            if let Some((promise, text)) = wrong.or_else(|| self.unanswered(pool, now)) {
                self.fail(promise, text);
            }
        }
    }

    /// When all servers are down that are wanted, their sessions stay, and one of them goes on taking new
    /// ones if its agent lets it.
    fn unanswered(&self, pool: &PoolView, now: Now) -> Option<(&'static str, String)> {
        let mut last_resort = false;
        let mut all_serve = true;
        let mut one_admits = false;
        for view in &pool.servers {
            let server = self.servers.get(ServerNumber::of_view(pool, view))?;
            if server.in_force != Want::Ready || server.is_unverified {
                continue;
            }
            let is_down = server.agent.is_down()? || server.seen.verdict == Verdict::Down;
            let word = server.agent.word(now);
            if !is_down || word == Word::Unknown {
                return None;
            }
            last_resort |= word == Word::Open && view.peak_load != Some(0);
            all_serve &= view.standing.serves_own;
            one_admits |= view.standing.admits_new;
        }
        let is_open = pool.intent == ebbtide_core::PoolIntent::Open;
        let name = &pool.config.name;
        let text = if is_open && !all_serve {
            format!("all servers of {name} are down, and some do not keep their sessions")
        } else if is_open && last_resort && !one_admits {
            format!("all servers of {name} are down, and none of them is the last resort")
        } else {
            return None;
        };
        Some((LAST_RESORT, text))
    }
}

impl Server {
    /// What is wrong with what workers are given of it, by what its agent said.
    fn heard(
        &mut self,
        view: &ServerView,
        pool: &PoolView,
        generation: u64,
        now: Now,
    ) -> Option<(&'static str, String)> {
        let stands = view.standing;
        let word = self.agent.word(now);
        let is_wanted = self.in_force == Want::Ready && !self.is_unverified;
        let is_down = self.agent.is_down() != Some(false) || self.seen.verdict == Verdict::Down;
        let is_open = pool.intent == ebbtide_core::PoolIntent::Open;
        let of_agent = [
            Reason::AgentFull,
            Reason::AgentDrain,
            Reason::AgentMaintenance,
        ];
        match word {
            Word::Shut(_) => drop(self.agent.shut_in.get_or_insert(generation)),
            Word::Open | Word::Unknown => self.agent.shut_in = None,
        }
        match word {
            Word::Shut(reason) if stands.admits_new => {
                Some((CLOSED, format!("admits new sessions against {reason:?}")))
            }
            Word::Shut(_) if is_wanted && is_open && !is_down && !stands.serves_own => {
                let text = "does not serve its own sessions because of its agent".to_owned();
                Some((STAYS, text))
            }
            Word::Shut(reason) if of_agent.contains(&stands.reason) && stands.reason != reason => {
                Some((AGENTS, format!("is {:?}, not {reason:?}", stands.reason)))
            }
            Word::Open if of_agent.contains(&stands.reason) => Some((
                AGENTS,
                format!(
                    "is {:?} and its agent has nothing against it",
                    stands.reason
                ),
            )),
            _ => {
                let counts = self.agent.counts(now)?;
                let shown = (view.weight, view.max_sessions);
                (counts != shown).then(|| {
                    let text = format!("has weight and limit {shown:?}, by its agent {counts:?}");
                    (AGENTS, text)
                })
            }
        }
    }
}
