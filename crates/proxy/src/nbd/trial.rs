//! A request that servers die of must not reach them all. Whatever a lost server owed may be what it
//! was lost over, so the next server is asked for it bit by bit: of all the sessions there, one tries
//! one such request at a time, and when that server is lost too, it is known over what.

use ebbtide_core::{PoolKey, ServerKey};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// So many different servers may be lost over one request.
const SERVERS_MAX: usize = 2;
/// After so many losses it is not asked for again, whichever servers they were.
const LOSSES_MAX: u8 = 3;
/// Whoever has waited so long for its turn does not wait any more: somebody's server is slow.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// When a server is lost, its other sessions find out within this time, and not by trying.
const WORD_SPREADS: Duration = Duration::from_millis(100);

/// The servers that were lost while they owed the answer to a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    servers: [Option<ServerKey>; SERVERS_MAX],
    count: u8,
}

impl Losses {
    /// One more.
    pub fn add(&mut self, server: ServerKey) {
        self.count = self.count.saturating_add(1);
        if self.servers.contains(&Some(server)) {
            return;
        }
        if let Some(free) = self.servers.iter_mut().find(|known| known.is_none()) {
            *free = Some(server);
        }
    }

    pub fn count(&self) -> u8 {
        self.count
    }

    /// Some of it got through after all: the servers but the first may have been lost by chance.
    pub fn forgive(&mut self) {
        self.count = self.count.min(1);
        self.servers[1..].fill(None);
    }

    /// Whether no server may be asked any more.
    pub fn are_too_many(&self) -> bool {
        self.count >= LOSSES_MAX
    }

    /// The only servers that may still be asked, if that is so.
    pub fn confine(&self) -> Option<Vec<ServerKey>> {
        self.servers.iter().copied().collect()
    }
}

/// Whose turn it is to try something, on each server; shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<(PoolKey, ServerKey), Arc<Semaphore>>>);

impl Turns {
    fn of(&self, server: (PoolKey, ServerKey)) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let turn = turns.entry(server);
        Arc::clone(turn.or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

/// A session's turn on the server that it is on.
#[derive(Default)]
pub(super) enum Turn {
    #[default]
    Idle,
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>>>>),
    Ours(OwnedSemaphorePermit),
    /// It was waited for long enough.
    Waived,
}

impl Turn {
    /// Whether something may be tried on this server now; if not, the task is woken when it may.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        turns: &Turns,
        server: (PoolKey, ServerKey),
    ) -> bool {
        if matches!(self, Self::Idle) {
            let turn = turns.of(server).acquire_owned();
            let waited = async { timeout(WAIT_MAX, turn).await.ok()?.ok() };
            *self = Self::Waiting(Box::pin(waited));
        }
        if let Self::Waiting(waited) = self {
            match waited.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(Some(permit)) => *self = Self::Ours(permit),
                Poll::Ready(None) => *self = Self::Waived,
            }
        }
        true
    }

    /// It is the next one's turn.
    pub fn pass_on(&mut self) {
        if !matches!(self, Self::Waived) {
            *self = Self::Idle;
        }
    }

    /// The server is lost.
    pub fn end(&mut self) {
        if let Self::Ours(permit) = std::mem::take(self) {
            tokio::task::spawn_local(async move {
                sleep(WORD_SPREADS).await;
                drop(permit);
            });
        }
    }
}
