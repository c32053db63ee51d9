//! Rebalancing, at an operator's request: idle sessions on crowded servers are forgotten, some in a second,
//! so that their users' next requests begin sessions where there is more room. Whoever is active stays.
//!
//! Nothing of it is stored but its lines in the audit log: a restart ends it, and a token that was
//! forgotten and has not been shown since leads back to its server then, as if it had been left alone.

use crate::command::{Actor, Refusal};
use crate::config::{Balance, Protocol};
use crate::driver::Output;
use crate::driver::change::{Change, Plan, event};
use crate::driver::commands::Planner;
use crate::driver::state::{PoolState, State};
use crate::event::{EventKind, count};
use crate::name::{ServerKey, ServerName, SessionId};
use crate::rebalance::RebalancePlan;
use crate::record::{AuditEntry, Write};
use crate::session::{Session, SessionState};
use crate::status::RebalanceStatus;
use crate::time::{Moment, Now};
use std::collections::VecDeque;

/// Most sessions that are forgotten in a second.
const RATE_MAX: u32 = 1000;

/// A rebalance that is under way.
pub(in crate::driver) struct Rebalance {
    by: Actor,
    rate: u32,
    since: Moment,
    /// Sessions that were idle when it began, and their servers.
    waiting: VecDeque<(SessionId, ServerKey)>,
    /// Down to how many sessions each server is emptied.
    levels: Vec<(ServerKey, u32)>,
    forgotten: u32,
    left_alone: u32,
}

impl Planner<'_> {
    /// Begins to forget idle sessions on crowded servers.
    pub fn rebalance(&self, pool: String, rate: u32) -> Result<Plan, Refusal> {
        let state = self.state.present_pool(&pool)?;
        self.may_rebalance(&pool, state)?;
        if !(1..=RATE_MAX).contains(&rate) {
            return Err(Refusal::invalid(format!(
                "1 to {RATE_MAX} sessions are forgotten in a second, not {rate}"
            )));
        }
        let planned = self.state.rebalance_plan(state, self.now);
        let number = planned.forgets();
        let awaited = RebalancePlan::note_of_awaited(planned.awaited);
        let awaited = awaited.map_or(String::new(), |note| format!("; {note}"));
        let text = match number {
            0 => format!(
                "pool {pool}: no server has more idle sessions than its share; nothing was \
                 changed{awaited}"
            ),
            _ => {
                let crowded = planned.servers.iter().filter(|crowd| crowd.forgets > 0);
                let crowded = crowded.map(|crowd| format!("{} of {}", crowd.forgets, crowd.server));
                let crowded: Vec<String> = crowded.collect();
                format!(
                    "pool {pool}: forgetting {}, {rate} a second ({}); who is active stays{awaited}",
                    count(number, "idle session"),
                    crowded.join(", ")
                )
            }
        };
        let edit = match number {
            0 => return Ok(self.plan("rebalance", pool, Change::Nothing, Vec::new(), text, false)),
            _ => self
                .state
                .begin_rebalance(state, &planned, rate, self.actor, self.now),
        };
        let change = Change::Rebalance(pool.clone(), Some(edit));
        Ok(self.plan("rebalance", pool, change, Vec::new(), text, false))
    }

    fn may_rebalance(&self, name: &str, pool: &PoolState) -> Result<(), Refusal> {
        let why = match (pool.config.protocol, pool.config.balance) {
            (Protocol::Tcp, _) => "its sessions are connections, and none of those is ever idle",
            (Protocol::Nbd, _) => {
                "its sessions are connections; `ebbtide move` takes one to another server, and its client \
                 goes on undisturbed"
            }
            (_, Balance::SourceHash) => {
                "`balance = \"source-hash\"` would lead its users to the same server again"
            }
            (_, Balance::DoorOnly) => "it has no users",
            _ if self.state.wish(name).blocks_new() => "it takes no new sessions",
            _ if pool.rebalance.is_some() => "a rebalance of it is under way; `--stop` ends that",
            _ => return Ok(()),
        };
        Err(Refusal::invalid(format!(
            "pool {name} was not rebalanced: {why}"
        )))
    }

    /// Ends a rebalance.
    pub fn stop_rebalance(&self, pool: String) -> Result<Plan, Refusal> {
        let state = self.state.present_pool(&pool)?;
        let Some(rebalance) = &state.rebalance else {
            return Err(Refusal::invalid(format!(
                "pool {pool} is not being rebalanced"
            )));
        };
        let text = format!(
            "the rebalance of pool {pool} was stopped; {}",
            rebalance.so_far()
        );
        let change = Change::Rebalance(pool.clone(), None);
        Ok(self.plan("rebalance stop", pool, change, Vec::new(), text, false))
    }
}

impl Rebalance {
    fn so_far(&self) -> String {
        let forgotten = count(self.forgotten, "idle session");
        match self.left_alone {
            0 => format!("{forgotten} forgotten"),
            some => {
                format!("{forgotten} forgotten, {some} left alone that were active again or gone")
            }
        }
    }

    pub fn status(&self) -> RebalanceStatus {
        RebalanceStatus {
            rate: self.rate,
            forgotten: self.forgotten,
            left: self.waiting.len() as u32,
        }
    }
}

impl State {
    fn rebalance_plan(&self, pool: &PoolState, now: Now) -> RebalancePlan {
        let tallies = self.sessions.tally(&self.snapshot, now.moment);
        let mut status = self.pool_status(pool, now);
        status.count(&tallies);
        RebalancePlan::of(&status)
    }

    fn begin_rebalance(
        &self,
        pool: &PoolState,
        planned: &RebalancePlan,
        rate: u32,
        by: &Actor,
        now: Now,
    ) -> Rebalance {
        let active = pool.config.sticky.active;
        let (mut waiting, mut levels) = (VecDeque::new(), Vec::new());
        for crowd in planned.servers.iter().filter(|crowd| crowd.forgets > 0) {
            let name = ServerName::new(&pool.config.name, &crowd.server);
            let Some(key) = self.servers.get(&name).map(|server| server.key) else {
                continue;
            };
            let is_idle = |session: &Session| {
                session.server == key
                    && session.open() == 0
                    && session.state(now.moment, active) == SessionState::Idle
            };
            let limit = crowd.forgets as usize;
            let idle = self.sessions.list(&self.snapshot, None, limit, is_idle);
            waiting.extend(idle.iter().map(|session| (session.id, key)));
            levels.push((key, crowd.level));
        }
        Rebalance {
            by: by.clone(),
            rate,
            since: now.moment,
            waiting,
            levels,
            forgotten: 0,
            left_alone: 0,
        }
    }

    /// Begins or ends a rebalance.
    pub fn edit_rebalance(
        &mut self,
        name: &str,
        rebalance: Option<Rebalance>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(pool) = self.pools.get_mut(name) else {
            return;
        };
        let begun = rebalance.as_ref().map(|rebalance| EventKind::Rebalancing {
            pool: name.to_owned(),
            sessions: rebalance.waiting.len() as u32,
            by: rebalance.by.who.clone(),
        });
        let before = std::mem::replace(&mut pool.rebalance, rebalance);
        let ended = before.map(|before| before.ended(name));
        outputs.extend(begun.or(ended).map(|kind| event(None, kind, now)));
    }

    /// Forgets what is due of every rebalance; returns what must be stored of those that are over.
    pub fn go_on_rebalancing(&mut self, now: Now, outputs: &mut Vec<Output>) -> Vec<Write> {
        let under_way = self
            .pools
            .iter()
            .filter(|(_, pool)| pool.rebalance.is_some());
        let names: Vec<String> = under_way.map(|(name, _)| name.clone()).collect();
        let mut writes = Vec::new();
        for name in names {
            let may_go_on = self.has_room_elsewhere(&name);
            let sessions = std::sync::Arc::clone(&self.sessions);
            let Some(pool) = self.pools.get_mut(&name) else {
                continue;
            };
            let active = pool.config.sticky.active;
            let Some(rebalance) = &mut pool.rebalance else {
                continue;
            };
            if may_go_on {
                let crowded = |key: ServerKey, level: u32| {
                    let view = self.snapshot.server(pool.key, key);
                    view.is_some_and(|view| view.load.sessions() > level)
                };
                rebalance.forget_due(now, crowded, |id, server| {
                    sessions.forget_idle(id, server, active, now)
                });
            } else {
                rebalance.left_alone += rebalance.waiting.len() as u32;
                rebalance.waiting.clear();
            }
            if let Some(over) = pool.rebalance.take_if(|one| one.waiting.is_empty()) {
                let kind = over.ended(&name);
                writes.push(Write::Audit(AuditEntry {
                    at: now.wall,
                    actor: Actor::ebbtide(),
                    action: "rebalance end".into(),
                    target: name.clone(),
                    outcome: over.so_far(),
                    forced: false,
                }));
                outputs.push(event(None, kind, now));
            }
        }
        writes
    }

    /// Whether somebody else can take who leaves a crowded server.
    fn has_room_elsewhere(&self, pool: &str) -> bool {
        let view = self.snapshot.pool_named(pool);
        let servers = view.into_iter().flat_map(|view| &view.servers);
        servers
            .filter(|server| server.standing.admits_new && server.has_room())
            .count()
            > 1
    }
}

impl Rebalance {
    /// Forgets as many sessions as the time since its beginning allows.
    fn forget_due(
        &mut self,
        now: Now,
        is_crowded: impl Fn(ServerKey, u32) -> bool,
        forget: impl Fn(SessionId, ServerKey) -> bool,
    ) {
        let elapsed = now.moment.since(self.since).0;
        let due = elapsed.saturating_mul(u64::from(self.rate)) / 1000;
        while u64::from(self.forgotten) < due
            && let Some((id, server)) = self.waiting.pop_front()
        {
            let level = self.levels.iter().find(|(key, _)| *key == server);
            let crowded = level.is_some_and(|(_, level)| is_crowded(server, *level));
            match crowded && forget(id, server) {
                true => self.forgotten += 1,
                false => self.left_alone += 1,
            }
        }
    }

    fn ended(&self, pool: &str) -> EventKind {
        EventKind::Rebalanced {
            pool: pool.to_owned(),
            forgotten: self.forgotten,
            left_alone: self.left_alone + self.waiting.len() as u32,
        }
    }
}
