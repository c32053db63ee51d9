//! Answers that wait for sessions to be served elsewhere: of a move, a stop and a drill.
//!
//! A pursuit begins when every worker has taken the snapshot that goes with it, and ends in time. It
//! is the node's: whether anybody still waits for the answer makes no difference. Nothing of it is
//! stored, so a restart ends it.

use crate::command::{
    Actor, Answer, MoveReport, MovedSession, Refusal, RefusalKind, SESSIONS_TOLD_MAX,
};
use crate::driver::change::event;
use crate::driver::moving::{Leaving, MOVE_WITHIN};
use crate::driver::state::State;
use crate::driver::{Driver, Output, Waiting};
use crate::event::{EventKind, count};
use crate::guard::GuardRefusal;
use crate::intent::Intent;
use crate::name::{ServerKey, ServerName, SessionId};
use crate::record::{AuditEntry, Write};
use crate::table::Found;
use crate::takeover::{MoveOrder, Moved, pause_text};
use crate::time::{Millis, Moment, Now};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Time between two orders to move the same sessions.
const ORDER_EVERY: Millis = Millis::from_secs(1);
/// Time between two looks whether sessions have ended.
const LOOK_EVERY: Millis = Millis(50);

/// What is to come of a command.
pub(super) struct Pursuit {
    pub goal: Goal,
    /// The server that sessions are to leave.
    pub server: ServerName,
    pub from: ServerKey,
    /// Until when that is waited for.
    pub until: Moment,
}

/// What a pursuit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// One session on another server, or on this one.
    Move {
        id: SessionId,
        to: Option<ServerKey>,
    },
    /// A drain without those that can leave; `by_order`: they leave when they are told.
    Stop { by_order: bool },
    /// A failover test.
    Drill { cut: bool },
}

/// A pursuit that is under way.
pub(super) struct Chase {
    pursuit: Pursuit,
    waiting: Waiting,
    /// Every worker has taken its snapshot.
    is_begun: bool,
    /// Sessions that are still to be served elsewhere.
    sessions: BTreeSet<SessionId>,
    /// How many stay that could leave if somebody took them.
    stranded: u32,
    /// When they are to be moved again.
    again: Moment,
    /// When was looked whether they have ended.
    looked: Option<Moment>,
    report: MoveReport,
}

/// How a pursuit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody is waited for any more.
    Done,
    TimedOut,
    /// Nobody can take over those who are waited for.
    Stranded,
    /// Something else is wanted of the server meanwhile.
    Overtaken,
    /// A worker does not take the snapshot.
    Unacknowledged,
}

impl Driver {
    /// Begins what an answer waits for.
    pub(super) fn begin(&mut self, pursuit: Pursuit, waiting: Waiting) {
        let sessions = match pursuit.goal {
            Goal::Move { id, .. } => BTreeSet::from([id]),
            // Workers move them as soon as they see the snapshot.
            Goal::Stop { .. } => self.state.leaving(&pursuit.server).movable,
            Goal::Drill { .. } => BTreeSet::new(),
        };
        self.pursuits.push(Chase {
            again: waiting.since,
            pursuit,
            waiting,
            is_begun: false,
            sessions,
            stranded: 0,
            looked: None,
            report: MoveReport::default(),
        });
    }

    /// A session has moved.
    pub(super) fn moved(&mut self, moved: &Moved) {
        let names = self.state.name_of(moved.from);
        let Some((from, to)) = names.zip(self.state.name_of(moved.to)) else {
            return;
        };
        for chase in &mut self.pursuits {
            if chase.pursuit.from == moved.from && chase.sessions.remove(&moved.session) {
                chase.report.count(MovedSession {
                    id: moved.session,
                    from: from.clone(),
                    to: to.clone(),
                    pause: moved.pause,
                });
            }
        }
    }

    /// Goes on with what answers wait for.
    pub(super) fn pursue(&mut self, now: Now) {
        if self.pursuits.is_empty() {
            return;
        }
        let acknowledged = self.acknowledged();
        for mut chase in std::mem::take(&mut self.pursuits) {
            match chase.go_on(&self.state, acknowledged, now, &mut self.outputs) {
                None => self.pursuits.push(chase),
                Some(end) => self.end(chase, end, now),
            }
        }
    }

    fn end(&mut self, mut chase: Chase, end: End, now: Now) {
        chase.note_those_left();
        chase.report.stayed += chase.sessions.len() as u32;
        let (id, goal) = (chase.waiting.id, chase.pursuit.goal);
        let is_drill = matches!(goal, Goal::Drill { .. });
        let is_void = is_drill && end == End::Done && chase.report.moved == 0;
        chase.report.complete = end == End::Done && !is_void;
        if is_drill {
            self.end_drill(&mut chase, end, now);
        }
        if is_void {
            return self.refuse(id, chase.proved_nothing());
        }
        if end == End::Unacknowledged {
            let mut refusal = chase.waiting.overdue();
            if let Goal::Drill { .. } = goal {
                refusal.text = chase.waiting.answer.text;
            }
            return self.refuse(id, refusal);
        }
        let text = match goal {
            Goal::Move { id: session, to } => match self.move_ended(&chase, session, to) {
                Ok(text) => text,
                Err(refusal) => return self.refuse(id, refusal),
            },
            Goal::Stop { .. } => self.stop_ended(&chase, now),
            Goal::Drill { .. } => chase.waiting.answer.text.clone(),
        };
        let report = chase.report;
        let mut waiting = chase.waiting;
        waiting.answer = Answer {
            text,
            changes: report.told(),
            deadline: waiting.answer.deadline,
            generation: self.state.generation(),
            moves: Some(report),
        };
        waiting.generation = waiting.answer.generation;
        waiting.since = now.moment;
        self.waiting.push(waiting);
    }

    /// What is told of a move, or why it is none.
    fn move_ended(
        &self,
        chase: &Chase,
        id: SessionId,
        to: Option<ServerKey>,
    ) -> Result<String, Refusal> {
        let from = &chase.pursuit.server;
        let wanted = to.and_then(|to| self.state.name_of(to));
        let refused = |text| Refusal {
            kind: RefusalKind::NotMoved,
            text,
        };
        match chase.report.sessions.first() {
            Some(moved) if wanted.is_none_or(|wanted| *wanted == moved.to) => Ok(format!(
                "session {id}: {} -> {}, longest pause {}",
                moved.from,
                moved.to,
                pause_text(moved.pause)
            )),
            Some(moved) => Err(refused(format!(
                "session {id} is on {} now, as {from} was lost meanwhile; it is served there",
                moved.to
            ))),
            None if chase.report.ended > 0 => Err(Refusal::not_found(format!(
                "session {id}, or its download, ended before it was moved"
            ))),
            None => {
                let whom =
                    wanted.map_or("no other server".to_owned(), |name| format!("{name} not"));
                Err(refused(format!(
                    "session {id} was not moved within {MOVE_WITHIN}: {whom} could be connected to as \
                     it must be; it goes on with {from}; see the log"
                )))
            }
        }
    }

    /// What is told of a stop.
    fn stop_ended(&self, chase: &Chase, now: Now) -> String {
        let name = &chase.pursuit.server;
        let Some(server) = self.state.servers.get(name) else {
            return chase.waiting.answer.text.clone();
        };
        let moved = chase.report.moved_text();
        let left = count(server.load.sessions(), "session");
        match &server.intent {
            Intent::Drain(drain) if server.load.sessions() > 0 => {
                let span = drain.deadline.since(now.moment);
                format!(
                    "{name} is being stopped: {moved}; {left} to go, at the latest {span} from now, then \
                     maintenance"
                )
            }
            Intent::Drain(_) => {
                format!("{name} is being stopped: {moved}; no session is left, maintenance follows")
            }
            Intent::Maintenance => format!("{name} is stopped, and in maintenance: {moved}"),
            other => format!(
                "{name} is wanted otherwise by now ({}): {moved}",
                other.label()
            ),
        }
    }

    /// Puts the server back to what it was, and tells of it.
    fn end_drill(&mut self, chase: &mut Chase, end: End, now: Now) {
        let name = &chase.pursuit.server;
        if let Some(server) = self.state.servers.get_mut(name) {
            server.drill = false;
        }
        self.state.changed.insert(name.pool.clone());
        self.state.publish(now, &mut self.outputs);
        let standing = self.state.servers.get(name).map(|server| server.standing);
        let back = match standing {
            Some(standing) if standing.admits_new => "it takes new sessions again".to_owned(),
            Some(standing) => format!("it is as it would be without ({})", standing.reason.label()),
            None => "it is gone".to_owned(),
        };
        let outcome = format!("{}; {back}", chase.drill_text(end));
        let report = &chase.report;
        self.unsaved.push(Write::Audit(AuditEntry {
            at: now.wall,
            actor: Actor::ebbtide(),
            action: "drill end".into(),
            target: name.to_string(),
            outcome: outcome.clone(),
            forced: false,
        }));
        let kind = EventKind::DrillEnded {
            passed: report.complete,
            moved: report.moved,
            stayed: report.stayed,
            longest_pause: report.longest_pause,
            outcome: outcome.clone(),
        };
        self.outputs.push(event(Some(name), kind, now));
        chase.waiting.answer.text = outcome;
    }
}

impl Chase {
    /// Does what is due; how it ends, if it does now.
    fn go_on(
        &mut self,
        state: &State,
        acknowledged: u64,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Option<End> {
        if !self.is_begun {
            if acknowledged < self.waiting.generation {
                return self.waiting.is_overdue(now).then_some(End::Unacknowledged);
            }
            self.is_begun = true;
            self.look(state);
            self.order(outputs, now);
        }
        let is_old = |looked: Moment| now.moment.since(looked) >= LOOK_EVERY;
        if self.looked.is_none_or(is_old) {
            self.looked = Some(now.moment);
            self.let_go_of_ended(state);
        }
        let goal = self.pursuit.goal;
        let server = state.servers.get(&self.pursuit.server);
        let is_wanted =
            server.is_some_and(|server| server.present && server.intent == Intent::Ready);
        if matches!(goal, Goal::Drill { .. }) && !is_wanted {
            return Some(End::Overtaken);
        }
        if self.sessions.is_empty() {
            return Some(match self.stranded {
                0 => End::Done,
                _ => End::Stranded,
            });
        }
        if now.moment >= self.pursuit.until {
            return Some(End::TimedOut);
        }
        if now.moment >= self.again {
            let can_leave = state.leaving(&self.pursuit.server);
            let has_left = |id: &SessionId| match state.sessions.find(*id) {
                Found::Live(session) => session.server != self.pursuit.from,
                Found::Ended | Found::Unknown => true,
            };
            let is_hope = |id: &SessionId| can_leave.movable.contains(id) || has_left(id);
            if !self.sessions.iter().any(is_hope) {
                self.note(can_leave);
                return Some(End::Stranded);
            }
            self.order(outputs, now);
        }
        None
    }

    /// Looks which sessions are on the server, now that no others can come.
    fn look(&mut self, state: &State) {
        if !matches!(self.pursuit.goal, Goal::Move { .. }) {
            let mut leaving = state.leaving(&self.pursuit.server);
            self.sessions.append(&mut leaving.movable);
            let sessions = &self.sessions;
            leaving.why.retain(|(id, _)| !sessions.contains(id));
            self.stranded = leaving.stranded;
            self.report.stayed = leaving.staying;
            self.report.staying = leaving.why;
        }
    }

    /// Notes why those that are waited for cannot leave.
    fn note(&mut self, leaving: Leaving) {
        let room = SESSIONS_TOLD_MAX.saturating_sub(self.report.staying.len());
        let whys = leaving.why.into_iter();
        let whys = whys.filter(|(id, _)| self.sessions.contains(id));
        self.report.staying.extend(whys.take(room));
    }

    /// Notes the others that are still waited for.
    fn note_those_left(&mut self) {
        let staying = &mut self.report.staying;
        let known: BTreeSet<SessionId> = staying.iter().map(|(id, _)| *id).collect();
        let room = SESSIONS_TOLD_MAX.saturating_sub(staying.len());
        let others = self.sessions.iter().filter(|id| !known.contains(id));
        let why = "it is not served elsewhere yet".to_owned();
        staying.extend(others.take(room).map(|id| (*id, why.clone())));
    }

    /// Has workers move who is still here. What is cut is cut once: then it looks for a server itself.
    fn order(&mut self, outputs: &mut Vec<Output>, now: Now) {
        let is_first = self.again <= self.waiting.since;
        self.again = now.moment.plus(ORDER_EVERY);
        let (to, cut) = match self.pursuit.goal {
            Goal::Stop { by_order: false } => return,
            Goal::Stop { by_order: true } => (None, false),
            Goal::Drill { cut: true } if !is_first => return,
            Goal::Drill { cut } => (None, cut),
            Goal::Move { to, .. } => (to, false),
        };
        if !self.sessions.is_empty() {
            outputs.push(Output::Move(Arc::new(MoveOrder {
                from: self.pursuit.from,
                sessions: self.sessions.clone(),
                to,
                cut,
            })));
        }
    }

    /// What is answered to a drill that had nobody to move.
    fn proved_nothing(&self) -> Refusal {
        let server = self.pursuit.server.clone();
        Refusal {
            text: self.waiting.answer.text.clone(),
            kind: RefusalKind::Guarded(Box::new(GuardRefusal {
                server,
                resource: None,
                would_leave: Vec::new(),
                others: Vec::new(),
                minimum: 0,
                sessions: self.report.stayed,
            })),
        }
    }

    fn let_go_of_ended(&mut self, state: &State) {
        let before = self.sessions.len();
        let from = self.pursuit.from;
        self.sessions.retain(|id| match state.sessions.find(*id) {
            // One that is still here may have ended what it could have left with.
            Found::Live(session) => session.server != from || session.can_move(),
            Found::Ended | Found::Unknown => false,
        });
        self.report.ended += (before - self.sessions.len()) as u32;
    }

    /// What came of a drill.
    fn drill_text(&self, end: End) -> String {
        let (name, report) = (&self.pursuit.server, &self.report);
        let moved = report.moved_text();
        let waited = self.sessions.len() as u32 + self.stranded;
        let alone = report.stayed.saturating_sub(waited);
        let mut stayed = String::new();
        if waited > 0 {
            stayed += &format!("; {} still on it", count(waited, "session"));
        }
        if alone > 0 {
            stayed += &format!("; {} left alone", count(alone, "session"));
        }
        let head = match end {
            End::Done if report.moved == 0 => {
                let ended = match report.ended {
                    0 => "it had no session that can move".to_owned(),
                    ended => format!("{} ended before it moved", count(ended, "session")),
                };
                return format!("drill of {name}: {ended}, so nothing was tested{stayed}");
            }
            End::Done => format!("drill of {name} passed"),
            End::TimedOut => format!("drill of {name} failed: its time is up"),
            End::Stranded => {
                format!("drill of {name} failed: nobody can take over who is left")
            }
            End::Overtaken => {
                format!("drill of {name} was broken off, as something else is wanted of it now")
            }
            End::Unacknowledged => {
                format!("drill of {name} was broken off: a worker did not take its snapshot")
            }
        };
        format!("{head}: {moved}{stayed}")
    }
}

impl MoveReport {
    fn count(&mut self, session: MovedSession) {
        self.moved += 1;
        self.longest_pause = self.longest_pause.max(Some(session.pause));
        if self.sessions.len() < SESSIONS_TOLD_MAX {
            self.sessions.push(session);
        }
    }

    /// How many moved, in a sentence.
    fn moved_text(&self) -> String {
        let ended = match self.ended {
            0 => String::new(),
            ended => format!(", {} ended meanwhile", count(ended, "session")),
        };
        let pause = self.longest_pause.map_or(String::new(), |pause| {
            format!(", longest pause {}", pause_text(pause))
        });
        format!("{} moved{pause}{ended}", count(self.moved, "session"))
    }

    /// Who stayed and why, a line each.
    fn told(&self) -> Vec<String> {
        let lines = self.staying.iter();
        let mut lines: Vec<String> = lines
            .map(|(id, why)| format!("session {id} stayed: {why}"))
            .collect();
        let more = (self.stayed as usize).saturating_sub(lines.len());
        if more > 0 && !lines.is_empty() {
            lines.push(format!("and {} more", count(more, "session")));
        }
        lines
    }
}
