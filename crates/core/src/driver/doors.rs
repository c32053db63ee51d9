//! Opening and closing doors, and what the audit log is told of them.

use crate::command::{Actor, Refusal};
use crate::door::{DOORS_MAX, Door, DoorId, DoorKeys};
use crate::driver::change::{Change, NodeEdit, Plan};
use crate::driver::commands::Planner;
use crate::driver::state::State;
use crate::name::ServerName;
use crate::record::{AuditEntry, Write};
use crate::time::{Millis, Now};
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
        if lasting < LASTING_MIN || lasting > LASTING_MAX {
            return Err(Refusal::invalid(format!(
                "a door to {name} is open for 1m to 12h, not {lasting}"
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
        let mut plan = self.plan("door open", target, change, Vec::new(), text, false);
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
        Ok(self.plan("door close", target, change, Vec::new(), text, false))
    }
}

impl State {
    /// Ends doors whose time is over; returns the audit lines of what happened at doors since.
    pub fn watch_doors(&self, now: Now) -> Vec<Write> {
        self.doors.expire(now);
        let notes = self.doors.take_notes().into_iter();
        let lines = notes.map(|note| {
            let name = self.name_of(note.server);
            let from = note.client.map(|client| client.to_string());
            Write::Audit(AuditEntry {
                at: note.at,
                actor: Actor {
                    who: match from {
                        Some(_) => format!("door of {}", note.door.by),
                        None => "ebbtide".to_owned(),
                    },
                    from: from.unwrap_or_else(|| "itself".to_owned()),
                    reason: None,
                },
                action: "door".into(),
                target: name.map_or_else(|| "-".to_owned(), ToString::to_string),
                outcome: format!("door {} {}", note.door.id(), note.what),
                forced: false,
            })
        });
        lines.collect()
    }
}
