//! The last events, numbered, for everyone who listens.
//!
//! Listeners read from here at their own pace: one that is too slow misses events and learns how
//! many, and never holds up the others or takes memory.

use crate::show;
use ebbtide_api::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Events kept.
const KEPT: usize = 1024;

pub(crate) struct EventLog {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    newest: u64,
}

/// Events after a given one.
pub(crate) struct Since {
    /// How many are no longer kept.
    pub missed: u64,
    pub events: Vec<Arc<Event>>,
}

impl EventLog {
    pub fn new() -> Self {
        Self {
            ring: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Keeps an event, numbers it and tells the listeners.
    pub fn push(&self, event: &ebbtide_core::Event) -> Arc<Event> {
        let (newest, event) = {
            let mut ring = self.lock();
            ring.newest += 1;
            let event = Arc::new(show::event(ring.newest, event));
            ring.events.push_back(Arc::clone(&event));
            if ring.events.len() > KEPT {
                ring.events.pop_front();
            }
            (ring.newest, event)
        };
        self.newest.send_replace(newest);
        event
    }

    /// The number of the newest event, and word of later ones.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    pub fn since(&self, after: u64) -> Since {
        let ring = self.lock();
        let first = ring.newest - ring.events.len() as u64 + 1;
        let skip = (after + 1).saturating_sub(first) as usize;
        Since {
            missed: first.saturating_sub(after + 1),
            events: ring.events.iter().skip(skip).cloned().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
