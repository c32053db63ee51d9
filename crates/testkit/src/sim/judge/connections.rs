//! Sessions that are connections: of the TCP pool, and of the NBD pool. The judge knows from the users
//! who is connected to what, and the bytes that servers really have.

use super::intents::Want;
use super::sessions::Over;
use super::{
    CLOSED, COUNTS, DEADLINE, IDENTICAL, Judge, LAG_MS, MOVES, STAYS, Server, health::Verdict,
};
use crate::sim::number::ServerNumber;
use crate::sim::plan::{DISKS, REUSE, SHELLS, has_connections, pool_name};
use ebbtide_core::{Found, Mode, Now, ServerView, Session, SessionId, Snapshot};

/// How long a session may take to go on elsewhere when it can.
const MOVE_WITHIN_MS: i64 = 4000;
/// How long after a drain was called off, or a server was well again, a move that had begun may come to
/// its end.
const MOVE_LAG_MS: i64 = 4000;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Ending {
    /// Its user left.
    Left,
    /// Its worker cut it.
    Cut,
    /// Its server died, hung or sent what is no answer.
    ServerDied,
    /// No server took it, or none could be found any more.
    Unreachable,
}

/// What a client of the NBD pool reads.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Mounted {
    pub resource: &'static str,
    /// One server serves it, and nothing stands in.
    pub is_alone: bool,
    /// It may go on elsewhere.
    pub can_move: bool,
    /// The bytes that it began on, if the node was told of them.
    pub content: Option<u8>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    server: ServerNumber,
    epoch: u32,
    /// When it came to this server.
    came: i64,
    user: usize,
    mounted: Option<Mounted>,
    connected: bool,
    moves: u32,
    /// Its binding to this server is over.
    over: Option<Over>,
    /// An operator has ended it.
    ended: bool,
    /// A place that it has taken on another server.
    place: Option<(ServerNumber, u32)>,
    /// Since when it is to leave, and could.
    could_move_since: Option<i64>,
}

/// Where a user of the TCP pool was led last.
#[derive(Debug)]
pub(super) struct Bound {
    server: ServerNumber,
    epoch: u32,
    at: i64,
    /// When a connection there ended last.
    ended: i64,
}

impl Connection {
    fn can_move(&self) -> bool {
        let mounted = self.mounted.as_ref();
        self.connected && mounted.is_some_and(|mounted| mounted.can_move)
    }

    /// Whether it is to the resource that operators put into maintenance.
    fn is_of_base(&self) -> bool {
        let mounted = self.mounted.as_ref();
        mounted.is_some_and(|mounted| mounted.resource == "base")
    }
}

impl Judge {
    /// A session begins there, or takes a place: the server is not closed. If its drain took effect when
    /// its deadline had passed, a worker may not have heard of it for a moment: returns by when the
    /// session is over.
    pub(super) fn comes_to(&mut self, name: ServerNumber) -> Option<Over> {
        if let Some(id) = self.server(name).closed {
            let text = format!("a session began on {name}, closed by request {}", id.0);
            self.fail(CLOSED, text);
        }
        self.judge_seen(name);
        self.comes_among(name);
        let at = self.at;
        let server = self.server(name);
        if server.self_end.is_none() || server.in_force != Want::Maintenance {
            return None;
        }
        let lag = server.deadline_at.map(|ended| ended + 1000);
        match lag.filter(|until| at <= *until) {
            Some(until) => Some(Over::of_deadline(until, self.life)),
            None => {
                let text = format!("a session began on {name}, whose drain was taken to be over");
                self.fail(DEADLINE, text);
                None
            }
        }
    }

    fn connection_began(
        &mut self,
        session: &Session,
        (user, mounted): (usize, Option<Mounted>),
        server: ServerNumber,
        generation: u64,
        at: i64,
    ) {
        self.begun_in_pool(server, generation, at);
        let over = self.comes_to(server);
        let connection = Connection {
            server,
            epoch: session.epoch,
            came: at,
            user,
            mounted,
            connected: false,
            moves: 0,
            over,
            ended: false,
            place: None,
            could_move_since: None,
        };
        self.connections.insert(session.id, connection);
    }

    /// A worker has begun the session of a connection to the TCP pool.
    pub fn line_began(
        &mut self,
        session: &Session,
        user: usize,
        server: ServerNumber,
        generation: u64,
        at: i64,
    ) {
        self.connection_began(session, (user, None), server, generation, at);
    }

    /// A user of the TCP pool was led to `name` by a worker with this snapshot: to the server that it
    /// was on last, if that was lately and the server stands.
    pub fn returned(&mut self, user: usize, name: ServerNumber, snapshot: &Snapshot, at: i64) {
        let Some(bound) = self.sources.get(&user) else {
            return;
        };
        let here = |connection: &&Connection| {
            let place = (connection.server, connection.epoch);
            connection.user == user
                && connection.mounted.is_none()
                && place == (bound.server, bound.epoch)
        };
        let is_open = self.connections.values().any(|one| here(&one));
        let is_bound = is_open || at - bound.ended <= REUSE.0.cast_signed();
        let known = self.servers.get(bound.server);
        let was_away = known.is_none_or(|known| {
            !known.present
                || known
                    .returned_at
                    .is_some_and(|returned| returned >= bound.at)
        });
        // What a page tells of its places counts at once.
        let takes = |view: &ServerView| {
            view.standing.admits_new && view.epoch == bound.epoch && view.has_room()
        };
        let pool = snapshot.pool_named(pool_name(SHELLS));
        let stands = pool.is_some_and(|pool| {
            let mut servers = pool.servers.iter();
            let view = servers.find(|view| *view.name == *bound.server.server());
            !pool.intent.blocks_new() && view.is_some_and(takes)
        });
        if is_bound && !was_away && stands && name != bound.server {
            let text = format!("user {user} was on {} and is led to {name}", bound.server);
            self.fail(STAYS, text);
        }
    }

    /// The connection of a user to the TCP pool goes to this server from now on.
    pub fn bound(&mut self, user: usize, server: ServerNumber, epoch: u32) {
        let at = self.at;
        let known = self.sources.get(&user);
        let same = known.filter(|known| (known.server, known.epoch) == (server, epoch));
        let bound = Bound {
            server,
            epoch,
            at: same.map_or(at, |same| same.at),
            ended: at,
        };
        self.sources.insert(user, bound);
    }

    /// The server has taken the connection.
    pub fn connected(&mut self, id: SessionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.connected = true;
        }
    }

    /// `is_late`: its worker may be behind in what it does.
    pub fn connection_ended(&mut self, id: SessionId, ending: Ending, is_late: bool) {
        let at = self.at;
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let place = (connection.server, connection.epoch);
        if connection.mounted.is_none()
            && let Some(bound) = self.sources.get_mut(&connection.user)
            && (bound.server, bound.epoch) == place
        {
            bound.ended = at;
        }
        if ending != Ending::Cut || is_late || connection.ended || !connection.connected {
            return;
        }
        let name = connection.server;
        let pool = &self.pools[name.pool()];
        let lately = |then: Option<i64>| then.is_some_and(|then| at - then < LAG_MS);
        let of_pool = lately(pool.unserving_at);
        let server = self.servers.get(name);
        let of_server = connection.over.is_some()
            || server
                .is_none_or(|server| server.is_unserving(at) || server.epoch != connection.epoch);
        let withdrawn = connection.is_of_base() && lately(self.withdrawn.map(|(_, last)| last));
        let excused = of_pool || withdrawn || (of_server && !connection.can_move());
        if !excused {
            let text = format!("session {id} on {name} was cut before its time");
            self.fail(STAYS, text);
        }
    }

    /// A connection to the TCP pool is open.
    pub fn line_goes_on(&mut self, session: &Session, found: &Found, now: Now) {
        let at = self.at;
        let Some(connection) = self.connections.get(&session.id) else {
            return;
        };
        let (name, over) = (connection.server, connection.over);
        self.is_known(session, found);
        self.goes_on(session.id, over, name, now, at);
    }

    /// The table knows of a connection that is open.
    fn is_known(&mut self, session: &Session, found: &Found) {
        let Some(connection) = self.connections.get(&session.id) else {
            return;
        };
        let server = self.servers.get(connection.server);
        // Of an earlier epoch, or of a server that is not there, it may have been ended already.
        let is_current = server.is_some_and(|server| {
            server.present && server.epoch == connection.epoch && connection.over.is_none()
        });
        let (is_current, ended) = (is_current || connection.can_move(), connection.ended);
        let is_live = match found {
            Found::Live(known) => {
                (known.server, known.epoch, known.moves)
                    == (session.server, session.epoch, connection.moves)
            }
            Found::Ended | Found::Unknown => false,
        };
        if is_current && !ended && !is_live {
            let (id, name) = (session.id, connection.server);
            let text = format!("session {id} is open on {name}, and known as {found:?}");
            self.fail(COUNTS, text);
        }
    }

    /// How many connections a server has in this epoch, how many of them may be over although a worker that
    /// stands still holds them, and places that are kept for some.
    pub(super) fn connections_on(&self, name: ServerNumber, epoch: u32) -> (u32, u32, u32) {
        let (mut open, mut leaving, mut kept) = (0, 0, 0);
        if !has_connections(name.pool()) {
            return (open, leaving, kept);
        }
        for connection in self.connections.values() {
            let here = (connection.server, connection.epoch) == (name, epoch);
            let is_open = here && !connection.ended;
            open += u32::from(is_open);
            leaving += u32::from(is_open && self.withdrawn.is_some() && connection.is_of_base());
            kept += u32::from(connection.place == Some((name, epoch)));
        }
        (open, leaving, kept)
    }

    /// The binding of every connection that came to the server before `before` is over.
    pub(super) fn connections_over(&mut self, name: ServerNumber, before: i64, over: Over) {
        for connection in self.connections.values_mut() {
            if connection.server == name && connection.came < before {
                connection.over = Some(over);
            }
        }
    }

    /// An operator has ended a session.
    pub(super) fn connection_over(&mut self, id: SessionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ended = true;
        }
    }

    /// A connection that is live on the server.
    pub(super) fn live_connection(&self, name: ServerNumber, epoch: u32) -> Option<SessionId> {
        let mut all = self.connections.iter();
        let found = all.find(|(_, connection)| {
            let here = (connection.server, connection.epoch) == (name, epoch);
            here && !connection.ended && connection.over.is_none()
        });
        found.map(|(id, _)| *id)
    }

    /// A worker has begun the session of a client of the NBD pool.
    pub fn mount_began(
        &mut self,
        session: &Session,
        mounted: Mounted,
        server: ServerNumber,
        generation: u64,
        at: i64,
    ) {
        self.connection_began(session, (0, Some(mounted)), server, generation, at);
    }

    /// A session has taken a place on another server.
    pub fn reserved(&mut self, id: SessionId, name: ServerNumber, epoch: u32) {
        self.comes_to(name);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.place = Some((name, epoch));
        }
    }

    /// It does not keep that place, or has moved there.
    pub fn released(&mut self, id: SessionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.place = None;
        }
    }

    /// A session has moved; `was_lost`: its server had been lost before.
    pub fn moved(&mut self, session: &Session, name: ServerNumber, was_lost: bool, at: i64) {
        let id = session.id;
        let Some(connection) = self.connections.get_mut(&id) else {
            return self.fail(
                COUNTS,
                format!("nobody began session {id}, which has moved"),
            );
        };
        let may_move = connection.can_move();
        let (from, epoch) = (connection.server, connection.epoch);
        connection.moves += 1;
        let moves = connection.moves;
        connection.server = name;
        (connection.epoch, connection.came) = (session.epoch, at);
        (connection.over, connection.could_move_since) = (None, None);
        if !may_move {
            let text = format!("session {id} went from {from} to {name}, and nothing stands in");
            self.fail(IDENTICAL, text);
        }
        if session.moves != moves {
            let text = format!(
                "session {id} has moved {moves} times, not {}",
                session.moves
            );
            self.fail(COUNTS, text);
        }
        let had_to = self.servers.get(from).is_none_or(|server| {
            let lately = |then: Option<i64>| then.is_some_and(|then| at - then < MOVE_LAG_MS);
            let drained = matches!(server.in_force, Want::Drain(..)) || lately(server.draining_at);
            let unserving = server.is_unserving(at) || lately(server.unserving_at);
            drained || unserving || server.epoch != epoch
        });
        if !was_lost && !had_to {
            let text = format!("session {id} went from {from} to {name} without need");
            self.fail(STAYS, text);
        }
    }

    /// A client of the NBD pool is connected to a server that has these bytes. `known`: its worker was
    /// told so.
    pub fn reads(&mut self, id: SessionId, name: ServerNumber, (content, known): (u8, bool)) {
        let at = self.at;
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let Some(mounted) = &connection.mounted else {
            return;
        };
        let resource = mounted.resource;
        // A client that nothing can stand in for stays with its server, whatever becomes of the bytes.
        let can_move = mounted.can_move;
        let began_on = mounted.content.filter(|_| can_move);
        let wrong = if mounted.is_alone && name != ServerNumber::of_file(DISKS, 0) {
            Some("which is not its server")
        } else if known && began_on.is_some_and(|began_on| began_on != content) {
            Some("where the bytes are others than those it began on")
        } else if resource == "base" && self.is_withdrawn(at) {
            Some("although that is in maintenance")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let text = format!("session {id} reads {resource} on {name}, {wrong}");
            self.fail(IDENTICAL, text);
        }
    }

    /// A tick is over, and a client of the NBD pool is connected to this server.
    pub fn mount_is_on(&mut self, id: SessionId, name: ServerNumber, now: Now) {
        let connection = self.connections.get(&id);
        let here = connection.filter(|connection| connection.server == name);
        let over = here.and_then(|connection| connection.over);
        self.goes_on(id, over, name, now, self.at);
    }

    /// The configuration of the workers has the first resource in maintenance for a while already.
    fn is_withdrawn(&self, at: i64) -> bool {
        self.withdrawn
            .is_some_and(|(since, last)| last == at && at - since > LAG_MS)
    }

    /// Looks at which resources are in maintenance by what operators have written.
    pub(super) fn judge_withdrawn(&mut self, snapshot: &Snapshot, at: i64) {
        let mut pools = snapshot.config.pools.iter();
        let disks = pools.find(|pool| pool.name == pool_name(DISKS));
        let mut resources = disks.iter().flat_map(|pool| &pool.replicas.resources);
        if resources.any(|one| one.name == "base" && one.mode == Mode::Maintenance) {
            let since = self.withdrawn.map_or(
                at,
                |(since, last)| {
                    if last > at - LAG_MS { since } else { at }
                },
            );
            self.withdrawn = Some((since, at));
        }
    }

    /// A client of the NBD pool is connected.
    pub fn mount_goes_on(&mut self, session: &Session, found: &Found) {
        self.is_known(session, found);
    }

    /// Its worker is slow, or does nothing at all: no wonder that it does not move.
    pub fn mount_waits(&mut self, id: SessionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.could_move_since = None;
        }
    }

    /// These servers are well and have what this session began on; `is_lost`: its own is lost.
    pub fn could_move(
        &mut self,
        id: SessionId,
        is_lost: bool,
        mut well: impl Iterator<Item = ServerNumber>,
    ) {
        let at = self.at;
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let own = self.servers.get(connection.server);
        let leaves = is_lost
            || own.is_none_or(|own| {
                let wanted = !matches!(own.in_force, Want::Drain(..) | Want::Maintenance);
                !own.present || !wanted || own.epoch != connection.epoch || own.is_down()
            });
        let is_served = !self.pools[DISKS].in_force.is_closed();
        let (can_move, ended) = (connection.can_move(), connection.ended);
        let takes = |name: &ServerNumber| {
            let server = self.servers.get(*name);
            *name != connection.server && server.is_some_and(Server::takes_sessions)
        };
        let may = leaves && is_served && can_move && !ended;
        let goal = may.then(|| well.find(takes)).flatten();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(goal) = goal else {
            connection.could_move_since = None;
            return;
        };
        let since = *connection.could_move_since.get_or_insert(at);
        if at - since > MOVE_WITHIN_MS {
            let text = format!(
                "session {id} on {} could have gone on with {goal} since {since} ms",
                connection.server
            );
            self.fail(MOVES, text);
        }
    }

    /// The node is gone, and every connection with it.
    pub(super) fn connections_killed(&mut self) {
        self.connections.clear();
        self.sources.clear();
    }
}

impl Server {
    fn is_down(&self) -> bool {
        self.seen.verdict == Verdict::Down
    }

    /// Whether it takes new sessions for certain.
    fn takes_sessions(&self) -> bool {
        let well = matches!(self.seen.verdict, Verdict::Up | Verdict::Unproven);
        self.present
            && self.in_force == Want::Ready
            && well
            && !self.seen.closed_by_page
            && !self.is_unverified
    }
}
