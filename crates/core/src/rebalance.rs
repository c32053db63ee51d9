//! Rebalancing: which servers of a pool are crowded, and how many sessions would have to leave them.

use crate::event::count;
use crate::standing::Reason;
use crate::status::{PoolStatus, ServerStatus};

/// What rebalancing a pool would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebalancePlan {
    /// The servers that take new sessions, in the file's order.
    pub servers: Vec<Crowd>,
    /// Sessions that were forgotten before, and whose users have not come back: they are counted as if
    /// they were there. Otherwise the levels would sink with each rebalance, and the next one would have
    /// something to forget again.
    pub awaited: u32,
}

/// How crowded a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Its name within the pool.
    pub server: String,
    /// Its sessions.
    pub sessions: u32,
    /// What it would have if all of the pool's, and those that are awaited, were spread by what the
    /// servers can take.
    pub level: u32,
    /// Idle sessions that would be forgotten, at most.
    pub forgets: u32,
}

impl RebalancePlan {
    /// Of a pool as it is shown. What a server can take is its `max_sessions` where all have one, and its
    /// weight otherwise.
    pub fn of(pool: &PoolStatus) -> Self {
        let takes = |server: &&ServerStatus| {
            let standing = server.standing;
            standing.reason == Reason::Full
                || (standing.admits_new && standing.reason != Reason::LastResort)
        };
        let servers: Vec<&ServerStatus> = pool.servers.iter().filter(takes).collect();
        let by_places = servers.iter().all(|server| server.max_sessions.is_some());
        let capacity = |server: &ServerStatus| {
            let places = server.max_sessions.filter(|_| by_places);
            u64::from(places.unwrap_or(server.weight))
        };
        let sessions = |server: &ServerStatus| u64::from(server.active) + u64::from(server.idle);
        let there: u64 = servers.iter().map(|server| sessions(server)).sum();
        let all_sessions = there + u64::from(pool.awaited);
        let all_capacity: u64 = servers.iter().map(|server| capacity(server)).sum();
        let crowds = servers.iter().map(|server| {
            // Rounded up: one session more than the mean is no crowd.
            let level = (all_sessions * capacity(server)).div_ceil(all_capacity.max(1));
            let excess = sessions(server).saturating_sub(level);
            Crowd {
                server: server.name.clone(),
                sessions: sessions(server) as u32,
                level: level as u32,
                forgets: excess.min(u64::from(server.idle)) as u32,
            }
        });
        Self {
            servers: crowds.collect(),
            awaited: pool.awaited,
        }
    }

    /// Of what was forgotten before, for people.
    pub fn note_of_awaited(awaited: u32) -> Option<String> {
        (awaited > 0).then(|| {
            let sessions = count(awaited, "session");
            format!(
                "not back yet, and counted as if there: {sessions} that a rebalance has forgotten"
            )
        })
    }

    /// Idle sessions that would be forgotten, at most.
    pub fn forgets(&self) -> u32 {
        self.servers.iter().map(|crowd| crowd.forgets).sum()
    }
}
