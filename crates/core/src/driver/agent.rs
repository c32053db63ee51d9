//! What agents on servers say, and what becomes of it.

use crate::agent::{AgentHealth, AgentSaid, AgentSettings, AgentWeight, AgentWish, WEIGHT_PARTS};
use crate::config::PoolConfig;
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::{ServerState, State};
use crate::event::EventKind;
use crate::health::Health;
use crate::name::ServerName;
use crate::standing::{AgentWord, Reason};
use crate::status::AgentStatus;
use crate::time::{Moment, Now};
use std::net::SocketAddr;

/// A share or a limit counts until the agent has been silent for so many times `every`.
const FIGURES_TURNS_MAX: u64 = 10;

/// What a server's agent has said.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// How and where it is asked; `None`: nowhere.
    asked: Option<(AgentSettings, SocketAddr)>,
    /// When it answered last.
    heard: Option<Moment>,
    /// Why it could not be asked the last time.
    lost: Option<String>,
    wish: AgentWish,
    health: AgentHealth,
    weight: Option<AgentWeight>,
    max_sessions: Option<u32>,
    remark: Option<String>,
    note: Option<String>,
}

impl Agent {
    /// Takes an answer in; returns whether anything follows from it.
    fn take(&mut self, said: AgentSaid) -> bool {
        let before = (self.wish, self.health, self.weight, self.max_sessions);
        self.wish = said.wish.unwrap_or(self.wish);
        self.health = said.health.unwrap_or(self.health);
        let is_news = |weight: &AgentWeight| !self.weight.is_some_and(|now| weight.is_near(now));
        self.weight = said.weight.filter(is_news).or(self.weight);
        if let Some(max) = said.max_sessions {
            self.max_sessions = Some(max).filter(|max| *max > 0);
        }
        self.remark = said.remark;
        self.note = said.note;
        before != (self.wish, self.health, self.weight, self.max_sessions)
    }

    /// Figures are forgotten that nobody has confirmed for long; what somebody wants stays. Returns
    /// whether anything follows.
    fn forget_figures(&mut self, now: Now) -> bool {
        let Some((settings, heard)) = self
            .asked
            .as_ref()
            .map(|(settings, _)| settings)
            .zip(self.heard)
        else {
            return false;
        };
        let limit = settings.every.0.saturating_mul(FIGURES_TURNS_MAX);
        if now.moment.since(heard).0 < limit {
            return false;
        }
        self.weight.take().is_some() | self.max_sessions.take().is_some()
    }

    /// What it says of new sessions.
    fn word(&self) -> AgentWord {
        match (self.wish, self.weight) {
            (AgentWish::Maintenance, _) => AgentWord::Maintenance,
            (AgentWish::Drain, _) => AgentWord::Drain,
            (AgentWish::Ready, Some(weight)) if weight.is_none() => AgentWord::Full,
            (AgentWish::Ready, _) => AgentWord::Open,
        }
    }

    fn is_down(&self) -> bool {
        self.health != AgentHealth::Up
    }

    /// The word that keeps users away, if one does, with the remark, for people.
    fn told(&self) -> Option<String> {
        let word = match self.word() {
            _ if self.is_down() => self.health.label(),
            AgentWord::Open => return None,
            AgentWord::Full => "0%",
            AgentWord::Drain | AgentWord::Maintenance => self.wish.label(),
        };
        let remark = self.remark.as_ref();
        let remark = remark.map_or(String::new(), |remark| format!(": {remark}"));
        Some(format!("its agent says {word}{remark}"))
    }
}

impl State {
    /// The agent at `address` was asked about a server, or could not be (and why).
    pub fn agent_said(
        &mut self,
        name: &ServerName,
        address: SocketAddr,
        said: Result<AgentSaid, String>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let server = self.servers.get_mut(name).filter(|server| server.present);
        let Some(server) = server else { return };
        let agent = &mut server.agent;
        // What was asked before the configuration changed says nothing of what is there now.
        if agent
            .asked
            .as_ref()
            .is_none_or(|(_, asked)| *asked != address)
        {
            return;
        }
        let was_lost = agent.lost.is_some();
        match said {
            Ok(said) => {
                agent.lost = None;
                agent.heard = Some(now.moment);
                if agent.take(said) {
                    self.changed.insert(name.pool.clone());
                }
            }
            Err(why) => {
                agent.lost = Some(why);
                agent.note = None;
            }
        }
        if was_lost != agent.lost.is_some() {
            let lost = agent.lost.clone();
            outputs.push(event(Some(name), EventKind::Agent { lost }, now));
        }
    }

    /// Judges anew what agents said that have been silent since.
    pub fn judge_agents(&mut self, now: Now) {
        for (name, server) in &mut self.servers {
            if server.agent.forget_figures(now) {
                self.changed.insert(name.pool.clone());
            }
        }
    }
}

impl ServerState {
    /// Its agent is asked where the configuration says so; what another one said is forgotten.
    pub fn follow_agent(&mut self, pool: &PoolConfig, moved: bool) {
        let asked = pool.agent.as_ref().map(|settings| {
            let address = SocketAddr::new(self.config.address.ip(), settings.port);
            (settings.clone(), address)
        });
        let address =
            |asked: &Option<(AgentSettings, SocketAddr)>| asked.as_ref().map(|(_, at)| *at);
        if moved || address(&self.agent.asked) != address(&asked) {
            self.agent = Agent::default();
        }
        self.agent.asked = asked;
    }

    /// Whether what its agent said keeps users away, and the agent cannot be asked any more.
    pub fn is_kept_by_silent_agent(&self) -> bool {
        self.agent.lost.is_some() && self.agent.told().is_some()
    }

    /// What keeps users away that its agent says, if the agent can be asked.
    pub fn word_of_answering_agent(&self) -> Option<String> {
        let answers = self.agent.lost.is_none();
        self.agent.told().filter(|_| answers)
    }

    /// The operator's word that it is ready is later than what an agent said that is silent now.
    pub fn overrule_silent_agent(&mut self) {
        if self.is_kept_by_silent_agent() {
            self.agent = Agent {
                asked: self.agent.asked.take(),
                heard: self.agent.heard,
                lost: self.agent.lost.take(),
                ..Agent::default()
            };
        }
    }

    /// What its agent says of new sessions.
    pub fn agent_word(&self) -> AgentWord {
        self.agent.word()
    }

    /// Up or down, by its probes and its agent: it takes both to be up.
    pub fn known_health(&self) -> Health {
        match self.agent.is_down() {
            true => Health::Down,
            false => self.health.health,
        }
    }

    /// Why it is down, or what the last failed probe said.
    pub fn health_why(&self) -> Option<String> {
        let by_probes = self.health.why.clone();
        match self.agent.is_down() && self.health.health != Health::Down {
            true => self.agent.told(),
            false => by_probes,
        }
    }

    /// The agent's words behind this reason.
    pub fn agent_why(&self, reason: Reason) -> Option<String> {
        let is_agents = matches!(
            reason,
            Reason::AgentFull | Reason::AgentDrain | Reason::AgentMaintenance
        );
        self.agent.told().filter(|_| is_agents)
    }

    /// Its weight as it counts beside others of its pool, in parts of a weight where agents are asked.
    pub fn relative_weight(&self, pool: &PoolConfig) -> u32 {
        match (&pool.agent, self.agent.weight) {
            (None, _) => self.weight(),
            (Some(_), None) => self.weight().saturating_mul(WEIGHT_PARTS),
            (Some(_), Some(weight)) => weight.of(self.weight()),
        }
    }

    /// The most sessions that its agent lets it have.
    pub fn max_sessions_of_agent(&self) -> Option<u32> {
        self.agent.max_sessions
    }

    /// What people are shown of its agent, where one is asked.
    pub fn agent_status(&self, now: Now) -> Option<AgentStatus> {
        let agent = &self.agent;
        agent.asked.as_ref()?;
        Some(AgentStatus {
            wish: agent.wish,
            health: agent.health,
            weight: agent.weight,
            max_sessions: agent.max_sessions,
            remark: agent.remark.clone(),
            note: agent.note.clone(),
            age: agent.heard.map(|heard| now.moment.since(heard)),
            no_agent: agent.lost.clone(),
        })
    }
}
