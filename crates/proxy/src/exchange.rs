//! The life of a request, once its head has been read. In this order:
//!
//! 1. [`Exchange::answer_reserved`]: a path of our own is answered here;
//! 2. [`Exchange::place`]: the token names the session and its server, or a new session begins,
//!    or leads away from here ([`Exchange::lead_away`]);
//! 3. [`Exchange::connect`]: a connection to that server, kept or fresh;
//! 4. [`Exchange::await_answer`]: the request goes up, until the answer's head is there;
//! 5. [`Exchange::send_answer`] or [`Exchange::open_tunnel`]: the answer goes down, the rest of it from
//!    another server if it has to ([`Exchange::resume`]);
//! 6. [`Exchange::judge`]: what failed before that is tried once more, where it may be;
//! 7. [`Exchange::give_page`]: or else the client is told, exactly once;
//! 8. [`Exchange::finish`]: the session is touched, and the request logged.
//!
//! docs/fsm/request.dot draws it.

mod answer;
mod entry;
mod judge;
mod page;
mod passage;
mod redirect;
mod resume;

use self::passage::Through;
use crate::access_log::Record;
use crate::buffer::Scratch;
use crate::connection::{Connection, Next};
use crate::door;
use crate::flight::Phase;
use crate::forward::{Failure, Forward, Meter, UploadState};
use crate::pages::{self, Envelope, Format, Page, field};
use crate::relay::Half;
use crate::reserved::{self, Reserved, path_of};
use crate::routing::{Asking, Placed, Refused, Whose};
use crate::upstream::{Lane, NoConnection, Upstream, Wish, share};
use crate::view::{Routes, View};
use crate::who;
use ebbtide_core::{Crossing, EndReason, Now, PoolConfig, SecondTry, ServerKey, ServerSlot, Stay};
use ebbtide_protocol::http1::{Forwarding, Framing, Version, forwarded_for, write_request};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What `Via` calls us.
const VIA: &str = "ebbtide";
/// Attempts whose bytes may reach a server.
const TRIES_MAX: u32 = 2;
/// Servers that are asked for a connection: one poisonous request kills two at most, and users of
/// both must find the third.
pub(crate) const SERVERS_MAX: usize = 3;
/// Before a request is sent again that was lost. The kernel closes a dying process's connections
/// before its listener, which would take the second try along with it.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Serves the request whose head is held in the scratch.
pub(crate) async fn exchange(connection: &mut Connection, scratch: &mut Scratch) -> Next {
    let view = connection.worker.view();
    let Some(routes) = view.routes(connection.pool).map(Rc::clone) else {
        return refuse_without_pool(connection, scratch).await;
    };
    let mut exchange = Exchange::new(connection, scratch, view, routes);
    let next = exchange.run().await;
    exchange.finish();
    next
}

/// The pool was removed while its clients were still connected.
async fn refuse_without_pool(connection: &mut Connection, scratch: &mut Scratch) -> Next {
    scratch.to_client.clear();
    let format = Format::wanted(scratch.inbound.held(), &scratch.request.fields);
    let out = &mut scratch.to_client.bytes;
    pages::write(out, &Page::Unavailable, format, None, Envelope::LAST);
    connection.send(scratch).await;
    Next::Linger
}

struct Exchange<'a> {
    connection: &'a mut Connection,
    scratch: &'a mut Scratch,
    view: Rc<View>,
    routes: Rc<Routes>,
    request: Request,
    /// Whose request it is; not the proxy's that has passed it on, if that is trusted.
    client: IpAddr,
    began: Now,
    placed: Option<Placed>,
    /// The door that it has come through, and where that leads.
    through: Option<Through>,
    /// The address is a secret: its query is not logged.
    hides_query: bool,
    stay: Option<Stay>,
    /// A place on the server that goes on with an answer, although the answer's session is over.
    place_alone: Option<Crossing>,
    /// A server's answer has gone down, and the session's token with it.
    answered: bool,
    /// The client has sent all of its body, and we have read it.
    body_read: bool,
    /// The page that the user is given while a notice stands.
    page: page::Rewriting,
    report: Report,
}

/// What matters of the request while it is served.
struct Request {
    is_head: bool,
    is_idempotent: bool,
    has_body: bool,
    is_logout: bool,
    wants_upgrade: bool,
    expects_continue: bool,
    keep_alive: bool,
    framing: Framing,
    version: Version,
}

/// What is told of the request afterwards.
struct Report {
    status: u16,
    bytes: u64,
    tries: u32,
    moved: bool,
    resumed: u32,
    complete: bool,
}

/// What has been tried.
#[derive(Default)]
struct Attempts {
    /// Attempts in which bytes left.
    sent: u32,
    /// Kept connections have disappointed: take a fresh one.
    fresh: bool,
    /// The attempt was on a kept connection.
    reused: bool,
    /// Servers that took no connection, or broke it; the session does not move there any more.
    failed: Vec<ServerKey>,
    /// The request, as far as it went up.
    upload: Option<Half>,
    /// It is being sent a second time, alone at its server.
    turn: Option<SecondTry>,
    /// When its server had it.
    asked: Option<Instant>,
    /// When the answer's body had to be waited for.
    waited: Option<Instant>,
}

/// What to do about a failure.
enum Verdict {
    TryAgain,
    TryAgainSoon,
    Give(Page),
    CloseConnection,
}

impl Request {
    fn of(scratch: &Scratch, routes: &Routes) -> Self {
        let (buf, head) = (scratch.inbound.held(), &scratch.request);
        let method = head.method.of(buf);
        let path = path_of(head.target.of(buf));
        let logout = &routes.pool.config.http.logout;
        Self {
            is_head: method == b"HEAD",
            is_idempotent: matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE"),
            has_body: !matches!(head.framing, Framing::None | Framing::Length(0)),
            is_logout: logout.iter().any(|logout| logout.as_bytes() == path),
            wants_upgrade: head.upgrade.is_some(),
            expects_continue: head.expect_continue,
            keep_alive: head.keep_alive,
            framing: head.framing,
            version: head.version,
        }
    }
}

impl<'a> Exchange<'a> {
    fn new(
        connection: &'a mut Connection,
        scratch: &'a mut Scratch,
        view: Rc<View>,
        routes: Rc<Routes>,
    ) -> Self {
        let request = Request::of(scratch, &routes);
        scratch.to_client.clear();
        connection.pool_slot(&routes).requests.add(1);
        routes
            .memory
            .earn_retry(routes.pool.config.http.retry_percent);
        Self {
            client: client_of(connection, scratch, &routes),
            began: connection.worker.now(),
            body_read: !request.has_body,
            connection,
            scratch,
            view,
            routes,
            request,
            placed: None,
            through: None,
            hides_query: false,
            stay: None,
            place_alone: None,
            answered: false,
            page: page::Rewriting::default(),
            report: Report {
                status: 0,
                bytes: 0,
                tries: 0,
                moved: false,
                resumed: 0,
                complete: true,
            },
        }
    }

    async fn run(&mut self) -> Next {
        match self.answer_reserved() {
            None => {}
            Some(Reserved::Answered(_)) => return self.send_own().await,
            Some(Reserved::Door(path)) => return Box::pin(self.answer_at_door(path)).await,
        }
        // In boxes: few are refused or come through doors, and a connection that rests has no room
        // for them.
        match self.place(false) {
            Ok(true) => {}
            Ok(false) => {
                if let Some(next) = Box::pin(self.enter_by_door()).await {
                    return next;
                }
            }
            Err(refused) => {
                let entered = Box::pin(self.enter_later(refused)).await;
                if let Err(refused) = entered {
                    return self.refuse(refused).await;
                }
            }
        }
        if self.routes.pool.config.http.redirect {
            return Box::pin(self.lead_away()).await;
        }
        let mut attempts = Attempts::default();
        loop {
            self.take_turn(&mut attempts).await;
            let failure = match self.attempt(&mut attempts).await {
                Ok(next) => return next,
                Err(failure) => failure,
            };
            match self.judge(failure, &mut attempts) {
                Verdict::TryAgain => {}
                Verdict::TryAgainSoon => {
                    let pause = tokio::time::sleep(RETRY_PAUSE);
                    // Whatever interrupts this interrupts the attempt as well.
                    let _ = self.connection.watch.run(pause).await;
                }
                Verdict::Give(page) => {
                    return Box::pin(self.give_page_at_door(page, &attempts)).await;
                }
                Verdict::CloseConnection => {
                    self.report.complete = false;
                    return Next::Close;
                }
            }
        }
    }

    /// One attempt at one server, up to the end of the answer.
    async fn attempt(&mut self, attempts: &mut Attempts) -> Result<Next, Failure> {
        let lane = Rc::clone(self.lane());
        let mut upstream = self.connect(&lane, attempts).await?;
        self.await_answer(&mut upstream, attempts).await?;
        attempts.turn = None;
        if self.page.asked {
            // In a box, as few answers are pages while a notice stands.
            Box::pin(self.examine_page(&mut upstream, attempts)).await?;
        }
        match self.scratch.response.status {
            101 => Ok(Box::pin(self.open_tunnel(upstream)).await),
            _ => Ok(self.send_answer(upstream, attempts).await),
        }
    }

    /// Writes the answer to a request for a reserved path, if it is one and no door's.
    fn answer_reserved(&mut self) -> Option<Reserved> {
        let envelope = self.envelope();
        let asking = asking(
            (self.connection, self.client),
            &self.routes,
            &self.view,
            self.began,
        );
        let mut found = reserved::answer(
            &asking,
            self.scratch.inbound.held(),
            &self.scratch.request,
            envelope,
            &mut self.scratch.to_client.bytes,
        );
        if let Some(Reserved::Answered(answered)) = &mut found {
            self.report.status = answered.status;
            self.report.bytes = answered.bytes as u64;
            self.connection.stream_of_events = answered.stream.take();
        }
        found
    }

    /// Finds or begins the session, and enters it; `false` if the request shows a door's cookie, and
    /// is no user's.
    fn place(&mut self, in_turn: bool) -> Result<bool, Refused> {
        let now = match in_turn {
            true => self.connection.worker.now(),
            false => self.began,
        };
        let mut remembered = self.connection.remembered.take();
        let mut asking = asking(
            (self.connection, self.client),
            &self.routes,
            &self.view,
            now,
        );
        asking.in_turn = in_turn;
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        let placed = asking.place(buf, head, &mut remembered);
        self.connection.remembered = remembered;
        match placed? {
            Whose::User(placed) => self.settle(placed, now),
            Whose::DoorHolder => return Ok(false),
        }
        Ok(true)
    }

    fn settle(&mut self, placed: Placed, now: Now) {
        self.stay = Some(placed.session.enter(now.moment));
        let flight = &self.connection.watch.flight;
        flight.enter(Phase::Exchange, &placed.session);
        self.report.moved |= placed.moved;
        let pool = &self.routes.pool.config;
        if pool.user.is_some() || pool.logout_call.is_some() {
            let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
            who::note(&placed.session, buf, head, pool);
        }
        self.placed = Some(placed);
    }

    /// A connection to the server: one that was kept, unless those have disappointed.
    async fn connect(
        &mut self,
        lane: &Rc<Lane>,
        attempts: &mut Attempts,
    ) -> Result<Upstream, Failure> {
        let http = &self.routes.pool.config.http;
        let wish = Wish {
            fresh: attempts.fresh,
            careful: !self.request.is_idempotent,
        };
        attempts.reused = false;
        if let Some(kept) = lane.take_idle(wish) {
            attempts.reused = true;
            return Ok(kept);
        }
        let open_max = share(http.connections_max, self.connection.worker.workers);
        let watch = &mut self.connection.watch;
        watch.set(http.connect_timeout);
        // In a box, as is a tunnel: both are rare, and a connection that rests has no room for them.
        let connected = Box::pin(lane.connect(open_max, wish, watch)).await;
        attempts.reused = connected.as_ref().is_ok_and(|upstream| upstream.reused);
        connected.map_err(|none| match none {
            NoConnection::Refused(error) => {
                tracing::debug!("{} does not take a connection: {error}", lane.name);
                Failure::NotConnected
            }
            NoConnection::Silent => Failure::ConnectTimeout,
            NoConnection::Exhausted(error) => {
                tracing::warn!("cannot connect to {}: {error}", lane.name);
                Failure::Busy
            }
            NoConnection::Busy => Failure::Busy,
            NoConnection::Cut => Failure::Cut,
        })
    }

    /// Sends the request and waits for the head of the final answer.
    async fn await_answer(
        &mut self,
        upstream: &mut Upstream,
        attempts: &mut Attempts,
    ) -> Result<(), Failure> {
        upstream.lane.slot().requests.add(1);
        self.report.tries += 1;
        // What never left is sent as it is; what did is written again from what was parsed.
        let mut upload = match attempts.upload.take_if(|upload| !upload.begun) {
            Some(unsent) => unsent,
            None => self.write_request(),
        };
        self.scratch.outbound.clear();
        upload.lend_pipe(&self.connection.worker.pipes, &mut self.scratch.inbound);
        let has_body = self.request.has_body;
        let mut forward = self.forward(upstream, &mut upload, UploadState::Going);
        let outcome = forward.await_answer(has_body).await;
        let (state, asked) = (forward.state, forward.asked);
        self.body_read = state == UploadState::Done;
        (attempts.asked, attempts.waited) = (asked, None);
        attempts.sent += u32::from(upload.begun);
        attempts.upload = Some(upload);
        outcome?;
        let response = &self.scratch.response;
        let is_tunnel = response.upgrade && self.request.wants_upgrade;
        match response.status == 101 && !is_tunnel {
            true => Err(Failure::BadAnswer),
            false => Ok(()),
        }
    }

    fn write_request(&mut self) -> Half {
        let asked = self.ask_for_page();
        match self.through.take() {
            None => self.put_request(asked),
            Some(through) => {
                let routes = Rc::clone(&self.routes);
                self.put_request(&through.fields(&routes.pool.config));
                self.through = Some(through);
            }
        }
        Half::new(self.request.framing, self.request.framing)
    }

    /// Lays the request's head ready for a server, with these fields added.
    fn put_request(&mut self, extra: &[(&str, &[u8])]) {
        let Scratch {
            inbound,
            request,
            to_server,
            ..
        } = &mut *self.scratch;
        let config = &self.routes.pool.config;
        if let Some((name, _)) = &config.door.admin_field {
            door::take_field(inbound.held(), request, name);
        }
        let forwarding = Forwarding {
            client: self.connection.client.ip(),
            proto: "http",
            trusts_client: config.http.forwarded_trusted,
            via: VIA,
            token_cookie: config.sticky.cookie.as_bytes(),
            door_cookies: PoolConfig::DOOR_COOKIES.as_bytes(),
            keep_alive_upstream: true,
            tunnel: self.request.wants_upgrade,
            expect_continue: self.request.expects_continue,
            extra,
        };
        to_server.clear();
        write_request(&mut to_server.bytes, inbound.held(), request, &forwarding);
    }

    fn forward<'b>(
        &'b mut self,
        upstream: &'b mut Upstream,
        upload: &'b mut Half,
        state: UploadState,
    ) -> Forward<'b> {
        Forward {
            client: &mut self.connection.stream,
            server: &mut upstream.stream,
            meter: Meter {
                server: upstream.lane.slot(),
                session: self.stay.as_ref().map(|stay| &**stay.session()),
            },
            watch: &mut self.connection.watch,
            scratch: self.scratch,
            http: &self.routes.pool.config.http,
            limits: self.routes.limits,
            upload,
            state,
            expecting: self.request.expects_continue,
            arrived: false,
            is_for_rest: false,
            request_is_head: self.request.is_head,
            client_version: self.request.version,
            asked: None,
            waited: None,
        }
    }

    /// Answers with a page of our own.
    async fn give_page(&mut self, page: Page) -> Next {
        if page == Page::SessionOver && self.is_pool_closed() {
            return self.refuse(Refused::Closed).await;
        }
        self.report.status = page.status();
        if matches!(page.status(), 502 | 504) {
            let slot = self.connection.pool_slot(&self.routes);
            slot.gateway_errors.add(1);
        }
        let envelope = self.envelope();
        let format = Format::wanted(self.scratch.inbound.held(), &self.scratch.request.fields);
        let contact = self.routes.pool.config.contact.as_deref();
        let out = &mut self.scratch.to_client.bytes;
        self.report.bytes = pages::write(out, &page, format, contact, envelope) as u64;
        self.send_own().await
    }

    async fn send_own(&mut self) -> Next {
        let is_last = self.must_close();
        self.report.complete = self.connection.send(self.scratch).await;
        match (self.report.complete, is_last) {
            (false, _) => Next::Close,
            _ if self.connection.stream_of_events.is_some() => Next::Events,
            (true, true) => Next::Linger,
            (true, false) => Next::KeepAlive,
        }
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            close: self.must_close(),
            head_only: self.request.is_head,
            keep_alive: self.request.version == Version::Http10,
        }
    }

    /// Whether the answer is the last on its connection, as things are now.
    fn must_close(&self) -> bool {
        // A client that asked for another protocol may have sent some of it already: what comes
        // after a refusal is not taken for a request.
        !self.request.keep_alive
            || !self.body_read
            || self.request.wants_upgrade
            || self.connection.worker.is_stopping()
            || self.connection.has_lost_listener()
            || self.connection.watch.flight.is_cut()
    }

    /// The server's place in the pool.
    fn index(&self) -> usize {
        match (&self.placed, &self.through) {
            (Some(placed), _) => placed.index,
            (None, through) => through.as_ref().map_or(0, |through| through.index),
        }
    }

    fn lane(&self) -> &Rc<Lane> {
        &self.routes.lanes[self.index()]
    }

    fn slot(&self) -> &ServerSlot {
        self.lane().slot()
    }

    /// Touches the session and logs the request.
    fn finish(&mut self) {
        let now = self.connection.worker.now();
        if let Some(stay) = self.stay.take() {
            self.now_on(stay.session()).touch(now.moment);
        }
        self.end_unknown(now);
        if self.connection.worker.logs() {
            let record = self.record(now);
            self.connection.worker.log(record);
        }
    }

    /// A session whose user was never given its token can have no other request: it is over.
    fn end_unknown(&self, now: Now) {
        let is_new = |placed: &&Placed| placed.is_new && !self.answered;
        if let Some(placed) = self.placed.as_ref().filter(is_new) {
            let sessions = &self.connection.worker.sessions;
            sessions.end(&placed.session, EndReason::ServerGone, now);
        }
    }

    fn record(&self, now: Now) -> Record {
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = |name: &[u8]| field(buf, &head.fields, name).map(text).unwrap_or_default();
        Record {
            time: self.began.wall,
            client: self.client,
            method: text(head.method.of(buf)),
            target: match self.hides_query {
                true => text(path_of(head.target.of(buf))),
                false => text(head.target.of(buf)),
            },
            version: match self.request.version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
            },
            user_agent: value(b"user-agent"),
            referer: value(b"referer"),
            status: self.report.status,
            bytes: self.report.bytes,
            duration_ms: now.moment.since(self.began.moment).0,
            pool: Some(Arc::clone(&self.routes.pool.config)),
            server: (self.placed.is_some() || self.through.is_some())
                .then(|| Arc::clone(&self.lane().name)),
            session: self.placed.as_ref().map(|placed| placed.session.id),
            tries: self.report.tries,
            moved: self.report.moved,
            resumed: self.report.resumed,
            complete: self.report.complete,
        }
    }
}

/// Whom a request comes from.
fn client_of(connection: &Connection, scratch: &Scratch, routes: &Routes) -> IpAddr {
    let said = match routes.pool.config.http.forwarded_trusted {
        true => forwarded_for(scratch.inbound.held(), &scratch.request),
        false => None,
    };
    said.unwrap_or_else(|| connection.client.ip().to_canonical())
}

fn asking<'b>(
    (connection, client): (&'b Connection, IpAddr),
    routes: &'b Routes,
    view: &'b View,
    now: Now,
) -> Asking<'b> {
    Asking {
        worker: &connection.worker,
        routes,
        keys: &view.keys,
        generation: view.snapshot.generation,
        client,
        now,
        in_turn: false,
        resource: None,
    }
}
