//! Servers that have left their pool, by a reload or by command, and still have sessions: those that
//! are connections go on there until they end. Such a server takes no others, is no capacity, and is
//! shown until its last session has ended; whatever is wanted of it counts as before. Of one that was
//! removed by command that ends with it; one that the file lost may come back, and then it counts again.

use crate::command::Refusal;
use crate::driver::Output;
use crate::driver::change::event;
use crate::driver::state::{ServerState, State};
use crate::event::{EventKind, count};
use crate::name::ServerName;
use crate::record::Write;
use crate::snapshot::ServerView;
use crate::standing::Standing;
use crate::time::Now;

impl State {
    /// Keeps servers that have left their pool in it, as long as they have sessions there.
    pub fn let_linger(&mut self) {
        // Those that are present do not linger.
        for (name, server) in self.servers.iter_mut().filter(|(_, one)| !one.present) {
            let has_pool = self.pools.contains_key(&name.pool);
            let lingers = has_pool && server.load.sessions() > 0;
            if lingers && !server.lingers {
                server.lingers = true;
                self.changed.insert(name.pool.clone());
            }
            server.lingers &= has_pool;
        }
    }

    /// Lets go of those that have no session any more, once every worker has seen that none may begin
    /// there, and that those of an earlier epoch are over.
    pub fn settle_removed(&mut self, acknowledged: u64, now: Now, outputs: &mut Vec<Output>) {
        self.let_linger();
        for (name, server) in self.servers.iter_mut().filter(|(_, one)| one.lingers) {
            let pool = self.snapshot.pool_named(&name.pool);
            let shown = pool.and_then(|pool| pool.removed_server(server.key));
            let is_seen = shown.is_some_and(|shown| shown.epoch == server.epoch)
                && acknowledged >= server.closed_in;
            if is_seen && server.load.sessions() == 0 {
                server.lingers = false;
                server.standing = Standing::closed();
                server.forget_if_removed();
                self.changed.insert(name.pool.clone());
                let change = format!("{name}: has left the pool, and no session is on it any more");
                outputs.push(event(Some(name), EventKind::Configured { change }, now));
            }
        }
    }

    /// The views of such servers of a pool for `generation`.
    pub fn removed_views(&mut self, pool: &str, generation: u64) -> Vec<ServerView> {
        let Some(config) = self.pools.get(pool).map(|pool| pool.config.clone()) else {
            return Vec::new();
        };
        let standing = self.within_pool(pool, Standing::removed());
        let intent = self.wish(pool).clone();
        let before = self.snapshot.pool_named(pool).cloned();
        let of_pool = self
            .servers
            .range_mut(ServerName::new(pool, "")..)
            .take_while(|(name, _)| name.pool == pool);
        let mut views = Vec::new();
        for (_, server) in of_pool.filter(|(_, server)| server.lingers) {
            let known = before
                .as_ref()
                .and_then(|pool| pool.removed_server(server.key));
            if known.is_none_or(|known| known.epoch != server.epoch) {
                server.closed_in = generation;
            }
            server.standing = standing;
            views.push(server.view(&intent, &config));
        }
        views.sort_by_key(|server| server.key);
        views
    }

    /// Whether this would store what ends with a server that was removed.
    pub fn is_of_removed(&self, write: &Write) -> bool {
        let Write::Intent(name, _) = write else {
            return false;
        };
        self.servers.get(name).is_some_and(|server| server.removed)
    }

    /// The servers that have left a pool and still have sessions, by name.
    pub fn removed<'a>(
        &'a self,
        pool: &'a str,
    ) -> impl Iterator<Item = (&'a ServerName, &'a ServerState)> {
        self.servers_of(pool).filter(|(_, server)| server.lingers)
    }

    /// The server, if it is in its pool, or has left that and still has sessions.
    pub fn with_sessions(&self, name: &ServerName) -> Result<&ServerState, Refusal> {
        match self.servers.get(name).filter(|server| server.lingers) {
            Some(server) => Ok(server),
            None => self.present(name),
        }
    }
}

/// The refusal of what only a server can do that is in its pool.
pub(super) fn has_left(name: &ServerName, server: &ServerState) -> Refusal {
    let back = match server.removed {
        true => format!("add it again (ebbtide server add {name} …)"),
        false => "put it back into the file (ebbtide reload)".to_owned(),
    };
    Refusal::not_found(format!(
        "{name} is no longer in the pool, it only goes on with the {} that it still has; end them with \
         a deadline (ebbtide drain {name} --within 30m) or at once (ebbtide sessions end --of {name}), or \
         {back}",
        count(server.load.sessions(), "session")
    ))
}
