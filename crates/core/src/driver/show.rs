//! What people are shown of the state.

use crate::driver::Driver;
use crate::driver::rebalance::Rebalance;
use crate::driver::state::{PoolState, ServerState, State};
use crate::forecast::{Forecast, Survival};
use crate::health::Health;
use crate::intent::{Closure, Intent};
use crate::name::ServerName;
use crate::session::Session;
use crate::status::{IntentStatus, NodeStatus, PoolIntentStatus, PoolStatus, ServerStatus};
use crate::time::{Millis, Now, WallTime};
use std::cell::OnceCell;
use std::sync::Arc;

/// Most sessions that a forecast looks at: enough for its shape.
const FORECAST_SESSIONS_MAX: usize = 10_000;

impl Driver {
    /// What people are shown, but for the sessions, which whoever asks has counted by this driver's
    /// snapshot ([`SessionTable::tally`](crate::SessionTable::tally)) and puts in: that takes long, and
    /// needs no driver.
    pub fn status(&self, now: Now) -> NodeStatus {
        let state = &self.state;
        let in_file_order = state.config.pools.iter();
        NodeStatus {
            generation: state.generation(),
            acknowledged: self.acknowledged(),
            store_failure: self.store_failure.clone(),
            pools: in_file_order
                .filter_map(|config| state.pools.get(&config.name))
                .map(|pool| state.pool_status(pool, now))
                .collect(),
        }
    }
}

impl State {
    /// But for its sessions.
    pub fn pool_status(&self, pool: &PoolState, now: Now) -> PoolStatus {
        let curve = OnceCell::new();
        let in_pool = pool.order.iter();
        let in_pool = in_pool.filter_map(|name| Some((name, self.servers.get(name)?)));
        let servers: Vec<ServerStatus> = in_pool
            .chain(self.removed(&pool.config.name))
            .map(|(name, server)| ServerStatus {
                forecast: self.forecast(pool, server, &curve, now),
                ..self.server_status(pool, name, server, now)
            })
            .collect();
        let listeners = self.config.listeners.iter();
        let counting = self.servers_of(&pool.config.name);
        let counting = counting.map(|(_, server)| server.counting_until).max();
        PoolStatus {
            name: pool.config.name.clone(),
            balance: pool.config.balance,
            intent: self.pool_intent_status(&pool.config.name, now),
            minimum: pool.config.minimum,
            admitting: servers.iter().filter(|s| s.standing.admits_new).count() as u32,
            listeners: listeners
                .filter(|listener| listener.pool == pool.config.name)
                .map(|listener| (listener.name.clone(), listener.bind))
                .collect(),
            servers,
            names: self.name_status(&pool.config, now),
            counting_until: counting
                .filter(|until| now.moment < *until)
                .map(|until| now.wall_at(until)),
            rebalance: pool.rebalance.as_ref().map(Rebalance::status),
            awaited: 0,
        }
    }

    fn pool_intent_status(&self, pool: &str, now: Now) -> PoolIntentStatus {
        let intent = self.wish(pool);
        let wish = self.wishes.get(pool);
        let record = wish.and_then(|wish| wish.record.as_ref());
        let deadline = intent.deadline();
        PoolIntentStatus {
            label: intent.label(),
            since: record.map(|record| record.since),
            by: record.map(|record| record.by.clone()),
            reason: record.and_then(|record| record.reason.clone()),
            deadline: deadline.map(|moment| now.wall_at(moment)),
            left: deadline.map(|moment| moment.since(now.moment)),
            blocks_new: intent.blocks_new(),
            closure: intent.closure().map(|closure| Closure {
                until_upgraded: closure.until_upgraded && !self.gave_up(pool),
                ..closure.clone()
            }),
            waits_for: self.waits_for(pool),
        }
    }

    fn server_status(
        &self,
        pool: &PoolState,
        name: &ServerName,
        server: &ServerState,
        now: Now,
    ) -> ServerStatus {
        // What the file says of it counts, then.
        let in_file = pool.config.servers.iter();
        let in_file = in_file.map(|one| &one.name).any(|one| *one == name.server);
        ServerStatus {
            key: server.key,
            name: name.server.clone(),
            address: server.config.address_text.clone(),
            weight: server.weight(),
            max_sessions: server.max_sessions_given(),
            peak_load: server.peak_load(),
            verification: self
                .verification_status(name, server, now)
                .filter(|_| server.present),
            returning: server.returning.status(now),
            peak_load_before: server.set.peak_load_before,
            live: server.live.is_some() && !in_file,
            of_name: server.config.of_name.clone(),
            overridden: server.set != Default::default(),
            intent: server.intent_status(now),
            health: match server.present {
                true => server.known_health(),
                false => Health::Unchecked,
            },
            health_since: server.health.since,
            health_why: server.health_why().filter(|_| server.present),
            places: server.places(),
            machine: server.machine_status(now).filter(|_| server.present),
            agent: server.agent_status(now).filter(|_| server.present),
            traffic: server.wellbeing.traffic().filter(|_| server.present),
            sickness: server.sickness(now).filter(|_| server.present),
            standing: self.as_shown(pool, server, server.standing),
            active: 0,
            idle: 0,
            epoch: server.epoch,
            forecast: None,
            counting_until: server.still_counting(now),
        }
    }

    /// When the sessions of a server that takes no new ones will probably be gone by themselves;
    /// nothing is said of what a deadline will have ended by then. `curve`: the pool's, once it is made.
    fn forecast(
        &self,
        pool: &PoolState,
        server: &ServerState,
        curve: &OnceCell<Option<Survival>>,
        now: Now,
    ) -> Option<Forecast> {
        let is_leaving = matches!(server.intent, Intent::Hold | Intent::Drain(_)) || server.lingers;
        if !is_leaving || !pool.durations.is_enough() {
            return None;
        }
        let age = |session: &Arc<Session>| now.moment.since(session.started);
        let ages_of = |keep: &dyn Fn(&Session) -> bool| -> Vec<Millis> {
            let (snapshot, max) = (&self.snapshot, FORECAST_SESSIONS_MAX);
            let sessions = self.sessions.list(snapshot, None, max, keep);
            sessions.iter().map(age).collect()
        };
        let survival = curve.get_or_init(|| {
            let open = ages_of(&|session: &Session| session.pool == pool.key);
            pool.durations.survival(&open)
        });
        let left = ages_of(&|session: &Session| session.server == server.key);
        let forecast = survival.as_ref()?.forecast(&left)?;
        let limit = server.intent.deadline().map(|at| at.since(now.moment));
        let in_time = |span: &Millis| limit.is_none_or(|limit| *span <= limit);
        Some(Forecast {
            half: limit.map_or(forecast.half, |limit| forecast.half.min(limit)),
            all: forecast.all.filter(in_time),
            samples: forecast.samples,
        })
    }
}

impl ServerState {
    /// Sessions that its own page has places for, less those that have begun since; while its page counts.
    fn places(&self) -> Option<u64> {
        if !self.present || self.known_health() == Health::Down {
            return None;
        }
        let left = self.load.places.left().map(u64::from);
        left.or(self.health.places)
    }

    fn still_counting(&self, now: Now) -> Option<WallTime> {
        let waits = matches!(self.intent, Intent::Drain(_)) && now.moment < self.counting_until;
        waits.then(|| now.wall_at(self.counting_until))
    }

    fn intent_status(&self, now: Now) -> IntentStatus {
        let record = self.intent_record.as_ref();
        let deadline = self.intent.deadline();
        IntentStatus {
            label: self.intent.label(),
            since: record.map(|record| record.since),
            by: record.map(|record| record.by.clone()),
            reason: record.and_then(|record| record.reason.clone()),
            deadline: deadline.map(|moment| now.wall_at(moment)),
            left: deadline.map(|moment| moment.since(now.moment)),
            message: self.intent.message().map(str::to_owned),
        }
    }
}
