//! Servers that are sick without being dead: watched window by window, held where the pool can spare
//! them, and let go again.
//!
//! A hold is the node's own: it is not stored, it ends by itself, and an operator's `ready` ends it.

use crate::config::{Balance, PoolConfig, Protocol};
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::{PoolState, ServerState, State};
use crate::event::EventKind;
use crate::health::Health;
use crate::intent::Intent;
use crate::name::ServerName;
use crate::outlier::{Ailment, Finding, Patient, Spared, Ward, examine, relief, triage};
use crate::standing::Reason;
use crate::status::SicknessStatus;
use crate::time::{Millis, Moment, Now, WallTime};
use crate::traffic::{Traffic, TrafficTotal, window_at};
use std::sync::Arc;

/// After so many windows in a row in which a server was well, it is no longer sick.
const WELL_WINDOWS: u32 = 2;

/// What is known of a server by its traffic.
#[derive(Debug, Default)]
pub(super) struct Wellbeing {
    /// What was counted when the window began.
    before: TrafficTotal,
    last: Option<Traffic>,
    /// What is wrong, and since when.
    ailment: Option<(Ailment, WallTime)>,
    /// Why it is not held for that.
    spared: Option<Spared>,
    /// Windows in a row in which it was well.
    well: u32,
    /// It is held until then.
    held_until: Option<Moment>,
    /// The last window since it is held showed it as sick as before.
    still_sick: bool,
    /// Holds in a row.
    holds: u32,
    /// When the last one ended, and why.
    let_go: Option<(Moment, &'static str)>,
    /// An operator has said that it is ready, and it is left alone until then.
    left_alone_until: Option<Moment>,
}

impl Wellbeing {
    pub fn is_held(&self) -> bool {
        self.held_until.is_some()
    }

    /// Its traffic in the last window.
    pub fn traffic(&self) -> Option<Traffic> {
        self.last
    }

    /// Why it is held.
    pub fn why(&self) -> Option<String> {
        self.ailment
            .as_ref()
            .map(|(ailment, _)| ailment.to_string())
    }

    fn hold(&mut self, pool: &PoolConfig, now: Now) {
        let outliers = &pool.outliers;
        let remembers = |(at, _): (Moment, _)| now.moment.since(at) <= outliers.hold_max();
        if !self.is_held() && !self.let_go.is_some_and(remembers) {
            self.holds = 0;
        }
        self.holds = self.holds.saturating_add(1);
        self.held_until = Some(now.moment.plus(outliers.hold_of(self.holds)));
        (self.still_sick, self.spared) = (false, None);
    }

    fn let_go(&mut self, why: &'static str, now: Now) {
        self.held_until = None;
        self.ailment = None;
        self.let_go = Some((now.moment, why));
    }

    /// Takes in what a window tells of it. Returns whether its ailment is gone.
    fn learn(&mut self, finding: &Finding, now: Now) -> bool {
        self.well = match finding {
            Finding::Well => self.well + 1,
            // Who is held may have nothing to be judged by.
            Finding::Unknown if !self.is_held() => self.well + 1,
            _ => 0,
        };
        self.still_sick = matches!(finding, Finding::Sick(_));
        if let Finding::Sick(ailment) = finding {
            let since = self.ailment.as_ref().map_or(now.wall, |(_, since)| *since);
            self.ailment = Some((ailment.clone(), since));
        }
        if self.well < WELL_WINDOWS || self.ailment.is_none() {
            return false;
        }
        if self.is_held() {
            self.let_go("its own sessions are served no worse than the pool's", now);
        }
        (self.ailment, self.spared) = (None, None);
        true
    }

    fn is_left_alone(&self, now: Now) -> bool {
        self.left_alone_until
            .is_some_and(|until| now.moment < until)
    }
}

impl State {
    /// Judges the traffic of every window that is over, and lets go whoever was held for long enough.
    pub fn watch_traffic(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let pools: Vec<(Arc<PoolConfig>, u64)> = self
            .pools
            .values()
            .filter(|pool| is_watched(&pool.config))
            .map(|pool| (Arc::clone(&pool.config), pool.window))
            .collect();
        for (pool, last) in &pools {
            let (pool, last) = (pool, *last);
            let window = window_at(now.moment, pool.outliers.window);
            if window != last {
                self.judge_window(pool, last, now, outputs);
                if let Some(pool) = self.pools.get_mut(&pool.name) {
                    pool.window = window;
                }
            }
        }
        // Mostly there is none, which is found out at less cost than in pool after pool.
        if self
            .servers
            .values()
            .any(|server| server.wellbeing.is_held())
        {
            for (pool, _) in &pools {
                self.end_holds(pool, now);
                self.relieve(&pool.name, now);
            }
        }
    }

    /// Judges what has come in the window of this number.
    fn judge_window(
        &mut self,
        pool: &Arc<PoolConfig>,
        window: u64,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let order = self.order_of(&pool.name);
        let traffic: Vec<Option<Traffic>> = order
            .iter()
            .map(|name| self.servers.get_mut(name)?.close_window(window))
            .collect();
        let findings = examine(&traffic, &pool.outliers, pool.protocol);
        for (name, finding) in order.iter().zip(&findings) {
            let Some(server) = self.servers.get_mut(name) else {
                continue;
            };
            let was_held = server.wellbeing.is_held();
            if server.wellbeing.learn(finding, now) {
                outputs.push(event(Some(name), EventKind::Sick { what: None }, now));
            }
            if was_held != server.wellbeing.is_held() {
                self.changed.insert(pool.name.clone());
            }
        }
        let is_sick = |(_, finding): &(&ServerName, &Finding)| matches!(finding, Finding::Sick(_));
        let sick = order.iter().zip(&findings).filter(is_sick);
        let sick: Vec<ServerName> = sick.map(|(name, _)| name.clone()).collect();
        self.treat(pool, &sick, now, outputs);
    }

    /// Holds those of the sick that the pool can spare, and says of the others why they go on.
    fn treat(
        &mut self,
        pool: &Arc<PoolConfig>,
        sick: &[ServerName],
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let takers = self.takers(&pool.name);
        let candidates: Vec<&ServerName> = sick
            .iter()
            .filter(|name| {
                let server = self.servers.get(*name);
                server.is_some_and(|server| !server.wellbeing.is_held())
            })
            .collect();
        let is_out = |server: &ServerState| match (pool.outliers.acts, &server.intent) {
            (false, _) => Some(Spared::Watching),
            (true, _) if server.wellbeing.is_left_alone(now) => Some(Spared::ByOperator),
            _ => None,
        };
        let mut fates = Vec::new();
        let mut patients = Vec::new();
        for name in candidates {
            let Some(server) = self.servers.get(name) else {
                continue;
            };
            match (is_out(server), &server.wellbeing.ailment) {
                // Who is held by an operator, or has left, is judged when it is back.
                _ if server.intent != Intent::Ready => {}
                (Some(spared), _) => fates.push((name.clone(), Some(spared))),
                (None, Some((ailment, _))) => patients.push((
                    name.clone(),
                    Patient {
                        ailment,
                        takes_new: takers.contains(name),
                    },
                )),
                (None, None) => {}
            }
        }
        let ward = self.ward(pool);
        let (names, patients): (Vec<_>, Vec<_>) = patients.into_iter().unzip();
        fates.extend(names.into_iter().zip(triage(&patients, ward)));
        for (name, spared) in fates {
            self.decide(&name, pool, spared, now, outputs);
        }
    }

    fn decide(
        &mut self,
        name: &ServerName,
        pool: &PoolConfig,
        spared: Option<Spared>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) {
        let Some(server) = self.servers.get_mut(name) else {
            return;
        };
        let Some(spared) = spared else {
            server.wellbeing.hold(pool, now);
            let span = pool.outliers.hold_of(server.wellbeing.holds);
            let words = server.wellbeing.why();
            let what = words.map(|words| format!("{words}; it takes no new sessions for {span}"));
            outputs.push(event(Some(name), EventKind::Sick { what }, now));
            self.changed.insert(pool.name.clone());
            return;
        };
        let was_known = server.wellbeing.spared.replace(spared).is_some();
        if let Some(words) = server.wellbeing.why().filter(|_| !was_known) {
            let what = Some(format!(
                "{words}; it takes new sessions all the same: {spared}"
            ));
            outputs.push(event(Some(name), EventKind::Sick { what }, now));
        }
    }

    /// Ends the holds whose time is over. One that is still as sick, as its own sessions show, is held
    /// once more.
    fn end_holds(&mut self, pool: &Arc<PoolConfig>, now: Now) {
        for name in self.held(&pool.name) {
            let Some(server) = self.servers.get_mut(&name) else {
                continue;
            };
            let well = &mut server.wellbeing;
            let is_over = well.held_until.is_some_and(|until| until <= now.moment);
            match (pool.outliers.acts, is_over, well.still_sick) {
                (false, ..) => well.let_go("`outliers` of its pool does not act any more", now),
                (true, true, true) => {
                    well.hold(pool, now);
                    continue;
                }
                (true, true, false) => well.let_go("its time is over, it is judged anew", now),
                (true, false, _) => continue,
            }
            self.changed.insert(pool.name.clone());
        }
    }

    /// Lets go the least sick of those that are held, where a pool has too few servers that take new
    /// sessions, as a sick one is better than none; and where it has fewer servers than it had.
    fn relieve(&mut self, pool: &str, now: Now) {
        let held = self.held(pool);
        let Some(known) = self.pools.get(pool).filter(|_| !held.is_empty()) else {
            return;
        };
        let ward = self.ward(&known.config);
        let too_many = ward.held.saturating_sub(ward.held_max());
        let why = "there are too many of its pool held as sick";
        self.let_go_least_sick(pool, &held, (too_many, why), now);
        let ward = self.ward_of(pool);
        let too_few = ward.map_or(0, |ward| ward.minimum.saturating_sub(ward.takers));
        // Those whom nothing else keeps from it.
        let judged = self.judge_servers(&held);
        let only_sick = judged.into_iter().filter(|(name, standing)| {
            let server = self.servers.get(*name);
            standing.reason == Reason::Sick && server.is_some_and(ServerState::has_room)
        });
        let only_sick: Vec<ServerName> = only_sick.map(|(name, _)| name.clone()).collect();
        let why = "the pool would have too few that take new sessions";
        self.let_go_least_sick(pool, &only_sick, (too_few, why), now);
    }

    fn let_go_least_sick(
        &mut self,
        pool: &str,
        held: &[ServerName],
        (number, why): (usize, &'static str),
        now: Now,
    ) {
        let ailing = held.iter().filter_map(|name| {
            let (ailment, _) = self.servers.get(name)?.wellbeing.ailment.as_ref()?;
            Some((name, ailment))
        });
        let (names, ailments): (Vec<&ServerName>, Vec<&Ailment>) = ailing.unzip();
        for index in relief(&ailments, number) {
            if let Some(server) = self.servers.get_mut(names[index]) {
                server.wellbeing.let_go(why, now);
                self.changed.insert(pool.to_owned());
            }
        }
    }

    /// What a pool has, and has to keep.
    fn ward(&self, pool: &PoolConfig) -> Ward {
        Ward {
            servers: self.order_of(&pool.name).len(),
            held: self.held(&pool.name).len(),
            takers: self.takers(&pool.name).len(),
            minimum: pool.minimum.max(1) as usize,
            share_max: pool.outliers.share_max,
        }
    }

    fn ward_of(&self, pool: &str) -> Option<Ward> {
        let pool = self.pools.get(pool)?;
        Some(self.ward(&pool.config))
    }

    /// The same in every pool that is about to be published.
    pub fn relieve_changed(&mut self, now: Now) {
        for pool in self.changed.clone() {
            self.relieve(&pool, now);
        }
    }

    /// The pool's servers that take new sessions, whatever is wanted of the pool, with room for them.
    fn takers(&self, pool: &str) -> Vec<ServerName> {
        let Some(pool) = self.pools.get(pool) else {
            return Vec::new();
        };
        let judged = self.judge_servers(&pool.order).into_iter();
        let takers = judged.filter(|(name, standing)| {
            let takes = standing.admits_new && standing.reason != Reason::LastResort;
            let server = self.servers.get(*name);
            takes && server.is_some_and(ServerState::has_room)
        });
        takers.map(|(name, _)| name.clone()).collect()
    }

    /// Those of the pool's servers that are held as sick.
    fn held(&self, pool: &str) -> Vec<ServerName> {
        let is_held = |name: &&ServerName| {
            let server = self.servers.get(*name);
            server.is_some_and(|server| server.wellbeing.is_held())
        };
        let order = self.pools.get(pool).map(|pool| &pool.order);
        let order = order.into_iter().flatten();
        order.filter(is_held).cloned().collect()
    }

    fn order_of(&self, pool: &str) -> Vec<ServerName> {
        let pool = self.pools.get(pool);
        pool.map_or_else(Vec::new, |pool| pool.order.clone())
    }
}

impl ServerState {
    /// Closes the window of this number; what came in it, unless nothing is to be concluded from that.
    fn close_window(&mut self, window: u64) -> Option<Traffic> {
        let before = &self.wellbeing.before;
        let (traffic, total) = Traffic::within(&self.counters, before, window);
        self.wellbeing.before = total;
        self.wellbeing.last = Some(traffic);
        (self.health.health != Health::Down).then_some(traffic)
    }

    /// Nothing is known of it yet.
    pub fn begin_anew(&mut self) {
        self.wellbeing = Wellbeing {
            before: TrafficTotal::of(&self.counters),
            ..Wellbeing::default()
        };
    }

    /// An operator says that it is ready: what is known of it counts no more, and if it was found sick, it
    /// is left alone for as long as the longest hold.
    pub fn declare_well(&mut self, pool: Option<&PoolConfig>, now: Now) {
        let was_sick = self.wellbeing.ailment.is_some();
        let until = pool.filter(|_| was_sick);
        let until = until.map(|pool| now.moment.plus(pool.outliers.hold_max()));
        self.begin_anew();
        self.wellbeing.left_alone_until = until;
        self.wellbeing.let_go = Some((now.moment, "an operator says that it is ready"));
    }

    /// Why its standing is another one now.
    pub fn why_now(&self, reason: Reason) -> Option<String> {
        match (self.standing.reason, reason) {
            (Reason::Sick, Reason::Ready | Reason::Unproven) => {
                self.wellbeing.let_go.map(|(_, why)| why.to_owned())
            }
            _ => self.why(reason),
        }
    }

    fn has_room(&self) -> bool {
        let sessions = self.load.sessions();
        self.max_sessions().is_none_or(|max| sessions < max)
    }

    /// What people are shown of its ailment.
    pub fn sickness(&self, now: Now) -> Option<SicknessStatus> {
        let well = &self.wellbeing;
        let (ailment, since) = well.ailment.as_ref()?;
        Some(SicknessStatus {
            words: ailment.to_string(),
            since: *since,
            held: well.held_until.map(|until| until.since(now.moment)),
            spared: well.spared.map(|spared| spared.to_string()),
        })
    }

    /// What `ready` says of a server that is held, or would be.
    pub fn ready_text(&self, name: &ServerName, pool: &PoolState) -> Option<String> {
        let (ailment, _) = self.wellbeing.ailment.as_ref()?;
        let alone: Millis = pool.config.outliers.hold_max();
        let before = match self.wellbeing.is_held() {
            true => "it was held as sick",
            false => "it looked sick",
        };
        Some(format!(
            "{name} is ready: {before} ({ailment}); whatever its traffic is like, it is not held for \
             that in the next {alone}"
        ))
    }
}

/// Whether a pool's traffic passes through here, and is understood.
fn is_watched(pool: &PoolConfig) -> bool {
    pool.protocol != Protocol::Nbd && pool.balance != Balance::DoorOnly
}
