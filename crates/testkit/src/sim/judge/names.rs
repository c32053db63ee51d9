//! Servers that come by a name: those of its addresses, no others, each under its own name; who leaves does
//! so by a drain, and against nobody's word. What the node does about them itself is judged as if somebody
//! had asked for it.

use super::commands::{Asks, Request};
use super::intents::Want;
use super::{Judge, NAMES};
use crate::sim::names::{OF_ANOTHER, POOL};
use crate::sim::number::ServerNumber;
use ebbtide_core::{Now, RequestId, ServerView, Snapshot, StoredIntent, Write};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Who asks for what follows from an answer.
pub(super) const DNS: &str = "dns";
/// Between two requests of operators there is room for so many of the node's own.
pub(in crate::sim) const REQUESTS_APART: u64 = 1000;
/// How long what follows from an answer may wait for the disk.
const WAITS_MS: i64 = 10_000;
/// No longer than this is between two answers, when nothing is wrong.
const OFTEN_MS: i64 = 1500;
/// How long it may take until everything is as the last answer has it, when nothing else happens.
const SETTLES_MS: i64 = 11_000;

/// What is known of the name.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// The answers of this life that had addresses, with the time.
    answers: VecDeque<(i64, Vec<SocketAddr>)>,
    /// Since when the newest one is always the same.
    same_since: i64,
    /// What the node asked for itself, is stored, and has not been answered.
    pub waiting: VecDeque<RequestId>,
    /// The server that had an address last.
    had: BTreeMap<SocketAddr, ServerNumber>,
}

impl Named {
    pub fn starts(&mut self, at: i64) {
        self.answers.clear();
        self.waiting.clear();
        self.same_since = at;
    }

    /// An operator removes a server, perhaps with its sessions: then others come under other names.
    pub fn removed(&mut self, server: Option<ServerNumber>) {
        self.had.retain(|_, had| Some(*had) != server);
    }

    /// Whether an answer, lately, had this address, or one had it not.
    fn lately(&self, at: i64, address: SocketAddr, had: bool) -> bool {
        let recent = self.answers.iter().rev();
        let mut recent = recent.take_while(|(told, _)| at - told <= WAITS_MS);
        address == OF_ANOTHER || recent.any(|(_, addresses)| addresses.contains(&address) == had)
    }
}

impl Judge {
    /// The driver is about to be told of an answer that has these addresses.
    pub fn looked_up(&mut self, usable: Option<Vec<SocketAddr>>) {
        let at = self.at;
        let named = &mut self.named;
        let last = named.answers.back();
        let is_same =
            last.is_some_and(|(told, last)| at - told <= OFTEN_MS && usable.as_ref() == Some(last));
        if !is_same {
            named.same_since = at;
        }
        let Some(addresses) = usable else { return };
        named.answers.push_back((at, addresses));
        if named.answers.len() > 20 {
            named.answers.pop_front();
        }
    }

    /// The node does something about a server by itself: as if somebody had asked for it just after what was
    /// decided on last. Returns the number of that.
    pub(super) fn by_dns(&mut self, writes: &[Write], now: Now) -> Option<RequestId> {
        // What it did by itself comes before.
        let asked = writes.iter().rev().find_map(|write| match write {
            Write::Intent(name, record) if record.by == DNS => match &record.intent {
                StoredIntent::Ready => Some((name, None, Asks::Intent(Want::Ready))),
                StoredIntent::Drain { within, .. } => {
                    Some((name, None, Asks::Intent(Want::asked(*within, None))))
                }
                _ => None,
            },
            Write::LiveServer(name, config) => Some((name, Some(config.address), Asks::Live(true))),
            Write::Removed(name) => Some((name, None, Asks::Live(false))),
            _ => None,
        });
        let (name, address, asks) = asked?;
        let (name, id) = (ServerNumber::of(name), RequestId(self.last_sent + 1));
        self.is_right(name, address, &asks, now);
        if asks == Asks::Intent(Want::Ready) {
            self.wants_ready(id, name);
            self.wanted_back(id, name, false);
        }
        let request = Request::of_node(name, asks, now, self.life);
        self.requests.insert(id, request);
        self.named.waiting.push_back(id);
        Some(id)
    }

    /// Whether the answers, and what operators want, lead to this.
    fn is_right(&mut self, name: ServerNumber, new: Option<SocketAddr>, asks: &Asks, now: Now) {
        let at = self.at;
        let server = self.server(name);
        let (in_force, by_dns) = (server.in_force.clone(), server.wanted_by_dns);
        let Some(address) = new.or(server.address) else {
            return;
        };
        let comes = matches!(asks, Asks::Live(true) | Asks::Intent(Want::Ready));
        let why = if !self.named.lately(at, address, comes) {
            format!(
                "although no answer {} {address}",
                if comes { "had" } else { "lost" }
            )
        } else if matches!(asks, Asks::Intent(Want::Drain(..))) && in_force != Want::Ready {
            format!("although it is {}", in_force.label())
        } else if *asks == Asks::Intent(Want::Ready) && !by_dns {
            format!("although somebody wants it to be {}", in_force.label())
        } else {
            if *asks == Asks::Live(false) {
                self.none_live(name, "the stay", now.moment, now, at);
            }
            return;
        };
        self.fail(
            NAMES,
            format!("{name} was asked by its name for {asks:?} {why}"),
        );
    }

    /// A server is there, at this address.
    pub(super) fn judge_address(&mut self, name: ServerNumber, view: &ServerView) {
        if !name.is_named() {
            return;
        }
        let restarted = self.restarted;
        let server = self.server(name);
        let before = server.address.filter(|_| server.present);
        if let Some(before) = before.filter(|before| *before != view.address && !restarted) {
            let text = format!("{name} was at {before}, and is at {}", view.address);
            return self.fail(NAMES, text);
        }
        if before.is_some() {
            return;
        }
        // It keeps its name if nobody else was given that meanwhile.
        let had = self.named.had.insert(view.address, name);
        let other = had.filter(|had| *had != name);
        let free = other.and_then(|other| Some((other, self.servers.get(other)?)));
        if let Some((other, known)) = free.filter(|(_, known)| known.address == Some(view.address))
        {
            let text = match known.present {
                true => format!("{other} and {name} are both at {}", view.address),
                false => format!("{} is back as {name}, and was {other}", view.address),
            };
            self.fail(NAMES, text);
        }
    }

    /// What was known of servers that are gone is forgotten with the program.
    pub(super) fn addresses_after_restart(&mut self) {
        let servers = &self.servers;
        let is_there = |name: &ServerNumber| servers.get(*name).is_some_and(|known| known.present);
        self.named.had.retain(|_, name| is_there(name));
    }

    /// The end of a run, after a time in which nothing happened: the servers are those of the last answer.
    pub fn names_settled(&mut self, snapshot: &Snapshot) {
        let (at, life_began) = (self.at, self.life_began);
        let is_quiet = at - life_began.max(self.named.same_since) >= SETTLES_MS;
        let pool = snapshot.pool_named(crate::sim::plan::pool_name(POOL));
        let answer = self.named.answers.back();
        let answer = answer
            .filter(|(told, addresses)| is_quiet && at - told <= OFTEN_MS && !addresses.is_empty());
        let (Some(pool), Some((_, addresses))) = (pool, answer) else {
            return;
        };
        let addresses = addresses.clone();
        for address in &addresses {
            let mut servers = pool.servers.iter();
            let server = servers.find(|view| view.address == *address);
            let number = server.map(|view| ServerNumber::of_view(pool, view));
            let known = number.and_then(|number| self.servers.get(number));
            if known.is_none_or(|known| known.in_force != Want::Ready && known.wanted_by_dns) {
                let text =
                    format!("the name has {address}, and {number:?} is not in traffic for it");
                return self.fail(NAMES, text);
            }
        }
        for view in &pool.servers {
            let number = ServerNumber::of_view(pool, view);
            let may_stay = addresses.contains(&view.address) || view.address == OF_ANOTHER;
            if !number.is_named() || may_stay {
                continue;
            }
            let others = pool.servers.iter().filter(|other| {
                other.key != view.key && other.standing.admits_new && other.has_room()
            });
            let is_needed = others.count() < pool.config.minimum as usize;
            let server = self.server(number);
            let admits = server.in_force == Want::Ready && !is_needed;
            let is_away = server.in_force == Want::Maintenance && server.wanted_by_dns;
            if admits || is_away {
                let label = server.in_force.label();
                let text = format!("{number} is {label}, and the name has {addresses:?}");
                return self.fail(NAMES, text);
            }
        }
    }
}
