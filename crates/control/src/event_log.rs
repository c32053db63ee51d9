//! The last events, numbered, for everyone who listens.
//!
//! Listeners read from here at their own pace: one that is too slow misses events and learns how
//! many, and never holds up the others or takes memory.

use crate::show;
use ebbtide_api::{Event, EventKind};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Events kept of sessions, and as many of all else: ten thousand sessions a second push out no word of an
/// operator's.
pub(crate) const KEPT: usize = 1024;

pub(crate) struct EventLog {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    sessions: VecDeque<Arc<Event>>,
    others: VecDeque<Arc<Event>>,
    newest: u64,
}

/// Events after a given one, by number: where numbers are missing, those are no longer kept.
pub(crate) type Since = Vec<Arc<Event>>;

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
            let newest = ring.newest;
            let kept = match is_of_session(&event) {
                true => &mut ring.sessions,
                false => &mut ring.others,
            };
            kept.push_back(Arc::clone(&event));
            if kept.len() > KEPT {
                kept.pop_front();
            }
            (newest, event)
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
        let later = |kept: &VecDeque<Arc<Event>>| {
            let first = kept.partition_point(|event| event.id <= after);
            kept.range(first..).cloned().collect::<Vec<_>>()
        };
        let mut events = later(&ring.sessions);
        events.extend(later(&ring.others));
        drop(ring);
        events.sort_unstable_by_key(|event| event.id);
        events
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of these there may be ten thousand a second.
pub(crate) fn is_of_session(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::SessionBegan { .. }
            | EventKind::SessionMoved { .. }
            | EventKind::SessionEnded { .. }
    )
}
