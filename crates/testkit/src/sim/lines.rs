//! Users of the TCP pool: each connection is a session. What a worker makes of it is what the data
//! plane does (`crates/proxy/src/tcp.rs`).

use super::judge::Ending;
use super::number::ServerNumber;
use super::plan::{Being, SHELLS, pool_name};
use super::worker::{Asking, Placed};
use super::world::{NodeHappening, World};
use ebbtide_core::{
    EndReason, Fact, PoolKey, ServerKey, Session, Snapshot, Source, SourceStay, Stay,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Servers that are tried for one connection.
pub(super) const SERVERS_MAX: usize = 3;

/// A connection.
pub(super) struct Line {
    pub worker: usize,
    user: usize,
    pub server: ServerNumber,
    pub stay: Stay,
    binding: Option<SourceStay>,
    failed: Vec<ServerKey>,
    /// Its server has taken it.
    pub connected: bool,
    ends_at: i64,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum LineStep {
    /// Its server takes it, or does not.
    Connect,
    /// Its user leaves.
    Leave,
    /// Its server is gone.
    Break,
}

impl Line {
    fn session(&self) -> &Arc<Session> {
        self.stay.session()
    }

    fn pool(&self) -> PoolKey {
        self.session().pool
    }

    /// Whether its session was ended in a way that ends it too.
    fn is_over(&self) -> bool {
        let reason = self.session().ended();
        reason.is_some_and(|reason| {
            !matches!(reason, EndReason::ServerGone | EndReason::ServerRemoved)
        })
    }

    /// Whether its server may not serve it any more.
    fn is_misplaced(&self, snapshot: &Snapshot) -> bool {
        is_misplaced(self.session(), snapshot)
    }
}

/// Whether a connection that cannot move has to leave its server.
pub(super) fn is_misplaced(session: &Session, snapshot: &Snapshot) -> bool {
    let pool = snapshot.pool(session.pool);
    let server = snapshot.server_of(session);
    pool.zip(server).is_some_and(|(pool, server)| {
        let standing = server.standing;
        let is_over = standing.ends_work() || server.epoch != session.epoch;
        is_over || !standing.serves_own || pool.is_withdrawn_from(session)
    })
}

fn address(user: usize) -> IpAddr {
    IpAddr::from([198, 51, 100, user as u8])
}

fn source(user: usize) -> Source {
    Source::of(address(user), 32, 64)
}

impl World {
    /// A user connects: to one of the workers, which finds a server.
    pub(super) fn connect(&mut self, index: usize, user: usize, lasts_ms: i64) {
        let roll = self.roll_beside() as usize;
        let Some(node) = &self.node else { return };
        let worker = roll % node.workers.len();
        let stalled_until = node.workers[worker].stalled_until;
        if stalled_until > self.at {
            return self.again(index, stalled_until + 1);
        }
        let Some((placed, name)) = self.begin_line(worker, user, None) else {
            return self.tell(|| format!("user {user} connects: is refused"));
        };
        self.tell(|| {
            let id = placed.session.id;
            format!("user {user} connects: goes to {name}, session {id}")
        });
        let line = self.seat(worker, user, placed, name);
        self.last_line += 1;
        let (number, ends_at) = (self.last_line, self.at + lasts_ms);
        if let Some(node) = &mut self.node {
            node.lines
                .insert(number, Box::new(Line { ends_at, ..line }));
        }
        self.line_later(0, 30, number, LineStep::Connect);
    }

    fn line_later(&mut self, soonest: i64, latest: i64, number: u64, step: LineStep) {
        let at = self.at + self.between_beside(soonest, latest);
        self.node_later(at, NodeHappening::Line(number, step));
    }

    /// Begins the session of a connection; or another one, elsewhere than on these servers, which the
    /// one before gives up.
    fn begin_line(
        &mut self,
        worker: usize,
        user: usize,
        before: Option<(&Arc<Session>, &[ServerKey])>,
    ) -> Option<(Placed, ServerNumber)> {
        let (now, at) = (self.now(), self.at);
        let mut numbers = [0; 4].map(|_: u64| self.roll_beside()).into_iter();
        let node = self.node.as_mut()?;
        let snapshot = Arc::clone(&node.workers[worker].snapshot);
        let pool = snapshot.pool_named(pool_name(SHELLS))?;
        let rotation = node.workers[worker].rotation(SHELLS);
        let mut asking = Asking {
            table: &node.table,
            pool,
            snapshot: &snapshot,
            client: address(user),
            now,
            roll: &mut || numbers.next().unwrap_or(0),
            resource: None,
        };
        let placed = match before {
            None => asking.place_connection(source(user), rotation)?,
            Some((session, failed)) => asking.move_away(session, failed, rotation)?,
        };
        let name = ServerNumber::in_pool(SHELLS, &placed.server.name);
        let session = &placed.session;
        if before.is_none() {
            self.judge.returned(user, name, &snapshot, at);
        }
        self.judge
            .line_began(session, user, name, snapshot.generation, at);
        Some((placed, name))
    }

    fn seat(&mut self, worker: usize, user: usize, placed: Placed, server: ServerNumber) -> Line {
        let now = self.now();
        let mut stay = placed.session.enter(now.moment);
        stay.become_tunnel();
        let place = (placed.server.key, placed.server.epoch);
        let pool = placed.session.pool;
        let binding = self.node.as_ref().and_then(|node| {
            let sources = node.table.sources();
            sources.bind(pool, source(user), place, now.moment)
        });
        self.judge.bound(user, server, place.1);
        Line {
            worker,
            user,
            server,
            stay,
            binding,
            failed: Vec::new(),
            connected: false,
            ends_at: 0,
        }
    }

    pub(super) fn step_line(&mut self, number: u64, step: LineStep) {
        let Some(node) = &self.node else { return };
        let Some(line) = node.lines.get(&number) else {
            return;
        };
        let stalled_until = node.workers[line.worker].stalled_until;
        if stalled_until > self.at {
            return self.node_later(stalled_until + 1, NodeHappening::Line(number, step));
        }
        match step {
            LineStep::Connect => self.connect_line(number),
            LineStep::Leave => self.leave_line(number, EndReason::Disconnected, Ending::Left),
            LineStep::Break => {
                self.leave_line(number, EndReason::Disconnected, Ending::ServerDied);
            }
        }
    }

    fn connect_line(&mut self, number: u64) {
        let Some(mut line) = self.node.as_mut().and_then(|n| n.lines.remove(&number)) else {
            return;
        };
        let refuses = matches!(self.being(line.server), Being::Dead | Being::SaysGood);
        if !refuses {
            line.connected = true;
            let stays = (line.ends_at - self.at).max(1);
            self.judge.connected(line.session().id);
            if let Some(node) = &mut self.node {
                node.lines.insert(number, line);
            }
            return self.line_later(stays, stays, number, LineStep::Leave);
        }
        let (pool, server) = (line.pool(), line.session().server);
        self.tell_driver_beside(Fact::ConnectFailed { pool, server });
        line.failed.push(server);
        let before = Arc::clone(line.session());
        let next = match line.failed.len() < SERVERS_MAX {
            true => self.begin_line(line.worker, line.user, Some((&before, &line.failed))),
            false => None,
        };
        let Some((placed, name)) = next else {
            let session = before.id;
            self.tell(|| format!("session {session} finds no server"));
            return self.end_line(*line, EndReason::ServerGone, Ending::Unreachable);
        };
        let next = self.seat(line.worker, line.user, placed, name);
        let now = self.now();
        if let Some(binding) = line.binding {
            binding.end(now.moment);
        }
        self.judge
            .connection_ended(before.id, Ending::Unreachable, false);
        let (failed, ends_at) = (line.failed, line.ends_at);
        let next = Line {
            failed,
            ends_at,
            ..next
        };
        if let Some(node) = &mut self.node {
            node.lines.insert(number, Box::new(next));
        }
        self.line_later(0, 30, number, LineStep::Connect);
    }

    fn leave_line(&mut self, number: u64, reason: EndReason, ending: Ending) {
        let line = self.node.as_mut().and_then(|n| n.lines.remove(&number));
        if let Some(line) = line {
            self.end_line(*line, reason, ending);
        }
    }

    fn end_line(&mut self, line: Line, reason: EndReason, ending: Ending) {
        let now = self.now();
        let session = Arc::clone(line.session());
        session.touch(now.moment);
        drop(line.stay);
        if let Some(node) = &self.node {
            node.table.end(&session, reason, now);
        }
        if let Some(binding) = line.binding {
            binding.end(now.moment);
        }
        let is_late = self.is_late(line.worker);
        self.judge.connection_ended(session.id, ending, is_late);
    }

    pub(super) fn is_late(&self, worker: usize) -> bool {
        let node = self.node.as_ref();
        node.is_some_and(|node| node.workers[worker].is_late(self.at))
    }

    /// Cuts the connections that may not go on: of one worker that has taken a snapshot, or of all
    /// whose sessions are over.
    pub(super) fn cut_lines(&mut self, taken: Option<usize>) {
        let at = self.at;
        let Some(node) = &self.node else { return };
        let is_cut = |line: &Line| {
            let worker = &node.workers[line.worker];
            let by_snapshot = taken == Some(line.worker) && line.is_misplaced(&worker.snapshot);
            let is_asked = taken.is_none_or(|taken| taken == line.worker);
            worker.stalled_until <= at && is_asked && (by_snapshot || line.is_over())
        };
        let cut: Vec<u64> = node
            .lines
            .iter()
            .filter(|(_, line)| is_cut(line))
            .map(|(number, _)| *number)
            .collect();
        for number in cut {
            self.leave_line(number, EndReason::Deadline, Ending::Cut);
        }
    }

    /// A server of the TCP pool dies: its connections break.
    pub(super) fn break_lines(&mut self, server: ServerNumber) {
        let Some(node) = &self.node else { return };
        let broken = |line: &Line| line.connected && line.server == server;
        let numbers: Vec<u64> = node
            .lines
            .iter()
            .filter(|(_, line)| broken(line))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.line_later(0, 5, number, LineStep::Break);
        }
    }

    /// Every connection that is open holds what was promised of it.
    pub(super) fn judge_lines(&mut self) {
        let now = self.now();
        let Some(node) = &self.node else { return };
        for line in node.lines.values() {
            if node.workers[line.worker].stalled_until + 100 < self.at {
                let found = node.table.find(line.session().id);
                self.judge.line_goes_on(line.session(), &found, now);
            }
        }
    }

    /// The session of an open connection, counted round; for whoever ends it.
    pub(super) fn open_session(&self, nth: usize) -> Option<ebbtide_core::SessionId> {
        let node = self.node.as_ref()?;
        let lines = node.lines.values().map(|line| line.session().id);
        let mounts = node.mounts.values().map(|mount| mount.session().id);
        let open: Vec<_> = lines.chain(mounts).collect();
        open.get(nth % open.len().max(1)).copied()
    }
}
