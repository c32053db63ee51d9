//! The snapshot: what the data plane works from. One immutable, numbered value; a worker that has
//! taken generation *n* decides nothing by an older one any more.

use crate::candidates::Candidates;
use crate::config::{Config, PoolConfig};
use crate::counters::{PoolCounters, ServerCounters};
use crate::door::DoorTable;
use crate::gate::{OwnPages, WaitingLine};
use crate::intent::PoolIntent;
use crate::load::LoadGauge;
use crate::name::{PoolKey, ServerKey};
use crate::notice::Notice;
use crate::places::Places;
use crate::replica::{Mode, ReplicaView, ResourceView};
use crate::session::{EndReason, Session};
use crate::standing::Standing;
use crate::takeover::Moved;
use crate::time::{Millis, Moment, WallTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// What the data plane works from.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its number; each is greater than the one before.
    pub generation: u64,
    /// The configuration that it was made from (listeners are read from here).
    pub config: Arc<Config>,
    /// The pools, by ascending key.
    pub pools: Vec<Arc<PoolView>>,
    /// The secrets that tokens are made and checked with.
    pub token_secrets: TokenSecrets,
    /// The doors of this node, as they are at any moment.
    pub doors: Arc<DoorTable>,
}

/// The secrets that tokens are made and checked with: two are valid at once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenSecrets {
    /// The one that new tokens are made with.
    pub current: [u8; 32],
    /// The one before, still good for tokens made with it.
    pub previous: Option<[u8; 32]>,
}

/// Secrets are never printed.
impl std::fmt::Debug for TokenSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecrets")
    }
}

/// A pool, as the data plane sees it.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Its number.
    pub key: PoolKey,
    /// Its settings. (`servers` in there is the file's list; [`PoolView::servers`] is the truth.)
    pub config: Arc<PoolConfig>,
    /// What the operator wants of it.
    pub intent: PoolIntent,
    /// Since when; `None` if nobody ever said anything.
    pub since: Option<WallTime>,
    /// The operator's own pages, as they were last read.
    pub pages: OwnPages,
    /// Who waits for a place.
    pub line: Arc<WaitingLine>,
    /// Its resources, and what is known of the copies of them.
    pub replicas: Arc<ReplicaView>,
    /// Its servers, by ascending key.
    pub servers: Vec<ServerView>,
    /// Servers that have left it and still have sessions, by ascending key. They take no others.
    pub removed: Vec<ServerView>,
    /// Those of them that admit new sessions: always [`Candidates::of`] `servers`.
    pub candidates: Candidates,
    /// Its counters.
    pub counters: Arc<PoolCounters>,
}

/// A server, as the data plane sees it.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Its number.
    pub key: ServerKey,
    /// Its name within the pool.
    pub name: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// Its share of new sessions, at least 1.
    pub weight: u32,
    /// In how many of a hundred choices of a server for a new session it takes part: all, unless it
    /// is in its slow start.
    pub share: u8,
    /// Most sessions it may have.
    pub max_sessions: Option<u32>,
    /// The load in percent above which it takes no new sessions. That it is above is in its standing.
    pub peak_load: Option<u8>,
    /// Where the load of its machine is read, if it is.
    pub exporter: Option<Arc<str>>,
    /// Where users reach it themselves, if its pool leads them there.
    pub public_url: Option<Arc<str>>,
    /// Its stickiness generation: a binding of another epoch is forgotten.
    pub epoch: u32,
    /// What it may do. `Full` is not in here; admission sees to that.
    pub standing: Standing,
    /// Why the sessions of earlier epochs ended.
    pub epoch_reason: EndReason,
    /// What its users are told, while it is drained or its pool is closing.
    pub notice: Option<Arc<Notice>>,
    /// Its sessions in this epoch.
    pub load: Arc<ServerLoad>,
    /// Its counters.
    pub counters: Arc<ServerCounters>,
}

/// What a server carries: how many sessions it has in one epoch, and how busy its machine is. A raised
/// epoch starts with a new one at zero sessions, which is how a million sessions are forgotten at once.
/// In a cache line of its own, so that choosing among many is fast.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ServerLoad {
    sessions: AtomicU32,
    second_try: AtomicBool,
    /// How busy its machine is, as it was last read.
    pub gauge: LoadGauge,
    /// Places that its own health page tells.
    pub places: Places,
}

/// A request that was lost with another server is being tried once more here; dropping it lets the
/// next one.
#[derive(Debug)]
pub struct SecondTry(Arc<ServerLoad>);

impl Drop for SecondTry {
    fn drop(&mut self) {
        self.0.second_try.store(false, Relaxed);
    }
}

/// A place on a server for a session that is about to move there: it counts as a session of it.
/// Dropping it gives it up.
#[derive(Debug)]
pub struct Place {
    pub(crate) server: ServerKey,
    pub(crate) epoch: u32,
    load: Option<Arc<ServerLoad>>,
}

impl Place {
    /// The count that a session goes on to count in.
    pub(crate) fn take(mut self) -> Arc<ServerLoad> {
        self.load.take().unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(load) = self.load.take() {
            load.places.give_back();
            load.leave();
        }
    }
}

impl ServerLoad {
    /// Of a new epoch: the same machine without sessions.
    pub(crate) fn of_new_epoch(&self) -> Self {
        let load = Self {
            places: self.places.again(),
            ..Self::default()
        };
        if let Some(reading) = self.gauge.reading() {
            load.gauge.set(reading);
        }
        load
    }

    /// Live sessions.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Relaxed)
    }

    /// Begins a second try here, unless one is under way.
    pub fn second_try(self: &Arc<Self>) -> Option<SecondTry> {
        let was_under_way = self.second_try.swap(true, Relaxed);
        (!was_under_way).then(|| SecondTry(Arc::clone(self)))
    }

    /// Counts one more, if that is within `max`; exact over all workers.
    pub(crate) fn try_enter(&self, max: Option<u32>) -> bool {
        self.sessions
            .fetch_update(Relaxed, Relaxed, |sessions| {
                (max.is_none_or(|max| sessions < max)).then(|| sessions.saturating_add(1))
            })
            .is_ok()
    }

    pub(crate) fn enter(&self) {
        self.sessions.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.sessions.fetch_sub(1, Relaxed);
    }
}

impl Snapshot {
    /// The pool with this key.
    pub fn pool(&self, key: PoolKey) -> Option<&Arc<PoolView>> {
        let index = self
            .pools
            .binary_search_by_key(&key, |pool| pool.key)
            .ok()?;
        Some(&self.pools[index])
    }

    /// The pool with this name.
    pub fn pool_named(&self, name: &str) -> Option<&Arc<PoolView>> {
        self.pools.iter().find(|pool| pool.config.name == name)
    }

    /// The server that a session is on, also if that has left its pool.
    pub fn server_of(&self, session: &Session) -> Option<&ServerView> {
        self.pool(session.pool)?.server_of(session)
    }

    /// Why a session that nobody has ended counts no more, if it does not: what this says of its server.
    pub fn why_forgotten(&self, session: &Session) -> Option<EndReason> {
        match self.server_of(session) {
            None => Some(EndReason::ServerRemoved),
            Some(server) if server.epoch != session.epoch => Some(server.epoch_reason),
            Some(_) => None,
        }
    }

    /// Why a session that nobody has ended is to end, if it is: the same, and what this says of the
    /// resource that it uses.
    pub fn why_over(&self, session: &Session) -> Option<EndReason> {
        self.why_forgotten(session).or_else(|| {
            let pool = self.pool(session.pool)?;
            pool.is_withdrawn_from(session)
                .then_some(EndReason::ResourceMaintenance)
        })
    }

    /// The server with this key in this pool.
    pub fn server(&self, pool: PoolKey, server: ServerKey) -> Option<&ServerView> {
        self.pool(pool)?.server(server)
    }

    /// How long after it was last renewed a token may still be honoured by a node that has not
    /// seen its session: `reuse`, and the quarter of it within which tokens are not renewed.
    pub fn token_life(reuse: Millis) -> Millis {
        Millis(reuse.0.saturating_add(reuse.0 / 4))
    }
}

impl ServerView {
    /// A place for a session that moves here, unless the server has as many as it may.
    pub fn reserve(&self) -> Option<Place> {
        self.try_enter().then(|| Place {
            server: self.key,
            epoch: self.epoch,
            load: Some(Arc::clone(&self.load)),
        })
    }

    /// Counts one more session, if there is room for it; exact over all workers.
    pub(crate) fn try_enter(&self) -> bool {
        if !self.load.places.try_take() {
            return false;
        }
        let is_within = self.load.try_enter(self.max_sessions);
        if !is_within {
            self.load.places.give_back();
        }
        is_within
    }

    /// New sessions that it has room for, by `max_sessions` and by what its own page tells; `None` if
    /// neither bounds them.
    pub fn room(&self) -> Option<u32> {
        let max = self.max_sessions;
        let free = max.map(|max| max.saturating_sub(self.load.sessions()));
        free.into_iter().chain(self.load.places.left()).min()
    }

    /// Whether it has room for another session.
    pub fn has_room(&self) -> bool {
        self.room().is_none_or(|room| room > 0)
    }

    /// When its sessions end, if that is decided.
    pub fn deadline(&self) -> Option<Moment> {
        self.notice.as_ref().map(|notice| notice.deadline)
    }
}

impl PoolView {
    /// The server with this key.
    pub fn server(&self, key: ServerKey) -> Option<&ServerView> {
        with_key(&self.servers, key)
    }

    /// The server with this key, also if it has left the pool and still has sessions.
    pub fn server_or_removed(&self, key: ServerKey) -> Option<&ServerView> {
        self.server(key).or_else(|| self.removed_server(key))
    }

    /// The server that a session of this pool is on, also if it has left the pool.
    pub fn server_of(&self, session: &Session) -> Option<&ServerView> {
        self.server_or_removed(session.server)
    }

    /// The server with this key, if it has left the pool and still has sessions.
    pub fn removed_server(&self, key: ServerKey) -> Option<&ServerView> {
        with_key(&self.removed, key)
    }

    /// Whether the resource that a session uses is in maintenance: then it is no user's any more.
    pub fn is_withdrawn_from(&self, session: &Session) -> bool {
        let is_withdrawn = |resource: &ResourceView| resource.rule.mode == Mode::Maintenance;
        if !self.replicas.resources.iter().any(is_withdrawn) {
            return false;
        }
        let attachment = session.attachment();
        let resource = attachment.and_then(|used| self.replicas.resource(&used.resource));
        resource.is_some_and(is_withdrawn)
    }
}

/// Among servers by ascending key.
fn with_key(servers: &[ServerView], key: ServerKey) -> Option<&ServerView> {
    let index = servers.binary_search_by_key(&key, |server| server.key);
    index.ok().map(|index| &servers[index])
}

/// What a worker tells the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The worker has taken this generation and decides by no older one any more.
    Acknowledged {
        /// Which worker.
        worker: usize,
        /// Which generation.
        generation: u64,
    },
    /// A connection to the server was refused or could not be made.
    ConnectFailed {
        /// The server's pool.
        pool: PoolKey,
        /// The server.
        server: ServerKey,
    },
    /// A server shows another size of its copy than it is known by.
    CopyContradicted {
        /// The server's pool.
        pool: PoolKey,
        /// The server.
        server: ServerKey,
        /// Of which resource.
        resource: String,
        /// The size that it shows, in bytes.
        size: u64,
    },
    /// Somebody writes to a server's copy.
    CopyWritten {
        /// The server's pool.
        pool: PoolKey,
        /// The server.
        server: ServerKey,
        /// Of which resource.
        resource: String,
    },
    /// A session goes on with another server, or with its own again.
    Moved(Moved),
}
