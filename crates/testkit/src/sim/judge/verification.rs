//! After maintenance: no session on a server that has not shown, by good probes that began after an
//! operator wanted it back, that it is well. What is counted here is the least; the node counts anew
//! after a restart and when it is asked once more.

use super::intents::Want;
use super::{Judge, Server, VERIFIED};
use crate::sim::number::ServerNumber;
use ebbtide_core::{Health, ProbeOutcome, Reason, RequestId, ServerStatus, VerifyCheck};

/// What a server that was in maintenance has shown since it was wanted back.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// Since when it may have been.
    since: Option<i64>,
    good_in_a_row: u32,
}

impl Judge {
    /// It is in maintenance, and every worker knows: by this request, or by itself.
    pub(super) fn closes_for_maintenance(&mut self, name: ServerNumber, id: Option<RequestId>) {
        let server = self.server(name);
        if id.is_some_and(|id| server.last_forced > Some(id)) {
            return;
        }
        let ready = server.last_ready.filter(|(ready, _)| Some(*ready) > id);
        // Meanwhile it may have been wanted back, and have shown everything.
        let good_in_a_row = ready.map_or(0, |_| server.good_in_a_row);
        let unseen = Unseen {
            since: ready.map(|(_, at)| at),
            good_in_a_row,
        };
        server.unseen = Some(unseen).filter(|_| good_in_a_row < VerifyCheck::defaults().probes);
    }

    /// An operator wants it back.
    pub(super) fn wanted_back(&mut self, id: RequestId, name: ServerNumber, force: bool) {
        let at = self.at;
        let server = self.server(name);
        server.good_in_a_row = 0;
        if force {
            (server.unseen, server.last_forced) = (None, Some(id));
        }
        if let Some(unseen) = &mut server.unseen {
            unseen.since.get_or_insert(at);
        }
    }

    /// What the node shows of it; after a restart, whether it came back to maintenance.
    pub(super) fn judge_verification(&mut self, name: ServerNumber, shown: &ServerStatus) {
        let restarted = self.restarted;
        let server = self.server(name);
        let reason = shown.standing.reason;
        server.is_unverified = matches!(reason, Reason::Verifying | Reason::Unverified);
        if shown.health == Health::Unchecked {
            server.unseen = None;
        } else if restarted && server.in_force == Want::Maintenance && server.unseen.is_none() {
            server.unseen = Some(Unseen::default());
        } else if restarted && server.in_force != Want::Maintenance {
            // Nobody wanted it back since, so the end of its drain was not stored before the program was
            // killed, but what had been decided on before that.
            server.unseen.take_if(|unseen| unseen.since.is_none());
        }
    }

    /// A session comes to it.
    pub(super) fn judge_seen(&mut self, name: ServerNumber) {
        let least = VerifyCheck::defaults().probes;
        let at = self.at;
        let server = self.server(name);
        // A worker may not have heard yet of the end of a drain.
        let is_behind = server.deadline_at.is_some_and(|ended| at <= ended + 1000);
        let Some(unseen) = server.unseen.as_ref().filter(|_| !is_behind) else {
            return;
        };
        let text = format!(
            "a session began on {name}, which was in maintenance and gave {} of {least} good probes since \
             an operator wanted it back at {:?}",
            unseen.good_in_a_row, unseen.since
        );
        self.fail(VERIFIED, text);
    }
}

impl Server {
    /// A probe came back that began at this time.
    pub(super) fn shows(&mut self, outcome: &ProbeOutcome, began: i64) {
        let is_good = !matches!(outcome, ProbeOutcome::Bad(_));
        let asked = self.last_ready.map_or(i64::MIN, |(_, at)| at);
        if began >= asked {
            self.good_in_a_row = if is_good { self.good_in_a_row + 1 } else { 0 };
        }
        let Some(unseen) = &mut self.unseen else {
            return;
        };
        if unseen.since.is_none_or(|since| began < since) {
            return;
        }
        unseen.good_in_a_row = if is_good { unseen.good_in_a_row + 1 } else { 0 };
        if unseen.good_in_a_row >= VerifyCheck::defaults().probes {
            self.unseen = None;
        }
    }
}
