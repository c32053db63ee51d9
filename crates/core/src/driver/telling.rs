//! Messages: what an operator says to the users of some sessions, and to nobody else.

use crate::command::{Refusal, SESSIONS_ENDED_MAX};
use crate::driver::change::{Change, NodeEdit, Plan};
use crate::driver::closing::message as to_be_told;
use crate::driver::commands::Planner;
use crate::event::count;
use crate::name::{ServerName, SessionId};
use crate::table::Found;
use crate::time::Millis;
use std::collections::BTreeSet;

/// How long a message may stand, if nobody dismisses it: the least and the most. Users who are away for
/// longer than a day begin new sessions.
const LASTING: (Millis, Millis) = (Millis::from_secs(60), Millis::from_secs(24 * 3600));

impl Planner<'_> {
    /// The plan of a message: the audit log keeps who was told what, the message itself is kept in
    /// memory only, as sessions are.
    pub fn tell_sessions(
        &self,
        ids: Vec<SessionId>,
        message: String,
        lasting: Millis,
    ) -> Result<Plan, Refusal> {
        if ids.len() > SESSIONS_ENDED_MAX {
            return Err(Refusal::invalid(format!(
                "at most {SESSIONS_ENDED_MAX} sessions are told something at a time, not {}",
                ids.len()
            )));
        }
        if lasting < LASTING.0 || lasting > LASTING.1 {
            return Err(Refusal::invalid(format!(
                "a message stands for {} to {}, not {lasting}",
                LASTING.0, LASTING.1
            )));
        }
        let text = to_be_told("these sessions", Some(message))?.unwrap_or_default();
        if text.is_empty() {
            return Err(Refusal::invalid(
                "the message is empty: say what users are to be told".into(),
            ));
        }
        let live: Vec<(SessionId, ServerName)> =
            ids.iter().filter_map(|id| self.is_live(*id)).collect();
        if live.is_empty() {
            return Err(Refusal::not_found(
                "none of these sessions is live; `ebbtide sessions` lists those there are".into(),
            ));
        }
        let told: Vec<&(SessionId, ServerName)> = live
            .iter()
            .filter(|(_, server)| self.why_untold(&server.pool).is_none())
            .collect();
        let (target, whom) = match told.as_slice() {
            [] => return Err(self.nobody(&live)),
            [(id, _)] => (id.to_string(), format!("session {id}")),
            many => {
                let number = count(many.len(), "session");
                (number.clone(), number)
            }
        };
        let servers: BTreeSet<&ServerName> = told.iter().map(|(_, server)| server).collect();
        let place = match servers.first() {
            Some(server) if servers.len() == 1 => server.to_string(),
            _ => count(servers.len(), "server"),
        };
        let said = text.replace('\n', " / ");
        let outcome = format!("left for {whom} on {place}: {said}");
        let ids = told.iter().map(|(id, _)| *id).collect();
        let change = Change::Node(NodeEdit::TellSessions(ids, text, lasting));
        Ok(self.plan("sessions tell", target, change, Vec::new(), outcome, false))
    }

    fn is_live(&self, id: SessionId) -> Option<(SessionId, ServerName)> {
        match self.state.sessions.find(id) {
            Found::Live(session) => Some((id, self.state.name_of(session.server)?.clone())),
            Found::Ended | Found::Unknown => None,
        }
    }

    fn why_untold(&self, pool: &str) -> Option<&'static str> {
        match self.state.pools.get(pool) {
            Some(pool) => pool.config.why_untold(),
            None => Some("the pool is not in the configuration at present"),
        }
    }

    /// Live sessions, and none whose user can be told anything.
    fn nobody(&self, live: &[(SessionId, ServerName)]) -> Refusal {
        let pools: BTreeSet<&str> = live.iter().map(|(_, name)| name.pool.as_str()).collect();
        let why = pools.into_iter().filter_map(|pool| {
            let why = self.why_untold(pool)?;
            Some(format!(
                "users of pool {pool} cannot be told anything: {why}"
            ))
        });
        Refusal::invalid(why.collect::<Vec<_>>().join("; "))
    }
}
