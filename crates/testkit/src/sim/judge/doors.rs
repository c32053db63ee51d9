//! Doors, as the judge knows them: who may come in, where that leads, and what the audit log must
//! say when a restart has ended them.

use super::commands::Asks;
use super::{DOORS, DURABLE, Judge, LEADS};
use crate::sim::number::ServerNumber;
use ebbtide_core::{Command, DoorId, Millis, Moment, Now, Write};
use std::collections::BTreeSet;

/// A request may wait for its worker's next tick.
const CUT_WITHIN: Millis = Millis(1000);
/// Until what a restart has ended is stored: longer than any fault of the disk.
const TOLD_WITHIN_MS: i64 = 9000;

/// A door.
#[derive(Debug)]
pub(super) struct Door {
    /// Where it leads.
    server: ServerNumber,
    /// The life of the node in which it was asked for: in any other it is worth nothing.
    life: u32,
    lasting: Millis,
    /// When its time is up; known once it is decided on.
    until: Option<Moment>,
    stage: Stage,
    /// Its end was asked for, and that is not answered yet.
    is_closing: bool,
    entered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Asked for, and not answered yet.
    Asked,
    Open,
    /// Over since then.
    Over(i64),
}

/// What the store holds of doors, as far as the judge can know.
#[derive(Debug, Default)]
pub(super) struct DoorRows {
    there: BTreeSet<DoorId>,
    /// A write of theirs may have been stored, or not.
    unsure: BTreeSet<DoorId>,
    /// Those that the last restart has ended, until that is stored.
    untold: BTreeSet<DoorId>,
    started_at: i64,
}

/// What one write says of doors.
pub(super) type DoorWrites = Vec<(DoorId, DoorWrite)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoorWrite {
    Open,
    Over,
    /// The audit log is told that a restart has ended it.
    Told,
}

impl Judge {
    /// An operator asks for a door, or for its end.
    pub(super) fn door_asked(&mut self, command: &Command) -> Asks {
        match command {
            Command::OpenDoor {
                server,
                keys,
                lasting,
                ..
            } => {
                let door = Door {
                    server: ServerNumber::of(server),
                    life: self.life,
                    lasting: *lasting,
                    until: None,
                    stage: Stage::Asked,
                    is_closing: false,
                    entered: false,
                };
                self.doors.insert(keys.id, door);
                Asks::Door(keys.id, true)
            }
            Command::CloseDoor { id } => {
                if let Some(door) = self.doors.get_mut(id) {
                    door.is_closing = true;
                }
                Asks::Door(*id, false)
            }
            _ => Asks::Other,
        }
    }

    /// What was asked for at a door is so (`done`), or was refused.
    pub(super) fn door_answered(&mut self, id: DoorId, opens: bool, done: bool, at: i64) {
        let Some(door) = self.doors.get_mut(&id) else {
            return;
        };
        door.is_closing &= opens;
        match (door.stage, opens == done) {
            (Stage::Over(_), _) => {}
            (_, true) => door.stage = Stage::Open,
            (_, false) => door.stage = Stage::Over(at),
        }
    }

    /// A browser has shown the address or the cookie of a door, as it is or changed.
    pub fn came_to_door(
        &mut self,
        id: DoorId,
        is_genuine: bool,
        enters: bool,
        is_in: bool,
        now: Now,
    ) {
        let life = self.life;
        let Some(door) = self.doors.get_mut(&id) else {
            return;
        };
        let in_time = door.until.is_some_and(|until| now.moment < until);
        let wrong = match () {
            () if !is_genuine => Some("by what is not good for it"),
            () if door.life != life => Some("though a restart has ended it"),
            () if matches!(door.stage, Stage::Over(_)) => Some("though it is over"),
            () if !in_time => Some("after its time"),
            () if enters && door.entered => Some("a second time"),
            () => None,
        };
        let must = wrong.is_none() && door.stage == Stage::Open && !door.is_closing;
        door.entered |= is_in && enters;
        match (is_in, wrong) {
            (true, Some(how)) => self.fail(DOORS, format!("door {id} was used {how}")),
            (false, None) if must => {
                self.fail(LEADS, format!("door {id} is open, and nobody gets in"));
            }
            _ => {}
        }
    }

    /// A request has come through a door to this server, of those that there are.
    pub fn passed_door(&mut self, id: DoorId, led: Option<ServerNumber>, there: &[ServerNumber]) {
        let Some(door) = self.doors.get(&id) else {
            return;
        };
        let expected = Some(door.server).filter(|server| there.contains(server));
        if led != expected {
            let text = format!("door {id} led to {led:?}, and not to {}", door.server);
            self.fail(LEADS, text);
        }
    }

    pub fn led_door(&mut self, id: DoorId, server: ServerNumber) {
        if let Some(door) = self.doors.get_mut(&id) {
            door.server = server;
        }
    }

    pub fn left_door(&mut self, id: DoorId, at: i64) {
        if let Some(door) = self.doors.get_mut(&id) {
            door.stage = Stage::Over(at);
        }
    }

    /// What has come through a door is still being served.
    pub fn goes_on_behind_door(&mut self, id: DoorId, now: Now, at: i64) {
        let Some(door) = self.doors.get(&id) else {
            return;
        };
        let late = |until: Moment| now.moment.since(until) > CUT_WITHIN;
        let over_for = match door.stage {
            Stage::Over(since) => (at - since).unsigned_abs(),
            _ => 0,
        };
        if door.until.is_some_and(late) || over_for > CUT_WITHIN.0 {
            self.fail(
                DOORS,
                format!("a request goes on behind door {id}, which is over"),
            );
        }
    }

    /// What is about to be stored; returns what it says of doors.
    pub(super) fn doors_persisting(&mut self, writes: &[Write], now: Now) -> DoorWrites {
        let mut known = Vec::new();
        for write in writes {
            match write {
                Write::Door(id, record) => {
                    let is_open = record.is_some();
                    let said = if is_open {
                        DoorWrite::Open
                    } else {
                        DoorWrite::Over
                    };
                    known.push((*id, said));
                    if let Some(door) = self.doors.get_mut(id).filter(|_| is_open) {
                        door.until = Some(now.moment.plus(door.lasting));
                    }
                }
                Write::Audit(entry) if entry.outcome.ends_with("started again") => {
                    let id = entry.outcome.split(' ').nth(1).and_then(DoorId::from_text);
                    let rows = &self.door_rows;
                    let is_known =
                        |id: &DoorId| rows.untold.contains(id) || rows.unsure.contains(id);
                    match id.filter(is_known) {
                        Some(id) => known.push((id, DoorWrite::Told)),
                        None => {
                            let text = format!("nothing was open, but told: {}", entry.outcome);
                            self.fail(DURABLE, text);
                        }
                    }
                }
                _ => {}
            }
        }
        known
    }

    /// What became of a write: stored (`Some(true)`), not stored, or nobody knows.
    pub(super) fn doors_stored(&mut self, writes: DoorWrites, is_stored: Option<bool>) {
        let rows = &mut self.door_rows;
        for (id, said) in writes {
            match (is_stored, said) {
                (None, _) => {
                    rows.there.remove(&id);
                    rows.unsure.insert(id);
                }
                (Some(false), _) => {}
                (Some(true), DoorWrite::Open) => {
                    rows.there.insert(id);
                }
                (Some(true), DoorWrite::Over) => {
                    rows.unsure.remove(&id);
                    rows.there.remove(&id);
                }
                (Some(true), DoorWrite::Told) => {
                    rows.untold.remove(&id);
                }
            }
        }
    }

    pub(super) fn doors_start(&mut self) {
        let rows = &mut self.door_rows;
        rows.untold.clone_from(&rows.there);
        rows.started_at = self.at;
    }

    pub(super) fn doors_finish(&mut self) {
        let has_had_time = self.at - self.door_rows.started_at > TOLD_WITHIN_MS;
        if let Some(id) = self.door_rows.untold.first().filter(|_| has_had_time) {
            let text = format!("nobody is told that a restart has ended door {id}");
            self.fail(DURABLE, text);
        }
    }
}
