//! A connection of a TCP pool, which is a session: chosen a server, connected, carried, ended.
//!
//! The session begins before the server is connected to, as the choice and the beginning may have no
//! wait between them; one whose server takes no connection begins again elsewhere, as nothing of it
//! has left yet.

mod flow;
mod telnet;

use crate::accept::Guest;
use crate::access_log::Record;
use crate::ending::{End, why_cut};
use crate::exchange::SERVERS_MAX;
use crate::flight::Phase;
use crate::routing::{Asking, Placed, Refused};
use crate::socket;
use crate::timer::{Interrupt, Watch};
use crate::upstream::{Lane, NoConnection, Upstream, Wish, share};
use crate::view::{Routes, View};
use crate::worker::Worker;
use ebbtide_core::{
    Cut, EndReason, Fact, Millis, Now, PoolKey, SendProxy, ServerKey, Session, Source, SourceStay,
    Stay, window_at,
};
use ebbtide_protocol::proxy_protocol::{self, Endpoints, Version};
use flow::{Both, FlowEnd};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// How long both sides may take to read what was sent before a connection whose time is over is
/// closed: it ends well within the second that a deadline may be outlived.
const FAREWELL: Millis = Millis(400);

/// A connection of a TCP pool.
struct Life {
    worker: Rc<Worker>,
    pool: PoolKey,
    client: IpAddr,
    /// Both ends of the client's connection, as its server may be told.
    ends: Endpoints,
    watch: Watch,
    began: Now,
    tries: u32,
    moved: bool,
}

/// A session that has a server, and what goes with it until it ends.
struct Seat {
    routes: Rc<Routes>,
    placed: Placed,
    stay: Stay,
    binding: Option<SourceStay>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.worker.connection_closed(&self.watch.flight);
    }
}

/// Serves a connection that was just accepted.
pub(crate) async fn serve(guest: Guest, pool: PoolKey) {
    let mut life = Life {
        watch: Watch::new(guest.flight, Millis(0)),
        began: guest.worker.now(),
        client: guest.client.ip().to_canonical(),
        ends: Endpoints {
            source: guest.client,
            // A connection that is gone already shows when it is read.
            destination: guest
                .local
                .or(guest.stream.local_addr().ok())
                .unwrap_or(guest.client),
        },
        worker: guest.worker,
        pool,
        tries: 0,
        moved: false,
    };
    life.run(guest.stream).await;
}

impl Life {
    async fn run(&mut self, mut client: TcpStream) {
        let Some(mut seat) = self.take_seat() else {
            return;
        };
        let keepalive = seat.routes.pool.config.tcp.keepalive;
        socket::keep_alive(&client, keepalive);
        let (end, bytes) = match self.connect(&mut seat).await {
            Ok(mut upstream) => {
                socket::keep_alive(&upstream.stream, keepalive);
                self.carry(&seat, &mut client, &mut upstream).await
            }
            Err(end) => (end, (0, 0)),
        };
        self.leave(seat, end, bytes);
    }

    /// Begins the session, on the server that its source was last on or on any other.
    fn take_seat(&mut self) -> Option<Seat> {
        let view = self.worker.view();
        let routes = Rc::clone(view.routes(self.pool)?);
        routes.pool.counters.slot(self.worker.index).requests.add(1);
        let placed = self
            .asking(&view, &routes, self.began)
            .place_connection(self.source(&routes));
        match placed {
            Ok(placed) => Some(self.settle(routes, placed, self.began)),
            Err(refused) => {
                self.refuse(&routes, refused);
                None
            }
        }
    }

    fn settle(&self, routes: Rc<Routes>, placed: Placed, now: Now) -> Seat {
        let mut stay = placed.session.enter(now.moment);
        stay.become_tunnel();
        self.watch.flight.enter(Phase::Tunnel, &placed.session);
        let server = &routes.pool.servers[placed.index];
        self.watch.flight.note(server.notice.as_ref());
        let binding = self.worker.sessions.sources().bind(
            self.pool,
            self.source(&routes),
            (server.key, server.epoch),
            now.moment,
        );
        Seat {
            routes,
            placed,
            stay,
            binding,
        }
    }

    fn source(&self, routes: &Routes) -> Source {
        let sticky = &routes.pool.config.sticky;
        Source::of(self.client, sticky.prefix_v4, sticky.prefix_v6)
    }

    fn asking<'a>(&'a self, view: &'a View, routes: &'a Routes, now: Now) -> Asking<'a> {
        Asking {
            worker: &self.worker,
            routes,
            keys: &view.keys,
            generation: view.snapshot.generation,
            client: self.client,
            now,
            in_turn: false,
            resource: None,
        }
    }

    fn refuse(&self, routes: &Routes, refused: Refused) {
        refused.count(routes.pool.counters.slot(self.worker.index));
        self.log(End::Refused, routes, None, (0, 0));
    }

    /// Connects to the session's server, or to others that it moves to.
    async fn connect(&mut self, seat: &mut Seat) -> Result<Upstream, End> {
        let mut failed: Vec<ServerKey> = Vec::new();
        loop {
            let config = Arc::clone(&seat.routes.pool.config);
            let lane = Rc::clone(seat.lane());
            let open_max = share(config.http.connections_max, self.worker.workers);
            self.watch.set(config.http.connect_timeout);
            self.tries += 1;
            let wish = Wish {
                fresh: true,
                careful: false,
            };
            let none = match lane.connect(open_max, wish, &mut self.watch).await {
                Ok(upstream) => {
                    lane.slot().taken.add(1);
                    return Ok(upstream);
                }
                Err(none) => none,
            };
            match none {
                NoConnection::Refused(error) => {
                    tracing::debug!("{} does not take a connection: {error}", lane.name);
                }
                NoConnection::Silent => {}
                NoConnection::Busy => return Err(End::Unreachable),
                NoConnection::Exhausted(error) => {
                    tracing::warn!("cannot connect to {}: {error}", lane.name);
                    return Err(End::Unreachable);
                }
                NoConnection::Cut => return Err(End::Cut),
            }
            lane.slot().connect_failures.add(1);
            lane.slot().lost.add(1);
            let window = window_at(self.worker.now().moment, config.outliers.window);
            lane.slot().note_failing(window, seat.placed.session.id.0);
            self.worker.tell(Fact::ConnectFailed {
                pool: self.pool,
                server: lane.key,
            });
            failed.push(lane.key);
            if failed.len() >= SERVERS_MAX || !self.move_elsewhere(seat, &failed) {
                return Err(End::Unreachable);
            }
            lane.slot().retries.add(1);
        }
    }

    /// Begins the session anew on another server, by the newest snapshot; `false` if there is none.
    fn move_elsewhere(&mut self, seat: &mut Seat, excluded: &[ServerKey]) -> bool {
        let (view, now) = (self.worker.view(), self.worker.now());
        let Some(routes) = view.routes(self.pool).map(Rc::clone) else {
            return false;
        };
        let asking = self.asking(&view, &routes, now);
        let Ok(placed) = asking.move_away(&seat.placed.session, excluded) else {
            return false;
        };
        let old = std::mem::replace(seat, self.settle(routes, placed, now));
        if let Some(binding) = old.binding {
            binding.end(now.moment);
        }
        self.moved = true;
        true
    }

    /// Carries bytes both ways until one side, or time, ends it.
    async fn carry(
        &mut self,
        seat: &Seat,
        client: &mut TcpStream,
        upstream: &mut Upstream,
    ) -> (End, (u64, u64)) {
        let config = Arc::clone(&seat.routes.pool.config);
        let silence_max = config.http.tunnel_timeout;
        let (slot, worker) = (upstream.lane.slot(), &self.worker);
        slot.tunnels.add(1);
        let mut both = Both::default();
        if let Some(version) = version(config.tcp.send_proxy) {
            both.begin_with(|out| proxy_protocol::write(out, version, Some(&self.ends)));
        }
        if config.tcp.telnet {
            both.tell_by_telnet();
        }
        let began = self.watch.set(silence_max);
        let session = &seat.placed.session;
        let streams = (&mut *client, &mut upstream.stream, began);
        let ended = both
            .run(streams, &mut self.watch, worker, |watch, moved| {
                watch.set(silence_max);
                slot.bytes_up.add(moved.up);
                slot.bytes_down.add(moved.down);
                session.add_bytes(moved.up + moved.down);
                if moved.up > 0 {
                    session.touch(worker.now().moment);
                }
            })
            .await;
        let end = match ended {
            FlowEnd::Closed => End::Closed,
            FlowEnd::Broken => End::Broken,
            FlowEnd::Interrupted(Interrupt::Timeout) => End::Silent,
            FlowEnd::Interrupted(Interrupt::Cut) => End::Cut,
        };
        slot.tunnels.sub_one();
        if both.ended_at_once {
            slot.cut_short.add(1);
            let window = window_at(self.worker.now().moment, config.outliers.window);
            // One client that servers want nothing to do with is one, however often it comes.
            slot.note_failing(window, self.source(&seat.routes).number());
        }
        match (end, config.tcp.cut) {
            (End::Cut, Cut::Close) => {
                self.watch.set(FAREWELL);
                both.say_farewell(
                    (client, &mut upstream.stream),
                    &mut self.watch,
                    &self.worker,
                )
                .await;
            }
            // Who was broken off is not made to look complete on the other side.
            (End::Broken, _) | (End::Cut, Cut::Reset) => {
                socket::reset(client);
                socket::reset(&upstream.stream);
            }
            _ => {}
        }
        (end, both.bytes())
    }

    /// Ends the session, and everything that goes with it.
    fn leave(&self, seat: Seat, end: End, bytes: (u64, u64)) {
        let now = self.worker.now();
        let session = Arc::clone(&seat.placed.session);
        let reason = match end {
            End::Unreachable => EndReason::ServerGone,
            End::Silent => EndReason::Idle,
            End::Cut => why_cut(&session, &self.worker.view().snapshot),
            End::Closed | End::Broken | End::Refused => EndReason::Disconnected,
        };
        let slot = seat.routes.pool.counters.slot(self.worker.index);
        end.count(slot);
        self.log(end, &seat.routes, Some((&seat, &session)), bytes);
        session.touch(now.moment);
        drop(seat.stay);
        self.worker.sessions.end(&session, reason, now);
        if let Some(binding) = seat.binding {
            binding.end(now.moment);
        }
    }

    fn log(
        &self,
        end: End,
        routes: &Routes,
        seat: Option<(&Seat, &Arc<Session>)>,
        (_, down): (u64, u64),
    ) {
        if !self.worker.logs() {
            return;
        }
        let now = self.worker.now();
        self.worker.log(Record {
            time: self.began.wall,
            client: self.client,
            method: "TCP".into(),
            target: "-".into(),
            version: "-",
            user_agent: String::new(),
            referer: String::new(),
            status: 0,
            bytes: down,
            duration_ms: now.moment.since(self.began.moment).0,
            pool: Some(Arc::clone(&routes.pool.config)),
            server: seat.map(|(seat, _)| Arc::clone(&seat.lane().name)),
            session: seat.map(|(_, session)| session.id),
            tries: self.tries,
            resumed: 0,
            moved: self.moved,
            complete: end == End::Closed,
        });
    }
}

impl Seat {
    fn lane(&self) -> &Rc<Lane> {
        &self.routes.lanes[self.placed.index]
    }
}

fn version(send_proxy: SendProxy) -> Option<Version> {
    match send_proxy {
        SendProxy::Off => None,
        SendProxy::V1 => Some(Version::V1),
        SendProxy::V2 => Some(Version::V2),
    }
}
