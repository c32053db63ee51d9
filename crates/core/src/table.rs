//! The session table: every session that this node knows, for *knowing*, not for routing.
//!
//! Tokens carry the binding; the table carries what a token cannot: that a session is active, idle
//! or over. It is kept in shards, so that workers and the control plane meet only on one entry.
//! An ended session stays as a tombstone until its token has expired too.

use crate::name::{PoolKey, ServerKey, SessionId};
use crate::notice::Message;
use crate::session::{Crossing, EndReason, Session, SessionState};
use crate::snapshot::{Place, ServerView, Snapshot};
use crate::source::{self, Sources};
use crate::time::{Millis, Moment, Now, WallTime};
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = source::SHARDS;
/// Changes kept per shard until the control plane takes them; beyond it the oldest are dropped.
const JOURNAL_MAX: usize = 8192;

/// `reuse` of a pool that is not in the configuration at present: its tokens are still out there, and
/// it may come back.
pub(crate) const REUSE_UNKNOWN: Millis = Millis::from_secs(20 * 60);

/// How long connections that have ended are listed: there is no token that one could come back with.
const DISCONNECTED_KEPT: Millis = Millis::from_secs(60);

/// What the table knows of a session number.
#[derive(Debug)]
pub enum Found {
    /// It is live.
    Live(Arc<Session>),
    /// It is over: its token is worth nothing.
    Ended,
    /// This node has not seen it (it began elsewhere, or before a restart).
    Unknown,
}

/// What happened to a session, for the log, the events and the forecast.
#[derive(Clone, Debug)]
pub struct SessionChange {
    /// When, on the wall clock.
    pub at: WallTime,
    /// Which session.
    pub id: SessionId,
    /// Its pool.
    pub pool: PoolKey,
    /// Its server.
    pub server: ServerKey,
    /// Its client's address.
    pub client: IpAddr,
    /// What happened.
    pub kind: SessionChangeKind,
    /// The user's cookies, if the session was ended from outside and its server can be told.
    pub cookies: Option<Box<[u8]>>,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChangeKind {
    /// It began; `from` is the server it was on before, if it had to move.
    Began {
        /// The server that it came from.
        from: Option<ServerKey>,
    },
    /// It moved here, without its client's doing.
    Moved {
        /// The server that it was on.
        from: ServerKey,
    },
    /// It ended.
    Ended {
        /// Why.
        reason: EndReason,
        /// How long it lasted, to its last activity.
        lasted: Millis,
    },
}

/// How many sessions a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Active sessions.
    pub active: u32,
    /// Idle sessions.
    pub idle: u32,
    /// Sessions that a rebalance has forgotten, and whose users have not come back.
    pub awaited: u32,
}

/// Session numbers are random already: they are their own hash. A fixed hash also makes the order in
/// which a shard is gone through the same in every run.
#[derive(Default)]
struct OwnHash(u64);

impl Hasher for OwnHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The low bits chose the shard; the table inside looks at both ends of the hash.
        self.0 = number.rotate_right(6);
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "one look-up per request; the hash is fixed, so the order is the same in every run"
)]
type Sessions = std::collections::HashMap<SessionId, Arc<Session>, BuildHasherDefault<OwnHash>>;

#[derive(Default)]
struct Shard {
    sessions: Sessions,
    journal: Vec<SessionChange>,
    dropped: u64,
}

/// The session table.
pub struct SessionTable {
    shards: Box<[Mutex<Shard>]>,
    /// Some journal has something: mostly none has when the control plane asks.
    has_changes: AtomicBool,
    sources: Arc<Sources>,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            has_changes: AtomicBool::default(),
            sources: Arc::default(),
        }
    }
}

impl SessionTable {
    /// Which servers the addresses of TCP clients are bound to.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    fn shard(&self, id: SessionId) -> MutexGuard<'_, Shard> {
        // The identifier is random, so its low bits spread evenly.
        lock(&self.shards[id.0 as usize % SHARDS])
    }

    /// What is known of `id`.
    pub fn find(&self, id: SessionId) -> Found {
        match self.shard(id).sessions.get(&id) {
            None => Found::Unknown,
            Some(session) if session.ended().is_some() => Found::Ended,
            Some(session) => Found::Live(Arc::clone(session)),
        }
    }

    /// Begins a session on `server`, unless that has as many as it may: then `None`.
    pub fn begin(
        &self,
        id: SessionId,
        pool: PoolKey,
        server: &ServerView,
        client: IpAddr,
        from: Option<ServerKey>,
        now: Now,
    ) -> Option<Arc<Session>> {
        if !server.try_enter() {
            return None;
        }
        let session = Arc::new(Session::new(
            id,
            (pool, server.key, server.epoch),
            Arc::clone(&server.load),
            client,
            now.moment,
            now.moment,
        ));
        let mut shard = self.shard(id);
        shard.sessions.insert(id, Arc::clone(&session));
        shard.record(&session, SessionChangeKind::Began { from }, now.wall);
        self.changed();
        Some(session)
    }

    /// Takes in a session whose valid token names it but which this node has not seen. It exists
    /// already, so it counts without being asked for room. `None` if it has ended meanwhile.
    pub fn adopt(
        &self,
        id: SessionId,
        pool: PoolKey,
        server: &ServerView,
        client: IpAddr,
        started: WallTime,
        now: Now,
    ) -> Option<Arc<Session>> {
        let mut shard = self.shard(id);
        if let Some(session) = shard.sessions.get(&id) {
            return session.ended().is_none().then(|| Arc::clone(session));
        }
        server.load.enter();
        let session = Arc::new(Session::new(
            id,
            (pool, server.key, server.epoch),
            Arc::clone(&server.load),
            client,
            now.moment_at(started).min(now.moment),
            now.moment,
        ));
        shard.sessions.insert(id, Arc::clone(&session));
        shard.record(&session, SessionChangeKind::Began { from: None }, now.wall);
        self.changed();
        Some(session)
    }

    /// Ends a session; `false` if it was not live.
    pub fn end(&self, session: &Arc<Session>, reason: EndReason, now: Now) -> bool {
        let mut shard = self.shard(session.id);
        self.changed();
        shard.end(session, reason, now)
    }

    /// Moves a live session to the server on which it has a place, under the same number: it is this
    /// new value from now on, and the old one has ended. `None` if it has ended meanwhile.
    pub fn shift(&self, session: &Arc<Session>, place: Place, now: Now) -> Option<Arc<Session>> {
        let mut crossing = session.cross(place);
        let has_arrived = self.arrive(&mut crossing, now);
        has_arrived.then(|| Arc::clone(crossing.session()))
    }

    /// A session has come to another server: it is known there from now on, under the same number.
    /// `false` if it has ended meanwhile, or has moved elsewhere.
    pub fn arrive(&self, crossing: &mut Crossing, now: Now) -> bool {
        let (old, new) = (&crossing.from, &crossing.to);
        let mut shard = self.shard(old.id);
        let heard = old.last_activity();
        if !old.end(EndReason::ServerGone, now.moment) {
            return false;
        }
        new.take_over(old);
        new.touch(heard);
        let from = old.server;
        shard.sessions.insert(old.id, Arc::clone(new));
        shard.record(new, SessionChangeKind::Moved { from }, now.wall);
        self.changed();
        crossing.has_arrived = true;
        true
    }

    /// Ends the session `id`, if it is live: then returns it.
    pub fn end_by_id(&self, id: SessionId, reason: EndReason, now: Now) -> Option<Arc<Session>> {
        let mut shard = self.shard(id);
        let session = Arc::clone(shard.sessions.get(&id)?);
        self.changed();
        shard.end(&session, reason, now).then_some(session)
    }

    /// Leaves the user of the session `id` a message, if it is live; whether it is.
    pub fn leave_message(&self, id: SessionId, message: &Arc<Message>) -> bool {
        // A session that moves does so with its shard locked, and takes its message along.
        let shard = self.shard(id);
        let session = shard.sessions.get(&id);
        let live = session.filter(|session| session.ended().is_none());
        if let Some(session) = live {
            session.leave_message(message);
        }
        live.is_some()
    }

    /// Ends a session as forgotten, if it is on this server and idle with nothing open: asked again at
    /// this moment. Its user is awaited from then on. `false`: it stays as it is.
    pub fn forget_idle(&self, id: SessionId, server: ServerKey, active: Millis, now: Now) -> bool {
        let mut shard = self.shard(id);
        let Some(session) = shard.sessions.get(&id).map(Arc::clone) else {
            return false;
        };
        let is_idle = session.server == server
            && session.open() == 0
            && session.state(now.moment, active) == SessionState::Idle;
        self.changed();
        let is_forgotten = is_idle && shard.end(&session, EndReason::Forgotten, now);
        if is_forgotten {
            session.await_user(true);
        }
        is_forgotten
    }

    /// The token of a session that is over was shown: its user is back.
    pub fn came_back(&self, id: SessionId) {
        if let Some(session) = self.shard(id).sessions.get(&id) {
            session.await_user(false);
        }
    }

    /// Goes through the shards `which` (of [`SessionTable::SHARDS`]): ends what has expired or been
    /// forgotten, and drops the tombstones whose tokens have expired. Returns the live sessions
    /// seen. Call it for every shard within a second or two.
    pub fn sweep(&self, which: std::ops::Range<usize>, snapshot: &Snapshot, now: Now) -> usize {
        self.sources.sweep(which.clone(), snapshot, now.moment);
        let of_shard = |shard: &Mutex<Shard>| {
            let mut shard = lock(shard);
            let live = shard.sweep(snapshot, now);
            if !shard.journal.is_empty() {
                self.changed();
            }
            live
        };
        self.shards[which].iter().map(of_shard).sum()
    }

    /// Some journal has something new. Said while its shard is locked, so that who takes the changes
    /// finds it there.
    fn changed(&self) {
        if !self.has_changes.load(Ordering::Relaxed) {
            self.has_changes.store(true, Ordering::Relaxed);
        }
    }

    /// How many shards there are.
    pub const SHARDS: usize = SHARDS;

    /// The changes since the last call, and how many more there were that had to be dropped.
    pub fn take_changes(&self) -> (Vec<SessionChange>, u64) {
        let mut all = Vec::new();
        let mut dropped = 0;
        if !self.has_changes.swap(false, Ordering::Relaxed) {
            return (all, dropped);
        }
        for shard in &self.shards {
            let mut shard = lock(shard);
            if shard.journal.is_empty() {
                continue;
            }
            all.append(&mut shard.journal);
            dropped += std::mem::take(&mut shard.dropped);
        }
        all.sort_by_key(|change| change.at);
        (all, dropped)
    }

    /// Active, idle and awaited sessions of every server, exactly, by looking at each session.
    pub fn tally(&self, snapshot: &Snapshot, now: Moment) -> BTreeMap<ServerKey, Tally> {
        let mut tallies = BTreeMap::<ServerKey, Tally>::new();
        let is_bound = |_, session: &Session| session.ended().is_none() || session.is_awaited();
        let mut copied = Vec::new();
        for shard in &self.shards {
            lock(shard).copy(is_bound, &mut copied);
            for session in copied.drain(..) {
                if snapshot.why_forgotten(&session).is_some() {
                    continue;
                }
                let active = snapshot
                    .pool(session.pool)
                    .map_or(Millis(0), |pool| pool.config.sticky.active);
                let tally = tallies.entry(session.server).or_default();
                match session.state(now, active) {
                    SessionState::Active => tally.active += 1,
                    SessionState::Ended(_) if session.is_awaited() => tally.awaited += 1,
                    // Whoever is over by now was live when it was copied. It may have moved since, and
                    // what it is now was not there to be copied: so none is missed in both places.
                    SessionState::Idle | SessionState::Ended(_) => tally.idle += 1,
                }
            }
        }
        tallies
    }

    /// The live sessions that `keep` wants, at most `limit`, by their number from `after` on.
    pub fn list(
        &self,
        snapshot: &Snapshot,
        after: Option<SessionId>,
        limit: usize,
        keep: impl Fn(&Session) -> bool,
    ) -> Vec<Arc<Session>> {
        let keep = |session: &Session| snapshot.why_forgotten(session).is_none() && keep(session);
        self.page(false, after, limit, keep)
    }

    /// The same of sessions that have ended, and whose tokens have not expired yet.
    pub fn list_ended(
        &self,
        after: Option<SessionId>,
        limit: usize,
        keep: impl Fn(&Session) -> bool,
    ) -> Vec<Arc<Session>> {
        self.page(true, after, limit, keep)
    }

    /// The first `limit` of the live sessions for which `key` gives something, in its order from after
    /// `after` on, and how many there are in all. Keys should differ: end them with the number.
    pub fn sorted<K: Ord>(
        &self,
        snapshot: &Snapshot,
        after: Option<&K>,
        limit: usize,
        key: impl Fn(&Session) -> Option<K>,
    ) -> (Vec<(K, Arc<Session>)>, usize) {
        let key = |session: &Session| match snapshot.why_forgotten(session) {
            None => key(session),
            Some(_) => None,
        };
        self.in_order(false, after, limit, key)
    }

    /// The same of sessions that have ended, and whose tokens have not expired yet.
    pub fn sorted_ended<K: Ord>(
        &self,
        after: Option<&K>,
        limit: usize,
        key: impl Fn(&Session) -> Option<K>,
    ) -> (Vec<(K, Arc<Session>)>, usize) {
        self.in_order(true, after, limit, key)
    }

    fn in_order<K: Ord>(
        &self,
        ended: bool,
        after: Option<&K>,
        limit: usize,
        key: impl Fn(&Session) -> Option<K>,
    ) -> (Vec<(K, Arc<Session>)>, usize) {
        let mut first = First::new(after, limit);
        let mut copied = Vec::new();
        for shard in &self.shards {
            lock(shard).copy(|_, session| session.ended().is_some() == ended, &mut copied);
            for session in copied.drain(..) {
                let key = key(&session);
                first.take(session, key);
            }
        }
        first.found()
    }

    fn page(
        &self,
        ended: bool,
        after: Option<SessionId>,
        limit: usize,
        keep: impl Fn(&Session) -> bool,
    ) -> Vec<Arc<Session>> {
        // Only the smallest `limit` numbers are kept: memory stays bounded however large the table.
        let mut page = BTreeMap::new();
        let mut copied = Vec::new();
        for shard in &self.shards {
            let is_within = |page: &BTreeMap<SessionId, _>, id: SessionId| {
                let last = page.last_key_value().map(|(last, _)| *last);
                let has_place = page.len() < limit || last.is_some_and(|last| id < last);
                has_place && after.is_none_or(|after| id > after)
            };
            // The number first: to look at a session that is not there in any cache takes longest.
            let wanted =
                |id, session: &Session| is_within(&page, id) && session.ended().is_some() == ended;
            lock(shard).copy(wanted, &mut copied);
            for session in copied.drain(..) {
                if is_within(&page, session.id) && keep(&session) {
                    page.insert(session.id, session);
                    if page.len() > limit {
                        page.pop_last();
                    }
                }
            }
        }
        page.into_values().collect()
    }

    /// Remembers that the token of `id` is worth nothing (an operator ended it before a restart).
    /// `place`: its pool and server, if they exist at present.
    pub fn bury(&self, id: SessionId, place: Option<(PoolKey, &ServerView)>, now: Now) {
        let nowhere = (PoolKey(u32::MAX), ServerKey(u32::MAX), 0);
        let place = place.map_or(nowhere, |(pool, server)| (pool, server.key, server.epoch));
        let session = Session::buried(id, place, now.moment);
        self.shard(id).sessions.insert(id, Arc::new(session));
    }
}

/// The first so many sessions in the order of their keys: memory stays bounded however large the table.
struct First<'a, K> {
    after: Option<&'a K>,
    limit: usize,
    first: BTreeMap<K, Arc<Session>>,
    count: usize,
}

impl<'a, K: Ord> First<'a, K> {
    fn new(after: Option<&'a K>, limit: usize) -> Self {
        Self {
            after,
            limit,
            first: BTreeMap::new(),
            count: 0,
        }
    }

    fn take(&mut self, session: Arc<Session>, key: Option<K>) {
        let Some(key) = key else {
            return;
        };
        self.count += 1;
        let last = self.first.last_key_value();
        let is_after = self.after.is_none_or(|after| key > *after);
        let is_within = self.first.len() < self.limit || last.is_some_and(|(last, _)| key < *last);
        if is_after && is_within {
            self.first.insert(key, session);
            if self.first.len() > self.limit {
                self.first.pop_last();
            }
        }
    }

    fn found(self) -> (Vec<(K, Arc<Session>)>, usize) {
        (self.first.into_iter().collect(), self.count)
    }
}

/// Why a session that nobody has ended is to be, if it is. What is open on a server that left its pool
/// goes on (ADR 0004), the binding to it does not; whoever can move is moved by its worker.
fn must_end(session: &Session, snapshot: &Snapshot) -> Option<EndReason> {
    let left = || snapshot.pool(session.pool)?.removed_server(session.server);
    let reason = snapshot
        .why_over(session)
        .or_else(|| left().map(|_| EndReason::ServerRemoved))?;
    let goes_on = reason == EndReason::ServerRemoved && session.open() > 0;
    (!goes_on && !session.can_move()).then_some(reason)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No code panics while it holds a shard; and a shard is whole between any two statements.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Copies the sessions that are `wanted`. Who looks for some among all looks at the copies, without
    /// the lock: that takes long, and whoever begins or ends a session would wait.
    fn copy(&self, wanted: impl Fn(SessionId, &Session) -> bool, copied: &mut Vec<Arc<Session>>) {
        let of_shard = self.sessions.iter();
        let wanted = of_shard.filter(|(id, session)| wanted(**id, session));
        copied.extend(wanted.map(|(_, session)| Arc::clone(session)));
    }

    fn record(&mut self, session: &Session, kind: SessionChangeKind, at: WallTime) {
        if self.journal.len() >= JOURNAL_MAX {
            self.dropped += 1;
            return;
        }
        self.journal.push(SessionChange {
            at,
            id: session.id,
            pool: session.pool,
            server: session.server,
            client: session.client,
            cookies: match kind {
                SessionChangeKind::Ended {
                    reason: EndReason::Deadline | EndReason::EndedByOperator | EndReason::Idle,
                    ..
                } => session.take_cookies(),
                _ => None,
            },
            kind,
        });
    }

    fn end(&mut self, session: &Session, reason: EndReason, now: Now) -> bool {
        let lasted = session.last_activity().since(session.started);
        let first = session.end(reason, now.moment);
        if first {
            self.record(
                session,
                SessionChangeKind::Ended { reason, lasted },
                now.wall,
            );
        }
        first
    }

    fn sweep(&mut self, snapshot: &Snapshot, now: Now) -> usize {
        let mut over = Vec::new();
        let mut gone = Vec::new();
        let mut live = 0;
        for (id, session) in &self.sessions {
            let sticky = snapshot.pool(session.pool).map(|pool| &pool.config.sticky);
            let reuse = sticky.map_or(REUSE_UNKNOWN, |sticky| sticky.reuse);
            let idle_end = sticky.and_then(|sticky| sticky.idle_end);
            let quiet = now.moment.since(session.last_activity());
            session.drop_old_message(now.moment);
            if let Some(reason) = session.ended() {
                // A token outlives its session by its renewal at most: see `Snapshot::token_life`.
                let kept = match reason {
                    EndReason::Disconnected => DISCONNECTED_KEPT,
                    _ => Snapshot::token_life(reuse),
                };
                if quiet > kept {
                    gone.push(*id);
                }
            } else if let Some(reason) = must_end(session, snapshot) {
                over.push((Arc::clone(session), reason));
            } else if idle_end.is_some_and(|idle_end| session.is_unused(idle_end, now.moment)) {
                over.push((Arc::clone(session), EndReason::Idle));
            } else if session.open() == 0 && quiet > reuse {
                over.push((Arc::clone(session), EndReason::Expired));
            } else {
                live += 1;
            }
        }
        for (session, reason) in over {
            self.end(&session, reason, now);
        }
        for id in gone {
            self.sessions.remove(&id);
        }
        live
    }
}
