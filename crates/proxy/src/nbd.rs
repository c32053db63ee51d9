//! A connection of an NBD pool, which is a session: the client's handshake ends here, and its requests
//! go to a server that has the right copy of what it reads. When that server goes, another one whose
//! copy is the same takes over: the session keeps its number, and its client sees a pause.

mod carry;
mod door;
mod greet;
mod join;
mod ledger;
mod moves;
mod pause;
mod trial;
mod wire;

use crate::accept::Guest;
use crate::access_log::Record;
use crate::ending::{End, why_cut};
use crate::socket;
use crate::timer::Watch;
use crate::view::Routes;
use crate::worker::Worker;
use carry::Carrier;
use ebbtide_core::{EndReason, Millis, Now, PoolKey, Session};
use greet::{Greeted, Ready};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
pub(crate) use trial::Turns;

/// A connection of an NBD pool.
struct Life {
    worker: Rc<Worker>,
    pool: PoolKey,
    client: IpAddr,
    watch: Watch,
    began: Now,
    tries: u32,
    /// Where the client's handshake has come to.
    ready: Option<Ready>,
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
        worker: guest.worker,
        pool,
        tries: 0,
        ready: None,
    };
    life.run(guest.stream).await;
}

impl Life {
    async fn run(&mut self, mut client: TcpStream) {
        {
            let view = self.worker.view();
            let Some(routes) = view.routes(self.pool) else {
                return;
            };
            routes.pool.counters.slot(self.worker.index).requests.add(1);
            socket::keep_alive(&client, routes.pool.config.tcp.keepalive);
        }
        match self.greet(&mut client).await {
            Ok(greeted) => self.carry(greeted, &mut client).await,
            Err(end) => {
                if let Some(Ready { seat, connected: _ }) = self.ready.take() {
                    self.leave(&seat.routes, &seat.placed.session, end, 0);
                } else if end != End::Closed {
                    self.count(end);
                }
            }
        }
    }

    async fn carry(&mut self, greeted: Greeted, client: &mut TcpStream) {
        let Greeted {
            seat,
            connected,
            agreed,
            rest,
        } = greeted;
        let routes = Rc::clone(&seat.routes);
        let worker = Rc::clone(&self.worker);
        let mut carrier = Carrier::new(worker, seat, (connected, agreed), rest);
        let end = carrier.run(client, &mut self.watch).await;
        if end == End::Broken {
            socket::reset(client);
        }
        self.tries += carrier.session.moves;
        let bytes = carrier.bytes_down();
        self.leave(&routes, &carrier.session, end, bytes);
    }

    /// Ends the session.
    fn leave(&self, routes: &Routes, session: &Arc<Session>, end: End, bytes: u64) {
        let now = self.worker.now();
        let reason = match end {
            End::Unreachable => EndReason::ServerGone,
            End::Cut => why_cut(session, &self.worker.view().snapshot),
            End::Closed | End::Broken | End::Refused | End::Silent => EndReason::Disconnected,
        };
        self.count(end);
        self.log(end, routes, session, bytes);
        if self.watch.flight.is_behind_door() {
            // Who comes through a door is no user.
            return;
        }
        session.touch(now.moment);
        self.worker.sessions.end(session, reason, now);
    }

    fn count(&self, end: End) {
        let view = self.worker.view();
        let Some(routes) = view.routes(self.pool) else {
            return;
        };
        let slot = routes.pool.counters.slot(self.worker.index);
        end.count(slot);
    }

    fn log(&self, end: End, routes: &Routes, session: &Arc<Session>, bytes: u64) {
        if !self.worker.logs() {
            return;
        }
        let now = self.worker.now();
        let lane = routes.index_of(session.server);
        self.worker.log(Record {
            time: self.began.wall,
            client: self.client,
            method: "NBD".into(),
            target: "-".into(),
            version: "-",
            user_agent: String::new(),
            referer: String::new(),
            status: 0,
            bytes,
            duration_ms: now.moment.since(self.began.moment).0,
            pool: Some(Arc::clone(&routes.pool.config)),
            server: lane.map(|index| Arc::clone(&routes.lanes[index].name)),
            session: (!self.watch.flight.is_behind_door()).then_some(session.id),
            tries: self.tries,
            moved: session.moves > 0,
            resumed: 0,
            complete: end == End::Closed,
        });
    }
}
