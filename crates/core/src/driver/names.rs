//! Servers that come from a name: each address that the name has is a server of the pool, which comes by
//! itself and leaves by a drain. What is done about them are commands like an operator's: planned,
//! guarded, stored, and in the audit log.

use crate::command::{Actor, Command};
use crate::config::{NameConfig, PoolConfig};
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::{ServerState, State};
use crate::event::EventKind;
use crate::intent::Intent;
use crate::name::ServerName;
use crate::record::ServerOverride;
use crate::status::NameStatus;
use crate::time::{Moment, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// So many addresses of a name are used.
pub const ADDRESSES_MAX: usize = 256;
/// Who asks for what follows from an answer.
const BY: &str = "dns";

/// What was last said of a name.
#[derive(Debug, Default)]
pub(super) struct NameState {
    /// Its addresses, as they are used.
    addresses: BTreeSet<SocketAddr>,
    /// When it had any.
    heard: Option<Moment>,
    /// Since when it does not have these any more, of servers that are still there.
    lost: BTreeMap<SocketAddr, Moment>,
    /// What is wrong with the newest answer.
    trouble: Option<String>,
}

/// The addresses of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameAnswer {
    /// All that may be servers, in any order.
    pub addresses: Vec<SocketAddr>,
    /// Those that would lead back here, each with the listener that it is.
    pub own: Vec<(SocketAddr, String)>,
}

impl State {
    /// A name was looked up, or could not be (and why). Returns what is to be done about it.
    pub fn looked_up(
        &mut self,
        pool: &str,
        name: &str,
        answer: Result<NameAnswer, String>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Vec<(Actor, Command)> {
        let known = self.pools.get(pool).map(|pool| pool.config.clone());
        let entry = known.as_ref().and_then(|config| config.name(name));
        let (Some(config), Some(entry)) = (&known, entry) else {
            return Vec::new();
        };
        let (addresses, trouble) = match answer {
            Ok(answer) => self.usable(config, entry, answer),
            Err(why) => (BTreeSet::new(), Some(format!("cannot be looked up: {why}"))),
        };
        let present = self.servers_of(pool);
        let present = present.filter(|(_, server)| server.present && server.is_of(name));
        let present: BTreeSet<SocketAddr> =
            present.map(|(_, server)| server.config.address).collect();
        let Some(state) = self.pools.get_mut(pool) else {
            return Vec::new();
        };
        let state = state.names.entry(name.to_owned()).or_default();
        if state.trouble != trouble {
            state.trouble.clone_from(&trouble);
            let kind = EventKind::Name {
                name: format!("{pool}/{name}"),
                host: entry.host.clone(),
                trouble,
            };
            outputs.push(event(None, kind, now));
        }
        // Without any address everything stays as it was: more likely the answer is wrong than all gone.
        if addresses.is_empty() {
            return Vec::new();
        }
        state.heard = Some(now.moment);
        state.addresses = addresses.clone();
        let lost = present.difference(&addresses);
        let since = lost.map(|address| (*address, *state.lost.get(address).unwrap_or(&now.moment)));
        state.lost = since.collect();
        let gone = state.lost.iter();
        let gone = gone.filter(|(_, since)| now.moment >= since.plus(entry.leave_within));
        let gone: BTreeSet<SocketAddr> = gone.map(|(address, _)| *address).collect();
        self.follow(pool, entry, &addresses, &gone, now)
    }

    /// The addresses that become servers, and what is wrong with the others.
    fn usable(
        &self,
        pool: &PoolConfig,
        entry: &NameConfig,
        answer: NameAnswer,
    ) -> (BTreeSet<SocketAddr>, Option<String>) {
        let all: BTreeSet<SocketAddr> = answer.addresses.into_iter().collect();
        let mut wrong = Vec::new();
        if let Some((address, own)) = answer.own.first() {
            wrong.push(format!(
                "{address} leads back here, to {own}, and is left out"
            ));
        }
        let others: BTreeMap<SocketAddr, &str> = self
            .servers_of(&pool.name)
            .filter(|(_, server)| server.present && !server.is_of(&entry.name))
            .map(|(name, server)| (server.config.address, name.server.as_str()))
            .collect();
        let taken = all
            .iter()
            .find_map(|address| Some((address, others.get(address)?)));
        if let Some((address, server)) = taken {
            wrong.push(format!("{address} is server {server} already"));
        }
        let free = all.iter().copied();
        let free = free.filter(|address| !others.contains_key(address));
        // Servers that are there already come first.
        let present = self.servers_of(&pool.name);
        let present = present.filter(|(_, server)| server.present && server.is_of(&entry.name));
        let known: BTreeSet<SocketAddr> =
            present.map(|(_, server)| server.config.address).collect();
        let (here, new): (Vec<SocketAddr>, Vec<SocketAddr>) =
            free.partition(|address| known.contains(address));
        let free = here.len() + new.len();
        if free > ADDRESSES_MAX {
            wrong.push(format!(
                "has {free} addresses, of which {ADDRESSES_MAX} are used"
            ));
        }
        if all.is_empty() && wrong.is_empty() {
            wrong.push("has no address".to_owned());
        }
        let used = here.into_iter().chain(new).take(ADDRESSES_MAX).collect();
        (used, (!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// Has servers come, come back and leave, so that they are those of these addresses. The name does not
    /// have those in `gone` for so long that they will not be back.
    fn follow(
        &self,
        pool: &str,
        entry: &NameConfig,
        addresses: &BTreeSet<SocketAddr>,
        gone: &BTreeSet<SocketAddr>,
        now: Now,
    ) -> Vec<(Actor, Command)> {
        let mut commands = Vec::new();
        let mut here = BTreeSet::new();
        let present = self.servers_of(pool);
        for (name, server) in
            present.filter(|(_, server)| server.present && server.is_of(&entry.name))
        {
            let address = server.config.address;
            // Of two at one address the second one leaves.
            let stays = addresses.contains(&address) && here.insert(address);
            let ready = || Command::Ready {
                server: name.clone(),
                force: false,
            };
            let (has, command) = match stays {
                true => ("has", server.is_sent_away().then(ready)),
                false => ("no longer has", server.farewell(name, entry, gone, now)),
            };
            let actor = by_name(pool, entry, &format!("{has} {address} for it"));
            commands.extend(command.map(|command| (actor, command)));
        }
        let new: Vec<SocketAddr> = addresses.difference(&here).copied().collect();
        for (address, name) in self.free_names(pool, entry, &new) {
            let actor = by_name(pool, entry, &format!("has {address}"));
            let add = Command::AddServer {
                pool: pool.to_owned(),
                server: entry.server_at(&name.server, address),
            };
            commands.push((actor, add));
        }
        commands
    }

    /// Whether what an answer led to is still to be done, and no operator has wanted something else of the
    /// server since, or removed it.
    pub fn still_follows(&self, command: &Command) -> bool {
        let known = |name: &ServerName| self.servers.get(name).filter(|server| server.present);
        match command {
            Command::Ready { server, .. } => known(server).is_some_and(ServerState::is_sent_away),
            Command::Drain { server, .. } => {
                known(server).is_some_and(|server| server.intent == Intent::Ready)
            }
            _ => true,
        }
    }

    /// Names for servers at these addresses: those that they had before, or else the first that no
    /// server has and of which no operator wants anything.
    fn free_names(
        &self,
        pool: &str,
        entry: &NameConfig,
        addresses: &[SocketAddr],
    ) -> Vec<(SocketAddr, ServerName)> {
        let numbered = |number: usize| ServerName::new(pool, format!("{}-{number}", entry.name));
        let is_number = |name: &ServerName| {
            let number = name.server.strip_prefix(&entry.name);
            let number = number.and_then(|number| number.strip_prefix('-'));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let known = self.servers_of(pool).filter(|(name, _)| is_number(name));
        let earlier = known.filter(|(_, server)| !server.present && !server.lingers);
        let mut earlier: BTreeMap<SocketAddr, ServerName> = earlier
            .map(|(name, server)| (server.config.address, name.clone()))
            .collect();
        earlier.retain(|address, _| addresses.contains(address));
        let kept: BTreeSet<ServerName> = earlier.values().cloned().collect();
        let mut others = (1..).map(numbered).filter(|name| {
            let is_free = self.servers.get(name).is_none_or(|server| {
                let is_wanted = server.intent != Intent::Ready && !server.is_sent_away();
                !server.present && !server.lingers && !is_wanted
            });
            is_free && !kept.contains(name)
        });
        let named = addresses.iter().filter_map(|address| {
            let name = earlier.remove(address).or_else(|| others.next())?;
            Some((*address, name))
        });
        named.collect()
    }

    /// The name that had the address of this server, which is out of traffic, and has it no more.
    pub fn name_that_lost(&self, name: &ServerName, server: &ServerState) -> Option<&str> {
        let (host, is_heard) = self.came_by(name, server)?;
        let is_out = server.present && server.intent != Intent::Ready;
        (is_heard && is_out && !self.is_named(name, server)).then_some(host)
    }

    /// The name by which this server came, if nobody knows yet what that has: it has not been looked up with
    /// success since the start.
    pub fn unheard_name(&self, name: &ServerName, server: &ServerState) -> Option<&str> {
        let (host, is_heard) = self.came_by(name, server)?;
        (!is_heard).then_some(host)
    }

    /// The name of the file by which this server came, and whether it has been looked up since the start.
    fn came_by(&self, name: &ServerName, server: &ServerState) -> Option<(&str, bool)> {
        let pool = self.pools.get(&name.pool)?;
        let entry = pool.config.name(server.config.of_name.as_deref()?)?;
        let state = pool.names.get(&entry.name);
        let is_heard = state.is_some_and(|state| state.heard.is_some());
        Some((entry.host.as_str(), is_heard))
    }

    /// Whether an entry's name still has the address of this server.
    pub fn is_named(&self, name: &ServerName, server: &ServerState) -> bool {
        let pool = self.pools.get(&name.pool);
        let names = pool.map(|pool| &pool.names);
        let entry = server.config.of_name.as_ref();
        let known = names.zip(entry).and_then(|(names, entry)| names.get(entry));
        known.is_some_and(|known| known.addresses.contains(&server.config.address))
    }

    /// What is wrong with a name: with its newest answer, or with what could not be made of that.
    fn trouble_of(&self, pool: &str, entry: &str, state: &NameState) -> Option<String> {
        let kept = self.servers_of(pool).filter(|(_, server)| {
            let is_gone = !state.addresses.contains(&server.config.address);
            let is_known = server.present && state.heard.is_some() && server.is_of(entry);
            is_known && is_gone && server.intent == Intent::Ready
        });
        let kept = kept.map(|(name, server)| {
            let address = server.config.address;
            format!("{name} stays although {address} is gone, because the pool needs it")
        });
        let all: Vec<String> = state.trouble.iter().cloned().chain(kept).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// What people are shown of a pool's names.
    pub fn name_status(&self, pool: &PoolConfig, now: Now) -> Vec<NameStatus> {
        let states = self.pools.get(&pool.name).map(|pool| &pool.names);
        let names = pool.names.iter().map(|entry| {
            let state = states.and_then(|states| states.get(&entry.name));
            let heard = state.and_then(|state| state.heard);
            NameStatus {
                name: entry.name.clone(),
                host: entry.host.clone(),
                addresses: state.map_or(0, |state| state.addresses.len() as u32),
                age: heard.map(|heard| now.moment.since(heard)),
                trouble: state.and_then(|state| self.trouble_of(&pool.name, &entry.name, state)),
            }
        });
        names.collect()
    }
}

impl ServerState {
    /// Whether it comes from the entry of this name.
    pub fn is_of(&self, entry: &str) -> bool {
        self.config.of_name.as_deref() == Some(entry)
    }

    /// Whether it is out of traffic, or on its way, because its name lost its address.
    pub fn is_sent_away(&self) -> bool {
        let record = self.intent_record.as_ref();
        self.intent != Intent::Ready && record.is_some_and(|record| record.by == BY)
    }

    /// What is to be done when its name no longer has its address: a drain, and then it is removed. What
    /// an operator wants of it stays so meanwhile, and ends with it: not before its address is gone for good.
    fn farewell(
        &self,
        name: &ServerName,
        entry: &NameConfig,
        gone: &BTreeSet<SocketAddr>,
        now: Now,
    ) -> Option<Command> {
        let server = name.clone();
        let is_operated = !self.is_sent_away() || self.set != ServerOverride::default();
        let is_over = !is_operated || gone.contains(&self.config.address);
        match self.intent {
            Intent::Ready => Some(Command::Drain {
                server,
                within: Some(entry.leave_within),
                message: None,
                force: false,
            }),
            // After a restart not before every session that is still alive must have shown itself.
            Intent::Hold if now.moment < self.counting_until => None,
            Intent::Hold | Intent::Maintenance if self.load.sessions() == 0 && is_over => {
                Some(Command::RemoveServer {
                    server,
                    force: false,
                })
            }
            Intent::Hold | Intent::Drain(_) | Intent::Maintenance => None,
        }
    }
}

/// Who asks for what follows from an answer about this name of a pool.
fn by_name(pool: &str, entry: &NameConfig, why: &str) -> Actor {
    Actor {
        who: BY.to_owned(),
        from: format!("name {pool}/{}", entry.name),
        reason: Some(format!("{} {why}", entry.host)),
    }
}
