//! What agents say, by script.

use super::World;
use ebbtide_core::{
    AgentHealth, AgentSaid, AgentSettings, AgentStatus, AgentWeight, AgentWish, Input, Millis,
    ServerName,
};
use std::net::SocketAddr;

/// Where the agents of every world answer.
pub(super) const SETTINGS: AgentSettings = AgentSettings {
    port: 9777,
    every: Millis::from_secs(2),
    timeout: Millis::from_secs(1),
};

impl World {
    /// `agent app/web1 drain 50% max:3 # why`, or `agent app/web1 fails why`.
    pub(super) fn hear_agent(&mut self, server: &str, says: &[&str]) -> Vec<String> {
        let said = match says {
            ["fails", why @ ..] => Err(why.join(" ")),
            words => Ok(said(words)),
        };
        let server = ServerName::parse(server).unwrap();
        let agent = SocketAddr::from(([127, 0, 0, 1], SETTINGS.port));
        let mut heard = self.step(Input::AgentSaid {
            server,
            agent,
            said,
        });
        heard.extend(self.step(Input::Tick));
        heard
    }

    /// The weights that workers choose by.
    pub(super) fn weights(&self) -> Vec<String> {
        let pool = self.published.pool_named("app").unwrap();
        let servers = pool.servers.iter();
        let weights = servers.map(|server| format!("{} {}", server.name, server.weight));
        vec![weights.collect::<Vec<_>>().join(", ")]
    }
}

fn said(words: &[&str]) -> AgentSaid {
    let mut said = AgentSaid::default();
    for (index, word) in words.iter().enumerate() {
        match *word {
            "ready" => said.wish = Some(AgentWish::Ready),
            "drain" => said.wish = Some(AgentWish::Drain),
            "maint" => said.wish = Some(AgentWish::Maintenance),
            "up" => said.health = Some(AgentHealth::Up),
            "down" => said.health = Some(AgentHealth::Down),
            "fail" => said.health = Some(AgentHealth::Fail),
            "stopped" => said.health = Some(AgentHealth::Stopped),
            "#" => {
                said.remark = Some(words[index + 1..].join(" "));
                break;
            }
            other => match (other.strip_suffix('%'), other.split_once(':')) {
                (Some(percent), _) => {
                    said.weight = Some(AgentWeight::Percent(percent.parse().unwrap()));
                }
                (_, Some(("weight", weight))) => {
                    said.weight = Some(AgentWeight::Absolute(weight.parse().unwrap()));
                }
                (_, Some(("max", max))) => said.max_sessions = Some(max.parse().unwrap()),
                _ => panic!("an agent does not say {other:?}"),
            },
        }
    }
    said
}

/// What an agent says, in the words of a transcript.
pub(super) fn agent(agent: &AgentStatus) -> String {
    let mut text = format!(", agent {} {}", agent.health.label(), agent.wish.label());
    match agent.weight {
        Some(AgentWeight::Percent(percent)) => text += &format!(" {percent}%"),
        Some(AgentWeight::Absolute(weight)) => text += &format!(" weight {weight}"),
        None => {}
    }
    if let Some(max) = agent.max_sessions {
        text += &format!(" max {max}");
    }
    if let Some(why) = &agent.no_agent {
        text += &format!(", no agent: {why}");
    }
    text
}
