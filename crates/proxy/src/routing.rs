//! From a request's token to its session and server. Nothing here waits: between reading the view
//! and beginning a session no other snapshot can come in, which is what "closed means closed" needs.

use crate::view::Routes;
use crate::worker::Worker;
use ebbtide_core::{
    Balance, EndReason, Found, Millis, Moment, Now, PoolSlot, ResourceView, ServerKey, ServerView,
    Session, SessionId, Snapshot, Source, choose,
};
use ebbtide_protocol::http1::{RequestHead, cookie, cookies};
use ebbtide_protocol::token::{Token, TokenError, TokenKeys};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

/// How long after a deadline the driver may take to say that it has passed, before a worker says so
/// itself: well within the second that a deadline may be outlived.
pub(crate) const DRIVER_LAG: Millis = Millis(500);

/// What the token of a connection's last request was found to mean, so that the next request with
/// the same one costs a comparison.
pub(crate) struct Remembered {
    text: Vec<u8>,
    generation: u64,
    bound: Bound,
}

/// A session and where it is.
#[derive(Clone)]
pub(crate) struct Bound {
    pub session: Arc<Session>,
    /// The server's place in the pool.
    pub index: usize,
    renewed_s: u64,
}

/// A request's session and server.
pub(crate) struct Placed {
    pub session: Arc<Session>,
    /// The server's place in the pool.
    pub index: usize,
    /// The session began with this very request.
    pub is_new: bool,
    /// The client needs a new token.
    pub renew: bool,
    /// The session had to leave another server.
    pub moved: bool,
}

/// Whose a request is.
pub(crate) enum Whose {
    /// A user's, with a session.
    User(Placed),
    /// It shows a door's cookie, whatever that is worth: it is no user's.
    DoorHolder,
}

/// Why there is no server for a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The pool admits nobody but operators, who come through doors.
    OperatorsOnly,
    /// The pool is closed, or is closing and takes no new sessions any more.
    Closed,
    /// Every server that would admit sessions has as many as it may, or says so itself.
    Full,
    /// No server admits sessions.
    Unavailable,
}

impl Refused {
    /// Counts it.
    pub fn count(self, slot: &PoolSlot) {
        match self {
            Self::OperatorsOnly => &slot.refused_operators_only,
            Self::Closed => &slot.refused_closed,
            Self::Full => &slot.refused_full,
            Self::Unavailable => &slot.refused_unavailable,
        }
        .add(1);
    }
}

/// A request, as far as it matters for where it goes.
pub(crate) struct Asking<'a> {
    pub worker: &'a Worker,
    pub routes: &'a Routes,
    pub keys: &'a TokenKeys,
    pub generation: u64,
    pub client: IpAddr,
    pub now: Now,
    /// It has waited in line until its turn.
    pub in_turn: bool,
    /// What it is about, where only some servers have the right copy of it.
    pub resource: Option<&'a ResourceView>,
}

impl Asking<'_> {
    /// The session and server of a request: its token's, or a new one.
    pub fn place(
        &self,
        buf: &[u8],
        head: &RequestHead,
        remembered: &mut Option<Remembered>,
    ) -> Result<Whose, Refused> {
        let Some(tokens) = self.tokens(buf, head) else {
            return Ok(Whose::DoorHolder);
        };
        let Some(bound) = self.find(tokens, remembered) else {
            let (session, index) = self.begin(&[], None)?;
            return Ok(Whose::User(Placed {
                session,
                index,
                is_new: true,
                renew: true,
                moved: false,
            }));
        };
        if self.serves_own(&self.routes.pool.servers[bound.index]) {
            return Ok(Whose::User(Placed {
                renew: self.is_stale(bound.renewed_s),
                session: bound.session,
                index: bound.index,
                is_new: false,
                moved: false,
            }));
        }
        self.move_away(&bound.session, &[]).map(Whose::User)
    }

    /// Whether a server serves the sessions it has. The driver ends a drain at its deadline; if the
    /// program has slept through that, workers that wake up first end it here.
    pub fn serves_own(&self, server: &ServerView) -> bool {
        let is_over = |deadline: Moment| deadline.plus(DRIVER_LAG) <= self.now.moment;
        server.standing.serves_own
            && self.is_reached(server)
            && !server.deadline().is_some_and(is_over)
    }

    /// Whether its users get to a server: where they are led to its own address, it needs one. One that
    /// was added while the pool still passed requests on may have none.
    fn is_reached(&self, server: &ServerView) -> bool {
        !self.routes.pool.config.http.redirect || server.public_url.is_some()
    }

    /// Whether the pool takes no new sessions. The driver closes it at its deadline; if the program
    /// has slept through that, workers that wake up first do not let anyone in any more.
    pub fn is_closed(&self) -> bool {
        let intent = &self.routes.pool.intent;
        let is_over = |deadline: Moment| deadline.plus(DRIVER_LAG) <= self.now.moment;
        intent.blocks_new() || intent.deadline().is_some_and(is_over)
    }

    /// The session and server of a new connection, which is a session of its own: the server that its
    /// source was last on, if that admits new sessions, or any other.
    pub fn place_connection(&self, source: Source) -> Result<Placed, Refused> {
        let pool = &self.routes.pool;
        let sources = self.worker.sessions.sources();
        let last = sources.server_of(pool, source);
        let bound = last.filter(|_| !self.is_closed()).and_then(|server| {
            let index = self.routes.index_of(server.key)?;
            Some((self.begin_on(server, None)?, index))
        });
        let (session, index) = match bound {
            Some(bound) => bound,
            None => self.begin(&[], None)?,
        };
        Ok(Placed {
            session,
            index,
            is_new: true,
            renew: false,
            moved: false,
        })
    }

    /// The session and server of a new connection that needs no particular server.
    pub fn place_anywhere(&self) -> Result<Placed, Refused> {
        let (session, index) = self.begin(&[], None)?;
        Ok(Placed {
            session,
            index,
            is_new: true,
            renew: false,
            moved: false,
        })
    }

    /// Begins another session elsewhere for one whose server cannot serve it, then ends that.
    pub fn move_away(
        &self,
        session: &Arc<Session>,
        excluded: &[ServerKey],
    ) -> Result<Placed, Refused> {
        let (new, index) = self.begin(excluded, Some(session.server))?;
        let sessions = &self.worker.sessions;
        sessions.end(session, EndReason::ServerGone, self.now);
        self.slot().sessions_moved.add(1);
        Ok(Placed {
            session: new,
            index,
            is_new: true,
            renew: true,
            moved: true,
        })
    }

    /// The tokens that a request shows; `None` if it shows a door's cookie. One look at the cookies
    /// tells both.
    fn tokens<'b>(
        &'b self,
        buf: &'b [u8],
        head: &'b RequestHead,
    ) -> Option<impl Iterator<Item = &'b [u8]>> {
        let token = self.routes.pool.config.sticky.cookie.as_bytes();
        let door = self.routes.door_cookie.as_bytes();
        let (mut first, mut has_more) = (None, false);
        for (place, value) in cookies(buf, head, [token, door]) {
            match (place, first) {
                (0, None) => first = Some(value),
                (0, Some(_)) => has_more = true,
                _ => return None,
            }
        }
        let others = has_more.then(|| cookie(buf, head, token).skip(1));
        Some(first.into_iter().chain(others.into_iter().flatten()))
    }

    /// The live session that one of these tokens names.
    fn find<'b>(
        &self,
        tokens: impl Iterator<Item = &'b [u8]>,
        remembered: &mut Option<Remembered>,
    ) -> Option<Bound> {
        for text in tokens {
            if let Some(known) = remembered
                && known.generation == self.generation
                && known.text == text
                && known.bound.session.ended().is_none()
            {
                if self.is_live(&known.bound.session) {
                    return Some(known.bound.clone());
                }
                continue;
            }
            if let Some(bound) = self.verify(text) {
                self.remember(remembered, |into| into.extend_from_slice(text), &bound);
                return Some(bound);
            }
        }
        None
    }

    fn remember(
        &self,
        remembered: &mut Option<Remembered>,
        write: impl FnOnce(&mut Vec<u8>),
        bound: &Bound,
    ) {
        let known = remembered.get_or_insert_with(|| Remembered {
            text: Vec::new(),
            generation: 0,
            bound: bound.clone(),
        });
        known.text.clear();
        write(&mut known.text);
        known.generation = self.generation;
        known.bound = bound.clone();
    }

    /// What a token's text is worth. Whatever is wrong with it is counted, and is no token.
    fn verify(&self, text: &[u8]) -> Option<Bound> {
        let slot = self.slot();
        let token = match Token::decode(text, self.keys, self.routes.tag) {
            Ok(token) => token,
            Err(error) => {
                match error {
                    TokenError::Malformed | TokenError::UnknownVersion => &slot.tokens_malformed,
                    TokenError::Forged => &slot.tokens_forged,
                    TokenError::OtherPool => &slot.tokens_other_pool,
                }
                .add(1);
                return None;
            }
        };
        if let Some(bound) = self.follow(&token) {
            return Some(bound);
        }
        let index = self.routes.index_of_tag(token.server);
        let server = index.map(|index| &self.routes.pool.servers[index]);
        let (Some(index), Some(server)) = (index, server.filter(|s| s.epoch == token.epoch)) else {
            slot.tokens_old_epoch.add(1);
            return None;
        };
        Some(Bound {
            session: self.known(&token, server)?,
            index,
            renewed_s: token.renewed_s,
        })
    }

    /// The session of a valid token that has moved since the token was made, with a download: its user
    /// is where it is, and needs a new token.
    fn follow(&self, token: &Token) -> Option<Bound> {
        if !self.routes.pool.config.http.replica {
            return None;
        }
        let Found::Live(session) = self.worker.sessions.find(SessionId(token.session)) else {
            return None;
        };
        let index = self.routes.index_of(session.server)?;
        let server = &self.routes.pool.servers[index];
        let is_elsewhere =
            self.routes.lanes[index].tag != token.server || server.epoch != token.epoch;
        let has_moved = session.moves > 0 && is_elsewhere;
        let is_there = session.pool == self.routes.pool.key && session.epoch == server.epoch;
        (has_moved && is_there && self.is_live(&session)).then_some(Bound {
            session,
            index,
            renewed_s: 0,
        })
    }

    /// The live session of a valid token.
    fn known(&self, token: &Token, server: &ServerView) -> Option<Arc<Session>> {
        let (slot, pool) = (self.slot(), self.routes.pool.key);
        let sessions = &self.worker.sessions;
        let id = SessionId(token.session);
        match sessions.find(id) {
            Found::Live(session) => {
                let here = (session.pool, session.server, session.epoch)
                    == (pool, server.key, server.epoch);
                if !here {
                    slot.tokens_ended.add(1);
                    return None;
                }
                self.is_live(&session).then_some(session)
            }
            Found::Ended => {
                slot.tokens_ended.add(1);
                sessions.came_back(id);
                None
            }
            Found::Unknown => {
                let life = Snapshot::token_life(self.routes.pool.config.sticky.reuse);
                let renewed = Moment(millis(token.renewed_s));
                if Moment(self.now.wall.0.cast_signed()).since(renewed) > life {
                    slot.tokens_expired.add(1);
                    return None;
                }
                let started = ebbtide_core::WallTime(token.started_s.saturating_mul(1000));
                let session = sessions.adopt(id, pool, server, self.client, started, self.now);
                if session.is_none() {
                    slot.tokens_ended.add(1);
                }
                session
            }
        }
    }

    /// Whether a session that has not been ended still binds; if it does not, it is ended here.
    fn is_live(&self, session: &Arc<Session>) -> bool {
        let quiet = self.now.moment.since(session.last_activity());
        if session.open() > 0 || quiet <= self.routes.pool.config.sticky.reuse {
            return true;
        }
        let sessions = &self.worker.sessions;
        sessions.end(session, EndReason::Expired, self.now);
        self.slot().tokens_expired.add(1);
        false
    }

    /// Begins a session on the server that the pool's policy chooses.
    pub fn begin(
        &self,
        excluded: &[ServerKey],
        from: Option<ServerKey>,
    ) -> Result<(Arc<Session>, usize), Refused> {
        let pool = &self.routes.pool;
        if pool.config.balance == Balance::DoorOnly {
            return Err(Refused::OperatorsOnly);
        }
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if pool.config.gate.queue.is_some() && !self.in_turn && pool.line.waiting() > 0 {
            return Err(Refused::Full);
        }
        let full = Cell::new(false);
        let has_room = |server: &ServerView| {
            let room = server.has_room();
            full.set(full.get() | !room);
            room
        };
        // A server that fills up between the look and the attempt is seen as full the next time;
        // so this ends, as each turn but the last saw another server fill up.
        for _ in 0..=pool.servers.len() {
            let mut rotation = self.routes.memory.rotation.borrow_mut();
            let has_copy = |server: &ServerView| {
                self.resource
                    .is_none_or(|resource| resource.serves(server.key))
            };
            let eligible = |server: &ServerView| {
                !excluded.contains(&server.key)
                    && self.is_reached(server)
                    && has_copy(server)
                    && has_room(server)
            };
            let dice = self.worker.roll();
            let Some(server) = choose(
                pool,
                eligible,
                self.client,
                dice,
                self.now.moment,
                &mut rotation,
            ) else {
                break;
            };
            let begun = self.begin_on(server, from);
            if let (Some(session), Some(index)) = (begun, self.routes.index_of(server.key)) {
                return Ok((session, index));
            }
            full.set(true);
        }
        let is_full = |server: &ServerView| server.standing.reason.is_full();
        match full.get() || pool.servers.iter().any(is_full) {
            true => Err(Refused::Full),
            false => Err(Refused::Unavailable),
        }
    }

    /// Begins a session on this server, unless it has as many as it may.
    fn begin_on(&self, server: &ServerView, from: Option<ServerKey>) -> Option<Arc<Session>> {
        let (id, pool) = (SessionId(self.worker.roll()), self.routes.pool.key);
        let sessions = &self.worker.sessions;
        sessions.begin(id, pool, server, self.client, from, self.now)
    }

    /// Whether a token is so old that it should be renewed; one from the future is as well.
    fn is_stale(&self, renewed_s: u64) -> bool {
        let reuse = self.routes.pool.config.sticky.reuse;
        let age = self.now.wall.0.cast_signed() - millis(renewed_s);
        age < -1000 || age > millis_of(Millis(reuse.0 / 4))
    }

    /// Writes a `Set-Cookie` value with a new token for the session, and remembers the token.
    pub fn issue(&self, placed: &Placed, remembered: &mut Option<Remembered>, out: &mut Vec<u8>) {
        let server = &self.routes.pool.servers[placed.index];
        let now_s = self.now.wall.0 / 1000;
        let token = Token {
            pool: self.routes.tag,
            server: self.routes.lanes[placed.index].tag,
            epoch: server.epoch,
            session: placed.session.id.0,
            started_s: self.now.wall_at(placed.session.started).0 / 1000,
            renewed_s: now_s,
        };
        let bound = Bound {
            session: Arc::clone(&placed.session),
            index: placed.index,
            renewed_s: now_s,
        };
        self.remember(remembered, |text| token.encode(self.keys, text), &bound);
        out.clear();
        out.extend_from_slice(self.routes.pool.config.sticky.cookie.as_bytes());
        out.push(b'=');
        if let Some(known) = remembered {
            out.extend_from_slice(&known.text);
        }
        out.extend_from_slice(b"; HttpOnly; SameSite=Lax; Path=/");
    }

    fn slot(&self) -> &PoolSlot {
        self.routes.pool.counters.slot(self.worker.index)
    }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn millis_of(span: Millis) -> i64 {
    i64::try_from(span.0).unwrap_or(i64::MAX)
}
