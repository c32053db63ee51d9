//! Who does not get in at once: waits in line where places may come free, or is told why.

use super::{Exchange, asking};
use crate::connection::Next;
use crate::gate::{self, Refusal};
use crate::pages::Page;
use crate::routing::Refused;
use crate::timer::duration;
use crate::wall::http_date;
use ebbtide_core::Ticket;
use ebbtide_protocol::http1::cookie;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::Instant;

/// How often whoever waits in line looks whether it is their turn, and still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Exchange<'_> {
    /// Waits in line for a place, if every server is full and the pool lets people wait.
    pub(super) async fn enter_later(&mut self, refused: Refused) -> Result<(), Refused> {
        let gate = &self.routes.pool.config.gate;
        let (Refused::Full, Some(queue)) = (refused, gate.queue) else {
            return Err(refused);
        };
        let end = Instant::now() + duration(queue);
        let Some(ticket) = self.routes.pool.line.join(gate.queue_max) else {
            return Err(Refused::Full);
        };
        loop {
            match self.try_in_turn(&ticket) {
                Err(Refused::Full) if Instant::now() < end => {}
                done => return done,
            }
            self.connection.watch.set(queue);
            let pause = tokio::time::sleep_until(end.min(Instant::now() + LOOK_EVERY));
            let interrupted = self.connection.watch.run(pause).await.is_err();
            if interrupted || self.connection.worker.is_stopping() || self.is_client_gone().await {
                return Err(Refused::Full);
            }
        }
    }

    /// Enters by the newest snapshot, if it is the turn of this ticket.
    fn try_in_turn(&mut self, ticket: &Ticket) -> Result<(), Refused> {
        let view = self.connection.worker.view();
        let Some(routes) = view.routes(self.connection.pool).map(Rc::clone) else {
            return Err(Refused::Unavailable);
        };
        (self.view, self.routes) = (view, routes);
        let asking = asking(
            (self.connection, self.client),
            &self.routes,
            &self.view,
            self.connection.worker.now(),
        );
        let free = gate::free_places(&asking);
        // Without a place there is still to be found out why: the pool may be closed by now.
        match free == 0 || ticket.is_next(free) {
            true => self.place(true).map(drop),
            false => Err(Refused::Full),
        }
    }

    /// Whether the client has closed its side: nobody waits there any more.
    async fn is_client_gone(&self) -> bool {
        let mut readiness = pin!(self.connection.stream.ready(Interest::READABLE));
        poll_fn(|context| {
            Poll::Ready(match readiness.as_mut().poll(context) {
                Poll::Ready(Ok(ready)) => ready.is_read_closed(),
                Poll::Ready(Err(_)) => true,
                Poll::Pending => false,
            })
        })
        .await
    }

    /// When the session ends, as answers tell it, if that is decided. The newest snapshot
    /// says: a deadline may have been moved while the server was thinking.
    pub(super) fn session_ends(&self) -> Option<String> {
        let placed = self.placed.as_ref()?;
        self.routes.pool.servers[placed.index].notice.as_ref()?;
        let view = self.connection.worker.view();
        let server = view
            .snapshot
            .server(self.routes.pool.key, placed.session.server)?;
        let deadline = server.deadline()?;
        Some(http_date(self.connection.worker.now().wall_at(deadline)))
    }

    /// Whether the pool has been closed by now, as the worker knows it.
    pub(super) fn is_pool_closed(&self) -> bool {
        let view = self.connection.worker.view();
        let routes = view.routes(self.connection.pool);
        routes.is_some_and(|routes| routes.pool.intent.blocks_new())
    }

    /// Tells why nobody gets in.
    pub(super) async fn refuse(&mut self, refused: Refused) -> Next {
        refused.count(self.connection.pool_slot(&self.routes));
        let view = self.connection.worker.view();
        let Some(routes) = view.routes(self.connection.pool) else {
            return Box::pin(self.give_page(Page::Unavailable)).await;
        };
        let (buf, head) = (self.scratch.inbound.held(), &self.scratch.request);
        let token = routes.pool.config.sticky.cookie.as_bytes();
        let refusal = Refusal {
            refused,
            pool: &routes.pool,
            buf,
            head,
            now: self.connection.worker.now(),
            // Of a live session it would have been let in.
            clears_cookie: matches!(refused, Refused::Closed | Refused::OperatorsOnly)
                && cookie(buf, head, token).next().is_some(),
            envelope: self.envelope(),
            nonce: nonce(),
        };
        self.report.bytes = gate::write(&mut self.scratch.to_client.bytes, &refusal) as u64;
        self.report.status = refused.status();
        self.send_own().await
    }
}

/// Without random numbers it is of no use to anybody, but the page is still readable.
fn nonce() -> u128 {
    let half = || u128::from(getrandom::u64().unwrap_or_default());
    half() << 64 | half()
}
