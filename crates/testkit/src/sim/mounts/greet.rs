//! The beginning of a client's connection: a session, and a server that has what it asks for.

use super::wire::Wire;
use super::{Done, Mount, MountStep};
use crate::sim::beside::{CONNECT_MS, RESOURCES};
use crate::sim::copies::Has;
use crate::sim::judge::{Ending, Mounted};
use crate::sim::number::ServerNumber;
use crate::sim::plan::{Action, Being, DISKS, pool_name};
use crate::sim::worker::Asking;
use crate::sim::world::World;
use ebbtide_core::{Attachment, Fact, Identity, ServerKey, Session, Stay};
use std::net::IpAddr;
use std::sync::Arc;

/// A session with a server that has what it asks for.
struct Seat {
    stay: Stay,
    began_on: Option<Identity>,
    began_with: Option<Has>,
    first: ServerNumber,
}

impl World {
    /// A client asks for a resource.
    pub(in crate::sim) fn mount(&mut self, index: usize) {
        let Action::Mount {
            client,
            resource,
            lasts_ms,
            pace_ms,
        } = self.plan[index].action
        else {
            return;
        };
        let roll = self.roll_beside() as usize;
        let Some(node) = &self.node else { return };
        let worker = roll % node.workers.len();
        let stalled_until = node.workers[worker].stalled_until;
        if stalled_until > self.at {
            return self.again(index, stalled_until + 1);
        }
        let begun = self.begin_mount(worker, (client, resource), None);
        let Some(Seat {
            stay,
            began_on,
            began_with,
            first,
        }) = begun
        else {
            let what = RESOURCES[resource];
            return self.tell(|| format!("client {client} asks for {what}: is refused"));
        };
        self.tell(|| {
            let (what, id) = (RESOURCES[resource], stay.session().id);
            format!("client {client} asks for {what}: goes to {first}, session {id}")
        });
        self.last_line += 1;
        let number = self.last_line;
        let mount = Mount {
            worker,
            client,
            resource,
            stay,
            began_on,
            began_with,
            first,
            size: None,
            wire: None,
            leaving: None,
            unsent: 0,
            search: None,
            last_number: 0,
            seen: 0,
            is_leaving: false,
            leave_by: None,
            left_by: None,
            retry: None,
            failed: Vec::new(),
            patience: None,
            pace_ms,
            ends_at: self.at + lasts_ms,
        };
        self.greet_later(number, mount.first);
        if let Some(node) = &mut self.node {
            node.mounts.insert(number, Box::new(mount));
        }
    }

    fn greet_later(&mut self, number: u64, server: ServerNumber) {
        let takes = match self.being(server) {
            Being::Hung => CONNECT_MS,
            _ => self.between_beside(1, 40),
        };
        self.mount_later(self.at + takes, number, MountStep::Greet);
    }

    /// Begins the session of a client; or another one, elsewhere than on these servers, which the one
    /// before gives up.
    fn begin_mount(
        &mut self,
        worker: usize,
        (client, resource): (usize, usize),
        before: Option<(&Arc<Session>, &[ServerKey])>,
    ) -> Option<Seat> {
        let (now, at) = (self.now(), self.at);
        let mut numbers = [0; 4].map(|_: u64| self.roll_beside()).into_iter();
        let node = self.node.as_mut()?;
        let snapshot = Arc::clone(&node.workers[worker].snapshot);
        let pool = snapshot.pool_named(pool_name(DISKS))?;
        let view = pool.replicas.resource(RESOURCES[resource])?;
        if view.rule.mode == ebbtide_core::Mode::Maintenance {
            return None;
        }
        let rotation = node.workers[worker].rotation(DISKS);
        let mut asking = Asking {
            table: &node.table,
            pool,
            snapshot: &snapshot,
            client: IpAddr::from([203, 0, 113, client as u8]),
            now,
            roll: &mut || numbers.next().unwrap_or(0),
            resource: Some(view),
        };
        let placed = match before {
            None => asking.begin(&[], None, rotation)?,
            Some((session, failed)) => asking.move_away(session, failed, rotation)?,
        };
        let name = ServerNumber::in_pool(DISKS, &placed.server.name);
        let began_on = view.to_keep(placed.server.key).cloned();
        let session = &placed.session;
        let has = self.copies.has(name, resource);
        let began_with = Some(has).filter(|has| has.is_known(snapshot.generation));
        let mounted = Mounted {
            can_move: began_on.is_some(),
            is_alone: resource == 2,
            resource: RESOURCES[resource],
            content: began_with.map(|has| has.content),
        };
        self.judge
            .mount_began(session, mounted, name, snapshot.generation, at);
        let mut stay = session.enter(now.moment);
        stay.become_tunnel();
        Some(Seat {
            stay,
            began_on,
            began_with,
            first: name,
        })
    }

    /// The server that is tried at first takes the connection, or another one is tried.
    pub(super) fn greeted(&mut self, number: u64, mount: &mut Mount) -> Done {
        let at = self.at;
        let session = Arc::clone(mount.session());
        let name = mount.first;
        let answers = !matches!(
            self.being(name),
            Being::Dead | Being::Hung | Being::SaysGood
        );
        let shown = self.copies.has(name, mount.resource).size();
        let is_right = mount
            .began_on
            .as_ref()
            .is_none_or(|known| known.size == shown);
        if answers && is_right {
            self.begin_reading(number, mount, name, shown);
            return Ok(());
        }
        let (pool, server) = (session.pool, session.server);
        let fact = match answers {
            true => Fact::CopyContradicted {
                pool,
                server,
                resource: RESOURCES[mount.resource].to_owned(),
                size: shown,
            },
            false => Fact::ConnectFailed { pool, server },
        };
        self.tell_driver_beside(fact);
        mount.failed.push((server, at));
        let failed: Vec<ServerKey> = mount.failed.iter().map(|(key, _)| *key).collect();
        let of = (mount.client, mount.resource);
        let next = self.begin_mount(mount.worker, of, Some((&session, &failed)));
        let Some(next) = next else {
            return Err(Ending::Unreachable);
        };
        self.judge
            .connection_ended(session.id, Ending::Unreachable, false);
        (mount.stay, mount.first) = (next.stay, next.first);
        (mount.began_on, mount.began_with) = (next.began_on, next.began_with);
        self.greet_later(number, mount.first);
        Ok(())
    }

    fn begin_reading(&mut self, number: u64, mount: &mut Mount, server: ServerNumber, shown: u64) {
        let at = self.at;
        let session = Arc::clone(mount.session());
        session.attach(Attachment {
            resource: RESOURCES[mount.resource].to_owned(),
            began_on: mount.began_on.clone(),
        });
        mount.failed.clear();
        mount.size = Some(shown);
        self.judge.connected(session.id);
        mount.wire = Some(Wire {
            number: mount.number(),
            server,
            key: session.server,
            epoch: session.epoch,
            since: at,
            answers: 0,
            asked: 0,
            heard: at,
        });
        let ends_at = mount.ends_at.max(at + 1);
        self.mount_later(ends_at, number, MountStep::Leave);
        self.mount_later(at + 1, number, MountStep::Read);
    }
}
