//! Rebalances: only because somebody asked, only sessions that are idle, only on servers that are crowded, no
//! more of them than was said beforehand, and no faster.

use super::{Judge, REBALANCE, STAYS};
use crate::sim::number::ServerNumber;
use crate::sim::plan::{ACTIVE, pool_name};
use ebbtide_core::{NodeStatus, RebalancePlan, SessionId, Snapshot};

/// A rebalance of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rebalance {
    /// Down to how many sessions each server is emptied, and how many it loses yet, at most.
    crowds: Vec<(ServerNumber, u32, u32)>,
    rate: u32,
    since: i64,
    forgotten: u64,
}

impl Judge {
    /// A rebalance is decided on; this is what is shown of it beforehand.
    pub fn rebalance_planned(&mut self, pool: usize, rate: u32, status: &NodeStatus) {
        let mut pools = status.pools.iter();
        let shown = pools.find(|shown| shown.name == pool_name(pool));
        let plan = shown.map(RebalancePlan::of).unwrap_or_default();
        let crowds = plan.servers.iter().map(|crowd| {
            let server = ServerNumber::in_pool(pool, &crowd.server);
            (server, crowd.level, crowd.forgets)
        });
        self.pools[pool].planned = Some(Rebalance {
            crowds: crowds.collect(),
            rate,
            since: self.at,
            forgotten: 0,
        });
    }

    /// That is stored, and about to begin; or that one is to stop.
    pub(super) fn rebalance_stored(&mut self, pool: usize, begins: bool) {
        let pool = &mut self.pools[pool];
        pool.rebalance = pool.planned.take().filter(|_| begins);
    }

    /// The program was killed.
    pub(super) fn rebalances_killed(&mut self) {
        for pool in &mut self.pools {
            (pool.planned, pool.rebalance) = (None, None);
        }
    }

    /// The node has forgotten a session by itself, in this tick.
    pub fn forgotten(&mut self, id: SessionId, name: ServerNumber, snapshot: &Snapshot) {
        let at = self.at;
        let quiet = self.sessions.get(&id).map(|stay| stay.quiet(at));
        let pool = snapshot.pool_named(pool_name(name.pool()));
        let mut views = pool.iter().flat_map(|pool| &pool.servers);
        let view = views.find(|view| *view.name == *name.server());
        let left = view.map_or(0, |view| view.load.sessions());
        let rebalance = self.pools[name.pool()].rebalance.as_mut();
        let wrong = match rebalance {
            None => Some((STAYS, "although nobody asked for that".to_owned())),
            Some(_) if quiet.is_some_and(|quiet| quiet.is_none_or(|ms| ms < ACTIVE.0)) => {
                let text = format!("although it is active: quiet for {:?} ms", quiet.flatten());
                Some((STAYS, text))
            }
            Some(rebalance) => rebalance
                .forgets(name, left, at)
                .map(|text| (REBALANCE, text)),
        };
        if let Some((promise, text)) = wrong {
            self.fail(
                promise,
                format!("session {id} on {name} was forgotten {text}"),
            );
        }
        self.over(id, at, false, super::DOORS);
    }
}

impl Rebalance {
    /// One more on this server, which has so many left; what is wrong with that.
    fn forgets(&mut self, name: ServerNumber, left: u32, at: i64) -> Option<String> {
        self.forgotten += 1;
        let elapsed = (at - self.since).unsigned_abs();
        let due = elapsed.saturating_mul(u64::from(self.rate)) / 1000;
        let crowd = self.crowds.iter_mut().find(|(server, ..)| *server == name);
        let Some((_, level, forgets)) = crowd else {
            return Some("although it is on no crowded server".into());
        };
        if *forgets == 0 {
            return Some("beyond what was said".into());
        }
        *forgets -= 1;
        if left < *level {
            return Some(format!("and leaves {left}, under the level of {level}"));
        }
        (self.forgotten > due).then(|| format!("as number {}, {due} are due", self.forgotten))
    }
}
