//! The state: what exists, what is wanted and what is seen, and the snapshot made from it.

use crate::candidates::Candidates;
use crate::config::{Balance, Config, HealthSettings, PoolConfig, ServerConfig};
use crate::counters::{PoolCounters, ServerCounters};
use crate::door::DoorTable;
use crate::driver::Output;
use crate::driver::agent::Agent;
use crate::driver::change::event;
use crate::driver::closing::PoolWish;
use crate::driver::load::Machine;
use crate::driver::names::NameState;
use crate::driver::outliers::Wellbeing;
use crate::driver::rebalance::Rebalance;
use crate::driver::replicas::ReplicaState;
use crate::driver::returning::Return;
use crate::driver::upgrade::Upgrade;
use crate::driver::verify::Verification;
use crate::event::{Event, EventKind};
use crate::forecast::DurationHistory;
use crate::gate::{GateSettings, OwnPage, OwnPages, WaitingLine};
use crate::health::{Health, HealthState, ProbeOutcome};
use crate::intent::{Drain, Intent, PoolIntent};
use crate::name::{PoolKey, ServerKey, ServerName, SessionId};
use crate::notice::Notice;
use crate::record::{IntentRecord, Restored, RestoredServer, ServerOverride, StoredIntent, Write};
use crate::session::EndReason;
use crate::slow_start::SHARE_WHOLE;
use crate::snapshot::{PoolView, ServerLoad, ServerView, Snapshot, TokenSecrets};
use crate::standing::{AgentWord, Grounds, Peak, Standing, standings};
use crate::table::{SessionChange, SessionChangeKind, SessionTable};
use crate::time::{Millis, Moment, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct State {
    pub config: Arc<Config>,
    pub boot: String,
    pub sessions: Arc<SessionTable>,
    pub pools: BTreeMap<String, PoolState>,
    /// Every server ever heard of, also those that the file does not name at present: their
    /// intents, epochs and numbers are kept for the day they come back.
    pub servers: BTreeMap<ServerName, ServerState>,
    /// What is wanted of pools, by name, also of those that are not in the file at present.
    pub wishes: BTreeMap<String, PoolWish>,
    pub token_secrets: TokenSecrets,
    pub snapshot: Arc<Snapshot>,
    /// The newest reading of any copy.
    pub last_reading: u64,
    pub doors: Arc<DoorTable>,
    /// Pools whose view must be made anew at the next publication.
    pub changed: BTreeSet<String>,
    workers: usize,
    /// Names by number, for what comes back from the data plane.
    names: BTreeMap<ServerKey, ServerName>,
    /// The number of every pool ever heard of, also of those that a reload took away.
    pool_keys: BTreeMap<String, PoolKey>,
}

pub(super) struct PoolState {
    pub key: PoolKey,
    pub config: Arc<PoolConfig>,
    /// Its servers: the file's in their order, then those added live.
    pub order: Vec<ServerName>,
    pub counters: Arc<PoolCounters>,
    pub pages: OwnPages,
    pub line: Arc<WaitingLine>,
    pub durations: DurationHistory,
    pub replicas: ReplicaState,
    pub names: BTreeMap<String, NameState>,
    pub rebalance: Option<Rebalance>,
    /// The window in which its servers' traffic is watched.
    pub window: u64,
}

pub(super) struct ServerState {
    pub key: ServerKey,
    /// Its name within the pool, as every snapshot shares it.
    pub name: Arc<str>,
    /// As in the file, or as added live; without what was set live.
    pub config: ServerConfig,
    pub present: bool,
    /// It has left its pool, and is shown there with the sessions that it still has.
    pub lingers: bool,
    /// It was taken out by command. What is wanted of it ends with it, and is stored no more.
    pub removed: bool,
    pub live: Option<ServerConfig>,
    pub set: ServerOverride,
    pub intent: Intent,
    pub intent_record: Option<IntentRecord>,
    pub epoch: u32,
    /// Why the epoch was raised last: why the sessions of earlier ones ended.
    pub epoch_reason: EndReason,
    /// The first epoch of another server that gets the name of this one, if this one was removed. It is stored;
    /// what is open on this one goes on in its own epoch.
    pub epoch_of_next: u32,
    pub health: HealthState,
    pub standing: Standing,
    pub load: Arc<ServerLoad>,
    pub machine: Machine,
    pub agent: Agent,
    pub wellbeing: Wellbeing,
    pub counters: Arc<ServerCounters>,
    /// The first generation that did not let it admit new sessions, since it last did.
    pub closed_in: u64,
    /// Until then its sessions may be unknown here (a restart): zero does not mean empty.
    pub counting_until: Moment,
    /// A failover test is being made of it: it takes no new sessions until that is over.
    pub drill: bool,
    pub returning: Return,
    /// What is still to be seen of it, since it came out of maintenance.
    pub verification: Option<Verification>,
    /// Rises with whatever the driver does to it by itself; a plan made before that is stale.
    pub revision: u64,
}

impl ServerState {
    pub fn weight(&self) -> u32 {
        self.set.weight.unwrap_or(self.config.weight)
    }

    /// Most sessions that it may have by the operator's word.
    pub fn max_sessions_given(&self) -> Option<u32> {
        self.set.max_sessions.unwrap_or(self.config.max_sessions)
    }

    /// Most sessions that it may have, by the operator's word and its agent's: whichever is less.
    pub fn max_sessions(&self) -> Option<u32> {
        let limits = [self.max_sessions_given(), self.max_sessions_of_agent()];
        limits.into_iter().flatten().min()
    }

    /// Forgets every binding: a new epoch, and a count that starts at zero.
    pub fn raise_epoch(&mut self, epoch: u32, reason: EndReason) {
        self.epoch = epoch;
        self.epoch_reason = reason;
        self.load = Arc::new(self.load.of_new_epoch());
    }

    /// No longer exists; its number, intent and epoch are kept.
    pub fn leave(&mut self) {
        self.present = false;
        self.standing = Standing::closed();
    }

    /// Whatever was wanted of it, and set live, ends with it if it was removed.
    pub fn forget_if_removed(&mut self) {
        if self.removed {
            self.intent = Intent::Ready;
            self.intent_record = None;
            self.verification = None;
            self.set = ServerOverride::default();
        }
    }

    fn grounds(&self) -> Grounds<'_> {
        Grounds {
            intent: &self.intent,
            health: self.known_health(),
            page: self.health.page,
            peak: self.peak(),
            agent: self.agent_word(),
            sick: self.wellbeing.is_held(),
            drill: self.drill,
            unverified: self.verification.as_ref().map(Verification::reason),
        }
    }
}

impl State {
    pub fn new(
        config: Arc<Config>,
        restored: Restored,
        sessions: Arc<SessionTable>,
        boot: String,
        workers: usize,
        now: Now,
    ) -> Self {
        let mut state = Self {
            config: Arc::default(),
            boot,
            sessions,
            pools: BTreeMap::new(),
            servers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            token_secrets: restored.token_secrets,
            snapshot: Arc::default(),
            last_reading: 0,
            doors: Arc::default(),
            changed: BTreeSet::new(),
            workers,
            names: BTreeMap::new(),
            pool_keys: BTreeMap::new(),
        };
        for (name, record) in restored.pools {
            state.restore_pool(name, record, now);
        }
        for server in restored.servers {
            state.restore(server, now);
        }
        for (name, versions) in restored.versions {
            if let Some(wish) = state.wishes.get_mut(&name) {
                wish.upgrade = Some(Upgrade::restored(versions));
            }
        }
        state.adopt_config(config, Health::Unproven, now);
        if restored.first_start {
            return state;
        }
        state.resume_slow_starts(now);
        for (name, server) in &mut state.servers {
            let pool = state.pools.get(&name.pool);
            // No connection outlives the program: only what a token names can show itself again.
            let pool = pool.filter(|pool| !pool.config.protocol.is_connection());
            let reuse = pool.map_or(Millis(0), |pool| pool.config.sticky.reuse);
            server.counting_until = now.moment.plus(Snapshot::token_life(reuse));
        }
        state
    }

    /// Makes the first snapshot. What is over by now (a deadline that passed while nobody was there
    /// to see it) is so from that snapshot on; returns what must be stored of it.
    pub fn take_up(
        &mut self,
        ended_sessions: Vec<(SessionId, ServerName)>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Vec<Write> {
        let writes = self.settle(0, now, outputs);
        self.publish(now, &mut Vec::new());
        for (id, name) in ended_sessions {
            self.bury(id, &name, now);
        }
        writes
    }

    fn bury(&self, id: SessionId, name: &ServerName, now: Now) {
        let pool = self.snapshot.pool_named(&name.pool);
        let server = self.servers.get(name);
        let place = pool
            .zip(server)
            .and_then(|(pool, server)| Some((pool.key, pool.server(server.key)?)));
        self.sessions.bury(id, place, now);
    }

    fn restore(&mut self, restored: RestoredServer, now: Now) {
        let intent = restored
            .intent
            .as_ref()
            .map(|record| self.restored_intent(&record.intent, now));
        let config = restored.live.clone().unwrap_or_else(|| {
            ServerConfig::new(restored.name.server.clone(), ([0, 0, 0, 0], 0).into())
        });
        let server = self.know(&restored.name, config, Health::Unproven, now);
        server.present = false;
        server.intent = intent.unwrap_or_default();
        let record = restored.intent.as_ref();
        let stored = record.and_then(|record| record.verification.as_ref());
        server.verification = Verification::of(stored, now);
        server.intent_record = restored.intent;
        // Nothing is stored of an epoch that was never raised.
        server.epoch = restored.epoch.max(server.epoch);
        server.live = restored.live;
        server.set = restored.set;
    }

    fn restored_intent(&self, stored: &StoredIntent, now: Now) -> Intent {
        match stored {
            StoredIntent::Ready => Intent::Ready,
            StoredIntent::Hold => Intent::Hold,
            StoredIntent::Maintenance => Intent::Maintenance,
            StoredIntent::Drain {
                boot,
                moment,
                wall,
                within,
                message,
            } => Intent::Drain(Drain {
                deadline: StoredIntent::deadline(boot, *moment, *wall, *within, &self.boot, now),
                within: *within,
                message: message.clone(),
            }),
        }
    }

    /// The state of this server, made if it was never heard of.
    fn know(
        &mut self,
        name: &ServerName,
        config: ServerConfig,
        health: Health,
        now: Now,
    ) -> &mut ServerState {
        let key = ServerKey(self.servers.len() as u32);
        let epoch = self.closures(&name.pool);
        let workers = self.workers;
        self.servers.entry(name.clone()).or_insert_with(|| {
            self.names.insert(key, name.clone());
            ServerState {
                key,
                name: name.server.as_str().into(),
                config,
                present: true,
                lingers: false,
                removed: false,
                live: None,
                set: ServerOverride::default(),
                intent: Intent::Ready,
                intent_record: None,
                epoch,
                epoch_reason: EndReason::Forgotten,
                epoch_of_next: 0,
                health: HealthState::new(health, now),
                standing: Standing::closed(),
                load: Arc::default(),
                machine: Machine::default(),
                agent: Agent::default(),
                wellbeing: Wellbeing::default(),
                counters: Arc::new(ServerCounters::new(workers)),
                closed_in: 0,
                counting_until: now.moment,
                drill: false,
                returning: Return::default(),
                verification: None,
                revision: 0,
            }
        })
    }

    /// Makes `config` what exists. Servers that are new begin with `new_health`.
    pub fn adopt_config(&mut self, config: Arc<Config>, new_health: Health, now: Now) {
        for server in self.servers.values_mut() {
            server.present = false;
        }
        let mut pools = std::mem::take(&mut self.pools);
        for pool in &config.pools {
            let state = pools.remove(&pool.name);
            let state = self.adopt_pool(pool, state, new_health, now);
            self.pools.insert(pool.name.clone(), state);
            self.changed.insert(pool.name.clone());
        }
        for server in self.servers.values_mut().filter(|server| !server.present) {
            server.leave();
        }
        self.config = config;
        self.let_linger();
        self.judge_loads(now);
    }

    fn adopt_pool(
        &mut self,
        config: &PoolConfig,
        before: Option<PoolState>,
        new_health: Health,
        now: Now,
    ) -> PoolState {
        let mut order = Vec::with_capacity(config.servers.len());
        for server in &config.servers {
            let name = ServerName::new(&config.name, &server.name);
            self.place(&name, server.clone(), config, new_health, now);
            order.push(name);
        }
        let live: Vec<(ServerName, ServerConfig)> = self
            .servers_of(&config.name)
            .filter(|(_, server)| !server.present)
            .filter_map(|(name, server)| {
                let live = config.live_server(server.live.as_ref()?)?;
                Some((name.clone(), live))
            })
            .collect();
        for (name, server) in live {
            self.place(&name, server, config, new_health, now);
            order.push(name);
        }
        let config = Arc::new(config.clone());
        let Some(mut pool) = before else {
            let next = PoolKey(self.pool_keys.len() as u32 + 1);
            return PoolState {
                key: *self.pool_keys.entry(config.name.clone()).or_insert(next),
                config,
                order,
                counters: Arc::new(PoolCounters::new(self.workers)),
                pages: OwnPages::default(),
                line: Arc::default(),
                durations: Default::default(),
                replicas: ReplicaState::default(),
                names: BTreeMap::new(),
                rebalance: None,
                window: 0,
            };
        };
        pool.forget_pages_of_other_files(&config.gate);
        PoolState {
            config,
            order,
            ..pool
        }
    }

    /// Makes a server present under this configuration. Its health starts anew when it was not
    /// there before or moved to another address.
    pub fn place(
        &mut self,
        name: &ServerName,
        config: ServerConfig,
        pool: &PoolConfig,
        new_health: Health,
        now: Now,
    ) {
        let health = match pool.health {
            Some(_) => new_health,
            None => Health::Unchecked,
        };
        let was_there = self
            .snapshot
            .pool_named(&name.pool)
            .zip(self.servers.get(name))
            .and_then(|(pool, server)| pool.server(server.key))
            .is_some_and(|view| view.address == config.address);
        let server = self.know(name, config.clone(), health, now);
        server.forget_if_removed();
        // Sessions that are left on one that comes back to its address are on that very server.
        let comes_back = server.lingers && server.config.address == config.address;
        if server.removed && !comes_back && server.epoch_of_next > server.epoch {
            server.raise_epoch(server.epoch_of_next, EndReason::ServerRemoved);
        }
        server.present = true;
        server.lingers = false;
        server.removed = false;
        server.config = config;
        server.follow_exporter(pool, !was_there);
        server.follow_agent(pool, !was_there);
        let checked = server.health.health != Health::Unchecked;
        if !was_there || checked != pool.health.is_some() {
            server.health = HealthState::new(health, now);
            server.load.places.tell(None, 0);
            server.begin_anew();
        }
        if !was_there {
            // The node's own first servers are not new to anybody.
            server.returning.is_away = new_health == Health::Starting;
            server.verify_anew(now);
        }
    }

    /// Every server ever heard of in this pool.
    pub fn servers_of<'a>(
        &'a self,
        pool: &'a str,
    ) -> impl Iterator<Item = (&'a ServerName, &'a ServerState)> {
        self.servers
            .range(ServerName::new(pool, "")..)
            .take_while(move |(name, _)| name.pool == pool)
    }

    pub fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    pub fn name_of(&self, key: ServerKey) -> Option<&ServerName> {
        self.names.get(&key)
    }

    /// `begun`: what [`Places::admitted`](crate::Places::admitted) was when the probe began, and when
    /// that was.
    pub fn probed(
        &mut self,
        name: &ServerName,
        outcome: ProbeOutcome,
        (admitted, began): (u32, Moment),
        now: Now,
    ) {
        let rule: Option<&HealthSettings> = self
            .pools
            .get(&name.pool)
            .and_then(|pool| pool.config.health.as_ref());
        let server = self.servers.get_mut(name).filter(|server| server.present);
        let (Some(rule), Some(server)) = (rule, server) else {
            return;
        };
        if let Some(verification) = &mut server.verification {
            verification.probed(&outcome, began);
        }
        let tells = !matches!(outcome, ProbeOutcome::Bad(_));
        if server.health.probed(outcome, rule, now) {
            self.changed.insert(name.pool.clone());
        }
        if tells {
            server.load.places.tell(server.health.places, admitted);
        }
    }

    /// A page of the operator's own was read, or could not be; then the last good one stays.
    pub fn page_read(
        &mut self,
        pool: &str,
        page: OwnPage,
        read: Result<Arc<str>, String>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(state) = self.pools.get_mut(pool) else {
            return;
        };
        let known = state.pages.slot(page);
        let change = match read {
            Ok(content) => {
                *known = Some(content);
                self.changed.insert(pool.to_owned());
                format!("pool {pool}: {} was read", page.label())
            }
            Err(why) => {
                let instead = match known {
                    Some(_) => "as it was last read",
                    None => "the built-in page",
                };
                format!("pool {pool}: {} {why}; users get {instead}", page.label())
            }
        };
        let kind = EventKind::Configured { change };
        outputs.push(event(None, kind, now));
    }

    /// A worker could not connect: returns the server's name if a probe should confirm that.
    pub fn suspect(&mut self, pool: PoolKey, server: ServerKey) -> Option<ServerName> {
        let name = self.names.get(&server)?;
        let in_pool = self.pools.get(&name.pool)?.key == pool;
        let state = self.servers.get_mut(name)?;
        (in_pool && state.present && state.health.suspect()).then(|| name.clone())
    }

    pub fn sessions_changed(&mut self, changes: &[SessionChange], outputs: &mut Vec<Output>) {
        for change in changes {
            let Some(name) = self.names.get(&change.server) else {
                continue;
            };
            let kind = match change.kind {
                SessionChangeKind::Began { from } => EventKind::SessionBegan {
                    id: change.id,
                    client: change.client,
                    moved_from: from.and_then(|key| self.names.get(&key).cloned()),
                },
                SessionChangeKind::Moved { from } => EventKind::SessionMoved {
                    id: change.id,
                    from: self.name_of(from).cloned(),
                },
                SessionChangeKind::Ended { reason, lasted } => {
                    if let Some(pool) = self.pools.get_mut(&name.pool) {
                        pool.note_end(reason, lasted);
                    }
                    EventKind::SessionEnded {
                        id: change.id,
                        reason,
                        lasted,
                    }
                }
            };
            outputs.push(Output::Event(Event {
                at: change.at,
                server: Some(name.clone()),
                kind,
            }));
        }
    }

    /// Publishes a new generation, if anything changed since the last one.
    pub fn publish(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let config_changed = !Arc::ptr_eq(&self.snapshot.config, &self.config);
        let secrets_changed = self.snapshot.token_secrets != self.token_secrets;
        if self.changed.is_empty() && !config_changed && !secrets_changed {
            return;
        }
        self.relieve_changed(now);
        let generation = self.generation() + 1;
        let mut views: BTreeMap<PoolKey, Arc<PoolView>> = self
            .pools
            .iter()
            .filter(|(name, _)| !self.changed.contains(*name))
            .filter_map(|(_, pool)| Some((pool.key, Arc::clone(self.snapshot.pool(pool.key)?))))
            .collect();
        for name in std::mem::take(&mut self.changed) {
            if let Some(view) = self.view(&name, generation, now, outputs) {
                views.insert(view.key, Arc::new(view));
            }
        }
        self.snapshot = Arc::new(Snapshot {
            generation,
            config: Arc::clone(&self.config),
            pools: views.into_values().collect(),
            token_secrets: self.token_secrets.clone(),
            doors: Arc::clone(&self.doors),
        });
        outputs.push(Output::Publish(Arc::clone(&self.snapshot)));
    }

    /// Judges a pool's servers anew and makes its view for `generation`.
    fn view(
        &mut self,
        name: &str,
        generation: u64,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Option<PoolView> {
        let replicas = self.replica_view(name);
        let removed = self.removed_views(name, generation);
        let pool = self.pools.get(name)?;
        let intent = self.wish(name).clone();
        let judged: Vec<(Standing, Standing)> = self
            .judge_servers(&pool.order)
            .into_iter()
            .map(|(_, alone)| (alone, self.within_pool(name, alone)))
            .collect();
        let mut servers = Vec::with_capacity(pool.order.len());
        for (name, (alone, standing)) in pool.order.iter().zip(judged) {
            let Some(server) = self.servers.get_mut(name) else {
                continue;
            };
            if server.standing.reason != standing.reason {
                outputs.push(Output::Event(Event {
                    at: now.wall,
                    server: Some(name.clone()),
                    kind: EventKind::Standing {
                        from: server.standing.reason,
                        to: standing.reason,
                        why: server.why_now(standing.reason),
                    },
                }));
            }
            if server.standing.admits_new && !standing.admits_new {
                server.closed_in = generation;
            }
            server.standing = standing;
            let slow_start = pool.config.slow_start;
            server.returning.follow(alone.reason, slow_start, now);
            servers.push(server.view(&intent, &pool.config));
        }
        servers.sort_by_key(|server| server.key);
        self.share_out(&mut servers, now, outputs);
        let pool = self.pools.get(name)?;
        Some(PoolView {
            key: pool.key,
            config: Arc::clone(&pool.config),
            since: self.wanted_since(name),
            intent,
            pages: pool.pages.clone(),
            line: Arc::clone(&pool.line),
            replicas,
            candidates: Candidates::of(&servers),
            servers,
            removed,
            counters: Arc::clone(&pool.counters),
        })
    }

    /// The standings of these servers of one pool, by what is wanted and known now.
    pub fn judge<'a>(&self, order: &'a [ServerName]) -> Vec<(&'a ServerName, Standing)> {
        let pool = order.first().map_or("", |name| &name.pool);
        let judged = self.judge_servers(order).into_iter();
        judged
            .map(|(name, standing)| (name, self.within_pool(pool, standing)))
            .collect()
    }

    /// The same standing, in this pool as it is wanted.
    pub fn within_pool(&self, pool: &str, standing: Standing) -> Standing {
        let within = standing.within(self.wish(pool));
        let known = self.pools.get(pool);
        match known.is_some_and(|pool| pool.config.balance == Balance::DoorOnly) {
            true => within.behind_doors(),
            false => within,
        }
    }

    /// The same, whatever is wanted of the pool.
    pub fn judge_servers<'a>(&self, order: &'a [ServerName]) -> Vec<(&'a ServerName, Standing)> {
        let (names, grounds): (Vec<&ServerName>, Vec<Grounds<'_>>) = order
            .iter()
            .filter_map(|name| Some((name, self.servers.get(name)?.grounds())))
            .unzip();
        let judged = standings(&grounds, self.last_resort(order));
        names.into_iter().zip(judged).collect()
    }

    /// Among the servers that are wanted for new sessions, by their own agents too, the one that was well
    /// most recently.
    fn last_resort(&self, order: &[ServerName]) -> Option<usize> {
        order
            .iter()
            .enumerate()
            .filter_map(|(index, name)| Some((index, self.servers.get(name)?)))
            .filter(|(_, server)| server.is_wanted() && server.peak() != Peak::Zero)
            .filter(|(_, server)| server.agent_word() == AgentWord::Open)
            .max_by_key(|(index, server)| (server.health.since, std::cmp::Reverse(*index)))
            .map(|(index, _)| index)
    }
}

impl ServerState {
    pub fn view(&self, pool_intent: &PoolIntent, pool: &PoolConfig) -> ServerView {
        let of_drain = match &self.intent {
            Intent::Drain(drain) => Some(Notice::of_drain(drain, &pool.notice)),
            _ => None,
        };
        let of_closing = match pool_intent {
            PoolIntent::Closing(closing) => Some(Notice::of_closing(closing, &pool.notice)),
            _ => None,
        };
        let notices = of_drain.into_iter().chain(of_closing);
        ServerView {
            key: self.key,
            name: Arc::clone(&self.name),
            address: self.config.address,
            weight: self.relative_weight(pool),
            share: SHARE_WHOLE,
            max_sessions: self.max_sessions(),
            peak_load: self.peak_load(),
            exporter: self.exporter().map(Arc::from),
            public_url: self.config.public_url.as_deref().map(Arc::from),
            epoch: self.epoch,
            standing: self.standing,
            notice: notices.min_by_key(|notice| notice.deadline).map(Arc::new),
            epoch_reason: self.epoch_reason,
            load: Arc::clone(&self.load),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl PoolState {
    /// What was read of a file that the configuration no longer names is no page of this pool.
    fn forget_pages_of_other_files(&mut self, gate: &GateSettings) {
        let known = &self.config.gate;
        if known.closed_page != gate.closed_page {
            self.pages.closed = None;
        }
        if known.full_page != gate.full_page {
            self.pages.full = None;
        }
    }

    /// Keeps how long a session counted on its server. Of one that was ended from outside (an operator,
    /// a server that went down) no more is known than that it would have lasted longer.
    fn note_end(&mut self, reason: EndReason, lasted: Millis) {
        match reason {
            EndReason::LoggedOut | EndReason::Disconnected => self.durations.record(lasted),
            EndReason::Expired | EndReason::Idle => {
                let counted = lasted.0.saturating_add(self.config.sticky.reuse.0);
                self.durations.record(Millis(counted));
            }
            EndReason::EndedByOperator
            | EndReason::Forgotten
            | EndReason::ServerGone
            | EndReason::ServerRemoved
            | EndReason::Deadline
            | EndReason::ResourceMaintenance => self.durations.record_cut_off(lasted),
        }
    }
}
