//! A new configuration: what is different, in lines for people, and the plan for it.

use crate::command::Refusal;
use crate::config::{Balance, Config, PoolConfig, ServerConfig};
use crate::driver::change::{Change, NodeEdit, Plan};
use crate::driver::commands::Planner;
use crate::driver::state::ServerState;
use crate::event::count;
use crate::gate::GateSettings;
use crate::intent::Intent;
use crate::name::ServerName;
use crate::record::Write;
use crate::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes that the audit log names; the rest are counted.
const AUDITED_MAX: usize = 20;

impl Planner<'_> {
    /// Takes a configuration that was checked already; `beside` are the differences outside of it, a
    /// line each. Intents are not in it, so whatever is held stays held.
    pub fn reload(&self, config: Arc<Config>, beside: Vec<String>) -> Result<Plan, Refusal> {
        for pool in &config.pools {
            self.guard_pool(pool)?;
        }
        let mut changes = differences(&self.state.config, &config);
        changes.extend(beside);
        let text = match changes.len() {
            0 => "the configuration is as it was".to_owned(),
            number => {
                let number = count(number as u32, "change");
                format!("the configuration was read again: {number}")
            }
        };
        let shown: Vec<&str> = changes
            .iter()
            .take(AUDITED_MAX)
            .map(String::as_str)
            .collect();
        let audited = format!("{text} {}", shown.join(", "));
        changes.extend(self.left_behind(&config));
        changes.extend(self.without_takers(&config));
        changes.extend(self.overridden(&config));
        changes.extend(self.beside_the_file(&config));
        let writes = self.kept_epochs(&config);
        let change = Change::Node(NodeEdit::Config(config));
        let target = "-".to_owned();
        let mut plan = self.plan(
            "reload",
            target,
            change,
            writes,
            audited.trim().to_owned(),
            false,
        );
        plan.answer.text = text;
        plan.answer.changes = changes;
        Ok(plan)
    }
}

impl Planner<'_> {
    /// The epochs of servers that were removed live, still have sessions, and are back at their address by
    /// this file: those go on, so what their removal has stored does not count.
    fn kept_epochs(&self, config: &Config) -> Vec<Write> {
        let pools = config.pools.iter();
        let servers = pools.flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)));
        let kept = servers.filter_map(|(pool, server)| {
            let name = ServerName::new(&pool.name, &server.name);
            let known = self.state.servers.get(&name)?;
            let is_back = known.removed && known.lingers && known.config.address == server.address;
            is_back.then_some(Write::Epoch(name, known.epoch))
        });
        kept.collect()
    }

    /// Refuses a file that leaves a pool with too few servers that operators want in traffic, when
    /// there are enough now.
    fn guard_pool(&self, pool: &PoolConfig) -> Result<(), Refusal> {
        let Some(present) = self.state.pools.get(&pool.name) else {
            return Ok(());
        };
        let wanted = |name: &ServerName| {
            let known = self.state.servers.get(name);
            known.is_none_or(|server| server.intent == Intent::Ready)
        };
        let in_file = |name: &ServerName| pool.servers.iter().any(|s| s.name == name.server);
        let is_live = |name: &ServerName| {
            let known = self.state.servers.get(name);
            known.is_some_and(|server| stays_live(pool, server))
        };
        let now = present.order.iter().filter(|name| wanted(name)).count();
        let names = pool
            .servers
            .iter()
            .map(|server| ServerName::new(&pool.name, &server.name));
        let live = present
            .order
            .iter()
            .filter(|name| is_live(name) && !in_file(name));
        let then = names.filter(&wanted).count() + live.filter(|name| wanted(name)).count();
        let minimum = pool.minimum.max(1) as usize;
        if then >= minimum || now < minimum || pool.balance == Balance::DoorOnly {
            return Ok(());
        }
        let held: Vec<String> = present
            .order
            .iter()
            .filter(|name| !wanted(name))
            .map(ToString::to_string)
            .collect();
        if held.is_empty() {
            return Err(Refusal::invalid(format!(
                "nothing was changed: this file would leave pool {} with {then} servers, and it needs \
                 {minimum}; its names have no servers yet: leave the others in the file until those of \
                 the names have come (ebbtide status), then reload",
                pool.name,
            )));
        }
        Err(Refusal::invalid(format!(
            "nothing was changed: this file would leave pool {} with {then} servers that may admit \
             new sessions, and it needs {minimum}; {} held, drained or in maintenance: return a \
             server first (ebbtide ready …), then reload",
            pool.name,
            match held.as_slice() {
                [one] => format!("{one} is"),
                many => format!("{} are", many.join(", ")),
            }
        )))
    }

    /// Whether a server is in the pool by this file too: that names it, or it was added live.
    fn stays(&self, pool: &PoolConfig, name: &ServerName) -> bool {
        let known = self.state.servers.get(name);
        let is_live = known.is_some_and(|server| stays_live(pool, server));
        is_live || pool.servers.iter().any(|one| one.name == name.server)
    }

    /// Says what becomes of the sessions of servers that the file no longer names.
    fn left_behind(&self, config: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        for pool in &config.pools {
            let present = self.state.pools.get(&pool.name);
            let order = present.map_or(&[][..], |present| &present.order);
            let known = order
                .iter()
                .filter_map(|name| Some((name, self.state.servers.get(name)?)));
            let leave = known.filter(|(name, _)| !self.stays(pool, name));
            for (name, server) in leave.filter(|(_, server)| server.load.sessions() > 0) {
                let after = self.state.after_removal(name);
                let deadline = server.intent.deadline();
                let deadline = deadline.map_or(String::new(), |deadline| {
                    let seconds = deadline.since(self.now.moment).0.div_ceil(1000);
                    let left = Millis::from_secs(seconds);
                    format!("; its drain goes on, and ends what is left in {left}")
                });
                lines.push(format!("! {name} leaves the pool: {after}{deadline}"));
            }
        }
        lines
    }

    /// Says which pools are left without a server that takes new sessions, at this moment: an operator may
    /// want those that stay, and they be down.
    fn without_takers(&self, config: &Config) -> Vec<String> {
        let takes = |name: &ServerName| {
            let known = self.state.servers.get(name);
            known.is_some_and(|server| server.standing.admits_new)
        };
        let mut lines = Vec::new();
        for pool in &config.pools {
            let present = self.state.pools.get(&pool.name);
            let order = present.map_or(&[][..], |present| &present.order);
            let is_new =
                |server: &ServerConfig| !order.iter().any(|name| name.server == server.name);
            let has_taker = order
                .iter()
                .any(|name| self.stays(pool, name) && takes(name));
            if !has_taker && order.iter().any(takes) && !pool.servers.iter().any(is_new) {
                lines.push(format!(
                    "! no server that stays in pool {} takes new sessions now (ebbtide status)",
                    pool.name
                ));
            }
        }
        lines
    }

    /// Says which of two counts where the file begins or ceases to name a server that was added live, or
    /// that came by a name.
    fn beside_the_file(&self, config: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        for pool in &config.pools {
            let before = self.state.pools.get(&pool.name);
            let named_in = |pool: &PoolConfig, name: &ServerName| {
                let server = pool.servers.iter().find(|one| one.name == name.server);
                server.map(|server| server.address_text.clone())
            };
            for (name, server) in self.state.servers_of(&pool.name) {
                let live = server.live.as_ref();
                let Some(live) = live.and_then(|live| pool.live_server(live)) else {
                    continue;
                };
                let was_named = before.and_then(|before| named_in(&before.config, name));
                let added = &live.address_text;
                match (was_named, named_in(pool, name)) {
                    (None, Some(address)) => lines.push(format!(
                        "! {name} is in the file now, at {address}, and that counts; as it was added \
                         live, at {added}, it comes back when the file loses it"
                    )),
                    (Some(_), None) => lines.push(format!(
                        "! {name} has left the file, and goes on as it was added live, at {added}; to \
                         remove it: ebbtide server remove {name}"
                    )),
                    _ => {}
                }
                let is_twin = |one: &&ServerConfig| one.address == live.address;
                let twin = pool.servers.iter().find(is_twin);
                if let Some(twin) = twin.filter(|_| named_in(pool, name).is_none()) {
                    lines.push(format!(
                        "! {name} was added live at {added}, where the file has {}: one machine counts as two; \
                         to remove it: ebbtide server remove {name}",
                        twin.name
                    ));
                }
            }
        }
        lines
    }

    /// Says where the file's new values do not count, because others were set live.
    fn overridden(&self, config: &Config) -> Vec<String> {
        let pools = config.pools.iter();
        let servers = pools.flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)));
        servers
            .filter_map(|(pool, server)| {
                let name = ServerName::new(&pool.name, &server.name);
                let known = self.state.servers.get(&name)?;
                let differs = known
                    .set
                    .weight
                    .is_some_and(|weight| weight != server.weight)
                    || known
                        .set
                        .max_sessions
                        .is_some_and(|max| max != server.max_sessions)
                    || known
                        .set
                        .peak_load
                        .is_some_and(|peak| peak != server.peak_load.or(pool.peak_load));
                let changed = known.config != *server;
                (differs && changed).then(|| {
                    format!(
                        "! {name} goes on with what was set live; `ebbtide server reset {name}` \
                         takes the file's values"
                    )
                })
            })
            .collect()
    }
}

/// Whether a server goes on under this configuration that is not in the file itself.
fn stays_live(pool: &PoolConfig, server: &ServerState) -> bool {
    let live = server.live.as_ref();
    live.is_some_and(|live| pool.live_server(live).is_some())
}

/// What is different, a line each: `+` came, `-` left, `~` changed.
fn differences(before: &Config, after: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    compare(
        &by_name(&before.listeners, |listener| &listener.name),
        &by_name(&after.listeners, |listener| &listener.name),
        |sign, name| lines.push(format!("{sign} listeners.{name}")),
    );
    let before = by_name(&before.pools, |pool| &pool.name);
    let after = by_name(&after.pools, |pool| &pool.name);
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("- pools.{name}"));
    }
    for (name, pool) in &after {
        match before.get(name) {
            None => lines.push(format!("+ pools.{name}")),
            Some(earlier) => pool_differences(earlier, pool, &mut lines),
        }
    }
    lines
}

// tidy: allow(long-function): one list, a line for each setting
fn pool_differences(before: &PoolConfig, after: &PoolConfig, lines: &mut Vec<String>) {
    // Named in full, so that no setting is forgotten here.
    let PoolConfig {
        name,
        protocol,
        balance,
        sticky,
        minimum,
        health,
        load,
        agent,
        peak_load,
        slow_start,
        outliers,
        contact,
        http,
        tcp,
        nbd,
        notice,
        upgrade,
        verify,
        gate,
        user,
        logout_call,
        door,
        replicas,
        servers,
        names,
    } = after;
    let mut part = |what: &str, same: bool| {
        if !same {
            lines.push(format!("~ pools.{name}.{what}"));
        }
    };
    part("protocol", before.protocol == *protocol);
    part("balance", before.balance == *balance);
    part("sticky", before.sticky == *sticky);
    part("minimum", before.minimum == *minimum);
    part("health", before.health == *health);
    part("load", before.load == *load);
    part("agent", before.agent == *agent);
    part("peak_load", before.peak_load == *peak_load);
    part("slow_start", before.slow_start == *slow_start);
    part("outliers", before.outliers == *outliers);
    part("contact", before.contact == *contact);
    part("http", before.http == *http);
    part("tcp", before.tcp == *tcp);
    part("nbd", before.nbd == *nbd);
    part("notice", before.notice == *notice);
    part("upgrade", before.upgrade == *upgrade);
    part("verify", before.verify == *verify);
    let was = &before.gate;
    let pages = |gate: &GateSettings| {
        (
            gate.closed_page.clone(),
            gate.full_page.clone(),
            gate.full_text.clone(),
        )
    };
    part("pages", pages(was) == pages(gate));
    part("queue", was.queue == gate.queue);
    part("queue_max", was.queue_max == gate.queue_max);
    part("health_page", was.health_page == gate.health_page);
    part("end_grace", was.end_grace == gate.end_grace);
    part("user", before.user == *user);
    part("logout_call", before.logout_call == *logout_call);
    part("door", before.door == *door);
    part("replicas", before.replicas == *replicas);
    compare(
        &by_name(&before.servers, |server| &server.name),
        &by_name(servers, |server| &server.name),
        |sign, server| lines.push(format!("{sign} pools.{name}.servers.{server}")),
    );
    compare(
        &by_name(&before.names, |entry| &entry.name),
        &by_name(names, |entry| &entry.name),
        |sign, entry| lines.push(format!("{sign} pools.{name}.servers.{entry}")),
    );
}

fn compare<T: PartialEq>(
    before: &BTreeMap<&str, &T>,
    after: &BTreeMap<&str, &T>,
    mut say: impl FnMut(char, &str),
) {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        say('-', name);
    }
    for (name, item) in after {
        match before.get(name) {
            None => say('+', name),
            Some(earlier) if earlier != item => say('~', name),
            Some(_) => {}
        }
    }
}

fn by_name<T>(items: &[T], name: impl Fn(&T) -> &str) -> BTreeMap<&str, &T> {
    items.iter().map(|item| (name(item), item)).collect()
}
