//! Composition: one running node, put together in the order in which things can fail, so that a
//! start fails whole and nothing is served before everything stands.

use crate::cli::Global;
use crate::config::{self, AccessLog, Loaded, NodeConfig};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::StopSignals;
use ebbtide_api::SOCKET_NAME;
use ebbtide_control::{Admin, Control, Inbox, Reloaded, Store, boot_id, clock, inbox};
use ebbtide_core::{Actor, Driver, Millis, NodeCounters, SessionTable, Snapshot};
use ebbtide_proxy::{AccessLogOptions, DataPlane, LogFormat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The data plane, as long as it runs.
type Plane = Arc<Mutex<Option<DataPlane>>>;

/// A running node.
pub struct Node {
    plane: Plane,
    control: Control,
    inbox: Inbox,
    admin: SocketAddr,
}

impl Node {
    /// Starts what the file at `path`, read as `loaded`, says. A reload reads that path again.
    pub fn start(loaded: &Loaded, path: PathBuf) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
        raise_file_limit();
        let node = &loaded.node;
        let mut store = Store::open(&node.state_dir).map_err(|error| failed(&error))?;
        let admin = Admin::bind(node.admin, &node.state_dir).map_err(|error| failed(&error))?;
        let restored = store.restore(clock()).map_err(|error| failed(&error))?;
        let sessions = Arc::new(SessionTable::default());
        let counters = Arc::new(NodeCounters::new(node.workers));
        let config = Arc::clone(&loaded.config);
        let table = Arc::clone(&sessions);
        let driver = Driver::new(config, restored, table, boot_id(), node.workers, clock());
        let (inbox, receiver) = inbox();
        let facts = inbox.clone();
        let options = ebbtide_proxy::Options {
            workers: node.workers,
            clock,
            sessions: Arc::clone(&sessions),
            node: Arc::clone(&counters),
            facts: Arc::new(move |fact| facts.fact(fact)),
            access_log: node.access_log.as_ref().map(log_options),
        };
        let plane = DataPlane::start(options, driver.snapshot()).map_err(|error| failed(&error))?;
        let plane: Plane = Arc::new(Mutex::new(Some(plane)));
        let address = admin.address();
        let control = Control::start(ebbtide_control::Options {
            store,
            admin,
            driver,
            sessions,
            node: counters,
            inbox: receiver,
            publish: publisher(&plane),
            move_sessions: mover(&plane),
            webhooks: loaded.webhooks.clone(),
            resolver: ebbtide_control::system_resolver(),
            signin: node.signin.clone(),
            reload: reloader(&plane, path, node.clone()),
            version: env!("CARGO_PKG_VERSION"),
        })
        .map_err(|error| failed(&format!("the control plane cannot be started: {error}")))?;
        Ok(Self {
            plane,
            control,
            inbox,
            admin: address,
        })
    }

    /// Where the control API listens on TCP.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Reads the file again, says what is different or why nothing is, and opens the access log
    /// anew.
    async fn reload(&self) {
        with_plane(&self.plane, DataPlane::reopen_access_log);
        let actor = Actor {
            who: "ebbtide".into(),
            from: "SIGHUP".into(),
            reason: None,
        };
        match self.inbox.reload(actor).await {
            Ok(answer) => {
                tracing::info!("{}", answer.text);
                for change in answer.changes {
                    tracing::info!("  {change}");
                }
            }
            Err(refusal) => tracing::error!("reload: {refusal}"),
        }
    }

    /// Lets what is in flight finish within `grace`, or until `hurry` says so, then stops the rest.
    pub async fn stop(self, grace: Millis, hurry: impl Future<Output = ()>) {
        self.control.stopping();
        let plane = lock(&self.plane).take();
        if let Some(plane) = plane {
            let (done, stopped) = oneshot::channel();
            // A thread of its own, which ends with the program if there is a hurry. Nobody waits
            // for its answer then.
            std::thread::spawn(move || {
                let _ = done.send(plane.stop(grace));
            });
            tokio::select! {
                cut = stopped => report_cut(cut.unwrap_or_default()),
                () = hurry => tracing::warn!("stopping at once"),
            }
        }
        self.control.stop();
    }
}

fn report_cut(cut: usize) {
    if cut > 0 {
        tracing::warn!("connections still in use after the grace, and so cut: {cut}");
    }
}

fn lock(plane: &Plane) -> std::sync::MutexGuard<'_, Option<DataPlane>> {
    plane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with the data plane, unless it is being stopped.
fn with_plane<T>(plane: &Plane, work: impl FnOnce(&DataPlane) -> T) -> Option<T> {
    lock(plane).as_ref().map(work)
}

fn publisher(plane: &Plane) -> ebbtide_control::Publish {
    let plane = Arc::clone(plane);
    Box::new(move |snapshot: Arc<Snapshot>| {
        with_plane(&plane, |plane| plane.publish(snapshot));
    })
}

fn mover(plane: &Plane) -> ebbtide_control::MoveSessions {
    let plane = Arc::clone(plane);
    Box::new(move |order| {
        with_plane(&plane, |plane| plane.move_sessions(&order));
    })
}

fn reloader(plane: &Plane, path: PathBuf, running: NodeConfig) -> ebbtide_control::Reload {
    let plane = Arc::clone(plane);
    Box::new(move || {
        let loaded = config::load(&path).map_err(|error| error.to_string())?;
        let notes = needs_restart(&running, &loaded.node);
        let notes = notes
            .into_iter()
            .map(|setting| format!("! {setting} is different; it takes effect with a restart"))
            .collect();
        match with_plane(&plane, |plane| plane.prepare(&loaded.config)) {
            Some(Ok(())) => Ok(Reloaded {
                config: loaded.config,
                webhooks: loaded.webhooks,
                notes,
            }),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("Ebbtide is stopping; nothing was changed".into()),
        }
    })
}

/// Settings that a running node cannot take over.
fn needs_restart(running: &NodeConfig, file: &NodeConfig) -> Vec<&'static str> {
    [
        ("state_dir", running.state_dir != file.state_dir),
        ("admin.listen", running.admin != file.admin),
        ("admin.url", running.signin.url != file.signin.url),
        ("admin.users", running.signin.users != file.signin.users),
        (
            "admin.sign_in",
            (running.signin.spans, &running.signin.openid)
                != (file.signin.spans, &file.signin.openid),
        ),
        ("workers", running.workers != file.workers),
        ("stop_grace", running.stop_grace != file.stop_grace),
        ("access_log", running.access_log != file.access_log),
    ]
    .into_iter()
    .filter_map(|(setting, differs)| differs.then_some(setting))
    .collect()
}

fn log_options(log: &AccessLog) -> AccessLogOptions {
    AccessLogOptions {
        format: if log.json {
            LogFormat::Json
        } else {
            LogFormat::Combined
        },
        path: log.path.clone(),
    }
}

/// Each user takes two descriptors; the limit that programs are started with is made for those
/// that never have thousands.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit on open files stays as it is: {error}");
    }
}

/// `ebbtide run`: until it is told to stop.
pub async fn run(path: &Path, global: &Global) -> Result<Exit, Failure> {
    let loaded = config::load(path)?;
    let no_signals = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut stop = StopSignals::catch().map_err(no_signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(no_signals)?;
    let node = Node::start(&loaded, path.to_owned())?;
    announce(&loaded, node.admin(), global.json);
    notify(NotifyState::Ready);
    loop {
        tokio::select! {
            _ = hang_up.recv() => node.reload().await,
            () = stop.next() => break,
        }
    }
    tracing::info!(
        "stopping; requests may finish within {}",
        loaded.node.stop_grace
    );
    notify(NotifyState::Stopping);
    node.stop(loaded.node.stop_grace, stop.next()).await;
    Ok(Exit::Done)
}

fn announce(loaded: &Loaded, admin: SocketAddr, json: bool) {
    let socket = loaded.node.state_dir.join(SOCKET_NAME);
    if json {
        let listeners = loaded.config.listeners.iter();
        let listeners: Vec<_> = listeners
            .map(|listener| {
                serde_json::json!({
                    "name": listener.name, "bind": listener.bind, "pool": listener.pool,
                })
            })
            .collect();
        output::json_line(&serde_json::json!({
            "listeners": listeners, "admin": format!("http://{admin}"), "socket": socket,
        }));
        return;
    }
    for listener in &loaded.config.listeners {
        output::line(format!(
            "listener {} on {}, to pool {}",
            listener.name, listener.bind, listener.pool
        ));
    }
    output::line(format!(
        "admin on http://{admin} and unix:{}",
        socket.display()
    ));
}

/// Tells the service manager, if one wants to know.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("the service manager could not be told: {error}");
    }
}
