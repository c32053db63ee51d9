//! Opening and closing doors, and what the audit log is told of them.

use crate::command::{Actor, Refusal};
use crate::config::Protocol;
use crate::door::{DOORS_MAX, Door, DoorId, DoorKeys};
use crate::driver::change::{Change, NodeEdit, Plan};
use crate::driver::commands::Planner;
use crate::driver::state::State;
use crate::name::ServerName;
use crate::record::{AuditEntry, DoorRecord, Write};
use crate::time::{Millis, Now, WallTime};
use std::sync::Arc;

/// The shortest and the longest time that a door may be open.
const LASTING_MIN: Millis = Millis::from_secs(60);
const LASTING_MAX: Millis = Millis::from_secs(12 * 3600);

impl Planner<'_> {
    /// Opens a door to a server, whatever is wanted of it and of its pool.
    pub fn open_door(
        &self,
        name: ServerName,
        keys: DoorKeys,
        lasting: Millis,
        as_admin: bool,
    ) -> Result<Plan, Refusal> {
        let server = self.state.present(&name)?.key;
        let pool = self.state.present_pool(&name.pool)?;
        let protocol = pool.config.protocol;
        if protocol == Protocol::Tcp {
            return Err(Refusal::invalid(format!(
                "there are no doors to servers of tcp pools, such as {name}: a browser shows a door's \
                 key in a cookie and an NBD client in the export's name, but a TCP connection has \
                 nothing to carry it in; connect to the server itself"
            )));
        }
        if lasting < LASTING_MIN || lasting > LASTING_MAX {
            return Err(Refusal::invalid(format!(
                "a door to {name} is open for 1m to 12h, not {lasting}"
            )));
        }
        if as_admin && protocol != Protocol::Http {
            return Err(Refusal::invalid(format!(
                "--as-admin is for http pools: a client of {name} sends no fields; open the door \
                 without it"
            )));
        }
        if as_admin && pool.config.door.admin_field.is_none() {
            return Err(Refusal::invalid(format!(
                "pool {} does not say how an administrator is told from others: set \
                 `door = {{ admin_field = \"X-Admin-Session: 1\" }}` in the configuration, or open \
                 the door without --as-admin",
                name.pool
            )));
        }
        if self.state.doors.list(self.now.moment).len() >= DOORS_MAX {
            return Err(Refusal::invalid(format!(
                "{DOORS_MAX} doors are open already; close one first: ebbtide door list"
            )));
        }
        let until = self.now.moment.plus(lasting);
        let by = self.actor.who.clone();
        let door = Door::new(keys, (pool.key, server), until, as_admin, by);
        let admin = if as_admin {
            ", as an administrator"
        } else {
            ""
        };
        let text = format!("door {} to {name} is open for {lasting}{admin}", keys.id);
        let change = Change::Node(NodeEdit::OpenDoor(Arc::new(door)));
        let target = name.to_string();
        let by = self.actor.who.clone();
        let record = DoorRecord { server: name, by };
        let writes = vec![Write::Door(keys.id, Some(record))];
        let mut plan = self.plan("door open", target, change, writes, text, false);
        plan.answer.deadline = Some(self.now.wall_at(until));
        Ok(plan)
    }

    /// Closes a door.
    pub fn close_door(&self, id: DoorId) -> Result<Plan, Refusal> {
        let Some(door) = self.state.doors.get(id, self.now.moment) else {
            return Err(Refusal::not_found(format!(
                "there is no open door {id}; `ebbtide door list` lists those there are"
            )));
        };
        let name = self.state.name_of(door.server());
        let target = name.map_or_else(|| "-".to_owned(), ToString::to_string);
        let text = format!("door {id} to {target} is closed");
        let change = Change::Node(NodeEdit::CloseDoor(id));
        let writes = vec![Write::Door(id, None)];
        Ok(self.plan("door close", target, change, writes, text, false))
    }
}

impl State {
    /// Ends doors whose time is over; returns the audit lines of what happened at doors since.
    pub fn watch_doors(&self, now: Now) -> Vec<Write> {
        self.doors.expire(now);
        let mut writes = Vec::new();
        for note in self.doors.take_notes() {
            let id = note.door.id();
            if !note.door.is_open(now.moment) {
                writes.push(Write::Door(id, None));
            }
            let actor = match note.client {
                Some(client) => Actor {
                    who: format!("door of {}", note.door.by),
                    from: client.to_string(),
                    reason: None,
                },
                None => Actor::ebbtide(),
            };
            let name = self.name_of(note.server);
            let target = name.map_or_else(|| "-".to_owned(), ToString::to_string);
            let outcome = format!("door {id} {}", note.what);
            writes.push(line(note.at, actor, target, outcome));
        }
        writes
    }
}

/// What is stored of doors that were open when the program ended: that they are over.
pub(super) fn over_by_restart(doors: Vec<(DoorId, DoorRecord)>, now: Now) -> Vec<Write> {
    let told = doors
        .into_iter()
        .flat_map(|(id, DoorRecord { server, by })| {
            let outcome = format!("door {id} of {by} is over: Ebbtide was started again");
            let line = line(now.wall, Actor::ebbtide(), server.to_string(), outcome);
            [Write::Door(id, None), line]
        });
    told.collect()
}

fn line(at: WallTime, actor: Actor, target: String, outcome: String) -> Write {
    Write::Audit(AuditEntry {
        at,
        actor,
        action: "door".into(),
        target,
        outcome,
        forced: false,
    })
}
