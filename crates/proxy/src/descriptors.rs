//! A worker's share of the descriptors. Some are kept back, so that users who have taken all that
//! there are to take leave enough for the servers' connections, and for probes and the operator.

use rustix::process::{Resource, getrlimit};
use std::cell::Cell;

/// Descriptors kept back for the control plane: an eighth of all, within these bounds.
const KEPT_MIN: u64 = 16;
const KEPT_MAX: u64 = 1024;

/// How many descriptors one worker uses, and how many it may.
#[derive(Debug)]
pub(crate) struct Descriptors {
    all: Cell<u64>,
    clients: Cell<u64>,
    all_max: u64,
    clients_max: u64,
}

impl Descriptors {
    /// The share of one of so many workers, by the limit that this process has now.
    pub fn of_one_of(workers: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::share(limit, workers as u64)
    }

    fn share(limit: u64, workers: u64) -> Self {
        let kept = (limit / 8).clamp(KEPT_MIN, KEPT_MAX);
        let all_max = limit.saturating_sub(kept) / workers.max(1);
        Self {
            all: Cell::new(0),
            clients: Cell::new(0),
            all_max,
            // Clients who only wait may be many; those who are served need one at a server too.
            clients_max: all_max / 4 * 3,
        }
    }

    /// Whether one more client may connect.
    pub fn has_room_for_client(&self) -> bool {
        self.has_room() && self.clients.get() < self.clients_max
    }

    /// Whether one more connection to a server may be opened.
    pub fn has_room(&self) -> bool {
        self.all.get() < self.all_max
    }

    /// How many pipes may be open, of two descriptors each: an eighth of all goes to them.
    pub fn pipes_max(&self) -> u64 {
        self.all_max / 16
    }

    /// A client has connected.
    pub fn take_for_client(&self) {
        self.clients.set(self.clients.get() + 1);
        self.take();
    }

    /// A client's connection is closed.
    pub fn give_back_for_client(&self) {
        self.clients.set(self.clients.get() - 1);
        self.give_back();
    }

    /// A connection to a server, or one end of a pipe, is opened.
    pub fn take(&self) {
        self.all.set(self.all.get() + 1);
    }

    /// It is closed.
    pub fn give_back(&self) {
        self.all.set(self.all.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_some_to_servers_and_both_to_the_operator() {
        let share = Descriptors::share(160, 2);
        assert_eq!((share.all_max, share.clients_max), (70, 51));
        while share.has_room_for_client() {
            share.take_for_client();
        }
        assert_eq!((share.all.get(), share.has_room()), (51, true));
        while share.has_room() {
            share.take();
        }
        share.give_back_for_client();
        assert!(share.has_room() && share.has_room_for_client());
        assert_eq!(Descriptors::share(10, 4).all_max, 0);
    }
}
