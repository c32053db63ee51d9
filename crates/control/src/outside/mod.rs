//! Everything that the control plane asks of others besides health: calls that log users out,
//! webhooks, version pages, manifests, copies that are read, exporters,
//! agents, names, and who signs in by a provider. All of it on a thread of its
//! own: whoever is asked may be slow or hang, and neither a deadline nor a probe waits for that.

mod agents;
mod connect;
mod exchange;
mod exporters;
mod fetch;
mod logout;
mod manifests;
mod names;
mod readings;
mod rounds;
mod tally;
mod upgrade;
mod url;
mod webhook;

use crate::inbox::Inbox;
use connect::Connector;
use ebbtide_core::{SessionChange, Snapshot};
use fetch::Orders;
pub(crate) use fetch::{Fetch, Fetched};
use logout::{Call, Waiting};
pub use names::{Resolver, system_resolver};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
pub(crate) use tally::{BytesRead, Tally};
use tokio::sync::{mpsc, watch};
pub use upgrade::UPGRADE_EVERY;
pub use url::HttpUrl;
pub(crate) use webhook::Hooks;
pub use webhook::{Secret, Template, WEBHOOK_EVENTS, Webhook};

/// The way to the thread. Never blocks.
pub(crate) struct Outside {
    calls: mpsc::UnboundedSender<Call>,
    waiting: Arc<Waiting>,
    /// Calls that log users out, by pool and outcome.
    pub logout_calls: Arc<Tally>,
    /// What was read of copies, by server.
    pub bytes_read: Arc<BytesRead>,
    /// Who is told of events.
    pub webhooks: Hooks,
    orders: Orders,
}

/// Starts the thread; it ends when the sender of `snapshots` is dropped.
pub(crate) fn start(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    inbox: Inbox,
    webhooks: Vec<Webhook>,
    resolver: Resolver,
    admin: SocketAddr,
) -> io::Result<(Arc<Outside>, JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(4)
        .thread_name("ebbtide-outside-names")
        .build()?;
    let (calls, receiver) = mpsc::unbounded_channel();
    let (waiting, logout_calls) = (Arc::<Waiting>::default(), Arc::<Tally>::default());
    let bytes_read = Arc::<BytesRead>::default();
    let (hooks, new_hooks) = Hooks::new();
    let sender = webhook::Sender::new(Arc::clone(&hooks.tally), webhook::PAUSE_FIRST);
    hooks.replace(webhooks);
    let (orders, ordered) = Orders::new();
    let outside = Outside {
        calls,
        waiting: Arc::clone(&waiting),
        logout_calls: Arc::clone(&logout_calls),
        bytes_read: Arc::clone(&bytes_read),
        webhooks: hooks,
        orders,
    };
    let thread = std::thread::Builder::new()
        .name("ebbtide-outside".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = logout::run(receiver, &waiting, &logout_calls) => {}
                    () = webhook::run(new_hooks, sender) => {}
                    () = fetch::run(ordered, Connector::new()) => {}
                    () = manifests::run(snapshots.clone(), inbox.clone()) => {}
                    () = exporters::run(snapshots.clone(), inbox.clone()) => {}
                    () = agents::run(snapshots.clone(), inbox.clone()) => {}
                    () = names::run(snapshots.clone(), inbox.clone(), resolver, admin) => {}
                    () = readings::run(snapshots.clone(), inbox.clone(), bytes_read) => {}
                    () = upgrade::run(snapshots, inbox) => {}
                }
            });
            // A name that is being looked up must not keep the program from stopping.
            runtime.shutdown_background();
        })?;
    Ok((Arc::new(outside), thread))
}

impl Outside {
    /// Fetches a document, which takes some seconds at most. An error says why there is none, and goes on
    /// after the name of the document.
    pub async fn fetch(&self, fetch: Fetch) -> Result<Fetched, String> {
        self.orders.fetch(fetch).await
    }

    /// Has the servers told of the sessions among these that were ended and whose users' cookies
    /// are known. Takes the cookies away.
    pub fn log_out(&self, changes: &mut [SessionChange], snapshot: &Snapshot) {
        for change in changes {
            let Some(cookies) = change.cookies.take() else {
                continue;
            };
            let Some(pool) = snapshot.pool(change.pool) else {
                continue;
            };
            let server = pool.server_or_removed(change.server);
            let Some((rule, server)) = pool.config.logout_call.as_ref().zip(server) else {
                continue;
            };
            // The application could not tell whom to log out.
            if cookies.is_empty() {
                self.logout_calls
                    .count(&pool.config.name, logout::NO_COOKIES);
                continue;
            }
            if !self.waiting.enter() {
                self.logout_calls.count(&pool.config.name, logout::DROPPED);
                continue;
            }
            let call = Call {
                pool: pool.config.name.clone(),
                server: server.address,
                rule: rule.clone(),
                cookies,
            };
            // The thread ends only after the control thread.
            drop(self.calls.send(call));
        }
    }
}
