//! A client's reads, and the connections to servers that are asked for them.

use super::{Done, Mount, MountStep, SOUND_AFTER_MS};
use crate::sim::beside::SILENCE_MS;
use crate::sim::judge::Ending;
use crate::sim::number::ServerNumber;
use crate::sim::plan::Being;
use crate::sim::world::World;
use ebbtide_core::{Fact, ServerKey};

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Wire {
    pub number: u64,
    pub server: ServerNumber,
    pub key: ServerKey,
    pub epoch: u32,
    pub since: i64,
    pub answers: u32,
    /// Reads that it owes an answer to.
    pub asked: u32,
    /// When it last said something, or had nothing to say.
    pub heard: i64,
}

impl World {
    pub(super) fn read(&mut self, number: u64, mount: &mut Mount) -> Done {
        let now = self.now();
        mount.session().touch(now.moment);
        mount.unsent += 1;
        self.ask(number, mount);
        let next = self.at + self.between_beside(1, mount.pace_ms * 2);
        self.mount_later(next, number, MountStep::Read);
        Ok(())
    }

    /// Asks the server for all that was not asked yet.
    pub(super) fn ask(&mut self, number: u64, mount: &mut Mount) {
        let at = self.at;
        let Some(wire) = &mut mount.wire else { return };
        if wire.asked == 0 {
            wire.heard = at;
        }
        let reads = std::mem::take(&mut mount.unsent);
        wire.asked += reads;
        let wire = wire.number;
        for _ in 0..reads {
            let answered = at + self.between_beside(1, 30);
            self.mount_later(answered, number, MountStep::Answer(wire));
        }
        if reads > 0 {
            self.mount_later(at + SILENCE_MS, number, MountStep::Look);
        }
    }

    pub(super) fn answered(&mut self, number: u64, mount: &mut Mount, answers: u64) -> Done {
        let at = self.at;
        let is_leaving = mount.leaving.as_ref().is_some_and(|w| w.number == answers);
        let wire = match is_leaving {
            true => &mut mount.leaving,
            false => &mut mount.wire,
        };
        let Some(wire) = wire.as_mut().filter(|wire| wire.number == answers) else {
            return Ok(());
        };
        match self.being(wire.server) {
            Being::Hung => {
                self.mount_later(at + 100, number, MountStep::Answer(answers));
                return Ok(());
            }
            Being::Dead => return Ok(()),
            _ => {}
        }
        wire.asked = wire.asked.saturating_sub(1);
        wire.answers += 1;
        wire.heard = at;
        let (server, is_done) = (wire.server, wire.asked == 0);
        let generation = self.node.as_ref().map_or(0, |node| {
            let worker = &node.workers[mount.worker];
            worker.snapshot.generation
        });
        let has = self.copies.has(server, mount.resource);
        let read = (has.content, has.is_known(generation));
        self.judge.reads(mount.session().id, server, read);
        if is_leaving && is_done {
            (mount.leaving, mount.left_by) = (None, None);
        }
        Ok(())
    }

    pub(super) fn broken(&mut self, _number: u64, mount: &mut Mount, broken: u64) -> Done {
        let is = |wire: &Option<Wire>| wire.as_ref().is_some_and(|wire| wire.number == broken);
        let (is_leaving, is_served) = (is(&mount.leaving), is(&mount.wire));
        match is_leaving || is_served {
            true => self.lose(mount, is_leaving, true),
            false => Ok(()),
        }
    }

    /// Gives a server up that owes an answer and has been silent for too long.
    pub(super) fn check_silence(&mut self, mount: &mut Mount) -> Done {
        let at = self.at;
        let silent = |wire: &Option<Wire>| {
            wire.as_ref()
                .is_some_and(|wire| wire.asked > 0 && at - wire.heard >= SILENCE_MS)
        };
        if silent(&mount.leaving) {
            self.lose(mount, true, true)?;
        }
        if silent(&mount.wire) {
            self.lose(mount, false, true)?;
        }
        Ok(())
    }

    /// Gives a server up; what it owes is asked elsewhere. `failed`: it is told of.
    pub(super) fn lose(&mut self, mount: &mut Mount, is_leaving: bool, failed: bool) -> Done {
        let at = self.at;
        let lost = match is_leaving {
            true => mount.leaving.take(),
            false => mount.wire.take(),
        };
        let Some(lost) = lost else { return Ok(()) };
        if lost.answers > 0 || at - lost.since > SOUND_AFTER_MS {
            mount.patience = None;
        }
        let id = mount.session().id;
        self.tell(|| format!("session {id} loses {}", lost.server));
        if failed {
            mount.failed.push((lost.key, at));
            let (pool, server) = (mount.pool(), lost.key);
            self.tell_driver_beside(Fact::ConnectFailed { pool, server });
        }
        mount.unsent += lost.asked;
        match mount.can_move() {
            true => Ok(()),
            false => Err(Ending::ServerDied),
        }
    }
}
