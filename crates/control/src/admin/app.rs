//! What every handler can reach.

use crate::event_log::EventLog;
use crate::inbox::Inbox;
use crate::outside::Outside;
use crate::shell::StoreTally;
use crate::signin::SignIn;
use crate::store::{Operator, StoreThread};
use ebbtide_core::{NodeCounters, NodeStatus, Now, SessionTable, Snapshot};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Streams of events and waits from the network, at most: a token of a viewer is not to take every
/// connection of the admin listener.
pub(crate) const LONG_MAX: usize = 64;

pub(crate) struct AppParts {
    pub inbox: Inbox,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub sessions: Arc<SessionTable>,
    /// The last status; locked while another one is made.
    pub status: tokio::sync::Mutex<Option<LastStatus>>,
    pub node: Arc<NodeCounters>,
    pub store: StoreThread,
    pub store_tally: Arc<StoreTally>,
    pub events: Arc<EventLog>,
    pub outside: Arc<Outside>,
    /// Where the API and the console are.
    pub admin: SocketAddr,
    pub version: &'static str,
    pub started: Now,
    pub operators: Mutex<Vec<Operator>>,
    pub signin: Arc<SignIn>,
    /// Places for requests from the network that stay open.
    pub long: Arc<Semaphore>,
    /// The order to stop has come.
    pub stopping: Arc<AtomicBool>,
}

/// What people were shown last.
pub(crate) struct LastStatus {
    pub status: Arc<NodeStatus>,
    /// Until when it is good enough.
    pub good_until: Instant,
}

#[derive(Clone)]
pub(crate) struct App(Arc<AppParts>);

impl App {
    pub fn new(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Reads or changes the bearer tokens in memory.
    pub fn with_operators<T>(&self, work: impl FnOnce(&mut Vec<Operator>) -> T) -> T {
        let operators = self.operators.lock();
        work(&mut operators.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}
