//! Moving sessions by command: what is refused, and which sessions of a server can leave it.

use crate::command::{Refusal, RefusalKind, SESSIONS_TOLD_MAX};
use crate::config::{PoolConfig, Protocol};
use crate::driver::change::{Change, Plan, ServerEdit};
use crate::driver::commands::Planner;
use crate::driver::pursuit::{Goal, Pursuit};
use crate::driver::state::State;
use crate::event::{Fates, count, goes_on, moves};
use crate::guard::GuardRefusal;
use crate::name::{ServerKey, ServerName, SessionId};
use crate::session::Session;
use crate::snapshot::PoolView;
use crate::standing::Reason;
use crate::table::Found;
use crate::takeover::{Bound, NotTaken, needs_of};
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// How long a session may take to be served elsewhere.
pub(super) const MOVE_WITHIN: Millis = Millis::from_secs(10);
/// How long a stop is waited for. The drain goes on after that.
const STOP_WITHIN: Millis = Millis::from_secs(30);
/// How long a drill may take: the shortest and the longest.
const DRILL_MIN: Millis = Millis::from_secs(1);
const DRILL_MAX: Millis = Millis::from_secs(60);
/// So many servers are named that do not take a session over.
const SERVERS_TOLD_MAX: usize = 5;

/// The sessions of a server, by whether they can leave it.
#[derive(Default)]
pub(super) struct Leaving {
    /// Another server can take them over.
    pub movable: BTreeSet<SessionId>,
    /// How many cannot leave.
    pub staying: u32,
    /// How many of these could if another server took them.
    pub stranded: u32,
    /// The first of those that cannot leave, and why.
    pub why: Vec<(SessionId, String)>,
}

impl State {
    /// Which sessions of this server others can take over, all of them together.
    pub fn leaving(&self, name: &ServerName) -> Leaving {
        let mut leaving = Leaving::default();
        let server = self.servers.get(name);
        let pool = self.snapshot.pool_named(&name.pool);
        let Some((server, pool)) = server.zip(pool) else {
            return leaving;
        };
        let is_nbd = pool.config.protocol == Protocol::Nbd;
        if !pool.config.moves_sessions() {
            // None of them can leave, and there may be a million.
            leaving.staying = server.load.sessions();
            return leaving;
        }
        let is_here =
            |session: &Session| session.server == server.key && (is_nbd || session.can_move());
        let sessions = self
            .sessions
            .list(&self.snapshot, None, usize::MAX, is_here);
        if !is_nbd {
            // Those that have no download stay where they are, and there may be a million.
            let resting = server.load.sessions();
            leaving.staying = resting.saturating_sub(sessions.len() as u32);
        }
        let mut rooms = rooms(pool);
        for session in sessions {
            let why = match self.takes_one(pool, &session, &mut rooms) {
                Ok(()) => {
                    leaving.movable.insert(session.id);
                    continue;
                }
                Err(Stays::Bound(bound)) => bound.to_string(),
                Err(Stays::Stranded) => {
                    leaving.stranded += 1;
                    self.nobody(pool, &session)
                }
            };
            leaving.staying += 1;
            if leaving.why.len() < SESSIONS_TOLD_MAX {
                leaving.why.push((session.id, why));
            }
        }
        leaving
    }

    /// What becomes of a server's sessions when it must not serve them any more.
    pub fn fates(&self, name: &ServerName) -> Fates {
        let leaving = self.leaving(name);
        Fates {
            moving: leaving.movable.len() as u32,
            waiting: leaving.stranded,
            ending: leaving.staying - leaving.stranded,
        }
    }

    /// What becomes of them when it leaves its pool, in words.
    pub fn after_removal(&self, name: &ServerName) -> String {
        let sessions = self.servers.get(name);
        let sessions = sessions.map_or(0, |server| server.load.sessions());
        let protocol = self.pools.get(&name.pool).map(|pool| pool.config.protocol);
        match protocol {
            Some(Protocol::Tcp) => goes_on(sessions),
            Some(Protocol::Nbd) => {
                let Fates {
                    moving,
                    waiting,
                    ending,
                } = self.fates(name);
                let stay = goes_on(ending);
                match moving + waiting {
                    0 => stay,
                    leave => format!("{}, {stay}", moves(leave)),
                }
            }
            Some(Protocol::Http) | None => {
                format!("{} to be placed anew", count(sessions, "session"))
            }
        }
    }

    /// Takes a place for a session on another server.
    fn takes_one(
        &self,
        pool: &PoolView,
        session: &Session,
        rooms: &mut BTreeMap<ServerKey, u32>,
    ) -> Result<(), Stays> {
        let attachment = session.attachment();
        let needs = needs_of(pool, session, attachment.as_deref()).map_err(Stays::Bound)?;
        let others = pool.servers.iter();
        for server in others.filter(|server| server.key != session.server) {
            let room = rooms.get_mut(&server.key).filter(|room| **room > 0);
            if let Some(room) = room
                && needs.met_by(server).is_ok()
            {
                *room -= 1;
                return Ok(());
            }
        }
        Err(Stays::Stranded)
    }

    /// Why no other server takes a session over that could leave.
    fn nobody(&self, pool: &PoolView, session: &Session) -> String {
        let attachment = session.attachment();
        let Ok(needs) = needs_of(pool, session, attachment.as_deref()) else {
            return String::new();
        };
        let others = pool.servers.iter();
        let others = others.filter(|server| server.key != session.server);
        let told = others.map(|server| {
            let why = match needs.met_by(server) {
                Ok(()) => "has no room for all of them".to_owned(),
                Err(not) => not.to_string(),
            };
            format!("{}/{} {why}", pool.config.name, server.name)
        });
        let told: Vec<String> = told.take(SERVERS_TOLD_MAX).collect();
        match told.is_empty() {
            true => "there is no other server in the pool".to_owned(),
            false => told.join("; "),
        }
    }
}

/// Why a session stays.
enum Stays {
    Bound(Bound),
    Stranded,
}

/// How many more sessions each server may have.
fn rooms(pool: &PoolView) -> BTreeMap<ServerKey, u32> {
    let room = |server: &crate::snapshot::ServerView| {
        let max = server.max_sessions.unwrap_or(u32::MAX);
        (server.key, max.saturating_sub(server.load.sessions()))
    };
    pool.servers.iter().map(room).collect()
}

impl Planner<'_> {
    /// Moves a session to another server, or to this one.
    pub fn move_session(&self, id: SessionId, to: Option<ServerName>) -> Result<Plan, Refusal> {
        let listed = "`ebbtide sessions` lists those that are live";
        let session = match self.state.sessions.find(id) {
            Found::Live(session) => session,
            Found::Ended => {
                let text = format!("session {id} has ended, so it cannot be moved; {listed}");
                return Err(Refusal::not_found(text));
            }
            Found::Unknown => {
                let text = format!("there is no session {id}; {listed}");
                return Err(Refusal::not_found(text));
            }
        };
        let pool = self.state.snapshot.pool(session.pool);
        let from = self.state.name_of(session.server).cloned();
        let Some((pool, from)) = pool.zip(from) else {
            let text = format!("the pool of session {id} is no longer in the file");
            return Err(Refusal::not_found(text));
        };
        let attachment = session.attachment();
        let needs = needs_of(pool, &session, attachment.as_deref());
        let needs = needs.map_err(|bound| bound_to(id, &from, &bound))?;
        let key = match &to {
            Some(to) => {
                let key = self.target(id, &from, to)?;
                let server = pool.server(key);
                let starting = Err(NotTaken::Standing(Reason::Starting));
                let taken = server.map_or(starting, |server| needs.met_by(server));
                taken.map_err(|not| not_taken(id, to, &not))?;
                Some(key)
            }
            None => {
                self.state
                    .takes_one(pool, &session, &mut rooms(pool))
                    .map_err(|_| {
                        Refusal::invalid(format!(
                            "no other server can take session {id} over, so it stays on {from}: {}; \
                             return a server (ebbtide ready {}/…), or see `ebbtide replicas {}`",
                            self.state.nobody(pool, &session),
                            from.pool,
                            from.pool
                        ))
                    })?;
                None
            }
        };
        let place = to.map_or_else(|| "another server".to_owned(), |to| to.to_string());
        let text = format!("session {id} is to move from {from} to {place}");
        let change = Change::Nothing;
        let mut plan = self.plan("move", id.to_string(), change, Vec::new(), text, false);
        plan.pursuit = Some(Pursuit {
            goal: Goal::Move { id, to: key },
            server: from,
            from: session.server,
            until: self.now.moment.plus(MOVE_WITHIN),
        });
        Ok(plan)
    }

    /// The server that a session is to move to, as far as it can be one at all.
    fn target(
        &self,
        id: SessionId,
        from: &ServerName,
        to: &ServerName,
    ) -> Result<ServerKey, Refusal> {
        if to.pool != from.pool {
            return Err(Refusal::invalid(format!(
                "session {id} belongs to pool {}, and {to} is a server of another one: name one of \
                 {}, or none for the least busy one",
                from.pool, from.pool
            )));
        }
        let server = self.state.present(to)?;
        if to == from {
            return Err(Refusal::invalid(format!(
                "session {id} is on {to} already; leave out --to to move it to any other server"
            )));
        }
        Ok(server.key)
    }

    /// A drain whose sessions that can leave are waited for.
    pub fn stop(
        &self,
        name: ServerName,
        within: Millis,
        message: Option<String>,
        force: bool,
    ) -> Result<Plan, Refusal> {
        let mut plan = self.drain("stop", name.clone(), Some(within), message, force)?;
        let config = &self.state.present_pool(&name.pool)?.config;
        plan.pursuit = Some(Pursuit {
            goal: Goal::Stop {
                by_order: config.protocol != Protocol::Nbd && config.moves_sessions(),
            },
            from: self.state.with_sessions(&name)?.key,
            server: name,
            until: self.now.moment.plus(STOP_WITHIN.min(within)),
        });
        Ok(plan)
    }

    /// A failover test.
    pub fn drill(&self, name: ServerName, cut: bool, within: Millis) -> Result<Plan, Refusal> {
        let server = self.state.present(&name)?;
        if within < DRILL_MIN || within > DRILL_MAX {
            return Err(Refusal::invalid(format!(
                "a drill takes from {DRILL_MIN} to {DRILL_MAX}, not {within}"
            )));
        }
        let config = &self.state.present_pool(&name.pool)?.config;
        if !config.moves_sessions() {
            return Err(no_drill(&name, config));
        }
        self.guard_drill(&name)?;
        // Whoever is cut off gets the server back long before the search for another one is given up.
        let patience = match config.protocol {
            Protocol::Nbd => Millis(config.nbd.stand_in.0 / 2),
            // A download that nobody goes on with returns by itself.
            Protocol::Http | Protocol::Tcp => DRILL_MAX,
        };
        let within = if cut { within.min(patience) } else { within };
        let how = if cut { "are cut off" } else { "move" };
        let text = format!("a drill of {name} begins: its sessions {how}, within {within}");
        let from = server.key;
        let by = self.actor.who.clone();
        let edit = ServerEdit::Drill { cut, by };
        let mut plan = self.of_server("drill", name.clone(), edit, Vec::new(), text, false);
        plan.pursuit = Some(Pursuit {
            goal: Goal::Drill { cut },
            server: name,
            from,
            until: self.now.moment.plus(within),
        });
        Ok(plan)
    }

    /// Refuses a drill that would find nothing out, or harm somebody.
    fn guard_drill(&self, name: &ServerName) -> Result<(), Refusal> {
        let order = &self.state.present_pool(&name.pool)?.order;
        let judged = self.state.judge(order).into_iter();
        let mut judged = judged.filter(|(other, _)| *other == name);
        let reason = judged.next().map(|(_, standing)| standing.reason);
        let reason = reason.unwrap_or(Reason::Starting);
        let refused = |text: String, guard: GuardRefusal| Refusal {
            kind: RefusalKind::Guarded(Box::new(guard)),
            text,
        };
        let guard = |sessions| GuardRefusal {
            server: name.clone(),
            resource: None,
            would_leave: Vec::new(),
            others: Vec::new(),
            minimum: 0,
            sessions,
        };
        if !matches!(reason, Reason::Ready | Reason::Unproven) {
            let text = format!(
                "a drill needs a server that is ready, and {name} is not ({}); see `ebbtide status`",
                reason.label()
            );
            return Err(refused(text, guard(0)));
        }
        if let Err(Refusal {
            kind: RefusalKind::Guarded(guard),
            ..
        }) = self.state.guard(name, false)
        {
            let text = format!(
                "{name} takes no new sessions during a drill, which would leave {} for them{} in pool {}, \
                 and it needs {}{}; {}",
                guard.left(),
                guard.of_what(),
                name.pool,
                guard.minimum,
                guard.why_not(),
                guard.what_helps()
            );
            return Err(refused(text, *guard));
        }
        let leaving = self.state.leaving(name);
        if leaving.movable.is_empty() && leaving.stranded == 0 {
            let text = nothing_to_drill(name, leaving.staying);
            return Err(refused(text, guard(leaving.staying)));
        }
        if leaving.movable.is_empty() && leaving.stranded > 0 {
            let first = leaving.why.iter().map(|(_, why)| why.as_str()).next();
            let text = format!(
                "nobody could take over {} of {name}: {}; see `ebbtide replicas {}`",
                count(leaving.stranded, "session"),
                first.unwrap_or_default(),
                name.pool
            );
            return Err(refused(text, guard(leaving.stranded)));
        }
        Ok(())
    }
}

/// The refusal of a drill in a pool whose sessions stay where they are.
fn no_drill(name: &ServerName, config: &PoolConfig) -> Refusal {
    Refusal::invalid(format!(
        "{name} has no sessions that another server could take over: pool {} is of protocol {}{}; \
         drills are for pools of protocol nbd, and for those of http with `replica = true`",
        config.name,
        config.protocol.label(),
        match config.protocol {
            Protocol::Http => ", and not one of replicas",
            Protocol::Tcp | Protocol::Nbd => "",
        }
    ))
}

/// What is told where a drill has nobody to move.
fn nothing_to_drill(name: &ServerName, staying: u32) -> String {
    let has = match staying {
        0 => "no session".to_owned(),
        _ => format!(
            "{} that cannot move and none that can",
            count(staying, "session")
        ),
    };
    format!("{name} has {has}, so a drill would test nothing; run it while clients use the server")
}

/// The refusal to move a session that cannot leave its server.
fn bound_to(id: SessionId, from: &ServerName, bound: &Bound) -> Refusal {
    let instead = match bound {
        Bound::NotAttached => "try again in a moment".to_owned(),
        Bound::NoDownload => {
            format!("to empty {from}, users are told and get time: ebbtide stop {from}")
        }
        Bound::Unknown(_) => format!(
            "its client finds a copy that is known when it connects anew; see `ebbtide replicas {}`",
            from.pool
        ),
        Bound::Protocol(_) | Bound::NoResource(_) | Bound::Rule(..) => format!(
            "to empty {from} all the same, users are told and get time: ebbtide drain {from} \
             --within 30m"
        ),
    };
    Refusal::invalid(format!("session {id} stays on {from}: {bound}; {instead}"))
}

/// The refusal to move a session to a server that does not take it.
fn not_taken(id: SessionId, to: &ServerName, not: &NotTaken) -> Refusal {
    let instead = match not {
        NotTaken::Standing(Reason::Held | Reason::Draining | Reason::Maintenance) => {
            format!("return it first (ebbtide ready {to})")
        }
        NotTaken::Standing(_) => "see `ebbtide status`".to_owned(),
        NotTaken::Full => format!("make room (ebbtide server set {to} max_sessions=…)"),
        NotTaken::Copy(_) => format!("see `ebbtide replicas {}`", to.pool),
    };
    Refusal::invalid(format!(
        "session {id} cannot move to {to}, which {not}; {instead}, or leave out --to for any server \
         that can take it"
    ))
}
