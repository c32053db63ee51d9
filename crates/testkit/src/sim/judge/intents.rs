//! What the node shows of its servers, held against what was asked for.

use super::commands::Asks;
use super::health::{Seen, Verdict};
use super::names::DNS;
use super::{
    CLOSED, COUNTS, DEADLINE, DOORS, DURABLE, HEALTH, Judge, LAG_MS, STAYS, Server, TRUTH,
};
use crate::sim::number::ServerNumber;
use crate::sim::plan::{has_connections, pool_name, pool_number};
use ebbtide_core::{
    Health, Millis, Moment, NodeStatus, Now, PoolView, ProbeOutcome, ServerKey, ServerStatus,
    ServerView, SessionTable, Snapshot, WallTime,
};

/// How long it may take until a server that is added is there.
const ADDS_MS: i64 = 10_000;

/// What is wanted of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Want {
    #[default]
    Ready,
    Hold,
    Maintenance,
    /// Until when, and what users are told.
    Drain(Countdown, Option<String>),
}

/// A deadline as it was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Countdown {
    pub boot: u32,
    pub moment: Moment,
    pub wall: WallTime,
    pub within: Millis,
}

impl Countdown {
    /// On the clock of this boot, of which `started` is when the program took up.
    pub fn on(&self, present: u32, started: Now) -> Moment {
        if self.boot == present {
            return self.moment;
        }
        let by_wall = started.moment_at(self.wall);
        by_wall.min(started.moment.plus(self.within))
    }
}

/// The driver has put a drained server into maintenance.
#[derive(Debug)]
pub(super) struct SelfEnd {
    /// The newest request that was decided on before that.
    pub sent_up_to: u64,
    /// It is stored.
    pub saved: bool,
    /// The program was started anew before it was, and the server is not there.
    pub unsure: bool,
    /// It was over when the program started; a lying disk may have had it already.
    pub at_start: bool,
}

impl Want {
    /// A drain that was asked for and has not been decided on; `within` is 0 if the deadline is to stay.
    pub fn asked(within: Millis, message: Option<String>) -> Self {
        let countdown = Countdown {
            within,
            ..Countdown::default()
        };
        Self::Drain(countdown, message)
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Hold => "hold",
            Self::Maintenance => "maintenance",
            Self::Drain(..) => "drain",
        }
    }

    /// On the clock of this boot, of which `started` is when the program took up.
    pub fn deadline(&self, present: u32, started: Now) -> Option<Moment> {
        match self {
            Self::Drain(countdown, _) => Some(countdown.on(present, started)),
            _ => None,
        }
    }

    fn message(&self) -> Option<&String> {
        match self {
            Self::Drain(_, message) => message.as_ref(),
            _ => None,
        }
    }
}

impl Judge {
    /// Looks at all that the node shows of itself.
    pub fn observe(
        &mut self,
        status: &NodeStatus,
        snapshot: &Snapshot,
        table: &SessionTable,
        now: Now,
        at: i64,
    ) {
        self.look += 1;
        self.judge_withdrawn(snapshot, at);
        let live = live_sessions(snapshot, table);
        for pool in &status.pools {
            let number = pool_number(&pool.name);
            self.pools[number].look = self.look;
            let Some(view) = snapshot.pool_named(&pool.name) else {
                continue;
            };
            let was_closed = self.pools[number].in_force.is_closed();
            self.judge_pool(number, pool, view, now, (snapshot.generation, at));
            let closed = was_closed || self.pools[number].in_force.is_closed();
            for shown in &pool.servers {
                let name = ServerNumber::in_pool(number, &shown.name);
                let is_it = |view: &&ServerView| *view.name == shown.name;
                if let Some(server) = view.removed.iter().find(is_it) {
                    self.judge_removed(name, (shown, server), view, now, at);
                    self.judge_count(name, server, view, &live);
                    continue;
                }
                let Some(server) = view.servers.iter().find(is_it) else {
                    continue;
                };
                self.judge_address(name, server);
                self.meet(name, server, at);
                self.judge_intent(name, shown, server, now, at);
                self.judge_verification(name, shown);
                self.judge_notice(name, server, view);
                if closed {
                    self.server(name).unserving_at = Some(at);
                }
                self.judge_settings(name, shown, snapshot);
                if self.restarted {
                    self.server(name).wanted_by_dns = shown.intent.by.as_deref() == Some(DNS);
                }
                self.judge_given(name, shown);
                self.judge_busy(name, shown, server, now);
                self.judge_epoch(name, server);
                self.judge_count(name, server, view, &live);
            }
        }
        self.judge_absent(at);
        self.pools_absent();
        self.judge_live(snapshot);
        self.judge_secrets(snapshot);
        if std::mem::take(&mut self.restarted) {
            self.looked_after_restart();
        }
    }

    /// The first look at a node that was started anew is over.
    fn looked_after_restart(&mut self) {
        self.settle_requests();
        self.addresses_after_restart();
        let pools = &self.pools;
        for (name, server) in self.servers.iter_mut().filter(|(_, one)| !one.present) {
            if server.was_present {
                (server.unheard_of, server.epoch_least) = (true, 0);
            }
            if pools[name.pool()].unsaved {
                // The epoch that it was seen to have may never have been stored.
                (server.epoch, server.epoch_of_next) = (0, 0);
            }
            if let Some(end) = &mut server.self_end {
                end.unsure |= !end.saved;
            }
        }
    }

    /// Of servers that are not there, nothing is served.
    fn judge_absent(&mut self, at: i64) {
        let (look, restarted) = (self.look, self.restarted);
        let pools = &self.pools;
        let mut removed = Vec::new();
        for (name, server) in self.servers.iter_mut() {
            if server.look != look {
                if server.present || restarted {
                    removed.push(name);
                }
                let lingers = server.removed_look == look;
                if name.is_live() && pools[name.pool()].look == look && !lingers {
                    server.leave();
                    server.forget();
                }
                server.present = false;
                server.unserving_at = Some(at);
            }
        }
        removed.into_iter().for_each(|name| self.removed(name));
    }

    /// A server that has left its pool and still has sessions: what is wanted of it holds, and nobody
    /// new comes.
    fn judge_removed(
        &mut self,
        name: ServerNumber,
        (shown, view): (&ServerStatus, &ServerView),
        pool: &PoolView,
        now: Now,
        at: i64,
    ) {
        let look = self.look;
        let server = self.server(name);
        server.removed_look = look;
        server.lingered_at = Some(at);
        if name.is_live() {
            server.leave();
        }
        self.judge_intent(name, shown, view, now, at);
        self.judge_notice(name, view, pool);
        self.judge_epoch(name, view);
        if view.standing.admits_new || shown.standing.admits_new {
            self.fail(CLOSED, format!("{name} has left its pool, and admits"));
        }
    }

    /// A server is there; its health starts anew if it was not before, or is elsewhere now.
    fn meet(&mut self, name: ServerNumber, view: &ServerView, at: i64) {
        let (look, restarted) = (self.look, self.restarted);
        let server = self.server(name);
        server.look = look;
        if name.is_live() && server.removed_look + 1 == look {
            server.forget();
        }
        if !server.present || server.address != Some(view.address) {
            server.seen = if restarted {
                Seen::default()
            } else {
                Seen::starting()
            };
            server.unserving_at = Some(at);
            server.busy.forget();
            server.agent.forget();
        }
        if !server.present {
            server.returned_at = Some(at);
            let least = std::mem::take(&mut server.epoch_of_next);
            // Whoever still was on it when it was added may be on this very one.
            if server
                .lingered_at
                .is_none_or(|lingered| at - lingered > ADDS_MS)
            {
                server.epoch_least = server.epoch_least.max(least);
            }
            server.raises += least.saturating_sub(server.epoch);
        }
        server.present = true;
        server.address = Some(view.address);
    }

    /// Whether what is shown and what the workers are given fit the intent that was found.
    fn judge_shown(
        &mut self,
        name: ServerNumber,
        shown: &ServerStatus,
        view: &ServerView,
        (found, deadline): (&Want, Option<Moment>),
        now: Now,
    ) {
        let left = deadline.map(|deadline| deadline.since(now.moment));
        if shown.intent.left != left {
            let text = format!(
                "{name} shows its deadline as {deadline:?} with {:?} left",
                shown.intent.left
            );
            self.fail(TRUTH, text);
        }
        if view.standing.admits_new && *found != Want::Ready {
            let text = format!("{name} is {}, and admits new sessions", found.label());
            self.fail(CLOSED, text);
        }
        let server = self.server(name);
        let (verdict, agent_is_down) = (server.seen.verdict, server.agent.is_down());
        let probed_well = verdict != Verdict::Down && agent_is_down == Some(false);
        if shown.health == Health::Down && probed_well {
            let text = format!("{name} is down, but neither its probes nor its agent say so");
            self.fail(STAYS, text);
        }
        let is_well = verdict == Verdict::Up && agent_is_down != Some(true);
        if shown.health == Health::Up && !is_well {
            let text = format!("{name} is up, but its probes or its agent say that it is not");
            self.fail(HEALTH, text);
        }
    }

    fn judge_intent(
        &mut self,
        name: ServerNumber,
        shown: &ServerStatus,
        view: &ServerView,
        now: Now,
        at: i64,
    ) {
        let deadline = shown.intent.deadline.map(|wall| now.moment_at(wall));
        let allowed = self.allowed(name);
        let found = allowed.iter().find(|want| {
            want.label() == shown.intent.label
                && want.deadline(self.boot, self.started) == deadline
                && want.message() == shown.intent.message.as_ref()
        });
        let passed = allowed.iter().find(|want| self.has_passed(name, want));
        let passed = passed.filter(|_| self.restarted).copied().cloned();
        let Some(found) = found.copied().cloned() else {
            let text = format!(
                "{name} shows {} until {deadline:?} at {now:?}; it may show {allowed:?}",
                shown.intent.label
            );
            return self.fail(DURABLE, text);
        };
        self.judge_shown(name, shown, view, (&found, deadline), now);
        self.judge_restored_epoch(name, view, &found);
        let restarted = self.restarted;
        let sent_up_to = self.last_sent;
        let renewed = restarted && self.is_renewed(name);
        let server = self.server(name);
        if server.in_force == Want::Maintenance || found == Want::Maintenance {
            server.unserving_at = Some(at);
        }
        if matches!(found, Want::Drain(..)) {
            server.draining_at = Some(at);
        }
        if found != Want::Maintenance {
            server.entered_maintenance = None;
        } else if server.entered_maintenance.is_none() {
            server.entered_maintenance = Some(at);
        }
        let mut revived = false;
        let end = server.self_end.as_ref();
        let saved = end.is_some_and(|end| end.saved);
        let unsure = end.is_some_and(|end| end.unsure);
        let passed = passed.filter(|_| restarted && (!saved || renewed));
        let passed = passed.filter(|_| found == Want::Maintenance);
        if let Some(drain) = passed {
            server.want = drain;
            server.self_end = Some(SelfEnd {
                sent_up_to,
                saved: false,
                unsure: false,
                at_start: true,
            });
        } else if restarted || unsure {
            server.self_end = None;
            server.want = found.clone();
            revived = restarted && found != Want::Maintenance;
        }
        server.in_force = found;
        if revived {
            // Another boot and a wall clock that went back (ADR 0002), or a change that was stored
            // while the deadline passed and that nobody was answered.
            self.revive(name);
        }
    }

    /// Whether something was asked for and stored since a drain of the server ended last.
    fn is_renewed(&self, name: ServerNumber) -> bool {
        let server = self.servers.get(name);
        let end = server.and_then(|server| server.self_end.as_ref());
        let sent_up_to = end.map_or(0, |end| end.sent_up_to);
        self.requests.iter().any(|(id, request)| {
            request.server == Some(name) && request.stored && id.0 > sent_up_to
        })
    }

    /// After a restart an epoch is no older than it was, but for the end of a drain that was never
    /// stored; and maintenance never comes without the epoch that ended the sessions for it.
    fn judge_restored_epoch(&mut self, name: ServerNumber, view: &ServerView, found: &Want) {
        if !self.restarted {
            return;
        }
        let pool = &self.pools[name.pool()];
        let (pool_unsaved, pool_closed) = (pool.unsaved, pool.entered);
        // A write that failed may show all the same, but without the epoch that was written since.
        let mut requests = self.requests.values();
        let refused = requests.any(|request| {
            let asks = request.asks == Asks::Intent(Want::Maintenance);
            asks && request.server == Some(name) && request.answered && !request.stored
        });
        let server = self.server(name);
        let unsaved = server.self_end.as_ref().is_some_and(|end| !end.saved);
        if unsaved || pool_unsaved {
            return;
        }
        let entered =
            *found == Want::Maintenance && server.in_force != Want::Maintenance && !refused;
        let least = server.epoch + u32::from(entered || (pool_closed && !server.unheard_of));
        if view.epoch < least {
            let text = format!(
                "{name} is back in {} and epoch {}, not at least {least}",
                found.label(),
                view.epoch
            );
            self.fail(DURABLE, text);
        }
    }

    /// What may be wanted of the server now.
    fn allowed(&self, name: ServerNumber) -> Vec<&Want> {
        let Some(server) = self.servers.get(name) else {
            return vec![&Want::Ready];
        };
        let mut allowed = vec![&server.want];
        let end = server.self_end.as_ref();
        if let Some(end) = end {
            if end.saved || !(self.restarted || end.unsure) {
                allowed.clear();
            }
            allowed.push(&Want::Maintenance);
        }
        for (id, request) in &self.requests {
            let known = if self.restarted {
                request.sent
            } else {
                request.stored
            };
            let overtaken = end.is_some_and(|end| {
                id.0 <= end.sent_up_to && (end.saved || !(self.restarted || end.unsure))
            });
            if let Asks::Intent(want) = &request.asks
                && request.server == Some(name)
                && known
                && !overtaken
            {
                allowed.push(want);
            }
        }
        if self.restarted {
            // A drain whose deadline passed while nobody was there to end it may have ended.
            if allowed.iter().any(|want| self.has_passed(name, want)) {
                allowed.push(&Want::Maintenance);
            }
        }
        allowed
    }

    /// Whether a drain was over when the node started: its time, or its sessions.
    fn has_passed(&self, name: ServerNumber, want: &Want) -> bool {
        let deadline = want.deadline(self.boot, self.started);
        deadline
            .is_some_and(|deadline| has_connections(name.pool()) || deadline <= self.started.moment)
    }

    fn judge_settings(&mut self, name: ServerNumber, shown: &ServerStatus, snapshot: &Snapshot) {
        let requests = &self.requests;
        let restarted = self.restarted;
        let asked = |asks: &dyn Fn(&Asks) -> bool| {
            requests.values().any(|request| {
                let known = if restarted {
                    request.sent
                } else {
                    request.stored
                };
                known && request.server == Some(name) && asks(&request.asks)
            })
        };
        let Some(server) = self.servers.get(name) else {
            return;
        };
        let shows = (shown.weight, shown.max_sessions);
        let may_be = |asks: &Asks| *asks == Asks::Set(shows.0, shows.1);
        let mut wrong = None;
        if let Some(set) = server.set
            && set != shows
            && !asked(&may_be)
        {
            wrong = Some(format!("{name} was set to {set:?} and shows {shows:?}"));
        }
        if !server.live && !is_in_file(name, snapshot) && !asked(&|asks| *asks == Asks::Live(true))
        {
            wrong = Some(format!("{name} was removed, and is there"));
        }
        if let Some(text) = wrong {
            return self.fail(DURABLE, text);
        }
        if restarted {
            let server = self.server(name);
            server.live = shown.live;
            server.set = shown.overridden.then_some(shows);
        }
    }

    /// Servers that were added live are there, if their pool is.
    fn judge_live(&mut self, snapshot: &Snapshot) {
        let restarted = self.restarted;
        let pool_is_there = |name: ServerNumber| {
            let pool = snapshot.pool_named(pool_name(name.pool()));
            pool.is_some()
        };
        let missing = self.servers.iter().find(|(name, server)| {
            let removed = || {
                self.requests.values().any(|request| {
                    let known = if restarted {
                        request.sent
                    } else {
                        request.stored
                    };
                    known && request.server == Some(*name) && request.asks == Asks::Live(false)
                })
            };
            server.live && !server.present && pool_is_there(*name) && !removed()
        });
        if let Some((name, _)) = missing {
            let text = format!("{name} was added, and is not there");
            return self.fail(DURABLE, text);
        }
        if restarted {
            for (name, server) in self.servers.iter_mut() {
                if pool_is_there(name) {
                    server.live &= server.present;
                }
            }
        }
    }

    /// Tokens are made with the secret that was asked for last, and those of the one before are good.
    fn judge_secrets(&mut self, snapshot: &Snapshot) {
        let (restarted, shown) = (self.restarted, &snapshot.token_secrets);
        let Some(wanted) = self.secret.replace(shown.current) else {
            return;
        };
        if shown.current == wanted {
            return;
        }
        let asked = self.requests.values().any(|request| {
            let known = if restarted {
                request.sent
            } else {
                request.stored
            };
            known && request.asks == Asks::Rotate(shown.current)
        });
        if !asked {
            self.fail(DURABLE, "the tokens' secret is not the last".into());
        } else if shown.previous != Some(wanted) {
            self.fail(STAYS, "a rotation makes tokens worthless at once".into());
        }
    }

    fn judge_epoch(&mut self, name: ServerNumber, view: &ServerView) {
        let life = self.life;
        let server = self.server(name);
        let (before, raises) = (server.epoch, server.raises);
        server.epoch = view.epoch;
        if view.epoch < server.epoch_least {
            let text = format!(
                "{name} is in epoch {} after its pool was closed or it was removed",
                view.epoch
            );
            return self.fail(DEADLINE, text);
        }
        let server = self.server(name);
        if server.epoch_life != life {
            // Seen for the first time in this life: whatever was stored shows.
            (server.epoch_life, server.raises) = (life, 0);
            return;
        }
        let by = view.epoch.wrapping_sub(before);
        server.raises = raises.saturating_sub(by);
        if view.epoch < before {
            self.fail(DOORS, format!("the epoch of {name} fell to {}", view.epoch));
        } else if by > raises {
            let text = format!(
                "the epoch of {name} rose to {} and nobody asked",
                view.epoch
            );
            self.fail(STAYS, text);
        }
    }

    fn judge_count(
        &mut self,
        name: ServerNumber,
        view: &ServerView,
        pool: &PoolView,
        live: &[ServerKey],
    ) {
        let here = live.iter().filter(|server| **server == view.key);
        let (counted, live) = (view.load.sessions(), here.count() as u32);
        let (open, leaving, kept) = self.connections_on(name, view.epoch);
        let is_connection = pool.config.protocol.is_connection();
        let fits = (open - leaving..=open).contains(&live);
        if live + kept != counted || (is_connection && !fits) {
            let text = format!(
                "{name} has {live} live sessions, {open} connections and {kept} places for others, \
                 and counts {counted}"
            );
            self.fail(COUNTS, text);
        }
    }

    /// Every drain whose deadline has passed has ended with this tick.
    pub fn deadlines(&mut self, now: Now) {
        self.countdowns(now);
        let late = self.servers.iter().find(|(_, server)| {
            let deadline = server.in_force.deadline(self.boot, self.started);
            let ended = server.self_end.is_some() || !server.present;
            !ended && deadline.is_some_and(|deadline| now.moment >= deadline)
        });
        if let Some((name, _)) = late {
            let text = format!("the drain of {name} is over and has not ended");
            self.fail(DEADLINE, text);
        }
    }

    /// A probe is back that began at this time, when so many sessions had begun there.
    pub fn probed(
        &mut self,
        name: ServerNumber,
        outcome: &ProbeOutcome,
        (began, begun): (i64, u32),
        at: i64,
    ) {
        let server = self.server(name);
        if !server.present {
            return;
        }
        let was_down = server.seen.verdict == Verdict::Down;
        server.seen.probed(outcome);
        server.busy.places_told(outcome, begun);
        server.shows(outcome, began);
        if was_down || server.seen.verdict == Verdict::Down {
            server.unserving_at = Some(at);
        }
    }

    pub fn suspected(&mut self, name: ServerNumber) {
        self.server(name).seen.suspect();
    }
}

impl Server {
    /// It has just left its pool by command: its tokens are worth nothing to the next of its name.
    fn leave(&mut self) {
        if self.present {
            self.epoch_of_next = self.epoch + 1;
        }
    }

    /// It was removed by command, and with it what was wanted of it: the next of its name is new.
    fn forget(&mut self) {
        (self.want, self.in_force) = (Want::Ready, Want::Ready);
        (self.self_end, self.set, self.closed) = (None, None, None);
        (self.unseen, self.entered_maintenance) = (None, None);
        self.busy.forget_wishes();
    }

    /// Whether there is, or a moment ago was, a reason not to serve its own sessions.
    pub fn is_unserving(&self, at: i64) -> bool {
        !self.present
            || self.seen.verdict == Verdict::Down
            || self.agent.is_down() != Some(false)
            || self.in_force == Want::Maintenance
            || self.unserving_at.is_some_and(|then| at - then < LAG_MS)
    }
}

/// The server of every session that is live.
fn live_sessions(snapshot: &Snapshot, table: &SessionTable) -> Vec<ServerKey> {
    let live = table.list(snapshot, None, usize::MAX, |_| true);
    live.iter().map(|session| session.server).collect()
}

fn is_in_file(name: ServerNumber, snapshot: &Snapshot) -> bool {
    let mut pools = snapshot.config.pools.iter();
    pools
        .find(|config| config.name == pool_name(name.pool()))
        .is_some_and(|config| {
            let mut servers = config.servers.iter();
            servers.any(|known| known.name == name.server())
        })
}
