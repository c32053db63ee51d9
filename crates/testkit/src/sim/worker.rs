//! A simulated worker: decides by its own snapshot only, with the rules of DESIGN section 4. Tokens
//! are plain data here; the secret in one stands for its seal.

use super::number::ServerNumber;
use super::plan::{POOLS, REUSE, pool_number};
use ebbtide_core::{
    EndReason, Found, Moment, Now, PoolIntent, PoolView, ResourceView, Rotation, ServerKey,
    ServerView, Session, SessionId, SessionTable, Snapshot, Source, Stay, WallTime, choose,
};
use std::net::IpAddr;
use std::sync::Arc;

/// How long a worker that was slow, or did nothing, may take to catch up: the longest that it takes a
/// snapshot late, and that a server of the NBD pool may take to be left.
const LATE_MS: i64 = 1100;

/// What a client carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub server: ServerNumber,
    pub epoch: u32,
    pub session: SessionId,
    pub started_s: u64,
    pub renewed_s: u64,
    pub secret: [u8; 32],
}

pub(super) struct Worker {
    pub snapshot: Arc<Snapshot>,
    /// When the newest order will be taken; later ones are not taken before it.
    pub takes_until: i64,
    pub slow_until: i64,
    pub stalled_until: i64,
    /// One for each pool.
    rotations: [Rotation; POOLS.len()],
}

/// A request or tunnel that is being served.
pub(super) struct Exchange {
    pub number: u64,
    pub worker: usize,
    pub server: ServerNumber,
    pub stay: Stay,
    pub tunnel: bool,
}

/// Where a request goes.
pub(super) struct Placed {
    pub session: Arc<Session>,
    pub server: ServerView,
    /// The session began with this request.
    pub begun: bool,
    pub renew: bool,
    /// The session that it had before, if that had to leave its server.
    pub moved: Option<SessionId>,
}

/// A request, as far as it matters for where it goes.
pub(super) struct Asking<'a> {
    pub table: &'a SessionTable,
    pub pool: &'a PoolView,
    pub snapshot: &'a Snapshot,
    pub client: IpAddr,
    pub now: Now,
    pub roll: &'a mut dyn FnMut() -> u64,
    /// What it is about, where only some servers have the right copy of it.
    pub resource: Option<&'a ResourceView>,
}

impl Worker {
    pub fn new(now: i64) -> Self {
        Self {
            snapshot: Arc::default(),
            takes_until: now,
            slow_until: 0,
            stalled_until: 0,
            rotations: Default::default(),
        }
    }

    /// Whether it may be behind in what it does.
    pub fn is_late(&self, at: i64) -> bool {
        self.stalled_until.max(self.slow_until) + LATE_MS >= at
    }

    pub fn rotation(&mut self, pool: usize) -> &mut Rotation {
        &mut self.rotations[pool]
    }
}

impl Asking<'_> {
    pub fn place(&mut self, token: Option<&Token>, rotation: &mut Rotation) -> Option<Placed> {
        let Some((session, server, stale)) = token.and_then(|token| self.verify(token)) else {
            return self.begin(&[], None, rotation);
        };
        if server.standing.serves_own {
            return Some(Placed {
                session,
                server,
                begun: false,
                renew: stale,
                moved: None,
            });
        }
        self.move_away(&session, &[], rotation)
    }

    /// Begins another session elsewhere, then ends the one that its server cannot serve.
    pub fn move_away(
        &mut self,
        session: &Arc<Session>,
        excluded: &[ServerKey],
        rotation: &mut Rotation,
    ) -> Option<Placed> {
        let placed = self.begin(excluded, Some(session.server), rotation)?;
        self.table.end(session, EndReason::ServerGone, self.now);
        Some(Placed {
            moved: Some(session.id),
            ..placed
        })
    }

    fn verify(&self, token: &Token) -> Option<(Arc<Session>, ServerView, bool)> {
        let secrets = &self.snapshot.token_secrets;
        if token.secret != secrets.current && Some(token.secret) != secrets.previous {
            return None;
        }
        if token.server.pool() != pool_number(&self.pool.config.name) {
            return None;
        }
        let server = find_server(self.pool, token.server.server())?;
        if server.epoch != token.epoch {
            return None;
        }
        let session = self.known(token, server)?;
        let wall_s = self.now.wall.0 / 1000;
        let stale = wall_s.abs_diff(token.renewed_s) * 1000 > REUSE.0 / 4;
        Some((session, server.clone(), stale))
    }

    fn known(&self, token: &Token, server: &ServerView) -> Option<Arc<Session>> {
        match self.table.find(token.session) {
            Found::Live(session) => {
                let place = (session.pool, session.server, session.epoch);
                if place != (self.pool.key, server.key, server.epoch) {
                    return None;
                }
                let quiet = self.now.moment.since(session.last_activity());
                if session.open() > 0 || quiet <= self.pool.config.sticky.reuse {
                    return Some(session);
                }
                self.table.end(&session, EndReason::Expired, self.now);
                None
            }
            Found::Ended => {
                self.table.came_back(token.session);
                None
            }
            Found::Unknown => {
                if is_expired(token, self.now) {
                    return None;
                }
                let started = WallTime(token.started_s * 1000);
                let (pool, table) = (self.pool.key, self.table);
                table.adopt(token.session, pool, server, self.client, started, self.now)
            }
        }
    }

    /// A new connection of this source: the server that it was last on, or any other.
    pub fn place_connection(&mut self, source: Source, rotation: &mut Rotation) -> Option<Placed> {
        let last = self.table.sources().server_of(self.pool, source);
        let bound = last
            .filter(|_| !self.pool.intent.blocks_new())
            .and_then(|server| self.begin_on(server, None));
        bound.or_else(|| self.begin(&[], None, rotation))
    }

    pub fn begin(
        &mut self,
        excluded: &[ServerKey],
        from: Option<ServerKey>,
        rotation: &mut Rotation,
    ) -> Option<Placed> {
        let eligible = |server: &ServerView| {
            let room = server.has_room();
            let has_copy = self
                .resource
                .is_none_or(|resource| resource.serves(server.key));
            !excluded.contains(&server.key) && has_copy && room
        };
        let dice = (self.roll)();
        let server = choose(
            self.pool,
            eligible,
            self.client,
            dice,
            self.now.moment,
            rotation,
        )?;
        self.begin_on(server, from)
    }

    fn begin_on(&mut self, server: &ServerView, from: Option<ServerKey>) -> Option<Placed> {
        let id = SessionId((self.roll)());
        let session = self
            .table
            .begin(id, self.pool.key, server, self.client, from, self.now)?;
        Some(Placed {
            session,
            server: server.clone(),
            begun: true,
            renew: true,
            moved: None,
        })
    }
}

/// Whether a node that has not seen the token's session takes it as over.
pub(super) fn is_expired(token: &Token, now: Now) -> bool {
    let renewed = Moment((token.renewed_s * 1000).cast_signed());
    Moment(now.wall.0.cast_signed()).since(renewed) > Snapshot::token_life(REUSE)
}

fn find_server<'a>(pool: &'a PoolView, name: &str) -> Option<&'a ServerView> {
    pool.servers.iter().find(|server| &*server.name == name)
}

impl Exchange {
    /// Whether its session was ended in a way that ends what is in flight too (ADR 0004).
    pub fn is_over(&self) -> bool {
        match self.stay.session().ended() {
            None | Some(EndReason::ServerGone | EndReason::ServerRemoved) => false,
            Some(EndReason::LoggedOut | EndReason::Forgotten | EndReason::Deadline) => self.tunnel,
            Some(
                EndReason::EndedByOperator
                | EndReason::Expired
                | EndReason::Idle
                | EndReason::Disconnected
                | EndReason::ResourceMaintenance,
            ) => true,
        }
    }

    /// Whether its server may not serve it any more.
    pub fn is_misplaced(&self, snapshot: &Snapshot) -> bool {
        let session = self.stay.session();
        let Some(server) = snapshot.server_of(session) else {
            // What is open on a server that is gone ends with its pool.
            let pool = snapshot.pool(session.pool);
            return pool.is_some_and(|pool| matches!(pool.intent, PoolIntent::Closed(_)));
        };
        let is_forgotten = server.epoch != session.epoch;
        let by_deadline = server.epoch_reason == EndReason::Deadline;
        server.standing.ends_work() || (is_forgotten && (self.tunnel || by_deadline))
    }
}
