//! The users' sessions, as the judge knows them: who is where, since when, and until when.

use super::intents::Want;
use super::{DEADLINE, DOORS, Judge, STAYS};
use crate::sim::number::ServerNumber;
use crate::sim::plan::REUSE;
use crate::sim::worker::Token;
use ebbtide_core::{Millis, Now, Session, SessionId};

/// A session.
#[derive(Debug)]
pub(super) struct Stay {
    server: ServerNumber,
    epoch: u32,
    began: i64,
    last: i64,
    /// The last time that it was given a token, or its token was good.
    last_request: i64,
    open: u32,
    /// The life of the node that knows it.
    life: u32,
    over: Option<Over>,
    /// The store was asked to end it, or its server was not there for a while.
    pub may_be_over: bool,
}

/// A session is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    at: i64,
    life: u32,
    /// Over for every life of the node; otherwise only for the one that saw it end.
    durable: bool,
    promise: &'static str,
}

impl Over {
    /// By the deadline of its server.
    pub(super) fn of_deadline(at: i64, life: u32) -> Self {
        Self {
            at,
            life,
            durable: true,
            promise: DEADLINE,
        }
    }
}

/// What else is known of a request.
pub(in crate::sim) struct Asked {
    /// The token was given by the node, for this pool.
    pub genuine: bool,
    /// The node does not know the session, and the token is too old by the wall clock.
    pub lost_by_age: bool,
    /// The token's secret was rotated out.
    pub lost_by_secret: bool,
    /// The worker does not know yet of the epoch in which the session began.
    pub behind: bool,
    /// The session whose server could not be connected to.
    pub refused: Option<SessionId>,
}

impl Stay {
    /// For how long nobody was there; `None`: somebody is.
    pub(super) fn quiet(&self, at: i64) -> Option<u64> {
        (self.open == 0).then(|| (at - self.last).unsigned_abs())
    }

    fn is_live(&self, at: i64) -> bool {
        let quiet = (at - self.last).unsigned_abs();
        self.over.is_none() && (self.open > 0 || quiet <= REUSE.0)
    }
}

impl Judge {
    /// A worker has begun a session.
    pub fn begun(
        &mut self,
        session: &Session,
        name: ServerNumber,
        moved: Option<SessionId>,
        generation: u64,
        at: i64,
    ) {
        let life = self.life;
        self.begun_in_pool(name, generation, at);
        self.begun_beside_agent(name, generation);
        let over = self.comes_to(name);
        // A worker may not have heard yet that the server was taken away.
        let gone = !self.server(name).present;
        if let Some(moved) = moved {
            self.over(moved, at, false, DOORS);
        }
        let stay = Stay {
            server: name,
            epoch: session.epoch,
            began: at,
            last: at,
            last_request: at,
            open: 0,
            life,
            over,
            may_be_over: gone,
        };
        self.sessions.insert(session.id, stay);
    }

    /// A request was placed (`went`), or refused.
    pub fn requested(
        &mut self,
        token: Option<&Token>,
        asked: &Asked,
        went: Option<(SessionId, ServerNumber)>,
        now: Now,
        at: i64,
    ) {
        if let Some((_, name)) = went {
            self.served(name, now, at);
        }
        let Some(token) = token else { return };
        match went {
            Some((id, name)) if id == token.session => self.honoured(token, asked, name, at),
            _ if asked.genuine => self.not_honoured(token, asked, at),
            _ => {}
        }
    }

    /// A server serves a request: it is not past the deadline of its drain.
    fn served(&mut self, name: ServerNumber, now: Now, at: i64) {
        self.served_in_pool(name, now, at);
        let (boot, started) = (self.boot, self.started);
        // What a reload took away is ended by its deadline too, if its pool is there.
        let has_pool = self.has_pool(name);
        let in_force = &self.server(name).in_force;
        let deadline = in_force.deadline(boot, started).filter(|_| has_pool);
        if deadline.is_some_and(|deadline| now.moment.since(deadline) > Millis(1000)) {
            let text = format!("{name} serves a request although its deadline has passed");
            self.fail(DEADLINE, text);
        }
    }

    fn honoured(&mut self, token: &Token, asked: &Asked, name: ServerNumber, at: i64) {
        let life = self.life;
        let Some(stay) = self.sessions.get_mut(&token.session) else {
            let text = format!("nobody began session {}, which is served", token.session);
            return self.fail(DOORS, text);
        };
        let stepped_back = self.wall_stepped_back;
        let wrong = if !asked.genuine {
            Some((DOORS, "by a token that is not good for it"))
        } else if stay.server != name {
            Some((STAYS, "on another server"))
        } else if stay.over.is_some_and(|over| {
            let counts = over.durable || over.life == life;
            // An old token looks young again by a wall clock that went back.
            counts && at > over.at && stepped_back.is_none_or(|stepped| stepped < stay.began)
        }) {
            let promise = stay.over.map_or(DOORS, |over| over.promise);
            Some((promise, "although it is over"))
        } else if !stay.is_live(at)
            && stay.over.is_none()
            && stay.life == life
            && stepped_back.is_none_or(|stepped| stepped < stay.began)
        {
            Some((DOORS, "although it was quiet for too long"))
        } else {
            None
        };
        (stay.last, stay.last_request, stay.life) = (at, at, life);
        if let Some((promise, how)) = wrong {
            let text = format!("session {} is served on {name} {how}", token.session);
            self.fail(promise, text);
        }
    }

    /// A request with a token of its own did not reach its session: there is a reason.
    fn not_honoured(&mut self, token: &Token, asked: &Asked, at: i64) {
        let Some(stay) = self.sessions.get(&token.session) else {
            return;
        };
        let excused = !stay.is_live(at)
            || stay.may_be_over
            || asked.lost_by_age
            || asked.lost_by_secret
            || asked.behind
            || asked.refused == Some(token.session);
        let server = self.servers.get(stay.server);
        let excused = excused
            || server.is_none_or(|server| server.is_unserving(at) || server.epoch != stay.epoch);
        if !excused {
            let text = format!(
                "the live session {} on {} was not served there",
                token.session, stay.server
            );
            self.fail(STAYS, text);
        }
    }

    pub fn opened(&mut self, id: SessionId, at: i64) {
        if let Some(stay) = self.sessions.get_mut(&id) {
            stay.open += 1;
            (stay.last, stay.last_request) = (at, at);
        }
    }

    pub fn closed(&mut self, id: SessionId, at: i64) {
        if let Some(stay) = self.sessions.get_mut(&id) {
            stay.open = stay.open.saturating_sub(1);
            stay.last = at;
        }
    }

    pub fn logged_out(&mut self, id: SessionId, at: i64) {
        self.over(id, at, false, DOORS);
    }

    /// A request or a tunnel is open: neither a deadline nor maintenance has ended it.
    pub fn still_served(&mut self, id: SessionId, name: ServerNumber, now: Now, at: i64) {
        let over = self.sessions.get(&id).and_then(|stay| stay.over);
        self.goes_on(id, over, name, now, at);
    }

    /// Something of a session is open on a server.
    pub(super) fn goes_on(
        &mut self,
        id: SessionId,
        over: Option<Over>,
        name: ServerNumber,
        now: Now,
        at: i64,
    ) {
        self.served(name, now, at);
        let server = self.server(name);
        let returned = server.returned_at;
        // The end of a request on a server that is there again takes a moment.
        let returned = returned.is_some_and(|returned| at - returned <= 1000);
        let by_deadline = over.is_some_and(|over| over.promise == DEADLINE && at > over.at);
        if self.has_pool(name) && !returned && by_deadline {
            let text = format!("session {id} on {name} goes on past the deadline");
            self.fail(DEADLINE, text);
        }
        let has_pool = self.has_pool(name);
        let server = self.server(name);
        // What is left of a session that is over may end by itself on a server that has left its pool.
        let is_here = server.present || over.is_none();
        let wanted = has_pool && is_here && server.in_force == Want::Maintenance;
        let since = server.entered_maintenance.max(server.returned_at);
        if wanted && since.is_some_and(|since| at - since > 1000) {
            let text = format!("session {id} goes on although {name} is in maintenance");
            self.fail(DEADLINE, text);
        }
    }

    pub(super) fn over(&mut self, id: SessionId, at: i64, durable: bool, promise: &'static str) {
        let life = self.life;
        self.connection_over(id);
        if let Some(stay) = self.sessions.get_mut(&id) {
            stay.over.get_or_insert(Over {
                at,
                life,
                durable,
                promise,
            });
        }
    }

    /// Every session that began on the server before `before` is over from `at` on.
    pub(super) fn all_over(
        &mut self,
        name: ServerNumber,
        before: i64,
        at: i64,
        promise: &'static str,
    ) {
        let life = self.life;
        let over = Over {
            at,
            life,
            durable: true,
            promise,
        };
        for stay in self.sessions.values_mut() {
            if stay.server == name && stay.began < before {
                // What ended only for one life of the node is over for all of them now.
                stay.over = Some(over);
            }
        }
        self.connections_over(name, before, over);
    }

    /// The server is not there any more.
    pub(super) fn removed(&mut self, name: ServerNumber) {
        for stay in self.sessions.values_mut() {
            stay.may_be_over |= stay.server == name;
        }
    }

    /// A drain that had ended has come back with its sessions.
    pub(super) fn revive(&mut self, name: ServerNumber) {
        for stay in self.sessions.values_mut() {
            let by_deadline = stay.over.is_some_and(|over| over.promise == DEADLINE);
            if stay.server == name && by_deadline {
                stay.over = None;
            }
        }
    }

    /// A drain has ended before its deadline: nobody may have been left.
    pub(super) fn none_live(
        &mut self,
        name: ServerNumber,
        what: &str,
        deadline: ebbtide_core::Moment,
        now: Now,
        at: i64,
    ) {
        let (life, stepped) = (self.life, self.wall_stepped);
        let Some(server) = self.servers.get(name) else {
            return;
        };
        let epoch = server.epoch;
        let left = self.sessions.iter().find(|(_, stay)| {
            let unknown = stay.life != life && stepped.is_some_and(|stepped| stepped >= stay.last);
            let excused = unknown || stay.may_be_over || stay.epoch != epoch;
            stay.server == name && stay.is_live(at) && !excused
        });
        let left = left.map(|(id, _)| *id);
        if let Some(id) = left.or_else(|| self.live_connection(name, epoch)) {
            let early = deadline.since(now.moment);
            let text = format!("{what} of {name} ended {early} early; session {id} is live");
            self.fail(DEADLINE, text);
        }
    }

    /// The node is gone, and every connection with it. What it knew of a session's last activity is
    /// gone as well: the tokens are what is left.
    pub(super) fn sessions_killed(&mut self) {
        for stay in self.sessions.values_mut() {
            stay.open = 0;
            stay.last = stay.last_request;
        }
    }
}
