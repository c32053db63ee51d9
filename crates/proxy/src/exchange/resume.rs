//! What is left of an answer whose server was lost, or is to be left: it comes from another server that
//! has the very same copy, and the client sees a pause at most.
//!
//! Only what takes sessions is asked. The answer's session goes along, under its number: so it is counted
//! and shown where it is served, and leaves that server too when its time ends. Where to it went by itself
//! or by an operator's wish, its user follows it with the next request.

use super::{Attempts, Exchange, SERVERS_MAX};
use crate::buffer::Buffer;
use crate::flight::{Move, Phase};
use crate::forward::{BodyFailure, Failure, UploadState};
use crate::inject;
use crate::relay::Half;
use crate::reserved::path_of;
use crate::resume::{Copy, Misfit, forget_conditions};
use crate::timer::duration;
use crate::upstream::Upstream;
use ebbtide_core::{
    Balance, Crossing, EndReason, Fact, Found, Millis, Mode, Moved, Reason, ReplicaSettings,
    ServerKey, ServerView, Session,
};
use ebbtide_protocol::http1::{Framing, Version};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Servers that are asked for the rest of one answer in a row. A request that kills whatever serves it
/// is not carried through the pool.
const ASKED_MAX: u32 = 2;
/// With this much got through, in bytes, it is a new row: a long download outlives many servers.
const PROGRESS_BYTES: u64 = 1024 * 1024;

/// Between two looks whether a server is back.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a server has to answer that an operator wants to go on with an answer: the present one waits
/// meanwhile.
const MOVE_WITHIN: Duration = Duration::from_secs(2);

/// What is left of an answer.
struct Rest {
    copy: Box<Copy>,
    /// Bytes that the client's socket has taken.
    sent: u64,
    /// How many that were when the present server began.
    sent_by_others: u64,
    /// How many that were when the row began.
    sent_before: u64,
    /// Servers that were asked in this row.
    asked: u32,
    /// Servers that are not asked again in this row.
    failed: Vec<ServerKey>,
    /// Servers that have another copy, or none.
    misfits: Vec<ServerKey>,
    /// It has no server at present.
    pause: Option<Pause>,
    /// The server that it was cut off from for a test has been asked to go on itself.
    has_returned: bool,
}

/// A pause that is not over.
struct Pause {
    since: Instant,
    /// The server that it came from until then.
    from: ServerKey,
    /// That was lost; otherwise it was to be left.
    is_failure: bool,
}

impl Rest {
    fn of(copy: Box<Copy>) -> Self {
        Self {
            copy,
            sent: 0,
            sent_by_others: 0,
            sent_before: 0,
            asked: 0,
            failed: Vec::new(),
            misfits: Vec::new(),
            pause: None,
            has_returned: false,
        }
    }

    /// So much of it has got through.
    fn note(&mut self, download: &Half) {
        self.sent = self.sent_by_others + download.bytes;
        if self.sent - self.sent_before >= PROGRESS_BYTES {
            self.sent_before = self.sent;
            self.asked = 0;
            self.failed.clear();
        }
    }

    /// What another server has begun to send.
    fn begin(&mut self) -> Half {
        self.sent_by_others = self.sent;
        let missing = Framing::Length(self.copy.missing(self.sent));
        Half::new(missing, missing)
    }
}

/// Why a server does not go on with an answer.
enum Miss {
    Misfit(Misfit),
    /// Nobody will.
    End(BodyFailure),
}

/// A session on a server that is asked for the rest of its answer.
enum Target {
    /// It moves there if that goes on.
    New(Crossing),
    /// It is there already: another of its answers has moved it.
    Known(Arc<Session>),
}

impl Target {
    fn session(&self) -> &Arc<Session> {
        match self {
            Self::New(crossing) => crossing.session(),
            Self::Known(session) => session,
        }
    }
}

impl Exchange<'_> {
    /// The copy that the answer is of, if its pool is one of replicas and it can be known again. What
    /// comes through a door is that one server's, and is left with it.
    pub(super) fn note_copy(&self) -> Option<Box<Copy>> {
        if !self.routes.pool.config.http.replica {
            return None;
        }
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        let is_plain = head.method.of(buf) == b"GET"
            && !is_alone(&self.routes.pool.config.replicas, head.target.of(buf))
            && !self.request.has_body
            && self.through.is_none()
            && !self.page.is_changed();
        let (buf, head) = (self.scratch.outbound.filled(), &self.scratch.response);
        let copy = is_plain.then(|| Copy::of(buf, head)).flatten();
        copy.map(Box::new)
    }

    /// Has the rest of an answer come from other servers; the connection that brought its end. What
    /// was not gone on with fails as it has.
    pub(super) async fn resume(
        &mut self,
        mut failure: BodyFailure,
        copy: Option<Box<Copy>>,
        (mut upstream, mut download): (Upstream, Half),
    ) -> Result<Upstream, BodyFailure> {
        if !is_servers(failure, &download) || self.is_cut_for_good() {
            return Err(failure);
        }
        let Some(copy) = copy else {
            self.count_misfit(Misfit::Unidentified);
            return Err(failure);
        };
        let mut rest = Rest::of(copy);
        loop {
            rest.note(&download);
            (upstream, download) = match failure {
                BodyFailure::Wanted(Move { cut: false, to }) => {
                    self.change_over(&mut rest, to, (upstream, download)).await
                }
                _ => {
                    // A server whose time is over has nothing more to do with it.
                    drop(upstream);
                    rest.pause = Some(self.pause(failure, &download));
                    rest.has_returned = false;
                    let upstream = self.find_replica(&mut rest, failure).await?;
                    (upstream, rest.begin())
                }
            };
            let mut attempts = Attempts::default();
            let passed = self.pass_on(&mut upstream, &mut download, &mut attempts, true);
            let Err(next) = passed.await else {
                return Ok(upstream);
            };
            if !is_servers(next, &download) || self.is_cut_for_good() {
                return Err(next);
            }
            failure = next;
        }
    }

    fn pause(&self, failure: BodyFailure, download: &Half) -> Pause {
        let silent_since = download.heard.filter(|_| failure == BodyFailure::Timeout);
        Pause {
            since: silent_since.unwrap_or_else(Instant::now),
            from: self.lane().key,
            is_failure: failure != BodyFailure::Cut,
        }
    }

    /// Has another server go on, as an operator wants it. If none does, the present one goes on as if
    /// nothing had been.
    async fn change_over(
        &mut self,
        rest: &mut Rest,
        to: Option<ServerKey>,
        present: (Upstream, Half),
    ) -> (Upstream, Half) {
        let (view, routes) = (Rc::clone(&self.view), Rc::clone(&self.routes));
        let index = self.index();
        let from = self.lane().key;
        rest.pause = Some(Pause {
            since: Instant::now(),
            from,
            is_failure: false,
        });
        let Some(target) = self.set_out(&[&[from], rest.misfits.as_slice()].concat(), to) else {
            return present;
        };
        let body = std::mem::replace(&mut self.scratch.outbound, Buffer::new());
        let head = std::mem::take(&mut self.scratch.response);
        let asked = timeout(MOVE_WITHIN, self.ask_for_rest(rest)).await;
        match asked.unwrap_or(Err(Miss::Misfit(Misfit::Unreachable))) {
            Ok(upstream) => {
                self.arrive(target, rest);
                if let Some(placed) = &self.placed {
                    let flight = &self.connection.watch.flight;
                    flight.enter(Phase::Exchange, &placed.session);
                    self.connection.worker.look_after(flight);
                }
                return (upstream, rest.begin());
            }
            Err(Miss::Misfit(misfit)) => self.tell_misfit(misfit),
            // Whatever it is will come up again.
            Err(Miss::End(_)) => {}
        }
        (self.scratch.outbound, self.scratch.response) = (body, head);
        (self.view, self.routes) = (view, routes);
        self.put_at(index);
        present
    }

    /// A server that goes on with the answer: its connection, with the body's first byte next.
    async fn find_replica(
        &mut self,
        rest: &mut Rest,
        failure: BodyFailure,
    ) -> Result<Upstream, BodyFailure> {
        let body_timeout = self.routes.pool.config.http.body_timeout;
        let patience = Instant::now() + duration(body_timeout);
        let mut has_asked = false;
        loop {
            // What has come and was not passed on counts as not sent: it is asked for again.
            self.scratch.outbound.clear();
            if self.is_cut_for_good() {
                return Err(BodyFailure::Cut);
            }
            let last = self.lane().key;
            if !rest.failed.contains(&last) {
                rest.failed.push(last);
            }
            if rest.asked >= ASKED_MAX || rest.failed.len() > SERVERS_MAX {
                self.count_misfit(Misfit::TooOften);
                return Err(failure);
            }
            let Some(target) = self.next_target(rest, failure) else {
                let may_wait = failure != BodyFailure::Cut && Instant::now() < patience;
                if may_wait && self.wait_for_return(rest).await {
                    continue;
                }
                if !has_asked {
                    self.count_misfit(Misfit::NoServer);
                }
                return Err(failure);
            };
            has_asked = true;
            let flight = Rc::clone(&self.connection.watch.flight);
            flight.enter(Phase::Exchange, target.session());
            let miss = match self.ask_for_rest(rest).await {
                Ok(upstream) => {
                    self.arrive(target, rest);
                    return Ok(upstream);
                }
                Err(miss) => miss,
            };
            if let Some(placed) = &self.placed {
                flight.enter(Phase::Exchange, &placed.session);
            }
            match miss {
                Miss::Misfit(misfit) => self.tell_misfit(misfit),
                // The loop's next turn finds out whether that is so.
                Miss::End(BodyFailure::Cut) => {}
                Miss::End(end) => return Err(end),
            }
        }
    }

    /// Waits a moment, if a server that is down at present may come back; `false` if there is none.
    async fn wait_for_return(&mut self, rest: &mut Rest) -> bool {
        let view = self.connection.worker.view();
        let Some(routes) = view.routes(self.connection.pool) else {
            return false;
        };
        let servers = routes.pool.servers.iter();
        let is_down = |server: &&ServerView| server.standing.reason == Reason::Down;
        let down: Vec<ServerKey> = servers.filter(is_down).map(|server| server.key).collect();
        // Who was down is another one when it is back.
        rest.failed.retain(|failed| !down.contains(failed));
        let can_return = down.iter().any(|key| !rest.misfits.contains(key));
        if can_return {
            let watch = &mut self.connection.watch;
            watch.set(Millis(2 * LOOK_EVERY.as_millis() as u64));
            // The caller sees to what may have interrupted this.
            let _ = watch.run(sleep(LOOK_EVERY)).await;
        }
        can_return
    }

    /// Asks the server for the rest, and looks whether it is that.
    async fn ask_for_rest(&mut self, rest: &mut Rest) -> Result<Upstream, Miss> {
        let lane = Rc::clone(self.lane());
        // A kept connection may be stale, and each question counts.
        let mut attempts = Attempts {
            fresh: true,
            ..Attempts::default()
        };
        let connected = self.connect(&lane, &mut attempts).await;
        let mut upstream = connected.map_err(|failure| self.miss(failure))?;
        rest.asked += 1;
        self.report.tries += 1;
        lane.slot().requests.add(1);
        self.write_request_for_rest(rest);
        let mut upload = Half::new(Framing::None, Framing::None);
        let mut forward = self.forward(&mut upstream, &mut upload, UploadState::Going);
        // The client is in the middle of a body, and takes no interim answers: as one of 1.0.
        forward.client_version = Version::Http10;
        forward.is_for_rest = true;
        let answered = forward.await_answer(false).await;
        answered.map_err(|failure| self.miss(failure))?;
        let (buf, head) = (self.scratch.outbound.filled(), &self.scratch.response);
        let checked = rest.copy.check(buf, head, rest.sent);
        let (status, head_bytes) = (head.status, head.head_bytes);
        self.count_response(status);
        if let Err(misfit) = checked {
            // It has survived the question.
            rest.asked -= 1;
            rest.misfits.push(lane.key);
            return Err(Miss::Misfit(misfit));
        }
        self.scratch.outbound.consume(head_bytes);
        Ok(upstream)
    }

    /// The client's request once more, for what is missing, and only of the same copy.
    fn write_request_for_rest(&mut self, rest: &Rest) {
        let (buf, head) = (self.scratch.inbound.held(), &mut self.scratch.request);
        forget_conditions(buf, head);
        let range = rest.copy.range(rest.sent);
        let mut extra: Vec<(&str, &[u8])> = vec![
            ("Range", range.as_bytes()),
            ("If-Match", rest.copy.entity_tag()),
        ];
        if self.page.asked {
            extra.extend(inject::IDENTITY);
        }
        self.put_request(&extra);
    }

    /// Whom to ask for the rest. A server that was only cut off for a test is there all the time: if
    /// nobody else goes on, it does.
    fn next_target(&mut self, rest: &mut Rest, failure: BodyFailure) -> Option<Target> {
        let tried = [rest.failed.as_slice(), &rest.misfits].concat();
        let target = self.set_out(&tried, None);
        let is_test = matches!(failure, BodyFailure::Wanted(_));
        if target.is_some() || !is_test || std::mem::replace(&mut rest.has_returned, true) {
            return target;
        }
        let own = self.now_on(&self.placed.as_ref()?.session).server;
        self.set_out(&[], Some(own))
    }

    /// A place for the answer's session by the newest snapshot, on the server that is asked next; `None`
    /// if no server takes it.
    fn set_out(&mut self, tried: &[ServerKey], only: Option<ServerKey>) -> Option<Target> {
        let worker = &self.connection.worker;
        let view = worker.view();
        let routes = Rc::clone(view.routes(self.connection.pool)?);
        let pool = &routes.pool;
        let session = self.now_on(&self.placed.as_ref()?.session);
        let is_wanted =
            |key: ServerKey| !tried.contains(&key) && only.is_none_or(|only| only == key);
        let serves = |server: &&ServerView| {
            server.epoch == session.epoch && server.standing.serves_own && is_wanted(server.key)
        };
        let is_live = session.ended().is_none();
        let present = pool.server(session.server).filter(serves);
        let (target, server) = match present.filter(|_| is_live) {
            Some(server) => (Target::Known(session), server.key),
            None if pool.config.balance == Balance::DoorOnly => return None,
            None => {
                let only = only.as_slice();
                let only = (!only.is_empty()).then_some(only);
                let (server, place) = pool.take_place_by_answer((tried, only), worker.roll())?;
                (Target::New(session.cross(place)), server.key)
            }
        };
        let index = routes.index_of(server)?;
        (self.view, self.routes) = (view, routes);
        self.put_at(index);
        Some(target)
    }

    fn put_at(&mut self, index: usize) {
        if let Some(placed) = &mut self.placed {
            placed.index = index;
        }
    }

    /// The server that was asked goes on: the session is there now.
    fn arrive(&mut self, target: Target, rest: &mut Rest) {
        let worker = Rc::clone(&self.connection.worker);
        let session = Arc::clone(target.session());
        let slot = self.connection.pool_slot(&self.routes);
        slot.resumed.add(1);
        self.place_alone = None;
        if let Target::New(mut crossing) = target {
            match worker.sessions.arrive(&mut crossing, worker.now()) {
                true => slot.sessions_moved.add(1),
                // The session has ended, as one that its user has left; the answer has not.
                false => self.place_alone = Some(crossing),
            }
        }
        if let Some(pause) = rest.pause.take() {
            let span = pause.since.elapsed();
            match pause.is_failure {
                true => &slot.pauses_failure,
                false => &slot.pauses_move,
            }
            .record(span);
            let (from, to) = (pause.from, session.server);
            if from != to {
                self.report.moved = true;
                worker.tell(Fact::Moved(Moved {
                    session: session.id,
                    from,
                    to,
                    pause: span,
                }));
            }
        }
        self.report.resumed += 1;
        let mut stay = session.go_on();
        stay.become_movable();
        self.stay = Some(stay);
        if let Some(placed) = &mut self.placed {
            placed.session = session;
        }
    }

    /// The session as it is now, if it has moved since.
    pub(super) fn now_on(&self, session: &Arc<Session>) -> Arc<Session> {
        let sessions = &self.connection.worker.sessions;
        if session.ended() == Some(EndReason::ServerGone)
            && let Found::Live(now) = sessions.find(session.id)
        {
            return now;
        }
        Arc::clone(session)
    }

    fn tell_misfit(&self, misfit: Misfit) {
        let server = &self.lane().name;
        tracing::debug!("{server} cannot go on with an answer: {misfit:?}");
        self.count_misfit(misfit);
    }

    /// Whether the client's connection was cut, and not only for its server's time being over.
    fn is_cut_for_good(&self) -> bool {
        let flight = &self.connection.watch.flight;
        flight.is_cut() && (self.connection.worker.is_stopping() || !flight.leave())
    }

    /// What a failure before the rest's first byte means.
    fn miss(&self, failure: Failure) -> Miss {
        let slot = self.slot();
        match failure {
            Failure::Cut => return Miss::End(BodyFailure::Cut),
            Failure::ClientGone | Failure::ClientTimeout | Failure::BadBody(_) => {
                return Miss::End(BodyFailure::ClientGone);
            }
            Failure::NotConnected | Failure::ConnectTimeout => {
                self.tell_unreachable();
            }
            Failure::Busy => {}
            Failure::Lost | Failure::BadAnswer => {
                slot.broken.add(1);
                self.count_failure(|slot| &slot.lost);
            }
            Failure::ServerTimeout => {
                slot.timeouts.add(1);
                self.count_failure(|slot| &slot.lost);
            }
        }
        Miss::Misfit(Misfit::Unreachable)
    }

    fn count_misfit(&self, misfit: Misfit) {
        let slot = self.connection.pool_slot(&self.routes);
        misfit.counter(slot).add(1);
    }
}

/// Whether a target names a resource for which nothing stands in (promise 7). While there are any, a
/// path that could be written in another way is taken for one of them.
fn is_alone(replicas: &ReplicaSettings, target: &[u8]) -> bool {
    let path = path_of(target);
    let name = path.strip_prefix(b"/").unwrap_or(path);
    let is_written_otherwise =
        path.contains(&b'%') || path.windows(2).any(|pair| matches!(pair, b"/." | b"//"));
    let mut alone = replicas
        .resources
        .iter()
        .filter(|resource| resource.mode != Mode::Shared || !resource.balance);
    alone.any(|resource| {
        is_written_otherwise || name == resource.name.as_bytes() || name == resource.file.as_bytes()
    })
}

/// Whether what failed is the server's side, so that another may do better. Who does not read holds up
/// every server.
fn is_servers(failure: BodyFailure, download: &Half) -> bool {
    match failure {
        BodyFailure::Server | BodyFailure::Cut | BodyFailure::Wanted(_) => true,
        BodyFailure::Timeout => download.starved,
        BodyFailure::ClientGone => false,
    }
}
