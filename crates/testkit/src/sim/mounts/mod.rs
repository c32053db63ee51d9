//! Clients of the NBD pool: each connection is a session, and one of a shared resource goes on with
//! another server whose copy is the same. What a worker makes of it is what the data plane does
//! (`crates/proxy/src/nbd`), at the same times.

mod greet;
mod search;
mod wire;

use super::beside::RESOURCES;
use super::copies::{Copies, Has};
use super::judge::Ending;
use super::lines::is_misplaced;
use super::number::{ByServer, ServerNumber};
use super::plan::{Being, DISKS, pool_name};
use super::world::{Node, NodeHappening, Server, World};
use ebbtide_core::{EndReason, Identity, Outlook, PoolKey, ServerKey, Session, Snapshot, Stay};
use search::Search;
use std::sync::Arc;
use wire::Wire;

/// How long a server may finish what it was asked whose time is over.
const LEAVE_WITHIN_MS: i64 = 400;
/// Before a search is repeated, as long as the present server serves.
const SEARCH_EVERY_MS: i64 = 1000;
/// A server that has held a connection for so long was one that could stand in.
const SOUND_AFTER_MS: i64 = 10_000;
/// A server that has failed is asked after the others for so long.
const FAILED_FOR_MS: i64 = 1000;

/// A client's connection.
pub(super) struct Mount {
    pub worker: usize,
    client: usize,
    pub resource: usize,
    stay: Stay,
    /// What the copy was known by that it began on; `None`: nothing can stand in.
    began_on: Option<Identity>,
    /// What that copy really was, if the node was told so.
    began_with: Option<Has>,
    /// The server that is tried at first.
    first: ServerNumber,
    /// The size that its first server showed; `None`: it has none yet.
    size: Option<u64>,
    wire: Option<Wire>,
    /// A server that still answers what it was asked before.
    leaving: Option<Wire>,
    /// Reads that no server was asked yet.
    unsent: u32,
    search: Option<Search>,
    last_number: u64,
    /// The generation of the snapshot that was looked at.
    seen: u64,
    is_leaving: bool,
    leave_by: Option<i64>,
    left_by: Option<i64>,
    retry: Option<i64>,
    failed: Vec<(ServerKey, i64)>,
    patience: Option<i64>,
    pace_ms: i64,
    ends_at: i64,
}

/// What happens to a client's connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum MountStep {
    /// The server that was tried at first takes it, or does not.
    Greet,
    /// The server that is tried by the search with this number does, or does not.
    Join(u64),
    /// That search goes on.
    Search(u64),
    /// Its client reads.
    Read,
    /// The connection to a server with this number brings an answer.
    Answer(u64),
    /// It breaks.
    Break(u64),
    /// Something may be due.
    Look,
    /// Its client leaves.
    Leave,
}

/// What became of a connection by what was done to it.
type Done = Result<(), Ending>;

impl Mount {
    pub fn session(&self) -> &Arc<Session> {
        self.stay.session()
    }

    fn pool(&self) -> PoolKey {
        self.session().pool
    }

    fn can_move(&self) -> bool {
        self.size.is_some() && self.began_on.is_some()
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Whether its session was ended in a way that ends it too.
    fn is_over(&self) -> bool {
        self.session().ended().is_some_and(|reason| match reason {
            EndReason::ServerGone | EndReason::ServerRemoved => false,
            EndReason::Deadline => !self.can_move(),
            _ => true,
        })
    }

    /// Whether it is cut by a snapshot: then it is over, or it cannot move.
    fn is_cut(&self, snapshot: Option<&Snapshot>) -> bool {
        let misplaced = snapshot.filter(|_| !self.can_move());
        self.is_over() || misplaced.is_some_and(|snapshot| is_misplaced(self.session(), snapshot))
    }
}

impl World {
    pub(super) fn step_mount(&mut self, number: u64, step: MountStep) {
        let Some(node) = &mut self.node else { return };
        let Some(mount) = node.mounts.get(&number) else {
            return;
        };
        let stalled_until = node.workers[mount.worker].stalled_until;
        if stalled_until > self.at {
            return self.node_later(stalled_until + 1, NodeHappening::Mount(number, step));
        }
        let Some(mut mount) = node.mounts.remove(&number) else {
            return;
        };
        let done = match step {
            MountStep::Greet => self.greeted(number, &mut mount),
            MountStep::Join(search) => self.joined(number, &mut mount, search),
            MountStep::Search(search) => self.search_on(number, &mut mount, search),
            MountStep::Read => self.read(number, &mut mount),
            MountStep::Answer(wire) => self.answered(number, &mut mount, wire),
            MountStep::Break(wire) => self.broken(number, &mut mount, wire),
            MountStep::Look => Ok(()),
            MountStep::Leave => Err(Ending::Left),
        };
        let done = done.and_then(|()| self.see_to(number, &mut mount));
        self.put_back(number, mount, done);
    }

    fn put_back(&mut self, number: u64, mount: Box<Mount>, done: Done) {
        match done {
            Ok(()) => {
                if let Some(node) = &mut self.node {
                    node.mounts.insert(number, mount);
                }
            }
            Err(ending) => self.end_mount(mount, ending),
        }
    }

    fn mount_later(&mut self, at: i64, number: u64, step: MountStep) {
        self.node_later(at, NodeHappening::Mount(number, step));
    }

    fn end_mount(&mut self, mut mount: Box<Mount>, ending: Ending) {
        let now = self.now();
        let session = Arc::clone(mount.session());
        self.tell(|| format!("session {} ends: {ending:?}", session.id));
        self.drop_search(&mut mount);
        session.touch(now.moment);
        drop(mount.stay);
        if let Some(node) = &self.node {
            let reason = match ending {
                Ending::Unreachable => EndReason::ServerGone,
                _ => EndReason::Disconnected,
            };
            node.table.end(&session, reason, now);
        }
        let is_late = self.is_late(mount.worker);
        self.judge.connection_ended(session.id, ending, is_late);
    }

    /// Does what is due, until nothing is.
    fn see_to(&mut self, number: u64, mount: &mut Mount) -> Done {
        if mount.size.is_none() {
            return Ok(());
        }
        loop {
            let at = self.at;
            self.look(number, mount)?;
            if mount.can_move() && mount.wire.is_none() && mount.search.is_none() {
                self.search_in_need(number, mount)?;
            }
            let left = mount.left_by.take_if(|by| *by <= at).is_some();
            let leave = mount.leave_by.take_if(|by| *by <= at).is_some();
            let may_search = mount.retry.take_if(|by| *by <= at).is_some();
            if left {
                self.lose(mount, true, false)?;
            }
            if leave {
                self.lose(mount, false, false)?;
            }
            if may_search && mount.is_leaving {
                mount.seen = 0;
            }
            self.check_silence(mount)?;
            let sees_more = mount.can_move() && mount.wire.is_none() && mount.search.is_none();
            if !(left || leave || may_search || sees_more) {
                return Ok(());
            }
        }
    }

    /// Looks at a new snapshot.
    fn look(&mut self, number: u64, mount: &mut Mount) -> Done {
        let Some(began_on) = mount.began_on.clone() else {
            return Ok(());
        };
        let Some(node) = &self.node else {
            return Ok(());
        };
        let snapshot = Arc::clone(&node.workers[mount.worker].snapshot);
        if snapshot.generation == mount.seen {
            return Ok(());
        }
        mount.seen = snapshot.generation;
        let Some(pool) = snapshot.pool(mount.pool()) else {
            return Err(Ending::Cut);
        };
        let name = RESOURCES[mount.resource];
        let outlook = pool.outlook(mount.session(), name, &began_on, mount.wire.is_some());
        self.look_back(mount, pool, &began_on)?;
        match outlook {
            Outlook::Stay => (mount.is_leaving, mount.leave_by) = (false, None),
            Outlook::Move => self.begin_move(number, mount)?,
            Outlook::MustMove => {
                let by = self.at + LEAVE_WITHIN_MS;
                if mount.leave_by.is_none() {
                    mount.leave_by = Some(by);
                    self.mount_later(by, number, MountStep::Look);
                }
                self.begin_move(number, mount)?;
            }
            Outlook::OtherCopy => self.lose(mount, false, true)?,
            Outlook::End => return Err(Ending::Cut),
        }
        Ok(())
    }

    /// What a snapshot means for the server that was left and has not answered everything.
    fn look_back(
        &mut self,
        mount: &mut Mount,
        pool: &ebbtide_core::PoolView,
        began_on: &Identity,
    ) -> Done {
        let Some(leaving) = &mount.leaving else {
            return Ok(());
        };
        let name = RESOURCES[mount.resource];
        let resource = pool.replicas.resource(name);
        if resource.is_some_and(|resource| resource.is_other_copy(leaving.key, began_on)) {
            return self.lose(mount, true, true);
        }
        let is_over = pool
            .server(leaving.key)
            .is_none_or(|server| server.epoch != leaving.epoch || server.standing.ends_work());
        if is_over && mount.left_by.is_none() {
            mount.left_by = Some(self.at + LEAVE_WITHIN_MS);
        }
        Ok(())
    }

    fn begin_move(&mut self, number: u64, mount: &mut Mount) -> Done {
        mount.is_leaving = true;
        match mount.search.is_none() && mount.wire.is_some() {
            true => self.search(number, mount, None),
            false => Ok(()),
        }
    }

    /// What a new snapshot, or the end of a session, means for the connections of a worker, or of all.
    pub(super) fn cut_mounts(&mut self, taken: Option<usize>) {
        let at = self.at;
        let Some(node) = &self.node else { return };
        let is_asked = |mount: &Mount| {
            let stalled = node.workers[mount.worker].stalled_until > at;
            !stalled && taken.is_none_or(|taken| taken == mount.worker)
        };
        let asked: Vec<u64> = node
            .mounts
            .iter()
            .filter(|(_, mount)| is_asked(mount))
            .map(|(number, _)| *number)
            .collect();
        for number in asked {
            let Some(mut mount) = self.node.as_mut().and_then(|n| n.mounts.remove(&number)) else {
                continue;
            };
            let worker = self.node.as_ref().map(|node| &node.workers[mount.worker]);
            let snapshot = worker.map(|worker| Arc::clone(&worker.snapshot));
            let snapshot = snapshot.filter(|_| taken.is_some());
            let done = match mount.is_cut(snapshot.as_deref()) {
                true => Err(Ending::Cut),
                false => self.see_to(number, &mut mount),
            };
            self.put_back(number, mount, done);
        }
    }

    /// A server of the NBD pool dies: connections to it break.
    pub(super) fn break_mounts(&mut self, server: ServerNumber) {
        let Some(node) = &self.node else { return };
        let mut broken = Vec::new();
        for (number, mount) in &node.mounts {
            let wires = [&mount.wire, &mount.leaving].into_iter().flatten();
            let here = wires.filter(|wire| wire.server == server);
            broken.extend(here.map(|wire| (*number, wire.number)));
        }
        for (number, wire) in broken {
            let at = self.at + self.between_beside(0, 5);
            self.mount_later(at, number, MountStep::Break(wire));
        }
    }

    /// Every connection holds what was promised of it.
    pub(super) fn judge_mounts(&mut self) {
        let (now, at) = (self.now(), self.at);
        let Self {
            node,
            judge,
            copies,
            servers,
            ..
        } = self;
        let Some(node) = node.as_ref().filter(|node| !node.mounts.is_empty()) else {
            return;
        };
        let well = well(node, servers, copies, at);
        for mount in node.mounts.values().filter(|mount| mount.size.is_some()) {
            let session = mount.session();
            let worker = &node.workers[mount.worker];
            if worker.is_late(at) {
                judge.mount_waits(session.id);
                continue;
            }
            for wire in [&mount.wire, &mount.leaving].into_iter().flatten() {
                let has = copies.has(wire.server, mount.resource);
                let known = has.is_known(worker.snapshot.generation);
                judge.reads(session.id, wire.server, (has.content, known));
                judge.mount_is_on(session.id, wire.server, now);
            }
            judge.mount_goes_on(session, &node.table.find(session.id));
            let is_alike = |server: &ServerNumber| {
                let has = copies.has(*server, mount.resource);
                let here = mount.began_with.filter(|_| has.is_known(u64::MAX));
                here.is_some_and(|began_with| copies.are_alike(began_with, has))
            };
            let alike = well.iter().copied().filter(is_alike);
            judge.could_move(session.id, mount.wire.is_none(), alike);
        }
    }
}

/// Servers of the NBD pool that answer, have room, and say what they have.
fn well(node: &Node, servers: &ByServer<Server>, copies: &Copies, at: i64) -> Vec<ServerNumber> {
    let snapshot = node.driver.snapshot();
    let pool = snapshot.pool_named(pool_name(DISKS));
    let there = pool.iter().flat_map(|pool| &pool.servers);
    there
        .filter(|view| view.max_sessions.is_none())
        .map(|view| ServerNumber::in_pool(DISKS, &view.name))
        .filter(|server| {
            let known = servers.get(*server);
            let is_well = known.is_none_or(|known| known.being == Being::Well);
            is_well && copies.is_readable(*server, at)
        })
        .collect()
}
