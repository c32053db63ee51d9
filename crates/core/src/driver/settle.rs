//! The end of a drain: by itself, when the last session is gone or the deadline has come.

use crate::command::Actor;
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::closing::and_outcome;
use crate::driver::state::{ServerState, State};
use crate::event::EventKind;
use crate::intent::Intent;
use crate::name::ServerName;
use crate::record::{AuditEntry, IntentRecord, StoredIntent, Write};
use crate::time::Now;

/// How a drain ends.
enum End {
    /// The last session is gone.
    Empty,
    /// The deadline has come.
    Deadline,
}

impl State {
    /// Closes every pool whose countdown is over, and puts every server whose drain is over into
    /// maintenance; returns what must be stored of it.
    pub fn settle(&mut self, acknowledged: u64, now: Now, outputs: &mut Vec<Output>) -> Vec<Write> {
        let mut writes = self.settle_pools(acknowledged, now, outputs);
        let over: Vec<(ServerName, End)> = self
            .servers
            .iter()
            .filter_map(|(name, server)| {
                let end = server.drain_end(acknowledged, now)?;
                Some((name.clone(), end))
            })
            .collect();
        for (name, end) in over {
            self.finish_drain(&name, end, now, outputs, &mut writes);
        }
        writes
    }

    fn finish_drain(
        &mut self,
        name: &ServerName,
        end: End,
        now: Now,
        outputs: &mut Vec<Output>,
        writes: &mut Vec<Write>,
    ) {
        let left = match end {
            End::Empty => None,
            End::Deadline => Some(self.fates(name)),
        };
        let Some(server) = self.servers.get_mut(name) else {
            return;
        };
        server.revision += 1;
        let epoch = server.epoch + 1;
        let drained = EventKind::Drained { left };
        let outcome = drained.to_string();
        let actor = Actor::ebbtide();
        // It is still the operator who wants it out.
        let asked = server.intent_record.as_ref();
        let by = asked.map_or(&actor.who, |asked| &asked.by);
        let record = IntentRecord {
            intent: StoredIntent::Maintenance,
            since: now.wall,
            by: by.clone(),
            reason: and_outcome(asked.and_then(|asked| asked.reason.as_ref()), &outcome),
            verification: None,
        };
        writes.push(Write::Intent(name.clone(), record.clone()));
        writes.push(Write::Epoch(name.clone(), epoch));
        writes.push(Write::Audit(AuditEntry {
            at: now.wall,
            actor,
            action: "drain end".into(),
            target: name.to_string(),
            outcome,
            forced: false,
        }));
        outputs.push(event(Some(name), drained, now));
        let intent = Intent::Maintenance;
        self.want(name, intent, record, Some(epoch), now, outputs);
    }
}

impl ServerState {
    /// Whether its drain is over.
    fn drain_end(&self, acknowledged: u64, now: Now) -> Option<End> {
        let Intent::Drain(drain) = &self.intent else {
            return None;
        };
        if now.moment >= drain.deadline {
            return Some(End::Deadline);
        }
        self.is_surely_empty(acknowledged, now)
            .then_some(End::Empty)
    }

    /// Whether it has no session, and none can begin or show itself any more: every worker has taken
    /// the generation that closed it, and every session must have shown itself since a restart.
    pub fn is_surely_empty(&self, acknowledged: u64, now: Now) -> bool {
        let counted = acknowledged >= self.closed_in && now.moment >= self.counting_until;
        // While unpublished, `standing` still lets it admit.
        self.load.sessions() == 0 && counted && !self.standing.admits_new
    }
}
