//! What the node does by itself about servers that are sick: never more than the pool can spare.

use super::{GUARDED, Judge};
use ebbtide_core::{PoolIntent, PoolView, Reason, ServerView, Snapshot};

impl Judge {
    /// At each tick: no pool has too many servers held as sick, and none has too few others for it.
    pub fn held_as_sick(&mut self, snapshot: &Snapshot) {
        for pool in &snapshot.pools {
            if let Some(text) = wrong(pool) {
                self.fail(GUARDED, text);
            }
        }
    }
}

fn wrong(pool: &PoolView) -> Option<String> {
    let has_room = |server: &ServerView| {
        server
            .max_sessions
            .is_none_or(|max| server.load.sessions() < max)
    };
    let is_sick = |server: &&ServerView| server.standing.reason == Reason::Sick;
    let sick = pool.servers.iter().filter(is_sick).count();
    if sick == 0 {
        return None;
    }
    let name = &pool.config.name;
    let all = pool.servers.len();
    let share_max = usize::from(pool.config.outliers.share_max);
    if all < 2 || (sick > 1 && sick * 100 > all * share_max) {
        return Some(format!(
            "{sick} of {all} servers of {name} are held as sick"
        ));
    }
    let takes = |server: &&ServerView| {
        let standing = server.standing;
        standing.admits_new && standing.reason != Reason::LastResort && has_room(server)
    };
    let takers = pool.servers.iter().filter(takes).count();
    let could_help = pool
        .servers
        .iter()
        .any(|server| is_sick(&server) && has_room(server));
    let minimum = pool.config.minimum as usize;
    let is_open = pool.intent == PoolIntent::Open;
    (is_open && takers < minimum && could_help).then(|| {
        format!(
            "{sick} servers of {name} are held as sick, and {takers} of at least {minimum} are left"
        )
    })
}
