//! What operators ask for, what is stored of it, and what they are answered.

use super::agents::Word;
use super::doors::DoorWrites;
use super::health::Verdict;
use super::intents::{Countdown, SelfEnd, Want};
use super::names::DNS;
use super::pools::PoolWant;
use super::{DURABLE, GUARDED, Judge, ORDER};
use crate::sim::number::ServerNumber;
use crate::sim::plan::{POOLS, pool_name, pool_number};
use ebbtide_core::{
    Answer, Close, Command, DoorId, IntentRecord, Millis, NodeStatus, Now, PeakChange, PoolView,
    Reason, Refusal, RefusalKind, RequestId, ResourceView, ServerView, SessionId, Snapshot,
    StoredIntent, Write,
};

/// A command on its way, or one that may be stored although its operator was told otherwise.
#[derive(Debug)]
pub(super) struct Request {
    pub server: Option<ServerNumber>,
    pub pool: Option<usize>,
    pub asks: Asks,
    asked: Now,
    /// Asked for by the node, because of a name.
    by_dns: bool,
    life: u32,
    forced: bool,
    /// It has been handed to the store.
    pub sent: bool,
    /// The store has taken it, and the driver knows.
    pub stored: bool,
    stored_at: i64,
    pub answered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Intent(Want),
    Forget,
    EndSession(SessionId),
    Live(bool),
    Set(u32, Option<u32>),
    /// The peak load, in percent.
    Peak(Option<u8>),
    /// How many sessions a second.
    Rebalance(u32),
    StopRebalance,
    Rotate([u8; 32]),
    Pool(PoolAsks),
    /// That a door is open, or over.
    Door(DoorId, bool),
    Other,
}

/// What is asked for of a pool, and what comes of it once that is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolAsks {
    /// `None`: that it is open.
    pub close: Option<Close>,
    pub want: PoolWant,
    /// The epochs to which it raises those of the pool's servers, at least.
    pub epochs: Vec<(ServerNumber, u32)>,
}

/// What is on its way to the store.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    request: Option<RequestId>,
    /// Servers of which the end of a drain is stored with it.
    self_ends: Vec<ServerNumber>,
    /// Pools of which the end of a countdown is.
    pool_ends: Vec<usize>,
    pub doors: DoorWrites,
}

impl Asks {
    /// Whether both are about the same thing, so that the later one covers the earlier.
    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Request {
    /// What the node asks for itself, because of a name.
    pub(super) fn of_node(server: ServerNumber, asks: Asks, now: Now, life: u32) -> Self {
        Self {
            server: Some(server),
            pool: None,
            asks,
            asked: now,
            by_dns: true,
            life,
            forced: false,
            sent: false,
            stored: false,
            stored_at: 0,
            answered: false,
        }
    }
}

impl Judge {
    // tidy: allow(long-function): one arm for each command
    pub fn asked(&mut self, id: RequestId, command: &Command, now: Now) {
        let (server, asks, forced) = match command {
            Command::Ready { server, .. } => (Some(server), Asks::Intent(Want::Ready), true),
            Command::Hold { server, force } => (Some(server), Asks::Intent(Want::Hold), *force),
            Command::Drain {
                server,
                within,
                message,
                force,
            } => {
                let want = Want::asked(within.unwrap_or_default(), message.clone());
                (Some(server), Asks::Intent(want), *force)
            }
            Command::Maintenance { server, force } => {
                (Some(server), Asks::Intent(Want::Maintenance), *force)
            }
            Command::Forget { server } => (Some(server), Asks::Forget, true),
            Command::EndSessions { ids } => (None, Asks::EndSession(ids[0]), true),
            Command::RemoveServer { server, force } => (Some(server), Asks::Live(false), *force),
            Command::SetServer { server, change } if change.peak_load.is_some() => {
                let peak = match change.peak_load {
                    Some(PeakChange::Percent(percent)) => Some(percent),
                    _ => None,
                };
                (Some(server), Asks::Peak(peak), change.force)
            }
            Command::SetServer { server, change } => {
                let max = change.max_sessions.flatten();
                let asks = Asks::Set(change.weight.unwrap_or(0), max);
                (Some(server), asks, true)
            }
            Command::RotateTokenSecret { secret } => (None, Asks::Rotate(*secret), true),
            Command::Close { close, .. } => {
                let close = Some(close.clone());
                let asks = PoolAsks {
                    close,
                    ..PoolAsks::default()
                };
                (None, Asks::Pool(asks), true)
            }
            Command::Rebalance { rate, .. } => (None, Asks::Rebalance(*rate), true),
            Command::StopRebalance { .. } => (None, Asks::StopRebalance, true),
            Command::Open { .. } => (None, Asks::Pool(PoolAsks::default()), true),
            Command::OpenDoor { .. } | Command::CloseDoor { .. } => {
                (None, self.door_asked(command), true)
            }
            Command::AddServer { .. }
            | Command::Reload { .. }
            | Command::Stop { .. }
            | Command::Drill { .. }
            | Command::TellSessions { .. }
            | Command::MoveSession { .. } => (None, Asks::Other, true),
        };
        let (mut server, mut asks) = (server.map(ServerNumber::of), asks);
        if let Command::AddServer { pool, server: new } = command {
            server = Some(ServerNumber::in_pool(pool_number(pool), &new.name));
            asks = Asks::Live(true);
        }
        if let (Some(server), Asks::Intent(Want::Ready)) = (server, &asks) {
            self.wants_ready(id, server);
        }
        if let (Some(server), Asks::Peak(_)) = (server, &asks) {
            self.peak_asked(id, server);
        }
        if let Command::Ready { server, force } = command {
            self.wanted_back(id, ServerNumber::of(server), *force);
        }
        let pool = match command {
            Command::Close { pool, .. }
            | Command::Open { pool }
            | Command::Rebalance { pool, .. }
            | Command::StopRebalance { pool } => Some(pool_number(pool)),
            _ => None,
        };
        if let (Some(pool), Asks::Pool(asks)) = (pool, &asks) {
            self.pool_asked(id, pool, asks.close.as_ref());
        }
        let request = Request {
            server,
            pool,
            asks,
            asked: now,
            by_dns: false,
            life: self.life,
            forced,
            sent: false,
            stored: false,
            stored_at: 0,
            answered: false,
        };
        self.requests.insert(id, request);
    }

    /// Somebody wants a server in traffic.
    pub(super) fn wants_ready(&mut self, id: RequestId, name: ServerNumber) {
        let at = self.at;
        let server = self.server(name);
        server.last_ready = Some((id, at));
        server.closed = None;
    }

    /// The driver has decided on a command (or ended a drain) and wants it stored.
    pub fn persisting(
        &mut self,
        ticket: u64,
        writes: &[Write],
        (snapshot, status): (&Snapshot, &dyn Fn() -> NodeStatus),
        now: Now,
    ) {
        let mut known = Ticket {
            doors: self.doors_persisting(writes, now),
            ..Ticket::default()
        };
        let mut by_itself = Vec::new();
        for write in writes {
            let Write::Audit(entry) = write else {
                continue;
            };
            let who = &entry.actor.who;
            known.request = who.parse().ok().map(RequestId).or(known.request);
            if who == "ebbtide" {
                by_itself.push(entry.target.as_str());
            }
            if who == DNS {
                known.request = self.by_dns(writes, now);
            }
        }
        // Who wanted it is still the operator whose drain or closing has come to its end.
        let request = known.request;
        let is_end = |target: &str, by: &str| {
            let is_asked = request.is_some_and(|id| by.parse() == Ok(id.0));
            by_itself.contains(&target) && !is_asked
        };
        // By a name nobody asks for maintenance.
        let is_asked = |by: &str, intent: &StoredIntent| {
            by == DNS && !matches!(intent, StoredIntent::Maintenance)
        };
        for write in writes {
            match write {
                Write::Intent(name, record)
                    if is_end(&name.to_string(), &record.by)
                        && !is_asked(&record.by, &record.intent) =>
                {
                    known.self_ends.push(ServerNumber::of(name));
                }
                Write::PoolIntent(name, record) if is_end(name, &record.by) => {
                    known.pool_ends.push(pool_number(name));
                }
                _ => {}
            }
        }
        if let Some(id) = known.request {
            self.last_sent = id.0;
            self.guard(id, snapshot, now);
            self.sent(id, writes, now);
            let request = self.requests.get(&id);
            if let Some((pool, Asks::Rebalance(rate))) =
                request.and_then(|request| Some((request.pool?, request.asks.clone())))
            {
                self.rebalance_planned(pool, rate, &status());
            }
        }
        self.tickets.insert(ticket, known);
    }

    fn sent(&mut self, id: RequestId, writes: &[Write], now: Now) {
        let boot = self.boot;
        let Some(request) = self.requests.get_mut(&id) else {
            return self.fail(ORDER, format!("request {} is not known", id.0));
        };
        request.sent = true;
        let asked = request.asked.moment;
        let mut wrong = None;
        let mut of_pool = None;
        for write in writes {
            if let Write::PoolIntent(pool, record) = write
                && record.by.parse() == Ok(id.0)
            {
                of_pool = Some((pool, &record.intent));
            }
            let Write::Intent(name, IntentRecord { intent, by, .. }) = write else {
                continue;
            };
            if by.parse() != Ok(id.0) && !(request.by_dns && by == DNS) {
                continue;
            }
            let (
                StoredIntent::Drain {
                    moment,
                    wall,
                    within,
                    ..
                },
                Asks::Intent(Want::Drain(countdown, message)),
            ) = (intent, &mut request.asks)
            else {
                continue;
            };
            let server = self.servers.get(ServerNumber::of(name));
            let in_force = server.map(|server| &server.in_force);
            // Only other words: the deadline stays.
            let kept = in_force.and_then(|want| want.deadline(boot, self.started));
            let is_right = match countdown.within {
                Millis(0) => kept == Some(*moment),
                within => (asked.plus(within)..=now.moment.plus(within)).contains(moment),
            };
            if !is_right {
                wrong = Some(format!(
                    "request {} is stored with deadline {moment:?}",
                    id.0
                ));
            }
            *countdown = Countdown {
                boot,
                moment: *moment,
                wall: *wall,
                within: *within,
            };
            if let (Some(Want::Drain(_, kept)), None) = (in_force, &message) {
                message.clone_from(kept);
            }
        }
        if let Asks::EndSession(session) = request.asks
            && let Some(stay) = self.sessions.get_mut(&session)
        {
            stay.may_be_over = true;
        }
        if let Some(text) = wrong {
            self.fail(DURABLE, text);
        }
        if let Some((pool, stored)) = of_pool {
            self.pool_sent(id, pool_number(pool), stored, now);
        }
    }

    /// No unforced command takes a pool under its minimum.
    fn guard(&mut self, id: RequestId, snapshot: &Snapshot, now: Now) {
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let closes = match &request.asks {
            Asks::Intent(want) => *want != Want::Ready,
            Asks::Live(stays) => !stays,
            Asks::Peak(peak) => *peak == Some(0),
            _ => false,
        };
        let Some(name) = request.server.filter(|_| closes && !request.forced) else {
            return;
        };
        let Some(pool) = snapshot.pool_named(pool_name(name.pool())) else {
            return;
        };
        let checked = pool.config.health.is_some();
        if self.pools[name.pool()].in_force.blocks_new() {
            return;
        }
        let admits = |server: &&ServerView| {
            let known = ServerNumber::in_pool(name.pool(), &server.name);
            let known = self.servers.get(known);
            let room = server.has_room() && server.peak_load != Some(0);
            let below_peak = known.is_none_or(|known| known.busy.above(now) != Some(true));
            let room = room && below_peak;
            known.is_some_and(|known| {
                let well = matches!(known.seen.verdict, Verdict::Up | Verdict::Unproven);
                let well = !checked || (well && !known.seen.closed_by_page);
                let well = well && known.agent.is_down() == Some(false);
                let well = well && known.agent.word(now) == Word::Open;
                let kept_back = matches!(
                    server.standing.reason,
                    Reason::Verifying | Reason::Unverified | Reason::Sick
                );
                known.in_force == Want::Ready && well && room && !kept_back
            })
        };
        let mut known = pool.servers.iter().filter_map(|server| {
            let number = ServerNumber::in_pool(name.pool(), &server.name);
            self.servers.get(number)
        });
        let is_unknown = |known: &super::Server| {
            known.busy.above(now).is_none() || known.agent.word(now) == Word::Unknown
        };
        if known.any(is_unknown) {
            return;
        }
        let is_own = |server: &&ServerView| *server.name == *name.server();
        let own = pool.servers.iter().find(is_own);
        let others = || pool.servers.iter().filter(|server| !is_own(server));
        let minimum = pool.config.minimum as usize;
        // In the NBD pool new sessions are of a resource, and only some copies serve.
        let left = new_sessions(pool).into_iter().find_map(|resource| {
            let serves =
                |server: &ServerView| resource.is_none_or(|resource| resource.serves(server.key));
            let takes = |server: &&ServerView| admits(server) && serves(server);
            let left = others().filter(takes).count();
            (own.is_some_and(|own| takes(&own)) && left < minimum).then_some(left)
        });
        if let Some(left) = left {
            let text = format!(
                "request {} takes {name} out without force and leaves {left} of at least {minimum}",
                id.0
            );
            self.fail(GUARDED, text);
        }
    }

    /// The driver is about to hear from the store; `may_be_there` tells whether the disk has
    /// any of the write.
    pub fn stored(&mut self, ticket: u64, well: bool, may_be_there: bool, at: i64) {
        let Some(mut ticket) = self.tickets.remove(&ticket) else {
            return;
        };
        let is_stored = (well || !may_be_there).then_some(well);
        self.doors_stored(std::mem::take(&mut ticket.doors), is_stored);
        if well {
            for name in ticket.self_ends {
                if let Some(end) = &mut self.server(name).self_end {
                    end.saved = true;
                }
            }
            for name in ticket.pool_ends {
                if let Some((end, _)) = &mut self.pools[name].self_end {
                    end.saved = true;
                }
            }
        }
        let Some(id) = ticket.request else { return };
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.sent = may_be_there;
        request.stored = well;
        request.stored_at = at;
        let raises = matches!(request.asks, Asks::Forget | Asks::Intent(Want::Maintenance));
        let (server, asks) = (request.server, request.asks.clone());
        let (by_dns, pool) = (request.by_dns, request.pool);
        if well && let (Some(pool), Asks::Rebalance(_) | Asks::StopRebalance) = (pool, &asks) {
            self.rebalance_stored(pool, asks != Asks::StopRebalance);
        }
        if let (true, Asks::Live(false), Some(name)) = (well, &asks, server) {
            self.server(name).removed_by = Some(id);
        }
        if asks == Asks::Live(false) && !by_dns {
            self.named.removed(server);
        }
        if well && let (Some(name), Asks::Intent(_)) = (server, &asks) {
            let server = self.server(name);
            let before = std::mem::replace(&mut server.wanted_by_dns, by_dns);
            server.was_wanted_by_dns = before;
        }
        if well && let (true, Some(name)) = (raises, server) {
            self.server(name).raises += 1;
        }
        match asks {
            Asks::EndSession(session) if well => self.over(session, at, true, super::DOORS),
            Asks::Pool(asks) if well => self.pool_stored(&asks),
            Asks::Intent(Want::Ready) if well => {
                server
                    .into_iter()
                    .for_each(|name| self.overrules_agent(name));
            }
            _ => {}
        }
    }

    /// An operator is answered; `taken` is the oldest generation that a worker decides by.
    pub fn answered(
        &mut self,
        id: RequestId,
        result: &Result<Answer, Refusal>,
        taken: u64,
        at: i64,
    ) {
        let id = match id {
            RequestId::NOBODY => match self.node_answered(result) {
                Some(id) => id,
                None => return,
            },
            _ => id,
        };
        let request = self
            .requests
            .get_mut(&id)
            .filter(|request| !request.answered);
        let Some(request) = request else {
            return self.fail(ORDER, format!("request {} is answered twice", id.0));
        };
        request.answered = true;
        if let Asks::Door(door, opens) = request.asks {
            let done = match result {
                Ok(_) => true,
                Err(refusal) => refusal.kind == RefusalKind::Unacknowledged,
            };
            self.door_answered(door, opens, done, at);
        }
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let is_late = result
            .as_ref()
            .is_err_and(|refusal| refusal.kind == RefusalKind::Invalid);
        if let (Some(name), true) = (request.server, is_late && request.stored) {
            self.wanted_in_vain(name);
        }
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        match result {
            Ok(answer) => {
                let stored = request.stored;
                if !stored || taken < answer.generation {
                    let text = format!(
                        "request {} is answered; stored: {stored}, generation {}, but a worker \
                         is at {taken}",
                        id.0, answer.generation
                    );
                    self.fail(ORDER, text);
                }
                self.done(id, at, true);
            }
            Err(refusal) if refusal.kind == RefusalKind::Unacknowledged => {
                self.done(id, at, false);
            }
            // What a failing disk has taken all the same may show after a restart.
            Err(refusal) if refusal.kind == RefusalKind::Store && request.sent => {}
            Err(_) => drop(self.requests.remove(&id)),
        }
    }

    /// Nobody is answered what the node has asked for itself; which that is, if it was decided on.
    fn node_answered(&mut self, result: &Result<Answer, Refusal>) -> Option<RequestId> {
        let was_stored = match result {
            Ok(_) => true,
            Err(refusal) => match refusal.kind {
                RefusalKind::Unacknowledged => true,
                RefusalKind::Store => false,
                RefusalKind::Invalid if refusal.text.contains("too late") => true,
                // It was refused before it was decided on.
                _ => return None,
            },
        };
        // What came too late is refused as soon as it is stored, while what was stored before may still wait
        // for a worker, and what comes after may be stored already when the refusal is heard.
        let too_late = |request: &Request| {
            let refused = result.as_ref().err();
            let refused = refused.filter(|refusal| refusal.kind == RefusalKind::Invalid);
            let of = request
                .server
                .map(|server| format!(" {server} came too late"));
            refused.is_none_or(|refusal| of.is_some_and(|of| refusal.text.contains(&of)))
        };
        let waiting = &self.named.waiting;
        let place = waiting.iter().position(|id| {
            let request = self.requests.get(id);
            request.is_some_and(|request| request.stored == was_stored && too_late(request))
        });
        self.named.waiting.remove(place?)
    }

    /// What was asked for is so from now on; `in_force`: on every worker too.
    fn done(&mut self, id: RequestId, at: i64, in_force: bool) {
        let Some(done) = self.requests.remove(&id) else {
            return;
        };
        let covered = |other: &Request| {
            let same = (other.server, other.pool) == (done.server, done.pool);
            other.answered && same && other.asks.same_kind(&done.asks)
        };
        self.requests
            .retain(|earlier, request| *earlier > id || !covered(request));
        if let (Some(pool), Asks::Pool(asks)) = (done.pool, &done.asks) {
            let (of, times) = ((id, pool), (done.stored_at, at));
            return self.pool_done(of, asks.clone(), times, in_force);
        }
        let Some(name) = done.server else { return };
        if self
            .server(name)
            .removed_by
            .is_some_and(|removed| removed > id)
        {
            // Its answer has waited for a worker, and it was of another server of this name.
            return;
        }
        let enters_maintenance = done.asks == Asks::Intent(Want::Maintenance);
        let ends = enters_maintenance || done.asks == Asks::Forget;
        let server = self.server(name);
        match done.asks {
            Asks::Intent(want) => {
                if want != Want::Ready
                    && in_force
                    && server.last_ready.is_none_or(|(ready, _)| id > ready)
                {
                    server.closed = Some(id);
                }
                server.want = want;
                if server
                    .self_end
                    .as_ref()
                    .is_some_and(|end| id.0 > end.sent_up_to)
                {
                    server.self_end = None;
                }
            }
            Asks::Live(live) => server.live = live,
            Asks::Set(weight, max) => server.set = Some((weight, max)),
            Asks::Peak(peak) => self.peak_done(id, name, peak, in_force),
            Asks::Forget | Asks::EndSession(_) | Asks::Rotate(_) => {}
            Asks::Rebalance(_) | Asks::StopRebalance => {}
            Asks::Pool(_) | Asks::Door(..) | Asks::Other => {}
        }
        if in_force && enters_maintenance {
            self.closes_for_maintenance(name, Some(id));
        }
        if ends {
            self.all_over(name, done.stored_at, at, super::DOORS);
        }
    }

    /// A drain has ended by itself.
    pub fn drained(&mut self, name: ServerNumber, now: Now, at: i64) {
        let present = self.server(name).present;
        let in_force = self.server(name).in_force.clone();
        let sent_up_to = self.last_sent;
        if in_force == Want::Maintenance && self.server(name).self_end.is_some() {
            // It had ended when the node started; now that is said.
            return self.all_over(name, at, at, super::DEADLINE);
        }
        let deadline = in_force.deadline(self.boot, self.started);
        let by_deadline = deadline.is_some_and(|deadline| now.moment >= deadline);
        match deadline {
            Some(deadline) if !by_deadline => {
                self.none_live(name, "the drain", deadline, now, at);
            }
            Some(_) => self.all_over(name, at, at + 1000, super::DEADLINE),
            // Nobody has looked at a server that is not there, or can be on it.
            None if !present => {}
            None => {
                let text = format!("{name} was {}, and its drain has ended", in_force.label());
                self.fail(DURABLE, text);
            }
        }
        self.closes_for_maintenance(name, Some(RequestId(sent_up_to)));
        let server = self.server(name);
        server.deadline_at = by_deadline.then_some(at);
        server.in_force = Want::Maintenance;
        server.raises += 1;
        server.self_end = Some(SelfEnd {
            sent_up_to,
            saved: false,
            unsure: false,
            at_start: false,
        });
    }

    /// After a restart everything shows itself, except of servers that are not there: what may be
    /// stored of those is remembered until they are.
    pub(super) fn settle_requests(&mut self) {
        let (servers, pools, look) = (&self.servers, &self.pools, self.look);
        let is_there = |server| servers.get(server).is_some_and(|known| known.look == look);
        self.requests.retain(|_, request| {
            let absent = request.server.is_some_and(|server| !is_there(server))
                || request.pool.is_some_and(|pool| pools[pool].look != look);
            request.stored = request.sent;
            request.answered = true;
            request.sent && absent
        });
    }

    /// The end of a run: whoever asked this node has been answered.
    pub fn finish(&mut self) {
        self.doors_finish();
        let look = self.look;
        let unsaved = self.servers.iter().find(|(name, server)| {
            // What is wanted of a server that was removed is not stored.
            let was_removed = name.is_live() && server.removed_look == look;
            let end = server.self_end.as_ref().filter(|_| !was_removed);
            end.is_some_and(|end| !end.saved && !end.unsure && !end.at_start)
        });
        if let Some((name, _)) = unsaved {
            let text = format!("the end of the drain of {name} was never stored");
            self.fail(DURABLE, text);
        }
        let mut pools = POOLS.iter().zip(&self.pools);
        let unsaved = pools.find(|(_, pool)| {
            let end = pool.self_end.as_ref();
            end.is_some_and(|(end, _)| !end.saved && !end.unsure && !end.at_start)
        });
        if let Some((name, _)) = unsaved {
            let text = format!("the end of the countdown of pool {name} was never stored");
            self.fail(DURABLE, text);
        }
        let life = self.life;
        let silent = self
            .requests
            .iter()
            .find(|(_, request)| request.life == life && !request.answered);
        if let Some((id, request)) = silent {
            let text = format!("request {} was never answered: {:?}", id.0, request.asks);
            self.fail(ORDER, text);
        }
    }
}

/// What new sessions of a pool are of: of one of its resources, where any server may have the right copy.
fn new_sessions(pool: &PoolView) -> Vec<Option<&ResourceView>> {
    let resources = pool.replicas.resources.iter();
    let compared: Vec<_> = resources
        .filter(|resource| resource.rule.is_compared())
        .map(Some)
        .collect();
    match compared.is_empty() {
        true => vec![None],
        false => compared,
    }
}
