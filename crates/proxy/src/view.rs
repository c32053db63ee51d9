//! A worker's own view of the snapshot: what it looks up for each request, laid ready.

use crate::upstream::{Lane, Lanes};
use ebbtide_core::{Network, PoolConfig, PoolKey, PoolView, Reason, Rotation, ServerKey, Snapshot};
use ebbtide_protocol::http1::Limits;
use ebbtide_protocol::token::{TokenKeys, tag};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Retries that are allowed from the start: a server that dies at once breaks off every exchange
/// it has, and each of those is due its second try.
const RETRIES_AT_FIRST: f64 = 100.0;
/// The most retries that can be saved up.
const RETRIES_MAX: f64 = 1000.0;

/// A worker's view of one snapshot.
pub(crate) struct View {
    pub snapshot: Arc<Snapshot>,
    pub keys: TokenKeys,
    /// Listeners by address.
    pub listeners: BTreeMap<SocketAddr, Way>,
    /// By ascending key, as in the snapshot.
    pools: Vec<Rc<Routes>>,
}

/// Where a listener leads, and who may use it.
pub(crate) struct Way {
    pub pool: PoolKey,
    /// Proxies that begin each connection with a PROXY header; where there are any, nobody else may
    /// connect.
    pub proxies: Vec<Network>,
}

/// One pool in the view.
pub(crate) struct Routes {
    pub pool: Arc<PoolView>,
    /// The pool's tag in tokens.
    pub tag: u64,
    /// The name of its door cookie.
    pub door_cookie: String,
    pub limits: Limits,
    /// The ways to the servers, in the order of `pool.servers`.
    pub lanes: Vec<Rc<Lane>>,
    pub memory: Rc<PoolMemory>,
    by_tag: HashMap<u64, usize>,
}

/// What a worker remembers of a pool from snapshot to snapshot.
pub(crate) struct PoolMemory {
    pub rotation: RefCell<Rotation>,
    retries: Cell<f64>,
}

impl Default for PoolMemory {
    fn default() -> Self {
        Self {
            rotation: RefCell::default(),
            retries: Cell::new(RETRIES_AT_FIRST),
        }
    }
}

impl PoolMemory {
    /// A request came: it earns its share of a retry.
    pub fn earn_retry(&self, percent: u32) {
        let saved = self.retries.get() + f64::from(percent) / 100.0;
        self.retries.set(saved.min(RETRIES_MAX));
    }

    /// Whether one more retry is within the budget; then it is spent.
    pub fn spend_retry(&self) -> bool {
        let saved = self.retries.get();
        if saved < 1.0 {
            return false;
        }
        self.retries.set(saved - 1.0);
        true
    }
}

impl View {
    /// The view before anything was published.
    pub fn empty() -> Self {
        Self {
            snapshot: Arc::default(),
            keys: TokenKeys {
                current: [0; 32],
                previous: None,
            },
            listeners: BTreeMap::new(),
            pools: Vec::new(),
        }
    }

    /// The view of the next snapshot; what has not changed is taken over.
    pub fn next(&self, snapshot: Arc<Snapshot>, lanes: &mut Lanes, worker: usize) -> Self {
        let secrets = &snapshot.token_secrets;
        let keys = TokenKeys {
            current: secrets.current,
            previous: secrets.previous,
        };
        let pools = snapshot.pools.iter().map(|pool| {
            let known = self.routes(pool.key);
            match known {
                Some(known) if Arc::ptr_eq(&known.pool, pool) => Rc::clone(known),
                _ => Rc::new(Routes::new(pool, known.map(Rc::as_ref), lanes, worker)),
            }
        });
        Self {
            pools: pools.collect(),
            keys,
            listeners: listeners(&snapshot),
            snapshot,
        }
    }

    /// The pool with this key.
    pub fn routes(&self, key: PoolKey) -> Option<&Rc<Routes>> {
        let index = self
            .pools
            .binary_search_by_key(&key, |routes| routes.pool.key);
        Some(&self.pools[index.ok()?])
    }

    /// Every way to a server that may be kept open.
    pub fn kept_lanes(&self) -> impl Iterator<Item = &Rc<Lane>> {
        self.pools.iter().flat_map(|routes| {
            let servers = routes.pool.servers.iter().zip(&routes.lanes);
            servers
                .filter(|(server, _)| {
                    !matches!(server.standing.reason, Reason::Down | Reason::Maintenance)
                })
                .map(|(_, lane)| lane)
        })
    }
}

impl Routes {
    fn new(pool: &Arc<PoolView>, known: Option<&Routes>, all: &mut Lanes, worker: usize) -> Self {
        let name = &pool.config.name;
        let lanes: Vec<Rc<Lane>> = pool
            .servers
            .iter()
            .map(|server| all.lane(name, server, worker))
            .collect();
        let by_tag = lanes
            .iter()
            .enumerate()
            .map(|(index, lane)| (lane.tag, index));
        let http = &pool.config.http;
        Self {
            door_cookie: PoolConfig::door_cookie(name),
            tag: known.map_or_else(|| tag(name), |known| known.tag),
            limits: Limits {
                head_bytes: http.head_bytes_max,
                fields: http.fields_max,
            },
            memory: known
                .map(|known| Rc::clone(&known.memory))
                .unwrap_or_default(),
            by_tag: by_tag.collect(),
            pool: Arc::clone(pool),
            lanes,
        }
    }

    /// Where in the pool the server with this tag is.
    pub fn index_of_tag(&self, tag: u64) -> Option<usize> {
        self.by_tag.get(&tag).copied()
    }

    /// Where in the pool the server with this key is.
    pub fn index_of(&self, key: ServerKey) -> Option<usize> {
        let servers = &self.pool.servers;
        servers.binary_search_by_key(&key, |server| server.key).ok()
    }
}

fn listeners(snapshot: &Snapshot) -> BTreeMap<SocketAddr, Way> {
    let listeners = snapshot.config.listeners.iter();
    listeners
        .filter_map(|listener| {
            let way = Way {
                pool: snapshot.pool_named(&listener.pool)?.key,
                proxies: listener.proxy_from.clone(),
            };
            Some((listener.bind, way))
        })
        .collect()
}
