//! What is left of an answer whose server was lost, or has to be left: it comes from another server
//! that has the very same copy, and the client sees a pause at most.
//!
//! Only what a session may begin on is asked, and the rest of the answer is a session there of its own
//! while it lasts: so it is counted and shown where it is served, and ends with that server's time.

use super::{Attempts, Exchange, SERVERS_MAX, asking};
use crate::flight::Phase;
use crate::forward::{BodyFailure, Failure, UploadState};
use crate::inject;
use crate::relay::Half;
use crate::reserved::path_of;
use crate::resume::{Copy, Misfit, forget_conditions};
use crate::routing::Placed;
use crate::timer::duration;
use crate::upstream::Upstream;
use ebbtide_core::{Millis, Mode, Reason, ReplicaSettings, ServerKey, ServerView};
use ebbtide_protocol::http1::{Framing, Version};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Servers that are asked for the rest of one answer in a row. A request that kills whatever serves it
/// is not carried through the pool.
const ASKED_MAX: u32 = 2;
/// With this much got through, in bytes, it is a new row: a long download outlives many servers.
const PROGRESS_BYTES: u64 = 1024 * 1024;

/// Between two looks whether a server is back.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is left of an answer.
struct Rest {
    copy: Box<Copy>,
    /// Bytes that the client's socket has taken.
    sent: u64,
    /// How many that were when the row began.
    sent_before: u64,
    /// Servers that were asked in this row.
    asked: u32,
    /// Servers that are not asked again in this row.
    failed: Vec<ServerKey>,
    /// Servers that have another copy, or none.
    misfits: Vec<ServerKey>,
}

impl Rest {
    fn of(copy: Box<Copy>, sent: u64) -> Self {
        Self {
            copy,
            sent,
            sent_before: sent,
            asked: 0,
            failed: Vec::new(),
            misfits: Vec::new(),
        }
    }

    /// So many bytes more have got through.
    fn advance(&mut self, bytes: u64) {
        self.sent += bytes;
        if self.sent - self.sent_before >= PROGRESS_BYTES {
            self.sent_before = self.sent;
            self.asked = 0;
            self.failed.clear();
        }
    }
}

/// Why a server does not go on with an answer.
enum Miss {
    Misfit(Misfit),
    /// Nobody will.
    End(BodyFailure),
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
        download: &Half,
    ) -> Result<Upstream, BodyFailure> {
        if !is_servers(failure, download) || self.is_cut_for_good() {
            return Err(failure);
        }
        let Some(copy) = copy else {
            self.count_misfit(Misfit::Unidentified);
            return Err(failure);
        };
        let mut rest = Rest::of(copy, download.bytes);
        loop {
            let mut upstream = self.find_replica(&mut rest, failure).await?;
            self.report.resumed += 1;
            self.connection.pool_slot(&self.routes).resumed.add(1);
            let missing = Framing::Length(rest.copy.missing(rest.sent));
            let mut download = Half::new(missing, missing);
            let mut attempts = Attempts::default();
            let passed = self.pass_on(&mut upstream, &mut download, &mut attempts, true);
            let Err(next) = passed.await else {
                return Ok(upstream);
            };
            if !is_servers(next, &download) {
                return Err(next);
            }
            failure = next;
            rest.advance(download.bytes);
        }
    }

    /// A server that goes on with the answer: its connection, with the body's first byte next.
    async fn find_replica(
        &mut self,
        rest: &mut Rest,
        failure: BodyFailure,
    ) -> Result<Upstream, BodyFailure> {
        let body_timeout = self.routes.pool.config.http.body_timeout;
        let patience = Instant::now() + duration(body_timeout);
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
            if !self.stand_in(&[rest.failed.as_slice(), &rest.misfits].concat()) {
                let may_wait = failure != BodyFailure::Cut && Instant::now() < patience;
                if may_wait && self.wait_for_return(rest).await {
                    continue;
                }
                self.count_misfit(Misfit::NoServer);
                return Err(failure);
            }
            match self.ask_for_rest(rest).await {
                Ok(upstream) => return Ok(upstream),
                Err(Miss::Misfit(misfit)) => {
                    let server = &self.lane().name;
                    tracing::debug!("{server} cannot go on with an answer: {misfit:?}");
                    self.count_misfit(misfit);
                }
                // The loop's next turn finds out whether that is so.
                Err(Miss::End(BodyFailure::Cut)) => {}
                Err(Miss::End(end)) => return Err(end),
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

    /// Begins a session for the rest of the answer, by the newest snapshot; `false` if nobody admits
    /// one. The session that the user has a token of stays where it is.
    fn stand_in(&mut self, failed: &[ServerKey]) -> bool {
        let view = self.connection.worker.view();
        let Some(routes) = view.routes(self.connection.pool).map(Rc::clone) else {
            return false;
        };
        let now = self.connection.worker.now();
        let from = self.placed.as_ref().map(|placed| placed.session.server);
        let asking = asking((self.connection, self.client), &routes, &view, now);
        let Ok((session, index)) = asking.begin(failed, from) else {
            return false;
        };
        if let Some(stay) = self.stay.take() {
            stay.session().touch(now.moment);
        }
        self.end_unknown(now);
        self.stay = Some(session.enter(now.moment));
        let flight = &self.connection.watch.flight;
        flight.enter(Phase::Exchange, &session);
        self.placed = Some(Placed {
            session,
            index,
            is_new: true,
            renew: false,
            moved: false,
        });
        self.stands_in = true;
        (self.view, self.routes) = (view, routes);
        true
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
            Failure::Lost | Failure::BadAnswer => slot.broken.add(1),
            Failure::ServerTimeout => slot.timeouts.add(1),
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
        BodyFailure::Server | BodyFailure::Cut => true,
        BodyFailure::Timeout => download.starved,
        BodyFailure::ClientGone => false,
    }
}
