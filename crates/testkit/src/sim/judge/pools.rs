//! What the node shows of its pools, held against what operators asked for.

use super::commands::{Asks, PoolAsks};
use super::intents::{Countdown, SelfEnd};
use super::rebalance::Rebalance;
use super::{CLOSED, DEADLINE, DOORS, DURABLE, Judge, TRUTH};
use crate::sim::number::ServerNumber;
use crate::sim::plan::{POOLS, has_connections, pool_name};
use ebbtide_core::{
    BlockNew, Close, Closure, Millis, Moment, Now, PoolStatus, PoolView, RequestId,
    StoredPoolIntent,
};

/// What is wanted of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum PoolWant {
    #[default]
    Open,
    Closing(Countdown, BlockNew, Closure),
    Closed(Closure),
}

/// What is known of a pool, whether it is there at present or not.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// What an operator was last told is wanted of it.
    want: PoolWant,
    /// As the node showed it last.
    pub in_force: PoolWant,
    /// The driver has closed it, because a countdown was over; with what is told of it then.
    pub self_end: Option<(SelfEnd, Closure)>,
    /// A rebalance that was decided on, and the one that is under way.
    pub planned: Option<Rebalance>,
    pub rebalance: Option<Rebalance>,
    /// The request by which it is closed, so that no session may begin.
    closed: Option<RequestId>,
    /// The newest request that lets sessions begin.
    last_opening: Option<RequestId>,
    /// Its countdown was taken to be over because nobody was left.
    ended_early: bool,
    /// A worker that has taken this generation begins no session.
    blocked_in: Option<u64>,
    closed_at: Option<i64>,
    /// The last time that it was closed or not there.
    pub unserving_at: Option<i64>,
    present: bool,
    /// The last look at which it was shown.
    pub look: u64,
    /// When it was last away.
    absent_at: Option<i64>,
    /// Its sessions were ended while nobody could see it.
    pub entered: bool,
    /// The end of its countdown had not been stored before this look.
    pub unsaved: bool,
}

impl PoolWant {
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing(..) => "closing",
            Self::Closed(_) => "closed",
        }
    }

    pub fn blocks_new(&self) -> bool {
        match self {
            Self::Open => false,
            Self::Closing(_, block_new, _) => *block_new == BlockNew::Now,
            Self::Closed(_) => true,
        }
    }

    fn closure(&self) -> Option<&Closure> {
        match self {
            Self::Open => None,
            Self::Closing(_, _, closure) | Self::Closed(closure) => Some(closure),
        }
    }

    pub fn countdown(&self) -> Option<&Countdown> {
        match self {
            Self::Closing(countdown, ..) => Some(countdown),
            _ => None,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Whether the store is given just this.
    fn is(&self, stored: &StoredPoolIntent) -> bool {
        match (self, stored) {
            (Self::Open, StoredPoolIntent::Open) => true,
            (Self::Closed(closure), StoredPoolIntent::Closed(stored)) => closure == stored,
            (
                Self::Closing(countdown, block, closure),
                StoredPoolIntent::Closing {
                    boot,
                    moment,
                    wall,
                    within,
                    block_new,
                    closure: told,
                },
            ) => {
                *boot == format!("boot-{}", countdown.boot)
                    && (moment, wall) == (&countdown.moment, &countdown.wall)
                    && (within, block_new, told) == (&countdown.within, block, closure)
            }
            _ => false,
        }
    }
}

impl Judge {
    /// Those that are known.
    fn servers_in(&self, pool: usize) -> Vec<ServerNumber> {
        let all = ServerNumber::all_in(pool);
        all.filter(|server| self.servers.get(*server).is_some())
            .collect()
    }

    /// A new life of the node begins.
    pub(super) fn pools_start(&mut self) {
        for pool in &mut self.pools {
            pool.present = false;
            pool.blocked_in = None;
        }
    }

    /// An operator asks for something that may let sessions begin.
    pub(super) fn pool_asked(&mut self, id: RequestId, number: usize, close: Option<&Close>) {
        let pool = &mut self.pools[number];
        let opens = close.is_none_or(|close| {
            close.block_new == Some(BlockNew::AtDeadline) && close.within != Some(Millis(0))
        });
        if opens {
            pool.last_opening = Some(id);
            pool.closed = None;
        }
    }

    /// What comes of a command, were it made true now; `None`: it makes no sense.
    fn wanted(&self, before: &PoolWant, close: Option<&Close>, now: Now) -> Option<PoolWant> {
        let Some(close) = close else {
            return Some(PoolWant::Open);
        };
        let told = before.closure().cloned().unwrap_or_default();
        let closure = |from| Closure {
            message: close.message.clone().or(told.message.clone()),
            expected_end: match close.lasting {
                Some(lasting) => Some(now.wall_at(Moment::plus(from, lasting))),
                None => told.expected_end,
            },
            until_upgraded: close.until_upgraded.unwrap_or(told.until_upgraded),
        };
        if before.is_closed() {
            let changed = PoolWant::Closed(closure(now.moment));
            return close.within.is_none().then_some(changed);
        }
        let known = match before {
            PoolWant::Closing(countdown, block, _) => {
                let moment = countdown.on(self.boot, self.started);
                Some((moment, countdown.within, *block))
            }
            _ => None,
        };
        let (moment, within) = match (close.within, known) {
            (Some(within), _) => (now.moment.plus(within), within),
            (None, Some((moment, within, _))) => (moment, within),
            (None, None) => return None,
        };
        if within == Millis(0) {
            return Some(PoolWant::Closed(closure(now.moment)));
        }
        let countdown = Countdown {
            boot: self.boot,
            moment,
            wall: now.wall_at(moment),
            within,
        };
        let block = close.block_new.or(known.map(|(_, _, block)| block));
        let block = block.unwrap_or(BlockNew::Now);
        Some(PoolWant::Closing(countdown, block, closure(moment)))
    }

    /// The driver has decided on a command and wants this stored.
    pub(super) fn pool_sent(
        &mut self,
        id: RequestId,
        number: usize,
        stored: &StoredPoolIntent,
        now: Now,
    ) {
        let name = pool_name(number);
        let before = self.pools[number].in_force.clone();
        let Some(Asks::Pool(asks)) = self.requests.get(&id).map(|request| &request.asks) else {
            return self.fail(
                DURABLE,
                format!("request {} is stored of pool {name}", id.0),
            );
        };
        let wanted = self.wanted(&before, asks.close.as_ref(), now);
        let Some(want) = wanted.filter(|want| want.is(stored)) else {
            let text = format!(
                "request {} of pool {name}, {before:?}, is stored as {stored:?}: {:?}",
                id.0, asks.close
            );
            return self.fail(DURABLE, text);
        };
        let ends = want.is_closed() && !before.is_closed();
        let servers = self.servers.iter();
        let epochs = servers
            .filter(|(server, known)| ends && server.pool() == number && known.address.is_some())
            .map(|(server, known)| (server, known.epoch + 1))
            .collect();
        if let Some(request) = self.requests.get_mut(&id)
            && let Asks::Pool(asks) = &mut request.asks
        {
            (asks.want, asks.epochs) = (want, epochs);
        }
    }

    /// The store has taken a command of a pool: the epochs of its servers may rise.
    pub(super) fn pool_stored(&mut self, asks: &PoolAsks) {
        for (server, _) in &asks.epochs {
            self.server(*server).raises += 1;
        }
    }

    /// What was asked for of a pool is so from now on; `in_force`: on every worker too.
    pub(super) fn pool_done(
        &mut self,
        (id, number): (RequestId, usize),
        asks: PoolAsks,
        (stored_at, at): (i64, i64),
        in_force: bool,
    ) {
        let pool = &mut self.pools[number];
        let newest = pool.last_opening.is_none_or(|opening| id > opening);
        if asks.want.blocks_new() && in_force && newest {
            pool.closed = Some(id);
        }
        pool.want = asks.want;
        if let Some((end, _)) = &pool.self_end
            && id.0 > end.sent_up_to
        {
            pool.self_end = None;
        }
        for (server, least) in asks.epochs {
            if self.server(server).unheard_of {
                continue;
            }
            self.all_over(server, stored_at, at, DOORS);
            let known = self.server(server);
            known.epoch_least = known.epoch_least.max(least);
        }
    }

    /// A countdown is over.
    pub fn pool_closed(&mut self, number: usize, now: Now, at: i64) {
        let name = pool_name(number);
        let (boot, started, sent_up_to) = (self.boot, self.started, self.last_sent);
        let servers = self.servers_in(number);
        let pool = &mut self.pools[number];
        let (present, in_force) = (pool.present, pool.in_force.clone());
        if in_force.is_closed() && pool.self_end.is_some() {
            // It had ended when the node started; now that is said.
            return self.pool_over(&servers, at, at);
        }
        let mut unsure = false;
        match &in_force {
            PoolWant::Closing(countdown, block, _) => {
                let deadline = countdown.on(boot, started);
                if present && now.moment < deadline {
                    pool.ended_early = true;
                    if *block == BlockNew::AtDeadline {
                        let text = format!("pool {name} closed early, and new users could come");
                        self.fail(DEADLINE, text);
                    }
                    for server in servers.iter().copied() {
                        self.none_live(server, "the countdown", deadline, now, at);
                    }
                } else {
                    // What an unanswered request has stored of a pool that is not there shows later.
                    unsure = !present;
                    self.pool_over(&servers, at, at + 1000);
                }
            }
            // Nobody has looked at a pool that is not there.
            _ if !present => unsure = true,
            _ => {
                let text = format!("pool {name} was {}, and is closed", in_force.label());
                self.fail(DURABLE, text);
            }
        }
        for server in servers {
            let known = self.server(server);
            known.raises += 1;
            if present && known.address.is_some() && !known.unheard_of {
                known.epoch_least = known.epoch_least.max(known.epoch + 1);
            }
        }
        let closure = in_force.closure().cloned().unwrap_or_default();
        let end = SelfEnd {
            sent_up_to,
            saved: false,
            unsure,
            at_start: false,
        };
        let pool = &mut self.pools[number];
        pool.in_force = PoolWant::Closed(closure.clone());
        (pool.closed_at, pool.unserving_at) = (Some(at), Some(at));
        pool.self_end = Some((end, closure));
    }

    fn pool_over(&mut self, servers: &[ServerNumber], before: i64, at: i64) {
        for server in servers.iter().copied() {
            if !self.server(server).unheard_of {
                self.all_over(server, before, at, DEADLINE);
            }
        }
    }

    /// Looks at what the node shows of a pool.
    pub(super) fn judge_pool(
        &mut self,
        number: usize,
        shown: &PoolStatus,
        view: &PoolView,
        now: Now,
        (generation, at): (u64, i64),
    ) {
        let name = pool_name(number);
        self.pools[number].present = true;
        let allowed = self.allowed_of_pool(number);
        let deadline = shown.intent.deadline.map(|wall| now.moment_at(wall));
        let shows = |want: &&PoolWant| {
            let countdown = want.countdown();
            want.label() == shown.intent.label
                && countdown.map(|countdown| countdown.on(self.boot, self.started)) == deadline
                && want.blocks_new() == shown.intent.blocks_new
                && is_closure(shown.intent.closure.as_ref(), want.closure())
        };
        // Of those that look alike the newest: it may have been stored with another wall clock. One that
        // waits in vain looks like one that does not wait, if there is such a one.
        let is_same = |want: &&PoolWant| want.closure() == shown.intent.closure.as_ref();
        let mut alike = allowed.iter().rev().filter(shows);
        let same = alike.clone().find(is_same);
        let Some(found) = same.or_else(|| alike.next()).cloned() else {
            let text = format!(
                "pool {name} shows {:?} at {now:?}; it may show {allowed:?}",
                shown.intent
            );
            return self.fail(DURABLE, text);
        };
        let left = deadline.map(|deadline| deadline.since(now.moment));
        let users = (view.intent.deadline(), view.intent.closure());
        if shown.intent.left != left || users != (deadline, found.closure()) {
            let text = format!(
                "pool {name} ends at {deadline:?}, shows {:?} left, workers see {:?}",
                shown.intent.left, view.intent
            );
            self.fail(TRUTH, text);
        }
        let wrong = view.servers.iter().find(|server| {
            let standing = server.standing;
            (found.blocks_new() && standing.admits_new)
                || (found.is_closed() && standing.serves_own)
        });
        if let Some(server) = wrong {
            let text = format!(
                "pool {name} is {}, and {} is {:?}",
                found.label(),
                server.name,
                server.standing
            );
            self.fail(CLOSED, text);
        }
        let passed = allowed.into_iter().find(|want| self.is_over(number, want));
        self.pool_found(number, found, passed, generation, at);
    }

    /// `found` is what is wanted of the pool; `passed` is a countdown that it may come from.
    fn pool_found(
        &mut self,
        number: usize,
        found: PoolWant,
        passed: Option<PoolWant>,
        generation: u64,
        at: i64,
    ) {
        let (restarted, sent_up_to) = (self.restarted, self.last_sent);
        let mut requests = self.requests.values();
        let refused = restarted
            && requests.any(|request| {
                let of_pool = request.pool == Some(number);
                of_pool && request.answered && !request.stored
            });
        let last_end = self.pools[number].self_end.as_ref();
        let last_end = last_end.map_or(0, |(end, _)| end.sent_up_to);
        // Since its countdown was over last, it has been asked for another, and that is stored.
        let renewed = restarted
            && self.requests.iter().any(|(id, request)| {
                let of_pool = request.pool == Some(number);
                of_pool && request.stored && id.0 > last_end
            });
        let pool = &mut self.pools[number];
        match found.blocks_new() {
            true => drop(pool.blocked_in.get_or_insert(generation)),
            false => pool.blocked_in = None,
        }
        if found.is_closed() || pool.in_force.is_closed() {
            pool.unserving_at = Some(at);
        }
        match found.is_closed() {
            true => drop(pool.closed_at.get_or_insert(at)),
            false => (pool.closed_at, pool.ended_early) = (None, false),
        }
        let end = pool.self_end.as_ref().map(|(end, _)| end);
        let saved = end.is_some_and(|end| end.saved);
        let unsure = end.is_some_and(|end| end.unsure);
        pool.unsaved = end.is_some_and(|end| !end.saved);
        pool.entered = !refused
            && restarted
            && end.is_none()
            && found.is_closed()
            && !pool.in_force.is_closed();
        let passed = passed.filter(|_| restarted && (!saved || renewed));
        let mut revived = false;
        if let (Some(countdown), PoolWant::Closed(closure)) = (passed, &found) {
            pool.want = countdown;
            let end = SelfEnd {
                sent_up_to,
                saved: false,
                unsure: false,
                at_start: true,
            };
            pool.self_end = Some((end, closure.clone()));
        } else if restarted || unsure {
            pool.self_end = None;
            pool.want = found.clone();
            revived = restarted && !found.is_closed();
        }
        pool.in_force = found;
        if revived {
            for server in self.servers_in(number) {
                self.server(server).epoch_least = 0;
                self.revive(server);
            }
        }
    }

    /// What may be wanted of the pool now.
    fn allowed_of_pool(&self, number: usize) -> Vec<PoolWant> {
        let pool = &self.pools[number];
        let end = pool.self_end.as_ref().map(|(end, _)| end);
        let unsure = self.restarted || end.is_some_and(|end| end.unsure);
        let certain = end.is_some_and(|end| !end.unsure && (end.saved || !self.restarted));
        let mut allowed = Vec::new();
        if !certain {
            allowed.push(pool.want.clone());
        }
        for (id, request) in &self.requests {
            let known = match unsure {
                true => request.sent,
                false => request.stored,
            };
            let overtaken = certain && end.is_some_and(|end| id.0 <= end.sent_up_to);
            if let Asks::Pool(asks) = &request.asks
                && request.pool == Some(number)
                && known
                && !overtaken
            {
                allowed.push(asks.want.clone());
            }
        }
        let over =
            |want: &&PoolWant| end.is_some_and(|end| end.unsure) || self.is_over(number, want);
        let closures = allowed.iter().filter(over).filter_map(PoolWant::closure);
        let mut ended: Vec<PoolWant> = match unsure {
            true => closures.cloned().map(PoolWant::Closed).collect(),
            false => Vec::new(),
        };
        if let Some((_, closure)) = &pool.self_end {
            ended.push(PoolWant::Closed(closure.clone()));
        }
        allowed.append(&mut ended);
        allowed
    }

    /// Whether a countdown was over when the node started: its time, or its sessions.
    fn is_over(&self, number: usize, want: &PoolWant) -> bool {
        let has_passed =
            |countdown: &Countdown| countdown.on(self.boot, self.started) <= self.started.moment;
        let countdown = want.countdown();
        countdown.is_some_and(|countdown| has_connections(number) || has_passed(countdown))
    }

    /// Pools that are not in the configuration at present.
    pub(super) fn pools_absent(&mut self) {
        let (restarted, at, look) = (self.restarted, self.at, self.look);
        for pool in self.pools.iter_mut().filter(|pool| pool.look != look) {
            (pool.present, pool.unserving_at) = (false, Some(at));
            pool.absent_at = Some(at);
            if let Some((end, _)) = &mut pool.self_end {
                end.unsure |= restarted && !end.saved;
            }
        }
    }

    /// The server's pool is in the configuration, and was a moment ago: the end of what is open there
    /// takes a moment when it is back.
    pub(super) fn has_pool(&self, name: ServerNumber) -> bool {
        let at = self.at;
        let pool = &self.pools[name.pool()];
        pool.present && pool.absent_at.is_none_or(|absent| at - absent > 1000)
    }

    /// A worker that has taken `generation` begins a session.
    pub(super) fn begun_in_pool(&mut self, name: ServerNumber, generation: u64, at: i64) {
        let pool = &self.pools[name.pool()];
        let closed = pool.in_force.is_closed();
        let how = if let Some(id) = pool.closed {
            format!("although request {} has closed the pool", id.0)
        } else if pool.blocked_in.is_some_and(|blocked| generation >= blocked) {
            "by a worker that knew that the pool was closed".to_owned()
        } else if pool.ended_early && closed {
            "in a pool whose countdown was taken to be over".to_owned()
        } else if pool.present && pool.closed_at.is_some_and(|closed| at - closed > 1000) {
            "in a closed pool".to_owned()
        } else {
            return;
        };
        self.fail(CLOSED, format!("a session began on {name} {how}"));
    }

    /// A server serves something: its pool's countdown is not over for a second.
    pub(super) fn served_in_pool(&mut self, name: ServerNumber, now: Now, at: i64) {
        let (boot, started) = (self.boot, self.started);
        let returned = self.server(name).returned_at;
        let has_pool = self.has_pool(name);
        let pool = &self.pools[name.pool()];
        let past = pool.in_force.countdown();
        let past = past.map(|countdown| now.moment.since(countdown.on(boot, started)));
        // The end of what is open on a server that is there again takes a moment.
        let closed_at = pool
            .closed_at
            .map(|closed| closed.max(returned.unwrap_or(closed)));
        let late = past.is_some_and(|past| past > Millis(1000))
            || closed_at.is_some_and(|closed| at - closed > 1000);
        // What is on a server that a reload took away ends with the pool, too.
        if has_pool && late {
            let text = format!("{name} serves users although the time of its pool is over");
            self.fail(DEADLINE, text);
        }
    }

    /// Every countdown that is over has ended with this tick.
    pub(super) fn countdowns(&mut self, now: Now) {
        let mut pools = POOLS.iter().zip(&self.pools);
        let late = pools.find(|(_, pool)| {
            let countdown = pool.in_force.countdown();
            let deadline = countdown.map(|countdown| countdown.on(self.boot, self.started));
            pool.present && deadline.is_some_and(|deadline| now.moment >= deadline)
        });
        if let Some((name, _)) = late {
            let text = format!("the countdown of pool {name} is over, and it is not closed");
            self.fail(DEADLINE, text);
        }
    }
}

/// Whether a closure may be shown so: one that has waited for an upgrade in vain waits no longer.
fn is_closure(shown: Option<&Closure>, wanted: Option<&Closure>) -> bool {
    let (Some(shown), Some(wanted)) = (shown, wanted) else {
        return shown.is_none() && wanted.is_none();
    };
    let may_wait = Closure {
        until_upgraded: wanted.until_upgraded,
        ..shown.clone()
    };
    may_wait == *wanted && (wanted.until_upgraded || !shown.until_upgraded)
}
