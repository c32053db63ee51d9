//! The answer's way down: its head, its body, or a tunnel.

use super::{Attempts, Exchange, VIA, asking};
use crate::buffer::Scratch;
use crate::connection::Next;
use crate::flight::{Flight, Phase};
use crate::forward::{BodyFailure, UploadState};
use crate::pages::field;
use crate::relay::Half;
use crate::tunnel::{Carries, TunnelEnd, tunnel};
use crate::upstream::Upstream;
use crate::worker::Worker;
use ebbtide_core::{Counter, EndReason, PoolKey, ServerSlot, window_at};
use ebbtide_protocol::http1::{
    Framing, ResponseEdit, SESSION_ENDS, is_forwarded_https, write_response,
};
use std::rc::Rc;
use tokio::time::Instant;

impl Exchange<'_> {
    /// Passes the final answer on.
    pub(super) async fn send_answer(
        &mut self,
        mut upstream: Upstream,
        attempts: &mut Attempts,
    ) -> Next {
        let close = self.must_close();
        let copy = self.note_copy();
        let (framing, mut download) = self.write_answer_head(close);
        let can_resume = copy.is_some();
        if let Some(stay) = self.stay.as_mut().filter(|_| can_resume) {
            stay.become_movable();
        }
        let passed = self.pass_on(&mut upstream, &mut download, attempts, can_resume);
        let passed = passed.await;
        let now = Instant::now();
        self.count_latency(attempts, now);
        self.count_page(&download);
        let ended = match passed {
            Ok(()) => Ok(upstream),
            Err(failure) if self.routes.pool.config.http.replica => {
                // In a box, as few answers break off.
                Box::pin(self.resume(failure, copy, (upstream, download))).await
            }
            Err(failure) => Err(failure),
        };
        let upstream = match ended {
            Ok(upstream) => upstream,
            Err(failure) => return self.break_off(failure, framing),
        };
        let http = &self.routes.pool.config.http;
        let response = &self.scratch.response;
        if response.keep_alive && self.body_read && self.scratch.outbound.is_empty() {
            let keeps_s = response.keep_alive_timeout_s;
            upstream.give_back(http, self.connection.worker.workers, keeps_s, now);
        }
        let is_last = close || framing == Framing::UntilClose;
        // A client that wanted to go on may have sent more by now: closing before it is read would
        // be a reset, which overtakes the answer (RFC 9112, 9.6).
        let goes_on = self.request.keep_alive && is_last;
        let unread = !self.body_read || !self.scratch.inbound.is_empty();
        match (is_last, unread || goes_on) {
            (false, _) => Next::KeepAlive,
            (true, true) => Next::Linger,
            (true, false) => Next::Close,
        }
    }

    /// Passes a body on. Another server `can_resume` it, or not.
    pub(super) async fn pass_on(
        &mut self,
        upstream: &mut Upstream,
        download: &mut Half,
        attempts: &mut Attempts,
        can_resume: bool,
    ) -> Result<(), BodyFailure> {
        let no_upload = || Half::new(Framing::None, Framing::None);
        let upload = attempts.upload.get_or_insert_with(no_upload);
        let state = match self.body_read {
            true => UploadState::Done,
            false => UploadState::Going,
        };
        download.lend_pipe(&self.connection.worker.pipes, &mut self.scratch.outbound);
        let flight = Rc::clone(&self.connection.watch.flight);
        flight.let_move(can_resume);
        let passed_before = download.bytes;
        let mut forward = self.forward(upstream, upload, state);
        let outcome = forward.relay_answer(download, can_resume).await;
        forward.meter.count(forward.upload, Some(&mut *download));
        let (state, waited) = (forward.state, forward.waited);
        self.body_read = state == UploadState::Done;
        attempts.waited = attempts.waited.or(waited);
        flight.let_move(false);
        self.report.bytes += download.bytes - passed_before;
        let slot = self.slot();
        match outcome {
            Err(BodyFailure::Server) => {
                slot.broken.add(1);
                self.count_failure(|slot| &slot.cut_short);
            }
            Err(BodyFailure::Timeout) => {
                slot.timeouts.add(1);
                // A client that does not read is no fault of the server's.
                if download.starved {
                    self.count_failure(|slot| &slot.cut_short);
                }
            }
            Ok(()) | Err(BodyFailure::ClientGone | BodyFailure::Cut | BodyFailure::Wanted(_)) => {}
        }
        outcome
    }

    /// Counts a final answer of the server.
    pub(super) fn count_response(&self, status: u16) {
        self.slot().responses[usize::from(status / 100).clamp(1, 5) - 1].add(1);
        if status >= 500 {
            self.note_failure();
        }
    }

    /// Counts what went wrong by the server's doing.
    pub(super) fn count_failure(&self, as_what: fn(&ServerSlot) -> &Counter) {
        as_what(self.slot()).add(1);
        self.note_failure();
    }

    /// Notes that this session, among others or alone, has met a failure.
    fn note_failure(&self) {
        if let Some(placed) = &self.placed {
            let (window, who) = (self.window(), placed.session.id.0);
            self.slot().note_failing(window, who);
        }
    }

    /// Counts how long the server took to begin its answer, of which all has gone down or some has been
    /// waited for by now. No clock is read for it that is not read anyway.
    fn count_latency(&self, attempts: &Attempts, now: Instant) {
        let Some(asked) = attempts.asked else {
            return;
        };
        let latency = attempts.waited.unwrap_or(now).duration_since(asked);
        if self.slot().note_latency(latency)
            && let Some(placed) = &self.placed
        {
            let (window, who) = (self.window(), placed.session.id.0);
            self.slot().note_slow(window, who);
        }
    }

    /// The window in which the pool's traffic is watched now.
    fn window(&self) -> u64 {
        let now = self.connection.worker.now();
        window_at(now.moment, self.routes.pool.config.outliers.window)
    }

    /// Writes the final answer's head for the client; what the body comes as, and how it goes out.
    fn write_answer_head(&mut self, close: bool) -> (Framing, Half) {
        let status = self.scratch.response.status;
        self.report.status = status;
        self.answered = true;
        self.count_response(status);
        let has_cookie = self.prepare_cookie(status);
        let comes_as = self.scratch.response.framing;
        let page = self.edit_page_head();
        let mut extra = page.fields();
        let ends = self.session_ends();
        if let Some(ends) = &ends {
            extra.push((SESSION_ENDS, ends.as_bytes()));
        }
        let Scratch {
            outbound,
            response,
            to_client,
            cookie,
            ..
        } = &mut *self.scratch;
        let edit = ResponseEdit {
            client_version: self.request.version,
            close,
            set_cookie: has_cookie.then_some(cookie.as_slice()),
            token_cookie: self.routes.pool.config.sticky.cookie.as_bytes(),
            via: VIA,
            extra: &extra,
            request_is_head: self.request.is_head,
        };
        let framing = write_response(&mut to_client.bytes, outbound.filled(), response, &edit);
        outbound.consume(response.head_bytes);
        let mut download = Half::new(comes_as, framing);
        download.insert(page.insertion);
        (framing, download)
    }

    /// Lays our own `Set-Cookie` ready, if the client needs one: a token, or none any more.
    pub(super) fn prepare_cookie(&mut self, status: u16) -> bool {
        let Some(placed) = &self.placed else {
            return false;
        };
        let is_secure = placed.renew && self.is_secure();
        let worker = &self.connection.worker;
        let cookie = &mut self.scratch.cookie;
        if self.request.is_logout && (200..400).contains(&status) {
            let now = worker.now();
            worker
                .sessions
                .end(&placed.session, EndReason::LoggedOut, now);
            cookie.clear();
            cookie.extend_from_slice(self.routes.pool.config.sticky.cookie.as_bytes());
            cookie.extend_from_slice(b"=; Max-Age=0; HttpOnly; SameSite=Lax; Path=/");
            return true;
        }
        if placed.renew {
            let mut remembered = self.connection.remembered.take();
            let asking = asking(
                (self.connection, self.client),
                &self.routes,
                &self.view,
                self.began,
            );
            asking.issue(placed, &mut remembered, cookie);
            if is_secure {
                cookie.extend_from_slice(b"; Secure");
            }
            self.connection.remembered = remembered;
        }
        placed.renew
    }

    /// Whether the user came by TLS, as a proxy that is trusted says: cookies are then for TLS only.
    pub(super) fn is_secure(&self) -> bool {
        self.routes.pool.config.http.forwarded_trusted
            && is_forwarded_https(self.scratch.inbound.held(), &self.scratch.request)
    }

    /// An answer that broke off must not look complete.
    fn break_off(&mut self, failure: BodyFailure, framing: Framing) -> Next {
        self.report.complete = false;
        // What is cut must not be read on from the buffers of the system: a deadline is a deadline.
        let is_cut = matches!(failure, BodyFailure::Cut | BodyFailure::Timeout);
        match framing {
            _ if is_cut => Next::Reset,
            Framing::UntilClose => Next::Reset,
            _ => Next::Close,
        }
    }

    /// Passes the 101 on and runs the tunnel to its end.
    pub(super) async fn open_tunnel(&mut self, mut upstream: Upstream) -> Next {
        let (buf, response) = (self.scratch.outbound.filled(), &self.scratch.response);
        let protocol = field(buf, &response.fields, b"upgrade").unwrap_or_default();
        let carries = match protocol.eq_ignore_ascii_case(b"websocket") {
            true => Carries::WebSocket,
            false => Carries::Other,
        };
        self.write_answer_head(false);
        let worker = Rc::clone(&self.connection.worker);
        let flight = Rc::clone(&self.connection.watch.flight);
        let pool = self.routes.pool.key;
        if let Some(stay) = &mut self.stay {
            stay.become_tunnel();
            flight.enter(Phase::Tunnel, stay.session());
            let view = worker.view();
            let server = view.snapshot.server_of(stay.session());
            flight.note(server.and_then(|server| server.notice.as_ref()));
        }
        if let Some(through) = &self.through {
            flight.enter_alone(Phase::Tunnel);
            flight.pass(&through.door);
        }
        self.slot().tunnels.add(1);
        let (end, up, down) = tunnel(
            (&mut self.connection.stream, &mut upstream.stream),
            &mut self.connection.watch,
            self.scratch,
            (carries, self.routes.pool.config.http.tunnel_timeout),
            |moved| {
                if let Some(stay) = &self.stay {
                    if moved.by_user {
                        stay.session().touch(worker.now().moment);
                    }
                    stay.session().add_bytes(moved.bytes);
                }
            },
            || last_words(&worker, &flight, pool),
        )
        .await;
        let slot = self.slot();
        slot.tunnels.sub_one();
        slot.bytes_up.add(up);
        slot.bytes_down.add(down);
        self.report.bytes = down;
        self.report.complete = end == TunnelEnd::Closed;
        Next::Close
    }
}

/// What the users of a tunnel are told when it is cut.
fn last_words(worker: &Worker, flight: &Flight, pool: PoolKey) -> String {
    if flight.is_behind_door() {
        return "This door is closed.".to_owned();
    }
    let view = worker.view();
    let routes = view.routes(pool);
    let closure = routes.and_then(|routes| routes.pool.intent.closure());
    flight
        .message()
        .or_else(|| closure?.message.clone())
        .unwrap_or_else(|| "Your session has ended.".to_owned())
}
