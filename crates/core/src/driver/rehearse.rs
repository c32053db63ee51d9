//! What a change would do, before it is made: nothing here changes anything.

use crate::command::{Actor, Command, Refusal};
use crate::driver::Driver;
use crate::forecast::DurationHistory;
use crate::guard::GuardRefusal;
use crate::name::ServerName;
use crate::time::Now;

impl Driver {
    /// Plans a command and drops the plan: what it would be answered with, or why it would be refused,
    /// if it came now.
    pub fn rehearse(&self, command: Command, now: Now) -> Result<String, Refusal> {
        let plan = self.state.plan(&Actor::default(), command, now)?;
        Ok(plan.answer.text)
    }

    /// Who would take the pool's new sessions without this server, and who would not; `None` if there is
    /// no such server in the pool.
    pub fn without(&self, name: &ServerName) -> Option<GuardRefusal> {
        let pool = self.state.pools.get(&name.pool)?;
        let judged = self.state.judge(&pool.order);
        let is_known = judged.iter().any(|(other, _)| *other == name);
        is_known.then(|| self.state.left_without(pool, name, &judged, None))
    }

    /// How long the pool's recent sessions lasted.
    pub fn durations(&self, pool: &str) -> Option<&DurationHistory> {
        self.state.pools.get(pool).map(|pool| &pool.durations)
    }
}
