//! The search for a server that can stand in for the one that a session has, or has lost.

use super::wire::Wire;
use super::{Done, FAILED_FOR_MS, Mount, MountStep, SEARCH_EVERY_MS};
use crate::sim::beside::{CONNECT_MS, RESOURCES, STAND_IN_MS};
use crate::sim::judge::Ending;
use crate::sim::number::ServerNumber;
use crate::sim::plan::{Being, DISKS};
use crate::sim::world::World;
use ebbtide_core::{Fact, Place, ServerKey};
use std::sync::Arc;

/// Between two rounds.
const PAUSE_MS: i64 = 100;

/// A search.
pub(super) struct Search {
    number: u64,
    tried: Vec<ServerKey>,
    /// Until when to go on; `None`: every server is asked once.
    until: Option<i64>,
    /// The server that is being connected to.
    trying: Option<Trying>,
}

struct Trying {
    place: Place,
    server: ServerNumber,
    key: ServerKey,
}

impl World {
    pub(super) fn search(&mut self, number: u64, mount: &mut Mount, until: Option<i64>) -> Done {
        let at = self.at;
        mount
            .failed
            .retain(|(_, failed)| at < failed + FAILED_FOR_MS);
        let mut tried: Vec<ServerKey> = mount.failed.iter().map(|(key, _)| *key).collect();
        tried.push(mount.session().server);
        mount.retry = None;
        let search = Search {
            number: mount.number(),
            tried,
            until,
            trying: None,
        };
        mount.search = Some(search);
        self.try_next(number, mount)
    }

    /// Looks for a server for a session that has none.
    pub(super) fn search_in_need(&mut self, number: u64, mount: &mut Mount) -> Done {
        let until = *mount.patience.get_or_insert(self.at + STAND_IN_MS);
        self.search(number, mount, Some(until))
    }

    /// Takes a place at the next server and connects to it; without one, pauses or gives up.
    fn try_next(&mut self, number: u64, mount: &mut Mount) -> Done {
        let at = self.at;
        let dice = self.roll_beside();
        let Some(began_on) = mount.began_on.clone() else {
            return Ok(());
        };
        let (Some(search), Some(node)) = (&mut mount.search, &self.node) else {
            return Ok(());
        };
        let snapshot = Arc::clone(&node.workers[mount.worker].snapshot);
        let resource = RESOURCES[mount.resource];
        let found = snapshot
            .pool(mount.stay.session().pool)
            .and_then(|pool| pool.take_place(resource, &began_on, (&search.tried, None), dice));
        let wanted = search.number;
        let Some((server, place)) = found else {
            let Some(until) = search.until.filter(|until| at < *until) else {
                return self.found_none(mount);
            };
            let next = until.min(at + PAUSE_MS);
            search.tried.clear();
            self.mount_later(next, number, MountStep::Search(wanted));
            return Ok(());
        };
        let name = ServerNumber::in_pool(DISKS, &server.name);
        search.trying = Some(Trying {
            place,
            server: name,
            key: server.key,
        });
        let id = mount.session().id;
        self.judge.reserved(id, name, server.epoch);
        let takes = match self.being(name) {
            Being::Hung => CONNECT_MS,
            _ if dice.is_multiple_of(8) => self.between_beside(50, 450),
            _ => self.between_beside(1, 40),
        };
        self.mount_later(at + takes, number, MountStep::Join(wanted));
        Ok(())
    }

    pub(super) fn search_on(&mut self, number: u64, mount: &mut Mount, wanted: u64) -> Done {
        let is_it = |search: &Search| search.number == wanted && search.trying.is_none();
        match mount.search.as_ref().is_some_and(is_it) {
            true => self.try_next(number, mount),
            false => Ok(()),
        }
    }

    /// The server that is tried has taken the connection, or not.
    pub(super) fn joined(&mut self, number: u64, mount: &mut Mount, wanted: u64) -> Done {
        let Some(search) = mount.search.as_mut().filter(|s| s.number == wanted) else {
            return Ok(());
        };
        let Some(Trying { place, server, key }) = search.trying.take() else {
            return Ok(());
        };
        let answers = !matches!(
            self.being(server),
            Being::Dead | Being::Hung | Being::SaysGood
        );
        let shown = self.copies.has(server, mount.resource).size();
        let began = mount.began_on.as_ref().map(|known| known.size);
        if answers && began == Some(shown) && mount.size == Some(shown) {
            mount.search = None;
            return self.take_server(number, mount, place, server, key);
        }
        drop(place);
        search.tried.push(key);
        self.judge.released(mount.session().id);
        let pool = mount.pool();
        let fact = match answers {
            true => Fact::CopyContradicted {
                pool,
                server: key,
                resource: RESOURCES[mount.resource].to_owned(),
                size: shown,
            },
            false => Fact::ConnectFailed { pool, server: key },
        };
        self.tell_driver_beside(fact);
        self.try_next(number, mount)
    }

    fn found_none(&mut self, mount: &mut Mount) -> Done {
        mount.search = None;
        if mount.wire.is_some() {
            mount.retry = Some(self.at + SEARCH_EVERY_MS);
        } else if mount.patience.is_some_and(|until| self.at >= until) {
            return Err(Ending::Unreachable);
        }
        Ok(())
    }

    /// Goes on with a server that stands in.
    fn take_server(
        &mut self,
        number: u64,
        mount: &mut Mount,
        place: Place,
        server: ServerNumber,
        key: ServerKey,
    ) -> Done {
        let (now, at) = (self.now(), self.at);
        let was_lost = mount.wire.is_none();
        let Some(node) = &self.node else {
            return Ok(());
        };
        let shifted = node.table.shift(mount.session(), place, now);
        self.judge.released(mount.session().id);
        let Some(session) = shifted else {
            return Err(Ending::Cut);
        };
        mount.stay = session.go_on();
        mount.stay.become_tunnel();
        self.tell(|| format!("session {} moves to {server}", session.id));
        self.judge.moved(&session, server, was_lost, at);
        let wire = Wire {
            number: mount.number(),
            server,
            key,
            epoch: session.epoch,
            since: at,
            answers: 0,
            asked: 0,
            heard: at,
        };
        if let Some(old) = mount.wire.replace(wire) {
            if let Some(older) = mount.leaving.take() {
                mount.unsent += older.asked;
            }
            mount.leaving = (old.asked > 0).then_some(old);
        }
        mount.left_by = mount.leave_by.take();
        (mount.is_leaving, mount.retry, mount.seen) = (false, None, 0);
        self.ask(number, mount);
        Ok(())
    }

    /// Ends a search with its session.
    pub(super) fn drop_search(&mut self, mount: &mut Mount) {
        if mount.search.take().is_some_and(|s| s.trying.is_some()) {
            self.judge.released(mount.session().id);
        }
    }
}
