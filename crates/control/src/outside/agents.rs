//! Agents on the servers, in HAProxy's agent-check protocol: each is asked again and again, by a
//! connection over which it says one line. What follows from that is decided in `core`.

#[cfg(test)]
mod tests;

use crate::inbox::{Inbox, Message};
use crate::outside::rounds::{self, Turn};
use crate::probe::describe;
use crate::prober::jittered;
use ebbtide_core::{
    AgentHealth, AgentSaid, AgentSettings, AgentWeight, AgentWish, Input, ServerName, Snapshot,
};
use ebbtide_protocol::agent::{self as wire, AGENT_LINE_BYTES_MAX, AgentLine, read_agent_line};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Agents that are asked at the same time.
const AT_ONCE_MAX: usize = 64;

/// Which agent is asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    address: SocketAddr,
    settings: AgentSettings,
}

/// Asks until the sender of `snapshots` is dropped.
pub(super) async fn run(snapshots: watch::Receiver<Arc<Snapshot>>, inbox: Inbox) {
    let ask = |name, question, turn| ask_on(name, question, turn, inbox.clone());
    rounds::run(snapshots, AT_ONCE_MAX, questions, ask).await;
}

fn questions(snapshot: &Snapshot) -> BTreeMap<ServerName, Question> {
    let pools = snapshot.pools.iter();
    let pools = pools.filter_map(|pool| Some((pool, pool.config.agent.as_ref()?)));
    let questions = pools.flat_map(|(pool, settings)| {
        pool.servers.iter().map(|server| {
            let name = ServerName::new(pool.config.name.as_str(), &*server.name);
            let question = Question {
                address: SocketAddr::new(server.address.ip(), settings.port),
                settings: settings.clone(),
            };
            (name, question)
        })
    });
    questions.collect()
}

/// Asks one agent until it is aborted.
async fn ask_on(name: ServerName, question: Question, turn: Turn, inbox: Inbox) {
    let Question { address, settings } = question;
    let every = Duration::from_millis(settings.every.0);
    sleep(every.mul_f64(turn.share)).await;
    loop {
        let place = turn.place().await;
        let said = ask(address, &settings).await;
        drop(place);
        inbox.send(Message::Told(Input::AgentSaid {
            server: name.clone(),
            agent: address,
            said: said.map_err(|why| format!("{address}: {why}")),
        }));
        sleep(jittered(every)).await;
    }
}

/// Asks once.
async fn ask(address: SocketAddr, settings: &AgentSettings) -> Result<AgentSaid, String> {
    let limit = Duration::from_millis(settings.timeout.0);
    let line = timeout(limit, line(address)).await;
    let line = line.unwrap_or_else(|_| Err(format!("no whole line within {}", settings.timeout)));
    line.map(said)
}

async fn line(address: SocketAddr) -> Result<AgentLine, String> {
    let mut stream = TcpStream::connect(address).await.map_err(describe)?;
    let mut bytes = Vec::with_capacity(256);
    loop {
        let left = (AGENT_LINE_BYTES_MAX - bytes.len()) as u64;
        let count = (&mut stream).take(left).read_buf(&mut bytes).await;
        let is_all = count.map_err(describe)? == 0;
        if let Some(read) = read_agent_line(&bytes, is_all) {
            return read.map_err(|fault| fault.reason());
        }
    }
}

fn said(line: AgentLine) -> AgentSaid {
    AgentSaid {
        wish: line.wish.map(|wish| match wish {
            wire::AgentWish::Ready => AgentWish::Ready,
            wire::AgentWish::Drain => AgentWish::Drain,
            wire::AgentWish::Maintenance => AgentWish::Maintenance,
        }),
        health: line.health.map(|health| match health {
            wire::AgentHealth::Up => AgentHealth::Up,
            wire::AgentHealth::Down => AgentHealth::Down,
            wire::AgentHealth::Fail => AgentHealth::Fail,
            wire::AgentHealth::Stopped => AgentHealth::Stopped,
        }),
        weight: line.weight.map(|weight| match weight {
            wire::AgentWeight::Percent(percent) => AgentWeight::Percent(percent),
            wire::AgentWeight::Absolute(weight) => AgentWeight::Absolute(weight),
        }),
        max_sessions: line.connections_max,
        remark: line.remark,
        note: line.note,
    }
}
