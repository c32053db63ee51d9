//! The data plane as others hold it: start, publish, stop.

use crate::access_log::{AccessLog, AccessLogOptions};
use crate::listeners::{Listeners, StartError};
use crate::worker::{Order, Setup, Worker};
use ebbtide_core::{Config, Fact, Millis, MoveOrder, NodeCounters, Now, SessionTable, Snapshot};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the data plane is given.
pub struct Options {
    /// Worker threads; each serves its share of the connections.
    pub workers: usize,
    /// Reads both clocks.
    pub clock: fn() -> Now,
    /// The session table, which the control plane holds too.
    pub sessions: Arc<SessionTable>,
    /// The node's counters; made for at least `workers`, as those of every snapshot must be.
    pub node: Arc<NodeCounters>,
    /// Takes what workers have to tell; called on their threads, so it must not block.
    pub facts: Arc<dyn Fn(Fact) + Send + Sync>,
    /// Where requests are logged, if at all.
    pub access_log: Option<AccessLogOptions>,
}

/// The running data plane. Shared by reference between threads.
pub struct DataPlane {
    workers: Vec<Handle>,
    listeners: Mutex<Listeners>,
    log: Option<AccessLog>,
}

struct Handle {
    orders: UnboundedSender<Order>,
    thread: JoinHandle<usize>,
}

impl DataPlane {
    /// Binds every listener of `first.config`, all or nothing, then starts the workers, who take
    /// `first` and acknowledge it. Nothing is served if this fails.
    pub fn start(options: Options, first: Arc<Snapshot>) -> Result<Self, StartError> {
        let workers = options.workers.max(1);
        let mut listeners = Listeners::default();
        listeners.prepare(&first.config, workers)?;
        let log = options.access_log.map(AccessLog::start).transpose()?;
        let setup = Setup {
            workers,
            clock: options.clock,
            sessions: options.sessions,
            node: options.node,
            facts: options.facts,
            log: log.as_ref().map(AccessLog::sender),
            turns: Arc::default(),
        };
        let workers = (0..workers)
            .map(|index| Handle::start(index, setup.clone()))
            .collect::<Result<Vec<Handle>, StartError>>()?;
        let plane = Self {
            workers,
            listeners: Mutex::new(listeners),
            log,
        };
        plane.publish(first);
        Ok(plane)
    }

    /// Binds the listeners of a new configuration that are not bound yet. They are kept, without
    /// taking connections, until a snapshot that names them is published. On an error nothing has
    /// changed.
    pub fn prepare(&self, config: &Config) -> Result<(), StartError> {
        self.listeners().prepare(config, self.workers.len())
    }

    /// Hands the workers a new snapshot. Each acknowledges it with [`Fact::Acknowledged`].
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let shares: Vec<BTreeMap<SocketAddr, TcpListener>> = self
            .listeners()
            .publish(&snapshot.config, self.workers.len());
        for (worker, listeners) in self.workers.iter().zip(shares) {
            worker.order(Order::Publish {
                snapshot: Arc::clone(&snapshot),
                listeners,
            });
        }
    }

    /// Wants sessions that can go on elsewhere on another server; what has moved is told with
    /// [`Fact::Moved`]. Nothing happens to those that are pinned to their server, and to all if no
    /// server can stand in. A snapshot that was published before is taken before.
    pub fn move_sessions(&self, order: &Arc<MoveOrder>) {
        for worker in &self.workers {
            worker.order(Order::Move(Arc::clone(order)));
        }
    }

    /// Opens the access log's file anew, after it has been moved away.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// Stops accepting and lets what is in flight finish within `grace`: every answer says
    /// `Connection: close`, idle connections are closed. Then cuts the rest, and returns how many
    /// exchanges and tunnels that were.
    pub fn stop(self, grace: Millis) -> usize {
        for worker in &self.workers {
            worker.order(Order::Stop { grace });
        }
        let cut = self.workers.into_iter().map(|worker| {
            worker.thread.join().unwrap_or_else(|_| {
                tracing::error!("a worker has panicked");
                0
            })
        });
        let cut = cut.sum();
        if let Some(log) = self.log {
            log.finish();
        }
        cut
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn start(index: usize, setup: Setup) -> Result<Self, StartError> {
        let (orders, inbox) = unbounded_channel();
        let (ready, started) = std_mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || run(index, setup, inbox, &ready))
            .map_err(StartError::Worker)?;
        match started.recv() {
            Ok(Err(error)) => Err(StartError::Worker(error)),
            _ => Ok(Self { orders, thread }),
        }
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("a worker is gone");
        }
    }
}

/// A worker's thread; returns how many exchanges were cut when it stopped.
fn run(
    index: usize,
    setup: Setup,
    inbox: UnboundedReceiver<Order>,
    ready: &std_mpsc::SyncSender<std::io::Result<()>>,
) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let (runtime, outcome) = match runtime {
        Ok(runtime) => (Some(runtime), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody waits for it any more only if the whole start has failed.
    let _ = ready.send(outcome);
    let Some(runtime) = runtime else { return 0 };
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, Worker::run(index, setup, inbox))
}
