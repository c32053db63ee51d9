//! The control thread: composes the driver's shell, the store, the prober and the admin API.

use crate::admin::{Admin, App, AppParts, LONG_MAX};
use crate::clock::clock;
use crate::event_log::EventLog;
use crate::inbox::{Inbox, InboxReceiver, Message};
use crate::outside::{self, Resolver, Webhook};
use crate::page_files;
use crate::prober;
use crate::shell::{Shell, StoreTally};
use crate::signin::{SignIn, SignInOptions};
use crate::store::{Store, StoreThread};
use ebbtide_core::{
    Actor, Answer, Config, Driver, MoveOrder, NodeCounters, Refusal, SessionTable, Snapshot,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};

/// Lets every worker work from this snapshot; must not block.
pub type Publish = Box<dyn Fn(Arc<Snapshot>) + Send>;

/// Lets workers move sessions, after the snapshots that were published before; must not block.
pub type MoveSessions = Box<dyn Fn(Arc<MoveOrder>) + Send>;

/// Reads the configuration file again, checks it and prepares its listeners. An error is for
/// people and has changed nothing. May block.
pub type Reload = Box<dyn Fn() -> Result<Reloaded, String> + Send>;

/// What a reload found.
pub struct Reloaded {
    /// The new configuration, checked, its listeners bound.
    pub config: Arc<Config>,
    /// Who is told of events.
    pub webhooks: Vec<Webhook>,
    /// What the operator should know besides the difference, a line each.
    pub notes: Vec<String>,
}

/// What the control thread is made of.
pub struct Options {
    /// The store, after [`Store::restore`].
    pub store: Store,
    /// The bound admin API.
    pub admin: Admin,
    /// The driver.
    pub driver: Driver,
    /// The table that the workers hold too.
    pub sessions: Arc<SessionTable>,
    /// The counters that the workers write.
    pub node: Arc<NodeCounters>,
    /// Where facts and commands arrive.
    pub inbox: InboxReceiver,
    /// How snapshots reach the workers.
    pub publish: Publish,
    /// How workers are told to move sessions.
    pub move_sessions: MoveSessions,
    /// How the configuration is read again.
    pub reload: Reload,
    /// Who is told of events.
    pub webhooks: Vec<Webhook>,
    /// How names are looked up whose addresses are servers.
    pub resolver: Resolver,
    /// How people sign in to the console.
    pub signin: SignInOptions,
    /// The program's version.
    pub version: &'static str,
}

/// The running control plane.
pub struct Control {
    inbox: Inbox,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Publishes the first snapshot and starts the threads of the control plane: its own, the
    /// store's and the prober's.
    pub fn start(options: Options) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(4)
            .thread_name("ebbtide-control-read")
            .build()?;
        let inbox = options.inbox.inbox();
        let mut store = options.store;
        let operators = store.operators().map_err(io::Error::other)?;
        let signed_in = store.console_sessions().map_err(io::Error::other)?;
        let first = options.driver.snapshot();
        let (snapshot, snapshots) = watch::channel(Arc::clone(&first));
        let (probe_now, probes) = mpsc::unbounded_channel();
        let (store, store_thread) = StoreThread::start(store)?;
        let prober = prober::start(snapshots.clone(), probes, inbox.clone())?;
        page_files::start(snapshots.clone(), inbox.clone())?;
        let (outside, outside_thread) = outside::start(
            snapshots.clone(),
            inbox.clone(),
            options.webhooks,
            options.resolver,
            options.admin.address(),
        )?;
        let (events, store_tally) = (Arc::new(EventLog::new()), Arc::<StoreTally>::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let app = App::new(AppParts {
            inbox: inbox.clone(),
            snapshots,
            status: Default::default(),
            sessions: Arc::clone(&options.sessions),
            node: options.node,
            store: store.clone(),
            store_tally: Arc::clone(&store_tally),
            events: Arc::clone(&events),
            outside: Arc::clone(&outside),
            admin: options.admin.address(),
            version: options.version,
            started: clock(),
            operators: Mutex::new(operators),
            signin: Arc::new(SignIn::new(options.signin, signed_in, store.clone())),
            long: Arc::new(Semaphore::new(LONG_MAX)),
            stopping: Arc::clone(&stopping),
        });
        (options.publish)(first);
        let shell = Shell {
            driver: options.driver,
            sessions: options.sessions,
            store,
            store_tally,
            snapshot,
            publish: options.publish,
            move_sessions: options.move_sessions,
            probe_now,
            events,
            outside,
            inbox: inbox.clone(),
            reload: Arc::new(Mutex::new(options.reload)),
            answers: BTreeMap::new(),
            last_request: 0,
            sweep_next: 0,
        };
        let threads = [prober, store_thread, outside_thread];
        let work = move || run(runtime, shell, options.inbox, options.admin, app);
        Ok(Self {
            inbox,
            stopping,
            thread: spawn(work, threads)?,
        })
    }

    /// Has the configuration read again; blocks until it is in force or refused.
    pub fn reload(&self, actor: Actor) -> Result<Answer, Refusal> {
        self.inbox.reload_blocking(actor)
    }

    /// The order to stop has come: from now on the node says that it is not ready, and refuses
    /// changes, which no worker would take any more.
    pub fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Stops: what was asked of the store is written, the admin API's socket is removed.
    pub fn stop(self) {
        self.inbox.send(Message::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the control thread had panicked");
        }
    }
}

/// Does `work` on the control thread, which ends after `threads`.
fn spawn(
    work: impl FnOnce() + Send + 'static,
    threads: [JoinHandle<()>; 3],
) -> io::Result<JoinHandle<()>> {
    let name = "ebbtide-control".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        work();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the control plane had panicked");
            }
        }
    })
}

fn run(runtime: Runtime, shell: Shell, receiver: InboxReceiver, admin: Admin, app: App) {
    runtime.block_on(async {
        let signin = Arc::clone(&app.signin);
        tokio::spawn(async move { signin.watch().await });
        let _serving = match admin.serve(app) {
            Ok(serving) => serving,
            Err(error) => return tracing::error!("the admin API cannot be served: {error}"),
        };
        shell.run(receiver).await;
    });
    // A reload that hangs in a name lookup must not keep the program from stopping.
    runtime.shutdown_timeout(Duration::from_secs(1));
}
