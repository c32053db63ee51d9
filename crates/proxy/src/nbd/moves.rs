//! Which server a session is on: leaving one, in order or not, and finding another.

use super::End;
use super::carry::Carrier;
use super::join::{Found, Search};
use super::pause::Pause;
use super::trial::Turn;
use super::wire::{Loss, Wire};
use crate::flight::{Move, Phase};
use crate::timer::{Watch, duration};
use crate::view::Routes;
use ebbtide_core::{Fact, Identity, Millis, Outlook, ResourceView, ServerKey};
use ebbtide_protocol::nbd::{ErrorNumber, Request, write_error};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a server may finish what it was asked whose time is over: well within the second that a
/// deadline may be outlived.
const LEAVE_WITHIN: Duration = Duration::from_millis(400);
/// How long to wait before the search for a server is repeated, as long as the present one serves.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// A server that has held a connection for so long, or has answered anything, was one that could stand
/// in: whoever loses it waits for the next one anew.
const SOUND_AFTER: Duration = Duration::from_secs(10);
/// A server that has failed is asked after the others for so long.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// A server that answers, but brings less than this and finishes nothing in twice the time that it may
/// be silent, is as good as silent. In bytes.
const TRICKLE_BYTES: u64 = 64 * 1024;

impl Carrier {
    fn can_move(&self) -> bool {
        self.began_on.is_some()
    }

    /// Looks at a new snapshot, and at what operators wish.
    pub(super) fn look(&mut self, watch: &mut Watch) -> Result<(), End> {
        if !self.can_move() {
            return Ok(());
        }
        let wish = watch.flight.take_wish();
        let view = self.worker.view();
        match wish {
            Some(Move { cut: true, .. }) => self.lose(false, &Loss::Drill)?,
            Some(wish) => self.begin_move(watch, Some(wish)),
            None => {}
        }
        if view.snapshot.generation == self.seen {
            return Ok(());
        }
        self.seen = view.snapshot.generation;
        let outlook = view
            .routes(self.pool)
            .map_or(Outlook::End, |routes| self.outlook(routes));
        if let Some(routes) = view.routes(self.pool) {
            self.look_back(routes)?;
        }
        match outlook {
            Outlook::Stay => {
                (self.is_leaving, self.leave_by) = (false, None);
            }
            Outlook::Move => self.begin_move(watch, None),
            Outlook::MustMove => {
                if self.leave_by.is_none() {
                    self.leave_by = Some(Box::pin(sleep(LEAVE_WITHIN)));
                }
                self.begin_move(watch, None);
            }
            Outlook::OtherCopy => self.lose(false, &Loss::OtherCopy)?,
            Outlook::End => return Err(End::Cut),
        }
        Ok(())
    }

    fn outlook(&self, routes: &Routes) -> Outlook {
        let Some(began_on) = &self.began_on else {
            return Outlook::Stay;
        };
        let (session, resource) = (&self.session, &self.goal.resource);
        let is_served = self.wire.is_some();
        routes.pool.outlook(session, resource, began_on, is_served)
    }

    /// What a snapshot means for the server that was left and has not answered everything.
    fn look_back(&mut self, routes: &Routes) -> Result<(), End> {
        let Some(leaving) = &self.leaving else {
            return Ok(());
        };
        let (key, epoch) = (leaving.upstream.lane.key, leaving.epoch);
        let resource = routes.pool.replicas.resource(&self.goal.resource);
        let is_other = |(resource, began_on): (&ResourceView, &Identity)| {
            resource.is_other_copy(key, began_on)
        };
        if resource.zip(self.began_on.as_ref()).is_some_and(is_other) {
            return self.lose(true, &Loss::OtherCopy);
        }
        let is_over = routes
            .pool
            .server(key)
            .is_none_or(|server| server.epoch != epoch || server.standing.ends_work());
        if is_over && self.left_by.is_none() {
            self.left_by = Some(Box::pin(sleep(LEAVE_WITHIN)));
        }
        Ok(())
    }

    /// Looks for another server while this one goes on.
    fn begin_move(&mut self, watch: &Watch, wish: Option<Move>) {
        self.is_leaving |= wish.is_none();
        if self.ledger.confine().is_some() {
            // Another server must not be asked for what two were lost over.
            self.retry = Some(Box::pin(sleep(SEARCH_EVERY)));
        } else if self.search.is_none() && self.wire.is_some() {
            let only = wish.and_then(|wish| wish.to).map(|to| vec![to]);
            self.search(watch, only, None);
        }
    }

    fn search(&mut self, watch: &Watch, only: Option<Vec<ServerKey>>, until: Option<Instant>) {
        let Some(began_on) = self.began_on.clone() else {
            return;
        };
        let now = Instant::now();
        self.failed.retain(|(_, at)| now < *at + FAILED_FOR);
        let failed = self.failed.iter().map(|(key, _)| *key);
        // Whoever names a server wants it tried, whatever it did a moment ago.
        let is_named = |key: &ServerKey| only.as_deref() == Some(&[*key]);
        let mut avoid: Vec<ServerKey> = failed.filter(|key| !is_named(key)).collect();
        avoid.push(self.session.server);
        let search = Search {
            worker: Rc::clone(&self.worker),
            flight: Rc::clone(&watch.flight),
            pool: self.pool,
            goal: self.goal.clone(),
            first: self.first,
            began_on,
            avoid,
            only,
            until,
        };
        self.retry = None;
        self.search = Some(Box::pin(search.run()));
        self.turn();
    }

    /// Goes on with a search, and takes what it finds.
    pub(super) fn poll_search(
        &mut self,
        context: &mut Context<'_>,
        watch: &mut Watch,
    ) -> Result<(), End> {
        if self.wire.is_none() && self.search.is_none() {
            self.search_in_need(watch);
        }
        let Some(search) = &mut self.search else {
            return Ok(());
        };
        let Poll::Ready(found) = search.as_mut().poll(context) else {
            return Ok(());
        };
        self.search = None;
        self.turn();
        match found {
            Some(found) => self.take_server(found, watch),
            None if self.wire.is_some() => {
                self.retry = Some(Box::pin(sleep(SEARCH_EVERY)));
                Ok(())
            }
            None if self.patience.is_some_and(|until| Instant::now() >= until) => {
                if self.ledger.confine().is_none() {
                    return Err(End::Unreachable);
                }
                self.patience = None;
                self.give_up(true)
            }
            // This was a search for a move that was planned.
            None => Ok(()),
        }
    }

    /// Looks for a server for a session that has none.
    fn search_in_need(&mut self, watch: &Watch) {
        let view = self.worker.view();
        let Some(routes) = view.routes(self.pool) else {
            return;
        };
        let patience = duration(routes.pool.config.nbd.stand_in);
        let until = *self.patience.get_or_insert(Instant::now() + patience);
        let only = self.ledger.confine();
        self.search(watch, only, Some(until));
    }

    /// Tells the client of requests that are not asked for again, as servers were lost over them: with
    /// `all`, also of those for which only servers that were lost may be asked.
    fn give_up(&mut self, all: bool) -> Result<(), End> {
        let given_up = self.ledger.give_up(all);
        for _ in 0..given_up.as_ref().map_or(1, Vec::len) {
            self.worker.slot().reject("nbd-servers-lost");
        }
        let Some(given_up) = given_up else {
            tracing::warn!(
                "servers are lost over a request of session {}",
                self.session.id
            );
            return Err(End::Unreachable);
        };
        for request in given_up {
            let Request {
                command,
                offset,
                length,
                cookie,
                ..
            } = request;
            tracing::warn!(
                "servers are lost over {command:?} of {length} bytes from {offset} on, which is not asked for \
                 again; session {}",
                self.session.id
            );
            let why = "servers are lost over it";
            let in_chunks = self.in_chunks();
            write_error(
                &mut self.refusals,
                in_chunks,
                cookie,
                ErrorNumber::InputOutput,
                why,
            );
            self.turn();
        }
        Ok(())
    }

    /// Goes on with a server that stands in.
    fn take_server(&mut self, found: Found, watch: &mut Watch) -> Result<(), End> {
        let now = self.worker.now();
        let from = self.session.server;
        let Some(session) = self.worker.sessions.shift(&self.session, found.place, now) else {
            return Err(End::Cut);
        };
        let mut stay = session.go_on();
        stay.become_tunnel();
        self.stay = stay;
        self.session = session;
        watch.flight.enter(Phase::Replica, &self.session);
        let view = self.worker.view();
        if let Some(routes) = view.routes(self.pool) {
            let slot = routes.pool.counters.slot(self.worker.index);
            slot.sessions_moved.add(1);
        }
        let lane = Rc::clone(&found.connected.upstream.lane);
        lane.slot().tunnels.add(1);
        let epoch = self.session.epoch;
        let wire = Wire::new(found.connected, epoch, self.in_chunks());
        let old = self.wire.replace(wire);
        self.turn_to_try = Turn::default();
        self.retire(old);
        // The old one was asked until now.
        self.pause.get_or_insert_with(|| Pause::planned(from));
        if !self.ledger.is_waiting() {
            self.end_pause();
        }
        self.left_by = self.leave_by.take();
        (self.is_leaving, self.retry) = (false, None);
        // The new server's standing may have changed while it was connected to.
        self.seen = 0;
        watch.set(self.silence_max);
        Ok(())
    }

    /// Lets a server finish what it was asked.
    fn retire(&mut self, old: Option<Wire>) {
        let Some(old) = old else { return };
        if let Some(older) = self.leaving.take() {
            self.give_back(older, false);
        }
        if self.ledger.is_mending() {
            self.give_back(old, false);
        } else if old.is_asked() {
            self.leaving = Some(old);
        } else {
            self.close(old);
        }
    }

    fn give_back(&mut self, wire: Wire, is_suspect: bool) {
        wire.upstream.lane.slot().tunnels.sub_one();
        wire.give_back(&mut self.ledger, is_suspect);
    }

    pub(super) fn close(&self, wire: Wire) {
        wire.upstream.lane.slot().tunnels.sub_one();
        wire.leave();
    }

    /// The server that was left has answered everything.
    pub(super) fn has_left(&mut self) {
        self.left_by = None;
        if let Some(wire) = self.leaving.take() {
            self.close(wire);
        }
    }

    /// Gives a server up; what it owes is asked elsewhere.
    pub(super) fn lose(&mut self, is_leaving: bool, loss: &Loss) -> Result<(), End> {
        let lost = match is_leaving {
            true => self.leaving.take(),
            false => self.wire.take(),
        };
        let Some(lost) = lost else { return Ok(()) };
        let lane = Rc::clone(&lost.upstream.lane);
        let was_sound = lost.answers > 0 || lost.began.elapsed() > SOUND_AFTER;
        if was_sound || matches!(loss, Loss::Drill) {
            self.patience = None;
        }
        if !is_leaving {
            let began = || Pause::after(loss, &lost, self.session.server);
            self.pause.get_or_insert_with(began);
        }
        if !matches!(loss, Loss::Over | Loss::Drill) {
            tracing::warn!("{}: {loss}; session {}", lane.name, self.session.id);
            if let Loss::Nonsense(fault) = loss {
                self.worker.slot().reject_answer(fault.reason());
            }
            match loss {
                Loss::Silent => &lane.slot().timeouts,
                _ => &lane.slot().broken,
            }
            .add(1);
            self.failed.push((lane.key, Instant::now()));
            self.worker.tell(Fact::ConnectFailed {
                pool: self.pool,
                server: lane.key,
            });
        }
        self.give_back(lost, loss.is_suspect());
        if !self.can_move() {
            return Err(End::Broken);
        }
        if !is_leaving {
            self.turn_to_try.end();
        }
        self.give_up(false)?;
        let may_stay = match self.ledger.confine() {
            None => true,
            Some(only) => {
                // It may find a server that must not be asked.
                self.search = None;
                only.contains(&self.session.server)
            }
        };
        if is_leaving && (self.ledger.is_mending() || !may_stay) {
            // What is mended comes before anything else, so the present server cannot have begun to
            // answer other things.
            if let Some(wire) = self.wire.take() {
                let began = || Pause::after(loss, &wire, self.session.server);
                self.pause.get_or_insert_with(began);
                self.give_back(wire, false);
            }
        }
        self.turn();
        Ok(())
    }

    /// What is due by the clock. Pending, or the end.
    pub(super) fn poll_times(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let mut is_due = |timer: &mut Option<std::pin::Pin<Box<tokio::time::Sleep>>>| {
            let due = timer
                .as_mut()
                .is_some_and(|timer| timer.as_mut().poll(context).is_ready());
            if due {
                *timer = None;
            }
            due
        };
        let overdue = [
            (true, is_due(&mut self.left_by)),
            (false, is_due(&mut self.leave_by)),
        ];
        let may_search = is_due(&mut self.retry);
        let must_leave = overdue.iter().any(|(_, is_due)| *is_due);
        for (is_leaving, _) in overdue.iter().filter(|(_, is_due)| *is_due) {
            if let Err(end) = self.lose(*is_leaving, &Loss::Over) {
                return Poll::Ready(end);
            }
        }
        if may_search && self.is_leaving {
            self.seen = 0;
        }
        if must_leave || may_search {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The client reads again: servers that were not read meanwhile were not silent.
    pub(super) fn forgive_silence(&mut self) {
        let now = Instant::now();
        for wire in [&mut self.wire, &mut self.leaving].into_iter().flatten() {
            wire.forgive(now);
        }
    }

    /// Time to see whether a server that owes answers has been silent for too long.
    pub(super) fn check_silence(&mut self, watch: &mut Watch) -> Result<(), End> {
        let silence_max = duration(self.silence_max);
        let now = Instant::now();
        let mut next = silence_max;
        for is_leaving in [true, false] {
            let wire = match is_leaving {
                true => &mut self.leaving,
                false => &mut self.wire,
            };
            let Some(wire) = wire.as_mut().filter(|wire| wire.is_asked()) else {
                continue;
            };
            if self.is_blocked {
                continue;
            }
            let quiet = now.saturating_duration_since(wire.heard);
            if quiet >= silence_max || wire.is_trickling(now, silence_max * 2, TRICKLE_BYTES) {
                self.lose(is_leaving, &Loss::Silent)?;
            } else {
                next = next.min(silence_max - quiet);
            }
        }
        self.rest();
        watch.set(Millis(next.as_millis().max(1) as u64));
        Ok(())
    }
}
