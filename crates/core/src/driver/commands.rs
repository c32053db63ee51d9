//! Planning: each command is judged by the present state, before anything is stored.

use crate::command::{
    Actor, Answer, Command, PeakChange, Refusal, RefusalKind, SESSIONS_ENDED_MAX, ServerChange,
};
use crate::config::{Protocol, ServerConfig};
use crate::driver::change::{Change, NodeEdit, Plan, ServerEdit};
use crate::driver::closing::message as to_be_told;
use crate::driver::removed::has_left;
use crate::driver::state::{PoolState, ServerState, State};
use crate::event::count;
use crate::guard::GuardRefusal;
use crate::health::Health;
use crate::intent::{Drain, Intent};
use crate::name::{ServerName, SessionId, is_name};
use crate::record::{
    AuditEntry, IntentRecord, ServerOverride, StoredIntent, StoredVerification, Write,
};
use crate::snapshot::{Snapshot, TokenSecrets};
use crate::table::{Found, REUSE_UNKNOWN};
use crate::time::{Millis, Moment, Now, WallTime};

/// The longest drain: a week. Longer ones are typing errors or holds.
const DRAIN_MAX: Millis = Millis::from_secs(7 * 24 * 3600);
/// The most that `max_sessions` may be, as in the file.
const MAX_SESSIONS_MAX: u32 = 10_000_000;

impl State {
    /// Decides what `command` will change, or why it is refused.
    pub fn plan(&self, actor: &Actor, command: Command, now: Now) -> Result<Plan, Refusal> {
        let planner = Planner {
            state: self,
            actor,
            now,
        };
        match command {
            Command::Ready { server, force } => planner.ready(server, force),
            Command::Hold { server, force } => planner.hold(server, force),
            Command::Drain {
                server,
                within,
                message,
                force,
            } => planner.drain("drain", server, within, message, force),
            Command::Stop {
                server,
                within,
                message,
                force,
            } => planner.stop(server, within, message, force),
            Command::Drill {
                server,
                cut,
                within,
            } => planner.drill(server, cut, within),
            Command::MoveSession { id, to } => planner.move_session(id, to),
            Command::Maintenance { server, force } => planner.maintenance(server, force),
            Command::Close { pool, close } => planner.close(pool, close),
            Command::Open { pool } => planner.open(pool),
            Command::Rebalance { pool, rate } => planner.rebalance(pool, rate),
            Command::StopRebalance { pool } => planner.stop_rebalance(pool),
            Command::OpenDoor {
                server,
                keys,
                lasting,
                as_admin,
            } => planner.open_door(server, keys, lasting, as_admin),
            Command::CloseDoor { id } => planner.close_door(id),
            Command::Forget { server } => planner.forget(server),
            Command::EndSessions { ids } => planner.end_sessions(ids),
            Command::TellSessions {
                ids,
                message,
                lasting,
            } => planner.tell_sessions(ids, message, lasting),
            Command::AddServer { pool, server } => planner.add_server(pool, server),
            Command::RemoveServer { server, force } => planner.remove_server(server, force),
            Command::SetServer { server, change } => planner.set_server(server, change),
            Command::RotateTokenSecret { secret } => Ok(planner.rotate(secret)),
            Command::Reload { config, beside } => planner.reload(config, beside),
        }
    }

    /// The pool, if it exists at present.
    pub fn present_pool(&self, name: &str) -> Result<&PoolState, Refusal> {
        self.pools.get(name).ok_or_else(|| {
            let pools: Vec<&str> = self.pools.keys().map(String::as_str).collect();
            Refusal::not_found(format!(
                "there is no pool {name:?}; the pools are: {}",
                pools.join(", ")
            ))
        })
    }

    /// The server, if it exists at present.
    pub fn present(&self, name: &ServerName) -> Result<&ServerState, Refusal> {
        let pool = self.present_pool(&name.pool)?;
        match self.servers.get(name) {
            Some(server) if server.present => Ok(server),
            Some(server) if server.lingers => Err(has_left(name, server)),
            _ => {
                let servers: Vec<&str> =
                    pool.order.iter().map(|name| name.server.as_str()).collect();
                Err(Refusal::not_found(format!(
                    "there is no server {:?} in pool {}; its servers are: {}",
                    name.server,
                    name.pool,
                    servers.join(", ")
                )))
            }
        }
    }
}

pub(super) struct Planner<'a> {
    pub state: &'a State,
    pub actor: &'a Actor,
    pub now: Now,
}

impl Planner<'_> {
    fn ready(&self, name: ServerName, force: bool) -> Result<Plan, Refusal> {
        let server = self.state.with_sessions(&name)?;
        if let Some(host) = self.state.name_that_lost(&name, server) {
            return Err(Refusal::invalid(format!(
                "{name} cannot be ready: {host} no longer has {} for it, and it would be sent away again at \
                 once; give that name the address back, or, once it is gone, add the server under a name of \
                 its own (ebbtide server add)",
                server.config.address_text
            )));
        }
        let has_to_show = self.verification(&name, server, &Intent::Ready);
        let forced = force && has_to_show.is_some();
        let from = server.intent.label();
        let mut text = match from {
            "ready" if has_to_show.is_some() => format!("{name} is wanted in traffic"),
            "ready" if server.is_kept_by_silent_agent() => {
                format!("{name} is ready; what its agent said before it fell silent counts no more")
            }
            "ready" => format!("{name} was ready already; nothing was changed"),
            _ => format!("{name} is ready again (before: {from})"),
        };
        let pool = self.state.pools.get(&name.pool);
        let sick = pool.and_then(|pool| server.ready_text(&name, pool));
        if let Some(sick) = sick.filter(|_| from == "ready") {
            text = sick;
        }
        if let Some(word) = server.word_of_answering_agent() {
            text += &format!("; it takes no new sessions as long as {word}");
        }
        if !server.present {
            text += "; it has left the pool, so it takes no new sessions";
        } else if forced {
            text += ", without having been verified";
        } else if has_to_show.is_some() {
            text += &self.to_show(&name);
        }
        let has_to_show = has_to_show.filter(|_| !force);
        self.intent_showing("ready", name, Intent::Ready, has_to_show, text, forced)
    }

    /// What a server still has to show with this intent, after maintenance.
    fn verification(
        &self,
        name: &ServerName,
        server: &ServerState,
        intent: &Intent,
    ) -> Option<StoredVerification> {
        server.verification_for(intent, self.state.verify_check(&name.pool))
    }

    /// What an operator is told of that.
    fn to_show(&self, name: &ServerName) -> String {
        let Some(asked) = self.state.what_is_to_show(&name.pool) else {
            return String::new();
        };
        let order = self.state.pools.get(&name.pool).map(|pool| &pool.order[..]);
        let judged = self.state.judge(order.unwrap_or_default());
        let nobody = !judged.iter().any(|(_, standing)| standing.admits_new);
        let until_then = match nobody {
            true => "; no server of the pool takes new sessions until then",
            false => "",
        };
        format!(
            "; it is verified first, and takes sessions after {asked}{until_then} (ebbtide ready {name} \
             --force: at once)"
        )
    }

    fn hold(&self, name: ServerName, force: bool) -> Result<Plan, Refusal> {
        let server = self.state.with_sessions(&name)?;
        let forced = self.state.guard(&name, force)?;
        let sessions = server.load.sessions();
        let text = format!(
            "{name} is on hold: no new sessions; {} on it",
            count(sessions, "session")
        );
        self.intent("hold", name, Intent::Hold, text, forced)
    }

    /// The plan of a drain, under the name of the command that asks for it.
    pub fn drain(
        &self,
        action: &'static str,
        name: ServerName,
        within: Option<Millis>,
        message: Option<String>,
        force: bool,
    ) -> Result<Plan, Refusal> {
        let server = self.state.with_sessions(&name)?;
        let deadline_stays = within.is_none();
        let (deadline, within) = self.drain_until(&name, &server.intent, within)?;
        let message = to_be_told(&name.to_string(), message)?;
        if deadline_stays && message.is_none() {
            return Err(Refusal::invalid(format!(
                "nothing to change: {name} is being drained already; give it another time (--within) or \
                 its users other words (--message)"
            )));
        }
        if server.intent == Intent::Maintenance {
            return Err(Refusal::invalid(format!(
                "{name} is in maintenance: it has no sessions to drain"
            )));
        }
        let forced = self.state.guard(&name, force)?;
        let how = match server.intent.deadline() {
            None => "",
            Some(before) if before == deadline => "other words for its users, still ",
            Some(_) => "a new deadline, ",
        };
        let left = deadline.since(self.now.moment);
        let text = format!(
            "{name} is being drained: {how}{left} from now; {} to go, then maintenance",
            self.state.fates(&name).of_drain()
        );
        // A deadline that is only moved keeps what users were told, unless they are told anew.
        let kept = match &server.intent {
            Intent::Drain(drain) => drain.message.clone(),
            _ => None,
        };
        let intent = Intent::Drain(Drain {
            deadline,
            within,
            message: message.or(kept).filter(|message| !message.is_empty()),
        });
        self.intent(action, name, intent, text, forced)
    }

    /// The deadline of a drain, and how long it was from when it was set; without a time of its own it stays.
    fn drain_until(
        &self,
        name: &ServerName,
        intent: &Intent,
        within: Option<Millis>,
    ) -> Result<(Moment, Millis), Refusal> {
        match (within, intent) {
            (Some(within), _) if within < Millis::from_secs(1) || within > DRAIN_MAX => {
                Err(Refusal::invalid(format!(
                    "a drain takes from 1s to 7 days, not {within}; to end all sessions of {name} at \
                     once: ebbtide maintenance {name}"
                )))
            }
            (Some(within), _) => Ok((self.now.moment.plus(within), within)),
            (None, Intent::Drain(drain)) => Ok((drain.deadline, drain.within)),
            (None, _) => Err(Refusal::invalid(format!(
                "{name} is not being drained, so a drain needs its time: `--within 30m` (`within_ms` in the API)"
            ))),
        }
    }

    fn maintenance(&self, name: ServerName, force: bool) -> Result<Plan, Refusal> {
        self.state.with_sessions(&name)?;
        let forced = self.state.guard(&name, force)?;
        let text = format!("{name} is in maintenance; {}", self.state.fates(&name));
        self.intent("maintenance", name, Intent::Maintenance, text, forced)
    }

    /// The plan for a new intent: the sessions are ended by a new epoch where nobody is served.
    fn intent(
        &self,
        action: &'static str,
        name: ServerName,
        intent: Intent,
        text: String,
        forced: bool,
    ) -> Result<Plan, Refusal> {
        let server = self.state.with_sessions(&name)?;
        let verification = self.verification(&name, server, &intent);
        self.intent_showing(action, name, intent, verification, text, forced)
    }

    /// The same, of a server that still has this to show.
    fn intent_showing(
        &self,
        action: &'static str,
        name: ServerName,
        intent: Intent,
        verification: Option<StoredVerification>,
        text: String,
        forced: bool,
    ) -> Result<Plan, Refusal> {
        let server = self.state.with_sessions(&name)?;
        let record = IntentRecord {
            intent: self.stored(&intent),
            since: self.now.wall,
            by: self.actor.who.clone(),
            reason: self.actor.reason.clone(),
            verification,
        };
        let ends = intent == Intent::Maintenance && server.intent != Intent::Maintenance;
        let epoch = ends.then_some(server.epoch + 1);
        // What is wanted of a server that was removed ends with it.
        let lasts = (!server.removed).then(|| Write::Intent(name.clone(), record.clone()));
        let mut writes: Vec<Write> = lasts.into_iter().collect();
        writes.extend(epoch.map(|epoch| Write::Epoch(name.clone(), epoch)));
        let deadline = intent.deadline().map(|moment| self.now.wall_at(moment));
        let edit = ServerEdit::Intent(intent, record, epoch);
        let mut plan = self.of_server(action, name, edit, writes, text, forced);
        plan.answer.deadline = deadline;
        Ok(plan)
    }

    fn stored(&self, intent: &Intent) -> StoredIntent {
        match intent {
            Intent::Ready => StoredIntent::Ready,
            Intent::Hold => StoredIntent::Hold,
            Intent::Maintenance => StoredIntent::Maintenance,
            Intent::Drain(drain) => StoredIntent::Drain {
                boot: self.state.boot.clone(),
                moment: drain.deadline,
                wall: self.now.wall_at(drain.deadline),
                within: drain.within,
                message: drain.message.clone(),
            },
        }
    }

    fn forget(&self, name: ServerName) -> Result<Plan, Refusal> {
        let server = self.state.with_sessions(&name)?;
        let epoch = server.epoch + 1;
        let writes = vec![Write::Epoch(name.clone(), epoch)];
        let sessions = count(server.load.sessions(), "session");
        let text = match self.state.present_pool(&name.pool)?.config.protocol {
            Protocol::Http => format!("forgot {sessions} of {name}; their users are placed anew"),
            Protocol::Tcp | Protocol::Nbd => {
                format!("forgot {sessions} of {name}: {}", self.state.fates(&name))
            }
        };
        let edit = ServerEdit::Epoch(epoch);
        Ok(self.of_server("forget", name, edit, writes, text, false))
    }

    fn end_sessions(&self, ids: Vec<SessionId>) -> Result<Plan, Refusal> {
        if ids.len() > SESSIONS_ENDED_MAX {
            return Err(Refusal::invalid(format!(
                "at most {SESSIONS_ENDED_MAX} sessions are ended at a time, not {}",
                ids.len()
            )));
        }
        let live: Vec<(SessionId, ServerName)> = ids
            .iter()
            .filter_map(|id| match self.state.sessions.find(*id) {
                Found::Live(session) => Some((*id, self.state.name_of(session.server)?.clone())),
                Found::Ended | Found::Unknown => None,
            })
            .collect();
        let (target, text) = match (live.as_slice(), ids.as_slice()) {
            ([], [id]) => {
                return Err(Refusal::not_found(format!(
                    "there is no live session {id}; `ebbtide sessions` lists those there are"
                )));
            }
            ([], _) => {
                return Err(Refusal::not_found(
                    "none of these sessions is live; `ebbtide sessions` lists those there are"
                        .into(),
                ));
            }
            ([(id, server)], _) => (
                id.to_string(),
                format!("session {id} on {server} was ended"),
            ),
            (many, _) => {
                let number = count(many.len(), "session");
                (number.clone(), format!("{number} were ended"))
            }
        };
        let writes = live.iter().map(|(id, server)| Write::EndedSession {
            id: *id,
            server: server.clone(),
            until: self.token_expiry(&server.pool),
        });
        let writes = writes.collect();
        let ids = live.into_iter().map(|(id, _)| id).collect();
        let change = Change::Node(NodeEdit::EndSessions(ids));
        Ok(self.plan("sessions end", target, change, writes, text, false))
    }

    /// When the last token that may be out there now for this pool has expired.
    fn token_expiry(&self, pool: &str) -> WallTime {
        let reuse = self
            .state
            .pools
            .get(pool)
            .map_or(REUSE_UNKNOWN, |pool| pool.config.sticky.reuse);
        let life = Snapshot::token_life(reuse);
        WallTime(self.now.wall.0.saturating_add(life.0))
    }

    fn add_server(&self, pool: String, server: ServerConfig) -> Result<Plan, Refusal> {
        let name = ServerName::new(pool, &server.name);
        if !is_name(&name.server) {
            return Err(Refusal::invalid(format!(
                "{:?} cannot name a server: use 1 to 64 letters, digits, '-', '_' or '.'",
                name.server
            )));
        }
        match self.state.present(&name) {
            Ok(_) => {
                return Err(Refusal::invalid(format!(
                    "{name} exists already; change it with `ebbtide server set {name} …`"
                )));
            }
            Err(refusal) if !self.state.pools.contains_key(&name.pool) => return Err(refusal),
            Err(_) => {}
        }
        let pool = self.state.pools.get(&name.pool);
        if pool.is_some_and(|pool| pool.config.name(&name.server).is_some()) {
            return Err(Refusal::invalid(format!(
                "{name} is a name of the file (`resolve`), whose addresses are servers by themselves: give \
                 the server another name"
            )));
        }
        self.check_address(&name, &server)?;
        check_bounds(&name, Some(server.weight), server.max_sessions)?;
        if pool.is_some_and(|pool| pool.config.http.redirect) && server.public_url.is_none() {
            return Err(Refusal::invalid(format!(
                "pool {} leads users to its servers' own addresses, and {name} would have none: add it \
                 to the configuration file, with `public_url`, then `ebbtide reload`",
                name.pool
            )));
        }
        let text = format!(
            "{name} was added at {}; {}",
            server.address_text,
            self.after_adding(&name)
        );
        let mut writes = vec![Write::LiveServer(name.clone(), server.clone())];
        let known = self.state.servers.get(&name);
        // Whatever epoch its removal has stored: it may have been raised since.
        let epoch = match known {
            Some(known) if known.lingers => Some(known.epoch),
            Some(known) if known.removed => Some(known.epoch_of_next.max(known.epoch)),
            _ => None,
        };
        writes.extend(epoch.map(|epoch| Write::Epoch(name.clone(), epoch)));
        let edit = ServerEdit::Add(server, epoch);
        Ok(self.of_server("server add", name, edit, writes, text, false))
    }

    /// Refuses an address that another server of the pool has, and another one than that at which
    /// sessions still are on the server.
    fn check_address(&self, name: &ServerName, server: &ServerConfig) -> Result<(), Refusal> {
        let has_it = |other: &ServerState| other.present && other.config.address == server.address;
        let mut others = self.state.servers_of(&name.pool);
        if let Some((other, _)) = others.find(|(_, other)| has_it(other)) {
            return Err(Refusal::invalid(format!(
                "{name} cannot be added: {other} has its address already, {}; each server of a pool \
                 needs an address of its own",
                server.address_text
            )));
        }
        let earlier = self.state.servers.get(name).filter(|known| known.lingers);
        match earlier.filter(|earlier| earlier.config.address != server.address) {
            None => Ok(()),
            Some(earlier) => Err(Refusal::invalid(format!(
                "{name} has left its pool, and still has {} at {}: add it at that address, give the new \
                 server another name, or wait until they have ended",
                count(earlier.load.sessions(), "session"),
                earlier.config.address_text
            ))),
        }
    }

    /// What becomes of a server that is added: what was wanted of one of this name counts again if that
    /// has left the file and was not removed.
    fn after_adding(&self, name: &ServerName) -> String {
        let known = self.state.servers.get(name);
        let known = known.filter(|server| !server.removed);
        let since = known.and_then(|server| server.intent_record.as_ref());
        let by = since.map_or(String::new(), |record| format!(", by {}", record.by));
        let is_probed = self.state.pools.get(&name.pool);
        let is_probed = is_probed.is_some_and(|pool| pool.config.health.is_some());
        let waits = known.is_some_and(|server| server.verification.is_some());
        let mut text = match known.map(|server| &server.intent) {
            Some(Intent::Ready) | None => match (waits, is_probed) {
                (true, _) => {
                    "it is wanted in traffic as before, and has to be verified first".into()
                }
                (false, true) => "it takes sessions after its first good probe".to_owned(),
                (false, false) => {
                    "it takes sessions at once, for the pool has no health checks".into()
                }
            },
            Some(intent) => format!(
                "it takes no new sessions, for what was wanted of it before it left the file still counts: \
                 {}{by} \
                 (ebbtide ready {name})",
                intent.label()
            ),
        };
        if known.is_some_and(|server| server.set != ServerOverride::default()) {
            text +=
                &format!("; what was set of it live counts as well (ebbtide server reset {name})");
        }
        text
    }

    fn remove_server(&self, name: ServerName, force: bool) -> Result<Plan, Refusal> {
        let server = self.state.present(&name)?;
        let in_file = self.state.config.pools.iter().any(|pool| {
            pool.name == name.pool && pool.servers.iter().any(|other| other.name == name.server)
        });
        if in_file {
            return Err(Refusal::invalid(format!(
                "{name} is in the configuration file: take it out there, then `ebbtide reload`"
            )));
        }
        if let Some(host) = self.state.unheard_name(&name, server) {
            return Err(Refusal::invalid(format!(
                "{name} comes by a name of the file, {host}, which has not been looked up since the start, and \
                 may come again: wait until it has (ebbtide status), or keep users off it (ebbtide hold {name})"
            )));
        }
        if self.state.is_named(&name, server) {
            return Err(Refusal::invalid(format!(
                "{name} comes by a name of the file that has its address, {}, and would come again: take \
                 the address from the name, or keep users off it (ebbtide hold {name})",
                server.config.address
            )));
        }
        let sessions = server.load.sessions();
        let after = self.state.after_removal(&name);
        // What is on it is lost to its users already: nothing could be drained.
        let is_down = server.known_health() == Health::Down;
        if sessions > 0 && !force && !is_down {
            let mut refusal = Refusal::guarded(GuardRefusal {
                server: name,
                resource: None,
                would_leave: Vec::new(),
                others: Vec::new(),
                minimum: 0,
                sessions,
            });
            refusal.text += &format!(": {after}");
            return Err(refusal);
        }
        let forced = self.state.guard(&name, force)? || (sessions > 0 && !is_down);
        let mut text = format!("{name} was removed; {after}");
        if is_down {
            let why = server.health_why();
            let why = why.map_or(String::new(), |why| format!(" ({why})"));
            text += &format!("; beware: it was down{why}, so nobody knows what is left on it");
        }
        // Whoever still shows a token of it belongs to no other server that gets its name.
        let writes = vec![
            Write::Removed(name.clone()),
            Write::Epoch(name.clone(), server.epoch + 1),
        ];
        Ok(self.of_server(
            "server remove",
            name,
            ServerEdit::Remove,
            writes,
            text,
            forced,
        ))
    }

    fn set_server(&self, name: ServerName, change: ServerChange) -> Result<Plan, Refusal> {
        let server = self.state.present(&name)?;
        if change == ServerChange::default() {
            return Err(Refusal::invalid(format!(
                "nothing to set on {name}: give weight=…, max_sessions=…, \
                 peak_load=… or slow_start=now, or reset it"
            )));
        }
        check_bounds(&name, change.weight, change.max_sessions.flatten())?;
        let mut set = match change.reset {
            true => ServerOverride::default(),
            false => server.set,
        };
        set.weight = change.weight.or(set.weight);
        set.max_sessions = change.max_sessions.or(set.max_sessions);
        let forced = match change.peak_load {
            Some(peak) => self.set_peak_load(&name, server, peak, change.force, &mut set)?,
            None => false,
        };
        let mut said = Vec::new();
        said.extend(change.reset.then(|| "the settings of the file".to_owned()));
        said.extend(change.weight.map(|weight| format!("weight {weight}")));
        said.extend(change.max_sessions.map(|max| match max {
            Some(max) => format!("max_sessions {max}"),
            None => "no max_sessions".to_owned(),
        }));
        if change.peak_load.is_some() {
            said.push(peak_load_text(server, &set));
        }
        if change.slow_start_over {
            if server.returning.status(self.now).is_none() {
                return Err(Refusal::invalid(format!(
                    "{name} is not in its slow start: it gets all of its new sessions"
                )));
            }
            said.push("no slow start any more".to_owned());
        }
        let text = format!("{name} now has {}", said.join(", "));
        let writes = vec![Write::Override(name.clone(), set)];
        Ok(self.of_server(
            "server set",
            name,
            ServerEdit::Set(set, change.slow_start_over),
            writes,
            text,
            forced,
        ))
    }

    /// Sets the peak load; past the guard, where that takes the server out of traffic. Returns whether
    /// that had to be forced.
    fn set_peak_load(
        &self,
        name: &ServerName,
        server: &ServerState,
        change: PeakChange,
        force: bool,
        set: &mut ServerOverride,
    ) -> Result<bool, Refusal> {
        let present = server.peak_load();
        let peak = match change {
            PeakChange::Percent(percent) if percent > 100 => {
                return Err(Refusal::invalid(format!(
                    "the peak load of {name} goes from 0 to 100 percent"
                )));
            }
            PeakChange::Percent(percent) if percent > 0 && server.exporter().is_none() => {
                return Err(Refusal::invalid(format!(
                    "the peak load of {name} would be compared with nothing, as pool {pool} has no \
                     `load`; write `load = \"http://{{host}}:9100/metrics\"` into [pools.{pool}] first, \
                     or use peak_load=0, which takes no new sessions whatever the load",
                    pool = name.pool
                )));
            }
            PeakChange::Percent(percent) => Some(percent),
            PeakChange::None => None,
            PeakChange::Back => set.peak_load_before.ok_or_else(|| {
                Refusal::invalid(format!(
                    "the peak load of {name} was not set to 0, so there is nothing to go back to"
                ))
            })?,
        };
        set.peak_load_before = match (peak, present) {
            // Once more leaves what is remembered.
            (Some(0), Some(0)) => set.peak_load_before,
            (Some(0), before) => Some(before),
            _ => None,
        };
        // Back to what the file says is to follow the file again.
        let is_as_filed = change == PeakChange::Back && peak == server.filed_peak_load();
        set.peak_load = (!is_as_filed).then_some(peak);
        let closes = peak == Some(0) || server.is_above(peak, false, self.now);
        match closes && server.standing.admits_new {
            true => self.state.guard(name, force),
            false => Ok(false),
        }
    }

    fn rotate(&self, secret: [u8; 32]) -> Plan {
        let secrets = TokenSecrets {
            current: secret,
            previous: Some(self.state.token_secrets.current),
        };
        let writes = vec![Write::TokenSecrets(secrets.clone())];
        let text = "new tokens are made with a new secret; the one before stays good until the \
                    next rotation";
        let change = Change::Node(NodeEdit::TokenSecrets(secrets));
        let target = "-".to_owned();
        self.plan("rotate", target, change, writes, text.to_owned(), false)
    }

    pub fn of_server(
        &self,
        action: &'static str,
        name: ServerName,
        edit: ServerEdit,
        writes: Vec<Write>,
        text: String,
        forced: bool,
    ) -> Plan {
        let known = self.state.servers.get(&name);
        let revision = known.map_or(0, |server| server.revision);
        let target = name.to_string();
        let change = Change::Server {
            name,
            revision,
            edit,
        };
        self.plan(action, target, change, writes, text, forced)
    }

    /// Puts a plan together; the audit line goes into the same transaction as what it tells of.
    pub fn plan(
        &self,
        action: &'static str,
        target: String,
        change: Change,
        mut writes: Vec<Write>,
        text: String,
        forced: bool,
    ) -> Plan {
        writes.push(Write::Audit(AuditEntry {
            at: self.now.wall,
            actor: self.actor.clone(),
            action: action.to_owned(),
            target: target.clone(),
            outcome: text.clone(),
            forced,
        }));
        Plan {
            action,
            target,
            change,
            writes,
            answer: Answer {
                text,
                changes: Vec::new(),
                deadline: None,
                generation: 0,
                moves: None,
            },
            pursuit: None,
        }
    }
}

/// The peak load that is set, in words.
fn peak_load_text(server: &ServerState, set: &ServerOverride) -> String {
    let percent = |peak: Option<u8>| match peak {
        Some(peak) => format!("peak_load {peak}"),
        None => "no peak_load".to_owned(),
    };
    let peak = set.peak_load.unwrap_or(server.filed_peak_load());
    match set.peak_load_before {
        Some(before) => format!(
            "{}: it takes no new sessions (before: {}; peak_load=back returns to that)",
            percent(peak),
            percent(before)
        ),
        None => percent(peak),
    }
}

fn check_bounds(
    name: &ServerName,
    weight: Option<u32>,
    max_sessions: Option<u32>,
) -> Result<(), Refusal> {
    if weight.is_some_and(|weight| !(1..=1000).contains(&weight)) {
        return Err(Refusal::invalid(format!(
            "the weight of {name} goes from 1 to 1000; to take it out of traffic: ebbtide hold {name}"
        )));
    }
    if max_sessions.is_some_and(|max| !(1..=MAX_SESSIONS_MAX).contains(&max)) {
        return Err(Refusal::invalid(format!(
            "max_sessions of {name} goes from 1 to {MAX_SESSIONS_MAX}; to take no new sessions: \
             ebbtide hold {name}"
        )));
    }
    Ok(())
}

impl Refusal {
    pub(super) fn guarded(refusal: GuardRefusal) -> Self {
        Self {
            text: refusal.to_string(),
            kind: RefusalKind::Guarded(Box::new(refusal)),
        }
    }
}
